"""Characters that span code points: a text in that of its canonically equal forms which a vocabulary holds.

Unicode writes an é as one code point or as an e and an accent, and a Korean syllable as one or as two or three; which it is
depends on where a text comes from. A *piece* is what one reader takes for one character: a code point and those after it that
may combine with it. A piece that the vocabulary holds is left as it is. Another takes the form with the fewest characters
that the vocabulary doesn't hold, so that one text is read as the same in both ways of writing, unknown characters included.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

LONGEST = 32
"""Code points of a piece, at most (Unicode's stream-safe format has 30 marks in a row); what follows is a piece of its own."""
MIXED = 8
"""Code points of a piece whose partly composed forms are tried, too."""
_CACHED = 1 << 14

Known = Callable[[str], bool]
"""Whether a vocabulary holds a character."""


@functools.lru_cache(maxsize=_CACHED)
def continues(character: str) -> bool:
    """Whether it may combine with the character before it: a mark, or a vowel or final of a Korean syllable."""
    jamo = "\u1160" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7ff"
    return jamo or unicodedata.category(character).startswith("M")


def begins_piece(before: str, character: str) -> bool:
    """Whether ``character`` begins a piece after ``before``; nothing combines with a control character."""
    return not continues(character) or unicodedata.category(before) == "Cc"


def pieces(text: str) -> Iterator[str]:
    """The pieces of ``text``, in order."""
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or end - start == LONGEST or begins_piece(text[end - 1], text[end]):
            yield text[start:end]
            start = end


def forms(piece: str) -> Iterator[str]:
    """The canonically equal forms of ``piece``: composed, decomposed, and what lies between."""
    composed, decomposed = unicodedata.normalize("NFC", piece), unicodedata.normalize("NFD", piece)
    yield composed
    yield decomposed
    if not 2 < len(decomposed) <= MIXED:
        return
    heads = [(decomposed[0], decomposed[1:])]
    for head, rest in heads:
        for place, mark in enumerate(rest):
            joined, left = unicodedata.normalize("NFC", head + mark), rest[:place] + rest[place + 1 :]
            # A mark may not overtake another of its own class, so not all that can be joined is still the same.
            if len(joined) == 1 and unicodedata.normalize("NFD", joined + left) == decomposed and (joined, left) not in heads:
                heads.append((joined, left))
                yield joined + left


def canonical(piece: str, known: Known) -> str:
    """``piece`` if it is ``known``, else the form with the fewest characters that aren't, composed if others have as few."""

    def strangers(form: str) -> int:
        return sum(not known(character) for character in form)

    return min((*forms(piece), piece), key=strangers) if strangers(piece) else piece


class Normalizer:
    """Maps texts, in blocks of code points, to what a vocabulary holds; ``mapped`` counts the pieces that are held only so.

    ``table`` holds the id of every code point, ``unknown`` that of those which the vocabulary doesn't hold.
    """

    def __init__(self, table: NDArray[np.unsignedinteger], unknown: int) -> None:
        self._table, self._unknown = table, unknown
        self._forms: dict[str, tuple[NDArray[np.uint32], bool] | None] = {}
        self.mapped = 0
        self._told = 0

    def newly_mapped(self) -> int:
        """How many pieces were mapped since this was last asked."""
        new, self._told = self.mapped - self._told, self.mapped
        return new

    def blocks(self, blocks: Iterable[NDArray[np.integer]]) -> Iterator[NDArray[np.integer]]:
        """``blocks`` of a text in the form that is known, whole pieces each: what the next block may change waits for it."""
        held: NDArray[np.integer] | None = None
        for block in blocks:
            if held is not None and len(held):
                block = np.concatenate([held, block])
            end = _last_piece(block)
            held = block[end:]
            if end:
                yield self.whole(block[:end])
        if held is not None and len(held):
            yield self.whole(held)

    def whole(self, codes: NDArray[np.integer]) -> NDArray[np.integer]:
        """All of ``codes``, a text or whole pieces of one, in the form that is known."""
        strange = np.take(self._table, codes) == self._unknown
        return self._replaced(codes, strange) if strange.any() else codes

    def _replaced(self, codes: NDArray[np.integer], strange: NDArray[np.bool_]) -> NDArray[np.integer]:
        starts = _starts(codes)
        bounds = np.append(starts, len(codes))
        # A single code point is looked at only if it has another form.
        touched = np.logical_or.reduceat(strange, starts)
        alone = touched & (np.diff(bounds) == 1)
        touched[alone] = _has_other_form(codes[starts[alone]])
        parts, done = [], 0
        for number in np.flatnonzero(touched).tolist():
            start, end = int(bounds[number]), int(bounds[number + 1])
            if (found := self._form(_text(codes[start:end]))) is not None:
                form, held = found
                parts += [codes[done:start], form]
                done = end
                self.mapped += held
        return np.concatenate([*parts, codes[done:]]) if parts else codes

    def _form(self, piece: str) -> tuple[NDArray[np.uint32], bool] | None:
        """The code points of the form that a piece takes, and whether it is held; None if it stays as it is."""
        if piece not in self._forms:
            if len(self._forms) >= _CACHED:
                self._forms.clear()
            form = canonical(piece, self._holds)
            codes = np.array([ord(character) for character in form], dtype=np.uint32)
            self._forms[piece] = None if form == piece else (codes, all(map(self._holds, form)))
        return self._forms[piece]

    def _holds(self, character: str) -> bool:
        return bool(self._table[ord(character)] != self._unknown)


def _text(codes: NDArray[np.integer]) -> str:
    return "".join(map(chr, codes.tolist()))


def _starts(codes: NDArray[np.integer]) -> NDArray[np.intp]:
    """Where the pieces of ``codes`` begin."""
    distinct, places = np.unique(codes, return_inverse=True)
    characters = _text(distinct)
    begins = ~np.array([continues(character) for character in characters])[places]
    begins[0] = True
    control = np.array([unicodedata.category(character) == "Cc" for character in characters])[places]
    begins[1:] |= control[:-1]
    starts = np.flatnonzero(begins)
    lengths = np.diff(np.append(starts, len(codes)))
    long = np.flatnonzero(lengths > LONGEST)
    cuts = [np.arange(starts[number], starts[number] + lengths[number], LONGEST) for number in long.tolist()]
    return np.unique(np.concatenate([starts, *cuts])) if cuts else starts


def _has_other_form(codes: NDArray[np.integer]) -> NDArray[np.bool_]:
    distinct, places = np.unique(codes, return_inverse=True)
    found = [
        any(unicodedata.normalize(form, character) != character for form in ("NFC", "NFD")) for character in _text(distinct)
    ]
    return np.array(found, dtype=bool)[places]


def _last_piece(codes: NDArray[np.integer]) -> int:
    """Where the piece begins that the code points after ``codes`` may continue; their end if nothing may."""
    start = len(codes) - 1
    if start < 0 or unicodedata.category(chr(int(codes[start]))) == "Cc":
        return start + 1
    while start and not begins_piece(chr(int(codes[start - 1])), chr(int(codes[start]))):
        start -= 1
    return start + (len(codes) - 1 - start) // LONGEST * LONGEST
