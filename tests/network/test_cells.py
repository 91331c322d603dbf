"""Laws of the equations in `charrnn.network.cells`; the other side of each comparison is torch.nn, or arithmetic by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import OF_TORCH
from small_runs import KERNELS

from charrnn.cell_types import keeping
from charrnn.config import GATES, ModelConfig
from charrnn.network.cells import Network, sigmoid

CELLS = tuple(GATES)
V, E, H, T, N = 11, 5, 8, 9, 3
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

every_cell = pytest.mark.parametrize("cell", CELLS)
every_cell_of_torch = pytest.mark.parametrize("cell", OF_TORCH)
every_depth = pytest.mark.parametrize("layers", [1, 2, 3])


def shape(cell, layers=1):
    return ModelConfig(vocab_size=V, cell=cell, embedding_size=E, hidden_size=H, num_layers=layers)


def random_weights(config, seed=0):
    """Weights and biases of one size, so that no gate is negligible."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 0.5, size).astype(np.float32) for name, size in config.parameter_shapes().items()}


def random_network(cell, layers=1, seed=0):
    config = shape(cell, layers)
    return Network(config, random_weights(config, seed))


def random_start(network, streams=N, steps=T, seed=1):
    """Ids (T, N), and a state with |h| < 1."""
    rng = np.random.default_rng(seed)
    state = rng.uniform(-0.9, 0.9, network.initial_state(streams).shape).astype(np.float32)
    return rng.integers(0, V, (steps, streams)), state


def by_torch(config, weights, ids, state):
    """Logits (T, N, V), state (L, P, N, H) and top-layer outputs by torch.nn's own multi-layer kernel."""
    tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
    kernel = KERNELS[config.cell](config.embedding_size, config.hidden_size, config.num_layers)
    kernel.load_state_dict({name.removeprefix("rnn."): value for name, value in tensors.items() if name.startswith("rnn.")})
    start = [torch.from_numpy(state[:, part].copy()) for part in range(config.state_parts)]
    with torch.no_grad():
        x = tensors["embedding.weight"][torch.from_numpy(ids)]
        out, end = kernel(x, tuple(start) if config.cell == "lstm" else start[0])
        logits = out @ tensors["head.weight"].T + tensors["head.bias"]
    parts = end if config.cell == "lstm" else (end,)
    return logits.numpy(), torch.stack(parts, dim=1).numpy(), out.numpy()


def swap(weights, config, first, second):
    """``weights`` with the rows of two gates exchanged in every recurrent tensor."""
    letters = list(GATES[config.cell])
    order = list(range(len(letters)))
    a, b = letters.index(first), letters.index(second)
    order[a], order[b] = b, a
    rows = np.concatenate([np.arange(block * H, (block + 1) * H) for block in order])
    return {name: value[rows] if name.startswith("rnn.") else value for name, value in weights.items()}


@every_cell
@every_depth
def test_a_temperature_divides_all_logits_and_changes_no_state(cell, layers):
    config = shape(cell, layers)
    plain, calibrated = random_network(cell, layers), Network(config, random_weights(config), temperature=0.8)
    ids, start = random_start(plain)
    logits, state, _ = plain.unroll(ids, start)
    divided, same, _ = calibrated.unroll(ids, start)
    np.testing.assert_allclose(divided, logits / 0.8, **CLOSE)
    np.testing.assert_array_equal(same, state)
    np.testing.assert_allclose(calibrated.step(ids[0], start)[0], plain.step(ids[0], start)[0] / 0.8, **CLOSE)


@every_cell_of_torch
@every_depth
@pytest.mark.parametrize("streams", [1, N])
def test_unroll_equals_torchs_kernel(cell, layers, streams):
    config = shape(cell, layers)
    weights = random_weights(config)
    network = Network(config, weights)
    ids, state = random_start(network, streams)
    logits, end, traces = network.unroll(ids, state)
    expected_logits, expected_end, top = by_torch(config, weights, ids, state)
    np.testing.assert_allclose(logits, expected_logits, **CLOSE)
    np.testing.assert_allclose(end, expected_end, **CLOSE)
    np.testing.assert_allclose(traces[-1].h, top, **CLOSE)


