"""The weights that a network starts with: one table of rules, and the draws by NumPy's generator.

`charrnn.training.model` follows the same rules with torch's generator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from charrnn.config import GATES, ModelConfig

Kind = Literal["normal", "uniform", "orthogonal", "constant"]
Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """How the weights whose names match ``pattern`` are drawn.

    A uniform weight has the variance ``value`` / fan-in, a normal one the variance ``value``, and a constant one is ``value``.
    Of an orthogonal matrix each block of H rows is one by itself.
    """

    pattern: str
    kind: Kind
    value: float


RULES = (
    Rule(r"embedding\.weight", "normal", 1.0),
    Rule(r"pairs\.weight", "constant", 0.0),
    Rule(r"rnn\.weight_hh_l\d+", "orthogonal", 1.0),  # Saxe et al. 2014
    Rule(r"rnn\.weight_ih_l\d+", "uniform", 1.0),  # LeCun et al. 1998
    Rule(r"head\.weight", "uniform", 4.0),  # Hidden units are well below 1.
    Rule(r".*bias.*", "constant", 0.0),
)
OPEN = {"lstm": ("f", 1.0)}
"""A cell's gate that starts open, and its ``bias_ih``: an LSTM's forget gate (Jozefowicz et al. 2015)."""


@dataclass(frozen=True)
class Initial:
    """How one weight is drawn: its name, its shape and its kind.

    ``scale`` is the standard deviation of a normal weight, the bound of a uniform one in [-scale, scale], and the number that a
    constant one is; an orthogonal one is not scaled. ``exceptions`` are rows that are another number than the others.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind
    scale: float
    exceptions: tuple[tuple[slice, float], ...] = ()


def initials(config: ModelConfig) -> Iterator[Initial]:
    """Every weight in the order of `ModelConfig.parameter_shapes`, which is the order of the draws."""
    H = config.hidden_size
    for name, shape in config.parameter_shapes().items():
        rule = next(rule for rule in RULES if re.fullmatch(rule.pattern, name))
        scale = {"uniform": (3 * rule.value / shape[-1]) ** 0.5, "normal": rule.value**0.5}.get(rule.kind, rule.value)
        exceptions: tuple[tuple[slice, float], ...] = ()
        if "bias_ih" in name and config.cell in OPEN:
            letter, bias = OPEN[config.cell]
            row = GATES[config.cell].index(letter) * H
            exceptions = ((slice(row, row + H), bias),)
        yield Initial(name, shape, rule.kind, scale, exceptions)


def draw(config: ModelConfig, rng: np.random.Generator) -> dict[str, Weights]:
    """Fresh weights under the names of `ModelConfig.parameter_shapes`, from ``rng``."""
    return {initial.name: _drawn(initial, config.hidden_size, rng) for initial in initials(config)}


def _drawn(initial: Initial, hidden_size: int, rng: np.random.Generator) -> Weights:
    shape, scale = initial.shape, initial.scale
    if initial.kind == "normal":
        return scale * rng.standard_normal(shape)
    if initial.kind == "uniform":
        return rng.uniform(-scale, scale, shape)
    if initial.kind == "orthogonal":
        return np.concatenate([_orthogonal(hidden_size, rng) for _ in range(shape[0] // hidden_size)])
    weight = np.full(shape, scale)
    for rows, value in initial.exceptions:
        weight[rows] = value
    return weight


def _orthogonal(size: int, rng: np.random.Generator) -> Weights:
    """A rotation (or reflection) of ``size`` dimensions, uniform over all of them."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    rotation: Weights = q * np.sign(np.diag(r))
    return rotation
