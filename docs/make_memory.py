"""Draw ``docs/memory.svg``: how far back an RNN, a GRU and an LSTM of one size remember after the same training.

    python docs/make_memory.py              # a few minutes on two CPU cores
    python docs/make_memory.py --runs DIR   # keep the networks in DIR; those that are there already are not trained again

All settings but the cell, the number of units and the weight decay (0.1) are what ``charrnn train`` chooses for this text and
3000 steps; one worker, because several add up in another order. The networks read the text's last
20,000 characters, which training holds out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from charrnn import cli
from charrnn.network import rundir

ROOT = Path(__file__).parent.parent
TEXT = ROOT / "corpora/fables.txt"
CELLS = ("rnn", "gru", "lstm")
QUESTION = "What time is it?"


def call(*words: object) -> None:
    """One command line; what fails ends the script."""
    if code := cli.run([str(word) for word in words]):
        sys.exit(code)


def main() -> None:
    """Train, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--svg", type=Path, default=ROOT / "docs/memory.svg")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        runs = [(given.runs or Path(scratch)) / cell for cell in CELLS]
        for run in runs:
            if not (run / rundir.BEST).exists():
                size = ("--hidden-size", given.hidden_size, "--steps", given.steps, "--weight-decay", 0.1)
                call("train", TEXT, "--cell", run.name, *size, "--device", "cpu", "--workers", 1, "--out", run)
        compared = [word for run in runs for word in ("-c", run)]
        call("inspect", "--memory", "--file", TEXT, "--contribution", QUESTION, *compared, "--svg", given.svg)


if __name__ == "__main__":
    main()
