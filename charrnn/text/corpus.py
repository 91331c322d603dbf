"""The corpus: text files as ids, with a part kept for validation."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, files
from charrnn.text import sources
from charrnn.text.digest import TextDigest
from charrnn.text.reading import PLAIN, TextReader
from charrnn.text.records import RecordList, split
from charrnn.text.scattered import Pieces, scatter
from charrnn.text.sources import STDIN, VERSION
from charrnn.text.vocabulary import CODE_POINTS, Vocabulary, id_dtype

NEWLINE = 10
IN_MEMORY_BYTES = 1 << 26
"""Code points or ids that need more than this live in a temporary file."""


@dataclass(frozen=True)
class Corpus:
    """A text as ids: ``ids[:train_characters]`` to learn from and the rest to validate on, or ``pieces`` spread over it.

    ``bytes_read`` and ``sha256`` describe the raw (unpacked) bytes of all ``files`` in order; ``reading`` is the version of the
    rules by which they were read, ``text_sha256`` the digest of the UTF-8 of all characters (of the bytes, at level ``byte``).
    Where each line is a record of its own, ``ids`` holds those to learn from first, and ``records`` says where each lies.
    """

    name: str
    paths: tuple[str, ...]
    bytes_read: int
    sha256: str
    vocabulary: Vocabulary
    ids: NDArray[Any]
    train_characters: int
    reading: int = VERSION
    text_sha256: str | None = None
    files: tuple[str, ...] = ()
    pieces: Pieces | None = None
    records: RecordList | None = None

    @property
    def val_characters(self) -> int:
        """The number of validation characters; 0 or at least 2."""
        if self.pieces is not None:
            return self.pieces.scored
        return len(self.ids) - self.train_characters

    @property
    def unknown(self) -> int:
        """How many characters of the text are not in the vocabulary."""
        return 0 if self.vocabulary.unknown is None else int(np.count_nonzero(self.ids == self.vocabulary.unknown))

    def is_text_of(self, training: Mapping[str, Any]) -> bool:
        """Whether a checkpoint with these facts was trained on this text: the same bytes or, where it says so, characters."""
        if self.sha256 == training.get("corpus_sha256"):
            return True
        return self.text_sha256 is not None and self.text_sha256 == training.get("corpus_text_sha256")

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says about its corpus, without paths."""
        records = {} if self.records is None else {"records": self.records.facts.to_json()}
        return {
            "corpus": self.name,
            "corpus_bytes": self.bytes_read,
            "corpus_sha256": self.sha256,
            "corpus_text_sha256": self.text_sha256,
            "corpus_reading": self.reading,
            **records,
        }


def corpus_name(paths: Sequence[str]) -> str:
    """The stem of the first file, a directory's name, or ``stdin``."""
    return sources.stem(paths[0]) or "corpus"


