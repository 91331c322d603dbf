"""Checkpoints: one ``.safetensors`` file each, written whole or not at all, and read without trusting it.

The header's ``__metadata__`` holds ``format`` ("charrnn"), ``version``, and three JSON texts: ``model``
(`ModelConfig`), ``vocabulary``, and ``training`` (facts: corpus, seed, step, seconds, bits per character, ...).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.config import ModelConfig
from charrnn.vocabulary import Vocabulary

FORMAT, VERSION = "charrnn", 1
BEST, LAST, LOG = "best.safetensors", "last.safetensors", "log.jsonl"
DEFAULT_ROOT = Path("checkpoints")
MAX_HEADER_BYTES = 16 << 20
"""A larger header is refused; a vocabulary of all Unicode needs 14 MB."""
MAX_HEADER_ENTRIES = 20_000
"""More objects, lists and keys than that are no checkpoint's, and would cost far more memory than the header itself."""

_NUMBERS = ("characters", "corpus_bytes", "val_bits_per_char", "step", "epochs", "seconds", "seed")
"""The facts of training that are numbers or null."""

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I64": np.dtype("<i8")}


@dataclass(frozen=True)
class Checkpoint:
    """A network with its vocabulary and the facts of its training.

    ``weights`` are those of `ModelConfig.parameter_shapes`, float32. ``extra`` holds what else is needed to go on
    training, by name; it is empty in a ``best.safetensors``.
    """

    model: ModelConfig
    vocabulary: Vocabulary
    training: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    path: Path = Path()

    @property
    def saved_at(self) -> float:
        """When the checkpoint was written, in seconds since 1970; 0 where the file doesn't say."""
        when = self.training.get("saved_at")
        try:
            seconds = float(when) if isinstance(when, int | float) else 0.0
        except OverflowError:
            return 0.0
        return seconds if math.isfinite(seconds) else 0.0

    @property
    def when(self) -> str:
        """`saved_at` as local date and time."""
        try:
            return datetime.fromtimestamp(self.saved_at).strftime("%Y-%m-%d %H:%M") if self.saved_at else ""
        except (OverflowError, OSError, ValueError):
            return ""


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path``: to a temporary file beside it, synced, then moved into place."""
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in checkpoint.weights.items()}
    tensors |= {name: np.asarray(value, order="C") for name, value in checkpoint.extra.items()}
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "model": json.dumps(checkpoint.model.to_json()),
        "vocabulary": json.dumps(checkpoint.vocabulary.to_json()),
        "training": json.dumps({**checkpoint.training, "saved_at": time.time()}),
    }
    write_whole(path, save(tensors, metadata))


def write_whole(path: Path, data: bytes) -> None:
    """Make ``path`` hold ``data``: at every moment it is the old file or the new one, also after a power cut."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):
            os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    # Whether or not the directory can be synced too (on some file systems not): the file is in its place.
    with contextlib.suppress(OSError):
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def read(path: Path) -> Checkpoint:
    """Read the checkpoint file ``path``; raise `CharrnnError` naming the file and the fault if it isn't a sound one."""
    with _opened(path) as (file, size):
        checkpoint, entries, start = _read_header(file, path, size)
        expected = checkpoint.model.parameter_shapes()
        for name, shape in expected.items():
            entry = entries.get(name)
            if entry is None:
                raise _fault(path, f"the tensor {name} is missing")
            if entry.dtype != np.float32 or entry.shape != shape:
                raise _fault(path, f"{name} is {entry.dtype} {entry.shape}, expected float32 {shape}")
        arrays = {}
        for name, entry in entries.items():
            file.seek(start + entry.begin)
            array = np.frombuffer(_exactly(file, entry.nbytes, path), dtype=entry.dtype).reshape(entry.shape)
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise _fault(path, f"{name} holds values that are not finite")
            arrays[name] = array
    return Checkpoint(
        checkpoint.model,
        checkpoint.vocabulary,
        checkpoint.training,
        {name: arrays[name] for name in expected},
        {name: array for name, array in arrays.items() if name not in expected},
        path,
    )


def read_header(path: Path) -> Checkpoint:
    """Like `read`, but without the tensors."""
    with _opened(path) as (file, size):
        return _read_header(file, path, size)[0]


@dataclass(frozen=True)
class _Entry:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    nbytes: int


def _fault(path: Path, what: str) -> CharrnnError:
    return CharrnnError(f"{path}: not a usable checkpoint: {what}")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    # Without blocking, so that a FIFO is refused rather than waited for.
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise CharrnnError(f"{path}: {error.strerror}") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise _fault(path, "not a regular file")
    with os.fdopen(handle, "rb") as file:
        try:
            yield file, status.st_size
        except OSError as error:
            raise CharrnnError(f"{path}: {error.strerror}") from error


def _exactly(file: IO[bytes], length: int, path: Path) -> bytes:
    data = file.read(length)
    if len(data) != length:
        raise _fault(path, "it ends too early")
    return data


