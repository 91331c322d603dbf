"""Probabilities that mean what they say: one temperature for all logits (Guo et al. 2017), and how far off they are.

Shapes: N texts, C labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = 0.05, 20.0
BINS = 15


def nats(logits: NDArray[np.floating], labels: NDArray[np.intp], target: float = 1.0) -> float:
    """The mean loss of logits (N, C) where ``labels`` (N,) are right with the probability ``target``; others share the rest."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    other = (1 - target) / max(1, logits.shape[1] - 1)
    said = (target - other) * shifted[np.arange(len(labels)), labels] + other * shifted.sum(axis=1)  # (N,)
    return float((np.log(np.exp(shifted).sum(axis=1)) - said).mean())


def temperature(logits: NDArray[np.floating], labels: NDArray[np.intp]) -> float:
    """What the logits (N, C) are to be divided by so that their loss is lowest; within `LOWEST` and `HIGHEST`.

    Few texts that are all answered rightly don't show that every text would be: the label of each has the probability
    (N + 1) / (N + 2) and not 1 (Platt 1999, Probabilistic outputs for support vector machines, section 2.2). Of many texts that
    is next to 1.
    """
    target = (len(labels) + 1) / (len(labels) + 2)
    low, high = np.log(LOWEST), np.log(HIGHEST)
    golden = (5**0.5 - 1) / 2
    for _ in range(24):  # The loss has one minimum.
        first, second = high - golden * (high - low), low + golden * (high - low)
        if nats(logits / np.exp(first), labels, target) < nats(logits / np.exp(second), labels, target):
            high = second
        else:
            low = first
    return float(np.exp((low + high) / 2))


def expected_error(probabilities: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The expected calibration error: how far, in the mean, ``probabilities`` (N,) are from the share that was ``right``.

    The mean is over `BINS` bins of equal width, weighted by what is in them.
    """
    bins = np.minimum((probabilities * BINS).astype(np.intp), BINS - 1)
    gaps = np.bincount(bins, probabilities - right, minlength=BINS)
    return float(np.abs(gaps).sum() / max(1, len(right)))
