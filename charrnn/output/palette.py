"""Every colour that stands for data: on the terminal, in pictures, on the page.

The page's own colours (paper, ink, rules) are in its style sheet, once for each theme.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """What tells one curve from the others: a colour, and a pattern of dashes for whoever doesn't see the colour."""

    terminal: str
    """The terminal's own colour, as rich names it."""
    ink: str
    """The colour of a picture. Its lightness lies between black and white, so that it shows on both."""
    dashes: str
    """SVG's ``stroke-dasharray``; empty for a line without gaps."""


SERIES = (
    Series("cyan", "#d9480f", ""),
    Series("yellow", "#3b82f6", "7 3"),
    Series("magenta", "#2f9e44", "2 3"),
    Series("green", "#ae3ec9", "9 3 2 3"),
    Series("red", "#b58900", "4 4"),
    Series("blue", "#0c8599", "1 2"),
)
"""In the order in which curves take them. The inks differ in lightness too, for eyes that don't tell their hues apart."""

GREY = "#6e7781"
"""Axes and words of a picture, legible on black and on white."""

HEAT = ("#4575b4", "#5fa3c7", "#e0a526", "#f0713a", "#e03131")
"""From a small share to a large one."""


def heat(share: float) -> str:
    """The colour of a share of 0 to 1."""
    return HEAT[min(int(share * len(HEAT)), len(HEAT) - 1)]


@dataclass(frozen=True)
class Shade:
    """A background for dark letters: its number among the terminal's 256 colours, and the same colour for a picture."""

    number: int
    ink: str


# Five each, from weak to strong.
POSITIVE = (Shade(224, "#ffd7d7"), Shade(217, "#ffafaf"), Shade(210, "#ff8787"), Shade(203, "#ff5f5f"), Shade(196, "#ff0000"))
NEGATIVE = (Shade(189, "#d7d7ff"), Shade(153, "#afd7ff"), Shade(117, "#87d7ff"), Shade(75, "#5fafff"), Shade(33, "#0087ff"))
UNSIGNED = (Shade(230, "#ffffd7"), Shade(229, "#ffffaf"), Shade(222, "#ffd787"), Shade(214, "#ffaf00"), Shade(202, "#ff5f00"))

SURPRISE_STYLES = ((1.0, "2", "dim"), (2.0, "0", "plain"), (4.0, "33", "yellow"), (6.0, "31", "red"))
"""Upper limit in bits, SGR code and name of each style; the colours are the terminal's own, legible on dark and light."""
SURPRISE_LEGEND = ", ".join(f"{name} below {bits:g}" for bits, _, name in SURPRISE_STYLES) + ", magenta above"


def surprise_style(bits: float) -> str:
    """The SGR code for a character that had so many bits of information; it ends whatever code came before."""
    code = next((code for limit, code, _ in SURPRISE_STYLES if bits < limit), "1;35")
    return code if code == "0" else f"0;{code}"
