"""What several test files need."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from charrnn.output.console import LOGGED

if TYPE_CHECKING:
    import chromium
    from crash import Nursery

# Tiny networks gain nothing from threads, and spinning ones make tests crawl beside other processes. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell may have set changes neither colours nor which network is meant; processes that tests start write as users' do.
for variable in ("PYTHONUNBUFFERED", "NO_COLOR", "FORCE_COLOR", "CHARRNN_CHECKPOINT", "CHARRNN_DEVICE"):
    os.environ.pop(variable, None)
for variable in LOGGED:
    os.environ.pop(variable, None)
os.environ["TERM"] = "xterm"
os.environ["CHARRNN_CACHE"] = ""  # Tests that want a cache name a directory of their own.
ROOT = Path(__file__).parent.parent
FABLES = ROOT / "checkpoints" / "fables"
"""The network that comes along."""
COUNTER = "0:165"
"""Its unit that counts the position in the line; ``docs/make_shipped.py`` writes it anew."""
TALE = "The fox said to the crow: sing, and let the cheese fall.\n"
QUOTED_TALE = 'The fox said: "go" - and the crow\'s cheese fell into the grass.\n'
"""Lines that tests repeat to a text; the latter has signs whose typographic forms a prompt may have."""
TALE_TEXT = QUOTED_TALE * 12
"""The text of the run that tests share."""


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


@pytest.fixture(scope="session", autouse=True)
def in_the_foreground() -> Iterator[None]:
    """Signals as a shell leaves them to a command in the foreground; in the background some ignore SIGINT."""
    numbers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in numbers:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in numbers.items():
        signal.signal(number, handler)


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write a file and return its path."""

    def write(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)

    return write


class TookTooLongError(Exception):
    """No `OSError`, as `TimeoutError` is one: the program would make a line of it."""


@pytest.fixture
def alarm() -> Iterator[Callable[[int], None]]:
    """End what takes more than so many seconds."""

    def ring(*_: object) -> None:
        raise TookTooLongError

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds: signal.alarm(seconds) and None
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Processes that may die, from a parent that has imported torch once for all tests."""
    from crash import Nursery

    with Nursery(tmp_path_factory.mktemp("streams")) as made:
        yield made


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for the path of a shell's, whose ``charrnn`` costs a fork; see `forked`."""
    import forked

    place = tmp_path_factory.mktemp("forks")
    with forked.serving() as sock:
        forked.install(place / "bin", sock)
        yield place / "bin"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten steps that evaluated twice, its ``tale.txt`` beside it; tests read it, and change `run`, a copy."""
    from charrnn import cli

    folder = tmp_path_factory.mktemp("trained")
    (folder / "tale.txt").write_text(TALE_TEXT)
    words = ("--hidden-size", "16", "--steps", "10", "--workers", "1", "--log-every", "1", "-q")
    assert cli.run(["train", str(folder / "tale.txt"), *words, "--out", str(folder / "tale")]) == 0
    return folder / "tale"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run as it stands after ``charrnn train tale.txt`` in the current directory."""
    shutil.copy(trained.parent / "tale.txt", tmp_path)
    return shutil.copytree(trained, tmp_path / "checkpoints" / "tale")


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A sound checkpoint with an extra tensor."""
    import numpy as np
    from small_checkpoints import small

    from charrnn.network import checkpoint

    made = small()
    path = tmp_path / "x.safetensors"
    checkpoint.write(path, replace(made, extra={"state": np.ones(3)}))
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Chromium]:
    """A Chromium for the tests that are `chromium.needed`."""
    import chromium

    executable = chromium.found()
    assert executable, "CHARRNN_NEEDS_CHROMIUM is set, and there is no Chromium on the path"
    with chromium.running(executable) as running:
        yield running


@pytest.fixture
def clean(browser: chromium.Chromium) -> Iterator[chromium.Chromium]:
    """The browser; a complaint of the page's, or a request to anywhere else, fails the test."""
    browser.complaints.clear()
    browser.requests.clear()
    yield browser
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []


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
    """Run the command line in this process and in an empty directory, on terminals or not, stdout maybe ``piped``."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, terminal: bool = False, piped: bool = False, stdin: bytes = b"") -> Result:
        from charrnn import cli

        out, err = Stream(terminal=terminal and not piped), Stream(terminal=terminal)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            code = cli.run([str(argument) for argument in arguments])
        return Result(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def sample(invoke: Callable[..., Result]) -> Callable[..., Result]:
    """Run ``charrnn sample`` with the network that comes along, or the one that is named, and seed 1."""

    def run(*arguments: str | Path, **others: Any) -> Result:
        return invoke("sample", *(() if "-c" in arguments else ("-c", FABLES)), "--seed", "1", *arguments, **others)

    return run


@pytest.fixture
def charrnn(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run the command line as a process of its own, in an empty directory."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "charrnn", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False, **options)  # type: ignore[call-overload]

    return run
