"""Run directories: where a training run keeps its checkpoints and its log, and how to find them again."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from charrnn import CharrnnError, absent, files
from charrnn.network import lock, ownership, paths, replacement
from charrnn.network.checkpoint import Checkpoint, read, read_header, write
from charrnn.network.lock import DirectoryLock

BEST, LAST, LOG = ownership.BEST, ownership.LAST, ownership.LOG
CLASSIFIER = "classifier.safetensors"
"""What `charrnn classify` makes, which is no language model."""
LATEST = "latest"
"""The word for the most recent run or network."""
DEFAULT_ROOT = Path("checkpoints")
MEMBER = ownership.MEMBER
MOST_RUNS, MOST_DIRECTORIES = 3, 1000
"""So many runs are named where a directory of them was, and in so many directories they are looked for."""


class RunDirectory:
    """Where one training run lives: ``best.safetensors``, ``last.safetensors`` and ``log.jsonl``.

    While it is open no other process can open it: the lock is on the directory itself, so no lock file is left behind.
    """

    def __init__(self, path: Path, place: Path | None = None, *, advice: str = lock.ADVICE) -> None:
        """Open an existing directory; `CharrnnError` if it can't be or another process works in it.

        Args:
            path: what the directory is called.
            place: where it is until it takes the place of another one called so.
            advice: what to do while another process works in it.
        """
        self.path, self._place = path, place or path
        self._replaced: DirectoryLock | None = None
        self._log: IO[str] | None = None
        self._logged: dict[str, tuple[int, int]] = {}
        self.text_facts: Mapping[str, Any] = {}
        """What ``last`` tells beside the trainer's facts: where the text lies, seen from here."""
        self._lock = DirectoryLock(self._place, advice)
        for name in (BEST, LAST):
            files.remove_left_overs(self._place / name)

    @classmethod
    def create(cls, name: str, out: Path | None = None, *, overwrite: bool = False) -> RunDirectory:
        """Make a directory for a new run: ``out``, or ``checkpoints/<name>``, ``<name>-2``, ... whichever is free.

        With ``overwrite`` it is ``out`` or ``checkpoints/<name>``, and may replace a run there; see `replacing`.

        Raises `CharrnnError` if ``out`` already holds a run, or the directory can't be made.
        """
        failure = "can't make the run's directory (--out DIR names another)"
        out = DEFAULT_ROOT / name if overwrite and out is None else out
        if out is not None:
            mend(out)
        if overwrite and out is not None and out.exists():
            return cls.replacing(out)
        if out is not None:
            with files.guard(out, failure):
                out.mkdir(parents=True, exist_ok=True)
            run = cls(out)
            try:
                others = "replace it by --overwrite, or choose another --out"
                taken = f"already holds a run; go on with it by charrnn train --resume {shlex.quote(str(out))}, {others}"
                files.check_replaceable(out, taken, ours=ownership.holds_no_checkpoint)
            except CharrnnError:
                run.close()
                raise
            run._begin_log()
            return run
        with files.guard(DEFAULT_ROOT, failure):
            DEFAULT_ROOT.mkdir(exist_ok=True)
        number = 1
        while True:
            path = DEFAULT_ROOT / (name if number == 1 else f"{name}-{number}")
            mend(path)
            with files.guard(path, failure):
                try:
                    path.mkdir()  # Atomic: of two runs started at once, each gets a name of its own.
                except FileExistsError:
                    number += 1
                else:
                    return cls(path)

    @classmethod
    def replacing(cls, path: Path) -> RunDirectory:
        """Make a directory for a new run that takes the place of the one in ``path`` once it has saved its first ``last``.

        Until then it is hidden beside ``path``, whose run stays whole.

        Raises `CharrnnError` if ``path`` holds anything but a run, or another process trains there.
        """
        ownership.check_is_a_run(path)
        with contextlib.ExitStack() as stack:
            replaced = DirectoryLock(path)
            stack.callback(replaced.release)
            place = hidden(path)
            if os.path.lexists(left := replacement.replaced(_real(path))) or place.is_symlink():
                raise CharrnnError(f"{path}: {left.name} or {place.name} beside it is in the way; move it elsewhere")
            with files.guard(place, "can't make the run's directory"):
                place.mkdir(exist_ok=True)
            run = cls(path, place)
            replacement.clear(place, lambda name: ownership.is_own(name) and name != lock.OWNER)  # of a run that was killed
            run._replaced = replaced
            stack.pop_all()
        return run

    @property
    def growing(self) -> bool:
        """Whether it is hidden still, beside the run that it will replace."""
        return self._here() != self.path

    def _here(self) -> Path:
        """Where it is: the run of several networks that it belongs to may have taken its place meanwhile."""
        if self._place != self.path and not self._place.is_dir() and self._lock.holds(self.path):
            self._place = self.path
            self._lock.follow(self.path)
        return self._place

    def take_place(self) -> None:
        """Change places with the run that this one replaces."""
        assert self._replaced is not None
        kept = f"can't be replaced; the new run is kept in {self._place}"
        if os.path.lexists(self.path) and not self._replaced.holds(self.path):  # Somebody made another one meanwhile.
            now = DirectoryLock(self.path)
            self._replaced.release()
            self._replaced = now
            ownership.check_is_a_run(self.path)
        for name in (".", BEST, LAST):
            with contextlib.suppress(OSError):  # Whoever kept the old run to themselves keeps the new one.
                shutil.copymode(self.path / name, self._place / name)
        self._close_log()  # Windows renames no directory with an open file in it.
        with files.guard(self.path, kept):
            replacement.change_places(_real(self.path), ownership.is_own)
        self._replaced.release()
        self._place = self.path
        self._lock.follow(self.path)

    @property
    def best(self) -> Path:
        """The checkpoint with the lowest validation loss."""
        return self.path / BEST

    @property
    def last(self) -> Path:
        """The checkpoint from which training goes on."""
        return self.path / LAST

    def save(self, kind: str, checkpoint: Checkpoint) -> Path:
        """Write ``checkpoint`` as the run's ``best`` or ``last``."""
        path = self._file(kind)
        if not self._place.is_dir():  # It may have been removed meanwhile, or renamed right now.
            with files.guard(path, "can't save"):
                self._here().mkdir(parents=True, exist_ok=True)
        if kind == "last":
            checkpoint = replace(checkpoint, training={**checkpoint.training, **self.text_facts})
        try:
            write(path, checkpoint)
        except CharrnnError:
            if self._file(kind) == path:
                raise
            files.remove_left_overs(self._file(kind))  # It was renamed with what was half written.
            write(self._file(kind), checkpoint)
        if kind == "last" and self._replaced is not None and self._place != self.path:
            self.take_place()
        return self.path / path.name

    def set_aside(self, kind: str) -> Path:
        """Give the file of the run's ``best`` or ``last`` another name, and return that."""
        with files.guard(self._file(kind), "can't rename"):
            return files.set_aside(self._file(kind))

    def load(self, kind: str) -> Checkpoint | None:
        """Read the run's ``best`` or ``last``; None if it isn't there or isn't sound."""
        try:
            return read(self._file(kind))
        except CharrnnError:
            return None

    def _file(self, kind: str) -> Path:
        return self._here() / (BEST if kind == "best" else LAST)

    def log(self, event: Mapping[str, Any]) -> None:
        """Append ``event`` to ``log.jsonl`` as one line; a resumed run skips the events that the log already has.

        People share run directories: no host stands in the log, and no path leads to this directory from the root.
        """
        with files.guard(self._place / LOG, "can't write"):
            if self._log is not None and not self._log_is_there():
                self._close_log()
            if self._log is None:
                self._log = self._continued_log()
            place = _place(event)
            if place is None or place > self._logged.get(event["event"], (0, 0)):
                self._log.write(json.dumps(self._shareable(event), ensure_ascii=False) + "\n")
                self._log.flush()

    def past_steps(self, made: int) -> list[dict[str, Any]]:
        """The ``step`` events that led to the ``made`` steps of a run, without those that a rewind took back."""
        course: list[dict[str, Any]] = []
        for event in files.json_lines(self._place / LOG):
            if event.get("event") != "step" or not (place := _place(event)) or place[1] > made:
                continue
            while course and course[-1]["step"] >= place[1]:
                course.pop()
            course.append(event)
        return course

    def _shareable(self, event: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in event.items() if name != "host"}
        if self.path.is_absolute():
            whole, told = str(self.path), paths.told(self.path, Path.cwd())
            for name in ("text",) if event.get("event") == "warning" else ("run_dir", "path", "best_path"):
                if isinstance(kept.get(name), str):
                    kept[name] = kept[name].replace(whole, told)
        return kept

    def _log_is_there(self) -> bool:
        """Whether the open log is still the file of that name; someone may have removed the directory."""
        assert self._log is not None
        try:
            return os.path.samestat((self._here() / LOG).stat(), os.fstat(self._log.fileno()))
        except FileNotFoundError:
            self._here().mkdir(parents=True, exist_ok=True)
            return False

    def _begin_log(self) -> None:
        """Set aside the log of a run that was killed before its first save."""
        path = self.path / LOG
        with files.guard(path, "can't begin a new log"):
            if path.exists() and path.stat().st_size:
                files.set_aside(path)

    def _continued_log(self) -> IO[str]:
        """The log, opened to append, without a last line that a killed process left unfinished."""
        path = self._place / LOG
        for event in files.json_lines(path):
            if place := _place(event):
                self._logged[event["event"]] = max(place, self._logged.get(event["event"], place))
        with contextlib.suppress(FileNotFoundError), files.opened(path, "rb+") as file:
            data = file.read()
            if data and not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
        # Bytes of a file name that are not UTF-8 become JSON's own escapes.
        return files.opened(path, "a", encoding="utf-8", errors="backslashreplace")

    def close(self) -> None:
        """Close the log and let others use the directory; of a run that came to replace none, nothing stays."""
        self._close_log()
        if self.growing and self._replaced is not None and ownership.has_learned_nothing(self._place):
            replacement.clear(self._place, ownership.is_own)
            with contextlib.suppress(OSError):
                self._place.rmdir()
        self._lock.release()
        if self._replaced is not None and self._place != self.path:
            self._replaced.release()

    def _close_log(self) -> None:
        if self._log is not None:
            with contextlib.suppress(OSError):  # A failure to write was reported when it happened.
                self._log.close()
            self._log = None


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def mend(path: Path) -> None:
    """Put right what a run left that was killed while it replaced ``path``, or the directory that holds ``path``."""
    with files.guard(path, "can't finish what a killed run left undone"):
        for directory in (_real(path), _real(path.parent)):
            if directory.name:
                replacement.mend(directory, ownership.is_own, ownership.has_learned_nothing)


