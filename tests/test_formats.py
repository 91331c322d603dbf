"""Formats live long: runs, logs and state files of earlier versions are read, and give what those versions made of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import files
from charrnn.analysis import traces
from charrnn.network import checkpoint
from charrnn.network.checkpoint import Checkpoint

FIXTURES = Path(__file__).parent / "fixtures"
OPTIMIZERS = {"lstm": "soap", "gru": "adamw", "rnn": "muon"}
TOLERANCE = 1e-4
"""Another processor's kernels sum in another order. Of a perturbation of 1e-7 in all weights, ten steps make less than this."""

Invoke = Callable[..., Any]


@pytest.fixture(params=sorted(path.name for path in FIXTURES.iterdir()))
def version(request: pytest.FixtureRequest) -> Path:
    """What one earlier version wrote."""
    return FIXTURES / str(request.param)


def assert_close(found: Checkpoint, expected: Checkpoint) -> None:
    assert (found.model, found.vocabulary) == (expected.model, expected.vocabulary)
    for name, weight in expected.weights.items():
        np.testing.assert_allclose(found.weights[name], weight, atol=TOLERANCE, rtol=0, err_msg=name)
    kinds, were = (
        {name: (array.dtype, array.shape) for name, array in one.extra.items() if not name.startswith(checkpoint.ROW_RMS)}
        for one in (found, expected)
    )
    assert kinds == were  # What was added since is `row_rms`.


@pytest.mark.parametrize("cell", OPTIMIZERS)
def test_the_checkpoints_and_the_log_are_read(cell: str, version: Path) -> None:
    for kind in ("best", "last"):
        found = checkpoint.read(version / cell / f"{kind}.safetensors")
        assert (found.model.cell, found.model.hidden_size, found.vocabulary.size) == (cell, 6, 36)
        assert found.training["step"] == 10
        assert found.when.startswith("20")
    events = list(files.json_lines(version / cell / "log.jsonl"))
    assert (events[0]["event"], events[0]["config"]["optimizer"], events[-1]["event"]) == ("start", OPTIMIZERS[cell], "end")
    history = traces.history(version / cell / "best.safetensors")
    assert [event["step"] for event in history if event["event"] == "step"] == [2, 4, 6, 8, 10]


@pytest.mark.parametrize("cell", OPTIMIZERS)
def test_the_text_scores_as_it_did(cell: str, version: Path, invoke: Invoke) -> None:
    expected = json.loads((version / "expected" / f"{cell}-score.json").read_text())
    found = json.loads(invoke("score", version / "text.txt", "-c", version / cell, "--json").stdout)
    assert found["characters"] == expected["characters"]
    assert found["bits_per_char"] == pytest.approx(expected["bits_per_char"], abs=1e-5)


@pytest.mark.parametrize("cell", OPTIMIZERS)
@pytest.mark.parametrize("draws", ["likeliest", "seed-7"])
def test_the_same_draws_give_the_same_text(draws: str, cell: str, version: Path, invoke: Invoke) -> None:
    options = {"likeliest": ("--temp", 0), "seed-7": ("--seed", 7)}[draws]
    result = invoke("sample", "-c", version / cell, "-n", 40, "-p", "The ", "-q", *options)
    assert result.stdout == (version / "expected" / f"{cell}-{draws}.txt").read_text()


@pytest.mark.parametrize("cell", OPTIMIZERS)
def test_a_text_goes_on_from_its_state_file(cell: str, version: Path, invoke: Invoke) -> None:
    state = version / cell / "state.safetensors"
    result = invoke("sample", "-c", version / cell, "-n", 40, "-q", "--load-state", state)
    assert result.stdout == (version / "expected" / f"{cell}-goes-on.txt").read_text()


@pytest.mark.parametrize("cell", OPTIMIZERS)
def test_a_run_goes_on_to_the_same_weights(cell: str, version: Path, invoke: Invoke, tmp_path: Path) -> None:
    shutil.copytree(version / cell, tmp_path / "run")
    # The text is named, because a run knows the place where it was, which was on another machine.
    result = invoke("train", version / "text.txt", "--resume", tmp_path / "run", "--steps", 20, "-q")
    assert (result.code, result.stderr) == (0, "")
    found = checkpoint.read(tmp_path / "run" / "last.safetensors")
    expected = checkpoint.read(version / "expected" / f"{cell}-last.safetensors")
    assert found.training["step"] == expected.training["step"] == 20
    assert found.training["corpus_sha256"] == expected.training["corpus_sha256"]
    assert_close(found, expected)


@pytest.mark.parametrize("cell", OPTIMIZERS)
def test_the_same_seed_learns_the_same_weights(cell: str, version: Path, invoke: Invoke, tmp_path: Path) -> None:
    expected = checkpoint.read(version / cell / "last.safetensors")
    options = ["--cell", cell, "--optimizer", OPTIMIZERS[cell], "--hidden-size", 6, "--embedding-size", 4, "--steps", 10]
    options += ["--batch-size", 2, "--bptt", 8, "--seed", 3, "--dropout", 0.1, "--eval-every", 5, "--log-every", 2]
    options += ["--device", "cpu", "--precision", "fp32", "--workers", 1, "-q", "--out", tmp_path / "run"]
    options += ["--pairs", 0]  # which no network had
    assert invoke("train", version / "text.txt", *options).code == 0
    assert_close(checkpoint.read(tmp_path / "run" / "last.safetensors"), expected)
