"""One process at a time in a directory. The lock decides; a small file beside it tells others who holds it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from pathlib import Path

from charrnn import CharrnnError, files

OWNER = ".owner.json"
"""Who works in the directory; it is there while they do. One that `kill -9` left says nothing, since nobody holds the lock."""


class DirectoryLock:
    """The lock on a directory, from its making to `release`. It is on the directory itself, so no lock file is left behind."""

    def __init__(self, directory: Path) -> None:
        """Take the lock; `CharrnnError` if the directory can't be opened or another process works in it."""
        self.directory = directory
        """Where the directory is; whoever renames it says so here."""
        self._handle = taken(directory)
        with contextlib.suppress(OSError):  # On a full disk nobody learns who works here.
            self._note.unlink(missing_ok=True)
            with open(self._note, "x", encoding="utf-8") as file:  # Never through a link that somebody laid there.
                json.dump({"pid": os.getpid(), "host": platform.node()}, file)

    @property
    def _note(self) -> Path:
        return self.directory / OWNER

    def holds(self, directory: Path) -> bool:
        """Whether what is at ``directory`` now is what was locked; where there are no locks, that is taken for granted."""
        try:
            return self._handle is None or os.path.samestat(directory.stat(), os.fstat(self._handle))
        except OSError:
            return False

    def release(self) -> None:
        """Let others work in the directory."""
        if self.holds(self.directory):
            with contextlib.suppress(OSError):
                self._note.unlink()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def taken(directory: Path) -> int | None:
    """Take the lock on ``directory`` and return the handle that holds it; None where there are no locks.

    Raises `CharrnnError` if the directory can't be opened or another process holds its lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    with files.guard(directory, "can't open the run's directory"):
        handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise CharrnnError(
            f"{directory}: another process{_owner(directory)} is training there; wait for it, or choose another --out"
        ) from error
    except OSError:  # a file system without locks
        os.close(handle)
        return None
    return handle


def _owner(directory: Path) -> str:
    note = directory / OWNER
    told = next(files.json_lines(note), {}) if note.is_file() else {}
    pid = told.get("pid")
    return f" (process {pid} on {told.get('host')})" if isinstance(pid, int) else ""
