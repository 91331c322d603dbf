"""The live picture of a training run: progress, losses, speed, hidden states, a sample."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import cast

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from charrnn.analysis.hidden import Summary
from charrnn.config import GATE_NAMES
from charrnn.output import charts
from charrnn.output.notation import (
    BLOCKS,
    at_the_end,
    bar,
    clock,
    gradient_line,
    on_one_line,
    read_so_far,
    sparkline,
    total,
    visible,
)
from charrnn.output.plot import Axis, Curves, Point, Scale
from charrnn.training.events import End, Eval, Event, Record, Step

LOSSES, GAP, BORDER = len("validation 0.000 bits/char"), 4, 4
"""The widths of a loss, of the space beside it, and of the frame."""
SIDE_BY_SIDE = 70
"""From so much room on losses and facts stand side by side."""
RECORD_LINES = 3
"""In so many lines records are shown, as many as have room."""
SAMPLE = 4
"""How many lines of a sample are shown, where the terminal has so many."""
LOWEST, HIGHEST = 3, 14
"""The rows of a chart of the losses; where there is no room for the least of them, a line of blocks stands for it."""
AROUND = 3
"""The rows of a chart's title, axis and numbers."""
WIDE = 110
"""From so many columns on there is room for long bars, and for how much a number has changed."""

WORDS = {**GATE_NAMES, "tau": "time constant", "dims": "dimensions"}
"""Where there is room, headings are words."""


