"""Every table by cell knows every cell: whoever adds one learns here what is still to do."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
from conftest import ROOT

from charrnn.cell_types import CELL_TYPES, keeping
from charrnn.config import GATES

PAGE = ROOT / "charrnn/output/page"
NAMED_IN_BRANCHES = sorted(CELL_TYPES.keys() - {"rnn"})
"""The vanilla RNN is what is left."""
TABLES = [("network.cells", "CELLS"), ("network.stepper", "_ADVANCE"), ("training.model", "_LAYERS")]
NAMED = {
    "cell_types.py": "CELL_TYPES, where a cell begins",
    "network/cells.py": "its equations",
    "network/stepper.py": "its fast step",
    "network/initial.py": "a gate that starts open",
    "training/model.py": "its layer; torch's LSTM and the kernels of other cells are called in ways of their own",
    "training/bench.py": "the loops of torch.nn, for cells that torch has",
    "training/recipe.py": "the default, and a learning rate that was measured",
    "training/classify_recipe.py": "a learning rate that was measured",
    "training/speed.py": "the network whose speed is the measure of others",
    "config.py": "the default",
    "cli/other_words.py": "words of other programs",
}
"""Where the package may know a cell by its name, and why."""


@pytest.mark.parametrize(("module", "name"), TABLES, ids=[f"{module}.{name}" for module, name in TABLES])
def test_a_table_by_cell_knows_every_cell(module: str, name: str) -> None:
    table = getattr(importlib.import_module(f"charrnn.{module}"), name)
    assert set(table) == set(CELL_TYPES), f"{name} of charrnn/{module.replace('.', '/')}.py"


def scripts_of(file: str) -> str:
    return (PAGE / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("cell", CELL_TYPES)
def test_the_page_steps_every_cell(cell: str) -> None:
    assert re.search(rf"^  {cell}\(l, at, \w+, from, offset\) \{{", scripts_of("network.js"), re.MULTILINE), (
        f"charrnn/output/page/network.js: no method {cell} beside lstm"
    )


@pytest.mark.parametrize("cell", CELL_TYPES)
def test_the_page_tells_what_the_gates_of_every_cell_do(cell: str) -> None:
    (table,) = re.findall(r"^const GATES = \{(.*?)^\};", scripts_of("player.js"), re.DOTALL | re.MULTILINE)
    found = re.search(rf"^  {cell}: \{{(\n.*?^  )?\}},", table, re.DOTALL | re.MULTILINE)
    assert found, f"charrnn/output/page/player.js: no row {cell} in GATES"
    assert tuple(re.findall(r"^    (\w+): \[", found[1] or "", re.MULTILINE)) == GATES[cell], f"player.js: GATES.{cell}"


@pytest.mark.parametrize("cell", NAMED_IN_BRANCHES)
@pytest.mark.parametrize(("file", "function"), [("network.js", "stepBack("), ("player.js", "function sums(")])
def test_the_page_takes_every_cell_back_and_writes_its_sum(cell: str, file: str, function: str) -> None:
    text = scripts_of(file)
    body = re.split(r"^ {0,2}\}$", text[text.rindex(function) :], maxsplit=1, flags=re.MULTILINE)[0]
    assert f'cell === "{cell}"' in body, f"charrnn/output/page/{file}: no branch for {cell} in {function.strip('(')}"


@pytest.mark.parametrize("cell", [cell for cell, kind in CELL_TYPES.items() if keeping(kind.gates) and cell != "lstm"])
def test_the_page_tells_what_every_cell_keeps(cell: str) -> None:
    """The lesson on gates begins with the LSTM, which no page lacks."""
    assert f'{{% if "{cell}" in cells %}}' in scripts_of("export.html"), (
        f"charrnn/output/page/export.html: no sentence for {cell} beside that for gru, which tells what its gate keeps"
    )


def test_only_these_modules_know_a_cell_by_its_name() -> None:
    """A new one would be a place that CONTRIBUTING's "Add a cell" doesn't tell of: ask `CELL_TYPES` instead."""
    package = ROOT / "charrnn"
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in CELL_TYPES
    }
    assert found == set(NAMED)


def test_only_these_scripts_and_templates_know_a_cell_by_its_name() -> None:
    """The templates ask whether a cell has gates, and which of them keeps the old; one says ``--cell lstm`` to people."""
    named = re.compile(rf"\b({'|'.join(CELL_TYPES)})\b(?!\.)")  # but no name of a weight
    found = {path.name for path in PAGE.iterdir() if path.suffix in (".js", ".html") and named.search(scripts_of(path.name))}
    assert found == {"network.js", "player.js", "export.html"}


LISTED = {
    "small_networks.py": "those that torch has",
    "test_limits.py": "a choice among words, whatever they are",
    "test_classify_recipe.py": "learning rates that were measured",
    "cores.py": "the default of a measurement",
    "busy.py": "the default of a measurement",
}
"""Where tests may list the cells, and why."""


def test_tests_take_the_cells_from_the_list() -> None:
    """In code, and in what is said to people: `charrnn.config.GATES` has them."""
    written = re.compile(r"""\blstm"?, "?gru(", "| or )rnn\b""")
    files = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)]
    assert {path.name for path in files if written.search(path.read_text(encoding="utf-8"))} == set(LISTED)
