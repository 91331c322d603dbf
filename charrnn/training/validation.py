"""Which part of the validation text is scored when, how long that takes, and what is told of the best network."""

from __future__ import annotations

import bisect
import math
from typing import Any

from charrnn.config import TrainConfig
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.corpus import Corpus
from charrnn.text.excerpts import Excerpt, first, spread, stored
from charrnn.training import evaluation, schedule
from charrnn.training.evaluation import Validation
from charrnn.training.schedule import Budget
from charrnn.training.snapshot import Progress

SAVE_SECONDS = 0.2
"""What the last save is expected to take at least."""


class ValidationPlan:
    """The excerpt that every evaluation of a run scores, and the larger one that its end does.

    In a run of steps or epochs both follow from the text and the settings; in a run of minutes from the pace, too.
    """

    def __init__(self, config: TrainConfig, corpus: Corpus, budget: Budget, characters_per_step: int) -> None:
        self._config, self._corpus, self._budget, self._per_step = config, corpus, budget, characters_per_step
        self.excerpt: Excerpt | None = None
        """What every evaluation scores; None before the first."""
        self.best: dict[str, Any] = {}
        """What is told of the best network's evaluation, beside its loss."""
        self.temperature = 1.0
        """What the best network's logits are to be divided by."""
        self.evaluation_seconds = 0.0
        """What the latest evaluation took, with all that belongs to it."""
        self.save_seconds = SAVE_SECONDS
        """What the latest save took."""
        self._pace = 0.0  # characters a second, warm-ups included
        self._affordable = 0  # characters for the end of a run of minutes

    def begin(self, p: Progress, fraction: float) -> Excerpt:
        """What an evaluation at ``fraction`` of the run scores; the first one settles it."""
        if self.excerpt is None:
            total = self._budget.steps if self._budget.steps is not None else p.step / max(fraction, 1e-3)
            affordable = schedule.affordable_characters(total, self._config.eval_every, self._per_step)
            p.eval_characters = min(self._corpus.val_characters, affordable)
            self.excerpt = spread(self._corpus, p.eval_characters)
        return self.excerpt

    def timed(self, excerpt: Excerpt, seconds: float) -> None:
        """Remember that an ``excerpt`` was scored in so many ``seconds``."""
        self._pace = evaluation.reading(excerpt.characters) / max(seconds, 1e-9)
        if self._budget.seconds is not None:
            read = int(schedule.EVALUATION_SHARE * self._budget.seconds * self._pace)
            most = range(min(read, self._corpus.val_characters) + 1)
            self._affordable = max(bisect.bisect_right(most, read, key=evaluation.reading) - 1, 0)

    def saved(self, seconds: float) -> None:
        """Remember that saving took so many ``seconds``."""
        self.save_seconds = max(seconds, SAVE_SECONDS)

    def final_characters(self, p: Progress) -> int:
        """How much the end of the run scores: as much as fits into its share of the time, or what evaluations score if that is
        more; a text that a large evaluation would read whole anyway, whole.
        """
        held_out = self._corpus.val_characters
        if self._config.val_whole or held_out <= schedule.MAX_EVALUATION_CHARACTERS:
            return held_out
        if self._budget.steps is not None:
            affordable = schedule.evaluated_in(self._budget.steps * self._per_step)
        else:
            affordable = self._affordable
        return min(held_out, max(affordable, p.eval_characters))

    def final_excerpt(self, p: Progress) -> Excerpt | None:
        """What the end of the run scores; None if the evaluations have scored it."""
        characters = self.final_characters(p)
        return spread(self._corpus, characters) if 0 < p.eval_characters < characters else None

    def closing_seconds(self, p: Progress) -> float:
        """What the last evaluation, the one on more of the text, and the last save will take."""
        more = 0.0
        if self._pace and p.eval_characters < (characters := self.final_characters(p)):
            more = evaluation.reading(characters) / self._pace
        return schedule.closing_seconds(self._budget, self.evaluation_seconds, more, self.save_seconds)

    # -- what is told ---------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """What a checkpoint tells beside the loss."""
        return {**which(self.excerpt), **self.best}

    def improved(self, found: Validation) -> None:
        """Remember what is told of the best network so far, which an evaluation has ``found``."""
        self.best, self.temperature = told(found), found.temperature

    def resume(self, saved: Checkpoint, p: Progress, *, same_text: bool) -> None:
        """Go on as the run that ``saved`` is of: with its excerpt, unless the text is another one by now."""
        self.excerpt = None
        self.forget()
        if not same_text:
            p.eval_characters = 0
        if p.eval_characters:
            p.eval_characters = min(p.eval_characters, self._corpus.val_characters)
            self.excerpt = stored(saved.training.get("val_scored"), self._corpus) or first(self._corpus, p.eval_characters)
            self._remember(saved)

    def adopt(self, best: Checkpoint, p: Progress) -> None:
        """Take in what the ``best`` file says: a process that was killed may have found it after its last save.

        It counts if what was scored is what this run's evaluations score.
        """
        made, bits, scored = (best.training.get(name) for name in ("step", "val_bits_per_char", "val_scored_characters"))
        p.best_step = made if isinstance(made, int) else None
        if not isinstance(bits, float) or not isinstance(scored, int) or not 0 < scored <= self._corpus.val_characters:
            return
        excerpt = stored(best.training.get("val_scored"), self._corpus) or first(self._corpus, scored)
        if self.excerpt is None:
            self.excerpt, p.eval_characters = excerpt, scored
        if self.excerpt.to_json() != excerpt.to_json():
            return
        if bits <= (p.best_val_bits_per_char or math.inf):
            p.best_val_bits_per_char = bits
            self._remember(best)

    def forget(self) -> None:
        """The best network is gone, or of another text."""
        self.best, self.temperature = {}, 1.0

    def _remember(self, saved: Checkpoint) -> None:
        self.best = {name: saved.training[name] for name in TOLD if name in saved.training}
        self.temperature = saved.temperature


TOLD = ("val_standard_error", "val_bits_per_char_calibrated")
"""The facts of a checkpoint that tell more of its validation loss."""


def told(found: Validation) -> dict[str, Any]:
    """The facts of `TOLD`."""
    return {"val_standard_error": found.standard_error, "val_bits_per_char_calibrated": found.calibrated}


def which(excerpt: Excerpt | None) -> dict[str, Any]:
    """The facts of a checkpoint that tell what was scored."""
    if excerpt is None:
        return {"val_scored_characters": 0, "val_scored": None}
    return {"val_scored_characters": excerpt.characters, "val_scored": excerpt.to_json()}
