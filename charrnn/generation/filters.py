"""The filters that turn logits into the distribution that is drawn from, one pure function each; and a distribution's figures.

Each filter takes logits (..., V), those of one stream (V,) or of many (N, V), and returns new ones; -inf marks a symbol that
can't be drawn. `Drawing` applies them in the order in which they stand here. Settings out of range raise `UsageError`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import UsageError

Logits = NDArray[Any]


def penalize_repetition(logits: Logits, repeated: NDArray[np.bool_], penalty: float) -> Logits:
    """Make ``repeated`` symbols (..., V) less likely by a ``penalty`` above 1, or likelier by one below 1.

    Positive logits are divided by it (Keskar et al. 2019); negative ones are multiplied, so that they move the same way.
    """
    if not (penalty > 0 and math.isfinite(penalty)):
        raise UsageError(f"repetition_penalty must be a number above 0, not {penalty}")
    penalized: Logits = np.where(repeated, np.where(logits > 0, logits / penalty, logits * penalty), logits)
    return penalized


def add_bias(logits: Logits, bias: NDArray[Any]) -> Logits:
    """Add ``bias`` (V,); -inf bans a symbol."""
    if not (bias < math.inf).all():
        raise UsageError("bias must be numbers or -inf")
    biased: Logits = logits + bias
    return biased


def apply_temperature(logits: Logits, temperature: float | NDArray[Any]) -> Logits:
    """Divide by ``temperature`` > 0, one for all or one for each stream (N, 1): below 1 it sharpens the distribution, above 1
    it flattens it.
    """
    # One stream comes here at every step, and `np.all` takes as long as ten other checks.
    legal = (
        0 < temperature < math.inf if isinstance(temperature, float) else np.all((temperature > 0) & (temperature < math.inf))
    )
    if not legal:
        raise UsageError(f"temperature must be a number above 0, not {temperature}")
    divided: Logits = logits / temperature
    return divided


def keep_top_k(logits: Logits, k: int) -> Logits:
    """Keep the ``k`` >= 1 largest; among equal ones those of the lowest ids, so that never more than k stay."""
    if k < 1:
        raise UsageError(f"top_k must be at least 1, not {k}")
    if k >= logits.shape[-1]:
        return logits
    return _without(logits, ranked(logits)[..., k:])


def keep_typical(logits: Logits, p: float) -> Logits:
    """Keep the fewest symbols that reach probability ``p`` in (0, 1], taking first those whose information is nearest to
    the entropy (locally typical sampling, Meister et al. 2023).
    """
    if not 0 < p <= 1:
        raise UsageError(f"typical must be above 0 and at most 1, not {p}")
    if p == 1:
        return logits
    probabilities = softmax(logits)
    nats = _information(probabilities)
    distance = np.abs(nats - entropy(probabilities)[..., None])
    return _up_to(logits, probabilities, np.argsort(distance, axis=-1, kind="stable"), p)


def keep_top_p(logits: Logits, p: float) -> Logits:
    """Keep the fewest symbols that reach probability ``p`` in (0, 1], likeliest first (nucleus, Holtzman et al. 2020)."""
    if not 0 < p <= 1:
        raise UsageError(f"top_p must be above 0 and at most 1, not {p}")
    if p == 1:
        return logits
    return _up_to(logits, softmax(logits), ranked(logits), p)


def keep_min_p(logits: Logits, p: float) -> Logits:
    """Keep the symbols that are at least ``p`` in [0, 1] times as likely as the likeliest (Nguyen et al. 2024)."""
    if not 0 <= p <= 1:
        raise UsageError(f"min_p must be at least 0 and at most 1, not {p}")
    if p == 0:
        return logits
    return np.where(logits >= np.max(logits, axis=-1, keepdims=True) + math.log(p), logits, -np.inf)


def softmax(logits: Logits) -> NDArray[np.float64]:
    """The probabilities (..., V) of ``logits`` (..., V), in float64."""
    weights = np.asarray(logits, dtype=np.float64)
    weights = np.exp(weights - weights.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = weights / weights.sum(axis=-1, keepdims=True)
    return probabilities


def nats_of(logits: Logits, ids: NDArray[Any]) -> NDArray[np.float64]:
    """What ``ids`` (...) cost under ``logits`` (..., V), -ln of their probabilities.

    Exponentials are taken in the precision of the logits; their sum and all that follows is float64.
    """
    top = logits.max(axis=-1, keepdims=True)
    total = np.exp(logits - top).sum(axis=-1, dtype=np.float64)
    nats: NDArray[np.float64] = np.log(total) + (top.astype(np.float64) - _chosen(logits, ids))[..., 0]
    return nats


def ranks_of(logits: Logits, ids: NDArray[Any]) -> NDArray[np.intp]:
    """Where ``ids`` (...) stand among all symbols under ``logits`` (..., V), counted from 1, the likeliest."""
    ranks: NDArray[np.intp] = np.count_nonzero(logits > _chosen(logits, ids), axis=-1) + 1
    return ranks


def ranked(scores: NDArray[Any]) -> NDArray[np.intp]:
    """The symbols (..., V) in the order of their ``scores`` (..., V), the highest first; ties are broken by index."""
    order: NDArray[np.intp] = np.argsort(-scores, axis=-1, kind="stable")
    return order


def entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nats (...) that a draw from ``probabilities`` (..., V) takes on average (Shannon 1948)."""
    nats: NDArray[np.float64] = np.sum(probabilities * _information(probabilities), axis=-1)
    return nats


def _information(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """-ln p; a probability of 0 counts as the smallest number above it."""
    nats: NDArray[np.float64] = 0.0 - np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return nats


def _chosen(logits: Logits, ids: NDArray[Any]) -> Logits:
    """The logits (..., 1) of ``ids`` (...) among ``logits`` (..., V)."""
    return np.take_along_axis(logits, ids[..., None], axis=-1)


def _up_to(logits: Logits, probabilities: NDArray[np.float64], order: NDArray[np.intp], p: float) -> Logits:
    """Keep the fewest symbols, at least one, that reach probability ``p``, taken in ``order`` (..., V)."""
    # A symbol stays while the mass before it is below p: the one that crosses p is kept.
    reached = np.cumsum(np.take_along_axis(probabilities, order, axis=-1), axis=-1)[..., :-1] >= p
    rest, kept = order[..., 1:], logits.copy()
    np.put_along_axis(kept, rest, np.where(reached, -np.inf, np.take_along_axis(logits, rest, axis=-1)), axis=-1)
    return kept


def _without(logits: Logits, dropped: NDArray[np.intp]) -> Logits:
    kept = logits.copy()
    np.put_along_axis(kept, dropped, -np.inf, axis=-1)
    return kept
