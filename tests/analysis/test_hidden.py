"""Laws of the statistics of hidden states."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from layers import statistics

from charrnn.analysis.hidden import Statistics, summarize
from charrnn.config import GATES, ModelConfig
from charrnn.network.cells import LayerTrace, Network
from charrnn.network.columns import Reading


def trace(h, gates=None):
    return LayerTrace(
        np.asarray(h, dtype=np.float32), None, {k: np.asarray(v, dtype=np.float32) for k, v in (gates or {}).items()}
    )


def unit(values, steps=4):
    """(T, 1, H): units that alternate between +value and -value, so that |h| is known."""
    signs = np.array([1, -1] * (steps // 2))[:, None, None]
    return signs * np.array(values)[None, None, :]


@pytest.mark.parametrize("cell", list(GATES))
@pytest.mark.parametrize("streams", [1, 3])
def test_a_summary_equals_a_naive_loop_over_units(cell, streams):
    config = ModelConfig(vocab_size=5, cell=cell, embedding_size=3, hidden_size=8, num_layers=2)
    rng = np.random.default_rng(0)
    network = Network(config, {name: rng.normal(0, 1.2, size) for name, size in config.parameter_shapes().items()})
    traces = network.unroll(rng.integers(0, 5, (40, streams)))[2]
    summaries = summarize(traces)
    assert len(summaries) == 2
    for got, layer in zip(summaries, traces, strict=True):
        total = saturated = still = 0.0
        for j in range(8):
            values = [float(v) for row in layer.h for v in row[:, j]]
            total += sum(abs(v) for v in values)
            saturated += sum(abs(v) > 0.9 for v in values)
            mean = sum(values) / len(values)
            still += math.sqrt(sum((v - mean) ** 2 for v in values) / len(values)) < 0.01
        assert got["mean_abs"] == pytest.approx(total / layer.h.size, rel=1e-5)
        assert got["saturated"] == pytest.approx(saturated / layer.h.size, rel=1e-5)
        assert got["still"] == pytest.approx(still / 8)
        assert tuple(got["gates"]) == GATES[cell]
        for letter, mean in got["gates"].items():
            values = [abs(float(v)) for v in layer.gates[letter].ravel()]
            assert mean == pytest.approx(sum(values) / len(values), rel=1e-5)
    json.dumps(summaries, allow_nan=False)


def test_saturated_is_the_share_of_values_above_nine_tenths_of_either_sign():
    (summary,) = summarize([trace(unit([0.95, 0.91, 0.89, 0.0]))])
    assert summary["saturated"] == 0.5
    assert summary["mean_abs"] == pytest.approx((0.95 + 0.91 + 0.89) / 4)


def test_a_frozen_unit_counts_as_still_wherever_it_stands():
    h = np.zeros((4, 2, 4), dtype=np.float32)
    h[..., 0] = 0.7  # frozen away from zero
    h[..., 1] = 0.5 + unit([0.009])[..., 0]  # moves, but by less than 0.01
    h[..., 2] = unit([0.011])[..., 0]
    h[:, 0, 3] = 0.9  # constant in each stream, but not from stream to stream: the unit tells texts apart
    (summary,) = summarize([trace(h)])
    assert summary["still"] == 0.5


def test_gates_are_means_and_candidates_mean_sizes():
    half = np.full((2, 1, 2), 0.5)
    (lstm,) = summarize([trace(half, {"i": half, "f": half / 2, "g": unit([0.8, 0.4], 2), "o": half})])
    assert lstm["gates"] == pytest.approx({"i": 0.5, "f": 0.25, "g": 0.6, "o": 0.5})
    (gru,) = summarize([trace(half, {"r": half, "z": half, "n": unit([0.2, 0.4], 2)})])
    assert gru["gates"] == pytest.approx({"r": 0.5, "z": 0.5, "n": 0.3})
    (rnn,) = summarize([trace(half)])
    assert rnn["gates"] == {}


# -- against torch: its own kernels give the states, its own gates are computed here from its weights -----------------


def network_of(cell, layers=2, hidden=8, seed=0, scale=1.2):
    config = ModelConfig(vocab_size=5, cell=cell, embedding_size=3, hidden_size=hidden, num_layers=layers)
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(0, scale, size).astype(np.float32) for name, size in config.parameter_shapes().items()}
    return Network(config, weights), weights


def torch_gates(cell, weights, ids, order):
    """Per layer h (T, H), c and the gates over ids (T,): h and c by torch's module, the gates by its documented equations, the
    rows of the weight matrices named in ``order``.
    """
    import torch
    from small_runs import KERNELS

    x = torch.from_numpy(weights["embedding.weight"][ids])
    layers = []
    for layer in range(2):
        w = [torch.from_numpy(weights[f"rnn.{name}_l{layer}"]) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        module = KERNELS[cell](x.shape[1], 8)
        module.load_state_dict(dict(zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), w, strict=True)))
        with torch.no_grad():
            h = module(x)[0]
            before = torch.cat([torch.zeros(1, 8), h[:-1]])
            of_input, of_state = x @ w[0].T + w[2], before @ w[1].T + w[3]
            gates, c = {}, None
            if cell == "lstm":
                raw = dict(zip(order, (of_input + of_state).split(8, dim=1), strict=True))
                gates = {name: torch.tanh(raw[name]) if name == "g" else torch.sigmoid(raw[name]) for name in "ifgo"}
                state, cells = None, []
                for row in x:
                    _, state = module(row[None], state)
                    cells.append(state[1][0])
                c = torch.stack(cells)
            elif cell == "gru":
                inputs, recurrent = (dict(zip(order, part.split(8, dim=1), strict=True)) for part in (of_input, of_state))
                gates = {name: torch.sigmoid(inputs[name] + recurrent[name]) for name in "rz"}
                gates["n"] = torch.tanh(inputs["n"] + gates["r"] * recurrent["n"])
        layers.append((h.numpy(), None if c is None else c.numpy(), {name: gate.numpy() for name, gate in gates.items()}))
        x = h
    return layers


def expected(h, c, gates):
    """Every number of a layer's summary, straight from its definition."""
    covariance = np.cov(h.astype(np.float64).T, bias=True)
    eigenvalues = np.linalg.eigvalsh(covariance)
    sigmoids = [name for name in gates if name not in "gn"]
    kept = next((gates[name] for name in "fz" if name in gates), None)
    tau = None if kept is None else np.sort([1 / (1 - float(unit.mean())) for unit in kept.T.astype(np.float64)])
    return {
        "characters": len(h),
        "mean_abs": np.abs(h).mean(),
        "std": h.std(axis=0).mean(),
        "saturated": np.mean((h > 0.9) | (h < -0.9)),
        "still": np.mean(h.std(axis=0) < 0.01),
        "dimensions": eigenvalues.sum() ** 2 / (eigenvalues**2).sum(),
        "gates": {name: np.abs(gate).mean() if name in "gn" else gate.mean() for name, gate in gates.items()},
        "left": {name: np.mean(gates[name] < 0.1) for name in sigmoids},
        "right": {name: np.mean(np.abs(gate) > 0.9) for name, gate in gates.items()},
        "c": None if c is None else [c.min(), c.max()],
        "tau": None if tau is None else {"quartiles": np.percentile(tau, [25, 50, 75]), "longest": tau[-1]},
    }


