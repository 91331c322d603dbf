"""One process at a time in a directory. The lock decides; a small file beside it tells others who holds it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import stat
import tempfile
from pathlib import Path

from charrnn import CharrnnError, files

OWNER = ".owner.json"
"""Who works in the directory; it is there while they do. One that `kill -9` left says nothing, since nobody holds the lock."""
ADVICE = "wait for it, or choose another --out"
"""What a new run is told to do."""


class HeldError(CharrnnError):
    """Another process works in the directory."""


class DirectoryLock:
    """The lock on a directory, from its making to `release`.

    It is on the directory itself, so no lock file is left behind; on Windows it is on a file among the temporary ones.
    """

    def __init__(self, directory: Path, advice: str = ADVICE) -> None:
        """Take the lock; `CharrnnError` if the directory can't be opened, `HeldError` with the ``advice`` if another process
        works in it.
        """
        self.directory = directory
        """Where the directory is; whoever renames it says so by `follow`."""
        self._handle = taken(directory, advice)
        self._sign()

    def _sign(self) -> None:
        with contextlib.suppress(OSError):  # On a full disk nobody learns who works here.
            self._note.unlink(missing_ok=True)
            with open(self._note, "x", encoding="utf-8") as file:  # Never through a link that somebody laid there.
                json.dump({"pid": os.getpid(), "host": platform.node()}, file)

    @property
    def _note(self) -> Path:
        return self.directory / OWNER

    def holds(self, directory: Path) -> bool:
        """Whether what is at ``directory`` now is what was locked; where there are no locks, that is taken for granted."""
        if self._handle is None:
            return True
        try:
            locked = os.fstat(self._handle)
            return not stat.S_ISDIR(locked.st_mode) or os.path.samestat(directory.stat(), locked)
        except OSError:
            return False

    def follow(self, directory: Path) -> None:
        """Go on holding the directory, which has been renamed to ``directory``; nobody may hold what was there before."""
        self.directory = directory
        if self._handle is not None and not stat.S_ISDIR(os.fstat(self._handle).st_mode):
            os.close(self._handle)  # Its name was locked, which isn't its name any more.
            self._handle = None
            self._handle = taken(directory)
            self._sign()

    def release(self) -> None:
        """Let others work in the directory."""
        if self.holds(self.directory):
            with contextlib.suppress(OSError):
                self._note.unlink()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def check_free(directory: Path, advice: str = ADVICE) -> None:
    """Raise `HeldError`, which says who it is and gives the ``advice``, if another process works in the directory."""
    handle = taken(directory, advice)
    if handle is not None:
        os.close(handle)


def check_saved(directory: Path) -> None:
    """Raise `HeldError` if there is nothing in the directory yet because another process works in it."""
    check_free(directory, "wait until it has saved")


def taken(directory: Path, advice: str = ADVICE) -> int | None:
    """Take the lock on ``directory`` and return the handle that holds it; None where there are no locks.

    Raises `CharrnnError` if the directory can't be opened, `HeldError` with the ``advice`` if another process holds its lock.
    """
    with files.guard(directory, "can't open the run's directory"):
        try:
            import fcntl
        except ImportError:  # Windows, which opens no directory either, and renames none with an open file in it
            return _taken_by_name(directory, advice)
        handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise _refusal(directory, advice) from error
    except OSError:  # a file system without locks
        os.close(handle)
        return None
    return handle


def _taken_by_name(directory: Path, advice: str) -> int | None:
    """The lock on a file among the temporary ones that is called after where ``directory`` is."""
    try:
        import msvcrt
    except ImportError:  # neither: a Python without both
        directory.stat()
        return None
    name = hashlib.sha256(os.path.normcase(directory.resolve(strict=True)).encode("utf-8", "surrogatepass")).hexdigest()
    handle = os.open(Path(tempfile.gettempdir(), f"charrnn-{name[:32]}.lock"), os.O_RDWR | os.O_CREAT)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError as error:
        os.close(handle)
        raise _refusal(directory, advice) from error
    return handle


def _refusal(directory: Path, advice: str) -> HeldError:
    return HeldError(f"{directory}: another process{_owner(directory)} is training there; {advice}")


def _owner(directory: Path) -> str:
    note = directory / OWNER
    told = next(files.json_lines(note), {}) if note.is_file() else {}
    pid = told.get("pid")
    return f" (process {pid} on {told.get('host')})" if isinstance(pid, int) else ""
