"""Text files to code points: directories, ``.gz`` files, stdin, encodings, line ends."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, UsageError, files

STDIN = "-"

ADVICE = "try --encoding latin-1, or --level byte"
BLOCK_BYTES = 1 << 16  # Small enough that a block's intermediate arrays stay in the cache: twice as fast as 1 << 21.

_BOMS = (  # UTF-32's little-endian mark begins with UTF-16's, so it is looked for first.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def text_files(paths: Sequence[str]) -> list[str]:
    """``paths`` with each directory replaced by its ``*.txt`` files, sorted; `CharrnnError` if it has none."""
    files: list[str] = []
    for path in paths:
        if path != STDIN and is_directory(path):
            found = sorted(str(entry) for entry in Path(path).glob("*.txt") if entry.is_file())
            if not found:
                raise CharrnnError(f"{path}: the directory holds no *.txt file; name the files to read")
            files += found
        else:
            files.append(path)
    if files.count(STDIN) > 1:
        raise UsageError("- (standard input) can be read once, not twice")
    return files


def is_directory(path: str) -> bool:
    """Whether ``path`` is a directory; `CharrnnError` if no file can have that name."""
    with files.guard(path):
        return Path(path).is_dir()


def code_points(path: str, *, level: str = "char", encoding: str | None = None) -> Iterator[NDArray[Any]]:
    """The code points of one text file, ``.gz`` file or ``-``, line ends as LF, in blocks as they arrive (the raw bytes at
    level ``byte``).

    Raises:
        CharrnnError: the file can't be read, or is not valid text.
        UsageError: the encoding is not a text encoding this Python knows.
    """
    if encoding is not None:
        check_encoding(encoding)
    for _, codes in pieces(path, level=level, encoding=encoding, advice="try --encoding latin-1"):
        if len(codes):
            yield codes


def pieces(path: str, *, level: str, encoding: str | None, advice: str = ADVICE) -> Iterator[tuple[bytes, NDArray[Any]]]:
    """Each block of raw bytes of a file with the code points that it completes: `code_points` for an encoding that is checked.

    ``advice`` says what to do about a file that is not valid text.
    """
    with files.guard(path):
        if level == "byte":
            yield from ((block, np.frombuffer(block, dtype=np.uint8)) for block in blocks(path))
        else:
            yield from decoded(blocks(path), path, encoding, advice)


def check_encoding(encoding: str) -> None:
    """Raise `UsageError` unless Python knows the text encoding."""
    try:
        known = codecs.lookup(encoding)
        "".encode(known.name)
    except (LookupError, ValueError) as error:
        raise UsageError(f"--encoding: {encoding!r} is not a text encoding that Python knows (try utf-8, latin-1)") from error


def _open(path: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if path == STDIN:
        if sys.stdin is None:
            raise CharrnnError("stdin is closed; name a file")
        return contextlib.nullcontext(sys.stdin.buffer)
    with files.guard(path):
        return gzip.open(path) if path.endswith(".gz") else open(path, "rb")  # type: ignore[return-value] # GzipFile reads alike


def blocks(path: str) -> Iterator[bytes]:
    """The bytes of a file, unzipped, in blocks as they arrive."""
    with _open(path) as source:
        try:
            # Whatever a pipe has comes at once, so that the lines of a growing log are scored without waiting for a full block.
            while block := source.read1(BLOCK_BYTES):  # type: ignore[attr-defined] # all that `_open` returns have it
                yield block
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CharrnnError(f"{path}: not a whole gzip file ({error})") from error


def decoded(blocks: Iterator[bytes], path: str, encoding: str | None, advice: str) -> Iterator[tuple[bytes, NDArray[Any]]]:
    """Each raw block with the code points it completes, line ends as LF; ``path`` and ``advice`` are for the error."""
    decoder: codecs.IncrementalDecoder | None = None
    consumed, held = 0, ""  # ``held``: a CR whose LF may stand in the next block
    name = encoding or "utf-8"
    raw = b""
    while True:
        raw = next(blocks, b"")
        unmarked = raw
        if decoder is None:
            if encoding is None:
                name = next((codec for mark, codec in _BOMS if raw.startswith(mark)), "utf-8")
            if codecs.lookup(name).name == "utf-8":
                unmarked = raw.removeprefix(codecs.BOM_UTF8)
                consumed = len(raw) - len(unmarked)
            decoder = codecs.getincrementaldecoder(name)()
        pending = len(decoder.getstate()[0])
        try:
            text = held + decoder.decode(unmarked, final=not raw)
        except UnicodeDecodeError as error:
            where = consumed - pending + error.start
            raise CharrnnError(f"{path}: byte {where} is not valid {name.upper()} text; {advice}") from error
        except UnicodeError as error:
            raise CharrnnError(f"{path}: not valid {name} text ({error}); {advice}") from error
        consumed += len(unmarked)
        held = ""
        if raw and text.endswith("\r"):
            text, held = text[:-1], "\r"
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if text.isascii():
            yield raw, np.frombuffer(text.encode("ascii"), dtype=np.uint8)
        else:
            yield raw, np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        if not raw:
            return


def text_of(codes: NDArray[Any]) -> str:
    """Code points as text."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
