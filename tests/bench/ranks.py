"""Ranks of torchrun: what they make of the cores, and what kills leave of a run.

    python tests/bench/ranks.py scaling TEXT [--steps 40] [--hidden-size 384]
    python tests/bench/ranks.py kills [--kills 20] [--ranks 4] [--seed 0] [--optimizer soap]
    python tests/bench/ranks.py updates TEXT [--shapes 1x384x32 2x512x32 1x1024x64] [--blocks 8]

``scaling`` prints characters a second of one network on one core and on all, in threads, processes and ranks. ``kills`` trains
with torchrun, which starts the ranks anew whenever one of them was killed at a random moment; at the end of each run its
weights must equal those of a run of as many ranks that was never disturbed, bit for bit. ``updates`` lets two ranks compute
all of an optimizer's updates each and share them, by turns of 20 steps, for networks of LAYERSxUNITSxCOLUMNS.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from charrnn.cores import usable_cores
from charrnn.network import checkpoint

TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
BLOCK = 20
"""Steps; SOAP's bases turn once in so many."""
TALE = "The fox said to the crow: sing, and let the cheese fall.\n" * 40


def main() -> None:
    """Print what was asked for; exit with 1 if weights differ."""
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    scaling_of = verbs.add_parser("scaling")
    scaling_of.add_argument("text", type=Path)
    scaling_of.add_argument("--steps", type=int, default=40)
    scaling_of.add_argument("--hidden-size", type=int, default=384)
    kills_of = verbs.add_parser("kills")
    kills_of.add_argument("--kills", type=int, default=20)
    kills_of.add_argument("--ranks", type=int, default=4)
    kills_of.add_argument("--steps", type=int, default=400)
    kills_of.add_argument("--seed", type=int, default=0)
    kills_of.add_argument("--optimizer", default="soap", help="soap, whose work ranks may share, or another one")
    for verb in ("updates", "rank"):
        updates_of = verbs.add_parser(verb)
        updates_of.add_argument("text", type=Path)
        updates_of.add_argument("--shapes", nargs="+", default=["1x384x32", "2x512x32", "1x1024x64"])
        updates_of.add_argument("--blocks", type=int, default=8, help="of 20 steps each, of which every other one is shared")
    options = parser.parse_args()
    if options.verb == "updates":
        for shape in options.shapes:
            words = (__file__, "rank", str(options.text.resolve()), "--shapes", shape, "--blocks", str(options.blocks))
            subprocess.run((*TORCHRUN, "--nproc-per-node", "2", *words), check=True)
    elif options.verb == "rank":
        rank(options.text, options.shapes[0], options.blocks)
    elif options.verb == "scaling":
        scaling(options.text.resolve(), options.steps, options.hidden_size)
    else:
        sys.exit(not kills(options.kills, options.ranks, options.steps, options.seed, options.optimizer))


def scaling(text: Path, steps: int, hidden_size: int) -> None:
    """Characters a second, by how many threads, processes or ranks share how many cores."""
    words: tuple[str, ...] = (
        "train",
        str(text),
        "--steps",
        str(steps),
        "--hidden-size",
        str(hidden_size),
        "--batch-size",
        "64",
        "--json",
        "-q",
    )
    words += ("--eval-every", "1000000", "--device", "cpu")
    cores = sorted(os.sched_getaffinity(0))
    for number in sorted({1, len(cores)}):
        some = ",".join(map(str, cores[:number]))
        for how, launch in launches(number):
            with tempfile.TemporaryDirectory() as folder:
                command = ("taskset", "-c", some, *launch, *words)
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            told = [json.loads(line) for line in done.stdout.splitlines()]
            start, end = told[0], told[-1]
            print(
                f"{number} cores  {how:22s} {start['parameters']:,} parameters  {end['chars_per_second']:10,.0f} characters/s"
                f"  {end['best_val_bits_per_char']:.4f} bits",
                flush=True,
            )


def launches(cores: int) -> list[tuple[str, tuple[str, ...]]]:
    """The ways of sharing so many ``cores``, and what calls the program so."""
    without_forks = "from charrnn import cli; from charrnn.training import gradients; gradients.can_fork = bool; cli.main()"
    ways: list[tuple[str, tuple[str, ...]]] = [("one process", (sys.executable, "-m", "charrnn"))]
    if cores > 1:
        ways = [
            ("1 process, 1 core used", ("env", "OMP_NUM_THREADS=1", sys.executable, "-m", "charrnn")),
            (f"{cores} threads", (sys.executable, "-c", without_forks)),
            (f"{cores} processes", (sys.executable, "-m", "charrnn")),
        ]
    return [*ways, *((f"{ranks} ranks", (*TORCHRUN, "--nproc-per-node", str(ranks), "-m", "charrnn")) for ranks in (1, 2, 4))]


