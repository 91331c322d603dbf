"""What a network's memory does on a fixed piece of text while it trains, and what to advise where something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.analysis import hidden
from charrnn.generation.filters import softmax
from charrnn.network.cells import Array, LayerTrace, Network

STREAMS, LENGTH = 4, 64
"""Gradients are followed from so many characters at once, and so many back."""
VANISHED = 0.01
"""Share of its first size below which a gradient counts as vanished."""
TOO_MUCH = 1 / 3
"""Share of saturated values, or of units that never move, from which advice is given."""
MOSTLY = 0.75
"""Share of clipped steps from which advice is given, and of saturated values of a tanh network: no gate scales its states, and
at its best learning rate half of them are saturated.
"""
SHORT = 10
"""A tanh network whose gradients vanish within so many characters is advised against."""


def measure(network: Network, ids: NDArray[Any]) -> dict[str, Any]:
    """The statistics of every layer over ids (T,), and ``gradient_reach`` as `gradient_reach` gives it."""
    logits, _, traces = network.unroll(ids[:, None])
    return {"hidden": hidden.summarize(traces), "gradient_reach": gradient_reach(network, ids, logits[:, 0], traces)}


def gradient_reach(network: Network, ids: NDArray[Any], logits: Array, traces: Sequence[LayerTrace]) -> int | None:
    """How many characters back the gradient of a character's loss falls below 1 % of what it is one character back.

    ``logits`` (T, V) and ``traces`` (T, 1, H) are what `Network.unroll` gave for ids (T,). The norm over the whole carried
    state (an LSTM's h and c), averaged over the losses at the ends of up to four pieces of 64 characters. None if it stays
    above 1 % within them, or ids are too few to tell.
    """
    length = min(LENGTH, len(ids) - 1)
    if length < 3:
        return None
    ends = length * np.arange(1, min(STREAMS, (len(ids) - 1) // length) + 1)
    steps = (ends - length) + np.arange(length)[:, None]  # (T, N)
    pieces = [
        LayerTrace(
            trace.h[steps, 0],
            None if trace.c is None else trace.c[steps, 0],
            {letter: gate[steps, 0] for letter, gate in trace.gates.items()},
        )
        for trace in traces
    ]
    d_logits = softmax(logits[ends - 1])  # of the cross-entropy
    d_logits[np.arange(len(ends)), ids[ends]] -= 1
    first: float | None = None
    for back, gradient in enumerate(network.backward(d_logits.astype(np.float32), pieces), start=1):
        norm = float(np.sqrt(np.square(gradient).sum(axis=(0, 1, 3))).mean())  # from (L, P, N, H)
        first = norm if first is None else first
        if norm < VANISHED * first:
            return back
    return None


def advise(event: dict[str, Any], cell: str) -> str | None:
    """One line about what is wrong in an ``eval`` event, with the number that shows it; None if nothing is."""
    for number, layer in enumerate(event["hidden"]):
        if layer["saturated"] > (MOSTLY if cell == "rnn" else TOO_MUCH):
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
