"""The minimum of a smooth function of many numbers: L-BFGS (Liu and Nocedal 1989)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Function = Callable[[Vector], tuple[float, Vector]]
"""From a place to the function's value there and its gradient."""

PAIRS = 8
"""How many of the latest steps describe the function's curvature."""
_SUFFICIENT = 1e-4
"""A step must bring at least this share of what the slope promises."""


def minimized(
    function: Function,
    start: Vector,
    iterations: int,
    tolerance: float = 1e-4,
    deadline: float | None = None,
    pairs: int = PAIRS,
    stop: Callable[[], object] = lambda: None,
) -> Vector:
    """The best place that ``iterations`` steps find from ``start``, or those until `time.monotonic` reaches ``deadline``.

    It ends sooner where the gradient is ``tolerance`` times that at the start, or where ``stop`` gives a reason. The latest
    ``pairs`` of steps are remembered.
    """
    x = start
    value, gradient = function(x)
    enough, latest = tolerance * _norm(gradient), deque[tuple[Vector, Vector]](maxlen=pairs)
    for _ in range(iterations):
        if _norm(gradient) <= enough or (deadline is not None and time.monotonic() > deadline) or stop():
            break
        direction = -_times_inverse_hessian(gradient, latest)
        slope = float(direction @ gradient)
        if slope >= 0:
            latest.clear()
            direction, slope = -gradient, -(_norm(gradient) ** 2)
        size = 1.0 if latest else 1 / max(1.0, _norm(gradient))
        for _ in range(20):
            there = x + np.float32(size) * direction
            new, new_gradient = function(there)
            if new <= value + _SUFFICIENT * size * slope:
                break
            size /= 2
        else:
            break
        step, change = there - x, new_gradient - gradient
        if float(step @ change) > 1e-10 * float(change @ change):
            latest.append((step, change))
        x, value, gradient = there, new, new_gradient
    return x


def _times_inverse_hessian(gradient: Vector, pairs: deque[tuple[Vector, Vector]]) -> Vector:
    """The gradient times what the pairs of steps and changes tell of the inverse of the second derivative."""
    result, shares = gradient.copy(), []
    for step, change in reversed(pairs):
        share = np.float32(float(step @ result) / float(step @ change))
        result -= share * change
        shares.append(share)
    if pairs:
        step, change = pairs[-1]
        result *= np.float32(float(step @ change) / float(change @ change))
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        result += (share - np.float32(float(change @ result) / float(step @ change))) * step
    return result


def _norm(vector: Vector) -> float:
    return float(np.sqrt(vector @ vector))
