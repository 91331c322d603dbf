"""What the documents promise exists, and what exists is documented."""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import small_networks
import typer
from conftest import ROOT
from small_checkpoints import small

from charrnn import __version__, cli
from charrnn.analysis.judge import Judge
from charrnn.analysis.reach import ContributionRecord, MemoryRecord
from charrnn.analysis.scoring import CharacterRecord, LineRecord, NextRecord, TextRecord
from charrnn.analysis.traces import InspectionRecord
from charrnn.generation.streaming import SampleRecord
from charrnn.network import checkpoint, classifier
from charrnn.output import classified, traced
from charrnn.training.events import CONTRACT, keys

README = ROOT / "README.md"
MANUAL = ROOT / "docs" / "manual.md"
FIRST_SCREEN, LONGEST_README = 40, 130  # lines
MOST_COLUMNS = 100
MAIN_JOB = "pip install -e . && charrnn train corpora/fables.txt --minutes 1 && charrnn sample"
TESTS = "pip install -e '.[dev]' && pytest"


@cache
def commands() -> dict[str, Any]:
    """Every command by name, and the program itself as ''."""
    group: Any = typer.main.get_command(cli.application())
    found = {"": group, **group.commands}
    for name, command in group.commands.items():
        found |= {f"{name} {verb}": one for verb, one in getattr(command, "commands", {}).items()}
    return found


@cache
def spellings(command: str) -> frozenset[str]:
    """Every spelling of every option of a command."""
    found = {name for parameter in commands()[command].params for name in (*parameter.opts, *parameter.secondary_opts)}
    return frozenset({name for name in found if name.startswith("-")} | {"-h", "--help"})


