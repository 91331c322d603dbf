"""A picture that is drawn in place stays one picture, however the terminal changes its size."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Stream
from rich.console import Console
from rich.text import Text

from charrnn.output.frame import Frame

Invoke = Callable[..., Any]
TINY = ("--hidden-size", "16", "--steps", "10", "--eval-every", "5", "--log-every", "1", "--workers", "1")


class Terminal:
    """As much of a terminal as a frame needs: rows that wrap, and that are wrapped anew when the width changes."""

    def __init__(self, width: int) -> None:
        self.width, self.row, self.column = width, 0, 0
        self.rows = [("", False)]
        """Each row's text, and whether the next one goes on with it."""
        self._rest = self.latest = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, text: str) -> None:
        self.latest = (self.latest + text)[-8:]
        text = self._rest + text.replace("\r\n", "\n")
        self._rest = re.search(r"(\x1b(\[[0-9;?]*)?)?$", text)[0]  # type: ignore[index] # an escape that isn't complete
        for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]", text.removesuffix(self._rest)):
            before = self.rows[self.row][0][: self.column]
            if token == "\x1b[A":
                self.row = max(0, self.row - 1)
            elif token == "\x1b[K":
                self.rows[self.row] = before, False
            elif token == "\x1b[J":
                self.rows[self.row :] = [(before, False)]
            elif token == "\r":
                self.column = 0
            elif token == "\n":
                self._to(self.row + 1)
            elif len(token) == 1:
                if self.column == self.width:
                    self.rows[self.row] = before, True
                    self._to(self.row + 1)
                row, wrapped = self.rows[self.row]
                self.rows[self.row] = row[: self.column].ljust(self.column) + token + row[self.column + 1 :], wrapped
                self.column += 1

    def _to(self, row: int) -> None:
        self.row, self.column = row, 0
        self.rows += [("", False)] * (row + 1 - len(self.rows))

    def resize(self, width: int) -> None:
        rows, cursor, start = list[tuple[str, bool]](), (0, 0), 0
        while start < len(self.rows):
            end = next(number for number in range(start, len(self.rows)) if not self.rows[number][1]) + 1
            line = "".join(text for text, _ in self.rows[start:end])
            if start <= self.row < end:
                place = (self.row - start) * self.width + self.column
                cursor = len(rows) + place // width, place % width
            parts = [line[at : at + width] for at in range(0, len(line), width)] or [""]
            rows += [(part, True) for part in parts[:-1]] + [(parts[-1], False)]
            start = end
        self.rows, self.width, (self.row, self.column) = rows, width, cursor

    @property
    def text(self) -> str:
        return "\n".join(text.rstrip() for text, _ in self.rows)


def drawn(width: int, _: int = 0) -> Text:
    """A picture as wide as the terminal, less two columns."""
    return Text("\n".join(letter * max(1, width - 2) for letter in "abc"))


@pytest.mark.parametrize("widths", [[40, 20], [40, 13, 40], [20, 40, 5], [40, 39, 38, 3, 100], [30, 30]])
def test_a_change_of_the_width_leaves_one_picture(widths: list[int]) -> None:
    stream, terminal = Stream(terminal=True), Terminal(widths[0])
    console = Console(file=stream, force_terminal=True, width=widths[0], height=50, color_system=None)
    frame = Frame(console, drawn)
    stream.write("before\n")
    for number, width in enumerate(widths):
        terminal.feed(stream.getvalue())
        stream.truncate(stream.seek(0))
        terminal.resize(width)
        console.width = width
        frame.draw(above="over it" if number == 0 else "")
    terminal.feed(stream.getvalue())
    assert re.sub(r"\s", "", terminal.text).startswith("beforeoverit")
    assert terminal.text.endswith("\n".join(["", *drawn(widths[-1]).plain.split("\n")]))
    assert terminal.text.count("a") == max(1, widths[-1] - 2)


def test_a_lower_terminal_shows_the_picture_s_beginning() -> None:
    stream = Stream(terminal=True)
    Frame(Console(file=stream, force_terminal=True, width=20, height=2, color_system=None), drawn).draw()
    assert stream.getvalue().count("\n") == 1
    assert "c" not in stream.getvalue()


def test_a_terminal_that_changes_while_the_picture_is_made_gets_one_for_its_new_size() -> None:
    stream, terminal = Stream(terminal=True), Terminal(40)
    console = Console(file=stream, force_terminal=True, width=40, height=50, color_system=None)
    asked: list[int] = []

    def slow(width: int, _: int) -> Text:
        asked.append(width)
        if len(asked) == 2:
            terminal.feed(stream.getvalue())
            stream.truncate(stream.seek(0))
            terminal.resize(15)
            console.width = 15
        return drawn(width)

    frame = Frame(console, slow)
    frame.draw()
    frame.draw(above="over it")
    terminal.feed(stream.getvalue())
    assert asked == [40, 40, 15]
    assert terminal.text == "\n".join(["over it", *drawn(15).plain.split("\n")])


