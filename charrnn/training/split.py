"""Labelled texts, read once into few bytes, and parted into those to learn from and those to validate on."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.classifier_config import FitConfig
from charrnn.network import classifier
from charrnn.text import records
from charrnn.text.decoding import Encoding
from charrnn.text.gathered import Gathered, Gathering
from charrnn.text.labelled import LabelledTexts
from charrnn.text.reading import TextReader

Say = Callable[[str], None]

MOST_VALIDATED = 20_000
"""No more texts than about this are kept for validation, whatever share was asked for: they tell enough, and more take time."""
LEARNED = 0.1
"""If more than this share of the texts in a file that validates are learned from, too, a line says so."""
_NAMED = 5
_TRAIN, _VAL = 1, 2
_PARTS = {"": 0, "train": _TRAIN, "val": _VAL}


@dataclass(frozen=True)
class Texts:
    """Texts with the numbers of their labels (N,)."""

    texts: Gathered
    labels: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.texts)

    def some(self, places: NDArray[np.intp]) -> Texts:
        """The texts at ``places``."""
        return Texts(self.texts.picked(places), self.labels[places])


@dataclass(frozen=True)
class Split:
    """Labelled texts to learn from and to validate on; ``apart`` is how many the file itself keeps for a test."""

    labels: tuple[str, ...]
    train: Texts
    val: Texts
    apart: int

    @property
    def judged(self) -> Texts:
        """The texts that figures are of: those to validate on; where there are none, some of those that were learned."""
        return self.val if len(self.val) else self.some_learned(MOST_VALIDATED)

    def some_learned(self, most: int) -> Texts:
        """At most so many of the texts to learn from, evenly spread, but some of each label."""
        if len(self.train) <= most:
            return self.train
        some = np.linspace(0, len(self.train) - 1, most).astype(np.intp)
        first = np.unique(self.train.labels, return_index=True)[1]
        return self.train.some(np.union1d(some, first))

    def to_json(self) -> dict[str, int]:
        """How many texts are on each side."""
        return {"train": len(self.train), "val": len(self.val), "apart": self.apart}


@dataclass(frozen=True)
class _Rows:
    """All rows of a file with the numbers of their parts (N,), and how many are ``apart``, for a test."""

    all: Texts
    parts: NDArray[np.int8]
    apart: int = 0


def read(path: str, val: str | None, config: FitConfig, warn: Say) -> Split:
    """Read the labelled texts in ``path`` and say which are kept for validation, unless ``val`` has others.

    Raises:
        CharrnnError: they can't be read, or there is nothing to tell apart.
    """
    reader = TextReader(encoding=Encoding(config.encoding, config.errors), warn=warn)
    source, numbers = LabelledTexts(path, reader), dict[str, int]()
    rows = _rows(source, numbers, warn)
    labels = _labels(source.name, numbers)
    order = np.argsort(np.argsort([*numbers], kind="stable")) if numbers else np.zeros(0, dtype=np.intp)
    texts = Texts(rows.all.texts, order[rows.all.labels])
    learned = np.concatenate([np.flatnonzero(rows.parts == part) for part in (0, _TRAIN)])
    given = np.flatnonzero(rows.parts == _VAL)
    if val is None and not len(given):
        held = _held_out(texts.some(learned), len(labels), config)
        given, learned = learned[held], learned[~held]
    counts = np.bincount(texts.labels[learned], minlength=len(labels))
    if not counts.all():
        given = _without(source.name, labels, counts, texts.labels, given, warn)
        texts = Texts(texts.texts, (np.cumsum(counts > 0) - 1)[texts.labels])
        labels, counts = _labels(source.name, itertools.compress(labels, counts)), counts[counts > 0]
    other = texts.some(given) if val is None else _given(val, reader, labels, warn)
    if len(other) > MOST_VALIDATED and (val is not None or (rows.parts == _VAL).any()):
        name = source.name if val is None else val
        warn(f"{name}: {len(other):,} texts to validate on; {MOST_VALIDATED:,} of them, evenly spread, tell enough")
        other = other.some(np.linspace(0, len(other) - 1, MOST_VALIDATED).astype(np.intp))
    validated = np.bincount(other.labels, minlength=len(labels))
    _tell_of_rare(source.name, labels, counts + validated, warn)
    if len(other):
        _tell_of_untold(source.name if val is None else val, labels, (counts > 1) & (validated == 0), warn)
    else:
        warn(f"{source.name}: too few texts to keep some for validation; the figures are of texts it has learned")
    train = texts.some(learned)
    if val is not None:
        _tell_of_learned(val, train, other, warn)
    return Split(labels, train, other, rows.apart)


def _tell_of_learned(name: str, train: Texts, other: Texts, warn: Say) -> None:
    """Say so where many of the texts of ``other`` are learned from, too."""
    both = set(other.texts).intersection(train.texts)
    if (count := sum(text in both for text in other.texts)) > LEARNED * len(other):
        warn(f"{name}: {count:,} of its {len(other):,} texts are among those that it learns from, so the figures are too good")


def _rows(source: LabelledTexts, numbers: dict[str, int], warn: Say, *, known: bool = False) -> _Rows:
    """All rows but those for a test; ``numbers`` gets the labels in the order of their coming. Where they are ``known``, rows
    of all parts, but those with other labels.
    """
    labels, parts, apart, strange = array("q"), bytearray(), 0, dict[str, int]()
    with Gathering() as gathering:
        for row in source:
            if row.part == "test" and not known:
                apart += 1
                continue
            number = numbers.get(row.label)
            if number is None and known:
                strange[row.label] = strange.get(row.label, 0) + 1
                continue
            if number is None:
                number = numbers[row.label] = _new_label(source.name, row.label, len(numbers))
            gathering.append(row.text)
            labels.append(number)
            parts.append(0 if known else _PARTS[row.part])
        source.tell(warn)
        if strange:
            _tell_of_strange(source.name, list(strange), sum(strange.values()), warn)
        texts = gathering.texts()
    return _Rows(Texts(texts, np.array(labels, dtype=np.intp)), np.frombuffer(bytes(parts), dtype=np.int8), apart)


def _new_label(name: str, label: str, number: int) -> int:
    """The number of a label that wasn't seen before; `CharrnnError` if it can be none."""
    if number == classifier.MOST_LABELS:
        most = f"{classifier.MOST_LABELS:,}"
        raise CharrnnError(f"{name}: more than {most} different labels; at most {most} can be told apart")
    if len(label) > classifier.LONGEST_LABEL:
        raise CharrnnError(f"{name}: a label of {len(label):,} characters ({label!r:.60}...); is it the text?")
    return number


