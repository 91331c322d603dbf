"""torch_stepper: torch's steps against NumPy's, on the CPU everywhere and on a GPU where there is one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from charrnn import CharrnnError
from charrnn.config import ModelConfig
from charrnn.generation.drawing import Drawing, generator
from charrnn.generation.stopping import Ending, Stops
from charrnn.generation.together import Beginning, complete
from charrnn.network.cells import Network
from charrnn.training.torch_stepper import TorchNetwork

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")]
    ),
]
SHAPES = [("lstm", 1, 384), ("lstm", 2, 64), ("gru", 2, 64), ("rnn", 1, 64)]


def networks(cell, layers, hidden, device):
    config = ModelConfig(vocab_size=40, cell=cell, embedding_size=16, hidden_size=hidden, num_layers=layers)
    rng = np.random.default_rng(3)
    shapes = config.parameter_shapes().items()
    weights = {name: rng.normal(0, 1 / np.sqrt(size[-1]), size).astype(np.float32) for name, size in shapes}
    return Network(config, weights), TorchNetwork(config, weights, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("cell", "layers", "hidden"), SHAPES)
def test_logits_along_a_text_are_those_of_numpy(cell, layers, hidden, device):
    here, there = networks(cell, layers, hidden, device)
    ids = np.random.default_rng(0).integers(0, 40, (200, 5))
    begun = here.unroll(ids[:20])[1]
    expected = here.unroll(ids[20:], begun)[0]
    before = begun.copy()
    step = there.stepper(begun)
    np.testing.assert_allclose(np.stack([step(row) for row in ids[20:]]), expected, atol=1e-4)
    np.testing.assert_array_equal(begun, before)


@pytest.mark.parametrize("device", DEVICES)
def test_texts_through_torch_are_those_through_numpy(device):
    texts = []
    for network in networks("lstm", 1, 64, device):
        state, logits = np.zeros((1, 2, 1, 64), dtype=np.float32), np.zeros(40, dtype=np.float32)
        begun = [Beginning(logits, state, np.zeros(0, dtype=np.intp), generator(2, index)) for index in range(20)]
        ending = Ending(80, Stops([np.array([3, 3])], 40))
        found = complete(network, begun, Drawing(temperature=0.8, top_p=0.9), ending, rows=8, refill=False)
        texts.append([completion.ids.tolist() for completion in found])
    assert texts[0] == texts[1]
    assert len(set(map(tuple, itertools.chain(texts[0])))) == 20


def test_a_device_that_is_not_there_is_named():
    if torch.backends.mps.is_available():
        pytest.skip("this machine has MPS")
    with pytest.raises(CharrnnError, match="--device mps: torch finds no such device"):
        networks("rnn", 1, 8, "mps")
