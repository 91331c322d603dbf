"""The temperature that suits a network's logits: one number, fitted on text that it wasn't trained on (Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

LOGS = np.linspace(-0.6, 0.6, 7)
"""Logarithms of the factors by which logits are multiplied while a text is scored; the losses between them are interpolated."""
FACTORS: tuple[float, ...] = tuple(np.exp(LOGS).tolist())
PLAIN = len(FACTORS) // 2
"""Which of `FACTORS` is 1."""


@dataclass(frozen=True)
class Calibration:
    """The ``temperature`` that logits are to be divided by, and the ``loss`` with it, in the unit of those it was fitted to."""

    temperature: float
    loss: float


def calibrate(losses: NDArray[np.float64]) -> Calibration:
    """Fit one temperature to all of a text.

    Args:
        losses: of the two halves of the text at each of `FACTORS`, (2, G).

    Returns:
        The temperature that both halves ask for together, and the loss that each half has with the temperature of the other: no
        character is judged by a number that was fitted to it. Where that is no better than the loss as it is, the temperature
        is 1, and the loss as it is.
    """
    plain = Calibration(1.0, float(losses[:, PLAIN].sum()))
    if not np.isfinite(losses).all() or not (losses[:, PLAIN] > 0).all():
        return plain
    one, other = (Polynomial.fit(LOGS, half, len(LOGS) - 1) for half in losses)
    crossed = float(one(_lowest(other)) + other(_lowest(one)))
    if not crossed < plain.loss:
        return plain
    return Calibration(round(float(np.exp(-_lowest(one + other))), 4), crossed)


def _lowest(curve: Polynomial) -> float:
    """Where a curve over `LOGS` is lowest."""
    along = np.linspace(LOGS[0], LOGS[-1], 3001)
    return float(along[np.argmin(curve(along))])
