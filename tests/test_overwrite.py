"""``train --overwrite``: at every moment, also after a kill, there is one whole run; nothing but a run is replaced."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("forks and POSIX signals", allow_module_level=True)

import crash

from charrnn import cli, files
from charrnn.network import checkpoint, lock

Invoke = Callable[..., Any]

OLD, NEW = crash.settings(6), crash.settings(7)
RUN = {"best.safetensors", "last.safetensors", "log.jsonl"}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tale.txt").write_text(crash.TEXT)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of six steps, which tests change a copy of."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tale.txt").write_text(crash.TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.run(["train", "tale.txt", "--out", "run", *OLD]) == 0
    return folder / "run"


@pytest.fixture
def old(tale: Path, finished: Path) -> Path:
    """The finished run in the current directory."""
    return shutil.copytree(finished, tale / "run")


def steps(run: Path) -> int:
    """How long the finished run in a directory was; the directory is whole and holds nothing else."""
    assert {path.name for path in run.iterdir()} == RUN
    made = checkpoint.read(run / "last.safetensors").training["config"]["steps"]
    assert isinstance(made, int)
    return made


def beside(run: Path) -> set[str]:
    return {path.name for path in run.parent.iterdir()} - {"tale.txt", run.name}


def assert_refused(result: Any, *parts: str) -> None:
    assert (result.code, result.stdout) == (1, ""), result
    assert result.stderr.count("\n") == 1
    assert all(part in result.stderr for part in parts), result.stderr


# -- replaced ----------------------------------------------------------------------------------------------------------


def test_a_run_is_replaced_by_the_new_one_with_a_log_of_its_own(old: Path, invoke: Invoke) -> None:
    result = invoke("train", "tale.txt", "--out", "run", "--overwrite", *NEW)
    assert (result.code, result.stdout) == (0, "run/best.safetensors\n"), result
    assert steps(old) == 7
    assert crash.logged(old) == [1, 2, 3, 4, 5, 6, 7]
    assert [event["event"] for event in files.json_lines(old / "log.jsonl")].count("start") == 1
    assert beside(old) == set()
    assert checkpoint.read(old / "last.safetensors").training["corpus_paths"] == ["../tale.txt"]
    assert invoke("train", "--resume", "run", "--steps", "9", "-q").code == 0


def test_the_old_run_stays_whole_until_the_new_one_has_saved_what_it_can_go_on_from(
    old: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(_: object) -> None:
        found = invoke("info", "--json")  # nothing hidden is listed
        listed = [json.loads(line)["path"] for line in found.stdout.splitlines()]
        last = checkpoint.read(Path("checkpoints/tale/last.safetensors")).training
        seen.append((last["config"]["steps"], last["step"], listed))

    assert invoke("train", "tale.txt", *OLD).code == 0
    monkeypatch.setattr("charrnn.cli.train.Stop.__call__", look)
    result = invoke("train", "tale.txt", "--overwrite", *NEW, "--json")
    assert result.code == 0, result
    listed = ["checkpoints/tale/best.safetensors"]
    assert seen[:3] == [(6, 6, listed), (7, 1, listed), (7, 2, listed)]
    events = [json.loads(line) for line in result.stdout.splitlines()]
    told = [event[key] for event in events for key in ("path", "run_dir", "best_path") if key in event]
    assert {Path(path).parent.name for path in told} <= {"tale", "checkpoints"}
    assert sorted(path.name for path in Path("checkpoints").iterdir()) == ["tale"]


@pytest.mark.parametrize("there", ["nothing", "an empty directory", "a log alone"])
def test_where_no_run_is_the_new_one_begins(there: str, tale: Path, invoke: Invoke) -> None:
    if there != "nothing":
        Path("run").mkdir()
    if there == "a log alone":
        Path("run/log.jsonl").write_text('{"event": "start"}\n{"event": "step", "step": 99, "attempt": 1}\n')
    assert invoke("train", "tale.txt", "--out", "run", "--overwrite", *NEW).code == 0
    assert steps(tale / "run") == 7
    assert crash.logged(tale / "run") == [1, 2, 3, 4, 5, 6, 7]
    assert beside(tale / "run") == set()


def test_behind_a_link_the_directory_itself_is_replaced(old: Path, invoke: Invoke) -> None:
    Path("disk").mkdir()
    old.rename("disk/run")
    Path("run").symlink_to("disk/run")
    assert invoke("train", "tale.txt", "--out", "run", "--overwrite", *NEW).code == 0
    assert Path("run").is_symlink()
    assert steps(Path("run")) == 7
    assert [path.name for path in Path("disk").iterdir()] == ["run"]


def test_a_run_may_begin_from_the_one_that_it_replaces(old: Path, invoke: Invoke) -> None:
    options = ("--steps", "7", "--device", "cpu", "-q")
    assert invoke("train", "tale.txt", "--out", "run", "--overwrite", "--init-from", "run", *options).code == 0
    assert steps(old) == 7


def test_who_may_read_the_old_run_may_read_the_new_one(old: Path, invoke: Invoke) -> None:
    for path, mode in ((old, 0o700), (old / "best.safetensors", 0o600), (old / "last.safetensors", 0o640)):
        path.chmod(mode)
    assert invoke("train", "tale.txt", "--out", "run", "--overwrite", *NEW).code == 0
    modes = [path.stat().st_mode & 0o777 for path in (old, old / "best.safetensors", old / "last.safetensors")]
    assert (steps(old), modes) == (7, [0o700, 0o600, 0o640])


def test_what_comes_into_the_directory_meanwhile_moves_along(
    old: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(_: object) -> None:
        (old / "notes.md").write_text("mine")

    monkeypatch.setattr("charrnn.cli.train.Stop.__call__", note)
    assert invoke("train", "tale.txt", "--out", "run", "--overwrite", *NEW).code == 0
    assert (old / "notes.md").read_text() == "mine"
    assert {path.name for path in old.iterdir()} == RUN | {"notes.md"}
    assert beside(old) == set()


def test_a_run_that_never_saves_leaves_the_old_one_and_no_trace(
    old: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("charrnn.training.learner.Learner.step", fail)
    invoke("train", "tale.txt", "--out", "run", "--overwrite", *NEW)
    monkeypatch.undo()
    os.chdir(old.parent)
    assert steps(old) == 6
    assert beside(old) == set()


def test_a_dry_run_repeats_the_option_and_resume_refuses_it(tale: Path, invoke: Invoke) -> None:
    planned = invoke("train", "tale.txt", "--out", "run", "--overwrite", "--steps", "5", "--dry-run", "--json")
    assert "--overwrite" in shlex.split(json.loads(planned.stdout)["command"])
    result = invoke("train", "--resume", "run", "--overwrite")
    assert result.code == 2
    assert "leave out --out, --init-from and --overwrite" in result.stderr


# -- refused -----------------------------------------------------------------------------------------------------------


def strange(run: Path, what: str) -> str:
    """Put something into the run directory that no run writes, and return what the refusal must name."""
    if what == "a file":
        (run / "notes.md").write_text("mine")
        return "notes.md"
    if what == "a hidden file":
        (run / ".git").write_text("mine")
        return ".git"
    if what == "a directory called like a checkpoint":
        (run / "best.safetensors").unlink()
        (run / "best.safetensors").mkdir()
        return "best.safetensors"
    if what == "somebody's log":
        (run / "log.jsonl").write_text('{"level": "info"}\n')
        return "log.jsonl"
    if what == "somebody's log of words":
        (run / "log.jsonl").write_text("yesterday\n")
        return "log.jsonl"
    if what == "a pipe":
        (run / "log.jsonl").unlink()
        os.mkfifo(run / "log.jsonl")
        return "log.jsonl"
    assert what == "somebody's weights"
    (run / "best.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    return "best.safetensors"


@pytest.mark.parametrize(
    "what",
    [
        "a file",
        "a hidden file",
        "a directory called like a checkpoint",
        "somebody's log",
        "somebody's log of words",
        "a pipe",
        "somebody's weights",
    ],
)
def test_a_directory_that_holds_anything_else_is_refused_and_stays(what: str, old: Path, invoke: Invoke) -> None:
    named = strange(old, what)
    before = {path.name: path.read_bytes() if path.is_file() else b"" for path in old.iterdir()}
    assert_refused(invoke("train", "tale.txt", "--out", "run", "--overwrite", *NEW), "run", named, "--overwrite")
    assert {path.name: path.read_bytes() if path.is_file() else b"" for path in old.iterdir()} == before
    assert beside(old) == set()


def test_a_file_and_the_current_directory_are_refused(old: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(invoke("train", "tale.txt", "--out", "tale.txt", "--overwrite", *NEW), "tale.txt", "Not a directory")
    monkeypatch.chdir(old)
    assert_refused(invoke("train", "../tale.txt", "--out", ".", "--overwrite", *NEW), "the current directory")
    assert steps(old) == 6


def test_a_directory_where_another_process_trains_is_refused(old: Path, invoke: Invoke) -> None:
    held = lock.DirectoryLock(old)
    assert_refused(invoke("train", "tale.txt", "--out", "run", "--overwrite", *NEW), "run: another process", str(os.getpid()))
    held.release()
    assert steps(old) == 6


def test_while_it_is_being_replaced_no_other_process_trains_there(
    old: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = []

    def try_too(_: object) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("charrnn.cli.train.Stop.__call__", lambda _: None)
            for others in (("--resume", "run"), ("tale.txt", "--out", "run", "--overwrite", *NEW)):
                refusals.append(invoke("train", *others))

    monkeypatch.setattr("charrnn.cli.train.Stop.__call__", try_too)
    assert invoke("train", "tale.txt", "--out", "run", "--overwrite", *crash.settings(2)).code == 0
    assert len(refusals) == 6  # before each step, and at the end
    for refusal in refusals:
        assert_refused(refusal, "run: another process", str(os.getpid()))


# -- killed ------------------------------------------------------------------------------------------------------------

COMMANDS: dict[str, tuple[str, ...]] = {
    "info": ("info", "checkpoints/tale"),
    "info of all": ("info", "--json"),
    "sample": ("sample", "-n", "1", "-q", "-c", "checkpoints/tale"),
    "sample a file": ("sample", "-n", "1", "-q", "-c", "checkpoints/tale/best.safetensors"),
    "sample the latest": ("sample", "-n", "1", "-q"),
    "score": ("score", "tale.txt", "-c", "checkpoints/tale"),
    "resume": ("train", "--resume", "checkpoints/tale", "--steps", "8", "-q"),
    "resume the latest": ("train", "--resume", "latest", "--steps", "8", "-q"),
    "train": ("train", "tale.txt", "--overwrite", *crash.settings(8)),
    "train beside it": ("train", "tale.txt", *crash.settings(9)),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_run_killed_between_the_renames_is_put_right_by_the_next_command(
    command: tuple[str, ...], nursery: crash.Nursery, tale: Path, invoke: Invoke
) -> None:
    assert invoke("train", "tale.txt", *OLD).code == 0
    code, child = nursery.run(tale, "train", "tale.txt", "--overwrite", *NEW, kill=("rename", 2))
    assert code == -signal.SIGKILL, child.stderr
    run = tale / "checkpoints" / "tale"
    assert sorted(path.name for path in run.parent.iterdir()) == [".tale.charrnn-new", ".tale.charrnn-old"]
    result = invoke(*command)
    assert result.code == 0, result
    assert {path.name for path in run.parent.iterdir()} - {"tale-2"} == {"tale"}
    assert RUN <= {path.name for path in run.iterdir()} <= RUN | {lock.OWNER}
    last = checkpoint.read(run / "last.safetensors").training
    assert (last["config"]["steps"], last["step"]) == ((8, 8) if "8" in command else (7, 1))


@pytest.mark.parametrize("command", [("info", "run"), ("info", "."), ("train", "--resume", "run", "--steps", "7", "-q")])
def test_what_a_run_left_that_was_killed_before_it_saved_anything_goes_with_the_next_command(
    command: tuple[str, ...], nursery: crash.Nursery, old: Path, invoke: Invoke
) -> None:
    code, child = nursery.run(old.parent, "train", "tale.txt", "--out", "run", "--overwrite", *NEW, kill=("step", 1))
    assert code == -signal.SIGKILL, child.stderr
    left = old.with_name(".run.charrnn-new")
    assert invoke(*command).code == 0
    assert left.is_dir()  # It may have been made just now.
    (left / "notes").write_text("mine")
    os.utime(left, (0, 0))
    assert invoke(*command).code == 0
    assert [path.name for path in left.iterdir()] == ["notes"]
    (left / "notes").unlink()
    os.utime(left, (0, 0))
    assert invoke(*command).code == 0
    assert beside(old) == set()
    assert crash.sound_files(old).keys() == {"best", "last"}


@pytest.mark.parametrize(
    ("kill", "expected"),
    [
        (("step", 1), 6),
        (("rename", 1), 6),
        (("rename", 2), 7),
        *((("unlink", count), 7) for count in (3, 4, 5)),
        (("rmdir", 1), 7),
    ],
    ids=str,
)
def test_wherever_it_is_killed_there_is_one_whole_run_and_overwriting_it_goes_on(
    kill: tuple[str, int], expected: int, nursery: crash.Nursery, old: Path, invoke: Invoke
) -> None:
    code, child = nursery.run(old.parent, "train", "tale.txt", "--out", "run", "--overwrite", *NEW, kill=kill)
    assert code == -signal.SIGKILL, child.stderr
    found = json.loads(invoke("info", "run", "--json").stdout)
    assert found["path"] == "run/best.safetensors"
    assert checkpoint.read(old / "last.safetensors").training["config"]["steps"] == expected
    assert invoke("train", "tale.txt", "--out", "run", "--overwrite", *crash.settings(8)).code == 0
    assert steps(old) == 8
    assert beside(old) == set()
