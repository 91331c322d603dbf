"""Scoring a text: characters per second of one stream, of columns, and of columns through ``torch.nn``, same weights, same run.

    python tests/bench/scoring.py [--characters 200000] [--rounds 3] [CHECKPOINT]

The text is `corpora/fables.txt`, repeated. Beside each rate stands the one per second of processor time, all threads together,
which a shared machine distorts less. torch reads 256 columns without overlap and computes nothing but the loss. A text of less
than two million characters has fewer and shorter columns than a long one.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # Before NumPy is imported, as `charrnn score` does.

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from charrnn.analysis.scoring import Scorer
from charrnn.network import checkpoint
from charrnn.network.cells import Network

ROOT = Path(__file__).parents[2]
COLUMNS, CHUNK = 256, 64


def through_torch(trained: checkpoint.Checkpoint, ids: np.ndarray, precision: torch.dtype) -> Callable[[], None]:
    """Score ``ids`` in columns with the fused kernels."""
    length = (len(ids) - 1) // COLUMNS
    text = torch.from_numpy(ids[: COLUMNS * length + 1].astype(np.int64))
    inputs, targets = text[:-1].view(COLUMNS, length), text[1:].view(COLUMNS, length)
    kernel = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[trained.model.cell]
    rnn = kernel(trained.model.embedding_size, trained.model.hidden_size, trained.model.num_layers, batch_first=True)
    weights = {name: torch.tensor(value) for name, value in trained.weights.items()}
    rnn.load_state_dict({name.removeprefix("rnn."): value for name, value in weights.items() if name.startswith("rnn.")})

    def score() -> None:
        state, total = None, 0.0
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            for begin in range(0, length, CHUNK):
                part = slice(begin, begin + CHUNK)
                output, state = rnn(weights["embedding.weight"][inputs[:, part]], state)
                logits = torch.nn.functional.linear(output, weights["head.weight"], weights["head.bias"]).float()
                total += float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[:, part].flatten()))

    return score


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", nargs="?", type=Path, default=ROOT / "checkpoints/fables/best.safetensors")
    parser.add_argument("--characters", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    trained = checkpoint.read(options.path)
    network = Network(trained.model, trained.weights)
    text = (ROOT / "corpora/fables.txt").read_text(encoding="utf-8")
    text = (text * (options.characters // len(text) + 1))[: options.characters]
    codes = np.array([ord(character) for character in text], dtype=np.uint32)
    ids = trained.vocabulary.encode(text)

    def own(exact: bool) -> Callable[[], None]:
        def score() -> None:
            for _ in Scorer(network, trained.vocabulary).carried([codes], exact=exact):
                pass

        return score

    contenders = {
        "one stream": own(True),
        "columns": own(False),
        "torch.nn fp32": through_torch(trained, ids, torch.float32),
        "torch.nn bf16": through_torch(trained, ids, torch.bfloat16),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, score in contenders.items():
            begun, worked = time.perf_counter(), time.process_time()
            score()
            seconds, processor = time.perf_counter() - begun, time.process_time() - worked
            rates[name].append((options.characters / seconds, options.characters / processor))
    print("| | characters/s | range | per processor second |")
    print("|---|---|---|---|")
    for name, found in rates.items():
        walls, processors = zip(*found, strict=True)
        middle, per_cpu = statistics.median(walls), statistics.median(processors)
        print(f"| {name} | {middle:,.0f} | {min(walls):,.0f}-{max(walls):,.0f} | {per_cpu:,.0f} |")


if __name__ == "__main__":
    main()
