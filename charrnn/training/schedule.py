"""When things happen in a run: its budget, the learning rate along it, and the moments to log, evaluate and save.

All of it is computed from a few numbers, so that a run in steps is scheduled alike on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from charrnn.config import TrainConfig
from charrnn.training import events
from charrnn.training.events import Event

LR_WARM_UP = 0.02
"""Share of the run over which the learning rate rises; it then falls along a half cosine."""
LR_FLOOR = 0.01
"""Where the cosine ends, as a share of the peak."""
EVALUATION_MARKS = (0.08, *(tenth / 10 for tenth in range(2, 10)))
"""Shares of the run after which there is an evaluation, beside the one at its end."""
EARLY_SECONDS = 60.0
"""The first evaluation of a run in minutes comes no later than this."""
EVALUATION_SHARE = 0.03
"""Share of the run that its evaluations may take."""
MAX_EVALUATION_CHARACTERS = 200_000
"""No evaluation but the last reads more, and that one reads as much in any case, if there is as much."""
PATIENCE, PATIENT_SHARE = 5.0, 0.01
"""Seconds that a run waits at its end at most, and the share of its minutes by which it may be late for that."""
ENOUGH_STEPS = 50
"""How long a run of minutes will be is an estimate once so many steps were timed."""
LOG_SECONDS = 1.0
"""Between two ``step`` events, unless ``--log-every`` says how many steps."""
SAVE_SECONDS = 5.0
"""An evaluation is a good moment to save too, if the last save is older than this: so a short run can be resumed as well."""


@dataclass(frozen=True)
class Budget:
    """How long a run is: a number of steps, or of seconds."""

    steps: int | None
    seconds: float | None
    most_steps: int | None = None
    """Where seconds are the budget, the steps after which the run ends in any case."""

    @classmethod
    def of(cls, config: TrainConfig, chunks_per_epoch: int, most_epochs: float = math.inf) -> Budget:
        """The budget that ``config`` gives in steps, epochs of ``chunks_per_epoch`` steps, or minutes; these read the text
        ``most_epochs`` times at most.
        """
        if config.steps:
            return cls(config.steps, None)
        if config.epochs is not None:
            return cls(max(1, round(config.epochs * chunks_per_epoch)), None)
        assert config.minutes is not None
        return cls(None, 60 * config.minutes, math.ceil(most_epochs * chunks_per_epoch) if math.isfinite(most_epochs) else None)

    def position(self, step: int, seconds: float) -> float:
        """How far a run has come, in the budget's own unit."""
        return seconds if self.steps is None else float(step)

    def end(self, closing: float = 0.0) -> float:
        """The position at which training ends; in seconds it leaves ``closing`` for the last evaluation and save."""
        if self.steps is not None:
            return self.steps
        assert self.seconds is not None
        return max(self.seconds - closing, self.seconds / 2)

    def fraction(self, step: int, seconds: float, start: float, closing: float) -> float:
        """The share of the run from the position ``start`` to the end that is over."""
        share = (self.position(step, seconds) - start) / max(self.end(closing) - start, 1e-9)
        return share if self.most_steps is None else max(share, step / self.most_steps)

    def spent(self, step: int, seconds: float, closing: float) -> str | None:
        """What a run that is over has done, or None."""
        if self.most_steps is not None and step >= self.most_steps:
            return f"made {step:,} steps, as many as so short a text gets in any number of minutes"
        if self.position(step, seconds) < self.end(closing):
            return None
        return f"taken {seconds / 60:.2f} minutes" if self.steps is None else f"made {step:,} step{'s' * (step != 1)}"

    def warnings(self, step: int) -> Iterator[Event]:
        """What the user should know of a run that finished after ``step`` steps."""
        if self.most_steps is not None and step >= self.most_steps:
            assert self.seconds is not None
            yield events.warning(
                f"so short a text is known by heart after {step:,} steps; the run ends sooner than --minutes"
                f" {self.seconds / 60:g} says, --steps makes more"
            )

    def done(self, step: int, seconds: float) -> float:
        """The share of the whole run that is over, from its very beginning."""
        share = self.position(step, seconds) / max(self.end(), 1e-9)
        return min(max(share, step / self.most_steps if self.most_steps else 0.0), 1.0)

    def expected_steps(self, step: int, seconds: float, train_seconds: float, closing: float) -> int:
        """How many steps the run will have made at its end; in seconds, an estimate from what steps have taken so far."""
        if self.steps is not None:
            return self.steps
        left = max(self.end(closing) - seconds, 0.0)
        more = round(left * step / max(train_seconds, 1e-9))
        return min(step + more, self.most_steps or step + more)

    def is_settled(self, step: int) -> bool:
        """Whether `expected_steps` is given, or an estimate from enough steps."""
        return self.steps is not None or step >= ENOUGH_STEPS


