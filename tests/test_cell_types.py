"""What is said of each cell, and that a cell can be added where CONTRIBUTING says, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from charrnn.cell_types import CELL_TYPES, LETTERS, candidates, keeping, sigmoids
from charrnn.config import GATES, ModelConfig


@pytest.mark.parametrize("cell", CELL_TYPES)
def test_a_cell_has_a_block_of_weights_for_each_gate_and_each_gate_a_meaning(cell: str) -> None:
    shapes, gates = ModelConfig(cell=cell, hidden_size=5).parameter_shapes(), GATES[cell]
    assert shapes["rnn.weight_hh_l0"] == (5 * max(1, len(gates)), 5)
    assert set(gates) <= LETTERS.keys()
    assert sorted([*sigmoids(gates), *candidates(gates)]) == sorted(gates)
    assert len(set(gates)) == len(gates)
    assert CELL_TYPES[cell].parts in (1, 2)
    shown = "of two parts c is kept by a gate and shows by an output gate, h = o * tanh(c): the page's path through c needs it"
    assert CELL_TYPES[cell].parts == 1 or ("o" in gates and keeping(gates)), shown
    assert not CELL_TYPES[cell].apart or candidates(gates) == gates[-1:]


def test_the_cells_of_torch_are_what_they_have_always_been() -> None:
    facts = {cell: (kind.gates, kind.parts, sigmoids(kind.gates), keeping(kind.gates)) for cell, kind in CELL_TYPES.items()}
    assert facts["lstm"] == (("i", "f", "g", "o"), 2, ("i", "f", "o"), "f")
    assert facts["gru"] == (("r", "z", "n"), 1, ("r", "z"), "z")
    assert facts["rnn"] == ((), 1, (), None)


def test_cells_that_are_added_in_the_tables_compute_learn_and_are_told_of(tmp_path: Path) -> None:
    program = Path(__file__).parent / "new_cells.py"
    done = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
