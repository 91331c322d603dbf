"""A text coloured by numbers."""

from __future__ import annotations

import io
from xml.etree import ElementTree

from rich.console import Console

from charrnn.output import colored


def test_shades_have_five_steps_to_either_side() -> None:
    assert colored.shades([-1, -0.5, -0.05, 0, 0.3, 0.5, 1], True) == [-5, -2, 0, 0, 2, 2, 5]
    assert colored.shades([0.0, 5.0, 10.0, 99.0], False) == [0, 2, 5, 5]  # the largest twentieth is as strong as the rest
    assert colored.shades([], False) == []


def test_painted_text_is_the_text_with_colours_behind_it() -> None:
    painted = colored.painted("ab\nc\x1b", [1.0, -1.0, 0.0, 0.05, 1.0], True)
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
    picture = ElementTree.fromstring(colored.text_svg(text, [n / len(text) for n in range(len(text))], "T < 1", True))
    space = {"s": "http://www.w3.org/2000/svg"}
    lines = picture.findall("s:text", space)
    assert lines[0].text == "T < 1"
    assert "".join(line.text or "" for line in lines[2:]).replace("\u21b5", "\n").replace("\u00a0", " ") == text
    for line in lines[2:]:
        assert len(line.get("x", "").split()) == len(line.text or "") <= 90
    assert "#ff0000" in {rect.get("fill") for rect in picture.findall("s:rect", space)}