def _place(event: Mapping[str, Any]) -> tuple[int, int] | None:
    """Where in a run an event of the training loop stands, (attempt, step); None for other events."""
    if event.get("event") not in ("step", "eval", "sample"):
        return None
    attempt, step = event.get("attempt", 1), event.get("step")
    return (attempt, step) if isinstance(attempt, int) and isinstance(step, int) else None


def checkpoints_under(root: Path, name: str = BEST) -> list[Path]:
    """Every file called ``name`` at or below ``root``, sorted; not those of runs that are about to replace others. A link to a
    directory counts like one, but each run once.
    """
    found = []
    for top, folders, names in files.walk(root):
        hidden = {folder: meant for folder in folders if (meant := replacement.belongs_to(folder))}
        for meant in hidden.values():
            with contextlib.suppress(CharrnnError):  # One that can't be put right hides no other.
                mend(Path(top, meant))
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


def check_saved_under(root: Path) -> None:
    """Raise `HeldError` if a process trains at or below ``root``, where nothing has been saved yet."""
    for note in checkpoints_under(root, lock.OWNER):
        lock.check_saved(note.parent)


def hidden(run: Path) -> Path:
    """Where a run grows that will replace the one in ``run``."""
    return replacement.growing(_real(run))


def member(run: Path, number: int) -> Path:
    """The directory of one network of a run of several."""
    return run / f"{MEMBER}{number}"


