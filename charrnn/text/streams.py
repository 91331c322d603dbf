"""Ids to the batches of truncated back-propagation through time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.text.records import LONGEST_CHUNK, MOST_ROWS, NOISE, TOGETHER, RecordList, RecordRows, rectangle

SHUFFLED_TOGETHER = 1 << 22
"""So many records at most are put in order together; of the order of runs that began with fewer nothing may change."""


@dataclass(frozen=True)
class Batch:
    """One chunk of every column of a group: ``inputs`` and ``targets`` (N, T), the targets one character ahead.

    ``rows`` says where these N columns are in a state of all columns; ``first`` is true if all hidden states are zero again
    here, as at the beginning of an epoch; ``opens`` (N,), if given, tells the columns that begin from the zero state at this
    chunk. ``counted`` targets are predicted, all if None: of records of several lengths side by side, those after a record's
    end are -100 and don't count; ``whole`` is how many records stood side by side before the shorter ones ended.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    rows: slice
    epoch: int
    first: bool
    opens: NDArray[np.bool_] | None = None
    counted: int | None = None
    whole: int | None = None
    starts: NDArray[np.int64] | None = None
    """Where in the text the chunk of each column begins, (N,), if each lies there in one piece."""


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
        starts = start + self.groups * self._column * np.arange(self.batch_size)
        texts = self._ids[starts[:, None] + np.arange(self.bptt + 1)]
        rows = slice(group, None, self.groups)
        return Batch(texts[:, :-1], texts[:, 1:], rows, epoch, within == 0, starts=starts)


