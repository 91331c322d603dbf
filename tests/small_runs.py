"""Training runs small enough for tests: a tiny text, a clock that nobody waits for, a store in memory."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_networks import OF_TORCH

from charrnn.config import ModelConfig, TrainConfig
from charrnn.declaration import limits_of
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.corpus import Corpus
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.evaluation import Validation
from charrnn.training.events import Event
from charrnn.training.model import CharRNN
from charrnn.training.ranks import ALONE, Ranks
from charrnn.training.trainer import Trainer

KERNELS: dict[str, Any] = {cell: getattr(torch.nn, cell.upper()) for cell in OF_TORCH}
OPTIMIZERS: tuple[str, ...] = limits_of(TrainConfig, "optimizer").words  # type: ignore[union-attr]
PLAIN: dict[str, Any] = {"batch_size": 4, "bptt": 8, "device": "cpu", "precision": "fp32"}
DROPOUT: dict[str, Any] = {"dropout_input": 0.1, "dropout_between": 0.2, "dropout_output": 0.3}


class Clock:
    """Advances by a fixed amount whenever it is read."""

    def __init__(self, tick: float = 0.001) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


class Store:
    """Keeps checkpoints in memory, all of them in order."""

    def __init__(self) -> None:
        self.saved: list[tuple[str, Checkpoint]] = []

    def save(self, kind: str, saved: Checkpoint) -> Path:
        self.saved.append((kind, saved))
        return Path(f"{kind}.safetensors")

    def load(self, kind: str) -> Checkpoint | None:
        return self.latest(kind) if any(name == kind for name, _ in self.saved) else None

    def set_aside(self, kind: str) -> Path:
        self.saved = [(name, saved) for name, saved in self.saved if name != kind]
        return Path(f"{kind}-1.safetensors")

    def latest(self, kind: str) -> Checkpoint:
        return [saved for name, saved in self.saved if name == kind][-1]


def corpus_of(text: str, val_characters: int = 0) -> Corpus:
    vocabulary = Vocabulary("char", "".join(sorted(set(text))))
    return Corpus("text", ("text.txt",), len(text), "0" * 64, vocabulary, vocabulary.encode(text), len(text) - val_characters)


def random_text(length: int, seed: int = 0) -> str:
    return "".join(random.Random(seed).choices("abc de\n", k=length))


def trainer_of(
    corpus: Corpus | None = None,
    cell: str = "gru",
    layers: int = 1,
    hidden: int = 8,
    clock: Callable[[], float] | None = None,
    stop: Callable[[], str | None] = lambda: None,
    before_step: Callable[[int], None] = lambda step: None,
    resume: Checkpoint | None = None,
    ranks: Ranks = ALONE,
    **settings: Any,
) -> Trainer:
    """A run on 500 random characters, and 100 to validate on, with `PLAIN` settings and those given.

    It evaluates at its end alone unless ``eval_every`` says otherwise (None: as users' runs do): here that takes longer than
    training.
    """
    corpus = corpus or corpus_of(random_text(600), 100)
    model = ModelConfig(corpus.vocabulary.size, cell, embedding_size=5, hidden_size=hidden, num_layers=layers)
    config = TrainConfig(**{**PLAIN, "eval_every": 10**6, **settings})
    clock = clock or Clock()
    return Trainer(model, config, corpus, clock=clock, stop=stop, before_step=before_step, resume=resume, ranks=ranks)


def run(trainer: Trainer) -> tuple[list[Event], Store]:
    store = Store()
    return list(trainer.run(store)), store


def validation(nats: float) -> Validation:
    """What an evaluation finds that scores the whole text, and no temperature that is better than 1."""
    return Validation(nats / math.log(2), 0.0, nats / math.log(2), 1.0)


def only(events: list[Event], name: str) -> list[Event]:
    return [event for event in events if event["event"] == name]


def same_weights(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def naive_nats(network: Network, ids: Any, start: int, stop: int, warm: int) -> float:
    """The summed loss of ``ids[start:stop]``, a character at a time, the state from zero over ``warm`` characters before."""
    state, total = network.initial_state(1), 0.0
    step = network.stepper(state)
    for position in range(start - warm, stop):
        logits = step(ids[position - 1 : position])[0].astype(np.float64)
        if position >= start:
            total -= float(logits[ids[position]] - np.log(np.exp(logits).sum()))
    return total


def random_model(cell: str = "gru", vocab_size: int = 7, layers: int = 1, hidden: int = 8) -> CharRNN:
    """A network whose biases matter too."""
    config = ModelConfig(vocab_size, cell, embedding_size=5, hidden_size=hidden, num_layers=layers)
    model, rng = CharRNN(config), np.random.default_rng(3)
    model.load({name: rng.normal(0, 0.6, size).astype(np.float32) for name, size in config.parameter_shapes().items()})
    return model
