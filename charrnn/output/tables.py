"""Tables: framed for a terminal, bare columns for a pipe. Whatever a cell holds is shown as it is, never read as markup."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from charrnn.config import GATE_NAMES
from charrnn.output.notation import (
    adaptation_in_words,
    age,
    bar,
    calibration_in_words,
    clock,
    escaped,
    list_in_words,
    on_one_line,
    size_in_words,
    three_digits,
    visible,
    yardsticks_clause,
)
from charrnn.output.palette import SERIES

if TYPE_CHECKING:
    from charrnn.analysis.reach import ContributionRecord, MemoryRecord

Record = Mapping[str, Any]

SHORT = 12
"""Cells of so many columns stay whole on any terminal."""
LISTED_LAGS = (0, 1, 2, 3, 5, 10, 20, 30, 50, 100, 150, 200)
"""The lags at which a pipe gets the memory curves as numbers."""


def _table(
    headings: Iterable[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    framed: bool,
    left: Container[str] = (),
    whole: Container[str] = (),
) -> Table:
    """A table with a line of headings.

    Args:
        headings: one per column.
        rows: a cell per column each.
        framed: for a terminal, with a rule below bold headings; otherwise bare columns whose cells are never broken.
        left: the columns that are aligned to the left, not to the right.
        whole: the columns whose cells a narrow terminal must not break across lines.
    """
    table = Table(box=box.SIMPLE_HEAD if framed else None, pad_edge=False, header_style="bold" if framed else "")
    for heading in headings:
        table.add_column(
            Text(heading),
            justify="left" if heading in left else "right",
            overflow="fold",
            no_wrap=not framed or heading in whole,
        )
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table


class FirstThatFits:
    """The first of several forms of a table that the terminal is wide enough for, else the last."""

    def __init__(self, forms: Sequence[Table]) -> None:
        self._forms = forms

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """Choose it."""
        yield next((form for form in self._forms if width_of(form) <= options.max_width), self._forms[-1])


def width_of(table: Table) -> int:
    """How many columns of a terminal a table needs."""
    return table.__rich_measure__(console := Console(width=10_000), console.options).maximum


def _fitting(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    framed: bool,
    left: Container[str] = (),
    leaving: Sequence[str] = (),
) -> Table | FirstThatFits:
    """A table whose cells are whole. On a narrow terminal the columns ``leaving`` go one after the other, and then long cells
    are broken: no digit is ever cut.
    """
    if not framed:
        return _table(headings, rows, framed=False, left=left)
    forms, kept = [], [*range(len(headings))]
    for gone in (None, *leaving):
        kept = [column for column in kept if headings[column] != gone]
        named, cells = [headings[column] for column in kept], [[row[column] for column in kept] for row in rows]
        forms.append(_table(named, cells, framed=True, left=left, whole=named))
    short = [name for name, *column in zip(named, *cells, strict=True) if max(map(cell_len, column), default=0) <= SHORT]
    return FirstThatFits([*forms, _table(named, cells, framed=True, left=left, whole=short)])


# -- runs, plans, benchmarks, scores -----------------------------------------------------------------------------------

INFO_COLUMNS = ("path", "cell", "size", "parameters", "corpus", "bits/char", "when")


def info_table(runs: Sequence[Record], *, framed: bool) -> Table | FirstThatFits:
    """The checkpoints of `charrnn info`, a row each; on a terminal by the names of their runs, where these tell which one."""
    places = [facts["path"] for facts in runs]
    if framed:
        from charrnn.network.rundir import BEST, CLASSIFIER

        short = [str(PurePath(path).parent) if PurePath(path).name in (BEST, CLASSIFIER) else path for path in places]
        places = [name if short.count(name) == 1 else path for name, path in zip(short, places, strict=True)]
    rows = [
        (
            on_one_line(place),
            facts["cell"],
            f"{facts['layers']} x {facts['hidden_size']}",
            f"{facts['parameters']:,}",
            on_one_line(str(facts["corpus"])),
            _decimals(facts.get("val_bits_per_char"), 3),
            facts["when"],
        )
        for place, facts in zip(places, runs, strict=True)
    ]
    left, leaving = ("path", "cell", "size", "corpus", "when"), ("corpus", "parameters", "cell", "when")
    return _fitting(INFO_COLUMNS, rows, framed=framed, left=left, leaving=leaving)


def cache_table(texts: Sequence[Record], *, framed: bool) -> Table:
    """The texts of `charrnn cache`, a row each."""
    rows = [
        (
            on_one_line(facts.get("text", "damaged")),
            f"{facts['characters']:,}" if "characters" in facts else "",
            f"{facts['symbols']:,}" if "symbols" in facts else "",
            size_in_words(facts["bytes"]),
            f"{age(max(time.time() - facts['used'], 0))} ago",
        )
        for facts in texts
    ]
    columns = ("text", "characters", "symbols", "size", "used")
    return _table(columns, rows, framed=framed, left={"text"}, whole={"size", "used"})


def fact_table(facts: Record) -> Table:
    """One checkpoint of `charrnn info`, a fact per line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    beside = yardsticks_clause(facts)
    for name, value in facts.items():
        if name in ("unigram_bits_per_char", "xz_bits_per_char"):
            continue  # They stand beside the loss.
        if value is None:
            shown = "-"
        elif isinstance(value, Mapping):
            words = {"records": list_in_words, "adapted": adaptation_in_words}.get(name, calibration_in_words)
            shown = words(value)
        elif isinstance(value, list):
            shown = on_one_line(", ".join(map(str, value)))
        elif isinstance(value, bool):
            shown = "yes" if value else "no"
        elif isinstance(value, float):
            shown = f"{value:,.3f}" if name != "seconds" else clock(value)
        elif isinstance(value, int) and name != "seed":
            shown = f"{value:,}"
        else:
            shown = on_one_line(str(value))
        if name == "val_bits_per_char" and beside:
            shown = f"{shown} ({beside})"
        table.add_row(name.replace("_", " "), Text(shown))
    return table


