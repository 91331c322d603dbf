"""The batches that a classifier learns from: labelled texts of like length, with typos, without words, spliced.

What a batch reads follows from the seed and the number of its step. Some steps' texts are varied at once, and a teacher asked
of all of them together, since both cost as much for one batch as for several. Shapes: N texts, C labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.text.gathered import Encoded, Ids
from charrnn.training.classify_recipe import Plan

Teacher = Callable[[Sequence[Ids]], NDArray[np.floating]]
"""Says how likely the labels of texts are, (N, C), also of texts put together from others."""

MIXED = 50
"""The texts of so many batches are sorted by length together."""
AHEAD = 8
"""So many steps' texts are varied at once."""
LONGER = 8
"""A text may become so many characters longer by typos."""


@dataclass(frozen=True)
class Examples:
    """Texts as ids, with their labels (N,)."""

    ids: Sequence[Ids]
    labels: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many ids each text has, (N,)."""
        if isinstance(self.ids, Encoded):
            return self.ids.lengths
        return np.array([len(one) for one in self.ids], dtype=np.int64)


@dataclass(frozen=True)
class Batch:
    """Texts of a step with ``labels`` (N,), what a teacher, if any, ``said`` (N, C), and how much that ``counts`` (N,)."""

    ids: list[Ids]
    labels: NDArray[np.intp]
    said: NDArray[np.float32] | None
    counts: NDArray[np.float32]


class Batches:
    """The batch of each step."""

    def __init__(
        self, train: Examples, plan: Plan, known: int, unknown: int | None, blank: int | None, teacher: Teacher | None
    ) -> None:
        """``known`` is how many characters there are beside the ``unknown`` one; ``blank`` is the id of a space."""
        self._train, self._plan = train, plan
        self._teacher = teacher if plan.teaching or plan.splices else None
        self._known, self._unknown, self._blank = known, unknown, blank
        self._lengths = train.lengths
        self.longest = int(self._lengths.max()) + LONGER
        self.per_epoch = len(in_order(self._lengths, plan.batch_size, np.random.default_rng(0)))
        self._order: tuple[int, list[NDArray[np.intp]]] | None = None
        self._varied: tuple[int, list[Batch]] | None = None

    def of_step(self, step: int) -> Batch:
        """What a step reads."""
        if self._varied is None or self._varied[0] != step // AHEAD:
            self._varied = step // AHEAD, self._some(step // AHEAD)
        return self._varied[1][step % AHEAD]

    def numbers(self, step: int) -> NDArray[np.intp]:
        """Which texts a step reads."""
        epoch = step // self.per_epoch
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng((self._plan.seed, 0, epoch))
            self._order = epoch, in_order(self._lengths, self._plan.batch_size, rng)
        return self._order[1][step % self.per_epoch]

    def characters(self, step: int) -> int:
        """How many characters the texts of a step have."""
        return int(self._lengths[self.numbers(step)].sum())

    def _some(self, group: int) -> list[Batch]:
        """The batches of `AHEAD` steps."""
        plan, rng = self._plan, np.random.default_rng((self._plan.seed, 1, group))
        numbers = [self.numbers(step) for step in range(group * AHEAD, (group + 1) * AHEAD)]
        alike = [self._rearranged(number, rng) for number in np.concatenate(numbers)]
        ids = with_typos([one for one, _ in alike], plan.typos, self._unknown, self._known, rng)
        ids = [one if len(one) <= self.longest else np.append(one[: self.longest - 1], one[-1]) for one in ids]
        said = None if self._teacher is None else self._teacher(ids).astype(np.float32)
        counts = np.array(
            [float(mixed) or (plan.teaching if said is not None else 0.0) for _, mixed in alike], dtype=np.float32
        )
        found, first = list[Batch](), 0
        for some in numbers:
            rows = slice(first, first + len(some))
            found.append(Batch(ids[rows], self._train.labels[some], None if said is None else said[rows], counts[rows]))
            first += len(some)
        return found

    def _rearranged(self, number: int, rng: np.random.Generator) -> tuple[Ids, bool]:
        """A text, perhaps with the end of another one, and without some words; whether the teacher must say what it is."""
        ids: Ids = self._train.ids[number]
        plan, mixed = self._plan, False
        if self._teacher is not None and rng.random() < plan.splices:
            ids, mixed = spliced(ids, self._train.ids[int(rng.integers(len(self._train)))], self._blank, rng), True
        return (ids if self._blank is None else without_words(ids, plan.lost_words, self._blank, rng)), mixed


def in_order(lengths: NDArray[np.int64], rows: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Every text once, ``rows`` of like length side by side; which are together, and when, is chance."""
    order, found = rng.permutation(len(lengths)), list[NDArray[np.intp]]()
    for start in range(0, len(order), rows * MIXED):
        some = order[start : start + rows * MIXED]
        some = some[np.argsort(lengths[some], kind="stable")]
        found += [some[first : first + rows] for first in range(0, len(some), rows)]
    return [found[place] for place in rng.permutation(len(found))]


def spliced(first: Ids, second: Ids, blank: int | None, rng: np.random.Generator) -> Ids:
    """The beginning of one text and the end of another, each cut between words if both have several, else anywhere."""
    cuts = [np.flatnonzero(ids == blank) for ids in (first, second)]
    if not all(map(len, cuts)):
        cuts = [np.arange(1, len(ids) - 1) for ids in (first, second)]
        if not all(map(len, cuts)):
            return first
    before, behind = (int(places[rng.integers(len(places))]) for places in cuts)
    return np.concatenate([first[:before], second[behind:]])


def without_words(ids: Ids, share: float, blank: int, rng: np.random.Generator) -> Ids:
    """A text that lacks a ``share`` of its words, at least one of which stays."""
    ends = np.flatnonzero(ids[1:-1] == blank) + 1
    lost = rng.random(len(ends) + 1) < share
    if not len(ends) or not lost.any() or lost.all():
        return ids
    # A word goes with the blank behind it; of the last one the blank before it stays.
    word = np.concatenate([[0], np.searchsorted(ends, np.arange(1, len(ids) - 1), side="left"), [0]])
    kept = ~lost[word]
    kept[0] = kept[-1] = True
    return np.asarray(ids[kept])


def with_typos(texts: Sequence[Ids], share: float, unknown: int | None, known: int, rng: np.random.Generator) -> list[Ids]:
    """Texts in which a ``share`` of the characters is mistyped: lost, doubled, changed with the next, another, unknown.

    The marks at their beginnings and ends stay.
    """
    ends = np.cumsum([len(ids) for ids in texts])
    found: Ids = np.concatenate(texts)
    marks = np.zeros(len(found) + 1, dtype=bool)
    marks[ends - 1] = marks[np.append(0, ends[:-1])] = True
    wrong = (rng.random(len(found)) < share) & ~marks[:-1]
    kinds = np.where(wrong, rng.integers(1, 6, len(found)), 0)
    for place in np.flatnonzero((kinds == 3) & ~marks[1:]):
        found[place], found[place + 1] = found[place + 1], found[place]
    others = kinds == 4
    found[others] = rng.integers(0, known, int(others.sum()))
    if unknown is not None:
        found[kinds == 5] = unknown
    kept = np.where(kinds == 1, 0, np.where(kinds == 2, 2, 1))
    return np.split(np.repeat(found, kept), np.cumsum(kept)[ends[:-1] - 1])
