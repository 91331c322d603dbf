"""Classifiers in JavaScript against the same classifiers in NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from javascript import evaluate, needs_node

from charrnn.analysis import rounding
from charrnn.analysis.judge import Judge
from charrnn.classifier_config import FEATURES, ClassifierConfig
from charrnn.config import GATES, ModelConfig
from charrnn.network import classifier as classifiers
from charrnn.network.classifier import Classifier
from charrnn.output.page import judged as pages
from charrnn.output.page.judged import Shown
from charrnn.text.vocabulary import Vocabulary

pytestmark = needs_node
PROGRAM = """
return data.classifiers.map((one) => {
  const judge = new Judge(one);
  return data.texts.map((text) => {
    if (data.left) {
      const left = judge.read(judge.symbolsOf(data.left));
      for (let n = 0; n < 9; n++) left.next();
    }
    const read = judge.symbolsOf(text);
    for (const _ of judge.read(read));
    const after = read.characters.map(({ end }) => Array.from(judge.after[end].said.shares));
    return { characters: read.characters.map((one) => one.text).join(""), after, none: Array.from(judge.after[0].said.shares) };
  });
});
"""


def small(
    cell: str = "lstm",
    layers: int = 1,
    level: str = "char",
    labels: int = 3,
    pair_keys: tuple[int, ...] = (),
    **config: Any,
) -> Classifier:
    """A classifier with random weights that are rounded already."""
    vocabulary = Vocabulary(level, "\n abcdefghijklmnopqrstuvwxyz" if level == "char" else "")
    model = ModelConfig(vocabulary.size, cell=cell, embedding_size=3, hidden_size=9, num_layers=layers, pair_keys=pair_keys)
    found, rng = ClassifierConfig(**config), np.random.default_rng(4)
    shapes = classifiers.parameter_shapes(model, found, labels)
    weights = {
        name: rounding.rounded(rng.normal(0, 0.8, shape).astype(np.float32), "int8").restored()
        for name, shape in shapes.items()
    }
    return Classifier(model, vocabulary, found, tuple(f"label {n}" for n in range(labels)), {}, weights)


def held(found: Classifier) -> dict[str, Any]:
    tensors = {name: rounding.rounded(tensor, "int8") for name, tensor in found.weights.items()}
    return pages.data_of(Shown(found, "x", rounding.RoundedClassifier("int8", tensors, {})))


def compare(classifiers: list[Classifier], texts: list[str], left: str = "") -> None:
    data = {"classifiers": [held(found) for found in classifiers], "texts": texts, "left": left}
    for found, said in zip(classifiers, evaluate(["shared.js", "network.js", "judge.js"], PROGRAM, data), strict=True):
        judge = Judge(found)
        for one, text in zip(said, texts, strict=True):
            characters, expected = judge.trace(text)
            assert one["characters"] == characters
            np.testing.assert_allclose(np.array(one["after"]).reshape(expected.shape), expected, atol=1e-4)
            np.testing.assert_allclose(one["none"], judge.probabilities([""])[0], atol=1e-4)


WAYS = [{"bidirectional": both, "head_size": between} for both in (False, True) for between in (None, 5)]


@pytest.mark.parametrize("feature", FEATURES)
def test_each_feature_head_and_direction_says_what_numpy_says(feature: str) -> None:
    """Texts that begin alike, become shorter, longer and different: what is kept of the one before doesn't show."""
    texts = ["what tim", "what time", "what", "", "please, \u201cwait\u201d Mr. Stra\u00dfe", " what time is it ", "zebra"]
    compare([small(feature=feature, temperature=0.7, **way) for way in WAYS], texts)


@pytest.mark.parametrize("cell", list(GATES))
def test_each_cell_says_what_numpy_says(cell: str) -> None:
    found = [small(cell, layers, feature="last+mean", bidirectional=both) for layers in (1, 2) for both in (False, True)]
    found += [small(cell, pair_keys=tuple(range(0, 800, 3)), bidirectional=both) for both in (False, True)]
    compare(found, ["what time is it", "what tim", "no"])


def test_a_network_of_bytes_decides_at_the_end_of_each_character() -> None:
    compare([small(level="byte", longest=longest) for longest in (1024, 4)], ["h\u00e9 \U0001f98a!", "a\u20ac\u20ac"])


def test_a_long_text_is_cut_as_on_the_command_line() -> None:
    compare([small(longest=6)], ["please wait", "please"])


def test_a_reading_that_is_left_halfway_leaves_nothing_wrong() -> None:
    compare([small(feature="last+mean", bidirectional=True)], ["what time", "what w"], left="what " + "w" * 90)


def test_the_shipped_classifier_says_what_numpy_says() -> None:
    found = classifiers.read(ROOT / "checkpoints/intents" / classifiers.NAME)
    tensors = {name: rounding.rounded(tensor, "int8") for name, tensor in found.weights.items()}
    data = pages.data_of(Shown(found, "x", rounding.RoundedClassifier("int8", tensors, {})))
    text = "good morning, wake me up at six"
    ((said,),) = evaluate(["shared.js", "network.js", "judge.js"], PROGRAM, {"classifiers": [data], "texts": [text]})
    rounded = replace(found, weights={name: tensor.restored() for name, tensor in tensors.items()})
    np.testing.assert_allclose(said["after"], Judge(rounded).trace(text)[1], atol=1e-3)


def test_the_white_space_at_the_ends_of_a_text_is_pythons() -> None:
    texts = [f"{chr(code)}a{chr(code)}b{chr(code)}" for code in (*range(0xD800), *range(0xE000, 0x10000), 0x1F98A)]
    program = "return data.texts.map(strip);"
    assert evaluate(["shared.js", "network.js", "judge.js"], program, {"texts": texts}) == [text.strip() for text in texts]
    blank = " " * 200_000
    (left,) = evaluate(["shared.js", "network.js", "judge.js"], program, {"texts": [f"a{blank}b{blank}"]})
    assert len(left) == 200_002


def test_what_units_add_to_a_score_is_what_sets_it_apart_from_the_mean() -> None:
    found = small(feature="last+mean", bidirectional=True)
    program = """
    const judge = new Judge(data.classifier), read = judge.symbolsOf("what time");
    for (const _ of judge.read(read));
    const { seen, scores } = judge.after[9].said;
    return { scores: Array.from(scores), adds: scores.length && Array.from(judge.contributions(seen, 1)) };
    """
    said = evaluate(["shared.js", "network.js", "judge.js"], program, {"classifier": held(found)})
    bias = found.weights["head.bias"]
    apart = said["scores"][1] - np.mean(said["scores"])
    assert sum(said["adds"]) + bias[1] - bias.mean() == pytest.approx(apart, abs=1e-4)
