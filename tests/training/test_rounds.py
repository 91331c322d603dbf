"""Rounds: ranks that average networks of their own stay equal, send as little as is said, and resume bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_ranks import assert_close, run_of, tensors, together
from small_runs import DROPOUT, OPTIMIZERS, Store, only

from charrnn.text.streams import Batch, Streams
from charrnn.training import children, distributed, learner, soap
from charrnn.training.distributed import Group

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not children.can_fork(), reason="this system doesn't fork processes that compute"),
]

SAME: dict[str, Any] = {"batch_size": 4, "groups": 1, "steps": 24, "eval_every": 24, "log_every": 24}
SAME |= dict.fromkeys(DROPOUT, 0.0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ranks_that_average_now_and_then_are_equal_and_resume_bit_for_bit(optimizer, tmp_path):
    settings = {"average_every": 5, "steps": 23, "log_every": 3, "eval_every": 7, "optimizer": optimizer}
    runs = together(2, lambda group: run_of(group, **settings), tmp_path)
    (found, whole), (_, other) = runs
    assert [event["step"] for event in only(found, "step")] == [5, 10, 15, 20, 23]
    assert [event["step"] for event in only(found, "eval")] == [10, 15, 23]
    for name, value in tensors(whole).items():
        np.testing.assert_array_equal(value, tensors(other)[name], err_msg=name)
    halves = together(2, lambda group: run_of(group, stop_after=7 if group.number else None, **settings), tmp_path)
    half = halves[0][1]
    assert half.latest("last").training["step"] == 10  # An average: nothing is decided before the next one.
    _, rest = together(2, lambda group: run_of(group, resume=half, **settings), tmp_path)[0]
    for name, value in tensors(whole).items():
        np.testing.assert_array_equal(value, tensors(rest)[name], err_msg=name)
    assert run_of(None, resume=half, **settings)[0][-1]["step"] == 23  # One process goes on with it too.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ranks_that_read_the_same_learn_what_all_together_would(optimizer, monkeypatch, tmp_path):
    batch = Streams.batch

    def twice(self: Streams, step: int) -> Batch:
        found = batch(self, step)
        inputs, targets = (np.concatenate([part[:2], part[:2]]) for part in (found.inputs, found.targets))
        return replace(found, inputs=inputs, targets=targets)

    monkeypatch.setattr(Streams, "batch", twice)
    monkeypatch.setattr(learner, "RESET_SHARE", 0.0)
    monkeypatch.setattr(soap, "turns_at", lambda step: step == 1)
    messages, told = together(2, lambda group: _counted(group, average_every=30, optimizer=optimizer, **SAME), tmp_path)[0]
    _, alone = run_of(None, optimizer=optimizer, **SAME)
    assert_close(tensors(told), tensors(alone))
    assert messages == 2  # The first step's gradients, and one average.


def _counted(group: Group, **settings: Any) -> tuple[int, Store]:
    """How many messages of a network's size a run sends, and its store."""
    sizes, send = list[int](), distributed._add_up

    def counted(parts: torch.Tensor) -> None:
        sizes.append(parts.numel())
        send(parts)

    distributed._add_up = counted
    _, store = run_of(group, **settings)
    network = sum(weights.size for weights in store.latest("last").weights.values())
    return sum(size >= network for size in sizes), store
