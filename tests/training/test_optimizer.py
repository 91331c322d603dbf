"""Laws of the optimizer: which weights each method takes, that AdamW is torch's own, and that state and workers are exact."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from small_runs import OPTIMIZERS
from small_steps import LR, copies, draw, made, no_scale, step

from charrnn.config import GATES
from charrnn.training import optimizer as optimizers
from charrnn.training.optimizer import BETAS
from charrnn.training.workers import Workers

pytestmark = pytest.mark.usefixtures("one_thread")

every_cell = pytest.mark.parametrize("cell", list(GATES))
each_kind = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def test_tests_take_the_optimizers_from_the_list() -> None:
    """So what holds for each is tried with a new one, too; `test_config` alone says which there are."""
    written = re.compile(r"""[(\[]"(soap|muon|adamw)", "(?!\1)(soap|muon|adamw)", """)
    files = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)]
    assert {path.name for path in files if written.search(path.read_text(encoding="utf-8"))} == {"test_config.py"}


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
def test_a_step_that_is_not_sound_changes_nothing(optimizer):
    """It isn't known when it is made; a sound one is what it were otherwise."""
    weights, made_one = made(optimizer=optimizer)
    others, plain = made(optimizer=optimizer)
    for each in (weights, others):
        draw(each, 0)
    made_one.step(LR, Workers(1), sound=torch.tensor(True))
    plain.step(LR, Workers(1))
    moments = {name: moment.clone() for name, moment in made_one.state()[0].items()}
    assert all(torch.equal(moment, plain.state()[0][name]) for name, moment in moments.items())
    for weight in weights.values():
        weight.grad.fill_(math.nan)
    made_one.step(LR, Workers(1), sound=torch.tensor(False))
    assert all(torch.equal(weight, others[name]) for name, weight in weights.items())
    assert all(torch.equal(moment, moments[name]) for name, moment in made_one.state()[0].items())


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
