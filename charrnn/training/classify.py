"""A classifier that learns: network and head together, from labelled texts, within a time or a number of passes.

A batch, its dropout and its typos follow from the seed and the number of the step. The weights that count are a moving average
of those that learn; the ones with the lowest loss on the texts kept for validation are kept.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from charrnn.analysis import calibration
from charrnn.config import FEATURES, ClassifierConfig, ModelConfig
from charrnn.training import device
from charrnn.training.classify_recipe import Plan
from charrnn.training.processes import Processes, Shapes, can_fork
from charrnn.training.text_classifier import TextClassifier, exported, loaded, part
from charrnn.training.workers import Workers

RACE = 0.2
"""The share of a run in which features are tried beside each other; then the best one goes on alone."""
PRETRAINING = 0.25
"""The share of a run that ``--pretrain`` spends on predicting characters."""
WARM_UP, FLOOR = 0.03, 0.01
EVALUATIONS = 25
PATIENCE = 0.3
"""A run ends where for this share of it nothing has become better."""
AVERAGED = 0.99
"""How much of the moving average of the weights stays at a step."""
CLIP = 1.0
TOGETHER = 256

Ids = NDArray[np.integer]


@dataclass(frozen=True)
class Examples:
    """Texts as ids, with their labels (N,)."""

    ids: Sequence[NDArray[np.uint32]]
    labels: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.ids)


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
        teacher: Callable[[Sequence[Ids]], NDArray[np.floating]] | None = None,
    ) -> None:
        """``initial`` are weights to start from; ``unknown`` and ``blank`` the ids of the unknown character and of a space.

        A ``teacher`` says how likely the labels of texts are, (N, C), also of texts put together from others.
        """
        self.plan, self._train, self._val, self._unknown, self._blank = plan, train, val, unknown, blank
        self._teacher = teacher
        self._network = TextClassifier(model, config, features, labels, torch.Generator().manual_seed(plan.seed))
        if initial is not None:
            named = self._network.named(features[0])
            loaded(named, {name: value for name, value in initial.items() if name in named and not name.startswith("head.")})
        self._parameters = self._network.learned(characters=plan.pretrain)
        self._average = [value.detach().clone() for value in self._parameters]
        self._weights = _label_weights(train.labels, labels, plan.balance)
        self._prior = torch.log(self._weights)  # Labels that counted more are made as rare again as they are.
        self._lengths = np.array([len(ids) for ids in train.ids])
        self._longest = int(self._lengths.max()) + 8  # A text may become longer by typos.
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
        with _Working(self, self._longest) as processes:
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
                    if share - self.best.share > PATIENCE and len(self._val):
                        break
                self._learn(optimizer, share, per_epoch, processes)
        if len(self._live) > 1:
            self._choose(1.0)
        yield self._evaluated(1.0, self.step / per_epoch)

    @property
    def steps_per_epoch(self) -> int:
        """How many batches a pass over the texts has."""
        return len(self._batches(0))

    @property
    def _pretraining(self) -> float:
        return PRETRAINING if self.plan.pretrain else 0.0

    def _optimizer(self) -> torch.optim.AdamW:
        matrices = [value for value in self._parameters if value.ndim > 1]
        others = [value for value in self._parameters if value.ndim == 1]
        groups = [{"params": matrices, "weight_decay": self.plan.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.plan.lr, betas=(0.9, 0.99))

    def _learn(self, optimizer: torch.optim.AdamW, share: float, per_epoch: int, processes: Processes | None) -> None:
        """One step."""
        plan, step = self.plan, self.step
        batch = self._batches(step // per_epoch)[step % per_epoch]
        rng = np.random.default_rng((plan.seed, 1, step))
        alike = [self._varied(i, rng) for i in batch]
        varied = [with_typos(one, plan.typos, self._unknown, self._known, rng) for one, _ in alike]
        ids = [one if len(one) <= self._longest else np.append(one[: self._longest - 1], one[-1]) for one in varied]
        inputs, lengths = padded(ids)
        targets = torch.zeros(inputs.shape, dtype=torch.int64)
        targets[:, 0], targets[:, 1] = torch.from_numpy(self._train.labels[batch]), lengths
        masks = self._masks(len(batch), share, torch.Generator().manual_seed(plan.seed + step))
        if self._teacher is not None:
            masks[-1][:, 0, :-1] = torch.from_numpy(self._teacher(ids).astype(np.float32))
            masks[-1][:, 0, -1] = torch.tensor([1.0 if mixed else plan.teaching for _, mixed in alike])
        arguments = inputs, targets, torch.zeros(1, 1, len(batch), 1), masks, len(batch)
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

    def _varied(self, number: int, rng: np.random.Generator) -> tuple[Ids, bool]:
        """A text, perhaps with the end of another one, and without some words; whether the teacher must say what it is."""
        ids: Ids = self._train.ids[number]
        plan, mixed = self.plan, False
        if self._teacher is not None and rng.random() < plan.splices:
            ids, mixed = spliced(ids, self._train.ids[int(rng.integers(len(self._train)))], self._blank, rng), True
        return (ids if self._blank is None else without_words(ids, plan.lost_words, self._blank, rng)), mixed

    @functools.cached_property
    def _part(self) -> Callable[..., tuple[Tensor, Tensor, Sequence[Tensor]]]:
        return functools.partial(part, self._network, self._weights, self._parameters, precision=self._precision)

    @functools.cached_property
    def _known(self) -> int:
        """How many characters there are beside the unknown one."""
        return self._network.forwards.config.vocab_size - (self._unknown is not None)

    def _masks(self, rows: int, share: float, generator: torch.Generator) -> list[Tensor]:
        model, plan = self._network.forwards.config, self.plan
        units = 2 * model.hidden_size * (2 if self._network.config.bidirectional else 1)
        shapes = [(model.embedding_size, plan.dropout_input), (units, plan.dropout)]
        dropped = [(torch.rand(rows, 1, size, generator=generator) >= lost).float().div_(1 - lost) for size, lost in shapes]
        foretelling = self.plan.pretrain and share < self._pretraining
        heads = [0.0 if foretelling or name not in self._live else 1 / len(self._live) for name in self._network.features]
        shares = torch.tensor([*heads, float(foretelling)]).expand(rows, 1, -1).contiguous()
        return [*dropped, shares, torch.zeros(rows, 1, len(self._weights) + 1)]

    def _batches(self, epoch: int) -> list[NDArray[np.intp]]:
        """The texts of each batch of an epoch: some of like length, in an order of chance."""
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, batches(self._lengths, self.plan.batch_size, np.random.default_rng((self.plan.seed, 0, epoch)))
        return self._order[1]

    _order: tuple[int, list[NDArray[np.intp]]] | None = None

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


# -- batches ------------------------------------------------------------------------------------------------------------

MIXED = 50
"""The texts of so many batches are sorted by length together."""


def batches(lengths: NDArray[np.intp], rows: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Every text once, ``rows`` of like length side by side; which are together, and when, is chance."""
    order, found = rng.permutation(len(lengths)), list[NDArray[np.intp]]()
    for start in range(0, len(order), rows * MIXED):
        some = order[start : start + rows * MIXED]
        some = some[np.argsort(lengths[some], kind="stable")]
        found += [some[first : first + rows] for first in range(0, len(some), rows)]
    return [found[place] for place in rng.permutation(len(found))]


