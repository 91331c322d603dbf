"""LSTM layers in the shape for which torch takes cuDNN's persistent kernels, which keep the weights in a GPU's registers.

torch takes them in fp16 for a layer whose sizes are multiples of 128, with at most 1,024 units, and for a batch of a multiple
of 8 columns, at most 128 (`aten/src/ATen/native/cudnn/RNN.cpp`). An embedding of 64 is filled up with zeros, which changes no
sum.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE, LARGEST = 128, 1024
"""Sizes are multiples of the first; there are at most so many units as the second."""
COLUMNS, MOST_COLUMNS = 8, 128
"""The same of the columns."""


def missing_inputs(inputs: int, hidden_size: int, columns: int, dtype: torch.dtype, device: torch.device) -> int:
    """How many inputs a layer lacks for a persistent kernel; 0 where it lacks none, or wouldn't get one anyway."""
    if device.type != "cuda" or dtype != torch.float16:
        return 0
    if hidden_size % SIZE or hidden_size > LARGEST or columns % COLUMNS or columns > MOST_COLUMNS:
        return 0
    return -inputs % SIZE


def lstm(layer: nn.Module, x: Tensor, h: Tensor, c: Tensor, missing: int) -> tuple[Tensor, Tensor, Tensor]:
    """What ``layer`` makes of x (N, T, I) from h and c (1, N, H), with ``missing`` inputs of zeros: outputs (N, T, H), h, c."""
    if not missing:
        outputs, (h, c) = layer(x, (h, c))
        return outputs, h, c
    w_ih, *weights = (getattr(layer, name) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"))
    weights = [functional.pad(w_ih, (0, missing)), *weights]
    x = functional.pad(x, (0, missing))
    outputs, h, c = torch.lstm(x, (h, c), weights, True, 1, 0.0, layer.training, False, True)
    return outputs, h, c
