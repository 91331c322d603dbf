"""Laws of the torch network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_networks import OF_TORCH
from small_runs import KERNELS

from charrnn.config import GATES, ModelConfig
from charrnn.network.cells import Network
from charrnn.training.model import CharRNN

V, E, H, T, N = 11, 6, 8, 9, 3
DROPOUTS = (0.1, 0.3, 0.5)  # at the input, between layers, at the output
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

every_cell = pytest.mark.parametrize("cell", list(GATES))
every_cell_of_torch = pytest.mark.parametrize("cell", OF_TORCH)
every_depth = pytest.mark.parametrize("layers", [1, 2, 3])


def fresh(cell="lstm", layers=1, seed=0, hidden=H):
    config = ModelConfig(vocab_size=V, cell=cell, embedding_size=E, hidden_size=hidden, num_layers=layers)
    return CharRNN(config, torch.Generator().manual_seed(seed))


def randomized(cell="lstm", layers=1):
    """A network whose biases matter too."""
    model, rng = fresh(cell, layers), np.random.default_rng(5)
    model.load({name: rng.normal(0, 0.5, size).astype(np.float32) for name, size in model.config.parameter_shapes().items()})
    return model


def random_start(model, steps=T):
    rng = np.random.default_rng(1)
    state = rng.uniform(-0.9, 0.9, tuple(model.initial_state(N).shape)).astype(np.float32)
    return torch.from_numpy(rng.integers(0, V, (N, steps))), torch.from_numpy(state)


@every_cell
@every_depth
@pytest.mark.parametrize("learning", [False, True])
def test_forward_equals_the_numpy_network_on_the_exported_weights(cell, layers, learning):
    """Where gradients are wanted, GRU and RNN have kernels of their own."""
    model = randomized(cell, layers)
    ids, state = random_start(model)
    with torch.set_grad_enabled(learning):
        logits, end = model(ids, state)
    assert logits.requires_grad is learning
    expected, expected_end, _ = Network(model.config, model.export()).unroll(ids.numpy().T, state.numpy())
    np.testing.assert_allclose(logits.detach().numpy(), expected.transpose(1, 0, 2), **CLOSE)
    np.testing.assert_allclose(end.detach().numpy(), expected_end, **CLOSE)


@every_cell
def test_load_takes_over_what_export_gave(cell):
    source, target = randomized(cell, 2), fresh(cell, 2, seed=9)
    target.load(source.export())
    assert list(source.export()) == list(source.config.parameter_shapes())
    for name, value in source.export().items():
        assert value.dtype == np.float32
        assert value.shape == source.config.parameter_shapes()[name]
        np.testing.assert_array_equal(target.export()[name], value)


def test_an_export_is_a_copy():
    model = randomized()
    exported = model.export()
    kept = {name: value.copy() for name, value in exported.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    for name, value in exported.items():
        np.testing.assert_array_equal(value, kept[name])


@every_cell_of_torch
@every_depth
def test_fresh_biases_are_zero_but_the_forget_gates_which_is_one(cell, layers):
    weights = fresh(cell, layers).export()
    assert not weights["head.bias"].any()
    for layer in range(layers):
        bias = weights[f"rnn.bias_ih_l{layer}"] + weights[f"rnn.bias_hh_l{layer}"]
        expected = [0.0] * H + [1.0] * H + [0.0] * 2 * H if cell == "lstm" else [0.0] * len(bias)
        assert bias.tolist() == expected


@every_cell
def test_every_fresh_recurrent_block_is_orthogonal(cell):
    weights = fresh(cell, 2, hidden=16).export()
    blocks = np.concatenate([weights["rnn.weight_hh_l0"], weights["rnn.weight_hh_l1"]]).reshape(-1, 16, 16)
    for block in blocks:
        np.testing.assert_allclose(block @ block.T, np.eye(16), atol=1e-5)
    assert len({block.tobytes() for block in blocks}) == len(blocks)


@every_cell
def test_fresh_weights_are_a_function_of_the_generators_seed(cell):
    one, same, other = (fresh(cell, 2, seed).export() for seed in (4, 4, 5))
    for name, value in one.items():
        np.testing.assert_array_equal(value, same[name])
        assert "bias" in name or not np.array_equal(value, other[name])


def test_torchs_global_generator_is_neither_used_nor_moved():
    before = torch.get_rng_state()
    model = fresh("gru", 2)
    torch.manual_seed(1)
    again = fresh("gru", 2)
    for name, value in model.export().items():
        np.testing.assert_array_equal(again.export()[name], value)
    torch.set_rng_state(before)
    model = fresh("lstm", 2)
    masks = model.dropout_masks(N, DROPOUTS, torch.Generator().manual_seed(1))
    model(*random_start(model), masks)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_mask_is_constant_over_time_and_of_its_own_for_each_column():
    model = fresh("lstm", 2, hidden=64)
    masks = model.dropout_masks(4, (0.5, 0.5, 0.5), torch.Generator().manual_seed(1))
    assert [tuple(mask.shape) for mask in masks] == [(4, 1, E), (4, 1, 64), (4, 1, 64)]
    for mask in masks[1:]:
        assert len({tuple(column.flatten().tolist()) for column in mask}) == 4
    assert not torch.equal(masks[1], masks[2])


@pytest.mark.parametrize("shares", [(0.1, 0.5, 0.8), (0.8, 0.1, 0.5), (0.0, 0.0, 0.5), (0.5, 0.0, 0.0), (0.0, 0.5, 0.0)])
def test_masks_keep_the_mean_and_each_drops_its_own_share(shares):
    """Of three layers' outputs the last is the output, the others stand between layers."""
    masks = fresh(layers=3, hidden=128).dropout_masks(4000, shares, torch.Generator().manual_seed(1))
    at_input, between, at_output = shares
    for mask, share in zip(masks, (at_input, between, between, at_output), strict=True):
        assert mask.unique().tolist() == pytest.approx([0, 1 / (1 - share)] if share else [1])
        assert mask.mean().item() == pytest.approx(1, abs=0.05)
        assert (mask == 0).float().mean().item() == pytest.approx(share, abs=0.02)


