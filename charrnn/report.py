"""Numbers to rich renderables."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from charrnn.notation import BLOCKS, bar, clock, escaped, visible

WIDE = 110
"""Columns from which the live display has room for long bars and for how much a number has changed."""


def hidden_table(
    layers: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]] | None = None, width: int = WIDE
) -> Table:
    """The live display's statistics of `charrnn.hidden`, a row per layer: numbers with bars, and arrows where they have changed
    since ``before``; ``width`` is that of the picture around it.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", expand=False)
    memory = any(layer.get("tau") for layer in layers)
    for heading in ("layer", "mean |h|", "saturated", "still", *layers[0]["gates"], *["memory"] * memory, "dims"):
        table.add_column(heading, justify="right" if heading == "dims" else "left", no_wrap=True)
    for number, layer in enumerate(layers):
        old = before[number] if before and number < len(before) else {}
        # More than a third of the units stuck at +-1, or motionless, is worth a look.
        marks = {key: "yellow" if layer[key] > 1 / 3 else "" for key in ("saturated", "still")}
        row = [Text(f"{number}"), _figure(f"{layer['mean_abs']:.2f}", layer["mean_abs"], old.get("mean_abs"), width)]
        for key, style in marks.items():
            row.append(_figure(f"{layer[key]:.0%}", layer[key], old.get(key), width, style))
        for letter, mean in layer["gates"].items():
            row.append(_figure(f"{mean:.2f}", mean, old.get("gates", {}).get(letter), width))
        if memory:
            row.append(Text(f"{layer['tau']['quartiles'][1]:.1f}-{layer['tau']['longest']:.0f}"))
        row.append(Text(f"{layer['dimensions']:.0f}" if "dimensions" in layer else "-"))
        table.add_row(*row)
    return table


def _figure(shown: str, value: float, old: float | None, width: int, style: str = "") -> Text:
    """A number between 0 and 1 with its bar, and an arrow where it has moved by a hundredth or more since the last time."""
    moved = 0.0 if old is None else value - old
    arrow = " " if abs(moved) < 0.01 else "\u2191" if moved > 0 else "\u2193"
    if width < WIDE:
        return Text.assemble((shown, style), (BLOCKS[min(7, int(value * 8))], "cyan"), (arrow, "dim"))
    return Text.assemble(
        (shown, style), (f" {bar(value, 4)}", "cyan"), (f"{arrow}{abs(moved):.2f}" if arrow > " " else "", "dim")
    )


def layer_table(layers: Sequence[Mapping[str, Any]], *, framed: bool) -> Table:
    """The states of `charrnn.hidden.Statistics.summary`, a row per layer."""
    table = _numbers(
        "layer", "mean |h|", "std", "saturated", "still", "dims", "c", "memory (quartiles)", "longest", framed=framed
    )
    for number, layer in enumerate(layers):
        c, tau = layer["c"], layer["tau"]
        table.add_row(
            f"{number}",
            f"{layer['mean_abs']:.2f}",
            f"{layer['std']:.2f}",
            f"{layer['saturated']:.1%}",
            f"{layer['still']:.1%}",
            f"{layer['dimensions']:.1f}",
            f"{c[0]:.1f} to {c[1]:.1f}" if c else "-",
            " / ".join(f"{quartile:.1f}" for quartile in tau["quartiles"]) if tau else "-",
            f"{tau['longest']:,.0f}" if tau else "-",
        )
    return table


def gate_table(layers: Sequence[Mapping[str, Any]], *, framed: bool) -> Table:
    """The gates of `charrnn.hidden.Statistics.summary`, a row per layer and gate; of a tanh candidate, its size."""
    table = _numbers("layer", "gate", "mean", "below 0.1", "above 0.9", framed=framed)
    for number, layer in enumerate(layers):
        for letter, mean in layer["gates"].items():
            left = layer["left"].get(letter)
            shown = letter if left is not None else f"|{letter}|"
            table.add_row(
                f"{number}", shown, f"{mean:.2f}", "-" if left is None else f"{left:.1%}", f"{layer['right'][letter]:.1%}"
            )
    return table


def finding_table(findings: Sequence[Mapping[str, Any]], *, framed: bool) -> Table:
    """The units that follow features best, with the verdict."""
    table = _numbers("feature", "unit", "r where chosen", "r held out", "needed", "verdict", framed=framed)
    for finding in findings:
        table.add_row(
            finding["feature"],
            finding["name"],
            f"{finding['first']:+.2f}",
            f"{finding['second']:+.2f}",
            f"{finding['needed']:.2f}",
            "follows it" if finding["real"] else "no better than chance",
        )
    return table


def _numbers(*headings: str, framed: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD if framed else None, pad_edge=False, header_style="bold" if framed else "")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("feature", "verdict", "gate") else "right")
    return table


