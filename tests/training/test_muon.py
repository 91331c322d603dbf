"""Laws of Muon: which way and how far each gate's block moves, and that it is torch's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_steps import LR, changes, draw, made, step

from charrnn.config import GATES
from charrnn.training.muon import MOMENTUM, NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS

pytestmark = pytest.mark.usefixtures("one_thread")
BLOCKS = {cell: max(1, len(gates)) for cell, gates in GATES.items()}

every_cell = pytest.mark.parametrize("cell", list(GATES))


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
    torchs = torch.optim.Muon(
        [theirs],
        lr=LR,
        weight_decay=0.2,
        momentum=MOMENTUM,
        ns_coefficients=NEWTON_SCHULZ,
        ns_steps=NEWTON_SCHULZ_STEPS,
        adjust_lr_fn="match_rms_adamw",
    )
    for number in range(5):
        draw(weights, number)
        theirs.grad = weights[name].grad.clone()
        step(weights, optimizer)
        torchs.step()
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
