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
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CharrnnError(f"{option}: byte {error.start} is not valid UTF-8 text") from error


def read(path: Path) -> str:
    """The UTF-8 text of a file, or of stdin where ``path`` is -, line ends as LF."""
    name = "stdin" if str(path) == STDIN else str(path)
    try:
        if name == "stdin" and sys.stdin is None:
            raise CharrnnError("stdin is closed; there is no prompt to read")
        data = sys.stdin.buffer.read() if name == "stdin" else path.read_bytes()
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise CharrnnError(f"{name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CharrnnError(f"{name}: byte {error.start} is not valid UTF-8 text") from error


def given(text: str | None, path: Path | None, option: str) -> str:
    """The text of an argument, of stdin where that is -, or of a file."""
    if path is not None:
        return read(path)
    return read(Path(STDIN)) if text == STDIN else literal(text or "", option)


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
