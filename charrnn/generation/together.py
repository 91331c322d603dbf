"""Many texts drawn together: each is a row of a batch, and whoever ends makes room for the next one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.drawing import BatchSampler, Drawing
from charrnn.generation.stopping import Ending, Watch
from charrnn.network.cells import Array
from charrnn.network.stepper import Step
from charrnn.text.vocabulary import id_dtype

AHEAD = 64
"""Where one text goes on and on, so many batches of later ones are finished before the next has to wait for it."""


class Steps(Protocol):
    """A network that takes one symbol per stream and step, as `charrnn.network.cells.Network` does."""

    def stepper(self, state: Array, /) -> Step:
        """A function from ids (N,) to logits (N, V) that starts at ``state`` (L, P, N, H)."""


@dataclass(frozen=True)
class Beginning:
    """Where a text begins: the logits (V,) and the state (L, P, 1, H) after the ids ``before`` it (T,); and its random
    numbers.
    """

    logits: Array
    state: Array
    before: NDArray[Any]
    rng: np.random.Generator


@dataclass(frozen=True)
class Completion:
    """One finished text: its ids (T,), why it ended, which stop text ended it, and its ``bits`` in all if measured."""

    ids: NDArray[Any]
    reason: str
    stop: int | None = None
    bits: float | None = None


def complete(
    network: Steps,
    beginnings: Iterable[Beginning],
    drawing: Drawing,
    ending: Ending,
    *,
    rows: int,
    measured: bool = False,
    refill: bool = True,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Completion]:
    """Draw the texts of ``beginnings``, each until ``ending``, so many ``rows`` at a time; they come in their order.

    Args:
        network: computes the steps.
        beginnings: where each text begins.
        drawing: how symbols are drawn.
        ending: when a text ends.
        rows: how many texts are drawn together.
        measured: whether their bits are wanted.
        refill: whether the next text takes the row of one that has ended, and rows without a text leave the batch; for a
            network whose `Steps.stepper` reads the state that it was given at every step. Else a batch ends with its last text.
        stopped: asked after every step; true ends everything.
    """
    waiting = iter(beginnings)
    while first := list(islice(waiting, rows)):
        if ending.length == 0:
            yield from (Completion(np.zeros(0, dtype=np.intp), "length", bits=0.0) for _ in first)
            continue
        batch = _Batch(network, first, drawing, ending, measured=measured)
        later = waiting if refill else iter(())
        finished, given, told = dict[int, Completion](), len(first), 0
        while batch.going and not stopped():
            for row, completion in batch.draw():
                finished[int(batch.texts[row])] = completion
                if given - told < AHEAD * rows and (beginning := next(later, None)) is not None:
                    batch.begin(row, given, beginning)
                    given += 1
                else:
                    batch.leave(row)
            while told in finished:
                yield finished.pop(told)
                told += 1
            batch.read(shrink=refill)
        if stopped():
            return


class _Batch:
    """N texts that grow side by side, each from its own beginning."""

    def __init__(
        self, network: Steps, beginnings: Sequence[Beginning], drawing: Drawing, ending: Ending, *, measured: bool
    ) -> None:
        N = len(beginnings)
        self._network, self._ending = network, ending
        self.texts = np.arange(N)
        """The number of the text that each row is."""
        self._live = np.ones(N, dtype=np.bool_)
        self._sampler = BatchSampler([beginning.rng for beginning in beginnings], drawing, measured=measured)
        self._sampler.read(_columns([beginning.before for beginning in beginnings]))
        self._watch = Watch(ending, N)
        self._measure = Measure(N, ending.held_back) if measured else None
        self._logits = np.stack([beginning.logits for beginning in beginnings])  # (N, V)
        self._state = np.concatenate([beginning.state for beginning in beginnings], axis=2)  # (L, P, N, H)
        self._step = network.stepper(self._state)
        self._lengths = np.zeros(N, dtype=np.intp)
        self._written = np.zeros((N, 64), dtype=id_dtype(self._logits.shape[-1]))
        self._drawn = np.zeros(N, dtype=np.intp)
        self._new: dict[int, Beginning] = {}

    @property
    def going(self) -> bool:
        """Whether any text goes on."""
        return bool(self._live.any())

    def draw(self) -> list[tuple[int, Completion]]:
        """Draw a symbol of every text: the rows whose texts end with it, and what these are. Each must `begin` or `leave`."""
        self._drawn = ids = self._sampler.draw(self._logits)
        if int(self._lengths.max()) == self._written.shape[1]:
            self._written = np.concatenate([self._written, np.zeros_like(self._written)], axis=1)
        self._written[np.arange(len(ids)), self._lengths] = ids
        self._lengths += 1
        if self._measure is not None and self._sampler.bits is not None:
            self._measure.add(self._sampler.bits.popleft())
        over = self._watch.ended(ids)
        return [(row, self._completion(row, *over[row])) for row in sorted(over) if self._live[row]]

    def _completion(self, row: int, reason: str, stop: int | None) -> Completion:
        dropped = self._ending.dropped(stop)
        bits = None if self._measure is None else self._measure.without(row, dropped)
        return Completion(self._written[row, : self._lengths[row] - dropped].copy(), reason, stop, bits)

    def begin(self, row: int, text: int, beginning: Beginning) -> None:
        """Let ``row`` be text number ``text`` from now on."""
        self.texts[row], self._lengths[row], self._new[row] = text, 0, beginning
        self._sampler.begin(row, beginning.rng, beginning.before)
        self._watch.begin(row)
        if self._measure is not None:
            self._measure.begin(row)

    def leave(self, row: int) -> None:
        """Let ``row`` be no text any more."""
        self._live[row] = False

    def read(self, *, shrink: bool) -> None:
        """Read what was drawn. If the batch may ``shrink``, rows without a text leave it once they are half of it or more."""
        left = np.flatnonzero(self._live)
        if not len(left):
            return
        if shrink and 2 * len(left) <= len(self._live):
            self._keep(left)
        self._logits = self._step(self._drawn)
        for row, beginning in self._new.items():
            self._state[:, :, row], self._logits[row] = beginning.state[:, :, 0], beginning.logits
        self._new = {}

    def _keep(self, rows: NDArray[np.intp]) -> None:
        self._new = {place: self._new[row] for place, row in enumerate(rows.tolist()) if row in self._new}
        self.texts, self._live, self._drawn = self.texts[rows], self._live[rows], self._drawn[rows]
        self._lengths, self._written = self._lengths[rows], self._written[rows]
        self._sampler.keep(rows)
        self._watch.keep(rows)
        if self._measure is not None:
            self._measure.keep(rows)
        self._state = np.ascontiguousarray(self._state[:, :, rows])
        self._step = self._network.stepper(self._state)


class Measure:
    """The bits of N texts that grow together: their sums, and apart from them those of the last symbols, which a stop text may
    take with it.
    """

    def __init__(self, texts: int, held_back: int) -> None:
        self._sums, self._held_back = np.zeros(texts), held_back
        self._late: deque[NDArray[np.float64]] = deque()

    def add(self, bits: NDArray[np.float64]) -> None:
        """Add the ``bits`` (N,) of one symbol of each text."""
        self._late.append(bits)
        if len(self._late) > self._held_back:
            self._sums += self._late.popleft()

    def without(self, text: int, dropped: int) -> float:
        """The bits of ``text`` without those of its last ``dropped`` symbols."""
        kept = islice(self._late, len(self._late) - dropped)
        return float(self._sums[text]) + sum(float(row[text]) for row in kept)

    def begin(self, text: int) -> None:
        """Let ``text`` be another one, without any symbol."""
        for row in (self._sums, *self._late):
            row[text] = 0.0

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Drop all texts but those of ``rows``, which become texts 0, 1, ..."""
        self._sums, self._late = self._sums[rows], deque(row[rows] for row in self._late)


def _columns(texts: Sequence[NDArray[Any]]) -> NDArray[np.intp]:
    """Texts of ids as the columns (T, N) of one array, aligned at their ends; -1 where a text hasn't begun."""
    columns = np.full((max(map(len, texts)), len(texts)), -1, dtype=np.intp)
    for column, text in zip(columns.T, texts, strict=True):
        column[len(column) - len(text) :] = text
    return columns
