"""Texts that the user gives to read: arguments, files, stdin; and what a network can read of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from charrnn import CharrnnError
from charrnn.vocabulary import REPLACEMENT, Vocabulary

STDIN = "-"


def literal(text: str, option: str) -> str:
    """The text that was typed: arguments arrive decoded by the locale, the bytes are what counts."""
    return _decoded(os.fsencode(text), option)


def data(text: str | None, path: Path | None) -> bytes:
    """The bytes of a file, of stdin where ``text`` (or ``path``) is -, or of an argument as it was typed."""
    from_stdin = str(path) == STDIN if path is not None else text == STDIN
    try:
        if from_stdin and sys.stdin is None:
            raise CharrnnError("stdin is closed; there is no text to read")
        if from_stdin:
            return sys.stdin.buffer.read()
        return os.fsencode(text or "") if path is None else path.read_bytes()
    except OSError as error:
        raise CharrnnError(f"{'stdin' if from_stdin else path}: {error.strerror}") from error


def read(path: Path) -> str:
    """The UTF-8 text of a file, or of stdin where ``path`` is -, line ends as LF."""
    return text_of(data(None, path), "stdin" if str(path) == STDIN else str(path))


def given(text: str | None, path: Path | None, option: str) -> str:
    """The text of an argument, of stdin where that is -, or of a file."""
    if path is not None:
        return read(path)
    return read(Path(STDIN)) if text == STDIN else literal(text or "", option)


def text_of(data: bytes, name: str) -> str:
    """UTF-8 as text, without a byte-order mark, line ends as LF; ``name`` is for the error."""
    return _decoded(data, name, "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _decoded(data: bytes, name: str, encoding: str = "utf-8") -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise CharrnnError(f"{name}: byte {error.start} is not valid UTF-8 text") from error


def known(text: str, vocabulary: Vocabulary, warn: Callable[[str], None], what: str = "the prompt") -> str:
    """``text`` in characters that the network knows; what had to be replaced is said."""
    plain, changed = vocabulary.plain(text)
    tell(changed, warn, what)
    return plain


def tell(changed: Mapping[str, str], warn: Callable[[str], None], what: str) -> None:
    """Say which characters were replaced by what."""
    if changed:
        swaps = ", ".join(f"{old!r} -> {'unknown' if new == REPLACEMENT else repr(new)}" for old, new in changed.items())
        warn(f"the network doesn't know every character of {what}: {swaps:.500}")
