"""strangers: a tail with characters, or first letters of lines, that the rest hardly has."""

from __future__ import annotations

import random

import numpy as np
import pytest

from charrnn.text import strangers as module
from charrnn.text.strangers import Strangers, strangers
from charrnn.text.vocabulary import Vocabulary

LATIN, CYRILLIC = "the cat sat on the mat.\n" * 90, "\u043a\u043e\u0442 \u0438 \u043f\u0435\u0441\n" * 30


def found(rest: str, tail: str, level: str = "char") -> Strangers | None:
    characters = "".join(sorted(set(rest + tail)))
    vocabulary = Vocabulary("byte") if level == "byte" else Vocabulary("char", characters)
    return strangers(vocabulary.encode(rest + tail), len(vocabulary.encode(rest)), vocabulary)


def symbols(rest: str, tail: str) -> str:
    told = found(rest, tail)
    assert told is not None
    return Vocabulary("char", "".join(sorted(set(rest + tail)))).decode(told.symbols)


@pytest.mark.parametrize("level", ["char", "byte"])
def test_another_script_is_a_stranger(level: str) -> None:
    told = found(LATIN, CYRILLIC, level)
    assert told is not None
    assert (told.of, told.share > 0.6) == ("characters", True)


def test_the_most_frequent_come_first_and_the_rest_may_have_a_few_of_them() -> None:
    assert symbols(LATIN + "xy", LATIN[:300] + "x" * 20 + "y" * 30) == "yx"
    assert found(LATIN * 2 + "x" * 50, LATIN[:300] + "x" * 20) is None


def test_a_character_or_two_that_are_new_make_no_stranger() -> None:
    assert found(LATIN, LATIN[:200] + "xxxx") is None, "fewer than five"
    assert found(LATIN, LATIN * 3 + "xxxxx") is None, "less than 1 %"


def test_the_tail_of_a_sorted_list_begins_with_letters_that_no_line_before_it_does() -> None:
    rng = random.Random(0)
    names = sorted("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(1000))
    told = found("\n".join(names[:900]) + "\n", "\n".join(names[900:]))
    assert told is not None
    assert (told.of, told.share > 0.7) == ("lines", True)
    assert set(symbols("\n".join(names[:900]) + "\n", "\n".join(names[900:]))) <= set("xyz")
    rng.shuffle(names)
    assert found("\n".join(names[:900]) + "\n", "\n".join(names[900:])) is None


def test_a_few_lines_tell_nothing() -> None:
    lines = "a cat\n" * 200
    assert found(lines, "cat a\n" * 19) is None
    assert found(lines, "cat a\n" * 21) is not None
    assert found("a cat " * 200, "cat a " * 20) is None, "no lines at all"


def test_a_text_of_one_kind_is_no_stranger_to_itself() -> None:
    assert found(LATIN, LATIN[:500]) is None
    assert found("", "ab") is None


def test_long_texts_are_looked_at_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOWS", 8)
    monkeypatch.setattr(module, "WINDOW", 100)
    assert found(LATIN * 5, CYRILLIC * 5) is not None
    assert found(LATIN * 5, LATIN) is None
    assert sum(map(len, module._windows(np.zeros(10_000)))) == 800
