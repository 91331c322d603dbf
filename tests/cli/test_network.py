"""Which network a verb works with, and when stderr names it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import TEXT, network, records

from charrnn.config import ModelConfig
from charrnn.network import checkpoint, rundir
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary

Invoke = Callable[..., Any]
NOW = 1.7e9
VERBS = [["sample", "-n", "3"], ["score", "text"], ["next", "a"], ["inspect", "ab", "--json"]]
IDS = [words[0] for words in VERBS]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, one a day and one two minutes old, and a text."""
    vocabulary = Vocabulary("char", "\nab")
    model = ModelConfig(vocabulary.size, embedding_size=2, hidden_size=3)
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in model.parameter_shapes().items()}
    for name, age in (("older", 86400), ("mytext", 130)):
        (path := tmp_path / "checkpoints" / name).mkdir(parents=True)
        monkeypatch.setattr("time.time", lambda age=age: NOW - age)
        checkpoint.write(path / rundir.BEST, Checkpoint(model, vocabulary, {"corpus": name}, weights))
    monkeypatch.setattr("time.time", lambda: NOW)
    (tmp_path / "text").write_text("ab\n")
    return tmp_path


@pytest.mark.parametrize("words", VERBS, ids=IDS)
@pytest.mark.parametrize("options", [[], ["-c", "latest"]], ids=["nothing", "latest"])
def test_the_most_recent_network_is_named_with_its_age(
    invoke: Invoke, runs: Path, words: list[str], options: list[str]
) -> None:
    done = invoke(*words, *options)
    assert done.code == 0, done.stderr
    seed = r"seed \d+, " if words[0] == "sample" else ""
    assert re.fullmatch(rf"charrnn: {seed}checkpoints/mytext \(2 minutes old\)", done.stderr.splitlines()[0])


