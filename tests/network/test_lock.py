"""The lock on a directory: one process at a time, and the others learn who."""

from __future__ import annotations

import errno
import json
import os
import platform
from pathlib import Path

import pytest

from charrnn import CharrnnError
from charrnn.network.lock import OWNER, DirectoryLock


def test_while_it_is_held_others_are_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    assert json.loads((tmp_path / OWNER).read_text()) == {"pid": os.getpid(), "host": platform.node()}
    with pytest.raises(CharrnnError, match=rf"another process \(process {os.getpid()} on .*\) is training there; wait"):
        DirectoryLock(tmp_path)
    lock.release()
    assert list(tmp_path.iterdir()) == []
    DirectoryLock(tmp_path).release()


@pytest.mark.parametrize("left", ['{"pid": 1, "host": "elsewhere"}', "", "[1]", '{"pid": "\\u001b[31m"}'])
def test_a_note_left_by_a_killed_process_harms_nothing(left: str, tmp_path: Path) -> None:
    (tmp_path / OWNER).write_text(left)
    lock = DirectoryLock(tmp_path)
    assert json.loads((tmp_path / OWNER).read_text())["pid"] == os.getpid()
    lock.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("note", ["gone", "a pipe", "words"])
def test_without_a_sound_note_the_refusal_names_nobody(note: str, tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    (tmp_path / OWNER).unlink()
    if note == "a pipe":
        os.mkfifo(tmp_path / OWNER)
    if note == "words":
        (tmp_path / OWNER).write_text('{"pid": "\\u001b[31m"}')
    with pytest.raises(CharrnnError, match="another process is training there"):
        DirectoryLock(tmp_path)
    lock.release()


def test_a_full_disk_is_no_reason_not_to_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(json, "dump", full)
        lock = DirectoryLock(tmp_path)
    with pytest.raises(CharrnnError, match="another process is training there"):
        DirectoryLock(tmp_path)
    lock.release()


def test_a_link_in_the_notes_place_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / OWNER).symlink_to(tmp_path / "mine")
    lock = DirectoryLock(run)
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (run / OWNER).is_symlink()
    lock.release()


def test_a_directory_that_took_the_place_of_the_locked_one_keeps_its_note(tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    lock = DirectoryLock(place)
    place.rename(tmp_path / "moved")
    place.mkdir()
    assert not lock.holds(place)
    other = DirectoryLock(place)
    lock.release()
    assert (place / OWNER).exists()
    other.release()


def test_a_directory_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CharrnnError, match="can't open the run's directory: No such file"):
        DirectoryLock(tmp_path / "gone")
