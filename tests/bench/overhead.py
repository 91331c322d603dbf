"""Where the time of a training run goes: the share of each part, in a terminal and into a pipe.

    python tests/bench/overhead.py TEXT [--minutes 1] [--rounds 3] [ARGUMENT...]

Each round runs ``charrnn train TEXT --minutes M ARGUMENT...`` in a process of its own, once in a terminal of 120 x 40 and once
with ``--json`` into a pipe. A clock runs for every part that the main thread goes through; a part inside another counts for
itself alone. Prints medians of the rounds. The gradients and the optimizer are the training itself; the rest should be small
beside them.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import json
import os
import pty
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTS = (
    "gradients",
    "optimizer",
    "clipping",
    "batches, dropout",
    "validation",
    "statistics",
    "sample",
    "saving",
    "log",
    "display",
)
OTHER = ("start", "the rest")


class Clock:
    """Seconds by part; a part inside another counts for itself alone."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys((*PARTS, *OTHER), 0.0)
        self._now, self._since = "start", time.perf_counter()

    def enter(self, part: str) -> str:
        """Count for ``part`` from now on, and return the part that was counted for until now."""
        now, before = time.perf_counter(), self._now
        self.seconds[before] += now - self._since
        self._now, self._since = part, now
        return before

    def around(self, owner: Any, name: str, part: str) -> None:
        """Count the time inside ``owner.name`` for ``part``."""
        function: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            # Whatever comes before the first step is the start.
            if self._now == "start" and part != "the rest":
                return function(*args, **options)
            before = self.enter(part)
            try:
                return function(*args, **options)
            finally:
                self.enter("the rest" if before == "start" else before)

        setattr(owner, name, timed)


def run(arguments: list[str], results: Path) -> None:
    """The command in this process; writes the seconds of every part."""
    clock = Clock()
    import torch

    from charrnn import cli
    from charrnn.analysis import advice
    from charrnn.network.rundir import RunDirectory
    from charrnn.output import live
    from charrnn.text import streams
    from charrnn.training import evaluation, gradients, learner, model, optimizer, trainer

    for owner, name, part in (
        (learner.Learner, "step", "the rest"),
        (gradients, "of_chunk", "gradients"),
        (optimizer.Optimizer, "take_gradients", "optimizer"),
        (optimizer.Optimizer, "step", "optimizer"),
        (torch.nn.utils, "clip_grad_norm_", "clipping"),
        (streams.Streams, "batch", "batches, dropout"),
        (model.CharRNN, "dropout_masks", "batches, dropout"),
        (evaluation, "evaluate", "validation"),
        (advice, "measure", "statistics"),
        (evaluation, "sample", "sample"),
        (trainer.Trainer, "snapshot", "saving"),
        (RunDirectory, "save", "saving"),
        (RunDirectory, "log", "log"),
        (live.TrainingView, "show", "display"),
    ):
        clock.around(owner, name, part)
    sys.argv[1:] = arguments
    try:
        cli.main()
    finally:
        clock.enter("the rest")
        results.write_text(json.dumps(clock.seconds), encoding="utf-8")


def in_terminal(command: list[str]) -> None:
    """Run ``command`` with a terminal for stdout and stderr, and read whatever it writes."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    with subprocess.Popen(command, stdout=follower, stderr=follower, env={**os.environ, "TERM": "xterm-256color"}) as child:
        os.close(follower)
        try:
            while os.read(leader, 1 << 16):
                pass
        except OSError:  # Linux reports the end this way.
            pass
    os.close(leader)
    if child.returncode:
        raise SystemExit(f"{command} failed")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options, more = parser.parse_known_args()
    if options.child:
        run(["train", options.text, "--minutes", str(options.minutes), *more], options.child)
        return
    found: dict[str, list[dict[str, float]]] = {"terminal": [], "pipe": []}
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "seconds.json"
        for _ in range(options.rounds):
            for where, measured in found.items():
                out = tempfile.mkdtemp(dir=folder)
                child = [sys.executable, __file__, options.text, "--minutes", str(options.minutes), "--child", str(results)]
                if where == "terminal":
                    in_terminal([*child, *more, "--out", out])
                else:
                    subprocess.run([*child, *more, "--out", out, "--json"], check=True, capture_output=True)
                measured.append(json.loads(results.read_text(encoding="utf-8")))
    print(f"{'share of the run':18}" + "".join(f"{where:>10}" for where in found))
    for part in (*PARTS, *OTHER):
        shares = [statistics.median(one[part] / sum(one.values()) for one in measured) for measured in found.values()]
        print(f"{part:18}" + "".join(f"{share:10.2%}" for share in shares))


if __name__ == "__main__":
    main()