def read_corpus(
    paths: Sequence[str],
    reader: TextReader = PLAIN,
    *,
    min_count: int = 1,
    val: str = "tail",
    val_fraction: float = 0.1,
    vocabulary: Vocabulary | None = None,
    val_seed: int | None = None,
) -> Corpus:
    """Read files, directories and ``-`` into one corpus.

    Args:
        paths: what to read, in order. At level ``char`` a file that lacks a final newline gets one if another follows.
        reader: how each is read.
        min_count: characters that occur fewer times become the unknown character.
        val: what is kept for validation: the text's ``tail``, or pieces ``scattered`` over it.
        val_fraction: the share of the text that is.
        vocabulary: encode with this one rather than the text's own.
        val_seed: each line is a record of its own, and this chooses which of them are held out; None: the text is one stream.

    Raises:
        CharrnnError: a file can't be read, is not valid text, or all of them hold fewer than 2 characters or no record.
    """
    names = reader.files(paths)
    with _BlockStore() as store:
        read = _read_files(names, store, reader, counted=min_count > 1, records=val_seed is not None)
        characters = store.characters
        if characters < 2:
            what = "holds no text" if characters == 0 else "holds a single character"
            raise CharrnnError(f"{', '.join(names)[:200]}: {what}; at least 2 characters are needed")
        if vocabulary is None:
            present = np.flatnonzero(read.counts)
            occurrences = dict(zip(present.tolist(), read.counts[present].tolist(), strict=True))
            if val_seed is not None:
                occurrences[NEWLINE] = max(occurrences.get(NEWLINE, 0), min_count)  # It ends every record.
            byte = reader.level == "byte"
            vocabulary = Vocabulary("byte") if byte else Vocabulary.from_counts(occurrences, min_count)
        if vocabulary.size == 1:
            raise CharrnnError(f"{', '.join(names)[:200]}: no character occurs {min_count} times; lower --min-count")
        ids, listed = store.encoded(vocabulary), None
        folded = val_seed is not None and vocabulary.unknown is not None
        codes = store.codes() if folded else None
    held_out = int(characters * val_fraction)
    train_characters = characters - (held_out if held_out >= 2 and characters - held_out >= 2 else 0)
    pieces = scatter(characters, val_fraction) if val == "scattered" else None
    if val == "scattered":
        train_characters = pieces.trained if pieces is not None else characters
    if val_seed is not None:
        try:
            listed, blocks = split(ids, vocabulary, val_fraction, val_seed, codes)
        except CharrnnError as error:
            raise CharrnnError(f"{', '.join(names)[:200]}: {error}") from error
        ids = _joined(blocks, int(listed.starts[-1]) + 1, ids.dtype)
        train_characters = int(listed.starts[listed.train]) + 1
    return Corpus(
        name=corpus_name(paths),
        # Like stdin, a pipe or device can't be read again.
        paths=tuple(str(Path(path).resolve()) if sources.readable_again(path) else STDIN for path in paths),
        bytes_read=read.size,
        sha256=read.sha256,
        vocabulary=vocabulary,
        ids=ids,
        train_characters=train_characters,
        reading=reader.version,
        text_sha256=read.text_sha256,
        files=tuple(name if sources.readable_again(name) else STDIN for name in names),
        pieces=pieces,
        records=listed,
    )


@dataclass(frozen=True)
class _Read:
    """What reading the files found: the number of raw bytes, both digests, and how often each code point or byte occurs.

    Unless the caller asked for counts, 1 may stand for any number of occurrences.
    """

    size: int
    sha256: str
    text_sha256: str
    counts: NDArray[np.int64]


def _read_files(names: Sequence[str], store: _BlockStore, reader: TextReader, *, counted: bool, records: bool) -> _Read:
    digest, size, seen = TextDigest(reader.level), 0, bytearray()
    counts = np.zeros(CODE_POINTS if reader.level == "char" else 256, dtype=np.int64)
    last = NEWLINE
    for raw, codes in reader.joined(names, by_lines=records):
        digest.update(raw, codes)
        size += len(raw)
        if not len(codes):
            continue
        if counted or codes.dtype != np.uint8:
            found = np.bincount(codes)
            counts[: len(found)] += found
        elif new := set(codes.tobytes().translate(None, seen)):  # Dropping known ones is four times as fast as counting.
            seen.extend(new)
            counts[list(new)] += 1
        store.append(codes)
        last = int(codes[-1])
    if records and last != NEWLINE:
        store.append(np.array([NEWLINE], dtype=np.uint8))
    return _Read(size, digest.of_bytes, digest.of_text, counts)


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
            with contextlib.suppress(OSError):  # A failure to write was reported when it happened.
                self._file.close()

    def append(self, codes: NDArray[Any]) -> None:
        self._blocks.append(codes)
        self._bytes += codes.nbytes
        self.characters += len(codes)
        if self._bytes > IN_MEMORY_BYTES:
            with files.temporary_space("a long text"):
                self._file = self._file or tempfile.TemporaryFile(prefix="charrnn-")  # noqa: SIM115 - read back later
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
        return _joined((block.astype(np.uint32) for block in self._all()), self.characters, np.dtype(np.uint32))

    def encoded(self, vocabulary: Vocabulary) -> NDArray[Any]:
        """The ids of all blocks as one array, memory-mapped where it is large.

        Raises:
            CharrnnError: there is too little room for temporary files.
        """
        dtype = np.dtype(id_dtype(vocabulary.size))
        return _joined(map(_encoder(vocabulary, dtype), self._all()), self.characters, dtype)


def _joined(blocks: Iterable[NDArray[Any]], characters: int, dtype: np.dtype[Any]) -> NDArray[Any]:
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
        if block.dtype == np.uint8 and dtype == np.uint8:
            # ``bytes.translate`` looks up a gigabyte a second, several times ``np.take``.
            return np.frombuffer(block.tobytes().translate(ascii_ids), dtype=np.uint8)
        return np.take(table, block)

    return encode