class Seen:
    """What the events of a run have told so far."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        """Bits per character of every ``step`` event."""
        self.training: list[Point] = []
        """The same with the steps, without those that a divergence took back."""
        self.validation: list[Point] = []
        """Step and bits per character of every ``eval`` event that has them."""
        self.step: Step | None = None
        self.evaluation: Eval | None = None
        self.evaluation_before: Eval | None = None
        self.best: float | None = None
        """The lowest validation loss, in bits per character."""
        self.sample = ""
        self.records: Sequence[Record] | None = None
        """Of a list, the records that `sample` is made of."""
        self.end: End | None = None

    def add(self, event: Event) -> None:
        """Take in the next event."""
        match event["event"]:
            case "start":
                self.best = event.get("best_val_bits_per_char")
            case "step":
                self.step = event
                self.losses.append(event["bits_per_char"])
                put(self.training, event["step"], event["bits_per_char"])
            case "eval":
                self.evaluation_before, self.evaluation = self.evaluation, event
                if event["val_bits_per_char"] is not None and "step" in event:
                    put(self.validation, event["step"], event["val_bits_per_char"])
                if event["best"]:
                    self.best = event["val_bits_per_char"]
            case "sample":
                self.sample, self.records = event["text"], event.get("records")
            case "end":
                self.end = event
                if self.step is not None:
                    self.step = cast("Step", at_the_end(self.step, event))
                self.best = event["best_val_bits_per_char"]


def put(points: list[Point], step: int, bits: float) -> None:
    """Add a loss to ``points``; those of the same step and later ones were taken back."""
    while points and points[-1][0] >= step:
        points.pop()
    points.append((float(step), bits))


def picture(seen: Seen, columns: int, rows: int) -> RenderableType:
    """Everything that is known of a run, in a frame, for a terminal of so many ``columns`` and ``rows``."""
    if seen.step is None:
        return Text("starting ...", style="dim")
    # Two columns stay free for the ^C that a terminal echoes: wrapped, it would leave a line of the picture behind.
    width = max(1, columns - 2)
    room = max(1, width - BORDER)
    above: list[RenderableType] = [_progress(seen, seen.step)]
    below: list[RenderableType] = [*_numbers(seen, seen.step, room)]
    if seen.evaluation is not None:
        before = seen.evaluation_before["hidden"] if seen.evaluation_before else None
        below.append(Text("hidden state", "dim"))
        below.append(hidden_table(seen.evaluation["hidden"], before, width))
        below.append(Text(gradient_line(seen.evaluation), "dim"))
        if advice := seen.evaluation.get("advice"):
            below.append(Text(advice, "yellow"))
    # The line below the picture is the cursor's; what is left is shared by the sample and the curves.
    left = rows - 1 - 2 - _height([*above, *below], room)
    sample = _records(seen.records, room) if seen.records else _sample(seen.sample, room, min(SAMPLE, max(1, left - 1)))
    left -= _height(sample, room)
    return Panel(Group(*above, _curves(seen, room, left), *below, *sample), border_style="dim", padding=(0, 1), width=width)


def _height(parts: Sequence[RenderableType], room: int) -> int:
    """How many rows ``parts`` take."""
    console = Console(width=room, file=io.StringIO(), color_system=None)
    return len(console.render_lines(Group(*parts), pad=False)) if parts else 0


def _sample(text: str, room: int, lines: int) -> list[RenderableType]:
    """A sample on so many ``lines`` at most, its own line breaks as symbols."""
    if not text:
        return []
    label, shown = "sample ", visible(text).replace("\n", "\u21b5")
    if lines == 1:
        return [Text.assemble((label, "dim"), (shown, "italic"), overflow="ellipsis", no_wrap=True)]
    folded = Text.assemble((label, "dim"), (shown, "italic"))
    console = Console(width=room, file=io.StringIO(), color_system=None)
    wrapped = folded.wrap(console, room, overflow="fold")
    kept = list(wrapped[:lines])
    if len(wrapped) > lines and kept:
        kept[-1].truncate(max(1, room - 1))
        kept[-1].append("\u2026", "italic")
    return [*kept]


def _curves(seen: Seen, room: int, rows: int) -> RenderableType:
    """The losses of training and validation as a chart of so many ``rows``, or those of training as a line of blocks."""
    # The first losses would flatten the rest of the curve.
    late = seen.training[len(seen.training) // 10 :]
    if rows < LOWEST + AROUND or room < 40 or len(late) < 2:
        losses = seen.losses[len(seen.losses) // 10 :]
        blocks = sparkline(losses, max(10, room - 18))
        return Text.assemble(("train loss ", "dim"), (blocks, "cyan"), overflow="crop", no_wrap=True)
    values = [bits for _, bits in late] + [bits for step, bits in seen.validation if step >= late[0][0]]
    low, high = min(values), max(values)
    spare = max(0.02 * (high - low), 0.005)
    x = Axis("", Scale(late[0][0], late[-1][0]))
    y = Axis("bits/char by step: 1 train, 2 validation", Scale(low - spare, high + spare))
    wide, tall = room - 12, min(rows - AROUND, HIGHEST)
    shown = charts.chart(Curves(x, y, [late, seen.validation]), wide, tall)
    shown.rstrip()
    shown.no_wrap = True
    return shown


def _records(records: Sequence[Record], room: int) -> list[Text]:
    """Records side by side in a few lines of so much ``room``, each marked as new, or as known from the list."""
    lines = [Text.assemble(("records ", "dim"), ("+ new", "green"), ("  = known", "dim"), overflow="crop", no_wrap=True)]
    for record in records:
        known = record["known"]
        cut = "\u2026" if known is None else ""
        marked = Text.assemble(*[("= ", "dim")] if known else [("+ ", "green")], f"{on_one_line(record['text'])}{cut}")
        marked.truncate(room, overflow="ellipsis")
        if len(lines) > 1 and lines[-1].cell_len + 2 + marked.cell_len <= room:
            lines[-1].append("  ").append_text(marked)
        elif len(lines) <= RECORD_LINES:
            lines.append(Text.assemble(marked, overflow="crop", no_wrap=True))
        else:
            break
    return lines


def _progress(seen: Seen, step: Step) -> Table:
    """A bar with the share of the run that is done, and the time it took and will take."""
    done = (
        1.0
        if seen.end is not None and seen.end["reason"] == "finished"
        else step.get("done", step["step"] / max(step["steps"], 1))
    )
    left = step["seconds"] * (1 - done) / max(done, 1e-3)
    times = clock(step["seconds"]) + ("" if done >= 1 else f", {clock(left)} left")
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column()
    table.add_column(ratio=1)
    table.add_column()
    table.add_row(Text(f"{done:4.0%}", "bold"), ProgressBar(total=1.0, completed=done), Text(times, "dim", no_wrap=True))
    return table


def _numbers(seen: Seen, step: Step, room: int) -> list[RenderableType]:
    """Losses and facts, side by side where there is ``room`` for both. The facts are cut before the losses are."""
    beside = room if room < SIDE_BY_SIDE else room - LOSSES - GAP
    losses, facts = _losses(seen, step, room), _facts(step, beside - len("learning rate "))
    if room < SIDE_BY_SIDE:
        told = [Text.assemble((f"{name} ", "dim"), fact, overflow="ellipsis", no_wrap=True) for name, fact in facts]
        return [*losses, *told]
    named, table = Table.grid(padding=(0, 1)), Table.grid(padding=(0, GAP))
    named.add_column(no_wrap=True)
    for name, fact in facts:
        named.add_row(Text(name, "dim"), Text(fact, overflow="ellipsis", no_wrap=True))
    table.add_column(no_wrap=True)
    table.add_row(Group(*losses), named)
    return [table]


def _losses(seen: Seen, step: Step, room: int) -> list[Text]:
    """A line for each loss: its name, its number, its unit; where there is no ``room``, the number comes first and last."""
    validation = seen.evaluation["val_bits_per_char"] if seen.evaluation else None
    losses = [("train", step["bits_per_char"], "bold cyan"), ("validation", validation, "bold yellow")]
    if seen.best is not None:
        losses.append(("best", seen.best, "yellow"))
    lines = []
    for name, value, style in losses:
        number = (f"{'-' if value is None else format(value, '.3f'):5}", style)
        before, after = (f"{name:10} ", " bits/char") if room >= LOSSES else ("", f" {name}")
        lines.append(Text.assemble(before, number, after, overflow="ellipsis", no_wrap=True))
    return lines


def _facts(step: Step, room: int) -> list[tuple[str, str]]:
    """What is told of a step; how much was read is told as briefly as there is ``room`` for."""
    number, read = f"{step['step']:,}{total(step, ' of ')}", read_so_far(step)
    brief = read.replace(" million", "M").replace(" billion", "G").replace("characters", "chars")
    return [
        ("step", next((told for told in (f"{number} ({read})", f"{number} ({brief})") if len(told) <= room), number)),
        ("speed", f"{step['chars_per_second']:,.0f} chars/s"),
        ("learning rate", f"{step['learning_rate']:.2g}, gradient norm {step['grad_norm']:.2f}"),
    ]


def hidden_table(layers: Sequence[Summary], before: Sequence[Summary] | None = None, width: int = WIDE) -> Table:
    """The statistics of `charrnn.analysis.hidden`, a row per layer.

    Args:
        layers: what an ``eval`` event holds of each.
        before: the same of the evaluation before; arrows show what has changed since.
        width: columns of the picture around the table.
    """
    columns: dict[str, list[Text]] = {}
    for number, layer in enumerate(layers):
        old = before[number] if before and number < len(before) else None
        for heading, cell in _cells(number, layer, old, width):
            columns.setdefault(heading, []).append(cell)

    def too_wide(named: dict[str, list[Text]]) -> bool:
        return sum(_width(heading, cells) + 1 for heading, cells in named.items()) > width - BORDER + 1

    for words in (WORDS, GATE_NAMES):
        worded = {words.get(heading, heading): cells for heading, cells in columns.items()}
        if not too_wide(worded):
            return _table_of(worded)
    worded.pop("dims")
    if not too_wide(worded):
        return _table_of(worded)
    # What says least goes first where there is no room.
    leaving = [["dims"], ["tau"], [*layers[0]["gates"]], ["still"], ["saturated"]]
    while leaving and too_wide(columns):
        for heading in leaving.pop(0):
            columns.pop(heading, None)
    return _table_of(columns)


def _table_of(columns: dict[str, list[Text]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", expand=False, pad_edge=False)
    for heading in columns:
        table.add_column(heading, justify="right" if heading in ("dims", WORDS["dims"]) else "left", no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def _cells(number: int, layer: Summary, old: Summary | None, width: int) -> Iterator[tuple[str, Text]]:
    """What a row of `hidden_table` holds, by the columns' headings."""
    yield "layer", Text(f"{number}")
    yield "mean |h|", _figure(f"{layer['mean_abs']:.2f}", layer["mean_abs"], old["mean_abs"] if old else None, width)
    for key in ("saturated", "still"):
        # More than a third of the units stuck at +-1, or motionless, is worth a look.
        style = "yellow" if layer[key] > 1 / 3 else ""
        yield key, _figure(f"{layer[key]:.0%}", layer[key], old[key] if old else None, width, style)
    for letter, mean in layer["gates"].items():
        yield letter, _figure(f"{mean:.2f}", mean, old["gates"].get(letter) if old else None, width)
    if tau := layer.get("tau"):
        yield "tau", Text(f"{tau['quartiles'][1]:.1f}-{tau['longest']:.0f}")
    yield "dims", Text(f"{layer['dimensions']:.0f}" if "dimensions" in layer else "-")


def _width(heading: str, cells: Sequence[Text]) -> int:
    return max(len(heading), *(cell.cell_len for cell in cells))


def _figure(shown: str, value: float, old: float | None, width: int, style: str = "") -> Text:
    """A number of 0 to 1 with its bar, and an arrow where it has moved by a hundredth or more since the last time."""
    moved = 0.0 if old is None else value - old
    arrow = " " if abs(moved) < 0.01 else "\u2191" if moved > 0 else "\u2193"
    if width < WIDE:
        return Text.assemble((shown, style), (BLOCKS[min(7, int(value * 8))], "cyan"), (arrow, "dim"))
    change = f"{arrow}{abs(moved):.2f}" if arrow != " " else ""
    return Text.assemble((shown, style), (f" {bar(value, 4)}", "cyan"), (change, "dim"))
