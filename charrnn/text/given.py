"""Texts that the user gives: as arguments, with backslash escapes, in files, on stdin; and what a network can read of them."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from charrnn import CharrnnError, UsageError, files
from charrnn.keywords import one_text
from charrnn.text import sources
from charrnn.text.reading import TextReader
from charrnn.text.sources import STDIN
from charrnn.text.vocabulary import REPLACEMENT, Vocabulary

_NAMED = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}
_NAME = re.compile(r"[\w./~-]+\.(txt|text|md|log|[ct]sv|jsonl?)(\.(gz|bz2|xz))?")
"""What looks like the name of a text file."""
_PLAIN_ESCAPE = re.compile(r"^(\\[nt])+$|\\n$")
"""A backslash and a letter where hardly anybody means these two."""
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
        if 0xD800 <= code < 0xE000:
            raise UsageError(rf"{option}: \{escape} is half of a character; write a whole one as \UXXXXXXXX")
        if not 0 <= code < 0x110000:
            raise UsageError(rf"{option}: \{escape} is not an escape; there are \n, \t, \r, \0, \\, \uXXXX and \UXXXXXXXX")
        return chr(code)

    return _ESCAPE.sub(character, text)


def prompt(path: str, reader: TextReader, *, keep_newline: bool) -> str:
    """The prompt in a file or on stdin, without the newline at its end, which ``echo`` and editors add."""
    return _unended(reader.text(path), keep_newline=keep_newline)


def text(argument: str, option: str, reader: TextReader, *, keep_newline: bool) -> str:
    """An argument as it was typed, or the `prompt` on stdin if it is -; `tell_of_file` where it is the name of a file."""
    return prompt(STDIN, reader, keep_newline=keep_newline) if argument == STDIN else literal(argument, option)


class GivenText:
    """A text that may be an argument, a file or stdin, for networks that read characters and others that read bytes.

    On stdin, in place of an argument, it ends without its last newline unless that is to be kept.
    """

    def __init__(self, argument: str | None, path: Path | None, option: str, reader: TextReader, *, keep_newline: bool) -> None:
        self.reader = reader
        self._keep_newline = keep_newline or path is not None
        self._argument = argument
        self._path = str(path) if path is not None else STDIN if argument == STDIN else None
        self.name = option if self._path is None else sources.shown(self._path)
        self._once: bytes | None = None
        self._read: dict[str, str | None] = {}

    def at(self, level: str) -> str | None:
        """The text as networks of ``level`` read it (see `TextReader.text`); None if none was given."""
        if level not in self._read:
            self._read[level] = self._text(level)
        return self._read[level]

    def _text(self, level: str) -> str | None:
        reader = replace(self.reader, level=level)
        if self._path is None:
            if self._argument is None:
                return None
            return literal(self._argument, self.name) if level == "char" else _escaped(self._argument)
        return _unended(self._stored(self._path, reader), keep_newline=self._keep_newline)

    def _stored(self, path: str, reader: TextReader) -> str:
        if sources.readable_again(path):
            return reader.text(path)
        if self._once is None:
            with files.guard(self.name):
                self._once = b"".join(sources.blocks(path))
        return reader.text_in(self._once, self.name)


def _unended(text: str, *, keep_newline: bool) -> str:
    return text if keep_newline or not text.endswith("\n") else text[:-1].removesuffix("\r")


def tell_of_file(text: str, instead: str, warn: Callable[[str], None]) -> None:
    """Warn if a ``text`` that was typed is the name of a file, which ``instead`` reads with the name behind it, or looks like
    one; - is always stdin.
    """
    try:
        is_file = text != STDIN and Path(text).is_file()
        is_run = bool(text) and Path(text) != Path() and any(Path(text).glob("*.safetensors"))
    except (OSError, ValueError):
        return
    if is_run:
        warn(f"{text} is read as a text, but it names a network's directory; -c {shlex.quote(text)} names the network")
    if is_file:
        warn(f"{text} is read as a text, but it names a file; {instead} {shlex.quote(text)} reads the file")
    elif _NAME.fullmatch(text):
        warn(f"{text} is read as a text; there is no file of this name")


def tell_of_stdin(instead: str, say: Callable[[str], None]) -> None:
    """Say so if a text waits in a pipe or a file on stdin that nothing reads; ``instead`` would have read it."""
    # Windows has no fcntl, and stdin may be closed.
    with contextlib.suppress(ImportError, OSError, ValueError, AttributeError):
        import fcntl
        import termios

        handle = sys.stdin.fileno()
        if not os.isatty(handle) and any(fcntl.ioctl(handle, termios.FIONREAD, bytes(4))):
            say(f"charrnn: stdin isn't read; {instead} reads it")


def tell_of_escape(text: str, option: str, warn: Callable[[str], None]) -> None:
    """Warn of what is plainly meant as an escape in the value of ``option`` and is read as it stands."""
    if found := _PLAIN_ESCAPE.search(text):
        warn(f"{option}: {found[0]} is read as two characters; --escapes makes one of it")


def _escaped(argument: str) -> str:
    return os.fsencode(argument).decode("utf-8", "surrogateescape")


def decoded(data: bytes, name: str) -> str:
    """``data`` as text; ``name`` is for the error."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CharrnnError(f"{name}: byte {error.start} is not valid UTF-8 text") from error


def known(text: str, vocabulary: Vocabulary, warn: Callable[[str], None], what: str = "the prompt") -> str:
    """``text`` in characters that the network knows; warns of those that had to be replaced."""
    plain, changed = vocabulary.plain(one_text(text))
    tell(changed, warn, what)
    return plain


def tell(changed: Mapping[str, str], warn: Callable[[str], None], what: str) -> None:
    """Warn which characters were replaced, and by what."""
    if changed:
        swaps = ", ".join(f"{old!r} -> {'unknown' if set(new) == {REPLACEMENT} else repr(new)}" for old, new in changed.items())
        warn(f"the network doesn't know every character of {what}: {swaps:.500}")