def plan_table(settings: Record, reasons: Mapping[str, str]) -> Table:
    """The settings of a plan and why each is what it is."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim", overflow="fold")
    for name, why in reasons.items():
        value = settings[name]
        table.add_row(name.replace("_", " "), f"{value:g}" if isinstance(value, float) else str(value), why)
    return table


BENCH_COLUMNS = ("what", "median", "range", "unit", "ratio", "of ceiling")


def bench_table(figures: Sequence[Record], *, framed: bool) -> Table | FirstThatFits:
    """The figures of `charrnn bench`, a row each."""
    rows = [
        (
            f"{figure['group']}: {figure['name']}",
            three_digits(figure["median"]),
            f"{three_digits(figure['low'])}-{three_digits(figure['high'])}",
            figure["unit"],
            "" if figure["ratio"] is None else f"{figure['ratio']:.2f}",
            "" if figure["ceiling"] is None else f"{figure['ceiling']:.0%}",
        )
        for figure in figures
    ]
    return _fitting(BENCH_COLUMNS, rows, framed=framed, left=("what", "unit"), leaving=("of ceiling", "range"))


SCORE_COLUMNS = ("file", "bits/char", "nats/char", "perplexity", "characters", "unknown")


def score_table(records: Sequence[Record], *, framed: bool) -> Table | FirstThatFits:
    """The scores of texts, a row each."""
    rows = [
        (
            on_one_line(record["file"]),
            *(_decimals(record[key], 4) for key in ("bits_per_char", "nats_per_char", "perplexity")),
            f"{record['characters']:,}",
            f"{record['unknown']:,}",
        )
        for record in records
    ]
    leaving = ("nats/char", "perplexity", "unknown")  # The first two follow from the bits; a warning tells of the last.
    return _fitting(SCORE_COLUMNS, rows, framed=framed, left=("file",), leaving=leaving)


def _decimals(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def next_table(likeliest: Sequence[tuple[str, float]], others: int, width: int) -> Table:
    """The likeliest next characters with their probabilities as bars, and what is left for the ``others``.

    Args:
        likeliest: characters and probabilities, the likeliest first.
        others: how many characters are not listed.
        width: the terminal's columns.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="cyan", no_wrap=True)
    most = max(share for _, share in likeliest)
    for character, share in likeliest:
        shown = "space" if character == " " else escaped(character)
        table.add_row(Text(shown), f"{share:.1%}", bar(share / most, max(1, min(60, width - 24))).rstrip())
    left = max(0.0, 1 - sum(share for _, share in likeliest))
    if others:
        table.add_row(Text(f"{others:,} others", "dim"), Text(f"{left:.1%}", "dim"), "")
    return table


# -- what `inspect` finds ----------------------------------------------------------------------------------------------

LAYER_COLUMNS = ("layer", "mean |h|", "std", "saturated", "still", "dims", "c", "time constant", "longest")


