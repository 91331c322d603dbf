"""Commands run without what Windows' Python lacks. Simulated: this is Linux or macOS without it, no Windows.

A process of its own hides the modules and names first, and puts a stand-in for ``msvcrt`` in their place.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, TALE
from small_networks import classifier, network

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there the other tests show it")

HIDE = """
import os, signal, sys, types
import subprocess, socket, selectors, multiprocessing.util, shutil, tempfile, uuid  # What these import, Windows has otherwise.
import numpy, rich.console, safetensors.numpy, threadpoolctl, typer
import ctypes.util
ctypes.util.os = types.SimpleNamespace(**vars(os))  # How it finds libraries on Linux; old threadpoolctl asks it.
if "torch" in sys.argv:
    import torch

flock = __import__("fcntl").flock

def locking(handle, mode, count):
    flock(handle, 2 | 4)

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "termios", "tty", "pty", "resource", "pwd", "grp", "readline"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in ("fcntl", "termios", "tty", "pty", "resource", "pwd", "grp", "readline"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
for name in (
    "O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK chown fchmod fchown fork forkpty getegid geteuid getgid getloadavg getpgid"
    " getpgrp getuid killpg mkfifo mknod nice sched_getaffinity sched_setaffinity sched_setscheduler set_blocking setsid"
    " sync sysconf tcgetpgrp uname wait3 waitid WNOHANG"
).split():
    if hasattr(os, name):
        delattr(os, name)
for name in "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGWINCH alarm".split():
    if hasattr(signal, name):
        delattr(signal, name)
for name in ("pthread_sigmask", "pthread_kill", "setitimer", "siginterrupt", "sigwait"):
    delattr(signal, name)
open_file = os.open

def no_directory(path, flags, *rest, **named):
    if isinstance(path, (str, os.PathLike)) and os.path.isdir(path):
        raise PermissionError(13, "Permission denied")
    return open_file(path, flags, *rest, **named)

os.open = no_directory
from charrnn import cli
"""

RUN = """
for line in LINES:
    code = cli.run(line.split())
    sys.stdout.flush()
    print("exit code", int(code), file=sys.stderr)
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def windows(tmp_path: Path) -> Run:
    """Run Python code in such a process, in a directory with a text, a network and a classifier."""
    (tmp_path / "novel.txt").write_text(TALE * 40, encoding="utf-8")
    network(tmp_path / "checkpoints/novel", known="".join(sorted(set(TALE))))
    classifier(tmp_path / "checkpoints/intents")
    (tmp_path / "temporary").mkdir()

    def run(code: str, *libraries: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", HIDE + code, *libraries],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "temporary")},
            input=TALE,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    return run


def codes(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The exit code of each command, in one process."""
    assert "Traceback" not in done.stderr, done.stderr
    return [line.removeprefix("exit code ") for line in done.stderr.splitlines() if line.startswith("exit code ")]


def test_training_stops_goes_on_and_is_replaced(windows: Run, tmp_path: Path) -> None:
    settings = "--hidden-size 4 --embedding-size 4 --batch-size 2 --workers 2 --steps 2 --device cpu"
    lines = [
        f"train novel.txt --out run {settings}",
        "train --resume run --steps 3",
        f"train novel.txt --out run --overwrite {settings}",
        "train novel.txt --members 2 --out several --steps 2",
    ]
    done = windows(f"LINES = {lines!r}{RUN}", "torch")
    assert codes(done) == ["0", "0", "0", "2"], done.stderr
    assert done.stdout == "run/best.safetensors\n" * 3
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["best.safetensors", "last.safetensors", "log.jsonl"]
    refusal = "--members forks a process for each network, which this system can't; train them one by one"
    assert refusal in done.stderr


def test_what_reads_networks_works(windows: Run, tmp_path: Path) -> None:
    lines = [
        "sample -n 9 --seed 1",
        "sample -n 9 -N 40 --seed 1",
        "sample -n 9 --save-state state",
        "score -",
        "score novel.txt --per-char",
        "next The",
        "info",
        "inspect The --json",
        "inspect The --html page.html",
        "encode novel.txt --npz vectors.npz",
        "classify predict Hello",
        "train missing.txt",
    ]
    done = windows(f"LINES = {lines!r}{RUN}")
    assert codes(done) == ["0"] * 11 + ["1"], done.stderr
    assert {"state", "page.html", "vectors.npz"} <= {path.name for path in tmp_path.iterdir()}


def test_a_second_process_is_refused_by_the_lock_of_msvcrt(windows: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    done = windows("""
from pathlib import Path
from charrnn import CharrnnError
from charrnn.network.lock import DirectoryLock
held = DirectoryLock(Path("run"))
for path in ("run", "./run", str(Path("run").resolve())):
    try:
        DirectoryLock(Path(path))
    except CharrnnError as error:
        assert f"another process (process {os.getpid()} on" in str(error), error
    else:
        raise AssertionError(path)
os.rename("run", "moved")
held.follow(Path("moved"))
os.mkdir("run")
DirectoryLock(Path("run")).release()
assert held.holds(Path("moved")) and os.listdir("moved") == [".owner.json"]
held.release()
assert os.listdir("moved") == os.listdir("run") == []
""")
    assert (done.returncode, done.stderr) == (0, "")


def test_stdin_that_has_nothing_yet_is_waited_for(windows: Run) -> None:
    done = windows("""
import io, select
from charrnn.text import sources

class Slow(io.RawIOBase):
    answers = [None, None, b"text"]
    def read(self, size=-1):
        return self.answers.pop(0)

def only_sockets(*_):
    raise OSError(10038, "An operation was attempted on something that is not a socket")

select.select = only_sockets
sys.stdin = types.SimpleNamespace(buffer=types.SimpleNamespace(raw=Slow()))
assert sources.stdin_block() == b"text"
""")
    assert (done.returncode, done.stderr) == (0, "")
