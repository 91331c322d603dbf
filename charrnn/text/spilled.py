"""A text while it is read: blocks of code points, which don't stay in memory, and what becomes of them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import files
from charrnn.text.cache import PLACE
from charrnn.text.vocabulary import Vocabulary, id_dtype

IN_MEMORY_BYTES = 1 << 26
"""Code points or ids that need more than this live in a temporary file."""


class BlockStore:
    """Blocks of code points, in memory while they are small, else in an unnamed temporary file."""

    def __init__(self, place: Path | None = None) -> None:
        """``place`` is the directory of the file, by default that of all temporary ones."""
        self._place = place
        self._blocks: list[NDArray[Any]] = []
        self._bytes, self._width = 0, 1
        self.characters = 0
        self._spilled: list[tuple[Any, int]] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> BlockStore:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # A failure to write was reported when it happened.
                self._file.close()

    def append(self, codes: NDArray[Any]) -> None:
        """Add a block that isn't empty; it is kept in as few bytes as its characters need."""
        if codes.dtype != np.uint8:
            codes = codes.astype(np.min_scalar_type(int(codes.max())))
        self._blocks.append(codes)
        self._width = max(self._width, codes.itemsize)
        self._bytes += codes.nbytes
        self.characters += len(codes)
        if self._bytes > IN_MEMORY_BYTES:
            with files.temporary_space("a long text", self._place, PLACE):
                if self._file is None:
                    self._file = tempfile.TemporaryFile(prefix="charrnn-", dir=self._place)  # noqa: SIM115 - read back later
                for block in self._blocks:
                    self._file.write(block.data)
                    self._spilled.append((block.dtype, len(block)))
                self._file.flush()
            self._blocks, self._bytes = [], 0

    def _all(self) -> Iterator[NDArray[Any]]:
        if self._file is not None:
            self._file.seek(0)
            for dtype, length in self._spilled:
                yield np.frombuffer(self._file.read(length * dtype.itemsize), dtype=dtype)
        yield from self._blocks

    def codes(self) -> NDArray[Any]:
        """The code points of all blocks as one array, memory-mapped where it is large."""
        dtype = np.dtype(f"u{self._width}")
        return joined((block.astype(dtype, copy=False) for block in self._all()), self.characters, dtype)

    def ids(self, vocabulary: Vocabulary, tell: Callable[[float], None] = lambda _: None) -> Iterator[NDArray[Any]]:
        """The ids of all blocks, block by block; ``tell`` hears which share is done."""
        encode, done = _encoder(vocabulary, np.dtype(id_dtype(vocabulary.size))), 0
        for block in self._all():
            yield encode(block)
            done += len(block)
            tell(done / self.characters)

    def encoded(self, vocabulary: Vocabulary) -> NDArray[Any]:
        """The ids of all blocks as one array, memory-mapped where it is large.

        Raises:
            CharrnnError: there is too little room for temporary files.
        """
        dtype = np.dtype(id_dtype(vocabulary.size))
        return joined(self.ids(vocabulary), self.characters, dtype)


def joined(blocks: Iterable[NDArray[Any]], characters: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """All ``blocks`` of ids as one array of so many ``characters``, memory-mapped where it is large."""
    if characters * dtype.itemsize <= IN_MEMORY_BYTES:
        ids = np.empty(characters, dtype=dtype)
        position = 0
        for block in blocks:
            ids[position : position + len(block)] = block
            position += len(block)
        return ids
    # An unnamed file, which is gone once the process ends, in whatever way. It is written before it is mapped: where there
    # is no room, writing is an error, while a page of a map kills the process.
    with files.temporary_space("a long text"), tempfile.TemporaryFile(prefix="charrnn-") as file:
        for block in blocks:
            file.write(block.data)
        file.flush()
        mapped: NDArray[Any] = np.memmap(file, dtype=dtype, mode="r+", shape=(characters,))
    return mapped


def _encoder(vocabulary: Vocabulary, dtype: np.dtype[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """What makes ids of type ``dtype`` out of code points."""
    if vocabulary.level == "byte":
        return lambda block: block
    table, ascii_ids = vocabulary.table, vocabulary.table[:256].astype(np.uint8).tobytes()

    def encode(block: NDArray[Any]) -> NDArray[Any]:
        if block.dtype == np.uint8 and dtype == np.uint8:  # Latin-1 too.
            # ``bytes.translate`` looks up a gigabyte a second, several times ``np.take``.
            return np.frombuffer(block.tobytes().translate(ascii_ids), dtype=np.uint8)
        return np.take(table, block)

    return encode
