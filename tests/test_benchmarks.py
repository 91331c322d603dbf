"""The scripts of `tests/bench` that call into the program fit it still."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

SCRIPTS = sorted((ROOT / "tests" / "bench").glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"script {path.stem}")
def test_a_script_can_be_imported(path, monkeypatch):
    monkeypatch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location(f"bench_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.main)


def test_streaming_is_measured():
    code = "import streaming; streaming.CHARACTERS = 100; import sys; print(*streaming.measure(), file=sys.stderr)"
    place = ROOT / "tests" / "bench"
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert all(float(seconds) > 0 for seconds in done.stderr.split())
    assert len(done.stdout.rstrip("\n")) >= 90


# -- figures of speed ---------------------------------------------------------------------------------------------------

HOLDS = "### A machine of half the speed, by `charrnn bench`"
"""The section of RESULTS whose figures the other documents repeat."""
MEASURED = {
    "training, bf16": "training: {} bf16",
    "training, fp32": "training: {} fp32",
    "training, `torch.nn` fp32": "training: {} torch.nn fp32",
    "generating, one stream": "sampling: {} 1 stream",
    "generating, 64 streams": "sampling: {} 64 streams",
    "writing one text": "sampling: {} 1 stream",
}
"""Rows of tables by cell, and what ``charrnn bench`` calls them."""


def measured():
    """The median of each figure that stands in RESULTS, with its ratio if it has one."""
    section = (ROOT / "tests/bench/RESULTS.md").read_text(encoding="utf-8").split(HOLDS)[1]
    rows = re.findall(r"^(\w+: .*?) +([\d,.]+) +[\d,.]+-[\d,.]+  \S+(?: +([\d.]+))?", section.split("```")[1], re.MULTILINE)
    return {name: (median, ratio) for name, median, ratio in rows}


def told(text):
    """The figures of ``charrnn bench`` that stand in the tables of a document, as `measured` has them."""
    found, cells = {}, []
    for line in text.splitlines():
        first, *others = (cell.strip() for cell in line.strip("|").split("|"))
        if {"LSTM", "GRU", "RNN"} <= set(others):
            cells = others
        for cell, figure in zip(cells, others, strict=False) if first in MEASURED else ():
            median, _, ratio = figure.partition(" (")
            found[first, MEASURED[first].format(cell.lower())] = median, ratio.removesuffix(" x)")
    return found


@pytest.mark.parametrize(("name", "count"), [("README.md", 12), ("docs/manual.md", 15), ("docs/guide/memory.md", 6)])
def test_documents_repeat_the_figures_of_speed_that_hold(name, count):
    """If one doesn't, the table there is older than RESULTS, or the other way round."""
    held, found = measured(), told((ROOT / name).read_text(encoding="utf-8"))
    assert len(found) == count
    for (row, figure), (median, ratio) in found.items():
        said = median, f"{float(ratio or held[figure][1] or 1):.3g}"
        assert said == (held[figure][0], f"{float(held[figure][1] or 1):.3g}"), f"{name}: {row}: {figure} of RESULTS.md"


@pytest.fixture
def sentences(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "bench"))
    return importlib.import_module("sentences")


@pytest.mark.parametrize(("kind", "labels"), [("assistant", 7), ("enquiries", 17), ("first-word", 8)])
def test_labelled_texts_follow_from_their_seed(kind, labels, sentences):
    made = sentences.MAKERS[kind](1500, 3)
    assert made == sentences.MAKERS[kind](1500, 3)
    assert made != sentences.MAKERS[kind](1500, 4)
    assert len({text for text, _ in made}) == len(made) == 1500
    assert len({label for _, label in made}) == labels
    assert not [text for text, _ in made if re.search(r"[{}|()\t]|  |^ | $", text)]


def test_the_first_word_decides_and_stands_so_far_from_the_end(sentences):
    distances = (5, 6, 77, 200)
    made = sentences.first_word(400, 0, distances)
    for (text, label), distance in zip(made, itertools.cycle(distances), strict=False):
        assert text.startswith(label)
        assert len(text) - len(label) == distance
    assert not {word for text, _ in made for word in text.split()[1:]} & set(sentences.DECIDING)


PARTS = ["machine", "scores", "steps", "sampling", "memory", "minute"]


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_what_a_gpu_is_measured_by_runs(part, capfd, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "bench"))
    gpu = importlib.import_module("gpu")
    monkeypatch.setattr(sys, "argv", ["gpu.py", part, str(ROOT / "corpora/alphabet.txt"), "--device", "cpu", "--small"])
    gpu.main()
    assert re.search(r"\d", capfd.readouterr().out)


def test_without_a_gpu_nothing_is_measured(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no module named torch >&2\nexit 1\n")
    python.chmod(0o755)
    command = ["sh", str(ROOT / "tests/bench/gpu.sh"), str(tmp_path / "gpu.txt")]
    environment = {**os.environ, "PYTHON": str(python)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    line = f"gpu.sh: {python} finds no CUDA GPU through torch; nothing was measured\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
    assert not (tmp_path / "gpu.txt").exists()


@pytest.mark.parametrize("fails", [False, True])
def test_all_parts_go_into_one_file_and_a_failure_is_told(fails, tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$*"\ncase "$*" in *scores*) exit {3 if fails else 0};; esac\n')
    python.chmod(0o755)
    command = ["sh", str(ROOT / "tests/bench/gpu.sh"), "figures.txt", "text.txt"]
    environment = {**os.environ, "PYTHON": str(python)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    found = (tmp_path / "figures.txt").read_text()
    assert (done.returncode, done.stdout, done.stderr) == (int(fails), found, "")
    assert re.findall(r"^tests/bench/gpu.py (\w+)", found, re.MULTILINE) == PARTS
    assert f"gpu.py minute {tmp_path}/text.txt\n" in found
    assert ("exit code 3\n" in found) == fails
