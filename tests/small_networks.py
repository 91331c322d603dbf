"""Networks and texts small enough for tests of the command line, and what it says of them as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.classifier_config import ClassifierConfig
from charrnn.config import GATES, ModelConfig
from charrnn.network import checkpoint, rundir
from charrnn.network import classifier as classifiers
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.classifier import Classifier
from charrnn.text.vocabulary import Vocabulary

OF_TORCH = tuple(cell for cell in GATES if cell in ("lstm", "gru", "rnn"))
"""The cells that ``torch.nn`` has too: what they compute is held against it."""
TEXT = "The fox said go, and the crow let fall the cheese.\nThe end of it.\n" * 12


def network(
    path: Path,
    known: str = "".join(sorted(set(TEXT))),
    level: str = "char",
    *,
    temperature: float = 1.0,
    seed: int = 1,
    hidden_size: int = 8,
    **facts: Any,
) -> Path:
    """A checkpoint of a tiny network with random weights that knows some characters; ``facts`` are of its training."""
    vocabulary = Vocabulary(level, known if level == "char" else "")
    model = ModelConfig(vocabulary.size, embedding_size=3, hidden_size=hidden_size)
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in model.parameter_shapes().items()}
    path.mkdir(parents=True)
    facts = {"corpus": path.name, "val_bits_per_char": 4.2, **facts}
    checkpoint.write(path / rundir.BEST, Checkpoint(model, vocabulary, facts, weights, temperature=temperature))
    return path


def records(result: Any) -> list[Any]:
    assert result.code == 0, result
    return [json.loads(line) for line in result.stdout.splitlines()]


def classifier(
    path: Path, labels: tuple[str, ...] = ("no", "yes"), known: str = "\n abcdefghijklmnopqrstuvwxyz", **config: Any
) -> Path:
    """A classifier of a tiny network with random weights in the directory ``path``."""
    vocabulary, found = Vocabulary("char", known), ClassifierConfig(**config)
    model = ModelConfig(vocabulary.size, embedding_size=3, hidden_size=4)
    rng = np.random.default_rng(1)
    shapes = classifiers.parameter_shapes(model, found, len(labels))
    weights = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    path.mkdir(parents=True)
    classifiers.write(path / classifiers.NAME, Classifier(model, vocabulary, found, labels, {"corpus": path.name}, weights))
    return path