def _read_header(file: IO[bytes], path: Path, size: int) -> tuple[Checkpoint, dict[str, _Entry], int]:
    """The header's facts, the tensors' places, and where their bytes start; everything checked against the file's size."""
    (length,) = struct.unpack("<Q", _exactly(file, 8, path))
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise _fault(path, "it is no safetensors file, or its header is damaged")
    try:
        text = _exactly(file, length, path)
        if sum(text.count(mark) for mark in (b"{", b"[", b":")) > MAX_HEADER_ENTRIES:
            raise _fault(path, "its header is damaged")
        header = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _fault(path, "its header is no JSON") from error
    if not isinstance(header, dict):
        raise _fault(path, "its header is no JSON object")
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise _fault(path, "it was not written by charrnn")
    if metadata.get("version") != str(VERSION):
        version = str(metadata.get("version"))[:20]
        shown = version if version.isprintable() else ascii(version)
        raise _fault(path, f"its format is version {shown}, this charrnn reads version {VERSION}")
    try:
        model = ModelConfig.from_json(json.loads(metadata["model"]))
        vocabulary = Vocabulary.from_json(json.loads(metadata["vocabulary"]))
        training = json.loads(metadata["training"])
        entries = {name: _entry(entry) for name, entry in header.items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _fault(path, "its header is damaged") from error
    except CharrnnError as error:
        raise _fault(path, str(error)) from error
    if not isinstance(training, dict) or not all(
        value is None or (isinstance(value, int | float) and abs(value) < 1e300) for value in map(training.get, _NUMBERS)
    ):
        raise _fault(path, "its header is damaged")
    if vocabulary.size != model.vocab_size:
        raise _fault(path, f"its vocabulary has {vocabulary.size} symbols, its network {model.vocab_size}")
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.nbytes)):
        if entry.begin != end:
            raise _fault(path, "its tensors overlap or leave gaps")
        end += entry.nbytes
    if 8 + length + end != size:
        raise _fault(path, f"it should hold {8 + length + end} bytes and holds {size}")
    return Checkpoint(model, vocabulary, training, path=path), entries, 8 + length


