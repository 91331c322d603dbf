"""What people do with run directories: give them away, move them, copy files between them, use them anew."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import QUOTED_TALE

from charrnn.network import checkpoint
from charrnn.network.lock import DirectoryLock
from charrnn.training.runs import run_to_resume

Invoke = Callable[..., Any]

TEXT = QUOTED_TALE * 12
SHAPE = ("--hidden-size", "8", "--embedding-size", "4", "--batch-size", "4", "--bptt", "16", "--device", "cpu")
TINY = (*SHAPE, "--precision", "fp32", "--log-every", "1", "-q")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, and the home of a user called jane."""
    home = tmp_path / "jane-doe"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / "tale.txt").write_text(TEXT)
    return home


@pytest.fixture
def at_home(home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    return home


def train(invoke: Invoke, *arguments: str | Path, steps: int = 3) -> Any:
    result = invoke("train", *arguments, *TINY, "--steps", str(steps))
    assert result.code == 0, result
    return result


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def facts(run: Path) -> Any:
    return checkpoint.read(run / "last.safetensors").training


# -- given away --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True], ids=["relative", "whole"])
def test_a_run_tells_neither_the_machine_nor_where_on_it_things_lie(whole: bool, at_home: Path, invoke: Invoke) -> None:
    text, out = (at_home / "tale.txt", at_home / "run") if whole else (Path("tale.txt"), Path("run"))
    train(invoke, text, "--out", out)
    train(invoke, "--resume", out, steps=5)
    assert sorted(path.name for path in Path("run").iterdir()) == ["best.safetensors", "last.safetensors", "log.jsonl"]
    for path in Path("run").iterdir():
        written = path.read_bytes()
        assert str(at_home).encode() not in written, path
        assert b"jane-doe" not in written, path
        assert f'"host": "{platform.node()}"'.encode() not in written, path
    assert facts(out)["corpus_paths"] == ["../tale.txt"]
    assert {event["run_dir"] for event in log(out) if event["event"] == "start"} == {"run"}
    assert log(out)[-1]["best_path"] == "run/best.safetensors"


def test_a_text_from_elsewhere_is_told_by_its_name_and_named_where_the_run_goes_on(
    home: Path, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    train(invoke, home / "tale.txt", "--out", "run")
    assert facts(work / "run")["corpus_paths"] == ["tale.txt"]
    result = invoke("train", "--resume", "run", "--steps", "5", "-q")
    assert (result.code, result.stdout) == (1, "")
    said = "its text tale.txt is not where it was, nor here; name it: charrnn train TEXT --resume RUN"
    assert result.stderr == f"charrnn: run/last.safetensors: {said}\n"
    train(invoke, home / "tale.txt", "--resume", "run", steps=5)
    shutil.copy(home / "tale.txt", work)
    train(invoke, "--resume", "run", steps=7)


def test_a_directory_that_moves_with_its_text_goes_on(at_home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("project/data").mkdir(parents=True)
    shutil.move("tale.txt", "project/data/tale.txt")
    monkeypatch.chdir("project")
    train(invoke, "data/tale.txt")
    monkeypatch.chdir("..")
    shutil.move("project", "elsewhere")
    train(invoke, "--resume", "elsewhere/checkpoints/tale", steps=5)
    # Nothing of it lies below this directory, and yet the run still knows where its text is.
    monkeypatch.chdir("elsewhere/checkpoints")
    train(invoke, "--resume", "tale", steps=7)
    assert facts(Path("tale"))["corpus_paths"] == ["../../data/tale.txt"]


def test_a_run_of_an_earlier_version_goes_on_from_the_whole_path_and_tells_it_no_more(at_home: Path, invoke: Invoke) -> None:
    train(invoke, "tale.txt", "--out", "run")
    last = checkpoint.read(Path("run/last.safetensors"))
    earlier = {**last.training, "corpus_paths": [str(at_home / "tale.txt")]}
    checkpoint.write(Path("run/last.safetensors"), replace(last, training=earlier))
    train(invoke, "--resume", "run", steps=5)
    assert facts(Path("run"))["corpus_paths"] == ["../tale.txt"]


def test_several_texts_and_directories_keep_their_order(at_home: Path, invoke: Invoke) -> None:
    Path("more").mkdir()
    Path("more/b.txt").write_text(TEXT)
    train(invoke, "more", "tale.txt", "--out", "run")
    assert facts(Path("run"))["corpus_paths"] == ["../more", "../tale.txt"]
    train(invoke, "--resume", "run", steps=5)


def test_a_run_that_was_stopped_names_its_text_if_it_would_not_find_it(
    home: Path, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.cli.train.Stop.__call__", lambda _: "interrupted")
    (tmp_path / "here.txt").write_text(TEXT)
    (tmp_path / "work").mkdir()
    for place, text, named in (("work", home / "tale.txt", f" {home}/tale.txt"), (".", "here.txt", "")):
        monkeypatch.chdir(tmp_path / place)
        result = invoke("train", text, *SHAPE, "--out", "run", "--steps", "5")
        assert result.stderr.endswith(f"go on by: charrnn train{named} --resume run\n"), result.stderr


# -- the same text in other bytes -----------------------------------------------------------------------------------------


LINES = "The crow's cheese: für Elise.\nOnce more\n" * 20
REWRITTEN: dict[str, Callable[[str], bytes]] = {
    "CR LF, as git makes it": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "a byte-order mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
}


@pytest.mark.parametrize("rewritten", REWRITTEN.values(), ids=REWRITTEN)
def test_a_text_is_its_characters_not_its_bytes(rewritten: Callable[[str], bytes], at_home: Path, invoke: Invoke) -> None:
    Path("verse.txt").write_text(LINES, encoding="utf-8", newline="\n")
    train(invoke, "verse.txt", "--out", "run", "--eval-every", "1")
    before = facts(Path("run"))
    Path("verse.txt").write_bytes(rewritten(LINES))
    result = train(invoke, "--resume", "run", steps=5)
    assert "another run" not in result.stderr
    after = facts(Path("run"))
    assert after["corpus_text_sha256"] == before["corpus_text_sha256"] == hashlib.sha256(LINES.encode()).hexdigest()
    assert before["corpus_sha256"] == hashlib.sha256(LINES.encode()).hexdigest()
    assert after["corpus_sha256"] == hashlib.sha256(rewritten(LINES)).hexdigest()
    Path("verse.txt").write_bytes(rewritten(LINES.replace("cheese", "Cheese")))
    result = invoke("train", "--resume", "run", "--steps", "7", "-q")
    assert (result.code, result.stdout) == (1, "")
    assert "verse.txt: not the text that run/last.safetensors was trained on, and " in result.stderr


def test_at_level_byte_every_byte_counts(at_home: Path, invoke: Invoke) -> None:
    train(invoke, "tale.txt", "--out", "run", "--level", "byte")
    assert facts(Path("run"))["corpus_text_sha256"] == facts(Path("run"))["corpus_sha256"]
    Path("tale.txt").write_bytes(TEXT.replace("\n", "\r\n").encode())
    result = invoke("train", "--resume", "run", "--steps", "5", "-q")
    assert result.code == 1
    assert "not the text" in result.stderr


def test_characters_that_are_none_have_a_digest(at_home: Path, invoke: Invoke) -> None:
    Path("odd.txt").write_bytes(("a\ud800b\udfffc\n" * 40).encode("utf-16", "surrogatepass"))
    train(invoke, "odd.txt", "--out", "run", "--errors", "replace")
    train(invoke, "--resume", "run", steps=5)


def test_the_files_are_kept_in_order_and_those_that_came_or_went_are_named(at_home: Path, invoke: Invoke) -> None:
    Path("book/part").mkdir(parents=True)
    for name in ("ch10", "ch2", "part/z"):
        Path(f"book/{name}.txt").write_text(TEXT)
    train(invoke, "book", "tale.txt", "--out", "run")
    kept = ["../book/ch2.txt", "../book/ch10.txt", "../book/part/z.txt", "../tale.txt"]
    assert facts(Path("run"))["corpus_files"] == kept
    Path("book/ch2.txt").rename("book/ch1.txt")
    Path("book/ch1.txt").write_text(TEXT + "!")
    Path("book/ch11.txt").write_text(TEXT)
    result = invoke("train", "--resume", "run", "--steps", "5", "-q")
    assert result.code == 1
    assert "was trained on (new: ch1.txt, ch11.txt; gone: ch2.txt), and 1 character is not" in result.stderr


@pytest.mark.parametrize("stored", [None, "tale.txt", [1], ["a", "b", "\ud800"]])
def test_what_a_stranger_says_of_the_files_is_no_crash(stored: object, at_home: Path, invoke: Invoke) -> None:
    train(invoke, "tale.txt", "--out", "run")
    last = checkpoint.read(Path("run/last.safetensors"))
    checkpoint.write(last.path, replace(last, training={**last.training, "corpus_files": stored}))
    Path("tale.txt").write_text(TEXT + TEXT)
    result = invoke("train", "--resume", "run", "--steps", "5", "-q")
    assert result.code == 1
    assert "not the text that run/last.safetensors was trained on" in result.stderr


# -- who trains --------------------------------------------------------------------------------------------------------


def test_who_trains_is_told_while_a_run_is_open_and_a_note_left_behind_harms_nothing(
    at_home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("run").mkdir()
    Path("run/.owner.json").write_text('{"pid": 1, "host": "elsewhere"}')  # as kill -9 leaves it
    seen = []

    def look(_: object) -> None:
        seen.append(json.loads(Path("run/.owner.json").read_text()))

    monkeypatch.setattr("charrnn.cli.train.Stop.__call__", look)
    result = invoke("train", "tale.txt", *TINY, "--steps", "2", "--out", "run", "--json")
    assert result.code == 0, result
    assert seen[0] == {"pid": os.getpid(), "host": platform.node()}
    assert not Path("run/.owner.json").exists()
    start = json.loads(result.stdout.splitlines()[0])
    assert (start["pid"], start["host"]) == (os.getpid(), platform.node())


# -- used anew, mixed up -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--resume", "checkpoints/tale"),
        ("train", "--resume", "latest"),
        ("sample", "-c", "checkpoints/tale"),
        ("sample",),
        ("classify", "predict", "-c", "checkpoints/tale", "tell me"),
        ("classify", "predict", "tell me"),
        ("info", "checkpoints/tale"),
        ("info",),
    ],
    ids=" ".join,
)
def test_of_a_run_that_has_saved_nothing_yet_it_is_told_that_and_who_trains(
    words: tuple[str, ...], at_home: Path, invoke: Invoke
) -> None:
    Path("checkpoints/tale").mkdir(parents=True)
    held = DirectoryLock(Path("checkpoints/tale"))
    result = invoke(*words)
    held.release()
    trains = f"charrnn: checkpoints/tale: another process (process {os.getpid()} on {platform.node()}) is training there"
    assert (result.code, result.stdout) == (words[0] != "info", "")
    assert result.stderr in (f"{trains}; wait until it has saved\n", f"{trains}; wait for it\n")
    assert "another process" not in invoke(*words).stderr


def test_a_run_that_another_process_trains_is_not_resumed_beside_it(at_home: Path, invoke: Invoke) -> None:
    train(invoke, "tale.txt", "--out", "run")
    held = DirectoryLock(Path("run"))
    result = invoke("train", "--resume", "run")
    asked_by_another_rank = run_to_resume("run")
    held.release()
    assert result.stderr.endswith(" is training there; wait for it\n")
    assert asked_by_another_rank == Path("run")


def test_a_new_run_begins_a_new_log_and_the_old_one_stays(at_home: Path, invoke: Invoke) -> None:
    train(invoke, "tale.txt", "--out", "run", steps=9)
    old = Path("run/log.jsonl").read_text()
    for kind in ("best", "last"):
        Path(f"run/{kind}.safetensors").unlink()
    train(invoke, "tale.txt", "--out", "run")
    assert [event["event"] for event in log(Path("run"))].count("start") == 1
    train(invoke, "--resume", "run", steps=5)
    assert [event["step"] for event in log(Path("run")) if event["event"] == "step"] == [1, 2, 3, 4, 5]
    assert Path("run/log-1.jsonl").read_text() == old


@pytest.mark.parametrize(
    "options", [("--hidden-size", "9"), ("--cell", "gru"), ("--layers", "2"), ("--min-count", "20"), ("--level", "byte")]
)
def test_a_best_of_another_run_is_set_aside_and_said(options: tuple[str, str], at_home: Path, invoke: Invoke) -> None:
    train(invoke, "tale.txt", "--out", "run")
    assert invoke("train", "tale.txt", *TINY, "--steps", "3", "--out", "other", *options).code == 0
    shutil.copy("other/best.safetensors", "run/best.safetensors")
    stranger = Path("run/best.safetensors").read_bytes()
    result = invoke("train", "--resume", "run", "--steps", "6", "--json", "-q")
    assert result.code == 0, result
    warned = [event["text"] for event in map(json.loads, result.stdout.splitlines()) if event["event"] == "warning"]
    assert (
        "run/best.safetensors: is of another run; it is called best-1.safetensors now, and this run goes on without it"
        in warned
    )
    assert Path("run/best-1.safetensors").read_bytes() == stranger
    best, last = (checkpoint.read(Path(f"run/{kind}.safetensors")) for kind in ("best", "last"))
    assert (best.model, best.vocabulary) == (last.model, last.vocabulary)
