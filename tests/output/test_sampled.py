"""sampled: samples in pipes, on terminals, in files, in JSON and in colour."""

from __future__ import annotations

import itertools
import json
import os
import re
import select
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import FABLES, ROOT
from small_checkpoints import small
from small_networks import network

from charrnn.config import ModelConfig, SampleConfig
from charrnn.generation.request import SampleRequest
from charrnn.generation.streaming import Generation
from charrnn.network import checkpoint
from charrnn.network.checkpoint import Checkpoint
from charrnn.output import notation, sampled
from charrnn.output.console import Console
from charrnn.output.palette import surprise_style
from charrnn.text import cache as caching
from charrnn.text.vocabulary import Vocabulary

Invoke = Callable[..., Any]


def records(result: Any) -> list[Any]:
    assert result.code == 0, result
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("terminal", [True, False])
def test_many_samples_are_what_json_says_with_a_separator_between(sample: Invoke, terminal: bool) -> None:
    ask = ("-N", "3", "-n", "40", "-p", "The ")
    texts = ["The " + record["text"] for record in records(sample(*ask, "--json"))]
    ended = [text if text.endswith("\n") else text + "\n" for text in texts]
    assert sample(*ask, terminal=terminal).stdout == "\n".join(ended)
    assert sample(*ask, "-e", "--separator", r"--\n", terminal=terminal).stdout == "--\n".join(ended)
    assert sample(*ask, "--separator", "", terminal=terminal).stdout == "".join(ended)


def test_one_line_each_is_so_many_lines(sample: Invoke) -> None:
    found = records(sample("-N", "20", "--lines", "1", "--json"))
    assert {record["finish_reason"] for record in found} <= {"lines", "length"}
    result = sample("-N", "20", "--lines", "1")
    assert result.stdout == "".join(r["text"] if r["text"].endswith("\n") else r["text"] + "\n" for r in found)


@pytest.mark.parametrize("many", [(), ("-N", "3", "--separator", "")])
def test_a_network_of_bytes_gives_each_of_them_raw_and_text_otherwise(
    sample: Invoke, tmp_path: Path, many: tuple[str, ...]
) -> None:
    checkpoint.write(tmp_path / "bytes", small(level="byte"))
    ask = ("-c", "bytes", "-n", "300", "--raw", *many)
    piped = sample(*ask).stdout.encode("utf-8", "surrogateescape")
    texts = [record["text"] for record in records(sample(*ask, "--json"))]
    assert piped[:300].decode("utf-8", "replace").startswith(texts[0])
    assert 300 * len(texts) <= len(piped) <= 301 * len(texts)
    with pytest.raises(UnicodeDecodeError):
        piped.decode()
    assert sample(*ask, terminal=True).stdout.encode("utf-8", "surrogateescape") == piped
    assert "\ufffd" in sample("-c", "bytes", "-n", "300").stdout.encode().decode()
    sample(*ask, "--out-dir", "files")
    assert (tmp_path / "files/0.txt").read_bytes() == piped[: 300 + (piped[299:300] != b"\n")]


@pytest.mark.parametrize("many", ["1", "5"])
def test_a_stop_text_ends_a_sample_and_is_printed_only_if_kept(sample: Invoke, many: str) -> None:
    common = ("-N", many, "-n", "2000", "--stop", "the", "--stop", "and", "--json")
    for without, kept in zip(records(sample(*common)), records(sample(*common, "--keep-stop")), strict=True):
        assert without["finish_reason"] == kept["finish_reason"] == "stop"
        assert without["stop"] in ("the", "and")
        assert without["text"] + without["stop"] == kept["text"]
        assert not re.search("the|and", without["text"])


@pytest.mark.parametrize(("seconds", "expected"), [(0.06, [False, True] * 4), (0.001, [False] * 8)])
def test_a_slow_networks_text_reaches_a_pipe_while_it_is_written(
    sample: Invoke, monkeypatch: pytest.MonkeyPatch, seconds: float, expected: list[bool]
) -> None:
    """A piece of 64 characters takes so many seconds."""
    ticks, flushed = itertools.count(), []

    def product(console: Console, text: str, *, flush: bool = False) -> None:
        flushed.append(flush)
        console.stdout.write(text)

    monkeypatch.setattr(sampled, "time", SimpleNamespace(monotonic=lambda: next(ticks) * seconds))
    monkeypatch.setattr(Console, "product", product)
    sample("-n", "512")
    assert flushed[:8] == expected
    flushed.clear()
    sample("-N", "8", "-n", "5", "--json")
    assert flushed == expected


