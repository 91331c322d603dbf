"""Truncated back-propagation through time as an iterator of events, and what a resumable snapshot of it holds.

The text is read in columns, N of them at a time, T characters each; their hidden state is carried from chunk to chunk and
cut from the graph in between (Williams and Peng 1990). Everything random is keyed by (seed, step), so a snapshot is
weights, optimizer moments, carried state and a few numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from charrnn import CharrnnError, UsageError, advice, gradients
from charrnn.cells import Network
from charrnn.checkpoint import Checkpoint
from charrnn.config import MANY, ModelConfig, TrainConfig
from charrnn.corpus import Corpus
from charrnn.device import autocast, choose_device, choose_precision, prepare
from charrnn.drawing import Drawing, Sampler
from charrnn.generate import generate, opening, prime
from charrnn.model import CharRNN
from charrnn.optimizer import Optimizer
from charrnn.streams import Streams
from charrnn.vocabulary import Vocabulary
from charrnn.workers import Workers, choose_workers

Event = dict[str, Any]

WARM_UP = 0.02
"""Share of the run over which the learning rate rises; it then falls along a half cosine."""
FLOOR = 0.01
"""Where the cosine ends, as a share of the peak."""
RESET_SHARE = 0.01
"""Chance of a column to start a chunk from the zero state. A network that met that state only once an epoch comes to rely on
units that charged up over the whole text so far, and predicts poorly for the first thousands of characters of any other."""
EVALUATION_MARKS = (0.08, *(tenth / 10 for tenth in range(2, 10)))
EARLY_SECONDS = 60.0
"""The first evaluation of a run in minutes is no later than this."""
EVALUATION_SHARE = 0.03
MAX_EVALUATION_CHARACTERS = 200_000
MAX_EVALUATION_LOGITS = 1 << 25
"""How many logits an evaluation holds at once; large vocabularies are scored in shorter pieces."""
WARM_CHARACTERS = 256
PROBE_CHARACTERS = 256
SAMPLE_CHARACTERS = 80
LOG_SECONDS = 1.0
LARGEST_NORM = 1e20
"""Norms of gradients are watched up to this, so that their sums stay finite."""
SNAPSHOT_SECONDS = 5.0
"""How old the state that a divergence goes back to may be."""


class Store(Protocol):
    """Where checkpoints go; `charrnn.rundir.RunDirectory` is one."""

    def save(self, kind: str, checkpoint: Checkpoint) -> Path:
        """Keep ``checkpoint`` as the run's ``best`` or ``last`` and say where; `CharrnnError` if that fails."""

    def load(self, kind: str) -> Checkpoint | None:
        """Give back what was kept as ``kind``; None if it is gone."""