@pytest.mark.skipif(not hasattr(signal, "SIGWINCH"), reason="terminals don't tell their size here")
def test_a_change_while_the_picture_is_written_is_followed_behind_it() -> None:
    class Slow(Stream):
        def write(self, text: str) -> int:
            if "c" in text and console.width == 30:
                console.width = 10
                signal.raise_signal(signal.SIGWINCH)
            return super().write(text)

    console = Console(file=Slow(terminal=True), force_terminal=True, width=30, height=20, color_system=None)
    frame = Frame(console, drawn)
    frame.start()
    frame.draw(above="over it")
    frame.stop()
    first, second = console.file.getvalue().split("\x1b[J\r")[:2]  # type: ignore[attr-defined]
    assert (first.count("c"), second.count("c")) == (28, 8)
    assert (first.count("over it"), second.count("over it")) == (1, 0)


@pytest.mark.skipif(not hasattr(signal, "SIGWINCH"), reason="terminals don't tell their size here")
def test_the_picture_follows_the_terminal_at_once() -> None:
    console = Console(file=Stream(terminal=True), force_terminal=True, width=30, height=20, color_system=None)
    frame = Frame(console, drawn)
    before = signal.getsignal(signal.SIGWINCH)
    frame.start()
    frame.draw()
    console.width = 10
    signal.raise_signal(signal.SIGWINCH)
    assert console.file.getvalue().rstrip("\r").endswith("c" * 8 + "\x1b[J")  # type: ignore[attr-defined]
    frame.stop()
    assert signal.getsignal(signal.SIGWINCH) == before


# -- the whole program ----------------------------------------------------------------------------------------------


@pytest.fixture
def tale(tmp_path: Path) -> Path:
    path = tmp_path / "tale.txt"
    path.write_text("The fox said go, and the crow let fall the cheese.\n" * 40)
    return path


@pytest.mark.parametrize(
    "variables", [{"JPY_PARENT_PID": "12"}, {"COLAB_RELEASE_TAG": "r"}, {"CI": "true"}, {"GITHUB_ACTIONS": "true"}, {}]
)
def test_where_nothing_can_be_drawn_over_or_lines_are_asked_for_there_are_lines(
    invoke: Invoke, tale: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = invoke("train", tale, *TINY, *[] if variables else ["--plain"], terminal=True)
    assert done.code == 0
    assert "\x1b" not in done.stderr
    assert re.search(r"validation \d", done.stderr)


def test_a_variable_that_says_no_is_no_ci(invoke: Invoke, tale: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "false")
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[?25l" in invoke("train", tale, *TINY, terminal=True).stderr


def test_a_terminal_that_becomes_narrower_shows_one_picture_with_the_losses(tale: Path) -> None:
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    _size(leader, 100)
    command = [sys.executable, "-m", "charrnn", "train", str(tale), "--hidden-size", "8", "--batch-size", "4", "--bptt", "16"]
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    # A picture comes seldom, so that none is on its way when the terminal changes.
    command += ["--steps", "1000000", "--log-every", "1000", "--eval-every", "1000", "--workers", "1"]
    with subprocess.Popen(
        command, cwd=tale.parent, env=environment, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    ) as child:
        os.close(follower)
        try:
            terminal = Terminal(100)
            _watch(leader, terminal, "mean |h|")
            for width in (60, 30, 80, 60):
                # What a program writes while its terminal changes nobody can mend.
                while not _stops_between_pictures(child, leader, terminal):
                    child.send_signal(signal.SIGCONT)
                    _watch(leader, terminal, "train")
                terminal.resize(width)
                _size(leader, width)
                child.send_signal(signal.SIGWINCH)
                child.send_signal(signal.SIGCONT)
                _watch(leader, terminal, "╭" + "─" * (width - 4) + "╮")
                _watch(leader, terminal, "╰" + "─" * (width - 4) + "╯")  # Its last line: all of it has arrived.
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):
                while part := os.read(leader, 65536):
                    terminal.feed(terminal.decoder.decode(part))
            assert child.wait(30) == 130
        finally:
            child.kill()
            os.close(leader)
    assert terminal.text.count("╭") == terminal.text.count("╰") == 1
    assert re.search(r"│ train +\d\.\d{3} bits/char", terminal.text)
    assert re.search(r"│ validation +\d\.\d{3} bits/char", terminal.text)


def _size(handle: int, width: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))


def _stops_between_pictures(child: subprocess.Popen[bytes], handle: int, terminal: Terminal) -> bool:
    """Whether everything of the latest picture has arrived when the program is stopped."""
    child.send_signal(signal.SIGSTOP)
    while select.select([handle], [], [], 0.1)[0]:
        terminal.feed(terminal.decoder.decode(os.read(handle, 65536)))
    return terminal.latest.endswith("\x1b[J\r")


def _watch(handle: int, terminal: Terminal, sign: str, seconds: float = 300.0) -> None:
    """Feed the terminal until it shows ``sign`` and the program pauses."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([handle], [], [], 0.02)[0]:
            terminal.feed(terminal.decoder.decode(os.read(handle, 65536)))
        elif sign in terminal.text:
            return
    raise AssertionError(f"no {sign!r} in\n{terminal.text}")
