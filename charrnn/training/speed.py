"""How fast this machine trains: characters per second of one network of a fixed size."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from charrnn.config import ModelConfig, TrainConfig
from charrnn.training import gradients
from charrnn.training.device import prepare
from charrnn.training.model import CharRNN
from charrnn.training.optimizer import Optimizer
from charrnn.training.processes import Processes
from charrnn.training.workers import Workers, choose_workers

REFERENCE = ModelConfig(vocab_size=64, cell="lstm", embedding_size=64, hidden_size=384, num_layers=1)
"""The network that every speed refers to; a step reads `COLUMNS` x `CHARACTERS`."""
COLUMNS, CHARACTERS = 32, 64


@dataclass
class Exercise:
    """Training steps of one network on random characters: all that a step does, without a text, a log or events."""

    model_config: ModelConfig
    device: torch.device
    precision: str
    columns: int = COLUMNS
    characters: int = CHARACTERS
    optimizer: str = "adamw"
    asked_workers: int | None = None
    workers: Workers = field(init=False)

    def __post_init__(self) -> None:
        prepare(self.device, self.precision)
        generator = torch.Generator().manual_seed(0)
        self._model = CharRNN(self.model_config, generator).to(self.device)
        config = TrainConfig(optimizer=self.optimizer)
        self._optimizer = Optimizer(self._model.weights(), self.model_config, config, self.precision)
        ids = torch.randint(self.model_config.vocab_size, (self.columns, self.characters + 1), generator=generator)
        self._inputs, self._targets = ids[:, :-1].to(self.device), ids[:, 1:].to(self.device)
        self._state = self._model.initial_state(self.columns)
        self._processes: Processes | None = None
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=False)
        count = choose_workers(self.asked_workers, self.device, self.columns)
        self.workers = Workers(count, self.model_config.hidden_size if self.optimizer == "adamw" else 0)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Start the workers on entering and end them on leaving."""
        chunk = self.columns, self.characters
        with (
            gradients.forked(self._model, self.workers, *chunk, precision=self.precision) as self._processes,
            self.workers.working(),
        ):
            yield

    def step(self) -> Tensor:
        """Make one update and return the loss."""
        chunk = self._inputs, self._targets, self._state, None
        loss, self._state, found = gradients.of_chunk(
            self._model, *chunk, precision=self.precision, workers=self.workers, processes=self._processes
        )
        for parameter, gradient in zip(self._model.weights().values(), found, strict=True):
            parameter.grad = gradient
        self._optimizer.take_gradients(self._scaler)
        torch.nn.utils.clip_grad_norm_(self._model.weights().values(), 1.0)
        self._optimizer.step(1e-3, self.workers)
        return loss

    def rate(self, seconds: float) -> float:
        """Characters per second over ``seconds``, and over at least one step; call it inside `working`."""
        begun, steps = time.perf_counter(), 0
        while True:
            loss = self.step()
            steps += 1
            if time.perf_counter() - begun >= seconds:
                break
        float(loss)  # Waits until the device has done what it was sent.
        return steps * self.columns * self.characters / (time.perf_counter() - begun)


def of_training(
    device: torch.device,
    precision: str,
    seconds: float,
    cell: str = REFERENCE.cell,
    workers: int | None = None,
    columns: int = COLUMNS,
) -> float:
    """Characters per second at which a ``cell`` of the reference network's size trains on this machine, in so many ``columns``.

    ``workers`` None stands for as many as training itself would choose. Measuring takes about ``seconds``, the warm-up
    included, and makes at least two steps.
    """
    exercise = Exercise(replace(REFERENCE, cell=cell), device, precision, columns, asked_workers=workers)
    with exercise.working():
        exercise.rate(seconds / 4)  # The warm-up chooses kernels and takes memory.
        return exercise.rate(3 * seconds / 4)
