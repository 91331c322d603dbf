"""What the mean of several networks gains on the held-out tail of a text, and what it costs to sample from it.

    python tests/bench/ensembles.py losses TEXT --minutes 10 --members 1 2 4
    python tests/bench/ensembles.py speed RUN RUN

`losses` trains one run for each number of members, all for the same time, by `charrnn train` with nothing else given, and
scores the last tenth of the text, which training held out, by the mean of each. `speed` draws from the first of two networks
and from the mean of both in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from charrnn.config import SampleConfig
from charrnn.generation.request import SampleRequest
from charrnn.generation.streaming import PIECE, Generation
from charrnn.network.pace import threads_of_numpy

CHARRNN = [sys.executable, "-m", "charrnn"]


def score(run: Path, text: Path) -> dict[str, float]:
    """What ``charrnn score --json`` tells of ``text``."""
    done = subprocess.run([*CHARRNN, "score", "-q", "--json", "-c", run, text], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def losses(text: Path, minutes: float, members: list[int], seed: int) -> None:
    """A row for each number of members: nats per character of the held-out tail, by the mean and by each alone."""
    characters = text.read_text(encoding="utf-8")
    print(f"{text.name}, {minutes:g} minutes in all, seed {seed}: nats per character of the last tenth")
    print("| networks | mean, calibrated | uncalibrated | alone, calibrated |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        tail = Path(folder, "tail.txt")
        tail.write_text(characters[len(characters) - len(characters) // 10 :], encoding="utf-8")
        for count in members:
            run = Path(folder, f"run-{count}")
            options: list[str | Path] = ["--minutes", str(minutes), "--seed", str(seed), "--members", str(count), "--out", run]
            subprocess.run([*CHARRNN, "train", "-q", text, *options], check=True, stdout=subprocess.DEVNULL)
            mean = score(run, tail)
            alone = [score(member, tail)["nats_per_char"] for member in sorted(run.glob("member-*"))]
            raw = mean["uncalibrated_bits_per_char"]
            uncalibrated = "-" if raw is None else f"{raw * 0.6931471805599453:.4f}"
            each = ", ".join(f"{nats:.4f}" for nats in alone) or f"{mean['nats_per_char']:.4f}"
            print(f"| {count} | {mean['nats_per_char']:.4f} | {uncalibrated} | {each} |", flush=True)


def characters_per_second(networks: list[Path], length: int, threads: int, clock: Callable[[], float]) -> float:
    """How fast one stream is drawn from the mean of ``networks``."""
    request = SampleRequest(SampleConfig(seed=1, length=length), networks)
    stream = Generation(request, lambda _: None, threads_of_numpy(threads)).stream()
    pieces = stream.pieces(PIECE)
    next(pieces)
    begun = clock()
    drawn = sum(map(len, pieces))
    return drawn / (clock() - begun)


def speed(one: Path, other: Path, length: int, rounds: int, threads: int, processor_time: bool) -> None:
    """Characters per second of one network and of the mean of two, and the ratio in each round."""
    clock, networks = time.process_time if processor_time else time.perf_counter, ([one], [one, other])
    found = [[characters_per_second(each, length, threads, clock) for each in networks] for _ in range(rounds)]
    alone, mean = (statistics.median(column) for column in zip(*found, strict=True))
    ratios = sorted(both / single for single, both in found)
    print(f"one network {alone:,.0f} characters/s, the mean of two {mean:,.0f}: {statistics.median(ratios):.2f} of the speed")
    print(f"(median of {rounds} rounds of {length:,} characters, {ratios[0]:.2f} to {ratios[-1]:.2f})")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("losses")
    one.add_argument("text", type=Path)
    one.add_argument("--minutes", type=float, default=10.0)
    one.add_argument("--members", type=int, nargs="+", default=[1, 2, 4])
    one.add_argument("--seed", type=int, default=0)
    two = verbs.add_parser("speed")
    two.add_argument("one", type=Path)
    two.add_argument("other", type=Path)
    two.add_argument("--length", type=int, default=20_000)
    two.add_argument("--rounds", type=int, default=7)
    two.add_argument("--threads", type=int, default=1)
    two.add_argument("--processor-time", action="store_true", help="what other programs do then hardly matters")
    asked = vars(parser.parse_args())
    if asked.pop("verb") == "losses":
        losses(**asked)
    else:
        speed(**asked)


if __name__ == "__main__":
    main()
