"""How fast the page of `charrnn export` writes with the shipped network: its engine in node and in Chromium, and its button.

python tests/bench/page.py

Characters a second at temperature 0.8, median and range of seven runs of 3,000 characters; also by the second of the processor,
which other work on the machine doesn't lengthen. The button runs for five seconds and draws the whole page.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import chromium  # noqa: E402
import javascript  # noqa: E402

from charrnn.analysis import rounding  # noqa: E402
from charrnn.network import checkpoint  # noqa: E402
from charrnn.output.page import export  # noqa: E402

CHARACTERS, RUNS, SECONDS = 3000, 7, 5
PROGRAM = """
const seconds = () => clock() / 1000;
const network = new Network(data.network), sampler = new Sampler(network.V, 1), rates = [];
for (let run = 0; run <= data.runs; run++) {
  network.reset();
  network.read(0);
  const began = seconds();
  for (let n = 0; n < data.characters; n++) network.read(sampler.draw(network.predict(), 0.8, 0, network.V - 1));
  if (run) rates.push(data.characters / (seconds() - began));
}
return rates;
"""


WALL = "const clock = () => performance.now();"
PROCESSOR = "const clock = () => { const used = process.cpuUsage(); return (used.user + used.system) / 1000; };"


def shown() -> export.Shown:
    """The shipped network, as its page holds it."""
    trained = checkpoint.read(ROOT / "checkpoints/fables/best.safetensors")
    tensors = {name: rounding.rounded(tensor, "int8") for name, tensor in trained.weights.items()}
    kept = rounding.Rounding("int8", tensors, 0.0, dict.fromkeys(rounding.FORMS, 0.0), 0)
    return export.Shown(trained, "fables", kept, None, [], "nothing")


def told(name: str, rates: list[float]) -> None:
    """A line of the table."""
    print(f"{name:29}{statistics.median(rates):7,.0f} characters/s  ({min(rates):,.0f}-{max(rates):,.0f})")


def main() -> None:
    """Print the table."""
    data = {"runs": RUNS, "characters": CHARACTERS}
    if javascript.NODE is not None:
        for name, clock in (("node", WALL), ("node, of the processor", PROCESSOR)):
            held = {**data, "network": export.network_data(shown())}
            told(name, javascript.evaluate(["shared.js", "network.js"], clock + PROGRAM, held))
    if (browser := chromium.found()) is None:
        return
    with tempfile.TemporaryDirectory() as folder, chromium.running(browser) as page:
        path = Path(folder) / "page.html"
        path.write_text(export.render([shown()]), encoding="utf-8")
        page.open(path)
        time.sleep(3)  # It writes a first text of itself.
        network = "JSON.parse(document.getElementById('data').textContent).networks[0]"
        used = processor(page)
        told("Chromium", page.evaluate(f"((data) => {{ {WALL} {PROGRAM} }})({{ ...{json.dumps(data)}, network: {network} }})"))
        told("Chromium, of the processor", [(RUNS + 1) * CHARACTERS / (processor(page) - used)])
        # What the button writes is counted, since the page keeps the last of it alone.
        page.evaluate(
            "window.written = 0; const step = Player.prototype.step;"
            " Player.prototype.step = function () { window.written++; step.call(this); };"
        )
        page.evaluate("document.getElementById('pace').value = '0'; document.getElementById('run').click()")
        used = processor(page)
        began, before = time.monotonic(), page.evaluate("window.written")
        time.sleep(SECONDS)
        written = page.evaluate("window.written") - before
        told("the whole page", [written / (time.monotonic() - began)])
        told("whole page, of the processor", [written / (processor(page) - used)])


def processor(page: chromium.Chromium) -> float:
    """The seconds of the processor that the page's process has used."""
    page.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in page.send("Performance.getMetrics")["metrics"]}
    return float(metrics["ProcessTime"])


if __name__ == "__main__":
    main()
