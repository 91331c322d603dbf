"""How far back networks remember, as charts: in characters for a terminal, as SVG for a page or a file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from charrnn.output.notation import BLOCKS, on_one_line
from charrnn.output.palette import GREY, SERIES, heat
from charrnn.output.plot import Axis, Curves, Panel, Point, Scale, content, ink, line, rect, stroke, text
from charrnn.output.tables import contribution_table, lag_table, memory_table, one_cell

if TYPE_CHECKING:
    from charrnn.analysis.reach import ContributionRecord, MemoryRecord

_DECADES = 6
"""How far below its start a gradient is drawn."""
_NOISE = 0.01
"""Bits per character; a rise in loss below this is noise and isn't drawn."""
_ROOM = 1.15
"""How much higher than the highest value a logarithmic axis goes."""


def drawn(memories: Sequence[MemoryRecord], contributions: Sequence[ContributionRecord]) -> list[RenderableType]:
    """Everything as charts, for a terminal."""
    pictures: list[RenderableType] = []
    if memories:
        pictures += [Fitted(_braille(curves)) for curves in (gradient_curves(memories), withheld_curves(memories))]
        pictures.append(memory_table(memories, framed=True))
    if contributions:
        pictures.append(Fitted(lambda width: contribution_bars(contributions, max(1, width))))
    return pictures


def listed(memories: Sequence[MemoryRecord], contributions: Sequence[ContributionRecord]) -> list[RenderableType]:
    """Everything as bare tables, for a pipe."""
    tables: list[RenderableType] = []
    if memories:
        tables += [memory_table(memories, framed=False), "", lag_table(memories)]
    if contributions:
        tables += ["", contribution_table(contributions)] if memories else [contribution_table(contributions)]
    return tables


class Fitted:
    """A picture that is drawn once the terminal's width is known."""

    def __init__(self, draw: Callable[[int], Text]) -> None:
        self._draw = draw

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Draw it."""
        yield self._draw(options.max_width)


# -- the curves --------------------------------------------------------------------------------------------------------


def gradient_curves(memories: Sequence[MemoryRecord]) -> Curves:
    """How the gradient of the loss vanishes, as a share of its size at lag 0."""
    curves = [
        [(lag, size / (memory["gradient"][0] or 1)) for lag, size in zip(memory["lags"], memory["gradient"], strict=True)]
        for memory in memories
    ]
    values = [y for curve in curves for _, y in curve if y > 0]
    lowest = 10.0 ** math.floor(math.log10(max(min(values, default=1.0), 10.0**-_DECADES)))
    x = Scale(0, max(memory["lags"][-1] for memory in memories))
    y = Scale(min(lowest, 0.1), max([1.0, *values]) * _ROOM, log=True)
    return Curves(Axis("characters back, k", x), Axis("gradient of the loss k characters back (k = 0: 1)", y), curves, 0.01)


def withheld_curves(memories: Sequence[MemoryRecord]) -> Curves:
    """By how much the loss rises when only the last k characters are known."""
    rises = (zip(memory["withheld_lags"], memory["withheld"], strict=True) for memory in memories)
    # What comes after the first rise that is no larger than noise is noise, too.
    curves = [list(itertools.takewhile(lambda point: point[1] >= _NOISE, rise)) for rise in rises]
    highest = max((y for curve in curves for _, y in curve), default=1.0)
    x = Scale(1, max([2, *(k for curve in curves for k, _ in curve)]), log=True)
    y = Scale(_NOISE, max(highest, 2 * _NOISE) * _ROOM, log=True)
    return Curves(Axis("characters known, k", x), Axis("bits/char lost with the last k characters only", y), curves)


# -- on a terminal -----------------------------------------------------------------------------------------------------

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bits of a Braille character's dots: left and right column, each from the top."""


def _braille(curves: Curves) -> Callable[[int], Text]:
    return lambda width: chart(curves, max(20, min(width - 10, 100)), 12)


