"""markup: a page of HTML and a list of a table's rows are told of; texts that merely hold tags or commas are not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import unicodedata
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
        "<poem>The fox</poem>\n",
        '{ "The fox" }, she said, and [ "the crow" ]\n' * 9,
        '["quoted"] is how it begins\n[ 1 ]\n',
        '{"text": "a"}\n{"text": "b"}\n',
    ],
)
def test_other_texts_are_not(text: str) -> None:
    assert list(advise(corpus_of(text))) == []


def test_xml_is_told_of() -> None:
    (line,) = advise(corpus_of("<?xml version='1.0'?>\n<tmx><tu>The fox</tu></tmx>\n"))
    assert "begins as XML, whose tags are learned, too; without them: sed" in line


@pytest.mark.parametrize("indent", [1, None])
def test_json_is_told_of_with_a_command_that_takes_its_texts(tmp_path: Path, indent: int | None) -> None:
    messages = [
        {"id": 1, "date": "2023-05-01", "text": "What time is it, fox?"},
        {"id": 2, "text": ["Late.", {"text": 'And "so" on.'}]},
    ]
    written = json.dumps({"name": "Jan", "messages": messages}, indent=indent)
    (line,) = advise(corpus_of(written))
    assert "begins as JSON, whose names and signs are learned, too; what it calls text alone: " in line
    (tmp_path / "FILE").write_text(written)
    if shutil.which("jq"):
        subprocess.run(line.split("alone: ")[1], shell=True, check=True, cwd=tmp_path)
        assert (tmp_path / "NEW").read_text() == 'What time is it, fox?\nAnd "so" on.\n'


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
        ([line.replace(",", "\t ") for line in NAMED], "3 columns with tabs"),
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


def test_semicolons_between_entries_are_told_as_such(put: Put) -> None:
    path = put("list", b"Anna, the first; Bo; Carla;" * 20)
    (line,) = advise(read_corpus([path], val_seed=0, val_fraction=0))
    assert "if semicolons are what is between its entries, this puts each on a line: tr ';' " in line


def test_a_json_list_is_told_of_by_what_makes_lines_of_it(put: Put) -> None:
    path = put("list", json.dumps(["Anna", "Bo, the third"] * 40).encode())
    (line,) = advise(read_corpus([path], val_seed=0, val_fraction=0))
    assert "jq -r '.[]' FILE > NEW" in line


def test_a_short_list_is_not(put: Put) -> None:
    assert list(advise(read_corpus([put("list", b"Anna\nBo\n")], val_seed=0, val_fraction=0))) == []


NAMES = ["Anna", "Bo", "Carla", "Dora", "Élie", "Finn (2001)", "Gro-Anne", "Hal 9", "Ivo", "Jo", "Kai", "Liv"]


def advised(put: Put, lines: list[str]) -> list[str]:
    return list(advise(read_corpus([put("list", ("\n".join(lines) + "\n").encode())], val_seed=0, val_fraction=0)))


@pytest.mark.parametrize(
    ("before", "behind", "said"),
    [
        ("{}. ", "", "begin with their numbers"),
        ("{:>6} ", "", "begin with their numbers"),
        ("{})", "", "begin with their numbers"),
        ("- ", "", "begin with bullets"),
        ("  * ", "", "begin with bullets"),
        ("• ", "", "begin with bullets"),
        ('  "', '",', "stand in quotes"),
    ],
)
def test_a_list_with_something_before_every_entry_is_told_of_and_the_command_takes_it_away(
    before: str, behind: str, said: str, put: Put, tmp_path: Path
) -> None:
    lines = [f"{before.format(number)}{name}{behind}" for number, name in enumerate(NAMES, start=1)]
    (line,) = advised(put, lines)
    assert line.startswith(f"these lines {said}, which are learned, too: {lines[0]!r:.40}; without them: sed ")
    if shutil.which("sed"):
        command = line.rpartition("them: ")[2].replace("FILE > NEW", "list")
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=True)
        assert done.stdout.decode().splitlines() == NAMES


def test_of_a_table_that_numbers_its_rows_the_second_column_is_told(put: Put) -> None:
    assert "for the second column alone: cut -f 2 FILE" in advised(put, [f"{at}\t{name}" for at, name in enumerate(NAMES)])[0]
    (line,) = advised(put, ["id,name", *(f"{at},{name}" for at, name in enumerate(NAMES * 3))])
    assert "for the second column alone: cut -d ',' -f 2 FILE" in line


@pytest.mark.parametrize(
    "lines",
    [
        [f"{year} {name}" for year, name in enumerate(NAMES, start=1990)],
        [f"{7 * number % 12} {name} Street" for number, name in enumerate(NAMES)],
        [f"{number}.5" for number in range(12)],
        [f"{number}st{name}" for number, name in enumerate(NAMES)],
        [*(f"{number}. {name}" for number, name in enumerate(NAMES)), "Zoe"],
        [f"-{name}" for name in NAMES],
        [f"- {name}" for name in NAMES[:9]],
        [f'"{name}" and "{name}"' for name in NAMES],
    ],
)
def test_numbers_hyphens_and_quotes_that_are_part_of_entries_are_not(lines: list[str], put: Put) -> None:
    assert advised(put, lines) == []


@pytest.mark.parametrize("value", [[{"name": name} for name in NAMES], {"members": NAMES}])
def test_json_that_is_laid_out_in_lines_is_told_of(value: object, put: Put) -> None:
    for path in (put("list.json", json.dumps(value, indent=1).encode()), put("list", json.dumps(value, indent=2).encode())):
        (line,) = advise(read_corpus([path], val_seed=0))
        assert "jq -r '.[].NAME' FILE > NEW" in line


def test_lines_of_json_are_not(put: Put) -> None:
    path = put("log", "".join(json.dumps({"name": name}) + "\n" for name in NAMES).encode())
    assert list(advise(read_corpus([path], val_seed=0))) == []


@pytest.mark.parametrize("title", [[], ["Our names"]])
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("    '{}',", "stand in quotes"),
        ('    "{}",', "stand in quotes"),
        ("* {}", "begin with bullets"),
        ("<li><a href='/{0}'>{0}</a></li>", "stand in tags"),
        ("INSERT INTO `names` VALUES (7,'{}');", "SQL"),
    ],
)
def test_what_stands_around_every_entry_is_told_of_and_the_command_takes_it_away(
    title: list[str], entry: str, said: str, put: Put, tmp_path: Path
) -> None:
    names = NAMES * 2
    (line,) = advised(put, title + [entry.format(name) for name in names])
    assert said in line
    done = subprocess.run(
        line[line.rindex(": ") + 2 :].replace("FILE > NEW", "list").replace("FILE", "list").removesuffix(" > NEW"),
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().splitlines()[-24:] == names


def test_one_long_statement_of_a_dump_is_sql(put: Put) -> None:
    values = ",".join(f"({number},'{name}')" for number, name in enumerate(NAMES * 99))
    (line,) = advised(put, ["-- a dump", "DROP TABLE names;", f"INSERT INTO names VALUES {values};"])
    assert line.startswith("this is SQL, whose statements are learned, too; ")


def test_sequences_with_their_headers_are_told_of_and_the_command_joins_their_lines(put: Put, tmp_path: Path) -> None:
    (line,) = advised(
        put, [each for number in range(9) for each in (f">seq{number} of a fox", "ACGT" * 9, "GAT" * number + "A")]
    )
    assert "FASTA" in line
    command = line[line.index("awk ") :].replace("FILE > NEW", "list")
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == ["ACGT" * 9 + "GAT" * number + "A" for number in range(9)]


@pytest.mark.parametrize(
    ("row", "cut"),
    [
        ("{at};{name};{at},99", "second column alone: cut -d ';' -f 2"),
        ("2024/03/{at} 10:00:00 AM MEZ,{name},{at}", "second column alone: cut -d ','"),
        ("{at}\tF\t{name}\tDE", "third column alone: cut -f 3"),
        ("{name}|1900|F", "first column alone: cut -d '|' -f 1"),
        ("1,2,3,4,5,{name}", "6th column alone: cut -d ',' -f 6"),
        ("7\t8", "first column alone: cut -f 1"),
    ],
)
def test_the_column_that_is_told_is_the_one_with_names(row: str, cut: str, put: Put) -> None:
    (line,) = advised(
        put, ["head" + row.format(at="at", name="name"), *(row.format(at=at, name=name) for at, name in enumerate(NAMES * 2))]
    )
    assert cut in line


def test_one_character_in_two_forms_is_told_of_and_the_command_makes_one(put: Put, tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Élie Köhne\n") for form in ("NFC", "NFD"))
    path = put("list", (decomposed + composed).encode() * 9)
    for corpus in (read_corpus([path], val_fraction=0), read_corpus([path], val_seed=0, val_fraction=0)):
        (line,) = advise(corpus)
        assert "written in two ways, which are learned as two: 'É' as one, and as 'E' with a mark behind it" in line
    command = line.partition("them one: ")[2].replace("FILE > NEW", "list")
    environment = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=True, env=environment)
    assert done.stdout.decode() == composed * 18


@pytest.mark.parametrize("text", ["Élie Köhne\n", unicodedata.normalize("NFD", "Élie Köhne\n"), "e\u0301 ö\n"])
def test_characters_of_one_form_are_not(text: str, put: Put) -> None:
    assert list(advise(read_corpus([put("text", text.encode() * 9)], val_fraction=0))) == []
