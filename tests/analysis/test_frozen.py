from __future__ import annotations

import time

import numpy as np
import pytest

from charrnn.analysis import frozen
from charrnn.analysis.judge import head


def rings(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points, and whether they lie outside of a circle: no line parts them."""
    points = np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)
    return points, (np.hypot(*points.T) > 1.1).astype(np.intp)


def blobs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    points = rng.normal(size=(count, 2)) + np.array([[0, 0], [4, 0], [0, 4]])[labels]
    return (points * [100, 0.01] + 7).astype(np.float32), labels  # of very different sizes


@pytest.mark.parametrize("hidden", [None, 8])
def test_a_head_parts_what_lies_apart_whatever_the_features_sizes(hidden: int | None) -> None:
    train, val, test = (blobs(300, seed) for seed in range(3))
    found = frozen.fitted(train, val, 3, np.ones(300, np.float32), hidden, 0)
    assert (head(dict(found.weights), test[0]).argmax(axis=1) == test[1]).mean() > 0.93


def test_a_hidden_layer_parts_what_no_line_does() -> None:
    train, val, test = (rings(300, seed) for seed in range(3))
    linear, hidden = (frozen.fitted(train, val, 2, np.ones(300, np.float32), size, 0) for size in (None, 16))
    accuracy = [(head(dict(found.weights), test[0]).argmax(axis=1) == test[1]).mean() for found in (linear, hidden)]
    assert accuracy[0] < 0.7 < 0.9 < accuracy[1]
    assert hidden.loss < linear.loss


@pytest.mark.parametrize("hidden", [None, 5])
def test_the_gradient_is_that_of_the_loss(hidden: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    (points, labels), losses = blobs(20, 0), []
    monkeypatch.setattr(frozen, "minimized", lambda loss, start, *_, **__: losses.append((loss, start)) or start)
    frozen.fitted((points, labels), (points[:0], labels[:0]), 3, np.linspace(0.5, 2, 20).astype(np.float32), hidden, 0)
    (loss, start) = losses[0]
    x = (start + np.random.default_rng(1).normal(0, 0.3, len(start))).astype(np.float32)
    gradient = loss(x)[1]
    for place in range(0, len(x), 3):
        step = np.zeros_like(x)
        step[place] = 1e-2
        assert (loss(x + step)[0] - loss(x - step)[0]) / 2e-2 == pytest.approx(gradient[place], abs=3e-3)


def test_a_head_is_found_by_a_deadline() -> None:
    """Each strength gets an equal share of the time that is left."""
    train, val = blobs(40, 0), blobs(20, 1)
    late = frozen.fitted(train, val, 3, np.ones(len(train[1]), dtype=np.float32), None, 0, deadline=time.monotonic() - 1)
    assert not late.weights["head.weight"].any()
    assert frozen.share_of(None, 4) is None
    now = time.monotonic()
    assert now + 24 < frozen.share_of(now + 100, 4) < now + 26 + (time.monotonic() - now)


def test_a_search_that_is_stopped_gives_the_best_so_far() -> None:
    train, val, asked = blobs(300, 0), blobs(300, 1), list[int]()
    found = frozen.fitted(train, val, 3, np.ones(300, np.float32), None, 0, stop=lambda: asked.append(1) or len(asked) > 6)
    assert len(asked) < 10, "neither the other strengths nor the rest of this one's steps"
    assert (head(dict(found.weights), val[0]).argmax(axis=1) == val[1]).mean() > 0.8