def _entry(data: Any) -> _Entry:
    dtype = _DTYPES[data["dtype"]]
    shape, (begin, end) = data["shape"], data["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)) or len(shape) > 8:
        raise ValueError("a tensor's shape or place is no list of whole numbers")
    if math.prod(max(size, 1) for size in shape) > 1 << 48:
        raise ValueError("a tensor's shape is beyond any memory, empty or not")
    if end - begin != dtype.itemsize * math.prod(shape):
        raise ValueError("a tensor's place does not fit its shape")
    return _Entry(dtype, tuple(shape), begin, end - begin)


class RunDirectory:
    """Where one training run lives: ``best.safetensors``, ``last.safetensors`` and ``log.jsonl``.

    While it is open no other process can open it: the directory itself is locked, so that nothing is left behind.
    """

    def __init__(self, path: Path) -> None:
        """Open an existing directory; `CharrnnError` if it can't be or another process works in it."""
        self.path = path
        self._log: IO[str] | None = None
        self._continues = True
        self._logged: dict[str, tuple[int, int]] = {}
        self._lock = self._locked()
        for name in (BEST, LAST):
            for left_over in path.glob(f".{name}.*.tmp"):  # of a process that was killed while it saved
                with contextlib.suppress(OSError):
                    left_over.unlink()

    @classmethod
    def create(cls, name: str, out: Path | None = None) -> RunDirectory:
        """Make a directory for a new run: ``out``, or ``checkpoints/<name>``, ``<name>-2``, ... whichever is free.

        Raises `CharrnnError` if ``out`` already holds a run, or the directory can't be made.
        """
        try:
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                run = cls(out)
                # A log alone is of a run that was killed before its first save: there is nothing to go on from or to lose.
                if any((out / held).exists() for held in (BEST, LAST)):
                    run.close()
                    raise CharrnnError(
                        f"{out}: already holds a run; go on with it by charrnn train --resume {out}, or choose another --out"
                    )
                run._continues = False
                return run
            DEFAULT_ROOT.mkdir(exist_ok=True)
            number = 1
            while True:
                path = DEFAULT_ROOT / (name if number == 1 else f"{name}-{number}")
                with contextlib.suppress(FileExistsError):
                    path.mkdir()  # Atomic: of two runs started at once, each gets a name of its own.
                    return cls(path)
                number += 1
        except OSError as error:
            raise CharrnnError(f"{error.filename or out}: can't make the run's directory: {error.strerror}") from error

    def _locked(self) -> int | None:
        try:
            import fcntl
        except ImportError:  # Windows
            return None
        try:
            handle = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise CharrnnError(f"{self.path}: can't open the run's directory: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            owner: dict[str, Any] = next((event for event in reversed(self._events()) if "pid" in event), {})
            by = f" (process {owner['pid']} on {owner.get('host')})" if owner else ""
            raise CharrnnError(
                f"{self.path}: another process{by} is training there; wait for it, or choose another --out"
            ) from error
        except OSError:  # a file system without locks
            os.close(handle)
            return None
        return handle

    def _events(self) -> list[dict[str, Any]]:
        """The sound lines of the log."""
        events = []
        with contextlib.suppress(OSError), open(self.path / LOG, encoding="utf-8", errors="replace") as file:
            for line in file:
                with contextlib.suppress(ValueError, RecursionError):
                    if isinstance(event := json.loads(line), dict):
                        events.append(event)
        return events

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
        try:
            self.path.mkdir(parents=True, exist_ok=True)  # It may have been removed meanwhile.
            write(path, checkpoint)
        except OSError as error:
            raise CharrnnError(f"{path}: can't save: {error.strerror}") from error
        return path

    def load(self, kind: str) -> Checkpoint | None:
        """Read the run's ``best`` or ``last``; None if it is not there or not sound."""
        try:
            return read(self._file(kind))
        except CharrnnError:
            return None

    def _file(self, kind: str) -> Path:
        return self.best if kind == "best" else self.last

    def log(self, event: Mapping[str, Any]) -> None:
        """Append ``event`` to ``log.jsonl`` as one line; a resumed run does not log again what stands there already."""
        try:
            if self._log is not None and not self._log_is_there():
                self._log.close()
                self._log = None
            if self._log is None:
                self._log = self._continued_log()
            place = _place(event)
            if place is None or place > self._logged.get(event["event"], (0, 0)):
                self._log.write(json.dumps(event, ensure_ascii=False) + "\n")
                self._log.flush()
        except OSError as error:
            raise CharrnnError(f"{self.path / LOG}: can't write: {error.strerror}") from error

    def _log_is_there(self) -> bool:
        """Whether the open log is still the file of that name; people remove directories."""
        assert self._log is not None
        try:
            return os.path.samestat((self.path / LOG).stat(), os.fstat(self._log.fileno()))
        except FileNotFoundError:
            self.path.mkdir(parents=True, exist_ok=True)
            return False

    def _continued_log(self) -> IO[str]:
        """The log, opened to append, without a last line that a killed process left unfinished."""
        path = self.path / LOG
        for event in self._events() if self._continues else ():
            if place := _place(event):
                self._logged[event["event"]] = max(place, self._logged.get(event["event"], place))
        with contextlib.suppress(FileNotFoundError), open(path, "rb+") as file:
            data = file.read()
            if data and not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
        # What is no UTF-8 in a file's name is written as JSON's own escape.
        return open(path, "a", encoding="utf-8", errors="backslashreplace")

    def close(self) -> None:
        """Close the log and let others use the directory."""
        if self._log is not None:
            with contextlib.suppress(OSError):  # What could not be written was told when it was.
                self._log.close()
            self._log = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _place(event: Mapping[str, Any]) -> tuple[int, int] | None:
    """Where in a run an event of the training loop stands, (attempt, step); None for other events."""
    if event.get("event") not in ("step", "eval", "sample"):
        return None
    attempt, step = event.get("attempt", 1), event.get("step")
    return (attempt, step) if isinstance(attempt, int) and isinstance(step, int) else None


def checkpoints_under(root: Path, name: str = BEST) -> list[Path]:
    """Every file called ``name`` at or below ``root``, sorted."""
    return sorted(Path(top) / name for top, _, files in os.walk(root) if name in files)


def latest(root: Path = DEFAULT_ROOT, name: str = BEST) -> Path:
    """The most recently written sound checkpoint called ``name`` below ``root``, by the time in its header."""
    newest: Checkpoint | None = None
    for path in checkpoints_under(root, name):
        with contextlib.suppress(CharrnnError):
            found = read_header(path)
            if newest is None or found.saved_at > newest.saved_at:
                newest = found
    if newest is None:
        hint = "train one by charrnn train FILE, or name one by -c PATH" if name == BEST else "name the run's directory"
        raise CharrnnError(f"{root}: no {'trained network' if name == BEST else 'run to go on with'} here yet; {hint}")
    return newest.path


def resolve(path: Path | None) -> Path:
    """The checkpoint file that ``path`` means: itself, a run directory's ``best``, or the latest where it is None."""
    if path is None:
        return latest()
    if path.is_dir():
        if not (path / BEST).exists():
            raise CharrnnError(f"{path}: the directory holds no {BEST}; name a run directory or a checkpoint file")
        return path / BEST
    return path


def labels(paths: Sequence[Path]) -> list[str]:
    """A short name for each checkpoint file: its run's if it is a ``best``, else its own; the whole path where names clash."""
    names = [(path.resolve().parent.name if path.name == BEST else path.stem) or str(path) for path in paths]
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]
