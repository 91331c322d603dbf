"""What a run does between two moments at which its ranks agree: one step of all, or steps of each and an average of networks.

Steps of its own each rank makes on its own columns, without a message; then weights and the optimizer's moments are averaged
(local SGD; Stich 2019). Clock, signals and losses come with the average, so whatever follows from them is decided there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from charrnn.training.learner import Learner


class Round(NamedTuple):
    """Some steps: how many, their mean loss in nats per character, (), and the sum of what is watched of each, (3,)."""

    steps: int
    loss: Tensor
    watched: Tensor


def make(learner: Learner, seconds: float, before_step: Callable[[int], None]) -> Round:
    """Make the steps of a round that begins after so many ``seconds``; ``before_step`` hears of each how many went before it.

    A run's first step is one of all ranks in any case: with it SOAP's bases begin, and they must be the same.
    """
    done = learner.progress.step
    every = learner.config.average_every
    if learner.ranks.count == 1 or every == 1 or not done:
        before_step(done)
        found = Round(1, *learner.step(learner.learning_rate(seconds)))
    else:
        # Averages are at multiples of K, and at the end of the run as far as that is known.
        end = min((done // every + 1) * every, max(done + 1, learner.expected_steps(seconds)))
        found = _averaged(learner, end, seconds, before_step)
    learner.state.watched = learner.state.watched + found.watched
    return found


def _averaged(learner: Learner, end: int, seconds: float, before_step: Callable[[int], None]) -> Round:
    """Make this rank's own steps up to step ``end``, then take the mean of all ranks' networks."""
    p, losses, watched = learner.progress, list[Tensor](), list[Tensor]()
    steps = end - p.step
    while p.step < end:
        before_step(p.step)
        # Bases turn with the first step, when all ranks still have the same moments, and so remain the same.
        part, seen = learner.step(learner.learning_rate(seconds), alone=True, turning=0 if losses else steps)
        losses.append(part)
        watched.append(seen)
    state = learner.state
    tensors = [*state.model.weights().values(), *state.optimizer.averageable(), *state.row_rms.tensors().values()]
    with torch.no_grad():
        own = torch.stack(watched).sum(dim=0)
        loss, (norms, *sums) = learner.ranks.summed(torch.stack(losses).mean(), [own, *tensors])
        for tensor, total in zip(tensors, sums, strict=True):
            tensor.copy_(total / learner.ranks.count)
    return Round(steps, loss, norms / learner.ranks.count)
