"""The page of a classifier in a real browser: what it says of what is typed, and that nothing of others runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
from test_export import HOSTILE
from test_export_in_browser import give, until

from charrnn.analysis import rounding
from charrnn.analysis.judge import Judge
from charrnn.classifier_config import ClassifierConfig
from charrnn.config import ModelConfig
from charrnn.network import classifier as classifiers
from charrnn.network.classifier import Classifier
from charrnn.output.page import judged as pages
from charrnn.text.vocabulary import Vocabulary

pytestmark = chromium.needed
Opened = Callable[..., chromium.Chromium]


def judging(*labels: str, known: str = "\n abcdefghijklmnopqrstuvwxyz", **config: Any) -> Classifier:
    """A classifier with random weights."""
    vocabulary = Vocabulary("char", "".join(sorted(set(known))))
    model, found = ModelConfig(vocabulary.size, embedding_size=4, hidden_size=12), ClassifierConfig(**config)
    names, rng = labels or ("no", "yes", "maybe"), np.random.default_rng(2)
    shapes = classifiers.parameter_shapes(model, found, len(names))
    weights = {name: rng.normal(0, 0.8, shape).astype(np.float32) for name, shape in shapes.items()}
    return Classifier(model, vocabulary, found, names, {"corpus": names[0]}, weights)


@pytest.fixture
def judged(clean: chromium.Chromium, tmp_path: Path) -> Opened:
    """Open the page of a classifier, and wait until it has read its first example."""

    def open_(found: Classifier, *examples: str, **window: Any) -> chromium.Chromium:
        kept = rounding.choose_for_answers(found, [])
        path = tmp_path / "page.html"
        path.write_text(pages.render(pages.Shown(found, "x", kept, None, examples)), encoding="utf-8")
        clean.open(path, **window)
        read(clean, examples[0] if examples else "")
        return clean

    return open_


def read(browser: chromium.Chromium, text: str) -> None:
    """Wait until the page has decided behind each letter of ``text``."""
    until(browser, f"document.getElementById('text').textContent === {json.dumps(text)}")
    until(browser, "document.querySelector('#labels .winner')")


def shares(browser: chromium.Chromium) -> list[float]:
    found = browser.evaluate("[...document.querySelectorAll('#labels output')].map(e => e.textContent)")
    return [float(one.removesuffix(" %")) / 100 for one in found]


@pytest.mark.parametrize("config", [{}, {"feature": "last+mean", "bidirectional": True, "head_size": 7, "temperature": 0.6}])
def test_each_letter_that_is_typed_changes_the_labels_to_numpys(judged: Opened, config: dict[str, Any]) -> None:
    found = judging(**config)
    browser = judged(found)
    kept = {name: tensor.restored() for name, tensor in rounding.choose_for_answers(found, []).tensors.items()}
    judge = Judge(replace(found, weights=kept))
    _, rows = judge.trace("wait now")
    for at in range(1, 9):
        give(browser, "#sentence", "wait now"[:at])
        if at == 5:
            continue  # a blank at the end isn't read
        read(browser, "wait now"[:at])
        np.testing.assert_allclose(shares(browser), rows[at - 1], atol=0.0051)
        assert browser.evaluate("document.getElementById('answer').textContent") == found.labels[rows[at - 1].argmax()]
    # A letter that is tapped shows what it would have said there, and a label that is tapped colours the text.
    browser.click("#text span:nth-child(3)")
    np.testing.assert_allclose(shares(browser), rows[2], atol=0.0051)
    colours = "[...document.querySelectorAll('#text span')].map(e => Number(e.style.backgroundColor.match(/[0-9.]+/g)[3] ?? 1))"
    for label in range(3):
        browser.click(f"#labels li:nth-child({label + 1}) button")
        expected = 0.95 * rows[:, label]
        np.testing.assert_allclose(browser.evaluate(colours), expected, atol=0.03)
    browser.click("#follow")
    assert browser.evaluate("document.getElementById('coloured').textContent") == found.labels[rows[-1].argmax()]


def test_an_example_types_itself_and_stops_when_someone_types(judged: Opened) -> None:
    browser = judged(judging(), "wait for me")
    browser.click("#examples button")
    give(browser, "#sentence", "no")
    read(browser, "no")
    time.sleep(0.3)
    assert browser.evaluate("document.getElementById('sentence').value") == "no"


@pytest.mark.parametrize("examples", [(), ("wait",)])
def test_examples_are_offered_where_there_are_some(judged: Opened, examples: tuple[str, ...]) -> None:
    browser = judged(judging(), *examples)
    assert ("or watch it read" in browser.evaluate("document.body.innerText")) == bool(examples)


def test_a_unit_that_is_tapped_tells_what_it_says_for_the_label(judged: Opened) -> None:
    browser = judged(judging(feature="max", bidirectional=True), "wait")
    browser.evaluate("document.querySelectorAll('#units canvas')[1].focus()")
    browser.press("ArrowRight")
    told = browser.evaluate("document.getElementById('unit').textContent")
    assert re.fullmatch(r"Unit 0:\d+, backwards is at \S+ and speaks (for|against) \w+ by \d\.\d\d\.", told)
    browser.click("#speaking button")
    unit = browser.evaluate("document.querySelector('#speaking button').textContent").split()[2]
    assert f"Unit {unit}" in browser.evaluate("document.getElementById('unit').textContent")


def test_nothing_of_hostile_labels_or_sentences_runs(judged: Opened) -> None:
    browser = judged(judging(HOSTILE, f"{HOSTILE}!", known=HOSTILE), HOSTILE)
    assert browser.evaluate("document.querySelectorAll('script').length") == 2
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert browser.evaluate("document.getElementById('answer').textContent").startswith(HOSTILE)
    assert browser.evaluate("document.querySelector('header b').textContent") == HOSTILE
    assert browser.evaluate("document.querySelector('#examples button').textContent") == HOSTILE


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_of_a_classifier_fits_a_phone(judged: Opened, dark: bool) -> None:
    labels = [f"label number {n} {'x' * 60}" for n in range(40)]
    browser = judged(judging(*labels), "wait for me", width=360, height=740, mobile=True, dark=dark)
    assert browser.evaluate("document.documentElement.scrollWidth") == 360
    assert len(shares(browser)) == 24  # the likeliest
    assert shares(browser) == sorted(shares(browser), reverse=True)
