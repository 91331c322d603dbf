"""Make ``docs/fables.html``, the page of the shipped network, ``docs/fables.png``, README's first picture, of it, and
``docs/reach.svg``, how far back that network remembers.

    python docs/make_page.py            # all; the picture needs Chromium
    python docs/make_page.py --picture  # README's picture alone, of the page as it is

Page and curves are measured on the last 20,000 characters of ``corpora/fables.txt``, which training held out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from charrnn import cli

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import chromium  # noqa: E402

PAGE, PICTURE, REACH = (ROOT / "docs" / name for name in ("fables.html", "fables.png", "reach.svg"))
MEASURED = ("-c", "checkpoints/fables", "--file", "corpora/fables.txt")
SIZE = (1200, 1010)
PROMPT, TEMPERATURE, CHARACTERS = "A Fox ", 0.5, 520


def main() -> None:
    """Export the network, open the page, and take its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", action="store_true")
    if not parser.parse_args().picture:
        os.chdir(ROOT)  # The page tells the text's name as it is given.
        for words in (["export", str(PAGE)], ["inspect", "--memory", "--svg", str(REACH), "-q"]):
            if code := cli.run([*words, *MEASURED]):
                sys.exit(code)
    if (executable := chromium.found()) is None:
        sys.exit("no Chromium on the path, so no picture; CHARRNN_CHROMIUM may name one")
    with chromium.running(executable) as browser:
        browser.open(PAGE, width=SIZE[0], height=SIZE[1])
        browser.send("Emulation.setScrollbarsHidden", hidden=True)
        idle = "document.getElementById('run').textContent === 'Run' && document.querySelector('path.curve')"
        wait(browser, idle)  # It writes a first text of itself.
        browser.evaluate(
            f"give = (id, value) => {GIVE}; give('temperature', {TEMPERATURE}); give('prompt', {json.dumps(PROMPT)})"
        )
        browser.evaluate(f"for (let n = 0; n < {CHARACTERS}; n++) document.getElementById('step').click()")
        time.sleep(1)
        browser.screenshot(PICTURE)


GIVE = "{ const e = document.getElementById(id); e.value = value; e.dispatchEvent(new Event('input')); }"


def wait(browser: chromium.Chromium, condition: str) -> None:
    """Wait until something is so in the page."""
    while not browser.evaluate(f"Boolean({condition})"):
        time.sleep(0.1)


if __name__ == "__main__":
    main()
