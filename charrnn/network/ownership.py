"""What in a directory belongs to a run, of one network or of several: nothing else is ever replaced or deleted."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from charrnn import CharrnnError, files
from charrnn.network import lock
from charrnn.network.checkpoint import read_header

BEST, LAST, LOG = "best.safetensors", "last.safetensors", "log.jsonl"
MEMBER = "member-"
"""What the directories of a run of several networks are called, before their numbers."""
_MEMBER = re.compile(rf"{MEMBER}(0|[1-9]\d{{0,8}})")

_ONLY = "--overwrite replaces only what a run wrote"


def is_own(name: str) -> bool:
    """Whether a file of this name in a run's directory is the run's own."""
    temporary = name.startswith((f".{BEST}.", f".{LAST}.")) and name.endswith(".tmp")
    return temporary or name in (BEST, LAST, LOG, lock.OWNER)


def is_own_directory(name: str) -> bool:
    """Whether a directory of this name in a run's directory is one of its networks."""
    return _MEMBER.fullmatch(name) is not None


def holds_no_checkpoint(directory: Path) -> bool:
    """Whether there is nothing to go on from: a log alone is left by a run that was killed before its first save."""
    return not any((place / name).exists() for place in _places(directory) for name in (BEST, LAST))


def has_learned_nothing(directory: Path) -> bool:
    """Whether what was saved there, if anything, are networks that have made no step yet."""
    for place in _places(directory):
        if (place / BEST).exists():
            return False
        with contextlib.suppress(CharrnnError):
            if (place / LAST).exists() and read_header(place / LAST).training.get("step") != 0:
                return False
    return True


def _places(directory: Path) -> list[Path]:
    """``directory`` and those of its networks."""
    with contextlib.suppress(OSError):
        return [directory, *(path for path in directory.iterdir() if is_own_directory(path.name) and path.is_dir())]
    return [directory]


def check_is_a_run(path: Path) -> None:
    """Raise `CharrnnError` unless ``path`` holds a run, in whose networks nobody works, and nothing else; or nothing at all."""
    with files.guard(path, "can't be replaced"):
        if path.samefile(os.curdir) or os.path.ismount(path):
            raise CharrnnError(f"{path}: is the current directory or a mount, which can't be replaced")
        networks = [Path(entry) for entry in _entries(path) if _is_network(entry)]
    _check(path, networks=True)
    for network in networks:
        _check(network)
        lock.check_free(network)


def _entries(path: Path) -> list[os.DirEntry[str]]:
    return sorted(os.scandir(path), key=lambda entry: entry.name)


def _is_network(entry: os.DirEntry[str]) -> bool:
    return is_own_directory(entry.name) and entry.is_dir(follow_symlinks=False)


def _check(path: Path, *, networks: bool = False) -> None:
    """Raise `CharrnnError` unless ``path`` holds one network's run and nothing else, but for directories of ``networks``."""
    with files.guard(path, "can't be replaced"):
        for entry in _entries(path):
            if not ((is_own(entry.name) and entry.is_file()) or (networks and _is_network(entry))):
                raise CharrnnError(f"{path}: holds {entry.name}, which is no file of a run; {_ONLY}")
    for name in (BEST, LAST):
        if (path / name).exists():
            try:
                read_header(path / name)
            except CharrnnError as error:
                raise CharrnnError(f"{error}; {_ONLY}") from error
    log = path / LOG
    if log.exists() and log.stat().st_size and next(files.json_lines(log), {}).get("event") != "start":
        raise CharrnnError(f"{log}: is not the log of a run; {_ONLY}")
