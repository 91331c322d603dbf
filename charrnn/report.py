"""Numbers to rich renderables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """``values`` as at most ``width`` block characters, neighbours averaged; the lowest value is the lowest block."""
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    means = []
    for column in range(count):
        part = values[column * len(values) // count : (column + 1) * len(values) // count]
        means.append(sum(part) / len(part))
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)


def clock(seconds: float) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def visible(text: str) -> str:
    """``text`` with control characters (terminal escapes among them) as visible symbols; newlines and tabs stay."""
    shown = []
    for character in text:
        code = ord(character)
        if code < 32 and character not in "\n\t":
            shown.append(chr(0x2400 + code))
        elif 127 <= code < 160:
            shown.append("\u2421")
        else:
            shown.append(character)
    return "".join(shown)


SURPRISE_STYLES = ((1.0, "2", "dim"), (2.0, "0", "plain"), (4.0, "33", "yellow"), (6.0, "31", "red"))
"""Below so many bits a character has this SGR code; the colours are the terminal's own, legible on dark and light."""
SURPRISE_LEGEND = ", ".join(f"{name} below {bits:g}" for bits, _, name in SURPRISE_STYLES) + ", magenta above"


def surprise_style(bits: float) -> str:
    """The terminal's SGR code for a character that had so many bits of information, nothing of earlier codes left."""
    code = next((code for limit, code, _ in SURPRISE_STYLES if bits < limit), "1;35")
    return code if code == "0" else f"0;{code}"


def hidden_table(layers: Sequence[Mapping[str, Any]]) -> Table:
    """The hidden-state statistics of `charrnn.hidden.summarize`, a row per layer."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    for heading in ("layer", "mean |h|", "saturated", "still", *layers[0]["gates"]):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for number, layer in enumerate(layers):
        # More than a third of the units stuck at +-1, or motionless, is worth a look.
        marks = ["yellow" if layer[key] > 1 / 3 else "" for key in ("saturated", "still")]
        table.add_row(
            f"{number}",
            f"{layer['mean_abs']:.2f}",
            Text(f"{layer['saturated']:.0%}", marks[0]),
            Text(f"{layer['still']:.0%}", marks[1]),
            *(f"{mean:.2f}" for mean in layer["gates"].values()),
        )
    return table


INFO_COLUMNS = ("path", "cell", "size", "parameters", "corpus", "bits/char", "when")


def info_row(path: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """One checkpoint of `charrnn info` as the cells of a table."""
    bits = facts["val_bits_per_char"]
    size = f"{facts['layers']} x {facts['hidden_size']}"
    return (
        visible(path),
        facts["cell"],
        size,
        f"{facts['parameters']:,}",
        visible(str(facts["corpus"])),
        "-" if bits is None else f"{bits:.3f}",
        facts["when"],
    )


def info_table(rows: Sequence[Sequence[str]], *, framed: bool) -> Table:
    """The runs of `charrnn info`: ``framed`` for a terminal, bare columns for a pipe."""
    table = Table(box=box.SIMPLE_HEAD if framed else None, pad_edge=False, header_style="bold" if framed else "")
    for heading in INFO_COLUMNS:
        right = heading in ("parameters", "bits/char")
        table.add_column(heading, justify="right" if right else "left", overflow="fold", no_wrap=not framed)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def fact_table(facts: Mapping[str, Any]) -> Table:
    """One checkpoint of `charrnn info`, a fact per line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value is None:
            shown = "-"
        elif isinstance(value, float):
            shown = f"{value:,.3f}" if name != "seconds" else clock(value)
        elif isinstance(value, int) and name not in ("seed",):
            shown = f"{value:,}"
        else:
            shown = visible(str(value))
        table.add_row(name.replace("_", " "), Text(shown))
    return table


def plan_table(settings: Mapping[str, Any], reasons: Mapping[str, str]) -> Table:
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


def bench_table(figures: Sequence[Mapping[str, Any]], *, framed: bool) -> Table:
    """The figures of `charrnn bench`: ``framed`` for a terminal, bare columns for a pipe."""
    table = Table(box=box.SIMPLE_HEAD if framed else None, pad_edge=False, header_style="bold" if framed else "")
    for heading in BENCH_COLUMNS:
        table.add_column(heading, justify="left" if heading in ("what", "unit") else "right", no_wrap=True)
    for figure in figures:
        table.add_row(
            f"{figure['group']}: {figure['name']}",
            three_digits(figure["median"]),
            f"{three_digits(figure['low'])}-{three_digits(figure['high'])}",
            figure["unit"],
            "" if figure["ratio"] is None else f"{figure['ratio']:.2f}",
            "" if figure["ceiling"] is None else f"{figure['ceiling']:.0%}",
        )
    return table


def three_digits(value: float) -> str:
    """A figure that was measured, without digits that mean nothing."""
    digits = 3 - len(str(int(abs(value))))
    return f"{round(value, digits):,.0f}" if digits <= 0 else f"{value:.{digits}f}"
