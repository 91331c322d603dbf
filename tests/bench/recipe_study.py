"""The study behind the recipe: validation losses by text, budget and setting.

    python tests/bench/recipe_study.py TEXT... [--minutes 1 3 10] [--cells lstm gru rnn] [--settings plan 384 512:in=.1,wd=.05]

A setting is a hidden size with dropouts (``in``, ``out``), weight decay (``wd``), chunk length (``bptt``), columns (``n``)
and their groups (``g``), optimizer (``opt``), learning rate (``lr``), ``cell`` or ``layers``; ``plan`` is whatever the recipe
chooses, in real minutes. Other settings have fixed steps: a minute stands for as many as a quiet machine of ``--speed`` would
make, so that a busy machine changes nothing; with ``--wall`` they have real minutes too. Each line also says what ``xz -9``
needs for the whole text, in bits per UTF-8 byte. Three texts come from the interpreter: its modules, the topics of its
documentation, and 3 MB of English, as long as a novel: these topics and what its modules and NumPy's say of themselves.

    python tests/bench/recipe_study.py --write-stdlib stdlib.txt --write-topics topics.txt --write-prose prose.txt
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import itertools
import json
import lzma
import math
import random
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from charrnn.config import TrainConfig
from charrnn.training.recipe import cost

PROSE = 3_000_000
"""Characters of a novel."""
OPTIONS = {
    "in": "--dropout-input",
    "out": "--dropout-output",
    "wd": "--weight-decay",
    "bptt": "--bptt",
    "n": "--batch-size",
    "g": "--groups",
    "lr": "--lr",
    "opt": "--optimizer",
    "cell": "--cell",
    "layers": "--layers",
}


def options(setting: str) -> list[str]:
    """The options of a setting; what it doesn't name has a fixed plain value, whatever the recipe would choose."""
    size, _, rest = setting.partition(":")
    named = dict(part.split("=") for part in rest.split(",") if part)
    plain = {
        "in": "0",
        "out": "0",
        "wd": ".01",
        "bptt": "64",
        "n": "32",
        "g": "1",
        "opt": "muon",
        "lr": f"{0.01 * (384 / int(size)) ** 0.5:.2g}",
    }
    return ["--hidden-size", size, *(word for name, value in (plain | named).items() for word in (OPTIONS[name], value))]


def length(minutes: float, setting: str, speed: float) -> list[str]:
    """Minutes on the nominal machine, as a number of steps."""
    size, _, rest = setting.partition(":")
    named = dict(part.split("=") for part in rest.split(",") if part)
    update = int(named.get("n", 32)) * int(named.get("bptt", 64))
    return ["--steps", str(round(60 * minutes * speed / cost(int(size), int(named.get("layers", 1))) / update))]


def train(arguments: list[str]) -> dict[str, Any]:
    """Train in a process of its own; its last event, with the first moment at or under 2.721 bits."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "charrnn", "train", *arguments, "--json", "-q", "--out", f"{folder}/run"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        events = [json.loads(line) for line in done.stdout.splitlines()]
    early = (event["seconds"] for event in events if event["event"] == "eval" and event["val_bits_per_char"] <= 2.721)
    start = next(event for event in events if event["event"] == "start")
    return {**start["config"], **start["config"]["model"], **events[-1], "under": next(early, None)}


def bits_per_byte(path: Path, bits_per_char: float) -> tuple[float, float]:
    """The score of the validation text in bits per UTF-8 byte, and what ``xz -9`` needs for the whole text."""
    data = path.read_bytes()
    text = data.decode("utf-8", errors="replace")
    tail = text[-round(TrainConfig().val_fraction * len(text)) :]
    return bits_per_char * len(tail) / len(tail.encode()), 8 * len(lzma.compress(data, preset=9)) / len(data)


def topics() -> list[str]:
    """The topics of the interpreter's documentation."""
    return [*importlib.import_module("pydoc_data.topics").topics.values()]


def docstrings(folder: Path) -> Iterator[str]:
    """What the modules below a folder, and all that is in them, say of themselves; tests aside."""
    for path in sorted(folder.rglob("*.py")):
        if {"site-packages", "test", "tests"} & {*path.relative_to(folder).parts}:
            continue
        with contextlib.suppress(SyntaxError, ValueError):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    yield ast.get_docstring(node) or ""


def prose() -> str:
    """3 MB of English, each piece once, in an order drawn by chance: its end is like the rest."""
    numpy = Path(importlib.import_module("numpy").__file__ or "").parent
    pieces = [*topics(), *docstrings(Path(sysconfig.get_path("stdlib"))), *docstrings(numpy)]
    found = [*dict.fromkeys(piece for piece in pieces if len(piece) > 80)]
    random.Random(0).shuffle(found)
    return "\n\n".join(found)[:PROSE]


def main() -> None:
    """Run every setting on every text and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--minutes", nargs="+", type=float, default=[1.0])
    parser.add_argument("--settings", nargs="+", default=["plan"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--speed", type=float, default=50_000, help="characters/s of the reference network")
    parser.add_argument("--wall", action="store_true", help="real minutes")
    parser.add_argument("--cells", nargs="+", default=["lstm"], help="cells for which the recipe chooses")
    parser.add_argument("--write-stdlib", type=Path, metavar="FILE")
    parser.add_argument("--write-topics", type=Path, metavar="FILE")
    parser.add_argument("--write-prose", type=Path, metavar="FILE")
    given = parser.parse_args()
    if given.write_stdlib:
        sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
        given.write_stdlib.write_text(
            "".join(path.read_text(encoding="utf-8", errors="replace") for path in sources), encoding="utf-8"
        )
    if given.write_topics:
        given.write_topics.write_text("\n".join(topics()), encoding="utf-8")
    if given.write_prose:
        given.write_prose.write_text(prose(), encoding="utf-8")
    for path in given.texts:
        for minutes in given.minutes:
            for setting in given.settings:
                for seed, cell in itertools.product(given.seeds, given.cells):
                    timed = given.wall or setting == "plan"
                    budget = ["--minutes", str(minutes)] if timed else length(minutes, setting, given.speed)
                    chosen = ["--cell", cell] if setting == "plan" else options(setting)
                    end = train([str(path), *budget, *chosen, "--seed", str(seed)])
                    bits = end["best_val_bits_per_char"]
                    score, xz = bits_per_byte(path, bits)
                    under = "" if end["under"] is None else f"  2.721 at {end['under']:.1f} s"
                    network = f"{end['cell']} {end['num_layers']} x {end['hidden_size']:4}"
                    read = f"{end['groups']:2} x {end['batch_size']:2} x {end['bptt']:3}"
                    shape = f"{network}  {read} {end['optimizer']} lr {end['lr']:.2g}"
                    kept = f"dropout {end['dropout_input']:.2f}/{end['dropout_output']:.2f} wd {end['weight_decay']:.2g}"
                    pace = f"{end['step']:5} steps {end['chars_per_second'] / 1000:4.0f}k/s"
                    found = f"{bits:.4f} bits {bits * math.log(2):.4f} nats  {score:.3f} bits/byte (xz {xz:.3f})"
                    print(
                        f"{path.stem:16} {minutes:4g} min  {setting:36} {shape} {kept}  seed {seed}  {pace}  {found}{under}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
