"""Ids to the batches of truncated back-propagation through time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError


@dataclass(frozen=True)
class Batch:
    """One chunk of every column of a group: ``inputs`` and ``targets`` (N, T), the targets one character ahead.

    ``rows`` says where these N columns are in a state of all columns; ``first`` is true if the chunk opens an epoch, where all
    hidden states are zero again; ``opens`` (N,), if given, tells the columns that begin from the zero state at this chunk.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    rows: slice
    epoch: int
    first: bool
    opens: NDArray[np.bool_] | None = None


class Columns:
    """G groups of N parallel columns of a text, cut into chunks of T characters. The groups take turns, a step each."""

    bptt: int
    """T."""
    batch_size: int
    """N."""
    groups: int
    """G."""
    chunks_per_epoch: int
    """Steps in which every column is read once."""

    @property
    def columns(self) -> int:
        """The number of columns in all groups, G x N."""
        return self.groups * self.batch_size

    @property
    def characters_per_step(self) -> int:
        """How many characters one batch predicts, N x T."""
        return self.batch_size * self.bptt

    def batch(self, step: int) -> Batch:
        """The batch of ``step`` = 0, 1, 2, ..."""
        raise NotImplementedError


class Streams(Columns):
    """The training text as G groups of N parallel columns, cut into chunks of T characters: a pure function of the step.

    The groups take turns, a step each: step s reads a chunk of every column of group s mod G. Neighbours in the text are in
    different groups, so each group reads from all over it, and a few steps in a row read G times as many places as one.

    Epoch e begins at an offset drawn from (seed, e), so that chunk borders fall elsewhere each time; chunk k of
    a column continues its chunk k - 1. A text too short for ``batch_size`` columns of at least four chunks
    gets fewer groups, then fewer columns, then shorter chunks. All columns have the same whole number of chunks; the rest
    of the text is not read in that epoch. With many short columns this may be a tenth of it.
    """

    def __init__(self, ids: NDArray[Any], batch_size: int, bptt: int, seed: int, groups: int = 1) -> None:
        """``ids`` (C,) with C >= 2; ``batch_size``, ``bptt`` and ``groups`` are upper bounds."""
        transitions = len(ids) - 1
        if transitions < 1:
            raise CharrnnError("a text of at least 2 characters is needed")
        self.bptt = min(bptt, max(1, transitions // 4))
        self.batch_size = min(batch_size, max(1, transitions // (4 * self.bptt)))
        self.groups = min(groups, max(1, transitions // (4 * self.bptt * self.batch_size)))
        self._ids, self._seed = ids, seed
        # Up to T - 1 characters are set aside, so that there is room for an offset.
        per_column = max(1, (transitions - self.bptt + 1) // (self.columns * self.bptt))
        self.chunks_per_epoch = per_column * self.groups
        self._column = per_column * self.bptt
        self._slack = transitions - self.columns * self._column

    def offset(self, epoch: int) -> int:
        """Where column 0 of ``epoch`` begins."""
        return int(np.random.default_rng((self._seed, epoch)).integers(self._slack + 1))

    def batch(self, step: int) -> Batch:
        """The batch of ``step`` = 0, 1, 2, ..."""
        epoch, within = divmod(step, self.chunks_per_epoch)
        chunk, group = divmod(within, self.groups)
        start = self.offset(epoch) + group * self._column + chunk * self.bptt
        apart = self.groups * self._column
        end = start + (self.batch_size - 1) * apart + self.bptt
        texts = np.lib.stride_tricks.as_strided(
            self._ids[start : end + 1],
            shape=(self.batch_size, self.bptt + 1),
            strides=(apart * self._ids.itemsize, self._ids.itemsize),
            writeable=False,
        )
        return Batch(texts[:, :-1], texts[:, 1:], slice(group, None, self.groups), epoch, within == 0)
