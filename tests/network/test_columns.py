"""Columns: what is read side by side is what is read alone."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.config import GATES, ModelConfig
from charrnn.generation.filters import nats_of
from charrnn.network import columns as side_by_side
from charrnn.network.cells import Network
from charrnn.network.columns import Reader, blocks, cut, rejoined, stepped, traced, warmed, worthwhile


def network(cell="lstm", layers=2):
    config = ModelConfig(vocab_size=5, cell=cell, embedding_size=3, hidden_size=8, num_layers=layers)
    rng = np.random.default_rng(0)
    return Network(config, {name: rng.normal(0, 0.4, shape) for name, shape in config.parameter_shapes().items()})


def texts(*lengths):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 5, length) for length in lengths]


def nats(logits, ids):
    return [nats_of(logits, ids)]


@pytest.mark.parametrize(("length", "columns"), [(0, 1), (1, 1), (10, 3), (11, 3), (12, 3), (100, 7)])
def test_a_cut_covers_the_text_in_columns_that_differ_by_one_at_most(length, columns):
    borders = cut(length, columns)
    assert (len(borders), borders[0], borders[-1]) == (columns + 1, 0, length)
    assert np.diff(borders).max() - np.diff(borders).min() <= 1


def test_no_column_is_shorter_than_is_worth_its_overlap_and_no_worker_has_more_than_it_can_take():
    shortest, most = side_by_side.SHORTEST, side_by_side.MOST
    assert [worthwhile(length) for length in (1, shortest, 2 * shortest - 1, 2 * shortest)] == [1, 1, 1, 2]
    assert (worthwhile(10**9), worthwhile(10**9, workers=3)) == (most, 3 * most)


@pytest.mark.parametrize("cell", list(GATES))
@pytest.mark.parametrize("feed", [stepped, traced])
def test_columns_of_any_lengths_read_together_are_those_read_alone(cell, feed):
    net, columns = network(cell), texts(7, 30, 1, 30, 12)
    state = np.random.default_rng(2).normal(0, 0.5, net.initial_state(5).shape).astype(np.float32)
    expected = [net.unroll(column[:, None], state[:, :, n : n + 1]) for n, column in enumerate(columns)]
    found = [np.full((len(column), 5), np.nan) for column in columns]
    for block in blocks(net, columns, state, 20, feed):
        assert len(block.traces) == (2 if feed is traced else 0)
        for place, column in enumerate(block.columns):
            assert np.isnan(found[column][block.offsets]).all()  # Every character comes once.
            found[column][block.offsets] = block.logits[:, place]
            for layer, trace in enumerate(block.traces):
                np.testing.assert_allclose(trace.h[:, place], expected[column][2][layer].h[block.offsets, 0], atol=1e-5)
    for n, (logits, end, _) in enumerate(expected):
        np.testing.assert_allclose(found[n], logits[:, 0], atol=1e-5)
        np.testing.assert_allclose(state[:, :, n], end[:, :, 0], atol=1e-5)


def test_columns_begin_in_the_state_that_their_overlap_leads_to(monkeypatch):
    monkeypatch.setattr(side_by_side, "OVERLAP", 6)
    net, (ids,) = network(), texts(40)
    state = np.full_like(net.initial_state(1), 0.3)
    states = warmed(net, ids, np.array([0, 13, 27]), state)
    np.testing.assert_array_equal(states[:, :, :1], state)
    for n, start in ((1, 13), (2, 27)):
        np.testing.assert_allclose(states[:, :, n], net.unroll(ids[start - 6 : start, None])[1][:, :, 0], atol=1e-6)


@pytest.mark.parametrize("workers", [1, 3])
def test_figures_of_a_column_are_those_of_its_ids_but_the_first_whoever_reads_it(workers):
    net, columns = network(), texts(*range(2, 42))
    state = net.initial_state(len(columns))
    found = Reader(net, nats, workers=workers).each(columns, state)
    for n, column in enumerate(columns):
        logits, end, _ = net.unroll(column[:-1, None])
        np.testing.assert_allclose(found[n][0], nats_of(logits[:, 0], column[1:]), atol=1e-5)
        np.testing.assert_allclose(state[:, :, n], end[:, :, 0], atol=1e-5)


@pytest.mark.parametrize("tolerance", [0.0, 1.0])
def test_a_text_in_columns_goes_on_from_its_state_and_tells_its_seams(monkeypatch, tolerance):
    for name, value in {"OVERLAP": 60, "SEAM": 20, "TOLERANCE": tolerance}.items():
        monkeypatch.setattr(side_by_side, name, value)
    net, (ids,) = network(), texts(1001)
    state = np.full_like(net.initial_state(1), 0.3)
    reader = Reader(net, nats, workers=1)
    found, end = reader.text(ids, state, 4)
    logits, expected, _ = net.unroll(ids[:-1, None], state)
    np.testing.assert_allclose(np.concatenate([one for (one,) in found]), nats_of(logits[:, 0], ids[1:]), atol=1e-3)
    np.testing.assert_allclose(end, expected, atol=1e-3)
    # Rounding alone makes a difference, so that no seam is let stand where none may differ at all.
    again = reader.columns_read_again
    assert (again > 0, reader.seam is None or reader.seam <= tolerance) == (tolerance == 0.0, True)


def test_a_text_is_rejoined_to_pieces_of_one_size():
    pieces = list(rejoined(texts(3, 0, 10, 1, 7), 5))
    assert [len(piece) for piece in pieces] == [5, 5, 5, 5, 1]
    np.testing.assert_array_equal(np.concatenate(pieces), np.concatenate(texts(3, 0, 10, 1, 7)))
