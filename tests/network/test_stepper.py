"""The fast path equals the written-out equations, and pads rows only where OpenBLAS shares them out to threads."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.config import GATES, ModelConfig
from charrnn.network import stepper
from charrnn.network.cells import Network

V, E, H, T, N = 11, 5, 8, 9, 3
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

every_cell = pytest.mark.parametrize("cell", list(GATES))
every_depth = pytest.mark.parametrize("layers", [1, 2, 3])


def shape(cell, layers=1):
    return ModelConfig(vocab_size=V, cell=cell, embedding_size=E, hidden_size=H, num_layers=layers)


def random_network(cell, layers=1):
    """Weights and biases of one size, so that no gate is negligible."""
    config, rng = shape(cell, layers), np.random.default_rng(0)
    return Network(config, {name: rng.normal(0, 0.5, size) for name, size in config.parameter_shapes().items()})


def random_start(network, streams):
    """Ids (T, N), and a state with |h| < 1."""
    rng = np.random.default_rng(1)
    state = rng.uniform(-0.9, 0.9, network.initial_state(streams).shape).astype(np.float32)
    return rng.integers(0, V, (T, streams)), state


@every_cell
@every_depth
@pytest.mark.parametrize("streams", [1, 2, N])
def test_stepping_equals_unrolling(cell, layers, streams):
    assert_steps_as_unrolled(random_network(cell, layers), streams)


def assert_steps_as_unrolled(network, streams):
    ids, start = random_start(network, streams)
    expected, end, traces = network.unroll(ids, start)
    state = start.copy()
    step = network.stepper(state)
    for t in range(T):
        logits = step(ids[t])
        assert logits.shape == (streams, V)
        np.testing.assert_allclose(logits, expected[t], **CLOSE)
        np.testing.assert_allclose(state[-1, 0], traces[-1].h[t], **CLOSE)
    np.testing.assert_allclose(state, end, **CLOSE)


@every_cell
@every_depth
def test_rows_that_only_keep_threads_busy_change_nothing(cell, layers, monkeypatch):
    rows = shape(cell).parameter_shapes()["rnn.weight_hh_l0"][0]
    monkeypatch.setattr(stepper, "THREADED_ELEMENTS", (rows + 1) * H)
    for threaded in (True, False):
        monkeypatch.setattr(stepper, "_multiplies_in_threads", lambda _, threaded=threaded: threaded)
        network = random_network(cell, layers)
        assert network._packed.layers[0].hh.rows == rows + threaded
        assert_steps_as_unrolled(network, 1)
        assert_steps_as_unrolled(network, N)


@pytest.mark.parametrize(
    ("rows", "columns", "expected"), [(1152, 384, 1200), (1200, 384, 1200), (960, 320, 960), (1280, 320, 1440)]
)
def test_only_products_a_little_too_small_for_threads_get_more_rows(rows, columns, expected, monkeypatch):
    monkeypatch.setattr(stepper, "_multiplies_in_threads", lambda _: True)
    assert stepper._rows_for_threads(rows, columns) == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"threads": {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "1"}}, True),
        ({"threads": {"OPENBLAS_NUM_THREADS": "1"}}, False),
        ({"threads": {"OMP_NUM_THREADS": "1"}}, False),
        ({"name": "mkl"}, False),
        ({"name": "accelerate", "version": "unknown"}, False),
        ({"version": "0.3.26"}, False),
        ({"version": "0.4"}, True),
        ({"machine": "aarch64"}, False),
        ({"cores": 1}, False),
        ({"threads": {"OPENBLAS_NUM_THREADS": "1"}, "come_and_go": True}, True),
        ({"version": "0.3.26", "come_and_go": True}, False),
    ],
)
def test_only_openblas_with_threads_gets_rows_to_share(changed, expected, monkeypatch):
    here = {"name": "scipy-openblas", "version": "0.3.31.188.0", "machine": "x86_64", "cores": 2, "threads": {}} | changed
    blas = {"name": here["name"], "version": here["version"]}
    monkeypatch.setattr("numpy.show_config", lambda mode: {"Build Dependencies": {"blas": blas}})
    monkeypatch.setattr("platform.machine", lambda: here["machine"])
    monkeypatch.setattr(stepper.os, "cpu_count", lambda: here["cores"])
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in here["threads"].items():
        monkeypatch.setenv(name, value)
    assert stepper._multiplies_in_threads.__wrapped__(changed.get("come_and_go", False)) is expected
