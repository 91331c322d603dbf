"""Seeing a vanilla RNN forget: bits at the answer letters of ``corpora/recall.txt``, by delay, for cells of one size.

    python tests/bench/recall.py

Each record is one of 16 letters, a run of 2 to 60 characters of filler, a question mark and the same letter again; a network
that has forgotten the letter needs log2(16) = 4 bits for the answer, one that remembers it none. Every network sees the same
text with the same settings, by chunks of 128 characters (longer than any delay), at the same number of steps; three seeds each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from charrnn.config import GATES, ModelConfig, TrainConfig
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.training.trainer import Trainer

BINS = ((2, 5), (6, 10), (11, 20), (21, 30), (31, 40), (41, 50), (51, 60))


class Nowhere:
    """Keeps no checkpoint."""

    def save(self, kind: str, checkpoint: Checkpoint) -> Path:
        """Say where it would be."""
        return Path(kind)

    def load(self, kind: str) -> None:
        """Nothing was kept."""

    def set_aside(self, kind: str) -> Path:
        """Nothing is there to be renamed."""
        return Path(kind)


def answer_bits(network: Network, corpus: Corpus) -> dict[tuple[int, int], float]:
    """Mean bits at the answers of the validation text, by delay."""
    text = corpus.vocabulary.decode(corpus.ids[corpus.train_characters :])
    records = [record for record in text.split("\n")[1:-1] if record]
    by_delay: dict[tuple[int, int], list[float]] = {delays: [] for delays in BINS}
    joined = "\n".join(records) + "\n"
    ids = corpus.vocabulary.encode(joined)
    logits, _, _ = network.unroll(ids[:, None].astype(np.int64))
    position = 0
    for record in records:
        answer, delay = position + len(record) - 1, len(record) - 3
        scores = logits[answer - 1, 0].astype(np.float64)
        bits = (np.logaddexp.reduce(scores) - scores[ids[answer]]) / np.log(2)
        next(values for (low, high), values in by_delay.items() if low <= delay <= high).append(bits)
        position += len(record) + 1
    return {delays: float(np.mean(values)) for delays, values in by_delay.items()}


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=TrainConfig.lr)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    corpus = read_corpus([str(Path(__file__).parents[2] / "corpora" / "recall.txt")])
    print(f"bits at the answer by delay, {options.steps} steps of 32 x 128, hidden size {options.hidden_size},")
    print(f"median of {options.seeds} seeds; 0 is remembered, 4 is forgotten")
    print(f"{'':6}" + "".join(f"{f'{low}-{high}':>8}" for low, high in BINS) + f"{'seconds':>10}")
    for cell in GATES:
        results, begun = [], time.perf_counter()
        for seed in range(options.seeds):
            config = TrainConfig(
                steps=options.steps,
                lr=options.lr,
                batch_size=32,
                bptt=128,
                seed=seed,
                precision="fp32",
                eval_every=10**9,
            )
            shape = ModelConfig(
                vocab_size=corpus.vocabulary.size, cell=cell, hidden_size=options.hidden_size, embedding_size=32
            )
            trainer = Trainer(shape, config, corpus, clock=time.perf_counter)
            list(trainer.run(Nowhere()))
            results.append(answer_bits(Network(shape, trainer.model.export()), corpus))
        medians = [statistics.median(result[delays] for result in results) for delays in BINS]
        took = (time.perf_counter() - begun) / options.seeds
        print(f"{cell:6}" + "".join(f"{bits:8.2f}" for bits in medians) + f"{took:10.0f}", flush=True)


if __name__ == "__main__":
    main()
