"""Features of a text, and the units that follow them."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from charrnn.analysis.features import (
    FEATURES,
    MARGIN,
    RANDOM_NETWORKS,
    Finding,
    by_chance,
    correlations,
    features,
    find,
    random_network,
)
from charrnn.config import GATES, ModelConfig
from charrnn.network import checkpoint
from charrnn.network.cells import Network

FABLES = (ROOT / "corpora/fables.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("feature", "text", "expected"),
    [
        ("position in the line", "ab\n\ncd", [1, 2, 0, 0, 1, 2]),
        ("inside quotes", 'a "b" c', [0, 0, 1, 1, 0, 0, 0]),
        ("inside quotes", '"a\n\nb"', [1, 1, 1, 0, 0, 1]),  # a paragraph ends a quotation that was left open
        ("inside quotes", "\u201ca\u201d b", [1, 1, 0, 0, 0]),
        ("inside brackets", "a(b[c])d", [0, 1, 1, 1, 1, 1, 0, 0]),
        ("depth of brackets", "a(b[c])d", [0, 1, 1, 2, 2, 1, 0, 0]),
        ("depth of brackets", "a) :( {b}", [0, 0, 0, 0, 0, 0, 1, 1, 0]),  # what closes nothing, what is never closed
        ("depth of brackets", "([)]", [1, 1, 0, 0]),
        ("indentation", "  a b\n\tc\nd", [1, 2, 2, 2, 2, 0, 1, 1, 0, 0]),
        ("position in the word", "ab c2d", [1, 2, 0, 1, 0, 1]),
        ("capital letter", "aB É.", [0, 1, 0, 1, 0]),
        ("digit", "a1 2", [0, 1, 0, 1]),
        ("after a colon", "a: b\nc", [0, 1, 1, 1, 0, 0]),
        ("after a colon", "A:\nb\nc", [0, 1, 1, 1, 0, 0]),
        ("speaker's line", "KING:\nHo: so\nOf a. b:\n", [1, 1, 1, 1, 1, *[0] * 17]),
        ("since newline or space", "ab c\nd", [1, 2, 0, 1, 0, 1]),
        ("length so far", "abc", [0, 1, 2]),
    ],
)
def test_a_feature_is_what_its_name_says(feature, text, expected):
    np.testing.assert_array_equal(features(text)[feature], expected)


@given(st.text("()[]{}a", max_size=30))
def test_the_depth_of_brackets_is_that_of_a_direct_search(text):
    change, waiting = [0] * (len(text) + 1), []
    for position, character in enumerate(text):
        if character in "([{":
            waiting.append((character, position))
        elif character in ")]}":
            match = [n for n, (opened, _) in enumerate(waiting) if opened + character in ("()", "[]", "{}")]
            if match:
                change[waiting[match[-1]][1]] += 1
                change[position] -= 1
                del waiting[match[-1] :]
    assert features(text)["depth of brackets"].tolist() == np.cumsum(change[:-1]).tolist() if text else True


def test_brackets_that_are_never_closed_cost_one_look_each():
    """Looked for from each bracket that closes nothing, these would take minutes."""
    count = 100_000
    assert not features("(" * count + "]" * count)["depth of brackets"].any()
    assert features(("(" * count + "[") + "])" * count)["depth of brackets"][count] == count + 1


@pytest.mark.parametrize("text", ["", "x", FABLES[:500], "([{" * 50 + ")" * 20])
def test_every_feature_is_a_number_for_every_character(text):
    found = features(text)
    assert found.keys() == FEATURES.keys()
    for values in found.values():
        assert values.shape == (len(text),)
        assert np.isfinite(values).all()


@pytest.mark.parametrize(("cell", "length"), [("lstm", 400), ("gru", 401), ("rnn", 400)])
def test_correlations_equal_numpys_own_unit_by_unit(cell, length):
    config = ModelConfig(vocab_size=6, cell=cell, embedding_size=4, hidden_size=7, num_layers=2)
    network, rng = random_network(config, np.random.default_rng(1)), np.random.default_rng(2)
    ids, values = rng.integers(0, 6, length), rng.normal(size=(3, length)).astype(np.float32)
    values[0] += ids  # something that the units do follow
    got = correlations(network, ids, values)
    parts = [part[:, 0] for trace in network.unroll(ids[:, None])[2] for part in (trace.h, trace.c) if part is not None]
    units = np.concatenate(parts, axis=1)
    for which, half in enumerate((slice(length // 2), slice(length // 2, None))):
        for f in range(3):
            expected = [np.corrcoef(values[f, half], unit[half])[0, 1] for unit in units.T]
            np.testing.assert_allclose(got[which, f], expected, atol=2e-5)
    assert np.abs(got[:, 0]).max() > 0.2


def test_correlations_of_a_text_in_columns_are_those_of_the_same_text_in_one_stream():
    network, rng = (
        random_network(ModelConfig(vocab_size=4, cell="gru", hidden_size=6), np.random.default_rng(1)),
        np.random.default_rng(2),
    )
    ids = rng.integers(0, 4, 9001)  # more than one stream may have
    got = correlations(network, ids, ids[None].astype(np.float32))
    h = network.unroll(ids[:, None])[2][0].h[:, 0]
    for which, half in enumerate((slice(4500), slice(4500, None))):
        np.testing.assert_allclose(got[which, 0], [np.corrcoef(ids[half], unit[half])[0, 1] for unit in h.T], atol=1e-4)


def test_a_unit_that_never_moves_correlates_with_nothing():
    config = ModelConfig(vocab_size=3, cell="rnn", hidden_size=2)
    network = Network(config, {name: np.zeros(shape) for name, shape in config.parameter_shapes().items()})
    ids = np.arange(100) % 3
    assert (correlations(network, ids, ids[None].astype(np.float32)) == 0).all()


def counting_network():
    """A tanh network whose unit 2 counts the characters since the last newline (symbol 0), and whose others do nothing."""
    config = ModelConfig(vocab_size=2, cell="rnn", embedding_size=2, hidden_size=3)
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in config.parameter_shapes().items()}
    weights["embedding.weight"][:] = np.eye(2)
    weights["rnn.weight_hh_l0"][2, 2] = 1.0
    weights["rnn.weight_ih_l0"][2] = [-10.0, 0.05]
    return Network(config, weights)


def test_the_unit_that_was_built_to_count_the_line_is_found():
    rng = np.random.default_rng(0)
    text = "".join("a" * rng.integers(3, 20) + "\n" for _ in range(200))
    ids = np.array([0 if character == "\n" else 1 for character in text])
    found = {finding.feature: finding for finding in find(counting_network(), ids, text)}
    line = found["position in the line"]
    assert (line.layer, line.unit, line.part, line.real) == (0, 2, "h", True)
    assert line.second == pytest.approx(
        np.corrcoef(
            counting_network().unroll(ids[:, None])[2][0].h[len(ids) // 2 :, 0, 2],
            features(text)["position in the line"][len(ids) // 2 :],
        )[0, 1],
        abs=1e-4,
    )
    assert "inside quotes" not in found  # there are none to follow


def test_a_finding_counts_above_what_random_networks_reach_plus_a_margin_and_above_chance():
    assert Finding("digit", 0, 0, "h", 0.8, 0.45, 0.3, 0.1).real
    assert not Finding("digit", 0, 0, "h", 0.8, 0.3 + MARGIN, 0.3, 0.0).real
    assert not Finding("digit", 0, 0, "h", 0.8, 0.45, 0.3, 0.5).real
    assert not Finding("digit", 0, 0, "h", 0.8, -0.5, 0.3, 0.0).real  # the other way round than where it was chosen


def test_chance_is_what_one_shift_in_a_hundred_reaches():
    rng = np.random.default_rng(0)
    quick = by_chance(*rng.normal(size=(2, 5000)).astype(np.float32))
    assert quick == pytest.approx(2.58 / np.sqrt(5000), rel=0.15)  # the normal law's two-sided 1 %
    slow = by_chance(*np.cumsum(rng.normal(size=(2, 5000)), axis=1).astype(np.float32))
    assert slow > 0.3  # of two random walks
    a, b = rng.normal(size=(2, 60)).astype(np.float32)
    shifts = [abs(np.corrcoef(np.roll(a, -k), b)[0, 1]) for k in range(3, 58)]
    assert by_chance(a, b) == pytest.approx(np.quantile(shifts, 0.99), abs=1e-5)
    assert by_chance(a, np.ones(60, dtype=np.float32)) == 0


def test_a_text_too_short_to_have_halves_has_no_findings():
    network = counting_network()
    for text in ("", "a", "a\n"):
        assert find(network, np.zeros(len(text), dtype=int), text) == []


def test_the_shipped_network_counts_the_line_and_more_and_a_sixth_random_one_does_nothing_of_the_kind():
    shipped = checkpoint.read(ROOT / "checkpoints/fables/best.safetensors")
    text = shipped.vocabulary.plain(FABLES[-3000:])[0]
    ids = shipped.vocabulary.encode(text)
    real = {finding.feature for finding in find(Network(shipped.model, shipped.weights), ids, text) if finding.real}
    assert "position in the line" in real
    assert len(real & {"position in the line", "inside quotes", "indentation", "after a colon", "position in the word"}) >= 2
    stranger = random_network(shipped.model, np.random.default_rng((0, RANDOM_NETWORKS)))
    assert [finding for finding in find(stranger, ids, text) if finding.real] == []


@pytest.mark.parametrize("cell", list(GATES))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nothing_is_found_in_random_networks(cell, seed):
    text = FABLES[10_000:14_000]
    table = {character: number for number, character in enumerate(sorted(set(text)))}
    ids = np.array([table[character] for character in text])
    config = ModelConfig(vocab_size=len(table), cell=cell, embedding_size=16, hidden_size=32)
    stranger = random_network(config, np.random.default_rng(1000 + seed))
    assert [finding for finding in find(stranger, ids, text, seed=seed) if finding.real] == []
