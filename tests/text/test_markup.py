"""markup: a page of HTML is told of, once; texts that merely hold tags are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import corpus_of

from charrnn.text.markup import advise

Invoke = Callable[..., Any]
PAGE = "<!DOCTYPE html>\n<html><body>" + "<p>The fox sang to the crow.</p>\n" * 40 + "</body></html>\n"
TOLD = "begins as a page of HTML"


@pytest.mark.parametrize(
    "text",
    [
        PAGE,
        PAGE.lower(),
        "\n\n" + PAGE,
        "<html lang='en'>" + PAGE,
        "<!-- saved from a browser -->\n<!-- twice -->" + PAGE,
        '<?xml version="1.0"?>\n' + PAGE,
    ],
)
def test_a_page_is_told_of(text: str) -> None:
    (line,) = advise(corpus_of(text))
    assert TOLD in line


@pytest.mark.parametrize(
    "text",
    [
        "A page begins with <!doctype html> and <html>.\n" * 9,
        "<htmlish> is no tag.\n" * 9,
        "<?xml version='1.0'?>\n<feed><entry>The fox</entry></feed>\n",
        "<poem>The fox</poem>\n",
    ],
)
def test_other_texts_are_not(text: str) -> None:
    assert list(advise(corpus_of(text))) == []


def test_many_comments_are_read_in_one_way() -> None:
    """An expression that could be read in two ways would never come to its end here."""
    assert list(advise(corpus_of("<!---->" * 2000))) == []


def test_a_run_says_so_as_it_begins(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(PAGE)
    tiny = ("--hidden-size", "4", "--batch-size", "2", "--bptt", "8", "--workers", "1", "--device", "cpu")
    found = invoke("train", "page.html", "--steps", "2", *tiny, "--json")
    events = [json.loads(line) for line in found.stdout.splitlines()]
    assert [TOLD in event["text"] for event in events if event["event"] == "warning"] == [True]
    assert TOLD in invoke("train", "page.html", "--steps", "2", *tiny, "--dry-run").stderr
