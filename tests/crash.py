"""A helper that runs the command line in processes that cost little to start and kill themselves at a chosen moment.

    python tests/crash.py POINT NTH train tale.txt --steps 50 ...

runs ``charrnn train ...`` and kills itself with SIGKILL when it comes to POINT for the NTH time: one of `SAVE_POINTS`, which
lie within a save, or of `OTHER_POINTS`. `Nursery` does the same again and again from Python: a parent process imports torch
once and forks a child for each run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAVE_POINTS = ("entered", "opened", "half", "written", "synced", "replaced", "saved")
"""No temporary file yet; it is empty; holds half; holds all; is synced; has taken its place; its directory is synced too."""
OTHER_POINTS = ("step", "evaluation")
"""Before a training step, and before an evaluation, whose step event stands in the log already."""


def die() -> int:
    """End this process as a crash does. It never returns; lambdas take it for a value."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


class _HalfWriter:
    """A file that dies half-way through its first write, or after it."""

    def __init__(self, file: Any, point: str) -> None:
        self.file, self.point = file, point

    def __enter__(self) -> _HalfWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: bytes) -> None:
        self.file.write(data[: len(data) // 2] if self.point == "half" else data)
        self.file.flush()
        die()


def arm(point: str, nth: int) -> None:
    """Let this process die when it comes to ``point`` for the ``nth`` time."""
    import functools

    import charrnn.files as files
    import charrnn.training.evaluation as evaluation
    import charrnn.training.trainer as trainer

    seen = 0

    def counted(there: str) -> bool:
        nonlocal seen
        seen += there == point
        return there == point and seen >= nth

    def before(call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if counted(name):
                die()
            return call(*arguments, **options)

        return wrapped

    if point == "step":
        hook = before(lambda step: None, "step")
        trainer.Trainer = functools.partial(trainer.Trainer, before_step=hook)  # type: ignore[misc, assignment]
    elif point == "evaluation":
        evaluation.validate = before(evaluation.validate, "evaluation")
    elif point in ("rename", "unlink", "rmdir"):
        setattr(Path, point, before(getattr(Path, point), point))
    else:
        assert point in SAVE_POINTS, point
        write_whole = files.write_whole
        mkstemp, fdopen, fsync, replace = tempfile.mkstemp, os.fdopen, os.fsync, os.replace

        def wrapped(path: Path, data: bytes) -> None:
            if not counted(point):
                write_whole(path, data)
                return
            if point == "entered":
                die()
            if point == "opened":
                tempfile.mkstemp = lambda *a, **k: (mkstemp(*a, **k), die())[0]  # type: ignore[assignment]
            if point in ("half", "written"):
                os.fdopen = lambda *a, **k: _HalfWriter(fdopen(*a, **k), point)  # type: ignore[assignment]
            if point == "synced":
                os.fsync = lambda handle: (fsync(handle), die())[0]  # type: ignore[assignment]
            if point == "replaced":
                os.replace = lambda *a: (replace(*a), die())[0]
            write_whole(path, data)
            die()

        files.write_whole = wrapped


@dataclass
class Run:
    """A child of the nursery: its process id, and the files that its streams go to."""

    nursery: Nursery
    pid: int
    out: Path
    err: Path

    def wait(self) -> int:
        """Its exit code, or minus the signal that killed it."""
        return int(self.nursery.ask({"wait": self.pid})["code"])

    def kill(self) -> None:
        """Kill it if it still runs (its parent has not collected it yet, so the id is still its own)."""
        os.kill(self.pid, signal.SIGKILL)

    @property
    def stdout(self) -> str:
        return self.out.read_text()

    @property
    def stderr(self) -> str:
        return self.err.read_text()


class Nursery:
    """A process that has imported everything and forks a child for each run of the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        folder.mkdir(exist_ok=True)
        self.popen = subprocess.Popen(
            [sys.executable, __file__, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.close()
        self.popen.wait(timeout=30)
        self.popen.stdout.close()

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.write(json.dumps(job) + "\n")
        self.popen.stdin.flush()
        answer: dict[str, Any] = json.loads(self.popen.stdout.readline())
        return answer

    def start(self, cwd: Path, *arguments: str, kill: tuple[str, int] | None = None, max_file: int | None = None) -> Run:
        """Begin a run in ``cwd``; ``max_file`` is the size at which writing any file fails."""
        self.count += 1
        out, err = (self.folder / f"{self.count}.{name}" for name in ("out", "err"))
        job = {"cwd": str(cwd), "arguments": arguments, "kill": kill, "max_file": max_file, "out": str(out), "err": str(err)}
        return Run(self, self.ask(job)["pid"], out, err)

    def run(self, cwd: Path, *arguments: str, **options: Any) -> tuple[int, Run]:
        """A whole run and its exit code."""
        run = self.start(cwd, *arguments, **options)
        return run.wait(), run


def warm() -> None:
    """Import what commands import, once for all that this process will fork."""
    import importlib
    import pkgutil

    import torch

    torch.set_num_threads(1)  # No pool of threads, which a fork would lose.
    import safetensors.numpy  # noqa: F401

    import charrnn

    for module in pkgutil.walk_packages(charrnn.__path__, "charrnn."):
        if module.name != "charrnn.__main__":
            importlib.import_module(module.name)


def serve() -> None:
    """Read jobs from stdin, one JSON object a line, and answer each with one."""
    warm()
    living: set[int] = set()
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            _, status = os.waitpid(job["wait"], 0)
            living.discard(job["wait"])
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if pid == 0:
                child(job)
            living.add(pid)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)
    for pid in living:  # none outlives its parent
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def child(job: dict[str, Any]) -> None:
    """What a forked process does: the streams to files, then the command line; never returns."""
    code = 99
    try:
        os.setsid()  # A group of its own, as a shell gives each command.
        os.chdir(job["cwd"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        sys.stdin = io.TextIOWrapper(open(0, "rb", closefd=False))  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if job["kill"]:
            arm(*job["kill"])
        if job["max_file"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["max_file"], job["max_file"]))
        from charrnn import cli

        code = cli.run(job["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


# -- kill, resume, kill, resume ---------------------------------------------------------------------------------------

TEXT = "The fox said to the crow: sing, and let the cheese fall.\n" * 30


def settings(steps: int) -> tuple[str, ...]:
    """A small run that saves after every step."""
    sizes = ("--hidden-size", "12", "--embedding-size", "6", "--batch-size", "4", "--bptt", "16", "--device", "cpu")
    return (*sizes, "--steps", str(steps), "--log-every", "1", "--save-every", "1e-9", "--eval-every", "7", "-q")


def sound_files(run: Path) -> dict[str, Any]:
    """The checkpoints of a run by kind, each read without a fault; those absent are left out."""
    from charrnn.network import checkpoint

    paths = {"best": run / "best.safetensors", "last": run / "last.safetensors"}
    return {kind: checkpoint.read(path) for kind, path in paths.items() if path.exists()}


def left_overs(run: Path) -> list[str]:
    """The names in a run directory that are no file of a run."""
    known = {"best.safetensors", "last.safetensors", "log.jsonl", ".owner.json"}
    return sorted(path.name for path in run.iterdir() if path.name not in known) if run.exists() else []


def logged(run: Path, name: str = "step") -> list[int]:
    """The steps of all events called ``name`` in the log, whose every line must be whole."""
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [event["step"] for event in events if event["event"] == name]


def same_tensors(one: Any, other: Any) -> bool:
    """Whether two checkpoints hold the same tensors, bit for bit."""
    pairs = [(one.weights, other.weights), (one.extra, other.extra)]
    return all(a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a) for a, b in pairs)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        arm(sys.argv[1], int(sys.argv[2]))
        from charrnn import cli

        sys.exit(cli.run(sys.argv[3:]))
