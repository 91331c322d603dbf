"""Which checkpoints a path or a word means, and which there are: what -c, --resume and info look up."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from charrnn import CharrnnError, absent, files
from charrnn.network import lock, replacement, rundir, tensorfile
from charrnn.network.checkpoint import Checkpoint, read_header
from charrnn.network.rundir import BEST, CLASSIFIER, DEFAULT_ROOT, LAST, MEMBER
from charrnn.text import sources

LATEST = "latest"
"""The word for the most recent run or network."""
MOST_RUNS, MOST_DIRECTORIES = 3, 1000
"""So many runs are named where a directory of them was, and in so many directories they are looked for."""


def checkpoints_under(root: Path, name: str = BEST) -> list[Path]:
    """Every file called ``name`` at or below ``root``, sorted; not those of runs that are about to replace others. A link to a
    directory counts like one, but each run once.
    """
    found = []
    for top, folders, names in files.walk(root):
        hidden = {folder: meant for folder in folders if (meant := replacement.belongs_to(folder))}
        for meant in hidden.values():
            with contextlib.suppress(CharrnnError):  # One that can't be put right hides no other.
                rundir.mend(Path(top, meant))
        folders[:] = {*folders, *(meant for meant in hidden.values() if Path(top, meant).is_dir())} - hidden.keys()
        if name in names:
            found.append(Path(top, name))
    return sorted(found)


def latest(root: Path = DEFAULT_ROOT, name: str = BEST) -> Path:
    """The most recently written sound checkpoint called ``name`` below ``root``, by the time in its header."""
    newest: Checkpoint | None = None
    for path in checkpoints_under(root, name):
        with contextlib.suppress(CharrnnError):
            found = read_header(path)
            if newest is None or found.saved_at > newest.saved_at:
                newest = found
    if newest is None:
        check_saved_under(root)
        hint = "train one by charrnn train FILE, or name one by -c PATH" if name == BEST else "name the run's directory"
        raise CharrnnError(f"{root}: no {'trained network' if name == BEST else 'run to go on with'} here yet; {hint}")
    return newest.path


def is_found(run: Path) -> bool:
    """Whether `latest` looks where ``run`` is: below the root, be it by a link."""
    return any(meant(run).is_relative_to(meant(DEFAULT_ROOT)) for meant in (Path.absolute, Path.resolve))


def check_saved_under(root: Path) -> None:
    """Raise `HeldError` if a process trains at or below ``root``, where nothing has been saved yet."""
    for note in checkpoints_under(root, lock.OWNER):
        lock.check_saved(note.parent)


def members(run: Path) -> list[Path]:
    """The directories of the networks of a run of several, in order; none of one network."""
    found: list[Path] = []
    with files.guard(run):
        while (path := rundir.member(run, len(found))).is_dir() and any((path / name).exists() for name in (BEST, LAST)):
            found.append(path)
    return found


def is_of_members(path: Path) -> bool:
    """Whether ``path`` is the directory of a run of several networks."""
    return bool(members(path))


def run_of(path: Path) -> Path:
    """The run that a run's directory belongs to: one of several networks, if it is a member of it, else itself."""
    number = path.name.removeprefix(MEMBER)
    return path.parent if path.name == f"{MEMBER}{number}" and path in members(path.parent) else path


def of_one_network(path: Path) -> Path:
    """``path``; `CharrnnError` if it is the directory of a run of several networks."""
    if found := members(path):
        raise CharrnnError(f"{path}: a run of {len(found)} networks; name one of them, as {found[0]}")
    return path


def means_latest(path: Path | None) -> bool:
    """Whether ``path`` stands for the most recent network: it is None, or the word for it and no file's name."""
    return path is None or (str(path) == LATEST and not path.exists())


def check_exists(path: Path, name: str = BEST) -> None:
    """Raise `CharrnnError` if nothing is at ``path``, a run or a file of one; it says what was meant, or how to find out.

    ``name`` is the file that counts in the directories that may have been meant.
    """
    with files.guard(path):
        if path.exists():
            return
    typed = str(path)
    hint = absent.mistyped(typed) or absent.missing_directory(typed) or absent.without_quotes(typed)
    if not hint:
        there = {file.parent.name: file.parent for file in checkpoints_under(DEFAULT_ROOT, name)}
        with contextlib.suppress(OSError):
            beside = [one for one in path.parent.iterdir() if one.suffix == ".safetensors" or (one / name).exists()]
            there |= {one.name: one for one in beside}
        meant = absent.closest(path.name, there)
        hint = f"is it {there[meant]}?" if meant else "charrnn info lists the runs"
    raise absent.AbsentError(typed, "No such file or directory", hint)


