"""NumPy's generator and torch's draw first weights by the same rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from charrnn.config import GATES, ModelConfig
from charrnn.network import initial
from charrnn.training.model import CharRNN


@pytest.mark.parametrize("cell", list(GATES))
def test_numpys_weights_are_drawn_as_torchs_are(cell):
    config = ModelConfig(vocab_size=50, cell=cell, embedding_size=32, hidden_size=48, num_layers=2)
    theirs = CharRNN(config, torch.Generator().manual_seed(1)).export()
    ours = initial.draw(config, np.random.default_rng(1))
    for name, weight in theirs.items():
        assert ours[name].shape == weight.shape
        assert ours[name].std() == pytest.approx(weight.std(), rel=0.1, abs=1e-6), name
        assert np.abs(ours[name]).max() == pytest.approx(np.abs(weight).max(), rel=0.25), name
        if "weight_hh" in name:
            block = ours[name][:48]
            np.testing.assert_allclose(block @ block.T, np.eye(48), atol=1e-5)
        if "bias" in name:
            np.testing.assert_array_equal(ours[name], weight)


@pytest.mark.parametrize("cell", list(GATES))
def test_weights_have_the_variance_that_their_rule_says(cell):
    config = ModelConfig(vocab_size=80, cell=cell, embedding_size=60, hidden_size=90, num_layers=2)
    weights = initial.draw(config, np.random.default_rng(2))
    assert list(weights) == list(config.parameter_shapes())
    assert weights["embedding.weight"].var() == pytest.approx(1, rel=0.1)
    assert weights["rnn.weight_ih_l0"].var() == pytest.approx(1 / 60, rel=0.1)
    assert weights["rnn.weight_ih_l1"].var() == pytest.approx(1 / 90, rel=0.1)
    assert weights["head.weight"].var() == pytest.approx(4 / 90, rel=0.1)
    letter, bias = initial.OPEN.get(cell, (None, 0.0))
    expected = [bias * (gate == letter) for gate in GATES[cell] or ("",)]
    for layer in range(2):
        assert weights[f"rnn.bias_ih_l{layer}"].reshape(-1, 90).tolist() == [[one] * 90 for one in expected]
        assert not weights[f"rnn.bias_hh_l{layer}"].any()
    assert not weights["head.bias"].any()


def test_an_lstms_forget_gate_starts_open() -> None:
    assert initial.OPEN["lstm"] == ("f", 1.0)
