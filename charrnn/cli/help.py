"""Help pages: what a command is for, three examples, its options by panels, the common ones first."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from charrnn.declaration import Panel

WIDEST, NARROWEST = 100, 24
"""Columns of a page: lines that are longer are hard to read."""
LEFT = 26
"""Columns for an option and its value; what is longer has a line of its own."""
STACKED = 72
"""On a narrower terminal everything has a line of its own."""
FIRST = ("Arguments", "Options")
"""The titles that come before those of `Panel`."""

MORE = {"help": "Show the help of a command: charrnn help train.", "version": "Show the versions of charrnn, torch and Python."}
"""Words that stand for an option."""

EXAMPLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("charrnn train novel.txt --minutes 5", "learn a text"),
        ("charrnn sample --temp 0.7", "let that network write"),
        ("charrnn inspect --units", "what its units follow"),
    ),
    "train": (
        ("charrnn train novel.txt", "for three minutes"),
        ("charrnn train names.txt --records --minutes 1", "a list, line by line"),
        ("charrnn train --resume latest --minutes 30", "go on, to 30 in all"),
    ),
    "sample": (
        ("charrnn sample", "from the latest network"),
        ("charrnn sample -c runs/a -p 'The fox' --temp 0.5", "go on from that"),
        ("charrnn sample -N 100 --lines 1 --unique", "no two alike"),
    ),
    "score": (
        ("charrnn score letter.txt", "in bits per character"),
        ("charrnn score --rank app.log | head", "unlike the rest"),
        ("charrnn score --json ch/ | jq .bits_per_char", "for programs"),
    ),
    "encode": (
        ("charrnn encode app.log --npz lines.npz", "vectors for each line"),
        ("charrnn encode names.txt --npz out.npz -c runs/a", "by this network"),
        ("grep Er app.log | charrnn encode - --npz out.npz", "lines of stdin"),
    ),
    "next": (
        ("charrnn next 'Once upon a tim'", "what comes next"),
        ("charrnn next 'The ' --top 3 | cut -f 1", "the three likeliest"),
        ("echo 'The fo' | charrnn next -", "from stdin"),
    ),
    "classify": (
        ("charrnn classify fit intents.tsv", "learn labels"),
        ("charrnn classify predict 'what time is it?'", "its likeliest label"),
        ("charrnn classify evaluate intents-test.tsv", "how often it is right"),
    ),
    "classify fit": (
        ("charrnn classify fit intents.tsv --minutes 1", "for a minute"),
        ("charrnn classify fit languages/", "a file for each label"),
        ("charrnn classify fit mail.csv --frozen -c runs/a", "a head, in seconds"),
    ),
    "classify predict": (
        ("charrnn classify predict 'what time is it?'", "its likeliest label"),
        ("charrnn classify predict 'is it late' --trace", "behind each letter"),
        ("charrnn classify predict --file a.txt --top 2", "line by line"),
    ),
    "classify evaluate": (
        ("charrnn classify evaluate test.tsv", "how often it is right"),
        ("charrnn classify evaluate test.tsv --train a.tsv", "beside n-grams"),
        ("charrnn classify evaluate test.tsv --json", "for programs"),
    ),
    "info": (
        ("charrnn info", "every run under checkpoints/"),
        ("charrnn info checkpoints/novel", "one of them"),
        ("charrnn info --json | jq .path", "for programs"),
    ),
    "cache": (
        ("charrnn cache", "the large texts that are kept"),
        ("charrnn cache --clear", "remove them all"),
        ("charrnn cache --json | jq .path", "for programs"),
    ),
    "inspect": (
        ("charrnn inspect --file novel.txt --units", "what units follow"),
        ("charrnn inspect 'What time?' --unit 0:7", "coloured by a unit"),
        ("charrnn inspect --memory --file novel.txt", "how far back"),
    ),
    "export": (
        ("charrnn export novel.html", "the most recent network"),
        ("charrnn export page.html --file unseen.txt", "measured on a text"),
        ("charrnn export page.html -c runs/rnn -c runs/lstm", "side by side"),
    ),
    "bench": (
        ("charrnn bench", "about a minute"),
        ("charrnn bench --seconds 20 --rounds 3", "shorter, and less certain"),
        ("charrnn bench --json | jq .median", "for programs"),
    ),
}
"""Of every command what to type, and what comes of it; commands are listed in this order."""


def page(command: Any, context: Any) -> str:
    """The help of ``command`` as wide as the terminal, whatever that is."""
    width = max(NARROWEST, min(shutil.get_terminal_size().columns, WIDEST))
    return "\n".join(_lines(command, context, width)) + "\n"


def _lines(command: Any, context: Any, width: int) -> Iterator[str]:
    name = context.command_path.partition(" ")[2]
    usage = re.sub(r"\{(.*?)\}|\[(\[.*?\])\]", r"\1\2", " ".join(command.collect_usage_pieces(context)))
    yield from textwrap.wrap(f"Usage: {context.command_path} {usage}", width, subsequent_indent="  ")
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield ""
        yield from textwrap.wrap(paragraph, width)
    yield from _headed("Examples")
    yield from _rows(EXAMPLES[name], width, max(len(typed) for typed, _ in EXAMPLES[name]))
    if verbs := getattr(command, "commands", {}):
        yield from _headed("Commands")
        order = [known.rpartition(" ")[2] for known in EXAMPLES]
        listed = [(verb, _first(verbs[verb].help)) for verb in sorted(verbs, key=order.index)]
        yield from _rows([*listed, *MORE.items()] if name == "" else listed, width, 10)
    panels: dict[str, list[tuple[str, str]]] = {title: [] for title in (*FIRST, *(panel.value for panel in Panel))}
    for parameter in command.get_params(context):
        panels[_panel(parameter)].append((_left(parameter, context), _meaning(parameter)))
    for title, rows in panels.items():
        if rows:
            yield from _headed(title)
            yield from _rows(rows, width, LEFT)


def _first(text: str | None) -> str:
    """The first paragraph."""
    return inspect.cleandoc(text or "").split("\n\n")[0]


def _panel(parameter: Any) -> str:
    """The title under which it stands; Typer's own options name none."""
    if parameter.param_type_name == "argument":
        return FIRST[0]
    if title := getattr(parameter, "rich_help_panel", None):
        return str(title)
    if parameter.name in ("help", "version"):
        return Panel.OUTPUT.value
    return Panel.RARE.value if parameter.name.endswith("_completion") else FIRST[1]


def _left(parameter: Any, context: Any) -> str:
    """An option's names and its value, or an argument's name."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name)
    names = ", ".join(sorted([*parameter.opts, *parameter.secondary_opts], key=lambda name: name.startswith("--")))
    return names if parameter.is_flag else f"{names} {parameter.metavar or parameter.make_metavar(context)}"


def _meaning(parameter: Any) -> str:
    named = getattr(parameter, "envvar", None)
    return f"{parameter.help or ''}{f' [env var: {named}]' if named else ''}"


def _headed(title: str) -> list[str]:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not (sys.stdout and sys.stdout.isatty())
    return ["", f"{title}:" if plain else f"\x1b[1m{title}:\x1b[0m"]


def _rows(rows: Iterable[tuple[str, str]], width: int, column: int) -> Iterator[str]:
    """What is typed beside what it means, in a ``column`` of its own; below it on a narrow terminal or where it is longer."""
    aside = width >= STACKED
    indent = " " * (column + 4 if aside else 8)
    for typed, meaning in rows:
        lines = textwrap.wrap(meaning, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
        if aside and len(typed) <= column and lines:
            yield f"  {typed:{column}}  {lines.pop(0).strip()}"
        else:
            yield from textwrap.wrap(typed, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
        yield from lines
