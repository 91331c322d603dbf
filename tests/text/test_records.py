"""records: lines that are each a text of their own, held out by their characters alone, side by side by their lengths."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from charrnn import CharrnnError
from charrnn.text import records, spool
from charrnn.text.corpus import read_corpus
from charrnn.text.records import PADDING, SHORTEST, RecordRows, Records, are_held_out, is_held_out, rectangle, spells, split
from charrnn.text.vocabulary import Vocabulary

LINES = st.lists(st.text("ab\x00\r \N{GREEK SMALL LETTER ALPHA}", max_size=6), min_size=1, max_size=40)


def read(lines: list[str], fraction: float = 0.1, val_seed: int = 0) -> tuple[list[str], list[str], Records]:
    """The records to learn from, those held out, and what is told of them."""
    text = "".join(f"{line}\n" for line in lines)
    vocabulary = Vocabulary("char", "".join(sorted({*text, "\n"})))
    found, blocks = split(vocabulary.encode(text), vocabulary, fraction, val_seed)
    ids = np.concatenate(list(blocks()))
    assert [vocabulary.decode([ids[place]]) for place in found.starts] == ["\n"] * (found.facts.count + 1)
    assert len(ids) == found.starts[-1] + 1
    every = [vocabulary.decode(ids[a + 1 : b]) for a, b in zip(found.starts, found.starts[1:], strict=False)]
    return every[: found.train], every[found.train :], found.facts


@settings(max_examples=60, deadline=None)
@given(LINES, st.integers(0, 99), st.integers(0, 2**63 - 1))
def test_every_record_is_on_the_side_that_its_characters_say_in_the_order_of_the_file(lines, percent, val_seed):
    fraction = percent / 100
    kept = [line for line in lines if line.strip()]
    if not kept:
        with pytest.raises(CharrnnError, match="every line is blank"):
            read(lines, fraction, val_seed)
        return
    train, held_out, facts = read(lines, fraction, val_seed)
    expected = [line for line in kept if is_held_out(line, fraction, val_seed)]
    if len(expected) == len(kept):
        expected = []
    assert held_out == expected
    assert train == [line for line in kept if line not in expected]
    assert facts == Records(
        count=len(kept),
        held_out=len(expected),
        duplicates=len(kept) - len(set(kept)),
        blank=len(lines) - len(kept),
        longest=max(map(len, kept)),
        mean_length=pytest.approx(sum(map(len, kept)) / len(kept)),
    )
    assert Records.from_json(facts.to_json()) == facts


@pytest.mark.parametrize("lines", [["abcd", ""], ["", ""], ["", "abcd", ""], ["ab", "abcdefg", "", ""]])
def test_records_that_are_empty_have_a_side_too(lines: list[str]) -> None:
    assert are_held_out(lines, 0.5).tolist() == [is_held_out(line, 0.5) for line in lines]


def test_rare_characters_that_are_folded_change_no_side(tmp_path: Path) -> None:
    """Whether a character is rare changes when a list grows; where its records are doesn't."""
    lines = [f"{number}{chr(0x4E00 + number)}" for number in range(300)] + ["\N{IDEOGRAPHIC SPACE}", "\N{EM SPACE}7"]
    (tmp_path / "list.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    whole, folded = (
        read_corpus([str(tmp_path / "list.txt")], min_count=count, val_seed=0, val_fraction=0.3) for count in (1, 5)
    )
    assert folded.vocabulary.unknown is not None
    assert whole.records is not None
    assert folded.records is not None
    assert folded.records.facts == whole.records.facts
    assert folded.records.facts.blank == 1
    assert folded.records.starts.tolist() == whole.records.starts.tolist()
    assert folded.records.facts.held_out == sum(is_held_out(line, 0.3) for line in lines if line.strip())


@pytest.mark.parametrize("level", ["char", "byte"])
def test_the_list_knows_its_records_of_both_sides_and_no_others(level: str) -> None:
    lines = [f"{number**2}" for number in range(200)] + ["", "\N{GREEK SMALL LETTER ALPHA}"]
    text = "".join(f"{line}\n" for line in lines)
    vocabulary = Vocabulary(level, "".join(sorted({*text, "x"})) if level == "char" else "")
    found, _ = split(vocabulary.encode(text), vocabulary, 0.1, 0)
    for line in lines[:200]:
        assert found.holds(vocabulary.encode(f"{line}\n"), vocabulary)
        assert not found.holds(vocabulary.encode(f"{line}x\n"), vocabulary)
    assert found.holds(vocabulary.encode(f"{lines[-1]}\n"), vocabulary)
    assert not found.holds(vocabulary.encode("\n"), vocabulary)


def test_a_block_border_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{number**3}" for number in range(300)] + ["x" * 500, ""]
    whole = read(lines)
    monkeypatch.setattr(records, "BLOCK", 7)
    assert read(lines) == whole


def test_about_a_tenth_is_held_out_another_tenth_by_another_seed_and_the_list_may_grow() -> None:
    lines = [f"name {number}" for number in range(4000)]
    _, one, _ = read(lines)
    _, other, _ = read(lines, val_seed=1)
    assert 340 < len(one) < 460
    assert 340 < len(other) < 460
    assert len({*one} & {*other}) < 80
    _, longer, _ = read(["first", *reversed(lines), "last"])
    assert {*one} <= {*longer} <= {*one, "first", "last"}


