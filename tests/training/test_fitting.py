from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_networks

from charrnn import CharrnnError, UsageError
from charrnn.config import ModelConfig
from charrnn.network import checkpoint, classifier, rundir
from charrnn.text import records
from charrnn.training import classify_recipe, fitting
from charrnn.training.classify import Fit
from charrnn.training.fitting import FitRequest, Place

Put = Callable[[str, bytes], str]
TINY = {"hidden_size": 6, "embedding_size": 3}


def lines(count: int, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    stems = ["".join(rng.choice(list("cdef"), 5)) for _ in range(count)]
    return "".join(f"{stem}{'ab'[n % 2]}\tends in {'ab'[n % 2]}\n" for n, stem in enumerate(stems)).encode()


def read(request: FitRequest) -> tuple[fitting.Split, list[str]]:
    said = list[str]()
    return fitting.read(request, said.append), said


def fitted(request: FitRequest, path: Path, stop: Callable[[], str | None] = lambda: None) -> tuple[fitting.Fitted, list[Any]]:
    heard = list[Any]()
    found = fitting.fit(request, read(request)[0], path / classifier.NAME, lambda: 0.0, stop, heard.append)
    return found, heard


# -- the texts ----------------------------------------------------------------------------------------------------------


def test_validation_texts_follow_from_the_text_alone(put: Put) -> None:
    split, said = read(FitRequest(put("x.tsv", lines(300))))
    assert split.labels == ("ends in a", "ends in b")
    assert said == []
    assert 15 < len(split.val) < 50
    assert records.are_held_out(split.val.texts, 0.1).all()
    assert not records.are_held_out(split.train.texts, 0.1).any()
    more, _ = read(FitRequest(put("y.tsv", lines(300) + lines(100, 1))))
    assert set(split.val.texts) <= set(more.val.texts)
    other, _ = read(FitRequest(put("x.tsv", lines(300)), settings={"val_seed": 1}))
    assert set(other.val.texts) != set(split.val.texts)


def test_no_more_texts_validate_than_tell_enough(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put("x.tsv", lines(1000))
    usual, _ = read(FitRequest(path))
    monkeypatch.setattr(fitting, "MOST_VALIDATED", 40)
    fewer, _ = read(FitRequest(path))
    assert 20 < len(fewer.val) < 60 < len(usual.val)
    assert set(fewer.val.texts) < set(usual.val.texts)
    assert len(fewer.train) + len(fewer.val) == 1000


def test_equal_texts_are_on_one_side(put: Put) -> None:
    split, _ = read(FitRequest(put("x.tsv", b"".join(f"name{n % 40}\t{'ab'[n % 3 == 0]}\n".encode() for n in range(400)))))
    assert not set(split.train.texts) & set(split.val.texts)


def test_a_file_of_its_own_validates(put: Put) -> None:
    split, _ = read(FitRequest(put("x.tsv", lines(20)), val=put("v.tsv", lines(6, 1))))
    assert (len(split.train), len(split.val)) == (20, 6)
    with pytest.raises(CharrnnError, match="no text to learn from has the label 'new'"):
        read(FitRequest(put("x.tsv", lines(20)), val=put("w.tsv", b"text\tlabel\nabc\tnew\n")))


def test_a_column_of_parts_decides(put: Put) -> None:
    rows = b"text\tlabel\tpart\n" + b"".join(
        f"text {n}\t{'xy'[n % 2]}\t{('train', 'train', 'val', 'test')[n // 2 % 4]}\n".encode() for n in range(40)
    )
    split, _ = read(FitRequest(put("x.tsv", rows)))
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
        read(FitRequest(path))
    assert str(caught.value).startswith(f"{path}: ")


def test_a_label_with_one_example_is_learned_and_told(put: Put) -> None:
    held = next(f"text {n}" for n in range(1000) if records.is_held_out(f"text {n}", 0.1))
    split, said = read(FitRequest(put("x.tsv", b"text\tlabel\n" + lines(40) + f"{held}\trare\n".encode())))
    assert held in split.train.texts
    assert "1 label has one text only, which is learned from, so nothing tells how well: rare" in said[0]


def test_too_few_texts_to_validate_are_told(put: Put) -> None:
    split, said = read(FitRequest(put("x.tsv", b"text\tlabel\na\tx\nb\ty\n")))
    assert len(split.val) == 0
    assert "too few texts to keep some for validation" in said[-1]


def test_a_text_of_a_megabyte_is_read_to_its_limit(put: Put, tmp_path: Path) -> None:
    rows = lines(30) + b"c" * 1_000_000 + b"a\tends in a\n"
    request = FitRequest(put("x.tsv", rows), model=TINY, head={"longest": 20}, settings={"epochs": 1.0})
    found, _ = fitted(request, tmp_path)
    assert found.classifier.config.longest == 20


# -- what excludes each other ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frozen": True}, "--frozen trains the head alone on a trained network; name one by -c PATH"),
        ({"frozen": True, "checkpoint": Path("x"), "pretrain": True}, "--frozen or --pretrain"),
        ({"frozen": True, "checkpoint": Path("x"), "head": {"bidirectional": True}}, "--frozen or --bidirectional"),
        ({"checkpoint": Path("x"), "model": {"hidden_size": 5}}, "--hidden-size is for a fresh network"),
        ({"checkpoint": Path("x"), "model": {"num_layers": 5}}, "--layers is for a fresh network"),
        ({"settings": {"minutes": 1.0, "epochs": 1.0}}, "--epochs or --minutes: give one"),
        ({"settings": {"lr": -1.0}}, "--lr must be"),
    ],
)
def test_what_excludes_each_other_is_told(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        FitRequest("x.tsv", **options)


# -- where it goes --------------------------------------------------------------------------------------------------------


def test_a_classifier_is_never_replaced_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small_networks.classifier(tmp_path / "c")
    with pytest.raises(CharrnnError, match="is there already; replace it by --overwrite, or choose another --out"):
        Place(FitRequest("x.tsv", out=tmp_path / "c"))
    with Place(FitRequest("x.tsv", out=tmp_path / "c", overwrite=True)) as place:
        assert place.file == tmp_path / "c" / classifier.NAME
        with pytest.raises(CharrnnError, match="another process"):
            Place(FitRequest("x.tsv", out=tmp_path / "c", overwrite=True))
    assert classifier.read(tmp_path / "c" / classifier.NAME).labels


def test_a_directory_goes_again_if_nothing_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("checkpoints/names").mkdir(parents=True)
    with Place(FitRequest("data/names.tsv")) as place:
        assert place.path == Path("checkpoints/names-2")
        assert place.path.is_dir()
    assert not place.path.exists()
    assert Path("checkpoints/names").is_dir()


# -- what is fitted --------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_what_was_measured(put: Put, tmp_path: Path) -> None:
    request = FitRequest(put("x.tsv", lines(200)), model=TINY, head={"feature": "last"}, settings={"epochs": 6.0, "lr": 0.03})
    found, heard = fitted(request, tmp_path)
    saved = classifier.read(tmp_path / classifier.NAME)
    assert saved.labels == ("ends in a", "ends in b")
    assert saved.training["val_accuracy"] == 1
    assert (saved.training["texts"], saved.training["corpus"]) == (200, "x.tsv")
    assert found.yardsticks.ngrams.accuracy == 1
    assert heard[0] is found.yardsticks
    assert heard[-1].share == 1
    assert "\n" in saved.vocabulary.characters


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, ModelConfig]]:
    """For how many seconds which network's speed was measured."""
    found: list[tuple[float, ModelConfig]] = []

    def measure(self: Fit, seconds: float) -> float:
        found.append((seconds, self.model))
        return 1.0

    monkeypatch.setattr(Fit, "speed", measure)
    return found


