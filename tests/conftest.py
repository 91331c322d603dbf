"""What several test files need."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from charrnn.output.console import LOGGED

# Tiny networks gain nothing from threads, and spinning ones make tests crawl beside other processes. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell may have set changes neither colours nor which network is meant; processes that tests start write as users' do.
for variable in ("PYTHONUNBUFFERED", "NO_COLOR", "FORCE_COLOR", "CHARRNN_CHECKPOINT", "CHARRNN_DEVICE"):
    os.environ.pop(variable, None)
for variable in LOGGED:
    os.environ.pop(variable, None)
ROOT = Path(__file__).parent.parent
FABLES = ROOT / "checkpoints" / "fables"
"""The network that comes along."""
TALE = "The fox said to the crow: sing, and let the cheese fall.\n"
QUOTED_TALE = 'The fox said: "go" - and the crow\'s cheese fell into the grass.\n'
"""Lines that tests repeat to a text; the latter has signs whose typographic forms a prompt may have."""


Put = Callable[[str, bytes], str]


class Stream(io.StringIO):
    """A text stream that says whether it is a terminal."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@dataclass
class Result:
    """What one run of the command line left."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write a file and return its path."""

    def write(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)

    return write


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For networks as small as those of tests a second thread costs more than it does."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A text, and the tiny network where it is found without ``-c``."""
    from small_networks import TEXT, network

    network(tmp_path / "checkpoints/novel")
    (tmp_path / "novel.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command line in this process and in an empty directory, with streams that are terminals or not."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, terminal: bool = False, stdin: bytes = b"") -> Result:
        from charrnn import cli

        out, err = Stream(terminal=terminal), Stream(terminal=terminal)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            code = cli.run([str(argument) for argument in arguments])
        return Result(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def sample(invoke: Callable[..., Result]) -> Callable[..., Result]:
    """Run ``charrnn sample`` with the network that comes along and seed 1."""
    return lambda *arguments, **others: invoke("sample", "-c", FABLES, "--seed", "1", *arguments, **others)


@pytest.fixture
def charrnn(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run the command line as a process of its own, in an empty directory."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "charrnn", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False, **options)  # type: ignore[call-overload]

    return run
