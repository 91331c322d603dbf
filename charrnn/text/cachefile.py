"""One file of the cache: a text as ids, with all that is known of it. It is data of others: nothing in it is taken on trust."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, files
from charrnn.text.checked import BLOCK_BYTES, CheckedIds, DamagedError, Guard, checksums
from charrnn.text.records import RecordList, Records, ValLines
from charrnn.text.vocabulary import Vocabulary, id_dtype

MAGIC = b"charrnn text 1\n\0"
_OPENING = struct.Struct("<16sQQ32s")
"""The magic, where the header begins, how long it is, and its digest."""
_PAGE = 4096
_LARGEST_HEADER = 1 << 26
_CHUNK_BYTES = 16 * BLOCK_BYTES
_MAPPED_BYTES = 1 << 24
"""An array that takes more, of a list of millions of lines, is no more in memory than the text itself."""

Remark = tuple[int, str]
"""A warning about a text: the number of the file that it is about, -1 where it is about none, and what it says of it."""


@dataclass(frozen=True)
class Encoded:
    """A text as ids, and what is known of it: see `corpus.Corpus`. ``counts`` is how often each id occurs, None if unknown;
    ``remarks`` are the warnings that reading it gave.
    """

    bytes_read: int
    sha256: str
    text_sha256: str
    vocabulary: Vocabulary
    ids: NDArray[Any]
    records: RecordList | None = None
    counts: NDArray[np.int64] | None = None
    remarks: tuple[Remark, ...] = ()
    name: str = ""
    """What people may call it; no more than that."""
    val_lines: ValLines | None = None
    """The file, beside those of ``sha256``, whose lines are held out."""

    @property
    def digest(self) -> str:
        """That of the bytes of all files."""
        return self.sha256 + ("" if self.val_lines is None else self.val_lines.sha256)


# -- writing -----------------------------------------------------------------------------------------------------------


def write(file: IO[bytes], key: str, text: Encoded, blocks: Iterable[NDArray[Any]]) -> None:
    """Write ``text`` under a ``key``, its ids from ``blocks``; raises `OSError`."""
    dtype = np.dtype(id_dtype(text.vocabulary.size))
    counts, sums = np.zeros(text.vocabulary.size, dtype=np.int64), []
    file.write(b"\0" * _PAGE)
    length = 0
    for chunk in _chunks(blocks, _CHUNK_BYTES // dtype.itemsize, dtype):
        counts += _counted(chunk, len(counts))
        sums.append(checksums(chunk.view(np.uint8)))
        file.write(chunk.data)
        length += len(chunk)
    arrays = {"counts": counts, "sums": np.concatenate([*sums, np.zeros(0, np.uint32)])}
    if text.records is not None:
        arrays |= {"starts": text.records.starts, "hashes": text.records.hashes}
    places: dict[str, Any] = {"ids": [dtype.str, length, _PAGE]}
    for name, array in arrays.items():
        file.write(b"\0" * (-file.tell() % 8))
        places[name] = [array.dtype.str, len(array), file.tell(), hashlib.sha256(array.data).hexdigest()]
        file.write(array.data)
    header = json.dumps({"key": key, "facts": _facts(text), "arrays": places}).encode()
    begin = file.tell()
    file.write(header)
    file.seek(0)
    file.write(_OPENING.pack(MAGIC, begin, len(header), hashlib.sha256(header).digest()))


def _facts(text: Encoded) -> dict[str, Any]:
    listed = None if text.records is None else {"train": text.records.train, **text.records.facts.to_json()}
    beside = {} if text.val_lines is None else {"val_lines": [text.val_lines.sha256, text.val_lines.text_sha256]}
    return {
        **beside,
        "bytes_read": text.bytes_read,
        "sha256": text.sha256,
        "text_sha256": text.text_sha256,
        "vocabulary": text.vocabulary.to_json(),
        "records": listed,
        "remarks": text.remarks,
        "name": text.name,
    }


def _chunks(blocks: Iterable[NDArray[Any]], length: int, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """All ``blocks`` as chunks of this ``length`` but the last."""
    held, count = list[NDArray[Any]](), 0
    for block in blocks:
        held.append(block)
        count += len(block)
        while count >= length:
            whole = np.concatenate(held, dtype=dtype, casting="same_kind")
            yield whole[:length]
            held, count = [whole[length:]], count - length
    if count:
        yield np.concatenate(held, dtype=dtype, casting="same_kind")


def _counted(ids: NDArray[Any], size: int) -> NDArray[np.int64]:
    """How often each of ``size`` ids occurs; bytes are counted in pairs, at twice the speed."""
    if ids.dtype != np.uint8 or len(ids) % 2:
        return np.bincount(ids, minlength=size)
    pairs = np.bincount(ids.view(np.uint16), minlength=1 << 16).reshape(256, 256)
    return np.asarray((pairs.sum(axis=0) + pairs.sum(axis=1))[:size])


# -- reading -----------------------------------------------------------------------------------------------------------


class _UnsoundError(Exception):
    """The file isn't what `write` made."""


