"""Truncated back-propagation through time as an iterator of events.

The text is read in columns, N of them at a time, T characters each; their hidden state is carried from chunk to chunk and
cut from the graph in between (Williams and Peng 1990).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import torch

from charrnn.analysis import heldout
from charrnn.config import ModelConfig, TrainConfig
from charrnn.network.checkpoint import Checkpoint
from charrnn.text import markup
from charrnn.text.corpus import Corpus
from charrnn.text.streams import Columns
from charrnn.training import events, rounds, schedule, snapshot, standing
from charrnn.training.evaluation import Validation
from charrnn.training.events import Event
from charrnn.training.learner import Learner
from charrnn.training.losses import Recent, Soundness, StepSums
from charrnn.training.model import CharRNN
from charrnn.training.processes import WorkerLostError
from charrnn.training.ranks import ALONE, Ranks
from charrnn.training.schedule import Cadence
from charrnn.training.snapshot import Progress, Saves, Store

SNAPSHOT_SECONDS = 5.0
"""How old the snapshot that a divergence goes back to may be."""


class Trainer:
    """One training run: construct it, iterate `run`."""

    def __init__(
        self,
        model_config: ModelConfig,
        config: TrainConfig,
        corpus: Corpus,
        *,
        clock: Callable[[], float],
        stop: Callable[[], str | None] = lambda: None,
        before_step: Callable[[int], None] = lambda step: None,
        resume: Checkpoint | None = None,
        initial: Checkpoint | None = None,
        plan: Mapping[str, Any] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """Prepare a run.

        Args:
            model_config: the network's shape.
            config: the run's settings.
            corpus: the text.
            clock: seconds since the process began.
            stop: called before each step; a reason ("interrupted", "terminated") ends the run.
            before_step: called right before each step with the number of steps made so far.
            resume: the ``last`` checkpoint of a run to go on with.
            initial: a trained network whose weights a new run starts from; only its vocabulary may differ.
            plan: why the settings are what they are, to be kept; a resumed run keeps its own.
            ranks: the processes that train together; ``clock`` and ``stop`` are then what all of them go by.

        Raises:
            CharrnnError: the device isn't there, or ``resume`` doesn't fit the network or the text.
            UsageError: the device doesn't support the precision, or a resumed run is over already.
        """
        self._clock, self._stop, self._before_step = clock, stop, before_step
        plan = plan if resume is None else resume.training.get("plan")
        self._learner = Learner(model_config, config, corpus, plan, ranks)
        self._text_changed = resume is not None and not corpus.is_text_of(resume.training)
        self._recent = Recent()
        # What is held out from all over is like the rest, and what was found before a resumption is not known.
        tail = corpus.records is None and corpus.pieces is None
        self._distance = heldout.Distance(model_config.vocab_size) if resume is None and tail else None
        self._before = 0.0  # seconds of the processes before this one
        self._part: events.Part | None = None  # the best loss of the evaluations, where they read but a part
        self._advised: str | None = None  # what the latest evaluation says of the whole run
        self.made_longer = False
        """Whether a resumed run was given another length."""
        if initial is not None:
            self.model.load(snapshot.carried_over(initial, corpus.vocabulary, self.model.export()))
        if resume is not None:
            self.made_longer = self._learner.restore(resume, clock())
            self._before = self.progress.seconds

    # -- what the outside asks ------------------------------------------------------------------------------------

    @property
    def model(self) -> CharRNN:
        """The network, as the latest step left it."""
        return self._learner.model

    @property
    def progress(self) -> Progress:
        """Where the run stands."""
        return self._learner.progress

    @property
    def config(self) -> TrainConfig:
        """The settings, with the number of workers that was chosen."""
        return self._learner.config

    @property
    def corpus(self) -> Corpus:
        """The text."""
        return self._learner.corpus

    @property
    def streams(self) -> Columns:
        """The training text in columns."""
        return self._learner.streams

    @property
    def seconds(self) -> float:
        """Seconds of this run so far, in all its processes."""
        return self._before + self._clock()

    def describe(self) -> events.Facts:
        """The part of the ``start`` event that the run itself knows."""
        return standing.described(self._learner)

    def warnings(self) -> Iterator[Event]:
        """What the user should know before the run."""
        yield from standing.warnings(self._learner)
        if self.progress.step == 0:
            yield from map(events.warning, [*markup.advise(self.corpus), *heldout.advise(self.corpus)])

    def snapshot(self) -> Checkpoint:
        """Everything needed to go on: the ``last`` checkpoint."""
        return self._learner.snapshot(self.seconds)

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self, store: Store) -> Iterator[Event]:
        """Train to the end of the budget or until stopped; yields the events from the first ``step`` to ``end``."""
        saves = Saves(store)
        if self.progress.step == 0:
            self.progress.schedule_from = self._learner.budget.position(0, self.seconds)
        else:
            yield from saves.adopt_best(self.progress, self.model.config, self.corpus, text_changed=self._text_changed)
            if saves.best is None:
                self._learner.validation.forget()
            else:
                self._learner.validation.adopt(saves.best, self.progress)
        with self._learner.working():
            reason = yield from self._steps(saves)
            if reason == "finished":
                yield from self._learner.budget.warnings(self.progress.step)
                yield from self._final_validation(saves)
        yield standing.ended(
            self._learner,
            self.seconds,
            reason=reason if saves.complete or reason == "diverged" else "failed",
            best_path=str(saves.best_path) if saves.best_path else None,
            part=self._part,
            advised=self._advised,
        )

    def _steps(self, saves: Saves) -> Generator[Event, None, str]:
        """Step, log, evaluate and save until there is a reason to end, and return it."""
        now = begun = self.seconds
        cadence, sums, losses = Cadence(self.config, self.progress.step, begun), StepSums(), Soundness()
        good, good_at, reason, due = self.snapshot(), begun, "", None
        while not reason:
            # Right after another step it is as late as it was then.
            begun = self.seconds if due is None or due else now
            reason = self._reason_to_end(begun)
            try:
                now = begun if reason else self._timed_round(begun, cadence, sums, losses)
            except WorkerLostError as error:
                if self._learner.ranks.count > 1:
                    raise  # The others wait for this rank's part of the step, which can't be saved without them.
                yield events.warning(str(error))
                reason, now = "worker_lost", self.seconds
            due = cadence.due(self.progress.step, now, marked=self._learner.is_marked(now), reason=reason)
            if not due:
                continue
            # Losses are looked at only here, so that no step waits for the device; nothing unsound is evaluated or saved.
            aged = due.evaluate or due.save or now - good_at >= SNAPSHOT_SECONDS
            latest = self.snapshot() if aged else good
            if not (losses.holds(self._learner.largest_loss(now)) and snapshot.is_finite(latest)):
                reason = "diverged" if self.progress.rewinds else ""
                yield standing.rewound(self._learner, good, self._clock())
                yield from self._save(saves)
                cadence, sums, losses = Cadence(self.config, self.progress.step, now), StepSums(), Soundness()
                good = self.snapshot()
                continue
            if aged:
                good, good_at = latest, now
            if due.log:
                yield sums.event(self._learner, now)
                cadence.logged(now)
                sums = StepSums()
            if due.evaluate:
                yield from self._evaluation(saves)
                cadence.evaluated(self.progress.step)
            if due.save:
                yield from self._save(saves)
                cadence.saved(self.seconds)
        return reason

    def _reason_to_end(self, seconds: float) -> str:
        # However short the time, one step is made.
        finished = self.progress.step > 0 and self._learner.fraction(seconds) >= 1
        return self._stop() or ("finished" if finished else "")

    def _timed_round(self, begun: float, cadence: Cadence, sums: StepSums, losses: Soundness) -> float:
        """Make the steps of a round that began at ``begun``, add them to all sums, and return the time at its end."""
        p = self.progress
        made = rounds.make(self._learner, begun, self._before_step)
        now = self.seconds
        if self._learner.device.type != "cpu" and cadence.logs(p.step, now):
            torch.accelerator.synchronize()  # So far the steps since the last event have only been queued.
            now = self.seconds
        p.train_seconds += now - begun
        sums.add(made, now - begun)
        self._recent.add(made.loss, made.steps)
        losses.add(made.loss, made.steps)
        return now

    # -- evaluation -----------------------------------------------------------------------------------------------

    def _evaluation(self, saves: Saves) -> Iterator[Event]:
        """Evaluate, draw a sample, and keep the network if it is the best so far."""
        p, plan = self.progress, self._learner.validation
        begun = self.seconds
        fraction = self._learner.fraction(begun)
        p.next_mark = schedule.next_mark(fraction)
        found: Validation | None = None
        if self.corpus.val_characters:
            excerpt = plan.begin(p, fraction)
            scoring = self.seconds
            found = self._learner.validate(excerpt)
            plan.timed(excerpt, self.seconds - scoring)
        improved = found is not None and (p.best_val_bits_per_char is None or found.bits < p.best_val_bits_per_char)
        told, text, self._advised = standing.evaluated(self._learner, found, self.seconds, improved=improved)
        plan.evaluation_seconds = self.seconds - begun
        yield told
        yield text
        bits = None if found is None else found.bits
        if self._distance and (far := self._distance.found(self._recent.bits, bits, self._learner.epochs)):
            yield events.warning(far)
        if found is not None and improved:
            p.best_val_bits_per_char, p.best_step = bits, p.step
            plan.improved(found)
            yield from saves.keep("best", self._learner.network(self.seconds))

    def _final_validation(self, saves: Saves) -> Iterator[Event]:
        """Score the best weights on as much of the validation text as there is time for, if that is more than so far."""
        begun = self.seconds
        self._learner.compressor.wait(schedule.patience(self._learner.budget, begun))
        if saves.best is None:
            return
        best, self._part = standing.scored_at_the_end(self._learner, saves.best)
        if best is not saves.best:
            yield from saves.keep("best", best)
        if warned := standing.took_long(self._learner, self.seconds - begun, self.seconds):
            yield warned

    def _save(self, saves: Saves) -> Iterator[Event]:
        begun = self.seconds
        self._learner.check_ranks()
        if saves.best is None or not self.corpus.val_characters:
            yield from saves.keep("best", self._learner.network(self.seconds))
        else:
            yield from saves.keep_best_again()
        yield from saves.keep("last", self.snapshot())
        self._learner.validation.saved(self.seconds - begun)
