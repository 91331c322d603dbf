"""What a network's memory does on a fixed piece of text while it trains, and what to advise where something is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from charrnn import hidden
from charrnn.cells import Network
from charrnn.model import CharRNN

STREAMS, LENGTH = 4, 64
"""The piece on which gradients are followed: so many streams of so many characters."""
VANISHED = 0.01
"""Share of its first size below which a gradient counts as vanished."""
TOO_MUCH = 1 / 3
"""Share of saturated values, or of units that never move, from which advice is given."""
MOSTLY = 0.75
"""Share of clipped steps from which advice is given."""
SHORT = 10
"""A tanh network whose gradients vanish within so many characters is advised against."""


def measure(model: CharRNN, network: Network, ids: NDArray[Any]) -> dict[str, Any]:
    """The statistics of every layer over ids (T,), and ``gradient_reach`` as `gradient_reach` gives it.

    ``network`` holds the weights of ``model``.
    """
    layers = hidden.summarize(network.unroll(ids[:, None])[2])
    return {"hidden": layers, "gradient_reach": gradient_reach(model, ids)}


def gradient_reach(model: CharRNN, ids: NDArray[Any]) -> int | None:
    """How many characters back the gradient of a character's loss falls below 1 % of what it is one character back.

    The norm over the whole carried state (an LSTM's h and c), averaged over up to four pieces of 64 characters that begin from
    the zero state. None if it stays above 1 % within them, or ids (T,) are too few to tell.
    """
    length = min(LENGTH, len(ids) - 1)
    streams = min(STREAMS, (len(ids) - 1) // max(length, 1))
    if length < 3:
        return None
    starts = length * np.arange(streams)[:, None]
    device = model.head.weight.device
    pieces = torch.from_numpy(ids[starts + np.arange(length + 1)].astype(np.int64)).to(device)  # (N, T + 1)
    with torch.enable_grad():
        states = [model.initial_state(streams).requires_grad_()]
        for t in range(length):
            output, state = _step(model, pieces[:, t], states[-1])
            states.append(state)
        logits = functional.linear(output, *(weight.detach() for weight in (model.head.weight, model.head.bias)))
        loss = functional.cross_entropy(logits, pieces[:, -1], reduction="sum")
        # The loss follows from the last output, not from what is carried on after it.
        gradients = torch.autograd.grad(loss, states[-2:0:-1])
    norms = torch.stack(gradients).pow(2).sum(dim=(1, 2, 4)).sqrt().mean(dim=1).tolist()  # (K,) from (K, L, P, N, H)
    return next((k for k, norm in enumerate(norms, start=1) if norm < VANISHED * norms[0]), None)


def _step(model: CharRNN, ids: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One character by torch's cells, whose graph holds nothing but states: ids (N,) -> the last output (N, H) and the state.

    The kernels that `CharRNN` uses are made for whole chunks; one character at a time their way back takes ten times as long.
    """
    x, layers = model.embedding(ids).detach(), []
    for index, layer in enumerate(model.layers):
        assert isinstance(layer, nn.RNNBase)
        weights = [weight.detach() for weight in layer.parameters()]
        if model.config.cell == "lstm":
            x, c = torch.lstm_cell(x, (state[index, 0], state[index, 1]), *weights)
            layers.append(torch.stack([x, c]))
        else:
            x = (torch.gru_cell if model.config.cell == "gru" else torch.rnn_tanh_cell)(x, state[index, 0], *weights)
            layers.append(x[None])
    return x, torch.stack(layers)


def advice(event: dict[str, Any], cell: str) -> str | None:
    """One line about what is wrong in an ``eval`` event, with the number that shows it; None if nothing is."""
    for number, layer in enumerate(event["hidden"]):
        if layer["saturated"] > TOO_MUCH:
            return f"layer {number}: {layer['saturated']:.0%} of units saturated: lower --lr"
    if event["clipped"] is not None and event["clipped"] > MOSTLY:
        return (
            f"{event['clipped']:.0%} of the steps clipped, the gradient's norm is {event['grad_norm']:.2g} on average:"
            " lower --lr, or raise --grad-clip"
        )
    for number, layer in enumerate(event["hidden"]):
        if layer["still"] > TOO_MUCH:
            return f"layer {number}: {layer['still']:.0%} of units never move: train longer, or lower --hidden-size"
    reach = event["gradient_reach"]
    if cell == "rnn" and reach is not None and reach <= SHORT:
        return f"gradients vanish within {reach} characters: try --cell lstm"
    return None
