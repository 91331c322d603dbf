from __future__ import annotations

import numpy as np
import pytest

from charrnn.analysis import ngrams as module
from charrnn.analysis.ngrams import LONGEST, NgramClassifier, ngrams


def test_every_run_of_up_to_five_characters_is_one_feature() -> None:
    found = ngrams(["abc", "abc", "x"])
    size = len("\x02abc\x03")
    assert np.diff(found.starts).tolist() == [sum(size - n + 1 for n in range(1, LONGEST + 1))] * 2 + [6]
    first, second = (slice(found.starts[n], found.starts[n + 1]) for n in (0, 1))
    assert (found.features[first] == found.features[second]).all()


def test_a_texts_numbers_have_the_length_one_and_grow_with_the_logarithm_of_counts() -> None:
    found = ngrams(["aaaa", "b"])
    for n in (0, 1):
        values = found.values[found.starts[n] : found.starts[n + 1]]
        assert float(values @ values) == pytest.approx(1, abs=1e-5)
    values = found.values[: found.starts[1]]
    assert values.max() / values.min() == pytest.approx(1 + np.log(4), rel=1e-5)


def test_it_is_multinomial_logistic_regression() -> None:
    """At the weights that it finds the gradient of the loss, computed with dense matrices, is almost zero."""
    texts, labels = ["aab", "aba", "bba", "cca", "cab", "cc"], np.array([0, 0, 1, 2, 2, 2])
    model, found = NgramClassifier(texts, labels, 3), ngrams(texts)
    dense = np.zeros((len(texts), len(model._known)))
    for n in range(len(texts)):
        part = slice(found.starts[n], found.starts[n + 1])
        dense[n, np.searchsorted(model._known, found.features[part])] = found.values[part]
    logits = dense @ model._weights + model._bias
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gradient = dense.T @ (shares - np.eye(3)[labels]) / 6 + model._weights / (10.0 * 6)
    assert np.abs(gradient).max() < 2e-3
    assert (model.predict(texts) == labels).all()


def test_it_learns_endings_and_takes_unknown_texts() -> None:
    rng = np.random.default_rng(0)
    stems = ["".join(rng.choice(list("bcdfglmnrst"), 4)) for _ in range(300)]
    labels = rng.integers(0, 2, 300)
    texts = [stem + ("ova" if label else "ino") for stem, label in zip(stems, labels, strict=True)]
    model = NgramClassifier(texts[:200], labels[:200], 2)
    assert (model.predict(texts[200:]) == labels[200:]).all()
    assert len(model.predict(["日本", "\ud800"])) == 2
    shares = model.probabilities(texts[200:])
    assert shares.sum(axis=1) == pytest.approx(1)
    assert (shares.argmax(axis=1) == labels[200:]).all()


def test_labels_of_many_texts_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are asked about, no more than some n-grams are in memory at once."""
    texts, counts = [f"{number}{'ab'[number % 2]}" for number in range(40)], list[int]()
    learned = NgramClassifier(texts, np.arange(40) % 2, 2)
    whole = learned.probabilities(texts)
    monkeypatch.setattr(module, "TOGETHER", 7)
    monkeypatch.setattr(module, "ngrams", lambda some: counts.append(len(some)) or ngrams(some))
    assert np.allclose(learned.probabilities(texts), whole)
    assert counts == [7, 7, 7, 7, 7, 5]
    assert learned.probabilities([]).shape == (0, 2)
