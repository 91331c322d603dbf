"""Texts as code points: one reader for every option that takes a text."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import UsageError, files
from charrnn.text import rows, sources
from charrnn.text.canonical import Normalizer
from charrnn.text.decoding import TOLD, Encoding, decoded
from charrnn.text.sources import VERSION, Say

NEWLINE = np.array([10], dtype=np.uint8)


def _unheard(_: str) -> None:
    pass


def _as_it_is() -> None:
    return None


@dataclass(frozen=True)
class TextReader:
    """Reads files, directories and standard input; the same file reads alike for everyone with the same rules.

    At ``level`` ``char`` a text is its code points, in the given ``encoding``, line ends as LF; at ``byte`` its bytes as they
    are. ``version`` counts how the rules changed: a run is read by those with which it began. ``warn`` hears what
    the user should know of what was read.
    """

    level: str = "char"
    encoding: Encoding = TOLD
    version: int = VERSION
    warn: Say = _unheard
    known_form: Callable[[], Normalizer | None] = _as_it_is
    """What makes the map to the canonically equal text that somebody knows, one for each file."""
    every_row: bool = False
    """Whether a row of a table that has no text is an empty line, so that lines and rows stand side by side."""

    def files(self, paths: Sequence[str]) -> list[str]:
        """``paths`` with each directory replaced by the texts below it; see `sources.text_files`."""
        if (field := self.encoding.field) is None:
            return sources.text_files(paths, self.warn, self.version)
        if not field:
            raise UsageError("--field: the name is empty; is a variable not set?")
        if words := rows.rest_of_field(paths):
            raise UsageError(
                f"{words[0]}: no such file; a name of several words is quoted: --field '{' '.join([field, *words])}'"
            )
        names = sources.text_files(paths, self.warn, self.version, self.is_table)
        if not any(map(self.is_table, names)):
            found = f"{names[0]} is none" if len(names) == 1 else "these are none"
            raise UsageError(f"--field names a field of {rows.FILES}; {found}{rows.instead(names)}")
        return names

    def files_beside(self, names: Sequence[str], path: str) -> list[str]:
        """The files of another text, ``path``, that is read beside ``names``; a plain text may stand beside a table."""
        found = sources.text_files([path], self.warn, self.version, None if self.encoding.field is None else self.is_table)
        sources.check_stdin([*names, *found])
        return found

    def pieces(
        self, path: str, *, by_lines: bool = False, numbers: deque[int] | None = None
    ) -> Iterator[tuple[bytes, NDArray[Any]]]:
        """Each block of raw bytes of a file with the code points (bytes, at level ``byte``) that it completes, as they arrive.

        Where the text is read ``by_lines``, a row of a table is a line; ``numbers`` gets where it stands in the file.

        Raises:
            CharrnnError: the file can't be read, or is not valid text.
        """
        if (form := self.known_form()) is not None:
            yield from _mapped(form, replace(self, known_form=_as_it_is).pieces(path, by_lines=by_lines, numbers=numbers))
            return
        with files.guard(sources.shown(path)):
            blocks = sources.blocks(path, self.version)
            if self.encoding.field is not None and self.is_table(path):
                yield from self._rows(path, self.encoding.field, blocks, one_line=by_lines, numbers=numbers)
            elif self.level == "byte":
                yield from ((block, np.frombuffer(block, dtype=np.uint8)) for block in blocks)
            else:
                again = sources.readable_again(path)
                yield from decoded(blocks, sources.shown(path), self.encoding, self.warn, self.version, to_the_end=again)

    def _rows(
        self, path: str, field: str, blocks: Iterator[bytes], *, one_line: bool, numbers: deque[int] | None = None
    ) -> Iterator[tuple[bytes, NDArray[Any]]]:
        strict = self.encoding.errors == "strict"
        every = self.every_row
        table = rows.Rows(path, field, self.level, self.warn, strict=strict, one_line=one_line, every=every, numbers=numbers)
        kind = rows.kind(path, self.version)
        if kind == "parquet":
            return table.of_parquet(lambda: blocks)
        decoded_blocks = decoded(blocks, sources.shown(path), self.encoding, self.warn, self.version)
        read = ((raw, text_of(codes)) for raw, codes in decoded_blocks)
        return table.of_columns(read, kind) if kind in ("csv", "tsv") else table.of_json(read)

    def is_table(self, path: str) -> bool:
        """Whether one field of the rows of ``path`` is what is read of it."""
        return self.encoding.field is not None and rows.kind(path, self.version) is not None

    def codes(self, path: str, *, by_lines: bool = False, numbers: deque[int] | None = None) -> Iterator[NDArray[Any]]:
        """The code points of a file (its bytes, at level ``byte``) in blocks, none of them empty; see `pieces`."""
        return (codes for _, codes in self.pieces(path, by_lines=by_lines, numbers=numbers) if len(codes))

    def joined(
        self, names: Sequence[str], *, by_lines: bool = False, begins: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[bytes, NDArray[Any]]]:
        """The `pieces` of all files; one that lacks a final newline gets it if another file follows, at level ``byte`` only
        where the files are read ``by_lines``. ``begins`` is called before each file.
        """
        last = 10
        for name in names:
            begins()
            if (by_lines or self.level == "char") and last != 10:
                yield b"", NEWLINE
                last = 10
            for raw, codes in self.pieces(name, by_lines=by_lines):
                if len(codes):
                    last = int(codes[-1])
                yield raw, codes

    def text(self, path: str) -> str:
        """All of a file, a directory's files or standard input; at level ``byte`` what isn't UTF-8 as Python escapes it."""
        return self._whole(self.joined(self.files([path])))

    def text_in(self, raw: bytes, name: str) -> str:
        """The bytes ``raw`` of something that can be read once only, as `text` would give them."""
        if self.encoding.field is not None:
            return self._whole(self._rows(sources.STDIN, self.encoding.field, iter([raw]), one_line=False))
        if self.level == "byte":
            return raw.decode("utf-8", "surrogateescape")
        return self._whole(decoded(iter([raw]), name, self.encoding, self.warn, self.version))

    def lines(self, blocks: Iterator[bytes], name: str) -> Iterator[str]:
        """Each line of ``blocks`` of UTF-8, or what is asked for, without its newline, as soon as it is there."""
        unfinished = ""
        for _, codes in decoded(blocks, name, self.encoding, self.warn, self.version):
            *lines, unfinished = (unfinished + text_of(codes)).split("\n")
            yield from lines
        if unfinished:
            yield unfinished

    def _whole(self, pieces: Iterable[tuple[bytes, NDArray[Any]]]) -> str:
        if self.level == "byte":
            return b"".join(codes.tobytes() for _, codes in pieces).decode("utf-8", "surrogateescape")
        return "".join(text_of(codes) for _, codes in pieces)


def _mapped(form: Normalizer, pieces: Iterator[tuple[bytes, NDArray[Any]]]) -> Iterator[tuple[bytes, NDArray[Any]]]:
    """``pieces`` in another ``form``; raw bytes come with whatever is complete when they are read."""
    held: list[bytes] = []

    def codes() -> Iterator[NDArray[Any]]:
        for raw, block in pieces:
            held.append(raw)
            if len(block):
                yield block

    for block in form.blocks(codes()):
        yield b"".join(held), block
        held.clear()
    yield b"".join(held), np.zeros(0, dtype=np.uint8)


def text_of(codes: NDArray[Any]) -> str:
    """Code points as text."""
    if codes.dtype == np.uint8:
        return codes.tobytes().decode("latin-1")
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


PLAIN = TextReader()
"""Reads as the program does where nothing is asked for."""
