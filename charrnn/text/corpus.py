"""The corpus: text files as ids, with a part kept for validation."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, files
from charrnn.text import reading
from charrnn.text.reading import ADVICE, STDIN
from charrnn.text.vocabulary import CODE_POINTS, Vocabulary, id_dtype

IN_MEMORY_BYTES = 1 << 26
"""Code points or ids that need more than this live in a temporary file."""


@dataclass(frozen=True)
class Corpus:
    """A text as ids: ``ids[:train_characters]`` to learn from and the rest to validate on.

    ``bytes_read`` and ``sha256`` describe the raw (unzipped) bytes of all files in order.
    """

    name: str
    paths: tuple[str, ...]
    bytes_read: int
    sha256: str
    vocabulary: Vocabulary
    ids: NDArray[Any]
    train_characters: int

    @property
    def val_characters(self) -> int:
        """The number of validation characters; 0 or at least 2."""
        return len(self.ids) - self.train_characters

    @property
    def unknown(self) -> int:
        """How many characters of the text are not in the vocabulary."""
        return 0 if self.vocabulary.unknown is None else int(np.count_nonzero(self.ids == self.vocabulary.unknown))

    def is_text_of(self, training: Mapping[str, Any]) -> bool:
        """Whether a checkpoint with these facts was trained on this text."""
        return self.sha256 == training.get("corpus_sha256")

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says about its corpus, without paths."""
        return {"corpus": self.name, "corpus_bytes": self.bytes_read, "corpus_sha256": self.sha256}


def corpus_name(paths: Sequence[str]) -> str:
    """The stem of the first file without ``.txt`` and ``.gz``, a directory's name, or ``stdin``."""
    if paths[0] == STDIN:
        return "stdin"
    path = Path(paths[0])
    name = path.resolve().name if reading.is_directory(paths[0]) else Path(path.name.removesuffix(".gz")).stem
    return name or "corpus"


def read_corpus(
    paths: Sequence[str],
    *,
    level: str = "char",
    min_count: int = 1,
    encoding: str | None = None,
    val_fraction: float = 0.1,
    vocabulary: Vocabulary | None = None,
    advice: str = ADVICE,
) -> Corpus:
    """Read text files, directories of ``*.txt``, ``.gz`` files and ``-`` into one corpus.

    Args:
        paths: what to read, in order. At level ``char`` a file that lacks a final newline gets one if another follows.
        level: ``char`` (Unicode code points, line ends as LF) or ``byte`` (the raw bytes).
        min_count: characters that occur fewer times become the unknown character.
        encoding: a Python codec name; by default UTF-8, or UTF-16/32 where a byte-order mark says so.
        val_fraction: the share at the end of the text that is kept for validation.
        vocabulary: what to encode with, instead of the text's own vocabulary.
        advice: what to do about a file that is not valid text.

    Raises:
        CharrnnError: a file can't be read, is not valid text, or all of them hold fewer than 2 characters.
        UsageError: the encoding is not a text encoding this Python knows.
    """
    if encoding is not None:
        reading.check_encoding(encoding)
    names = reading.text_files(paths)
    with _BlockStore() as store:
        read = _read_files(names, store, level, encoding, advice, counted=min_count > 1)
        characters = store.characters
        if characters < 2:
            what = "holds no text" if characters == 0 else "holds a single character"
            raise CharrnnError(f"{', '.join(names)[:200]}: {what}; at least 2 characters are needed")
        if vocabulary is None:
            present = np.flatnonzero(read.counts)
            occurrences = dict(zip(present.tolist(), read.counts[present].tolist(), strict=True))
            vocabulary = Vocabulary("byte") if level == "byte" else Vocabulary.from_counts(occurrences, min_count)
        if vocabulary.size == 1:
            raise CharrnnError(f"{', '.join(names)[:200]}: no character occurs {min_count} times; lower --min-count")
        ids = store.encoded(vocabulary)
    held_out = int(characters * val_fraction)
    return Corpus(
        name=corpus_name(paths),
        # Like stdin, a pipe or device can't be read again.
        paths=tuple(str(Path(path).resolve()) if Path(path).is_file() or Path(path).is_dir() else STDIN for path in paths),
        bytes_read=read.size,
        sha256=read.sha256,
        vocabulary=vocabulary,
        ids=ids,
        train_characters=characters - (held_out if held_out >= 2 and characters - held_out >= 2 else 0),
    )


