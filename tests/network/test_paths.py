"""Paths in the files of a run: they lead to the text, and tell nobody's name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from charrnn.network.paths import found, told, told_again


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a text, in somebody's home."""
    home = tmp_path / "home" / "ada"
    project = home / "project"
    (project / "data").mkdir(parents=True)
    (project / "checkpoints" / "run").mkdir(parents=True)
    (project / "data" / "tale.txt").write_text("once")
    (home / "other.txt").write_text("other")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(project)
    return project


RUN = Path("checkpoints/run")


@pytest.mark.parametrize("typed", ["data/tale.txt", "data", ".", "data/../data/tale.txt"])
@pytest.mark.parametrize("whole", [False, True])
def test_what_lies_below_the_current_directory_is_told_from_the_run(typed: str, whole: bool, project: Path) -> None:
    path = project / typed if whole else typed
    assert told(path, RUN) == told(path, project / RUN) == os.path.relpath(typed, RUN)
    assert found(told(path, RUN), RUN) == (project / typed).resolve()


def test_of_a_text_elsewhere_only_the_name_is_told(project: Path) -> None:
    assert told(project.parent / "other.txt", RUN) == told("../other.txt", RUN) == "other.txt"
    assert found("other.txt", RUN) is None


def test_no_path_leads_through_the_folder_of_all_homes(project: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    assert told("data/tale.txt", tmp_path / "scratch" / "run") == "data/tale.txt"
    assert found("data/tale.txt", tmp_path / "scratch" / "run") == Path("data/tale.txt")


def test_above_all_homes_a_text_in_the_home_is_its_name(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert told("home/ada/project/data/tale.txt", Path("run")) == "tale.txt"
    (tmp_path / "shared.txt").write_text("all")
    assert found(told("shared.txt", Path("run")), Path("run")) == Path("shared.txt")


def test_a_link_is_told_as_it_was_typed(project: Path) -> None:
    (project / "corpora").symlink_to(project.parent, target_is_directory=True)
    assert told("corpora/other.txt", RUN) == "../../corpora/other.txt"
    # Behind a link, .. leads elsewhere than it seems to.
    assert told("corpora/../ada/other.txt", RUN) == "other.txt"


def test_a_run_behind_a_link_still_finds_its_text(project: Path) -> None:
    (project.parent / "disk").mkdir()
    (project / "big").symlink_to(project.parent / "disk", target_is_directory=True)
    assert told("data/tale.txt", Path("big/run")) == "../../project/data/tale.txt"
    assert found("../../project/data/tale.txt", Path("big/run")) == project / "data" / "tale.txt"


def test_a_text_is_looked_for_beside_the_run_then_where_it_was_then_here(project: Path) -> None:
    Path("tale.txt").write_text("here")
    whole = str(project.parent / "other.txt")
    assert found("../../data/tale.txt", RUN) == project / "data" / "tale.txt"
    assert found("../../gone/tale.txt", RUN) == Path("tale.txt")
    assert found(whole, RUN) == Path(whole)
    assert found("/gone/tale.txt", RUN) == Path("tale.txt")
    assert found("/gone/other.txt", RUN) is None
    (project.parent / "tale.txt").write_text("a stranger")
    assert found("../tale.txt", RUN) == Path("tale.txt")


@pytest.mark.parametrize("stored", ["a\0b", "/dev/zero", "", "x" * 5000], ids="{!r:.9}".format)
def test_what_a_strangers_run_tells_is_a_file_or_a_directory_or_nothing(stored: str, project: Path) -> None:
    assert found(stored, RUN) in (None, project / RUN)


def test_a_resumed_run_keeps_what_leads_to_its_text(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, text = project / RUN, project / "data" / "tale.txt"
    whole = str(text)
    assert told_again(whole, text, run) == "../../data/tale.txt"
    monkeypatch.chdir(run)
    assert told_again("../../data/tale.txt", text, run) == "../../data/tale.txt"
    assert told_again(whole, text, run) == whole, "the name alone would not be found from here"
