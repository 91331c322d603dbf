"""A classifier for programs gives what the command line gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import small_networks
from small_networks import records

import charrnn
from charrnn import CharrnnError, CharrnnWarning
from charrnn.analysis.classes import TextClassifier


@pytest.fixture
def it(tmp_path: Path) -> TextClassifier:
    return charrnn.load_classifier(small_networks.classifier(tmp_path / "c", ("alarm", "weather", "chat")))


def test_labels_are_those_of_the_command_line(it: TextClassifier, tmp_path: Path, invoke) -> None:
    (told,) = records(invoke("classify", "predict", "what time is it", "-c", tmp_path / "c", "--json", "--top", "3"))
    found = it.classify("what time is it")
    assert [{"label": label, "probability": share} for label, share in found.items()] == told["top"]
    assert (found.label, found.probability) == (told["label"], told["probability"])
    assert found["chat"] == found.probabilities[found.labels.index("chat")]
    assert len(found) == 3
    assert repr(found).startswith(f"<labels: {found.label!r} ")
    with pytest.raises(KeyError):
        found["news"]


def test_many_texts_are_read_side_by_side(it: TextClassifier) -> None:
    texts = ["what time is it", "a", "no way"]
    for text, found in zip(texts, it.classify_all(texts), strict=True):
        assert found.text == text
        assert found.probabilities == pytest.approx(it.classify(text).probabilities, abs=1e-6)
    assert it.classify_all([]) == []
    assert [found.text for found in it.classify_all(text for text in texts)] == texts  # an iterator is read once


def test_a_trace_has_a_row_per_character_and_a_column_per_label(it: TextClassifier) -> None:
    shown, rows = it.trace("no way")
    assert (shown, rows.shape) == ("no way", (6, 3))
    last = dict(zip(it.labels, rows[-1], strict=True))
    assert last == pytest.approx(dict(it.classify("no way")), abs=1e-6)


def test_what_is_no_text_is_told(it: TextClassifier) -> None:
    for ask in (it.classify, it.trace, lambda given: it.classify_all([given])):
        with pytest.raises(TypeError, match="a text is a str, not int"):
            ask(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="classify_all takes several texts, classify one"):
        it.classify_all("no way")


def test_what_is_not_known_is_a_warning_each_time(it: TextClassifier) -> None:
    for _ in range(2):
        with pytest.warns(CharrnnWarning, match="of the texts: 'Q' -> 'q'"):
            it.classify("Q")


def test_a_classifier_says_what_it_is(it: TextClassifier, tmp_path: Path) -> None:
    assert repr(it).startswith("<charrnn classifier of 3 labels, ")
    assert it.labels == ("alarm", "weather", "chat")
    assert it.info["path"] == str(tmp_path / "c" / "classifier.safetensors")
    with pytest.raises(CharrnnError):
        charrnn.load_classifier(tmp_path / "gone")


def test_threads_ask_one_classifier(it: TextClassifier) -> None:
    texts = ["what time is it", "a", "no way", "yes please do"] * 8
    alone = [it.classify(text).probabilities for text in texts]
    with ThreadPoolExecutor(8) as pool:
        together = [found.probabilities for found in pool.map(it.classify, texts)]
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