def assert_close(got, wanted):
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        if isinstance(value, dict):
            assert got[name].keys() == value.keys()
            for key in value:
                assert got[name][key] == pytest.approx(value[key], rel=2e-4, abs=1e-6), (name, key)
        else:
            assert got[name] == (value if value is None else pytest.approx(value, rel=2e-4, abs=1e-6)), name


ORDERS = [("lstm", "ifgo"), ("gru", "rzn"), ("rnn", "")]


@pytest.mark.parametrize(("cell", "order"), ORDERS)
def test_every_number_equals_the_one_computed_from_torchs_own_kernels(cell, order):
    network, weights = network_of(cell)
    ids = np.random.default_rng(1).integers(0, 5, 300)
    got = [layer.summary() for layer in statistics(Reading(network, ids))]
    for layer, traces in zip(got, torch_gates(cell, weights, ids, order), strict=True):
        assert_close(layer, expected(*traces))


@pytest.mark.parametrize(("cell", "swapped"), [("lstm", "figo"), ("lstm", "ifog"), ("lstm", "oifg"), ("gru", "zrn")])
def test_those_numbers_differ_when_two_gates_are_swapped(cell, swapped):
    network, weights = network_of(cell)
    ids = np.random.default_rng(1).integers(0, 5, 300)
    layer = statistics(Reading(network, ids))[0].summary()
    with pytest.raises(AssertionError):
        assert_close(layer, expected(*torch_gates(cell, weights, ids, swapped)[0]))


