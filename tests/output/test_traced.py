from __future__ import annotations

import json
import xml.dom.minidom
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_networks
from conftest import Stream

from charrnn import CharrnnError
from charrnn.analysis.judge import Judge
from charrnn.network import classifier
from charrnn.output import traced
from charrnn.output.console import Console
from charrnn.output.traced import Trace

TURNING = Trace(
    "what <t>",
    np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.4, 0.5, 0.1], [0.1, 0.8, 0.1], *[[0.02, 0.95, 0.03]] * 4]),
    ("alarm", "time & place", "never"),
)


def shown(trace: Trace, *, terminal: bool, as_json: bool = False) -> str:
    out = Stream(terminal=terminal)
    traced.shown(trace, Console(out, Stream()), as_json=as_json)
    return out.getvalue()


def test_in_a_pipe_each_character_has_a_line_with_the_likeliest_label() -> None:
    lines = shown(TURNING, terminal=False).splitlines()
    assert lines[0] == '"w"\talarm\t0.6000'
    assert lines[-1] == '">"\ttime & place\t0.9500'
    assert len(lines) == 8


def test_json_has_every_probability() -> None:
    found = json.loads(shown(TURNING, terminal=False, as_json=True))
    assert (found["text"], found["label"], found["probability"]) == ("what <t>", "time & place", 0.95)
    assert found["characters"] == list("what <t>")
    assert np.array(found["probabilities"]).shape == (8, 3)


def test_a_terminal_shows_the_text_in_colours_and_where_the_mind_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm-256color")
    text = shown(TURNING, terminal=True)
    assert "\x1b[" in text
    plain = traced._turns(TURNING).plain.splitlines()
    assert [line.split()[-1] for line in plain] == ["alarm", "place", "place"]
    assert plain[1].split()[:2] == ["wha", "█████"]
    assert max(map(len, plain)) <= 60


def test_the_picture_is_sound_and_names_the_labels_that_led() -> None:
    svg = traced.picture(TURNING)
    xml.dom.minidom.parseString(svg)
    assert "time &amp; place" in svg
    assert svg.count("<polyline") == 3
    assert "&lt;" in svg
    odd = Trace("a\x1b\n\u0301", np.full((4, 2), 0.5), ("x\x1b<", "y"))
    xml.dom.minidom.parseString(traced.picture(odd))
    assert "\x1b" not in traced.picture(odd)
    assert "\x1b[2J" not in shown(Trace("a", np.ones((1, 1)), ("\x1b[2J",)), terminal=True)


def test_a_trace_is_json_beside_its_picture_and_has_no_top(tmp_path: Path, invoke: Callable[..., Any]) -> None:
    small_networks.classifier(tmp_path / "c")
    done = invoke("classify", "predict", "what time", "-c", "c", "--svg", "t.svg", "--json")
    assert len(json.loads(done.stdout)["probabilities"]) == 9
    assert done.stderr == "charrnn: wrote t.svg\n"
    for option in (("--top", "2"), ("--threshold", "0.5")):
        refused = invoke("classify", "predict", "what time", "-c", "c", "--trace", *option)
        assert (refused.code, refused.stdout) == (2, "")
        assert "leave out --top and --threshold" in refused.stderr


@pytest.mark.parametrize("how", [("--trace",), ("--svg", "t.svg"), ()])
def test_what_it_couldnt_read_is_told_with_a_trace_and_without(
    tmp_path: Path, invoke: Callable[..., Any], how: tuple[str, ...]
) -> None:
    small_networks.classifier(tmp_path / "c")
    done = invoke("classify", "predict", "what \u0416", "-c", "c", *how)
    assert done.code == 0
    assert "doesn't know every character of the texts: '\u0416' -> unknown" in done.stderr


def test_a_picture_is_written_whole_and_replaces_its_like_alone(tmp_path: Path) -> None:
    judge = Judge(classifier.read(small_networks.classifier(tmp_path / "c") / classifier.NAME))
    out, err, path = Stream(), Stream(), tmp_path / "t.svg"
    for _ in range(2):
        traced.run(judge, "what time", Console(out, err), as_json=False, svg=path, show=False)
    assert path.read_text().startswith("<svg")
    assert out.getvalue() == ""
    mine = tmp_path / "mine.svg"
    mine.write_text("<svg/>")
    for place, words in ((mine, "is there already, and not by charrnn classify"), (tmp_path / "no" / "t.svg", "no directory")):
        with pytest.raises(CharrnnError, match=words):
            traced.run(judge, "what time", Console(out, err), as_json=False, svg=place, show=False)
    with pytest.raises(CharrnnError, match="blank"):
        traced.run(judge, " ", Console(out, err), as_json=False, svg=None, show=True)
