"""The page of a classifier: what stands in it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from test_export import HOSTILE, words_of

from charrnn.analysis import rounding
from charrnn.analysis.rounding import AnswerCost, RoundedClassifier
from charrnn.classifier_config import ClassifierConfig
from charrnn.config import ModelConfig
from charrnn.network import classifier as classifiers
from charrnn.network.classifier import Classifier
from charrnn.output.page import judged as pages
from charrnn.output.page.judged import Measured, Shown
from charrnn.text.vocabulary import Vocabulary


def html(
    cell: str = "lstm",
    layers: int = 1,
    labels: tuple[str, ...] = ("no", "yes"),
    measured: Measured | None = None,
    **config: Any,
) -> str:
    vocabulary, found = Vocabulary("char", "\n abc"), ClassifierConfig(**config)
    model = ModelConfig(vocabulary.size, cell=cell, embedding_size=3, hidden_size=8, num_layers=layers)
    shapes = classifiers.parameter_shapes(model, found, len(labels))
    weights = {name: np.ones(shape, dtype=np.float32) for name, shape in shapes.items()}
    one = Classifier(model, vocabulary, found, labels, {"corpus": labels[0]}, weights)
    tensors = {name: rounding.rounded(tensor, "int8") for name, tensor in weights.items()}
    costs = {} if measured is None else {"int8": AnswerCost(0.0012, 3)}
    return pages.render(Shown(one, "x", RoundedClassifier("int8", tensors, costs), measured))


@pytest.mark.parametrize(
    ("feature", "said", "numbers"),
    [
        ("last", "sees the final hidden state and nothing else", 8),
        ("mean", "sees the mean of each unit over the whole sentence", 8),
        ("max", "sees the highest value that each unit has had", 8),
        ("last+mean", "its final value, and its mean over the whole sentence", 16),
    ],
)
def test_what_the_decision_sees_is_told(feature: str, said: str, numbers: int) -> None:
    words = words_of(html(feature=feature))
    assert said in words
    assert f"That makes {numbers} numbers:" in words
    both = words_of(html(feature=feature, bidirectional=True))
    assert f"That makes {2 * numbers} numbers, of both networks:" in both
    assert "A second network reads from the end to the beginning." in both


def test_the_head_is_told_as_it_is() -> None:
    plain, deep = words_of(html()), words_of(html(head_size=6, temperature=0.5))
    assert "Each label has a weight for each of these numbers, and a bias." in plain
    assert "divided by" not in plain
    assert "First 6 units of a layer of their own mix these numbers" in deep
    assert "each score is divided by 0.50" in deep


def test_the_network_and_its_figures_are_told() -> None:
    words = words_of(html("gru", 2, measured=Measured("test.tsv", 1265, 0.774)))
    assert "A GRU of 2 layers of 8 units learned to tell apart the 2 labels of no." in words
    assert "8 units of the last layer, which the head sees; tap one" in words
    assert "by 0.0012 on average and gives another answer to 3 of 1,265 texts of test.tsv. It is right about 77.4 %" in words
    assert "It is right" not in words_of(html())


def test_nothing_of_hostile_labels_is_markup() -> None:
    page = html(labels=(HOSTILE, "b"))
    assert page.count("<script") == 2
    assert "<img" not in page
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")  # a name, nothing that is loaded
    (policy,) = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert "unsafe" not in policy
    assert " style=" not in re.sub(r"<script.*?</script>", "", page, flags=re.S)
