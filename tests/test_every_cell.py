"""Every table by cell knows every cell: whoever adds one learns here what is still to do."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from conftest import ROOT

from charrnn.config import GATE_NAMES, GATES, ModelConfig

GATED = {cell for cell, gates in GATES.items() if gates}

TABLES = [
    ("network.cells", "CELLS", set(GATES)),
    ("network.stepper", "_ADVANCE", set(GATES)),
    ("training.model", "_LAYERS", set(GATES)),
    ("analysis.hidden", "SIGMOIDS", set(GATES)),
    ("analysis.hidden", "CANDIDATE", GATED),
    ("analysis.hidden", "KEEPING", GATED),
    ("output.page.export", "CELLS", set(GATES)),
]


@pytest.mark.parametrize(("module", "name", "cells"), TABLES, ids=[f"{module}.{name}" for module, name, _ in TABLES])
def test_a_table_by_cell_knows_every_cell(module: str, name: str, cells: set[str]) -> None:
    table = getattr(importlib.import_module(f"charrnn.{module}"), name)
    assert set(table) == cells, f"{name} of charrnn/{module.replace('.', '/')}.py"


@pytest.mark.parametrize(("file", "name"), [("network.js", "BLOCKS"), ("network.js", "GATE_LETTERS"), ("player.js", "GATES")])
def test_a_table_by_cell_of_the_page_knows_every_cell(file: str, name: str) -> None:
    text = (ROOT / "charrnn/output/page" / file).read_text(encoding="utf-8")
    (table,) = re.findall(rf"^const {name} = \{{(.*?)\}};$", text, re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"(?:^|[\s,{])([a-z]+): (?=[\d\[{])", table)) & set(GATES) == set(GATES), f"{name} of {file}"


@pytest.mark.parametrize("cell", GATES)
def test_the_page_steps_every_cell(cell: str) -> None:
    text = (ROOT / "charrnn/output/page/network.js").read_text(encoding="utf-8")
    assert re.search(rf"^  {cell}\(", text, re.MULTILINE)


@pytest.mark.parametrize("cell", sorted(GATED))
def test_the_page_takes_every_gated_cell_back_and_writes_its_sum(cell: str) -> None:
    for file, function in (("network.js", "stepBack("), ("player.js", "function sums(")):
        text = (ROOT / "charrnn/output/page" / file).read_text(encoding="utf-8")
        body = re.split(r"^ {0,2}\}$", text[text.rindex(function) :], maxsplit=1, flags=re.MULTILINE)[0]
        assert f'cell === "{cell}"' in body, f"{function} of {file}"


@pytest.mark.parametrize("cell", GATES)
def test_a_cell_has_a_block_of_weights_for_each_gate_and_each_gate_a_name(cell: str) -> None:
    shapes = ModelConfig(cell=cell, hidden_size=5).parameter_shapes()
    assert shapes["rnn.weight_hh_l0"] == (5 * max(1, len(GATES[cell])), 5)
    assert set(GATES[cell]) <= GATE_NAMES.keys()


def test_tests_take_the_cells_from_the_list() -> None:
    written = re.compile(r"""(parametrize\("cell", |CELLS = |sampled_from\()[(\[]"lstm", "gru", "rnn\"""")
    found = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)]
    assert [str(path.relative_to(ROOT)) for path in found if written.search(path.read_text(encoding="utf-8"))] == []
