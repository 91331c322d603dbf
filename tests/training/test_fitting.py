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
from charrnn.text import gathered, spilled
from charrnn.training import classify_recipe, fitting, split
from charrnn.training.classify import Fit
from charrnn.training.fitting import FitRequest, Place

Put = Callable[[str, bytes], str]
TINY = {"hidden_size": 6, "embedding_size": 3}


def lines(count: int, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    stems = ["".join(rng.choice(list("cdef"), 5)) for _ in range(count)]
    return "".join(f"{stem}{'ab'[n % 2]}\tends in {'ab'[n % 2]}\n" for n, stem in enumerate(stems)).encode()


def fitted(request: FitRequest, path: Path, stop: Callable[[], str | None] = lambda: None) -> tuple[fitting.Fitted, list[Any]]:
    heard = list[Any]()
    found = fitting.fit(
        request,
        split.read(request.path, request.val, request.config, str),
        path / classifier.NAME,
        lambda: 0.0,
        stop,
        heard.append,
    )
    return found, heard


# -- the texts ----------------------------------------------------------------------------------------------------------


def test_texts_that_fill_a_temporary_file_are_learned_alike(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = FitRequest(put("x.tsv", lines(60)), model=TINY, settings={"epochs": 2.0})
    whole, _ = fitted(request, tmp_path)
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", 100)
    monkeypatch.setattr(gathered, "_BLOCK", 30)
    spilt, _ = fitted(request, tmp_path)
    assert spilt.verdicts.figures.accuracy == whole.verdicts.figures.accuracy
    for name, weight in whole.classifier.weights.items():
        assert (spilt.classifier.weights[name] == weight).all()


def test_a_text_of_a_megabyte_is_read_to_its_limit(put: Put, tmp_path: Path) -> None:
    rows = lines(30) + b"c" * 1_000_000 + b"a\tends in a\n"
    request = FitRequest(put("x.tsv", rows), model=TINY, head={"longest": 20}, settings={"epochs": 1.0})
    found, heard = fitted(request, tmp_path)
    assert found.classifier.config.longest == 20
    assert heard[1] == "1 text is longer than the 20 characters that are read (--longest); the rest doesn't count"


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
    assert saved.training["words_per_text"] == 1
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
    ("head", "trained", "both"),
    [
        ({}, False, True),
        ({"bidirectional": False}, False, False),
        ({"bidirectional": True}, True, True),
        ({"feature": "last"}, False, False),
        ({"feature": "mean"}, False, True),
        ({}, True, False),
    ],
)
def test_a_network_that_reads_backwards_is_added_unless_something_else_was_asked_for(
    head: dict[str, Any], trained: bool, both: bool, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify_recipe, "SEVERAL", 20)
    monkeypatch.setattr(classify_recipe, "SENTENCES", 1)
    start = small_networks.network(tmp_path / "novel") if trained else None
    model = {} if trained else TINY
    request = FitRequest(put("x.tsv", lines(40)), start, model=model, head=head, settings={"epochs": 0.01})
    found, _ = fitted(request, tmp_path)
    assert found.classifier.config.bidirectional is both
    assert any(name.endswith("_reverse") for name in found.classifier.weights) is both
    assert classifier.read(tmp_path / classifier.NAME).config.bidirectional is both


@pytest.mark.parametrize(("measured", "both"), [(1e9, True), (1.0, False)])
def test_a_machine_too_slow_for_two_networks_gets_one(
    measured: float, both: bool, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify_recipe, "SEVERAL", 20)
    monkeypatch.setattr(classify_recipe, "SENTENCES", 1)
    monkeypatch.setattr(Fit, "speed", lambda *_: measured)
    request = FitRequest(put("x.tsv", lines(40)), model={"embedding_size": 3}, settings={"minutes": 3.0})
    found, _ = fitted(request, tmp_path, lambda: "interrupted")
    assert found.classifier.config.bidirectional is both


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


def test_ctrl_c_ends_the_search_for_a_head_and_keeps_what_is_found(put: Put, tmp_path: Path) -> None:
    small_networks.network(tmp_path / "novel", known="\nabcdef")
    asked: list[int] = []

    def stop() -> str | None:
        asked.append(1)
        return "interrupted" if len(asked) > 8 else None

    found, _ = fitted(FitRequest(put("x.tsv", lines(200)), tmp_path / "novel", frozen=True), tmp_path, stop)
    assert len(asked) < 14
    assert found.training["stopped"] == "interrupted"
    assert classifier.read(tmp_path / classifier.NAME).labels == ("ends in a", "ends in b")


def test_the_last_figures_have_their_time(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What many texts to validate on will take is measured on some, and the run ends so much sooner."""
    monkeypatch.setattr(fitting, "TOGETHER", 5)
    monkeypatch.setattr(fitting.Judge, "probabilities", lambda self, texts: asked.append(len(texts)))
    monkeypatch.setattr(fitting.time, "perf_counter", lambda: 0.25 * len(asked))
    plans, asked, learn = list[float | None](), list[int](), Fit.run
    monkeypatch.setattr(Fit, "run", lambda self, *rest: plans.append(self.plan.seconds) or learn(self, *rest))
    few, many = (put(f"{count}.tsv", lines(count, 1)) for count in (5, 40))
    for val in (few, many):
        request = FitRequest(put("x.tsv", lines(60)), val=val, model=TINY, settings={"minutes": 1.0})
        fitted(request, tmp_path, lambda: "interrupted")
    assert asked == [5]
    assert plans == [pytest.approx(60 * 0.98 - 0.5), pytest.approx(60 * 0.98 - 0.5 - 0.25 * 40 / 5)]


def test_a_head_alone_learns_from_as_many_texts_as_fit_in_memory(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_networks.network(tmp_path / "novel", known="\nabcdef")
    monkeypatch.setattr(fitting, "MOST_FEATURES", 60 * 3 * 8)
    _, heard = fitted(FitRequest(put("x.tsv", lines(200)), tmp_path / "novel", frozen=True), tmp_path)
    assert re.fullmatch(r"the head learns from [56]\d of the 1\d\d texts, evenly spread; more don't fit in memory", heard[1])
