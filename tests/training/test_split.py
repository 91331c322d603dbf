from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from charrnn import CharrnnError
from charrnn.classifier_config import FitConfig
from charrnn.text import records
from charrnn.training import split as module
from charrnn.training.split import Split

Put = Callable[[str, bytes], str]


def lines(count: int, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    stems = ["".join(rng.choice(list("cdef"), 5)) for _ in range(count)]
    return "".join(f"{stem}{'ab'[n % 2]}\tends in {'ab'[n % 2]}\n" for n, stem in enumerate(stems)).encode()


def read(path: str, val: str | None = None, **settings: Any) -> tuple[Split, list[str]]:
    said = list[str]()
    return module.read(path, val, FitConfig(**settings), said.append), said


def test_validation_texts_follow_from_the_text_alone(put: Put) -> None:
    split, said = read(put("x.tsv", lines(300)))
    assert split.labels == ("ends in a", "ends in b")
    assert said == []
    assert 15 < len(split.val) < 50
    assert records.are_held_out(split.val.texts, 0.1).all()
    assert not records.are_held_out(split.train.texts, 0.1).any()
    more, _ = read(put("y.tsv", lines(300) + lines(100, 1)))
    assert set(split.val.texts) <= set(more.val.texts)
    other, _ = read(put("x.tsv", lines(300)), val_seed=1)
    assert set(other.val.texts) != set(split.val.texts)


def test_no_more_texts_validate_than_tell_enough(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put("x.tsv", lines(1000))
    usual, _ = read(path)
    monkeypatch.setattr(module, "MOST_VALIDATED", 40)
    fewer, _ = read(path)
    assert 20 < len(fewer.val) < 60 < len(usual.val)
    assert set(fewer.val.texts) < set(usual.val.texts)
    assert len(fewer.train) + len(fewer.val) == 1000


def test_equal_texts_are_on_one_side(put: Put) -> None:
    split, _ = read(put("x.tsv", b"".join(f"name{n % 40}\t{'ab'[n % 3 == 0]}\n".encode() for n in range(400))))
    assert not set(split.train.texts) & set(split.val.texts)


def test_a_file_of_its_own_validates(put: Put) -> None:
    split, _ = read(put("x.tsv", lines(20)), val=put("v.tsv", lines(6, 1)))
    assert (len(split.train), len(split.val)) == (20, 6)
    with pytest.raises(CharrnnError, match="no text in it has a label that is learned"):
        read(put("x.tsv", lines(20)), val=put("w.tsv", b"text\tlabel\nabc\tnew\n"))


def test_labels_that_only_validation_has_are_left_out_and_told(put: Put) -> None:
    split, told = read(put("x.tsv", lines(20)), val=put("v.tsv", lines(6, 1) + b"abc\tnew\nabd\tnew\n"))
    assert (len(split.train), len(split.val)) == (20, 6)
    assert any(
        "2 texts to validate on have labels that no text to learn from has, and are left out: new" in one for one in told
    )
    rows = b"text\tlabel\tpart\nt1\tb\ttrain\nn1\td\t\nv1\ta\tval\nv2\tb\tval\nv3\td\tval\nv4\tc\tval\n"
    split, told = read(put("y.tsv", rows))
    assert split.labels == ("b", "d")
    assert [split.labels[number] for number in split.train.labels] == ["d", "b"]
    assert list(zip(split.val.texts, split.val.labels.tolist(), strict=True)) == [("v2", 0), ("v3", 1)]
    assert any("2 texts to validate on have labels" in one and one.endswith(": a, c") for one in told)
    with pytest.raises(CharrnnError, match="all texts are for validation or a test"):
        read(put("z.tsv", b"text\tlabel\tpart\nv1\ta\tval\nv2\tb\tval\n"))
    with pytest.raises(CharrnnError, match="every text has the label 'b'"):
        read(put("w.tsv", b"text\tlabel\tpart\nt1\tb\t\nv2\ta\tval\n"))


def test_a_column_of_parts_decides(put: Put) -> None:
    rows = b"text\tlabel\tpart\n" + b"".join(
        f"text {n}\t{'xy'[n % 2]}\t{('train', 'train', 'val', 'test')[n // 2 % 4]}\n".encode() for n in range(40)
    )
    split, _ = read(put("x.tsv", rows))
    assert split.to_json() == {"train": 20, "val": 10, "apart": 10}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (b"", "no labelled texts in it"),
        (b"text\tlabel\n", "no labelled texts in it"),
        (b"text\tlabel\na\tx\nb\tx\n", "every text has the label 'x'; there is nothing to tell apart"),
        (b"text\tlabel\na\tx\nb\t" + b"y" * 600 + b"\n", "a label of 600 characters"),
    ],
)
def test_nothing_to_tell_apart_is_told(rows: bytes, words: str, put: Put) -> None:
    path = put("x.tsv", rows)
    with pytest.raises(CharrnnError, match=re.escape(words)) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_label_with_one_example_is_learned_and_told(put: Put) -> None:
    held = next(f"text {n}" for n in range(1000) if records.is_held_out(f"text {n}", 0.1))
    split, said = read(put("x.tsv", b"text\tlabel\n" + lines(40) + f"{held}\trare\n".encode()))
    assert held in split.train.texts
    assert "1 label has one text only, which is learned from, so nothing tells how well: rare" in said[0]