# Shades from weak to strong: numbers of the 256-colour palette, and what they stand for.
_POSITIVE = {224: "#ffd7d7", 217: "#ffafaf", 210: "#ff8787", 203: "#ff5f5f", 196: "#ff0000"}
_NEGATIVE = {189: "#d7d7ff", 153: "#afd7ff", 117: "#87d7ff", 75: "#5fafff", 33: "#0087ff"}
_UNSIGNED = {230: "#ffffd7", 229: "#ffffaf", 222: "#ffd787", 214: "#ffaf00", 202: "#ff5f00"}


def shades(values: Sequence[float], signed: bool) -> list[int]:
    """``values`` as -5 to 5: those with a sign lie in -1 to 1, the others are scaled to the one that a twentieth exceeds."""
    top = 1.0 if signed else max(sorted(values)[int(0.95 * (len(values) - 1))], 1e-9) if len(values) else 1.0
    return [max(-5, min(5, round(5 * value / top))) for value in values]


def _palette(signed: bool) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    return list((_POSITIVE if signed else _UNSIGNED).items()), list(_NEGATIVE.items())


def painted(text: str, values: Sequence[float], signed: bool) -> Text:
    """``text`` on a background of 256 colours: red above and blue below zero, or from pale to orange."""
    up, down = _palette(signed)
    shown = Text()
    for character, shade in zip(visible(text), shades(values, signed), strict=True):
        number = (up if shade > 0 else down)[abs(shade) - 1][0] if shade else None
        # A newline has no width of its own to be coloured.
        sign = "\u21b5\n" if character == "\n" else " " if character == "\t" else character
        shown.append(sign, None if number is None else f"color(16) on color({number})")
    return shown


SVG_COLUMNS = 90


def text_svg(text: str, values: Sequence[float], title: str, signed: bool) -> str:
    """The same as a picture, 90 characters to a line, with a scale of its colours."""
    from xml.sax.saxutils import escape

    up, down = _palette(signed)
    lines: list[list[tuple[str, int]]] = [[]]
    for character, shade in zip(visible(text), shades(values, signed), strict=True):
        if len(lines[-1]) == SVG_COLUMNS:
            lines.append([])
        lines[-1].append(("\u21b5" if character == "\n" else "\u00a0" if character in " \t" else character, shade))
        if character == "\n":
            lines.append([])
    wide, high, margin = 8.4, 20, 12
    top = margin + 3 * high
    width, height = SVG_COLUMNS * wide + 2 * margin, top + len(lines) * high + margin
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        ' font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="14">',
        "<!-- charrnn inspect -->",
        f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>',
        f'<text x="{margin}" y="{margin + 12}" font-weight="bold">{escape(title)}</text>',
    ]
    scale = [colour for _, colour in down[::-1]] * signed + ["#ffffff"] + [colour for _, colour in up]
    parts += [f'<rect x="{margin + 24 * n}" y="{margin + 20}" width="24" height="12" fill="{c}"/>' for n, c in enumerate(scale)]
    legend = "-1 to 1" if signed else "0 to the value that a twentieth exceeds"
    parts.append(f'<text x="{margin + 24 * len(scale) + 8}" y="{margin + 31}" font-size="12">{legend}</text>')
    for row, line in enumerate(lines):
        y, column = top + row * high, 0
        for shade, run in itertools.groupby(line, key=lambda pair: pair[1]):
            length = len(list(run))
            if shade:
                colour = (up if shade > 0 else down)[abs(shade) - 1][1]
                x = margin + column * wide
                parts.append(f'<rect x="{x:.1f}" y="{y}" width="{length * wide:.1f}" height="{high}" fill="{colour}"/>')
            column += length
        if line:
            # Every character has its place, whatever the font's widths.
            places = " ".join(f"{margin + n * wide:.1f}" for n in range(len(line)))
            parts.append(f'<text x="{places}" y="{y + 15}">{escape("".join(character for character, _ in line))}</text>')
    return "\n".join([*parts, "</svg>", ""])


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


def bench_heading(machine: Mapping[str, Any]) -> str:
    """What the figures of `charrnn bench` are of, in a line."""
    used = "" if machine["threads"] == machine["cores"] else f"{machine['threads']} of "
    cores = f"{used}{machine['cores']} cores"
    variables = "".join(f", {name}={value}" for name, value in machine["environment"].items())
    return f"{machine['processor']}, {cores}, torch {machine['torch']}, NumPy {machine['numpy']}{variables}\n"


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


def next_table(likeliest: Sequence[tuple[str, float]], others: int, width: int) -> Table:
    """The likeliest next characters and their probabilities as bars, and what is left for the ``others``."""
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
    what, were, are = ("character", "was", "is") if count == 1 else ("characters", "were", "are")
    return f"{count:,} {what} that the network doesn't know ({named}) {were} read as its unknown character and {are} in no sum"
