"""A small checkpoint of random weights, and its file taken apart and put together again."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.config import ModelConfig
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary

Header = dict[str, Any]


def small(cell: str = "lstm", num_layers: int = 1, hidden_size: int = 4, level: str = "char", seed: int = 0) -> Checkpoint:
    vocabulary = Vocabulary("byte") if level == "byte" else Vocabulary("char", "\n abé€😀")
    model = ModelConfig(vocabulary.size, cell, embedding_size=3, hidden_size=hidden_size, num_layers=num_layers)
    rng = np.random.default_rng(seed)
    weights = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in model.parameter_shapes().items()}
    return Checkpoint(model, vocabulary, {"corpus": 'Ünï "quoted"', "step": 7, "val_bits_per_char": None}, weights)


def take_apart(path: Path) -> tuple[Header, bytes]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def put_together(path: Path, header: object, body: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def setting(part: str, name: str, value: object) -> Callable[[Header], None]:
    """What changes one fact of a header."""

    def change(header: Header) -> None:
        stored = json.loads(header["__metadata__"][part])
        header["__metadata__"][part] = json.dumps({**stored, name: value})

    return change