def instead_of_going_on(path: Path) -> str:
    """What can be done with what is no run that can go on."""
    if (path / BEST).exists():
        return "--init-from starts a new run from its weights"
    if (path / CLASSIFIER).exists():
        return "charrnn classify fit made it, and makes a new one"
    return f"is it {meant}?" if (meant := namesake(path, LAST)) else "charrnn info lists the runs"


def namesake(path: Path, name: str) -> Path | None:
    """The most recent run below `DEFAULT_ROOT` that holds ``name`` and is called after ``path``, a text or a directory of them.

    Where nothing is at ``path``, a run of that very name comes first.
    """
    exactly = DEFAULT_ROOT / path.name
    if (exactly / name).exists() and not path.exists():
        return exactly
    called = "|".join(map(re.escape, (path.absolute().name, sources.stem(str(path)))))
    found = [file for file in checkpoints_under(DEFAULT_ROOT, name) if file.exists()]
    runs = {run_of(file.parent): file.stat().st_mtime for file in found}
    alike = [run for run in runs if re.fullmatch(f"({called})(-[0-9]+)?", run.name)]
    return max(alike, key=lambda run: runs[run], default=None)


def check_no_text(path: Path, name: str) -> None:
    """Raise `CharrnnError` if ``path`` is a text that a run with ``name`` is called like: it learned it, and was meant."""
    if tensorfile.may_be_text(path) and (meant := namesake(path, name)):
        raise CharrnnError(f"{path}: a text, not a network; is it {meant}?")


def named(path: Path) -> Path:
    """What ``-c`` takes for the network in the file ``path``, short: its run's directory where that means it."""
    return path.parent if path.name == BEST else path


def resolve(path: Path | None) -> Path:
    """The checkpoint file that ``path`` means: itself, a run directory's ``best``, or the latest where `means_latest`."""
    if path is None or means_latest(path):
        return latest()
    rundir.mend(path)
    check_exists(path)
    if path.is_dir():
        if not (path / BEST).exists():
            of_one_network(path)
            if (path / CLASSIFIER).exists():
                reads = "which charrnn classify predict reads (in Python load_classifier)"
                raise CharrnnError(f"{path}: the directory holds a classifier of texts, {reads}")
            lock.check_saved(path)
            raise CharrnnError(f"{path}: the directory holds no {BEST}; {_meant_by(path)}")
        return path / BEST
    check_no_text(path, BEST)
    return path


def _meant_by(path: Path) -> str:
    """What to name instead of a directory that is no run: a few of those in it, the one called like it, or what a run is."""
    some = itertools.islice(files.walk(path), MOST_DIRECTORIES)
    found = sorted({str(run_of(Path(top))) for top, _, names in some if BEST in names})
    if found:
        return f"name one of the runs in it: {', '.join(found[:MOST_RUNS])}"
    return f"is it {meant}?" if (meant := namesake(path, BEST)) else "name a run directory or a checkpoint file"


def resolve_each(path: Path | Sequence[Path] | None) -> list[Path]:
    """The checkpoint files that one path or several mean: each as `resolve` reads it, a run of several networks as theirs."""
    each: Sequence[Path | None] = [path] if path is None or isinstance(path, Path) else path or [None]
    return [file for one in each for file in _files(one)]


def _files(path: Path | None) -> list[Path]:
    run = run_of(latest().parent) if path is None or means_latest(path) else path
    return [one / BEST for one in members(run) if (one / BEST).exists()] or [resolve(path)]


def labels(paths: Sequence[Path]) -> list[str]:
    """A short name for each checkpoint file: its run's name for a ``best``, else its own; the whole path where names clash."""
    names = [(path.resolve().parent.name if path.name == BEST else path.stem) or str(path) for path in paths]
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]
