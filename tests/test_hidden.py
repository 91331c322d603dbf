"""Laws of the statistics of hidden states."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from charrnn.cells import LayerTrace, Network
from charrnn.config import GATES, ModelConfig
from charrnn.hidden import summarize


def trace(h, gates=None):
    return LayerTrace(
        np.asarray(h, dtype=np.float32), None, {k: np.asarray(v, dtype=np.float32) for k, v in (gates or {}).items()}
    )


def unit(values, steps=4):
    """(T, 1, H): units that alternate between +value and -value, so that |h| is known."""
    signs = np.array([1, -1] * (steps // 2))[:, None, None]
    return signs * np.array(values)[None, None, :]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
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