def evaluate(
    model: CharRNN, ids: NDArray[Any], start: int, characters: int, precision: str = "fp32", workers: Workers | None = None
) -> float:
    """Mean loss of ``ids[start : start + characters]`` in nats per character, the state carried throughout.

    The text is cut into shards that run in parallel; each shard's state is first warmed on the 256 characters before
    it. ``start`` >= 1, because the first character is predicted from the one before it. ``workers`` share the shards.
    """
    workers = workers or Workers(1)
    device = model.head.weight.device
    shards = max(1, min(128 if device.type == "cpu" else 1024, characters // 1024))
    length = -(-characters // shards)
    warm = min(WARM_CHARACTERS, start - 1)
    begins = start + length * np.arange(shards)[:, None]  # (N, 1)
    end = start + characters
    piece = max(1, min(128, MAX_EVALUATION_LOGITS // (shards * model.config.vocab_size)))

    @torch.inference_mode()
    def total(share: slice) -> float:
        targets_from = begins[share]
        state, loss = model.initial_state(len(targets_from)), 0.0
        with autocast(device, precision):
            for offset in range(-warm, length, piece):
                # Positions of the targets, (N, T); the inputs stand one before.
                positions = targets_from + np.arange(offset, min(offset + piece, length))
                counted = (positions >= targets_from) & (positions < end)
                clipped = np.minimum(positions, len(ids) - 1)
                inputs, targets = (torch.from_numpy(ids[where].astype(np.int64)).to(device) for where in (clipped - 1, clipped))
                logits, state = model(inputs, state)
                losses = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
                loss += float((losses * torch.from_numpy(counted.ravel()).to(device)).sum())
        return loss

    return sum(workers.map(total, workers.shares(shards))) / characters


def carried_over(
    trained: Checkpoint, vocabulary: Vocabulary, fresh: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """The weights of ``trained`` for another vocabulary: rows of the embedding and the head move with their character.

    Characters that ``trained`` doesn't know keep their rows of ``fresh``.
    """
    was, now = ({symbol: row for row, symbol in enumerate(symbols(v))} for v in (trained.vocabulary, vocabulary))
    pairs = [(row, was[symbol]) for symbol, row in now.items() if symbol in was]
    rows, sources = (np.array(column, dtype=np.intp) for column in zip(*pairs, strict=True))
    weights = {name: np.array(value) for name, value in trained.weights.items()}
    for name in ("embedding.weight", "head.weight", "head.bias"):
        weights[name] = np.array(fresh[name])
        weights[name][rows] = trained.weights[name][sources]
    return weights


def symbols(vocabulary: Vocabulary) -> list[int | str | None]:
    """What each id stands for; None is the unknown character."""
    return list(range(256)) if vocabulary.level == "byte" else [*vocabulary.characters, None]


@dataclass
class Progress:
    """Where a run stands; together with the tensors of a snapshot all that is needed to go on."""

    step: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    schedule_from: float = 0.0  # in steps, or in seconds where minutes are the budget
    next_mark: int = 0
    eval_characters: int = 0
    best_val_bits_per_char: float | None = None
    optimizer_steps: int = 0
    attempt: int = 1  # one more with every rewind, and with every learning rate given on resume
    rewinds: int = 0  # since the latest learning rate was given
    rate_scale: float = 1.0  # halved by a rewind
    loss_scale: float = 65536.0
    loss_scale_growth: int = 0
    watched_steps: float = 0.0  # since the latest evaluation, with the sum of their gradients' norms and how many were clipped
    watched_norms: float = 0.0
    watched_clips: float = 0.0


def read_training_state(snapshot: Checkpoint) -> tuple[TrainConfig, Progress]:
    """The settings and the progress that a ``last`` checkpoint holds; `CharrnnError` naming its file if it holds none."""
    facts = snapshot.training
    try:
        # Runs of before `rewinds` began an attempt with a rewind only.
        known = {"rewinds": facts["progress"].get("attempt", 1) - 1, **facts["progress"]}
        config, progress = TrainConfig.from_json(facts["config"]), Progress(**known)
        for name, default in vars(Progress()).items():
            value = getattr(progress, name)
            if default is None and value is None:
                continue
            limit = math.inf if name in ("best_val_bits_per_char", "watched_norms") else MANY
            if type(value) not in ((int,) if type(default) is int else (int, float)) or not 0 <= value < limit:
                raise ValueError(name)
        if not all(isinstance(path, str) for path in facts.get("corpus_paths", [])):
            raise TypeError("corpus_paths")
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise CharrnnError(f"{snapshot.path}: holds no sound training state to go on with; see --init-from") from error
    return config, progress


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
        resume: Checkpoint | None = None,
        initial: Checkpoint | None = None,
        plan: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            model_config: the network's shape.
            config: the run's settings.
            corpus: the text.
            clock: seconds since the process began.
            stop: asked before each step; a reason ("interrupted", "terminated") ends the run.
            resume: the ``last`` checkpoint of a run to go on with.
            initial: a trained network whose weights a new run starts from; of the same shape but for the vocabulary.
            plan: why the settings are what they are, to be kept; a resumed run keeps its own.

        Raises:
            CharrnnError: the device isn't there, or ``resume`` doesn't fit the network or the text.
            UsageError: the precision isn't to be had on the device.
        """
        self.config, self.corpus, self.vocabulary = config, corpus, corpus.vocabulary
        self.device = choose_device(config.device)
        self.precision = choose_precision(config.precision, self.device)
        self._clock, self._stop = clock, stop
        self._plan = plan if resume is None else resume.training.get("plan")
        prepare(self.device, self.precision)
        self.model = CharRNN(model_config, torch.Generator().manual_seed(config.seed)).to(self.device)
        self._parameters = list(self.model.weights().values())
        self._optimizer = Optimizer(self.model.weights(), model_config, config, self.precision)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self._mask_generator = torch.Generator(self.device)
        self.streams = Streams(
            corpus.ids[: corpus.train_characters], config.batch_size, config.bptt, config.seed, config.groups
        )
        self.progress = Progress()
        self.state = self.model.initial_state(self.streams.columns)
        count = choose_workers(config.workers, self.device, model_config.cell, self.streams.batch_size)
        self._workers = Workers(count)
        if self.device.type == "cpu":
            # Whoever goes on with the run adds up in the same order, whatever cores there are then.
            self.config = replace(config, workers=count)
        self.total_steps = config.steps or (
            max(1, round(config.epochs * self.streams.chunks_per_epoch)) if config.epochs is not None else None
        )
        self._watched = torch.zeros(3, device=self.device)  # steps, norms and clips since the latest evaluation
        self._before = 0.0  # seconds of the processes before this one
        self._evaluation_seconds = 0.0
        self.made_longer = False
        self._best: Checkpoint | None = None
        self._best_path: Path | None = None
        self._unsaved: dict[str, Checkpoint] = {}  # what could not be written, by kind
        if initial is not None:
            self.model.load(carried_over(initial, self.vocabulary, self.model.export()))
        if resume is not None:
            self._restore(resume)
            self._before = self.progress.seconds

    # -- what the outside asks ------------------------------------------------------------------------------------

    def describe(self) -> Event:
        """The part of the ``start`` event that the run itself knows."""
        return {
            "characters": len(self.corpus.ids),
            "vocab_size": self.vocabulary.size,
            "train_characters": self.corpus.train_characters,
            "val_characters": self.corpus.val_characters,
            "parameters": self.model.config.parameters,
            "device": self.device.type,
            "precision": self.precision,
            "workers": self._workers.count,
            "plan": self._plan,
            "config": {**self.config.to_json(), "model": self.model.config.to_json()},
        }

    def warnings(self) -> Iterator[Event]:
        """What the user should know before the run."""
        asked, got = (self.config.batch_size, self.config.bptt), (self.streams.batch_size, self.streams.bptt)
        less = []
        if asked != got:
            less.append(f"{got[0]} columns x {got[1]} characters per step instead of {asked[0]} x {asked[1]}")
        if (groups := self.streams.groups) != self.config.groups:
            less.append(f"{groups} {'group' if groups == 1 else 'groups'} of columns instead of {self.config.groups}")
        if less:
            yield _warning(f"a short text ({self.corpus.train_characters:,} characters to train on): {' and '.join(less)}")
        if not self.corpus.val_characters:
            yield _warning("no validation text: best.safetensors is whatever was saved last")

    @property
    def seconds(self) -> float:
        """Seconds of this run so far, in all its processes."""
        return self._before + self._clock()

    @property
    def epochs(self) -> float:
        """Passes over the training text so far."""
        return self.progress.step / self.streams.chunks_per_epoch

    def run(self, store: Store) -> Iterator[Event]:
        """Train to the end of the budget or until stopped; yields the events from the first ``step`` to ``end``."""
        with self._workers.working():
            yield from self._run(store)

    def _run(self, store: Store) -> Iterator[Event]:
        if self.progress.step == 0:
            self.progress.schedule_from = self._position(self.seconds)
        if self.progress.step > 0:
            self._adopt_best(store.load("best"))
        reason, saved_at, evaluated_at, snapshot_at = "", self.seconds, -1, self.seconds
        log = _StepLog(self.seconds, self.progress.step)
        good = self.snapshot()
        while not reason:
            begun = self.seconds
            # However short the time, one step is made.
            reason = self._stop() or ("finished" if self._fraction(begun) >= 1 and self.progress.step > 0 else "")
            if not reason:
                loss, watched = self._train_step(self._learning_rate(begun))
            now = self.seconds
            if self.device.type != "cpu" and log.due(self.progress.step + 1, now, self.config.log_every):
                torch.accelerator.synchronize()  # The steps since the last event have only been queued so far.
                now = self.seconds
            if not reason:
                self.progress.step += 1
                self.progress.train_seconds += now - begun
                log.add(loss, watched, now - begun)
            logging = not reason and log.due(self.progress.step, now, self.config.log_every)
            evaluating = (
                self._evaluation_due(now) if not reason else reason == "finished" and evaluated_at != self.progress.step
            )
            # An evaluation is a good moment to save, so that a short run too can be resumed when it is killed.
            saving = bool(reason) or now - saved_at >= min(self.config.save_every, 5.0 if evaluating else math.inf)
            if not (logging or evaluating or saving):
                continue
            # Losses are looked at only here, so that no step waits for the device; nothing unsound is evaluated or saved.
            aged = evaluating or saving or now - snapshot_at >= SNAPSHOT_SECONDS
            snapshot = self.snapshot() if aged else good
            if not (log.is_sound(self._explosion(now)) and _is_finite(snapshot)):
                again = self.progress.rewinds > 0
                yield self._rewind(good)
                log, reason, evaluated_at, saved_at = _StepLog(now, self.progress.step), "", -1, now
                yield from self._save(store)
                if again:
                    reason = "diverged"
                    break
                good = self.snapshot()
                continue
            if aged:
                good, snapshot_at = snapshot, now
            if logging:
                yield log.event(self, now)
            if evaluating:
                yield from self._evaluation(store)
                evaluated_at = self.progress.step
            if saving:
                yield from self._save(store)
                saved_at = self.seconds
        if reason == "finished":
            yield from self._whole_validation(store)
        yield {
            "event": "end",
            "step": self.progress.step,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "best_val_bits_per_char": self.progress.best_val_bits_per_char,
            "chars_per_second": self.progress.step * self.streams.characters_per_step / max(self.progress.train_seconds, 1e-9),
            "best_path": str(self._best_path) if self._best_path else None,
            "reason": "failed" if self._unsaved and reason != "diverged" else reason,
            "attempt": self.progress.attempt,
        }

    def _rewind(self, good: Checkpoint) -> Event:
        """Go back to ``good`` with half the learning rate; what is known of the best network stays known."""
        now = self.progress
        self._restore(good)
        p = self.progress
        p.attempt, p.rewinds, p.rate_scale = now.attempt + 1, now.rewinds + 1, now.rate_scale / 2
        p.best_val_bits_per_char, p.eval_characters, p.next_mark = (
            now.best_val_bits_per_char,
            now.eval_characters,
            now.next_mark,
        )
        if now.rewinds:
            return _warning(f"the loss diverged again, by step {now.step:,}; try a lower --lr or --grad-clip")
        return _warning(f"the loss diverged by step {now.step:,}; back to step {p.step:,} with half the learning rate")

    def _adopt_best(self, best: Checkpoint | None) -> None:
        """Go on from the best network of the processes before this one, if its file is still there and of this text."""
        p = self.progress
        if best is None or best.training.get("corpus_sha256") != self.corpus.sha256:
            p.best_val_bits_per_char = None
            return
        self._best, self._best_path = best, best.path
        # A process that was killed may have found it after its last save.
        bits, scored = best.training.get("val_bits_per_char"), best.training.get("val_scored_characters")
        if isinstance(bits, float) and isinstance(scored, int) and scored == (p.eval_characters or scored):
            p.best_val_bits_per_char = min(bits, p.best_val_bits_per_char or math.inf)
            p.eval_characters = scored

    def _explosion(self, seconds: float) -> float:
        """The loss in nats from which training counts as diverged: after warm-up three times that of a uniform guess."""
        return 3 * math.log(self.vocabulary.size) if self._fraction(seconds) > WARM_UP else math.inf

    # -- one step -------------------------------------------------------------------------------------------------

    def _train_step(self, lr: float) -> tuple[Tensor, Tensor]:
        """One update: the loss, and (3,) a one, the gradient's norm before clipping, and whether it was clipped."""
        batch, N = self.streams.batch(self.progress.step), self.streams.batch_size
        if batch.first:
            self.state.zero_()
        inputs, targets = (torch.from_numpy(part.astype(np.int64)).to(self.device) for part in (batch.inputs, batch.targets))
        self._mask_generator.manual_seed(_key(self.config.seed, self.progress.step))
        fresh = torch.rand(N, 1, generator=self._mask_generator, device=self.device) < RESET_SHARE
        # Drawn for all columns, however they are shared out.
        masks = self.model.dropout_masks(N, self.config.dropouts, self._mask_generator)

        loss, self.state[:, :, batch.rows], found = gradients.of_chunk(
            self.model,
            inputs,
            targets,
            self.state[:, :, batch.rows].masked_fill(fresh, 0.0),
            masks,
            precision=self.precision,
            workers=self._workers,
            scale=self._scaler.scale,
        )
        for parameter, gradient in zip(self._parameters, found, strict=True):
            parameter.grad = gradient
        self._optimizer.take_gradients(self._scaler)
        grad_norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.grad_clip)
        clipped = grad_norm > self.config.grad_clip
        if not self._scaler.is_enabled() or torch.isfinite(grad_norm):
            self._optimizer.step(lr, self._workers)
        self._scaler.update()
        # Steps that fp16's loss scaling skips have infinite gradients.
        norm = grad_norm.detach().nan_to_num(nan=0.0, posinf=0.0).clamp(max=LARGEST_NORM)
        watched = torch.stack([torch.ones_like(norm), norm, clipped.to(norm.dtype)])
        self._watched = self._watched + watched
        return loss, watched

    # -- the budget -----------------------------------------------------------------------------------------------

    def _end(self) -> float:
        if self.total_steps is not None:
            return self.total_steps
        assert self.config.minutes is not None
        end = 60 * self.config.minutes
        # Room for the last evaluation and save; the latest evaluation has measured what a character costs. Should it have met
        # a stall of the machine, its part is held to its share.
        p = self.progress
        whole = self.corpus.val_characters if self.corpus.val_characters > p.eval_characters else 0
        per_character = self._evaluation_seconds / p.eval_characters if p.eval_characters else 0.0
        closing = min(per_character * p.eval_characters, EVALUATION_SHARE * end) + per_character * whole + 0.2
        return max(end - closing, end / 2)

    def _position(self, seconds: float) -> float:
        return float(self.progress.step) if self.total_steps is not None else seconds

    def _fraction(self, seconds: float) -> float:
        """The share of the budget that is used up."""
        start = self.progress.schedule_from
        return (self._position(seconds) - start) / max(self._end() - start, 1e-9)

    @property
    def learning_rate(self) -> float:
        """The rate of the latest step."""
        return self._optimizer.lr

    def expected_steps(self, seconds: float) -> int:
        """How many steps the run will have made at its end; an estimate where minutes are the budget."""
        if self.total_steps is not None:
            return self.total_steps
        return max(self.progress.step, round(self.progress.step / max(self._fraction(seconds), 1e-3)))

    def _learning_rate(self, seconds: float) -> float:
        fraction = self._fraction(seconds)
        if self.total_steps is not None:
            fraction += 0.5 / max(1, self.total_steps)  # so that the first step's rate is not 0
        fraction = min(fraction, 1.0)
        peak = self.config.lr * self.progress.rate_scale
        if fraction < WARM_UP:
            return peak * fraction / WARM_UP
        along = (fraction - WARM_UP) / (1 - WARM_UP)
        return peak * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * along)))

    # -- evaluation -----------------------------------------------------------------------------------------------

    def _evaluation_due(self, now: float) -> bool:
        if self.config.eval_every is not None:
            return self.progress.step % self.config.eval_every == 0
        mark = self.progress.next_mark
        if mark == 0 and self.total_steps is None and now - self.progress.schedule_from >= EARLY_SECONDS:
            return True
        return mark < len(EVALUATION_MARKS) and self._fraction(now) >= EVALUATION_MARKS[mark]

    def _evaluation(self, store: Store) -> Iterator[Event]:
        p, corpus = self.progress, self.corpus
        begun = self.seconds
        fraction = self._fraction(begun)
        p.next_mark = max(1, sum(mark <= fraction for mark in EVALUATION_MARKS))
        bits: float | None = None
        if corpus.val_characters:
            p.eval_characters = p.eval_characters or self._affordable_characters(fraction)
            bits = self._validate(p.eval_characters)
        improved = bits is not None and (p.best_val_bits_per_char is None or bits < p.best_val_bits_per_char)
        with np.errstate(over="ignore", invalid="ignore"):  # Huge weights are dealt with where losses are looked at.
            network = Network(self.model.config, self.model.export())
            seen, text = advice.measure(network, self._probe()), self._sample(network)
        steps, norms, clips = self._watched.tolist()
        self._watched = torch.zeros_like(self._watched)
        self._evaluation_seconds = self.seconds - begun
        event = {
            "event": "eval",
            "step": p.step,
            "seconds": self.seconds,
            "val_bits_per_char": bits,
            "best": improved,
            "attempt": p.attempt,
            **seen,
            "grad_norm": norms / steps if steps else None,
            "clipped": clips / steps if steps else None,
        }
        yield event | {"advice": advice.advise(event, self.model.config.cell)}
        yield {"event": "sample", "step": p.step, "text": text, "attempt": p.attempt}
        if improved:
            p.best_val_bits_per_char = bits
            yield from self._save_best(store)

    def _validate(self, characters: int) -> float | None:
        """Bits per character of the first ``characters`` of the validation text; None if that is not finite."""
        nats = evaluate(self.model, self.corpus.ids, self.corpus.train_characters, characters, self.precision, self._workers)
        return nats / math.log(2) if math.isfinite(nats) else None

    def _affordable_characters(self, fraction: float) -> int:
        """How much validation text keeps all evaluations within 3 % of the run; a pure function where steps are counted.

        A character costs about a quarter of a training character to evaluate.
        """
        p, per_step = self.progress, self.streams.characters_per_step
        total = self.total_steps if self.total_steps is not None else p.step / max(fraction, 1e-3)
        between = self.config.eval_every or total / (len(EVALUATION_MARKS) + 2)
        affordable = max(int(EVALUATION_SHARE * 4 * between * per_step), 2000)
        return min(self.corpus.val_characters, MAX_EVALUATION_CHARACTERS, affordable)

    def _whole_validation(self, store: Store) -> Iterator[Event]:
        """Score the best weights on the whole validation text, if the evaluations so far saw only a part of it."""
        p, corpus = self.progress, self.corpus
        best = self._best
        if best is None or not 0 < p.eval_characters < corpus.val_characters:
            return
        begun = self.seconds
        self.model.load(best.weights)
        bits = self._validate(corpus.val_characters)
        if bits is None:
            return
        p.best_val_bits_per_char = bits
        yield from self._keep(
            store,
            "best",
            replace(
                best, training={**best.training, "val_bits_per_char": bits, "val_scored_characters": corpus.val_characters}
            ),
        )
        took = self.seconds - begun
        if took > 2 * EVALUATION_SHARE * self.seconds:
            yield _warning(
                f"the final validation of {corpus.val_characters:,} characters took {took:.0f} of {self.seconds:.0f} seconds;"
                " a smaller --val-fraction leaves more of them for training"
            )

    def _probe(self) -> NDArray[Any]:
        """The fixed piece of text on which the hidden state is watched, (T,): where validation starts, or training ends."""
        ids, border = self.corpus.ids, self.corpus.train_characters
        piece = ids[border : border + PROBE_CHARACTERS] if self.corpus.val_characters else ids[-PROBE_CHARACTERS:]
        return np.asarray(piece)

    def _sample(self, network: Network) -> str:
        rng = np.random.default_rng((self.config.seed, self.progress.step))
        sampler = Sampler(rng, Drawing(temperature=0.8, banned=self.vocabulary.unknown))
        logits, state = prime(network, opening(self.vocabulary))
        return self.vocabulary.decode(itertools.islice(generate(network, logits, state, sampler), SAMPLE_CHARACTERS))

    # -- snapshots ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Checkpoint:
        """Everything needed to go on: the ``last`` checkpoint."""
        p = self.progress
        moments, p.optimizer_steps = self._optimizer.state()
        if self._scaler.is_enabled():
            scaler = self._scaler.state_dict()
            p.loss_scale, p.loss_scale_growth = float(scaler["scale"]), int(scaler["_growth_tracker"])
        p.seconds = self.seconds
        p.watched_steps, p.watched_norms, p.watched_clips = self._watched.tolist()
        return Checkpoint(
            self.model.config,
            self.vocabulary,
            {**self._facts(), "corpus_paths": list(self.corpus.paths), "progress": dict(vars(p))},
            self.model.export(),
            {name: _array(tensor) for name, tensor in {"state": self.state, **moments}.items()},
        )

    def _facts(self) -> dict[str, Any]:
        return {
            **self.corpus.facts(),
            "characters": len(self.corpus.ids),
            "config": self.config.to_json(),
            "plan": self._plan,
            "seed": self.config.seed,
            "step": self.progress.step,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "val_bits_per_char": self.progress.best_val_bits_per_char,
            "val_scored_characters": self.progress.eval_characters,
        }

    def _restore(self, snapshot: Checkpoint) -> None:
        shapes: dict[str, tuple[int, ...]] = {"state": tuple(self.state.shape)}
        shapes |= self._optimizer.state_shapes()
        stored, p = read_training_state(snapshot)
        p.eval_characters = min(p.eval_characters, self.corpus.val_characters)
        self.progress = p
        self._watched = torch.tensor([p.watched_steps, p.watched_norms, p.watched_clips], device=self.device)
        tensors: dict[str, Tensor] = {}
        for name, shape in shapes.items():
            found = snapshot.extra.get(name)
            if name == "state" and found is not None and self._reads_other_columns(snapshot, found.shape):
                tensors[name] = self.state
                continue
            if found is None or found.shape != shape or found.dtype != np.float32:
                raise CharrnnError(f"{snapshot.path}: its training state ({name}) doesn't fit this network and text")
            tensors[name] = torch.from_numpy(np.array(found))
        self.model.load(snapshot.weights)
        self.state = tensors.pop("state").to(self.device)
        self._optimizer.restore(tensors, p.optimizer_steps)
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(
                {**self._scaler.state_dict(), "scale": p.loss_scale, "_growth_tracker": p.loss_scale_growth}
            )
        length = (self.config.steps, self.config.epochs, self.config.minutes)
        if self.config.lr != stored.lr:
            p.rate_scale, p.rewinds, p.attempt = 1.0, 0, p.attempt + 1
        if length != (stored.steps, stored.epochs, stored.minutes):
            if self._position(p.seconds + self._clock()) >= self._end():
                had = f"made {p.step:,} steps" if self.total_steps is not None else f"taken {p.seconds / 60:.2f} minutes"
                raise UsageError(f"the run has {had} already; give a length beyond that, it counts from the run's beginning")
            # A run made longer warms up again and decays over the part that was added.
            p.schedule_from, p.next_mark = self._position(p.seconds), 0
            self.made_longer = True

    def _reads_other_columns(self, snapshot: Checkpoint, shape: tuple[int, ...]) -> bool:
        """Whether the text has grown or shrunk to another number of columns, whose states then begin at zero."""
        own = tuple(self.state.shape)
        changed = snapshot.training.get("corpus_sha256") != self.corpus.sha256
        return changed and shape != own and (*shape[:2], *shape[3:]) == (*own[:2], *own[3:])

    def _save(self, store: Store) -> Iterator[Event]:
        if "best" in self._unsaved:
            yield from self._keep(store, "best", self._unsaved["best"])
        elif not self.corpus.val_characters or self._best is None:
            yield from self._save_best(store)
        elif store.load("best") is None:  # removed while running
            yield from self._keep(store, "best", self._best)
        yield from self._keep(store, "last", self.snapshot())

    def _save_best(self, store: Store) -> Iterator[Event]:
        yield from self._keep(store, "best", Checkpoint(self.model.config, self.vocabulary, self._facts(), self.model.export()))

    def _keep(self, store: Store, kind: str, checkpoint: Checkpoint) -> Iterator[Event]:
        """Write ``checkpoint``; a failure is told, and the next save tries again."""
        if kind == "best":
            self._best = checkpoint
        try:
            path = store.save(kind, checkpoint)
        except CharrnnError as error:
            self._unsaved[kind] = checkpoint
            yield _warning(f"{error}; the next save tries again")
            return
        self._unsaved.pop(kind, None)
        if kind == "best":
            self._best_path = path
        yield {"event": "saved", "path": str(path), "kind": kind}


class _StepLog:
    """Losses and gradient norms since the last ``step`` event, summed on the device so that no step waits for it."""

    def __init__(self, now: float, step: int) -> None:
        self._at, self._first = now, step
        self._clear()

    def _clear(self) -> None:
        self._steps = 0
        self._loss: Tensor | float = 0.0
        self._watched: Tensor | float = 0.0
        self._train_seconds = 0.0

    def add(self, loss: Tensor, watched: Tensor, seconds: float) -> None:
        self._steps += 1
        self._loss = self._loss + loss
        self._watched = self._watched + watched
        self._train_seconds += seconds

    def due(self, step: int, now: float, every: int | None) -> bool:
        if every is not None:
            return step % every == 0
        # The first step's event shows at once that the run is alive.
        return step == self._first + 1 or now - self._at >= LOG_SECONDS

    def is_sound(self, limit: float) -> bool:
        """Whether all losses are finite and their mean, in nats, is at most ``limit``."""
        return self._steps == 0 or (math.isfinite(self._loss) and float(self._loss) / self._steps <= limit)

    def event(self, trainer: Trainer, now: float) -> Event:
        p = trainer.progress
        assert isinstance(self._watched, Tensor)
        _, norms, clips = self._watched.tolist()
        event = {
            "event": "step",
            "step": p.step,
            "steps": trainer.expected_steps(now),
            "epoch": trainer.epochs,
            "seconds": now,
            "bits_per_char": float(self._loss) / self._steps / math.log(2),
            "learning_rate": trainer.learning_rate,
            "grad_norm": norms / self._steps,
            "clipped": clips / self._steps,
            "attempt": p.attempt,
            "chars_per_second": self._steps * trainer.streams.characters_per_step / max(self._train_seconds, 1e-9),
        }
        self._at = now
        self._clear()
        return event


def _key(seed: int, step: int) -> int:
    """A generator seed that differs for every (seed, step)."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().to("cpu", torch.float32, copy=True).numpy()


def _is_finite(snapshot: Checkpoint) -> bool:
    return all(np.isfinite(array).all() for part in (snapshot.weights, snapshot.extra) for array in part.values())


def _warning(text: str) -> Event:
    return {"event": "warning", "text": text}
