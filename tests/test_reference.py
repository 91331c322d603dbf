"""The pages of the reference say what the program does, no more and no less."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
from conftest import FABLES, ROOT

from charrnn.cli.exit_codes import ExitCode
from charrnn.generation import bookmark
from charrnn.network import checkpoint, classifier
from charrnn.training.events import CONTRACT, keys

REFERENCE = ROOT / "docs/reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def test_the_command_line_is_as_the_program_declares_it() -> None:
    """Else run ``python docs/make_reference.py``."""
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert page("cli.md") == script.reference()


@pytest.mark.parametrize("event", list(CONTRACT))
def test_the_keys_of_every_event_are_listed_and_no_others(event: str) -> None:
    rows = re.findall(rf"^\| `{event}` \|(.*)\|$", page("events.md"), re.MULTILINE)
    assert len(rows) == 1, f"docs/reference/events.md: no row for `{event}`"
    row = rows[0]
    while "(" in row:  # What a key means, or holds in turn.
        row = re.sub(r"\([^()]*\)", "", row)
    assert sorted(re.findall(r"`([^`]+)`", row)) == sorted(keys(event))


def test_every_exit_code_is_listed() -> None:
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", page("scripting.md"), re.MULTILINE)] == sorted(ExitCode)


def test_every_variable_of_the_environment_is_listed() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "charrnn").rglob("*.py"))
    asked = set(re.findall(r"\"(CHARRNN_[A-Z]+|NO_COLOR|OMP_NUM_THREADS)\"", sources))
    assert {name for name in asked if f"`{name}`" not in page("scripting.md")} == set()


def test_the_formats_of_files_are_told_with_their_marks_and_versions() -> None:
    for kind in (checkpoint.FORMAT, classifier.FORMAT, bookmark.FORMAT):
        assert f"`format` is `{kind.mark}`, `version` is `{kind.version}`" in page("checkpoint-format.md")
        assert [name for name in (*kind.facts, *kind.optional) if f"`{name}`" not in page("checkpoint-format.md")] == []


def test_what_the_shipped_network_holds_is_told() -> None:
    data, text = Path(FABLES / "best.safetensors").read_bytes(), page("checkpoint-format.md")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    facts = header.pop("__metadata__")
    assert [name for name in (*facts, *json.loads(facts["model"]), *header) if f"`{name}`" not in text] == []