def layer_table(layers: Sequence[Record], *, framed: bool) -> Table | FirstThatFits:
    """The states of `charrnn.analysis.hidden.Statistics.summary`, a row per layer; on a narrow terminal a column."""
    rows = [
        (
            f"{number}",
            f"{layer['mean_abs']:.2f}",
            f"{layer['std']:.2f}",
            f"{layer['saturated']:.1%}",
            f"{layer['still']:.1%}",
            f"{layer['dimensions']:.1f}",
            f"{layer['c'][0]:.1f} to {layer['c'][1]:.1f}" if layer["c"] else "-",
            " / ".join(f"{quartile:.1f}" for quartile in layer["tau"]["quartiles"]) if layer["tau"] else "-",
            f"{layer['tau']['longest']:,.0f}" if layer["tau"] else "-",
        )
        for number, layer in enumerate(layers)
    ]
    table = _table(LAYER_COLUMNS, rows, framed=framed, whole=LAYER_COLUMNS)
    first, *others = zip(LAYER_COLUMNS, *rows, strict=True)
    turned = (_table(first, others, framed=True, left=LAYER_COLUMNS, whole=whole) for whole in (first, ()))
    return FirstThatFits([table, *turned]) if framed else table


def gate_table(layers: Sequence[Record], *, framed: bool) -> Table:
    """The gates of `charrnn.analysis.hidden.Statistics.summary`, a row per layer and gate: by name for a terminal, by letter in
    a pipe.

    A candidate is a tanh: its row shows the size, |g| or |n|, and only the share above 0.9.
    """
    rows = []
    for number, layer in enumerate(layers):
        for letter, mean in layer["gates"].items():
            left = layer["left"].get(letter)
            name = GATE_NAMES[letter] if framed else letter
            shown, below = (f"|{name}|", "-") if left is None else (name, f"{left:.1%}")
            rows.append((f"{number}", shown, f"{mean:.2f}", below, f"{layer['right'][letter]:.1%}"))
    return _table(("layer", "gate", "mean", "below 0.1", "above 0.9"), rows, framed=framed, left=("gate",))


FINDING_COLUMNS = ("feature", "unit", "r where chosen", "r held out", "needed", "verdict")


def finding_table(findings: Sequence[Record], *, framed: bool) -> Table | FirstThatFits:
    """The units that follow features best, with the verdict."""
    rows = [
        (
            finding["feature"],
            finding["name"],
            f"{finding['first']:+.2f}",
            f"{finding['second']:+.2f}",
            f"{finding['needed']:.2f}",
            "follows it" if finding["real"] else "random networks too",
        )
        for finding in findings
    ]
    leaving = ("r where chosen", "needed")  # What is held out counts, and the verdict says whether it is enough.
    return _fitting(FINDING_COLUMNS, rows, framed=framed, left=("feature", "verdict"), leaving=leaving)


# -- memory ------------------------------------------------------------------------------------------------------------

MEMORY_COLUMNS = ("", "network", "bits/char", "remembers", "gradient halved after", "gradient below 1 % after")


def memory_table(memories: Sequence[MemoryRecord], *, framed: bool) -> Table:
    """How far back each network remembers, in characters; ``framed`` it is the legend of the charts above it.

    What it remembers is the number of characters with which the loss is within 1 %.
    """
    rows = [
        (
            Text(f"{number + 1}", f"bold {SERIES[number % len(SERIES)].terminal}"),
            on_one_line(memory["label"]),
            _decimals(memory["bits_per_char"], 3),
            _within(memory["smallest_within_1_percent"], memory["withheld_lags"], "d"),
            _within(memory["half_life"], memory["lags"], ".1f"),
            _within(memory["below_1_percent"], memory["lags"], "d"),
        )
        for number, memory in enumerate(memories)
    ]
    return _table(MEMORY_COLUMNS, rows, framed=framed, left=("", "network"), whole=("bits/char", "remembers"))


def _within(value: float | None, lags: Sequence[int], form: str) -> str:
    """A number of characters; None is more than the last of the ``lags`` that were measured."""
    return f"> {lags[-1]}" if value is None else f"{value:{form}}"


