"""Laws of the optimizer: which weights SOAP and Muon take and what they make of them, and that AdamW is torch's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_runs import KERNELS, random_model

from charrnn import optimizer as optimizers
from charrnn.config import TrainConfig
from charrnn.device import Workers
from charrnn.optimizer import BETAS, GRAM_DECAY, SHIFT, SOAP_BETAS, SOAP_EPSILON, TURN_EVERY, Optimizer

pytestmark = pytest.mark.usefixtures("one_thread")
LR = 0.01
BLOCKS = {"lstm": 4, "gru": 3, "rnn": 1}

every_cell = pytest.mark.parametrize("cell", list(KERNELS))
each_kind = pytest.mark.parametrize("optimizer", ["soap", "muon", "adamw"])


def no_scale():
    return torch.amp.GradScaler("cpu", enabled=False)


def made(cell="lstm", layers=1, hidden=8, **settings):
    """A network's weights and their optimizer."""
    model = random_model(cell, layers=layers, hidden=hidden)
    return model.weights(), Optimizer(model.weights(), model.config, TrainConfig(**{"weight_decay": 0.0, **settings}))


def draw(weights, seed):
    """Random gradients, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    for weight in weights.values():
        weight.grad = torch.randn(weight.shape, generator=generator)


def step(weights, optimizer, lr=LR, workers=None):
    optimizer.take_gradients(no_scale())
    optimizer.step(lr, workers or Workers(1))


def copies(weights):
    return {name: weight.detach().clone() for name, weight in weights.items()}


def changes(weights, optimizer, lr=LR):
    """What one step takes from each weight, in units of the learning rate."""
    before = copies(weights)
    step(weights, optimizer, lr)
    return {name: ((before[name] - weight.detach()) / lr).double() for name, weight in weights.items()}


# -- which weights ---------------------------------------------------------------------------------------------------


@every_cell
def test_muon_takes_the_recurrent_layers_matrices_and_adamw_the_rest(cell):
    weights, optimizer = made(cell, layers=2, optimizer="muon")
    names = {name.split(".", 2)[2]: name.split(".")[1] for name in optimizer.state_shapes()}
    muons = {name for name, moment in names.items() if moment == "momentum_buffer"}
    assert muons == {"rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.weight_ih_l1", "rnn.weight_hh_l1"}
    assert names.keys() == weights.keys()


@each_kind
def test_the_state_has_the_moments_of_each_weight(optimizer):
    weights, made_one = made("gru", layers=2, optimizer=optimizer)
    draw(weights, 0)
    step(weights, made_one)
    tensors, steps = made_one.state()
    assert steps == 1
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == made_one.state_shapes()
    for name, weight in weights.items():
        whole, square = tuple(weight.shape), (weight.shape[-1], weight.shape[-1])
        expected = {"exp_avg": whole, "exp_avg_sq": whole}
        if optimizer == "soap" and weight.ndim == 2:
            expected = {"rotated_avg": whole, "rotated_avg_sq": whole, "gram": square, "basis": square}
        if optimizer == "muon" and name.startswith("rnn.weight"):
            expected = {"momentum_buffer": whole}
        found = {key.split(".")[1]: tuple(tensor.shape) for key, tensor in tensors.items() if key.endswith(f".{name}")}
        assert found == expected


# -- AdamW -----------------------------------------------------------------------------------------------------------


@each_kind
@every_cell
def test_adamw_is_torchs(cell, optimizer):
    """Of the weights it takes, by torch's own class on copies; decay for matrices only."""
    weights, made_one = made(cell, layers=2, optimizer=optimizer, weight_decay=0.3)
    others = {"soap": "weight", "muon": "rnn.weight", "adamw": "none"}[optimizer]
    takes = [name for name in weights if others not in name]
    assert takes
    twins = {name: torch.nn.Parameter(weights[name].detach().clone()) for name in takes}
    groups = [{"params": [twin], "weight_decay": 0.3 if twin.ndim == 2 else 0.0} for twin in twins.values()]
    torchs = torch.optim.AdamW(groups, lr=1.0, betas=BETAS)
    for number, lr in enumerate((0.01, 0.02, 0.005, 0.01)):
        draw(weights, number)
        for name, twin in twins.items():
            twin.grad = weights[name].grad.clone()
        for group in torchs.param_groups:
            group["lr"] = lr
        step(weights, made_one, lr)
        torchs.step()
        assert made_one.lr == lr
    for name, twin in twins.items():
        torch.testing.assert_close(weights[name], twin, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


# -- SOAP ------------------------------------------------------------------------------------------------------------


def soap_by_hand(weight, gradients, rate, decay):
    """The weight after steps of Adam in the eigenbasis of its columns' second moments, in float64."""
    weight, columns = weight.copy(), weight.shape[1]
    gram, basis = np.zeros((columns, columns)), np.eye(columns)
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    (a, b), halves = SOAP_BETAS, [gradient[step % 2 :: 2] for step, gradient in enumerate(gradients, 1)]
    found = [half.T @ half for half in halves]
    for step, gradient in enumerate(gradients, 1):
        # A basis turns by what was known before the step; only the first one has nothing but itself.
        known = found[: max(1, step - 1)]
        gram = known[0]
        for one in known[1:]:
            gram = GRAM_DECAY * gram + (1 - GRAM_DECAY) * one
        if step in (1, 2, 4, 8, 16) or step % TURN_EVERY == 0:
            turned, _ = np.linalg.qr(gram @ basis + SHIFT * np.trace(gram) * basis)
            mean, basis = mean @ basis.T @ turned, turned
        rotated = gradient @ basis
        mean, square = a * mean + (1 - a) * rotated, b * square + (1 - b) * rotated**2
        adam = (mean / (1 - a**step)) / (np.sqrt(square / (1 - b**step)) + SOAP_EPSILON)
        weight = weight * (1 - rate * decay) - rate * adam @ basis.T
    return weight


@every_cell
@pytest.mark.parametrize("smallest", [1, 1 << 16])
def test_soap_is_adam_in_the_eigenbasis_of_the_columns(cell, smallest, monkeypatch):
    """In however many blocks of rows."""
    monkeypatch.setattr(optimizers, "SMALLEST_BLOCK", smallest)
    weights, optimizer = made(cell, layers=2, hidden=5, optimizer="soap", weight_decay=0.3)
    before = {name: weight.detach().double().numpy().copy() for name, weight in weights.items()}
    drawn = {name: [] for name in weights}
    for number in range(TURN_EVERY + 3):
        draw(weights, number)
        for name, weight in weights.items():
            drawn[name].append(weight.grad.double().numpy().copy())
        step(weights, optimizer, 0.01)
    for name, weight in weights.items():
        if weight.ndim == 2:
            expected = soap_by_hand(before[name], drawn[name], 0.01, 0.3)
            np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-3, atol=1e-4, err_msg=name)


