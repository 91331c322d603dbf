"""What a network's memory does on a fixed piece of text while it trains, and advice where something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from charrnn.analysis import hidden
from charrnn.analysis.reach import gradient_reach
from charrnn.config import GATES
from charrnn.network.cells import LayerTrace, Network

STREAMS, LENGTH = 4, 64
"""Gradients are followed from at most so many characters, and so many back."""
VANISHED = 0.01
"""A gradient has vanished below this share of its size one character back."""
TOO_MUCH = 1 / 3
"""Share of saturated values, or of units that never move, from which advice is given."""
MOSTLY = 0.75
"""Share of clipped steps from which advice is given. It also serves for saturated values of a tanh network: no gate scales its
states, and at its best learning rate half of them are saturated.
"""
ENOUGH_STEPS = 50
"""Advice needs so many steps: of the run before anything is said, and of those that a share of clipped steps is told of."""
RISEN, LONG = 0.01, 1 / 3
"""Validation has risen if it is by so much, as a share, above the best one, and for so long, as a share of the run."""
SHORT = 10
"""A tanh network whose gradients vanish within so many characters is advised against."""


class Measured(TypedDict):
    """What a network's memory does on a piece of text."""

    hidden: list[hidden.Summary]
    """Statistics of every layer."""
    gradient_reach: int | None
    """What `vanishes_after` tells."""


class Symptoms(Measured):
    """By what advice is given."""

    grad_norm: float | None
    """The mean norm of the gradient over many steps; None if there were too few."""
    clipped: float | None
    """The share of them that were clipped."""


def measure(network: Network, ids: NDArray[Any]) -> Measured:
    """The statistics of every layer over ids (T,), and ``gradient_reach``: see `vanishes_after`."""
    _, traces = network.trace(ids[:, None])
    return {"hidden": hidden.summarize(traces), "gradient_reach": vanishes_after(network, ids, traces)}


def vanishes_after(network: Network, ids: NDArray[Any], traces: Sequence[LayerTrace]) -> int | None:
    """How many characters back the gradient of a loss falls below 1 % of what it is one character back.

    The gradient is averaged over the losses at the ends of up to four pieces of 64 characters, or of one piece if the text is
    shorter. ``traces`` (T, 1, H) are what `Network.trace` gave for ids (T,). None if the gradient stays above 1 % within the
    pieces, or if the text is too short to tell.
    """
    length = min(LENGTH, len(ids) - 1)
    if length < 3:
        return None
    starts = length * np.arange(min(STREAMS, (len(ids) - 1) // length))
    states = network.initial_state(len(starts))  # The first piece starts from the zero state,
    for layer, trace in enumerate(traces):
        for part, course in enumerate(trace.parts):
            states[layer, part, 1:] = course[starts[1:] - 1, 0]  # the others from where the one before them ends.
    curve = gradient_reach(network, ids[starts[:, None] + np.arange(length + 1)], states)[1:length]
    vanished = np.flatnonzero(curve < VANISHED * curve[0])
    return int(vanished[0]) + 1 if len(vanished) else None


def overfitting(step: int, best_step: int, steps: int, bits: float, best: float) -> str | None:
    """One line if validation, which is ``bits`` after ``step`` of ``steps`` steps, has risen for long since the ``best``."""
    if step - best_step < LONG * steps or bits < (1 + RISEN) * best:
        return None
    return (
        f"validation has risen since step {best_step:,} ({best:.3f} bits/char), whose network is kept: train shorter,"
        " or with a smaller --hidden-size or more --dropout"
    )


def barely_begun(step: int, bits: float | None, letters: float | None, length: str) -> str | None:
    """One line if a run ended after so few steps that its best loss, ``bits``, is no better than what ``letters`` alone take.

    ``length`` is the option that says how long the run is.
    """
    if step >= ENOUGH_STEPS or bits is None or letters is None or bits < letters:
        return None
    made = f"{step:,} step{'s' * (step != 1)} taught it nothing yet"
    return f"{made}: more --{length}, or a smaller --hidden-size or --batch-size, which makes more steps of them"


def advise(seen: Symptoms, cell: str, step: int) -> str | None:
    """One line about what is wrong after ``step`` steps, with the number that shows it; None if nothing is, or if there were
    too few steps to tell.
    """
    if step < ENOUGH_STEPS:
        return None
    for number, layer in enumerate(seen["hidden"]):
        if layer["saturated"] > (TOO_MUCH if GATES[cell] else MOSTLY):
            return f"layer {number}: {layer['saturated']:.0%} of units saturated: lower --lr"
    if seen["clipped"] is not None and seen["clipped"] > MOSTLY:
        return (
            f"{seen['clipped']:.0%} of the steps clipped, the gradient's norm is {seen['grad_norm']:.2g} on average:"
            " lower --lr, or raise --grad-clip"
        )
    for number, layer in enumerate(seen["hidden"]):
        if layer["still"] > TOO_MUCH:
            return f"layer {number}: {layer['still']:.0%} of units never move: train longer, or lower --hidden-size"
    reach = seen["gradient_reach"]
    if not GATES[cell] and reach is not None and reach <= SHORT:
        return f"gradients vanish within {reach} characters: try --cell lstm"
    return None
