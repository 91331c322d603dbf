"""Laws of SOAP: Adam in the eigenbasis of the columns' second moments, and how that basis turns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_runs import random_model
from small_steps import changes, draw, made
from small_steps import step as make_step

from charrnn.config import GATES, TrainConfig
from charrnn.training import optimizer as optimizers
from charrnn.training.optimizer import Optimizer
from charrnn.training.soap import BETAS, EPSILON, GRAM_DECAY, SHIFT, TURN_EVERY, turn, turn_without_waiting

pytestmark = pytest.mark.usefixtures("one_thread")

every_cell = pytest.mark.parametrize("cell", list(GATES))


def soap_by_hand(weight, gradients, rate, decay):
    """The weight after steps of Adam in the eigenbasis of its columns' second moments, in float64."""
    weight, columns = weight.copy(), weight.shape[1]
    gram, basis = np.zeros((columns, columns)), np.eye(columns)
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    (a, b), halves = BETAS, [gradient[step % 2 :: 2] for step, gradient in enumerate(gradients, 1)]
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
        adam = (mean / (1 - a**step)) / (np.sqrt(square / (1 - b**step)) + EPSILON)
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
        make_step(weights, optimizer, 0.01)
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
        make_step(weights, optimizer)
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
    turned = turn(gradient.T @ gradient, after, dtype)
    assert not torch.allclose(after, basis, atol=0.1)
    assert turned.dtype == dtype
    torch.testing.assert_close((mean.to(dtype) @ turned).float() @ after.T, mean @ basis.T, rtol=0, atol=near)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_gram_that_is_not_finite_turns_no_basis(wrong):
    gram, basis = torch.eye(3), torch.eye(3)
    gram[0, 1] = wrong
    assert turn(gram, basis, basis.dtype) is None
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


@pytest.mark.parametrize("begun", [False, True])
def test_a_basis_turns_alike_where_nothing_is_asked_of_the_device(begun):
    torch.manual_seed(1)
    rows = torch.randn(20, 6)
    gram, basis = rows.T @ rows, torch.linalg.qr(torch.randn(6, 6))[0] * float(begun)
    other = basis.clone()
    torch.testing.assert_close(turn_without_waiting(gram, other, torch.float32), turn(gram, basis, torch.float32))
    torch.testing.assert_close(other, basis)
    kept = other.clone()
    gram[0, 0] = math.inf
    torch.testing.assert_close(turn_without_waiting(gram, other, torch.float32), torch.eye(6))
    assert torch.equal(other, kept)