class RecordStreams(Columns):
    """The records to train on, batch by batch: a pure function of the step, as `Streams` is.

    Records of like length are the rows of a group, and up to `TOGETHER` groups are read in one step, so that not all rows of a
    batch end at one place. A group of records longer than `LONGEST_CHUNK` times ``bptt`` stays alone and takes several steps in
    a row, with its state. Every epoch draws from (seed, epoch) which records of like length are in a group, which groups stand
    together, and in what order; every epoch has the same number of steps.
    """

    groups = 1

    def __init__(
        self, ids: NDArray[Any], records: RecordList, batch_size: int, bptt: int, seed: int, part: tuple[int, int] = (0, 1)
    ) -> None:
        """A step reads about ``batch_size`` x ``bptt`` characters of ``ids``; of so many parts of the list, each with records
        from all over it, ``part`` chooses one.
        """
        self._ids, self._seed = ids, seed
        some = slice(part[0], records.train, part[1])
        self._starts, self._spans = np.array(records.starts[some]), records.spans_of(some)
        self.bptt = min(LONGEST_CHUNK * bptt, int(self._spans.max()))
        characters, rows, is_long = batch_size * bptt, MOST_ROWS * batch_size, self._spans > self.bptt
        longer, others = self._spans[is_long], self._spans[~is_long]
        long, alone = len(longer), RecordRows(longer, characters, self.bptt, rows)
        # A group has a record at least: where they are long, fewer groups, lest a step of few characters become one of many.
        typical = (others**2).sum() / max(others.sum(), 1)  # of the record that a character stands in
        self._together = min(TOGETHER, max(1, int(characters / max(typical, 1.0))))
        short = RecordRows(others, -(-characters // self._together), self.bptt, -(-rows // self._together))
        # Of each group the ranks of its first record and of the one after its last in the order by falling length.
        self._first = np.concatenate([alone.first, long + short.first[1:]])
        self._long, self._chunks = len(alone), alone.chunks + [1] * -(-len(short) // self._together)
        largest = -np.sort(-np.diff(short.first))[: self._together].sum() if len(short) else 0
        self.batch_size = int(max(largest, *np.diff(alone.first), 1))
        self.chunks_per_epoch = sum(self._chunks)
        self._epoch = -1
        self._order = self._shuffled = self._turns = self._ends = np.empty(0, dtype=np.int64)

    @property
    def characters_per_step(self) -> int:
        """How many characters a batch predicts on average."""
        return max(1, round(int(self._spans.sum()) / self.chunks_per_epoch))

    def batch(self, step: int) -> Batch:
        """The batch of ``step`` = 0, 1, 2, ..."""
        epoch, within = divmod(step, self.chunks_per_epoch)
        if epoch != self._epoch:
            self._arrange(epoch)
        turn = int(np.searchsorted(self._ends, within, side="right"))
        number = int(self._turns[turn])
        chunk = within - int(self._ends[turn]) + self._chunks[number]
        records = self._order[self._ranks(number)]
        inputs, targets, counted = rectangle(
            self._ids, self._starts[records], self._spans[records], chunk * self.bptt, self.bptt
        )
        return Batch(inputs, targets, slice(0, len(inputs)), epoch, chunk == 0, counted=counted, whole=len(records))

    def _ranks(self, number: int) -> NDArray[np.int64]:
        """Which ranks a batch takes of the order by falling length."""
        if number < self._long:
            return np.arange(self._first[number], self._first[number + 1])
        place = (number - self._long) * self._together
        groups = [np.arange(self._first[n], self._first[n + 1]) for n in self._shuffled[place : place + self._together]]
        # Whoever takes some of the rows takes as many of each group.
        along = np.concatenate([np.arange(len(group)) / len(group) for group in groups])
        return np.concatenate(groups)[np.argsort(along, kind="stable")]

    def _arrange(self, epoch: int) -> None:
        rng = np.random.default_rng((self._seed, epoch))
        drawn, short = rng.random(len(self._spans)), self._spans <= self.bptt
        # Records of one length change places, and those of about one length, too, unless they are read in chunks.
        self._order = np.argsort(-np.where(short, self._spans * (1 - NOISE * drawn), self._spans + 0.5 * drawn))
        self._shuffled = self._long + rng.permutation(len(self._first) - 1 - self._long)
        self._turns = rng.permutation(len(self._chunks))
        self._ends = np.cumsum(np.array(self._chunks)[self._turns])
        self._epoch = epoch


class ManyRecordStreams(Columns):
    """The records of a list too long to be put in order as a whole: a pure function of the step, as `RecordStreams` is.

    Each of some parts holds records from all over the list. An epoch reads one part after another, in an order drawn from
    (seed, epoch), and only one of them is in memory.
    """

    groups = 1

    def __init__(self, ids: NDArray[Any], records: RecordList, batch_size: int, bptt: int, seed: int) -> None:
        """A step reads about ``batch_size`` x ``bptt`` characters of ``ids``."""
        self._read, self._seed = partial(RecordStreams, ids, records, batch_size, bptt, seed), seed
        self._parts = -(-records.train // SHUFFLED_TOGETHER)
        steps = []
        for number in range(self._parts):
            self._number, self._part = number, self._read(part=(number, self._parts))
            steps.append(self._part.chunks_per_epoch)
            shape = (self._part.bptt, self._part.batch_size)
            self.bptt, self.batch_size = map(max, zip(shape, (self.bptt, self.batch_size) if number else shape, strict=True))
        self._steps = np.array(steps)
        self.chunks_per_epoch = sum(steps)
        self._characters = int(records.starts[records.train] - records.starts[0])

    @property
    def characters_per_step(self) -> int:
        """How many characters a batch predicts on average."""
        return max(1, round(self._characters / self.chunks_per_epoch))

    def batch(self, step: int) -> Batch:
        """The batch of ``step`` = 0, 1, 2, ..."""
        epoch, within = divmod(step, self.chunks_per_epoch)
        order = np.random.default_rng((self._seed, epoch)).permutation(self._parts)
        ends = np.cumsum(self._steps[order])
        place = int(np.searchsorted(ends, within, side="right"))
        number = int(order[place])
        if number != self._number:
            self._number, self._part = number, self._read(part=(number, self._parts))
        steps = self._part.chunks_per_epoch
        return replace(self._part.batch(epoch * steps + within - int(ends[place]) + steps), epoch=epoch)


def of_records(ids: NDArray[Any], records: RecordList, batch_size: int, bptt: int, seed: int) -> Columns:
    """The batches of a list, whatever its length."""
    streams = RecordStreams if records.train <= SHUFFLED_TOGETHER else ManyRecordStreams
    return streams(ids, records, batch_size, bptt, seed)
