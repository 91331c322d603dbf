"""Run directories: where a training run keeps its checkpoints and its log."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from charrnn import CharrnnError, files
from charrnn.network import lock, ownership, paths, replacement
from charrnn.network.checkpoint import Checkpoint, read, write
from charrnn.network.lock import DirectoryLock

BEST, LAST, LOG = ownership.BEST, ownership.LAST, ownership.LOG
CLASSIFIER = "classifier.safetensors"
"""What `charrnn classify` makes, which is no language model."""
DEFAULT_ROOT = Path("checkpoints")
MEMBER = ownership.MEMBER


class RunDirectory:
    """Where one training run lives: ``best.safetensors``, ``last.safetensors`` and ``log.jsonl``.

    While it is open no other process can open it: the lock is on the directory itself, so no lock file is left behind.
    """

    refusal: str | None = None
    """Why nothing could be saved the last time, in the system's words."""

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
        path, self.refusal = self._file(kind), None
        if not self._place.is_dir():  # It may have been removed meanwhile, or renamed right now.
            with files.guard(path, "can't save"):
                self._here().mkdir(parents=True, exist_ok=True)
        if kind == "last":
            checkpoint = replace(checkpoint, training={**checkpoint.training, **self.text_facts})
        try:
            write(path, checkpoint)
        except CharrnnError as error:
            if self._file(kind) == path:
                self.refusal = getattr(error.__cause__, "strerror", None)
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


def hidden(run: Path) -> Path:
    """Where a run grows that will replace the one in ``run``."""
    return replacement.growing(_real(run))


def member(run: Path, number: int) -> Path:
    """The directory of one network of a run of several."""
    return run / f"{MEMBER}{number}"
