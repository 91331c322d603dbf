"""What a text copies verbatim, from a corpus or from itself: its longest run, how much of it lies in long runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONG = 32
"""A run of this many characters is hardly a coincidence."""
LOOP = 20
"""A run of so many characters that stands twice in one text is a loop, or at least a refrain."""
BLOCK = 1 << 16
"""How many characters of the corpus are searched at once: few enough that their hashes stay in the cache."""
_BASE = np.uint64(0x9E3779B97F4A7C15)
_SEEN_BITS = np.uint64(64 - 20)


@dataclass(frozen=True)
class Copied:
    """The longest run of a text (T,) that stands in the corpus, ``text[start : start + longest]``, and the share of the text
    inside runs of `LONG` or more.
    """

    longest: int
    start: int
    share: float


def copied(texts: Sequence[NDArray[Any]], corpus: NDArray[Any]) -> list[Copied]:
    """Look for runs of each text of ids (T,) in the ``corpus`` (C,) of ids.

    Rolling hashes modulo 2^64 (Karp and Rabin 1987) find the runs of one width; in texts of megabytes they take two different
    runs for one with a chance of about 1e-9. Every run contains shorter ones, so bisection finds the longest; each pass over
    the corpus serves every text for which its width decides something.
    """
    low, high = np.zeros(len(texts), dtype=np.intp), np.array([min(len(text), len(corpus)) for text in texts])
    starts, shares = [0] * len(texts), [0.0] * len(texts)
    width = LONG
    while width:
        asked = np.flatnonzero((low < width) & (width <= high)).tolist()
        for number, found in zip(asked, _found([texts[n] for n in asked], corpus, width), strict=True):
            if width == LONG:
                shares[number] = _covered(found, LONG, len(texts[number])) / max(len(texts[number]), 1)
            if found.any():
                low[number], starts[number] = width, int(found.argmax())
            else:
                high[number] = width - 1
        # Long runs are rare, so the next width is never far above the lower bound.
        middles = np.minimum((low + high + 1) // 2, 2 * np.maximum(low, 8))[low < high]
        width = int(np.sort(middles)[len(middles) // 2]) if len(middles) else 0
    return [Copied(*result) for result in zip(low.tolist(), starts, shares, strict=True)]


def looped(text: NDArray[Any]) -> int:
    """How many ids of a text (T,) lie in runs of `LOOP` or more that have stood in it before."""
    hashes = _hashes(text, LOOP)
    again = np.ones(len(hashes), dtype=np.bool_)
    again[np.unique(hashes, return_index=True)[1]] = False
    return _covered(again, LOOP, len(text))


def _covered(found: NDArray[np.bool_], width: int, length: int) -> int:
    """How many of ``length`` positions the windows cover that begin at a ``found`` position."""
    edges = np.zeros(length + 1, dtype=np.int64)
    starts = np.flatnonzero(found)
    np.add.at(edges, starts, 1)
    np.add.at(edges, starts + width, -1)
    return int((np.cumsum(edges)[:-1] > 0).sum())


def _found(texts: Sequence[NDArray[Any]], corpus: NDArray[Any], width: int) -> Iterator[NDArray[np.bool_]]:
    """For each text and each window of ``width`` in it, whether the corpus holds the same."""
    hashes = [_hashes(text, width) for text in texts]
    wanted = np.unique(np.concatenate([np.zeros(0, dtype=np.uint64), *hashes]))
    there = np.zeros(len(wanted), dtype=np.bool_)
    # A table of the hashes' first bits rules out most windows of the corpus.
    possible = np.zeros(1 << 20, dtype=np.bool_)
    possible[wanted >> _SEEN_BITS] = True
    for begin in range(0, len(corpus) - width + 1 if len(wanted) else 0, BLOCK):
        seen = _hashes(corpus[begin : begin + BLOCK + width - 1], width)
        seen = seen[possible[seen >> _SEEN_BITS]]
        places = np.minimum(np.searchsorted(wanted, seen), len(wanted) - 1)
        there[places[wanted[places] == seen]] = True
    for text in hashes:
        yield there[np.searchsorted(wanted, text)]


def _hashes(ids: NDArray[Any], width: int) -> NDArray[np.uint64]:
    """The hash of every window of ``width`` ids: the polynomial of (id + 1) in an odd base, built by doubling the window."""
    if len(ids) < width:
        return np.zeros(0, dtype=np.uint64)
    symbols = ids.astype(np.uint64) + np.uint64(1)
    windows, built = symbols, 1
    for bit in bin(width)[3:]:
        windows = windows[:-built] * _power(built) + windows[built:]
        built *= 2
        if bit == "1":
            windows = windows[:-1] * _BASE + symbols[built:]
            built += 1
    return windows


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(int(_BASE), exponent, 1 << 64))
