"""Scales, ticks, and what an SVG picture is made of."""

from __future__ import annotations

import re

import pytest

from charrnn.output import plot
from charrnn.output.plot import Axis, Curves, Panel, Scale


@pytest.mark.parametrize(
    ("scale", "value", "place"),
    [
        (Scale(0, 200), 50, 0.25),
        (Scale(0, 200), 201, None),
        (Scale(0.01, 1, log=True), 0.1, 0.5),
        (Scale(0.01, 1, log=True), 0.0, None),
        (Scale(0.01, 1, log=True), -3.0, None),
    ],
)
def test_a_scale_places_values_between_0_and_1(scale, value, place):
    assert scale.place(value) == (None if place is None else pytest.approx(place))


def test_ticks_are_round_numbers():
    assert Scale(0, 1).ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert Scale(2.1, 3.4).ticks() == pytest.approx([2.5, 3.0])
    assert Scale(0, 3000).ticks() == [0, 1000, 2000, 3000]
    assert Scale(0, 200).ticks() == [0, 50, 100, 150, 200]
    assert Scale(0, 7).ticks() == [0, 2, 4, 6]
    assert Scale(0.01, 1.2, log=True).ticks() == pytest.approx([0.01, 0.1, 1])
    assert Scale(1, 8, log=True).ticks() == [1, 2, 5]
    assert Scale(1, 20, log=True).ticks() == [1, 2, 5, 10, 20]
    assert Scale(0.03, 0.4, log=True).ticks() == pytest.approx([0.05, 0.1, 0.2])


@pytest.mark.parametrize(
    ("value", "written"), [(0, "0"), (1, "1"), (0.01, "0.01"), (1e-3, "10⁻³"), (1e-12, "10⁻¹²"), (-0.5, "-0.5")]
)
def test_small_ticks_of_a_picture_are_powers_of_ten(value, written):
    assert plot.power(value) == written


@pytest.mark.parametrize(("value", "written"), [(0.2 + 0.4, "0.6"), (9000, "9000"), (25_000, "25k"), (2_500_000, "2500k")])
def test_ticks_that_count_are_in_thousands(value, written):
    assert plot.thousands(value) == written


def test_a_curve_is_cut_where_it_leaves_the_chart():
    x, y = Axis("", Scale(0, 4)), Axis("", Scale(0, 1))
    curve = [(0, 0.5), (1, 2.0), (2, 1.0), (3, 0.0), (4, -1.0), (5, 0.5)]
    assert Curves(x, y, [curve]).placed(curve) == [[(0.0, 0.5)], [(0.5, 1.0), (0.75, 0.0)]]


def panel():
    return Panel(Axis("across", Scale(0, 10)), Axis("up", Scale(0, 2)), 100, 50, 200, 100)


def test_points_stand_where_the_axes_say():
    drawing = panel()
    drawing.dots([(0, 0), (5, 1), (10, 2), (11, 1)], 0)
    assert re.findall(r"M([\d.]+) ([\d.]+)h0", str(drawing)) == [("100.0", "150.0"), ("200.0", "100.0"), ("300.0", "50.0")]
    before = len(drawing.elements)
    drawing.dots([(11, 1)], 0)
    assert len(drawing.elements) == before


def test_bars_of_two_series_share_the_room_between_two_edges():
    drawing = panel()
    drawing.bars([0, 5, 10], [1, 0], 0, 2)
    drawing.bars([0, 5, 10], [0, 2], 1, 2)
    bars = re.findall(r'<rect x="([^"]+)" y="([^"]+)" width="([^"]+)" height="([^"]+)" fill="([^"]+)"', str(drawing))
    assert [tuple(map(float, bar[:4])) for bar in bars] == [(101, 100, 49, 50), (250, 50, 49, 100)]
    assert [bar[4] for bar in bars] == [plot.ink(0), plot.ink(1)]


def test_words_in_a_picture_are_escaped_and_hold_no_control_character():
    assert plot.text(1, 2, "<b>&\x1b") == '<text x="1.0" y="2.0">&lt;b&gt;&amp;\u241b</text>'
    assert plot.rect("0", "0", "1", "1", "#fff", "<") == (
        '<rect x="0" y="0" width="1" height="1" fill="#fff"><title>&lt;</title></rect>'
    )
