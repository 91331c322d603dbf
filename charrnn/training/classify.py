"""A classifier that learns: network and head together, from labelled texts, within a time or a number of passes.

A batch, its dropout and its typos follow from the seed and the number of the step. The weights that count are a moving average
of those that learn; the ones with the lowest loss on the texts kept for validation are kept.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from charrnn.analysis import calibration
from charrnn.classifier_config import FEATURES, ClassifierConfig
from charrnn.config import ModelConfig
from charrnn.training import device
from charrnn.training.augmentation import AHEAD, Batches, Examples, Teacher
from charrnn.training.children import can_fork
from charrnn.training.classify_recipe import Plan
from charrnn.training.processes import Processes, Shapes
from charrnn.training.text_classifier import TextClassifier, exported, loaded, part
from charrnn.training.workers import Workers

RACE = 0.2
"""The share of a run in which features are tried beside each other; then the best one goes on alone."""
PRETRAINING = 0.25
"""The share of a run that ``--pretrain`` spends on predicting characters."""
WARM_UP, FLOOR = 0.03, 0.01
EVALUATIONS = 20
PATIENCE = 0.3
"""A run ends where for this share of it nothing has become better, if it has learned anything."""
LEARNED = 0.95
"""It has learned something where the loss is below so much of that of whoever knows how common the labels are.

What decides may stand far from the end; then nothing shows for a while, and all at once much does.
"""
AVERAGED = 0.99
"""How much of the moving average of the weights stays at a step."""
CLIP = 1.0
WARMING = 0.25
"""The share of a measurement of speed that warms up: it chooses kernels and takes memory."""
TOGETHER = 256
JUDGED = 2_000
"""A run is judged by so many of the validation texts at most, evenly spread, while it goes on."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands: its share done, passes over the texts, and of the validation texts accuracy and nats."""

    share: float
    epochs: float
    accuracy: float | None
    loss: float | None


@dataclass
class Best:
    """The best weights so far, what they are good for, and the temperature that fits their logits best."""

    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    feature: str = ""
    temperature: float = 1.0
    loss: float = math.inf
    share: float = 0.0
    epochs: float = 0.0


