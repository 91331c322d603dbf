"""Help pages: examples first, rare options last, nothing cut at any width."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
import typer
from conftest import Result

from charrnn import cli
from charrnn.cli import help  # noqa: A004 - the module of that name
from charrnn.declaration import Panel

Page = Callable[[str, int], str]
COMMANDS = sorted(help.EXAMPLES)
every_command = pytest.mark.parametrize("command", COMMANDS)


@pytest.fixture
def page(invoke: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Page:
    """The page of a command on a terminal of so many columns."""

    def show(command: str, width: int) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        result = invoke(*command.split(), "--help")
        assert (result.code, result.stderr) == (0, "")
        return result.stdout

    return show


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(cli.application())
    found = {"": group, **group.commands}
    return found | {f"classify {verb}": one for verb, one in group.commands["classify"].commands.items()}


def test_every_command_has_three_examples_of_itself() -> None:
    assert commands().keys() == help.EXAMPLES.keys()
    for name, examples in help.EXAMPLES.items():
        assert len(examples) == 3
        assert all(f"charrnn {name}".strip() in typed for typed, _ in examples)


@every_command
def test_the_examples_name_options_that_there_are(command: str) -> None:
    for typed, _ in help.EXAMPLES[command]:
        words = typed.partition(" | jq")[0].partition(" | head")[0].partition(" | cut")[0].split()
        verb = command or words[1]
        known = {name for parameter in commands()[verb].params for name in parameter.opts}
        assert {word for word in words if re.match("--?[a-zA-Z]", word)} <= known


@every_command
def test_examples_stand_on_top_and_rare_options_last(page: Page, command: str) -> None:
    titles = re.findall(r"^(\w[^\n]*):$", page(command, 80), re.MULTILINE)
    assert titles[0] == "Examples"
    panels = [panel.value for panel in Panel]
    order = [panels.index(title) for title in titles if title in panels]
    assert order == sorted(order)
    if Panel.RARE.value in titles:
        assert titles[-1] == Panel.RARE.value
    assert help.FIRST[0] not in titles or titles[1] == help.FIRST[0]


@every_command
@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_nothing_is_cut_at_any_width(page: Page, command: str, width: int) -> None:
    text = page(command, width)
    assert max(map(len, text.splitlines())) <= min(width, help.WIDEST)
    assert "…" not in text
    words = " ".join(text.split())
    for parameter in commands()[command].params:
        assert all(name in words for name in parameter.opts if name.startswith("-"))
        assert " ".join((parameter.help or "").split()) in words
        assert getattr(parameter, "envvar", None) is None or f"[env var: {parameter.envvar}]" in words
        assert parameter.metavar is None or parameter.metavar in words
    for typed, meaning in help.EXAMPLES[command]:
        assert typed in words
        assert meaning in words


@every_command
def test_an_example_is_one_line_at_60_columns(page: Page, command: str) -> None:
    lines = page(command, 60).splitlines()
    assert [typed for typed, _ in help.EXAMPLES[command] if f"  {typed}" not in lines] == []


@every_command
def test_an_example_and_its_meaning_are_one_line_at_80_columns(page: Page, command: str) -> None:
    text = page(command, 80)
    assert [typed for typed, meaning in help.EXAMPLES[command] if not re.search(f"{re.escape(typed)} +{meaning}\n", text)] == []


def test_common_options_come_before_rare_ones(page: Page) -> None:
    text = page("train", 80)
    assert text.index("  --minutes") < text.index("  --hidden-size") < text.index("  --help".strip()) < text.index("  --groups")


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("classify fit", "Usage: charrnn classify fit [OPTIONS] LABELLED\n"),
        ("inspect", "Usage: charrnn inspect [OPTIONS] [TEXT]\n"),
        ("score", "Usage: charrnn score [OPTIONS] FILE...\n"),
    ],
)
def test_usage_tells_what_is_needed_and_what_may_be(page: Page, command: str, usage: str) -> None:
    assert page(command, 80).startswith(usage)


@pytest.mark.parametrize("command", ["", "train", "classify fit"])
def test_help_is_a_command_too(invoke: Callable[..., Result], command: str) -> None:
    assert invoke("help", *command.split()) == invoke(*command.split(), "--help")


def test_help_of_what_is_no_command_tells_the_one_that_was_meant(invoke: Callable[..., Result]) -> None:
    result = invoke("help", "trian")
    assert (result.code, result.stdout) == (2, "")
    assert "say charrnn train" in result.stderr


def test_version_is_a_command_too(invoke: Callable[..., Result]) -> None:
    result = invoke("version")
    assert result == invoke("--version")
    assert result.code == 0
    assert result.stdout.startswith("charrnn ")


def test_help_that_nobody_reads_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell has closed stdout (``>&-``)."""
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.run(["train", "--help"]) == 0
