"""Two directories change places, and whatever a killed process left is put right."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from charrnn.network import lock, replacement
from charrnn.network.replacement import belongs_to, change_places, growing, mend, replaced


def own(name: str) -> bool:
    return name in ("best", "last")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A directory, and the one that will replace it; each file says whose it is."""
    path = tmp_path / "run"
    for directory, whose in ((path, "old"), (growing(path), "new")):
        directory.mkdir()
        for name in ("best", "last"):
            (directory / name).write_text(whose)
    return path


def contents(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): file.read_text() for file in path.rglob("*") if file.is_file()}


OLD, NEW = {"best": "old", "last": "old"}, {"best": "new", "last": "new"}


def test_the_new_directory_takes_the_place_of_the_old_one(run: Path) -> None:
    change_places(run, own)
    assert contents(run.parent) == {f"run/{name}": "new" for name in NEW}
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_where_nothing_is_any_more_it_takes_the_place_too(run: Path) -> None:
    for file in run.iterdir():
        file.unlink()
    run.rmdir()
    change_places(run, own)
    assert contents(run) == NEW


def test_what_is_no_file_of_a_run_moves_along_and_overwrites_nothing(run: Path) -> None:
    (run / "notes").write_text("mine")
    (run / "page").write_text("mine")
    (growing(run) / "page").write_text("theirs")
    change_places(run, own)
    assert contents(run) == NEW | {"notes": "mine", "page": "theirs"}
    assert contents(replaced(run)) == {"page": "mine"}


def test_a_rename_that_fails_leaves_the_old_directory_where_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path == growing(run):
            raise PermissionError
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        change_places(run, own)
    assert contents(run) == OLD
    assert contents(growing(run)) == NEW


def test_between_the_renames_the_second_one_is_made(run: Path) -> None:
    run.rename(replaced(run))
    mend(run, own)
    assert contents(run.parent) == {f"run/{name}": "new" for name in NEW}


def test_without_a_new_directory_the_old_one_comes_back(run: Path) -> None:
    run.rename(replaced(run))
    growing(run).rename(run.parent / "elsewhere")
    mend(run, own)
    assert contents(run) == OLD


def test_after_the_renames_the_old_directory_goes(run: Path) -> None:
    run.rename(replaced(run))
    growing(run).rename(run)
    (replaced(run) / "best").unlink()
    mend(run, own)
    assert contents(run.parent) == {f"run/{name}": "new" for name in NEW}


def test_before_the_renames_and_where_all_three_are_there_nothing_is_touched(run: Path) -> None:
    before = contents(run.parent)
    mend(run, own)
    assert contents(run.parent) == before
    run.rename(replaced(run))
    run.mkdir()  # by somebody, after the kill
    before = contents(run.parent)
    mend(run, own)
    assert contents(run.parent) == before


def test_a_living_process_between_its_renames_is_waited_for(run: Path) -> None:
    held = lock.DirectoryLock(growing(run))
    run.rename(replaced(run))

    def second() -> None:
        time.sleep(0.05)
        growing(run).rename(run)

    thread = threading.Thread(target=second)
    thread.start()
    mend(run, own)
    assert contents(run).items() >= NEW.items()
    assert contents(replaced(run)) == OLD, "it clears away what it has replaced itself"
    thread.join()
    held.directory = run
    held.release()


def test_a_living_process_that_never_makes_its_second_rename_is_not_waited_for_for_ever(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacement, "PATIENCE", 0.02)
    held = lock.DirectoryLock(growing(run))
    run.rename(replaced(run))
    mend(run, own)
    assert not run.exists()
    held.release()


def test_a_lock_that_dies_with_its_process_is_waited_for_too(run: Path) -> None:
    """A killed process may leave children that live a moment longer."""
    held = lock.DirectoryLock(growing(run))
    run.rename(replaced(run))
    timer = threading.Timer(0.05, held.release)
    timer.start()
    mend(run, own)
    assert contents(run) == NEW
    timer.join()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        (".run.charrnn-new", "run"),
        (".run.charrnn-old", "run"),
        (".charrnn-new", None),
        ("run", None),
        ("run.charrnn-new", None),
    ],
)
def test_a_hidden_name_tells_whose_it_is(name: str, meant: str | None) -> None:
    assert belongs_to(name) == meant
    assert {belongs_to(growing(Path("x")).name), belongs_to(replaced(Path("x")).name)} == {"x"}
