"""showing: samples in pipes, on terminals, in files, in JSON, in colour and in conversation."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT

Invoke = Callable[..., Any]
FABLES = ROOT / "checkpoints" / "fables"


@pytest.fixture
def sample(invoke: Invoke) -> Invoke:
    return lambda *arguments, **others: invoke("sample", "-c", FABLES, "--seed", "1", *arguments, **others)


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


@pytest.mark.parametrize("many", ["1", "5"])
def test_a_stop_text_ends_a_sample_and_is_printed_only_if_kept(sample: Invoke, many: str) -> None:
    common = ("-N", many, "-n", "2000", "--stop", "the", "--stop", "and", "--json")
    for without, kept in zip(records(sample(*common)), records(sample(*common, "--keep-stop")), strict=True):
        assert without["finish_reason"] == kept["finish_reason"] == "stop"
        assert without["stop"] in ("the", "and")
        assert without["text"] + without["stop"] == kept["text"]
        assert not re.search("the|and", without["text"])


def test_endless_text_ends_with_its_stop_or_its_lines(sample: Invoke) -> None:
    assert sample("-n", "-1", "--lines", "3").stdout.count("\n") == 3
    for waits in (["-N", "2"], ["--json"], ["--out-dir", "x"], ["--best-of", "2"]):
        result = sample("-n", "-1", *waits)
        assert (result.code, result.stderr.count("\n")) == (2, 1)


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


def test_a_corpus_that_is_no_text_is_the_only_line_and_what_to_do_can_be_done(sample: Invoke, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes(b"caf\xe9")
    result = sample("--copied-from", "book.txt")
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr == "charrnn: book.txt: byte 3 is not valid UTF-8 text; save a copy of it as UTF-8\n"


def test_surprise_colours_a_terminal_and_never_a_pipe(sample: Invoke) -> None:
    plain = sample("-n", "200")
    assert sample("-n", "200", "--color", "surprise").stdout == plain.stdout
    colored = sample("-n", "200", "--color", "surprise", terminal=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored.stdout) == plain.stdout
    assert {"\x1b[0;2m", "\x1b[0;33m"} <= set(re.findall(r"\x1b\[[0-9;]*m", colored.stdout))
    assert colored.stdout.rstrip("\n").endswith("\x1b[0m")


def test_the_same_text_through_torch_on_the_cpu_is_refused_only_where_it_cannot_be(sample: Invoke) -> None:
    assert sample("--device", "auto", "--clamp", "0:1=1").code == 2
    assert sample("--device", "tape").code == 2


@pytest.mark.parametrize("options", [("-p", "The ", "--temp", "0"), ("-p", "The ", "--temp", "0.2"), ()])
def test_the_network_that_comes_along_has_something_to_say(sample: Invoke, options: tuple[str, ...]) -> None:
    texts = [record["text"] for record in records(sample(*options, "-n", "200", "-N", "50", "--json"))]
    assert sum(sum(map(str.isalpha, text)) > 100 for text in texts) > 40


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_device_that_is_not_there_is_told_however_few_texts_there_are(sample: Invoke, count: str) -> None:
    absent = next(name for name, there in (("mps", torch.backends.mps), ("cuda", torch.cuda)) if not there.is_available())
    result = sample("-n", "5", "-N", count, "--device", absent)
    assert result.code == 1
    assert "finds no such device" in result.stderr


# -- a conversation ---------------------------------------------------------------------------------------------------


def test_a_conversation_goes_on_from_all_that_went_before(sample: Invoke) -> None:
    talk = sample("-i", "-n", "50", "-q", stdin=b"The fox\n\n")
    whole = sample("-p", "The fox", "-n", "100", "--no-echo").stdout
    first, second = whole[:50], whole[50:]
    assert talk.stdout == "".join(part if part.endswith("\n") else part + "\n" for part in (first, second))


def test_its_commands(sample: Invoke, tmp_path: Path) -> None:
    talk = sample("-i", "-n", "30", stdin=b"/temp 0\nThe\n/save s\n/reset\nThe\n/nonsense\n/temp x\n//\n/quit\nnever read\n")
    assert talk.code == 0
    greedy = sample("-p", "The", "--temp", "0", "-n", "30", "--no-echo").stdout
    assert talk.stdout.startswith(greedy * 2)
    assert (tmp_path / "s").exists()
    assert "/nonsense: there are" in talk.stderr
    assert "/temp must be a number of at least 0" in talk.stderr


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


@pytest.mark.parametrize("options", [["-N", "2"], ["--json"], ["--save-state", "s"], ["--out-dir", "d"]])
def test_what_a_conversation_goes_without(sample: Invoke, options: list[str]) -> None:
    result = sample("-i", *options)
    assert (result.code, result.stdout) == (2, "")


def test_on_a_terminal_ctrl_c_stops_the_current_text_only() -> None:
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "charrnn", "sample", "-i", "-n", "-1", "--seed", "1", "-c", str(FABLES)]
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, start_new_session=True, preexec_fn=_own_terminal
    ) as child:
        os.close(follower)
        seen = _until(leader, b"> ", b"")
        os.write(leader, b"The fox\n")
        seen = _until(leader, b"", seen, longer=len(seen) + 200)
        os.write(leader, b"\x03")
        seen = _until(leader, b"\n> ", b"")
        os.write(leader, b"/temp 0\n")
        seen = _until(leader, b"> ", b"")
        os.write(leader, b"\x04")
        assert child.wait(30) == 0
        os.close(leader)
    assert b"Traceback" not in seen


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _until(leader: int, wanted: bytes, seen: bytes, longer: int = 0) -> bytes:
    deadline = time.monotonic() + 60
    while wanted not in seen.replace(b"\r\n", b"\n") or len(seen) < longer:
        assert time.monotonic() < deadline, seen
        if select.select([leader], [], [], 1)[0]:
            seen += os.read(leader, 4096)
    return seen
