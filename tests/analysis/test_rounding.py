"""Weights in fewer bits, and what that costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_networks
from conftest import FABLES, ROOT

from charrnn import CharrnnError
from charrnn.analysis import rounding
from charrnn.analysis.features import random_network
from charrnn.analysis.judge import Judge
from charrnn.config import ModelConfig
from charrnn.generation.filters import nats_of
from charrnn.network import checkpoint, classifier
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary("char", "\n abc")


def made(scale: float = 1.0) -> Checkpoint:
    config = ModelConfig(VOCABULARY.size, embedding_size=3, hidden_size=6)
    weights = random_network(config, np.random.default_rng(0)).weights
    return Checkpoint(
        config, VOCABULARY, {}, {name: tensor * np.float32(scale) for name, tensor in weights.items()}, path=Path("x")
    )


def test_a_row_of_int8_is_off_by_half_a_step_at_most() -> None:
    tensor = np.random.default_rng(0).normal(0, 1, (5, 400)).astype(np.float32)
    tensor[1] *= 1000
    tensor[2] = 0
    found = rounding.rounded(tensor, "int8")
    assert found.values.dtype == np.int8
    assert found.scales is not None
    assert (np.abs(found.restored() - tensor) <= 0.5001 * found.scales[:, None]).all()
    assert np.abs(found.values).max(axis=1).tolist() == [127, 127, 0, 127, 127]


def test_float16_holds_what_it_can_and_biases_stay_as_they_are() -> None:
    tensor = np.array([[1.0, -1e9, 1e-3]], dtype=np.float32)
    np.testing.assert_allclose(rounding.rounded(tensor, "float16").restored(), [[1, -65504, 1e-3]], rtol=1e-3)
    for form in rounding.FORMS:
        bias = rounding.rounded(tensor[0], form)
        assert bias.form == "float32"
        np.testing.assert_array_equal(bias.restored(), tensor[0])


def test_the_bits_are_those_of_each_stream_read_by_itself() -> None:
    trained = made(3)
    network, rng = Network(trained.model, trained.weights), np.random.default_rng(1)
    streams = [rng.integers(0, 5, length) for length in (9, 4, 7, 2)]
    nats = [nats_of(network.unroll(one[:-1, None])[0][:, 0], one[1:]).sum() for one in streams]
    expected = sum(nats) / np.log(2) / sum(len(one) - 1 for one in streams)
    assert rounding.bits_per_char(network, streams) == pytest.approx(expected, abs=1e-5)


def test_the_smallest_form_is_taken_that_costs_little_and_float16_where_none_does(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [np.random.default_rng(1).integers(0, 5, 300)]
    gentle = rounding.choose(made(), streams)
    assert gentle.form == "int8"
    assert gentle.characters == 299
    assert abs(gentle.costs["int8"]) < rounding.MOST
    monkeypatch.setattr(rounding, "MOST", -1.0)
    assert rounding.choose(made(), streams).form == "float16"
    monkeypatch.undo()
    wild = rounding.choose(made(40), streams)  # where a small step of a weight turns a unit over
    assert wild.form == next((form for form in rounding.FORMS if wild.costs[form] <= rounding.MOST), "float16")
    assert {name: tensor.shape for name, tensor in wild.weights().items()} == made().model.parameter_shapes()


def test_a_network_that_predicts_nothing_is_refused() -> None:
    trained = made()
    trained.weights["head.weight"][0] = np.nan
    with pytest.raises(CharrnnError, match=r"^x: the network predicts numbers that are not finite; there is nothing to show$"):
        rounding.choose(trained, [np.zeros(5, dtype=np.intp)])


def test_a_text_is_cut_into_streams_and_a_list_into_its_lines() -> None:
    trained, ids = made(), VOCABULARY.encode("ab\n\nc\n" * 200)
    newline = int(VOCABULARY.encode("\n")[0])
    streams = rounding.streams_of(ids, trained)
    assert [len(one) for one in streams] == [501, 501, 201]
    assert {int(one[0]) for one in streams} == {newline}
    np.testing.assert_array_equal(np.concatenate([one[1:] for one in streams]), ids)
    lines = rounding.streams_of(ids, trained, records=True)
    assert {VOCABULARY.decode(one) for one in lines} == {"\nab\n", "\nc\n"}
    assert len(lines) == 400


def test_eight_bits_cost_the_shipped_network_less_than_half_a_hundredth_of_a_bit() -> None:
    trained = checkpoint.read(FABLES / "best.safetensors")
    ids = trained.vocabulary.encode((ROOT / "corpora/fables.txt").read_text(encoding="utf-8"))[-4000:]
    found = rounding.choose(trained, rounding.streams_of(ids, trained))
    assert found.form == "int8"
    assert max(found.costs.values()) < 0.005


@pytest.mark.parametrize("scale", [1, 30])
def test_a_classifier_takes_the_smallest_form_that_hardly_moves_its_answers(scale: float, tmp_path: Path) -> None:
    found = classifier.read(small_networks.classifier(tmp_path / "c") / classifier.NAME)
    head = {"head.weight": found.weights["head.weight"] * np.float32(scale)}
    found = replace(found, weights={**found.weights, **head})
    texts = ["what time is it", "no", "wake me"]
    kept = rounding.choose_for_answers(found, texts)
    before = Judge(found).probabilities(texts)
    for form in rounding.FORMS:
        weights = {name: rounding.rounded(tensor, form).restored() for name, tensor in found.weights.items()}
        after = Judge(replace(found, weights=weights)).probabilities(texts)
        assert kept.costs[form].moved == pytest.approx(np.abs(after - before).max(axis=1).mean())  # of two labels
        assert kept.costs[form].changed == np.sum(after.argmax(axis=1) != before.argmax(axis=1))
    assert kept.form == ("int8" if kept.costs["int8"].moved <= rounding.MOST else "float16")
    unread = rounding.choose_for_answers(found, [])
    assert (unread.form, unread.costs) == ("float16", {})
