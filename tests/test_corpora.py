"""corpora/: an original text without repetitions, sentences with intents, and two tasks that anyone can make again."""

from __future__ import annotations

import hashlib
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


Sentences = dict[str, str]
INTENTS = {"intents.tsv": (1300, 80), "intents-test.tsv": (250, 12)}
"""The two parts, with the fewest sentences of all and of each intent."""


def words_of(text: str) -> list[str]:
    """The words of a sentence, lower case and without punctuation."""
    return re.sub(r"[^\w\s]", "", text.lower()).split()


def sentences(name: str) -> Sentences:
    header, *rows = (CORPORA / name).read_bytes().decode("ascii").removesuffix("\n").split("\n")
    assert header == "text\tlabel"
    return {text: label for text, _, label in (row.partition("\t") for row in rows)}


@pytest.fixture(scope="module")
def intents() -> dict[str, Sentences]:
    return {name: sentences(name) for name in INTENTS}


@pytest.mark.parametrize("name", INTENTS)
def test_the_intents_are_many_and_balanced(name: str, intents: dict[str, Sentences]) -> None:
    all_of_them, of_each = INTENTS[name]
    labels = Counter(intents[name].values())
    assert labels.total() >= all_of_them
    assert 12 <= len(labels) <= 16
    assert {"ask_time", "set_alarm", "weather", "play_music", "greeting", "goodbye", "directions", "order_food", "other"} < set(
        labels
    )
    assert of_each <= min(labels.values()) <= max(labels.values()) <= 120


def test_the_rows_of_the_intents_are_clean(intents: dict[str, Sentences]) -> None:
    for text, label in (row for part in intents.values() for row in part.items()):
        assert text == " ".join(text.split())
        assert text.isprintable()
        assert 2 <= len(text) <= 80
        assert re.fullmatch("[a-z_]+", label)


def test_no_sentence_of_the_intents_stands_twice(intents: dict[str, Sentences]) -> None:
    plain = Counter(" ".join(words_of(text)) for part in intents.values() for text in part)
    assert plain.total() == sum((CORPORA / name).read_bytes().count(b"\n") - 1 for name in INTENTS)
    assert [text for text, count in plain.items() if count > 1] == []


def test_the_intents_are_made_from_no_templates(intents: dict[str, Sentences]) -> None:
    words = [words_of(text) for part in intents.values() for text in part]
    for length, most in ((4, 3), (3, 13)):
        beginnings = Counter(tuple(sentence[:length]) for sentence in words if len(sentence) >= length)
        assert max(beginnings.values()) <= most
    endings = Counter(tuple(sentence[-4:]) for sentence in words if len(sentence) >= 4)
    assert max(endings.values()) <= 3


def test_a_hash_of_a_sentence_tells_whether_it_is_of_the_test_part(intents: dict[str, Sentences]) -> None:
    for name, part in intents.items():
        held_out = {hashlib.sha256(text.encode()).digest()[0] % 6 == 0 for text in part}
        assert held_out == {name == "intents-test.tsv"}


def test_the_test_part_of_the_intents_stays_as_it_is() -> None:
    digest = hashlib.sha256((CORPORA / "intents-test.tsv").read_bytes()).hexdigest()
    assert digest == "286096cad7b12db80fccbdefc8cdf9e2f5f3c4350c93a7cc6a420c1b41320b4d"


def test_the_intents_repeat_nothing_of_the_fables(intents: dict[str, Sentences], fables: str) -> None:
    told = " ".join(words_of(fables))
    long = [text for part in intents.values() for text in part if len(words_of(text)) >= 6]
    assert len(long) > 300
    assert [text for text in long if " ".join(words_of(text)) in told] == []
