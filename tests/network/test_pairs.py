"""Networks with vectors for pairs of symbols: what they read, wherever a text is cut, and which pairs a text gives them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import attacks
import numpy as np
import pytest

from charrnn import CharrnnError, UsageError
from charrnn.config import GATES, MOST_PAIRS, ModelConfig
from charrnn.generation import bookmark
from charrnn.network import checkpoint, pairs
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.columns import Reading, blocks, stepped, traced
from charrnn.network.ensemble import TracedEnsemble
from charrnn.network.pairs import Pairs, commonest, last_read, moved
from charrnn.text.vocabulary import Vocabulary

V, H = 7, 8
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
every_cell = pytest.mark.parametrize("cell", list(GATES))
few_and_many = pytest.mark.parametrize("tabled", [True, False], indirect=True)
"""Inputs are looked up in a table, or searched for where a table would be too large."""


def config_of(cell="lstm", layers=2, V=V, keys=tuple(range(0, 49, 3))):
    return ModelConfig(V, cell, embedding_size=5, num_layers=layers, hidden_size=H, pair_keys=keys)


def weights_of(config, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 0.5, size).astype(np.float32) for name, size in config.parameter_shapes().items()}


def network(cell="lstm", layers=2, seed=0):
    config = config_of(cell, layers)
    return Network(config, weights_of(config, seed))


def text(*shape, seed=1):
    return np.random.default_rng(seed).integers(0, V, shape)


def as_inputs(ids, config):
    """Ids (T,) of a text from its beginning, each replaced by its pair's place where it has one."""
    places = {divmod(key, config.vocab_size): row for row, key in enumerate(config.pair_keys)}
    return np.array([ids[0], *(places.get(pair, pair[1] - V) + V for pair in pairwise(ids.tolist()))])