def closing_seconds(budget: Budget, evaluation_seconds: float, more_seconds: float, save_seconds: float) -> float:
    """What the last evaluation and save of a run in seconds will take.

    Args:
        budget: the run's length.
        evaluation_seconds: what the latest evaluation took. Its own repetition is held to the share of all evaluations, in
            case the machine stalled during it.
        more_seconds: what scoring the best network on more of the text will take.
        save_seconds: what saving will take.
    """
    if budget.seconds is None:
        return 0.0
    return min(evaluation_seconds, EVALUATION_SHARE * budget.seconds) + more_seconds + save_seconds


def patience(budget: Budget, seconds: float) -> float:
    """How long a run that is over after so many ``seconds`` waits for what is still to be told of it."""
    if budget.seconds is None:
        return PATIENCE
    return min(max(budget.seconds - seconds, PATIENT_SHARE * budget.seconds), PATIENCE)


def learning_rate(peak: float, fraction: float, budget: Budget) -> float:
    """The rate of the step that begins at ``fraction`` of the run: linear warm-up, then half a cosine."""
    if budget.steps is not None:
        fraction += 0.5 / max(1, budget.steps)  # The middle of the step, so that the first step's rate is not 0.
    fraction = min(fraction, 1.0)
    if fraction < LR_WARM_UP:
        return peak * fraction / LR_WARM_UP
    along = (fraction - LR_WARM_UP) / (1 - LR_WARM_UP)
    return peak * (LR_FLOOR + (1 - LR_FLOOR) * 0.5 * (1 + math.cos(math.pi * along)))


def next_mark(fraction: float) -> int:
    """Which of `EVALUATION_MARKS` comes after an evaluation at ``fraction`` of the run."""
    return max(1, sum(mark <= fraction for mark in EVALUATION_MARKS))


def is_marked(budget: Budget, mark: int, fraction: float, seconds: float) -> bool:
    """Whether mark number ``mark`` is reached at ``fraction`` of the run, ``seconds`` after the schedule's start."""
    if mark == 0 and budget.steps is None and seconds >= EARLY_SECONDS:
        return True
    return mark < len(EVALUATION_MARKS) and fraction >= EVALUATION_MARKS[mark]


def affordable_characters(total_steps: float, eval_every: int | None, characters_per_step: int) -> int:
    """How much validation text keeps all evaluations within 3 % of a run of ``total_steps``."""
    between = eval_every or total_steps / (len(EVALUATION_MARKS) + 2)
    return min(max(evaluated_in(between * characters_per_step), 2000), MAX_EVALUATION_CHARACTERS)


def evaluated_in(characters: float) -> int:
    """How much text is evaluated in 3 % of the time in which so many ``characters`` are trained on.

    Evaluating a character costs about a quarter of training on one.
    """
    return int(EVALUATION_SHARE * 4 * characters)


@dataclass(frozen=True)
class Due:
    """What is to be done after a step."""

    log: bool
    evaluate: bool
    save: bool

    def __bool__(self) -> bool:
        return self.log or self.evaluate or self.save


class Cadence:
    """Decides after every step whether to log, evaluate and save, by what was done when."""

    def __init__(self, config: TrainConfig, step: int, seconds: float) -> None:
        self._config, self._first = config, step
        self._logged_at = self._saved_at = seconds
        self._evaluated, self._seen = -1, step

    def logs(self, step: int, seconds: float) -> bool:
        """Whether a ``step`` event is due after ``step`` steps."""
        if self._config.log_every is not None:
            return self._passed(step, self._config.log_every)
        # The first step's event shows at once that the run is alive.
        return step == self._first + 1 or seconds - self._logged_at >= LOG_SECONDS

    def due(self, step: int, seconds: float, *, marked: bool, reason: str) -> Due:
        """What is due after ``step`` steps.

        Args:
            step: how many steps were made.
            seconds: the time now.
            marked: whether an evaluation mark is reached (`is_marked`).
            reason: why the run ends now, or "".
        """
        if reason:
            return Due(log=False, evaluate=reason == "finished" and self._evaluated != step, save=True)
        every = self._config.eval_every
        evaluate = marked if every is None else self._passed(step, every)
        pause = min(self._config.save_every, SAVE_SECONDS) if evaluate else self._config.save_every
        due = Due(log=self.logs(step, seconds), evaluate=evaluate, save=seconds - self._saved_at >= pause)
        self._seen = step
        return due

    def _passed(self, step: int, every: int) -> bool:
        """Whether a multiple of ``every`` has come since this was asked before ``step``: a round may be of several steps."""
        return step // every > self._seen // every

    def logged(self, seconds: float) -> None:
        """Remember that a ``step`` event was made."""
        self._logged_at = seconds

    def evaluated(self, step: int) -> None:
        """Remember that the network of ``step`` was evaluated."""
        self._evaluated = step

    def saved(self, seconds: float) -> None:
        """Remember that the run was saved."""
        self._saved_at = seconds
