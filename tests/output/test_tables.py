"""Numbers to tables."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from layers import LSTM_LAYER, columns, layer, rendered
from rich.console import Console

from charrnn.output import tables

FACTS = {
    "path": "runs/a/best.safetensors",
    "cell": "gru",
    "layers": 2,
    "hidden_size": 512,
    "parameters": 1234567,
    "corpus": "fables",
    "val_bits_per_char": 1.98765,
    "when": "2026-01-02 03:04",
}


def test_a_loss_that_falls_by_nothing_is_zero_and_not_less() -> None:
    one = {"lags": [0, 1, 2], "gradient": [1.0, 0.5, 0.1], "withheld_lags": [1, 2], "withheld": [-0.00001, -0.0002]}
    rows = rendered(tables.lag_table([one])).splitlines()[1:]
    assert [row.split() for row in rows] == [["0", "1.00e+00"], ["1", "5.00e-01", "0.0000"], ["2", "1.00e-01", "-0.0002"]]


def test_a_layer_is_a_row_of_its_numbers() -> None:
    lines = rendered(tables.layer_table([LSTM_LAYER, layer()], framed=False)).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["0", "0.25", "0.30", "50.0%", "12.5%", "12.4", "-2.2", "to", "3.5", "2.0", "/", "12.5", "/", "30.0", "1,234"],
        ["1", "0.10", "0.10", "0.0%", "0.0%", "1.0", "-", "-", "-"],
    ]


def test_a_gate_is_a_row_with_both_its_saturated_shares_and_a_candidate_with_one() -> None:
    lines = rendered(tables.gate_table([LSTM_LAYER], framed=False)).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["0", "i", "0.11", "60.0%", "10.0%"],
        ["0", "f", "0.92", "1.0%", "70.0%"],
        ["0", "|g|", "0.33", "-", "5.0%"],
        ["0", "o", "0.44", "20.0%", "30.0%"],
    ]
    named = rendered(tables.gate_table([LSTM_LAYER], framed=True)).splitlines()
    assert [line.split()[1] for line in named if line.strip().startswith("0")] == ["input", "forget", "|candidate|", "output"]


def test_a_finding_is_a_row_with_its_unit_as_the_command_line_writes_it() -> None:
    finding = {
        "feature": "digit",
        "layer": 1,
        "unit": 7,
        "part": "c",
        "name": "1:7c",
        "first": 0.9,
        "second": -0.8,
        "needed": 0.3,
        "real": True,
    }
    other = {**finding, "part": "h", "name": "1:7", "real": False}
    lines = rendered(tables.finding_table([finding, other], framed=False)).splitlines()
    assert lines[1].split()[:5] == ["digit", "1:7c", "+0.90", "-0.80", "0.30"]
    assert lines[2].split()[1] == "1:7"
    assert lines[1].split()[5:] != lines[2].split()[5:]


def test_a_run_is_a_row_of_readable_cells() -> None:
    lines = rendered(tables.info_table([FACTS, {**FACTS, "val_bits_per_char": None}], framed=False)).splitlines()
    row = ["runs/a/best.safetensors", "gru", "2", "x", "512", "1,234,567", "fables", "1.988", "2026-01-02", "03:04"]
    assert [line.split() for line in lines[1:]] == [row, [*row[:7], "-", *row[8:]]]


def test_on_a_terminal_a_run_has_the_name_that_a_command_takes() -> None:
    paths = ["runs/a/best.safetensors", "b/best.safetensors", "b/classifier.safetensors", "other.safetensors"]
    shown = at(80, tables.info_table([{**FACTS, "path": path} for path in paths], framed=True))
    assert [row[0] for row in shown[1:]] == ["runs/a", *paths[1:]]


def test_a_narrow_terminal_keeps_the_names_of_runs_whole_and_drops_what_info_tells_of_each() -> None:
    runs = [{**FACTS, "path": f"checkpoints/a-long-name-{name}/best.safetensors"} for name in "ab"]
    table = tables.info_table(runs, framed=True)
    assert [row[0] for row in at(60, table)[1:]] == [f"checkpoints/a-long-name-{name}" for name in "ab"]
    assert at(60, table)[0] == ["path", "size", "bits/char"]
    assert at(72, table)[0] == ["path", "size", "bits/char", "when"]


def test_no_terminal_escape_of_a_path_or_corpus_reaches_a_table() -> None:
    run = {**FACTS, "path": "\x1b]0;title\x07", "corpus": "\x1b[2J"}
    text = rendered(tables.info_table([run], framed=True)) + rendered(tables.fact_table({"corpus": "\x1b[2J"}))
    assert "\x1b" not in text
    assert "\x07" not in text


def test_the_table_of_runs_has_a_heading_per_fact_and_a_line_per_run() -> None:
    table = tables.info_table([FACTS, FACTS], framed=False)
    assert columns(table) == ["path", "cell", "size", "parameters", "corpus", "bits/char", "when"]
    assert len(rendered(table).splitlines()) == 3


def test_square_brackets_in_a_table_are_text_and_no_markup() -> None:
    run = {**FACTS, "path": "[bold]x[/bold]", "corpus": "[red]"}
    text = rendered(tables.info_table([run], framed=False)) + rendered(tables.fact_table({"corpus": "[blue]"}))
    for bracketed in ("[bold]x[/bold]", "[red]", "[blue]"):
        assert bracketed in text


def test_a_narrow_terminal_breaks_long_cells_and_cuts_nothing() -> None:
    file = io.StringIO()
    Console(file=file, width=60).print(tables.info_table([{**FACTS, "path": "runs/" + "q" * 80}], framed=True))
    assert file.getvalue().count("q") == 80
    assert max(map(len, file.getvalue().splitlines())) <= 60


def at(width: int, table: object) -> list[list[str]]:
    """The cells of a table on a terminal of so many columns."""
    file = io.StringIO()
    Console(file=file, width=width).print(table)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return [re.split(r"  +", line.strip()) for line in lines if line.strip(" \u2500")]


@pytest.mark.parametrize("width", [100, 80, 60, 40])
def test_a_terminal_of_any_width_shows_whole_figures_and_the_names_of_files(width: int) -> None:
    scores = {"bits_per_char": 9.1682, "nats_per_char": 6.3549, "perplexity": 575.3078, "characters": 33505, "unknown": 12}
    headings, *rows = at(width, tables.score_table([{"file": "corpora/alphabet.txt", **scores}], framed=True))
    whole = dict(zip(headings, rows[0], strict=True))
    assert whole.pop("file") + "".join(row[0] for row in rows[1:]) == "corpora/alphabet.txt"
    figures = dict(zip(tables.SCORE_COLUMNS[1:], ("9.1682", "6.3549", "575.3078", "33,505", "12"), strict=True))
    assert whole.items() <= figures.items()
    assert {"bits/char", "characters"} <= whole.keys()


@pytest.mark.parametrize("width", [100, 60, 40])
def test_a_unit_and_its_weight_are_never_parted(width: int) -> None:
    units = [SimpleNamespace(feature="mean", unit=100 + n, weight=-1.25, reads="backwards") for n in range(3)]
    label = "an_intent_of_a_long_name"
    _, *rows = at(width, tables.unit_table({label: units}, framed=True))
    assert label in "".join(row[0] for row in rows)
    assert "".join(row[-1] for row in rows).count("mean <10") == 3
    assert all(re.fullmatch(r"(mean <10\d -1.25(, ?)?)+", row[-1]) for row in rows if "mean" in row[-1])


@pytest.mark.parametrize("width", [100, 80, 60])
def test_benchmarks_and_layers_show_whole_figures_too(width: int) -> None:
    figure = {"group": "training", "name": "lstm 1 x 384, bf16", "median": 121000.0, "low": 119000.0, "high": 123000.0}
    cells = at(width, tables.bench_table([{**figure, "unit": "characters/s", "ratio": 2.13, "ceiling": 0.5}], framed=True))
    assert {"121,000", "2.13", "characters/s"} <= set(cells[1])
    shown = [cell for row in at(width, tables.layer_table([LSTM_LAYER], framed=True)) for cell in row]
    assert {"0.25", "50.0%", "12.4", "-2.2 to 3.5", "2.0 / 12.5 / 30.0", "1,234"} <= set(shown)


def test_facts_are_a_line_each_with_readable_numbers() -> None:
    facts = {"hidden_size": 4096, "seed": 12345, "epochs": 2.5, "seconds": 61.0, "val_bits_per_char": None}
    lines = [line.split() for line in rendered(tables.fact_table(facts)).splitlines()]
    assert lines == [
        ["hidden", "size", "4,096"],
        ["seed", "12345"],
        ["epochs", "2.500"],
        ["seconds", "1:01"],
        ["val", "bits", "per", "char", "-"],
    ]
