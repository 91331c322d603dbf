"""Cold starts: the whole process of ``charrnn --help`` and ``charrnn sample -n 1`` beside a bare interpreter.

    python tests/bench/startup.py

Seconds, median and range of eleven interleaved runs, in the repository, so that the shipped checkpoint is found.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "charrnn --help": [sys.executable, "-m", "charrnn", "--help"],
    "charrnn sample -n 1": [sys.executable, "-m", "charrnn", "sample", "-n", "1", "--seed", "0"],
    "charrnn info": [sys.executable, "-m", "charrnn", "info"],
    "python -c 'import torch'": [sys.executable, "-c", "import torch"],
}


def main() -> None:
    """Print the table."""
    # As on a user's machine: compiled modules are kept.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for repeat in range(12):
        for name, command in COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True, env=environment)
            if repeat:  # The first round warms the disk's cache.
                seconds[name].append(time.perf_counter() - begun)
    for name, values in seconds.items():
        print(f"{name:26}{statistics.median(values):6.3f} s  ({min(values):.3f}-{max(values):.3f})")


if __name__ == "__main__":
    main()