def test_its_basis_becomes_what_varies_together():
    """Columns that are mixtures of independent sources: the basis finds the mixture, and in it they are independent."""
    weights, optimizer = made("rnn", hidden=6, optimizer="soap")
    mixture, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    sizes = torch.tensor(np.diag(2.0 ** np.arange(6)) @ mixture.T).float()
    for number in range(200):
        draw(weights, number)
        weights["rnn.weight_hh_l0"].grad @= sizes
        step(weights, optimizer)
    basis = optimizer.state()[0]["optimizer.basis.rnn.weight_hh_l0"].double().numpy()
    found = np.abs(mixture.T @ basis)
    assert found.max(axis=0).min() > 0.95
    np.testing.assert_allclose(basis.T @ basis, np.eye(6), atol=1e-5)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_a_turn_changes_the_coordinates_of_the_mean_and_not_the_mean(dtype, near):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(7, 4, generator=generator)
    basis = torch.linalg.qr(torch.randn(4, 4, generator=generator))[0]
    gradient = torch.randn(7, 4, generator=generator)
    after = basis.clone()
    turned = optimizers.turn(gradient.T @ gradient, after, dtype)
    assert not torch.allclose(after, basis, atol=0.1)
    assert turned.dtype == dtype
    torch.testing.assert_close((mean.to(dtype) @ turned).float() @ after.T, mean @ basis.T, rtol=0, atol=near)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_no_number_turns_no_basis(wrong):
    gram, basis = torch.eye(3), torch.eye(3)
    gram[0, 1] = wrong
    assert optimizers.turn(gram, basis, basis.dtype) is None
    assert torch.equal(basis, torch.eye(3))


