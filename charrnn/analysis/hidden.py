"""Statistics of hidden states and gates: over a text of any length, in one pass, layer by layer and unit by unit.

What is measured follows Karpathy, Johnson and Fei-Fei 2015 (saturated gates), Tallec and Ollivier 2018 (the time constant of a
leaky unit) and Gao et al. 2017 (participation ratio).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from charrnn.cell_types import LETTERS, keeping, sigmoids
from charrnn.network.cells import Array, LayerTrace

SATURATED = 0.9
"""A state, or a tanh candidate, beyond +-0.9 is saturated; a gate above 0.9 is right-saturated (open)."""
LEFT_SATURATED = 0.1
"""A gate below 0.1 is left-saturated (closed)."""
STILL = 0.01
"""A unit whose standard deviation is below this never moves."""
LONGEST_TAU = 1e9
"""A gate that is 1 to a float's last digit remembers for ever; its memory is given as this many characters."""

Vector = NDArray[np.float64]


class Tau(TypedDict):
    """The units' memory in characters, 1 / (1 - mean f) or 1 / (1 - mean z)."""

    quartiles: list[float]
    """The three of them."""
    longest: float


class Summary(TypedDict):
    """A layer in plain numbers; what a cell lacks is None or empty."""

    characters: int
    mean_abs: float
    """Mean over the units, as `std`."""
    std: float
    saturated: float
    """Share of all values with |h| > 0.9."""
    still: float
    """Share of units whose standard deviation is below 0.01."""
    dimensions: float
    """The participation ratio of the covariance, (sum of eigenvalues)^2 / sum of their squares."""
    gates: dict[str, float]
    """Mean by letter; of the tanh candidates g and n, mean absolute value."""
    left: dict[str, float]
    """Share of steps and units below 0.1 by letter; none for g and n."""
    right: dict[str, float]
    """The same above 0.9; of g and n, of absolute value above 0.9."""
    c: list[float] | None
    """The lowest and the highest cell of an LSTM."""
    tau: Tau | None


class Statistics:
    """Sums over a layer's steps, from which every number follows. Blocks may be added in any order and of any size.

    Each sum is an array (H,) in float64. The state's second moments, (H, H), are taken around the mean of the first block, so
    that a unit frozen far from zero loses no digits.
    """

    def __init__(self) -> None:
        self.characters = 0
        self._sums: dict[str, Vector] = {}
        self._origin: Array | None = None
        self._moments: Vector = np.zeros((0, 0))
        self._lowest: Array | None = None
        self._highest: Array | None = None
        self._letters: tuple[str, ...] = ()

    def add(self, trace: LayerTrace) -> None:
        """Add what the layer did over some more steps, in arrays of any shape (..., H)."""
        H = trace.h.shape[-1]
        h = trace.h.reshape(-1, H)
        if self._origin is None:
            self._origin, self._moments = h.mean(axis=0), np.zeros((H, H))
            self._letters = tuple(trace.gates)
        self.characters += len(h)
        away = h - self._origin
        self._moments += away.T @ away
        self._sum("away", away)
        self._sum("size", np.abs(h))
        self._sum("saturated", np.abs(h) > SATURATED)
        for letter, gate in trace.gates.items():
            gate = gate.reshape(-1, H)
            if LETTERS[letter].candidate:
                gate = np.abs(gate)
            else:
                self._sum(f"{letter} left", gate < LEFT_SATURATED)
            self._sum(letter, gate)
            self._sum(f"{letter} right", gate > SATURATED)
        if trace.c is not None:
            low, high = (edge(trace.c.reshape(-1, H), axis=0) for edge in (np.min, np.max))
            self._lowest = low if self._lowest is None else np.minimum(self._lowest, low)
            self._highest = high if self._highest is None else np.maximum(self._highest, high)

    def _sum(self, name: str, values: NDArray[Any]) -> None:
        # 32 rows at a time in float32, and their sums in float64, which costs a quarter of summing all in float64.
        whole = len(values) // 32 * 32
        total = values[:whole].reshape(-1, 32, values.shape[-1]).sum(axis=1, dtype=np.float32).sum(axis=0, dtype=np.float64)
        total += values[whole:].sum(axis=0, dtype=np.float64)
        self._sums[name] = self._sums.get(name, 0.0) + total

    def _mean(self, name: str) -> Vector:
        mean: Vector = np.nan_to_num(self._sums[name] / self.characters)  # JSON can hold it, whatever the weights
        return mean

    def _covariance(self) -> Vector:
        mean = self._sums["away"] / self.characters
        covariance: Vector = np.nan_to_num(self._moments / self.characters - np.outer(mean, mean))
        return covariance

    def units(self) -> dict[str, Vector]:
        """Numbers by unit, each (H,): ``mean``, ``std``, ``mean_abs`` and ``saturated`` of h; for the LSTM ``c_low`` and
        ``c_high``; for each gate its mean under its letter (of g and n the mean size), ``left_<letter>`` and
        ``right_<letter>``; ``tau``, the memory in characters (none for the RNN).
        """
        assert self._origin is not None
        found = {
            "mean": np.nan_to_num(self._origin.astype(np.float64)) + self._mean("away"),
            "std": np.sqrt(np.maximum(np.diag(self._covariance()), 0.0)),
            "mean_abs": self._mean("size"),
            "saturated": self._mean("saturated"),
            **{letter: self._mean(letter) for letter in self._letters},
            **{f"left_{letter}": self._mean(f"{letter} left") for letter in sigmoids(self._letters)},
            **{f"right_{letter}": self._mean(f"{letter} right") for letter in self._letters},
        }
        if self._lowest is not None and self._highest is not None:
            found["c_low"], found["c_high"] = (np.nan_to_num(edge.astype(np.float64)) for edge in (self._lowest, self._highest))
        if (letter := keeping(self._letters)) is not None:
            found["tau"] = 1 / np.maximum(1 - found[letter], 1 / LONGEST_TAU)
        return found

    def summary(self) -> Summary:
        """The layer in plain numbers."""
        units, covariance = self.units(), self._covariance()
        squares = float((covariance**2).sum())
        tau = units.get("tau")
        return {
            "characters": self.characters,
            "mean_abs": float(units["mean_abs"].mean()),
            "std": float(units["std"].mean()),
            "saturated": float(units["saturated"].mean()),
            "still": float((units["std"] < STILL).mean()),
            "dimensions": float(np.trace(covariance) ** 2 / squares) if squares else 0.0,
            "gates": {letter: float(units[letter].mean()) for letter in self._letters},
            "left": {letter: float(units[f"left_{letter}"].mean()) for letter in sigmoids(self._letters)},
            "right": {letter: float(units[f"right_{letter}"].mean()) for letter in self._letters},
            "c": [float(units["c_low"].min()), float(units["c_high"].max())] if "c_low" in units else None,
            "tau": None
            if tau is None
            else {"quartiles": [float(q) for q in np.quantile(tau, (0.25, 0.5, 0.75))], "longest": float(tau.max())},
        }


def summarize(traces: Sequence[LayerTrace]) -> list[Summary]:
    """The `Statistics.summary` of every layer over ``traces`` alone."""
    layers = []
    for trace in traces:
        layers.append(Statistics())
        layers[-1].add(trace)
    return [layer.summary() for layer in layers]
