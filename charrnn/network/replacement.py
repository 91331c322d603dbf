"""A directory that replaces another: it grows hidden beside it until the two change places.

That takes two renames, ``run`` to ``.run.charrnn-old`` and ``.run.charrnn-new`` to ``run``. A process may be killed before,
between or after them; `mend` puts right what it left. Nothing is ever deleted but what ``own`` says belongs to a run.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from charrnn import CharrnnError, files
from charrnn.network import lock, ownership

_NEW, _OLD = ".charrnn-new", ".charrnn-old"
PATIENCE = 2.0
"""Seconds to wait for a process that is between its two renames right now."""

Own = Callable[[str], bool]
"""Whether a file of this name, in the directory, belongs to the run."""


def growing(path: Path) -> Path:
    """Where the directory grows that will be ``path``."""
    return path.with_name(f".{path.name}{_NEW}")


def replaced(path: Path) -> Path:
    """Where the directory goes that was ``path``."""
    return path.with_name(f".{path.name}{_OLD}")


def belongs_to(name: str) -> str | None:
    """The name of the directory that a hidden one called ``name`` replaces or was; None for any other name."""
    for suffix in (_NEW, _OLD):
        if name.startswith(".") and name.endswith(suffix) and len(name) > len(suffix) + 1:
            return name[1 : -len(suffix)]
    return None


def change_places(path: Path, own: Own) -> None:
    """Put the directory that has grown in the place of ``path``, which is deleted; raises `OSError`."""
    new, old = growing(path), replaced(path)
    with contextlib.suppress(FileNotFoundError):  # Somebody may have removed it meanwhile.
        path.rename(old)
    try:
        new.rename(path)
    except FileNotFoundError:
        if not path.exists():  # Without locks, `mend` may have been faster.
            raise
    except OSError:
        with contextlib.suppress(OSError):
            old.rename(path)
        raise
    files.sync_directory(path.parent)
    _clear_away(path, own)


def mend(path: Path, own: Own, is_empty: Callable[[Path], bool] = lambda _: False) -> None:
    """Finish what a process left that was killed while it replaced ``path``; raises `OSError`.

    ``is_empty`` tells of a directory whether its run has saved nothing yet: killed then, it leaves nothing behind.
    """
    new, old = growing(path), replaced(path)
    if not os.path.lexists(old):
        if _is_directory(new) and not new.is_symlink() and is_empty(new):
            _remove_abandoned(new, own)
        return
    if os.path.lexists(path):
        if not os.path.lexists(new):  # Else somebody made a new ``path`` after the kill, and all three hold something.
            _clear_away(path, own)
    elif not _is_directory(new):
        old.rename(path)
    elif not _somebody_does_it(path, new):
        with contextlib.suppress(FileNotFoundError):  # Another process may be just as fast.
            new.rename(path)
        _clear_away(path, own)


def clear(directory: Path, own: Own) -> None:
    """Delete what belongs to a run in ``directory``, and in those of its networks, as far as the system lets us."""
    with contextlib.suppress(OSError):
        for entry in list(directory.iterdir()):
            with contextlib.suppress(OSError):
                if ownership.is_own_directory(entry.name) and entry.is_dir() and not entry.is_symlink():
                    clear(entry, own)
                    entry.rmdir()
                elif own(entry.name):
                    entry.unlink()


def _is_directory(path: Path) -> bool:
    """Whether a directory is called so; a name that has become too long is nobody's."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


def _remove_abandoned(new: Path, own: Own) -> None:
    """Remove a directory in which nobody works, as far as it holds a run's own files."""
    if time.time() - new.stat().st_mtime < PATIENCE:  # Somebody may have made it just now.
        return
    try:
        handle = lock.taken(new)
    except CharrnnError:
        return
    if handle is not None:
        clear(new, own)
        with contextlib.suppress(OSError):
            new.rmdir()
        os.close(handle)


def _clear_away(path: Path, own: Own) -> None:
    """Delete the directory that was ``path``; what else came to lie in it moves along."""
    old = replaced(path)
    clear(old, own)
    with contextlib.suppress(OSError):
        for entry in list(old.iterdir()):
            if not os.path.lexists(path / entry.name):
                entry.rename(path / entry.name)
        old.rmdir()


def _somebody_does_it(path: Path, new: Path) -> bool:
    """Whether a living process is replacing ``path``, which is waited for."""
    until = time.monotonic() + PATIENCE
    while not os.path.lexists(path):
        try:
            handle = lock.taken(new)
        except CharrnnError:
            if time.monotonic() > until:
                return True
            time.sleep(0.01)
        else:
            if handle is not None:
                os.close(handle)
            return False
    return True
