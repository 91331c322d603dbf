"""Whether the end of a text, held out for validation, is a stranger to the rest: characters, or first letters of lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from charrnn.text.vocabulary import Vocabulary

RARE = 20
"""A symbol is a stranger if it is this many times as frequent in the tail as in the rest,"""
FEWEST = 5
"""and occurs at least so often there."""
SHARES = {"characters": 0.01, "lines": 0.25}
"""The share of the tail that strangers, or lines that begin with one, must have together."""
FEWEST_LINES = 20
WINDOWS, WINDOW = 64, 1 << 18
"""Of a longer part so many windows of so many characters each are read, spread evenly."""


@dataclass(frozen=True)
class Strangers:
    """``symbols`` that the rest of the text hardly has, or hardly begins a line with, the most frequent first.

    ``share`` is that of the tail's characters, or of its lines, that they are or begin.
    """

    of: Literal["characters", "lines"]
    symbols: tuple[int, ...]
    share: float


def strangers(ids: NDArray[Any], border: int, vocabulary: Vocabulary) -> Strangers | None:
    """What makes ``ids[border:]`` a stranger to ``ids[:border]``; None if it is none."""
    rest, tail = (_windows(part) for part in (ids[:border], ids[border:]))
    newline = int(vocabulary.encode("\n")[0])
    found = _of(_counts(rest, vocabulary.size), _counts(tail, vocabulary.size), "characters")
    if found is not None or newline == vocabulary.unknown:
        return found
    begin_rest, begin_tail = (_first_letters(part, newline, vocabulary.size) for part in (rest, tail))
    return _of(begin_rest, begin_tail, "lines") if begin_tail.sum() >= FEWEST_LINES else None


def _of(rest: NDArray[np.int64], tail: NDArray[np.int64], of: Literal["characters", "lines"]) -> Strangers | None:
    if not (rest.sum() and tail.sum()):
        return None
    strange = (tail >= FEWEST) & (tail / tail.sum() >= RARE * rest / rest.sum())
    share = float(tail[strange].sum() / tail.sum())
    if share < SHARES[of]:
        return None
    symbols = np.flatnonzero(strange)
    return Strangers(of, tuple(symbols[np.argsort(-tail[symbols], kind="stable")].tolist()), share)


def _windows(part: NDArray[Any]) -> list[NDArray[Any]]:
    if len(part) <= WINDOWS * WINDOW:
        return [part[begin : begin + WINDOW] for begin in range(0, len(part), WINDOW)]
    return [part[begin : begin + WINDOW] for begin in np.linspace(0, len(part) - WINDOW, WINDOWS).astype(np.int64)]


def _counts(windows: list[NDArray[Any]], size: int) -> NDArray[np.int64]:
    return sum((np.bincount(window, minlength=size) for window in windows), np.zeros(size, dtype=np.int64))


def _first_letters(windows: list[NDArray[Any]], newline: int, size: int) -> NDArray[np.int64]:
    firsts = (window[1:][window[:-1] == newline] for window in windows)
    counts = _counts(list(firsts), size)
    counts[newline] = 0  # A blank line begins with nothing.
    return counts
