"""One-stream sampling: charrnn's NumPy step beside a loop around ``torch.nn`` with the same weights, in one run.

    python tests/bench/sampling.py

Characters per second, median of interleaved repeats (and their range), torch with one thread and with all; the ratio is against
the faster of the two. The bare products are the matrix-vector products of one step and nothing else. NumPy runs with the
threads that ``charrnn sample`` gives it.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice

from charrnn.cli import _limit_threads

_limit_threads()

import numpy as np  # noqa: E402 - after the thread limit
import torch  # noqa: E402
from loops import TorchLoop  # noqa: E402

from charrnn import sampling  # noqa: E402
from charrnn.cells import Network  # noqa: E402
from charrnn.config import ModelConfig  # noqa: E402
from charrnn.model import CharRNN  # noqa: E402

SHAPES = [("lstm", 1, 384), ("lstm", 2, 512), ("gru", 1, 384), ("rnn", 1, 384)]
REPEATS = 7


def rate(ids: Iterator[int], count: int) -> float:
    """Characters per second over ``count`` characters."""
    begun = time.perf_counter()
    for _ in islice(ids, count):
        pass
    return count / (time.perf_counter() - begun)


def bare_products(network: Network) -> Callable[[int], float]:
    """Steps per second of the matrix-vector products alone."""
    matrices = [layer.hh for layer in network._layers] + [layer.ih for layer in network._layers if layer.ih is not None]
    matrices.append(network._weights["head.weight"])
    work = [
        (matrix, np.ones(matrix.shape[1], dtype=np.float32), np.empty(len(matrix), dtype=np.float32)) for matrix in matrices
    ]

    def run(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            for matrix, vector, out in work:
                np.dot(matrix, vector, out=out)
        return count / (time.perf_counter() - begun)

    return run


def main() -> None:
    """Print the table."""
    threads = torch.get_num_threads()
    print(
        f"{'':14}{'charrnn':>22}{'torch, 1 thread':>22}{f'torch, {threads} threads':>22}{'ratio':>8}{'bare':>9}{'bare/own':>10}"
    )
    for cell, layers, hidden in SHAPES:
        config = ModelConfig(vocab_size=66, cell=cell, num_layers=layers, hidden_size=hidden)
        weights = CharRNN(config).export()
        network, loop = Network(config, weights), TorchLoop(config, weights).eval()
        bare = bare_products(network)
        rates: dict[str, list[float]] = {"own": [], "one": [], "all": [], "bare": []}
        for repeat in range(REPEATS):
            sampler = sampling.Sampler(np.random.default_rng(repeat), temperature=0.8)
            own = sampling.generate(network, *sampling.prime(network, np.array([0])), sampler)
            rate(own, 200)
            rates["own"].append(rate(own, 3000))
            rates["bare"].append(bare(3000))
            for name, count in (("one", 1), ("all", threads)):
                torch.set_num_threads(count)
                ids = loop.generate(0.8, repeat)
                rate(ids, 20)
                rates[name].append(rate(ids, 300))
        medians = {name: statistics.median(values) for name, values in rates.items()}
        shown = [f"{medians[n]:,.0f} ({min(rates[n]):,.0f}-{max(rates[n]):,.0f})" for n in ("own", "one", "all")]
        ratio = medians["own"] / max(medians["one"], medians["all"])
        print(
            f"{cell} {layers} x {hidden:<6}{shown[0]:>22}{shown[1]:>22}{shown[2]:>22}{ratio:>8.1f}"
            f"{medians['bare']:>9,.0f}{medians['bare'] / medians['own']:>10.2f}",
            flush=True,
        )
    print(f"\n{os.cpu_count()} cores, torch {torch.__version__}, numpy {np.__version__}")


if __name__ == "__main__":
    main()
