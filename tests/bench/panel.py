"""What the training display's view of the hidden state costs: seconds per evaluation, and their share of a run of one minute.

    python tests/bench/panel.py [--rounds 5] [--hidden-size 384]

Measured beside what the same evaluation does anyway (the validation loss over 100,000 characters), because a shared
machine slows both alike.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from charrnn.analysis import advice
from charrnn.config import GATES, ModelConfig
from charrnn.network.cells import Network
from charrnn.text.corpus import Corpus
from charrnn.text.excerpts import spread
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.device import choose_precision
from charrnn.training.evaluation import PASSAGE_CHARACTERS, losses
from charrnn.training.model import CharRNN
from charrnn.training.schedule import EVALUATION_MARKS
from charrnn.training.workers import Workers, choose_workers

EVALUATIONS = len(EVALUATION_MARKS) + 2
"""In a run of one minute: at every mark, after the first seconds, and at the end."""


def seconds(action: Callable[[], object]) -> float:
    """How long ``action`` takes once."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hidden-size", type=int, default=384)
    asked = parser.parse_args()
    cpu = torch.device("cpu")
    precision = choose_precision("auto", cpu)
    ids = np.random.default_rng(0).integers(0, 64, 200_000)
    text = Corpus("noise", (), len(ids), "", Vocabulary("char", "".join(map(chr, range(64)))), ids, len(ids) // 2)
    excerpt = spread(text, len(ids) // 2)
    print("network        panel, ms   validation, ms   panel's share of a minute")
    for cell in GATES:
        for layers in (1, 2):
            config = ModelConfig(vocab_size=64, cell=cell, hidden_size=asked.hidden_size, num_layers=layers)
            model = CharRNN(config)
            workers = Workers(choose_workers(None, cpu, 32))
            panel, validation = [], []
            with workers.working():
                for _ in range(asked.rounds + 1):
                    network = Network(config, model.export())
                    panel.append(seconds(functools.partial(advice.measure, network, ids[:PASSAGE_CHARACTERS])))
                    validation.append(seconds(functools.partial(losses, model, text, excerpt, precision, workers)))
            # The first round chooses kernels and takes memory.
            spent, beside = statistics.median(panel[1:]), statistics.median(validation[1:])
            name = f"{cell} {layers} x {asked.hidden_size}"
            print(f"{name:14} {1e3 * spent:9.0f} {1e3 * beside:16.0f} {EVALUATIONS * spent / 60:18.2%}", flush=True)


if __name__ == "__main__":
    main()
