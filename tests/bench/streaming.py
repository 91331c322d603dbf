"""What it costs to stream a sample into a pipe: the whole way of ``charrnn sample`` beside ids that nobody reads.

    python tests/bench/streaming.py [--rounds 7]

Characters per second of processor time, which a busy machine disturbs least; the shipped network, one stream, a pipe that
another process empties. Both take turns; the cost is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

CHARACTERS = 20_000
CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "fables"


def measure() -> tuple[float, float]:
    """Seconds for the ids alone, and for the text into stdout."""
    from charrnn.config import SampleConfig
    from charrnn.generation.drawing import Sampler, generator
    from charrnn.generation.generate import generate
    from charrnn.generation.request import SampleRequest
    from charrnn.generation.streaming import Generation
    from charrnn.output import sampled
    from charrnn.output.console import Console

    request = SampleRequest(SampleConfig(length=CHARACTERS, seed=0), CHECKPOINT)
    generation, console = Generation(request, print), Console(quiet=True)
    start = generation.start(0)
    sampler = Sampler(generator(0), generation.drawing)
    ids = generate(generation.network, start.logits, start.state.copy(), sampler)
    for _ in islice(ids, 1000):
        pass
    begun = time.process_time()
    for _ in islice(ids, CHARACTERS):
        pass
    middle = time.process_time()
    sampled.show(generation, console, sampled.Shown(), sampled.Compared())
    console.finish()
    return middle - begun, time.process_time() - middle


def main() -> None:
    """Print the rates and the cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        from charrnn.cli.process import limit_threads

        limit_threads()
        print(*measure(), file=sys.stderr)
        return
    rounds = []
    for _ in range(options.rounds):
        command = [sys.executable, __file__, "--child"]
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
            done = subprocess.run(command, check=True, stdout=reader.stdin, stderr=subprocess.PIPE, text=True)
            assert reader.stdin is not None
            reader.stdin.close()
        rounds.append(tuple(map(float, done.stderr.split())))
    bare, streamed = zip(*rounds, strict=True)
    for name, seconds in (("ids alone", bare), ("into a pipe", streamed)):
        rates = sorted(CHARACTERS / taken for taken in seconds)
        print(f"{name:12}{statistics.median(rates):>9,.0f} chars/s ({rates[0]:,.0f}-{rates[-1]:,.0f})")
    print(f"cost        {statistics.median(b / a for a, b in rounds) - 1:>9.1%}")


if __name__ == "__main__":
    main()
