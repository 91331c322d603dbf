"""Write ``alphabet.txt`` and ``recall.txt``, two texts on which a network's memory can be seen.

    python corpora/make_tasks.py

``alphabet.txt``: the alphabet forwards and backwards, whole or from a random letter on. ``recall.txt``: delayed recall. Each
record is one of 16 letters, a run of filler of 2 to 60 characters, a question mark, and the same letter again:

    g.........?g

To predict the answer a network must carry the letter across the filler; nothing nearer tells.
"""

import random
import string
from pathlib import Path

SEED = 20_150_521
LETTERS = string.ascii_lowercase[:16]
MIN_DELAY, MAX_DELAY = 2, 60
"""Characters of filler between a letter and the question mark."""


def alphabet(rng: random.Random, lines: int) -> str:
    """``lines`` lines, each the alphabet from some letter to an end, forwards or backwards."""
    out = []
    for _ in range(lines):
        letters = string.ascii_lowercase if rng.random() < 0.5 else string.ascii_lowercase[::-1]
        out.append(letters[0 if rng.random() < 0.5 else rng.randrange(20) :])
    return "\n".join(out) + "\n"


def recall(rng: random.Random, records: int) -> str:
    """``records`` lines of delayed recall."""
    out = []
    for _ in range(records):
        letter = rng.choice(LETTERS)
        out.append(f"{letter}{'.' * rng.randint(MIN_DELAY, MAX_DELAY)}?{letter}\n")
    return "".join(out)


def main() -> None:
    """Write both files beside this script."""
    here = Path(__file__).parent
    (here / "alphabet.txt").write_text(alphabet(random.Random(SEED), 1500), encoding="ascii")
    (here / "recall.txt").write_text(recall(random.Random(SEED + 1), 6000), encoding="ascii")


if __name__ == "__main__":
    main()
