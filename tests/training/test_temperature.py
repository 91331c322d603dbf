"""temperature: one temperature for a network's logits, and a loss that it wasn't fitted to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from charrnn.training.temperature import FACTORS, PLAIN, calibrate


def losses(temperature: float, seed: int, characters: int = 20_000) -> NDArray[np.float64]:
    """Of symbols drawn from softmax(logits / temperature) at each factor, (G,)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (characters, 10))
    noise = rng.gumbel(size=logits.shape)
    drawn = (logits / temperature + noise).argmax(axis=1)
    chosen = logits[np.arange(characters), drawn]
    return np.array([(np.log(np.exp(f * logits).sum(axis=1)) - f * chosen).sum() for f in FACTORS])


def test_one_factor_is_none() -> None:
    assert FACTORS[PLAIN] == 1.0
    assert math.prod(FACTORS) == pytest.approx(1.0)


@pytest.mark.parametrize("temperature", [0.7, 0.9, 1.2, 1.6])
def test_the_temperature_is_that_by_which_a_text_was_drawn(temperature: float) -> None:
    halves = np.stack([losses(temperature, 1), losses(temperature, 2)])
    found = calibrate(halves)
    assert found.temperature == pytest.approx(temperature, rel=0.03)
    assert found.loss < halves[:, PLAIN].sum()


def test_each_half_is_judged_by_the_temperature_of_the_other() -> None:
    """Where the halves ask for different ones, the loss is more than that with the best of either."""
    halves = np.stack([losses(0.8, 1), losses(1.3, 2)])
    found, alike = calibrate(halves), calibrate(np.stack([losses(0.8, 1), losses(0.8, 1)]))
    lowest = halves.min(axis=1).sum()
    assert found.loss > lowest
    assert alike.loss == pytest.approx(2 * losses(0.8, 1).min(), rel=0.01)


def test_a_text_that_a_temperature_does_not_help_keeps_the_loss_as_it_is() -> None:
    halves = np.stack([losses(0.6, 1), losses(1.8, 2)])
    assert calibrate(halves).temperature == 1.0
    assert calibrate(halves).loss == halves[:, PLAIN].sum()


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_losses_that_are_not_finite_or_of_no_text_give_no_temperature(wrong: float) -> None:
    halves = np.stack([losses(1.2, 1, 50), np.zeros(len(FACTORS))])
    assert calibrate(halves).temperature == 1.0
    halves[1, 0] = wrong
    assert calibrate(halves).temperature == 1.0
