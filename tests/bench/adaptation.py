"""What a learning rate does to a network that learns another text: the loss on the new text, and what it forgets of the old.

    python tests/bench/adaptation.py OLD NEW [OLD NEW ...] [--steps 60 300] [--shares 1 .5 .25 .125 .0625] [--seeds 0]

For each pair a network is trained on the beginning of OLD, and goes on from there (``--init-from``) on the beginning of NEW, at
shares of the rate that the recipe gives to a fresh network. All runs have fixed steps, so a busy machine changes nothing. Both
losses are of the best checkpoint, in bits per character: on the validation part of NEW, and on that of OLD.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HIDDEN, OLD_STEPS = 128, 1000
OLD_CHARACTERS, NEW_CHARACTERS = 200_000, 100_000


def charrnn(*arguments: str | Path) -> list[dict[str, Any]]:
    """The objects that a command prints."""
    command = [sys.executable, "-m", "charrnn", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def beginning(source: str, characters: int, path: Path) -> Path:
    """A file with the first ``characters`` of ``source``."""
    path.write_text(Path(source).read_text(encoding="utf-8")[:characters], encoding="utf-8")
    return path


def train(text: Path, run: Path, steps: int, seed: int, *more: str | Path) -> float:
    """Train into the directory ``run``; the best validation loss."""
    events = charrnn("train", text, "--steps", str(steps), "--seed", str(seed), "--workers", "1", "--out", run, "-q", *more)
    return float(events[-1]["best_val_bits_per_char"])


def loss(run: Path, text: Path) -> float:
    """The loss of a run's best network on the last tenth of ``text``, which was not trained on."""
    characters = text.read_text(encoding="utf-8")
    held_out = text.with_suffix(".held-out")
    held_out.write_text(characters[-len(characters) // 10 :], encoding="utf-8")
    return float(charrnn("score", "-c", run, held_out, "-q")[0]["bits_per_char"])


def planned_rate(text: Path, steps: int) -> float:
    """The learning rate of a fresh network of the same size."""
    (plan,) = charrnn("train", text, "--steps", str(steps), "--hidden-size", str(HIDDEN), "--dry-run", "-q")
    return float(plan["settings"]["lr"])


def compare(old: str, new: str, steps: list[int], shares: list[float], seeds: list[int]) -> None:
    """Print a row for each number of steps and each share of the rate."""
    names = f"{Path(old).name} -> {Path(new).name}"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        was = beginning(old, OLD_CHARACTERS, root / "old.txt")
        now = beginning(new, NEW_CHARACTERS, root / "new.txt")
        size = ("--hidden-size", str(HIDDEN))
        for seed in seeds:
            train(was, root / f"old-{seed}", OLD_STEPS, seed, *size)
        untouched = sum(loss(root / f"old-{seed}", was) for seed in seeds) / len(seeds)
        unadapted = sum(loss(root / f"old-{seed}", now) for seed in seeds) / len(seeds)
        print(f"{names:40} {'before':>14} {'':>8} {'new':>7} {unadapted:.3f} {'old':>7} {untouched:.3f}", flush=True)
        for count in steps:
            fresh = sum(train(now, root / f"fresh-{count}-{seed}", count, seed, *size) for seed in seeds) / len(seeds)
            print(f"{names:40} {count:6} steps fresh {'':>9} new {fresh:.3f}", flush=True)
            rate = planned_rate(now, count)
            for share in shares:
                learnt, kept = [], []
                for seed in seeds:
                    run = root / f"{count}-{share}-{seed}"
                    options = ("--init-from", root / f"old-{seed}", "--lr", f"{rate * share:.4g}")
                    learnt.append(train(now, run, count, seed, *options))
                    kept.append(loss(run, was))
                means = (sum(losses) / len(losses) for losses in (learnt, kept))
                print(
                    f"{names:40} {count:6} steps x {share:<6g} lr {rate * share:<7.2g} new %.3f old %.3f" % tuple(means),
                    flush=True,
                )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+", metavar="OLD NEW")
    parser.add_argument("--steps", type=int, nargs="+", default=[60, 300])
    parser.add_argument("--shares", type=float, nargs="+", default=[1, 0.5, 0.25, 0.125, 0.0625])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = parser.parse_args()
    if len(given.texts) % 2:
        parser.error("texts come in pairs: OLD NEW")
    for old, new in zip(given.texts[::2], given.texts[1::2], strict=True):
        compare(old, new, given.steps, given.shares, given.seeds)


if __name__ == "__main__":
    main()
