"""Texts that the user gives: as arguments, with backslash escapes, in files, on stdin; and what a network can read of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from charrnn import CharrnnError, UsageError, files
from charrnn.text.reading import STDIN
from charrnn.text.vocabulary import REPLACEMENT, Vocabulary

_NAMED = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.|$)", re.DOTALL)


def literal(text: str, option: str) -> str:
    """An argument as it was typed: the locale decoded it, but its bytes are UTF-8; ``option`` is for the error."""
    return decoded(os.fsencode(text), option)


def unescaped(text: str, option: str) -> str:
    r"""``text`` with ``\n``, ``\t``, ``\r``, ``\0``, ``\\``, ``\uXXXX`` and ``\UXXXXXXXX`` replaced by what they mean.

    Raises `UsageError` naming ``option`` for anything else behind a backslash, and for a number that is not a character's.
    """

    def character(match: re.Match[str]) -> str:
        escape = match[1]
        if escape in _NAMED:
            return _NAMED[escape]
        code = int(escape[1:], 16) if len(escape) > 1 else -1
        if not 0 <= code < 0x110000 or 0xD800 <= code < 0xE000:
            raise UsageError(rf"{option}: \{escape} is not an escape; there are \n, \t, \r, \0, \\, \uXXXX and \UXXXXXXXX")
        return chr(code)

    return _ESCAPE.sub(character, text)


def data(text: str | None, path: Path | None) -> bytes:
    """The bytes of a file, of stdin if ``text`` (or ``path``) is -, or of an argument as it was typed."""
    from_stdin = str(path) == STDIN if path is not None else text == STDIN
    if from_stdin and sys.stdin is None:
        raise CharrnnError("stdin is closed; there is no text to read")
    with files.guard("stdin" if from_stdin else str(path)):
        if from_stdin:
            return sys.stdin.buffer.read()
        return os.fsencode(text or "") if path is None else path.read_bytes()


def read(path: Path) -> str:
    """The UTF-8 text of a file, or of stdin if ``path`` is -, line ends as LF."""
    return text_of(data(None, path), "stdin" if str(path) == STDIN else str(path))


def text(argument: str | None, path: Path | None, option: str) -> str:
    """The text of a file, of stdin if the argument is -, or of the argument as it was typed."""
    if path is not None:
        return read(path)
    return read(Path(STDIN)) if argument == STDIN else literal(argument or "", option)


def text_of(data: bytes, name: str) -> str:
    """UTF-8 as text, without a byte-order mark, line ends as LF; ``name`` is for the error."""
    return decoded(data, name, "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def decoded(data: bytes, name: str, encoding: str = "utf-8") -> str:
    """``data`` as text; ``name`` is for the error."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise CharrnnError(f"{name}: byte {error.start} is not valid UTF-8 text") from error


def known(text: str, vocabulary: Vocabulary, warn: Callable[[str], None], what: str = "the prompt") -> str:
    """``text`` in characters that the network knows; warns of those that had to be replaced."""
    plain, changed = vocabulary.plain(text)
    tell(changed, warn, what)
    return plain


def tell(changed: Mapping[str, str], warn: Callable[[str], None], what: str) -> None:
    """Warn which characters were replaced, and by what."""
    if changed:
        swaps = ", ".join(f"{old!r} -> {'unknown' if new == REPLACEMENT else repr(new)}" for old, new in changed.items())
        warn(f"the network doesn't know every character of {what}: {swaps:.500}")
