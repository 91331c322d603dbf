"""ensemble: the mean of log-probabilities, renormalised, by the definition; each member reads as it does alone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_networks import network

from charrnn import CharrnnError
from charrnn.analysis import scoring
from charrnn.analysis.scoring import Scorer
from charrnn.config import ModelConfig
from charrnn.generation.filters import softmax
from charrnn.generation.generate import opening
from charrnn.network import columns, ensemble
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.ensemble import TracedEnsemble, state_shape, together
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.torch_stepper import TorchNetwork

SHAPES = [("lstm", 2, 5, 0.7), ("gru", 1, 7, 1.0), ("rnn", 1, 4, 1.6)]
"""Cell, layers, units and temperature of networks that have little in common."""


def trained(cell: str, layers: int, units: int, temperature: float, seed: int = 0) -> Checkpoint:
    vocabulary = Vocabulary("char", "\n abcde")
    model = ModelConfig(vocabulary.size, cell, embedding_size=3, hidden_size=units, num_layers=layers)
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(0, 0.8, shape).astype(np.float32) for name, shape in model.parameter_shapes().items()}
    return Checkpoint(model, vocabulary, {}, weights, temperature=temperature)


@pytest.fixture(scope="module")
def three() -> list[Checkpoint]:
    return [trained(*shape, seed=seed) for seed, shape in enumerate(SHAPES)]


def read_alone(one: Checkpoint, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities (T, N, V) of the calibrated network, and its last state."""
    alone = Network(one.model, one.weights)
    logits, state, _ = alone.unroll(ids, alone.initial_state(ids.shape[1]))
    return np.log(softmax(logits.astype(np.float64) / one.temperature)), state


@pytest.mark.parametrize("streams", [1, 4])
@pytest.mark.parametrize("count", [2, 3])
def test_the_mean_is_that_of_log_probabilities_renormalised(three: list[Checkpoint], streams: int, count: int) -> None:
    members = three[:count]
    mean = together(members)
    assert isinstance(mean, TracedEnsemble)
    ids = np.random.default_rng(1).integers(0, mean.vocab_size, (20, streams))
    alone = [read_alone(one, ids) for one in members]
    wanted = np.mean([logs for logs, _ in alone], axis=0)
    wanted = np.exp(wanted) / np.exp(wanted).sum(axis=-1, keepdims=True)
    state = mean.initial_state(streams)
    step = mean.stepper(state)
    stepped = np.stack([step(row).copy() for row in ids])
    np.testing.assert_allclose(softmax(stepped), wanted, atol=1e-5)
    unrolled, new, traces = mean.unroll(ids, mean.initial_state(streams))
    np.testing.assert_allclose(softmax(unrolled), wanted, atol=1e-5)
    for own, after, (_, last) in zip(mean.parts(state), mean.parts(new), alone, strict=True):
        np.testing.assert_allclose(own, last, atol=1e-5)
        np.testing.assert_allclose(after, last, atol=1e-5)
    assert [trace.h.shape[2] for trace in traces] == [shape.hidden_size for shape in mean.layers()]


def test_a_network_alone_is_no_ensemble_and_twice_the_same_is_the_same(three: list[Checkpoint]) -> None:
    alone, twice = together(three[:1]), together([three[0], three[0]])
    assert isinstance(alone, Network)
    ids = np.random.default_rng(1).integers(0, alone.vocab_size, (20, 1))
    (one, _, _), (other, _, _) = alone.unroll(ids), twice.unroll(ids, twice.initial_state(1))
    np.testing.assert_array_equal(one, other)


def test_streams_of_an_ensemble_may_leave_and_come_like_those_of_a_network(three: list[Checkpoint]) -> None:
    mean = together(three)
    ids = np.random.default_rng(2).integers(0, mean.vocab_size, (6, 5))
    whole = mean.initial_state(5)
    step = mean.stepper(whole)
    for row in ids:
        last = step(row).copy()
    kept = np.array([3, 1])
    some = np.ascontiguousarray(mean.initial_state(5)[:, :, kept])
    step = mean.stepper(some)
    for row in ids:
        logits = step(row[kept]).copy()
    np.testing.assert_allclose(logits, last[kept], atol=1e-6)
    np.testing.assert_allclose(some, whole[:, :, kept], atol=1e-6)


