"""Files: written whole or not at all, replaced only with leave, and every failure a line that names the file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from charrnn import CharrnnError, UsageError


@contextlib.contextmanager
def guard(path: Path | str, failure: str = "") -> Iterator[None]:
    """Turn an `OSError` into a `CharrnnError`: ``PATH: FAILURE: what the system says``, without the middle part if empty.

    A ``path`` that Python would refuse before the system sees it, such as one with a NUL, is a `CharrnnError` too.
    """
    try:
        named = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        named = False
    if not named:
        raise CharrnnError(f"{path}: no file can have this name")
    try:
        yield
    except OSError as error:
        reason = f"{failure}: {error.strerror or error}" if failure else error.strerror or str(error)
        raise _error(error, os.fspath(path), reason, writing=bool(failure)) from error


def _error(error: OSError, path: str, reason: str, *, writing: bool) -> CharrnnError:
    """What ``error`` is to the user, with what to do where the path itself is wrong."""
    from charrnn import absent

    if isinstance(error, FileExistsError):
        return CharrnnError(f"{path}: {reason}; a file has this name; choose another")
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return CharrnnError(f"{path}: {reason}")
    return absent.AbsentError(path, reason, absent.missing_directory(path) if writing else absent.hint(path))


def temporary_place() -> str:
    """The directory of temporary files, in words where there is none."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return "temporary files"


@contextlib.contextmanager
def temporary_space(what: str, place: Path | None = None, variable: str = "TMPDIR") -> Iterator[None]:
    """Turn an `OSError` of temporary files, which ``what`` needs, into a `CharrnnError` that names their directory: ``place``,
    which the ``variable`` tells, or by default that of all.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        named = variable if place is not None else "TMPDIR"
        advice = f"{what} needs room for temporary files; {named} may name another directory for them"
        raise CharrnnError(f"{place or temporary_place()}: {reason}; {advice}") from error


def check_replaceable(path: Path, refusal: str, ours: Callable[[Path], bool] | None = None) -> None:
    """Raise `CharrnnError` (``PATH: REFUSAL``) if something is at ``path`` that must stay, or nothing can be put there.

    Nothing of the user's is overwritten: a path is free if nothing is there, or if ``ours`` says that what is there was
    written by this program for the same purpose.
    """
    with guard(path, "can't write"):
        if path.exists():
            if not (ours is not None and ours(path)):
                raise CharrnnError(f"{path}: {refusal}")
        elif path.parent.is_dir() and not os.access(path.parent, os.W_OK):
            # Now rather than after the work whose result was to be written.
            place = "the current directory" if path.parent == Path() else path.parent
            raise CharrnnError(f"{path}: can't write: {place} takes no new files; name a file elsewhere")


def check_takes_files(directory: Path, advice: str) -> None:
    """Raise `CharrnnError` if no file can be put into ``directory`` or, where it isn't there yet, no directory above it."""
    with guard(directory, "can't write"):
        there = next((one for one in (directory, *directory.parents) if one.exists()), directory)
        if there.is_dir() and not os.access(there, os.W_OK):
            place = "the current directory" if there == Path() else "it" if there == directory else there
            raise CharrnnError(f"{directory}: can't write: {place} takes no new files; {advice}")


def check_place(path: Path, refusal: str, ours: Callable[[Path], bool] | None = None, failure: str = "can't save") -> None:
    """`check_replaceable`, and raise `CharrnnError` (``PATH: FAILURE: ...``) where there is no directory for the file."""
    check_replaceable(path, refusal, ours)
    with guard(path, failure):
        if not path.parent.is_dir():
            raise CharrnnError(f"{path}: {failure}: there is no directory {path.parent}; make it, or name another file")


