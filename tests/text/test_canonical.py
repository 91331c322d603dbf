"""Canonically equal forms: each against Python's own normalisation, and the same whatever the blocks."""

from __future__ import annotations

import itertools
import random
import unicodedata

import numpy as np
import pytest

from charrnn.text import canonical
from charrnn.text.canonical import LONGEST, Normalizer, pieces
from charrnn.text.vocabulary import Vocabulary

KOREAN = "각"  # one syllable of three letters
MIXED_UP = "e\u0301é각\u1100\u1161\u11a8가\u11a8が\u304b\u3099ế\u00ea\u0301\u212b\u2126a\u0323\u0302\u0302x\u0301\n\u0301b😀"


def points(text: str) -> np.ndarray:
    return np.array([ord(character) for character in text], dtype=np.uint32)


def text_of(codes: np.ndarray) -> str:
    return "".join(map(chr, codes.tolist()))


def normalizer(known: str) -> Normalizer:
    found = Vocabulary("char", "".join(sorted(set(known)))).normalizer()
    assert found is not None
    return found


def test_a_piece_is_what_a_reader_takes_for_one_character() -> None:
    assert list(pieces("cafe\u0301\n\u0301x")) == ["c", "a", "f", "e\u0301", "\n", "\u0301", "x"]
    assert list(pieces("\u1100\u1161\u11a8\u1100\u1161")) == ["\u1100\u1161\u11a8", "\u1100\u1161"]
    assert list(pieces("\u304b\u3099\u304b")) == ["\u304b\u3099", "\u304b"]
    assert list(pieces("")) == []
    assert [len(piece) for piece in pieces("e" + "\u0301" * 70)] == [LONGEST, LONGEST, 7]


def test_whatever_composes_is_of_one_piece() -> None:
    """All that Unicode composes of two: none is taken apart."""
    for code in range(0x110000):
        character = chr(code)
        parts = unicodedata.decomposition(character).split()
        if len(parts) == 2 and parts[0][0] != "<" and unicodedata.normalize("NFC", character) == character:
            assert len(list(pieces("".join(chr(int(part, 16)) for part in parts)))) == 1, hex(code)


@pytest.mark.parametrize(
    ("piece", "known", "expected"),
    [
        ("e\u0301", "eé", "é"),
        ("é", "e\u0301", "e\u0301"),
        ("e\u0301", "eé\u0301", "e\u0301"),  # known as it is
        ("é", "e", "é"),  # a plain form is none of its forms
        ("e\u0301", "e", "é"),  # nor is its letter alone
        ("\u1100\u1161\u11a8", "가", KOREAN),
        ("\u212b", "Å", "Å"),  # the sign of the unit is the letter
        ("\u1100\u1161\u11a8", KOREAN, KOREAN),
        (KOREAN, "\u1100\u1161\u11a8", "\u1100\u1161\u11a8"),
        (KOREAN, "가\u11a8", "가\u11a8"),
        ("\u304b\u3099", "が", "が"),
        ("\u1ebf", "ê\u0301", "ê\u0301"),  # Vietnamese as Windows writes it
        ("\u1ead", "â\u0323", "â\u0323"),
        ("â\u0323", "\u1ead", "\u1ead"),
        ("\u1ead", "ạ\u0302", "ạ\u0302"),
        ("e\u0301\u0301", "é", "é\u0301"),  # one stranger rather than two
    ],
)
def test_a_piece_takes_the_form_with_the_fewest_strangers(piece: str, known: str, expected: str) -> None:
    found = canonical.canonical(piece, set(known).__contains__)
    assert found == expected
    assert unicodedata.normalize("NFD", found) == unicodedata.normalize("NFD", piece)


@pytest.mark.parametrize(
    "known", ["", "abceé각がế", "e\u0301a\u0323\u0302\u1100\u1161\u11a8\u304b\u3099", "가\u11a8êé\u0301Å\u03a9"]
)
def test_blocks_of_any_size_give_what_the_whole_gives(known: str) -> None:
    text = MIXED_UP * 3 + "e" + "\u0301" * 70 + "각"
    whole = normalizer(known)
    expected = text_of(whole.whole(points(text)))
    assert expected == "".join(canonical.canonical(piece, set(known).__contains__) for piece in pieces(text))
    assert unicodedata.normalize("NFD", expected) == unicodedata.normalize("NFD", text)
    taken = [(piece, canonical.canonical(piece, set(known).__contains__)) for piece in pieces(text)]
    assert whole.mapped == sum(piece != form and set(known).issuperset(form) for piece, form in taken)
    for seed in range(30):
        rng = random.Random(seed)
        cuts = sorted(rng.choices(range(len(text) + 1), k=rng.choice([1, 3, 30, 200])))
        blocks = [points(text[start:end]) for start, end in itertools.pairwise([0, *cuts, len(text)])]
        parted = normalizer(known)
        assert "".join(map(text_of, parted.blocks(blocks))) == expected
        assert parted.mapped == whole.mapped


@pytest.mark.parametrize("known", ["", "e", "abceé각がế", "e\u0301a\u0323\u0302\u1100\u1161\u11a8\u304b\u3099", "가êéÅ\u03a9"])
def test_a_text_is_read_as_the_same_however_it_is_written(known: str) -> None:
    found = {text_of(normalizer(known).whole(points(unicodedata.normalize(form, MIXED_UP)))) for form in ("NFC", "NFD")}
    assert len(found | {text_of(normalizer(known).whole(points(MIXED_UP)))}) == 1


def test_a_line_waits_for_nothing_and_known_text_is_not_touched() -> None:
    block = points("cafe\n")
    blocks = normalizer("cafe\n").blocks(itertools.chain([block], iter(lambda: pytest.fail("waited"), None)))
    np.testing.assert_array_equal(next(blocks), block)


def test_the_count_is_told_once() -> None:
    found = normalizer("é")
    found.whole(points("e\u0301e\u0301é"))
    assert (found.newly_mapped(), found.newly_mapped(), found.mapped) == (2, 0, 2)