@dataclass(frozen=True)
class _Read:
    """What reading the files found: the number and digest of the raw bytes, and how often each code point or byte occurs.

    Unless the caller asked for counts, 1 may stand for any number of occurrences.
    """

    size: int
    sha256: str
    counts: NDArray[np.int64]


def _read_files(
    names: Sequence[str], store: _BlockStore, level: str, encoding: str | None, advice: str, *, counted: bool
) -> _Read:
    digest, size, last_code = hashlib.sha256(), 0, -1
    counts = np.zeros(CODE_POINTS if level == "char" else 256, dtype=np.int64)

    seen = bytearray()

    def keep(codes: NDArray[Any]) -> None:
        if counted or codes.dtype != np.uint8:
            found = np.bincount(codes)
            counts[: len(found)] += found
        elif new := set(codes.tobytes().translate(None, seen)):  # Dropping known ones is four times as fast as counting.
            seen.extend(new)
            counts[list(new)] += 1
        store.append(codes)

    for path in names:
        if level == "char" and last_code not in (-1, 10):
            keep(np.array([10], dtype=np.uint8))
            last_code = 10
        with files.guard(path):
            for raw, codes in reading.pieces(path, level=level, encoding=encoding, advice=advice):
                digest.update(raw)
                size += len(raw)
                if len(codes):
                    last_code = int(codes[-1])
                    keep(codes)
    return _Read(size, digest.hexdigest(), counts)


class _BlockStore:
    """Blocks of code points, in memory while they are small, else in an unnamed temporary file."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[Any]] = []
        self._bytes = 0
        self.characters = 0
        self._spilled: list[tuple[Any, int]] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _BlockStore:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, codes: NDArray[Any]) -> None:
        self._blocks.append(codes)
        self._bytes += codes.nbytes
        self.characters += len(codes)
        if self._bytes > IN_MEMORY_BYTES:
            self._file = self._file or tempfile.TemporaryFile(prefix="charrnn-")  # noqa: SIM115 - read back later
            for block in self._blocks:
                self._file.write(block.data)
                self._spilled.append((block.dtype, len(block)))
            self._blocks, self._bytes = [], 0

    def _all(self) -> Iterator[NDArray[Any]]:
        if self._file is not None:
            self._file.seek(0)
            for dtype, length in self._spilled:
                yield np.frombuffer(self._file.read(length * dtype.itemsize), dtype=dtype)
        yield from self._blocks

    def encoded(self, vocabulary: Vocabulary) -> NDArray[Any]:
        """The ids of all blocks as one array, memory-mapped where it is large."""
        dtype, characters = np.dtype(id_dtype(vocabulary.size)), self.characters
        if characters * dtype.itemsize > IN_MEMORY_BYTES:
            # An unnamed file, which is gone once the process ends, in whatever way.
            with tempfile.TemporaryFile(prefix="charrnn-") as file:
                file.truncate(characters * dtype.itemsize)
                ids: NDArray[Any] = np.memmap(file, dtype=dtype, mode="r+", shape=(characters,))
        else:
            ids = np.empty(characters, dtype=dtype)
        ascii_ids = vocabulary.table[:256].astype(np.uint8).tobytes() if vocabulary.level == "char" else b""
        position = 0
        for block in self._all():
            part = ids[position : position + len(block)]
            if vocabulary.level == "byte":
                part[:] = block
            elif block.dtype == np.uint8 and dtype == np.uint8:
                # ``bytes.translate`` looks up a gigabyte a second, several times ``np.take``.
                part[:] = np.frombuffer(block.tobytes().translate(ascii_ids), dtype=np.uint8)
            else:
                np.take(vocabulary.table, block, out=part)
            position += len(block)
        return ids
