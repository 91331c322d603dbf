"""Make anew whatever depends on the networks that ship: after `checkpoints/fables` or `checkpoints/intents` was trained anew.

    python docs/make_shipped.py    # two minutes; the picture of the page needs Chromium

The page and the pictures are made by their own scripts. The figures that documents and tests name, and the name of the unit
that counts the position in the line, are measured and written where `PLACES` says that they stand. Whether the sentence around
one is still true, only a reader can tell: `git diff` shows each, and the tests say more. Measurements of the past
(`tests/bench/`, `docs/decisions.md`) stay as they are.
"""

from __future__ import annotations

import io
import json
import re
import runpy
import shlex
import sys
import textwrap
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from charrnn import cli

ROOT = Path(__file__).parent.parent
FABLES, INTENTS, PAGE = (Path(name) for name in ("checkpoints/fables", "checkpoints/intents", "docs/fables.html"))
QUESTION = "What time is it?"
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

PLACES: dict[str, list[str]] = {
    "README.md": [
        "a grid of <units> units]",
        "It has read <about> characters of fables for <minutes>,",
    ],
    "checkpoints/README.md": [
        "is an LSTM, <layers> x <units>, trained on",
        "It has <accuracy> % of the sentences in `corpora/intents-test.tsv` right",
    ],
    "docs/glossary.md": ["`charrnn inspect --unit <unit> '", "`charrnn inspect --unit <unit>c '"],
    "docs/manual.md": [
        "charrnn inspect --unit <unit>c 'What time is it?'",
        "of the shipped network's unit <unit>, lines grow long or short by it",
        "A network of <layers> x <units> makes a page of <megabytes> MB",
        "torch.nn.LSTM(<embedding>, <units>)",
    ],
    "docs/guide/memory.md": [
        "The shipped network has <units> such numbers, called units.",
        "the question mark has <last> %, the four characters before it together <before> %, and the word `What` <first> %.",
        "Unit <number> of the shipped network.",
        "![A text coloured by the cell of unit <number>:",
        "charrnn inspect --unit <unit>c 'The fox said",
        "The hidden state of the same unit (`--unit <unit>`)",
        "charrnn sample --clamp <unit>=-1 -n",
        "charrnn sample --clamp <unit>=1 -n",
        "the forget gate is <forget> on average:",
        "half of the units hold on for <half> or fewer, the one that holds longest for <longest>.",
        "<remembers> characters, the shipped network,",
        "with <remembers> characters its loss is within 1 %",
    ],
    "docs/guide/python.md": [
        "<charrnn lstm <layers> x <units>, ... symbols",
        'clamp={"<unit>": -1}, seed=3)  # unit <number> of layer <layer> held at -1',
        "each (<layers>, 16, <units>) (layers, characters, units)",
        'states.gates["f"][<layer>, :, <number>]  # unit <number>\'s forget gate',
        "bits/char, lstm <layers> x <units>, checkpoints/fables/",
    ],
    "docs/reference/python.md": [
        'net.weights["rnn.weight_hh_l0"].shape (<rows>, <units>)',
        'maps units, as `"<unit>"`, to',
        'a unit `"<unit>"` or its cell `"<unit>c"`',
        'len(found.values("<unit>"))',
    ],
    "charrnn/trained.py": ['``"<unit>"``, to the values'],
    "charrnn/output/notebook.py": ["``<unit>``, or its cell as ``<unit>c``"],
    "docs/make_tour.py": ['UNIT = "<unit>"'],
    "tests/conftest.py": ['COUNTER = "<unit>"'],
}
"""Where figures stand, by their names in `figures`; a space is any blank, a new line too."""
FORMS = {"unit": r"\d+:\d+", "minutes": r"[a-z0-9]+\s+minutes?"}
"""What a figure looks like, if it isn't a number."""
QUOTED = re.compile(r"`(charrnn sample[^`]*)` gives\n\n((?:> .*\n)+)")
"""What README shows of the network: a command and what it writes."""
TRAINED = re.compile(r"^charrnn train corpora/fables\.txt (?:.*\\\n)*.*\n", re.MULTILINE)
"""The command that trained the network, in `checkpoints/README.md`."""


def written(*words: object) -> str:
    """What a command of the program prints."""
    with redirect_stdout(io.StringIO()) as out:
        if code := cli.run([str(word) for word in words]):
            sys.exit(code)
    return out.getvalue()


def asked(*words: object) -> Any:
    """The JSON object that a command prints."""
    return json.loads(written(*words, "--json"))


def of_the_page() -> dict[str, str]:
    """What the page of the shipped network was measured to say."""
    html = (ROOT / PAGE).read_text(encoding="utf-8")
    (found,) = re.findall(r'id="data">(.*?)</script>', html, re.DOTALL)
    (network,) = json.loads(found)["networks"]
    (unit,) = (one for one in network["units"] if one["follows"] == "position in the line")
    return {
        "unit": f"{unit['layer']}:{unit['unit']}",
        "layer": str(unit["layer"]),
        "number": str(unit["unit"]),
        "remembers": str(network["remembers"]),
        "megabytes": f"{len(html.encode()) / 1e6:.1f}",
    }


