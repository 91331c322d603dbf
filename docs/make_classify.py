"""Draw ``docs/classify.svg``: the classifier that ships making up its mind while it reads a sentence.

    python docs/make_classify.py

How ``checkpoints/intents`` was fitted stands in ``checkpoints/README.md``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from charrnn import cli

ROOT = Path(__file__).parent.parent
SENTENCE = "good morning, wake me up at six"


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg", type=Path, default=ROOT / "docs/classify.svg")
    given = parser.parse_args()
    words = ["classify", "predict", SENTENCE, "-c", str(ROOT / "checkpoints/intents"), "--svg", str(given.svg)]
    if code := cli.run(words):
        sys.exit(code)


if __name__ == "__main__":
    main()
