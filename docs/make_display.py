"""Draw ``docs/display.svg``, the live display as it stood in the middle of the run that made the shipped checkpoint.

python docs/make_display.py
"""

import io
import json
from pathlib import Path

from rich.console import Console as RichConsole

from charrnn.output.console import Console
from charrnn.output.live import LiveView

ROOT = Path(__file__).parent.parent
SHARE = 0.6
"""How much of the run the picture shows."""


def main() -> None:
    """Replay the log and export the display."""
    view = LiveView(Console(stderr=io.StringIO()), as_json=False)
    events = [json.loads(line) for line in (ROOT / "checkpoints/fables/log.jsonl").read_text(encoding="utf-8").splitlines()]
    end = events[-1]["step"]
    for event in events:
        if event["event"] == "step" and event["step"] > SHARE * end:
            break
        view.show(event)
    picture = RichConsole(record=True, width=96, file=io.StringIO(), force_terminal=True)
    picture.print(view.display())
    picture.save_svg(str(ROOT / "docs/display.svg"), title="charrnn train corpora/fables.txt")


if __name__ == "__main__":
    main()
