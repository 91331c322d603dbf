"""From logits to characters: filters, draws, and generation as an iterator of ids."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import UsageError
from charrnn.cells import Array, Network
from charrnn.vocabulary import Vocabulary

Logits = NDArray[Any]


def apply_temperature(logits: Logits, temperature: float) -> Logits:
    """Divide ``logits`` (V,) by ``temperature``, any number above 0; below 1 sharpens, above 1 flattens."""
    if not (temperature > 0 and math.isfinite(temperature)):
        raise UsageError(f"temperature must be a number above 0, not {temperature}")
    return logits / temperature


def keep_top_k(logits: Logits, k: int) -> Logits:
    """Keep the ``k`` >= 1 largest of ``logits`` (V,), the rest -inf. Ties are broken by index, so never more than k stay."""
    if k < 1:
        raise UsageError(f"top_k must be at least 1, not {k}")
    if k >= len(logits):
        return logits
    order = np.argsort(-logits, kind="stable")
    kept = np.full_like(logits, -np.inf)
    kept[order[:k]] = logits[order[:k]]
    return kept


def keep_top_p(logits: Logits, p: float) -> Logits:
    """Keep the smallest set of symbols whose probability reaches ``p`` in (0, 1], the rest -inf (Holtzman et al. 2020)."""
    if not 0 < p <= 1:
        raise UsageError(f"top_p must be above 0 and at most 1, not {p}")
    if p == 1:
        return logits
    order = np.argsort(-logits, kind="stable")
    probabilities = softmax(logits)[order]
    # A symbol stays while the mass before it is below p: the one that crosses p is kept, and at least one always is.
    before = np.cumsum(probabilities) - probabilities
    dropped = order[before >= p]
    kept = logits.copy()
    kept[dropped[dropped != order[0]]] = -np.inf
    return kept


def softmax(logits: Logits) -> NDArray[np.float64]:
    """The probabilities of ``logits`` (V,) in float64."""
    weights = np.asarray(logits, dtype=np.float64)
    weights = np.exp(weights - weights.max())
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities


class Sampler:
    """Draws one id from the logits of one step: temperature, then top-k, then top-p, then the inverse of the CDF.

    Temperature 0 takes the likeliest symbol and draws nothing. ``banned`` is never drawn.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        banned: int | None = None,
    ) -> None:
        self._rng, self._top_k, self._top_p, self._banned = rng, top_k, top_p, banned
        self._temperature = temperature and max(temperature, 1e-290)  # Dividing by less overflows.
        self._uniforms: list[float] = []

    def draw(self, logits: Logits) -> int:
        """An id drawn from ``logits`` (V,), which are left alone."""
        scores = logits.astype(np.float64)
        if self._banned is not None:
            scores[self._banned] = -np.inf
        if self._temperature == 0 or scores.size == 1:
            return int(scores.argmax())
        # The maximum goes first: a tiny temperature then gives -inf, not inf.
        scores = apply_temperature(scores - scores.max(), self._temperature)
        if self._top_k is not None:
            scores = keep_top_k(scores, self._top_k)
        if self._top_p is not None:
            scores = keep_top_p(scores, self._top_p)
        np.exp(scores, out=scores)
        np.cumsum(scores, out=scores)
        if not self._uniforms:  # Blocks of draws give the same numbers as single draws and cost far less.
            self._uniforms = self._rng.random(256).tolist()[::-1]
        drawn = int(scores.searchsorted(self._uniforms.pop() * scores[-1], side="right"))
        return min(drawn, scores.size - 1)  # Logits that are no numbers sort behind everything.


def opening(vocabulary: Vocabulary) -> NDArray[Any]:
    """What a network reads before a text without a prompt, so that it starts as a line does: a newline, else a space,
    else the first symbol; ids (1,).
    """
    known = vocabulary.characters if vocabulary.level == "char" else "\n"
    return vocabulary.encode(next((character for character in "\n " if character in known), known[:1]))


def prime(network: Network, ids: NDArray[Any]) -> tuple[Array, Array]:
    """Read ids (T,) from the zero state: the logits (V,) after the last one and the state (L, P, 1, H)."""
    state = network.initial_state(1)
    step = network.stepper(state)
    logits = np.zeros((1, network.config.vocab_size), dtype=np.float32)
    for index in ids:
        logits = step(np.array([index]))
    return logits[0], state


def generate(network: Network, logits: Logits, state: Array, sampler: Sampler) -> Iterator[int]:
    """Draw ids without end, starting from ``logits`` (V,) and ``state`` (L, P, 1, H), which advances in place."""
    step = network.stepper(state)
    ids = np.zeros(1, dtype=np.intp)
    while True:
        ids[0] = sampler.draw(logits)
        yield int(ids[0])
        logits = step(ids)[0]