def read(path: Path, key: str) -> Encoded | None:
    """The text in a file of the cache, its ids mapped and checked where they are read; None for anything that isn't sound, and
    for a file that others may have written.
    """
    try:
        with files.opened(path, "rb") as file:
            if not is_ours(os.fstat(file.fileno())):
                return None
            return _text(file, path, key)
    except (OSError, _UnsoundError, CharrnnError):
        return None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError, struct.error):
        return None  # A header that says something else than `write` did.


def verified(text: Encoded) -> Encoded | None:
    """``text``, all of whose ids are checked now; None if some are damaged."""
    assert isinstance(text.ids, CheckedIds)
    try:
        text.ids.check_all()
    except DamagedError:
        return None
    return text


def is_ours(status: os.stat_result) -> bool:
    """Whether this user alone may write what has this ``status``; systems without owners know no better."""
    return not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)


def _text(file: IO[bytes], path: Path, key: str) -> Encoded:
    size = os.fstat(file.fileno()).st_size
    magic, begin, length, digest = _OPENING.unpack(file.read(_OPENING.size))
    _check(magic == MAGIC and length <= _LARGEST_HEADER and begin + length == size)
    file.seek(begin)
    data = file.read(length)
    _check(hashlib.sha256(data).digest() == digest)
    header = json.loads(data)
    _check(header["key"] == key)
    facts, arrays = header["facts"], header["arrays"]
    vocabulary = Vocabulary.from_json(facts["vocabulary"])
    counts = _array(file, arrays["counts"], size, np.int64)
    dtype, characters, place = arrays["ids"]
    ids = np.dtype(id_dtype(vocabulary.size))
    _check(dtype == ids.str and place == _PAGE and type(characters) is int and 2 <= characters <= size)
    _check(len(counts) == vocabulary.size and int(counts.sum()) == characters and int(counts.min()) >= 0)
    sums = _array(file, arrays["sums"], size, np.uint32)
    _check(len(sums) == -(-characters * ids.itemsize // BLOCK_BYTES) and place + characters * ids.itemsize <= size)
    _check(all(type(facts[name]) is str for name in ("sha256", "text_sha256")) and type(facts["bytes_read"]) is int)
    remarks = tuple((number, sentence) for number, sentence in facts["remarks"])
    _check(all(type(number) is int and type(sentence) is str for number, sentence in remarks))
    raw = np.memmap(file, np.uint8, "r", place, (characters * ids.itemsize,)).view(np.ndarray)
    guard = Guard(raw, sums, lambda: _dropped(path))
    return Encoded(
        facts["bytes_read"],
        facts["sha256"],
        facts["text_sha256"],
        vocabulary,
        CheckedIds.of(raw.view(ids), guard),
        _records(file, facts["records"], arrays, size, characters),
        counts,
        remarks,
        str(facts["name"]),
        _val_lines(facts.get("val_lines")),
    )


def _val_lines(told: Any) -> ValLines | None:
    if told is None:
        return None
    sha256, text_sha256 = told
    _check(type(sha256) is str and type(text_sha256) is str)
    return ValLines("", sha256, text_sha256)


def _array(file: IO[bytes], place: Any, size: int, dtype: type[np.generic]) -> NDArray[Any]:
    """A small array, which is read whole, or a mapped one; all of it is checked."""
    kind, length, begin, digest = place
    width = np.dtype(dtype).itemsize
    _check(kind == np.dtype(dtype).str and type(length) is int and type(begin) is int)
    _check(length >= 0 and begin >= _PAGE and begin + length * width <= size)
    if length * width > _MAPPED_BYTES:
        array: NDArray[Any] = np.memmap(file, dtype, "r", begin, (length,)).view(np.ndarray)
    else:
        file.seek(begin)
        array = np.frombuffer(file.read(length * width), dtype=dtype)
    _check(hashlib.sha256(array.data).hexdigest() == digest)
    return array


def _records(file: IO[bytes], facts: Any, arrays: Mapping[str, Any], size: int, characters: int) -> RecordList | None:
    if facts is None:
        return None
    starts, hashes = _array(file, arrays["starts"], size, np.int64), _array(file, arrays["hashes"], size, np.uint64)
    told, train = Records.from_json(facts), facts["train"]
    _check(told is not None and type(train) is int and 1 <= train <= len(starts) - 1 and len(starts) == told.count + 1)
    _check(int(starts[0]) == 0 and int(starts[-1]) == characters - 1 and _ascend(starts))
    assert told is not None
    return RecordList(starts, train, told, hashes)


def _ascend(numbers: NDArray[np.int64]) -> bool:
    blocks = (numbers[begin : begin + _CHUNK_BYTES + 1] for begin in range(0, len(numbers), _CHUNK_BYTES))
    return all(bool((block[1:] > block[:-1]).all()) for block in blocks)


def _check(holds: bool) -> None:
    if not holds:
        raise _UnsoundError


def _dropped(path: Path) -> str:
    with contextlib.suppress(OSError):
        path.unlink()
    return f"{path}: the text that was kept there is damaged, and was dropped; start again: it is read anew"
