"""Characters to ids and back."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.text import canonical
from charrnn.text.canonical import Normalizer

CODE_POINTS = 0x110000
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# Typographic characters that Unicode doesn't decompose into a plain form.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4\u2039\u203a", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2009\u200a\u202f\t", " "),
        "\u00d8": "O",
        "\u00f8": "o",
        "\u0141": "L",
        "\u0142": "l",
        "\u0131": "i",
        "\u00d7": "x",
        "\u2022": "*",
        "\u2026": "...",
        "\u00df": "ss",
        "\u00c6": "AE",
        "\u00e6": "ae",
    }
)
_PRINTED = {"'": "\u2019\u2018\u02bc", '"': "\u201e\u201c\u00ab\u00bb\u201d"}
"""What stands in printed texts for what a keyboard has: an apostrophe, and the quotes that open, low ones first, as where both
are the high one closes.
"""


def id_dtype(size: int) -> type[np.unsignedinteger[Any]]:
    """The narrowest unsigned type that holds the ids ``0 .. size - 1``."""
    return np.uint8 if size <= 1 << 8 else np.uint16 if size <= 1 << 16 else np.uint32


class Vocabulary:
    """The symbols a network reads and writes.

    At level ``char`` the ids ``0 .. n - 1`` are the code points of ``characters`` in ascending order and id ``n`` is
    the unknown character. At level ``byte`` the ids are the 256 byte values, and nothing is unknown.
    """

    def __init__(self, level: str, characters: str = "") -> None:
        """Raise `CharrnnError` unless ``characters`` are distinct and ascending (and none at level ``byte``)."""
        if level not in ("char", "byte"):
            raise CharrnnError(f"unknown vocabulary level {level!r}")
        codes = self._code_points(characters)
        if np.any((codes >= 0xD800) & (codes <= 0xDFFF)):
            raise CharrnnError("the vocabulary lists surrogates, which are not characters")
        if level == "byte" and characters:
            raise CharrnnError("a byte vocabulary lists no characters")
        if np.any(codes[1:] <= codes[:-1]):
            raise CharrnnError("the vocabulary's characters are not distinct and ascending")
        self.level = level
        self.characters = characters
        self.size = 256 if level == "byte" else len(codes) + 1
        self.unknown: int | None = None if level == "byte" else len(codes)
        self._codes = codes
        self._table: NDArray[Any] | None = None

    @staticmethod
    def _code_points(text: str) -> NDArray[np.uint32]:
        return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32, copy=False)

    @classmethod
    def from_counts(cls, counts: Mapping[int, int], min_count: int = 1) -> Vocabulary:
        """The vocabulary of a text whose code points occur ``counts`` times; those rarer than ``min_count`` are unknown."""
        return cls("char", "".join(chr(code) for code in sorted(counts) if counts[code] >= min_count))

    @property
    def table(self) -> NDArray[Any]:
        """The id of every Unicode code point, shape (0x110000,); unlisted ones get the unknown character's."""
        if self._table is None:
            table = np.full(CODE_POINTS, self.unknown, dtype=id_dtype(self.size))
            table[self._codes] = np.arange(len(self._codes))
            self._table = table  # Whole: another thread may ask for it meanwhile.
        return self._table

    def units(self, text: str) -> NDArray[Any]:
        """The code points of ``text``, or the bytes of its UTF-8 form at level ``byte``."""
        if self.level == "byte":
            return np.frombuffer(text.encode("utf-8", "surrogateescape"), dtype=np.uint8)
        return self._code_points(text)

    def encode(self, text: str) -> NDArray[Any]:
        """The ids of ``text``: one per character, or one per byte of its UTF-8 form at level ``byte``."""
        units = self.units(text)
        return units if self.level == "byte" else np.take(self.table, units)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; the unknown character, and bytes that are not valid UTF-8, become U+FFFD."""
        if self.level == "byte":
            return bytes(int(i) for i in ids).decode("utf-8", "replace")
        return "".join(self._symbol(int(i)) for i in ids)

    def _symbol(self, index: int) -> str:
        return REPLACEMENT if index == self.unknown else self.characters[index]

    def decoder(self, pending: bytes = b"", *, exact: bool = False) -> Decoder:
        """A decoder for ids that arrive one at a time; at level ``byte``, after the ``pending`` bytes of a character.

        If ``exact``, each byte beyond ASCII becomes the escape that stands for it in Python's paths, be it text or not.
        """
        return Decoder(self, pending, exact=exact)

    def normalizer(self) -> Normalizer | None:
        """What maps a text to the canonically equal one whose characters are known; None at level ``byte``."""
        return None if self.unknown is None else Normalizer(self.table, self.unknown)

    def canonical(self, text: str) -> tuple[str, int]:
        """``text`` in its canonically equal form whose characters are known, and how many characters (pieces) that changed."""
        if (normalizer := self.normalizer()) is None or self._holds(text):
            return text, 0
        codes = normalizer.whole(self._code_points(text))
        return "".join(map(chr, codes.tolist())), normalizer.mapped

    def plain(self, text: str) -> tuple[str, dict[str, str]]:
        """Replace characters outside the vocabulary by canonically equal ones, else by their nearest plain form inside it.

        Returns the text, and what has a plain form now: character -> plain form, or -> U+FFFD (one or several) where there is
        none and the unknown character stands in.
        """
        if self.level == "byte" or self._holds(text):
            return text, {}
        known, changed, replaced = set(self.characters), dict[str, str](), dict[str, str]()
        for piece in dict.fromkeys(canonical.pieces(text)):
            form = canonical.canonical(piece, known.__contains__)
            if not known.issuperset(form):
                # An accent is dropped with its letter in view, not as a character of its own.
                whole = unicodedata.normalize("NFC", form)
                plain = next((plain for plain in _plain_forms(whole) if known.issuperset(plain)), None)
                found = {whole: plain} if plain is not None else self._each_plain(whole)
                form = "".join(found.get(character, character) for character in ([whole] if plain is not None else whole))
                # Some characters (a Hebrew letter with its point) are several in any normal form.
                changed.update({piece: form} if len(piece) == 1 else found)
            replaced[piece] = form
        return "".join(replaced[piece] for piece in canonical.pieces(text)), changed

    def _each_plain(self, text: str) -> dict[str, str]:
        """The plain form of each character of ``text`` that is outside the vocabulary."""
        strangers = dict.fromkeys(character for character in text if not self._holds(character))
        return {
            stranger: next((form for form in _plain_forms(stranger) if self._holds(form)), REPLACEMENT)
            for stranger in strangers
        }

    def strangers(self, text: str) -> set[str]:
        """The characters of ``text`` that are outside the vocabulary."""
        return set() if self.level == "byte" else set(text).difference(self.characters)

    def _holds(self, text: str) -> bool:
        return set(self.characters).issuperset(text)

    def to_json(self) -> dict[str, Any]:
        """A JSON value that `from_json` reads back."""
        return {"level": self.level, "characters": self.characters}

    @classmethod
    def from_json(cls, data: Any) -> Vocabulary:
        """Read what `to_json` wrote; raise `CharrnnError` if it is anything else."""
        if not isinstance(data, dict) or not all(isinstance(data.get(key), str) for key in ("level", "characters")):
            raise CharrnnError("the vocabulary is malformed")
        return cls(data["level"], data["characters"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and (self.level, self.characters) == (other.level, other.characters)

    def __hash__(self) -> int:
        return hash((self.level, self.characters))


class Decoder:
    """Ids to text, one at a time; at level ``byte`` a character comes out only once its last byte is in, or each byte if
    ``exact``.
    """

    def __init__(self, vocabulary: Vocabulary, pending: bytes = b"", *, exact: bool = False) -> None:
        encoding, errors = ("ascii", "surrogateescape") if exact else ("utf-8", "replace")
        self._bytes = codecs.getincrementaldecoder(encoding)(errors) if vocabulary.level == "byte" else None
        if self._bytes is not None:
            self._bytes.decode(pending)
        self._symbols = vocabulary.characters + REPLACEMENT

    @property
    def pending(self) -> bytes:
        """The bytes of a character that is not whole yet."""
        return b"" if self._bytes is None else self._bytes.getstate()[0]

    def decode(self, index: int) -> str:
        """The characters that ``index`` completes: at level ``char`` always one, at level ``byte`` none or more."""
        if self._bytes is None:
            return self._symbols[index]
        return self._bytes.decode(bytes((index,)))

    def text(self, ids: Sequence[int]) -> str:
        """The characters that all of ``ids`` complete."""
        return "".join(map(self._symbols.__getitem__, ids)) if self._bytes is None else self._bytes.decode(bytes(ids))


def _plain_forms(character: str) -> Iterable[str]:
    decomposed = unicodedata.normalize("NFKD", character)
    bare = "".join(mark for mark in decomposed if not unicodedata.combining(mark))
    yield character.translate(_PLAIN)
    yield decomposed
    if bare:
        yield bare
        yield bare.translate(_PLAIN)
    yield character.lower()
    yield character.upper()
    yield from _PRINTED.get(character, "")
