"""What values a setting may take, and how a refusal says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charrnn import UsageError
from charrnn.limits import Choices, Interval, Name, Rising, either


def test_a_refusal_quotes_at_most_80_characters() -> None:
    with pytest.raises(UsageError, match=r"not x{80}$"):
        Interval(1).parse("--lr", "x" * 1000)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (Interval(), "a number"),
        (Interval(integer=True), "a whole number"),
        (Interval(0, 1), "a number of at least 0 and at most 1"),
        (Interval(0, 1, low_open=True, high_open=True), "a number above 0 and below 1"),
        (Interval(low=2, integer=True), "a whole number of at least 2"),
        (Interval(high=0.5), "a number at most 0.5"),
        (Interval(high=3, high_open=True), "a number below 3"),
        (Interval(1, 65536, integer=True), "a whole number of at least 1 and at most 65,536"),
        (Interval(1, 1114113, integer=True), "a whole number of at least 1 and at most 1,114,113"),
    ],
)
def test_an_interval_says_itself_in_words(interval: Interval, words: str) -> None:
    assert str(interval) == words


def test_open_ends_are_outside_and_closed_ends_inside() -> None:
    closed = Interval(0, 1)
    assert [value in closed for value in (-0.1, 0, 0.5, 1, 1.1)] == [False, True, True, True, False]
    opened = replace(closed, low_open=True, high_open=True)
    assert [value in opened for value in (0, 0.5, 1)] == [False, True, False]
    whole = Interval(0, 3, integer=True)
    assert [value in whole for value in (1, 1.5, True, "1", None)] == [True, False, False, False, False]


def test_choices_say_read_and_refuse() -> None:
    cells = Choices(("lstm", "gru", "rnn"))
    assert (str(cells), cells.metavar, cells.parse("--cell", "gru")) == ("lstm, gru or rnn", "lstm|gru|rnn", "gru")
    assert cells.parse("--cell", "LSTM") == "lstm"
    not_set = "''; is a variable not set?"
    for wrong in ("", "lstms", "x" * 200):
        with pytest.raises(UsageError) as caught:
            cells.parse("--cell", wrong)
        assert str(caught.value) == f"--cell must be lstm, gru or rnn, not {wrong[:80] or not_set}"


def test_a_name_is_any_string() -> None:
    assert Name().parse("--encoding", "klingon") == "klingon"
    assert [value in Name() for value in ("", "latin-1", None, 1)] == [True, True, False, False]


def test_a_stand_in_for_a_value_tells_its_kind() -> None:
    assert [limits.metavar for limits in (Interval(), Interval(integer=True), Name())] == ["NUMBER", "INT", "NAME"]


@pytest.mark.parametrize(("words", "said"), [(("a",), "a"), (("a", "b"), "a or b"), (("a", "b", "c"), "a, b or c")])
def test_words_are_listed_as_one_says_them(words: tuple[str, ...], said: str) -> None:
    assert either(words) == said


@pytest.mark.parametrize(
    ("text", "integer", "said"),
    [
        ("0,8", False, "; write 0.8"),
        ("80%", False, "; write 0.8"),
        ("1,000", True, "; write 1000"),
        ("1.5k", True, "; write 1500"),
        ("2M", True, "; write 2000000"),
        ("1e3", True, "; write 1000"),
        ("5.0", True, "; write 5"),
        ("=5", True, "; write 5"),
        ("1,5", True, ""),
        ("0.0001%", True, ""),
        ("999999999M", True, ""),
        ("-1,5", False, ""),
        ("a,b", False, ""),
        ("\u0663,\u0663%", False, ""),
    ],
)
def test_a_number_in_another_notation_is_shown_in_ours_if_it_would_do(text: str, integer: bool, said: str) -> None:
    with pytest.raises(UsageError) as error:
        Interval(0, 10_000_000, integer=integer).parse("--x", text)
    assert str(error.value).partition(f"not {text}")[2] == said


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--minutes", "3m", "; write 3"),
        ("--minutes", "90 sec", "; write 1.5"),
        ("--minutes", "2H", "; write 120"),
        ("--minutes", "1:30", "; write 1.5"),
        ("--minutes", "1:00:30", "; write 60.5"),
        ("--minutes", "0s", ""),
        ("--minutes", "1:90", ""),
        ("--seconds", "1m", "; write 60"),
        ("--other", "3m", "; write 3000000"),
    ],
)
def test_a_time_with_its_unit_is_shown_as_the_option_counts(option: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        Interval(0, low_open=True).parse(option, text)
    assert str(error.value).partition(f"not {text}")[2] == said


@pytest.mark.parametrize(
    ("text", "said"), [("90", "; write 0.9"), ("2.5", "; write 0.025"), ("1.", ""), ("101", ""), ("-5", "")]
)
def test_a_percentage_is_shown_as_a_share(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        Interval(0, 1, high_open=True).parse("--top-p", text)
    assert str(error.value).partition(f"not {text}")[2] == said


def test_numbers_that_rise_are_read_with_commas_between_them() -> None:
    assert Rising(3).parse("--pairs", "0, 7,9") == (0, 7, 9)
    assert Rising(3).metavar == "INT,..."


@pytest.mark.parametrize("text", ["", "1,", "1,1", "2,1", "-1", "1.0", "1,2,3,4", "\u0661"])
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--pairs must be at most 3 whole numbers that rise, not "):
        Rising(3).parse("--pairs", text)
