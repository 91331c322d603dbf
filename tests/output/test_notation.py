"""Numbers and characters as plain text."""

from __future__ import annotations

import json
import os

import pytest

from charrnn.output import notation


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
    assert notation.sparkline(values, width) == expected


@pytest.mark.parametrize("count", [1, 9, 10, 11, 19, 1000])
def test_a_sparkline_is_as_wide_as_its_values_but_never_wider_than_asked(count: int) -> None:
    assert len(notation.sparkline([float(number % 7) for number in range(count)], 10)) == min(count, 10)


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
    assert notation.clock(seconds) == expected


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
    assert notation.visible(text) == expected


def test_a_name_is_shown_on_one_line() -> None:
    assert notation.on_one_line("a\nb\tc\u2028d\x1be é") == "a\\nb\\tc\\u2028d\u241be é"


def test_visible_text_holds_no_control_character_and_is_as_long_as_before() -> None:
    everything = "".join(map(chr, range(0x300)))
    shown = notation.visible(everything)
    assert len(shown) == len(everything)
    assert [c for c in shown if ord(c) < 32 or 127 <= ord(c) < 160] == ["\t", "\n"]


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, "    "), (1, "████"), (0.5, "██  "), (0.25, "█   "), (1 / 32, "▏   "), (7, "████"), (-1, "    ")],
)
def test_a_bar_is_a_share_of_its_width(share: float, expected: str) -> None:
    assert notation.bar(share, 4) == expected


def test_the_line_about_gradients_says_how_far_they_reach() -> None:
    event = {"grad_norm": 0.5, "clipped": 0.25, "gradient_reach": 9}
    assert notation.gradient_line(event) == (
        "gradient norm 0.50 before clipping, 25% of steps clipped, gradient below 1% after 9 characters"
    )
    assert notation.gradient_line({**event, "gradient_reach": None}).endswith(
        "clipped, gradient not below 1% in the text watched"
    )
    assert notation.gradient_line({"grad_norm": None}) == ""


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        *(("a", "a"), (" ", " "), ("\u00e9", "\u00e9"), ("\n", "\\n"), ("\t", "\\t"), ("\\", "\\\\"), ("\x1b", "\\x1b")),
        *(("\x85", "\\x85"), ("\u2028", "\\u2028"), ("\u200b", "\\u200b"), ("\\xff", "\\xff"), ("\ud800", "\\ud800")),
    ],
)
def test_a_character_in_a_column_is_one_visible_word_without_tabs(character: str, shown: str) -> None:
    assert notation.escaped(character) == shown


@pytest.mark.parametrize(
    ("share", "drawn"), [(0, ""), (1, "\u2588" * 4), (0.5, "\u2588" * 2), (0.25 / 8, "\u258f"), (0.3, "\u2588\u258e")]
)
def test_a_bar_is_drawn_in_eighths(share: float, drawn: str) -> None:
    assert notation.bar(share, 4).rstrip() == drawn


def test_json_is_utf8_whatever_files_are_called() -> None:
    assert notation.json_line({"file": "é.txt"}) == '{"file": "é.txt"}\n'
    record = {"file": os.fsdecode(b"a\xff.txt")}
    assert notation.json_line(record) == '{"file": "a\\udcff.txt"}\n'
    assert json.loads(notation.json_line(record)) == record


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 seconds"), (1.9, "1 second"), (119, "1 minute"), (7200, "2 hours"), (86400, "1 day"), (4e8, "4,629 days")],
)
def test_an_age_is_told_in_its_largest_unit(seconds: float, said: str) -> None:
    assert notation.age(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 KB"),
        (64_000_000, "64 MB"),
        (2_040_000_000, "2.0 GB"),
        (10**11, "100 GB"),
    ],
)
def test_sizes_are_told_in_their_largest_unit(count: int, said: str) -> None:
    assert notation.size_in_words(count) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(999_999, "999,999"), (1_234_567, "1.23 million"), (12_300_000, "12.3 million"), (4 * 10**9, "4.00 billion")],
)
def test_large_numbers_have_three_digits(count: int, said: str) -> None:
    assert notation.count_in_words(count) == said


@pytest.mark.parametrize(
    ("epoch", "done", "said"),
    [
        (0.001, 0.5, "12,345 characters"),
        (0.5, 0.5, "epoch 0.50"),
        (0.4, 0.1, "epoch 0.40"),
        (1.5, 0.2, "epoch 1.50"),
        (0.0, 0.0, "12,345 characters"),
    ],
)
def test_a_run_that_comes_to_less_than_a_pass_tells_characters(epoch: float, done: float, said: str) -> None:
    assert notation.read_so_far({"epoch": epoch, "done": done, "characters_read": 12_345}) == said
    assert notation.read_so_far({"epoch": epoch, "done": done}) == f"epoch {epoch:.2f}"


def test_the_end_has_the_steps_behind_the_last_one_that_was_told() -> None:
    step = {"step": 90, "steps": 120, "seconds": 9.0, "epoch": 0.9, "characters_read": 900, "done": 0.8, "grad_norm": 1.0}
    end = {"step": 100, "seconds": 10.0, "epochs": 1.0, "characters_read": 1000}
    told = {"step": 100, "seconds": 10.0, "epoch": 1.0, "characters_read": 1000, "grad_norm": 1.0}
    finished = notation.at_the_end(step, {**end, "reason": "finished"})
    assert finished == {**told, "done": 1.0, "steps": 100, "steps_settled": True}
    assert notation.at_the_end(step, {**end, "reason": "interrupted"}) == {**told, "done": 0.8, "steps": 120}