def padded(ids: Sequence[NDArray[np.integer]]) -> tuple[Tensor, Tensor]:
    """Texts side by side (N, T), zeros behind their ends, and their lengths (N,)."""
    lengths = np.array([len(one) for one in ids])
    together = np.zeros((len(ids), int(lengths.max())), dtype=np.int64)
    together[np.arange(together.shape[1]) < lengths[:, None]] = np.concatenate(ids)
    return torch.from_numpy(together), torch.from_numpy(lengths)


def spliced(first: Ids, second: Ids, blank: int | None, rng: np.random.Generator) -> Ids:
    """The beginning of one text and the end of another, each cut between words if both have several, else anywhere."""
    cuts = [np.flatnonzero(ids == blank) for ids in (first, second)]
    if not all(map(len, cuts)):
        cuts = [np.arange(1, len(ids) - 1) for ids in (first, second)]
        if not all(map(len, cuts)):
            return first
    before, behind = (int(places[rng.integers(len(places))]) for places in cuts)
    return np.concatenate([first[:before], second[behind:]])


def without_words(ids: Ids, share: float, blank: int, rng: np.random.Generator) -> Ids:
    """A text that lacks a ``share`` of its words, at least one of which stays."""
    ends = np.flatnonzero(ids[1:-1] == blank) + 1
    lost = rng.random(len(ends) + 1) < share
    if not len(ends) or not lost.any() or lost.all():
        return ids
    # A word goes with the blank behind it; of the last one the blank before it stays.
    word = np.concatenate([[0], np.searchsorted(ends, np.arange(1, len(ids) - 1), side="left"), [0]])
    kept = ~lost[word]
    kept[0] = kept[-1] = True
    return np.asarray(ids[kept])


def with_typos(
    ids: NDArray[np.integer], share: float, unknown: int | None, known: int, rng: np.random.Generator
) -> NDArray[np.integer]:
    """A text in which a ``share`` of the characters is mistyped: lost, doubled, changed with the next, another, unknown."""
    wrong = rng.random(len(ids)) < share
    wrong[0] = wrong[-1] = False  # The marks of beginning and end.
    if not wrong.any():
        return ids
    kinds = np.where(wrong, rng.integers(1, 6, len(ids)), 0)
    found = ids.copy()
    for place in np.flatnonzero((kinds == 3) & (np.arange(len(ids)) < len(ids) - 2)):
        found[place], found[place + 1] = found[place + 1], found[place]
    others = kinds == 4
    found[others] = rng.integers(0, known, int(others.sum()))
    if unknown is not None:
        found[kinds == 5] = unknown
    kept = np.where(kinds == 1, 0, np.where(kinds == 2, 2, 1))
    return np.repeat(found, kept)