@cache
def help_of(command: str) -> str:
    """What ``--help`` prints in a pipe, 80 columns wide."""
    clean = {name: value for name, value in os.environ.items() if not re.search("COLOR|GITHUB|TTY|TERMINAL|^LC_|^LANG", name)}
    arguments = [sys.executable, "-m", "charrnn", *command.split(), "--help"]
    environment = clean | {"COLUMNS": "80", "PYTHONUTF8": "1"}
    done = subprocess.run(arguments, capture_output=True, env=environment, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode("utf-8")


def code_of(text: str) -> list[str]:
    """Every line of a fenced block and every inline code of a Markdown text."""
    fence = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    blocks = [line for block in fence.findall(text) for line in block.splitlines()]
    return blocks + [code.replace("\\|", "/") for code in re.findall(r"`([^`\n]+)`", fence.sub("", text))]


def invocations(text: str) -> list[list[str]]:
    """Every call of the program in the code of a Markdown text, as its words after ``charrnn``."""
    found = []
    for code in code_of(text):
        for part in re.split(r"&&|\||;|\$\(|\)(?=\s|$)", re.sub(r"'[^']*'|\"[^\"]*\"", "QUOTED", code)):
            words = shlex.split(part, comments=True)
            if "charrnn" in words[:1]:
                found.append(words[1:])
    return found


TORCHRUN = {"--nnodes", "--nproc-per-node", "--max-restarts", "--rdzv-id"}
"""Options of torchrun's that documents speak of."""


def documents() -> list[Path]:
    return [README, *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_first_screen_of_the_readme_holds_the_two_commands() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()[:FIRST_SCREEN]
    assert [line for line in lines if line.startswith("pip install")] == [MAIN_JOB, TESTS]


def test_the_readme_is_short_and_the_list_of_documents_names_every_page() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LONGEST_README
    index = ROOT / "docs/README.md"
    named = set(re.findall(r"\]\(([^)#]+)\)", index.read_text(encoding="utf-8")))
    assert named == {path.relative_to(index.parent).as_posix() for path in documents()[1:] if path != index}


@pytest.mark.parametrize("path", [*documents(), ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_every_command_and_option_in_a_document_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.name == "coming-from.md":  # The columns before the last are other programs'.
        text = re.sub(r"^\|.*\|(.*)\|$", r"\1", text, flags=re.MULTILINE)
    unknown = []
    for called in invocations(text):
        words = called[1:] if called[:1] == ["help"] else ["--version"] if called == ["version"] else called
        command = " ".join(words[:2]) if " ".join(words[:2]) in commands() else next((w for w in words[:1] if w[0] != "-"), "")
        if command not in commands():
            unknown.append(f"charrnn {command}")
            continue
        options = [word.partition("=")[0] for word in words if re.match(r"--?[A-Za-z]", word)]
        unknown += [f"charrnn {command} {option}" for option in options if option not in spellings(command)]
    anywhere = frozenset().union(*map(spellings, commands()))
    for code in code_of(text):
        if re.match(r"--?[A-Za-z]", code):
            unknown += [option for option in re.findall(r"(?<!\S)--?[A-Za-z][\w-]*", code) if option not in anywhere | TORCHRUN]
    assert unknown == []


def test_the_manual_shows_calls_of_every_command() -> None:
    found = [words for words in invocations(MANUAL.read_text(encoding="utf-8")) if words]
    shown = {words[0] for words in found} | {" ".join(words[:2]) for words in found}
    assert commands().keys() - {""} <= shown


def test_every_long_option_is_documented() -> None:
    written = "\n".join(path.read_text(encoding="utf-8") for path in documents())
    options = {option for command in commands() for option in spellings(command) if option.startswith("--")}
    missing = [option for option in sorted(options) if not re.search(rf"(?<![\w-]){option}(?![\w-])", written)]
    assert missing == []


def keys_in_the_manual(label: str) -> list[str]:
    """The keys that the manual's table gives an object, without what a key means, or holds in turn."""
    rows = re.findall(rf"^\| {re.escape(label)} \|(.*)\|$", MANUAL.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 1, f"docs/manual.md: no row for {label}"
    row = rows[0]
    while "(" in row:
        row = re.sub(r"\([^()]*\)", "", row)
    return sorted(re.findall(r"`([^`]+)`", row))


@pytest.mark.parametrize("event", list(CONTRACT))
def test_the_manual_lists_the_keys_of_every_event_and_no_others(event: str) -> None:
    assert keys_in_the_manual(f"`{event}`") == sorted(keys(event))


OBJECTS: dict[str, type] = {
    "a text": TextRecord,
    "a line": LineRecord,
    "a character": CharacterRecord,
    "what is `next`": NextRecord,
    "a sample": SampleRecord,
    "an inspection": InspectionRecord,
    "`--memory`": MemoryRecord,
    "`--contribution`": ContributionRecord,
}


@pytest.mark.parametrize("label", OBJECTS)
def test_the_manual_lists_the_keys_of_what_json_writes_and_no_others(label: str) -> None:
    assert keys_in_the_manual(label) == sorted(get_type_hints(OBJECTS[label]))


def test_the_manual_lists_what_json_tells_of_a_checkpoint() -> None:
    assert keys_in_the_manual("a checkpoint") == sorted(checkpoint.facts(small()))


def test_the_manual_lists_what_json_tells_of_a_classifier(tmp_path: Path) -> None:
    judge = Judge(classifier.read(small_networks.classifier(tmp_path / "c") / classifier.NAME))
    report, _, _ = classified.judged(judge, [("a", "no"), ("b", "yes")], "rows")
    answer = json.loads(classified._row(judge, classified.Asked(as_json=True), "a", judge.probabilities(["a"])[0]))
    assert keys_in_the_manual("what `evaluate` tells") == sorted(report.to_json())
    assert keys_in_the_manual("an answer") == sorted(answer)
    assert keys_in_the_manual("a trace") == sorted(traced.Trace(*judge.trace("a"), judge.classifier.labels).to_json())


def test_the_changelog_has_a_section_for_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?v?{re.escape(__version__)}\b", text, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(commands()))
def test_help_fits_80_columns_and_shows_every_option_without_escapes(command: str) -> None:
    text = help_of(command)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert [option for option in spellings(command) if not re.search(rf"(?<![\w-]){option}(?![\w-])", text)] == []


def test_the_help_of_the_program_lists_every_command() -> None:
    assert {"train", "sample", "info", "inspect"} <= commands().keys()
    for name in commands().keys() - {""}:
        *group, verb = name.split()
        assert re.search(rf"^\W*{verb} ", help_of(" ".join(group)), re.MULTILINE)
        assert help_of(name)


def test_the_picture_of_the_live_display_can_be_drawn_from_the_shipped_log(tmp_path: Path) -> None:
    svg = tmp_path / "display.svg"
    command = [sys.executable, ROOT / "docs/make_display.py", "--svg", svg]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=True)
    texts = re.sub("<[^>]*>", "", svg.read_text(encoding="utf-8")).replace("&#160;", " ")
    assert "1 train, 2 validation" in texts
    assert "hidden state" in texts


def pages() -> list[Path]:
    """Every Markdown file that is part of the project."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests/bench").rglob("*.md")])


@cache
def anchors(path: Path) -> frozenset[str]:
    """What the headings of a Markdown file can be linked to by: GitHub's rule."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = (title.strip().lower() for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    return frozenset(re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in headings)


def dead_links(path: Path) -> list[str]:
    """The links of a Markdown file into the project that lead nowhere: no such file, or no such heading in it."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        place = path.parent / target if target else path
        if "://" not in link and (not place.exists() or (anchor and anchor not in anchors(place))):
            dead.append(link)
    return dead


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`, c's\n[1](#a-b-cs) [2](#none) [3](page.md#a-b-cs) [4](page.md#none) [5](none.md) [6](https://a.example/#b)\n"
    )
    assert dead_links(page) == ["#none", "page.md#none", "none.md"]


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_headings_that_a_document_links_to_exist(path: Path) -> None:
    assert dead_links(path) == []


def broken_rows(text: str) -> list[str]:
    """The lines of Markdown tables that are no whole rows: with more or fewer cells than the heading."""
    broken, cells = [], 0
    for line in re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE).splitlines():
        bars = len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", line)))
        cells = (cells or bars) if line.startswith("|") or (cells and line) else 0
        if bars != cells and cells:
            broken.append(line)
    return broken


def test_a_broken_row_is_seen() -> None:
    assert broken_rows("| a | b |\n|---|---|\n| 1 | `|` |\n| 2 |\n3 |\n\ntext | of | bars |\n") == ["| 2 |", "3 |"]


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_have_whole_rows(path: Path) -> None:
    assert broken_rows(path.read_text(encoding="utf-8")) == []


def strangers_in(path: Path) -> list[str]:
    """The files, modules and names in a Markdown file's code that the project doesn't have."""
    files = [*(ROOT / "charrnn").rglob("*.*"), *(ROOT / "tests").rglob("*.*"), *(ROOT / "docs").rglob("*.*"), *ROOT.iterdir()]
    paths = [f"/{file.relative_to(ROOT).as_posix()}" for file in files]
    sources = [file for file in files if file.suffix in (".py", ".js", ".html", ".css") and file != Path(__file__)]
    words = {file.stem for file in files}.union(*(re.findall(r"\w+", file.read_text(encoding="utf-8")) for file in sources))
    unknown = []
    for code in code_of(path.read_text(encoding="utf-8")):
        if re.fullmatch(r"[\w./]+\.(py|js|html|md|toml|jsonl)", code):
            unknown += [] if any(one.endswith(f"/{code}") for one in paths) or code in words else [code]
        elif re.fullmatch(r"[A-Za-z_][\w.]*(\(\))?", code):
            unknown += [code] if set(code.removesuffix("()").split(".")) - words else []
    return unknown


def test_a_name_that_is_gone_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`network/cells.py` `network/gone.py` `ModelConfig.state_parts` `ModelConfig.gone_parts` `CELL_TYPES`\n")
    assert strangers_in(page) == ["network/gone.py", "ModelConfig.gone_parts"]


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/design.md"])
def test_what_a_page_for_maintainers_names_exists(name: str) -> None:
    assert strangers_in(ROOT / name) == []


RESULTS = ROOT / "tests/bench/RESULTS.md"


def untold(text: str) -> list[str]:
    """The sections of a page of results that don't tell by which command, when or at which commit, or on which machine."""
    found = []
    for title, body in re.findall(r"^##+ ([^\n]*)\n(.*?)(?=^##+ |\Z)", text, re.DOTALL | re.MULTILINE):
        told = re.search(r"`[^`]*\b(charrnn|python)\s[^`]+`", body), re.search(r"\b2\d{3}-\d\d-\d\d\b|commit [0-9a-f]{7}", body)
        if not (all(told) and re.search(r"Zen \d|\bcores?\b|\bmachine\b", body)):
            found.append(title)
    return found


def test_every_result_tells_its_command_its_day_and_its_machine() -> None:
    whole = "`charrnn bench`, Zen 5, 2026-11-21:"
    assert untold(f"## a\n{whole}\n## b\n{whole.replace('2026', '')}\n### c\n{whole.replace('charrnn', 'x')}") == ["b", "c"]
    assert untold(RESULTS.read_text(encoding="utf-8")) == []


def test_the_history_of_results_lies_by_its_day() -> None:
    days = sorted(path.stem for path in (RESULTS.parent / "log").glob("*.md"))
    assert days
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", day) for day in days)
    assert [day for day in days if f"# Measured on {day}\n" not in (RESULTS.parent / f"log/{day}.md").read_text()] == []


@pytest.mark.parametrize("name", ["guide/python.md", "reference/python.md"])
def test_the_examples_in_python_do_what_they_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small network in the place of one that trains for a minute."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    session = "\n".join(blocks).replace("minutes=1", "steps=2, hidden_size=8, batch_size=2, workers=1")
    for folder in ("checkpoints", "corpora"):
        (tmp_path / folder).mkdir()
    for shipped in ("checkpoints/fables", "checkpoints/intents"):
        (tmp_path / shipped).symlink_to(ROOT / shipped)
    (tmp_path / "corpora/fables.txt").write_text((ROOT / "corpora/fables.txt").read_text()[:5000])
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(session, {}, name, name, 0)
    told: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.DocTestRunner(optionflags=flags).run(test, out=told.append)
    assert (failed, tried > 10) == (0, True), "".join(told)


def test_the_picture_of_a_classifier_reading_can_be_drawn_from_the_one_that_ships(tmp_path: Path) -> None:
    svg = tmp_path / "classify.svg"
    command = [sys.executable, ROOT / "docs/make_classify.py", "--svg", svg]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=True)
    text = svg.read_text(encoding="utf-8")
    assert {"greeting", "set_alarm"} <= set(re.findall(r"<text[^>]*>(\w+)</text>", text))
    (drawn, *_), (committed, *_) = (
        re.findall("<title>(.*?)</title>", found) for found in (text, (ROOT / "docs/classify.svg").read_text(encoding="utf-8"))
    )
    assert drawn == committed


def long_lines(text: str) -> list[str]:
    """The lines of prose that are longer than `MOST_COLUMNS` and could be broken: outside code, tables and headings."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE).splitlines()
    candidates = [line for line in prose if len(line) > MOST_COLUMNS and not re.match(r"\s*(\||#|!\[|<)", line)]
    # A piece of code is one word; the mark of a list is none.
    words = [re.sub(r"`[^`]+`", "code", re.sub(r"^\s*[*-] ", "", line)).split() for line in candidates]
    return [line for line, parts in zip(candidates, words, strict=True) if len(parts) > 1]


def test_a_long_line_of_prose_is_seen() -> None:
    long = "word " * 30
    assert long_lines(f"{long}\n| {long}|\n```\n{long}\n```\n`{long}`\n") == [long]


@pytest.mark.parametrize(
    "path",
    pages(),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_prose_is_wrapped(path: Path) -> None:
    assert long_lines(path.read_text(encoding="utf-8")) == []
