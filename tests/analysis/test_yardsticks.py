from __future__ import annotations

import numpy as np

from charrnn.analysis.yardsticks import Yardsticks, best_possible


def test_the_best_possible_says_the_commonest_label_of_equal_texts() -> None:
    assert best_possible(["a", "a", "a", "b"], np.array([0, 1, 1, 0])) == 0.75
    assert best_possible(["a", "b"], np.array([0, 1])) == 1


def test_the_yardsticks_are_those_of_the_texts_that_are_judged() -> None:
    texts, labels = ["aa", "ab", "bb", "ba", "aaa"], np.array([0, 0, 1, 1, 0])
    found = Yardsticks.of(texts, labels, ["aaaa", "bbbb", "ba"], np.array([0, 1, 1]), ("first a", "first b"))
    assert found.majority_label == "first a"
    assert found.majority.accuracy == 1 / 3
    assert found.ngrams.accuracy == 1
    assert found.to_json()["majority"] == {"label": "first a", "accuracy": 1 / 3, "macro_f1": 0.25}
