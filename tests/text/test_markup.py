"""markup: a page of HTML and a list of a table's rows are told of; texts that merely hold tags or commas are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Put
from small_runs import corpus_of

from charrnn.text.corpus import read_corpus
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


NAMED = [f"{name},{1900 + number},{number % 7}" for number, name in enumerate(["Anna", "Bo", "Carl", "Dora"] * 5)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["name,year,count", *NAMED],
            "3 columns with commas between, and are learned whole; for the first column alone: cut -d ',' -f 1",
        ),
        (
            [line.replace(",", "\t") for line in NAMED],
            "3 columns with tabs between, and are learned whole; for the first column alone: cut -f 1",
        ),
        ([*NAMED[:19], "x"], "3 columns with commas"),
        ([*NAMED[:17], "x", "y", "z"], None),
        (NAMED[:9], None),
        ([line.replace(",", ", ") for line in NAMED], None),
        ([line.partition(",")[0] for line in NAMED], None),
    ],
)
def test_a_list_of_rows_is_told_of_with_the_command_that_takes_a_column(
    lines: list[str], said: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "list"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = list(advise(read_corpus([str(path)], val_seed=0, val_fraction=0)))
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
    assert list(advise(read_corpus([str(path)]))) == []


@pytest.mark.parametrize(("blank", "often"), [(" ", 1), ("\t", 20)])
def test_a_list_whose_lines_end_with_blanks_is_told_of(blank: str, often: int, put: Put) -> None:
    path = put("list", "".join(f"Anna{blank * (number < often)}\n" for number in range(30)).encode())
    (line,) = advise(read_corpus([path], val_seed=0, val_fraction=0))
    assert line.startswith(f"{often} of the first 30 records end with blanks, which are learned, too: 'Anna")
    assert list(advise(read_corpus([path]))) == []


def test_a_list_with_hardly_any_is_not(put: Put) -> None:
    path = put("list", b"Anna \n" + b"Bo\n" * 99)
    assert list(advise(read_corpus([path], val_seed=0, val_fraction=0))) == []


@pytest.mark.parametrize("lines", [1, 3, 4])
def test_a_list_with_its_entries_in_a_line_is_told_of(lines: int, put: Put) -> None:
    path = put("list", ("Anna, Bo, Carla, " * 20 + "\n").encode() * lines)
    found = [line for line in advise(read_corpus([path], val_seed=0, val_fraction=0)) if "this list has" in line]
    assert len(found) == (lines < 4)
    assert all("tr ',' '\\n' < FILE | sed 's/^ *//' > NEW" in line for line in found)


def test_a_json_list_is_told_of_by_what_makes_lines_of_it(put: Put) -> None:
    path = put("list", json.dumps(["Anna", "Bo, the third"] * 40).encode())
    (line,) = advise(read_corpus([path], val_seed=0, val_fraction=0))
    assert "jq -r '.[]' FILE > NEW" in line


def test_a_short_list_is_not(put: Put) -> None:
    assert list(advise(read_corpus([put("list", b"Anna\nBo\n")], val_seed=0, val_fraction=0))) == []
