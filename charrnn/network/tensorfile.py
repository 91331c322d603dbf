"""Files of named arrays and JSON facts in the safetensors format, written whole or not at all, and read without trusting them.

The header's ``__metadata__`` holds ``format``, ``version``, and JSON texts under the names of the format's ``facts``.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import os
import re
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, files

MAX_HEADER_BYTES = 16 << 20
"""The longest header that is read; a vocabulary of all Unicode needs 14 MB."""
MAX_HEADER_ENTRIES = 20_000
"""The most objects, lists and keys that a header may have; more would cost far more memory than the header itself."""

KINDS = {
    "charrnn": "it is a language model, which charrnn sample, score, next and inspect read",
    "charrnn-classifier": "it is a classifier of texts, which charrnn classify predict and evaluate read",
    "charrnn-state": "it is the place in a text, which charrnn sample --load-state reads",
}
"""What is said of a file of another kind than the one that was expected, by its mark."""

PAIRS = "2"
"""The version of files whose network has vectors for pairs of symbols, which readers of version 1 alone would leave out."""

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I64": np.dtype("<i8")}


@dataclass(frozen=True)
class Format:
    """A kind of file: what people call it, its mark and version, the names of its facts, and what to do about a bad file.

    The facts in ``optional`` may be missing.
    """

    called: str
    mark: str
    version: str
    facts: tuple[str, ...]
    advice: str = ""
    max_bytes: int = 1 << 62
    optional: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    """Further versions that are read alike."""
    made_by: str = "charrnn train makes a network"
    """What makes such a file of a text."""

    def fault(self, path: Path, what: str) -> CharrnnError:
        """The error that says why ``path`` is not such a file."""
        return CharrnnError(f"{path}: not a usable {self.called}: {what}{self.advice}")


@dataclass(frozen=True)
class Entry:
    """What the header says of an array: its dtype, its shape, and where its bytes are."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    nbytes: int


