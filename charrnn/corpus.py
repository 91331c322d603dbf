"""Text files to ids, and ids to the batches of truncated back-propagation through time."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, UsageError
from charrnn.vocabulary import CODE_POINTS, Vocabulary, id_dtype

STDIN = "-"

ADVICE = "try --encoding latin-1, or --level byte"
BLOCK_BYTES = 1 << 16  # Small enough that a block's intermediate arrays stay in the cache: twice as fast as 1 << 21.
IN_MEMORY_BYTES = 1 << 26
"""Ids that need more than this live in a temporary memory-mapped file."""

_BOMS = (  # UTF-32's little-endian mark begins with UTF-16's, so it is looked for first.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


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
        """How many characters are the unknown one."""
        return 0 if self.vocabulary.unknown is None else int(np.count_nonzero(self.ids == self.vocabulary.unknown))

    def facts(self) -> dict[str, Any]:
        """What a checkpoint tells about its corpus; no path."""
        return {"corpus": self.name, "corpus_bytes": self.bytes_read, "corpus_sha256": self.sha256}


def corpus_name(paths: Sequence[str]) -> str:
    """The stem of the first file without ``.txt`` and ``.gz``, a directory's name, or ``stdin``."""
    if paths[0] == STDIN:
        return "stdin"
    path = Path(paths[0])
    name = path.resolve().name if _is_directory(paths[0]) else Path(path.name.removesuffix(".gz")).stem
    return name or "corpus"


