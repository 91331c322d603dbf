"""What people do with run directories: give them away, move them, copy files between them, use them anew."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charrnn.network import checkpoint

Invoke = Callable[..., Any]

TEXT = 'The fox said: "go" - and the crow\'s cheese fell into the grass.\n' * 12
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
