"""Curves and bars: as characters for a terminal, as SVG for a page."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from charrnn.notation import visible

Point = tuple[float, float]
Memory = Mapping[str, Any]
"""One network as `charrnn.reach.Reach.to_json` writes it."""
Contribution = Mapping[str, Any]
"""One network's ``label``, the text's ``characters`` and the ``contribution`` of each, shares of 1."""

COLOURS = ("cyan", "yellow", "magenta", "green", "red", "blue")
# Between black and white, so that they show on either; apart in lightness too, for eyes that don't tell the hues apart.
_INKS = ("#d9480f", "#3b82f6", "#2f9e44", "#ae3ec9", "#c99a06", "#0c8599")
_GREY = "#6e7781"
_HEAT = ("#4575b4", "#5fa3c7", "#e0a526", "#f0713a", "#e03131")

_DECADES = 6
"""How far below its start a gradient is drawn."""
_BELOW = 0.01
"""Bits per character below which a rise in loss is not drawn; it is noise there."""
_ROOM = 1.15
"""How much higher than the highest value a logarithmic axis goes."""
_LISTED = (0, 1, 2, 3, 5, 10, 20, 30, 50, 100, 150, 200)
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Scale:
    """An axis from ``low`` to ``high``, linear or (``log``) logarithmic."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float | None:
        """Where ``value`` stands between ``low`` (0) and ``high`` (1); None outside."""
        if not self.low <= value <= self.high:
            return None
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values to write beside the axis: powers of ten, or multiples of 1, 2 or 5 times one."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        unit = 10.0 ** math.floor(math.log10((self.high - self.low) / 4))
        step = next(unit * factor for factor in (1, 2, 5, 10) if (self.high - self.low) / (unit * factor) <= 5)
        return [step * count for count in range(math.ceil(self.low / step), math.floor(self.high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Curves:
    """What is drawn in one chart: a title, two axes with what they count, and the curves."""

    title: str
    x_title: str
    x: Scale
    y: Scale
    curves: Sequence[Sequence[Point]]
    level: float | None = None
    """A value of y that a line is drawn at."""

    def placed(self, curve: Sequence[Point]) -> list[list[Point]]:
        """The pieces of a curve that lie inside, their points as shares of the chart's width and height."""
        pieces: list[list[Point]] = [[]]
        for x, y in ((self.x.place(x), self.y.place(y)) for x, y in curve):
            if x is not None and y is not None:
                pieces[-1].append((x, y))
            elif pieces[-1]:
                pieces.append([])
        return [piece for piece in pieces if piece]


def gradient_curves(memories: Sequence[Memory]) -> Curves:
    """How the gradient of the loss vanishes, as a share of that at lag 0."""
    curves = [[(lag, g / (memory["gradient"][0] or 1)) for lag, g in _pairs(memory, "lags", "gradient")] for memory in memories]
    values = [y for curve in curves for _, y in curve if y > 0]
    lowest = 10.0 ** math.floor(math.log10(max(min(values, default=1.0), 10.0**-_DECADES)))
    y = Scale(min(lowest, 0.1), max([1.0, *values]) * _ROOM, log=True)
    x = Scale(0, max(memory["lags"][-1] for memory in memories))
    return Curves("gradient of the loss k characters back (k = 0: 1)", "characters back, k", x, y, curves, 0.01)


def withheld_curves(memories: Sequence[Memory]) -> Curves:
    """What the loss gains when only the last k characters are known."""
    curves = [_pairs(memory, "withheld_lags", "withheld") for memory in memories]
    highest = max((y for curve in curves for _, y in curve), default=1.0)
    y = Scale(_BELOW, max(highest, 2 * _BELOW) * _ROOM, log=True)
    x = Scale(1, max(max(memory["withheld_lags"][-1] for memory in memories), 2), log=True)
    title = "bits/char lost with the last k characters only"
    return Curves(title, "characters known, k", x, y, curves)


def _pairs(memory: Memory, x: str, y: str) -> list[Point]:
    return list(zip(memory[x], memory[y], strict=True))


def chart(curves: Curves, width: int, height: int) -> Text:
    """Curves in Braille dots, ``width`` x ``height`` characters of them, with axes around.

    Digits on the curves are their numbers in the legend, so that nothing depends on colour.
    """
    cells: dict[tuple[int, int], tuple[int, str]] = {}
    marks: dict[tuple[int, int], tuple[str, str]] = {}
    turns = 6 * len(curves.curves)
    for number, curve in enumerate(curves.curves):
        colour = COLOURS[number % len(COLOURS)]
        for x, y in (dot for piece in curves.placed(curve) for dot in _dots(piece, 2 * width, 4 * height)):
            row, column = height - 1 - y // 4, x // 2
            bits, _ = cells.get((row, column), (0, colour))
            cells[row, column] = (bits | _DOTS[x % 2][3 - y % 4], colour)
        # A column in so many is this curve's turn, so that curves that lie together still show all their digits.
        own = {column: row for row, column in cells if column % turns == 6 * number + 3 and cells[row, column][1] == colour}
        marks |= {(row, column): (f"{number + 1}", f"bold {colour}") for column, row in own.items()}
    rows = {height - 1 - min(int((curves.y.place(tick) or 0) * height), height - 1): tick for tick in curves.y.ticks()}
    level = None if curves.level is None else curves.y.place(curves.level)
    ruled = -1 if level is None else height - 1 - min(int(level * height), height - 1)
    text = Text(f"{curves.title}\n", style="")
    for row in range(height):
        text.append(f"{_number(rows[row]) if row in rows else '':>7} ", "dim")
        text.append("┤" if row in rows else "│", "dim")
        for column in range(width):
            mark, cell = marks.get((row, column)), cells.get((row, column))
            if mark is not None:
                text.append(*mark)
            elif cell is not None:
                text.append(chr(0x2800 + cell[0]), cell[1])
            else:
                text.append("┈" if row == ruled else " ", "dim")
        text.append("\n")
    line, labels = ["─"] * width, [" "] * (width + 10)
    for tick in curves.x.ticks():
        column = min(round((curves.x.place(tick) or 0) * width), width - 1)
        line[column] = "┬"
        for offset, character in enumerate(label := _number(tick)):
            labels[max(0, column - len(label) // 2) + offset] = character
    text.append(f"{'':>8}└{''.join(line)}\n{'':>9}{''.join(labels).rstrip()}\n{'':>9}{curves.x_title}\n", "dim")
    return text


_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bits of a Braille character's dots: left and right column, each from the top."""


def _dots(points: Sequence[Point], width: int, height: int) -> list[tuple[int, int]]:
    """The dots of a polyline, in columns of ``width`` and rows of ``height`` counted from the bottom, without gaps."""
    whole = [(x * (width - 1), y * (height - 1)) for x, y in points]
    found = [(round(x), round(y)) for x, y in whole[:1]]
    for (x0, y0), (x1, y1) in itertools.pairwise(whole):
        steps = max(1, math.ceil(max(abs(x1 - x0), abs(y1 - y0))))
        found += [(round(x0 + (x1 - x0) * s / steps), round(y0 + (y1 - y0) * s / steps)) for s in range(1, steps + 1)]
    return list(dict.fromkeys(found))


def _number(value: float) -> str:
    """A tick: 0.001 and above as people write it, below as a power."""
    return f"{value:g}" if value == 0 or value >= 1e-3 else f"1e{round(math.log10(value))}"


class Fitted:
    """A picture that is drawn when it is known how wide the terminal is."""

    def __init__(self, draw: Callable[[int], Text]) -> None:
        self._draw = draw

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Draw it."""
        yield self._draw(options.max_width)


def drawn(memories: Sequence[Memory], contributions: Sequence[Contribution]) -> list[RenderableType]:
    """Everything as charts, for a terminal."""
    pictures: list[RenderableType] = []
    if memories:
        for curves in (gradient_curves(memories), withheld_curves(memories)):
            pictures.append(Fitted(lambda width, curves=curves: chart(curves, max(20, min(width - 10, 100)), 12)))  # type: ignore[misc]
        pictures.append(memory_table(memories, framed=True))
    if contributions:
        pictures.append(Fitted(lambda width: contribution_bars(contributions, max(1, width))))
    return pictures


def listed(memories: Sequence[Memory], contributions: Sequence[Contribution]) -> list[RenderableType]:
    """Everything as bare tables, for a pipe."""
    tables: list[RenderableType] = []
    if memories:
        tables += [memory_table(memories, framed=False), "", lag_table(memories)]
    if contributions:
        tables += ["", contribution_table(contributions)] if memories else [contribution_table(contributions)]
    return tables


MEMORY_COLUMNS = ("", "network", "bits/char", "half-life", "below 1 %", "within 1 % with")


def memory_table(memories: Sequence[Memory], *, framed: bool) -> Table:
    """How far back each network remembers: ``framed`` for a terminal, as the charts' legend; bare columns for a pipe."""
    table = Table(box=box.SIMPLE_HEAD if framed else None, pad_edge=False, header_style="bold" if framed else "")
    for heading in MEMORY_COLUMNS:
        table.add_column(heading, justify="left" if heading in ("", "network") else "right", no_wrap=not framed)
    for number, memory in enumerate(memories):
        half, below, within = (memory[key] for key in ("half_life", "below_1_percent", "smallest_within_1_percent"))
        table.add_row(
            Text(f"{number + 1}", f"bold {COLOURS[number % len(COLOURS)]}"),
            Text(visible(memory["label"])),
            f"{memory['bits_per_char']:.3f}",
            _beyond(half, memory["lags"], ".1f"),
            _beyond(below, memory["lags"], "d"),
            _beyond(within, memory["withheld_lags"], "d"),
        )
    return table


def _beyond(value: float | None, lags: Sequence[int], form: str) -> str:
    return f"> {lags[-1]}" if value is None else f"{value:{form}}"


def lag_table(memories: Sequence[Memory]) -> Table:
    """Both curves as numbers, a row for each of some lags; for a pipe, where nothing is drawn."""
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("k", justify="right")
    for number in range(1, len(memories) + 1):
        table.add_column(f"gradient {number}", justify="right", no_wrap=True)
        table.add_column(f"withheld {number}", justify="right", no_wrap=True)
    for lag in (lag for lag in _LISTED if any(lag <= memory["lags"][-1] for memory in memories)):
        row = [f"{lag}"]
        for memory in memories:
            gradient, rise = memory["gradient"], dict(_pairs(memory, "withheld_lags", "withheld"))
            row.append(f"{gradient[lag] / (gradient[0] or 1):.2e}" if lag < len(gradient) else "")
            row.append(f"{rise[lag]:.4f}" if lag in rise else "")
        table.add_row(*row)
    return table


def contribution_bars(contributions: Sequence[Contribution], width: int, height: int = 3) -> Text:
    """Over every character of the text a bar: its share in the final state, relative to the largest. Long texts are folded."""
    text = Text()
    shown = [_one_cell(character) for character in contributions[0]["characters"]]
    for begin in range(0, len(shown), width):
        part = slice(begin, begin + width)
        for number, one in enumerate(contributions):
            if begin == 0:
                text.append(f"{visible(one['label'])}", f"bold {COLOURS[number % len(COLOURS)]}")
                text.append(f"  half of it in the last {_half(one['contribution'])} of {len(shown)} characters\n", "dim")
            shares, most = one["contribution"][part], max(one["contribution"]) or 1
            eighths = [math.ceil(share / most * 8 * height - 1e-9) for share in shares]
            for row in range(height - 1, -1, -1):
                for share, level, character in zip(shares, eighths, shown[part], strict=True):
                    text.append(_BLOCKS[min(max(level - 8 * row, 0), 8)] * cell_len(character), _heat(share / most))
                text.append("\n")
            text.append("".join(shown[part]) + "\n")
    return text


def _half(shares: Sequence[float]) -> int:
    """How many characters, counted from the end, hold at least half of the whole."""
    total, count = 0.0, 0
    while count < len(shares) and total < 0.5 - 1e-9:
        count += 1
        total += shares[-count]
    return count


def _heat(share: float) -> str:
    return _HEAT[min(int(share * len(_HEAT)), len(_HEAT) - 1)]


def _one_cell(character: str) -> str:
    """A character as a symbol that takes up room: no line break, no tab, no mark that combines with another."""
    character = {"\n": "↵", "\t": "→"}.get(character) or visible(character)
    return character if cell_len(character) > 0 else "·"


def contribution_table(contributions: Sequence[Contribution]) -> Table:
    """The shares as numbers, a row per character; for a pipe."""
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("")
    for one in contributions:
        table.add_column(Text(visible(one["label"])), justify="right", no_wrap=True)
    for index, character in enumerate(contributions[0]["characters"]):
        table.add_row(Text(_one_cell(character)), *(f"{one['contribution'][index]:.4f}" for one in contributions))
    return table


def memory_svg(memories: Sequence[Memory], contributions: Sequence[Contribution] = ()) -> str:
    """The memory of networks as one SVG picture: both kinds of curves side by side, bars for a text below.

    It has no background and only colours that can be read on white and on black, so that it suits a page of either theme.
    """
    labels = [str(one["label"]) for one in memories or contributions]
    parts, height = [_legend(labels)], 44
    if memories:
        for column, curves in enumerate((gradient_curves(memories), withheld_curves(memories))):
            parts.append(_panel(curves, 62 + 436 * column, height + 26, 360, 250))
        height += 340
    if contributions:
        parts.append(_bars(contributions, 62, height + 26))
        height += 56 + 58 * len(contributions)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img"'
        f' font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13" fill="{_GREY}">\n'
        "<!-- charrnn inspect -->\n"
        f"<title>How far back {escape(visible(', '.join(labels)))} remember</title>\n" + "\n".join(parts) + "\n</svg>\n"
    )


_WIDTH = 880
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "1 2")
"""Curves differ in these too, for whoever doesn't see their colours."""


def _ink(number: int) -> str:
    return _INKS[number % len(_INKS)]


def _stroke(number: int) -> str:
    dashes = _DASHES[number % len(_DASHES)]
    return f'fill="none" stroke="{_ink(number)}" stroke-width="2.25"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _text(x: float, y: float, what: str, **attributes: object) -> str:
    given = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{given}>{escape(what)}</text>'


def _legend(labels: Sequence[str]) -> str:
    parts, x = [], 62.0
    for number, label in enumerate(map(visible, labels)):
        parts.append(f'<path d="M{x:.0f} 20h30" {_stroke(number)}/>')
        parts.append(_text(x + 38, 24.5, label, fill=_ink(number), font_weight=600))
        x += 70 + 8.5 * cell_len(label)
    return "\n".join(parts)


def _panel(curves: Curves, left: float, top: float, width: float, height: float) -> str:
    parts = [_text(left, top - 10, curves.title)]
    faint = f'fill="none" stroke="{_GREY}" stroke-opacity="0.3"'
    for tick in curves.y.ticks():
        y = top + (1 - (curves.y.place(tick) or 0)) * height
        parts.append(f'<path d="M{left} {y:.1f}h{width}" {faint}/>')
        parts.append(_text(left - 7, y + 4, _power(tick), text_anchor="end"))
    for tick in curves.x.ticks():
        x = left + (curves.x.place(tick) or 0) * width
        parts.append(f'<path d="M{x:.1f} {top}v{height}" {faint}/>')
        parts.append(_text(x, top + height + 18, f"{tick:g}", text_anchor="middle"))
    if curves.level is not None and (level := curves.y.place(curves.level)) is not None:
        y = top + (1 - level) * height
        parts.append(f'<path d="M{left} {y:.1f}h{width}" fill="none" stroke="{_GREY}" stroke-dasharray="3 4"/>')
        parts.append(_text(left + width - 4, y - 5, f"{curves.level:.0%}".replace("%", " %"), text_anchor="end"))
    for number, curve in enumerate(curves.curves):
        for piece in curves.placed(curve):
            points = " ".join(f"{left + x * width:.1f},{top + (1 - y) * height:.1f}" for x, y in piece)
            parts.append(f'<polyline points="{points}" stroke-linejoin="round" {_stroke(number)}/>')
    parts.append(_text(left + width / 2, top + height + 38, curves.x_title, text_anchor="middle"))
    return "\n".join(parts)


def _power(value: float) -> str:
    if value == 0 or value >= 0.01:
        return f"{value:g}"
    return "10" + f"{round(math.log10(value))}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _bars(contributions: Sequence[Contribution], left: float, top: float) -> str:
    """A row of bars per network, all to the same scale, and the text under the last."""
    shown = [_one_cell(character) for character in contributions[0]["characters"]]
    step, room = min(44.0, (_WIDTH - left - 18) / len(shown)), 46
    most = max(max(one["contribution"]) for one in contributions) or 1
    parts = [_text(left, top - 10, "share of each character in the final hidden state")]
    for number, one in enumerate(contributions):
        base = top + 58 * number + room
        parts.append(f'<path d="M{left} {base:.1f}h{step * len(shown):.1f}" stroke="{_GREY}" stroke-opacity="0.3"/>')
        for index, share in enumerate(one["contribution"]):
            x, height = left + step * index, room * share / most
            parts.append(
                f'<rect x="{x + 0.1 * step:.1f}" y="{base - height:.2f}" width="{0.8 * step:.1f}" height="{height:.2f}"'
                f' fill="{_ink(number)}"><title>{escape(shown[index])} {share:.1%}</title></rect>'
            )
    base = top + 58 * (len(contributions) - 1) + room + 17
    for index, character in enumerate(shown):
        style = {"text_anchor": "middle", "font_family": "monospace", "font_size": f"{min(14.0, 1.4 * step):.1f}"}
        parts.append(_text(left + step * (index + 0.5), base, character, **style))
    return "\n".join(parts)
