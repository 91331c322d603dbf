"""Long work says what it is doing, and short work says nothing."""

from __future__ import annotations

import contextlib
import time

import pytest
from conftest import Stream

from charrnn.output import progress
from charrnn.output.console import Console
from charrnn.output.progress import Progress


def shown(terminal: bool, seconds: float, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(progress, "_TICK", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    console = Console(Stream(), Stream(terminal=terminal))
    with Progress(console) as doing:
        doing("digging")
        time.sleep(seconds)
    console.say("done")
    return console.stderr.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("terminal", [True, False])
def test_short_work_says_nothing(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(terminal, 0.0, monkeypatch) == "done\n"


def test_one_long_step_is_told_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    assert shown(False, 0.3, monkeypatch) == "charrnn: digging; this takes a while\ndone\n"
    text = shown(True, 0.3, monkeypatch)
    assert text.count("\rcharrnn: digging (0:00)\x1b[K") > 1
    assert text.endswith("\r\x1b[Kdone\n")


def test_an_error_stands_alone() -> None:
    console = Console(Stream(), Stream())
    console.announce("charrnn: a network")
    with contextlib.suppress(ValueError), Progress(console) as doing:
        doing("digging")
        raise ValueError
    console.error("no")
    assert console.stderr.getvalue() == "charrnn: no\n"  # type: ignore[attr-defined]


def test_a_pause_clears_the_line_until_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    console = Console(Stream(), Stream(terminal=True))
    with Progress(console) as doing:
        doing("digging")
        doing.pause()
        console.product("gold\n")
        doing("resting")
    text = console.stderr.getvalue()  # type: ignore[attr-defined]
    assert text == "\rcharrnn: digging (0:00)\x1b[K\r\x1b[K\rcharrnn: resting (0:00)\x1b[K\r\x1b[K"
