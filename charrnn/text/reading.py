"""Texts as code points: one reader for every option that takes a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import files
from charrnn.text import sources
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

    def files(self, paths: Sequence[str]) -> list[str]:
        """``paths`` with each directory replaced by the texts below it; see `sources.text_files`."""
        return sources.text_files(paths, self.warn, self.version)

    def pieces(self, path: str) -> Iterator[tuple[bytes, NDArray[Any]]]:
        """Each block of raw bytes of a file with the code points (bytes, at level ``byte``) that it completes, as they arrive.

        Raises:
            CharrnnError: the file can't be read, or is not valid text.
        """
        if (form := self.known_form()) is not None:
            as_it_is = replace(self, known_form=_as_it_is)
            yield from ((b"", codes) for codes in form.blocks(as_it_is.codes(path)))
            return
        with files.guard(sources.shown(path)):
            blocks = sources.blocks(path, self.version)
            if self.level == "byte":
                yield from ((block, np.frombuffer(block, dtype=np.uint8)) for block in blocks)
            else:
                again = sources.readable_again(path)
                yield from decoded(blocks, sources.shown(path), self.encoding, self.warn, self.version, to_the_end=again)

    def codes(self, path: str) -> Iterator[NDArray[Any]]:
        """The code points of a file (its bytes, at level ``byte``) in blocks, none of them empty."""
        return (codes for _, codes in self.pieces(path) if len(codes))

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
            for raw, codes in self.pieces(name):
                if len(codes):
                    last = int(codes[-1])
                yield raw, codes

    def text(self, path: str) -> str:
        """All of a file, a directory's files or standard input; at level ``byte`` what isn't UTF-8 as Python escapes it."""
        return self._whole(self.joined(self.files([path])))

    def text_in(self, raw: bytes, name: str) -> str:
        """The bytes ``raw`` of something that can be read once only, as `text` would give them."""
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


def text_of(codes: NDArray[Any]) -> str:
    """Code points as text."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


PLAIN = TextReader()
"""Reads as the program does where nothing is asked for."""
