"""Numbers to text and tables."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType
from rich.table import Table

from charrnn import report

LSTM_LAYER = {"mean_abs": 0.25, "saturated": 0.5, "still": 0.125, "gates": {"i": 0.11, "f": 0.92, "g": 0.33, "o": 0.44}}
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


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([], 10, ""),
        ([1.0, 2.0], 0, ""),
        ([5.0], 10, "▁"),
        ([3.0, 3.0, 3.0], 10, "▁▁▁"),
        ([0.0, 7.0], 10, "▁█"),
        ([7.0, 0.0], 10, "█▁"),
        (list(range(8)), 8, "▁▂▃▄▅▆▇█"),
        ([-70.0, -60.0, 0.0], 3, "▁▂█"),
        ([1, 3, 0, 0, 6, 8], 3, "▃▁█"),  # means 2, 0 and 7
        ([0, 0, 0, 7, 7], 2, "▁█"),  # 0 0 | 0 7 7: means 0 and 14/3
    ],
)
def test_a_sparkline_averages_neighbours_and_scales_lowest_to_highest(values: list[float], width: int, expected: str) -> None:
    assert report.sparkline(values, width) == expected


@pytest.mark.parametrize("count", [1, 9, 10, 11, 19, 1000])
def test_a_sparkline_is_as_wide_as_its_values_but_never_wider_than_asked(count: int) -> None:
    assert len(report.sparkline([float(number % 7) for number in range(count)], 10)) == min(count, 10)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0:00"),
        (9.4, "0:09"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (61, "1:01"),
        (3599.4, "59:59"),
        (3599.6, "1:00:00"),
        (3661, "1:01:01"),
        (90_000, "25:00:00"),
        (-3, "0:00"),
    ],
)
def test_a_clock_shows_minutes_and_hours_only_where_there_are_any(seconds: float, expected: str) -> None:
    assert report.clock(seconds) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, é漢😀\nand so on", "plain, é漢😀\nand so on"),
        ("\x1b[31mred", "\u241b[31mred"),
        ("\x00\t\r\x1f", "\u2400\t\u240d\u241f"),
        ("\x7f\x80\x9b\x9f\xa0", "\u2421\u2421\u2421\u2421\xa0"),
    ],
)
def test_visible_text_shows_control_characters_as_symbols_and_keeps_newlines_and_tabs(text: str, expected: str) -> None:
    assert report.visible(text) == expected


def test_visible_text_holds_no_control_character_and_is_as_long_as_before() -> None:
    everything = "".join(map(chr, range(0x300)))
    shown = report.visible(everything)
    assert len(shown) == len(everything)
    assert [c for c in shown if ord(c) < 32 or 127 <= ord(c) < 160] == ["\t", "\n"]


@pytest.mark.parametrize("gates", ["ifgo", "rzn", ""])
def test_a_hidden_table_has_a_column_per_gate(gates: str) -> None:
    layer = {"mean_abs": 0.1, "saturated": 0.0, "still": 0.0, "gates": dict.fromkeys(gates, 0.5)}
    assert columns(report.hidden_table([layer])) == ["layer", "mean |h|", "saturated", "still", *gates]


def test_a_hidden_table_has_a_row_per_layer_with_shares_in_percent() -> None:
    other = {"mean_abs": 0.75, "saturated": 0.0, "still": 1.0, "gates": {"i": 0.5, "f": 0.6, "g": 0.7, "o": 0.8}}
    lines = rendered(report.hidden_table([LSTM_LAYER, other])).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["0", "0.25", "50%", "12%", "0.11", "0.92", "0.33", "0.44"],
        ["1", "0.75", "0%", "100%", "0.50", "0.60", "0.70", "0.80"],
    ]


def test_a_hidden_table_marks_a_share_of_more_than_a_third() -> None:
    yellow = "\x1b[33m"
    assert rendered(report.hidden_table([LSTM_LAYER]), colour=True).count(yellow) == 1
    assert yellow not in rendered(report.hidden_table([{**LSTM_LAYER, "saturated": 0.33}]), colour=True)


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


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        *(("a", "a"), (" ", " "), ("\u00e9", "\u00e9"), ("\n", "\\n"), ("\t", "\\t"), ("\\", "\\\\"), ("\x1b", "\\x1b")),
        *(("\x85", "\\x85"), ("\u2028", "\\u2028"), ("\u200b", "\\u200b"), ("\\xff", "\\xff"), ("\ud800", "\\ud800")),
    ],
)
def test_a_character_in_a_column_is_one_visible_word_without_tabs(character: str, shown: str) -> None:
    assert report.escaped(character) == shown


@pytest.mark.parametrize(
    ("share", "drawn"), [(0, ""), (1, "\u2588" * 4), (0.5, "\u2588" * 2), (0.25 / 8, "\u258f"), (0.3, "\u2588\u258e")]
)
def test_a_bar_is_drawn_in_eighths(share: float, drawn: str) -> None:
    assert report.bar(share, 4) == drawn
