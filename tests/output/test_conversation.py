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


@pytest.mark.parametrize("name", ["a\0b", "n" * 300, "none/s", "."])
def test_a_place_that_cannot_be_saved_to_ends_no_conversation(sample: Invoke, name: str) -> None:
    talk = sample("-i", "-n", "9", "-q", stdin=f"The\n/save {name}\nThe\n".encode())
    assert talk.code == 0
    assert len(talk.stdout.replace("\n", "")) > 9
    assert len(talk.stderr.splitlines()) == 1


def test_a_name_as_long_as_names_may_be_is_saved_to(sample: Invoke, tmp_path: Path) -> None:
    talk = sample("-i", "-n", "9", stdin=f"The\n/save {'n' * 255}\n".encode())
    assert (tmp_path / ("n" * 255)).exists(), talk.stderr


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_what_is_typed_is_decoded_as_every_text_is(sample: Invoke, encoding: str) -> None:
    typed = "The\nfox\n"
    talk = sample("-i", "-n", "9", stdin=typed.replace("\n", "\r\n").encode(encoding))
    assert talk.stdout == sample("-i", "-n", "9", stdin=typed.encode()).stdout
    assert "doesn't know" not in talk.stderr


def test_lines_before_one_that_is_no_text_are_answered(sample: Invoke) -> None:
    talk = sample("-i", "-n", "9", "-q", stdin=b"The\n\xff\n")
    assert talk.code == 1
    assert talk.stdout == sample("-i", "-n", "9", "-q", stdin=b"The\n").stdout
    assert "stdin: byte 4 (line 2) is not valid UTF-8 text" in talk.stderr


def test_on_a_terminal_a_line_that_is_no_text_ends_no_conversation() -> None:
    leader, child = _on_a_terminal("-n", "9")
    with child:
        _until(leader, b"> ", b"")
        os.write(leader, b"\xff\n")
        _until(leader, b"stdin: byte 0 is not valid UTF-8 text\n> ", b"")
        os.write(leader, b"\x04")
        assert child.wait(30) == 0
        os.close(leader)


def test_on_a_terminal_ctrl_c_stops_the_current_text_only() -> None:
    leader, child = _on_a_terminal("-n", "-1")
    with child:
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


def _on_a_terminal(*options: str) -> tuple[int, subprocess.Popen[bytes]]:
    """The leader of a new terminal, and a conversation on it."""
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "charrnn", "sample", "-i", "--seed", "1", "-c", str(FABLES), *options]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), follower)
    child = subprocess.Popen(command, **streams, start_new_session=True, preexec_fn=_own_terminal)
    os.close(follower)
    return leader, child


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
