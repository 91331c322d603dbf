"""Bytes to code points: encodings and their marks, line ends, and what to do about bytes that are no text."""

from __future__ import annotations

import codecs
import contextlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, UsageError
from charrnn.text import containers
from charrnn.text.sources import VERSION, Say

MARK = "\ufeff"
DIAGNOSED_BYTES = 1 << 26
"""How much of a file is looked at, beyond the first byte that is no text, to count others and to tell what to try."""

_BOMS = (  # UTF-32's little-endian mark begins with UTF-16's, so it is looked for first.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 1 << 14
"""So many bytes tell in which encodings a text may be."""
_OPENING = 64
"""Bytes that tell what a file is, unless its first line is shorter."""
_REPLACED = "\udfff"
"""Stands for bytes that are no text until they are counted: no encoding gives it."""
_REPLACE = "--errors replace goes on with U+FFFD"
_CUT = ("unexpected end of data", "truncated data", "incomplete multibyte sequence")
"""What codecs say of bytes that end in the middle of a character."""
_OFTEN = 10
"""So many bytes that are no text aren't damaged, but of another encoding."""
_CP1252_LACKS = [0x81, 0x8D, 0x8F, 0x90, 0x9D]

codecs.register_error("charrnn.replaced", lambda error: (_REPLACED, _end(error)))
codecs.register_error("charrnn.bytes", lambda error: (_bytes_of(error), _end(error)))


class NotTextError(CharrnnError):
    """A file holds bytes that are no text in its encoding, or is no text at all."""


@dataclass(frozen=True)
class Encoding:
    """How bytes become text: a Python codec's name, None for UTF-8 or what the file itself says; and ``errors``, ``strict``
    or ``replace``, by which U+FFFD stands for what isn't valid. Of tables, ``field`` is the text.
    """

    name: str | None = None
    errors: str = "strict"
    field: str | None = None

    def __post_init__(self) -> None:
        if self.name is None:
            return
        try:
            "".encode(codecs.lookup(self.name).name)
        except (LookupError, ValueError) as error:
            raise UsageError(
                f"--encoding: {self.name!r} is not a text encoding that Python knows (try utf-8, latin-1)"
            ) from error


TOLD = Encoding()
"""UTF-8, or what the file itself says."""


def decoded(
    blocks: Iterator[bytes], name: str, encoding: Encoding, warn: Say, version: int = VERSION, *, to_the_end: bool = False
) -> Iterator[tuple[bytes, NDArray[Any]]]:
    """Each raw block of a file with the code points that it completes, line ends as LF; messages call the file ``name``.

    U+FEFF at the beginning of a line is a mark and no text: files joined by ``cat`` have some. Files in UTF-16 or UTF-32
    are known without a mark too. In version 1 only a mark at the beginning of a file counts, and containers are not known.
    If the text isn't valid, the rest is looked at ``to_the_end``, to tell more about it, or not.

    Raises:
        NotTextError: the file is no text, or not valid text; the message says where, why, and what to do.
        CharrnnError: it is a container of which a text can be made; the message says how.
    """
    source = _with_whole_opening(blocks)
    raw = next(source, b"")
    if version > 1 and (found := containers.recognised(raw)) is not None:
        what, advice = found
        raise CharrnnError(f"{name}: {what}; {advice}") if advice else NotTextError(f"{name}: {what}")
    decoder = _Decoder(_codec(raw, name, encoding, warn, version), encoding.errors, version)
    while True:
        try:
            codes = decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            more = source if to_the_end else ()
            raise NotTextError(f"{name}: {decoder.diagnosis(error, raw, more, named=encoding.name is not None)}") from error
        except UnicodeError as error:
            raise NotTextError(f"{name}: not valid {encoding.name} text ({error}); name another --encoding") from error
        yield raw, codes
        if not raw:
            break
        raw = next(source, b"")
    for sentence in decoder.remarks():
        warn(f"{name}: {sentence}")


def _codec(first: bytes, name: str, encoding: Encoding, warn: Say, version: int) -> str:
    """Python's name for the encoding of the file that begins with ``first``."""
    codec = encoding.name or _marked(first) or "utf-8"
    if version == 1 or b"\0" not in first:
        return codec
    known = codecs.lookup(codec).name
    # Without a mark Python takes the byte order of the machine for that of the file.
    ordered = known in ("utf-16", "utf-32") and _marked(first) is None
    if (ordered or (encoding.name is None and known == "utf-8")) and (found := _unmarked_wide(first)):
        if not ordered:
            warn(f"{name}: read as {found.upper()}, which no byte-order mark says; --encoding names another")
        return found
    if not known.startswith(("utf-16", "utf-32")):
        warn(f"{name}: holds NUL characters; is it text?")
    return codec


class _Decoder:
    """The blocks of one file to code points, and where it is in the file."""

    def __init__(self, name: str, errors: str, version: int) -> None:
        self._name, self._version = name, version
        self._strict = errors == "strict"
        self._utf_8 = codecs.lookup(name).name == "utf-8"
        self._decoder = codecs.getincrementaldecoder(name)("strict" if self._strict else "charrnn.replaced")
        self._recent = ""
        """The text of the last block."""
        self._held = ""
        """A CR whose LF may stand in the next block."""
        self._begins = version > 1 or self._utf_8
        """Whether the next character begins a line; in version 1 whether it begins a UTF-8 file."""
        self._consumed = self._pending = self._lines = self._wide = 0
        self._replaced = self._controls = self._first = 0
        self._watched = codecs.lookup(name).name == "iso8859-1" and version > 1

    def decode(self, raw: bytes, *, final: bool) -> NDArray[Any]:
        """The code points that ``raw`` completes."""
        self._pending = len(self._decoder.getstate()[0])
        text = self._plain(self._decoder.decode(raw, final), final=final)
        self._consumed += len(raw)
        self._recent = text or self._recent
        if text.isascii():
            codes: NDArray[Any] = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
        else:
            codes = np.frombuffer(self._counted(text).encode("utf-32-le", "surrogatepass"), dtype="<u4")
            self._wide += int(np.count_nonzero(codes >= 0x80))
        self._lines += int(np.count_nonzero(codes == 10))
        return codes

    def _plain(self, text: str, *, final: bool) -> str:
        """``text`` with line ends as LF and without marks."""
        text = self._held + text
        self._held = ""
        if text.endswith("\r") and not final:
            text, self._held = text[:-1], "\r"
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if text and self._version == 1:
            text = text.removeprefix(MARK) if self._begins else text
            self._begins = False
        elif text and not text.isascii() and MARK in text:
            text = re.sub(f"\n{MARK}+", "\n", text.lstrip(MARK) if self._begins else text)
        if text and self._version > 1:
            self._begins = text.endswith("\n")
        return text

    def _counted(self, text: str) -> str:
        """``text`` with U+FFFD for what was no text; counts that, and control characters that only a wrong encoding gives."""
        if self._watched:
            self._controls += len(re.findall("[\x80-\x9f]", text))
        if self._strict or _REPLACED not in text:
            return text
        self._first = self._first or self._lines + text[: text.index(_REPLACED)].count("\n") + 1
        self._replaced += text.count(_REPLACED)
        return text.replace(_REPLACED, "\ufffd")

    def remarks(self) -> Iterator[str]:
        """What to say of the file when all of it was read."""
        if self._replaced:
            yield (
                f"{self._replaced:,} U+FFFD stand{'s' * (self._replaced == 1)} for what is not valid {self._name.upper()} text,"
                f" the first in line {self._first:,}"
            )
        if self._controls:
            yield (
                f"{self._controls:,} control character{'s' * (self._controls != 1)} U+0080 to U+009F;"
                " in Windows-1252 they are quotes and dashes: --encoding cp1252"
            )

    def diagnosis(self, error: UnicodeDecodeError, raw: bytes, more: Iterable[bytes], *, named: bool) -> str:
        """Where the first byte is that is no text, how many others there are in ``raw`` and ``more``, and what to do."""
        where = self._consumed - self._pending + error.start
        good = ""
        with contextlib.suppress(UnicodeError):  # The bytes before it are text, so the decoder gives them.
            good = self._plain(self._decoder.decode(raw[: max(0, error.start - self._pending)]), final=True)
        line = self._lines + good.count("\n") + 1
        seen = self._survey(error.object[error.start :], more)
        seen.wide += self._wide + sum(not character.isascii() for character in good)
        seen.letters += sum(character.isascii() and character.isalpha() for character in self._recent + good)
        others = seen.count - 1
        also = f", nor {'is 1 other' if others == 1 else f'are {seen.at_least}{others:,} others'}" if others > 0 else ""
        place = f"byte {where} (line {line:,}) is not valid {self._name.upper()} text{also}"
        if self._cut(error) and (named or not self._utf_8 or seen.wide or len(error.object) - error.start > 1):
            return f"{place}; it ends in the middle of a character, so is it whole? {_REPLACE}"
        advice = f"name another --encoding; {_REPLACE}" if named else seen.advice() if self._utf_8 else _REPLACE
        return f"{place}; {advice}"

    @staticmethod
    def _cut(error: UnicodeDecodeError) -> bool:
        """Whether nothing is wrong but that the bytes end where more must follow."""
        return error.reason in _CUT and error.end == len(error.object)

    def _survey(self, rest: bytes, more: Iterable[bytes]) -> _Survey:
        """What there is in ``rest``, which begins with a byte that is no text, and in ``more``."""
        # Python's own handler gives the same where it can, at twenty times the speed.
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape") if self._utf_8 else self._decoder
        if not self._utf_8:
            decoder.errors = "charrnn.bytes"
        seen = _Survey()
        with contextlib.suppress(UnicodeError, CharrnnError, OSError):
            for block in itertools.chain([rest], more):
                seen.add(block, decoder.decode(block))
                if not seen.whole:
                    return seen
            seen.add(b"", decoder.decode(b"", True))
        return seen


@dataclass
class _Survey:
    """What a file holds from its first byte that is no text on: ``bad``, how often each byte is none; ASCII ``letters``; valid
    characters beyond ASCII, ``wide``; NULs; how many bytes were looked at; and the first of them, a ``sample``.
    """

    bad: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    letters: int = 0
    wide: int = 0
    nulls: int = 0
    size: int = 0
    sample: bytes = b""

    def add(self, block: bytes, text: str) -> None:
        """Count in a ``block`` and its ``text``, in which U+DC00 and more stand for bytes that are no text."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        escaped = (codes >= 0xDC00) & (codes < 0xDD00)
        self.bad += np.bincount(codes[escaped] - 0xDC00, minlength=256)
        self.letters += int(np.count_nonzero(((codes | 32) >= 97) & ((codes | 32) <= 122)))
        self.wide += int(np.count_nonzero((codes >= 0x80) & ~escaped))
        self.nulls += int(np.count_nonzero(codes == 0))
        self.size += len(block)
        self.sample += block[: _SAMPLE_BYTES - len(self.sample)]

    @property
    def count(self) -> int:
        """How many bytes are no text."""
        return int(self.bad.sum())

    @property
    def whole(self) -> bool:
        """Whether everything was looked at, and not only as much as a user waits for."""
        return self.size <= DIAGNOSED_BYTES

    @property
    def at_least(self) -> str:
        """What to say before a number of which there may be more."""
        return "" if self.whole else "at least "

    def advice(self) -> str:
        """What to do about this file, which isn't UTF-8."""
        from charrnn.text.readings import has_words, readings  # For texts that aren't UTF-8 alone, not at every start.

        if self.nulls:
            return "it holds NULs, so is it text?"
        if self.wide >= self.count:
            return _REPLACE if self.count < _OFTEN else f"most of it is, so were files of two encodings joined? {_REPLACE}"
        if self.count >= _OFTEN and (found := [f"{name} ({text})" for name, text in readings(self.sample)]):
            several = "the --encoding that reads right: " if found[1:] else "--encoding "
            return f"try {several}{', '.join(found)}; {_REPLACE}"
        if self.count > self.letters or self.bad[_CP1252_LACKS].any() or has_words(self.sample):
            return f"name its --encoding (cp1251, gb18030, shift_jis, ...); {_REPLACE}"
        return f"try --encoding {'cp1252' if self.bad[0x80:0xA0].any() else 'latin-1'}; {_REPLACE}"


def _end(error: UnicodeError) -> int:
    assert isinstance(error, UnicodeDecodeError)
    return error.end


def _bytes_of(error: UnicodeError) -> str:
    """Each byte that is no text as U+DC00 and its value."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end])


def _with_whole_opening(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """``blocks`` with the first ones joined until they tell what the file is: a mark may be cut in two."""
    first = b""
    for block in blocks:
        first += block
        mark = any(bom.startswith(first) or (bom == first[: len(bom)] and len(first) < 4) for bom, _ in _BOMS)
        if not mark and (len(first) >= _OPENING or b"\n" in first):
            break
    if first:
        yield first
    yield from blocks


def _marked(first: bytes) -> str | None:
    return next((name for mark, name in _BOMS if first.startswith(mark)), None)


def _unmarked_wide(first: bytes) -> str | None:
    """UTF-16 or UTF-32 without a byte-order mark: NULs stand where the upper bytes of common characters are."""
    if b"\0" not in first or len(first) < 4 or (not first.isascii() and _is_utf_8(first)):
        return None
    sample = np.frombuffer(first[: min(len(first), 4096) // 4 * 4], dtype=np.uint8)
    nulls = (sample.reshape(-1, 4) == 0).mean(axis=0)  # the share at each of four places
    if nulls[0] == 1 and nulls[1] > 0.5 > nulls[3]:
        return _if_text(sample, "utf-32-be")
    if nulls[3] == 1 and nulls[2] > 0.5 > nulls[0]:
        return _if_text(sample, "utf-32-le")
    even, odd = nulls[0] + nulls[2], nulls[1] + nulls[3]
    for name, more, fewer, upper in (("utf-16-le", odd, even, sample[1::2]), ("utf-16-be", even, odd, sample[::2])):
        # Where NULs are few, ASCII with some NULs looks alike; but then the other upper bytes are ASCII too.
        likely = more > 1 or ((upper > 0x7E) | ((upper < 0x20) & (upper > 0))).any()
        if more > 2 * fewer and likely:
            return _if_text(sample, name)
    return None


def _if_text(sample: NDArray[np.uint8], name: str) -> str | None:
    """``name`` if the ``sample`` holds characters of text in this encoding, and nothing else."""
    try:
        text = codecs.getincrementaldecoder(name)().decode(sample.tobytes())
    except UnicodeDecodeError:
        return None
    strange = {character for character in text if unicodedata.category(character) in ("Cc", "Cn", "Co", "Cs")}
    return name if strange <= set("\t\n\f\r") else None


def _is_utf_8(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True
