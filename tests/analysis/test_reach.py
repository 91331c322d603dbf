"""How far back a network remembers, against laws that can be worked out without it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import OF_TORCH
from small_runs import KERNELS

from charrnn import CharrnnError, UsageError
from charrnn.analysis import reach
from charrnn.config import GATES, ModelConfig
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary

V, E, H = 7, 5, 6
every_cell = pytest.mark.parametrize("cell", list(GATES))
every_cell_of_torch = pytest.mark.parametrize("cell", OF_TORCH)
every_depth = pytest.mark.parametrize("layers", [1, 2])


def randomized(cell="lstm", layers=1, scale=0.5, hidden=H):
    config = ModelConfig(vocab_size=V, cell=cell, embedding_size=E, hidden_size=hidden, num_layers=layers)
    rng = np.random.default_rng(3)
    return Network(config, {name: rng.normal(0, scale, size) for name, size in config.parameter_shapes().items()})


def linear(decay, turn=0.7, scale=1e-4):
    """An RNN whose units stay near zero, where tanh is the identity; its recurrent matrix is ``decay`` times a rotation."""
    config = ModelConfig(vocab_size=V, cell="rnn", embedding_size=E, hidden_size=2)
    weights = {name: np.zeros(size, np.float32) for name, size in config.parameter_shapes().items()}
    rng = np.random.default_rng(0)
    weights["rnn.weight_hh_l0"][:] = decay * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    for name in ("embedding.weight", "rnn.weight_ih_l0"):
        weights[name][:] = rng.normal(0, scale**0.5, weights[name].shape)
    weights["head.weight"][:] = rng.normal(0, 1, weights["head.weight"].shape)
    return Network(config, weights)


def random_text(length, seed=1):
    return np.random.default_rng(seed).integers(0, V, length)


def direct(model):
    """The equations once more, in float64, one character and one layer at a time: (x, state (L, P, H)) -> state."""
    w = {name: torch.from_numpy(value).double() for name, value in model.weights.items()}
    cell = model.config.cell

    def step(x, state):
        new = []
        for layer in range(model.config.num_layers):
            h = state[layer, 0]
            inputs = w[f"rnn.weight_ih_l{layer}"] @ x + w[f"rnn.bias_ih_l{layer}"]
            recurrent = w[f"rnn.weight_hh_l{layer}"] @ h + w[f"rnn.bias_hh_l{layer}"]
            if cell == "lstm":
                i, f, g, o = (inputs + recurrent).chunk(4)
                c = f.sigmoid() * state[layer, 1] + i.sigmoid() * g.tanh()
                parts = [o.sigmoid() * c.tanh(), c]
            elif cell == "gru":
                (xr, xz, xn), (hr, hz, hn) = inputs.chunk(3), recurrent.chunk(3)
                z = (xz + hz).sigmoid()
                n = (xn + (xr + hr).sigmoid() * hn).tanh()
                parts = [(1 - z) * n + z * h]
            else:
                parts = [(inputs + recurrent).tanh()]
            x = parts[0]
            new.append(torch.stack(parts))
        return torch.stack(new)

    return step, w


def test_the_direct_equations_are_torchs_own():
    for cell, kernel in KERNELS.items():
        model = randomized(cell)
        own = kernel(E, H).double()
        own.load_state_dict({k.removeprefix("rnn."): torch.from_numpy(v) for k, v in model.weights.items() if "rnn" in k})
        step, _ = direct(model)
        x = torch.randn(5, E, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        state = torch.zeros(1, model.config.state_parts, H, dtype=torch.float64)
        for now in x:
            state = step(now, state)
        torch.testing.assert_close(state[0, 0], own(x)[0][-1])


# -- gradients --------------------------------------------------------------------------------------------------------


@every_cell_of_torch
@every_depth
def test_gradients_equal_a_float64_jacobian_at_every_lag_alone(cell, layers):
    """Each lag is a function of its own: the loss of the state k characters before, by finite differences."""
    model, K = randomized(cell, layers), 5
    windows = np.stack([random_text(K + 1, seed) for seed in range(3)])
    rng = np.random.default_rng(8)
    states = rng.uniform(-0.8, 0.8, model.initial_state(3).shape).astype(np.float32)
    got = reach.gradient_reach(model, windows, states)
    step, w = direct(model)
    expected = np.zeros(K + 1)
    for m in range(3):
        trail = [torch.from_numpy(states[:, :, m]).double()]
        for index in windows[m, :-1]:
            trail.append(step(w["embedding.weight"][index], trail[-1]))
        for k in range(K + 1):

            def loss(state, k=k, m=m):
                for index in windows[m, K - k : K]:
                    state = step(w["embedding.weight"][index], state)
                logits = w["head.weight"] @ state[-1, 0] + w["head.bias"]
                return float(logits.logsumexp(0) - logits[windows[m, K]])

            expected[k] += np.linalg.norm(finite_differences(loss, trail[K - k])) / 3
    np.testing.assert_allclose(got, expected, rtol=2e-4)


def finite_differences(function, at, size=1e-6):
    gradient = np.zeros(at.numel())
    for index in range(at.numel()):
        nudge = torch.zeros(at.numel(), dtype=torch.float64)
        nudge[index] = size
        gradient[index] = (function(at + nudge.view(at.shape)) - function(at - nudge.view(at.shape))) / (2 * size)
    return gradient


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_swapped_gates_are_noticed(cell):
    model = randomized(cell)
    weights = dict(model.weights)
    for name in ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0"):
        weights[name] = np.concatenate([weights[name][H : 2 * H], weights[name][:H], weights[name][2 * H :]])
    swapped = Network(model.config, weights)
    text = random_text(60)
    one, other = (reach.measure(each, text, lags=10, windows=8) for each in (model, swapped))
    assert not np.allclose(one.gradient, other.gradient, rtol=0.01)
    assert not np.allclose(reach.contribution(model, text[:9]), reach.contribution(swapped, text[:9]), rtol=0.01)


@pytest.mark.parametrize("decay", [0.5, 0.8, 0.95])
def test_a_linear_networks_gradient_decays_by_its_spectral_radius(decay):
    """A power of the matrix: |W^k g| = decay^k |g|, so the half-life is ln 2 / -ln(decay), exactly."""
    found = reach.measure(linear(decay), random_text(200), lags=60, windows=16)
    np.testing.assert_allclose(found.gradient / found.gradient[0], decay ** np.arange(61.0), rtol=1e-4)
    assert found.half_life == pytest.approx(math.log(2) / -math.log(decay), rel=1e-3)
    expected = math.floor(math.log(0.01) / math.log(decay)) + 1
    assert found.below_1_percent == (expected if expected <= 60 else None)


def test_a_gradient_that_never_falls_has_no_half_life():
    found = reach.measure(linear(1.0), random_text(200), lags=60, windows=16)
    assert (found.half_life, found.below_1_percent) == (None, None)


def test_the_half_life_is_log_linear_between_lags():
    assert reach.crossing(np.array([8.0, 16.0, 8.0, 1.0]), 0.5) == pytest.approx(2 + 1 / 3)
    assert reach.crossing(np.array([1.0, 0.0]), 0.5) == 1
    assert reach.crossing(np.array([0.0, 0.0]), 0.5) is None


def test_the_windows_of_a_text_stand_where_the_states_before_them_were_taken():
    """With one window, everything by hand: the state after C - 1 - K characters, then K more."""
    model, lags = randomized("gru"), 6
    text = random_text(2 * lags + 2)
    found = reach.measure(model, text, lags=lags, windows=1)
    start = lags
    step, w = direct(model)
    state = torch.zeros(1, 1, H, dtype=torch.float64)
    for index in text[:start]:
        state = step(w["embedding.weight"][index], state)
    window = text[None, start : start + lags + 1]
    expected = reach.gradient_reach(model, window, state.float().view(1, 1, 1, H).numpy())
    np.testing.assert_allclose(found.gradient, expected, rtol=1e-4)


# -- loss with the past withheld --------------------------------------------------------------------------------------


@every_cell_of_torch
def test_the_rise_equals_reading_each_shortened_context_alone(cell):
    model, lags = randomized(cell, scale=1.0), 9
    text = random_text(70)
    found = reach.measure(model, text, lags=lags, windows=1000)
    step, w = direct(model)

    def loss(context, target):
        state = torch.zeros(1, model.config.state_parts, H, dtype=torch.float64)
        for index in context:
            state = step(w["embedding.weight"][index], state)
        logits = w["head.weight"] @ state[-1, 0] + w["head.bias"]
        return float(logits.logsumexp(0) - logits[target]) / math.log(2)

    starts = range(lags, len(text) - lags)
    for k in range(1, lags + 1):
        rises = [loss(text[s : s + k], text[s + k]) - loss(text[: s + k], text[s + k]) for s in starts]
        assert found.withheld[k - 1] == pytest.approx(np.mean(rises), abs=1e-5)
    whole = [loss(text[: s + k], text[s + k]) for s in starts for k in range(1, lags + 1)]
    assert found.bits_per_char == pytest.approx(np.mean(whole), rel=1e-5)


def test_a_network_that_forgets_everything_loses_nothing_by_it():
    model = randomized("rnn")
    weights = model.weights | {"rnn.weight_hh_l0": np.zeros((H, H))}
    found = reach.measure(Network(model.config, weights), random_text(100), lags=20, windows=30)
    np.testing.assert_allclose(found.withheld, 0, atol=1e-6)
    assert found.smallest_within_1_percent == 1
    assert not found.gradient[1:].any()


@pytest.mark.parametrize(
    ("rise", "smallest"),
    [
        ([1.0, 0.0201, 0.0199, 0.0], 3),
        ([1.0, 0.01, 0.03, 0.01], 4),  # What helps again further back was not dispensable.
        ([0.0, -0.1], 1),
        ([1.0, 0.5], None),
        ([0.0, 0.5], None),
    ],
)
def test_the_smallest_context_is_the_one_from_which_on_the_loss_is_within_1_percent(rise, smallest):
    assert reach.Reach(np.ones(2), np.array(rise), 2.0).smallest_within_1_percent == smallest


# -- what the final state holds ---------------------------------------------------------------------------------------


@every_cell_of_torch
@every_depth
def test_contributions_equal_torchs_float64_jacobian(cell, layers):
    model, text = randomized(cell, layers), random_text(8)
    own = KERNELS[cell](E, H, num_layers=layers).double()
    own.load_state_dict({k.removeprefix("rnn."): torch.from_numpy(v) for k, v in model.weights.items() if "rnn" in k})
    x = torch.from_numpy(model.weights["embedding.weight"][text]).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: own(x)[0][-1], x)  # (H, T, E)
    norms = np.array([np.linalg.norm(jacobian[:, t].numpy()) for t in range(8)])
    np.testing.assert_allclose(reach.contribution(model, text), norms / norms.sum(), rtol=1e-4)


def test_blocks_of_units_give_the_same_contributions(monkeypatch):
    model, text = randomized("lstm", hidden=11), random_text(8)
    whole = reach.contribution(model, text)
    monkeypatch.setattr(reach, "_TOGETHER", 3)
    np.testing.assert_allclose(reach.contribution(model, text), whole, rtol=1e-5)


def test_a_linear_networks_contributions_are_powers_of_its_decay():
    powers = 0.6 ** np.arange(9.0, -1, -1)
    np.testing.assert_allclose(reach.contribution(linear(0.6), random_text(10)), powers / powers.sum(), rtol=1e-4)


# -- what all of them keep --------------------------------------------------------------------------------------------


@every_cell
def test_measuring_changes_nothing_and_repeats_itself(cell):
    model, text = randomized(cell), random_text(80)
    before = {name: value.copy() for name, value in model.weights.items()}
    one, other = (reach.measure(model, text, lags=12, windows=40) for _ in range(2))
    reach.contribution(model, text[:9])
    assert one.to_json("") == other.to_json("")
    assert all(np.array_equal(value, before[name]) for name, value in model.weights.items())


def test_only_the_end_of_a_long_text_is_read(monkeypatch):
    model, text = randomized(), random_text(300)
    monkeypatch.setattr(reach, "CHARACTERS", 80)
    found, expected = (reach.measure(model, ids, lags=12, windows=10) for ids in (text, text[-80:]))
    assert found.to_json("") == expected.to_json("")


def test_a_text_that_is_too_short_is_refused():
    with pytest.raises(CharrnnError, match=r"has 25 characters.*at least 26"):
        reach.measure(randomized(), random_text(25), lags=12)
    reach.measure(randomized(), random_text(26), lags=12)


def trained(cell="lstm"):
    model = randomized(cell)
    vocabulary = Vocabulary("char", "\nabcde")
    return Checkpoint(model.config, vocabulary, {}, model.weights, path=Path("runs/x/best.safetensors"))


def test_a_network_whose_weights_are_no_numbers_is_refused():
    broken = trained()
    weights = {name: np.full_like(value, np.nan) for name, value in broken.weights.items()}
    broken = Checkpoint(broken.model, broken.vocabulary, {}, weights)
    with pytest.raises(CharrnnError, match="not finite"):
        reach.remembered(broken, "abcde" * 100)
    with pytest.raises(CharrnnError, match="not finite"):
        reach.contributed(broken, "abc", "")
    with pytest.raises(UsageError, match="at least 1 character"):
        reach.contributed(trained(), "", "")


def test_a_curve_is_json_with_these_keys():
    data = reach.remembered(trained(), "abcde\n" * 80).to_json("mine")
    json.dumps(data, allow_nan=False)
    assert data["label"] == "mine"
    assert data["lags"] == list(range(201))
    assert data["withheld_lags"] == list(range(1, 201))
    assert (len(data["gradient"]), len(data["withheld"])) == (201, 200)
    keys = "label bits_per_char lags gradient half_life below_1_percent withheld_lags withheld smallest_within_1_percent"
    assert list(data) == keys.split()


def test_a_contribution_is_json_with_a_share_for_every_character():
    data = reach.contributed(trained("gru"), "abba?", "mine")
    json.dumps(data, allow_nan=False)
    assert list(data) == ["label", "characters", "contribution"]
    assert data["characters"] == ["a", "b", "b", "a", "\N{REPLACEMENT CHARACTER}"]
    assert sum(data["contribution"]) == pytest.approx(1)


def test_generated_text_is_always_the_same_and_known():
    text = reach.generated(trained(), 50)
    assert text == reach.generated(trained(), 50)
    assert len(text) == 50
    assert set(text) <= set("\nabcde")