def test_masks_are_a_function_of_the_generators_seed():
    model = fresh()
    one, same, other = (model.dropout_masks(N, DROPOUTS, torch.Generator().manual_seed(seed))[1] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_no_dropout_is_no_mask_and_draws_nothing():
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    assert fresh().dropout_masks(N, (0, 0, 0), generator) is None
    assert torch.equal(generator.get_state(), before)


@every_cell_of_torch
def test_masks_act_after_the_embedding_between_layers_and_before_the_head(cell):
    """Never inside the recurrence: torch's kernels on the masked inputs give the same."""
    model = randomized(cell, 2)
    ids, state = random_start(model)
    masks = model.dropout_masks(N, DROPOUTS, torch.Generator().manual_seed(1))
    w = {name: torch.from_numpy(value) for name, value in model.export().items()}
    with torch.no_grad():
        x = w["embedding.weight"][ids] * masks[0]
        for layer in range(2):
            kernel = KERNELS[cell](x.shape[-1], H, batch_first=True)
            kernel.load_state_dict({f"{key}0": w[f"rnn.{key}{layer}"] for key in _KEYS})
            h = state[layer, 0:1].contiguous()
            x, _ = kernel(x, (h, state[layer, 1:2].contiguous()) if cell == "lstm" else h)
            x = x * masks[layer + 1]
        expected = x @ w["head.weight"].T + w["head.bias"]
        logits, _ = model(ids, state, masks)
    np.testing.assert_allclose(logits.numpy(), expected.numpy(), **CLOSE)
    assert not torch.allclose(logits, model(ids, state)[0], atol=0.05)


_KEYS = ("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l")


@every_cell
@every_depth
@pytest.mark.parametrize("learning", [False, True])
def test_a_whole_text_equals_its_chunks_with_carried_state(cell, layers, learning):
    model = randomized(cell, layers)
    ids, state = random_start(model)
    masks = model.dropout_masks(N, DROPOUTS, torch.Generator().manual_seed(1))
    with torch.set_grad_enabled(learning):
        whole, end = model(ids, state, masks)
        parts = []
        for chunk in torch.split(ids, [1, 4, 4], dim=1):
            logits, state = model(chunk, state, masks)
            parts.append(logits)
    np.testing.assert_allclose(torch.cat(parts, dim=1).detach().numpy(), whole.detach().numpy(), **CLOSE)
    np.testing.assert_allclose(state.detach().numpy(), end.detach().numpy(), **CLOSE)


@every_cell
def test_every_weight_gets_a_gradient_and_the_initial_state_is_zero(cell):
    model = fresh(cell, 2)
    ids, _ = random_start(model)
    assert not model.initial_state(N).any()
    torch.autograd.backward(model(ids, model.initial_state(N))[0].square().sum())
    for name, parameter in model.weights().items():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