# -- streaming --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", list(GATES))
@pytest.mark.parametrize("sizes", [(1, 99), (33, 67), (50, 1, 49), (7,) * 14 + (2,)])
def test_statistics_of_blocks_equal_those_of_the_whole(cell, sizes):
    network, _ = network_of(cell, hidden=12)
    ids = np.random.default_rng(2).integers(0, 5, (100, 1))
    traces = network.unroll(ids)[2]
    state, pieces = None, [Statistics(), Statistics()]
    for part in np.split(ids, np.cumsum(sizes)[:-1]):
        _, state, some = network.unroll(part, state)
        for layer, trace_of_layer in zip(pieces, some, strict=True):
            layer.add(trace_of_layer)
    for layer, trace_of_layer in zip(pieces, traces, strict=True):
        whole = Statistics()
        whole.add(trace_of_layer)
        assert layer.characters == whole.characters == 100
        for name, values in whole.units().items():
            np.testing.assert_allclose(layer.units()[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
        assert layer.summary()["dimensions"] == pytest.approx(whole.summary()["dimensions"], rel=1e-4)


@pytest.mark.parametrize("length", [4096, 4097, 4500, 5003])
@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_a_reading_gives_every_character_once_with_the_state_that_stands_there(length, columns):
    network, _ = network_of("gru", layers=1, scale=0.6)
    ids = np.random.default_rng(3).integers(0, 5, length)
    logits, _, (trace_of_layer,) = network.unroll(ids[:, None])
    reading, seen = Reading(network, ids, columns=columns), np.zeros(length, dtype=int)
    for block in reading:
        np.add.at(seen, block.positions, 1)
        np.testing.assert_allclose(block.traces[0].h, trace_of_layer.h[block.positions, 0], atol=2e-5)
        np.testing.assert_allclose(block.logits, logits[block.positions, 0], atol=2e-4)
    assert reading.columns == columns
    assert reading.overlap == (1024 if columns > 1 else 0)
    assert (seen == 1).all()
    assert reading.seam < 2e-5


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_cores_that_share_the_columns_read_what_one_does(cores: int) -> None:
    network, _ = network_of("lstm", layers=1, scale=0.6)
    ids = np.random.default_rng(3).integers(0, 5, 26_000)
    _, start, _ = network.unroll(ids[:9, None])
    readings = [Reading(network, ids, start, columns=25, cores=number) for number in (1, cores)]
    h = np.full((2, len(ids)), np.nan)
    for course, reading in zip(h, readings, strict=True):
        for block in reading:
            assert np.isnan(course[block.positions]).all()
            course[block.positions] = block.traces[0].h[..., 0]
    np.testing.assert_allclose(h[1], h[0], atol=1e-6)
    assert readings[1].seam == pytest.approx(readings[0].seam, abs=1e-6)


def test_a_short_text_is_read_in_one_stream_and_a_long_one_in_columns():
    network, _ = network_of("rnn", layers=1)
    assert Reading(network, np.zeros(8192, dtype=int)).columns == 1
    assert Reading(network, np.zeros(8193, dtype=int)).columns == 2
    assert Reading(network, np.zeros(10**7, dtype=int)).columns == 128


def test_the_seam_tells_how_far_a_warmed_state_is_from_the_true_one():
    """A cell that adds up everything it reads forgets nothing: no warm-up reaches its state, and that is not hidden."""
    config = ModelConfig(vocab_size=2, cell="gru", embedding_size=1, hidden_size=1)
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in config.parameter_shapes().items()}
    weights["rnn.bias_ih_l0"][:] = [0, 9, 9]  # z nearly 1, n = 1: h creeps up by 0.0001 a character
    network, ids = Network(config, weights), np.zeros(6000, dtype=int)
    (h,) = [block.traces[0].h for block in Reading(network, ids, columns=2)][-1:]
    true = network.unroll(ids[:, None])[2][0].h
    reading = Reading(network, ids, columns=2)
    list(reading)
    assert reading.seam == pytest.approx(float(true[2999, 0, 0] - true[1023, 0, 0]), rel=1e-3)
    assert reading.seam > 0.1
    assert h.shape[1] == 2


def test_a_text_is_read_from_the_state_that_is_given_which_stays_as_it_was():
    network, _ = network_of("lstm")
    ids = np.random.default_rng(4).integers(0, 5, 50)
    _, state, _ = network.unroll(ids[:20, None])
    kept = state.copy()
    (block,) = Reading(network, ids[20:], state)
    np.testing.assert_array_equal(block.traces[1].h, network.unroll(ids[20:, None], state)[2][1].h)
    np.testing.assert_array_equal(state, kept)


def test_a_gate_that_never_lets_go_has_a_memory_without_end_that_is_still_a_number():
    ones, h = np.ones((4, 1, 2)), unit([0.5, 0.5])
    (summary,) = summarize([trace(h, {"r": ones, "z": ones, "n": ones})])
    assert summary["tau"]["longest"] == pytest.approx(1e9)
    json.dumps(summary, allow_nan=False)


def test_dimensions_counts_directions_that_are_in_use():
    rng = np.random.default_rng(5)
    same = rng.uniform(-0.5, 0.5, (1000, 1, 1)) * np.ones(6)
    (one,) = summarize([trace(same)])
    assert one["dimensions"] == pytest.approx(1, rel=1e-3)
    sides = np.array([[i >> k & 1 for k in range(3)] for i in range(8)] * 10)[:, None, :] - 0.5
    (three,) = summarize([trace(sides)])
    assert three["dimensions"] == pytest.approx(3, rel=1e-5)
    (none,) = summarize([trace(np.full((10, 1, 3), 0.7))])
    assert none["dimensions"] == pytest.approx(0, abs=1)
