"""Curves and bars as characters and as SVG."""

from __future__ import annotations

import io
import math
import re
from xml.etree import ElementTree

import pytest
from rich.console import Console

from charrnn.output import charts, palette
from charrnn.output.plot import Axis, Curves, Scale

SVG = "{http://www.w3.org/2000/svg}"


def memory(label, decay, lags=200, bits=2.0):
    gradient = [3 * decay**k for k in range(lags + 1)]
    return {
        "label": label,
        "bits_per_char": bits,
        "lags": list(range(lags + 1)),
        "gradient": gradient,
        "half_life": math.log(0.5) / math.log(decay),
        "below_1_percent": next((k for k, g in enumerate(gradient) if g < 0.03), None),
        "withheld_lags": list(range(1, lags + 1)),
        "withheld": [2 / k**2 for k in range(1, lags + 1)],
        "smallest_within_1_percent": 10,
    }


TWO = [memory("rnn", 0.5), memory("lstm", 0.99)]
HELD = [
    {"label": "rnn", "characters": list("ab\n?"), "contribution": [0.0, 0.1, 0.3, 0.6]},
    {"label": "lstm", "characters": list("ab\n?"), "contribution": [0.25, 0.25, 0.25, 0.25]},
]


def rendered(*pictures, width=90, colour=False):
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=colour, color_system="standard" if colour else None)
    for picture in pictures:
        console.print(picture)
    return file.getvalue()


def dots(text):
    """The places of Braille dots in rendered lines, x and y counted in dots from the top left."""
    found = set()
    for row, line in enumerate(text.splitlines()):
        for column, character in enumerate(line):
            bits = ord(character) - 0x2800
            for dx, dy, bit in [(0, 0, 0), (0, 1, 1), (0, 2, 2), (1, 0, 3), (1, 1, 4), (1, 2, 5), (0, 3, 6), (1, 3, 7)]:
                if 0 < bits < 256 and bits >> bit & 1:
                    found.add((2 * column + dx, 4 * row + dy))
    return found


def test_an_exponential_is_a_straight_line_on_the_log_scale():
    x, y = Axis("", Scale(0, 100)), Axis("", Scale(0.01, 1, log=True))
    curves = Curves(x, y, [[(k, 10 ** (-k / 50)) for k in range(101)]])
    found = sorted(dots(charts.chart(curves, 38, 10).plain))
    left, top = found[0]
    for across, down in found:
        assert down - top == pytest.approx((across - left) * 39 / 75, abs=1)
    assert (found[-1][0] - left, found[-1][1] - top) == (75, 39)


def test_every_curve_bears_the_number_of_its_row_in_the_legend_without_colour():
    text = rendered(*charts.drawn(TWO, []))
    assert "\x1b" not in text
    picture, legend = text.split("network")
    first = picture.split("bits/char lost")[0]
    assert first.count("1") > 2  # besides the axes' own
    assert re.search(r"[\u2800-\u28ff]2[\u2800-\u28ff]", first)
    assert re.search(r"1 +rnn .* 1\.0 ", legend)
    assert re.search(r"2 +lstm .* 69\.0 .* > 200 ", legend)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_pictures_fit_the_terminal(width):
    text = rendered(*charts.drawn(TWO, HELD), width=width)
    assert max(map(len, text.splitlines())) <= width
    # A line that was folded would begin with neither axis nor label.
    assert sum("┤" in line or "│" in line for line in text.splitlines()) == 24


def test_curves_have_colours_of_their_own():
    text = rendered(*charts.drawn(TWO, []), colour=True)
    assert re.search("\x1b\\[36m[\u2800-\u28ff]", text)
    assert re.search("\x1b\\[33m[\u2800-\u28ff]", text)


def test_a_pipe_gets_tables_of_the_same_numbers():
    text = rendered(*charts.listed(TWO, HELD))
    assert not re.search("[\u2800-\u28ff▁-█]", text)
    rows = [line.split() for line in text.splitlines()]
    assert ["1", "rnn", "2.000", "10", "1.0", "7"] in rows
    assert ["10", "9.77e-04", "0.0200", "9.04e-01", "0.0200"] in rows
    assert ["?", "0.6000", "0.2500"] in rows


def test_a_flat_gradient_and_one_that_is_nothing_can_be_drawn():
    for gradient in ([1.0] * 21, [0.0] * 21, [1.0] + [0.0] * 20):
        flat = memory("x", 0.5, 20) | {"gradient": gradient, "withheld": [0.0] * 20, "half_life": None}
        assert "> 20" in rendered(*charts.drawn([flat], []))
        ElementTree.fromstring(charts.memory_svg([flat]))


