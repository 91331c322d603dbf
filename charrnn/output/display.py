"""The live picture of a training run: progress, losses, speed, hidden states, a sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from charrnn.analysis.hidden import Summary
from charrnn.output.notation import BLOCKS, bar, clock, gradient_line, on_one_line, sparkline, total, visible
from charrnn.training.events import End, Eval, Event, Record, Step

LOSSES, GAP, BORDER = len("validation 0.000 bits/char"), 4, 4
"""The widths of a loss, of the space beside it, and of the frame."""
SIDE_BY_SIDE = 70
"""From so much room on losses and facts stand side by side."""
RECORD_LINES = 3
"""In so many lines records are shown, as many as have room."""
WIDE = 110
"""From so many columns on there is room for long bars, and for how much a number has changed."""


class Seen:
    """What the events of a run have told so far."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        """Bits per character of every ``step`` event."""
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
            case "eval":
                self.evaluation_before, self.evaluation = self.evaluation, event
                if event["best"]:
                    self.best = event["val_bits_per_char"]
            case "sample":
                self.sample, self.records = event["text"], event.get("records")
            case "end":
                self.end = event
                self.best = event["best_val_bits_per_char"]


def picture(seen: Seen, columns: int) -> RenderableType:
    """Everything that is known of a run, in a frame, for a terminal of so many ``columns``."""
    if seen.step is None:
        return Text("starting ...", style="dim")
    # Two columns stay free for the ^C that a terminal echoes: wrapped, it would leave a line of the picture behind.
    width = max(1, columns - 2)
    # The first losses would flatten the rest of the curve.
    losses = seen.losses[len(seen.losses) // 10 :]
    parts: list[RenderableType] = [
        _progress(seen, seen.step),
        Text.assemble(("train loss ", "dim"), (sparkline(losses, max(10, width - 22)), "cyan"), overflow="crop", no_wrap=True),
        *_numbers(seen, seen.step, width - BORDER),
    ]
    if seen.evaluation is not None:
        before = seen.evaluation_before["hidden"] if seen.evaluation_before else None
        parts.append(Text("hidden state", "dim"))
        parts.append(hidden_table(seen.evaluation["hidden"], before, width))
        parts.append(Text(gradient_line(seen.evaluation), "dim"))
        if advice := seen.evaluation.get("advice"):
            parts.append(Text(advice, "yellow"))
    if seen.records:
        parts += _records(seen.records, width - BORDER)
    elif seen.sample:
        one_line = visible(seen.sample).replace("\n", "\u21b5")
        parts.append(Text.assemble(("sample ", "dim"), (one_line, "italic"), overflow="ellipsis", no_wrap=True))
    return Panel(Group(*parts), border_style="dim", padding=(0, 1), width=width)


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
    losses, facts = _losses(seen, step, room), _facts(step)
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
    losses = [("train", step["bits_per_char"], "bold cyan"), ("validation", validation, "bold green")]
    if seen.best is not None:
        losses.append(("best", seen.best, "green"))
    lines = []
    for name, value, style in losses:
        number = (f"{'-' if value is None else format(value, '.3f'):5}", style)
        before, after = (f"{name:10} ", " bits/char") if room >= LOSSES else ("", f" {name}")
        lines.append(Text.assemble(before, number, after, overflow="ellipsis", no_wrap=True))
    return lines


def _facts(step: Step) -> list[tuple[str, str]]:
    return [
        ("step", f"{step['step']:,}{total(step, ' of ')} (epoch {step['epoch']:.2f})"),
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
    # What says least goes first where there is no room.
    leaving = [["dims"], ["memory"], [*layers[0]["gates"]], ["still"], ["saturated"]]
    while leaving and sum(_width(heading, cells) + 1 for heading, cells in columns.items()) > width - BORDER + 1:
        for heading in leaving.pop(0):
            columns.pop(heading, None)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", expand=False)
    for heading in columns:
        table.add_column(heading, justify="right" if heading == "dims" else "left", no_wrap=True)
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
        yield "memory", Text(f"{tau['quartiles'][1]:.1f}-{tau['longest']:.0f}")
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
