"""Numbers to rich renderables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def escaped(character: str) -> str:
    """One character for a column of a table: what has no shape of its own, and the backslash, as an escape of Python's.

    A name of several characters, which stands for a byte that is none, stays as it is.
    """
    if len(character) > 1:
        return character
    if character == "\\" or not (character.isprintable() or character.isspace()):
        return character.encode("unicode_escape").decode("ascii")
    return character if character == " " or not character.isspace() else repr(character)[1:-1]


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


def score_table(records: Sequence[Mapping[str, Any]], *, framed: bool) -> Table:
    """The scores of texts, a row each: ``framed`` for a terminal, bare columns for a pipe."""
    table = Table(box=box.SIMPLE_HEAD if framed else None, pad_edge=False, header_style="bold" if framed else "")
    for heading in ("file", "bits/char", "nats/char", "perplexity", "characters", "unknown"):
        table.add_column(heading, justify="left" if heading == "file" else "right", no_wrap=heading != "file", overflow="fold")
    for record in records:
        means = (record[key] for key in ("bits_per_char", "nats_per_char", "perplexity"))
        shown = ("-" if mean is None else f"{mean:,.4f}" for mean in means)
        table.add_row(Text(visible(record["file"])), *shown, f"{record['characters']:,}", f"{record['unknown']:,}")
    return table


def line_row(record: Mapping[str, Any], *, raw: bool) -> str:
    """The score of a line, tab-separated: bits per character, bits, characters, unknown ones, its place, its text."""
    mean = "-" if record["bits_per_char"] is None else f"{record['bits_per_char']:.4f}"
    fields = (mean, f"{record['bits']:.3f}", record["characters"], record["unknown"], place(record))
    return "\t".join(map(str, fields)) + f"\t{record['text'] if raw else visible(record['text'])}\n"


def place(record: Mapping[str, Any]) -> str:
    """Where a line stands: its number, after its file's name where there are several files."""
    return f"{record['file']}:{record['line']}" if "file" in record else f"{record['line']}"


def character_row(record: Mapping[str, Any]) -> str:
    """The score of a character, tab-separated: the character, its bits, its rank, the likeliest in its place."""
    bits, rank = ("-", "-") if record["bits"] is None else (f"{record['bits']:.4f}", str(record["rank"]))
    return "\t".join([escaped(record["char"]), bits, rank, *map(escaped, record["likeliest"])]) + "\n"


def bar(share: float, width: int) -> str:
    """A bar of ``share`` (0 to 1) of ``width`` columns, in eighths of a column."""
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def next_table(likeliest: Sequence[tuple[str, float]], others: int, width: int) -> Table:
    """The likeliest next characters and their probabilities as bars, and what is left for the ``others``."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="cyan", no_wrap=True)
    most = max(share for _, share in likeliest)
    for character, share in likeliest:
        shown = "space" if character == " " else escaped(character)
        table.add_row(Text(shown), f"{share:.1%}", bar(share / most, max(1, min(60, width - 24))))
    left = max(0.0, 1 - sum(share for _, share in likeliest))
    if others:
        table.add_row(Text(f"{others:,} others", "dim"), Text(f"{left:.1%}", "dim"), "")
    return table


def next_row(record: Mapping[str, Any]) -> str:
    """A character and its probability, tab-separated."""
    return f"{escaped(record['char'])}\t{record['probability']:.6f}\n"


def score_sentence(record: Mapping[str, Any]) -> str:
    """A text's score as one line."""
    mean = "-" if record["bits_per_char"] is None else f"{record['bits_per_char']:.4f}"
    return f"charrnn: {record['file']}: {mean} bits/char over {record['characters']:,} characters"


def unknown_sentence(count: int, strangers: Iterable[str]) -> str:
    """How characters were counted that the network doesn't know."""
    named = " ".join(map(repr, sorted(strangers)[:8]))
    return f"{count:,} characters that the network doesn't know ({named}) were read as its unknown character and are in no sum"
