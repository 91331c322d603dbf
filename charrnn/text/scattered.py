"""Validation pieces spread over a text, and the stretches between them as batches: for texts by several hands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.text.streams import Batch, Columns

WARM_UP = 256
"""Characters at the beginning of a piece that are read before it is scored; nobody trains on them either."""
SHORTEST_PIECE = 512
"""No piece scores fewer characters than this, unless it is the only one: the warm-up is taken from training."""
MOST_PIECES = 64


@dataclass(frozen=True)
class Pieces:
    """P pieces of a text of ``characters``, in order: piece p is read from ``begins[p]``, scored from ``scored_from[p]`` to
    ``ends[p]``. What is in no piece is trained on.
    """

    characters: int
    begins: NDArray[np.int64]
    scored_from: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def scored(self) -> int:
        """How many characters are scored."""
        return int((self.ends - self.scored_from).sum())

    @property
    def trained(self) -> int:
        """How many characters are in no piece."""
        return self.characters - int((self.ends - self.begins).sum())

    @property
    def warm_up(self) -> int:
        """How many characters of each piece are read before it is scored, at least 1."""
        return int(self.scored_from[0] - self.begins[0])

    def first(self, characters: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where what is scored begins and ends, (n,) each, if it is but so many characters: the beginnings of as many pieces as
        warm-ups are worth, all over the text, of each the same share.
        """
        count = min(len(self.begins), -(-characters // WARM_UP))
        begins = self.scored_from[(2 * np.arange(count) + 1) * len(self.begins) // (2 * count)]
        return begins, begins + _shares(characters, count)

    def stretches(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the P + 1 stretches that are trained on begin and end."""
        return np.concatenate([[0], self.ends]), np.concatenate([self.begins, [self.characters]])


def scatter(characters: int, fraction: float) -> Pieces | None:
    """Spread pieces evenly over a text: a function of its length and the share to be scored alone.

    All pieces are equally long, to a character, and so are the stretches before, between and behind them. Warm-ups take at most
    half of what isn't scored. None if a piece or a stretch would have fewer than 2 characters.
    """
    scored = int(characters * fraction)
    count = max(1, min(MOST_PIECES, scored // SHORTEST_PIECE))
    warm_up = min(WARM_UP, (characters - scored) // (2 * count))
    trained = characters - scored - count * warm_up
    if scored < 2 * count or warm_up < 1 or trained < 2 * (count + 1):
        return None
    lengths = _shares(scored, count)
    ends = np.cumsum(_shares(trained, count + 1)[:-1] + warm_up + lengths)
    return Pieces(characters, ends - lengths - warm_up, ends - lengths, ends)


def _shares(total: int, count: int) -> NDArray[np.int64]:
    """``total`` in ``count`` whole parts, (count,), the first ones larger by 1 where it doesn't come out even."""
    each, left = divmod(total, count)
    return each + (np.arange(count) < left)


class StretchStreams(Columns):
    """The text between the pieces as G groups of N parallel columns: a pure function of the step, like `Streams`.

    Each stretch is cut into whole chunks of T characters, from an offset drawn from (seed, epoch). A column reads a run of
    chunks, and where one opens a stretch, the column begins from the zero state. So no chunk spans a cut, where the kernels
    couldn't reset the state, and no state is carried over one: what stands before a piece doesn't lead to what is behind it.
    """

    def __init__(self, ids: NDArray[Any], pieces: Pieces, batch_size: int, bptt: int, seed: int, groups: int = 1) -> None:
        """``batch_size``, ``bptt`` and ``groups`` are upper bounds; a chunk is no longer than a stretch."""
        self._begins, ends = pieces.stretches()
        transitions = ends - self._begins - 1
        self.bptt = min(bptt, max(1, int(transitions.sum()) // 4), int(transitions.min()))
        # Up to T - 1 characters of a stretch are set aside, so that there is room for an offset.
        chunks = np.maximum(1, (transitions - self.bptt + 1) // self.bptt)
        self._room = transitions - chunks * self.bptt
        self._firsts, total = np.cumsum(chunks) - chunks, int(chunks.sum())
        self.batch_size = min(batch_size, max(1, total // 4))
        self.groups = min(groups, max(1, total // (4 * self.batch_size)))
        self._per_column = total // self.columns
        self._spare = total - self._per_column * self.columns
        self.chunks_per_epoch = self._per_column * self.groups
        self._ids, self._seed = ids, seed

    def batch(self, step: int) -> Batch:
        """The batch of ``step`` = 0, 1, 2, ..."""
        epoch, within = divmod(step, self.chunks_per_epoch)
        chunk, group = divmod(within, self.groups)
        rng = np.random.default_rng((self._seed, epoch))
        offsets, first = rng.integers(self._room + 1), int(rng.integers(self._spare + 1))
        columns = group + self.groups * np.arange(self.batch_size)
        numbers = first + columns * self._per_column + chunk  # (N,), of all chunks in the order of the text
        stretch = np.searchsorted(self._firsts, numbers, side="right") - 1
        within_stretch = numbers - self._firsts[stretch]
        starts = self._begins[stretch] + offsets[stretch] + within_stretch * self.bptt
        texts = self._ids[starts[:, None] + np.arange(self.bptt + 1)]
        rows = slice(group, None, self.groups)
        return Batch(texts[:, :-1], texts[:, 1:], rows, epoch, within == 0, within_stretch == 0, starts=starts)
