"""The drawing under every chart: scales with round ticks, axes, curves, and the elements of an SVG picture."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from charrnn.output.notation import visible
from charrnn.output.palette import GREY, SERIES

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """An interval from ``low`` to ``high``, linear or (``log``) logarithmic."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float | None:
        """Where ``value`` lies between ``low`` (0) and ``high`` (1); None outside."""
        if not self.low <= value <= self.high:
            return None
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values inside: powers of ten on a logarithmic scale, with 2 and 5 times them where these are fewer than three;
        otherwise multiples of 1, 2 or 5 times one.
        """
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            if last - first >= 2:
                return [10.0**power for power in range(first, last + 1)]
            finer = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
            return [value for value in finer if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]
        unit = 10.0 ** math.floor(math.log10((self.high - self.low) / 4))
        step = next(unit * factor for factor in (1, 2, 5, 10) if (self.high - self.low) / (unit * factor) <= 5)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * count for count in range(first, last + 1)]


def power(value: float) -> str:
    """A tick as a picture writes it: 0.01 and above in digits, below as a power of ten."""
    if value <= 0 or value >= 0.01:
        return f"{value:g}"
    return "10" + f"{round(math.log10(value))}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def thousands(value: float) -> str:
    """A tick of a linear axis, from 10,000 on in thousands: 25k."""
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"


@dataclass(frozen=True)
class Axis:
    """A scale, what it counts, and how its ticks are written in a picture."""

    title: str
    scale: Scale
    write: Callable[[float], str] = power


@dataclass(frozen=True)
class Curves:
    """One chart, before anything is drawn: two axes, and curves, each a series of points."""

    x: Axis
    y: Axis
    curves: Sequence[Sequence[Point]]
    level: float | None = None
    """The y of a line from side to side."""

    def placed(self, curve: Sequence[Point]) -> list[list[Point]]:
        """The pieces of ``curve`` that lie inside, their points as shares of the chart's width and height."""
        pieces: list[list[Point]] = [[]]
        for x, y in ((self.x.scale.place(x), self.y.scale.place(y)) for x, y in curve):
            if x is not None and y is not None:
                pieces[-1].append((x, y))
            elif pieces[-1]:
                pieces.append([])
        return [piece for piece in pieces if piece]


# -- SVG: ``style`` holds further attributes, and never anything from outside -------------------------------------------


_NOT_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""Characters that no XML file may hold; `visible` has taken the control characters."""


def content(shown: str) -> str:
    """A text from outside as it stands between two tags: every character one that XML can hold."""
    return escape(_NOT_XML.sub("\ufffd", visible(shown)), quote=False)


def text(x: float, y: float, shown: str, style: str = "") -> str:
    """A line of text whose baseline begins at (x, y)."""
    return f'<text x="{x:.1f}" y="{y:.1f}"{style and " "}{style}>{content(shown)}</text>'


def line(d: str, style: str) -> str:
    """A line along the path ``d``."""
    return f'<path d="{d}" {style}/>'


def rect(x: str, y: str, width: str, height: str, fill: str, title: str = "") -> str:
    """A filled rectangle, its measures written with the digits that they need; pointing at it shows the ``title``."""
    inside = f"><title>{content(title)}</title></rect>" if title else "/>"
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}"{inside}'


def ink(number: int) -> str:
    """The colour of a series."""
    return SERIES[number % len(SERIES)].ink


def stroke(number: int) -> str:
    """The attributes of a curve of a series: its colour and its dashes."""
    dashes = SERIES[number % len(SERIES)].dashes
    return f'fill="none" stroke="{ink(number)}" stroke-width="2.25"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


class Panel:
    """Two axes around a rectangle of an SVG picture, and what is drawn inside; lengths are in the picture's units."""

    def __init__(self, x: Axis, y: Axis, left: float, top: float, width: float, height: float) -> None:
        self._x, self._y = x.scale, y.scale
        self._left, self._top, self._width, self._height = left, top, width, height
        self.elements: list[str] = []
        faint = f'fill="none" stroke="{GREY}" stroke-opacity="0.3"'
        for tick in y.scale.ticks():
            at = self._down(y.scale.place(tick) or 0)
            self.elements.append(line(f"M{left} {at:.1f}h{width}", faint))
            self.elements.append(text(left - 7, at + 4, y.write(tick), 'text-anchor="end"'))
        for tick in x.scale.ticks():
            at = self._across(x.scale.place(tick) or 0)
            self.elements.append(line(f"M{at:.1f} {top}v{height}", faint))
            self.elements.append(text(at, top + height + 18, x.write(tick), 'text-anchor="middle"'))
        self._x_title = text(left + width / 2, top + height + 38, x.title, 'text-anchor="middle"')

    def _across(self, share: float) -> float:
        return self._left + share * self._width

    def _down(self, share: float) -> float:
        return self._top + (1 - share) * self._height

    def draw(self, curves: Curves) -> None:
        """Draw the level and the curves."""
        if curves.level is not None and (level := self._y.place(curves.level)) is not None:
            at = self._down(level)
            self.elements.append(
                line(f"M{self._left} {at:.1f}h{self._width}", f'fill="none" stroke="{GREY}" stroke-dasharray="3 4"')
            )
            shown = f"{curves.level:.0%}".replace("%", " %")
            self.elements.append(text(self._left + self._width - 4, at - 5, shown, 'text-anchor="end"'))
        for number, curve in enumerate(curves.curves):
            for piece in curves.placed(curve):
                points = " ".join(f"{self._across(x):.1f},{self._down(y):.1f}" for x, y in piece)
                self.elements.append(f'<polyline points="{points}" stroke-linejoin="round" {stroke(number)}/>')

    def dots(self, points: Sequence[Point], number: int) -> None:
        """Draw the points that lie inside: one path of segments without length, whose round ends show."""
        shares = [(self._x.place(x), self._y.place(y)) for x, y in points]
        inside = [f"M{self._across(x):.1f} {self._down(y):.1f}h0" for x, y in shares if x is not None and y is not None]
        if not inside:
            return
        style = f'fill="none" stroke="{ink(number)}" stroke-width="4.5" stroke-linecap="round" stroke-opacity="0.8"'
        self.elements.append(line("".join(inside), style))

    def bars(self, edges: Sequence[float], heights: Sequence[float], number: int, count: int) -> None:
        """Draw a bar between neighbouring ``edges``, the ``number``-th of ``count`` series that share the room."""
        for low, high, height in zip(edges[:-1], edges[1:], heights, strict=True):
            left, right = (self._across(self._x.place(edge) or 0) for edge in (low, high))
            top, wide = self._down(self._y.place(height) or 0), (right - left - 2) / count
            if height:
                x, tall = left + 1 + number * wide, self._top + self._height - top
                self.elements.append(rect(f"{x:.1f}", f"{top:.1f}", f"{wide:.1f}", f"{tall:.1f}", ink(number)))

    def __str__(self) -> str:
        return "\n".join([*self.elements, self._x_title])
