"""What training says about the memory while it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from layers import statistics
from torch.nn import functional

from charrnn.analysis import advice
from charrnn.config import GATES, ModelConfig
from charrnn.network.cells import Network
from charrnn.network.columns import Reading
from charrnn.training.model import CharRNN

V, H = 7, 12


def fresh(cell, layers=2, seed=0):
    config = ModelConfig(V, cell=cell, embedding_size=5, hidden_size=H, num_layers=layers)
    return CharRNN(config, torch.Generator().manual_seed(seed))


def symbols(length, seed=0):
    return np.random.default_rng(seed).integers(0, V, length)


def norms_by_torchs_kernels(model, ids, pieces, length):
    """The norm of the gradient with respect to the state k characters back, k = 1, 2, ..., through the model as it trains:
    the mean over ``pieces`` of one text, the state carried from one to the next.
    """
    norms, state = [], model.initial_state(1)
    for start in range(0, pieces * length, length):
        states, state = [], state.detach().requires_grad_()
        for index in ids[start : start + length]:
            logits, state = model(torch.tensor([[index]]), state)
            states.append(state)
        loss = functional.cross_entropy(logits[:, 0], torch.tensor([ids[start + length]]))
        # One way back meets all states; each gradient is the whole one, for a state has no way but through the next.
        norms.append([float(gradient.norm()) for gradient in torch.autograd.grad(loss, states[-2::-1])])
    return np.mean(norms, axis=0).tolist()


def reach(model, ids):
    network = Network(model.config, model.export())
    return advice.vanishes_after(network, ids, network.trace(ids[:, None])[1])


@pytest.mark.parametrize("cell", list(GATES))
@pytest.mark.parametrize(("characters", "shrink"), [(256, 0.8), (100, 0.3), (30, 0.3), (30, 0.8)])
def test_the_reach_of_gradients_is_that_of_torchs_own_kernels(cell, characters, shrink):
    model, ids = fresh(cell), symbols(characters)
    with torch.no_grad():
        for name, weight in model.weights().items():
            if "weight_hh" in name:
                weight *= shrink
    length = min(64, characters - 1)
    norms = norms_by_torchs_kernels(model, ids, (characters - 1) // length, length)
    expected = [k for k, norm in enumerate(norms, 1) if norm < 0.01 * norms[0]]
    assert reach(model, ids) == (expected[0] if expected else None)


def test_a_state_that_halves_with_every_character_reaches_eight_back():
    model = fresh("rnn", layers=1)
    with torch.no_grad():
        for name, weight in model.weights().items():
            if not name.startswith("head"):
                weight.zero_()
        model.weights()["rnn.weight_hh_l0"].copy_(0.5 * torch.eye(H))
    assert reach(model, symbols(256)) == 8  # 0.5 ** 7 is the first power below 1 %
    with torch.no_grad():
        model.weights()["rnn.weight_hh_l0"].copy_(0.999 * torch.eye(H))
    assert reach(model, symbols(256)) is None


@pytest.mark.parametrize("characters", [0, 1, 2, 3])
def test_too_short_a_text_tells_nothing(characters):
    assert reach(fresh("gru"), symbols(characters)) is None


def test_what_is_measured_is_what_the_rooms_give_one_by_one():
    model, ids = fresh("lstm"), symbols(256)
    network = Network(model.config, model.export())
    found = advice.measure(network, ids)
    assert found["hidden"] == [layer.summary() for layer in statistics(Reading(network, ids))]
    assert found["gradient_reach"] == reach(model, ids)


def event(**changed):
    layer = {"saturated": changed.pop("saturated", 0.1), "still": changed.pop("still", 0.1)}
    calm = {"saturated": 0.0, "still": 0.0}
    return {"hidden": [calm, layer], "clipped": 0.1, "grad_norm": 0.5, "gradient_reach": 20, **changed}


@pytest.mark.parametrize(
    ("changed", "cell", "expected"),
    [
        ({}, "lstm", None),
        ({}, "rnn", None),
        ({"saturated": 0.61}, "lstm", "layer 1: 61% of units saturated: lower --lr"),
        ({"saturated": 0.61}, "rnn", None),
        ({"saturated": 0.76}, "rnn", "layer 1: 76% of units saturated: lower --lr"),
        ({"still": 0.5}, "gru", "layer 1: 50% of units never move: train longer, or lower --hidden-size"),
        ({"gradient_reach": 9}, "rnn", "gradients vanish within 9 characters: try --cell lstm"),
        ({"gradient_reach": 9}, "lstm", None),
        ({"gradient_reach": None}, "rnn", None),
        ({"clipped": None, "grad_norm": None}, "rnn", None),
    ],
)
def test_advice_names_the_number_that_shows_what_is_wrong(changed, cell, expected):
    assert advice.advise(event(**changed), cell, 50) == expected


def test_advice_about_clipping_names_both_numbers():
    told = advice.advise(event(clipped=0.98, grad_norm=7.13), "lstm", 50)
    assert told is not None
    assert "98%" in told
    assert "7.1" in told
    assert "--lr" in told


@pytest.mark.parametrize("changed", [{"saturated": 0.9}, {"still": 0.9}, {"clipped": 1.0}])
def test_nothing_is_advised_after_a_few_steps(changed):
    assert advice.advise(event(**changed), "lstm", 49) is None
    assert advice.advise(event(**changed), "lstm", 50) is not None


@pytest.mark.parametrize(
    ("step", "bits", "told"),
    [(1000, 2.5, False), (1300, 2.5, True), (1300, 2.41, False), (1300, 2.3, False), (3000, 2.5, True)],
)
def test_overfitting_is_told_where_validation_has_risen_for_a_third_of_the_run(step, bits, told):
    found = advice.overfitting(step, 286, 3000, bits, 2.4)
    assert (found is not None) == told
    if found is not None:
        assert all(part in found for part in ("step 286", "2.400", "shorter", "--hidden-size", "--dropout"))


def test_a_run_of_so_few_steps_that_it_is_no_better_than_letters_alone_is_told_what_makes_more():
    assert advice.barely_begun(2, 5.1, 4.8, "minutes").startswith("2 steps taught it nothing yet: more --minutes, or a smaller")
    assert advice.barely_begun(1, 4.8, 4.8, "epochs").startswith("1 step taught it nothing yet: more --epochs")
    for step, bits, letters in ((2, 4.7, 4.8), (50, 5.1, 4.8), (2, None, 4.8), (2, 5.1, None)):
        assert advice.barely_begun(step, bits, letters, "minutes") is None
