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


@pytest.mark.parametrize("count", [1, 22, 2_000])
@pytest.mark.parametrize("labels", [2, 5])
def test_texts_that_are_all_right_show_no_more_certainty_than_their_number_can(count: int, labels: int) -> None:
    right = np.arange(count) % labels
    logits = 9 * np.eye(labels, dtype=np.float32)[right]
    sure = softmax(logits / calibration.temperature(logits, right))[np.arange(count), right]
    assert sure == pytest.approx((count + 1) / (count + 2), abs=1e-3)


def test_of_many_texts_the_number_changes_next_to_nothing() -> None:
    logits, labels = drawn(2_000)

    def loss(temperature: float) -> float:
        return calibration.nats(logits / temperature, labels)

    found = calibration.temperature(logits, labels)
    assert found == pytest.approx(min(np.arange(0.7, 1.4, 0.005), key=loss), rel=0.01)


def test_the_loss_is_that_of_the_shares_that_labels_have() -> None:
    logits, labels = drawn(50)
    shares = np.full((50, 4), 0.1 / 3)
    shares[np.arange(50), labels] = 0.9
    assert calibration.nats(logits, labels, 0.9) == pytest.approx(
        -(shares * np.log(softmax(logits))).sum(axis=1).mean(), rel=1e-5
    )
    assert calibration.nats(logits[:, :1], labels * 0, 0.9) == 0


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