def lag_table(memories: Sequence[MemoryRecord]) -> Table:
    """Both curves of each network as numbers, a row per lag of `LISTED_LAGS`; for a pipe."""
    headings = [f"{curve} {number}" for number in range(1, len(memories) + 1) for curve in ("gradient", "withheld")]
    rows = []
    for lag in (lag for lag in LISTED_LAGS if any(lag <= memory["lags"][-1] for memory in memories)):
        row = [f"{lag}"]
        for memory in memories:
            gradient = memory["gradient"]
            withheld = dict(zip(memory["withheld_lags"], memory["withheld"], strict=True))
            row.append(f"{gradient[lag] / (gradient[0] or 1):.2e}" if lag < len(gradient) else "")
            row.append(f"{round(withheld[lag], 4) + 0.0:.4f}" if lag in withheld else "")  # never -0.0000
        rows.append(row)
    return _table(("k", *headings), rows, framed=False)


def contribution_table(contributions: Sequence[ContributionRecord]) -> Table:
    """The share of each character in the final state as numbers, a row per character; for a pipe."""
    headings = ["", *(on_one_line(one["label"]) for one in contributions)]
    rows = [
        (one_cell(character), *(f"{one['contribution'][index]:.4f}" for one in contributions))
        for index, character in enumerate(contributions[0]["characters"])
    ]
    return _table(headings, rows, framed=False, left=("",))


def one_cell(character: str) -> str:
    """A character as a symbol that takes up room: no line break, no tab, no mark that combines with another."""
    character = {"\n": "\u21b5", "\t": "\u2192"}.get(character) or visible(character)
    return character if cell_len(character) > 0 else "\u00b7"


# -- classifiers -------------------------------------------------------------------------------------------------------


def accuracy_table(rows: Sequence[tuple[str, float, float | None]], *, framed: bool) -> Table:
    """Accuracy and macro F1 of a classifier and of the yardsticks."""
    cells = [(name, f"{accuracy:.1%}", "" if f1 is None else f"{f1:.1%}") for name, accuracy, f1 in rows]
    return _table(("", "accuracy", "macro F1"), cells, framed=framed, left=("",))


def label_table(by_label: Mapping[str, Record], *, framed: bool) -> Table:
    """Precision, recall, F1 and the number of texts of each label."""
    rows = [
        (on_one_line(label), *(f"{figures[key]:.1%}" for key in ("precision", "recall", "f1")), f"{figures['texts']:,}")
        for label, figures in by_label.items()
    ]
    return _table(("label", "precision", "recall", "F1", "texts"), rows, framed=framed, left=("label",))


def confusion_table(labels: Sequence[str], counts: Sequence[Sequence[int]], *, framed: bool) -> Table | FirstThatFits:
    """How many texts of each label were taken for which; columns are numbered as the rows are. Where they are too many for the
    terminal, the commonest mistakes.
    """
    numbers = [str(number) for number in range(1, len(labels) + 1)]
    rows = [
        (number, on_one_line(label), *(str(count) if count else "." for count in row))
        for number, label, row in zip(numbers, labels, counts, strict=True)
    ]
    headings = ("", "taken for", *numbers)
    table = _table(headings, rows, framed=framed, left=("taken for",), whole=headings)
    return FirstThatFits([table, _mistakes_table(labels, counts)]) if framed else table


def _mistakes_table(labels: Sequence[str], counts: Sequence[Sequence[int]], most: int = 10) -> Table:
    """The commonest mistakes, for a terminal."""
    found = [(count, labels[r], labels[c]) for r, row in enumerate(counts) for c, count in enumerate(row) if count and r != c]
    rows = [
        (f"{count:,}", on_one_line(right), on_one_line(said))
        for count, right, said in sorted(found, key=lambda one: -one[0])[:most]
    ]
    return _table(("mistakes", "label", "taken for"), rows, framed=True, left=("label", "taken for"), whole=("mistakes",))


def unit_table(units: Mapping[str, Sequence[Any]], *, framed: bool) -> Table | FirstThatFits:
    """The units that speak for each label of a linear head, with their weights; where lines are short, one unit a line."""
    headings = ("label", "units that decide, weights")

    def table(between: str, whole: Container[str]) -> Table:
        rows = [(on_one_line(label), between.join(map(_deciding, found))) for label, found in units.items()]
        return _table(headings, rows, framed=framed, left=headings, whole=whole)

    return FirstThatFits([table(", ", headings), table(",\n", headings[1:])]) if framed else table(", ", ())


def _deciding(unit: Any) -> str:
    return f"{unit.feature} {'' if unit.reads == 'forwards' else '<'}{unit.unit} {unit.weight:+.2f}"
