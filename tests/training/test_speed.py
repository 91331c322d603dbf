"""The speed that a plan is made by."""

from __future__ import annotations

import pytest
import torch
from small_runs import OPTIMIZERS

from charrnn.config import GATES, ModelConfig
from charrnn.training import speed

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
SMALL = ModelConfig(vocab_size=9, embedding_size=4, hidden_size=8)


@pytest.fixture
def clock(monkeypatch):
    """Time passes in steps only: a tenth of a second each."""
    now = [100.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    real = speed.Exercise.step

    def step(self):
        now[0] += 0.1
        return real(self)

    monkeypatch.setattr(speed.Exercise, "step", step)
    return now


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("cell", list(GATES))
def test_an_exercise_learns_as_training_does(cell, optimizer):
    """A fixed chunk is learnt by heart."""
    config = ModelConfig(vocab_size=9, cell=cell, embedding_size=8, hidden_size=32)
    exercise = speed.Exercise(config, CPU, "fp32", columns=4, characters=6, optimizer=optimizer)
    losses = [exercise.step().item() for _ in range(60)]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("seconds", "steps"), [(0.05, 1), (0.95, 10), (2.05, 21)])
def test_the_rate_is_characters_by_seconds(seconds, steps, clock):
    exercise = speed.Exercise(SMALL, CPU, "fp32", columns=3, characters=5)
    assert exercise.rate(seconds) == pytest.approx(3 * 5 / 0.1)
    assert clock[0] == pytest.approx(100 + 0.1 * steps)


@pytest.mark.parametrize(("cell", "asked", "expected"), [("lstm", None, 4), ("lstm", 2, 2), ("gru", None, 4), ("gru", 3, 3)])
def test_an_exercise_has_the_workers_that_training_has(cell, asked, expected, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    config = ModelConfig(vocab_size=9, cell=cell, embedding_size=4, hidden_size=8)
    assert speed.Exercise(config, CPU, "fp32", asked_workers=asked).workers.count == expected


def test_the_cell_and_the_workers_that_were_given_are_measured(monkeypatch):
    made = []
    monkeypatch.setattr(speed, "REFERENCE", SMALL)
    monkeypatch.setattr(speed.Exercise, "rate", lambda self, seconds: made.append((self.model_config.cell, self.workers.count)))
    speed.of_training(CPU, "fp32", 0.0, "gru", 2)
    assert made == [("gru", 2)] * 2


def test_training_is_measured_for_about_the_seconds_given_on_all_the_workers(clock, monkeypatch):
    monkeypatch.setattr(speed, "REFERENCE", SMALL)
    threads = torch.get_num_threads()
    rate = speed.of_training(CPU, "fp32", 2.0)
    assert rate == pytest.approx(speed.COLUMNS * speed.CHARACTERS / 0.1)
    assert clock[0] - 100 == pytest.approx(2.0, abs=0.21)
    assert torch.get_num_threads() == threads
