"""Reading and encoding text: megabytes per second of 200 MB of ASCII, on one core.

    python tests/bench/encoding.py [TEXT]

TEXT (default: ``corpora/fables.txt``) is repeated to 200 MB. Median and range of five runs of the whole way from file to ids:
reading, SHA-256, decoding, line ends, counting, encoding.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from charrnn.text.corpus import read_corpus

BYTES = 200_000_000


def main() -> None:
    """Print the rate."""
    text = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2] / "corpora" / "fables.txt").read_bytes()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        for _ in range(BYTES // len(text)):
            file.write(text)
        file.flush()
        size, rates = Path(file.name).stat().st_size, []
        for _ in range(5):
            begun = time.perf_counter()
            read_corpus([file.name])
            rates.append(size / 1e6 / (time.perf_counter() - begun))
    print(f"encoding: {statistics.median(rates):,.0f} MB/s ({min(rates):,.0f}-{max(rates):,.0f}), one core")


if __name__ == "__main__":
    main()
