"""One network learning one text: where it stands, how far along its budget it is, and one step."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from charrnn import UsageError
from charrnn.config import ModelConfig, TrainConfig
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.corpus import Corpus
from charrnn.text.excerpts import Excerpt
from charrnn.text.scattered import StretchStreams
from charrnn.text.streams import Columns, Streams, of_records
from charrnn.training import evaluation, gradients, recipe, schedule
from charrnn.training.compressor import Compressor
from charrnn.training.device import choose_device, choose_precision, prepare
from charrnn.training.evaluation import Validation
from charrnn.training.feed import Feed
from charrnn.training.model import CharRNN
from charrnn.training.optimizer import Optimizer
from charrnn.training.processes import Processes
from charrnn.training.ranks import ALONE, Ranks
from charrnn.training.schedule import Budget
from charrnn.training.snapshot import Progress, TrainingState
from charrnn.training.validation import ValidationPlan
from charrnn.training.workers import Workers, choose_workers

RESET_SHARE = 0.01
"""Chance of a column to start a chunk from the zero state. A network that met that state only once an epoch comes to rely on
units that charged up over the whole text so far, and predicts poorly for the first thousands of characters of any other."""
FEW_SYMBOLS = 16
"""Losses of a network of fewer symbols are judged as if it had so many: a step too large costs it as many nats."""
LARGEST_NORM = 1e20
"""Norms of gradients are watched up to this, so that their sums stay finite."""


class RunIsOverError(UsageError):
    """A run that is to be gone on with has had its length."""


class Learner:
    """A network, its text and its settings, and all that changes from step to step."""

    def __init__(
        self,
        model_config: ModelConfig,
        config: TrainConfig,
        corpus: Corpus,
        plan: Mapping[str, Any] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """A network with fresh weights; the arguments and errors are `Trainer`'s."""
        self.config, self.corpus, self.vocabulary, self.ranks = config, corpus, corpus.vocabulary, ranks
        self.device = choose_device(config.device)
        self.precision = choose_precision(config.precision, self.device)
        if config.average_every > 1 and self.precision == "fp16":
            raise UsageError("--average-every leaves each rank an fp16 loss scale of its own; try --precision bf16 or fp32")
        self.plan = plan
        """Why the settings are what they are, to be kept."""
        prepare(self.device, self.precision)
        model = CharRNN(model_config, torch.Generator().manual_seed(config.seed)).to(self.device)
        self._parameters = list(model.weights().values())
        optimizer = Optimizer(model.weights(), model_config, config, self.precision, ranks)
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self._mask_generator = torch.Generator(self.device)
        # A record begins at the zero state anyway, and goes on from its own.
        self._reset_share = RESET_SHARE if corpus.records is None else 0.0
        self.streams = _streams(corpus, config)
        self._feed = Feed(corpus.ids, self.device)
        self.state = TrainingState(model, optimizer, scaler, self.streams.columns)
        count = ranks.of_first(choose_workers(config.workers, self.device, ranks.most(self.streams.batch_size)))
        # The number of threads changes the last digits of SOAP's and Muon's products, so theirs stays.
        self.workers = Workers(count, model_config.hidden_size if config.optimizer == "adamw" else 0)
        self._processes: Processes | None = None
        if self.device.type == "cpu":
            # Whoever goes on with the run adds up in the same order, however many cores there are then.
            self.config = replace(config, workers=count)
        most = recipe.most_passes(corpus.train_characters, records=corpus.records is not None)
        self.budget = Budget.of(config, self.streams.chunks_per_epoch, most)
        self.validation = ValidationPlan(self.config, corpus, self.budget, self.streams.characters_per_step)
        """What is scored when."""
        self.compressor = Compressor(corpus)
        """What the text takes without a network."""

    @property
    def model(self) -> CharRNN:
        """The network, as the latest step left it."""
        return self.state.model

    @property
    def progress(self) -> Progress:
        """Where the run stands."""
        return self.state.progress

    @property
    def epochs(self) -> float:
        """Passes over the training text so far."""
        return self.progress.step / self.streams.chunks_per_epoch

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Start the workers on entering and end them on leaving; processes first, because they are forked."""
        chunk = self.ranks.most(self.streams.batch_size), self.streams.bptt
        with (
            contextlib.nullcontext() if self.ranks.number else self.compressor.working(),
            gradients.forked(self.model, self.workers, *chunk, self.config.dropouts, self.precision) as self._processes,
            self.workers.working(),
        ):
            yield

    # -- one step -------------------------------------------------------------------------------------------------

    def step(self, lr: float, *, alone: bool = False, turning: int = 1) -> tuple[Tensor, Tensor]:
        """Make one update at rate ``lr``.

        Args:
            lr: the learning rate.
            alone: whether this rank's own columns alone decide; the loss is then their part of that of all columns.
            turning: SOAP's bases turn if they are to within so many steps from this one.

        Returns:
            The loss in nats per character, (), and what is watched, (3,): a one, the gradient's norm before clipping, and
            whether it was clipped. Neither has been waited for if the device works behind.

        Raises:
            WorkerLostError: a worker process has ended before its time; the step has changed nothing.
            RankLostError: another rank has; the others may have made the step.
        """
        state, scaler = self.state, self.state.scaler
        batch = self.streams.batch(state.progress.step)
        N = len(batch.inputs)
        if batch.first:
            state.carried.zero_()
        inputs, targets, opens = self._feed.tensors(batch)  # (N, T), int64
        self._mask_generator.manual_seed(_key(self.config.seed, state.progress.step))
        fresh = torch.rand(N, 1, generator=self._mask_generator, device=self.device) < self._reset_share
        fresh = fresh if opens is None else fresh | opens
        # Drawn for all columns, however they are shared out.
        masks = state.model.dropout_masks(N, self.config.dropouts, self._mask_generator)

        loss, state.carried[:, :, batch.rows], found = gradients.of_chunk(
            state.model,
            inputs,
            targets,
            state.carried[:, :, batch.rows].masked_fill(fresh, 0.0),  # (L, P, N, H)
            masks,
            counted=batch.counted,
            precision=self.precision,
            workers=self.workers,
            processes=self._processes,
            ranks=self.ranks,
            among=batch.whole,
            alone=alone,
            scale=scaler.scale,
        )
        for parameter, gradient in zip(self._parameters, found, strict=True):
            parameter.grad = gradient
        state.optimizer.take_gradients(scaler)
        squares = state.row_rms.measured(found)
        grad_norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.grad_clip)
        clipped = grad_norm > self.config.grad_clip
        state.row_rms.add(squares, state.progress.step + 1, grad_norm)
        sound = torch.isfinite(grad_norm) if scaler.is_enabled() else None
        state.optimizer.step(lr, self.workers, turning, sound)
        scaler.update()
        state.progress.step += 1
        return loss, _watched(grad_norm.detach(), clipped)

    # -- the schedule ---------------------------------------------------------------------------------------------

    def _closing(self) -> float:
        """Seconds that the last evaluation and save will take."""
        return self.validation.closing_seconds(self.progress)

    def fraction(self, seconds: float) -> float:
        """The share of the run that is over after so many ``seconds`` of it."""
        p = self.progress
        return self.budget.fraction(p.step, seconds, p.schedule_from, self._closing())

    def expected_steps(self, seconds: float) -> int:
        """How many steps the run will have made at its end."""
        p = self.progress
        return self.budget.expected_steps(p.step, seconds, p.train_seconds, self._closing())

    def learning_rate(self, seconds: float) -> float:
        """The rate of a step that begins now."""
        return schedule.learning_rate(self.config.lr * self.progress.rate_scale, self.fraction(seconds), self.budget)

    def is_marked(self, seconds: float) -> bool:
        """Whether an evaluation mark is reached."""
        p = self.progress
        return schedule.is_marked(self.budget, p.next_mark, self.fraction(seconds), seconds - p.schedule_from)

    def largest_loss(self, seconds: float) -> float:
        """The mean loss in nats above which training counts as diverged: after the warm-up three times that of a uniform guess
        over the symbols, or over `FEW_SYMBOLS` where there are fewer.
        """
        if self.fraction(seconds) <= schedule.LR_WARM_UP:
            return math.inf
        return 3 * math.log(max(self.vocabulary.size, FEW_SYMBOLS))

    def validate(self, excerpt: Excerpt) -> Validation | None:
        """Score an ``excerpt`` of the validation text; None if the loss is not finite."""
        return evaluation.validate(self.model, self.corpus, excerpt, self.precision, self.workers, self.ranks)

    # -- checkpoints ----------------------------------------------------------------------------------------------

    def check_ranks(self) -> None:
        """Raise a `CharrnnError` if this rank's network isn't that of rank 0, bit for bit."""
        if self.ranks.count > 1:
            weights = b"".join(weight.tobytes() for weight in self.model.export().values())
            self.ranks.check_same(weights, f"its network differs from that of rank 0 at step {self.progress.step:,}")

    def network(self, seconds: float) -> Checkpoint:
        """The network as it is: a ``best`` checkpoint."""
        p = self.progress
        facts = {
            **self.corpus.facts(),
            "characters": len(self.corpus.ids),
            "config": self.config.to_json(),
            "plan": self.plan,
            "seed": self.config.seed,
            "step": p.step,
            "epochs": self.epochs,
            "seconds": seconds,
            "val_bits_per_char": p.best_val_bits_per_char,
            **self.validation.facts(),
            **self.compressor.facts,
        }
        arrays, temperature = (self.model.export(), self.state.kept()), self.validation.temperature
        return Checkpoint(self.model.config, self.vocabulary, facts, *arrays, temperature=temperature)

    def snapshot(self, seconds: float) -> Checkpoint:
        """Everything needed to go on: a ``last`` checkpoint. All ranks make it, and each gets the whole of it."""
        p = self.progress
        if p.step:
            batch, groups = self.streams.batch(p.step - 1), self.streams.groups
            own = self.ranks.share(len(batch.inputs), batch.whole)
            self.ranks.gather(self.state.carried, slice(own.start * groups, own.stop * groups))
        self.state.optimizer.complete()
        tensors, network = self.state.tensors(), self.network(seconds)
        p.seconds = seconds
        training = {**network.training, "progress": dict(vars(p)), **self.ranks.facts()}
        return replace(network, training=training, extra=tensors)

    def rewind(self, good: Checkpoint, elapsed: float) -> Progress:
        """`restore` ``good`` with half the learning rate; what is known of the best network stays known.

        Returns:
            The progress that was given up.
        """
        before, excerpt, best = self.progress, self.validation.excerpt, self.validation.best
        temperature = self.validation.temperature
        self.restore(good, elapsed)
        self.validation.excerpt, self.validation.best, self.validation.temperature = excerpt, best, temperature
        p = self.progress
        p.attempt, p.rewinds, p.rate_scale = before.attempt + 1, before.rewinds + 1, before.rate_scale / 2
        p.best_val_bits_per_char, p.eval_characters = before.best_val_bits_per_char, before.eval_characters
        p.next_mark, p.best_step = before.next_mark, before.best_step
        return before

    def restore(self, saved: Checkpoint, elapsed: float) -> bool:
        """Go back to ``saved``; a rate or a length that was given anew counts from there.

        Args:
            saved: a ``last`` checkpoint.
            elapsed: seconds since the process began, which a budget in minutes has spent too.

        Returns:
            Whether the run was given another length; the rate then warms up once more and decays over the part that was added.

        Raises:
            CharrnnError: it doesn't fit the network and the text.
            UsageError: the length is used up already.
        """
        same_text = self.corpus.is_text_of(saved.training)
        stored = self.state.restore(saved, other_text=not same_text)
        p, config, budget = self.progress, self.config, self.budget
        self.validation.resume(saved, p, same_text=same_text)
        if same_text:
            self.compressor.remember(saved.training)
        if config.lr != stored.lr:
            p.rate_scale, p.rewinds, p.attempt = 1.0, 0, p.attempt + 1
        if (config.steps, config.epochs, config.minutes) == (stored.steps, stored.epochs, stored.minutes):
            return False
        if spent := budget.spent(p.step, p.seconds + elapsed, self._closing()):
            raise RunIsOverError(f"the run has {spent} already; give a length beyond that, it counts from the run's beginning")
        p.schedule_from, p.next_mark = budget.position(p.step, p.seconds), 0
        return True


def _streams(corpus: Corpus, config: TrainConfig) -> Columns:
    """What is trained on, in columns."""
    shape = config.batch_size, config.bptt, config.seed, config.groups
    if corpus.records is not None:
        return of_records(corpus.ids, corpus.records, config.batch_size, config.bptt, config.seed)
    if corpus.pieces is not None:
        return StretchStreams(corpus.ids, corpus.pieces, *shape)
    return Streams(corpus.ids[: corpus.train_characters], *shape)


def _watched(norm: Tensor, clipped: Tensor) -> Tensor:
    """A one, the gradient's norm and whether it was clipped, (3,); steps that fp16's loss scaling skips have infinite ones."""
    norm = norm.nan_to_num(nan=0.0, posinf=0.0).clamp(max=LARGEST_NORM)
    return torch.stack([torch.ones_like(norm), norm, clipped.to(norm.dtype)])


def _key(seed: int, step: int) -> int:
    """A generator seed that differs for every (seed, step)."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> np.uint64(1))
