"""Paths as the files of a run directory tell them: whoever is given the directory finds the text, and not its owner's name."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def told(path: str | Path, run: Path) -> str:
    """``path`` as the files of ``run`` tell it.

    What lies under the current directory is told relative to ``run``, so that both can move together; of anything else the
    name alone is told. A way from ``run`` that would lead through the folder of all homes names a user: such a path is told
    relative to the current directory.
    """
    here, whole, home = Path.cwd(), _absolute(path), Path(os.path.expanduser("~"))  # noqa: PTH111 - no home is no error
    if not whole.is_relative_to(here) or (here in home.parents and whole.is_relative_to(home)):
        return whole.name
    base = os.path.realpath(run)
    with contextlib.suppress(ValueError):  # Windows: two drives have nothing in common.
        if Path(os.path.commonpath([whole, base])) not in home.parents:
            return Path(os.path.relpath(whole, base)).as_posix()
    return whole.relative_to(here).as_posix()


def found(stored: str, run: Path) -> Path | None:
    """The file or directory that ``run`` tells as ``stored``; None if it is gone.

    It is looked for beside ``run``, where the whole path says (earlier versions stored it), and in the current directory.
    """
    beside = Path(os.path.normpath(Path(os.path.realpath(run)) / stored))
    candidates = [beside, Path(stored), Path(Path(stored).name)]
    if os.pardir in candidates[1].parts[:1]:
        del candidates[1]  # It leads up from the run; from the current directory it would lead to some stranger of the name.
    for candidate in candidates:
        with contextlib.suppress(OSError, ValueError):  # The name is too long, or holds a NUL.
            if candidate.is_file() or candidate.is_dir():  # Nothing that a stranger's file names may be a device.
                return candidate
    return None


def told_again(stored: str, path: Path, run: Path) -> str:
    """``stored``, or ``path``, where it was found, if nobody would find it by ``stored`` next time."""
    if (Path(os.path.realpath(run)) / stored).exists() and not (Path(stored).is_absolute() and _is_here(path)):
        return stored
    return told(path, run)


def _is_here(path: Path) -> bool:
    return _absolute(path).is_relative_to(Path.cwd())


def _absolute(path: str | Path) -> Path:
    """The whole path as it was typed: a link in it stays, unless ``..`` behind one would lead elsewhere."""
    plain = Path(os.path.normpath(Path.cwd() / path))
    with contextlib.suppress(OSError):
        if plain.samefile(path):
            return plain
    return Path(path).resolve()
