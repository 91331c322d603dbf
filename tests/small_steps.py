"""An optimizer on a tiny network, fed random gradients."""

from __future__ import annotations

from typing import Any

import torch
from small_runs import random_model
from torch import Tensor, nn

from charrnn.config import TrainConfig
from charrnn.training.optimizer import Optimizer
from charrnn.training.workers import Workers

LR = 0.01
Weights = dict[str, nn.Parameter]


def no_scale() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", enabled=False)


def made(cell: str = "lstm", layers: int = 1, hidden: int = 8, **settings: Any) -> tuple[Weights, Optimizer]:
    """A network's weights and their optimizer."""
    model = random_model(cell, layers=layers, hidden=hidden)
    return model.weights(), Optimizer(model.weights(), model.config, TrainConfig(**{"weight_decay": 0.0, **settings}))


def draw(weights: Weights, seed: int) -> None:
    """Random gradients, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    for weight in weights.values():
        weight.grad = torch.randn(weight.shape, generator=generator)


def step(weights: Weights, optimizer: Optimizer, lr: float = LR, workers: Workers | None = None) -> None:
    optimizer.take_gradients(no_scale())
    optimizer.step(lr, workers or Workers(1))


def copies(weights: Weights) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in weights.items()}


def changes(weights: Weights, optimizer: Optimizer, lr: float = LR) -> dict[str, Tensor]:
    """What one step takes from each weight, in units of the learning rate."""
    before = copies(weights)
    step(weights, optimizer, lr)
    return {name: ((before[name] - weight.detach()) / lr).double() for name, weight in weights.items()}
