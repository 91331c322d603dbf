"""How sampling and scoring keep their pace beside other work: alone, beside one busy process and beside two.

    python tests/bench/beside.py [--package DIR ...] [--rounds 10] [--only sample|score] [--shapes lstm-1x384 ...]

Each row is one kind of work: a text of one stream (`charrnn sample -n`), or a text scored in columns (`charrnn score`), with a
network of random weights. It prints the median seconds of whole commands alone, beside one process that keeps a core busy and
beside two, each with its slowest; and the latter two medians as multiples of the first. Several ``--package`` (directories that
hold a `charrnn`, for example a checkout of another commit) take turns, so that they are compared in the same minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from charrnn.config import ModelConfig
from charrnn.network import checkpoint
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary

ROOT = Path(__file__).parents[2]
SHAPES = ["lstm-1x384", "gru-1x384", "lstm-2x512", "gru-2x512", "lstm-1x1024", "gru-1x1024"]
BUSY = (0, 1, 2)


def network(shape: str, directory: Path) -> Path:
    """A network of random weights, as CELL-LAYERSxUNITS says, that knows the letters."""
    cell, _, size = shape.partition("-")
    layers, units = map(int, size.split("x"))
    vocabulary = Vocabulary("char", "\n" + "".join(map(chr, range(32, 127))))
    config = ModelConfig(vocabulary.size, cell=cell, num_layers=layers, hidden_size=units)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.1, size).astype(np.float32) for name, size in config.parameter_shapes().items()}
    path = directory / f"{shape}.safetensors"
    checkpoint.write(path, Checkpoint(config, vocabulary, {}, weights))
    return path


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """``count`` processes that keep a core busy each."""
    loop = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"  # None outlives this script.
    loops = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(count)]
    try:
        yield
    finally:
        for process in loops:
            process.kill()
            process.wait()


def seconds(package: Path, *arguments: str) -> float:
    """How long one command takes."""
    command = [sys.executable, "-m", "charrnn", *arguments]
    environment = os.environ | {"PYTHONPATH": str(package)}
    begun = time.perf_counter()
    # From there, because Python looks for modules in the current directory first.
    subprocess.run(command, cwd=package, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, action="append", help="a directory that holds a charrnn (default: this one)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", choices=["sample", "score"])
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--characters", type=int, default=10_000, help="of the text; the scored one has 20 times as many")
    given = parser.parse_args()
    packages = [package.resolve() for package in given.package or [ROOT]]
    print("| work | package | alone | beside one | | beside two | |\n|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        text = Path(directory) / "text"
        fables = (ROOT / "corpora" / "fables.txt").read_text(encoding="ascii", errors="ignore")
        text.write_text((fables * 20)[: 20 * given.characters])
        for shape in given.shapes:
            path = str(network(shape, Path(directory)))
            works = {
                "sample": ("sample", "-c", path, "-n", str(given.characters), "--seed", "1", "-q"),
                "score": ("score", "-c", path, str(text), "-q"),
            }
            for name, arguments in works.items():
                if given.only in (None, name):
                    show(f"{name} {shape}", packages, arguments, given.rounds)


def show(name: str, packages: list[Path], arguments: tuple[str, ...], rounds: int) -> None:
    """Print the rows of one kind of work."""
    found: dict[tuple[Path, int], list[float]] = {(package, count): [] for package in packages for count in BUSY}
    for _ in range(rounds):
        for count in BUSY:
            with busy(count):
                for package in packages:
                    found[package, count].append(seconds(package, *arguments))
    for package in packages:
        alone, one, two = (statistics.median(found[package, count]) for count in BUSY)
        slowest = [f"{max(found[package, count]):.2f}" for count in BUSY]
        row = f"| {name} | {package.name} | {alone:.2f} s (slowest {slowest[0]}) | {one:.2f} s ({slowest[1]}) "
        print(f"{row}| {one / alone:.2f} | {two:.2f} s ({slowest[2]}) | {two / alone:.2f} |", flush=True)


if __name__ == "__main__":
    main()
