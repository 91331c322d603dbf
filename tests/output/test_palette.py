"""Colours that can be told apart, and read on light and dark."""

from __future__ import annotations

import pytest

from charrnn.output import palette


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", ["#ffffff", "#0d1117", "#fdfdfc", "#15181c"])
def test_every_ink_contrasts_with_light_and_dark_pages(page: str) -> None:
    """3:1 is what WCAG 2.1 asks of graphics."""
    for colour in (palette.GREY, *(series.ink for series in palette.SERIES)):
        assert contrast(colour, page) >= 3, colour


def test_series_differ_in_every_respect() -> None:
    for of in (lambda one: one.terminal, lambda one: one.ink, lambda one: one.dashes):
        assert len({of(one) for one in palette.SERIES}) == len(palette.SERIES) == 6


def test_a_shade_is_the_same_colour_on_the_terminal_and_in_a_picture() -> None:
    """Colours 16 to 231 of a terminal are a cube of six steps for each of red, green and blue."""
    steps = (0, 95, 135, 175, 215, 255)
    for shade in (*palette.POSITIVE, *palette.NEGATIVE, *palette.UNSIGNED):
        red, rest = divmod(shade.number - 16, 36)
        green, blue = divmod(rest, 6)
        assert shade.ink == f"#{steps[red]:02x}{steps[green]:02x}{steps[blue]:02x}"


def test_black_letters_are_legible_on_every_shade() -> None:
    """4.5:1 is what WCAG 2.1 asks of text."""
    for shade in (*palette.POSITIVE, *palette.NEGATIVE, *palette.UNSIGNED):
        assert contrast("#000000", shade.ink) >= 4.5, shade


def test_heat_goes_from_the_first_colour_to_the_last() -> None:
    assert [palette.heat(share) for share in (0, 0.5, 1)] == [palette.HEAT[0], palette.HEAT[2], palette.HEAT[-1]]


@pytest.mark.parametrize(("bits", "code"), [(0.5, "0;2"), (1.0, "0"), (3.9, "0;33"), (5.0, "0;31"), (6.0, "0;1;35")])
def test_surprise_has_a_style_per_range_of_bits(bits: float, code: str) -> None:
    assert palette.surprise_style(bits) == code
