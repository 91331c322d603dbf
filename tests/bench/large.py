"""Large texts: how fast they are read, and what of a run depends on their size.

    python tests/bench/large.py write ascii 2000 PATH [SEED]

writes 2,000 MB of made-up sentences, always the same ones: ``ascii``, ``two`` (Cyrillic letters, two bytes each) or ``three``
(2,500 Chinese characters, three bytes each).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

MEGABYTE = 1_000_000
KINDS = {"ascii": (range(ord("a"), ord("z") + 1), 8), "two": (range(0x430, 0x450), 8), "three": (range(0x4E00, 0x57C4), 2)}
"""The letters of each kind of text, and how many a word has at most."""
WORDS, SENTENCE = 5_000, 12
"""So many words are made up, and a sentence has so many of them on average."""


def sentences(kind: str, size: int, seed: int = 0) -> Iterator[bytes]:
    """Exactly ``size`` bytes of sentences in blocks; the last character may be a few spaces."""
    letters, longest = KINDS[kind]
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, WORDS)
    words = ["".join(map(chr, rng.choice(letters, length))) for length in lengths]
    space, stop = ("", "\u3002\n") if kind == "three" else (" ", ".\n")
    spelled = [word.encode() for word in [word + space for word in words] + [word + stop for word in words]]
    left = size
    while left:
        ranks = np.minimum(rng.zipf(1.3, 100_000) - 1, WORDS - 1)  # As in languages, few words are most of the text.
        ranks[rng.random(len(ranks)) < 1 / SENTENCE] += WORDS
        block = b"".join([spelled[rank] for rank in ranks.tolist()])
        if len(block) > left:
            whole = block[:left].decode(errors="ignore").encode()
            block = whole + b" " * (left - len(whole))
        left -= len(block)
        yield block


def write(path: Path, kind: str, megabytes: float, seed: int = 0) -> None:
    """Make a file of so many ``megabytes``."""
    with path.open("wb") as file:
        file.writelines(sentences(kind, int(megabytes * MEGABYTE), seed))


def main() -> None:
    """Write a text."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    writing = verbs.add_parser("write")
    writing.add_argument("kind", choices=KINDS)
    writing.add_argument("megabytes", type=float)
    writing.add_argument("path", type=Path)
    writing.add_argument("seed", type=int, nargs="?", default=0)
    given = parser.parse_args()
    write(given.path, given.kind, given.megabytes, given.seed)


if __name__ == "__main__":
    main()
