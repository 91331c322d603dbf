"""Pairs of symbols that have a vector of their own, added to that of the second symbol where it follows the first.

A network with R pairs reads a symbol as one of V + R inputs: the symbol alone, or a pair that ends in it. So it must know which
symbol it has read before. That stands in its state: the last part of the first layer holds, in its first unit, the symbol's id
plus one; zero, as in every zero state, is none, and the next symbol is then read alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import ModelConfig

Symbols = NDArray[np.intp]

OFTEN = 2
"""A pair that occurs once would be learned by heart."""
COUNTED, STRETCHES = 1 << 22, 64
"""How many symbols are counted at most, and in how many places of a longer text."""
TABLED = 1 << 18
"""So many pairs of symbols have a table of their inputs; of more symbols, those with a vector are searched for."""


class Pairs:
    """Which input stands for a symbol that follows another; the rows of the R pairs stand behind those of the V symbols."""

    def __init__(self, config: ModelConfig) -> None:
        self.vocab_size = V = config.vocab_size
        self.keys: Symbols = np.array(config.pair_keys, dtype=np.intp)
        """The pairs (R,), rising: V times the first symbol, plus the second."""
        self.seconds: Symbols = self.keys % V
        """The second symbols (R,)."""
        self._table: Symbols | None = None
        if (V + 1) * V <= TABLED:
            self._table = np.tile(np.arange(V), (V + 1, 1))  # A row for the symbol before plus one, so the first for none.
            self._table[1 + self.keys // V, self.seconds] = V + np.arange(len(self.keys))

    def inputs(self, before: Symbols, ids: NDArray[Any]) -> Symbols:
        """The inputs for ``ids``; ``before`` is the id of the symbol before each, plus one, or 0. All have the same shape."""
        if self._table is not None:
            found: Symbols = self._table[before, ids]
            return found
        keys = (before - 1) * self.vocab_size + ids
        rows = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[rows] == keys, self.vocab_size + rows, ids)

    def before(self, last: NDArray[np.float32]) -> Symbols:
        """What `inputs` takes, from where a state holds it, (N,). A state from a file may hold anything there."""
        return np.nan_to_num(last).clip(0, self.vocab_size).astype(np.intp)

    def reader(self, last: NDArray[np.float32]) -> Callable[[NDArray[Any]], Symbols]:
        """A function from each stream's ids (N,) to its inputs (N,), whose array it reuses; ``last`` (N,) holds the id of the
        symbol before, plus one, and follows.
        """
        marks = self.before(last)
        table, found = self._table, np.empty_like(marks)

        def one(ids: NDArray[Any]) -> Symbols:
            assert table is not None
            second = int(ids[0])  # Arrays of one number take several times as long.
            found[0] = table[int(last[0]), second]
            last[0] = second + 1
            return found

        def many(ids: NDArray[Any]) -> Symbols:
            found[...] = self.inputs(last.astype(np.intp), ids)
            last[...] = ids
            np.add(last, 1, out=last)
            return found

        last[...] = marks
        return one if len(marks) == 1 and table is not None else many

    def vectors(self, symbols: NDArray[np.float32], pairs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The vectors (V + R, E) of all inputs, from those of the symbols (V, E) and what each pair adds (R, E)."""
        return np.concatenate([symbols, symbols[self.seconds] + pairs])


def last_read(state: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where a state (L, P, N, H) holds the id of the symbol that was read last, plus one: a view (N,)."""
    return state[0, -1, :, 0]


def commonest(texts: Sequence[NDArray[Any]], vocab_size: int, most: int) -> tuple[int, ...]:
    """The pairs that ``texts``, each ids (T,), hold most often, as `ModelConfig.pair_keys`: ``most`` at most, each at least
    `OFTEN` times. Of long texts stretches all over them are counted, some `COUNTED` symbols in all.
    """
    if not most:
        return ()
    share, counted = min(1.0, COUNTED / max(1, sum(map(len, texts)))), [np.zeros(0, dtype=np.int64)]
    for ids in texts:
        stretches = STRETCHES if share < 1 and len(ids) > STRETCHES else 1
        for start in np.linspace(0, len(ids), stretches + 1).astype(np.int64)[:-1].tolist():
            symbols = np.asarray(ids[start : start + max(2, int(share * len(ids) / stretches))], dtype=np.int64)
            counted.append(symbols[:-1] * vocab_size + symbols[1:])
    found, counts = _counted(np.concatenate(counted), vocab_size**2)
    # Among pairs that are equally common the lower keys come first.
    order = np.argsort(-counts, kind="stable")[:most]
    return tuple(np.sort(found[order[counts[order] >= OFTEN]]).tolist())


def _counted(keys: NDArray[np.int64], below: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which ``keys``, all ``below`` a number, there are, rising, and how often; counting in a table is ten times as fast."""
    if below > TABLED:
        return np.unique(keys, return_counts=True)
    counts = np.bincount(keys, minlength=below)
    found = np.flatnonzero(counts)
    return found, counts[found]


def moved(keys: Sequence[int], was: Sequence[object], now: Sequence[object]) -> dict[int, int]:
    """The pairs ``keys`` of a vocabulary whose ids stand for ``was``, in one whose ids stand for ``now``.

    Returns:
        Each pair's key there, rising, with its row of before. Pairs of a symbol that is not there are left out.
    """
    places = {symbol: place for place, symbol in enumerate(now)}
    found = {}
    for row, key in enumerate(keys):
        first, second = (was[symbol] for symbol in divmod(key, len(was)))
        if first in places and second in places:
            found[places[first] * len(now) + places[second]] = row
    return dict(sorted(found.items()))
