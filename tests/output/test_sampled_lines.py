"""`charrnn sample` of lines: --unique, --not-in, what JSON tells of them, and networks of records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.config import ModelConfig
from charrnn.generation import batches
from charrnn.network import checkpoint, rundir
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary

Invoke = Callable[..., Any]
RECORDS = {"count": 5, "held_out": 1, "duplicates": 0, "blank": 0, "longest": 4, "mean_length": 3.0}
WILD = ("--temp", "1", "--seed", "1")


def untrained(path: Path, **facts: Any) -> Path:
    """A network that writes short lines of a and b."""
    vocabulary = Vocabulary("char", "\nab")
    model = ModelConfig(vocabulary.size, embedding_size=3, hidden_size=8)
    rng = np.random.default_rng(1)
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in model.parameter_shapes().items()}
    path.mkdir()
    checkpoint.write(path / rundir.BEST, Checkpoint(model, vocabulary, {"corpus": "list", **facts}, weights))
    return path


@pytest.fixture
def lines(invoke: Invoke, tmp_path: Path) -> Invoke:
    """Sample lines, drawn with a seed."""
    untrained(tmp_path / "net")
    return lambda *arguments, **others: invoke("sample", "-c", "net", *WILD, "--lines", "1", *arguments, **others)


@pytest.fixture
def records(invoke: Invoke, tmp_path: Path) -> Invoke:
    """Sample from a network of records."""
    untrained(tmp_path / "list", records=RECORDS)
    return lambda *arguments, **others: invoke("sample", "-c", "list", *WILD, *arguments, **others)


def of_json(result: Any) -> list[Any]:
    assert result.code == 0, result
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_unique_draws_no_line_twice_and_else_what_it_would_draw(lines: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    every = lines("-N", "60").stdout.splitlines()
    result = lines("-N", "20", "--unique")
    found = result.stdout.splitlines()
    assert (result.code, len(found)) == (0, 20)
    assert found == list(dict.fromkeys(every))[:20] != every[:20]
    dropped = every.index(found[-1]) + 1 - 20
    assert result.stderr == f"charrnn: {20 + dropped} lines drawn, 20 kept, {dropped} dropped that came before\n"
    monkeypatch.setattr(batches, "BATCH", 3)
    assert lines("-N", "20", "--unique").stdout == result.stdout
    assert [record["index"] for record in of_json(lines("-N", "20", "--unique", "--json"))] == list(range(20))


def test_what_stands_in_a_text_is_not_drawn(lines: Invoke, tmp_path: Path) -> None:
    every = lines("-N", "60").stdout.splitlines()
    (tmp_path / "one.txt").write_text(every[0] + "\r\n")
    (tmp_path / "two.txt").write_text("b\n" + every[4])
    result = lines("-N", "9", "--not-in", "one.txt", "--not-in", "two.txt")
    assert result.stdout.splitlines() == [line for line in every if line not in (every[0], "b", every[4])][:9]
    assert "dropped that stand in one.txt, two.txt" in result.stderr
    assert lines("-N", "9", "--not-in", "one.txt", "--not-in", "two.txt", "-q").stderr == ""


def test_where_no_new_line_is_to_be_found_it_ends_with_those_that_were(lines: Invoke, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("b\n")
    result = lines("-N", "100", "-n", "1", "--unique", "--not-in", "b.txt")
    assert (result.code, sorted(result.stdout.splitlines())) == (1, ["", "a"])
    told, error = result.stderr.splitlines()
    assert "2 kept" in told
    assert error == "charrnn: found 2 of 100: 1,000 tries in a row gave no new one; ask for fewer, or raise --temp"


def test_one_line_that_must_be_new_is_drawn_until_it_is(lines: Invoke, tmp_path: Path) -> None:
    (first,) = lines().stdout.splitlines()
    (tmp_path / "l.txt").write_text(first)
    (other,) = lines("--not-in", "l.txt").stdout.splitlines()
    assert other != first


def test_each_prompt_has_its_lines_and_the_prompt_is_part_of_them(lines: Invoke, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a\nab\n")
    found = of_json(lines("--prompts", "p.txt", "-N", "8", "--unique", "--json"))
    assert [record["prompt"] for record in found] == ["a"] * 8 + ["ab"] * 8
    assert len({record["prompt"] + record["text"] for record in found}) == 16


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--lines", "2", "--unique"), "--unique compares lines; give --lines 1"),
        (("--not-in", "gone.txt", "--color", "surprise"), "gone.txt"),
        (("--unique", "--color", "surprise"), "not with --best-of"),
        (("--unique", "--save-state", "s"), "which may drop it"),
        (("--unique", "-i"), "leave out --unique or --not-in"),
    ],
)
def test_what_does_not_go_together_is_one_line(lines: Invoke, options: tuple[str, ...], why: str) -> None:
    result = lines(*options)
    assert result.code in (1, 2)
    assert result.stdout == ""
    assert why in result.stderr
    assert result.stderr.count("\n") == 1


def test_json_tells_which_lines_are_known_and_which_repeat(lines: Invoke, tmp_path: Path) -> None:
    every = lines("-N", "30").stdout.splitlines()
    (tmp_path / "l.txt").write_text("\n".join(every[3:6]))
    for record, line in zip(of_json(lines("-N", "30", "--json", "--copied-from", "l.txt")), every, strict=True):
        assert record["known"] is (bool(line) and line in every[3:6])
        assert record["repeated"] is (line in every[: record["index"]])
    assert {record["known"] for record in of_json(lines("-N", "3", "--json"))} == {None}
    assert not {"known", "repeated"} & of_json(lines("--lines", "2", "--json"))[0].keys()


# -- networks of records ----------------------------------------------------------------------------------------------


def test_a_network_of_records_writes_ten_one_a_line(records: Invoke, lines: Invoke) -> None:
    result = records()
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 10
    assert records("-N", "3").stdout.splitlines() == result.stdout.splitlines()[:3]
    assert max(map(len, records("-n", "2").stdout.splitlines())) == 2
    assert all(line.startswith("ab") for line in records("-p", "ab").stdout.splitlines())


def test_a_record_is_never_blank(records: Invoke, lines: Invoke) -> None:
    assert "" in lines("-N", "40").stdout.splitlines()
    assert "" not in records("-N", "40").stdout.splitlines()
    assert "" not in records("-N", "40", "--temp", "5", "--best-of", "2").stdout.splitlines()
    assert "" in records("-N", "40", "-p", "ab", "--no-echo").stdout.splitlines()  # A whole record is "ab".
    alone = records("-N", "1", "--json", "--top-k", "1")
    assert of_json(alone)[0]["characters"] > 1


def test_a_place_is_kept_in_one_record(records: Invoke) -> None:
    result = records("--save-state", "s")
    assert (result.code, result.stdout.count("\n")) == (0, 1)
    assert records("--load-state", "s", "-N", "2").code == 0


@pytest.mark.parametrize("hostile", [True, [], {}, {**RECORDS, "count": "many"}, {**RECORDS, "mean_length": None}])
def test_a_header_that_is_none_of_records_is_a_text(invoke: Invoke, tmp_path: Path, hostile: Any) -> None:
    untrained(tmp_path / "odd", records=hostile)
    (record,) = of_json(invoke("sample", "-c", "odd", "--json", *WILD))
    assert record["finish_reason"] == "length"


def test_of_records_it_is_told_how_many_are_copies(records: Invoke, tmp_path: Path) -> None:
    every = records("-N", "40").stdout.splitlines()
    (tmp_path / "l.txt").write_text(every[0] + "\nb\n")
    result = records("-N", "40", "--copied-from", "l.txt")
    known, repeated = sum(line in (every[0], "b") and line != "" for line in every), 40 - len(set(every))
    assert known > 1
    assert result.stdout.splitlines() == every
    assert result.stderr == f"charrnn: 40 records: {known} stand in l.txt, {repeated} repeat an earlier one\n"
    one = records("-N", "1", "--copied-from", "l.txt")
    assert one.stderr.startswith("charrnn: 1 record: ")
    assert {record["known"] for record in of_json(records("-N", "40", "--json", "--not-in", "l.txt"))} == {False}


def test_the_list_of_training_is_the_list_where_none_is_named(records: Invoke, tmp_path: Path) -> None:
    every = of_json(records("--json"))
    assert {record["known"] for record in every} == {None}
    found = checkpoint.read(tmp_path / "list" / rundir.BEST)
    facts = {**found.training, "corpus_paths": ["../l.txt"]}
    checkpoint.write(tmp_path / "list" / rundir.LAST, Checkpoint(found.model, found.vocabulary, facts, found.weights))
    (tmp_path / "l.txt").write_text(every[1]["text"])
    known = [record["known"] for record in of_json(records("--json"))]
    assert known == [record["text"] == every[1]["text"] != "\n" for record in every]


def test_records_that_are_cut_are_told_of_as_no_whole_ones(records: Invoke, lines: Invoke) -> None:
    found = records("-N", "20", "-n", "3")
    cut = sum(one["finish_reason"] == "length" for one in of_json(records("-N", "20", "-n", "3", "--json")))
    assert 0 < cut < 20
    told = f"charrnn: {cut} of 20 records are cut at 3 characters; of whole ones the short are kept, without --length, by: "
    assert told + "| grep -xE '.{1,3}'\n" in found.stderr
    one = records("-N", "1", "-n", "1", "--bias", "\n=-inf", "-e").stderr
    assert "1 of 1 record is cut at 1 character;" in one
    assert "cut at" not in records("-N", "20", "--bias", "\n=99", "-e").stderr + lines("-N", "20", "-n", "3").stderr