class TensorFile:
    """An open file: ``facts`` by name, as parsed JSON, and ``entries``, whose arrays `array` reads."""

    def __init__(self, file: IO[bytes], path: Path, kind: Format) -> None:
        """Read the header and check all of it against the size of the file."""
        self.path = path
        self._file, self._kind = file, kind
        size = os.fstat(file.fileno()).st_size
        if size > kind.max_bytes:
            raise self.fault("it is too large")
        if not size:
            raise self.fault("it is empty")
        first = self._exactly(8)
        (length,) = struct.unpack("<Q", first)
        if length > min(MAX_HEADER_BYTES, size - 8):
            raise self.fault(f"it is not a safetensors file, or its header is damaged{_what_else(first, self._kind.made_by)}")
        header = self._header(self._exactly(length))
        self._start = 8 + length
        metadata = header.pop("__metadata__", None)
        self.facts = self._facts(metadata if isinstance(metadata, dict) else {})
        for entry in header.values():
            if isinstance(entry, dict) and _is_other_dtype(dtype := entry.get("dtype")):
                raise self.fault(f"it holds tensors of dtype {dtype}, which this charrnn doesn't read")
        try:
            self.entries = {name: _entry(entry) for name, entry in header.items()}
        except (KeyError, TypeError, ValueError) as error:
            raise self.fault("its header is damaged") from error
        end = 0
        for entry in sorted(self.entries.values(), key=lambda entry: (entry.begin, entry.nbytes)):
            if entry.begin != end:
                raise self.fault("its tensors overlap or leave gaps")
            end += entry.nbytes
        if self._start + end != size:
            raise self.fault(f"it should hold {self._start + end} bytes and holds {size}")

    def fault(self, what: str) -> CharrnnError:
        """The error that says what is wrong with the file."""
        return self._kind.fault(self.path, what)

    def _exactly(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) != length:
            raise self.fault("it ends too early")
        return data

    def _header(self, text: bytes) -> dict[str, Any]:
        if sum(text.count(mark) for mark in (b"{", b"[", b":")) > MAX_HEADER_ENTRIES:
            raise self.fault("its header is damaged")
        try:
            header = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise self.fault("its header is not JSON") from error
        if not isinstance(header, dict):
            raise self.fault("its header is not a JSON object")
        return header

    def _facts(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        if (mark := metadata.get("format")) != self._kind.mark:
            raise self.fault(
                KINDS.get(mark, "it was not written by charrnn") if isinstance(mark, str) else "it was not written by charrnn"
            )
        known = (self._kind.version, *self._kind.later)
        if metadata.get("version") not in known:
            version = str(metadata.get("version"))[:20]
            shown = version if version.isprintable() else ascii(version)
            readable = f"version{'s' * (len(known) > 1)} {' and '.join(known)}"
            raise self.fault(f"its format is version {shown}, this charrnn reads {readable}")
        try:
            there = [*self._kind.facts, *(name for name in self._kind.optional if name in metadata)]
            return {name: json.loads(metadata[name]) for name in there}
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise self.fault("its header is damaged") from error

    def expect(self, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
        """Raise `CharrnnError` unless there is an array ``name`` of that dtype and shape."""
        entry = self.entries.get(name)
        if entry is None:
            raise self.fault(f"the tensor {name} is missing")
        if entry.dtype != dtype or entry.shape != shape:
            raise self.fault(f"{name} is {entry.dtype} {entry.shape}, expected {np.dtype(dtype)} {shape}")

    def record(self, name: str, numbers: Iterable[str]) -> dict[str, Any]:
        """The object ``name`` of the header; `CharrnnError` unless it is one whose ``numbers`` are numbers, or not there."""
        found = self.facts[name]
        if not isinstance(found, dict) or not all(
            value is None or (isinstance(value, int | float) and abs(value) < 1e300) for value in map(found.get, numbers)
        ):
            raise self.fault("its header is damaged")
        return found

    def array(self, name: str) -> NDArray[Any]:
        """Read one array; `CharrnnError` if it holds a NaN or an infinity."""
        entry = self.entries[name]
        self._file.seek(self._start + entry.begin)
        array = np.frombuffer(self._exactly(entry.nbytes), dtype=entry.dtype).reshape(entry.shape)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise self.fault(f"{name} holds values that are not finite")
        return array


@contextlib.contextmanager
def opened(path: Path, kind: Format) -> Iterator[TensorFile]:
    """Open ``path`` and check its header; `CharrnnError` naming the file and the fault if it isn't a sound file of ``kind``."""
    with files.guard(path):
        # Without blocking, so that a FIFO is refused rather than waited for.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        # Before `fdopen`, which can't open a directory.
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise kind.fault(path, "not a regular file")
        with os.fdopen(handle, "rb") as file:
            yield TensorFile(file, path, kind)


def is_of(path: Path, kind: Format) -> bool:
    """Whether ``path`` is a sound file of ``kind``."""
    try:
        with opened(path, kind):
            return True
    except CharrnnError:
        return False


def may_be_text(path: Path) -> bool:
    """Whether ``path`` is a file that begins as a text does, and so none of tensors, whose header's length holds zeros."""
    with contextlib.suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return _is_text(file.read(8))
    return False


def write(
    path: Path,
    kind: Format,
    facts: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    version: str | None = None,
) -> None:
    """Write a file of ``kind``, and of its ``version`` or a later one, whole or not at all; `CharrnnError` if that fails."""
    from safetensors.numpy import save

    there = [*kind.facts, *(name for name in kind.optional if name in facts)]
    metadata = {"format": kind.mark, "version": version or kind.version, **{name: json.dumps(facts[name]) for name in there}}
    tensors = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with files.guard(path, "can't save"):
        files.write_whole(path, save(tensors, metadata))


def _what_else(first: bytes, made_by: str) -> str:
    """What a file may be that begins with these eight bytes, and is none of ours; ``made_by`` says what makes one of a text."""
    if re.match(rb"PK\x03\x04|\x80[\x02-\x05]", first):
        return "; it may hold pickles, as torch.save writes them, which charrnn never reads"
    if _is_text(first):
        if first.startswith(b'{"'):
            return "; it may be JSON, as in a run's log; a run is named by its directory"
        return f"; it may be a text, of which {made_by}"
    return ""


def _is_text(first: bytes) -> bool:
    """Whether these are a text's first bytes, in UTF-8; its last character may be cut off."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(first)
    except UnicodeDecodeError:
        return False
    return re.fullmatch(r"[\t\n\r -~\xa0-\U0010ffff]+", text) is not None


def _is_other_dtype(dtype: object) -> bool:
    """Whether ``dtype`` may be one of safetensors that no file of ours holds."""
    return isinstance(dtype, str) and dtype not in _DTYPES and re.fullmatch(r"[A-Z]+[A-Z0-9_]{0,15}", dtype) is not None


def _entry(data: Any) -> Entry:
    dtype = _DTYPES[data["dtype"]]
    shape, (begin, end) = data["shape"], data["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)) or len(shape) > 8:
        raise ValueError("a tensor's shape or place is not a list of whole numbers")
    if math.prod(max(size, 1) for size in shape) > 1 << 48:
        raise ValueError("a tensor's shape is beyond any memory, empty or not")
    if end - begin != dtype.itemsize * math.prod(shape):
        raise ValueError("a tensor's place does not fit its shape")
    return Entry(dtype, tuple(shape), begin, end - begin)
