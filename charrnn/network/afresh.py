"""A network of records: whatever it reads, it begins anew at every newline, as it did in training."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from charrnn.config import ModelConfig
from charrnn.network.cells import Array, LayerTrace, Network
from charrnn.network.pace import Pace
from charrnn.network.stepper import Step


class RecordNetwork(Network):
    """Reads every newline from the zero state. Nothing of what stands before it is in a state, or in a gradient, behind it."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, Array],
        newline: int,
        pace: Pace | None = None,
        *,
        temperature: float = 1.0,
    ) -> None:
        """``newline`` is the symbol with which each record begins."""
        super().__init__(config, weights, pace, temperature=temperature)
        self._newline = newline

    def alike(self, weights: Mapping[str, Array]) -> Network:
        """See `Network.alike`."""
        return RecordNetwork(self.config, weights, self._newline)

    def stepper(self, state: Array) -> Step:
        """See `Network.stepper`."""
        step = super().stepper(state)

        def anew(ids: NDArray[np.integer]) -> Array:
            if (opened := ids == self._newline).any():
                state[:, :, opened] = 0
            return step(ids)

        return anew

    def trace(self, ids: NDArray[np.integer], state: Array | None = None) -> tuple[Array, list[LayerTrace]]:
        """See `Network.trace`."""
        opened = ids == self._newline  # (T, N)
        borders = [0, *(np.flatnonzero(opened[1:].any(axis=1)) + 1).tolist(), len(ids)]
        state, pieces = self.initial_state(ids.shape[1]) if state is None else state.copy(), []
        for begin, end in pairwise(borders):
            state[:, :, opened[begin]] = 0
            state, traces = super().trace(ids[begin:end], state)
            pieces.append(traces)
        return state, [_joined(parts) for parts in zip(*pieces, strict=True)]

    def carries(self, ids: NDArray[np.integer]) -> NDArray[np.bool_]:
        """See `Network.carries`."""
        opened_later: NDArray[np.bool_] = np.logical_or.accumulate((ids == self._newline)[::-1])[::-1]
        return ~opened_later


def _joined(parts: Sequence[LayerTrace]) -> LayerTrace:
    """The trace of a layer over pieces of a text that follow each other."""
    if len(parts) == 1:
        return parts[0]
    whole = copy.copy(parts[0])
    c = None if whole.c is None else np.concatenate([part.c for part in parts if part.c is not None])
    gates = {letter: np.concatenate([part.gates[letter] for part in parts]) for letter in whole.gates}
    return LayerTrace(np.concatenate([part.h for part in parts]), c, gates)
