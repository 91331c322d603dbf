"""Draw ``docs/display.svg``, the live display as it stood in the middle of the run that made the shipped checkpoint.

python docs/make_display.py
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

from rich.console import Console as RichConsole

from charrnn.output import display

ROOT = Path(__file__).parent.parent
SHARE = 0.6
"""How much of the run the picture shows."""
COLUMNS, ROWS = 96, 32


def main() -> None:
    """Replay the log and export the display."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg", type=Path, default=ROOT / "docs/display.svg")
    svg = parser.parse_args().svg
    seen = display.Seen()
    events = [json.loads(line) for line in (ROOT / "checkpoints/fables/log.jsonl").read_text(encoding="utf-8").splitlines()]
    end = events[-1]["step"]
    for event in events:
        if event["event"] == "step" and event["step"] > SHARE * end:
            break
        seen.add(event)
    picture = RichConsole(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    picture.print(display.picture(seen, COLUMNS, ROWS))
    picture.save_svg(str(svg), title="charrnn train corpora/fables.txt")


if __name__ == "__main__":
    main()