def of_the_checkpoint() -> dict[str, str]:
    """What its header says of a network and its training."""
    facts = asked("info", ROOT / FABLES)
    if facts["cell"] != "lstm":
        sys.exit("the documents speak of an LSTM, its cell and its gates: a network of another kind needs other sentences")
    minutes = round(facts["seconds"] / 60)
    return {
        "layers": str(facts["layers"]),
        "units": str(facts["hidden_size"]),
        "embedding": str(facts["embedding_size"]),
        "rows": str(4 * facts["hidden_size"]),
        "about": f"{round(facts['characters'], -4):,}",
        "minutes": "a minute" if minutes < 2 else f"{WORDS[minutes]} minutes" if minutes < len(WORDS) else f"{minutes} minutes",
    }


def of_the_question() -> dict[str, str]:
    """What the final state still holds of a question's beginning and of its end, in percent; how long its units hold on."""
    shares = asked("inspect", "--contribution", QUESTION, "-c", ROOT / FABLES, "-q")["contribution"]
    parts = {"last": shares[-1:], "before": shares[-5:-1], "first": shares[:4]}
    (layer,) = asked("inspect", QUESTION, "-c", ROOT / FABLES, "-q")["layers"]
    held = layer["tau"]
    gates = {"forget": f"{layer['gates']['f']:.2f}", "half": f"{held['quartiles'][1]:.1f}", "longest": f"{held['longest']:.0f}"}
    return gates | {name: f"{100 * sum(part):.0f}" for name, part in parts.items()}


def of_the_classifier() -> dict[str, str]:
    """How many intents it gets right, in percent."""
    found = asked("classify", "evaluate", ROOT / "corpora/intents-test.tsv", "-c", ROOT / INTENTS, "-q")
    return {"accuracy": f"{100 * found['accuracy']:.1f}"}


FIGURES = (of_the_page, of_the_checkpoint, of_the_question, of_the_classifier)
"""Whatever is measured, by how."""


def figures() -> dict[str, str]:
    """Every figure by its name."""
    return {name: value for measure in FIGURES for name, value in measure().items()}


def expression(place: str) -> re.Pattern[str]:
    """What finds a place: a group for each figure, whose name is the figure's and its number in the place."""
    parts = re.split("<([a-z]+)>", place)
    for index in range(1, len(parts), 2):
        parts[index] = f"(?P<{parts[index]}_{index}>{FORMS.get(parts[index], r'[0-9][0-9.,]*(?<!,)')})"
    parts[::2] = [re.sub(r"(\\ )+", r"\\s+", re.escape(part)) for part in parts[::2]]
    return re.compile("".join(parts))


def standing(text: str, place: str) -> list[tuple[str, str]]:
    """The figures that stand in a place, each with its name; none if a text has no such place."""
    matches = expression(place).finditer(text)
    return [(name.partition("_")[0], value) for match in matches for name, value in match.groupdict().items()]


def rewritten(text: str, place: str, values: dict[str, str]) -> str:
    """A text with other figures in a place."""

    def replaced(match: re.Match[str]) -> str:
        found = match[0]
        for name in sorted(match.groupdict(), key=match.start, reverse=True):
            start, end = (edge - match.start() for edge in match.span(name))
            found = found[:start] + values[name.partition("_")[0]] + found[end:]
        return found

    return expression(place).sub(replaced, text)


def sample_of(command: str) -> str:
    """What a command of README's writes, as a quotation."""
    words = [str(ROOT / word) if word == str(FABLES) else word for word in shlex.split(command)[1:]]
    return textwrap.fill(" ".join(written(*words, "-q").split()), 100, initial_indent="> ", subsequent_indent="> ") + "\n"


def training() -> str:
    """The command that trained the network, by its log: what the plan calls given."""
    with open(ROOT / FABLES / "log.jsonl", encoding="utf-8") as file:
        begun = json.loads(file.readline())
    config = {**begun["config"], **begun["config"]["model"]}
    given = [name for name in ("steps", "epochs", "minutes") if config[name] is not None]
    given += [name for name, why in begun["plan"]["reasons"].items() if why == "given"]
    # A value stays in its option's line.
    options = [f"--{name.replace('_', '-')}\0{config[name]}" for name in given]
    lines = textwrap.wrap(" ".join(["charrnn train corpora/fables.txt", *options]), 96, break_on_hyphens=False)
    return " \\\n    ".join(lines).replace("\0", " ") + "\n"


def documents(values: dict[str, str]) -> Iterator[tuple[Path, str, str]]:
    """Each file that names a figure: its path, its text, and the one that it is to have."""
    for name, places in PLACES.items():
        text = new = (ROOT / name).read_text(encoding="utf-8")
        for place in places:
            new = rewritten(new, place, values)
        if name == "README.md":
            new = QUOTED.sub(lambda match: match[0].replace(match[2], sample_of(match[1])), new)
        if name == "checkpoints/README.md":
            new = TRAINED.sub(lambda _: training(), new)
        yield ROOT / name, text, new


def absent() -> list[str]:
    """The places that aren't there."""
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in PLACES}
    return [f"{name}: {place}" for name, places in PLACES.items() for place in places if not standing(texts[name], place)]


def main() -> None:
    """Make all."""
    if lost := absent():
        sys.exit("\n".join(["`PLACES` names what isn't there:", *lost]))
    call("make_page.py")
    for path, text, new in documents(figures()):
        if new != text:
            path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} has other figures")
    for script in ("make_tour.py", "make_display.py", "make_classify.py", "make_reference.py"):
        call(script)


def call(script: str) -> None:
    """Run a script that lies beside this one; what fails ends both."""
    path = str(Path(__file__).parent / script)
    sys.argv = [path]
    runpy.run_path(path, run_name="__main__")


if __name__ == "__main__":
    main()