class Fit:
    """One run: `run` yields how it stands, and leaves `best`."""

    def __init__(
        self,
        model: ModelConfig,
        config: ClassifierConfig,
        plan: Plan,
        train: Examples,
        val: Examples,
        labels: int,
        features: Sequence[str] = FEATURES,
        initial: Mapping[str, NDArray[np.float32]] | None = None,
        unknown: int | None = None,
        blank: int | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        """``initial`` are weights to start from; ``unknown`` and ``blank`` the ids of the unknown character and of a space."""
        self.model, self.plan, self._val = model, plan, _judged(val)
        self._batches = Batches(train, plan, model.vocab_size - (unknown is not None), unknown, blank, teacher)
        self._network = TextClassifier(model, config, features, labels, torch.Generator().manual_seed(plan.seed))
        if initial is not None:
            named = self._network.named(features[0])
            loaded(named, {name: value for name, value in initial.items() if name in named and not name.startswith("head.")})
        self._parameters = self._network.learned(characters=plan.pretrain)
        self._average = [value.detach().clone() for value in self._parameters]
        self._weights = _label_weights(train.labels, labels, plan.balance)
        self._prior = torch.log(self._weights)  # Labels that counted more are made as rare again as they are.
        self._ignorance = _ignorance(train.labels, self._val.labels, labels)
        self._live = list(features)
        self.best, self.step = Best(feature=features[0]), 0
        self._precision = device.choose_precision("auto", torch.device("cpu"))

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run(self, elapsed: Callable[[], float], stop: Callable[[], str | None]) -> Iterator[Progress]:
        """Learn until the plan is done, nothing gets better, or ``stop`` gives a reason; ``elapsed`` are a run's seconds."""
        plan, optimizer = self.plan, self._optimizer()
        per_epoch = self.steps_per_epoch
        last_evaluated = 0.0
        began = elapsed()
        with _Working(self, self._batches.longest) as processes:
            while stop() is None:
                share = self.step / (plan.epochs * per_epoch)
                if plan.seconds is not None:
                    share = max(share, (elapsed() - began) / max(plan.seconds - began, 1e-9))
                if share >= 1:
                    break
                due = share - last_evaluated >= 1 / EVALUATIONS and self.step % max(1, min(per_epoch, 20)) == 0
                if len(self._live) > 1 and share >= RACE + self._pretraining:
                    self._choose(share)
                    due = True
                if due and share >= self._pretraining:
                    last_evaluated = share
                    yield self._evaluated(share, self.step / per_epoch)
                    if share - self.best.share > PATIENCE and self.best.loss < LEARNED * self._ignorance:
                        break
                self._learn(optimizer, share, processes)
        if len(self._live) > 1:
            self._choose(1.0)
        yield self._evaluated(1.0, self.step / per_epoch)

    def speed(self, seconds: float) -> float:
        """How many characters of the texts are learned from in a second, measured for about ``seconds``; spoils the weights."""
        optimizer, characters = self._optimizer(), 0
        with _Working(self, self._batches.longest) as processes:
            began = time.perf_counter()
            while self.step < 2 * AHEAD or time.perf_counter() - began < WARMING * seconds:
                self._learn(optimizer, 0.5, processes)
            began = time.perf_counter()
            while not characters or time.perf_counter() - began < (1 - WARMING) * seconds:
                characters += self._batches.characters(self.step)
                self._learn(optimizer, 0.5, processes)
        return characters / (time.perf_counter() - began)

    @property
    def features(self) -> tuple[str, ...]:
        """What heads may see of the states."""
        return self._network.features

    def weights(self, feature: str) -> dict[str, NDArray[np.float32]]:
        """The averaged weights as they are, with the head that sees ``feature``."""
        return self._averaged(feature)

    @property
    def steps_per_epoch(self) -> int:
        """How many batches a pass over the texts has."""
        return self._batches.per_epoch

    @property
    def _pretraining(self) -> float:
        return PRETRAINING if self.plan.pretrain else 0.0

    def _optimizer(self) -> torch.optim.AdamW:
        matrices = [value for value in self._parameters if value.ndim > 1]
        others = [value for value in self._parameters if value.ndim == 1]
        groups = [{"params": matrices, "weight_decay": self.plan.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.plan.lr, betas=(0.9, 0.99), fused=True)

    def _learn(self, optimizer: torch.optim.AdamW, share: float, processes: Processes | None) -> None:
        """One step."""
        plan, step = self.plan, self.step
        batch = self._batches.of_step(step)
        rows = len(batch.labels)
        inputs, lengths = padded(batch.ids)
        targets = torch.zeros(inputs.shape, dtype=torch.int64)
        targets[:, 0], targets[:, 1] = torch.from_numpy(batch.labels), lengths
        masks = self._masks(rows, share, torch.Generator().manual_seed(plan.seed + step))
        masks[-1][:, 0, -1] = torch.from_numpy(batch.counts)
        if batch.said is not None:
            masks[-1][:, 0, :-1] = torch.from_numpy(batch.said)
        arguments = inputs, targets, torch.zeros(1, 1, rows, 1), masks, rows
        parts = [self._part(*arguments)] if processes is None else processes.of_chunk(*arguments)
        gradients = [sum(same[1:], start=same[0]) for same in zip(*(each[2] for each in parts), strict=True)]
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self._parameters, CLIP)
        rate = plan.lr * _rate(share)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        self.step += 1
        stays = min(AVERAGED, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._average, [value.detach() for value in self._parameters], 1 - stays)

    @functools.cached_property
    def _part(self) -> Callable[..., tuple[Tensor, Tensor, Sequence[Tensor]]]:
        return functools.partial(part, self._network, self._weights, self._parameters, precision=self._precision)

    def _masks(self, rows: int, share: float, generator: torch.Generator) -> list[Tensor]:
        model, plan = self._network.forwards.config, self.plan
        units = 2 * model.hidden_size * (2 if self._network.config.bidirectional else 1)
        shapes = [(model.embedding_size, plan.dropout_input), (units, plan.dropout)]
        dropped = [(torch.rand(rows, 1, size, generator=generator) >= lost).float().div_(1 - lost) for size, lost in shapes]
        foretelling = self.plan.pretrain and share < self._pretraining
        heads = [0.0 if foretelling or name not in self._live else 1 / len(self._live) for name in self._network.features]
        shares = torch.tensor([*heads, float(foretelling)]).expand(rows, 1, -1).contiguous()
        return [*dropped, shares, torch.zeros(rows, 1, len(self._weights) + 1)]

    # -- validation ---------------------------------------------------------------------------------------------------

    def _evaluated(self, share: float, epochs: float) -> Progress:
        """How the averaged weights do; they are kept if nothing was better."""
        feature = self._live[0]
        if not len(self._val):
            self.best = Best(self._averaged(feature), feature, 1.0, math.inf, share, epochs)
            return Progress(share, epochs, None, None)
        found = {name: self._validated(logits) for name, logits in self._val_logits().items() if name in self._live}
        feature = min(found, key=lambda name: found[name][0])
        loss, accuracy, temperature = found[feature]
        if (loss < self.best.loss and len(self._live) == 1) or not self.best.weights:
            self.best = Best(self._averaged(feature), feature, temperature, loss, share, epochs)
        return Progress(share, epochs, accuracy, loss)

    def _choose(self, share: float) -> None:
        """Let the feature that does best on the validation texts go on alone."""
        losses = {name: self._validated(logits)[0] for name, logits in self._val_logits().items()} if len(self._val) else {}
        self._live = [min(losses, key=losses.__getitem__) if losses else self._network.features[-1]]
        self.best = Best(feature=self._live[0], share=share)

    def _validated(self, logits: NDArray[np.float32]) -> tuple[float, float, float]:
        """Nats at the best temperature, accuracy, and that temperature."""
        temperature = calibration.temperature(logits, self._val.labels)
        loss = calibration.nats(logits / temperature, self._val.labels)
        return loss, float((logits.argmax(axis=1) == self._val.labels).mean()), temperature

    @torch.no_grad()
    def _val_logits(self) -> dict[str, NDArray[np.float32]]:
        """The logits (N, C) of the validation texts by feature, from the averaged weights."""
        self._exchange()
        order = np.argsort([len(ids) for ids in self._val.ids], kind="stable")
        found: list[list[Tensor]] = [[] for _ in self._network.features]
        with device.autocast(torch.device("cpu"), self._precision):
            for start in range(0, len(order), TOGETHER):
                inputs, lengths = padded([self._val.ids[i] for i in order[start : start + TOGETHER]])
                for rows, one in zip(found, self._network.logits(self._network.states(inputs, lengths), lengths), strict=True):
                    rows.append(one.float() - self._prior)
        self._exchange()
        back = np.argsort(order, kind="stable")
        return {name: torch.cat(rows).numpy()[back] for name, rows in zip(self._network.features, found, strict=True)}

    @torch.no_grad()
    def _exchange(self) -> None:
        """Let the network's weights and their average change places."""
        for parameter, average in zip(self._parameters, self._average, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)

    def _averaged(self, feature: str) -> dict[str, NDArray[np.float32]]:
        self._exchange()
        weights = exported(self._network.named(feature))
        self._exchange()
        bias = "head.bias" if "head.bias" in weights else "head.2.bias"
        weights[bias] = weights[bias] - self._prior.numpy()
        return weights


class _Working:
    """The processes that share batches, where there can be any; this process computes with one thread beside them."""

    def __init__(self, fit: Fit, longest: int) -> None:
        self._fit, self._longest = fit, longest
        self._threads = torch.get_num_threads()
        self._processes: Processes | None = None

    def __enter__(self) -> Processes | None:
        device.prepare(torch.device("cpu"), self._fit._precision)
        rows, workers = self._fit.plan.batch_size, Workers(min(self._threads, max(1, self._fit.plan.batch_size // 8)))
        if workers.count == 1 or not can_fork():
            return None
        masks = [tuple(mask.shape) for mask in self._fit._masks(rows, 0.0, torch.Generator())]
        shapes = Shapes((rows, self._longest), (1, 1, rows, 1), masks)
        try:
            self._processes = Processes(self._fit._part, self._fit._parameters, workers.shares, shapes).__enter__()
        except OSError:
            return None
        torch.set_num_threads(1)
        return self._processes

    def __exit__(self, *_: object) -> None:
        if self._processes is not None:
            self._processes.close()
            torch.set_num_threads(self._threads)


def _rate(share: float) -> float:
    """The learning rate as a share of its peak: it rises in a straight line, then falls along half a cosine."""
    rising = min(1.0, (share + 0.002) / WARM_UP)
    return rising * (FLOOR + (1 - FLOOR) * (0.5 + 0.5 * math.cos(math.pi * share)))


def _label_weights(labels: NDArray[np.intp], count: int, balance: float) -> Tensor:
    """How much a text of each label counts, their mean 1."""
    counts = np.maximum(np.bincount(labels, minlength=count), 1)
    weights = (len(labels) / (count * counts)) ** balance
    return torch.from_numpy((weights * len(labels) / (weights * counts).sum()).astype(np.float32))


def _ignorance(labels: NDArray[np.intp], judged: NDArray[np.intp], count: int) -> float:
    """The nats for texts with labels ``judged`` of whoever knows how common ``labels`` are, and nothing else."""
    shares = (np.bincount(labels, minlength=count) + 0.5) / (len(labels) + 0.5 * count)
    return float(-np.log(shares[judged]).mean()) if len(judged) else 0.0


def _judged(val: Examples) -> Examples:
    """At most `JUDGED` of the validation texts."""
    some = np.linspace(0, len(val) - 1, min(len(val), JUDGED)).astype(np.intp)
    return Examples([val.ids[i] for i in some], val.labels[some])


def padded(ids: Sequence[NDArray[np.integer]]) -> tuple[Tensor, Tensor]:
    """Texts side by side (N, T), zeros behind their ends, and their lengths (N,)."""
    lengths = np.array([len(one) for one in ids])
    together = np.zeros((len(ids), int(lengths.max())), dtype=np.int64)
    together[np.arange(together.shape[1]) < lengths[:, None]] = np.concatenate(ids)
    return torch.from_numpy(together), torch.from_numpy(lengths)
