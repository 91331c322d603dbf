"""Numbers to text and tables."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import pytest
from rich.console import Console, RenderableType
from rich.table import Table

from charrnn import report

LSTM_LAYER = {
    "mean_abs": 0.25,
    "std": 0.3,
    "saturated": 0.5,
    "still": 0.125,
    "dimensions": 12.4,
    "gates": {"i": 0.11, "f": 0.92, "g": 0.33, "o": 0.44},
    "left": {"i": 0.6, "f": 0.01, "o": 0.2},
    "right": {"i": 0.1, "f": 0.7, "g": 0.05, "o": 0.3},
    "c": [-2.25, 3.5],
    "tau": {"quartiles": [2.0, 12.5, 30.0], "longest": 1234.0},
}
FACTS = {
    "path": "runs/a/best.safetensors",
    "cell": "gru",
    "layers": 2,
    "hidden_size": 512,
    "parameters": 1234567,
    "corpus": "fables",
    "val_bits_per_char": 1.98765,
    "when": "2026-01-02 03:04",
}


def rendered(what: RenderableType, *, colour: bool = False) -> str:
    file = io.StringIO()
    Console(file=file, width=200, force_terminal=colour, color_system="standard" if colour else None).print(what)
    return file.getvalue()


def columns(table: Table) -> list[str]:
    return [str(column.header) for column in table.columns]


def layer(gates: str = "", **changed: object) -> dict[str, object]:
    tau = {"quartiles": [1.0, 2.0, 3.0], "longest": 9.0} if gates else None
    quiet = {"mean_abs": 0.1, "std": 0.1, "saturated": 0.0, "still": 0.0, "dimensions": 1.0, "c": None, "tau": tau}
    return {**quiet, "gates": dict.fromkeys(gates, 0.5), "left": {}, "right": dict.fromkeys(gates, 0.5), **changed}


@pytest.mark.parametrize("gates", ["ifgo", "rzn", ""])
def test_a_hidden_table_has_a_column_per_gate_and_one_for_the_memory_that_gates_have(gates: str) -> None:
    expected = ["layer", "mean |h|", "saturated", "still", *gates, *["memory"] * bool(gates), "dims"]
    assert columns(report.hidden_table([layer(gates)])) == expected


def test_a_hidden_table_has_a_row_per_layer_with_shares_in_percent() -> None:
    lines = rendered(report.hidden_table([LSTM_LAYER, layer("ifgo", mean_abs=0.75, still=1.0)])).splitlines()
    numbers = [re.findall(r"[\d.]+%?", line) for line in lines[1:]]
    assert numbers == [
        ["0", "0.25", "50%", "12%", "0.11", "0.92", "0.33", "0.44", "12.5", "1234", "12"],
        ["1", "0.75", "0%", "100%", "0.50", "0.50", "0.50", "0.50", "2.0", "9", "1"],
    ]


def test_a_hidden_table_tells_what_has_moved_since_the_last_time() -> None:
    before = {**LSTM_LAYER, "mean_abs": 0.5, "gates": {**LSTM_LAYER["gates"], "f": 0.90, "i": 0.112}}
    text = rendered(report.hidden_table([LSTM_LAYER], [before]))
    assert "\u21930.25" in text
    assert "\u21910.02" in text
    assert text.count("\u2191") + text.count("\u2193") == 2
    narrow = rendered(report.hidden_table([LSTM_LAYER], [before], width=80))
    assert narrow.count("\u2191") == narrow.count("\u2193") == 1


def test_a_hidden_table_fits_a_terminal_of_80_columns_with_the_displays_frame() -> None:
    lines = rendered(report.hidden_table([{**LSTM_LAYER, "saturated": 1.0, "still": 1.0}], [layer("ifgo")], width=80))
    assert max(len(line.rstrip()) for line in lines.splitlines()) <= 76


def test_a_hidden_table_marks_a_share_of_more_than_a_third() -> None:
    yellow = "\x1b[33m"
    assert rendered(report.hidden_table([LSTM_LAYER]), colour=True).count(yellow) == 1
    assert yellow not in rendered(report.hidden_table([{**LSTM_LAYER, "saturated": 0.33}]), colour=True)


def test_a_layer_is_a_row_of_its_numbers() -> None:
    lines = rendered(report.layer_table([LSTM_LAYER, layer()], framed=False)).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["0", "0.25", "0.30", "50.0%", "12.5%", "12.4", "-2.2", "to", "3.5", "2.0", "/", "12.5", "/", "30.0", "1,234"],
        ["1", "0.10", "0.10", "0.0%", "0.0%", "1.0", "-", "-", "-"],
    ]


def test_a_gate_is_a_row_with_both_its_saturated_shares_and_a_candidate_with_one() -> None:
    lines = rendered(report.gate_table([LSTM_LAYER], framed=False)).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["0", "i", "0.11", "60.0%", "10.0%"],
        ["0", "f", "0.92", "1.0%", "70.0%"],
        ["0", "|g|", "0.33", "-", "5.0%"],
        ["0", "o", "0.44", "20.0%", "30.0%"],
    ]


def test_a_finding_is_a_row_with_its_unit_as_the_command_line_writes_it() -> None:
    finding = {
        "feature": "digit",
        "layer": 1,
        "unit": 7,
        "part": "c",
        "name": "1:7c",
        "first": 0.9,
        "second": -0.8,
        "needed": 0.3,
        "real": True,
    }
    other = {**finding, "part": "h", "name": "1:7", "real": False}
    lines = rendered(report.finding_table([finding, other], framed=False)).splitlines()
    assert lines[1].split()[:5] == ["digit", "1:7c", "+0.90", "-0.80", "0.30"]
    assert lines[2].split()[1] == "1:7"
    assert lines[1].split()[5:] != lines[2].split()[5:]


def test_shades_have_five_steps_to_either_side() -> None:
    assert report.shades([-1, -0.5, -0.05, 0, 0.3, 0.5, 1], True) == [-5, -2, 0, 0, 2, 2, 5]
    assert report.shades([0.0, 5.0, 10.0, 99.0], False) == [0, 2, 5, 5]  # the largest twentieth is as strong as the rest
    assert report.shades([], False) == []


def test_painted_text_is_the_text_with_colours_behind_it() -> None:
    painted = report.painted("ab\nc\x1b", [1.0, -1.0, 0.0, 0.05, 1.0], True)
    assert painted.plain == "ab\u21b5\nc\u241b"
    file = io.StringIO()
    Console(file=file, width=80, force_terminal=True, color_system="256").print(painted)
    assert "\x1b[38;5;16;48;5;196ma" in file.getvalue()
    assert "\x1b[38;5;16;48;5;33mb" in file.getvalue()
    assert "\x1b" not in rendered(painted)


def test_a_text_as_a_picture_is_sound_xml_with_every_character_in_its_place() -> None:
    text = 'a <b> & "c"\n' + "x" * 200
    picture = ElementTree.fromstring(report.text_svg(text, [n / len(text) for n in range(len(text))], "T < 1", True))
    space = {"s": "http://www.w3.org/2000/svg"}
    lines = picture.findall("s:text", space)
    assert lines[0].text == "T < 1"
    assert "".join(line.text or "" for line in lines[2:]).replace("\u21b5", "\n").replace("\u00a0", " ") == text
    for line in lines[2:]:
        assert len(line.get("x", "").split()) == len(line.text or "") <= 90
    assert "#ff0000" in {rect.get("fill") for rect in picture.findall("s:rect", space)}


def test_a_run_is_a_row_of_readable_cells() -> None:
    row = report.info_row("runs/a/best.safetensors", FACTS)
    assert row == ("runs/a/best.safetensors", "gru", "2 x 512", "1,234,567", "fables", "1.988", "2026-01-02 03:04")
    assert report.info_row("p", {**FACTS, "val_bits_per_char": None})[5] == "-"


def test_no_terminal_escape_of_a_path_or_corpus_reaches_a_table() -> None:
    row = report.info_row("\x1b]0;title\x07", {**FACTS, "corpus": "\x1b[2J"})
    text = rendered(report.info_table([row], framed=True)) + rendered(report.fact_table({"corpus": "\x1b[2J"}))
    assert "\x1b" not in text
    assert "\x07" not in text


def test_the_table_of_runs_has_the_issues_columns_and_a_line_per_run() -> None:
    row = report.info_row("a", FACTS)
    table = report.info_table([row, row], framed=False)
    assert columns(table) == ["path", "cell", "size", "parameters", "corpus", "bits/char", "when"]
    assert len(rendered(table).splitlines()) == 3


def test_square_brackets_in_a_table_are_text_and_no_markup() -> None:
    row = report.info_row("[bold]x[/bold]", {**FACTS, "corpus": "[red]"})
    text = rendered(report.info_table([row], framed=False)) + rendered(report.fact_table({"corpus": "[blue]"}))
    for bracketed in ("[bold]x[/bold]", "[red]", "[blue]"):
        assert bracketed in text


def test_facts_are_a_line_each_with_readable_numbers() -> None:
    facts = {"hidden_size": 4096, "seed": 12345, "epochs": 2.5, "seconds": 61.0, "val_bits_per_char": None}
    lines = [line.split() for line in rendered(report.fact_table(facts)).splitlines()]
    assert lines == [
        ["hidden", "size", "4,096"],
        ["seed", "12345"],
        ["epochs", "2.500"],
        ["seconds", "1:01"],
        ["val", "bits", "per", "char", "-"],
    ]
