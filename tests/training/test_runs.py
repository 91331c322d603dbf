"""From what was asked for to a run: what is kept, what is planned, and the command that plans the same again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import TALE

from charrnn import UsageError
from charrnn.config import ModelConfig, TrainConfig
from charrnn.network import checkpoint
from charrnn.training import machine, recipe, runs, speed
from charrnn.training.ranks import Ranks
from charrnn.training.runs import RunRequest

Invoke = Callable[..., Any]
TEXT = TALE * 40
TINY = {"hidden_size": 8, "embedding_size": 4, "batch_size": 4, "bptt": 8, "device": "cpu"}
TINY_OPTIONS = ("--hidden-size", "8", "--embedding-size", "4", "--batch-size", "4", "--bptt", "8", "--device", "cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tale.txt").write_text(TEXT)
    return "tale.txt"


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how many seconds the machine's speed was measured, each time that it was."""
    seconds: list[float] = []

    def measure(device: Any, precision: str, allowed: float, cell: str, workers: int | None, columns: int) -> float:
        seconds.append(allowed)
        return 50_000.0

    monkeypatch.setattr(speed, "of_training", measure)
    return seconds


def begin(asked: RunRequest) -> tuple[Any, Any, Any]:
    ticks = iter(range(10**9))
    return runs.begin(asked, lambda: next(ticks) / 1000, lambda: None, lambda _: None, lambda _: None)


def prepare(asked: RunRequest) -> runs.Prepared:
    return runs.prepare(asked, lambda _: None)


def plan_of(result: Any) -> Any:
    assert result.code == 0, result
    return json.loads(result.stdout)


# -- what was asked ----------------------------------------------------------------------------------------------------


def test_settings_go_to_the_network_or_to_training() -> None:
    asked = RunRequest([], {"cell": "gru", "hidden_size": 8, "lr": 0.1, "steps": 5})
    assert asked.model == {"cell": "gru", "hidden_size": 8}
    assert asked.training == {"lr": 0.1, "steps": 5}


def test_one_dropout_stands_for_three_and_yields_to_each_of_them() -> None:
    assert RunRequest([], {"dropout": 0.4}).training == {
        "dropout_input": 0.1,
        "dropout_between": 0.4,
        "dropout_output": 0.4,
    }
    assert RunRequest([], {"dropout": 0.4, "dropout_input": 0.0, "dropout_output": 0.2}).training == {
        "dropout_input": 0.0,
        "dropout_between": 0.4,
        "dropout_output": 0.2,
    }


# -- planning ----------------------------------------------------------------------------------------------------------


def test_what_is_given_stays_and_the_rest_is_the_recipes(tale: str) -> None:
    made = prepare(RunRequest([tale], {"hidden_size": 24, "steps": 7, "seed": 3, "dropout": 0.2}))
    assert (made.model.hidden_size, made.config.steps, made.config.seed) == (24, 7, 3)
    assert made.config.dropouts == (0.05, 0.2, 0.2)
    expected = recipe.plan(
        made.text.train_characters,
        made.text.vocabulary.size,
        {"hidden_size": 24},
        {"steps": 7, "seed": 3, "dropout_input": 0.05, "dropout_between": 0.2, "dropout_output": 0.2},
    )
    assert replace(made.model, pair_keys=()) == ModelConfig(**expected.model, vocab_size=made.text.vocabulary.size)
    assert made.config == TrainConfig(**expected.training)


@pytest.mark.parametrize("length", [{"steps": 5}, {"epochs": 2.0}])
def test_nothing_is_timed_with_steps_or_epochs(length: dict[str, Any], tale: str, timed: list[float]) -> None:
    assert prepare(RunRequest([tale], length)).plan.speed is None
    assert timed == []


@pytest.mark.parametrize(
    ("length", "seconds"), [({}, 180), ({"minutes": 1.0}, 60), ({"minutes": 0.1}, 6), ({"minutes": 60.0}, 3600)]
)
def test_with_minutes_the_machine_is_timed_within_3_percent_of_them(
    length: dict[str, Any], seconds: float, tale: str, timed: list[float]
) -> None:
    made = prepare(RunRequest([tale], length))
    (took,) = timed
    assert 0 < took <= 0.03 * seconds
    assert took <= 1
    assert made.plan.speed == recipe.rounded_speed(50_000.0)


