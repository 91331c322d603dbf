"""One step of a learner, and where along its budget it stands."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_runs import PLAIN, corpus_of, random_text, same_weights
from torch.nn import functional

from charrnn.config import ModelConfig, TrainConfig
from charrnn.training.learner import Learner

pytestmark = pytest.mark.usefixtures("one_thread")


def learner_of(**settings: object) -> Learner:
    corpus = corpus_of(random_text(600), 100)
    model = ModelConfig(corpus.vocabulary.size, "gru", embedding_size=5, hidden_size=8)
    return Learner(model, TrainConfig(**{**PLAIN, "steps": 20, **settings}), corpus)


def test_a_step_counts_itself_and_tells_the_loss_and_the_gradients_norm() -> None:
    learner = learner_of(grad_clip=1e-3)
    before = learner.model.export()
    batch = learner.streams.batch(0)
    inputs, targets = (torch.from_numpy(part.astype(np.int64)) for part in (batch.inputs, batch.targets))
    with torch.no_grad():
        logits, _ = learner.model(inputs, learner.model.initial_state(len(inputs)))
    loss, watched = learner.step(1e-3)
    assert learner.progress.step == 1
    assert float(loss) == pytest.approx(float(functional.cross_entropy(logits.flatten(0, 1), targets.flatten())), rel=1e-5)
    steps, norm, clipped = watched.tolist()
    assert (steps, clipped) == (1.0, 1.0)
    assert norm > 1e-3
    assert not same_weights(before, learner.model.export())


def test_a_learner_restored_from_a_snapshot_steps_on_bit_for_bit() -> None:
    one, other = learner_of(), learner_of(seed=0)
    for _ in range(3):
        one.step(1e-2)
    assert other.restore(one.snapshot(1.0), 0.0) is False
    for learner in (one, other):
        learner.step(1e-2)
    assert same_weights(one.model.export(), other.model.export())


def test_a_loss_counts_as_diverged_from_three_times_a_uniform_guess_after_the_warm_up() -> None:
    learner = learner_of(steps=100)
    assert learner.largest_loss(0.0) == math.inf
    learner.progress.step = 3
    assert learner.largest_loss(0.0) == pytest.approx(3 * math.log(max(learner.vocabulary.size, 16)))


@pytest.mark.parametrize(("optimizer", "threads"), [("adamw", 1), ("soap", 3), ("muon", 3)])
def test_one_worker_takes_one_thread_where_the_number_changes_no_weight(
    optimizer: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SOAP's and Muon's products round by it, and a seed must go on giving the same weights."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with learner_of(optimizer=optimizer, workers=1).workers.working():
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
