"""The measurement of the machine: that every figure is there, and is what its name says."""

from __future__ import annotations

import functools
import io
import json
import os
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import OF_TORCH

from charrnn import CharrnnError
from charrnn.config import ModelConfig
from charrnn.network.cells import Network
from charrnn.output.notation import bench_heading, three_digits
from charrnn.output.tables import bench_table
from charrnn.training import bench
from charrnn.training.device import choose_precision

Invoke = Callable[..., Any]
PRECISIONS = ["fp32"] + ["bf16"] * (choose_precision("auto", torch.device("cpu")) == "bf16")
CELLS = OF_TORCH
FIELDS = {"group", "name", "unit", "median", "low", "high", "beside", "ratio", "ceiling"}
EXPECTED = (
    {("matrix products", precision) for precision in PRECISIONS}
    | {("training", f"{cell} {name}") for cell in CELLS for name in ("torch.nn fp32", *PRECISIONS)}
    | {
        ("sampling", f"{cell} {name}{beside}")
        for cell in CELLS
        for name in ("1 stream", "64 streams")
        for beside in ("", " torch.nn")
    }
    | {("encoding", "file to ids"), ("cold start", "--help"), ("cold start", "sample -n 1"), ("cold start", "import torch")}
)


@pytest.mark.usefixtures("one_thread")
def test_the_command_measures_everything_there_is(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a network that takes no time."""
    monkeypatch.setattr(bench, "ModelConfig", functools.partial(ModelConfig, hidden_size=16))
    result = invoke("bench", "--seconds", "1", "--rounds", "1", "--json")
    assert result.code == 0, result
    machine, *figures = [json.loads(line) for line in result.stdout.splitlines()]
    assert machine["group"] == "machine"
    assert machine["cores"] == os.cpu_count()
    assert all(str(machine[name]) in bench_heading(machine) for name in ("processor", "cores", "threads", "torch", "numpy"))
    assert {(figure["group"], figure["name"]) for figure in figures} == EXPECTED
    assert len(figures) == len(EXPECTED)
    for figure in figures:
        assert figure.keys() == FIELDS
        assert 0 < figure["low"] <= figure["median"] <= figure["high"]
        compared = figure["group"] in ("training", "sampling") and "torch.nn" not in figure["name"]
        assert (figure["ratio"] is not None) is (figure["beside"] is not None) is compared
        assert (figure["ceiling"] is not None) is (compared and figure["group"] == "training")
        assert figure["beside"] is None or (figure["group"], figure["beside"]) in EXPECTED
    by_name = {figure["name"]: figure for figure in figures}
    for cell in CELLS:
        config, trained = ModelConfig(vocab_size=64, cell=cell, hidden_size=16), by_name[f"{cell} {PRECISIONS[-1]}"]
        products = by_name[PRECISIONS[-1]]
        share = bench.training_flops(config) * trained["median"] / 1e9
        # Each cell's round has a measure of its own.
        assert share / products["high"] <= trained["ceiling"] * 1.0001
        assert trained["ceiling"] <= share / products["low"] * 1.0001
        for name, beside in ((f"{cell} fp32", f"{cell} torch.nn fp32"), (f"{cell} 1 stream", f"{cell} 1 stream torch.nn")):
            ratio = by_name[name]["median"] / by_name[beside]["median"]
            assert by_name[name]["ratio"] == pytest.approx(ratio)  # of one round
    table = bench_table(figures, framed=False)
    assert table.row_count == len(figures)


def test_contenders_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def rate(step: Callable[[], object], seconds: float) -> float:
        made.append(getattr(step, "__qualname__", ""))
        return 1.0

    class Plain:
        __enter__ = __exit__ = lambda self, *_: self

        def rate(self, config: ModelConfig, seconds: float) -> float:
            made.append("plain")
            return 1.0

    monkeypatch.setattr(bench, "rate", rate)
    monkeypatch.setattr(bench, "PlainTraining", Plain)
    monkeypatch.setattr(bench, "ModelConfig", functools.partial(ModelConfig, hidden_size=16))
    list(bench.training(1.0, 3))
    a_round = len(made) // (3 * len(CELLS))
    assert a_round == 1 + 3 * len(PRECISIONS)
    for cell in range(len(CELLS)):
        rounds = made[3 * a_round * cell :][: 3 * a_round]
        assert rounds == rounds[:a_round] * 3
        assert rounds.count("plain") == 3


def test_the_plain_loop_trains_in_a_process_of_its_own() -> None:
    config = ModelConfig(vocab_size=64, hidden_size=16)
    with bench.PlainTraining() as plain:
        assert plain._process.pid != os.getpid()
        assert all(plain.rate(config, 0.01) > 0 for _ in range(2))
        plain._process.kill()
        with pytest.raises(CharrnnError, match="loop ended before"):
            plain.rate(config, 0.01)
    assert plain._process.returncode is not None


def test_what_that_process_answers_is_the_rate_of_the_loop_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[Callable[[], object]] = []

    def rate(step: Callable[[], object], seconds: float) -> float:
        known.append(step)
        return 100 * seconds

    monkeypatch.setattr(bench, "rate", rate)
    lstm, gru = (ModelConfig(vocab_size=64, cell=cell, hidden_size=16).to_json() for cell in ("lstm", "gru"))
    out = io.StringIO()
    bench.answer([json.dumps([shape, seconds]) for shape, seconds in ((lstm, 2), (gru, 3), (lstm, 4))], out)
    assert out.getvalue().split() == ["200", "300", "400"]
    assert known[0] is known[2] is not known[1]


def test_that_process_ends_without_a_word_where_whoever_asked_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "rate", lambda step, seconds: seconds)
    shape = ModelConfig(vocab_size=64, hidden_size=16).to_json()
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as out:
        bench.answer([json.dumps([shape, 1])] * 2, out)


def test_the_bench_leaves_torch_its_threads(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr(bench, "measure", lambda *_: iter(()))
    assert invoke("bench").stdout.splitlines()[0] == bench_heading(bench.machine()).rstrip()
    assert "MKL_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "A Processor, 4 cores, torch 2.9, NumPy 2.1\n"),
        ({"threads": 2}, "A Processor, 2 of 4 cores, torch 2.9, NumPy 2.1\n"),
        ({"environment": {"OMP_X": "1"}}, "A Processor, 4 cores, torch 2.9, NumPy 2.1, OMP_X=1\n"),
    ],
)
def test_the_heading_names_the_machine(changed: dict[str, Any], expected: str) -> None:
    machine = {"processor": "A Processor", "cores": 4, "threads": 4, "torch": "2.9", "numpy": "2.1", "environment": {}}
    assert bench_heading(machine | changed) == expected


def test_a_figure_is_the_median_with_its_range_and_its_ratio_the_median_of_the_rounds() -> None:
    figure = bench._figure("g", "n", "u", [10.0, 30.0, 20.0], "other", [10.0, 10.0, 40.0], 0.5)
    assert (figure.median, figure.low, figure.high) == (20, 10, 30)
    assert figure.ratio == statistics.median([1.0, 3.0, 0.5]) == 1.0
    assert (figure.beside, figure.ceiling) == ("other", 0.5)


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 2), (10.0, 101)])
def test_a_rate_is_calls_per_second_without_the_warm_up(seconds: float, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now, made = [50.0], []

    def step() -> None:
        made.append(1)
        now[0] += 1.0 if len(made) == 1 else 0.1  # the first call is slow, as first calls are

    monkeypatch.setattr(bench.time, "perf_counter", lambda: now[0])
    assert bench.rate(step, seconds) == pytest.approx(10)
    assert len(made) <= calls


def test_operations_per_character_are_counted_by_hand() -> None:
    """LSTM 2 x 5, 3 inputs, 7 symbols: matrices 20 x 3, three of 20 x 5, and 7 x 5; each once forwards and twice back."""
    config = ModelConfig(7, "lstm", embedding_size=3, hidden_size=5, num_layers=2)
    assert bench.training_flops(config) == 6 * (60 + 100 + 100 + 100 + 35)


@pytest.mark.parametrize("cell", CELLS)
def test_the_loop_beside_it_is_the_same_network_and_learns(cell: str) -> None:
    config = ModelConfig(7, cell, embedding_size=3, hidden_size=5, num_layers=2)
    weights = bench.random_weights(config)
    loop = bench.TorchLoop(config, weights)
    ids = np.arange(20)[:, None] % 7
    with torch.no_grad():
        logits = loop.head(loop.rnn(loop.embedding(torch.from_numpy(ids.T)))[0])
    np.testing.assert_allclose(logits[0].numpy(), Network(config, weights).unroll(ids)[0][:, 0], rtol=1e-4, atol=1e-5)
    step = loop.trainer(3, 6)
    losses = [step() for _ in range(150)]
    assert losses[-1] < 0.97 * losses[0]


@pytest.mark.parametrize("cell", CELLS)
def test_both_generators_draw_for_every_stream(cell: str) -> None:
    config = ModelConfig(7, cell, embedding_size=3, hidden_size=5)
    weights = bench.random_weights(config)
    own, loop = bench.batch(Network(config, weights), 4), bench.TorchLoop(config, weights).generate(4, 0.8, 0)
    for ids in (next(own), next(loop)):
        assert len(ids) == 4
        assert all(0 <= int(index) < 7 for index in ids)


@pytest.mark.parametrize(
    ("value", "text"), [(123456.7, "123,000"), (999.6, "1,000"), (12.345, "12.3"), (0.12345, "0.12"), (3.14159, "3.14")]
)
def test_figures_are_shown_with_digits_that_mean_something(value: float, text: str) -> None:
    assert three_digits(value) == text


@pytest.mark.parametrize(("option", "value"), [("--seconds", "0"), ("--rounds", "0"), ("--rounds", "x")])
def test_a_request_that_cannot_be_measured_is_a_usage_error(option: str, value: str, invoke: Invoke) -> None:
    result = invoke("bench", option, value)
    assert (result.code, result.stdout) == (2, "")
    assert option in result.stderr