@pytest.fixture
def tabled(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(pairs, "TABLED", 0)


@every_cell
@few_and_many
def test_a_network_with_pairs_is_one_of_more_symbols_that_reads_each_pair_as_its_own(cell, tabled):
    config, ids = config_of(cell), text(60)
    weights = weights_of(config)
    seconds = weights["embedding.weight"][np.array(config.pair_keys) % V]
    larger = {
        **{name: value for name, value in weights.items() if name != "pairs.weight"},
        "embedding.weight": np.concatenate([weights["embedding.weight"], seconds + weights["pairs.weight"]]),
        "head.weight": np.pad(weights["head.weight"], ((0, len(seconds)), (0, 0))),
        "head.bias": np.pad(weights["head.bias"], (0, len(seconds))),
    }
    plain = Network(replace(config, vocab_size=V + len(seconds), pair_keys=()), larger)
    inputs = as_inputs(ids, config)
    assert 5 < np.count_nonzero(inputs >= V) < 50
    expected, end, _ = plain.unroll(inputs[:, None])
    logits, state, _ = Network(config, weights).unroll(ids[:, None])
    np.testing.assert_allclose(logits, expected[:, :, :V], **CLOSE)
    np.testing.assert_allclose(state[:, : config.cell_parts], end, **CLOSE)


@every_cell
@pytest.mark.parametrize("streams", [1, 3])
@few_and_many
def test_stepping_equals_unrolling_and_a_text_in_pieces_is_the_whole(cell, streams, tabled):
    net, ids = network(cell), text(30, streams)
    expected, end, _ = net.unroll(ids)
    state, found = net.initial_state(streams), []
    for piece in np.split(ids, [1, 2, 17]):
        step = net.stepper(state)
        found += [step(row).copy() for row in piece]
    np.testing.assert_allclose(found, expected, **CLOSE)
    np.testing.assert_allclose(state, end, **CLOSE)
    first, state, _ = net.unroll(ids[:13])
    np.testing.assert_allclose(np.concatenate([first, net.unroll(ids[13:], state)[0]]), expected, **CLOSE)
    np.testing.assert_array_equal(last_read(end), ids[-1] + 1)


def test_pairs_of_zeros_change_nothing_and_others_do():
    net, ids = network(), text(40, 2)
    without = Network(replace(net.config, pair_keys=()), net.weights)
    zero = Network(net.config, {**net.weights, "pairs.weight": np.zeros_like(net.weights["pairs.weight"])})
    expected = without.unroll(ids)[0]
    np.testing.assert_array_equal(zero.unroll(ids)[0], expected)
    assert np.abs(net.unroll(ids)[0] - expected).max() > 0.1
    np.testing.assert_array_equal(net.unroll(ids[:1])[0], expected[:1])  # The first symbol follows none.


@every_cell
@pytest.mark.parametrize("feed", [stepped, traced])
def test_columns_read_together_are_those_read_alone(cell, feed):
    net, columns = network(cell), [text(length, seed=length) for length in (7, 30, 1, 12)]
    state = net.trace(text(3, 4, seed=9))[0]
    expected = [net.unroll(column[:, None], state[:, :, n : n + 1]) for n, column in enumerate(columns)]
    found = [np.full((len(column), V), np.nan) for column in columns]
    for block in blocks(net, columns, state, 20, feed):
        for place, column in enumerate(block.columns):
            found[column][block.offsets] = block.logits[:, place]
    for n, (logits, end, _) in enumerate(expected):
        np.testing.assert_allclose(found[n], logits[:, 0], **CLOSE)
        np.testing.assert_allclose(state[:, :, n], end[:, :, 0], **CLOSE)


def test_a_long_text_is_read_in_columns_that_know_what_stands_before_them(monkeypatch):
    monkeypatch.setattr("charrnn.network.columns.OVERLAP", 40)
    net, ids = network(), text(400)
    expected = net.unroll(ids[:, None])[0][:, 0]
    found = np.full_like(expected, np.nan)
    for passage in Reading(net, ids, columns=5):
        found[passage.positions] = passage.logits
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_each_member_of_an_ensemble_keeps_its_own_last_symbol():
    with_pairs, without = network(), Network(replace(config_of("gru", 1), pair_keys=()), weights_of(config_of("gru", 1), 3))
    both, ids = TracedEnsemble([with_pairs, without]), text(20, 2)
    expected = (with_pairs.unroll(ids)[0] + without.unroll(ids)[0]) / 2
    state = both.initial_state(2)
    step = both.stepper(state)
    np.testing.assert_allclose([step(row).copy() for row in ids], expected, **CLOSE)
    logits, end, _ = both.unroll(ids, both.initial_state(2))
    np.testing.assert_allclose(logits, expected, **CLOSE)
    np.testing.assert_allclose(end, state, **CLOSE)


@every_cell
def test_gradients_go_back_to_the_states_and_not_to_the_last_symbol(cell):
    net, ids = network(cell), text(6, 1)
    start = net.trace(text(3, 1, seed=5))[0]
    end, traces = net.trace(ids, start)
    d_h = np.random.default_rng(2).normal(0, 1, end[-1, 0].shape).astype(np.float32)
    *_, (d_start, _) = net.backward(d_h, traces, start)
    parts = net.config.cell_parts
    assert not d_start[:, parts:].any()
    moved_by, step = np.zeros_like(start), 1e-3
    moved_by[:, :parts] = np.random.default_rng(3).normal(0, 1, start[:, :parts].shape)
    above, below = (net.trace(ids, start + sign * step * moved_by)[0][-1, 0] for sign in (1, -1))
    np.testing.assert_allclose((d_start * moved_by).sum(), ((above - below) / (2 * step) * d_h).sum(), rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("last", [-3.0, 2.5, 1e9, np.nan, float(V + 1)])
@pytest.mark.parametrize("streams", [1, 2])
@few_and_many
def test_a_state_that_names_no_symbol_harms_nobody(last, streams, tabled):
    net = network()
    state = net.initial_state(streams)
    last_read(state)[...] = last
    assert np.isfinite(net.step(np.zeros(streams, dtype=np.intp), state)[0]).all()
    assert np.isfinite(net.unroll(text(3, streams), state)[0]).all()


def test_a_place_in_a_text_is_gone_on_from_with_the_symbol_before(tmp_path):
    config = config_of()
    trained = Checkpoint(config, Vocabulary("char", "abcdef"), {}, weights_of(config))
    net, ids = Network(config, trained.weights), text(20, 1)
    logits, state, _ = net.unroll(ids[:11])
    mark = bookmark.Bookmark(state, logits[-1, 0], ids[:11, 0], b"", 0, 0, 0)
    bookmark.write(tmp_path / "place", mark, trained)
    again = bookmark.read(tmp_path / "place", trained)
    np.testing.assert_array_equal(net.unroll(ids[11:], again.state)[0], net.unroll(ids[11:], state)[0])


# -- which pairs --------------------------------------------------------------------------------------------------------


@few_and_many
@pytest.mark.parametrize("most", [0, 1, 5, 2000])
def test_the_commonest_pairs_of_a_text_are_taken_that_occur_twice(most, tabled):
    ids = np.random.default_rng(0).choice(V, 60, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.02])
    counts = Counter(int(a) * V + int(b) for a, b in pairwise(ids))
    ranked = sorted((key for key in counts if counts[key] >= 2), key=lambda key: (-counts[key], key))
    assert len(ranked) > 5
    assert len(counts) > len(ranked)
    assert commonest([ids], V, most) == tuple(sorted(ranked[:most]))
    assert commonest([ids.astype(np.uint8)], V, most) == tuple(sorted(ranked[:most]))


def test_no_pair_spans_two_texts_and_texts_may_be_short():
    assert commonest([np.array([1, 2]), np.array([3, 1, 2])], V, 9) == (V + 2,)
    assert commonest([np.array([1]), np.array([], dtype=np.uint8)], V, 9) == ()
    assert commonest([], V, 9) == ()


def test_of_a_long_text_stretches_all_over_it_are_counted(monkeypatch):
    monkeypatch.setattr(pairs, "COUNTED", 200)
    monkeypatch.setattr(pairs, "STRETCHES", 5)
    ids = np.repeat(np.arange(5), 1000)
    read = []

    class Counted:
        def __len__(self):
            return len(ids)

        def __getitem__(self, part):
            read.append(part)
            return ids[part]

    assert commonest([Counted()], V, 9) == tuple(place * V + place for place in range(5))
    assert sum(part.stop - part.start for part in read) == 200


def test_pairs_move_to_another_vocabulary_with_their_characters():
    was, now = ["a", "b", None], ["A", "b", "a", None]
    # ab, ba, b?, aa: with a lost character a pair goes.
    assert moved([1, 3, 5, 0], was, now) == {6: 1, 7: 2, 9: 0, 10: 3}
    assert moved([1, 3, 5], was, ["b", None]) == {1: 2}


@pytest.mark.parametrize("keys", [(1, 1), (2, 1), (-1,), (49,), (True,), (1.0,), tuple(range(MOST_PAIRS + 1)), [1]])
def test_pairs_that_are_none_are_refused(keys):
    with pytest.raises(UsageError):
        config_of(keys=keys)


# -- files --------------------------------------------------------------------------------------------------------------


def test_a_file_with_pairs_is_one_that_readers_without_them_refuse(tmp_path, monkeypatch):
    config = config_of()
    trained = Checkpoint(config, Vocabulary("char", "abcdef"), {}, weights_of(config))
    checkpoint.write(tmp_path / "with", trained)
    plain = replace(config, pair_keys=())
    checkpoint.write(tmp_path / "without", replace(trained, model=plain, weights=weights_of(plain)))
    again = checkpoint.read(tmp_path / "with")
    assert again.model == config
    assert again.extra == {}
    np.testing.assert_array_equal(again.weights["pairs.weight"], trained.weights["pairs.weight"])
    monkeypatch.setattr(checkpoint, "FORMAT", replace(checkpoint.FORMAT, later=()))
    with pytest.raises(CharrnnError, match="its format is version 2, this charrnn reads version 1"):
        checkpoint.read(tmp_path / "with")
    assert checkpoint.read(tmp_path / "without").model == plain
    assert "pair_keys" not in plain.to_json()
    assert Pairs(config).vectors(np.zeros((V, 5), np.float32), trained.weights["pairs.weight"]).shape == (V + 17, 5)


@pytest.mark.parametrize(
    "keys", ["x", 3, {"1": 2}, [1, 1], [2, 1], [-1], [49], [0.5], ["1"], [True], [10**400], [*range(MOST_PAIRS + 1)], []]
)
def test_a_header_with_other_pairs_than_its_tensor_is_refused(keys, tmp_path):
    config = config_of()
    path = tmp_path / "network"
    checkpoint.write(path, Checkpoint(config, Vocabulary("char", "abcdef"), {}, weights_of(config)))
    header, body = attacks.split(path.read_bytes())
    shape = json.loads(header["__metadata__"]["model"])
    header["__metadata__"]["model"] = json.dumps({**shape, "pair_keys": keys})
    path.write_bytes(attacks.join(header, body))
    if keys == []:  # Its tensor is then one that nobody asks for, as those of any later version.
        assert checkpoint.read(path).model.pair_keys == ()
        return
    with pytest.raises(CharrnnError, match=f"^{path}: not a usable checkpoint: "):
        checkpoint.read(path)
