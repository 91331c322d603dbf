"""Which network a verb works with, and when stderr names it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