@pytest.mark.usefixtures("timed")
@pytest.mark.parametrize(("minutes", "seconds"), [(3.0, 0.8), (0.5, 0.3)])
def test_the_machines_speed_decides_how_large_a_network_is(
    minutes: float, seconds: float, put: Put, tmp_path: Path, timed: list[tuple[float, ModelConfig]]
) -> None:
    request = FitRequest(put("x.tsv", lines(40)), model={"cell": "gru", "embedding_size": 3}, settings={"minutes": minutes})
    found, _ = fitted(request, tmp_path, lambda: "interrupted")
    assert [allowed for allowed, _ in timed] == [pytest.approx(seconds)]
    assert (timed[0][1].cell, timed[0][1].hidden_size) == ("gru", classify_recipe.USUAL)
    assert found.classifier.model.hidden_size == classify_recipe.SMALLEST


@pytest.mark.parametrize(
    ("model", "settings", "trained"),
    [(TINY, {"minutes": 3.0}, False), ({"embedding_size": 3}, {"epochs": 0.01}, False), ({}, {"minutes": 3.0}, True)],
)
def test_no_speed_is_measured_where_the_size_is_given_or_time_is_no_limit(
    model: dict[str, Any], settings: dict[str, Any], trained: bool, put: Put, tmp_path: Path, timed: list[Any]
) -> None:
    start = small_networks.network(tmp_path / "novel") if trained else None
    fitted(FitRequest(put("x.tsv", lines(40)), start, model=model, settings=settings), tmp_path, lambda: "interrupted")
    assert timed == []


