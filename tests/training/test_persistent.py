"""cuDNN's persistent kernels: what they take, and that inputs of zeros change nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from charrnn.config import ModelConfig
from charrnn.training import persistent
from charrnn.training.model import CharRNN
from charrnn.training.persistent import lstm, missing_inputs

GPU = torch.device("cuda")


@pytest.mark.parametrize(
    ("inputs", "hidden_size", "columns", "expected"),
    [
        (64, 512, 128, 64),
        (64, 128, 8, 64),
        (200, 1024, 64, 56),
        (512, 512, 128, 0),
        (64, 384 + 32, 128, 0),
        (64, 2048, 128, 0),
        (64, 512, 136, 0),
        (64, 512, 60, 0),
    ],
)
def test_inputs_are_filled_up_where_the_rest_has_the_shape(inputs, hidden_size, columns, expected):
    assert missing_inputs(inputs, hidden_size, columns, torch.float16, GPU) == expected
    for dtype, device in ((torch.bfloat16, GPU), (torch.float32, GPU), (torch.float16, torch.device("cpu"))):
        assert missing_inputs(inputs, hidden_size, columns, dtype, device) == 0


def test_inputs_of_zeros_change_neither_outputs_nor_gradients():
    torch.manual_seed(0)
    layer, x, state = nn.LSTM(5, 8, batch_first=True), torch.randn(3, 7, 5, requires_grad=True), torch.randn(2, 1, 3, 8)
    found = []
    for missing in (0, 11):
        outputs, h, c = lstm(layer, x, *state, missing)
        gradients = torch.autograd.grad(outputs.square().sum() + c.sum(), [x, *layer.parameters()])
        found.append([outputs, h, c, *gradients])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_network_fills_up_its_embedding(monkeypatch):
    model, ids = CharRNN(ModelConfig(7, "lstm", 8, 2, 5)), torch.arange(12).view(3, 4) % 7
    expected = model(ids, model.initial_state(3))
    asked = []

    def missing(inputs, hidden_size, columns, dtype, device):
        asked.append((inputs, hidden_size, columns))
        return -inputs % 16

    monkeypatch.setattr(persistent, "missing_inputs", missing)
    torch.testing.assert_close(model(ids, model.initial_state(3)), expected)
    assert asked == [(5, 8, 3), (8, 8, 3)]