def test_a_long_text_is_read_in_columns_as_in_one_stream(three: list[Checkpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    mean, vocabulary = together(three), three[0].vocabulary
    monkeypatch.setattr(columns, "OVERLAP", 48)
    monkeypatch.setattr(columns, "SEAM", 16)
    monkeypatch.setattr(columns, "SHORTEST", 96)
    monkeypatch.setattr(scoring, "EXACT_BELOW", 100)
    text = [np.random.default_rng(3).choice(vocabulary.units(vocabulary.characters), 700)]
    scores = []
    for exact in (True, False):
        scorer = Scorer(mean, vocabulary, workers=2)
        tally = scorer.tally()
        for piece in scorer.carried(text, exact=exact):
            tally.add(piece)
        scores.append(tally.nats)
        assert (scorer.reader.seam is None) == exact
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_a_score_without_temperatures_is_told_where_they_are_the_same(three: list[Checkpoint]) -> None:
    text = [three[0].vocabulary.units("abc de\n" * 9)]

    def score(*temperatures: float) -> dict[str, float]:
        members = [replace(one, temperature=temperature) for one, temperature in zip(three, temperatures, strict=False)]
        scorer = Scorer(together(members), three[0].vocabulary)
        return scorer.tally().add(next(scorer.carried(text))).to_json()

    plain, same, other = score(1, 1), score(0.5, 0.5), score(0.5, 0.7)
    assert same["uncalibrated_bits_per_char"] == pytest.approx(plain["bits_per_char"], rel=1e-6)
    assert other["uncalibrated_bits_per_char"] is None
    assert math.isfinite(other["bits_per_char"])


def test_on_a_device_the_mean_is_the_same(three: list[Checkpoint]) -> None:
    here = together(three)
    there = ensemble.Ensemble([TorchNetwork(one.model, one.weights, "cpu", one.temperature) for one in three])
    ids = np.random.default_rng(1).integers(0, here.vocab_size, (5, 3))
    one, other = here.stepper(here.initial_state(3)), there.stepper(there.initial_state(3))
    for row in ids:
        np.testing.assert_allclose(one(row), other(row), atol=1e-4)


def test_states_are_as_large_as_their_networks_say(three: list[Checkpoint]) -> None:
    models = [one.model for one in three]
    assert state_shape(models[:1]) == Network(models[0], three[0].weights).initial_state(1).shape
    assert state_shape(models) == together(three).initial_state(1).shape == (1, 1, 1, 2 * 2 * 5 + 7 + 4)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"known": "\nabx"},
            r"b/best.safetensors: knows other characters than .*a/best.safetensors \(only one has 'c' 'x'\); only ",
        ),
        ({"known": "\n"}, r"\(only one has 'a' 'b' 'c'\)"),
        ({"known": "\n\x1babcdefghijk"}, r"only one has '\\x1b' 'd' 'e' 'f' 'g' 'h' 'i' 'j' and 1 more"),
        ({"level": "byte"}, r"b/best.safetensors: reads bytes, unlike .*a/best.safetensors; only networks"),
        (
            {
                "known": "\nabc",
                "records": {"count": 3, "held_out": 1, "duplicates": 0, "blank": 0, "longest": 3, "mean_length": 2.0},
            },
            r"b/best.safetensors: learned records, unlike .*a/best.safetensors",
        ),
    ],
    ids=["other characters", "fewer", "many", "bytes", "records"],
)
def test_networks_that_have_no_mean_are_refused_with_the_reason(tmp_path: Path, other: dict, said: str) -> None:
    paths = [network(tmp_path / "a", "\nabc"), network(tmp_path / "b", **other)]
    with pytest.raises(CharrnnError, match=said) as caught:
        ensemble.read([path / "best.safetensors" for path in paths])
    assert str(caught.value).isprintable()


def test_the_temperature_in_common_leaves_each_its_own(three: list[Checkpoint]) -> None:
    common = ensemble.common_temperature(three)
    apart = together(three, lambda one: Network(one.model, one.weights, temperature=one.temperature / common))
    whole = together(three)
    ids = opening(three[0].vocabulary).astype(np.intp)
    one, other = (each.stepper(each.initial_state(1))(ids) for each in (apart, whole))
    np.testing.assert_allclose(one / np.float32(common), other, rtol=1e-5)
    assert ensemble.common_temperature(three[:1]) == three[0].temperature
