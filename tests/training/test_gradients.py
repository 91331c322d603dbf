"""Laws of the gradient of a chunk: shares of the columns add up to the whole, in an order that no thread can change."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
import torch
from small_runs import random_model

from charrnn.config import GATES
from charrnn.training import gradients
from charrnn.training.model import CharRNN
from charrnn.training.workers import Workers

pytestmark = pytest.mark.usefixtures("one_thread")
N, T, V = 5, 9, 7

every_cell = pytest.mark.parametrize("cell", list(GATES))


def chunk(cell="lstm", layers=2, dropouts=(0.2, 0.3, 0.5), hidden=8):
    """A network, and inputs, targets, a state and dropout masks for it."""
    model, generator = random_model(cell, V, layers, hidden), torch.Generator().manual_seed(1)
    ids = torch.randint(V, (N, T + 1), generator=generator)
    state = torch.rand(model.initial_state(N).shape, generator=generator) - 0.5
    return model, ids[:, :-1], ids[:, 1:], state, model.dropout_masks(N, dropouts, generator)


def sharded(count, *given, **options):
    workers = Workers(count)
    with workers.working():
        return gradients.of_chunk(*given, workers=workers, **options)


def whole(model, inputs, targets, state, masks):
    """Loss, state and gradients of all columns at once, by torch alone."""
    logits, after = model(inputs, state, masks)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return loss.detach(), after.detach(), torch.autograd.grad(loss, list(model.weights().values()))


def assert_same_bits(one, other):
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert all(map(torch.equal, one[2], other[2]))


@every_cell
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("dropouts", [(0, 0, 0), (0.2, 0.3, 0.5)])
def test_the_shares_add_up_to_the_whole(cell, count, dropouts):
    """Also where columns don't divide evenly, and where workers outnumber them; each share has its columns' masks and state."""
    given = chunk(cell, dropouts=dropouts)
    loss, after, found = sharded(count, *given)
    expected_loss, expected_after, expected = whole(*given)
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-5)
    torch.testing.assert_close(after, expected_after, rtol=1e-5, atol=1e-6)
    for name, one, other in zip(given[0].weights(), found, expected, strict=True):
        size = other.abs().max().item()
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * size, msg=lambda text, name=name: f"{name}: {text}")


@every_cell
def test_the_softmax_is_in_fp32_whatever_the_products_are_in(cell):
    model, inputs, targets, state, _ = chunk(cell)
    seen = []

    def scale(loss):
        seen.append(loss)
        return loss

    loss, _, found = sharded(1, model, inputs, targets, state, None, precision="bf16", scale=scale)
    with torch.autocast("cpu", torch.bfloat16):
        logits, _ = model(inputs, state)
    expected = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    assert logits.dtype == torch.bfloat16
    assert seen[0].dtype == loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert all(gradient.dtype == torch.float32 for gradient in found)


@every_cell
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_number_of_workers_gives_the_same_bits_whichever_is_first(cell, precision):
    given, moods = chunk(cell), ([0.0, 0.02, 0.04], [0.04, 0.02, 0.0], [0.02, 0.04, 0.0])
    results = []
    for delays in moods:
        left, lock = list(delays), threading.Lock()

        def late(loss, left=left, lock=lock):
            with lock:
                delay = left.pop(0)
            time.sleep(delay)
            return loss

        results.append(sharded(3, *given, scale=late, precision=precision))
    for other in results[1:]:
        assert_same_bits(results[0], other)


@every_cell
def test_many_repetitions_give_the_same_bits(cell):
    given = chunk(cell, hidden=48)
    first = sharded(2, *given)
    for _ in range(20):
        assert_same_bits(first, sharded(2, *given))


def test_the_state_goes_on_and_the_graph_does_not():
    model, inputs, targets, state, _ = chunk("lstm")
    _, middle, _ = sharded(2, model, inputs[:, :4], targets[:, :4], state, None)
    _, end, _ = sharded(2, model, inputs[:, 4:], targets[:, 4:], middle, None)
    with torch.no_grad():
        expected = model(inputs, state)[1]
    torch.testing.assert_close(end, expected, rtol=1e-5, atol=1e-6)
    assert not end.requires_grad
    assert end.shape == state.shape


def test_no_weight_keeps_a_gradient():
    given = chunk()
    loss, _, found = sharded(2, *given)
    assert all(parameter.grad is None for parameter in given[0].parameters())
    assert not any(value.requires_grad for value in (loss, *found))


@every_cell
@pytest.mark.parametrize("count", [1, 2])
def test_every_gradient_lies_in_memory_as_its_weight_does_and_shares_it_with_no_other(cell, count):
    """Fused AdamW takes the first for granted (it would read a view along the wider rows), clipping in place the second."""
    given = chunk(cell)
    found = sharded(count, *given)[2]
    for weight, gradient in zip(given[0].weights().values(), found, strict=True):
        assert gradient.shape == weight.shape
        assert gradient.stride() == weight.stride()
    before = [gradient.clone() for gradient in found]
    for gradient in found:
        gradient.mul_(2)
    assert all(torch.equal(gradient, 2 * old) for gradient, old in zip(found, before, strict=True))


@pytest.mark.parametrize("count", [1, 2])
def test_a_scale_multiplies_the_gradients_and_not_the_loss(count):
    given = chunk()
    loss, after, plain = sharded(count, *given)
    scaled_loss, scaled_after, scaled = sharded(count, *given, scale=lambda value: 8 * value)
    assert torch.equal(loss, scaled_loss)
    assert torch.equal(after, scaled_after)
    for one, other in zip(plain, scaled, strict=True):
        assert torch.equal(8 * one, other)


@every_cell
def test_every_worker_multiplies_in_the_precision_asked_for(cell):
    """Autocast is a setting of the thread."""
    given = chunk(cell)
    config = replace(given[0].config, hidden_size=32)
    model = CharRNN(config)  # of usual weights: large ones make the rounding grow
    given = model, *given[1:3], model.initial_state(N), None
    exact, one, two = (sharded(count, *given, precision=p) for count, p in ((1, "fp32"), (1, "bf16"), (2, "bf16")))
    size = max(gradient.abs().max() for gradient in exact[2])
    for precise, single, double in zip(exact[2], one[2], two[2], strict=True):
        assert (single - double).abs().max() < 0.01 * size  # two roundings of the largest entry, 2^-8 each
        assert (precise - double).abs().max() < 0.05 * size
        assert double.dtype == torch.float32
    assert not all(map(torch.equal, exact[2], two[2]))
    # Each column's state alone is as coarse as bf16 makes it.
    differs = (exact[1] != two[1]).any(dim=3).any(dim=1).any(dim=0)
    assert differs.tolist() == [True] * N


@every_cell
@pytest.mark.parametrize("count", [1, 2])
def test_columns_that_end_before_others_give_what_each_gives_alone(cell, count):
    model, inputs, targets, state, masks = chunk(cell)
    lengths = [3, T, 1, 6, 3]
    for column, length in enumerate(lengths):
        targets[column, length:] = -100
    loss, after, found = sharded(count, model, inputs, targets, state, masks, counted=sum(lengths))
    total, expected = 0.0, [torch.zeros_like(weight) for weight in model.weights().values()]
    for column, length in enumerate(lengths):
        one = slice(column, column + 1)
        alone = inputs[one, :length], targets[one, :length], state[:, :, one], [mask[one] for mask in masks]
        mean, state_after, gradients_of_it = whole(model, *alone)
        total += mean.item() * length / sum(lengths)
        expected = [one + length / sum(lengths) * more for one, more in zip(expected, gradients_of_it, strict=True)]
        if length == T:  # Only those that go on need theirs.
            torch.testing.assert_close(after[:, :, one], state_after, rtol=1e-5, atol=1e-6)
    assert loss.item() == pytest.approx(total, rel=1e-5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_columns_that_have_ended_cost_no_work(monkeypatch):
    model, inputs, targets, state, masks = chunk(dropouts=(0, 0, 0))
    targets[1:, 2:] = -100
    read, hidden = [], model.hidden
    monkeypatch.setattr(model, "hidden", lambda x, *more: (read.append(x.shape[:2].numel()), hidden(x, *more))[1])
    gradients.of_chunk(model, inputs, targets, state, masks, counted=T + 2 * (N - 1))
    assert sum(read) == T + 2 * (N - 1)
