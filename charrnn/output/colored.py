"""A text with a number behind every character, shown as colours: on a terminal, and as an SVG picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.text import Text

from charrnn.analysis.traces import Values
from charrnn.output.notation import visible
from charrnn.output.palette import NEGATIVE, POSITIVE, UNSIGNED, Shade
from charrnn.output.plot import content, rect

COLUMNS = 90
"""Characters to a line of the picture."""
_WIDE, _HIGH, _MARGIN = 8.4, 20, 12
"""Of a character, of a line, and around the picture, in SVG's units."""


def shades(values: Sequence[float], signed: bool) -> list[int]:
    """``values`` as whole numbers of -5 to 5.

    ``signed`` values lie in -1 to 1. Others are scaled so that the largest twentieth of them are 5.
    """
    top = 1.0 if signed else _top(values)
    return [max(-5, min(5, round(5 * value / top))) for value in values]


def _top(values: Sequence[float]) -> float:
    """What the largest twentieth of numbers without a sign are above: all of these have the strongest colour."""
    return max(sorted(values)[int(0.95 * (len(values) - 1))], 1e-9) if len(values) else 1.0


def _shade(number: int, signed: bool) -> Shade:
    """The colour of one of `shades`, which isn't 0."""
    return (NEGATIVE if number < 0 else POSITIVE if signed else UNSIGNED)[abs(number) - 1]


def scale_in_words(values: Values) -> str:
    """Which number has which colour."""
    if values.largest is not None:
        return f"from {-values.largest:.3g} (blue) to {values.largest:.3g} (red)"
    return f"from 0 (no colour) to {_top(values.numbers):.3g} and above (orange)"


def painted(text: str, values: Values) -> Text:
    """``text`` for a terminal of 256 colours: red above and blue below zero, or from pale to orange."""
    shown, signed = Text(), values.largest is not None
    for character, number in zip(visible(text), shades(values.numbers, signed), strict=True):
        # A newline has no width of its own to be coloured.
        sign = "\u21b5\n" if character == "\n" else " " if character == "\t" else character
        shown.append(sign, f"color(16) on color({_shade(number, signed).number})" if number else None)
    return shown


def text_svg(text: str, values: Values) -> str:
    """The same as a picture, with a scale of its colours."""
    signed = values.largest is not None
    lines = _lines(text, shades(values.numbers, signed))
    top = _MARGIN + 3 * _HIGH
    width, height = COLUMNS * _WIDE + 2 * _MARGIN, top + len(lines) * _HIGH + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        ' font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="14">',
        "<!-- charrnn inspect -->",
        f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 12}" font-weight="bold">{content(values.name)}</text>',
        *_key(values),
    ]
    for row, line in enumerate(lines):
        parts += _line(line, top + row * _HIGH, signed)
    return "\n".join([*parts, "</svg>", ""])


def _lines(text: str, numbers: Sequence[int]) -> list[list[tuple[str, int]]]:
    """Characters with their shades, folded at newlines and at `COLUMNS`."""
    lines: list[list[tuple[str, int]]] = [[]]
    for character, number in zip(visible(text), numbers, strict=True):
        if len(lines[-1]) == COLUMNS:
            lines.append([])
        lines[-1].append(("\u21b5" if character == "\n" else "\u00a0" if character in " \t" else character, number))
        if character == "\n":
            lines.append([])
    return lines


def _key(values: Values) -> list[str]:
    """The scale of colours, from the lowest value to the highest."""
    signed = values.largest is not None
    steps = [_shade(number, signed).ink if number else "#ffffff" for number in range(-5 if signed else 0, 6)]
    parts = [rect(f"{_MARGIN + 24 * n}", f"{_MARGIN + 20}", "24", "12", step) for n, step in enumerate(steps)]
    if values.largest is not None:
        legend = f"{-values.largest:.3g} to {values.largest:.3g}"
    else:
        legend = f"0 to {_top(values.numbers):.3g}; one character in twenty is above"
    return [*parts, f'<text x="{_MARGIN + 24 * len(steps) + 8}" y="{_MARGIN + 31}" font-size="12">{legend}</text>']


def _line(line: Sequence[tuple[str, int]], y: int, signed: bool) -> list[str]:
    """The backgrounds of a line, one per run of equal shades, and its characters."""
    parts, column = [], 0
    for number, run in itertools.groupby(line, key=lambda pair: pair[1]):
        length = len(list(run))
        if number:
            x, wide = _MARGIN + column * _WIDE, length * _WIDE
            parts.append(rect(f"{x:.1f}", f"{y}", f"{wide:.1f}", f"{_HIGH}", _shade(number, signed).ink))
        column += length
    if line:
        # Every character has its place, whatever the font's widths.
        places = " ".join(f"{_MARGIN + n * _WIDE:.1f}" for n in range(len(line)))
        shown = content("".join(character for character, _ in line))
        parts.append(f'<text x="{places}" y="{y + 15}">{shown}</text>')
    return parts
