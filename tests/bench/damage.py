"""Read ten thousand checkpoints, each damaged in one of many ways.

    python tests/bench/damage.py [--mutations 10000] [--seed 0]

Prints for each way how many were read, how many were refused, and the slowest.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import attacks
import numpy as np

from charrnn import CharrnnError
from charrnn.config import ModelConfig
from charrnn.network.checkpoint import Checkpoint, read, write
from charrnn.text.vocabulary import Vocabulary


def main() -> None:
    """Print the counts; raise where a file that is read isn't sound, or where another error than `CharrnnError` refuses it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    vocabulary = Vocabulary("char", "\n abcé😀")
    model = ModelConfig(vocabulary.size, "lstm", embedding_size=4, hidden_size=8)
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in model.parameter_shapes().items()}
    sound = Checkpoint(model, vocabulary, {"corpus": "tale", "step": 7}, weights, {"state": np.ones(16, np.float32)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.safetensors")
        write(path, sound)
        data = path.read_bytes()
        makers: dict[str, Callable[[], Iterator[tuple[str, bytes]]]] = {
            "mutations": lambda: attacks.mutations(data, options.mutations, options.seed),
            "truncations": lambda: attacks.truncations(data),
            "header lengths": lambda: attacks.header_lengths(data),
            "large headers": attacks.large_headers,
            "faults": lambda: attacks.faults(data),
            "sound variants": lambda: attacks.sound_variants(data),
        }
        print(f"a sound file of {len(data)} bytes")
        for name, make in makers.items():
            outcomes: collections.Counter[str] = collections.Counter()
            slowest, faulty = (0.0, ""), 0
            for what, content in make():
                path.write_bytes(content)
                begun = time.perf_counter()
                try:
                    found = read(path)
                    outcome = "read"
                except CharrnnError as error:
                    outcome, said = "refused", str(error)
                slowest = max(slowest, (time.perf_counter() - begun, what))
                if outcome == "refused":
                    # One line that names the file.
                    faulty += not (said.startswith(f"{path}: ") and said.isprintable())
                else:
                    assert {key: value.shape for key, value in found.weights.items()} == found.model.parameter_shapes(), what
                    assert all(np.isfinite(value).all() for value in found.weights.values()), what
                outcomes[outcome] += 1
            counts = f"{outcomes['read']:6,} read {outcomes['refused']:6,} refused"
            print(f"{name:15s} {counts} ({faulty} not by a plain line); slowest {slowest[0] * 1000:.1f} ms ({slowest[1]})")


if __name__ == "__main__":
    main()
