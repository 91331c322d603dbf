"""corpora/: an original text without repetitions, and two tasks that anyone can make again."""

from __future__ import annotations

import lzma
import re
import runpy
import shutil
from collections import Counter
from pathlib import Path

import pytest

CORPORA = Path(__file__).parent.parent / "corpora"


@pytest.fixture(scope="module")
def fables() -> str:
    return (CORPORA / "fables.txt").read_bytes().decode("ascii")


def test_the_fables_are_120_kilobytes_of_plain_ascii(fables: str) -> None:
    assert len(fables) >= 120_000
    assert {character for character in fables if not character.isprintable()} == {"\n"}
    assert fables.endswith("\n")


def test_no_sentence_of_the_fables_stands_twice(fables: str) -> None:
    sentences = re.split(r"(?<=[.!?])[\"')\]]*\s+", " ".join(fables.split()))
    long = Counter(sentence for sentence in sentences if len(sentence) >= 20)
    assert len(long) > 1000
    assert [sentence for sentence, count in long.items() if count > 1] == []


def test_the_fables_hold_2_point_6_bits_per_character(fables: str) -> None:
    packed = lzma.compress(fables.encode(), preset=9)
    assert 8 * len(packed) / len(fables) >= 2.6


@pytest.mark.parametrize("name", ["alphabet.txt", "recall.txt"])
def test_the_script_makes_the_committed_tasks_byte_for_byte(name: str, tmp_path: Path) -> None:
    script = shutil.copy(CORPORA / "make_tasks.py", tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    assert (tmp_path / name).read_bytes() == (CORPORA / name).read_bytes()


def test_every_alphabet_line_runs_to_an_end_of_the_alphabet() -> None:
    forwards = "abcdefghijklmnopqrstuvwxyz"
    lines = (CORPORA / "alphabet.txt").read_text(encoding="ascii").splitlines()
    assert all(forwards.endswith(line) or forwards[::-1].endswith(line) for line in lines)
    assert min(map(len, lines)) > 1
    assert {forwards, forwards[::-1]} < set(lines)


def test_recall_asks_the_same_letter_back_after_2_to_60_fillers() -> None:
    text = (CORPORA / "recall.txt").read_text(encoding="ascii")
    records = [re.fullmatch(r"([a-p])(\.+)\?\1", line) for line in text.splitlines()]
    assert None not in records
    assert {len(record[2]) for record in records if record} == set(range(2, 61))
    letters = Counter(record[1] for record in records if record)
    assert set(letters) == set("abcdefghijklmnop")
    assert min(letters.values()) > len(records) / 16 * 0.8
