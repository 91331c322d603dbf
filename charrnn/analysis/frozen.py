"""A head alone, for a network that stays as it is: logistic regression on its features, or one hidden layer; no torch.

Shapes: N texts, F features, C labels, U units of the head's hidden layer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.analysis import calibration
from charrnn.analysis.judge import head
from charrnn.analysis.minimize import Vector, minimized

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""How much a text's loss counts beside the weights' squares; the validation texts choose."""
ITERATIONS = 150

Features = NDArray[np.float32]
Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Head:
    """The weights of a head, its loss on the validation texts at the best temperature, and that temperature."""

    weights: Weights
    loss: float
    temperature: float


def fitted(
    train: tuple[Features, NDArray[np.intp]],
    val: tuple[Features, NDArray[np.intp]],
    labels: int,
    text_weights: NDArray[np.float32],
    hidden: int | None,
    seed: int,
    deadline: float | None = None,
    stop: Callable[[], object] = lambda: None,
) -> Head:
    """The head that does best on ``val``; without any texts there, the one of strength 1.

    The search ends at ``deadline``, by `time.monotonic`, or with the best so far where ``stop`` gives a reason.

    ``train`` and ``val`` are features (N, F) with labels (N,), ``text_weights`` (N,) how much each text of ``train`` counts.
    """
    inputs, right = train
    middle, spread = inputs.mean(axis=0), inputs.std(axis=0) + np.float32(1e-6)
    scaled, found = (inputs - middle) / spread, list[Head]()
    strengths = STRENGTHS if len(val[1]) else (1.0,)
    for number, strength in enumerate(strengths):
        until = share_of(deadline, len(strengths) - number)
        scaled_weights = _minimized(scaled, right, labels, text_weights, hidden, strength, seed, until, stop)
        weights = _unscaled(scaled_weights, middle, spread)
        if not len(val[1]):
            return Head(weights, 0.0, 1.0)
        logits = head(dict(weights), val[0])
        temperature = calibration.temperature(logits, val[1])
        found.append(Head(weights, calibration.nats(logits / temperature, val[1]), temperature))
        if stop():
            break
    return min(found, key=lambda head: head.loss)


def share_of(deadline: float | None, parts: int) -> float | None:
    """When the first of so many equal ``parts`` of the time until ``deadline`` is over."""
    now = time.monotonic()
    return None if deadline is None else now + max(0.0, deadline - now) / parts


def _minimized(
    inputs: Features,
    right: NDArray[np.intp],
    labels: int,
    text_weights: NDArray[np.float32],
    hidden: int | None,
    strength: float,
    seed: int,
    deadline: float | None,
    stop: Callable[[], object],
) -> Weights:
    names, shapes = _shapes(inputs.shape[1], labels, hidden)
    rng = np.random.default_rng(seed)
    start = np.concatenate(
        [
            rng.uniform(-1, 1, shape).ravel() * (3 / shape[-1]) ** 0.5 if name == "head.0.weight" else np.zeros(np.prod(shape))
            for name, shape in zip(names, shapes, strict=True)
        ]
    ).astype(np.float32)
    decay, shares = np.float32(1 / (strength * len(right))), (text_weights / text_weights.sum())[:, None]

    def loss(flat: Vector) -> tuple[float, Vector]:
        weights = dict(zip(names, _parts(flat, shapes), strict=True))
        between = np.tanh(inputs @ weights["head.0.weight"].T + weights["head.0.bias"]) if hidden else inputs
        last = weights["head.2.weight" if hidden else "head.weight"]
        logits = between @ last.T + weights["head.2.bias" if hidden else "head.bias"]
        logits -= logits.max(axis=1, keepdims=True)
        exponentials = np.exp(logits)
        sums = exponentials.sum(axis=1, keepdims=True)
        nats = float(((np.log(sums) - logits[np.arange(len(right)), right][:, None]) * shares).sum(dtype=np.float64))
        error = exponentials / sums
        error[np.arange(len(right)), right] -= 1
        error = error * shares
        gradients = [error.T @ between, error.sum(axis=0)]
        if hidden:
            inner = (error @ last) * (1 - between * between)  # (N, U)
            gradients = [inner.T @ inputs, inner.sum(axis=0), *gradients]
        squares = 0.0
        for number, name in enumerate(names):
            if name.endswith("weight"):
                gradients[number] = gradients[number] + decay * weights[name]
                squares += float(np.vdot(weights[name], weights[name]))
        return nats + float(decay) / 2 * squares, np.concatenate([gradient.ravel() for gradient in gradients])

    flat = minimized(loss, start, ITERATIONS, deadline=deadline, stop=stop)
    return dict(zip(names, _parts(flat, shapes), strict=True))


def _shapes(inputs: int, labels: int, hidden: int | None) -> tuple[list[str], list[tuple[int, ...]]]:
    if hidden is None:
        return ["head.weight", "head.bias"], [(labels, inputs), (labels,)]
    names = ["head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias"]
    return names, [(hidden, inputs), (hidden,), (labels, hidden), (labels,)]


def _parts(flat: Vector, shapes: Sequence[tuple[int, ...]]) -> list[NDArray[np.float32]]:
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends), shapes, strict=True)]


def _unscaled(weights: Weights, middle: NDArray[np.float32], spread: NDArray[np.float32]) -> Weights:
    """The same head for features as they are, not scaled by their ``spread`` around their ``middle``."""
    name = "head.weight" if "head.weight" in weights else "head.0.weight"
    bias = name.replace("weight", "bias")
    scaled = weights[name] / spread
    return weights | {name: scaled, bias: weights[bias] - scaled @ middle}
