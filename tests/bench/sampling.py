"""One-stream sampling: charrnn's NumPy step beside a loop around ``torch.nn`` with the same weights, in one run.

    python tests/bench/sampling.py [--rounds 5]

Characters per second, median of the rounds (and their range), torch with one thread and with all; the ratio is against the
faster of the two. "bare" is the matrix-vector products of one step and nothing else. In every round each contender runs in a
process of its own, so that one's waiting threads don't take the other's cores; NumPy has the threads that ``charrnn sample``
gives it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice

from charrnn.config import ModelConfig

SHAPES = [("lstm", 1, 384), ("lstm", 2, 512), ("gru", 1, 384), ("rnn", 1, 384)]
CONTENDERS = ("charrnn", "bare", "torch-1", "torch-all")


def rate(step: Callable[[], object], warm_up: int, count: int) -> float:
    """Calls of ``step`` per second."""
    for _ in range(warm_up):
        step()
    begun = time.perf_counter()
    for _ in range(count):
        step()
    return count / (time.perf_counter() - begun)


def characters(ids: Iterator[object]) -> Callable[[], object]:
    """The next id as a function."""
    return lambda: next(islice(ids, 1))


def measure(contender: str, config: ModelConfig, most: int) -> float:
    """Characters (or bare steps) per second of one contender, in this process, with so many of NumPy's threads at most."""
    import numpy as np

    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in config.parameter_shapes().items()}
    if contender.startswith("torch"):
        import torch

        from charrnn.training.bench import TorchLoop

        if contender == "torch-1":
            torch.set_num_threads(1)
        return rate(characters(TorchLoop(config, weights).eval().generate(1, 0.8, 0)), 30, 500)

    from charrnn.generation.drawing import Drawing, Sampler
    from charrnn.generation.generate import generate, prime
    from charrnn.network import pace
    from charrnn.network.cells import Network

    threads = pace.threads_of_numpy(most)
    network = Network(config, weights, None if threads is None else pace.Pace(threads))
    if contender == "charrnn":
        sampler = Sampler(np.random.default_rng(0), Drawing(temperature=0.8))
        return rate(characters(generate(network, *prime(network, np.array([0])), sampler)), 500, 8000)
    laid_out = [matrix for layer in network._packed.layers for matrix in (layer.hh, layer.ih) if matrix is not None]
    matrices = [*(matrix.padded for matrix in laid_out), weights["head.weight"]]
    work = [
        (matrix, np.ones(matrix.shape[1], dtype=np.float32), np.empty(len(matrix), dtype=np.float32)) for matrix in matrices
    ]

    def step() -> None:
        for matrix, vector, out in work:
            np.dot(matrix, vector, out=out)

    return rate(step, 500, 8000)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        from charrnn.cli.process import limit_threads

        contender, cell, layers, hidden = options.child
        most = limit_threads()
        shape = ModelConfig(vocab_size=66, cell=cell, num_layers=int(layers), hidden_size=int(hidden))
        print(measure(contender, shape, most))
        return
    print(f"{os.cpu_count()} cores; characters per second, median of {options.rounds} rounds (range)")
    print(f"{'':14}" + "".join(f"{contender:>25}" for contender in CONTENDERS) + f"{'ratio':>8}{'bare/own':>10}")
    for cell, layers, hidden in SHAPES:
        rates: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
        for _ in range(options.rounds):
            for contender in CONTENDERS:
                command = [sys.executable, __file__, "--child", contender, cell, str(layers), str(hidden)]
                rates[contender].append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        medians = {contender: statistics.median(values) for contender, values in rates.items()}
        shown = [f"{medians[c]:,.0f} ({min(rates[c]):,.0f}-{max(rates[c]):,.0f})" for c in CONTENDERS]
        ratio = medians["charrnn"] / max(medians["torch-1"], medians["torch-all"])
        bare = medians["bare"] / medians["charrnn"]
        print(
            f"{cell} {layers} x {hidden:<6}" + "".join(f"{cell_:>25}" for cell_ in shown) + f"{ratio:>8.1f}{bare:>10.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
