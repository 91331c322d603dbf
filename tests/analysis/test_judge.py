from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_networks

from charrnn import CharrnnError
from charrnn.analysis.judge import Figures, Judge, confusion, deciding
from charrnn.classifier_config import FEATURES
from charrnn.network import classifier

TEXTS = ["what time is it", "no", "a", "yes please do", "wake me at seven", "x" * 40]


def judge(path: Path, **config: object) -> Judge:
    return Judge(classifier.read(small_networks.classifier(path / "c", ("a", "b", "c"), **config) / classifier.NAME))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("feature", FEATURES)
def test_a_text_is_judged_alike_alone_and_beside_longer_ones(feature: str, bidirectional: bool, tmp_path: Path) -> None:
    it = judge(tmp_path, feature=feature, bidirectional=bidirectional)
    together = it.probabilities(TEXTS)
    assert together.sum(axis=1) == pytest.approx(1)
    for text, row in zip(TEXTS, together, strict=True):
        assert it.probabilities([text])[0] == pytest.approx(row, abs=1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("feature", FEATURES)
def test_a_trace_says_what_each_beginning_alone_would_be_called(feature: str, bidirectional: bool, tmp_path: Path) -> None:
    it = judge(tmp_path, feature=feature, bidirectional=bidirectional, longest=12)
    shown, rows = it.trace("what time is it")
    assert shown == "what time is"
    # A beginning that ends in a blank is read with it here; alone it would lose it.
    for place in (place for place in range(len(shown)) if shown[place] != " "):
        assert it.probabilities([shown[: place + 1]])[0] == pytest.approx(rows[place], abs=1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_trace_of_nothing_is_empty(bidirectional: bool, tmp_path: Path) -> None:
    shown, rows = judge(tmp_path, bidirectional=bidirectional).trace(" ")
    assert (shown, rows.shape) == ("", (0, 3))


def test_features_are_the_last_the_mean_and_the_largest_h(tmp_path: Path) -> None:
    it = judge(tmp_path, feature="last+mean", bidirectional=True)
    ids = it.ids("no way")
    network = it._reader.forwards
    h = network.trace(ids[:, None])[1][-1].h[:, 0]
    found = it.features(["no way"])[0]
    assert found[:4] == pytest.approx(h[-1], abs=1e-6)
    assert found[8:12] == pytest.approx(h.mean(axis=0), abs=1e-6)
    back = it._reader.backwards
    assert back is not None
    assert found[4:8] == pytest.approx(back.trace(ids[::-1, None])[1][-1].h[-1, 0], abs=1e-6)


def test_unknown_characters_become_plain_ones_and_are_told(tmp_path: Path) -> None:
    it = judge(tmp_path)
    assert it.probabilities(["éQ日"])[0] == pytest.approx(it.probabilities(["eq\ufffd"])[0])
    assert it.heard.changed == {"é": "e", "Q": "q", "日": "\ufffd", "\ufffd": "\ufffd"}


def test_of_a_long_text_the_beginning_is_read(tmp_path: Path) -> None:
    it = judge(tmp_path, longest=8)
    assert it.probabilities(["abcdefgh" + "z" * 1_000_000])[0] == pytest.approx(it.probabilities(["abcdefgh"])[0])
    assert it.heard.cut == 1


def test_a_trace_that_would_take_for_ever_is_refused(tmp_path: Path) -> None:
    it = judge(tmp_path, bidirectional=True, longest=10_000)
    with pytest.raises(CharrnnError, match="--trace reads at most 4,096 characters"):
        it.trace("a" * 5000)


def test_weights_that_make_no_numbers_are_told(tmp_path: Path) -> None:
    path = small_networks.classifier(tmp_path / "c", head_size=3) / classifier.NAME
    found = classifier.read(path)
    ones = {"head.0.weight": 0, "head.0.bias": 10, "head.2.weight": 3e38}  # the sum of three numbers near the largest one
    weights = {name: np.full_like(value, ones.get(name, 0)) for name, value in found.weights.items()}
    classifier.write(path, classifier.Classifier(found.model, found.vocabulary, found.config, found.labels, {}, weights))
    with pytest.raises(CharrnnError, match="not finite"):
        Judge(classifier.read(path)).probabilities(["a"])


def test_figures_of_a_confusion_matrix() -> None:
    found = Figures(("a", "b", "never"), confusion([0, 0, 0, 1], [0, 0, 1, 1], 3))
    assert found.confusion.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert found.accuracy == 0.75
    assert found.by_label["a"] == {"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "texts": 3}
    assert found.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)


def test_the_units_that_decide_weigh_most_by_what_they_vary(tmp_path: Path) -> None:
    it = judge(tmp_path, feature="last+mean", bidirectional=True)
    weights = np.zeros((3, 16), dtype=np.float32)
    weights[1, 4 * 3 + 2] = 5.0  # label b: the mean of unit 2 of the network that reads backwards
    weights[1, 0] = 50.0  # which hardly varies
    found = classifier.Classifier(
        it.classifier.model, it.classifier.vocabulary, it.classifier.config, it.classifier.labels, {}, {"head.weight": weights}
    )
    features = np.random.default_rng(0).normal(size=(100, 16)).astype(np.float32)
    features[:, 0] *= 1e-3
    decide = deciding(found, features, 2)
    assert decide is not None
    unit = decide["b"][0]
    assert (unit.feature, unit.reads, unit.unit) == ("mean", "backwards", 2)
    assert unit.weight == pytest.approx(5 * 2 / 3)
    assert deciding(judge(tmp_path / "two", head_size=3).classifier, features, 2) is None
