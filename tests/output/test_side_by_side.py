"""The events of several networks on a terminal and in a log."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Stream

from charrnn.output import side_by_side
from charrnn.output.console import Console
from charrnn.output.side_by_side import MembersView

STEP = {
    "event": "step",
    "step": 10,
    "steps": 1000,
    "steps_settled": True,
    "done": 0.01,
    "epoch": 0.1,
    "seconds": 3.0,
    "bits_per_char": 2.5,
    "learning_rate": 0.01,
    "grad_norm": 1.0,
    "clipped": 0.0,
    "chars_per_second": 40000.0,
}
EVAL = {"event": "eval", "step": 10, "seconds": 3.0, "val_bits_per_char": 2.25, "best": True}
END = {
    "event": "end",
    "step": 1000,
    "epochs": 3.0,
    "seconds": 60.0,
    "best_val_bits_per_char": 2.0,
    "best_step": 1000,
    "reason": "finished",
    "chars_per_second": 40000.0,
    "val_characters": 100,
}
EVENTS = [
    {**STEP, "member": 0},
    {**STEP, "member": 1},
    {**STEP, "seconds": 4.0, "member": 0},
    {**EVAL, "member": 0},
    {"event": "warning", "text": "a short text", "member": 0},
    {"event": "warning", "text": "a short text", "member": 1},
    {**END, "member": 0},
    {"event": "lost", "text": "its process 7 was killed by signal 9", "member": 1},
]


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, columns: int = 80, **others: Any) -> tuple[str, str]:
    out, err = Stream(terminal=False), Stream(terminal=terminal)
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    with MembersView(Console(quiet=others.pop("quiet", False)), 3, **{"as_json": False, **others}) as view:
        for event in EVENTS:
            view.show(event)
    return out.getvalue(), err.getvalue()


def test_a_log_has_a_line_for_whatever_a_member_did(monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = shown(monkeypatch, terminal=False)
    lines = err.splitlines()
    assert [line.partition("member ")[2][:1] for line in lines] == ["0", "1", "0", "0", "0", "1"]
    assert "step 10/1,000" in lines[0]
    assert lines[2] == "member 0: 0:03  step 10  validation 2.250 bits/char  best so far"
    assert lines[3] == "charrnn: warning: member 0: a short text"
    assert lines[4].startswith("member 0: finished after 1,000 steps")
    assert lines[5] == "charrnn: member 1: its process 7 was killed by signal 9"


def test_json_lines_are_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = shown(monkeypatch, terminal=False, as_json=True, quiet=True)
    assert [json.loads(line) for line in out.splitlines()] == EVENTS
    assert err == ""


@pytest.mark.parametrize("columns", [80, 60, 20])
def test_the_picture_has_a_line_for_each_member_within_the_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Stream(terminal=True))
    picture = side_by_side._Lines(Console(), 3)
    for event in EVENTS[:6]:
        picture.add(event)
    lines = picture._picture(columns, 24).plain.splitlines()
    assert [line[:8] for line in lines] == ["member 0", "member 1", "member 2"]
    assert all(len(line) <= columns for line in lines)
    whole = picture._picture(200, 24).plain.splitlines()
    assert all(
        line == full[: len(line)] and full[len(line) :][:2] in ("", "  ") for line, full in zip(lines, whole, strict=True)
    )
    assert whole[0] == "member 0  0:04    1%  val 2.250  train 2.500  step 10/1,000  40,000 chars/s"
    assert whole[2] == "member 2  waits for its turn"
    picture.add(EVENTS[6])
    ended = picture._picture(200, 24).plain.splitlines()[0]
    assert "  100%  finished  val 2.000" in ended
    assert "step 1,000/1,000" in ended


def test_on_a_terminal_the_picture_stays_below_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = shown(monkeypatch, terminal=True)
    assert "charrnn: warning: member 0: a short text" in err
    assert "member 0: 0:0" not in err  # Steps are in the picture.
    assert "member 0  1:00  100%  finished" in err
    assert "finished  val 2.000" in err
    assert "lost  train 2.500" in err
    assert "\x1b[?25h" in err