@pytest.mark.parametrize("options", [(), ("--temp", "0"), ("-N", "2"), ("-N", "3", "--best-of", "2"), ("--json",)])
def test_weights_too_large_for_a_prediction_give_known_characters(
    sample: Invoke, tmp_path: Path, options: tuple[str, ...]
) -> None:
    vocabulary = Vocabulary("char", "\nab")
    model = ModelConfig(vocabulary.size, embedding_size=2, hidden_size=3)
    weights = {name: np.full(shape, 3e38, dtype=np.float32) for name, shape in model.parameter_shapes().items()}
    weights["head.weight"][1::2] *= -1
    checkpoint.write(tmp_path / "absurd", Checkpoint(model, vocabulary, {}, weights))
    result = sample("-n", "40", "-c", "absurd", *options)
    assert result.code == 0, result.stderr
    texts = [json.loads(line) for line in result.stdout.splitlines()] if "--json" in options else [{"text": result.stdout}]
    assert all(set(text["text"]) <= set("\nab") for text in texts)
    assert "NaN" not in result.stdout


@pytest.mark.parametrize(
    ("option", "value"), [("--repetition-penalty", "1e-308"), ("--repetition-penalty", "1e300"), ("--bias", "a=-1e308")]
)
def test_settings_leave_room_for_every_logit(sample: Invoke, option: str, value: str) -> None:
    result = sample(option, value)
    assert (result.code, result.stdout) == (2, "")
    assert "at most 1e+30" in result.stderr


def test_the_number_of_threads_changes_no_character(charrnn: Callable[..., subprocess.CompletedProcess[bytes]]) -> None:
    arguments = ("sample", "-c", FABLES, "--seed", "1", "-n", "400", "--temp", "1", "-q")
    others = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    chosen = [{"OPENBLAS_NUM_THREADS": "1"}, {}, {"OMP_NUM_THREADS": "2"}]
    texts = [charrnn(*arguments, env=others | {"PYTHONPATH": str(ROOT)} | threads) for threads in chosen]
    assert len({(text.returncode, text.stdout) for text in texts}) == 1, [text.stderr for text in texts]
    assert len(texts[0].stdout) > 400


def test_endless_text_ends_with_its_stop_or_its_lines(sample: Invoke) -> None:
    assert sample("-n", "-1", "--lines", "3").stdout.count("\n") == 3
    for waits in (["-N", "2"], ["--json"], ["--out-dir", "x"], ["--best-of", "2"]):
        result = sample("-n", "-1", *waits)
        assert (result.code, result.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    "options",
    [
        ["--device", "auto", "-n", "-1"],
        ["--device", "auto", "--save-state", "s"],
        ["-i", "--device", "auto"],
        ["-n", "-1", "--temp", "0.5:1"],
    ],
)
def test_what_would_never_end_or_be_lost_is_a_usage_error(sample: Invoke, options: list[str]) -> None:
    result = sample(*options, stdin=b"")
    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)


def test_a_network_without_newlines_ends_no_text_by_lines(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "ab.txt").write_text("ab" * 500)
    assert invoke("train", "ab.txt", "--steps", "1", "--hidden-size", "4", "--out", "ab", "-q").code == 0
    found = invoke("sample", "-c", "ab", "-n", "-1", "--lines", "1", "-N", "2", "--json")
    assert (found.code, found.stdout) == (2, "")
    found = invoke("sample", "-c", "ab", "-n", "9", "--lines", "1", "--json")
    assert records(found)[0]["finish_reason"] == "length"
    assert "knows no newline" in found.stderr


def test_the_best_of_many_says_something(sample: Invoke) -> None:
    """Of candidates some of which stop at once: those have no bits, which are not the fewest."""
    ask = ("-p", "The ", "--stop", "B", "--stop", "M", "--stop", "T", "-n", "30", "--temp", "1")
    candidates = records(sample(*ask, "-N", "40", "--json"))
    assert {record["bits_per_char"] is None for record in candidates} == {True, False}
    assert all((record["bits_per_char"] is None) == (record["text"] == "") for record in candidates)
    (best,) = records(sample(*ask, "--best-of", "40", "--json"))
    assert best["text"]
    assert best["bits_per_char"] == min(r["bits_per_char"] for r in candidates if r["bits_per_char"] is not None)


