"""The live picture of a run; `test_live` shows it on a terminal."""

from __future__ import annotations

import io
import re
from typing import cast

import pytest
from layers import LSTM_LAYER, columns, layer, rendered
from rich.console import Console

from charrnn.config import GATE_NAMES
from charrnn.output import display


@pytest.mark.parametrize("gates", ["ifgo", "rzn", ""])
def test_a_hidden_table_has_a_column_per_gate_and_one_for_the_memory_that_gates_have(gates: str) -> None:
    expected = [
        "layer",
        "mean |h|",
        "saturated",
        "still",
        *map(GATE_NAMES.__getitem__, gates),
        *["time constant"] * bool(gates),
        "dimensions",
    ]
    assert columns(display.hidden_table([layer(gates)])) == expected


def test_a_hidden_table_has_a_row_per_layer_with_shares_in_percent() -> None:
    lines = rendered(display.hidden_table([LSTM_LAYER, layer("ifgo", mean_abs=0.75, still=1.0)])).splitlines()
    numbers = [re.findall(r"[\d.]+%?", line) for line in lines[1:]]
    assert numbers == [
        ["0", "0.25", "50%", "12%", "0.11", "0.92", "0.33", "0.44", "12.5", "1234", "12"],
        ["1", "0.75", "0%", "100%", "0.50", "0.50", "0.50", "0.50", "2.0", "9", "1"],
    ]


def test_a_hidden_table_tells_what_has_moved_since_the_last_time() -> None:
    before = {**LSTM_LAYER, "mean_abs": 0.5, "gates": {**LSTM_LAYER["gates"], "f": 0.90, "i": 0.112}}
    text = rendered(display.hidden_table([LSTM_LAYER], [before]))
    assert "\u21930.25" in text
    assert "\u21910.02" in text
    assert text.count("\u2191") + text.count("\u2193") == 2
    narrow = rendered(display.hidden_table([LSTM_LAYER], [before], width=80))
    assert narrow.count("\u2191") == narrow.count("\u2193") == 1


def test_a_hidden_table_fits_a_terminal_of_80_columns_with_the_displays_frame() -> None:
    lines = rendered(display.hidden_table([{**LSTM_LAYER, "saturated": 1.0, "still": 1.0}], [layer("ifgo")], width=80))
    assert max(len(line.rstrip()) for line in lines.splitlines()) <= 76


@pytest.mark.parametrize("longest", [9, 99, 171, 1234, 12345])
def test_no_heading_or_number_of_a_hidden_table_is_cut(longest: int) -> None:
    long = {**LSTM_LAYER, "tau": {"quartiles": [1.0, 2.0, 3.0], "longest": longest}, "dimensions": 45.0}
    for width in range(40, 130):
        console = Console(width=width - display.BORDER, file=io.StringIO(), color_system=None)
        console.print(display.hidden_table([long], width=width))
        assert "\u2026" not in cast("io.StringIO", console.file).getvalue()


def test_a_hidden_table_marks_a_share_of_more_than_a_third() -> None:
    yellow = "\x1b[33m"
    assert rendered(display.hidden_table([LSTM_LAYER]), colour=True).count(yellow) == 1
    assert yellow not in rendered(display.hidden_table([{**LSTM_LAYER, "saturated": 0.33}]), colour=True)


def step(number: int, bits: float = 3.0) -> dict[str, object]:
    event = {"event": "step", "step": number, "steps": 100, "epoch": 0.5, "seconds": 10.0, "bits_per_char": bits}
    return {**event, "learning_rate": 0.001, "grad_norm": 0.5, "chars_per_second": 1000.0}


def test_what_was_seen_of_a_run_is_its_latest_state_and_all_of_its_losses() -> None:
    seen = display.Seen()
    first = {"event": "eval", "val_bits_per_char": 2.5, "best": True, "hidden": [layer("ifgo")]}
    second = {**first, "val_bits_per_char": 2.75, "best": False}
    for event in (step(1), first, step(2, 2.0), second, {"event": "sample", "text": "crow"}):
        seen.add(event)
    assert seen.losses == [3.0, 2.0]
    assert (seen.evaluation_before, seen.evaluation, seen.best, seen.sample) == (first, second, 2.5, "crow")
    text = rendered(display.picture(seen, 90, 24))
    assert re.search(r"validation +2\.750.*\n.*best +2\.500", text)
    assert max(map(len, text.splitlines())) == 88


def test_before_the_first_step_the_picture_says_so() -> None:
    assert rendered(display.picture(display.Seen(), 90, 24)) == "starting ...\n"


