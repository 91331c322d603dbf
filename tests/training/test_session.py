"""A run that a program began: it is saved whoever stops it, and however."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import TALE

import charrnn

TINY: dict[str, Any] = {"hidden_size": 6, "batch_size": 2, "bptt": 8, "device": "cpu", "workers": 1, "seed": 3}


@pytest.fixture
def tale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A text in the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tale.txt").write_text(TALE * 20)
    return "tale.txt"


def test_ctrl_c_leaves_a_saved_run_that_goes_on(tale: str) -> None:
    seen = []

    def interrupt() -> None:
        for event in charrnn.train_events(tale, steps=1000, **TINY):
            seen.append(event)
            if event["event"] == "step":
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="stopped and saved; go on by: charrnn train --resume checkpoints/tale"):
        interrupt()
    assert (seen[-1]["event"], seen[-1]["reason"]) == ("end", "interrupted")
    assert seen[-1]["step"] < 10
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    net = charrnn.train(resume="checkpoints/tale", steps=seen[-1]["step"] + 1)
    assert net.info["step"] == seen[-1]["step"] + 1


def test_whoever_leaves_the_loop_leaves_a_saved_run(tale: str) -> None:
    for event in charrnn.train_events(tale, steps=1000, **TINY):
        if event["event"] == "step":
            break
    else:
        pytest.fail("no step came")
    del event
    assert 0 < charrnn.load().info["step"] < 10
    assert charrnn.train(resume="latest", steps=11).info["step"] == 11


def test_nothing_happens_before_the_first_event(tale: str) -> None:
    charrnn.train_events(tale, steps=2, **TINY)
    assert not Path("checkpoints").exists()


def test_a_handler_of_the_programs_own_stays(tale: str) -> None:
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    try:
        for event in charrnn.train_events(tale, steps=2, **TINY):
            if event["event"] == "start":
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (heard, event["reason"]) == ([1], "finished")
