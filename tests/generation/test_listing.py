"""listing: what stands in a list, what came before, and drawing until every line is new."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import network

from charrnn.generation.listing import TRIES, Census, Listing, Picker, trained_on
from charrnn.network import checkpoint, rundir
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.reading import PLAIN, TextReader
from charrnn.text.vocabulary import Vocabulary

LETTERS = Vocabulary("char", "\nabc\N{LATIN SMALL LETTER E WITH ACUTE}")


def test_a_list_holds_its_lines_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"Anna\r\nBo\n\ne\xcc\x81a")
    (tmp_path / "b").write_bytes(b"Cleo\n")
    listing = Listing.read([str(tmp_path / "a"), str(tmp_path / "b")], PLAIN, LETTERS)
    there = ("Anna", "Bo", "\N{LATIN SMALL LETTER E WITH ACUTE}a", "Cleo")
    assert [line in listing for line in (*there, "Ann", "", "An", "Anna\r", "aCleo")] == [True] * 4 + [False] * 5


def test_a_list_of_bytes_holds_lines_as_a_network_of_bytes_writes_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("ж\r\n\xff".encode("latin-1", "replace") + "ж\n".encode() + b"\xff\n")
    listing = Listing.read([str(tmp_path / "a")], TextReader("byte"), Vocabulary("byte"))
    assert [line in listing for line in ("?\r", "\N{REPLACEMENT CHARACTER}")] == [True, True]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_lines_go_on_from_block_to_block(size: int) -> None:
    from charrnn.generation import listing as room

    codes = np.frombuffer(b"one\n\ntwo three\nfour", dtype=np.uint8)
    blocks = (codes[start : start + size] for start in range(0, len(codes), size))
    assert [line for line in room._lines(blocks, "char") if line] == ["one", "two three", "four"]


def test_a_census_tells_what_is_known_and_what_repeats(tmp_path: Path) -> None:
    listing = Listing(iter(["a", "b"]))
    census = Census([listing])
    assert [tuple(census.add(line).values()) for line in "acca"] == [
        (True, False),
        (False, False),
        (False, True),
        (True, True),
    ]
    assert (census.count, census.known, census.repeated) == (4, 2, 2)
    assert Census().add("a") == {"known": None, "repeated": False}


@dataclass(frozen=True)
class Text:
    number: int
    line: str


class Urn:
    """Draws lines by their numbers, the same for the same number."""

    def __init__(self, kinds: int) -> None:
        self.kinds, self.numbers = kinds, list[int]()

    def draw(self, wanted: list[tuple[int, int]]) -> Iterator[Text]:
        for number, prompt in wanted:
            self.numbers.append(number)
            yield Text(number, f"{prompt}{number * 2654435761 % 2**32 % self.kinds}")


def picked(urn: Urn, together: int, prompts: int = 3, count: int = 20, listing: Any = None) -> tuple[list[Text], Picker]:
    picker = Picker(listing, unique=True)
    return list(picker.pick(urn.draw, prompts, count, together)), picker


def test_the_same_lines_are_picked_however_many_are_drawn_together() -> None:
    expected, counted = picked(Urn(40), 1)
    assert len({text.line for text in expected}) == 60
    for together in (2, 7, 64, 1000):
        urn = Urn(40)
        found, picker = picked(urn, together)
        assert found == expected
        assert vars(picker) == vars(counted)
        assert len(set(urn.numbers)) == len(urn.numbers)


def test_where_every_text_is_new_nothing_more_is_drawn() -> None:
    urn = Urn(10**9)
    found, picker = picked(urn, 16)
    assert [text.number for text in found] == urn.numbers == list(range(60))
    assert (picker.kept, picker.repeated, picker.listed, picker.missing) == (60, 0, 0, 0)


def test_after_so_many_tries_in_a_row_there_are_none_to_be_found() -> None:
    urn = Urn(5)
    found, picker = picked(urn, 100, prompts=1, listing=Listing(iter(["03"])))
    assert sorted(text.line for text in found) == ["00", "01", "02", "04"]
    assert picker.missing == 16
    drawn = picker.kept + picker.repeated + picker.listed
    assert TRIES < drawn <= TRIES + 100
    assert drawn <= len(urn.numbers) < drawn + 100


def test_the_text_of_training_is_found_where_it_still_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    facts: dict[str, Any] = {"corpus_sha256": "x", "corpus_paths": ["../names.txt"]}
    best = checkpoint.read(network(tmp_path / "run", corpus_sha256="x") / rundir.BEST)
    assert trained_on(best) is None
    checkpoint.write(best.path.with_name(rundir.LAST), Checkpoint(best.model, best.vocabulary, facts, best.weights))
    assert trained_on(best) is None
    (tmp_path / "names.txt").write_text("The end\n")
    found = trained_on(best)
    assert found is not None
    assert "The end" in found
    for hostile in ({"corpus_paths": [3]}, {"corpus_paths": "x"}, {"corpus_paths": []}, {"corpus_sha256": "y"}):
        checkpoint.write(
            best.path.with_name(rundir.LAST), Checkpoint(best.model, best.vocabulary, facts | hostile, best.weights)
        )
        assert trained_on(best) is None
    best.path.with_name(rundir.LAST).write_bytes(b"nothing")
    assert trained_on(best) is None


def test_of_a_table_it_is_the_column_that_was_learned(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("name,age\nThe end,3\n")
    facts = {"corpus_sha256": "x", "corpus_paths": ["../people.csv"], "corpus_reading": 3}
    for field, line in (("name", "The end"), (None, "The end,3")):
        run = network(tmp_path / f"run-{field}", **facts, config={"field": field})
        found = trained_on(checkpoint.read(run / rundir.BEST))
        assert found is not None
        assert line in found
        assert "name,age" not in found or field is None


def test_a_line_is_the_one_that_a_reader_takes_it_for() -> None:
    """An é in one character or two, and blanks at the end, make no other line of it; what stands before it does."""
    one, two = (unicodedata.normalize(form, "Élie Köhne") for form in ("NFC", "NFD"))
    for listed, line in ((one, two), (two, one), (two + "  ", one + "\t")):
        listing = Listing(iter([listed]))
        assert line in listing
        assert " " + line not in listing
        picker = Picker(None, unique=True)
        assert [picker.takes(text) for text in (line, listed)] == [True, False]
        census = Census([listing])
        assert [census.add(text) for text in (line, listed)] == [
            {"known": True, "repeated": False},
            {"known": True, "repeated": True},
        ]
    assert "" not in Listing(iter(["  "]))