def shown_records(records: list[tuple[str, bool | None]], columns: int) -> list[str]:
    seen = display.Seen()
    told = [{"text": text, "known": known} for text, known in records]
    for event in (step(1), {"event": "sample", "text": "", "records": told}):
        seen.add(event)
    lines = [line.strip(" \u2502") for line in rendered(display.picture(seen, columns, 24)).splitlines()]
    first = next(number for number, line in enumerate(lines) if line.startswith("records"))
    return lines[first:-1]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_fresh_records_stand_side_by_side_each_marked_as_new_or_known(columns: int) -> None:
    names = [("maya", True), ("corian", False), ("kashvi", False), ("don", True), ("[b]amilia", False), ("a\tb\x1b[2J", False)]
    legend, *lines = shown_records(names, columns)
    assert legend == "records + new  = known"
    assert len(lines) <= 3
    told = "  ".join(lines)
    for mark in ("= maya", "+ corian", "+ kashvi", "= don"):
        assert mark in told
    assert "\x1b[2J" not in told
    if columns == 200:
        assert lines == ["= maya  + corian  + kashvi  = don  + [b]amilia  + a\\tb\u241b[2J"]


def test_long_records_have_a_line_each_and_no_more_than_three_are_shown() -> None:
    _, *lines = shown_records([("C" * 50, False), ("N" * 200, None), ("O" * 50, True), ("S" * 50, False)], 80)
    assert [line[:4] for line in lines] == ["+ CC", "+ NN", "= OO"]
    assert lines[1].endswith("\u2026")


@pytest.mark.parametrize(
    ("steps", "characters", "columns", "told"),
    [
        (1430, 1_192_192, 80, "1,430 of 1,430 (1.19M chars) "),
        (143_000, 1_192_192, 80, "143,000 of 143,000 "),
        (1430, 1_192_192, 60, "step 1,430 of 1,430 (1.19 million characters) "),
        (1430, 1_192_192, 90, "1,430 of 1,430 (1.19 million characters) "),
    ],
)
def test_how_much_was_read_is_told_as_briefly_as_there_is_room_for(
    steps: int, characters: int, columns: int, told: str
) -> None:
    seen = watched()
    seen.add({**step(steps), "steps": steps, "epoch": 0.1, "done": 0.9, "characters_read": characters})
    assert told in rendered(display.picture(seen, columns, 24))


def watched(steps: int = 60, sample: str = "the crow and the fox " * 40) -> display.Seen:
    """A run in which the loss has fallen from 4 to 2 bits, with validation on the way."""
    seen = display.Seen()
    for number in range(1, steps + 1):
        seen.add(step(number, 2 + 2 / number))
        if number % 20 == 0:
            seen.add({"event": "eval", "step": number, "val_bits_per_char": 2.2, "best": True, "hidden": [LSTM_LAYER]})
    seen.add({"event": "sample", "text": sample})
    return seen


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (60, 24), (120, 40), (200, 70), (80, 14), (40, 30)])
def test_the_picture_uses_the_height_that_there_is_and_no_more(columns: int, rows: int) -> None:
    lines = rendered(display.picture(watched(), columns, rows)).splitlines()
    assert max(map(len, lines)) == columns - 2
    assert len(lines) <= rows - 1
    assert lines[-1].startswith("\u2570")
    assert len(lines) >= (min(rows - 3, 25) if columns >= 60 else 15)
    assert any("1 train, 2 validation" in line for line in lines) == (rows > 20 and columns >= 60)


def test_the_chart_shows_both_losses_with_an_axis() -> None:
    text = rendered(display.picture(watched(), 100, 40))
    chart = text.split("1 train, 2 validation")[1].split("train  ")[0]
    assert "1" in re.sub(r"[\d.]+ \u2524", "", chart)
    assert "2" in re.sub(r"[\d.]+ \u2524", "", chart)
    assert re.search(r"2\.2 \u2524", chart)
    assert "\u2514" in chart


def test_a_sample_has_four_lines_where_they_are_there_and_one_where_not() -> None:
    def lines(rows: int) -> int:
        text = rendered(display.picture(watched(), 80, rows))
        return len(text[text.index("sample ") :].splitlines()) - 1

    assert [lines(rows) for rows in (40, 24, 12)] == [4, 4, 1]
    assert "\u2026" in rendered(display.picture(watched(), 80, 40))


def test_losses_that_were_taken_back_are_not_drawn() -> None:
    points = [(1.0, 4.0), (2.0, 9.0), (3.0, 9.0)]
    display.put(points, 2, 3.0)
    assert points == [(1.0, 4.0), (2.0, 3.0)]


def test_gates_are_words_where_there_is_room() -> None:
    headings = {width: columns(display.hidden_table([LSTM_LAYER], width=width)) for width in (120, 80, 60)}
    assert {"forget", "time constant", "dimensions"} <= {*headings[120]}
    assert "forget" in headings[80]
    assert "f" not in headings[80]
    assert not {"forget", "f"} & {*headings[60]}
