"""Networks and texts small enough for tests of the command line, and what it says of them as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.config import ModelConfig
from charrnn.network import checkpoint, rundir
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary

TEXT = "The fox said go, and the crow let fall the cheese.\nThe end of it.\n" * 12


def network(path: Path, known: str = "".join(sorted(set(TEXT))), level: str = "char", **facts: Any) -> Path:
    """A checkpoint of a tiny network with random weights that knows some characters; ``facts`` are of its training."""
    vocabulary = Vocabulary(level, known if level == "char" else "")
    model = ModelConfig(vocabulary.size, embedding_size=3, hidden_size=8)
    rng = np.random.default_rng(1)
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in model.parameter_shapes().items()}
    path.mkdir(parents=True)
    checkpoint.write(
        path / rundir.BEST, Checkpoint(model, vocabulary, {"corpus": path.name, "val_bits_per_char": 4.2, **facts}, weights)
    )
    return path


def records(result: Any) -> list[Any]:
    assert result.code == 0, result
    return [json.loads(line) for line in result.stdout.splitlines()]