def chart(curves: Curves, width: int, height: int) -> Text:
    """Curves in Braille dots, ``width`` x ``height`` characters of them, with axes around.

    Digits on the curves are their numbers in the legend, so that nothing depends on colour.
    """
    cells = _cells(curves, width, height)
    y = curves.y.scale

    def row_of(share: float) -> int:
        return height - 1 - min(int(share * height), height - 1)

    ticks = {row_of(y.place(tick) or 0): tick for tick in y.ticks()}
    level = None if curves.level is None else y.place(curves.level)
    ruled = None if level is None else row_of(level)
    shown = Text(f"{curves.y.title}\n", style="")
    for row in range(height):
        shown.append(f"{_number(ticks[row]) if row in ticks else '':>7} ", "dim")
        shown.append("┤" if row in ticks else "│", "dim")
        for column in range(width):
            shown.append(*cells.get((row, column), ("┈" if row == ruled else " ", "dim")))
        shown.append("\n")
    axis, labels = ["─"] * width, [" "] * (width + 10)
    for tick in curves.x.scale.ticks():
        column = min(round((curves.x.scale.place(tick) or 0) * width), width - 1)
        axis[column] = "┬"
        for offset, character in enumerate(label := _number(tick)):
            labels[max(0, column - len(label) // 2) + offset] = character
    shown.append(f"{'':>8}└{''.join(axis)}\n{'':>9}{''.join(labels).rstrip()}\n{'':>9}{curves.x.title}\n", "dim")
    return shown


def _cells(curves: Curves, width: int, height: int) -> dict[tuple[int, int], tuple[str, str]]:
    """What stands in each row and column that a curve passes, and its style: Braille dots, or the curve's number."""
    dots: dict[tuple[int, int], tuple[int, str]] = {}
    marks: dict[tuple[int, int], tuple[str, str]] = {}
    turns = 6 * len(curves.curves)
    for number, curve in enumerate(curves.curves):
        colour = SERIES[number % len(SERIES)].terminal
        for x, y in (dot for piece in curves.placed(curve) for dot in _dots(piece, 2 * width, 4 * height)):
            row, column = height - 1 - y // 4, x // 2
            bits, _ = dots.get((row, column), (0, colour))
            dots[row, column] = (bits | _DOTS[x % 2][3 - y % 4], colour)
        # A column in so many is this curve's turn, so that curves that lie together still show all their digits.
        own = {column: row for row, column in dots if column % turns == 6 * number + 3 and dots[row, column][1] == colour}
        marks |= {(row, column): (f"{number + 1}", f"bold {colour}") for column, row in own.items()}
    return {place: (chr(0x2800 + bits), colour) for place, (bits, colour) in dots.items()} | marks


def _dots(points: Sequence[Point], width: int, height: int) -> list[tuple[int, int]]:
    """The dots of a polyline without gaps, in columns of ``width`` and rows of ``height`` counted from the bottom."""
    whole = [(x * (width - 1), y * (height - 1)) for x, y in points]
    found = [(round(x), round(y)) for x, y in whole[:1]]
    for (x0, y0), (x1, y1) in itertools.pairwise(whole):
        steps = max(1, math.ceil(max(abs(x1 - x0), abs(y1 - y0))))
        found += [(round(x0 + (x1 - x0) * s / steps), round(y0 + (y1 - y0) * s / steps)) for s in range(1, steps + 1)]
    return list(dict.fromkeys(found))


def _number(value: float) -> str:
    """A tick in plain characters: 0.001 and above in digits, below as a power."""
    return f"{value:g}" if value == 0 or value >= 1e-3 else f"1e{round(math.log10(value))}"


def contribution_bars(contributions: Sequence[ContributionRecord], width: int, height: int = 3) -> Text:
    """A bar over every character: its share in the final state, relative to the largest. A line has ``width`` cells."""
    shown = Text()
    characters = [one_cell(character) for character in contributions[0]["characters"]]
    for part in _folded(list(map(cell_len, characters)), width):
        for number, one in enumerate(contributions):
            if part.start == 0:
                shown.append(f"{on_one_line(one['label'])}", f"bold {SERIES[number % len(SERIES)].terminal}")
                shown.append(f"  half of it in the last {_half(one['contribution'])} of {len(characters)} characters\n", "dim")
            shares, most = one["contribution"][part], max(one["contribution"]) or 1
            eighths = [math.ceil(share / most * 8 * height - 1e-9) for share in shares]
            for row in range(height - 1, -1, -1):
                for share, level, character in zip(shares, eighths, characters[part], strict=True):
                    shown.append(f" {BLOCKS}"[min(max(level - 8 * row, 0), 8)] * cell_len(character), heat(share / most))
                shown.append("\n")
            shown.append("".join(characters[part]) + "\n")
    return shown


def _folded(widths: Sequence[int], width: int) -> Iterator[slice]:
    """Which characters of so many cells each stand together in a line of ``width`` cells."""
    begin = taken = 0
    for place, cells in enumerate(widths):
        if place > begin and taken + cells > width:
            yield slice(begin, place)
            begin, taken = place, 0
        taken += cells
    yield slice(begin, len(widths))


def _half(shares: Sequence[float]) -> int:
    """How many characters, counted from the end, hold at least half of the whole."""
    total, count = 0.0, 0
    while count < len(shares) and total < 0.5 - 1e-9:
        count += 1
        total += shares[-count]
    return count


# -- as SVG ------------------------------------------------------------------------------------------------------------

WIDTH, BARS = 880, 58
"""The width of a picture, and the height of one network's bars."""
SHARES = "share of each character in the final hidden state"


def memory_svg(memories: Sequence[MemoryRecord], contributions: Sequence[ContributionRecord] = ()) -> str:
    """The memory of networks as one SVG picture: both kinds of curves side by side, bars for a text below.

    It has no background, and only colours that can be read on white and on black, so that it suits a page of either theme.
    """
    labels = [str(one["label"]) for one in memories or contributions]
    parts, height = _legend([_remembering(*one) for one in zip(labels, memories, strict=True)] if memories else labels), 44
    if memories:
        for column, curves in enumerate((gradient_curves(memories), withheld_curves(memories))):
            left, top = 62 + 436 * column, height + 26
            panel = Panel(curves.x, curves.y, left, top, 360, 250)
            panel.draw(curves)
            parts += [text(left, top - 10, curves.y.title), str(panel)]
        height += 340
    if contributions:
        parts += [text(62, height + 16, SHARES), *svg_bars(contributions, 62, height + 26)]
        height += 56 + BARS * len(contributions)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
        f' font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13" fill="{GREY}">\n'
        "<!-- charrnn inspect -->\n"
        f"<title>How far back {content(on_one_line(', '.join(labels)))} remember</title>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _remembering(label: str, memory: MemoryRecord) -> str:
    """What stands for a network whose memory was measured, in characters as the axes below."""
    fewest = memory["smallest_within_1_percent"]
    return f"{label} remembers {'over ' if fewest is None else ''}{fewest or memory['withheld_lags'][-1]}"


def _legend(labels: Sequence[str]) -> list[str]:
    parts, x = [], 62.0
    for number, label in enumerate(map(on_one_line, labels)):
        parts.append(line(f"M{x:.0f} 20h30", stroke(number)))
        parts.append(text(x + 38, 24.5, label, f'fill="{ink(number)}" font-weight="600"'))
        x += 70 + 8.5 * cell_len(label)
    return parts


def svg_bars(contributions: Sequence[ContributionRecord], left: float, top: float) -> list[str]:
    """A row of bars per network, all to the same scale, and the text under the last."""
    characters = [one_cell(character) for character in contributions[0]["characters"]]
    step, room = min(44.0, (WIDTH - left - 18) / len(characters)), 46
    most = max(max(one["contribution"]) for one in contributions) or 1
    parts = []
    for number, one in enumerate(contributions):
        base = top + BARS * number + room
        parts.append(line(f"M{left} {base:.1f}h{step * len(characters):.1f}", f'stroke="{GREY}" stroke-opacity="0.3"'))
        for index, share in enumerate(one["contribution"]):
            x, height = f"{left + step * index + 0.1 * step:.1f}", room * share / most
            title = f"{characters[index]} {share:.1%}"
            parts.append(rect(x, f"{base - height:.2f}", f"{0.8 * step:.1f}", f"{height:.2f}", ink(number), title))
    base = top + BARS * (len(contributions) - 1) + room + 17
    style = f'text-anchor="middle" font-family="monospace" font-size="{min(14.0, 1.4 * step):.1f}"'
    return [*parts, *(text(left + step * (index + 0.5), base, shown, style) for index, shown in enumerate(characters))]
