"""rundir: a run never takes another's files, and its log loses and repeats nothing."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_checkpoints import small

from charrnn import CharrnnError
from charrnn.network import rundir
from charrnn.network.checkpoint import read
from charrnn.network.rundir import LAST, LOG, RunDirectory
from charrnn.training.events import CONTRACT, keys


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_no_other(
    call: str, failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path)
    run.save("best", small(seed=1))
    old = run.best.read_bytes()

    def fail(*_: object) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(CharrnnError if isinstance(failure, OSError) else KeyboardInterrupt) as caught:
            run.save("best", small(seed=2))
    if isinstance(failure, OSError):
        assert str(caught.value) == f"{run.best}: can't save: No space left on device"
    run.close()
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]
    assert run.best.read_bytes() == old


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("at_home")
def test_each_run_gets_the_next_free_name() -> None:
    assert [str(RunDirectory.create("story").path) for _ in range(3)] == [
        "checkpoints/story",
        "checkpoints/story-2",
        "checkpoints/story-3",
    ]
    assert RunDirectory.create("other").path == Path("checkpoints/other")
    assert all(Path(path).is_dir() for path in ("checkpoints/story", "checkpoints/story-3", "checkpoints/other"))


def test_a_name_taken_by_anything_is_left_alone(at_home: Path) -> None:
    (at_home / "checkpoints" / "story").mkdir(parents=True)
    (at_home / "checkpoints" / "story-2").write_text("mine")
    assert RunDirectory.create("story").path == Path("checkpoints/story-3")
    assert (at_home / "checkpoints" / "story-2").read_text() == "mine"


@pytest.mark.parametrize("held", ["best.safetensors", "last.safetensors"])
def test_an_explicit_directory_that_holds_a_run_is_refused(held: str, tmp_path: Path) -> None:
    (tmp_path / held).write_text("mine")
    with pytest.raises(CharrnnError, match=f"{tmp_path}: already holds a run.*--resume {tmp_path}"):
        RunDirectory.create("story", tmp_path)
    assert (tmp_path / held).read_text() == "mine"


def test_a_directory_of_a_run_killed_before_its_first_save_can_be_used_and_its_log_is_set_aside(tmp_path: Path) -> None:
    old = '{"event": "step", "step": 7, "attempt": 1}\n'
    (tmp_path / "log.jsonl").write_text(old)
    (tmp_path / "log-1.jsonl").write_text("mine")
    run = RunDirectory.create("story", tmp_path)
    run.log({"event": "step", "step": 1, "attempt": 1})
    run.close()
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    new = '{"event": "step", "step": 1, "attempt": 1}\n'
    assert texts == {"log.jsonl": new, "log-1.jsonl": "mine", "log-2.jsonl": old}


def test_an_explicit_directory_is_made_or_used(tmp_path: Path) -> None:
    run = RunDirectory.create("story", tmp_path / "deep" / "run")
    assert run.path == tmp_path / "deep" / "run"
    assert run.path.is_dir()
    run.close()
    (run.path / "notes.md").write_text("mine")
    assert RunDirectory.create("story", run.path).path == run.path
    assert (run.best, run.last) == (run.path / "best.safetensors", run.path / "last.safetensors")


@pytest.mark.usefixtures("at_home")
def test_a_directory_that_cant_be_made_is_a_clear_error() -> None:
    Path("file").write_text("")
    with pytest.raises(CharrnnError, match="can't make the run's directory"):
        RunDirectory.create("story", Path("file"))
    with pytest.raises(CharrnnError, match="can't make the run's directory"):
        RunDirectory.create("story", Path("file/below"))
    Path("checkpoints").write_text("")
    with pytest.raises(CharrnnError, match="checkpoints: can't make the run's directory"):
        RunDirectory.create("story")


def test_a_run_saves_best_and_last_under_their_names(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.save("best", small(seed=1)) == run.best
    assert run.save("last", small(seed=2)) == run.last
    assert read(run.best).weights["head.bias"].tolist() == small(seed=1).weights["head.bias"].tolist()
    assert read(run.last).weights["head.bias"].tolist() == small(seed=2).weights["head.bias"].tolist()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run whose log, which stays open as long as its process, is closed after the test."""
    made = RunDirectory(tmp_path)
    yield made
    if made._log is not None:
        made._log.close()


def test_every_event_is_one_line_of_json_at_once(run: RunDirectory) -> None:
    events = [{"event": "start", "corpus": "é\u2028\n"}, {"event": "step", "step": 1, "val": None}]
    for count, event in enumerate(events, start=1):
        run.log(event)
        lines = (run.path / "log.jsonl").read_bytes().decode().split("\n")
        assert [json.loads(line) for line in lines[:-1]] == events[:count]


def test_a_file_name_that_is_no_text_can_be_logged(run: RunDirectory) -> None:
    event = {"corpus": os.fsdecode(b"caf\xe9")}
    run.log(event)
    assert json.loads((run.path / "log.jsonl").read_text(encoding="utf-8")) == event


def test_a_network_whose_run_is_renamed_while_it_saves_goes_on_in_the_new_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, run = tmp_path / ".run.charrnn-new", tmp_path / "run"
    (hidden / "member-0").mkdir(parents=True)
    member = RunDirectory(run / "member-0", hidden / "member-0")
    member.log({"event": "start"})
    in_place = os.replace

    def renamed(source: Path, target: Path) -> None:
        if hidden.exists():
            hidden.rename(run)
        in_place(source, target)

    monkeypatch.setattr(os, "replace", renamed)
    path = member.save("last", small())
    member.log({"event": "end"})
    member.close()
    assert path == run / "member-0" / LAST
    assert read(path).training["step"] == 7
    assert {entry.name for entry in path.parent.iterdir()} == {LAST, LOG}
    assert [json.loads(line)["event"] for line in (path.parent / LOG).read_text().splitlines()] == ["start", "end"]
    assert {entry.name for entry in tmp_path.iterdir()} == {"run"}


def test_events_of_a_step_stand_in_the_log_once() -> None:
    """A run that went on from before its end tells them again; a process of it begins and ends once."""
    told = {name for name in CONTRACT if "step" in keys(name)} - {"start", "end"}
    assert {name for name in told if rundir._place({"event": name, "step": 1}) is None} == set(), "rundir._place"
