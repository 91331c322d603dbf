"""Draw the pictures of ``docs/guide/memory.md`` that show the shipped network at work.

    python docs/make_tour.py

``docs/position.svg``: a text coloured by the cell of the unit that counts the position in the line. ``docs/unit.svg``: the same
text by that unit's h, which the output gate lets through. The curves of ``docs/memory.svg`` are drawn by ``make_memory.py``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from charrnn import cli

ROOT = Path(__file__).parent.parent
TEXT = """The fox said to the crow: sing a little, and let me hear whether your
voice is as fine as your coat.
"No," said the crow.
The fox waited."""
UNIT = "0:165"
"""The unit that counts the position in the line; ``make_shipped.py`` writes it anew."""
PICTURES = {"position.svg": f"{UNIT}c", "unit.svg": UNIT}
"""Each picture, and the unit by which it colours the text."""


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    given = parser.parse_args()
    for name, unit in PICTURES.items():
        words = ["inspect", TEXT, "--unit", unit, "-c", str(ROOT / "checkpoints/fables"), "--svg", str(given.out / name), "-q"]
        if code := cli.run(words):
            sys.exit(code)


if __name__ == "__main__":
    main()
