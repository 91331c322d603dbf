"""What a plan must know of this machine: what it trains on, and how fast that is. torch is imported where it must be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charrnn.config import TrainConfig
from charrnn.training import recipe

SPEED_SHARE, SPEED_SECONDS = 0.01, 0.8
"""The share of a budget in minutes, and the most seconds, for which the machine's speed is measured."""


def cores(config: TrainConfig) -> int:
    """How many cores share the columns of a network that is trained on a CPU by one process."""
    import torch

    here = torch.get_num_threads()
    return min(config.workers or here, here)


def hardware(config: TrainConfig, cores: int = 1) -> recipe.Hardware:
    """What the run is planned for; a length in steps or epochs has the same plan on every machine, unless told which.

    On a CPU ``cores`` share the network's columns.
    """
    if config.minutes is None:
        return recipe.GPU if config.device == "cuda" else recipe.CPU
    from charrnn.training.device import choose_device

    kind = choose_device("auto").type if config.device == "auto" else config.device
    return {"cuda": recipe.GPU, "cpu": recipe.cpu(cores)}.get(kind, recipe.CPU)


def measured_speed(config: TrainConfig, shape: Mapping[str, Any], cores: int = 1) -> float:
    """Characters per second of the reference network with the given cell, in the columns that suit so many ``cores``."""
    from charrnn.training import speed
    from charrnn.training.device import choose_device, choose_precision

    assert config.minutes is not None
    device = choose_device(config.device)
    seconds = min(SPEED_SHARE * 60 * config.minutes, SPEED_SECONDS)
    cell = shape.get("cell", recipe.FIXED["cell"])
    precision = choose_precision(config.precision, device)
    return speed.of_training(device, precision, seconds, cell, config.workers, hardware(config, cores).columns)
