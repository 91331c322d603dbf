"""conversation: a text goes on from what is typed, and Ctrl-C stops the text, not the program."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import FABLES

Invoke = Callable[..., Any]


def test_a_conversation_goes_on_from_all_that_went_before(sample: Invoke) -> None:
    talk = sample("-i", "-n", "50", "-q", stdin=b"The fox\n\n")
    whole = sample("-p", "The fox", "-n", "100", "--no-echo").stdout
    first, second = whole[:50], whole[50:]
    assert talk.stdout == "".join(part if part.endswith("\n") else part + "\n" for part in (first, second))


def test_its_commands(sample: Invoke, tmp_path: Path) -> None:
    talk = sample("-i", "-n", "30", stdin=b"/temp 0\nThe\n/save s\n/reset\nThe\n/nonsense\n/temp x\n//\n/quit\nnever read\n")
    assert talk.code == 0
    greedy = sample("-p", "The", "--temp", "0", "-n", "30", "--no-echo").stdout
    assert talk.stdout.startswith(greedy * 2)
    assert (tmp_path / "s").exists()
    assert "/nonsense: there are" in talk.stderr
    assert "/temp must be a number of at least 0" in talk.stderr


@pytest.mark.parametrize("options", [["-N", "2"], ["--json"], ["--save-state", "s"], ["--out-dir", "d"]])
def test_what_a_conversation_goes_without(sample: Invoke, options: list[str]) -> None:
    result = sample("-i", *options)
    assert (result.code, result.stdout) == (2, "")


def test_on_a_terminal_ctrl_c_stops_the_current_text_only() -> None:
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "charrnn", "sample", "-i", "-n", "-1", "--seed", "1", "-c", str(FABLES)]
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, start_new_session=True, preexec_fn=_own_terminal
    ) as child:
        os.close(follower)
        seen = _until(leader, b"> ", b"")
        os.write(leader, b"The fox\n")
        seen = _until(leader, b"", seen, longer=len(seen) + 200)
        os.write(leader, b"\x03")
        seen = _until(leader, b"\n> ", b"")
        os.write(leader, b"/temp 0\n")
        seen = _until(leader, b"> ", b"")
        os.write(leader, b"\x04")
        assert child.wait(30) == 0
        os.close(leader)
    assert b"Traceback" not in seen


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _until(leader: int, wanted: bytes, seen: bytes, longer: int = 0) -> bytes:
    deadline = time.monotonic() + 60
    while wanted not in seen.replace(b"\r\n", b"\n") or len(seen) < longer:
        assert time.monotonic() < deadline, seen
        if select.select([leader], [], [], 1)[0]:
            seen += os.read(leader, 4096)
    return seen