def test_products_in_bf16_change_an_update_by_their_rounding_only():
    steps = []
    for precision in ("fp32", "bf16"):
        model = random_model("lstm", hidden=16)
        one = Optimizer(model.weights(), model.config, TrainConfig(optimizer="soap"), precision)
        draw(model.weights(), 0)
        steps.append(changes(model.weights(), one))
    for name, exact in steps[0].items():
        difference = (steps[1][name] - exact).norm() / exact.norm()
        if "weight_hh" in name:
            # Others have fewer rows than columns here: directions without any gradient, where all is rounding.
            assert 0 < difference < 0.1, name
        assert (difference == 0) == (exact.ndim == 1), name


# -- Muon ------------------------------------------------------------------------------------------------------------


def known_gradient(rows, columns, seed):
    """A matrix U diag(s) V^T with s from 0.3 to 1, and the semi-orthogonal U V^T that is nearest to it."""
    rng, size = np.random.default_rng(seed), min(rows, columns)
    u, _ = np.linalg.qr(rng.normal(size=(rows, size)))
    v, _ = np.linalg.qr(rng.normal(size=(columns, size)))
    return torch.tensor((u * np.linspace(0.3, 1, size)) @ v.T), torch.tensor(u @ v.T)


@every_cell
@pytest.mark.parametrize("name", ["rnn.weight_hh_l0", "rnn.weight_ih_l0"])
def test_each_gates_block_moves_along_the_nearest_orthogonal_matrix_however_large_the_others(cell, name):
    H = 16
    weights, optimizer = made(cell, hidden=H, optimizer="muon")
    drawn = [known_gradient(H, weights[name].shape[1], gate) for gate in range(BLOCKS[cell])]
    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    weights[name].grad = torch.cat([gradient * 100.0**gate for gate, (gradient, _) in enumerate(drawn)]).float()
    moved = changes(weights, optimizer)[name]
    for block, (_, nearest) in zip(torch.split(moved, H), drawn, strict=True):
        assert (block * nearest).sum() / block.norm() / nearest.norm() > 0.97
        sizes = torch.linalg.svdvals(block) / (0.2 * math.sqrt(max(block.shape)))
        assert sizes.min() > 0.6
        assert sizes.max() < 1.3


@every_cell
def test_an_update_by_muon_is_as_large_as_one_by_adamw(cell):
    """0.2 in root mean square, which is AdamW's usual: one learning rate serves both."""
    weights, optimizer = made(cell, layers=2, hidden=32, optimizer="muon")
    draw(weights, 0)
    for name, change in changes(weights, optimizer).items():
        if name.startswith("rnn.weight"):
            for block in torch.split(change, 32):
                assert block.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.3)


def test_on_a_matrix_of_one_block_muon_is_torchs_with_so_many_steps():
    weights, optimizer = made("rnn", hidden=16, optimizer="muon", weight_decay=0.2)
    name = "rnn.weight_hh_l0"
    theirs = torch.nn.Parameter(weights[name].detach().clone())
    muon = torch.optim.Muon(
        [theirs],
        lr=LR,
        weight_decay=0.2,
        momentum=optimizers.MOMENTUM,
        ns_coefficients=optimizers.NEWTON_SCHULZ,
        ns_steps=optimizers.NEWTON_SCHULZ_STEPS,
        adjust_lr_fn="match_rms_adamw",
    )
    for number in range(5):
        draw(weights, number)
        theirs.grad = weights[name].grad.clone()
        step(weights, optimizer)
        muon.step()
        torch.testing.assert_close(weights[name].detach(), theirs.detach(), rtol=1e-3, atol=2e-4)


def test_muon_remembers_the_gradients_before():
    """After many steps in one direction, a single opposite one doesn't turn it round."""
    weights, optimizer = made("rnn", hidden=16, optimizer="muon")
    gradient, nearest = known_gradient(16, 16, 0)
    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    for sign in (1, 1, 1, 1, 1, 1, 1, 1, -1):
        weights["rnn.weight_hh_l0"].grad = sign * gradient.float()
        moved = changes(weights, optimizer)["rnn.weight_hh_l0"]
    momentum = optimizer.state()[0]["optimizer.momentum_buffer.rnn.weight_hh_l0"]
    # m <- 0.95 m + 0.05 g
    expected = (1 - 0.95**8) * 0.95 - 0.05
    torch.testing.assert_close(momentum.double(), expected * gradient, rtol=1e-4, atol=1e-6)
    assert (moved * nearest).sum() > 0


