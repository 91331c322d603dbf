"""Being stopped from outside: every run saves first, says how to go on, and exits with its own code."""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import FABLES, TALE, Stream

from charrnn import cli
from charrnn.network import checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")

TEXT = TALE * 12
REASONS = {"finished", "interrupted", "terminated", "diverged", "failed"}
ENDLESS = ("train", "tale.txt", "--hidden-size", "16", "--steps", "100000000", "--json")


class Process:
    """The program in a process of its own, in an empty directory that holds ``tale.txt``."""

    def __init__(self, folder: Path, *arguments: str, prefix: tuple[str, ...] = ()) -> None:
        (folder / "tale.txt").write_text(TEXT)
        command = [*prefix, sys.executable, "-m", "charrnn", *arguments]
        self.popen = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def until(self, name: str) -> dict[str, Any]:
        """The next event called ``name``: from then on the program is known to have come that far."""
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == name:
                return event
        raise AssertionError(f"no {name} event; stderr: {self.finish()[2]}")

    def finish(self) -> tuple[int, list[dict[str, Any]], str]:
        """Exit code, the events still unread, and stderr."""
        out, err = self.popen.communicate(timeout=60)
        return self.popen.returncode, [json.loads(line) for line in out.splitlines()], err.decode()

    def after_closed_stdout(self) -> tuple[int, str]:
        """Close our end of its stdout; exit code and stderr."""
        assert self.popen.stdout is not None
        assert self.popen.stderr is not None
        self.popen.stdout.close()
        said = self.popen.stderr.read().decode()
        return self.popen.wait(timeout=60), said


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start a `Process`; none outlives the test."""
    started: list[Process] = []

    def begin(*arguments: str, prefix: tuple[str, ...] = ()) -> Process:
        started.append(Process(tmp_path, *arguments, prefix=prefix))
        return started[-1]

    yield begin
    for process in started:
        with process.popen:  # Pipes that stay open are told in whichever test comes next.
            process.popen.kill()
        for stream in (process.popen.stdout, process.popen.stderr):
            assert stream is not None
            stream.close()


def assert_saved(folder: Path, step: int) -> None:
    run = folder / "checkpoints/tale"
    assert sorted(path.name for path in run.iterdir()) == ["best.safetensors", "last.safetensors", "log.jsonl"]
    assert checkpoint.read(run / "last.safetensors").training["step"] == step
    checkpoint.read(run / "best.safetensors")


def test_ctrl_c_saves_and_names_the_command_that_goes_on(start: Any, tmp_path: Path) -> None:
    process = start(*ENDLESS)
    process.until("step")
    process.popen.send_signal(signal.SIGINT)
    code, events, said = process.finish()
    assert code == 130
    assert (events[-1]["event"], events[-1]["reason"]) == ("end", "interrupted")
    assert_saved(tmp_path, events[-1]["step"])
    assert "Traceback" not in said
    named = re.search(r"charrnn (train --resume .+)$", said.rstrip())
    assert named, said

    again = start(*shlex.split(named[1]), "--json")
    assert again.until("step")["step"] == events[-1]["step"] + 1
    again.popen.send_signal(signal.SIGINT)
    code, later, _ = again.finish()
    assert code == 130
    assert later[-1]["step"] > events[-1]["step"]
    assert_saved(tmp_path, later[-1]["step"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_run_that_is_told_to_go_saves_first(start: Any, tmp_path: Path, number: int, code: int) -> None:
    process = start(*ENDLESS)
    process.until("step")
    process.popen.send_signal(number)
    returned, events, said = process.finish()
    assert returned == code
    assert events[-1]["event"] == "end"
    assert_saved(tmp_path, events[-1]["step"])
    assert "charrnn train --resume checkpoints/tale" in said
    assert "Traceback" not in said


def test_a_hangup_is_ignored_where_the_program_was_started_to_ignore_it(start: Any) -> None:
    process = start(*ENDLESS, prefix=("sh", "-c", 'trap "" HUP; exec "$@"', "sh"))
    process.until("step")
    process.popen.send_signal(signal.SIGHUP)
    process.until("step")  # About a second later it is still training.
    process.popen.send_signal(signal.SIGTERM)
    code, events, _ = process.finish()
    assert (code, events[-1]["reason"]) == (143, "terminated")


def test_a_sample_whose_reader_went_away_ends_silently(start: Any, tmp_path: Path, run: Path) -> None:
    process = start("sample", "-c", str(run), "-n", "10000000", "--seed", "1")
    assert len(process.popen.stdout.read(10)) == 10
    assert process.after_closed_stdout() == (141, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("sample", "-n", "-1", "--seed", "1"),
        ("sample", "-N", "1000000", "--seed", "1"),
        ("score", "--per-char", "long.txt", "-q"),
        ("score", "--lines", "long.txt", "-q"),
    ],
)
def test_ctrl_c_ends_what_is_being_written_without_a_word(
    start: Any, tmp_path: Path, run: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "long.txt").write_text(TEXT * 2000)
    process = start(*arguments, "-c", str(run))
    assert len(process.popen.stdout.read(10)) == 10
    process.popen.send_signal(signal.SIGINT)
    _, said = process.popen.communicate(timeout=60)
    assert (process.popen.returncode, said) == (130, b"")


def test_ctrl_c_keeps_the_state_of_an_endless_text(start: Any, tmp_path: Path, run: Path) -> None:
    """What comes out of the saved state goes on as the text itself would have."""
    process = start("sample", "-n", "-1", "--seed", "1", "-c", str(run), "--no-echo", "--raw", "--save-state", "kept")
    assert os.read(process.popen.stdout.fileno(), 10)  # Nothing may stay in a buffer on our side.
    process.popen.send_signal(signal.SIGINT)
    out, said = process.popen.communicate(timeout=60)
    assert (process.popen.returncode, said) == (130, b"")
    drawn = 10 + len(out.decode())  # The newline at its end may be the text's own.
    rest = start("sample", "-n", "40", "-c", str(run), "--no-echo", "--load-state", "kept").popen.communicate(timeout=60)[0]
    whole = start("sample", "-n", str(drawn + 40), "--seed", "1", "-c", str(run), "--no-echo").popen.communicate(timeout=60)[0]
    assert rest.decode()[:39] in whole.decode()[-43:]


def test_training_whose_reader_went_away_ends_without_a_traceback(start: Any) -> None:
    process = start(*ENDLESS, "--log-every", "1", "-q")
    process.until("start")
    assert process.after_closed_stdout() == (141, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",),
        ("info",),
        ("info", "--json"),
        ("sample", "-n", "3", "--seed", "1", "-c"),
        ("score", "tale.txt", "-c"),
        ("score", "--lines", "tale.txt", "-c"),
        ("next", "The", "-c"),
        ("inspect", "--json", "--file", "tale.txt", "-q", "-c"),
    ],
)
def test_a_product_whose_reader_left_before_it_was_written_ends_silently(
    start: Any, run: Path, arguments: tuple[str, ...]
) -> None:
    process = start(*arguments, *([str(run)] if "--version" not in arguments else []))
    assert process.after_closed_stdout() == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [("--help",), ("score", "-h"), ("info", FABLES), (), ("next", "The", "-c", FABLES, "-q")])
def test_a_full_disk_behind_stdout_is_told_of_stdout(words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "charrnn", *map(str, words)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr.decode()) == (1, "charrnn: stdout: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [("sample", "--seed", "1", "-c"), ("info",), ("info", "--json")])
def test_a_full_disk_behind_stdout_is_one_line(arguments: tuple[str, ...], run: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "charrnn", *arguments, str(run)], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert re.fullmatch(r"charrnn: [^\n]+\n", done.stderr.decode())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_training_saves_where_its_events_no_longer_fit_on_the_disk(start: Any, tmp_path: Path) -> None:
    process = start(*ENDLESS, prefix=("sh", "-c", 'exec "$@" > /dev/full', "sh"))
    code, _, said = process.finish()
    assert code == 1
    assert "Traceback" not in said
    assert re.search(r"charrnn: stdout: [^\n]+; stopped and saved; go on by: charrnn train --resume \S+\n\Z", said)
    checkpoint.read(tmp_path / "checkpoints/tale/last.safetensors")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("arguments", "code"), [(("sample", "-n", "3", "-c"), 0), (("sample", "-n", "x", "-c"), 2), (("next", "a", "b", "-c"), 2)]
)
def test_a_full_disk_behind_stderr_changes_no_exit_code(arguments: tuple[str, ...], code: int, run: Path) -> None:
    command = [sys.executable, "-m", "charrnn", *arguments, str(run)]
    assert subprocess.run(command, capture_output=True, check=False).stderr, "there is something to say"
    with open("/dev/full", "wb") as full:
        assert subprocess.run(command, stdout=subprocess.DEVNULL, stderr=full, check=False).returncode == code


def test_training_on_a_terminal_that_hangs_up_saves(tmp_path: Path) -> None:
    (tmp_path / "tale.txt").write_text(TEXT)
    ours, theirs = os.openpty()
    on_it = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", on_it, sys.executable, "-m", "charrnn", *ENDLESS[:-1]]
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "TERM": "xterm"}, start_new_session=True, **streams)
    os.close(theirs)
    try:
        seen = b""
        while b"validation" not in seen:  # The live display is up.
            assert select.select([ours], [], [], 60)[0], seen
            seen += os.read(ours, 1 << 16)
        os.close(ours)
        assert process.wait(timeout=60) == 129
    finally:
        process.kill()
        process.wait()
    log = [json.loads(line) for line in (tmp_path / "checkpoints/tale/log.jsonl").read_text().splitlines()]
    assert (log[-1]["event"], log[-1]["reason"]) == ("end", "terminated")
    assert_saved(tmp_path, log[-1]["step"])


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_a_stream_that_is_closed_from_the_start_is_no_traceback(closed: str, run: Path, tmp_path: Path) -> None:
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "charrnn", "sample", "-c", str(run), "-n", "9"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert b"Traceback" not in done.stderr
    assert done.returncode == (141 if closed == ">&-" else 0)
    if closed != ">&-":
        assert b"charrnn: seed" not in done.stdout
        assert done.stdout


# -- in this process, where a signal can be sent at a known event ---------------------------------------------------


class Trigger(Stream):
    """A stdout that sends this process signals when the first step event is written to it."""

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self.numbers = list(numbers)

    def write(self, text: str) -> int:
        while '"event": "step"' in text and self.numbers:
            signal.raise_signal(self.numbers.pop(0))
        return super().write(text)


def train_until(signals: Sequence[int], corpus: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[dict[str, Any]], str]:
    """Train in the directory of ``corpus``; exit code, events, stderr."""
    out, err = Trigger(*signals), Stream()
    with monkeypatch.context() as patch:
        patch.chdir(corpus.parent)
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        code = cli.run(["train", corpus.name, "--hidden-size", "16", "--steps", "100000000", "--json"])
    return code, [json.loads(line) for line in out.getvalue().splitlines()], err.getvalue()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "my old tale.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run, stopped by a signal at its first step event."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "tale.txt").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        train_until([signal.SIGINT], folder / "tale.txt", patch)
    return folder / "checkpoints/tale"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_end_event_gives_a_reason_of_the_contract(number: int, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, events, _ = train_until([number], corpus, monkeypatch)
    assert events[-1]["reason"] in REASONS - {"finished"}


def test_a_signal_ends_the_run_after_the_step_it_came_in(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, events, _ = train_until([signal.SIGINT], corpus, monkeypatch)
    assert (code, events[-1]["step"]) == (130, 1)


def test_the_named_command_can_be_pasted_into_a_shell(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, said = train_until([signal.SIGINT], corpus, monkeypatch)
    words = shlex.split(said.rstrip().splitlines()[-1].partition("charrnn train ")[2])
    assert words == ["--resume", "checkpoints/my old tale"]


def test_the_handlers_of_others_are_back_after_a_run(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    train_until([signal.SIGTERM], corpus, monkeypatch)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_second_ctrl_c_ends_at_once_without_a_traceback(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, events, said = train_until([signal.SIGINT, signal.SIGINT], corpus, monkeypatch)
    assert (code, said.count("Traceback")) == (130, 0)
    assert events[-1]["event"] != "end"