def walk(root: Path | str) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, each directory once; of what lies behind a link to a directory, itself and the directories in it.

    Directories come before links to them. What is taken out of the second list isn't looked into.
    """
    seen: set[str] = set()
    starts = [os.fspath(root)]
    for start in starts:  # It grows.
        for top, folders, names in os.walk(start):
            if (real := os.path.realpath(top)) in seen:
                folders.clear()
                continue
            seen.add(real)
            yield top, folders, names
            if start == starts[0]:
                starts += sorted(str(path) for name in folders if (path := Path(top, name)).is_symlink())
            elif top != start:
                folders.clear()


def check_name(option: str, path: Path | None, instead: str = "calls stdout /dev/stdout, not -") -> None:
    """`UsageError` where the ``option`` for a file to write is -: whoever types that means no file of this name."""
    if path == Path("-"):
        raise UsageError(f"{option} {instead}")


def check_made(path: Path, verb: str) -> None:
    """Raise the `CharrnnError` of `write_made` that can be known before there is anything to write.

    What stdout leads to is no matter of `write_made`: the shell has made room for it.
    """
    if not is_stdout(path):
        _check_made(path, verb)


def _check_made(path: Path, verb: str) -> None:
    with guard(path, "can't write"):
        if is_stream(path):
            return
        if path.is_dir():
            raise CharrnnError(f"{path}: can't write: a directory has this name; name a file")
    refusal = f"is there already, and not by charrnn {verb}; name another file"
    check_place(path, refusal, lambda there: _is_made(there, verb), "can't write")


def write_made(path: Path, data: bytes, verb: str) -> None:
    """Write a picture, a page or an archive that ``verb`` made: a file whole or not at all, to a pipe or a device as it is.

    Raises:
        CharrnnError: it can't be written, or something is there that ``charrnn`` and the verb did not write.
    """
    _check_made(path, verb)
    with guard(path, "can't write"):
        if is_stream(path):
            write_stream(path, data)
        else:
            write_whole(followed(path), data)


def followed(path: Path) -> Path:
    """Where a link at ``path`` leads: what somebody names as a file to write goes there, as it does by a shell's ``>``."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _is_made(path: Path, verb: str) -> bool:
    """Whether a page, a picture or an archive says near its beginning that ``charrnn`` and the verb made it.

    Notes and scripts name the two as well, and are none.
    """
    with opened(path, "rb") as file:
        beginning = file.read(4096)
    if beginning.startswith(b"PK"):
        return b"charrnn_%b" % verb.encode() in beginning
    return beginning.startswith(b"<") and b"<!-- charrnn %b -->" % verb.encode() in beginning


def opened(path: Path, mode: str, **options: Any) -> IO[Any]:
    """`open` for a regular file; raises `OSError` for a pipe or a device too, which could keep whoever opens it waiting."""

    def regular(name: str, flags: int) -> int:
        handle = os.open(name, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "not a regular file")
        return handle

    return open(path, mode, opener=regular, **options)


def is_stream(path: Path) -> bool:
    """Whether what is written to ``path`` goes on to somebody else: it is a pipe, a terminal or another device."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_stdout(path: Path) -> bool:
    """Whether ``path`` is what this process's stdout leads to, as ``/dev/stdout`` is."""
    try:
        return os.path.samestat(path.stat(), os.fstat(1))
    except OSError:
        return False


@contextlib.contextmanager
def stream(path: Path) -> Iterator[IO[bytes]]:
    """A pipe or a device to write to; raises `OSError`, at once where nobody reads the pipe."""
    try:
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "nobody reads this pipe") from error
        raise
    if hasattr(os, "set_blocking"):
        os.set_blocking(handle, True)
    with os.fdopen(handle, "wb") as file:
        yield file


def write_stream(path: Path, data: bytes) -> None:
    """Write ``data`` to a pipe or a device as `stream` opens it."""
    with stream(path) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file whose content becomes that of ``path``: at every moment that is the old file or the new one, even after a power
    cut.

    The new file has the old one's permissions; where there was none, those that the user gives new files.

    Raises `OSError`; the old file is then still there, and nothing is left beside it, whatever ended the writing.
    """
    handle, temporary = tempfile.mkstemp(prefix=_beside(path), suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):
            os.chmod(temporary, _mode(path))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Make ``path`` hold ``data``, as `replacing` does."""
    with replacing(path) as file:
        file.write(data)


def sync_directory(path: Path) -> None:
    """Make what was renamed in a directory last, where the file system can; it is in its place all the same."""
    with contextlib.suppress(OSError):
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def set_aside(path: Path) -> Path:
    """Rename ``path`` to the first free of ``NAME-1.EXT``, ``NAME-2.EXT``, ..., and return that; raises `OSError`."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.stem}-{number}{path.suffix}")):
        number += 1
    return path.rename(aside)


def remove_left_overs(path: Path) -> None:
    """Remove the temporary files of processes that were killed in `write_whole` of ``path``."""
    for left_over in path.parent.glob(f"{_beside(path)}*.tmp"):
        with contextlib.suppress(OSError):
            left_over.unlink()


def _beside(path: Path) -> str:
    """How the names of temporary files of ``path`` begin: short enough where its own name is as long as names may be."""
    return f".{path.name[:50]}."


def _mode(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_mode & 0o777
    return 0o666 & ~_umask()


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; skips lines that aren't one, and yields nothing if the file can't be read."""
    with contextlib.suppress(OSError), opened(path, "rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, RecursionError):
                if isinstance(value := json.loads(line.decode("utf-8", "replace")), dict):
                    yield value