def test_the_split_is_the_same_for_ever() -> None:
    assert [number for number in range(100) if is_held_out(f"{number}", 0.1)] == [
        3,
        5,
        6,
        10,
        22,
        30,
        49,
        52,
        53,
        88,
        91,
        95,
        98,
    ]


@pytest.mark.parametrize(
    "damaged", [None, [], "x", {}, {"count": -1}, {"count": True}, {"mean_length": float("nan")}, {"longest": 1e3}]
)
def test_damaged_facts_are_no_records(damaged: Any) -> None:
    sound = Records(3, 1, 0, 0, 4, 2.5).to_json()
    assert Records.from_json({**sound, **damaged} if isinstance(damaged, dict) and damaged else damaged) is None


def names(count: int) -> list[int]:
    return [max(2, round(random.Random(number).gauss(7, 1.5))) for number in range(count)]


def molecules(count: int) -> list[int]:
    return [max(10, round(random.Random(number).gauss(36, 5))) for number in range(count)]


def verses(count: int) -> list[int]:
    return [1 + round(random.Random(number).expovariate(1 / 60)) for number in range(count)]


@pytest.mark.parametrize("lengths", [names, molecules, verses])
def test_at_most_a_twentieth_of_the_work_is_padding(lengths) -> None:
    spans = np.array(lengths(20_000))
    rows = RecordRows(spans, 2048, 256, 512)
    falling = -np.sort(-spans)
    work = 0
    for first, last in zip(rows.first, rows.first[1:], strict=False):
        group = falling[first:last]
        for offset in range(0, int(group[0]), 256):
            left = group[group > offset] - offset
            work += len(left) * min(int(left.max()), 256)
    assert spans.sum() / work > 0.95
    assert rows.first[-1] == len(spans)


def test_a_rectangle_holds_what_each_record_predicts_and_nothing_else() -> None:
    ids, starts = np.array([9, 1, 2, 3, 9, 4, 9]), np.array([0, 4])
    inputs, targets, counted = rectangle(ids, starts, np.array([4, 2]), 0, 3)
    assert inputs[0].tolist() == [9, 1, 2]
    assert inputs[1, :2].tolist() == [9, 4]
    assert targets.tolist() == [[1, 2, 3], [4, 9, -100]]
    assert counted == 5
    inputs, targets, counted = rectangle(ids, starts, np.array([4, 2]), 3, 3)
    assert (inputs.tolist(), targets.tolist(), counted) == ([[3]], [[9]], 1)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_rows_that_have_ended_are_left_out_and_little_is_read_behind_an_end(lengths: list[int]) -> None:
    falling = -np.sort(-np.array(lengths))
    found = spells(falling)
    read = np.zeros(len(falling), dtype=int)
    assert [begin for begin, _, _ in found] == [0, *(end for _, end, _ in found[:-1])]
    for begin, end, rows in found:
        assert end > begin
        read[:rows] += end - begin
    assert (read >= falling).all()
    assert read.sum() * (1 - PADDING) <= falling.sum()
    assert spells(falling, 0.0)[-1][1] == falling[0]
    assert sum((end - begin) * rows for begin, end, rows in spells(falling, 0.0)) == falling.sum()


def test_spells_are_joined_where_that_costs_least() -> None:
    assert spells(np.array([9] * 10)) == [(0, 9, 10)]
    assert spells(np.array([9] * 10 + [8] * 5 + [3] * 5)) == [(0, 3, 20), (3, 9, 15)]
    assert spells(np.array([9, 5]), 0.0) == [(0, 5, 2), (5, 9, 1)]


# -- long lists -------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(LINES, st.integers(0, 9))
def test_a_list_that_does_not_fit_into_memory_is_split_in_the_same_way(lines: list[str], val_seed: int) -> None:
    assume(any(line.strip() for line in lines))
    expected = read(lines, 0.4, val_seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "IN_MEMORY_BYTES", 0)
        patch.setattr(records, "SORTED_TOGETHER", 2)
        patch.setattr(records, "BLOCK", 16)
        assert read(lines, 0.4, val_seed) == expected


def test_sorted_by_parts_each_hash_comes_once_and_ascends(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 500, dtype=np.uint64)[np.arange(1000) % 500]
    chosen = np.arange(1000) % 500 >= 10
    monkeypatch.setattr(records, "SORTED_TOGETHER", 30)
    assert records._distinct(hashes, chosen).tolist() == sorted({*hashes[chosen].tolist()})


@pytest.mark.parametrize("longest", [5, 60, 3000])
def test_groups_are_those_of_one_record_after_another(longest: int) -> None:
    """As they were found when runs began that go on today."""
    rng = np.random.default_rng(longest)
    for characters, chunk, rows in ((1, 1, 1), (700, 40, 9), (3000, 256, 512)):
        spans = rng.integers(1, longest, 300)
        falling = -np.sort(-spans)
        first, chunks = [0], []
        while (rank := first[-1]) < len(falling):
            fitting = max(1, min(characters // min(int(falling[rank]), chunk), rows))
            alike = int((falling >= -math.floor(-SHORTEST * int(falling[rank]))).sum())
            chunks.append(-(-int(falling[rank]) // chunk))
            first.append(min(rank + fitting, alike))
        found = RecordRows(spans, characters, chunk, rows)
        assert (found.first.tolist(), found.chunks) == (first, chunks)
