from __future__ import annotations

import time

import numpy as np

from charrnn.analysis.minimize import Vector, minimized


def rosenbrock(x: Vector) -> tuple[float, Vector]:
    a, b = float(x[0]), float(x[1])
    gradient = np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)], dtype=np.float32)
    return (1 - a) ** 2 + 100 * (b - a * a) ** 2, gradient


def test_a_crooked_valley_is_followed_to_its_end() -> None:
    found = minimized(rosenbrock, np.array([-1.2, 1.0], dtype=np.float32), 200, tolerance=1e-7)
    assert np.allclose(found, 1, atol=0.02)


def test_a_bowl_is_left_at_its_bottom() -> None:
    scales, middle = np.array([1, 10, 100], dtype=np.float32), np.array([1, -2, 3], dtype=np.float32)

    def bowl(x: Vector) -> tuple[float, Vector]:
        return float(scales @ (x - middle) ** 2) / 2, scales * (x - middle)

    assert np.allclose(minimized(bowl, np.zeros(3, dtype=np.float32), 50, tolerance=1e-6), middle, atol=1e-3)
    assert (minimized(bowl, middle, 50) == middle).all()


def test_a_deadline_ends_the_search() -> None:
    start = np.array([-1.2, 1.0], dtype=np.float32)
    assert (minimized(rosenbrock, start, 200, deadline=time.monotonic() - 1) == start).all()
