"""Requests on a small network, and what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from charrnn.config import ModelConfig, SampleConfig
from charrnn.generation import batches
from charrnn.generation.request import SampleRequest
from charrnn.generation.streaming import Generation
from charrnn.network import checkpoint
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary


def random_network(path: Path, **facts: Any) -> Path:
    """Write a random network that knows a few letters to ``path``; ``facts`` are of its training."""
    vocabulary = Vocabulary("char", "\n =abcde")
    model = ModelConfig(vocabulary.size, cell="lstm", embedding_size=6, hidden_size=12, num_layers=2)
    rng = np.random.default_rng(1)
    weights = {name: rng.normal(0, 0.8, shape).astype(np.float32) for name, shape in model.parameter_shapes().items()}
    checkpoint.write(path, Checkpoint(model, vocabulary, facts, weights))
    return path


def generation(net: Path, settings: dict[str, Any] | None = None, **others: Any) -> Generation:
    """Texts of 30 characters by ``net``; what it is warned of stands in ``said``."""
    said: list[str] = []
    found = Generation(SampleRequest(SampleConfig(**{"seed": 1, "length": 30, **(settings or {})}), net, **others), said.append)
    found.said = said  # type: ignore[attr-defined]
    return found


def texts(found: Generation) -> list[str]:
    """All texts that are drawn."""
    return [sample.text for sample in batches.samples(found)]
