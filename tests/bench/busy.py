"""How well training keeps its pace beside other work: two runs at once, and a run beside a busy loop.

    python tests/bench/busy.py [--package DIR ...]

Prints a row for each cell and package: characters per second of a run alone, of two runs at once together, and of a run beside
a loop that keeps a core busy, with the latter two as shares of the first. Several ``--package`` (directories that hold a
`charrnn`, for example a checkout of another commit) take turns, so that the same minutes compare them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def start(package: Path, corpus: Path, cell: str, steps: int, out: str) -> subprocess.Popen[str]:
    """Begin one run; its events come on stdout."""
    size = ["--hidden-size", "384", "--embedding-size", "64", "--batch-size", "32", "--bptt", "64"]
    run = ["--steps", str(steps), "--json", "-q", "--out", out]
    command = [sys.executable, "-m", "charrnn", "train", str(corpus.resolve()), "--cell", cell, *size, *run]
    environment = os.environ | {"PYTHONPATH": str(package)}
    # From the package's own directory: Python looks there first.
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=package)


def pace(run: subprocess.Popen[str]) -> float:
    """Characters per second of a run, once it has ended."""
    output, _ = run.communicate()
    events = [json.loads(line) for line in output.splitlines()]
    return float(next(event["chars_per_second"] for event in events if event["event"] == "end"))


@contextlib.contextmanager
def busy_loop() -> Iterator[None]:
    """A process that keeps a core busy."""
    loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def measure(package: Path, corpus: Path, cell: str, steps: int) -> tuple[float, float, float]:
    """Characters per second of a run alone, of two at once together, and of one beside a loop."""
    with tempfile.TemporaryDirectory() as directory:
        alone = pace(start(package, corpus, cell, steps, f"{directory}/alone"))
        both = [start(package, corpus, cell, steps, f"{directory}/{number}") for number in range(2)]
        two = sum(map(pace, both))
        with busy_loop():
            beside = pace(start(package, corpus, cell, steps, f"{directory}/beside"))
    return alone, two, beside


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, action="append", help="a directory that holds a charrnn (default: this one)")
    parser.add_argument("--corpus", type=Path, default=ROOT / "corpora" / "fables.txt")
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "rnn"])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    packages = [package.resolve() for package in given.package or [ROOT]]
    print("cell\tpackage\talone\ttwo at once\tshare\tbeside a loop\tshare", flush=True)
    for cell in given.cells:
        found: dict[Path, list[tuple[float, float, float]]] = {package: [] for package in packages}
        for _ in range(given.rounds):
            for package in packages:
                found[package].append(measure(package, given.corpus, cell, given.steps))
        for package, rounds in found.items():
            alone, two, beside = (statistics.median(column) for column in zip(*rounds, strict=True))
            row = f"{alone:,.0f}\t{two:,.0f}\t{two / alone:.2f}\t{beside:,.0f}\t{beside / alone:.2f}"
            print(f"{cell}\t{package.name}\t{row}", flush=True)


if __name__ == "__main__":
    main()
