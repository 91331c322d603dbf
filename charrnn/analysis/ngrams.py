"""A yardstick for classifiers: multinomial logistic regression on hashed character n-grams.

Every run of 1 to 5 characters of a text, its ends marked, is hashed to one of 2^18 numbers. What occurs n times counts
1 + ln n, and a text's numbers have the length 1, as those of scikit-learn's ``TfidfVectorizer(sublinear_tf=True, norm="l2")``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.analysis.minimize import Vector, minimized
from charrnn.generation.filters import softmax

LONGEST = 5
BITS = 18
STRENGTH = 10.0
"""scikit-learn's C: the weights' squares count 1 / (2 C) beside the sum of the texts' losses."""
ITERATIONS = 60
TOGETHER = 5_000
"""So many texts' n-grams are in memory at once while their labels are predicted."""
_CHUNK = 1 << 18
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Sparse:
    """The n-grams of some texts: those of text i are ``features[starts[i] : starts[i + 1]]``, with their ``values``."""

    starts: NDArray[np.int64]
    features: NDArray[np.intp]
    values: NDArray[np.float32]


def ngrams(texts: Sequence[str]) -> Sparse:
    """The n-grams of ``texts``."""
    codes = [np.frombuffer(f"\x02{text}\x03".encode("utf-32-le", "surrogatepass"), dtype="<u4") for text in texts]
    lengths = np.array([len(code) for code in codes])
    units, rows = np.concatenate(codes).astype(np.uint64) + np.uint64(1), np.repeat(np.arange(len(texts)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(units))  # characters to the text's end, this one included
    keys, hashes = [], np.zeros(len(units), dtype=np.uint64)
    for n in range(1, LONGEST + 1):
        hashes = hashes[: len(units) - n + 1] * _MULTIPLIER + units[n - 1 :]
        inside = left[: len(hashes)] >= n
        mixed = (hashes[inside] ^ (hashes[inside] >> np.uint64(29))) * _MULTIPLIER
        keys.append(rows[: len(hashes)][inside] << BITS | (mixed >> np.uint64(64 - BITS)).astype(np.int64))
    found, counts = np.unique(np.concatenate(keys), return_counts=True)
    row = found >> BITS
    values = 1 + np.log(counts.astype(np.float32))
    norms = np.sqrt(np.bincount(row, values * values, minlength=len(texts)))
    values = (values / norms[row]).astype(np.float32)
    starts = np.searchsorted(row, np.arange(len(texts) + 1))
    return Sparse(starts, found & ((1 << BITS) - 1), values)


class NgramClassifier:
    """Learns the labels of texts from their n-grams."""

    def __init__(self, texts: Sequence[str], labels: NDArray[np.intp], count: int, deadline: float | None = None) -> None:
        """``labels`` (N,) below ``count``; the search for the best weights ends at ``deadline`` at the latest."""
        found = ngrams(texts)
        self._known, columns = np.unique(found.features, return_inverse=True)
        rows = np.repeat(np.arange(len(texts)), np.diff(found.starts))
        order = np.argsort(columns, kind="stable")
        # The same numbers by features instead of by texts, for the gradient.
        by_feature = Sparse(np.searchsorted(columns[order], np.arange(len(self._known) + 1)), rows[order], found.values[order])
        by_text = Sparse(found.starts, columns, found.values)
        target = np.zeros((len(texts), count), dtype=np.float32)
        target[np.arange(len(texts)), labels] = 1
        decay = np.float32(1 / (STRENGTH * len(texts)))

        def loss(flat: Vector) -> tuple[float, Vector]:
            weights, bias = flat[:-count].reshape(-1, count), flat[-count:]
            logits = _product(by_text, weights) + bias
            logits -= logits.max(axis=1, keepdims=True)
            exponentials = np.exp(logits)
            sums = exponentials.sum(axis=1, keepdims=True)
            nats = float((np.log(sums[:, 0]) - logits[np.arange(len(texts)), labels]).mean(dtype=np.float64))
            error = (exponentials / sums - target) / np.float32(len(texts))
            gradient = np.concatenate([(_product(by_feature, error) + decay * weights).ravel(), error.sum(axis=0)])
            return nats + float(decay) / 2 * float(np.vdot(weights, weights)), gradient

        flat = minimized(loss, np.zeros((len(self._known) + 1) * count, dtype=np.float32), ITERATIONS, 1e-3, deadline)
        self._weights, self._bias = flat[:-count].reshape(-1, count), flat[-count:]

    def predict(self, texts: Sequence[str]) -> NDArray[np.intp]:
        """The likeliest label of each text, (N,)."""
        return np.asarray(self._logits(texts).argmax(axis=1))

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """How likely each label is for each text, (N, C)."""
        return softmax(self._logits(texts))

    def _logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        some = [self._logits_of(texts[start : start + TOGETHER]) for start in range(0, len(texts), TOGETHER)]
        return np.concatenate(some) if some else np.zeros((0, len(self._bias)), dtype=np.float32)

    def _logits_of(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = ngrams(texts)
        places = np.minimum(np.searchsorted(self._known, found.features), len(self._known) - 1)
        values = np.where(self._known[places] == found.features, found.values, np.float32(0))
        return np.asarray(_product(Sparse(found.starts, places, values), self._weights) + self._bias)


def _product(sparse: Sparse, dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """The product of a sparse matrix, none of whose rows is empty, with a dense one."""
    starts, result = sparse.starts, np.empty((len(sparse.starts) - 1, dense.shape[1]), dtype=np.float32)
    first = 0
    while first < len(result):
        last = max(int(np.searchsorted(starts, starts[first] + _CHUNK, side="right")) - 1, first + 1)
        part = slice(starts[first], starts[last])
        terms = dense[sparse.features[part]] * sparse.values[part, None]
        result[first:last] = np.add.reduceat(terms, starts[first:last] - starts[first], axis=0)
        first = last
    return result
