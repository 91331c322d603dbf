"""reading: one reader, whoever asks."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FABLES, Put

from charrnn import CharrnnError
from charrnn.network import checkpoint
from charrnn.text import sources
from charrnn.text.corpus import read_corpus
from charrnn.text.reading import TextReader, text_of
from charrnn.text.vocabulary import Vocabulary

Invoke = Callable[..., Any]


@pytest.mark.parametrize("block", [1, 5, 1 << 16])
def test_code_points_come_block_by_block(block: int, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", block)
    blocks = list(TextReader().codes(put("a.txt", "a\r\n\u20acb\r".encode())))
    assert np.concatenate(blocks).tolist() == [97, 10, 0x20AC, 98, 10]
    assert len(blocks) > 1 or block > 5
    assert all(len(codes) for codes in blocks)
    assert bytes(np.concatenate(list(TextReader("byte").codes(put("b.gz", gzip.compress(b"\xff\r\n")))))) == b"\xff\r\n"


def test_code_points_are_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab")))
    assert [codes.tolist() for codes in TextReader().codes("-")] == [[97, 98]]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CharrnnError, match="stdin is closed"):
        list(TextReader().codes("-"))


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_a_name_that_no_file_can_have_is_an_error_in_one_line(name: str) -> None:
    for read in (lambda: list(TextReader().codes(name)), lambda: read_corpus([name])):
        with pytest.raises(CharrnnError) as caught:
            read()
        assert str(caught.value).startswith(f"{name}: ")


# -- one reader for every option that takes a text ---------------------------------------------------------------------

TALE = "Once upon a time\nthere was a fox.\n"
FORMS = {
    "tale.txt.gz": gzip.compress(TALE.encode()),
    "tale.txt": b"\xef\xbb\xbf" + TALE.replace("\n", "\r\n").encode(),
    "utf-16.txt": TALE.encode("utf-16"),
    "unmarked.txt": TALE.encode("utf-16-be"),
    "folder/part 1.txt": TALE[:17].encode(),
    "folder/part 2.txt.gz": gzip.compress(TALE[17:].encode()),
}


@pytest.mark.parametrize("name", ["tale.txt.gz", "tale.txt", "utf-16.txt", "unmarked.txt", "folder"])
def test_a_file_reads_alike_for_every_option(name: str, invoke: Invoke, tmp_path: Path) -> None:
    for path, data in FORMS.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    shown = invoke("inspect", "--file", name, "-c", FABLES, "--color", "surprise").stdout
    assert "".join(json.loads(line.split("\t")[0]) for line in shown.splitlines()) == TALE
    assert invoke("sample", "--prompt-file", name, "-c", FABLES, "-n", "0").stdout == TALE
    prompts = invoke("sample", "--prompts", name, "-c", FABLES, "-n", "0", "--json").stdout
    assert [json.loads(line)["prompt"] for line in prompts.splitlines()] == TALE.splitlines()
    copied = invoke("sample", "--copied-from", name, "-c", FABLES, "-p", "x", "-n", "20", "--json", "--seed", "1").stdout
    plain = invoke("sample", "--copied-from", "tale.txt", "-c", FABLES, "-p", "x", "-n", "20", "--json", "--seed", "1").stdout
    assert json.loads(copied)["copied"] == json.loads(plain)["copied"]
    if name != "folder":
        assert json.loads(invoke("score", name, "-c", FABLES, "--json").stdout)["characters"] == len(TALE)
        stdin = FORMS[name] if not name.endswith(".gz") else TALE.encode()
        assert json.loads(invoke("next", "-", "--keep-newline", "-c", FABLES, "--json", stdin=stdin).stdout)["prompt"] == TALE


def test_inspecting_memory_reads_files_alike(invoke: Invoke, tmp_path: Path) -> None:
    texts = {"plain.txt": TALE.encode() * 13, "packed.txt.gz": gzip.compress((TALE * 13).encode("utf-16"))}
    found = []
    for name, data in texts.items():
        (tmp_path / name).write_bytes(data)
        found.append(invoke("inspect", "--memory", "--file", name, "-c", FABLES, "--json").stdout)
    assert found[0] == found[1] != ""


def test_every_command_that_reads_texts_takes_an_encoding(put: Put, invoke: Invoke) -> None:
    path = put("tale.txt", "\u041f\u0440\u0438\u0432\u0435\u0442".encode("koi8-r"))
    for arguments in (
        ["inspect", "--file", path],
        ["sample", "--prompt-file", path],
        ["sample", "--prompts", path],
        ["score", path],
        ["next", "-"],
    ):
        stdin = b"\xf0" if "-" in arguments else b""
        assert "'\u041f'" in invoke(*arguments, "-c", FABLES, "--encoding", "koi8-r", stdin=stdin).stderr
        wrong = invoke(*arguments, "-c", FABLES, "--encoding", "no-such", stdin=stdin)
        assert (wrong.code, wrong.stderr.startswith("charrnn: --encoding: 'no-such' is not a text encoding")) == (2, True)


def test_a_text_that_names_a_file_is_told_how_to_be_read(put: Put, invoke: Invoke) -> None:
    put("tale.txt", TALE.encode())
    for arguments, how in (
        (["inspect", "tale.txt", "--color", "surprise"], "charrnn inspect --file tale.txt"),
        (["inspect", "--contribution", "tale.txt"], "charrnn inspect --contribution - < tale.txt"),
        (["sample", "-p", "tale.txt", "-n", "0"], "--prompt-file tale.txt"),
        (["next", "tale.txt"], "charrnn next - < tale.txt"),
    ):
        done = invoke(*arguments, "-c", FABLES)
        assert (done.code, done.stdout != "") == (0, True)
        assert f"warning: tale.txt is read as a text, but it names a file; {how} reads the file\n" in done.stderr


def test_stdin_is_no_file_that_is_called_so(put: Put, invoke: Invoke) -> None:
    put("-", b"not this")
    done = invoke("next", "-", "-c", FABLES, "--json", stdin=b"The fo\n")
    assert (json.loads(done.stdout)["prompt"], done.stderr) == ("The fo", "")
    asked = invoke("inspect", "x", "-c", FABLES, "--svg", "-")
    assert (asked.code, "/dev/stdout" in asked.stderr) == (2, True)


def test_a_run_goes_on_by_the_rules_with_which_it_began(put: Put, invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    put("letters/a.txt", (TALE * 9).encode() + b"\xff\n")
    options = ["--hidden-size", "4", "--device", "cpu", "-q"]
    assert invoke("train", "letters", "--steps", "2", "--out", "run", "--errors", "replace", *options).code == 0
    assert "\ufffd" in checkpoint.read(tmp_path / "run" / "last.safetensors").vocabulary.characters
    assert (
        "--errors strict differs from the run's own, replace" in invoke("train", "--resume", "run", "--errors", "strict").stderr
    )
    (tmp_path / "letters" / "sub").mkdir()
    put("letters/sub/b.txt", b"more")
    put("letters/C.TXT", b"and more")
    resume = ["train", "--resume", "run", "--steps", "4", "-q"]
    assert "not the text" in invoke(*resume).stderr, "a new run reads all that is below"
    last = tmp_path / "run" / "last.safetensors"
    stored = checkpoint.read(last)
    assert stored.training["corpus_reading"] == 3
    facts = {name: value for name, value in stored.training.items() if name != "corpus_reading"}
    checkpoint.write(last, replace(stored, training=facts | {"corpus_reading": 4}))
    assert "rules of another version of charrnn" in invoke(*resume).stderr
    checkpoint.write(last, replace(stored, training=facts))
    assert (invoke(*resume).code, checkpoint.read(last).training["corpus_reading"]) == (0, 1)


def test_a_text_in_the_known_form_comes_with_all_its_bytes(tmp_path: Path) -> None:
    """By these bytes it is known again."""
    path = tmp_path / "text.txt"
    path.write_bytes("caf\u0065\u0301, \u00e9t\u00e9\n".encode() * 3)
    vocabulary = Vocabulary("char", "".join(sorted("\n ,acft\u00e9")))
    reader = TextReader(known_form=vocabulary.normalizer)
    pieces = list(reader.pieces(str(path)))
    assert b"".join(raw for raw, _ in pieces) == path.read_bytes()
    assert "".join(text_of(codes) for _, codes in pieces) == "caf\u00e9, \u00e9t\u00e9\n" * 3
