"""Killed at any moment, also within a save, a run goes on as if nothing had happened. The full count: ``bench/kills.py``."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("forks and POSIX signals", allow_module_level=True)

import crash

from charrnn.network import checkpoint, lookup

STEPS = 60
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def whole(nursery: crash.Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tale.txt").write_text(crash.TEXT)
    code, run = nursery.run(folder, "train", "tale.txt", "--out", "run", *crash.settings(STEPS))
    assert code == 0, run.stderr
    return folder / "run"


@pytest.fixture
def tale(tmp_path: Path) -> Path:
    (tmp_path / "tale.txt").write_text(crash.TEXT)
    return tmp_path


def begin(nursery: crash.Nursery, folder: Path, kill: tuple[str, int]) -> Path:
    code, run = nursery.run(folder, "train", "tale.txt", "--out", "run", *crash.settings(STEPS), kill=kill)
    assert code == KILLED, run.stderr
    return folder / "run"


def go_on(nursery: crash.Nursery, run: Path, kill: tuple[str, int] | None = None) -> None:
    code, child = nursery.run(run.parent, "train", "--resume", "run", "-q", kill=kill)
    assert code == (KILLED if kill else 0), child.stderr


def assert_equal(run: Path, whole: Path) -> None:
    got, expected = crash.sound_files(run), crash.sound_files(whole)
    for kind in ("best", "last"):
        assert crash.same_tensors(got[kind], expected[kind]), kind
    assert got["last"].training["step"] == STEPS
    assert crash.logged(run) == list(range(1, STEPS + 1))
    assert crash.left_overs(run) == []


def test_a_run_killed_8_times_ends_with_the_weights_and_the_log_of_one_never_killed(
    nursery: crash.Nursery, whole: Path, tale: Path
) -> None:
    run = begin(nursery, tale, ("step", 9))
    for kill in [("half", 5), ("synced", 4), ("evaluation", 1), ("opened", 6), ("replaced", 3), ("step", 5), ("entered", 7)]:
        assert crash.sound_files(run).keys() == {"best", "last"}
        go_on(nursery, run, kill)
        assert crash.sound_files(run).keys() == {"best", "last"}
    go_on(nursery, run)
    assert_equal(run, whole)


@pytest.mark.parametrize("point", crash.SAVE_POINTS)
@pytest.mark.parametrize("save", [1, 2, 3])
def test_the_first_saves_of_a_run_may_fail_at_any_point(nursery: crash.Nursery, tale: Path, point: str, save: int) -> None:
    """The first is of best, the second of last: each file is the new one, or the old one, or not there yet."""
    run = begin(nursery, tale, (point, save))
    arrived = save - (point not in ("replaced", "saved"))
    assert list(crash.sound_files(run)) == ["best", "last"][:arrived]
    assert len(crash.left_overs(run)) == (point in ("opened", "half", "written", "synced"))


@pytest.mark.parametrize("point", ["opened", "half", "written", "synced"])
def test_a_left_over_temporary_file_is_no_checkpoint_and_gone_after_the_next_start(
    nursery: crash.Nursery, tale: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(nursery, tale, (point, 8))
    (left,) = crash.left_overs(run)
    for name in ("best.safetensors", "last.safetensors"):
        assert lookup.checkpoints_under(tale, name) == [run / name]
    step = checkpoint.read(run / "last.safetensors").training["step"]
    go_on(nursery, run, ("step", 1))
    assert crash.left_overs(run) == []
    assert checkpoint.read(run / "last.safetensors").training["step"] == step
    (run / left).write_bytes(b"newer and damaged")
    monkeypatch.chdir(tale)
    assert lookup.resolve(Path("run")) == Path("run/best.safetensors")


def test_an_evaluation_cut_short_by_a_kill_is_in_the_log_once_it_was_made(
    nursery: crash.Nursery, whole: Path, tale: Path
) -> None:
    """The step event of the same step stands there already."""
    run = begin(nursery, tale, ("evaluation", 2))
    go_on(nursery, run)
    assert crash.logged(run, "eval") == crash.logged(whole, "eval")
    assert crash.logged(run, "sample") == crash.logged(whole, "sample")


@pytest.mark.parametrize("save", [2, 5])
def test_a_line_that_a_kill_left_unfinished_is_not_in_the_log(
    nursery: crash.Nursery, whole: Path, tale: Path, save: int
) -> None:
    run = begin(nursery, tale, ("saved", save))
    with open(run / "log.jsonl", "ab") as log:
        log.write(b'{"event": "step", "step": 5')
    go_on(nursery, run)
    assert_equal(run, whole)


def test_the_helper_kills_a_real_process_at_the_moment_it_was_told(tale: Path) -> None:
    command = [sys.executable, crash.__file__, "half", "4", "train", "tale.txt", "--out", "run", *crash.settings(STEPS)]
    done = subprocess.run(command, cwd=tale, capture_output=True, check=False, timeout=60)
    assert done.returncode == KILLED, done.stderr
    assert len(crash.left_overs(tale / "run")) == 1
    assert crash.sound_files(tale / "run").keys() == {"best", "last"}
