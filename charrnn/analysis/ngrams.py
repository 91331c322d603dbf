"""A yardstick for classifiers: multinomial logistic regression on hashed character n-grams.

Every run of 1 to 5 characters of a text, its ends marked, is hashed to one of 2^18 numbers. What occurs n times counts
1 + ln n, and a text's numbers have the length 1, as those of scikit-learn's ``TfidfVectorizer(sublinear_tf=True, norm="l2")``.
Memory is bounded: of a long text the beginning is read, and of many n-grams and labels the commonest n-grams have weights.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.analysis.minimize import PAIRS, Vector, minimized
from charrnn.generation.filters import softmax

LONGEST = 5
BITS = 18
STRENGTH = 10.0
"""scikit-learn's C: the weights' squares count 1 / (2 C) beside the sum of the texts' losses."""
ITERATIONS = 60
TOGETHER, CHARACTERS = 5_000, 1 << 18
"""So many texts, and about so many characters, become n-grams at once."""
LONGEST_TEXT = 10_000
"""Of a text so many characters are read."""
MOST_CHARACTERS = 1 << 20
"""Of all texts about so many characters are learned from at most."""
MOST_WEIGHTS, MANY_WEIGHTS = 3 << 20, 1 << 21
"""So many weights there are at most; beyond `MANY_WEIGHTS` the search for the best ones remembers fewer steps."""
ENOUGH_ITERATIONS = 30
"""A bounded time is enough for so many iterations on the texts that are learned from."""
TRIED = 500
"""By so many texts it is measured what others will take."""
_CHUNK, _NUMBERS = 1 << 18, 1 << 22
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Sparse:
    """The n-grams of some texts: those of text i are ``features[starts[i] : starts[i + 1]]``, with their ``values``."""

    starts: NDArray[np.int64]
    features: NDArray[np.int32]
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
    return Sparse(starts, (found & ((1 << BITS) - 1)).astype(np.int32), values)


def _some(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts, some at a time, the beginnings of long ones."""
    some, characters = list[str](), 0
    for text in texts:
        if some and (len(some) == TOGETHER or characters > CHARACTERS):
            yield some
            some, characters = [], 0
        some.append(text[:LONGEST_TEXT])
        characters += len(some[-1])
    if some:
        yield some


def _of_all(texts: Iterable[str]) -> Sparse:
    """The n-grams of ``texts``, however many they are."""
    parts = [ngrams(some) for some in _some(texts)]
    counts = np.concatenate([np.diff(part.starts) for part in parts])
    features, values = (np.concatenate(part) for part in zip(*((part.features, part.values) for part in parts), strict=True))
    return Sparse(np.concatenate([[0], np.cumsum(counts)]), features, values)


class NgramClassifier:
    """Learns the labels of texts from their n-grams."""

    def __init__(self, texts: Sequence[str], labels: NDArray[np.intp], count: int, deadline: float | None = None) -> None:
        """``labels`` (N,) below ``count``; the search for the best weights ends at ``deadline`` at the latest."""
        found = _of_all(texts)
        occurring = np.bincount(found.features, minlength=1 << BITS)
        commonest = np.argsort(-occurring, kind="stable")[: max(1, MOST_WEIGHTS // count)]
        self._known = np.sort(commonest[occurring[commonest] > 0])
        self._places = np.full(1 << BITS, -1, dtype=np.int32)
        self._places[self._known] = np.arange(len(self._known))
        by_text = self._placed(found)
        rows = np.repeat(np.arange(len(texts), dtype=np.int32), np.diff(found.starts))
        order = np.argsort(by_text.features, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(by_text.features, minlength=len(self._known)))])
        # The same numbers by features instead of by texts, for the gradient.
        by_feature = Sparse(starts, rows[order], by_text.values[order])
        del found, rows, order
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

        start = np.zeros((len(self._known) + 1) * count, dtype=np.float32)
        pairs = PAIRS if len(start) <= MANY_WEIGHTS else PAIRS // 2
        flat = minimized(loss, start, ITERATIONS, 1e-3, deadline, pairs)
        self._weights, self._bias = flat[:-count].reshape(-1, count), flat[-count:]

    def predict(self, texts: Sequence[str]) -> NDArray[np.intp]:
        """The likeliest label of each text, (N,)."""
        return np.asarray(self._logits(texts).argmax(axis=1))

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """How likely each label is for each text, (N, C)."""
        return softmax(self._logits(texts))

    def _logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = [_product(self._placed(ngrams(some)), self._weights) + self._bias for some in _some(texts)]
        return np.concatenate(found) if found else np.zeros((0, len(self._bias)), dtype=np.float32)

    def _placed(self, found: Sparse) -> Sparse:
        """N-grams by the places of their weights; those that have none count nothing."""
        places = self._places[found.features]
        return Sparse(found.starts, np.maximum(places, 0), np.where(places < 0, np.float32(0), found.values))


def affordable(texts: Sequence[str], labels: NDArray[np.intp], count: int, judged: int, deadline: float | None) -> int:
    """From how many of ``texts`` a classifier can learn in bounded memory, and until ``deadline``, by `time.monotonic`.

    ``judged`` texts must be judged until then too. What that takes is measured on some of the texts.
    """
    spread = np.linspace(0, len(texts) - 1, min(len(texts), TRIED)).astype(np.intp)
    some = [texts[i] for i in spread]
    mean = sum(min(len(text), LONGEST_TEXT) for text in some) / max(1, len(some))
    bound = max(TRIED, int(MOST_CHARACTERS / max(1.0, mean)))
    if deadline is None or len(texts) <= TRIED:
        return min(len(texts), bound)
    began = time.monotonic()
    found = _of_all(some)
    made = time.monotonic()
    known, places = np.unique(found.features, return_inverse=True)
    looked = time.monotonic()
    _product(Sparse(found.starts, places.astype(np.int32), found.values), np.zeros((len(known), count), dtype=np.float32))
    ended = time.monotonic()
    # Sorting the n-grams by features takes half as long as making them; an iteration is two products, and then some.
    making, once = (made - began) / len(some), 3 * (ended - looked) / len(some)
    left = max(0.0, deadline - ended - judged * making)
    return max(TRIED, min(len(texts), bound, int(left / (1.5 * making + ENOUGH_ITERATIONS * once + 1e-9))))


def _product(sparse: Sparse, dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """The product of a sparse matrix, none of whose rows is empty, with a dense one."""
    starts, result = sparse.starts, np.empty((len(sparse.starts) - 1, dense.shape[1]), dtype=np.float32)
    first, chunk = 0, max(1, min(_CHUNK, _NUMBERS // dense.shape[1]))
    while first < len(result):
        last = max(int(np.searchsorted(starts, starts[first] + chunk, side="right")) - 1, first + 1)
        part = slice(starts[first], starts[last])
        terms = dense[sparse.features[part]] * sparse.values[part, None]
        result[first:last] = np.add.reduceat(terms, starts[first:last] - starts[first], axis=0)
        first = last
    return result