def _labels(name: str, found: Iterable[str]) -> tuple[str, ...]:
    labels = tuple(sorted(found))
    if not labels:
        raise CharrnnError(f"{name}: no labelled texts in it; it needs a text and a label on each line")
    if len(labels) == 1:
        raise CharrnnError(f"{name}: every text has the label {labels[0]!r:.80}; there is nothing to tell apart")
    return labels


def _without(
    name: str, labels: Sequence[str], counts: NDArray[np.intp], of: NDArray[np.intp], given: NDArray[np.intp], warn: Say
) -> NDArray[np.intp]:
    """Those of the ``given`` places whose labels are learned; ``of`` are the numbers of all labels."""
    if not counts.any():
        raise CharrnnError(f"{name}: all texts are for validation or a test; none is there to learn from")
    kept = given[counts[of[given]] > 0]
    _tell_of_strange(name, list(itertools.compress(labels, counts == 0)), len(given) - len(kept), warn)
    return kept


def _tell_of_strange(name: str, strange: Sequence[str], count: int, warn: Say) -> None:
    have = "1 text to validate on has a label" if count == 1 else f"{count:,} texts to validate on have labels"
    warn(f"{name}: {have} that no text to learn from has, and {'is' if count == 1 else 'are'} left out: {_some(strange):.200}")


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:_NAMED]) + (", ..." if len(labels) > _NAMED else "")


def _held_out(learned: Texts, labels: int, config: FitConfig) -> NDArray[np.bool_]:
    """Which of the texts are kept for validation, by a hash of their texts; of each label something is learned from."""
    fraction = min(config.val_fraction, MOST_VALIDATED / max(1, len(learned)))
    held = records.are_held_out(learned.texts, fraction, config.val_seed)
    found: NDArray[np.bool_] = held & (np.bincount(learned.labels[~held], minlength=labels) > 0)[learned.labels]
    return found


def _given(path: str, reader: TextReader, labels: Sequence[str], warn: Say) -> Texts:
    """The rows of ``--val``."""
    source = LabelledTexts(path, reader, set(labels))
    rows = _rows(source, {label: number for number, label in enumerate(labels)}, warn, known=True)
    if not len(rows.all):
        raise CharrnnError(f"{source.name}: no text in it has a label that is learned")
    return rows.all


def _tell_of_rare(name: str, labels: Sequence[str], counts: NDArray[np.intp], warn: Say) -> None:
    if once := [label for label, count in zip(labels, counts.tolist(), strict=True) if count == 1]:
        told = "1 label has" if len(once) == 1 else f"{len(once):,} labels have"
        warn(f"{name}: {told} one text only, which is learned from, so nothing tells how well: {_some(once):.200}")


def _tell_of_untold(name: str, labels: Sequence[str], untold: NDArray[np.bool_], warn: Say) -> None:
    """Say so of labels that have texts to learn from, but none to validate on."""
    if without := list(itertools.compress(labels, untold)):
        one = len(without) == 1
        have, are = ("1 label has", "it is") if one else (f"{len(without):,} labels have", "they are")
        warn(f"{name}: {have} no text to validate on, so no figure tells how well {are} found: {_some(without):.200}")