def _is_directory(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise CharrnnError(f"{path}: {getattr(error, 'strerror', error)}") from error


def text_files(paths: Sequence[str]) -> list[str]:
    """``paths`` with each directory replaced by its ``*.txt`` files, sorted; `CharrnnError` if it has none."""
    files: list[str] = []
    for path in paths:
        if path != STDIN and _is_directory(path):
            found = sorted(str(entry) for entry in Path(path).glob("*.txt") if entry.is_file())
            if not found:
                raise CharrnnError(f"{path}: the directory holds no *.txt file; name the files to read")
            files += found
        else:
            files.append(path)
    if files.count(STDIN) > 1:
        raise UsageError("- (standard input) can be read once, not twice")
    return files


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
        vocabulary: encode with this one rather than the text's own.
        advice: what to do about a file that is not valid text.

    Raises:
        CharrnnError: a file can't be read, is not valid text, or all of them hold fewer than 2 characters.
        UsageError: the encoding is not a text encoding this Python knows.
    """
    if encoding is not None:
        _check_encoding(encoding)
    files = text_files(paths)
    with _BlockStore() as store:
        read = _read_files(files, store, level, encoding, advice, counted=min_count > 1)
        characters = store.characters
        if characters < 2:
            what = "holds no text" if characters == 0 else "holds a single character"
            raise CharrnnError(f"{', '.join(files)[:200]}: {what}; at least 2 characters are needed")
        if vocabulary is None:
            present = np.flatnonzero(read.counts)
            occurrences = dict(zip(present.tolist(), read.counts[present].tolist(), strict=True))
            vocabulary = Vocabulary("byte") if level == "byte" else Vocabulary.from_counts(occurrences, min_count)
        if vocabulary.size == 1:
            raise CharrnnError(f"{', '.join(files)[:200]}: no character occurs {min_count} times; lower --min-count")
        ids = store.encoded(vocabulary)
    held_out = int(characters * val_fraction)
    return Corpus(
        name=corpus_name(paths),
        # A pipe or device can't be read again, no more than stdin.
        paths=tuple(str(Path(path).resolve()) if Path(path).is_file() or Path(path).is_dir() else STDIN for path in paths),
        bytes_read=read.size,
        sha256=read.sha256,
        vocabulary=vocabulary,
        ids=ids,
        train_characters=characters - (held_out if held_out >= 2 and characters - held_out >= 2 else 0),
    )


@dataclass(frozen=True)
class _Read:
    """What reading the files found: the raw bytes' number and digest, and how often each code point or byte occurs.

    Where nobody asked to have them counted, 1 may stand for any number of occurrences.
    """

    size: int
    sha256: str
    counts: NDArray[np.int64]


def _read_files(
    files: Sequence[str], store: _BlockStore, level: str, encoding: str | None, advice: str, *, counted: bool
) -> _Read:
    digest, size, last_code = hashlib.sha256(), 0, -1
    counts = np.zeros(CODE_POINTS if level == "char" else 256, dtype=np.int64)

    seen = bytearray()

    def keep(codes: NDArray[Any]) -> None:
        if counted or codes.dtype != np.uint8:
            found = np.bincount(codes)
            counts[: len(found)] += found
        elif new := set(codes.tobytes().translate(None, seen)):  # Dropping what is known is four times as fast as counting.
            seen.extend(new)
            counts[list(new)] += 1
        store.append(codes)

    for path in files:
        if level == "char":
            if last_code not in (-1, 10):
                keep(np.array([10], dtype=np.uint8))
                last_code = 10
            decoded = _decoded(_blocks(path), path, encoding, advice)
        else:
            decoded = ((block, np.frombuffer(block, dtype=np.uint8)) for block in _blocks(path))
        try:
            for raw, codes in decoded:
                digest.update(raw)
                size += len(raw)
                if len(codes):
                    last_code = int(codes[-1])
                    keep(codes)
        except OSError as error:
            raise CharrnnError(f"{path}: {error.strerror or error}") from error
    return _Read(size, digest.hexdigest(), counts)


def code_points(path: str, *, level: str = "char", encoding: str | None = None) -> Iterator[NDArray[Any]]:
    """The code points of one text file, ``.gz`` file or ``-``, line ends as LF, in blocks as they arrive (the raw bytes at
    level ``byte``).

    Errors are those of `read_corpus`.
    """
    if encoding is not None:
        _check_encoding(encoding)
    try:
        if level == "byte":
            yield from (np.frombuffer(block, dtype=np.uint8) for block in _blocks(path))
        else:
            yield from (codes for _, codes in _decoded(_blocks(path), path, encoding, "try --encoding latin-1") if len(codes))
    except OSError as error:
        raise CharrnnError(f"{path}: {error.strerror or error}") from error


def _check_encoding(encoding: str) -> None:
    try:
        known = codecs.lookup(encoding)
        "".encode(known.name)
    except (LookupError, ValueError) as error:
        raise UsageError(f"--encoding: {encoding!r} is no text encoding that Python knows (try utf-8, latin-1)") from error


def _open(path: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if path == STDIN:
        if sys.stdin is None:
            raise CharrnnError("stdin is closed; name a file")
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return gzip.open(path) if path.endswith(".gz") else open(path, "rb")  # type: ignore[return-value] # GzipFile reads alike
    except (OSError, ValueError) as error:
        raise CharrnnError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _blocks(path: str) -> Iterator[bytes]:
    with _open(path) as source:
        try:
            # What a pipe has by now comes at once: whoever scores the lines of a log that grows waits for no full block.
            while block := source.read1(BLOCK_BYTES):  # type: ignore[attr-defined] # all that `_open` returns have it
                yield block
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CharrnnError(f"{path}: not a whole gzip file ({error})") from error


def _decoded(blocks: Iterator[bytes], path: str, encoding: str | None, advice: str) -> Iterator[tuple[bytes, NDArray[Any]]]:
    """Each raw block with the code points it completes, line ends as LF."""
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
        """The ids of all blocks as one array, memory-mapped where it is large; the blocks are spent."""
        dtype, characters = np.dtype(id_dtype(vocabulary.size)), self.characters
        if characters * dtype.itemsize > IN_MEMORY_BYTES:
            # An unnamed file: it is gone with the process, however that ends.
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


@dataclass(frozen=True)
class Batch:
    """One chunk of every column of a group: ``inputs`` and ``targets`` (N, T), the targets one character ahead.

    ``rows`` says where in a state of all columns these N are, ``first`` that the chunk opens an epoch, where all hidden states
    are zero again.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    rows: slice
    epoch: int
    first: bool


class Streams:
    """The training text as G groups of N parallel columns, cut into chunks of T characters: a pure function of the step.

    The groups take turns, a step each: step s reads a chunk of every column of group s mod G. Neighbours in the text are in
    different groups, so each group reads from all over it, and a few steps in a row read G times as many places as one.

    Epoch e begins at an offset drawn from (seed, e), so that chunk borders fall elsewhere each time; chunk k of
    a column continues its chunk k - 1. A text too short for ``batch_size`` columns of at least four chunks
    gets fewer groups, then fewer columns, then shorter chunks. All columns are of the same whole number of chunks; what is
    left of the text stays unread in that epoch, which with many short columns may be a tenth of it.
    """

    def __init__(self, ids: NDArray[Any], batch_size: int, bptt: int, seed: int, groups: int = 1) -> None:
        """``ids`` (C,) with C >= 2; ``batch_size``, ``bptt`` and ``groups`` are upper bounds."""
        transitions = len(ids) - 1
        if transitions < 1:
            raise CharrnnError("a text of at least 2 characters is needed")
        self.bptt = min(bptt, max(1, transitions // 4))
        self.batch_size = min(batch_size, max(1, transitions // (4 * self.bptt)))
        self.groups = min(groups, max(1, transitions // (4 * self.bptt * self.batch_size)))
        self._ids, self._seed = ids, seed
        # Up to T - 1 characters are set aside, so that there is room for an offset.
        per_column = max(1, (transitions - self.bptt + 1) // (self.columns * self.bptt))
        self.chunks_per_epoch = per_column * self.groups
        self._column = per_column * self.bptt
        self._slack = transitions - self.columns * self._column

    @property
    def columns(self) -> int:
        """How many there are in all groups, G x N."""
        return self.groups * self.batch_size

    @property
    def characters_per_step(self) -> int:
        """How many characters one batch predicts, N x T."""
        return self.batch_size * self.bptt

    def offset(self, epoch: int) -> int:
        """Where column 0 of ``epoch`` begins."""
        return int(np.random.default_rng((self._seed, epoch)).integers(self._slack + 1))

    def batch(self, step: int) -> Batch:
        """The batch of ``step`` = 0, 1, 2, ..."""
        epoch, within = divmod(step, self.chunks_per_epoch)
        chunk, group = divmod(within, self.groups)
        start = self.offset(epoch) + group * self._column + chunk * self.bptt
        apart = self.groups * self._column
        end = start + (self.batch_size - 1) * apart + self.bptt
        texts = np.lib.stride_tricks.as_strided(
            self._ids[start : end + 1],
            shape=(self.batch_size, self.bptt + 1),
            strides=(apart * self._ids.itemsize, self._ids.itemsize),
            writeable=False,
        )
        return Batch(texts[:, :-1], texts[:, 1:], slice(group, None, self.groups), epoch, within == 0)