@pytest.mark.parametrize("words", VERBS, ids=IDS)
def test_a_network_that_was_named_is_not_named_again(
    invoke: Invoke, runs: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "mytext" not in invoke(*words, "-c", "checkpoints/mytext").stderr
    assert invoke(*words, "-q").stderr == ""
    monkeypatch.setenv("CHARRNN_CHECKPOINT", "checkpoints/mytext")
    assert "mytext" not in invoke(*words).stderr


def test_with_a_seed_the_network_alone_is_named(invoke: Invoke, runs: Path) -> None:
    assert invoke("sample", "-n", "3", "--seed", "7").stderr == "charrnn: checkpoints/mytext (2 minutes old)\n"
    assert re.fullmatch(r"charrnn: seed \d+\n", invoke("sample", "-n", "3", "-c", "checkpoints/older").stderr)


def test_a_run_of_the_name_latest_comes_before_the_word(invoke: Invoke, runs: Path) -> None:
    (runs / "checkpoints/older").rename(runs / "latest")
    assert re.fullmatch(r"charrnn: seed \d+\n", invoke("sample", "-n", "3", "-c", "latest").stderr)


def test_an_age_that_nobody_can_know_is_not_told(invoke: Invoke, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW - 1000)
    assert invoke("next", "a").stderr == "charrnn: checkpoints/mytext\n"


# -- calibration ------------------------------------------------------------------------------------------------------

CALIBRATED = {
    "sample": ["sample", "-n", "200", "--seed", "3", "--temp", "1", "--json"],
    "greedy": ["sample", "-n", "200", "--seed", "3", "--temp", "0"],
    "many": ["sample", "-n", "40", "-N", "3", "--seed", "3", "--json"],
    "score": ["score", "text", "--json"],
    "lines": ["score", "text", "--lines"],
    "characters": ["score", "text", "--per-char"],
    "next": ["next", "The "],
    "inspect": ["inspect", "--file", "text", "--json"],
    "surprise": ["inspect", "--file", "text", "--color", "surprise"],
    "memory": ["inspect", "--file", "text", "--memory", "--json"],
}
"""What shows or draws from probabilities."""


@pytest.fixture
def calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network, the same with a temperature, the same whose head was divided by it, and a text."""
    network(tmp_path / "plain")
    network(tmp_path / "calibrated", temperature=0.5)
    found = checkpoint.read(tmp_path / "plain" / rundir.BEST)
    halved = {name: found.weights[name] * 2 for name in ("head.weight", "head.bias")}
    (tmp_path / "divided").mkdir()
    checkpoint.write(tmp_path / "divided" / rundir.BEST, replace(found, weights={**found.weights, **halved}))
    (tmp_path / "text").write_text(TEXT)
    return tmp_path


@pytest.mark.parametrize("words", CALIBRATED.values(), ids=CALIBRATED)
def test_a_temperature_divides_logits_wherever_probabilities_are_made_or_drawn_from(
    invoke: Invoke, calibrated: Path, words: list[str]
) -> None:
    def shown(name: str, *options: str) -> str:
        done = invoke(*words, "-c", name, *options)
        assert done.code == 0, done.stderr
        # What differs by name, or tells of the weights or of both ways at once.
        text = re.sub(r', "uncalibrated_bits_per_char": [\d.]+', "", done.stdout)
        return re.sub(rf"{name}(/best.safetensors)?", "NAME", text)

    plain = shown("plain")
    assert shown("calibrated", "--uncalibrated") == plain
    assert shown("calibrated") == shown("divided")
    assert (shown("calibrated") != plain) == (words != CALIBRATED["greedy"])


def test_a_score_tells_what_it_would_be_without_its_calibration(invoke: Invoke, calibrated: Path) -> None:
    (plain,) = records(invoke("score", "text", "--json", "-c", "plain"))
    (found,) = records(invoke("score", "text", "--json", "-c", "calibrated"))
    (without,) = records(invoke("score", "text", "--json", "-c", "calibrated", "--uncalibrated"))
    assert plain["uncalibrated_bits_per_char"] == plain["bits_per_char"] == without["uncalibrated_bits_per_char"]
    assert found["uncalibrated_bits_per_char"] == pytest.approx(plain["bits_per_char"], rel=1e-6)
    assert found["bits_per_char"] > plain["bits_per_char"]


def test_the_state_of_a_text_goes_on_calibrated_or_not(invoke: Invoke, calibrated: Path) -> None:
    words = ["sample", "-c", "calibrated", "--seed", "3", "-n"]
    whole = invoke(*words, "60").stdout
    first = invoke(*words, "30", "--save-state", "state").stdout
    assert first.removesuffix("\n") + invoke("sample", "-c", "calibrated", "--load-state", "state", "-n", "30").stdout == whole
    other = invoke("sample", "-c", "plain", "--load-state", "state", "-n", "30").stdout
    assert invoke("sample", "-c", "calibrated", "--uncalibrated", "--load-state", "state", "-n", "30").stdout == other


def test_info_tells_the_calibration(invoke: Invoke, calibrated: Path) -> None:
    assert [record["calibration"] for record in records(invoke("info", "calibrated", "--json"))] == [{"temperature": 0.5}]
    assert [record["calibration"] for record in records(invoke("info", "plain", "--json"))] == [None]
    assert re.search(r"calibration +temperature 0.500", invoke("info", "calibrated").stdout)


# -- several networks -------------------------------------------------------------------------------------------------

SEVERAL = {
    "sample": ["sample", "-n", "40", "--seed", "3", "--json"],
    "many": ["sample", "-n", "20", "-N", "3", "--seed", "3", "--json"],
    "device": ["sample", "-n", "20", "-N", "3", "--seed", "3", "--json", "--device", "auto"],
    "score": ["score", "text", "--json"],
    "next": ["next", "The ", "--json"],
}


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two networks that have little in common, and a text."""
    network(tmp_path / "one", temperature=0.9)
    network(tmp_path / "two", seed=2, hidden_size=5)
    (tmp_path / "text").write_text(TEXT)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


@pytest.mark.parametrize("words", SEVERAL.values(), ids=SEVERAL)
def test_several_networks_are_read_as_their_mean_and_named(invoke: Invoke, two: Path, words: list[str]) -> None:
    done = invoke(*words, "-c", "one", "-c", "two")
    assert done.stderr.splitlines()[0] == "charrnn: the mean of 2 networks"
    for record in records(done):
        assert record.pop("networks") == ["one/best.safetensors", "two/best.safetensors"]
    # The mean is the same whatever their order, and one alone is another.
    swapped, alone = records(invoke(*words, "-c", "two", "-c", "one")), records(invoke(*words, "-c", "one"))
    for record in swapped:
        del record["networks"]
    found = [{name: value for name, value in record.items() if name != "networks"} for record in records(done)]
    assert rounded(swapped) == rounded(found)
    assert rounded(alone) != rounded(found)
    assert "networks" not in alone[0]


def rounded(value: Any) -> Any:
    """JSON values with numbers to five digits."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return (
        [rounded(each) for each in value]
        if isinstance(value, list)
        else float(f"{value:.5g}")
        if isinstance(value, float)
        else value
    )


def test_the_score_of_a_mean_is_better_than_the_mean_of_scores(invoke: Invoke, two: Path) -> None:
    """By Jensen's inequality, whatever the networks are."""
    one, other = (records(invoke("score", "text", "--json", "-c", name))[0]["bits_per_char"] for name in ("one", "two"))
    (both,) = records(invoke("score", "text", "--json", "-c", "one", "-c", "two"))
    assert both["bits_per_char"] < (one + other) / 2


def test_several_networks_may_stand_in_the_environment(invoke: Invoke, two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = invoke("next", "Th", "-c", "one", "-c", "two").stdout
    monkeypatch.setenv("CHARRNN_CHECKPOINT", os.pathsep.join(["one", "two"]))
    assert invoke("next", "Th").stdout == wanted


def test_the_most_recent_network_may_be_one_of_several(invoke: Invoke, two: Path) -> None:
    network(two / "checkpoints/three", seed=3)
    done = invoke("next", "Th", "-c", "one", "-c", "latest")
    assert re.fullmatch(r"charrnn: the mean of 2 networks, checkpoints/three \(\d+ seconds? old\)\n", done.stderr)


@pytest.mark.parametrize("color", ["surprise", "entropy", "change"])
def test_a_text_is_coloured_by_the_mean(invoke: Invoke, two: Path, color: str) -> None:
    words = ["inspect", "--file", "text", "--color", color]
    shown = [invoke(*words, "-c", one, "-c", other) for one, other in (("one", "two"), ("two", "one"), ("one", "one"))]
    assert all(done.code == 0 for done in shown), shown[0].stderr
    there, back, twice = ([line.split("\t") for line in done.stdout.splitlines()] for done in shown)
    assert "".join(json.loads(character) for character, _ in there) == TEXT
    values, others, same = ([float(value) for _, value in rows] for rows in (there, back, twice))
    assert values == pytest.approx(others, rel=1e-4)
    alone = invoke(*words, "-c", "one").stdout.splitlines()
    assert same == pytest.approx([float(line.split("\t")[1]) for line in alone], rel=1e-4)
    if color == "surprise":
        per_char = records(invoke("score", "text", "--per-char", "--json", "-c", "one", "-c", "two"))
        assert values == pytest.approx([record["bits"] for record in per_char], rel=1e-4)
    assert invoke(*words, "-c", "one", "-c", "two", "--svg", "a.svg").code == 0
    assert (two / "a.svg").read_text().startswith("<svg")


def test_the_state_of_several_networks_goes_on_as_if_it_had_never_stopped(invoke: Invoke, two: Path) -> None:
    words = ["sample", "-c", "one", "-c", "two"]
    whole = invoke(*words, "--seed", "3", "-n", "60").stdout
    first = invoke(*words, "--seed", "3", "-n", "30", "--save-state", "state").stdout
    assert first.removesuffix("\n") + invoke(*words, "--load-state", "state", "-n", "30").stdout == whole
    talk = invoke(*words, "-i", "--seed", "3", "-n", "30", stdin=b"Th\n/save state\n\n")
    first, then = talk.stdout[:30], talk.stdout[-31:]
    assert len(first) == 30
    assert invoke(*words, "--load-state", "state", "-n", "30").stdout == then
    for others in (["-c", "two", "-c", "one"], ["-c", "one"], ["-c", "one", "-c", "one"]):
        done = invoke("sample", *others, "--load-state", "state")
        assert (done.code, done.stdout) == (1, "")
        assert re.match(
            "charrnn: state: the state of (another network|other networks, or of these in another order); name", done.stderr
        )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample", "--clamp", "0:1=1"], "--clamp holds a unit of one network, not of several; name one, as -c "),
        (["inspect", "--file", "text"], "several --checkpoint"),
        (["inspect", "--file", "text", "--unit", "0:1"], "several --checkpoint"),
        (["inspect", "--file", "text", "--color", "surprise", "--json"], "several --checkpoint"),
        (["inspect", "--file", "text", "--color", "surprise", "--html", "a.html"], "several --checkpoint"),
    ],
)
def test_what_is_of_one_network_is_refused_for_several_in_a_line(
    invoke: Invoke, two: Path, words: list[str], said: str
) -> None:
    done = invoke(*words, "-c", "one", "-c", "two")
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_networks_that_know_other_characters_are_refused_in_a_line(invoke: Invoke, two: Path) -> None:
    network(two / "other", known="\nabc")
    for words in (["sample", "-n", "3"], ["score", "text"], ["next", "a"], ["inspect", "ab", "--color", "entropy"]):
        done = invoke(*words, "-c", "one", "-c", "other")
        assert (done.code, done.stdout) == (1, "")
        assert re.fullmatch(
            r"charrnn: other/best.safetensors: knows other characters than one/best.safetensors .*\n", done.stderr
        )