@each_kind
def test_decay_shrinks_matrices_by_rate_times_decay_and_never_vectors(optimizer):
    weights, made_one = made("gru", optimizer=optimizer, weight_decay=0.5)
    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    before = copies(weights)
    for lr in (0.1, 0.2):
        step(weights, made_one, lr)
    for name, weight in weights.items():
        factor = 0.95 * 0.9 if weight.ndim == 2 else 1.0
        torch.testing.assert_close(weight.detach(), factor * before[name], rtol=1e-5, atol=1e-6)


# -- what a snapshot holds -------------------------------------------------------------------------------------------


@each_kind
@every_cell
def test_a_restored_optimizer_goes_on_bit_for_bit(cell, optimizer):
    weights, first = made(cell, layers=2, optimizer=optimizer)
    for number in range(3):
        draw(weights, number)
        step(weights, first)
    tensors, steps = first.state()
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    others, second = made(cell, layers=2, optimizer=optimizer)
    with torch.no_grad():
        for name, weight in others.items():
            weight.copy_(weights[name])
    second.restore(kept, steps)
    assert all(torch.equal(tensor, second.state()[0][name]) for name, tensor in kept.items())
    for number in range(3, 6):
        for each, one in ((weights, first), (others, second)):
            draw(each, number)
            step(each, one)
    assert all(torch.equal(weight, others[name]) for name, weight in weights.items())
    assert first.state()[1] == second.state()[1] == 6


@each_kind
def test_the_state_before_the_first_step_is_as_good_as_none(optimizer):
    weights, first = made(optimizer=optimizer)
    tensors, steps = first.state()
    assert steps == 0
    assert not any(tensor.any() for tensor in tensors.values())
    others, second = made(optimizer=optimizer)
    second.restore(tensors, steps)
    for each, one in ((weights, first), (others, second)):
        draw(each, 0)
        step(each, one)
    assert all(torch.equal(weight, others[name]) for name, weight in weights.items())


# -- scale, workers, extremes ----------------------------------------------------------------------------------------


@each_kind
def test_a_loss_scale_is_divided_out_of_every_gradient(optimizer):
    weights, made_one = made(optimizer=optimizer)
    draw(weights, 0)
    expected = {name: weight.grad.clone() for name, weight in weights.items()}
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.ones(()))
    for weight in weights.values():
        weight.grad.mul_(8)
    made_one.take_gradients(scaler)
    for name, weight in weights.items():
        assert torch.equal(weight.grad, expected[name]), name


@each_kind
@every_cell
def test_clipping_between_taking_and_stepping_counts(cell, optimizer):
    """The gradients taken are the weights' own, not copies."""
    weights, made_one = made(cell, optimizer=optimizer)
    before = copies(weights)
    draw(weights, 0)
    made_one.take_gradients(no_scale())
    for weight in weights.values():
        weight.grad.zero_()
    made_one.step(LR, Workers(1))
    for name, weight in weights.items():
        torch.testing.assert_close(weight.detach(), before[name], rtol=0, atol=1e-7)


@each_kind
def test_the_number_of_workers_changes_nothing(optimizer, monkeypatch):
    monkeypatch.setattr(optimizers, "SMALLEST_BLOCK", 1)  # so that matrices as small as these are shared out
    results = []
    for count in (1, 3):
        weights, made_one = made(layers=2, hidden=24, optimizer=optimizer, weight_decay=0.1)
        workers = Workers(count)
        with workers.working():
            for number in range(5):
                draw(weights, number)
                step(weights, made_one, workers=workers)
        results.append(weights)
    assert all(torch.equal(weight, results[1][name]) for name, weight in results[0].items())


@each_kind
@pytest.mark.parametrize("lr", [1e30, 1e38, 1e300])
def test_no_rate_is_too_large_to_try(optimizer, lr):
    """The run diverges then, and says so."""
    weights, made_one = made(optimizer=optimizer)
    draw(weights, 0)
    step(weights, made_one, lr)
    assert not all(weight.abs().max() < 1e20 for weight in weights.values())
