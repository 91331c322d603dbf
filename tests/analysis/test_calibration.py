from __future__ import annotations

import numpy as np
import pytest

from charrnn.analysis import calibration
from charrnn.generation.filters import softmax


def drawn(count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from the probabilities that they mean."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (count, 4)).astype(np.float32)
    sums = softmax(logits).cumsum(axis=1)
    return logits, (rng.random((count, 1)) > sums).sum(axis=1)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_logits_were_scaled_by(scale: float) -> None:
    logits, labels = drawn()
    assert calibration.temperature(logits * np.float32(scale), labels) == pytest.approx(scale, rel=0.05)


def test_the_expected_error_is_small_where_probabilities_mean_what_they_say() -> None:
    logits, labels = drawn()

    def error(scale: float) -> float:
        shares = softmax(logits * scale)
        return calibration.expected_error(shares.max(axis=1), shares.argmax(axis=1) == labels)

    assert error(1.0) < 0.015
    assert error(3.0) > 0.1


def test_the_expected_error_is_the_weighted_mean_of_the_bins_gaps() -> None:
    sure, right = np.array([0.9, 0.9, 0.9, 0.5]), np.array([True, True, False, False])
    assert calibration.expected_error(sure, right) == pytest.approx(3 / 4 * abs(0.9 - 2 / 3) + 1 / 4 * 0.5)


def test_nats_and_softmax_do_not_overflow() -> None:
    logits = np.array([[1e4, 0.0], [0.0, 1e4]], dtype=np.float32)
    assert calibration.nats(logits, np.array([0, 1])) == 0
    assert (softmax(logits) == np.eye(2)).all()