def test_labels_that_no_text_to_validate_on_has_are_told(put: Put) -> None:
    """Figures of all others look like figures of all."""
    rare = [f"text {n}" for n in range(1000) if not records.is_held_out(f"text {n}", 0.1)][:3]
    path = put("x.tsv", b"text\tlabel\n" + lines(40) + "".join(f"{text}\trare\n" for text in rare).encode())
    assert read(path)[1] == [f"{path}: 1 label has no text to validate on, so no figure tells how well it is found: rare"]
    others = put("v.tsv", b"text\tlabel\nabc\tends in a\n")
    told = "2 labels have no text to validate on, so no figure tells how well they are found: ends in b, rare"
    assert read(path, others)[1] == [f"{others}: {told}"]
    few = read(put("few.tsv", b"text\tlabel\na\tx\nb\ty\n"))[1]
    assert "too few texts" in few[-1]
    assert not any("to validate on" in line for line in few)


def test_too_few_texts_to_validate_are_told(put: Put) -> None:
    split, said = read(put("x.tsv", b"text\tlabel\na\tx\nb\ty\n"))
    assert len(split.val) == 0
    assert "too few texts to keep some for validation" in said[-1]


def test_of_very_many_texts_to_validate_on_some_are_taken_and_that_is_told(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VALIDATED", 10)
    found, said = read(put("x.tsv", lines(60)), put("v.tsv", lines(50, 1)))
    assert (len(found.train), len(found.val)) == (60, 10)
    assert said == [f"{put('v.tsv', lines(50, 1))}: 50 texts to validate on; 10 of them, evenly spread, tell enough"]
    parts = b"text\tlabel\tpart\n" + b"".join(
        line + (b"\tval\n" if number % 2 else b"\ttrain\n") for number, line in enumerate(lines(80).splitlines()[:79])
    )
    rows = parts.replace(b"ends in a\tval", b"ends in a\ttrain") + b"cda\tends in a\tval\ncdb\tends in b\ttrain\n"
    found, said = read(put("y.tsv", rows))
    assert len(found.val) == 10
    assert "40 texts to validate on; 10 of them" in said[0]


def test_figures_are_of_some_learned_texts_where_none_validate(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VALIDATED", 10)
    rare = b"rare one\tends in c\nrare two\tends in c\n"
    found, _ = read(put("x.tsv", lines(50) + rare), val_fraction=0.0)
    assert len(found.val) == 0
    assert 10 <= len(found.judged) <= 12
    assert set(found.judged.labels.tolist()) == {0, 1, 2}
    assert found.some_learned(100) is found.train


def test_labels_that_are_texts_are_told_before_they_fill_the_memory(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.classifier, "MOST_LABELS", 20)
    rows = b"text\tlabel\n" + b"".join(f"x\ttext {number}\n".encode() for number in range(50))
    with pytest.raises(CharrnnError, match="more than 20 different labels; at most 20 can be told apart"):
        read(put("x.tsv", rows))


def test_rows_come_back_in_their_order_with_their_labels(put: Put) -> None:
    rows = b"text\tlabel\tpart\nt1\tb\ttrain\nn1\tc\t\nv1\ta\tval\nn2\ta\t\nt2\tc\ttrain\ns1\td\ttest\n"
    found, _ = read(put("x.tsv", rows))
    assert found.labels == ("a", "b", "c")
    assert list(found.train.texts) == ["n1", "n2", "t1", "t2"]
    assert [found.labels[number] for number in found.train.labels] == ["c", "a", "b", "c"]
    assert (list(found.val.texts), found.val.labels.tolist(), found.apart) == (["v1"], [0], 1)


def test_validation_texts_that_are_learned_from_are_told_of(put: Put) -> None:
    path = put("x.tsv", lines(20))
    _, told = read(path, val=path)
    assert told == [f"{path}: 20 of its 20 texts are among those that it learns from, so the figures are too good"]
    _, told = read(path, val=put("v.tsv", lines(20, 1)))
    assert told == []
