"""Where texts come from: files, directories, compressed files and standard input, as blocks of bytes."""

from __future__ import annotations

import collections
import functools
import hashlib
import importlib
import os
import re
import select
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from charrnn import CharrnnError, UsageError, files

STDIN = "-"
BLOCK_BYTES = 1 << 16  # Small enough that a block's intermediate arrays stay in the cache: twice as fast as 1 << 21.
VERSION = 3
"""How texts are read now; 1 is how runs that don't say it read theirs: see `text_files`, `blocks`, `decoding.decoded` and, for
what changed after 2, `rows.kind`."""

_TEXT = re.compile(r"\.txt(\.gz|\.bz2|\.xz)?$", re.IGNORECASE)
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}
"""The module of the standard library that reads files with each ending."""
_KINDS = 5
"""Kinds of files that are named where a directory holds others than texts."""

Say = Callable[[str], None]


# -- names -------------------------------------------------------------------------------------------------------------


def text_files(
    paths: Sequence[str],
    warn: Say,
    version: int = VERSION,
    also: Callable[[str], bool] | None = None,
    instead: str = "name the files to read",
) -> list[str]:
    """``paths`` with each directory replaced by the texts in it and below it, in natural order.

    Texts are ``*.txt``, compressed or not, and what has a name that ``also`` says yes to. Names that begin with a dot are left
    out, directories behind links too; ``warn`` hears what else was not read. In version 1 they are the ``*.txt`` of the
    directory alone, sorted by code points. ``instead`` says what to do about a directory without texts.

    Raises:
        CharrnnError: a directory can't be read, or holds no text.
        UsageError: standard input is named twice, or a name is empty.
    """
    found: list[str] = []
    for path in paths:
        if not path:
            raise UsageError("the name of a text is empty")
        if path == STDIN or not is_directory(path):
            _check_there(path)
            found.append(path)
        elif version == 1:
            found += sorted(str(entry) for entry in Path(path).glob("*.txt") if entry.is_file())
        else:
            found += _texts_below(path, warn, also, instead)
    check_stdin(found)
    if len(paths) > 1:  # One directory may hold a hundred thousand files, hardly any of them twice.
        _tell_of_the_same(found, warn)
    return found


def _check_there(path: str) -> None:
    """`CharrnnError` if nothing is at ``path``: now, before much is made of the texts before it."""
    if path != STDIN:
        with files.guard(path):
            Path(path).stat()


def _tell_of_the_same(found: Sequence[str], warn: Say) -> None:
    """Warn of a file that is named twice: what is held out of a text for validation would be learned from its copy."""
    counted = collections.Counter(os.path.realpath(path) for path in found if path != STDIN)
    again = [path for path, count in counted.items() if count > 1]
    if again:
        first = next(path for path in found if os.path.realpath(path) == again[0])
        more = f", and so are {len(again) - 1:,} more" if len(again) > 1 else ""
        warn(f"{first} is named {counted[again[0]]} times and read as often{more}")


def check_stdin(names: Sequence[str]) -> None:
    """`UsageError` if standard input is among ``names`` twice."""
    if names.count(STDIN) > 1:
        raise UsageError("- (standard input) can be read once, not twice")


def is_directory(path: str) -> bool:
    """Whether ``path`` is a directory; `CharrnnError` if no file can have that name."""
    with files.guard(path):
        return Path(path).is_dir()


def readable_again(path: str) -> bool:
    """Whether ``path`` gives the same bytes each time it is read: a file or a directory, no pipe and no device."""
    return path != STDIN and (Path(path).is_file() or Path(path).is_dir())


def is_text(path: str, size: int, sha256: str) -> bool:
    """Whether the file ``path`` holds just the bytes of a text of this ``size`` and digest; only of that size it is read."""
    with files.guard(path):
        if path == STDIN or not Path(path).is_file() or Path(path).stat().st_size != size:
            return False
    digest = hashlib.sha256()
    for block in blocks(path):
        digest.update(block)
    return digest.hexdigest() == sha256


def typed(paths: Sequence[str]) -> bool:
    """Whether one of ``paths`` is what somebody is typing."""
    return STDIN in paths and sys.stdin is not None and sys.stdin.isatty()


def shown(path: str) -> str:
    """What messages call ``path``."""
    return "stdin" if path == STDIN else path


def stem(path: str) -> str:
    """A file's name without ``.txt`` and the ending of a compressed file; a directory's name; ``stdin``; ``pipe`` of what a
    shell puts in the place of ``<(command)``.
    """
    if path == STDIN:
        return "stdin"
    if re.fullmatch(r"/dev/fd/\d+|/proc/self/fd/\d+", path):
        return "pipe"
    if is_directory(path):
        return Path(path).resolve().name
    name = Path(path).name
    return Path(name[: len(name) - len(_ending(name))]).stem


