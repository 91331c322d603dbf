"""Which network a verb works with, and when stderr names it."""

from __future__ import annotations

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