def test_bars_are_as_high_as_their_shares():
    lines = charts.contribution_bars(HELD, 80, height=2).plain.splitlines()
    assert lines[0] == "rnn  half of it in the last 1 of 4 characters"
    assert lines[1:4] == ["   █", " ▃██", "ab↵?"]
    assert lines[4] == "lstm  half of it in the last 2 of 4 characters"
    assert lines[5:8] == ["████", "████", "ab↵?"]


def test_bars_of_a_long_text_are_folded():
    text = "abcdefghij"
    one = {"label": "x", "characters": list(text), "contribution": [0.1] * 10}
    lines = charts.contribution_bars([one], 4, height=1).plain.splitlines()
    assert lines[1:] == ["████", "abcd", "████", "efgh", "██", "ij"]


def test_wide_characters_are_folded_where_the_terminal_ends():
    one = {"label": "x", "characters": list("漢字a漢"), "contribution": [0.25] * 4}
    lines = charts.contribution_bars([one], 5, height=1).plain.splitlines()
    assert lines[1:] == ["█████", "漢字a", "██", "漢"]
    assert charts.contribution_bars([one], 1, height=1).plain.count("漢") == 2


def test_wide_characters_have_wide_bars_and_escapes_are_symbols():
    one = {"label": "x", "characters": ["漢", "\x1b", "\u0301"], "contribution": [0.4, 0.3, 0.3]}
    lines = charts.contribution_bars([one], 80, height=1).plain.splitlines()
    assert lines[1:] == ["██▆▆", "漢␛·"]


# -- SVG --------------------------------------------------------------------------------------------------------------


def points(svg):
    return [
        [tuple(map(float, point.split(","))) for point in line.get("points").split()] for line in svg.iter(f"{SVG}polyline")
    ]


def test_the_svg_draws_each_curve_where_its_numbers_say():
    svg = ElementTree.fromstring(charts.memory_svg(TWO))
    assert [len(line) for line in points(svg)] == [20, 201, 14, 14]  # 0.5^20 < 1e-6; 2 / k^2 < 0.01
    rnn, lstm = points(svg)[:2]
    (left, top), (right, bottom) = lstm[0], lstm[-1]
    assert (rnn[0], right - left) == ((left, top), 360)
    slope = (bottom - top) / math.log(0.99**200)
    for k, (x, y) in enumerate(rnn):
        assert x == pytest.approx(left + 1.8 * k, abs=0.06)
        assert y == pytest.approx(top + slope * math.log(0.5**k), abs=0.2)


def test_the_svg_is_whole_escaped_and_tells_curves_apart_without_colour():
    labels = ["<script>alert(1)</script>", 'a & "b"']
    text = charts.memory_svg([memory(label, 0.9) for label in labels], [one | {"label": labels[0]} for one in HELD])
    svg = ElementTree.fromstring(text)
    assert not list(svg.iter(f"{SVG}script"))
    shown = [node.text for node in svg.iter(f"{SVG}text")]
    assert [f"{label} remembers 10" for label in labels] == shown[:2]
    assert len({line.get("stroke-dasharray") for line in list(svg.iter(f"{SVG}polyline"))[:2]}) == 2
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_svgs_bars_are_in_proportion():
    svg = ElementTree.fromstring(charts.memory_svg([], HELD))
    heights = [float(bar.get("height")) for bar in svg.iter(f"{SVG}rect")]
    assert heights == pytest.approx([46 * share / 0.6 for one in HELD for share in one["contribution"]], abs=0.01)


def test_every_colour_of_the_svg_is_one_of_the_palettes():
    """`test_palette` shows that these contrast with light and dark pages."""
    text = charts.memory_svg([memory(str(decay), decay / 10) for decay in range(3, 9)], HELD)
    assert set(re.findall("#[0-9a-f]{6}", text)) == {palette.GREY, *(series.ink for series in palette.SERIES)}


def test_what_comes_after_the_first_noise_is_not_drawn():
    one = memory("rnn", 0.9) | {"withheld_lags": [1, 2, 3, 4, 5], "withheld": [1.0, 0.1, 0.005, 0.03, 0.02]}
    curves = charts.withheld_curves([one])
    assert curves.curves == [[(1, 1.0), (2, 0.1)]]
    assert curves.x.scale.log
    assert curves.x.scale.high == 2
