"""Long work says what it is doing, and short work says nothing."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Stream

from charrnn.output import progress
from charrnn.output.console import Console
from charrnn.output.progress import Progress, reading
from charrnn.text.corpus import Reading


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
    text = shown(True, 0.3, monkeypatch)
    assert text.count("\rcharrnn: digging (0:00)\x1b[K") > 1
    assert text.endswith("\r\x1b[Kdone\n")


def test_of_what_somebody_types_is_said_how_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    console = Console(Stream(), Stream(terminal=True))
    with Progress(console, typed=True) as doing:
        doing("digging")
    assert console.stderr.getvalue() == "charrnn: reading what is typed here; Ctrl-D on an empty line ends it\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(("terminal", "said"), [(False, (10, 20, 40, 80)), (True, (2, 4, 8, 16, 32, 64))])
def test_lines_that_stay_come_each_after_twice_the_time(
    terminal: bool, said: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe, and on the terminal that a CI says it has."""
    monkeypatch.setenv("CI", "true")
    clock = SimpleNamespace(now=0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    console = Console(Stream(), Stream(terminal=terminal))
    with Progress(console) as doing:
        for clock.now in range(100):
            doing("digging", lambda: f"{clock.now} feet")
    lines = console.stderr.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines == [f"charrnn: digging: {at} feet ({at // 60}:{at % 60:02})" for at in said]


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


# -- the commands -----------------------------------------------------------------------------------------------------

LONG = {
    "scoring novel.txt": ("score", "novel.txt"),
    "scoring novel.txt again": ("score", "novel.txt", "--rank"),
    "drawing: 0 of 3 texts": ("sample", "-N", "3", "-n", "5", "--seed", "1"),
    "drawing": ("sample", "--best-of", "3", "-n", "5", "--seed", "1"),
    "reading novel.txt": ("sample", "--copied-from", "novel.txt", "-n", "5", "--seed", "1"),
    "encoding": ("encode", "novel.txt", "--npz", "lines.npz"),
    "measuring how far back novel remembers": ("inspect", "--memory", "--file", "novel.txt", "-c", "checkpoints/novel"),
}


@pytest.mark.parametrize(("doing", "words"), LONG.items())
def test_a_command_that_takes_long_tells_a_terminal_what_it_does(
    doing: str, words: tuple[str, ...], here: Path, invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here
    monkeypatch.setenv("TERM", "xterm")
    quick = invoke(*words, terminal=True, piped=True)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    told = invoke(*words, terminal=True, piped=True)
    assert re.search(rf"(^|\n)\rcharrnn: {doing.removesuffix(' again')}\b[^\n]* \(0:00\)\x1b\[K", told.stderr), told
    left = re.sub(r"\r[^\n]*\r\x1b\[K", "", told.stderr)
    assert (told.code, told.stdout, left) == (0, quick.stdout, quick.stderr)
    for silent in (invoke(*words), invoke(*words, "-q", terminal=True, piped=True)):
        assert (silent.code, silent.stdout) == (0, quick.stdout)
        assert "\r" not in silent.stderr
    monkeypatch.setattr(progress, "PATIENCE_OF_A_PIPE", 0.0)
    told, silent = invoke(*words), invoke(*words, "-q")
    assert re.search(rf"(?m)^charrnn: {doing.removesuffix(' again')}\b[^\r\n]* \(0:00\)$", told.stderr), told
    assert (told.stdout, silent.stdout, silent.stderr) == (quick.stdout, quick.stdout, "")


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        ("sample", "-n", "400", "--seed", "1"),
        ("sample", "-n", "400", "--seed", "1", "--color", "surprise"),
        ("score", "--lines", "novel.txt"),
        ("score", "--per-char", "novel.txt"),
    ],
)
def test_what_comes_as_it_is_made_tells_by_itself_how_far_it_is(
    words: tuple[str, ...], piped: bool, here: Path, invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a pipe there may be the same terminal."""
    assert here
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "_TICK", 0.001)
    done = invoke(*words, terminal=True, piped=piped)
    assert (done.code, "\r" in done.stderr) == (0, False), done


def test_texts_on_the_terminal_never_stand_in_a_line_with_the_progress(
    here: Path, invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here
    monkeypatch.setenv("TERM", "xterm")
    words = ("sample", "-N", "70", "-n", "9", "--seed", "1", "--separator", " ")
    plain = invoke(*words, terminal=True)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "_TICK", 0.0001)
    shared = Stream(terminal=True)
    monkeypatch.setattr("conftest.Stream", lambda terminal: shared)
    invoke(*words, terminal=True)
    text = shared.getvalue()
    assert "\rcharrnn: drawing: 0 of 70 texts" in text
    assert re.sub(r"\rcharrnn: drawing[^\n]*?\x1b\[K(?=\r)|\r\x1b\[K", "", text) == plain.stderr + plain.stdout


def test_reading_a_long_text_tells_how_fast_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "_TICK", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    console = Console(Stream(), Stream(terminal=True))
    with Progress(console) as doing:
        tell = reading(doing)
        for told in (Reading(1, 1, 300), Reading(5_000_000, 12, 300), Reading(9_000_000, 300, 300, 0.5)):
            tell(told)
            time.sleep(0.1)
        tell(Reading(9_000_000, 300, 300, 1.0))
        time.sleep(0.1)
    said = console.stderr.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"charrnn: reading the text: file 12 of 300, 5.0 MB, \d\d? MB/s \(0:00\)", said)
    assert "reading the text: 50 % encoded" in said
    assert said.endswith("\r\x1b[K")
