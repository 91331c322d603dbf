"""Losses and gradient norms of the steps, summed on the device: what a ``step`` event tells, and whether training diverges."""

from __future__ import annotations

import math

from torch import Tensor

from charrnn.training import events
from charrnn.training.learner import Learner
from charrnn.training.rounds import Round

JUDGED_STEPS = 20
"""Divergence is judged by the mean loss of at least so many steps: a few bad ones are no more than a bad start."""


class StepSums:
    """Losses and gradient norms since the last ``step`` event; no step waits for the device."""

    def __init__(self) -> None:
        self.steps, self.seconds = 0, 0.0
        self._loss: Tensor | float = 0.0
        self._watched: Tensor | float = 0.0

    def add(self, made: Round, seconds: float) -> None:
        """Add some steps, and the seconds that they took."""
        self.steps += made.steps
        self._loss = self._loss + made.loss * made.steps
        self._watched = self._watched + made.watched
        self.seconds += seconds

    def event(self, learner: Learner, seconds: float) -> events.Step:
        """What the steps since the last event come to."""
        assert isinstance(self._watched, Tensor)
        p = learner.progress
        _, norms, clips = self._watched.tolist()
        return {
            "event": "step",
            "step": p.step,
            "steps": learner.expected_steps(seconds),
            "steps_settled": learner.budget.is_settled(p.step),
            "done": learner.budget.done(p.step, seconds),
            "epoch": learner.epochs,
            "characters_read": p.step * learner.streams.characters_per_step,
            "seconds": seconds,
            "bits_per_char": float(self._loss) / self.steps / math.log(2),
            "learning_rate": learner.state.optimizer.lr,
            "grad_norm": norms / self.steps,
            "clipped": clips / self.steps,
            "attempt": p.attempt,
            "chars_per_second": self.steps * learner.streams.characters_per_step / max(self.seconds, 1e-9),
        }


class Recent:
    """The loss of the latest steps: a running mean, in which a step counts for a twentieth of those before it."""

    def __init__(self) -> None:
        self._loss: Tensor | None = None

    def add(self, loss: Tensor, steps: int = 1) -> None:
        """Add the mean loss of some ``steps``, in nats."""
        share = min(steps / JUDGED_STEPS, 1.0)
        self._loss = loss if self._loss is None else self._loss + (loss - self._loss) * share

    @property
    def bits(self) -> float:
        """Bits per character; infinite if there were no steps."""
        return math.inf if self._loss is None else float(self._loss) / math.log(2)


class Soundness:
    """Whether the losses of the steps since they were last judged are those of a network that learns."""

    def __init__(self) -> None:
        self._steps = 0
        self._loss: Tensor | float = 0.0

    def add(self, loss: Tensor, steps: int = 1) -> None:
        """Add the mean loss of some ``steps``, in nats."""
        self._steps += steps
        self._loss = self._loss + loss * steps

    def holds(self, limit: float) -> bool:
        """Whether all losses are finite and their mean is at most ``limit``; where there are fewer than `JUDGED_STEPS`, the
        missing ones count as 0, so that only a loss far beyond the limit tells at once.
        """
        loss, steps = float(self._loss), self._steps
        if steps >= JUDGED_STEPS:
            self._steps, self._loss = 0, 0.0
        return math.isfinite(loss) and loss <= limit * max(steps, JUDGED_STEPS)