def _texts_below(directory: str, warn: Say, also: Callable[[str], bool] | None, instead: str) -> list[str]:
    texts, others = list[Path](), collections.Counter[str]()
    with files.guard(directory):
        for folder, folders, names in os.walk(directory, onerror=_raise):
            folders[:] = [name for name in folders if name[0] != "."]
            others["links to directories"] += sum(Path(folder, name).is_symlink() for name in folders)
            for name in names:
                path = Path(folder, name)
                if name[0] == ".":
                    continue
                if not path.is_file():
                    others["pipes, sockets or broken links"] += 1
                elif _TEXT.search(name) or (also is not None and also(name)):
                    texts.append(path)
                else:
                    others[path.suffix.lower() or "without an ending"] += 1
    left_out = _counted(+others)
    if not texts:
        found = f" ({left_out})" if left_out else ""
        table = "" if also is None else " and no table"
        advice = "a network is named by -c, or by --init-from" if others[".safetensors"] else instead
        raise CharrnnError(f"{directory}: the directory holds no *.txt file{table}{found}; {advice}")
    if left_out:
        read = f"{len(texts):,} file{'s' * (len(texts) != 1)} read"
        not_read = "1 other not" if others.total() == 1 else f"{others.total():,} others not"
        warn(f"{directory}: {read}, {not_read} ({left_out}); name what else is to be read")
    return [str(path) for path in sorted(texts, key=lambda path: _natural(path.relative_to(directory)))]


def _raise(error: OSError) -> None:
    raise CharrnnError(f"{os.fsdecode(error.filename)}: {error.strerror}") from error


def _counted(kinds: collections.Counter[str]) -> str:
    """``.md 2, .pdf 1``: the commonest kinds and how many there are of each."""
    named = [f"{kind} {count:,}" for kind, count in sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))]
    more = len(named) - _KINDS
    return ", ".join(named[:_KINDS] + [f"{more} kind{'s' * (more > 1)} more"] * (more > 0))


def _natural(path: Path) -> tuple[Any, ...]:
    """What paths are sorted by so that ch2 comes before ch10."""
    pieces = [re.split("([0-9]+)", part.casefold()) for part in path.parts]
    return [[(0, int(one), "") if one.isdecimal() else (1, 0, one) for one in part if one] for part in pieces], path


# -- bytes -------------------------------------------------------------------------------------------------------------


def blocks(path: str, version: int = VERSION) -> Iterator[bytes]:
    """The bytes of a file, unpacked if its name has the ending of a compressed one, in blocks as they arrive.

    In version 1 only ``.gz`` is such an ending.
    """
    if path == STDIN:
        yield from iter(stdin_block, b"")
        return
    module = _compression(path, version)
    with files.guard(path), open(path, "rb") as source:
        # Whatever a pipe has comes at once, so that the lines of a growing log are scored without waiting for a full block.
        read = functools.partial(source.read1, BLOCK_BYTES)
        yield from iter(read, b"") if module is None else _unpacked(read, path, module)


def is_packed(path: str, version: int = VERSION) -> bool:
    """Whether a file of this name holds more than its size tells."""
    return _compression(path, version) is not None


def _compression(path: str, version: int) -> str | None:
    """The module that unpacks a file of this name."""
    if version == 1:
        return "gzip" if path.endswith(".gz") else None
    return _COMPRESSED.get(_ending(path))


def _ending(path: str) -> str:
    """The ending of a compressed file's name, in small letters; else nothing."""
    return next((ending for ending in _COMPRESSED if path.lower().endswith(ending)), "")


def _format(module: str | None) -> str:
    return {"bz2": "bzip2", "lzma": "xz"}.get(module or "", "gzip")


def _unpacked(read: Callable[[], bytes], path: str, module: str) -> Iterator[bytes]:
    """What a compressed file holds: one or several streams, zeros between and after them; nothing else may follow."""
    kind = _format(module)
    stream, packed, whole = _decompressor(path, module), read(), 0
    if not packed:
        raise CharrnnError(f"{path}: the file is empty, which no {kind} file is")
    while packed:
        try:
            yield from _blocks_of(stream, packed)
        except Exception as error:  # zlib, bz2 and lzma each have errors of their own.
            found = f"something else follows the {kind} data" if whole else f"not a whole {kind} file ({error})"
            raise CharrnnError(f"{path}: {found}") from error
        packed = read()
        if stream.eof:
            packed = stream.unused_data + packed
            while packed and not (packed := packed.lstrip(b"\0")):
                packed = read()
            if packed:
                stream, whole = _decompressor(path, module), whole + 1
    if not stream.eof:
        raise CharrnnError(f"{path}: not a whole {kind} file (it ends before the data does)")


def _blocks_of(stream: Any, packed: bytes) -> Iterator[bytes]:
    """What ``packed`` adds to the text of a stream, in blocks: a few packed bytes may be gigabytes."""
    while not stream.eof and (packed or not getattr(stream, "needs_input", True)):
        if block := stream.decompress(packed, BLOCK_BYTES):
            yield block
        packed = getattr(stream, "unconsumed_tail", b"")  # zlib's; the others keep it themselves.


def _decompressor(path: str, module: str) -> Any:
    """What takes the bytes of one compressed stream."""
    if module == "gzip":
        return zlib.decompressobj(wbits=31)
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise CharrnnError(f"{path}: this Python was built without {module}; unpack the file first") from error
    return found.BZ2Decompressor() if module == "bz2" else found.LZMADecompressor()


def stdin_block() -> bytes:
    """What stdin has, once it has something; nothing at its end."""
    if sys.stdin is None:
        raise CharrnnError("stdin is closed; name a file")
    # The buffer would take a pipe that has nothing yet, but doesn't block, for one that has ended.
    buffer: Any = sys.stdin.buffer
    stream: Any = getattr(buffer, "raw", None)
    while True:
        block: bytes | None = buffer.read1(BLOCK_BYTES) if stream is None else stream.read(BLOCK_BYTES)
        if block is not None:
            return block
        try:
            select.select([stream], [], [])
        except OSError:  # Windows waits for sockets only.
            time.sleep(0.01)