def test_a_stopped_fit_is_saved(put: Put, tmp_path: Path) -> None:
    request = FitRequest(put("x.tsv", lines(60)), model=TINY, settings={"epochs": 1000.0})
    found, _ = fitted(request, tmp_path, lambda: "interrupted")
    assert found.training["stopped"] == "interrupted"
    assert classifier.read(tmp_path / classifier.NAME).weights


@pytest.mark.parametrize("frozen", [False, True])
def test_a_trained_network_is_taken_along(frozen: bool, put: Put, tmp_path: Path) -> None:
    trained = checkpoint.read(small_networks.network(tmp_path / "novel") / rundir.BEST)
    rows = lines(100).replace(b"c", "\N{GREEK SMALL LETTER ALPHA}".encode())
    request = FitRequest(put("x.tsv", rows), tmp_path / "novel", frozen=frozen, settings={"epochs": 0.01, "lr": 1e-9})
    found, _ = fitted(request, tmp_path)
    model, weights = found.classifier.model, found.classifier.weights
    assert (model.cell, model.hidden_size) == (trained.model.cell, trained.model.hidden_size)
    assert np.allclose(weights["rnn.weight_hh_l0"], trained.weights["rnn.weight_hh_l0"], atol=1e-6)
    kept, old = found.classifier.vocabulary, trained.vocabulary
    assert set(old.characters) <= set(kept.characters)
    assert ("\N{GREEK SMALL LETTER ALPHA}" in kept.characters) is not frozen
    for character in "The":
        rows_ = weights["embedding.weight"][kept.encode(character)], trained.weights["embedding.weight"][old.encode(character)]
        assert np.allclose(*rows_, atol=1e-6)


@pytest.mark.parametrize("level", ["char", "byte"])
@pytest.mark.parametrize("head_size", [None, 4])
def test_a_frozen_network_with_a_head_tells_endings_apart(head_size: int | None, level: str, put: Put, tmp_path: Path) -> None:
    small_networks.network(tmp_path / "novel", known="\nabcdef", level=level)
    head = {} if head_size is None else {"head_size": head_size}
    request = FitRequest(put("x.tsv", lines(200)), tmp_path / "novel", frozen=True, head=head)
    found, _ = fitted(request, tmp_path)
    assert found.classifier.training["val_accuracy"] > 0.9
    assert found.classifier.config.head_size == head_size
