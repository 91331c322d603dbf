"""What a training step takes by columns and cores, and what follows for machines of more cores.

    python tests/bench/cores.py [--cells lstm gru rnn] [--columns 4 8 16 32] [--cores 4 8 16] [--rounds 5]

Steps of the reference network, 1 x 384 with SOAP, 64 characters of random columns. The first lines have the milliseconds of a
gradient and of the rest of a step, nearly all of it the optimizer's update: for one worker on one core by its columns, and for
32 columns shared by a worker per core. Then what follows for more cores: a step is the gradient of a worker's share of the
columns, what sharing it has cost here, and the rest, which shrinks as much for each doubling as it did from one worker to all.
Cores that wait for each other's memory are not in it, so it is a bound.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from dataclasses import replace
from typing import Any

import torch

from charrnn.training import gradients
from charrnn.training.speed import CHARACTERS, COLUMNS, REFERENCE, Exercise

STEPS = 20
"""So many are timed at once: all that there is between two turns of SOAP's bases."""


def measure(cell: str, columns: int, workers: int, rounds: int) -> tuple[float, float]:
    """Medians, in milliseconds, of a step's gradient and of the rest of it."""
    within = 0.0
    plain = gradients.of_chunk

    def timed(*arguments: Any, **options: Any) -> Any:
        nonlocal within
        begun = time.perf_counter()
        found = plain(*arguments, **options)
        within += time.perf_counter() - begun
        return found

    device = torch.device("cpu")
    torch.set_num_threads(workers)  # a core for each
    exercise = Exercise(
        replace(REFERENCE, cell=cell), device, "bf16", columns, CHARACTERS, optimizer="soap", asked_workers=workers
    )
    both = list[tuple[float, float]]()
    gradients.of_chunk = timed
    try:
        with exercise.working():
            for _ in range(rounds + 1):
                within, begun = 0.0, time.perf_counter()
                for _ in range(STEPS):
                    exercise.step()
                both.append((within, time.perf_counter() - begun - within))
    finally:
        gradients.of_chunk = plain
    gradient, rest = (statistics.median(part) / STEPS * 1000 for part in zip(*both[1:], strict=True))
    return gradient, rest


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "rnn"])
    parser.add_argument("--columns", nargs="+", type=int, default=[4, 8, 16, COLUMNS])
    parser.add_argument("--cores", nargs="+", type=int, default=[4, 8, 16])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    here = torch.get_num_threads()
    print("cell  workers  columns  gradient ms  rest ms  characters/s")
    for cell in given.cells:
        alone = dict[int, float]()
        rest = 0.0
        for columns in given.columns:
            alone[columns], rest = measure(cell, columns, 1, given.rounds)
            pace = columns * CHARACTERS / (alone[columns] + rest) * 1000
            print(f"{cell:4}  {1:7}  {columns:7}  {alone[columns]:11.1f}  {rest:7.1f}  {pace:12,.0f}", flush=True)
        shared, rest_shared = measure(cell, COLUMNS, here, given.rounds)
        pace = COLUMNS * CHARACTERS / (shared + rest_shared) * 1000
        print(f"{cell:4}  {here:7}  {COLUMNS:7}  {shared:11.1f}  {rest_shared:7.1f}  {pace:12,.0f}", flush=True)
        # What a gradient takes beside one of half the columns alone: what sharing itself costs.
        sharing = shared - alone.get(COLUMNS // here, shared)
        print("cell    cores  columns    by reasoning, ms  characters/s")
        for cores in given.cores:
            for columns in (each for each in alone if each * cores <= 256):
                update = rest_shared * min(1.0, rest_shared / rest) ** (math.log(cores / here) / math.log(here))
                step = alone[columns] + sharing + update
                read = columns * cores
                pace = read * CHARACTERS / step * 1000
                print(f"{cell:4}  {cores:7}  {read:7}  {step:19.1f}  {pace:12,.0f}", flush=True)


if __name__ == "__main__":
    main()
