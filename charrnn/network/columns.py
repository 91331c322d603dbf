"""Reading a text side by side: cut into columns, each started from what stands before it, its seam measured.

One stream of characters is sequential: each state needs the one before. A long text is therefore cut into columns that are read
side by side, which turns matrix-vector products into matrix products and uses several cores. Each column but the first starts
from the zero state and reads an overlap, the `OVERLAP` characters before its own. How well that replaces the true state is
measured rather than believed, at the seam where the column before has read the same characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.cores import usable_cores
from charrnn.network.cells import Array, LayerTrace, Network
from charrnn.network.ensemble import Predictor, TracedEnsemble
from charrnn.network.pace import in_turns
from charrnn.network.stepper import Step

OVERLAP = 1024
"""Characters that a column reads before its own. A trained network has all but forgotten its start by then: from the zero
state, a network of 1 x 384 came within 1e-5 bits of the carried prediction on average, on two texts.
"""
SHORTEST = 4 * OVERLAP
"""The shortest column that is worth its overlap."""
LONGEST = 1 << 14
"""The longest column of a piece that is read at once, which bounds the memory."""
MOST = 128
"""How many columns one thread reads side by side."""
SEAM = 128
"""Characters at the end of an overlap over which `Reader` compares a column with the one before."""
TOLERANCE = 1e-3
"""The largest mean difference over a seam, in bits per character, that `Reader` lets stand."""
MOST_WORKERS = 8
"""More threads than this are not worth starting."""
LOGITS = 1 << 20
"""Logits that one thread holds at a time."""

TRACED = 2048
"""Characters whose traces are held at a time."""
FEWEST = 8
"""Columns that are worth a core of their own."""

P = TypeVar("P", bound=Predictor)

Feed = Callable[[NDArray[Any]], tuple[Array, list[LayerTrace]]]
"""From ids (T, N) to the logits (T, N, V) after each and a trace per layer, if traces are kept; it advances the state."""
Figures = list[NDArray[Any]]
"""What is kept of a column: arrays (T, ...), the nats of its characters first."""


def worthwhile(length: int, workers: int = 1) -> int:
    """How many columns ``length`` characters are worth: none below `SHORTEST`, at most `MOST` for each worker."""
    return max(1, min(length // SHORTEST, workers * MOST))


def cut(length: int, columns: int) -> NDArray[np.intp]:
    """The borders (N + 1,) of N ``columns`` of a text; their lengths differ by one at most."""
    return length * np.arange(columns + 1) // columns


def warmed(network: Predictor, ids: NDArray[Any], starts: NDArray[np.intp], state: Array) -> Array:
    """The states (L, P, N, H) in which the columns of ids (T,) begin that start at ``starts`` (N,).

    The first column begins in ``state`` (L, P, 1, H), every other in the state that its overlap leads to from zero.
    """
    later = starts[1:]
    states = network.initial_state(len(later))
    if len(later):
        step = network.stepper(states)
        for back in range(OVERLAP, 0, -1):
            step(ids[later - back])
    return np.concatenate([state, states], axis=2)


def stepped(network: Predictor, state: Array) -> Feed:
    """Feed the network step by step, as fast as it goes, from ``state`` (L, P, N, H), which advances in place."""
    step: Step = network.stepper(state)

    def feed(ids: NDArray[Any]) -> tuple[Array, list[LayerTrace]]:
        logits = np.empty((*ids.shape, network.vocab_size), dtype=np.float32)
        for t, row in enumerate(ids):
            logits[t] = step(row)
        return logits, []

    return feed


def traced(network: Network | TracedEnsemble, state: Array) -> Feed:
    """Feed the network and keep the traces of its layers; ``state`` (L, P, N, H) advances in place."""

    def feed(ids: NDArray[Any]) -> tuple[Array, list[LayerTrace]]:
        logits, state[...], traces = network.unroll(ids, state)
        return logits, traces

    return feed


@dataclass(frozen=True)
class Block:
    """T characters of N columns: ``offsets`` (T,) in each of the ``columns`` (N,), what came after each of them, and
    ``logits`` (T, N, V) and ``traces`` as a `Feed` gives them.
    """

    columns: NDArray[np.intp]
    offsets: slice
    logits: Array
    traces: list[LayerTrace]


def blocks(
    network: P,
    columns: Sequence[NDArray[Any]],
    state: Array,
    characters: int,
    feed: Callable[[P, Array], Feed] = stepped,
) -> Iterator[Block]:
    """Read ``columns`` of ids side by side, each from its own ``state`` (L, P, N, H), about ``characters`` at a time.

    Columns may differ in length; those that have ended leave the products. The state holds where each ended when all have.
    """
    lengths = np.array([len(column) for column in columns])
    order = np.argsort(-lengths, kind="stable")
    begin, active, carried = 0, 0, state
    while going := int(np.count_nonzero(lengths > begin)):
        if going != active:
            if active:
                state[:, :, order[:active]] = carried
            active, carried = going, np.ascontiguousarray(state[:, :, order[:going]])
            read = feed(network, carried)
        end = min(begin + max(1, characters // active), int(lengths[order[active - 1]]))
        ids = np.stack([columns[column][begin:end] for column in order[:active]], axis=1).astype(np.intp)  # (T, N)
        yield Block(order[:active], slice(begin, end), *read(ids))
        begin = end
    if active:
        state[:, :, order[:active]] = carried


@dataclass(frozen=True)
class Passage:
    """The traces of some characters: ``positions`` (T, N) in the text, ``logits`` (T, N, V) after each, a trace per layer."""

    positions: NDArray[np.intp]
    logits: Array
    traces: list[LayerTrace]


class Reading:
    """A text read by a network from ``state`` (default: zero), as an iterator of `Passage`; every character comes exactly once.

    A text of up to two columns of the shortest worthwhile length is read as one stream, so that nothing is approximated. A
    longer one is cut into columns, `MOST` at most. ``seam`` tells how far the states in which columns begin are from
    those in which the columns before end: the largest difference of any unit's h.
    """

    def __init__(
        self,
        network: Network | TracedEnsemble,
        ids: NDArray[Any],
        state: Array | None = None,
        columns: int | None = None,
        cores: int = 1,
    ) -> None:
        """Read ``ids`` (T,); ``columns`` asks for so many, as long as each is at least as long as its overlap. Up to so many
        ``cores`` share them.
        """
        self.network, self.ids, self._cores = network, ids, cores
        self.state = network.initial_state(1) if state is None else state
        if columns is None:
            self.columns = worthwhile(len(ids)) if len(ids) > 2 * SHORTEST else 1
        else:
            self.columns = max(1, min(columns, MOST, len(ids) // OVERLAP))
        self.seam = 0.0

    @property
    def overlap(self) -> int:
        """Characters read before each column but the first; 0 if there is only one."""
        return OVERLAP if self.columns > 1 else 0

    def __iter__(self) -> Iterator[Passage]:
        borders = cut(len(self.ids), self.columns)
        began = np.concatenate([self.state, self.network.initial_state(self.columns - 1)], axis=2)  # (L, P, N, H)
        ended = began.copy()

        def read(some: NDArray[np.intp]) -> Iterator[Passage]:
            # Not the first columns of all: the first of `warmed` is none of them.
            before = 0 if some[0] == 0 else 1
            starts = borders[some]
            state = warmed(self.network, self.ids, np.concatenate([starts[:before], starts]), self.state)[:, :, before:].copy()
            began[:, :, some] = state
            parts = [self.ids[borders[column] : borders[column + 1]] for column in some]
            for block in blocks(self.network, parts, state, TRACED, traced):
                positions = starts[block.columns] + np.arange(block.offsets.start, block.offsets.stop)[:, None]  # (T, N)
                yield Passage(positions, block.logits, block.traces)
            ended[:, :, some] = state

        shares = max(1, min(self._cores, self.columns // FEWEST))
        yield from in_turns([read(some) for some in np.array_split(np.arange(self.columns), shares)])
        self.seam = float(np.abs(ended[:, 0, :-1] - began[:, 0, 1:]).max(initial=0.0))


class Reader:
    """Reads texts with one network and keeps figures of every character; ``workers`` threads share the columns.

    ``see`` makes `Figures` (T, N, ...) of logits (T, N, V) and of the ids (T, N) that came in their place.
    """

    def __init__(
        self, network: Predictor, see: Callable[[Array, NDArray[Any]], Figures], *, workers: int | None = None
    ) -> None:
        self.workers = workers or min(usable_cores(), MOST_WORKERS)
        self.seam: float | None = None
        """The largest difference let stand at a seam of two columns, in bits per character; None where there was no seam."""
        self.columns_read_again = 0
        self._network, self._see = network, see
        self._characters = max(1, min(4096, LOGITS // network.vocab_size))
        self._stopped = False

    @property
    def columns(self) -> int:
        """How many columns are read at once, at most."""
        return self.workers * MOST

    @property
    def characters(self) -> int:
        """How many characters are read at once, at most."""
        return self.columns * LONGEST

    def text(self, ids: NDArray[Any], state: Array, columns: int) -> tuple[list[Figures], Array]:
        """Read ids (T + 1,) in so many ``columns``, from ``state`` (L, P, 1, H), which has seen all before ``ids[0]``.

        Where a column differs from the one before at their seam by more than `TOLERANCE`, it is read again from the state in
        which that one ended.

        Returns:
            The figures of ``ids[1:]``, column by column, and the state before ``ids[-1]`` is read.
        """
        borders = cut(len(ids) - 1, columns)
        overlaps = np.array([0] + [OVERLAP] * (columns - 1))
        parts = [ids[start : end + 1] for start, end in zip(borders[:-1] - overlaps, borders[1:], strict=True)]
        states = self._network.initial_state(columns)
        states[:, :, :1] = state
        found = self.each(parts, states)
        for column in range(1, columns):
            cold, warm = found[column][0][OVERLAP - SEAM : OVERLAP], found[column - 1][0][-SEAM:]
            seam = float(np.abs(cold - warm).mean() / np.log(2))
            if seam <= TOLERANCE:
                found[column] = [figure[OVERLAP:] for figure in found[column]]
                self.seam = max(seam, self.seam or 0.0)
            else:
                end = states[:, :, column - 1 : column].copy()
                (found[column],) = self.each([parts[column][OVERLAP:]], end)
                states[:, :, column : column + 1] = end
                self.columns_read_again += 1
        return found, states[:, :, -1:].copy()

    def each(self, columns: Sequence[NDArray[Any]], state: Array) -> list[Figures]:
        """The figures of each column's ids but its first, read from its own ``state`` (L, P, N, H).

        The state advances in place to where each column's last id, which its next piece begins with, is still to be read.
        """
        shares = max(1, min(self.workers, len(columns) // 8))
        if shares == 1:
            return self._share(columns, state)
        # Neighbours in length go to different threads.
        order = sorted(range(len(columns)), key=lambda column: -len(columns[column]))
        parts = [order[share::shares] for share in range(shares)]
        states = [np.ascontiguousarray(state[:, :, part]) for part in parts]
        found: dict[int, Figures] = {}
        with ThreadPoolExecutor(shares, "charrnn-columns") as pool:
            try:
                jobs = [
                    pool.submit(self._share, [columns[column] for column in part], own)
                    for part, own in zip(parts, states, strict=True)
                ]
                for part, own, job in zip(parts, states, jobs, strict=True):
                    found.update(zip(part, job.result(), strict=True))
                    state[:, :, part] = own
            except BaseException:
                self._stopped = True  # Ctrl-C must not wait until the other threads have read their columns to the end.
                raise
        return [found[column] for column in range(len(columns))]

    def _share(self, columns: Sequence[NDArray[Any]], state: Array) -> list[Figures]:
        """`each` in one thread."""
        found: list[Figures] = [[] for _ in columns]
        with np.errstate(over="ignore", invalid="ignore"):  # Whoever sums the figures reports absurd weights.
            for block in blocks(self._network, [column[:-1] for column in columns], state, self._characters):
                if self._stopped:
                    break
                places = slice(block.offsets.start + 1, block.offsets.stop + 1)
                came = np.stack([columns[column][places] for column in block.columns], axis=1).astype(np.intp)  # (T, N)
                seen = self._see(block.logits, came)
                for place, column in enumerate(block.columns):
                    length = len(columns[column]) - 1
                    found[column] = found[column] or [np.empty((length, *one.shape[2:]), one.dtype) for one in seen]
                    for whole, one in zip(found[column], seen, strict=True):
                        whole[block.offsets] = one[:, place]
        return found


def rejoined(pieces: Iterable[NDArray[Any]], size: int) -> Iterator[NDArray[Any]]:
    """The same text in pieces of ``size`` characters, the last one shorter."""
    held: list[NDArray[Any]] = []
    length = 0
    for piece in pieces:
        while length + len(piece) >= size:
            rest = size - length
            yield np.concatenate([*held, piece[:rest]])
            held, length, piece = [], 0, piece[rest:]
        if len(piece):
            held.append(piece)
            length += len(piece)
    if held:
        yield np.concatenate(held)