def members(run: Path) -> list[Path]:
    """The directories of the networks of a run of several, in order; none of one network."""
    found: list[Path] = []
    with files.guard(run):
        while (path := member(run, len(found))).is_dir() and any((path / name).exists() for name in (BEST, LAST)):
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
    hint = absent.mistyped(str(path)) or absent.missing_directory(str(path))
    if not hint:
        there = {file.parent.name: file.parent for file in checkpoints_under(DEFAULT_ROOT, name)}
        with contextlib.suppress(OSError):
            beside = [one for one in path.parent.iterdir() if one.suffix == ".safetensors" or (one / name).exists()]
            there |= {one.name: one for one in beside}
        meant = absent.closest(path.name, there)
        hint = f"is it {there[meant]}?" if meant else "charrnn info lists the runs"
    raise absent.AbsentError(str(path), "No such file or directory", hint)


def instead_of_going_on(path: Path) -> str:
    """What can be done with a directory that holds no run that can go on."""
    if (path / BEST).exists():
        return "--init-from starts a new run from its weights"
    if (path / CLASSIFIER).exists():
        return "charrnn classify fit made it, and makes a new one"
    return "charrnn info lists the runs"


def named(path: Path) -> Path:
    """What ``-c`` takes for the network in the file ``path``, short: its run's directory where that means it."""
    return path.parent if path.name == BEST else path


def resolve(path: Path | None) -> Path:
    """The checkpoint file that ``path`` means: itself, a run directory's ``best``, or the latest where `means_latest`."""
    if path is None or means_latest(path):
        return latest()
    mend(path)
    check_exists(path)
    if path.is_dir():
        if not (path / BEST).exists():
            of_one_network(path)
            if (path / CLASSIFIER).exists():
                reads = "which charrnn classify predict reads (in Python load_classifier)"
                raise CharrnnError(f"{path}: the directory holds a classifier of texts, {reads}")
            lock.check_saved(path)
            raise CharrnnError(f"{path}: the directory holds no {BEST}; name {_runs_in(path)}")
        return path / BEST
    return path


def _runs_in(path: Path) -> str:
    """What to name instead of a directory of runs: a few of them, or what a run is."""
    some = itertools.islice(files.walk(path), MOST_DIRECTORIES)
    found = sorted({str(run_of(Path(top))) for top, _, names in some if BEST in names})
    return f"one of the runs in it: {', '.join(found[:MOST_RUNS])}" if found else "a run directory or a checkpoint file"


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