@pytest.mark.parametrize(("given", "expected"), [({}, ("lstm", None, 32)), ({"cell": "rnn", "workers": 3}, ("rnn", 3, 32))])
def test_the_machine_is_timed_with_the_cell_and_the_workers_that_were_given(
    given: dict[str, Any], expected: tuple[str, int | None], tale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def measure(device: Any, precision: str, allowed: float, *more: Any) -> float:
        asked.append(more)
        return 50_000.0

    monkeypatch.setattr(speed, "of_training", measure)
    prepare(RunRequest([tale], {"minutes": 1.0, **given}))
    assert asked == [expected]


@pytest.mark.parametrize(("members", "expected"), [(1, 64), (2, 32)])
def test_ranks_add_up_their_cores_unless_each_has_networks_of_its_own(
    members: int, expected: int, tmp_path: Path, timed: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Two(Ranks):
        def total(self, parts: Any) -> Any:
            return 2 * parts

    (tmp_path / "long.txt").write_text(TALE * (900_000 // len(TALE)))
    monkeypatch.setattr(machine, "cores", lambda config: 4 if members == 1 else 1)
    made = runs.prepare(RunRequest([str(tmp_path / "long.txt")], {"minutes": 1.0}, members=members), lambda _: None, Two())
    assert made.config.batch_size == expected


def test_where_all_is_given_nothing_is_timed(tale: str, timed: list[float]) -> None:
    made = prepare(RunRequest([tale], {"minutes": 1.0}))
    timed.clear()
    again = prepare(RunRequest([tale], {"minutes": 1.0, **made.plan.model, **made.plan.training}))
    assert timed == []
    assert (again.model, again.config) == (made.model, made.config)


def test_a_wrong_setting_is_refused_before_the_text_is_read() -> None:
    with pytest.raises(UsageError, match="--hidden-size"):
        prepare(RunRequest(["gone.txt"], {"hidden_size": 0}))
    with pytest.raises(UsageError, match="--lr"):
        prepare(RunRequest(["gone.txt"], {"lr": -1.0}))
    with pytest.raises(UsageError, match="which text"):
        prepare(RunRequest([], {}))


# -- the command that repeats a plan --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--steps", "50"],
        ["--epochs", "1.23456789"],
        ["--minutes", "0.5", "--lr", "0.0123456789", "--cell", "gru"],
        ["--dropout", "0.3", "--dropout-input", "0.2", "--layers", "2", "--steps", "9"],
        [
            "--seed",
            "7",
            "--val-fraction",
            "0.25",
            "--val",
            "scattered",
            "--eval-every",
            "5",
            "--device",
            "cpu",
            "--precision",
            "fp32",
            "--workers",
            "1",
        ],
        ["--level", "byte", "--min-count", "2", "--grad-clip", "0.5", "--optimizer", "adamw", "--steps", "5"],
        ["--out", "a folder/it's here", "--encoding", "utf-8", "--steps", "5"],
    ],
)
def test_the_command_of_a_dry_run_plans_the_same(options: list[str], tale: str, invoke: Invoke, timed: list[float]) -> None:
    first = plan_of(invoke("train", tale, *options, "--dry-run", "--json"))
    words = shlex.split(first["command"])
    assert words[:2] == ["charrnn", "train"]
    timed.clear()
    second = plan_of(invoke(*words[1:], "--dry-run", "--json"))
    assert second["settings"] == first["settings"]
    assert second["command"] == first["command"]
    assert timed == []
    assert set(second["plan"]["reasons"].values()) == {"given"}


def test_the_command_of_a_dry_run_trains_as_the_plan_says(tale: str, invoke: Invoke) -> None:
    planned = plan_of(invoke("train", tale, "--steps", "3", *TINY_OPTIONS, "--dry-run", "--json"))
    result = invoke(*shlex.split(planned["command"])[1:], "--json")
    assert result.code == 0
    start = json.loads(result.stdout.splitlines()[0])
    config = start["config"]
    trained = {**config["model"], **{name: value for name, value in config.items() if name != "model"}}
    # How many workers there are is settled when the run begins.
    expected = planned["settings"] | {"workers": start["workers"]}
    assert {name: trained[name] for name in expected} == expected


def test_a_text_whose_name_begins_with_a_dash_is_a_text_in_the_command(tale: str, invoke: Invoke) -> None:
    Path("--steps").write_text(TEXT)
    first = plan_of(invoke("train", "--steps", "5", "--dry-run", "--json", "--", "--steps", tale))
    again = plan_of(invoke(*shlex.split(first["command"].replace(" train ", " train --dry-run --json "))[1:]))
    assert again["settings"] == first["settings"]
    assert again["command"] == first["command"]


def test_a_dry_run_leaves_nothing_and_its_last_line_is_the_command(tale: str, tmp_path: Path, invoke: Invoke) -> None:
    result = invoke("train", tale, "--steps", "5", "--dry-run")
    assert result.code == 0
    *table, command = result.stdout.splitlines()
    assert shlex.split(command)[:2] == ["charrnn", "train"]
    plan = plan_of(invoke("train", tale, "--steps", "5", "--dry-run", "--json"))
    for name in recipe.CHOSEN:
        (line,) = (line for line in table if line.startswith(name.replace("_", " ")))
        assert recipe.as_option(plan["settings"][name]) in line.split(), name
        assert plan["plan"]["reasons"][name] in line, name
    assert [path.name for path in tmp_path.iterdir()] == [tale]


def test_a_dry_run_warns_of_a_list_as_the_run_does(tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "names.txt").write_text("".join(f"{name}{end}\n" for name in ("An", "Be", "Cy") for end in "aeiou" * 20))
    for options, told in (([], True), (["--records"], False)):
        result = invoke("train", "names.txt", "--steps", "5", "--dry-run", *options)
        assert ("this is plainly a list" in result.stderr) == told


def test_a_dry_run_of_a_resumed_run_is_a_usage_error(tale: str, invoke: Invoke) -> None:
    assert invoke("train", tale, "--steps", "2", *TINY_OPTIONS).code == 0
    result = invoke("train", "--resume", "checkpoints/tale", "--dry-run")
    assert (result.code, result.stdout) == (2, "")
    assert "--dry-run" in result.stderr


def test_a_dry_run_from_a_checkpoint_keeps_its_shape(tale: str, invoke: Invoke) -> None:
    assert invoke("train", tale, "--steps", "2", *TINY_OPTIONS, "--cell", "rnn").code == 0
    options = ("--init-from", "checkpoints/tale", "--steps", "4", "--dry-run", "--json")
    planned = plan_of(invoke("train", tale, *options))
    assert (planned["settings"]["cell"], planned["settings"]["hidden_size"]) == ("rnn", 8)
    again = plan_of(invoke(*shlex.split(planned["command"])[1:], "--dry-run", "--json"))
    assert again["settings"] == planned["settings"]


def test_a_dry_run_from_a_checkpoint_says_why_its_rate_is_half_of_a_fresh_networks(tale: str, invoke: Invoke) -> None:
    assert invoke("train", tale, "--steps", "2", *TINY_OPTIONS).code == 0
    fresh = plan_of(invoke("train", tale, "--steps", "4", *TINY_OPTIONS, "--dry-run", "--json"))
    shape = TINY_OPTIONS[4:]
    adapted = plan_of(invoke("train", tale, "--init-from", "checkpoints/tale", "--steps", "4", *shape, "--dry-run", "--json"))
    assert adapted["settings"]["lr"] == pytest.approx(fresh["settings"]["lr"] / 2, rel=0.05)
    assert "half of a fresh network's" in adapted["plan"]["reasons"]["lr"]
    assert adapted["plan"]["reasons"]["hidden_size"] == "the checkpoint's"


@pytest.mark.parametrize("length", [("--minutes", "3"), ("--steps", "20")])
def test_the_plan_of_a_word_from_echo_reads_it_a_sane_number_of_times(
    length: tuple[str, str], invoke: Invoke, timed: list[float]
) -> None:
    made = plan_of(invoke("train", "-", *length, "--dry-run", "--json", stdin=b"hello\n"))
    assert made["plan"]["passes"] <= 1000
    assert any(number in made["plan"]["reasons"]["dropout_output"] for number in ("1,000 times", "5.0 times"))


# -- where the plan is kept ---------------------------------------------------------------------------------------------


def test_the_plan_is_in_the_start_event_and_in_both_checkpoints_and_resuming_keeps_it(tale: str, timed: list[float]) -> None:
    asked = RunRequest([tale], {**TINY, "minutes": 0.002})
    run, trainer, start = begin(asked)
    list(trainer.run(run))
    run.close()
    assert start["plan"]["speed"] == round(recipe.rounded_speed(50_000.0))
    assert start["plan"]["reasons"].keys() == recipe.CHOSEN
    assert start["plan"]["reasons"]["hidden_size"] == "given"
    for path in (run.best, run.last):
        assert checkpoint.read(path).training["plan"] == start["plan"]
    timed.clear()
    again, longer, resumed = begin(RunRequest([], {"minutes": 0.01, "lr": 0.001}, resume=str(run.path)))
    list(longer.run(again))
    again.close()
    assert timed == []
    assert resumed["plan"] == start["plan"]
    assert checkpoint.read(run.last).training["plan"] == start["plan"]
    chosen = {name: start["config"][name] for name in recipe.PLANNED["training"] if name != "lr"}
    assert {name: resumed["config"][name] for name in chosen} == chosen


@pytest.mark.parametrize(("name", "value"), [("workers", 2), ("device", "cpu"), ("lr", 0.5), ("precision", "fp32")])
def test_what_belongs_to_the_machine_may_change_on_resume(name: str, value: Any, tale: str) -> None:
    run, trainer, _ = begin(RunRequest([tale], {**TINY, "steps": 2}))
    list(trainer.run(run))
    run.close()
    again, _, start = begin(RunRequest([], {"steps": 4, name: value}, resume=str(run.path)))
    again.close()
    assert start["config"][name] == value
    if name == "workers":
        assert start["workers"] == 2


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"optimizer": "muon"}, "--optimizer"),
        ({"dropout": 0.9}, "--dropout-input"),
        ({"dropout_output": 0.9}, "--dropout-output"),
    ],
)
def test_what_makes_a_run_what_it_is_may_not(given: dict[str, Any], option: str, tale: str) -> None:
    run, trainer, _ = begin(RunRequest([tale], {**TINY, "steps": 2}))
    list(trainer.run(run))
    run.close()
    with pytest.raises(UsageError, match=option):
        begin(RunRequest([], {"steps": 4, **given}, resume=str(run.path)))