@pytest.mark.parametrize(("cell", "pair"), [(c, pair) for c in ("lstm", "gru") for pair in itertools.combinations(GATES[c], 2)])
@pytest.mark.parametrize("layers", [1, 2])
def test_two_swapped_gates_are_far_outside_the_tolerance_in_unroll_and_stepper(cell, pair, layers):
    config = shape(cell, layers)
    weights = random_weights(config)
    swapped = Network(config, swap(weights, config, *pair))
    ids, state = random_start(swapped)
    expected = by_torch(config, weights, ids, state)[0]
    assert np.abs(swapped.unroll(ids, state)[0] - expected).max() > 0.05
    assert np.abs(swapped.step(ids[0], state)[0] - expected[0]).max() > 0.05


@every_cell
def test_a_state_stays_between_minus_1_and_1(cell: str) -> None:
    """The statistics, the pages' shades and what a page holds of a state take it so."""
    config, rng = ModelConfig(5, cell, embedding_size=3, hidden_size=6), np.random.default_rng(3)
    weights = {name: rng.normal(0, 3, shape).astype(np.float32) for name, shape in config.parameter_shapes().items()}
    _, _, (trace,) = Network(config, weights).unroll(rng.integers(0, 5, (40, 2)))
    assert np.abs(trace.h).max() <= 1, "a cell whose h grows is none of this program's: CONTRIBUTING, Add a cell"


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@every_depth
def test_the_gates_returned_are_those_of_the_equations(cell, layers):
    config = shape(cell, layers)
    weights = {name: value.astype(np.float64) for name, value in random_weights(config).items()}
    network = Network(config, weights)
    ids, state = random_start(network)
    x = weights["embedding.weight"][ids]
    for layer, trace in enumerate(network.unroll(ids, state)[2]):
        before = np.concatenate([state[layer, 0][None], trace.h[:-1]])
        w_ih, w_hh = weights[f"rnn.weight_ih_l{layer}"], weights[f"rnn.weight_hh_l{layer}"]
        b_ih, b_hh = weights[f"rnn.bias_ih_l{layer}"], weights[f"rnn.bias_hh_l{layer}"]
        assert tuple(trace.gates) == GATES[cell]
        for block, letter in enumerate(GATES[cell]):
            rows = slice(block * H, (block + 1) * H)
            from_x, from_h = x @ w_ih[rows].T + b_ih[rows], before @ w_hh[rows].T + b_hh[rows]
            if letter == "n":
                expected = np.tanh(from_x + trace.gates["r"] * from_h)
            elif letter == "g":
                expected = np.tanh(from_x + from_h)
            else:
                expected = 1 / (1 + np.exp(-(from_x + from_h)))
            np.testing.assert_allclose(trace.gates[letter], expected, **CLOSE)
        x = trace.h


def test_the_states_of_a_trace_follow_from_its_gates():
    network = random_network("lstm", 2)
    ids, state = random_start(network)
    for layer, trace in enumerate(network.unroll(ids, state)[2]):
        g = trace.gates
        before = np.concatenate([state[layer, 1][None], trace.c[:-1]])
        np.testing.assert_allclose(trace.c, g["f"] * before + g["i"] * g["g"], **CLOSE)
        np.testing.assert_allclose(trace.h, g["o"] * np.tanh(trace.c), **CLOSE)
    network = random_network("gru", 2)
    ids, state = random_start(network)
    for layer, trace in enumerate(network.unroll(ids, state)[2]):
        z = trace.gates["z"]
        before = np.concatenate([state[layer, 0][None], trace.h[:-1]])
        np.testing.assert_allclose(trace.h, (1 - z) * trace.gates["n"] + z * before, **CLOSE)
        assert trace.c is None


def test_a_vanilla_rnn_has_no_gates_and_no_cell():
    network = random_network("rnn")
    (trace,) = network.unroll(*random_start(network))[2]
    assert trace.gates == {}
    assert trace.c is None


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(CELLS), st.integers(1, 3), st.lists(st.integers(0, T), max_size=4))
def test_a_whole_sequence_equals_its_chunks_with_carried_state(cell, layers, cuts):
    network = random_network(cell, layers)
    ids, state = random_start(network)
    whole, end, _ = network.unroll(ids, state)
    parts = []
    for begin, stop in itertools.pairwise([0, *sorted(cuts), T]):
        logits, state, _ = network.unroll(ids[begin:stop], state)
        parts.append(logits)
    np.testing.assert_allclose(np.concatenate(parts), whole, **CLOSE)
    np.testing.assert_allclose(state, end, **CLOSE)


