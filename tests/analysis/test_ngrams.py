from __future__ import annotations

import numpy as np
import pytest

from charrnn.analysis import ngrams as module
from charrnn.analysis.minimize import PAIRS
from charrnn.analysis.ngrams import LONGEST, NgramClassifier, affordable, ngrams


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


# -- bounded memory and time ------------------------------------------------------------------------------------------------


def test_however_many_texts_are_made_n_grams_of_at_once_it_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = [f"{number}{'ab'[number % 2]}" * (1 + number % 3) for number in range(60)], np.arange(60) % 2
    whole = NgramClassifier(texts, labels, 2).probabilities(texts)
    monkeypatch.setattr(module, "CHARACTERS", 10)
    monkeypatch.setattr(module, "_NUMBERS", 50)
    assert np.allclose(NgramClassifier(texts, labels, 2).probabilities(texts), whole, atol=1e-5)


def test_the_commonest_n_grams_have_weights_where_all_would_be_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = [f"{number}{'ab'[number % 2]}" for number in range(60)], np.arange(60) % 2
    monkeypatch.setattr(module, "MOST_WEIGHTS", 40)
    learned = NgramClassifier(texts, labels, 2)
    assert learned._weights.shape == (20, 2)
    assert (learned.predict(texts) == labels).all()


def test_many_weights_are_sought_with_less_to_remember(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = list[int]()
    monkeypatch.setattr(module, "minimized", lambda loss, start, *rest: pairs.append(rest[-1]) or start)
    NgramClassifier(["ab", "cd"], np.array([0, 1]), 2)
    monkeypatch.setattr(module, "MANY_WEIGHTS", 4)
    NgramClassifier(["ab", "cd"], np.array([0, 1]), 2)
    assert pairs == [PAIRS, PAIRS // 2]


def test_of_a_long_text_the_beginning_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_TEXT", 5)
    learned = NgramClassifier(["aaaaa", "bbbbb"], np.array([0, 1]), 2)
    assert np.allclose(learned.probabilities(["aaaaabbbbbbbbbbb"]), learned.probabilities(["aaaaa"]))


class Clock:
    """Time that passes by what is looked at: so much for each text that becomes n-grams, and for each look at the loss."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, making: float, once: float) -> None:
        self.now, found, product = 0.0, module.ngrams, module._product
        self._spent = making, once

        def ngrams_of(texts: list[str]) -> module.Sparse:
            self.now += making * len(texts)
            return found(texts)

        def multiplied(sparse: module.Sparse, dense: np.ndarray) -> np.ndarray:
            self.now += once / 2
            return product(sparse, dense)

        monkeypatch.setattr(module, "ngrams", ngrams_of)
        monkeypatch.setattr(module, "_product", multiplied)
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


def test_so_many_texts_are_learned_from_as_there_is_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = [f"{number:04}" for number in range(5_000)], np.arange(5_000) % 2
    assert affordable(texts, labels, 2, 100, None) == 5_000
    Clock(monkeypatch, 0.001, 0.5)  # of 500 texts: half a second for the n-grams, half a second for an iteration
    found = affordable(texts, labels, 2, 100, deadline=40.0)
    assert 700 < found < 1_200  # about 39 s for 1.5 ms and 30 times 1 ms for each, and then some
    assert affordable(texts, labels, 2, 100, deadline=0.0) == module.TRIED
    assert affordable(texts, labels, 2, 100, deadline=1e6) == 5_000
    monkeypatch.setattr(module, "MOST_CHARACTERS", 8_000)
    assert affordable(texts, labels, 2, 100, None) == affordable(texts, labels, 2, 100, 1e6) == 2_000
