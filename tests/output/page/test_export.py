"""The page of `charrnn export`: what stands in it."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COUNTER, FABLES

from charrnn.analysis import rounding
from charrnn.analysis.features import Finding, random_network
from charrnn.config import GATES, ModelConfig
from charrnn.network import checkpoint
from charrnn.network.checkpoint import Checkpoint
from charrnn.output.page import export
from charrnn.output.page.export import Shown
from charrnn.text.records import Records
from charrnn.text.vocabulary import Vocabulary

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} &lt; \"'\u2028\u2029 ]]><!--"
MEMORY = {
    "lags": list(range(51)),
    "gradient": [0.9**k for k in range(51)],
    "withheld_lags": list(range(1, 51)),
    "withheld": [2 * 0.8**k for k in range(50)],
    "smallest_within_1_percent": 21,
}
LIST = Records(count=3, held_out=0, duplicates=0, blank=0, longest=3, mean_length=2.0).to_json()


def shown(
    cell: str = "lstm",
    layers: int = 1,
    level: str = "char",
    characters: str = "\n abcdefgh",
    label: str = "tale",
    hidden: int = 12,
    form: str = "int8",
    remembers: int | None = 21,
    **facts: Any,
) -> Shown:
    vocabulary = Vocabulary(level, "".join(sorted(set(characters))) if level == "char" else "")
    config = ModelConfig(vocabulary.size, cell=cell, embedding_size=6, hidden_size=hidden, num_layers=layers)
    weights = random_network(config, np.random.default_rng(0)).weights
    trained = Checkpoint(config, vocabulary, {"corpus": label, **facts}, weights, path=Path("runs/x.safetensors"))
    tensors = {name: rounding.rounded(tensor, form) for name, tensor in weights.items()}
    kept = rounding.Rounding(form, tensors, 2.5, {"int8": 0.0013, "float16": -0.00001}, 20000)
    memory = None if "records" in facts else {**MEMORY, "label": label, "smallest_within_1_percent": remembers}
    findings = [
        Finding("position in the line", 0, 3, "c", 0.8, 0.8, 0.2, 0.1),
        Finding("digit", 0, 3, "h", 0.5, 0.5, 0.2, 0.1),
        Finding("capital letter", 0, 5, "h", 0.1, 0.1, 0.2, 0.1),
    ]
    return Shown(trained, label, kept, memory, [] if "records" in facts else findings, "novel.txt")


def shipped() -> Shown:
    """The network that comes along, without what takes long to measure."""
    trained = checkpoint.read(FABLES / "best.safetensors")
    tensors = {name: rounding.rounded(tensor, "int8") for name, tensor in trained.weights.items()}
    kept = rounding.Rounding("int8", tensors, 2.5, dict.fromkeys(rounding.FORMS, 0.0), 20000)
    layer, unit = map(int, COUNTER.split(":"))
    finding = Finding("position in the line", layer, unit, "c", 0.8, 0.8, 0.2, 0.1)
    return Shown(trained, "fables", kept, {**MEMORY, "label": "fables"}, [finding], "corpora/fables.txt")


def data_of(html: str) -> list[dict[str, Any]]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    found: list[dict[str, Any]] = json.loads(text)["networks"]
    return found


def words_of(html: str) -> str:
    body = html[html.index("<body>") : html.index('<script type="application/json"')]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", body))
    return text.replace("&nbsp;", " ").replace("&middot;", "·").replace("&minus;", "−")


def test_the_page_of_the_shipped_network_is_small_and_loads_nothing() -> None:
    html = export.render([shipped()])
    assert len(html.encode()) < 1_200_000
    assert not re.search(
        r"(?:src|href|url)\s*[=(]\s*[\"']?(?!data:)[a-z/]", re.sub(r"<script.*?</script>", "", html, flags=re.S)
    )
    assert "://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "charrnn export" in html[:4096]
    (policy,) = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert "default-src 'none'" in policy.replace("&#39;", "'")
    assert "unsafe" not in policy
    assert " style=" not in re.sub(r"<script.*?</script>", "", html, flags=re.S)


@pytest.mark.parametrize("form", rounding.FORMS)
def test_the_page_holds_the_weights_as_they_were_rounded(form: str) -> None:
    one = shown("gru", 2, form=form)
    (data,) = data_of(export.render([one]))
    assert data["model"] == {**one.trained.model.to_json(), **data["model"]}
    for name, tensor in data["tensors"].items():
        kind = np.dtype({"float32": "<f4", "float16": "<f2", "int8": "<i1"}[tensor["form"]])
        values = np.frombuffer(base64.b64decode(tensor["data"]), dtype=kind).astype(np.float32)
        if "scales" in tensor:
            scales = np.frombuffer(base64.b64decode(tensor["scales"]), dtype="<f4")
            values = (values.reshape(len(scales), -1) * scales[:, None]).ravel()
        np.testing.assert_array_equal(values, one.rounding.weights()[name].ravel())
    assert data["tensors"].keys() == one.trained.weights.keys()


def test_a_unit_is_named_once_by_what_it_follows_best_and_chance_names_none() -> None:
    (data,) = data_of(export.render([shown()]))
    assert data["units"] == [{"layer": 0, "unit": 3, "follows": "position in the line"}]


def test_the_explanation_stands_in_its_order_whatever_the_network_is() -> None:
    for cell in GATES:
        html = export.render([shown(cell)])
        headings = re.findall(r'<h2 id="h-(\w+)"', html)
        assert headings == ["state", "loop", "forgets", "gates", "back"]
        words = words_of(html)
        assert "21 characters. With only the last 21 known, it foresees the text within 1 %" in words
        assert "vanishing gradient" in words
        assert ("has no gates" in words) == (cell == "rnn")
        assert ("h = (1 − z) · n + z · h" in words) == (cell == "gru")


def test_what_rounding_costs_is_told_and_so_is_what_the_other_form_would() -> None:
    words = words_of(export.render([shown()]))
    assert (
        "kept as 8-bit numbers with one scale for each row. That costs 0.0013 bits per character against 32-bit ones" in words
    )
    assert "as 16-bit floating-point numbers they would cost less than 0.0001 bits" in words
    assert "measured on 20,000 characters of novel.txt" in words


def test_what_a_network_is_decides_the_words() -> None:
    words = words_of(export.render([shown(level="byte", remembers=None)]))
    assert "one byte at a time" in words
    assert "Even 50 bytes are not enough" in words
    listed = export.render([shown(records=LIST)])
    assert "Every record begins with nothing in memory" in words_of(listed)
    assert data_of(listed)[0]["records"] is True
    assert 'aria-label="withheld"' not in listed


def test_several_networks_stand_side_by_side_under_their_names() -> None:
    html = export.render([shown("rnn", label="a"), shown("gru", label="b"), shown("lstm", label="c")])
    assert [one["label"] for one in data_of(html)] == ["a", "b", "c"]
    assert re.findall(r'<article data-network="(\d)" aria-label="(\w)">', html) == [("0", "a"), ("1", "b"), ("2", "c")]
    assert html.count("<polyline") >= 3
    assert "How far back these remember" in words_of(html)


def test_nothing_of_a_hostile_vocabulary_or_header_is_markup() -> None:
    one = shown(characters=HOSTILE, label=HOSTILE)
    html = export.render([one, shown(label="</title><script>alert(3)</script>")])
    assert html.count("<script") == 2  # the data and the page's own
    assert html.count("</script>") == 2
    assert "<img" not in html
    assert not re.search("[\u2028\u2029]", html[html.index('id="data"') :])
    assert data_of(html)[0]["label"] == HOSTILE
    assert data_of(html)[0]["vocabulary"]["characters"] == one.trained.vocabulary.characters
    assert "{{ 7 * 7 }}" in html


def test_typographic_signs_have_the_plain_forms_that_a_prompt_has_on_the_command_line() -> None:
    vocabulary = Vocabulary("char", "\n \"'-.a")
    plain = export.vocabulary_data(vocabulary)["plain"]
    assert plain["\u2019"] == "'"
    assert plain["\u201c"] == '"'
    assert plain["\u2014"] == "-"
    assert plain["\u2026"] == "..."
    assert export.vocabulary_data(Vocabulary("char", "a\u2019"))["plain"] == {"'": "\u2019"}
