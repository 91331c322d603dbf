"""A text coloured by numbers."""

from __future__ import annotations

import io
from xml.etree import ElementTree

from rich.console import Console

from charrnn.analysis.traces import Values
from charrnn.output import colored


def test_shades_have_five_steps_to_either_side() -> None:
    assert colored.shades([-1, -0.5, -0.05, 0, 0.3, 0.5, 1], True) == [-5, -2, 0, 0, 2, 2, 5]
    assert colored.shades([0.0, 5.0, 10.0, 99.0], False) == [0, 2, 5, 5]  # the largest twentieth is as strong as the rest
    assert colored.shades([], False) == []


def test_painted_text_is_the_text_with_colours_behind_it() -> None:
    painted = colored.painted("ab\nc\x1b", Values([1.0, -1.0, 0.0, 0.05, 1.0], "a cell", 2.345))
    assert painted.plain == "ab\u21b5\nc\u241b"
    file = io.StringIO()
    Console(file=file, width=80, force_terminal=True, color_system="256").print(painted)
    assert "\x1b[38;5;16;48;5;196ma" in file.getvalue()
    assert "\x1b[38;5;16;48;5;33mb" in file.getvalue()
    plain = io.StringIO()
    Console(file=plain, width=80).print(painted)
    assert "\x1b" not in plain.getvalue()


def test_a_text_as_a_picture_is_sound_xml_with_every_character_in_its_place() -> None:
    text = 'a <b> & "c"\n' + "x" * 200
    picture = ElementTree.fromstring(colored.text_svg(text, Values([n / len(text) for n in range(len(text))], "T < 1", 2.345)))
    space = {"s": "http://www.w3.org/2000/svg"}
    lines = picture.findall("s:text", space)
    assert lines[0].text == "T < 1"
    assert lines[1].text == "-2.35 to 2.35"
    assert "".join(line.text or "" for line in lines[2:]).replace("\u21b5", "\n").replace("\u00a0", " ") == text
    for line in lines[2:]:
        assert len(line.get("x", "").split()) == len(line.text or "") <= 90
    assert "#ff0000" in {rect.get("fill") for rect in picture.findall("s:rect", space)}


def test_the_scale_tells_the_numbers_that_have_the_strongest_colours() -> None:
    cell, bits = Values([1.0, -0.5], "a cell", 2.345), Values([0.0, *[4.8] * 18, 12.0], "surprise", None)
    assert colored.scale_in_words(cell) == "from -2.35 (blue) to 2.35 (red)"
    assert colored.scale_in_words(bits) == "from 0 (no colour) to 4.8 and above (orange)"
    assert "0 to 4.8; one character in twenty is above" in colored.text_svg("x" * 20, bits)
