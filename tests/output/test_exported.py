"""`charrnn export` from its options to its page."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Result
from small_networks import TEXT, classifier, network

from charrnn.analysis import reach
from charrnn.network import checkpoint, rundir
from charrnn.output import exported
from charrnn.text.records import Records

Invoke = Callable[..., Result]
LIST = Records(count=3, held_out=0, duplicates=0, blank=0, longest=3, mean_length=2.0).to_json()


def data_of(path: Path) -> list[dict[str, Any]]:
    (text,) = re.findall(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    found: list[dict[str, Any]] = json.loads(text)["networks"]
    return found


def test_a_page_of_the_newest_network_tells_how_far_back_it_remembers(here: Path, invoke: Invoke) -> None:
    done = invoke("export", "page.html", "--file", "novel.txt")
    assert done.code == 0, done
    assert done.stdout == ""
    assert re.fullmatch(
        r"charrnn: checkpoints/novel \(.* old\)\ncharrnn: wrote page\.html \(0\.1 MB\); open it in a browser\n", done.stderr
    )
    (data,) = data_of(here / "page.html")
    trained = checkpoint.read(here / "checkpoints/novel" / rundir.BEST)
    found = reach.remembered(trained, TEXT[-reach.CHARACTERS :])
    assert data["label"] == "novel"
    assert data["remembers"] == found.smallest_within_1_percent
    assert "of novel.txt" in (here / "page.html").read_text(encoding="utf-8")


def test_without_a_text_the_network_is_measured_on_its_own(here: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported.reach, "generated", lambda _: TEXT)
    assert invoke("export", "page.html").code == 0
    assert "of its own text" in (here / "page.html").read_text(encoding="utf-8")


def test_several_networks_of_any_kind_share_a_page(here: Path, invoke: Invoke) -> None:
    network(here / "bytes", level="byte")
    network(here / "names", records=LIST)
    done = invoke("export", "page.html", "-c", "checkpoints/novel", "-c", "bytes", "-c", "names", "--file", "novel.txt")
    assert done.code == 0, done
    char, byte, names = data_of(here / "page.html")
    assert [one["label"] for one in (char, byte, names)] == ["novel", "bytes", "names"]
    assert (byte["vocabulary"]["level"], names["records"], names["remembers"]) == ("byte", True, None)


def test_a_page_is_replaced_and_nothing_else(here: Path, invoke: Invoke) -> None:
    (here / "mine.html").write_text("<!doctype html><p>mine")
    refused = invoke("export", "mine.html", "--file", "novel.txt")
    assert (refused.code, refused.stdout) == (1, "")
    assert refused.stderr.endswith("charrnn: mine.html: is there already, and not by charrnn export; name another file\n")
    assert (here / "mine.html").read_text() == "<!doctype html><p>mine"
    for _ in range(2):
        assert invoke("export", "page.html", "--file", "novel.txt").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-"], 2, "PAGE calls stdout /dev/stdout, not - (see charrnn export --help)"),
        (["no/where.html"], 1, "no/where.html: can't write: there is no directory no; make it, or name another file"),
        (["p.html", *["-c", "checkpoints/novel"] * 4], 2, "a page shows 3 networks side by side at most, not 4"),
        (["p.html", "--file", "none.txt"], 1, "none.txt: No such file or directory"),
        (["p.html", "--file", "short.txt"], 1, "the text has 4 characters; to look 200 back, at least 402 are needed"),
        (["p.html", "--file", "empty.txt"], 1, "empty.txt"),
        ([], 2, "Missing argument 'PAGE.html'"),
    ],
)
def test_what_cant_be_is_one_line(here: Path, invoke: Invoke, arguments: list[str], code: int, said: str) -> None:
    (here / "short.txt").write_text("The\n")
    (here / "empty.txt").write_text("")
    done = invoke("export", *arguments)
    assert done.code == code
    assert done.stdout == ""
    assert said in done.stderr.splitlines()[-1]
    assert not (here / "p.html").exists()


def test_unknown_characters_of_the_text_are_told(here: Path, invoke: Invoke) -> None:
    (here / "new.txt").write_text(TEXT + "\u03b1\u03b2\u03b1")
    done = invoke("export", "page.html", "--file", "new.txt")
    assert done.code == 0
    assert "3 characters" in done.stderr
    quiet = invoke("export", "page.html", "--file", "new.txt", "-q")
    assert quiet.stderr == ""


def test_a_large_page_is_told_of(here: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "LARGE", 1000)
    done = invoke("export", "page.html", "--file", "novel.txt")
    assert "charrnn: warning: page.html: so large a page opens and writes slowly on a phone" in done.stderr


def test_a_calibrated_network_writes_by_its_calibration(here: Path, invoke: Invoke) -> None:
    path = here / "checkpoints/novel" / rundir.BEST
    trained = checkpoint.read(path)
    checkpoint.write(path, replace(trained, temperature=2.0))
    for options, temperature in (([], 2.0), (["--uncalibrated"], 1.0)):
        assert invoke("export", "page.html", "--file", "novel.txt", *options).code == 0
        head = data_of(here / "page.html")[0]["tensors"]["head.bias"]
        bias = np.frombuffer(base64.b64decode(head["data"]), dtype="<f4")
        np.testing.assert_allclose(bias, trained.weights["head.bias"] / temperature, rtol=1e-6)


# -- classifiers --------------------------------------------------------------------------------------------------------


def classifier_of(path: Path) -> dict[str, Any]:
    (text,) = re.findall(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    found: dict[str, Any] = json.loads(text)["classifier"]
    return found


def test_a_classifier_has_a_page_that_tells_how_good_it_is(here: Path, invoke: Invoke) -> None:
    classifier(here / "intents", temperature=0.5)
    (here / "test.tsv").write_text("text\tlabel\nplease do that now\tyes\nnever in my life\tno\nof course not\tno\nnot\tno\n")
    done = invoke("export", "page.html", "-c", "intents", "--file", "test.tsv")
    assert done.code == 0, done
    assert done.stderr == "charrnn: wrote page.html (0.1 MB); open it in a browser\n"
    data, html = classifier_of(here / "page.html"), (here / "page.html").read_text(encoding="utf-8")
    assert data["classifier"]["labels"] == ["no", "yes"]
    assert sorted(data["examples"]) == ["never in my life", "please do that now"]
    assert re.search(r"to \d of 4 texts of test\.tsv\. It is right about \d+\.\d % of them\.", html)
    assert "divided by 0.50" in html


def test_without_labelled_texts_its_weights_have_16_bits_and_no_figure_is_told(here: Path, invoke: Invoke) -> None:
    path = classifier(here / "intents") / "classifier.safetensors"
    assert invoke("export", "page.html", "-c", path, "--uncalibrated").code == 0
    data = classifier_of(here / "page.html")
    assert {tensor["form"] for tensor in data["tensors"].values()} == {"float16", "float32"}
    assert data["examples"] == []
    assert "It is right about" not in (here / "page.html").read_text(encoding="utf-8")
    assert invoke("export", "page.html", "-c", path).code == 0  # It replaces its own.


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-c", "intents", "-c", "checkpoints/novel"], 2, "a page shows one classifier alone; make a page of each"),
        (["-c", "intents", "--file", "strange.tsv"], 1, "the classifier doesn't know the label 'perhaps'; it knows no, yes"),
        (["-c", "intents", "--file", "none.tsv"], 1, "none.tsv: No such file or directory"),
    ],
)
def test_what_a_page_of_a_classifier_cant_be_is_one_line(
    here: Path, invoke: Invoke, arguments: list[str], code: int, said: str
) -> None:
    classifier(here / "intents")
    (here / "strange.tsv").write_text("text\tlabel\nplease\tperhaps\n")
    done = invoke("export", "page.html", *arguments)
    assert (done.code, done.stdout) == (code, "")
    assert said in done.stderr.splitlines()[-1]
    assert not (here / "page.html").exists()


def test_a_run_that_holds_a_network_beside_a_classifier_writes(here: Path, invoke: Invoke) -> None:
    path = classifier(here / "intents") / "classifier.safetensors"
    path.rename(here / "checkpoints/novel/classifier.safetensors")
    assert invoke("export", "page.html", "-c", "checkpoints/novel", "--file", "novel.txt").code == 0
    assert data_of(here / "page.html")[0]["label"] == "novel"
