"""What a run says of itself: where its best network was found, what is advised and when, and where a resumed run goes on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import validation

from charrnn.text.excerpts import Excerpt
from charrnn.training import evaluation, schedule
from charrnn.training.evaluation import Validation
from charrnn.training.learner import Learner

Invoke = Callable[..., Any]
TEXT = "The fox said to the crow: sing, and let the cheese fall.\n" * 40
TINY = ("--hidden-size", "8", "--embedding-size", "4", "--batch-size", "4", "--bptt", "8", "--workers", "1")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tale(tmp_path: Path) -> str:
    (tmp_path / "tale.txt").write_text(TEXT)
    return "tale.txt"


def events_of(result: Any, name: str) -> list[dict[str, Any]]:
    assert result.code == 0, result.stderr
    return [event for event in map(json.loads, result.stdout.splitlines()) if event["event"] == name]


# -- validation that rises ---------------------------------------------------------------------------------------------


@pytest.fixture
def rising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation falls up to step 20, then rises."""

    def validate(self: Learner, excerpt: Excerpt) -> Validation:
        return validation((3.0 + abs(self.progress.step - 20) / 100) * math.log(2))

    monkeypatch.setattr(Learner, "validate", validate)


@pytest.mark.usefixtures("rising")
def test_validation_that_has_risen_for_a_third_of_the_run_is_told_with_where_the_best_was(tale: str, invoke: Invoke) -> None:
    options = (*TINY, "--steps", "100", "--eval-every", "10")
    told = {event["step"]: event["advice"] for event in events_of(invoke("train", tale, *options, "--json"), "eval")}
    assert [step for step, advice in told.items() if advice and "risen" in advice] == [60, 70, 80, 90, 100]
    assert all(part in told[100] for part in ("since step 20 ", "3.000", "shorter", "--hidden-size", "--dropout"))
    last = invoke("train", tale, *options).stderr.splitlines()[-1]
    assert re.search(r"best validation 3\.000 bits/char \(xz \S+, letters alone \S+\) at step 20\b", last)
    assert told[100] in last


@pytest.mark.usefixtures("rising")
def test_a_resumed_run_knows_where_its_best_was(tale: str, invoke: Invoke) -> None:
    assert invoke("train", tale, *TINY, "--steps", "30", "--eval-every", "10", "--out", "run").code == 0
    (end,) = events_of(invoke("train", "--resume", "run", "--steps", "100", "--json"), "end")
    assert end["best_step"] == 20
    assert "since step 20 " in end["advice"]


def test_a_best_loss_on_a_part_is_told_beside_that_on_the_whole(
    tale: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "affordable_characters", lambda *_: 50)

    def validate(model: object, corpus: object, excerpt: Excerpt, *_: object) -> Validation:
        return validation((2.4 if excerpt.characters == 50 else 2.6125) * math.log(2))

    monkeypatch.setattr(evaluation, "validate", validate)
    result = invoke("train", tale, *TINY, "--steps", "10", "--eval-every", "5")
    last = result.stderr.splitlines()[-1]
    where = r"at step 5 on all 228 characters \(2\.400 on the 50 that evaluations read"
    assert re.search(rf"best validation 2\.61\d bits/char \(xz \S+, letters alone \S+\) {where}", last)
    (end,) = events_of(invoke("train", tale, *TINY, "--steps", "10", "--eval-every", "5", "--json"), "end")
    assert (end["best_val_part"], end["val_characters"]) == ({"characters": 50, "bits_per_char": 2.4}, 228)


# -- enough steps -------------------------------------------------------------------------------------------------------


def test_advice_waits_for_enough_steps_and_counts_them_over_several_evaluations(tale: str, invoke: Invoke) -> None:
    options = ("--steps", "150", "--eval-every", "10", "--grad-clip", "0.000001", "--json")
    told = {event["step"]: event["advice"] for event in events_of(invoke("train", tale, *TINY, *options), "eval")}
    assert [step for step, advice in told.items() if advice and "100% of the steps clipped" in advice] == [50, 100, 150]
    assert [step for step, advice in told.items() if advice and step < 50] == []


def test_advice_of_a_resumed_run_counts_the_steps_before(tale: str, invoke: Invoke) -> None:
    options = ("--eval-every", "10", "--grad-clip", "0.000001")
    assert invoke("train", tale, *TINY, *options, "--steps", "30", "--out", "run").code == 0
    told = {
        event["step"]: event["advice"]
        for event in events_of(invoke("train", "--resume", "run", "--steps", "60", "--json"), "eval")
    }
    assert [step for step, advice in told.items() if advice and "clipped" in advice] == [50]


@pytest.mark.parametrize(("length", "value"), [("minutes", "0.0001"), ("epochs", "0.01"), ("steps", "1")])
def test_a_run_that_ends_before_it_has_learned_anything_says_so_unless_the_steps_were_asked_for(
    tale: str, invoke: Invoke, length: str, value: str
) -> None:
    done = invoke("train", tale, *TINY, f"--{length}", value)
    assert done.code == 0
    assert (f"; 1 step taught it nothing yet: more --{length}, " in done.stderr.splitlines()[-1]) == (length != "steps")


def test_no_estimate_of_the_steps_is_shown_before_it_is_one(tale: str, invoke: Invoke) -> None:
    options = (*TINY, "--minutes", "0.02", "--log-every", "1")
    steps = events_of(invoke("train", tale, *options, "--json"), "step")
    assert [event["steps_settled"] for event in steps] == [event["step"] >= 50 for event in steps]
    assert 0 < steps[0]["done"] <= 1
    first = next(line for line in invoke("train", tale, *options).stderr.splitlines() if "  step 1" in line)
    assert "  step 1  " in first
    given = invoke("train", tale, *TINY, "--steps", "6").stderr
    assert "step 1/6  " in given


# -- resumed ------------------------------------------------------------------------------------------------------------


def test_a_resumed_run_says_where_it_goes_on_and_its_curve_keeps_its_past(tale: str, invoke: Invoke) -> None:
    options = (*TINY, "--log-every", "1", "--plain")
    begun = invoke("train", tale, *options, "--steps", "20", "--out", "run")
    assert "resuming" not in begun.stderr
    again = invoke("train", "--resume", "run", "--steps", "30", "--plain")
    assert "; resuming at step 20 of 30\n" in again.stderr
    live = invoke("train", "--resume", "run", "--steps", "34", terminal=True)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", live.stderr)
    assert "resuming at step 30 of 34" in text
    axis = next(line for line in text.splitlines() if re.search(r"\d  .*\d ", line) and set(line) <= {*"│ 0123456789"})
    assert axis.strip("│").split() == ["10", "20", "30"]