def test_the_best_of_many_is_no_loop(sample: Invoke, tmp_path: Path) -> None:
    """Characters drawn without a memory, nine of ten the same: the likeliest text of forty is forty of them."""
    vocabulary = Vocabulary("char", "\nabc")
    model = ModelConfig(vocabulary.size, embedding_size=2, hidden_size=2)
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in model.parameter_shapes().items()}
    weights["head.bias"][vocabulary.encode("abc")] = np.log([0.9, 0.06, 0.04])
    weights["head.bias"][vocabulary.encode("\n")] = -30
    checkpoint.write(tmp_path / "dice", Checkpoint(model, vocabulary, {}, weights))
    ask = ("-c", "dice", "-n", "40", "--temp", "1", "--json")
    candidates = records(sample(*ask, "-N", "200"))
    assert min(candidates, key=lambda record: record["bits_per_char"])["text"] == "a" * 40
    plain = [record for record in candidates if "a" * 21 not in record["text"]]
    (best,) = records(sample(*ask, "--best-of", "200"))
    assert "a" * 21 not in best["text"]
    assert best["bits_per_char"] == pytest.approx(min(record["bits_per_char"] for record in plain))


@pytest.mark.parametrize("options", [(), ("--prompts", "p.txt"), ("--best-of", "3"), ("--stop", "and", "--lines", "2")])
def test_through_torch_the_texts_are_the_same(sample: Invoke, options: tuple[str, ...], tmp_path: Path) -> None:
    """Where torch finds no GPU, --device auto computes them on the CPU."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("other rounding")
    (tmp_path / "p.txt").write_text("The fox\nA crow\n")
    ask = ("-N", "3", "-n", "60", "--json", *options)
    assert [{**r, "bits_per_char": 0} for r in records(sample(*ask, "--device", "auto"))] == [
        {**r, "bits_per_char": 0} for r in records(sample(*ask))
    ]


def drawn(sample: Invoke, *options: str) -> str:
    (record,) = records(sample("-n", "300", "--json", *options))
    return str(record["text"])


def test_every_option_of_drawing_reaches_the_draw(sample: Invoke) -> None:
    greedy, wild = drawn(sample, "--temp", "0"), drawn(sample, "--temp", "3")
    assert greedy != wild
    assert drawn(sample, "--temp", "3", "--min-p", "1") == greedy
    assert drawn(sample, "--temp", "3", "--top-k", "1") == greedy
    assert drawn(sample, "--temp", "3", "--top-p", "1e-9") == greedy
    assert drawn(sample, "--temp", "3", "--typical", "1e-9") not in (greedy, wild)
    assert drawn(sample, "--temp", "0:0") == greedy
    assert len({drawn(sample, "--temp", schedule) for schedule in ("0:3", "3:0", "3:3")} | {greedy}) == 4
    assert drawn(sample, "--temp", "3:3") == wild
    assert "e" in wild
    assert "e" not in drawn(sample, "--temp", "3", "--bias", "e=-inf")
    penalized = [drawn(sample, "--temp", "0", "--repetition-penalty", "2", "--repetition-window", w) for w in ("1", "9")]
    assert len({greedy, *penalized}) == 3


def test_the_bits_that_sample_tells_are_those_that_score_finds(sample: Invoke, invoke: Invoke) -> None:
    (record,) = records(sample("--temp", "1", "-n", "500", "--json"))
    (scored,) = records(invoke("score", "-c", FABLES, "-", "--json", stdin=record["text"].encode()))
    assert scored["characters"] == 500
    assert scored["bits_per_char"] == pytest.approx(record["bits_per_char"], rel=1e-4)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_line_is_scored_as_soon_as_it_is_there(as_json: bool) -> None:
    command = [sys.executable, "-m", "charrnn", "score", "-c", str(FABLES), "--lines", *["--json"] * as_json, "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"A fox.\n", b"A crow.\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert select.select([process.stdout], [], [], 60)[0], "no row while stdin is open"
            assert line.strip() in process.stdout.readline()
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(60) == 0


@pytest.mark.parametrize("escapes", [True, False])
def test_one_rule_for_escapes_in_every_text(sample: Invoke, escapes: bool, tmp_path: Path) -> None:
    flag = ["-e"] * escapes
    (tmp_path / "p.txt").write_text(r"The\nfox" + "\n")
    for option, value in (("-p", r"The\nfox"), ("--prompts", "p.txt")):
        (record,) = records(sample(option, value, *flag, "-n", "3", "--json"))
        assert ("\n" in record["prompt"]) is escapes
    (record,) = records(sample("--stop", r"\n", *flag, "-n", "400", "--json"))
    assert (record["stop"] == "\n") is escapes
    (record,) = records(sample("--bias", r"\n=-inf", "-e", "-n", "400", "--json"))
    assert "\n" not in record["text"]
    if not escapes:
        assert sample("--bias", r"\n=-inf").code == 2


def test_out_dir_holds_a_file_each_and_overwrites_none(sample: Invoke, tmp_path: Path) -> None:
    texts = [record["text"] for record in records(sample("-N", "11", "-n", "30", "--json"))]
    result = sample("-N", "11", "-n", "30", "--out-dir", "d")
    assert result.stdout.splitlines() == [f"d/{index:02}.txt" for index in range(11)]
    assert [(tmp_path / path).read_text().removesuffix("\n") for path in result.stdout.splitlines()] == [
        text.removesuffix("\n") for text in texts
    ]
    again = sample("-N", "12", "--out-dir", "d")
    assert (again.code, again.stdout) == (1, "")
    assert "already there" in again.stderr


def test_a_file_is_no_directory_for_texts(sample: Invoke, tmp_path: Path) -> None:
    (tmp_path / "d").touch()
    result = sample("-N", "2", "-n", "3", "--out-dir", "d")
    assert (result.code, result.stdout, result.stderr) == (1, "", "charrnn: d: is no directory; choose another --out-dir\n")


def test_a_directory_that_takes_no_files_is_told_before_anything_is_drawn(
    sample: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(sampled, "show", lambda *_: pytest.fail("it draws"))
    why = "d: can't write: the current directory takes no new files; choose another --out-dir"
    assert sample("-N", "2", "-n", "3", "--out-dir", "d").stderr == f"charrnn: {why}\n"


def test_files_in_the_way_are_found_however_many_texts_are_asked_for(sample: Invoke, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "0000000007.txt").touch()
    result = sample("-N", "10000000000", "--out-dir", "d")
    assert (result.code, result.stdout) == (1, "")
    assert "d/0000000007.txt: already there" in result.stderr


@pytest.mark.parametrize("name", ["12.txt", "7.txt", "007.txt", "11", "x.txt", "\u0661\u0661.txt"])
def test_other_files_are_in_nobodys_way(sample: Invoke, tmp_path: Path, name: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / name).touch()
    assert sample("-N", "12", "-n", "3", "--out-dir", "d").code == 0


def test_a_text_saved_and_gone_on_with_is_one_that_never_stopped(sample: Invoke, invoke: Invoke, tmp_path: Path) -> None:
    options = ("--repetition-penalty", "1.2", "--temp", "1.1")
    (whole,) = records(sample(*options, "-n", "300", "--json"))
    parts = records(sample(*options, "-n", "110", "--json", "--save-state", "s"))
    for _ in range(2):
        load = ("sample", "-c", FABLES, *options, "--load-state", "s", "--save-state", "s", "-n", "95", "--json")
        parts += records(invoke(*load))
    assert "".join(part["text"] for part in parts) == whole["text"]
    assert records(sample(*options, "--load-state", "s", "-n", "9", "--json"))[0]["seed"] == 1


def test_a_prompt_after_a_loaded_state_is_read_after_what_was_there(sample: Invoke) -> None:
    sample("-p", "The fo", "-n", "0", "--save-state", "s")
    expected = records(sample("-p", "The fox said", "--json"))[0]["text"]
    assert records(sample("-p", "x said", "--load-state", "s", "--json"))[0]["text"] == expected


def test_what_is_copied_is_told(sample: Invoke, tmp_path: Path) -> None:
    (record,) = records(sample("-n", "300", "--json"))
    (tmp_path / "book.txt").write_text("something else: #" + record["text"][100:180] + "# and an end")
    result = sample("-n", "300", "--copied-from", "book.txt")
    assert "has 80 characters" in result.stderr
    (found,) = records(sample("-n", "300", "--copied-from", "book.txt", "--json"))
    assert found["copied"]["text"] == record["text"][100:180]
    assert found["copied"]["share"] == pytest.approx(80 / 300)


def test_a_text_that_is_kept_is_not_read_again_to_look_for_copies(
    sample: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caching, "LARGE_BYTES", 0)
    monkeypatch.setattr(caching, "RACE_SECONDS", 0)
    monkeypatch.setenv(caching.PLACE, str(tmp_path / "cache"))
    (record,) = records(sample("-n", "300", "--json"))
    (tmp_path / "book.txt").write_text("x\u0301" + record["text"][100:180])
    (first,) = records(sample("-n", "300", "--copied-from", "book.txt", "--json"))
    monkeypatch.setattr("charrnn.text.corpus._read", lambda *_: pytest.fail("read anew"))
    (again,) = records(sample("-n", "300", "--copied-from", "book.txt", "--json"))
    assert again == first
    assert again["copied"]["longest"] == 80


def test_copies_are_looked_for_in_a_field_of_a_table(sample: Invoke, tmp_path: Path) -> None:
    (record,) = records(sample("-n", "300", "--json"))
    rows = [{"id": 2, "text": record["text"][100:180]}, {"id": 1, "text": "no"}]
    (tmp_path / "book.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (found,) = records(sample("-n", "300", "--copied-from", "book.jsonl", "--field", "text", "--json"))
    assert found["copied"]["text"] == record["text"][100:180]
    lines = ("--lines", "1", "-N", "20", "--json")
    first = records(sample(*lines))[0]["text"].removesuffix("\n")
    (tmp_path / "known.jsonl").write_text(json.dumps({"name": first}) + "\n")
    kept = records(sample(*lines, "--not-in", "known.jsonl", "--field", "name", "--min-p", "0.0"))
    assert first not in {line["text"].removesuffix("\n") for line in kept}


@pytest.mark.parametrize("options", [(), ("--copied-from", "book.txt")])
def test_a_field_is_one_of_a_table(options: tuple[str, ...], sample: Invoke, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("The fox said to the crow: sing.\n")
    result = sample("--field", "text", *options)
    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "--field reads a field of .jsonl, .csv, .tsv and .parquet files; name one by --copied-from" in result.stderr


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_what_is_copied_is_found_however_the_corpus_writes_its_accents(form: str, invoke: Invoke, tmp_path: Path) -> None:
    network(tmp_path / "net", known="\nf\N{LATIN SMALL LETTER E WITH ACUTE}")
    words = ("sample", "-c", "net", "-n", "60", "--seed", "1", "--json")
    (record,) = records(invoke(*words))
    (tmp_path / "book.txt").write_text(unicodedata.normalize(form, f"# {record['text'][5:50]} #"), encoding="utf-8")
    (found,) = records(invoke(*words, "--copied-from", "book.txt"))
    assert found["copied"]["longest"] == 45
    assert found["copied"]["text"] == record["text"][5:50]


def test_a_corpus_that_is_no_text_is_the_only_line_and_what_to_do_can_be_done(sample: Invoke, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes(b"caf\xe9")
    result = sample("--copied-from", "book.txt")
    assert (result.code, result.stdout) == (1, "")
    invalid = "charrnn: book.txt: byte 3 (line 1) is not valid UTF-8 text"
    assert result.stderr == f"{invalid}; try --encoding latin-1; --errors replace goes on with U+FFFD\n"
    assert sample("--copied-from", "book.txt", "--encoding", "latin-1").code == 0


def test_surprise_colours_a_terminal_and_never_a_pipe(sample: Invoke) -> None:
    plain = sample("-n", "200")
    assert sample("-n", "200", "--color", "surprise").stdout == plain.stdout
    colored = sample("-n", "200", "--color", "surprise", terminal=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored.stdout) == plain.stdout
    assert {"\x1b[0;2m", "\x1b[0;33m"} <= set(re.findall(r"\x1b\[[0-9;]*m", colored.stdout))
    # Each character in the colour of its own bits.
    shown, style = [], ""
    for code, text in re.findall(r"\x1b\[([0-9;]*)m|([^\x1b])", colored.stdout):
        style = code or style
        shown += [(text, style)] * bool(text)
    generation = Generation(SampleRequest(SampleConfig(length=200, seed=1), FABLES, measured=True), str)
    assert colored.stdout.rstrip("\n").endswith("\x1b[0m")
    assert shown[:200] == [(piece, surprise_style(bits)) for piece, bits in generation.stream().measured()]


@pytest.mark.parametrize(
    ("bits", "style"), [(0.99, 0), (1.01, 1), (1.99, 1), (2.01, 2), (3.99, 2), (4.01, 3), (5.99, 3), (6.01, 4)]
)
def test_more_bits_have_another_colour_from_1_2_4_and_6_on(bits: float, style: int) -> None:
    assert [surprise_style(x) for x in (0.5, 1.5, 3.0, 5.0, 9.0)].index(surprise_style(bits)) == style


def test_a_coloured_text_that_is_interrupted_leaves_the_terminal_plain(sample: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = Console.product, []

    def interrupted(self: Console, text: str, *, flush: bool = False) -> None:
        written.append(text)
        if len(written) == 20:
            raise KeyboardInterrupt
        real(self, text, flush=flush)

    monkeypatch.setattr(Console, "product", interrupted)
    result = sample("-n", "200", "--color", "surprise", terminal=True)
    assert result.code == 130
    assert result.stdout.rstrip("\n").endswith("\x1b[0m")
    assert "Traceback" not in result.stderr


def test_the_same_text_through_torch_on_the_cpu_is_refused_only_where_it_cannot_be(sample: Invoke) -> None:
    assert sample("--device", "auto", "--clamp", "0:1=1").code == 2
    assert sample("--device", "tape").code == 2


@pytest.mark.parametrize("options", [("-p", "The ", "--temp", "0"), ("-p", "The ", "--temp", "0.2"), ()])
def test_the_network_that_comes_along_has_something_to_say(sample: Invoke, options: tuple[str, ...]) -> None:
    texts = [record["text"] for record in records(sample(*options, "-n", "200", "-N", "50", "--json"))]
    assert sum(sum(map(str.isalpha, text)) > 100 for text in texts) > 40


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_greedy_text_of_which_nothing_is_seen_says_why(sample: Invoke, count: str) -> None:
    result = sample("--temp", "0", "-n", "40", "-N", count)
    assert result.stdout.isspace()
    assert f"charrnn: {notation.BLANK}\n" in result.stderr
    for seen in (("-p", "The "), ("--temp-end", "2"), ("--json",), ("--temp", "0.8", "--seed", "1")):
        assert notation.BLANK not in sample("--temp", "0", "-n", "40", "-N", count, *seen).stderr


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_device_that_is_not_there_is_told_however_few_texts_there_are(sample: Invoke, count: str) -> None:
    absent = next(name for name, there in (("mps", torch.backends.mps), ("cuda", torch.cuda)) if not there.is_available())
    result = sample("-n", "5", "-N", count, "--device", absent)
    assert result.code == 1
    assert "finds no such device" in result.stderr


def test_a_state_that_has_no_place_is_told_before_anything_is_generated(sample: Invoke, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    for place, why in (
        (tmp_path / "notes", "is there already"),
        (tmp_path, "is there already"),
        (tmp_path / "a" / "b", "no directory"),
    ):
        result = sample("--save-state", place)
        assert (result.code, result.stdout) == (1, "")
        assert why in result.stderr


def test_a_file_without_prompts_gives_no_text(sample: Invoke, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("")
    result = sample("--prompts", tmp_path / "none")
    assert (result.code, result.stdout) == (1, "")
    assert "none: holds no prompt" in result.stderr
    (tmp_path / "one").write_text("\n")
    assert len(records(sample("--prompts", tmp_path / "one", "-n", "3", "--json"))) == 1


def test_what_many_prompts_have_that_the_network_does_not_know_is_told_once(tmp_path: Path, invoke: Callable[..., Any]) -> None:
    network(tmp_path / "net", known="\nabcde")
    (tmp_path / "prompts").write_text("aB\nBC\nabc\nD\n")
    done = invoke("sample", "-c", "net", "--prompts", "prompts", "-n", "1")
    told = [line for line in done.stderr.splitlines() if "doesn't know" in line]
    assert told == [
        "charrnn: warning: the network doesn't know every character of the prompts: 'B' -> 'b', 'C' -> 'c', 'D' -> 'd'"
    ]