@every_cell
@every_depth
def test_stream_i_of_a_batch_equals_stream_i_alone(cell, layers):
    network = random_network(cell, layers)
    ids, start = random_start(network)
    unrolled, _, _ = network.unroll(ids, start)
    together = start.copy()
    steps = network.stepper(together)
    stepped = np.stack([steps(row).copy() for row in ids])
    for i in range(N):
        alone = start[:, :, i : i + 1].copy()
        step = network.stepper(alone)
        expected = np.stack([step(row[i : i + 1])[0].copy() for row in ids])
        np.testing.assert_allclose(stepped[:, i], expected, **CLOSE)
        np.testing.assert_allclose(unrolled[:, i], expected, **CLOSE)
        np.testing.assert_allclose(together[:, :, i : i + 1], alone, **CLOSE)


@every_cell
@pytest.mark.parametrize("streams", [1, N])
def test_step_leaves_the_old_state_alone_and_equals_one_unrolled_step(cell, streams):
    network = random_network(cell, 2)
    ids, state = random_start(network, streams, steps=1)
    kept = state.copy()
    logits, new = network.step(ids[0], state)
    np.testing.assert_array_equal(state, kept)
    assert not np.shares_memory(new, state)
    expected, end, _ = network.unroll(ids, state)
    np.testing.assert_array_equal(state, kept)
    np.testing.assert_allclose(logits, expected[0], **CLOSE)
    np.testing.assert_allclose(new, end, **CLOSE)


@every_cell
def test_logits_of_two_calls_of_step_are_two_arrays(cell):
    network = random_network(cell)
    ids, state = random_start(network, streams=1)
    first, state = network.step(ids[0], state)
    kept = first.copy()
    network.step(ids[1], state)
    np.testing.assert_array_equal(first, kept)


@every_cell
def test_zero_weights_give_the_values_computed_by_hand(cell):
    """All gates 1/2 and all candidates 0, so a GRU's h halves, an LSTM's c halves, and an RNN's h is 0."""
    config = shape(cell)
    weights = {name: np.zeros(size, dtype=np.float32) for name, size in config.parameter_shapes().items()}
    weights["head.bias"] = np.arange(V, dtype=np.float32)
    network = Network(config, weights)
    state = network.initial_state(N)
    assert not state.any()
    state[0, 0], state[0, -1] = 0.5, 0.8
    expected = {"lstm": [0.5 * np.tanh(0.4), 0.4], "gru": [0.4], "rnn": [0.0]}.get(cell)
    assert expected is not None, f"what is {cell}'s state after a step from h = 0.5 and c = 0.8, or from h = 0.8 alone?"
    ids = np.zeros((1, N), dtype=np.int64)
    for logits, new in (network.step(ids[0], state), network.unroll(ids, state)[:2]):
        np.testing.assert_array_equal(logits.reshape(N, V), np.tile(np.arange(V), (N, 1)))
        for part, value in enumerate(expected):
            np.testing.assert_allclose(new[0, part], value, rtol=1e-6)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if keeping(GATES[cell])])
def test_what_a_gate_keeps_is_added_as_it_is(cell):
    """The gate is at 1, and all candidates are 0."""
    config, letter = shape(cell), keeping(GATES[cell])
    weights = {name: np.zeros(size, dtype=np.float32) for name, size in config.parameter_shapes().items()}
    weights["rnn.bias_ih_l0"].reshape(-1, H)[GATES[cell].index(letter)] = 50
    ids, state = random_start(network := Network(config, weights))
    _, after, _ = network.unroll(ids, state)
    stays = f"at {letter} = 1 all of the old state stays: no other factor and no tanh, or pages are wrong about it"
    np.testing.assert_allclose(after[0, -1], state[0, -1], rtol=1e-6, err_msg=stays)