def kills(count: int, ranks: int, steps: int, seed: int, optimizer: str) -> bool:
    """Whether every run that was disturbed ended like the one that wasn't."""
    rng, killed, runs, equal, begun = random.Random(seed), 0, 0, 0, time.monotonic()
    words: tuple[str, ...] = ("train", "tale.txt", "--steps", str(steps), "--hidden-size", "16", "--batch-size", "8")
    words += ("--bptt", "8", "--workers", "1", "--save-every", "0.1", "--log-every", "1")
    words += ("--device", "cpu", "--precision", "fp32", "--optimizer", optimizer, "-q")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tale.txt").write_text(TALE)
        launch = (*TORCHRUN, "--nproc-per-node", str(ranks), "--max-restarts", str(count + 1), "-m", "charrnn", *words)
        subprocess.run((*launch, "--out", "whole"), cwd=folder, check=True, capture_output=True)
        whole = checkpoint.read(Path(folder, "whole", "last.safetensors"))
        while killed < count:
            runs += 1
            out = f"run{runs}"
            agent = subprocess.Popen(
                (*launch, "--out", out),
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            log = Path(folder, out, "log.jsonl")
            while agent.poll() is None and killed < count:
                before = log.stat().st_size if log.exists() else 0
                while agent.poll() is None and (log.stat().st_size if log.exists() else 0) == before:
                    time.sleep(0.01)  # The ranks are at work again once a step is logged.
                time.sleep(rng.uniform(0, 0.5))
                pids = children(agent.pid)
                if len(pids) == ranks:
                    os.kill(rng.choice(pids), signal.SIGKILL)
                    killed += 1
            code = agent.wait()
            last = checkpoint.read(Path(folder, out, "last.safetensors"))
            same = code == 0 and all(
                np.array_equal(value, getattr(last, part)[name])
                for part in ("weights", "extra")
                for name, value in getattr(whole, part).items()
            )
            equal += same
    print(
        f"{killed} kills at {ranks} ranks on {usable_cores()} cores; {runs} runs of {steps} steps, {equal} with equal weights;",
        end="",
    )
    print(f" {time.monotonic() - begun:.0f} s")
    return equal == runs


def rank(text: Path, shape: str, blocks: int) -> None:
    """Be one of two ranks that share their updates every other block of steps; the first prints what steps took."""
    from charrnn import cli
    from charrnn.training.sharing import Sharing

    known = list[tuple[float, float]]()  # when each update began, and what it took

    @contextmanager
    def alternate(sharing: Sharing, *, usual: bool) -> Iterator[bool]:
        begun = time.perf_counter()
        sharing.on = bool(len(known) // BLOCK % 2)
        yield sharing.on
        known.append((begun, time.perf_counter() - begun))

    setattr(Sharing, "step", alternate)  # noqa: B010 - it stands in for a method
    layers, units, columns = shape.split("x")
    words = ["train", str(text), "--layers", layers, "--hidden-size", units, "--batch-size", columns, "--optimizer", "soap"]
    words += ["--steps", str(blocks * BLOCK), "--eval-every", "1000000", "--val-fraction", "0.002", "--device", "cpu"]
    with tempfile.TemporaryDirectory() as folder:
        code = cli.run([*words, "-q", "--log-every", "1000000", "--out", str(Path(folder, "run"))])
    if int(os.environ["RANK"]) or code:
        return
    rows = []
    for way in (0, 1):
        # The first step of a block brings the moments of the other way along; the very first block warms up.
        own = [range(start + 1, start + BLOCK - 1) for start in range(BLOCK, len(known), BLOCK) if start // BLOCK % 2 == way]
        steps = statistics.median(statistics.mean(known[n + 1][0] - known[n][0] for n in block) for block in own)
        rows.append((steps, statistics.median(statistics.mean(known[n][1] for n in block) for block in own)))
    (apart, its), (shared, theirs) = rows
    print(f"{shape}: a step {apart:.4f} s, shared {shared:.4f} s ({shared / apart - 1:+.1%});", file=sys.stderr, end=" ")
    print(f"its update {its:.4f} s, shared {theirs:.4f} s", file=sys.stderr)


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


if __name__ == "__main__":
    main()
