"""Which characters of a held-out text are scored: all of them, or pieces spread over it; and how far such a sample may be off.

Where the pieces lie follows from the text's length and from how many characters are wanted alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.text.corpus import Corpus
from charrnn.text.records import RecordList

PIECES = ((256, 32), (512, 128), (4096, 512))
"""Lengths of pieces, and up to how many there are of at least such a length: the more there are, the less a loss on them errs,
but before each of them a warm-up is read."""
LONGEST_RECORD = 1 << 16
"""Of a longer record the first characters are scored: it is read alone, so it would take all the time."""


@dataclass(frozen=True)
class Excerpt:
    """Pieces of a held-out text, in order: from ``begins`` to ``ends``, (P,) each, positions in `Corpus.ids`.

    ``held_out`` is how many characters are held out in all. Of a list each piece is a record, one of ``every`` so many.
    """

    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    held_out: int
    every: float | None = None

    @property
    def characters(self) -> int:
        """How many characters are scored."""
        return int((self.ends - self.begins).sum())

    @property
    def whole(self) -> bool:
        """Whether they are all that is held out."""
        return self.characters == self.held_out

    def standard_error(self, losses: NDArray[np.float64]) -> float | None:
        """How far the mean loss of a character may be from that of all the text that is held out.

        Args:
            losses: the sum over each piece, (P,).

        Returns:
            The standard error, by how much the pieces differ (Cochran 1977, a ratio of two sums over a part of all clusters): 0
            if the excerpt is the whole, None if it is a single piece of it.
        """
        if self.whole:
            return 0.0
        if (count := len(losses)) < 2:
            return None
        spans = (self.ends - self.begins).astype(np.float64)
        deviations = losses - spans * (losses.sum() / spans.sum())
        variance = (1 - self.characters / self.held_out) * count / (count - 1) * float((deviations**2).sum())
        return math.sqrt(variance) / float(spans.sum())

    def to_json(self) -> dict[str, Any]:
        """A JSON value that `stored` reads back: the pieces; of a list only which records they are."""
        if self.every is not None:
            return {"characters": self.characters, "every": self.every, "longest": int((self.ends - self.begins).max())}
        return {"characters": self.characters, "pieces": np.column_stack([self.begins, self.ends]).tolist()}


def spread(corpus: Corpus, characters: int) -> Excerpt:
    """About so many ``characters`` (of a text exactly so many) from all over what ``corpus`` holds out, or all there are."""
    if corpus.records is not None or corpus.pieces is not None or characters >= corpus.val_characters:
        return first(corpus, characters)
    count = pieces_of(characters)
    borders = corpus.val_characters * np.arange(count + 1) // count
    lengths = np.diff(characters * np.arange(count + 1) // count)
    # Each piece is the middle of its share of the text.
    begins = corpus.train_characters + borders[:-1] + (np.diff(borders) - lengths) // 2
    return Excerpt(begins, begins + lengths, corpus.val_characters)


def first(corpus: Corpus, characters: int) -> Excerpt:
    """What runs scored before pieces were spread over a tail that is held out: its first ``characters``.

    Of pieces and lists, which lie all over the text anyway, it is what `spread` gives.
    """
    held_out = corpus.val_characters
    if corpus.records is not None:
        every = max(1.0, held_out / max(characters, 1))
        return _of_records(corpus.records, held_out, every, min(max(characters, 1), LONGEST_RECORD))
    characters = min(characters, held_out)
    if corpus.pieces is not None:
        return Excerpt(*corpus.pieces.first(characters), held_out)
    begin = corpus.train_characters
    return Excerpt(np.array([begin]), np.array([begin + characters]), held_out)


def stored(data: object, corpus: Corpus) -> Excerpt | None:
    """What `Excerpt.to_json` wrote of this text; None for anything else."""
    if not isinstance(data, Mapping) or not corpus.val_characters:
        return None
    if corpus.records is not None:
        every, longest = data.get("every"), data.get("longest")
        if type(every) is not float or type(longest) is not int or not (1 <= every <= len(corpus.ids) and longest >= 1):
            return None
        return _of_records(corpus.records, corpus.val_characters, every, longest)
    pieces = data.get("pieces")
    if not isinstance(pieces, list) or not 1 <= len(pieces) <= PIECES[-1][1]:
        return None
    if not all(isinstance(piece, list) and len(piece) == 2 and all(type(end) is int for end in piece) for piece in pieces):
        return None
    borders = [0, *(border for piece in pieces for border in piece), len(corpus.ids)]
    # In order, none of them empty, and each within what is held out.
    if sorted(borders) != borders or any(begin >= end or not _held_out(corpus, begin, end) for begin, end in pieces):
        return None
    begins, ends = np.array(pieces, dtype=np.int64).T
    return Excerpt(begins, ends, corpus.val_characters)


def pieces_of(characters: int) -> int:
    """In how many pieces so many characters of a longer text are scored."""
    return max(1, *(min(characters // length, most) for length, most in PIECES))


def _held_out(corpus: Corpus, begin: int, end: int) -> bool:
    if (pieces := corpus.pieces) is None:
        return begin >= max(corpus.train_characters, 1)
    return bool(((pieces.scored_from <= begin) & (end <= pieces.ends)).any())


def _of_records(records: RecordList, held_out: int, every: float, longest: int) -> Excerpt:
    count = len(records.starts) - 1 - records.train
    along = np.arange(0, count, every)
    number = records.train + along[along < count].astype(np.int64)  # The last may be `count`, by rounding.
    begins = records.starts[number] + 1
    return Excerpt(begins, begins + np.minimum(records.spans_of(number), longest), held_out, every)
