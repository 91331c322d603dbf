"""escapes: one rule for every text that is typed."""

from __future__ import annotations

import pytest

from charrnn import UsageError
from charrnn.escapes import decode


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", ""),
        ("plain é", "plain é"),
        (r"a\nb\tc\rd\0e", "a\nb\tc\rd\0e"),
        (r"\\n", r"\n"),
        (r"\\\n", "\\\n"),
        (r"caf\u00e9 \u201C", "café “"),
        (r"\U0001F600", "😀"),
        (r"\u00e9e", "ée"),
    ],
)
def test_escapes_become_what_they_mean(typed: str, meant: str) -> None:
    assert decode(typed, "--stop") == meant


@pytest.mark.parametrize(
    "typed", ["\\", "a\\", r"\q", r"\u12", r"\u12g4", r"\U00110000", r"\U0001F60", r"\ud800", r"\x41", "\\\n"]
)
def test_anything_else_behind_a_backslash_names_the_option_and_the_escapes(typed: str) -> None:
    with pytest.raises(UsageError, match=r"(?s)^--stop: \\.* is no escape; there are ") as caught:
        decode(typed, "--stop")
    assert r"\uXXXX" in str(caught.value)