def test_where_networks_are_compared_they_stay_apart(invoke: Invoke, two: Path) -> None:
    network(two / "other", known="".join(sorted({*TEXT, "x"})))
    done = invoke("inspect", "--file", "text", "--memory", "--json", "-c", "one", "-c", "other")
    assert [record["label"] for record in records(done)] == ["one", "other"]
    assert "mean" not in done.stderr


# -- a run of several -------------------------------------------------------------------------------------------------


@pytest.fixture
def members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two networks, the older network of another run, and a text."""
    monkeypatch.setattr("time.time", lambda: NOW - 500)
    network(tmp_path / "checkpoints/older")
    for number in range(2):
        monkeypatch.setattr("time.time", lambda: NOW - 130)
        network(tmp_path / f"checkpoints/novel/member-{number}", seed=number)
    monkeypatch.setattr("time.time", lambda: NOW)
    (tmp_path / "text").write_text(TEXT)
    return tmp_path


@pytest.mark.parametrize("words", [["score", "text"], ["next", "Th"], ["sample", "-n", "9", "--seed", "1"]])
def test_a_run_of_several_networks_stands_for_their_mean(invoke: Invoke, members: Path, words: list[str]) -> None:
    each = [option for number in range(2) for option in ("-c", f"checkpoints/novel/member-{number}")]
    wanted = invoke(*words, *each).stdout
    assert wanted
    assert invoke(*words, "-c", "checkpoints/novel").stdout == wanted
    done = invoke(*words)
    assert done.stdout == wanted
    assert done.stderr == "charrnn: the mean of 2 networks, checkpoints/novel (2 minutes old)\n"
    alone = invoke(*words, "-c", "checkpoints/novel/member-1")
    assert (alone.code, alone.stderr) == (0, "")
    assert alone.stdout != wanted
    three = invoke(*words, "-c", "checkpoints/older", "-c", "checkpoints/novel")
    assert three.stderr == "charrnn: the mean of 3 networks\n"
    latest = invoke(*words, "-c", "checkpoints/older", "-c", "latest")
    assert latest.stderr == "charrnn: the mean of 3 networks, checkpoints/novel (2 minutes old)\n"
    assert latest.stdout == three.stdout


def test_a_run_of_several_is_compared_and_listed_by_its_members(invoke: Invoke, members: Path) -> None:
    done = invoke("inspect", "--memory", "--file", "text", "--json", "-c", "checkpoints/novel")
    assert [record["label"] for record in records(done)] == ["member-0", "member-1"]
    listed = records(invoke("info", "checkpoints/novel", "--json"))
    assert [record["path"] for record in listed] == [f"checkpoints/novel/member-{n}/best.safetensors" for n in range(2)]


@pytest.mark.parametrize("words", [["encode", "text", "--npz", "a.npz"], ["train", "text", "--init-from", "checkpoints/novel"]])
def test_what_takes_one_network_names_the_members_of_a_run_of_several(invoke: Invoke, members: Path, words: list[str]) -> None:
    done = invoke(*words, *([] if "train" in words else ["-c", "checkpoints/novel"]))
    assert (done.code, done.stdout) == (1, "")
    said = "charrnn: checkpoints/novel: a run of 2 networks; name one of them, as checkpoints/novel/member-0\n"
    assert done.stderr == said


def test_a_run_of_several_is_never_taken_for_an_empty_directory(invoke: Invoke, members: Path, tmp_path: Path) -> None:
    done = invoke("train", "text", "--steps", "1", "--out", "checkpoints/novel")
    assert done.code == 1
    assert (
        "already holds a run; go on with it by charrnn train --resume checkpoints/novel, replace it by --overwrite"
        in done.stderr
    )
    tiny = ("--steps", "1", "--hidden-size", "8", "--workers", "1")
    assert invoke("train", "text", *tiny, "--out", "checkpoints/novel", "--overwrite").code == 0
    assert not (tmp_path / "checkpoints/novel/member-0").exists()


@pytest.mark.parametrize("verb", VERBS, ids=IDS)
def test_a_name_as_long_as_names_may_be_is_a_runs_and_a_longer_one_is_refused_by_its_name(
    tmp_path: Path, invoke: Invoke, verb: list[str]
) -> None:
    (tmp_path / "text").write_text(TEXT)
    longest = "r" * 255
    network(tmp_path / longest)
    assert invoke(*verb, "-c", longest).code == 0
    done = invoke(*verb, "-c", f"{longest}r")
    assert (done.code, done.stderr) == (1, f"charrnn: {longest}r: File name too long\n")