def test_one_lstm_unit_gives_the_values_computed_by_hand():
    """W_ih = (0.5, -1, 2, 1), W_hh = (1, 0.25, -0.5, 2), b_ih = (0.1, 1, 0, -0.2); x = 2, h = 0.5, c = -1."""
    config = ModelConfig(vocab_size=2, cell="lstm", embedding_size=1, hidden_size=1, num_layers=1)
    weights = {
        "embedding.weight": [[7.0], [2.0]],
        "rnn.weight_ih_l0": [[0.5], [-1.0], [2.0], [1.0]],
        "rnn.weight_hh_l0": [[1.0], [0.25], [-0.5], [2.0]],
        "rnn.bias_ih_l0": [0.1, 1.0, 0.0, -0.2],
        "rnn.bias_hh_l0": [0.0] * 4,
        "head.weight": [[1.0], [-2.0]],
        "head.bias": [0.0, 0.5],
    }
    network = Network(config, {name: np.array(value) for name, value in weights.items()})
    # Before the gates: i 1.6, f -0.875, g 3.75, o 2.8; s(1.6) = .832018, s(-.875) = .294215, tanh(3.75) = .998894.
    c = 0.832018 * 0.998894 - 0.294215
    h = 0.942676 * np.tanh(c)
    logits, state = network.step(np.array([1]), np.array([0.5, -1.0], dtype=np.float32).reshape(1, 2, 1, 1))
    np.testing.assert_allclose(state.ravel(), [h, c], atol=2e-6)
    np.testing.assert_allclose(logits.ravel(), [h, 0.5 - 2 * h], atol=5e-6)


def test_sigmoid_is_exact_at_zero_and_does_not_overflow():
    x = np.array([-1e30, -1e4, 0.0, np.log(3.0), 1e4, 1e30], dtype=np.float32)
    np.testing.assert_allclose(sigmoid(x), [0, 0, 0.5, 0.75, 1, 1], atol=1e-6)


@every_cell
def test_a_network_keeps_no_tie_to_the_state_it_started_from(cell):
    network = random_network(cell, 2)
    ids, state = random_start(network)
    kept = state.copy()
    end = network.unroll(ids[:1], state)[1]
    end += 1
    np.testing.assert_array_equal(state, kept)


@every_cell
def test_going_back_gives_the_gradients_of_finite_differences(cell):
    network = random_network(cell, layers=2)
    ids, start = random_start(network)
    rng = np.random.default_rng(2)
    d_h, way = rng.normal(size=(N, H)).astype(np.float32), rng.normal(size=start.shape).astype(np.float32)
    *_, (d_state, _) = network.backward(d_h, network.trace(ids, start)[1], start)
    ends = [float((network.trace(ids, start + sign * way)[1][-1].h[-1] * d_h).sum()) for sign in (0.01, -0.01)]
    assert float((d_state * way).sum()) == pytest.approx((ends[0] - ends[1]) / 0.02, rel=0.01, abs=2e-4)


@every_cell_of_torch
@every_depth
def test_going_back_gives_autograds_gradients_through_torchs_kernels(cell, layers):
    network = random_network(cell, layers)
    ids, start = random_start(network)
    d_logits = np.random.default_rng(2).normal(size=(N, V)).astype(np.float32)
    weights = {name: torch.from_numpy(value) for name, value in random_weights(network.config).items()}
    kernel = KERNELS[cell](E, H, layers)
    kernel.load_state_dict({name.removeprefix("rnn."): value for name, value in weights.items() if name.startswith("rnn.")})
    parts = [torch.from_numpy(start[:, part].copy()).requires_grad_() for part in range(network.config.state_parts)]
    befores, embedded = [], []
    for symbols in ids:
        befores.append(parts)
        x = weights["embedding.weight"][torch.from_numpy(symbols)][None].requires_grad_()
        embedded.append(x)
        out, end = kernel(x, tuple(parts) if cell == "lstm" else parts[0])
        parts = list(end) if cell == "lstm" else [end]
    loss = ((out[0] @ weights["head.weight"].T) * torch.from_numpy(d_logits)).sum()
    d_h = d_logits @ network.weights["head.weight"]
    found = list(network.backward(d_h, network.trace(ids, start)[1], start))
    assert len(found) == T
    for before, x, (d_state, d_x) in zip(reversed(befores), reversed(embedded), found, strict=True):
        *expected, expected_d_x = torch.autograd.grad(loss, [*before, x], retain_graph=True)
        np.testing.assert_allclose(d_state, torch.stack(expected, dim=1).numpy(), **CLOSE)
        np.testing.assert_allclose(d_x, expected_d_x[0].numpy(), **CLOSE)
