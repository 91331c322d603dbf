"""What is said of a path at which nothing is; `test_mistakes` shows it on the command line."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from charrnn import CharrnnError, absent, files


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("novl.txt", "novel.txt"),
        ("NOVEL.txt", "novel.txt"),
        ("novel.text", "novel.txt"),
        ("novel.md", "novel.txt"),
        ("b.txt", ""),
        ("nowhere.txt", ""),
        ("lettre.txt", "letters.txt"),
        ("better-known.txt", ""),
        ("", ""),
        (".txt", ""),
    ],
)
def test_names_are_alike_without_their_endings(typed: str, meant: str) -> None:
    assert absent.closest(typed, ["a.txt", "novel.txt", "novel.md.gz", "letters.txt"]) == meant


def test_the_same_name_with_the_same_ending_is_the_closest() -> None:
    assert absent.closest("novl.md", ["novel.txt", "novel.md"]) == "novel.md"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_is_said_to_be_meant_where_nothing_is_alike(here: Path) -> None:
    assert absent.hint("novel.txt") == f"it was looked for in {here}"
    assert absent.hint(str(here / "novel.txt")) == ""


def test_a_hidden_file_is_not_what_was_meant(here: Path) -> None:
    (here / ".novel.txt").touch()
    assert "is it" not in absent.hint("novel.txt")


def test_a_directory_that_cannot_be_listed_is_no_failure_of_its_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError

    monkeypatch.setattr(absent.os, "scandir", refuse)
    assert absent.hint("novel.txt") == f"it was looked for in {here}"


def test_of_a_path_of_windows_nothing_is_said_on_windows(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert absent.mistyped(r"C:\novel.txt") != ""
    monkeypatch.setattr(absent.os, "sep", "\\")
    assert absent.mistyped(r"C:\novel.txt") == ""


@pytest.mark.parametrize("typed", ["my", "texts/my"])
def test_a_name_with_spaces_that_a_shell_took_apart_is_put_together(typed: str, here: Path) -> None:
    (here / "texts").mkdir()
    for name in ("my story.txt", "texts/my story.txt"):
        (here / name).touch()
    assert absent.hint(typed) == f"a name with spaces needs quotes: '{typed} story.txt'"


def test_a_missing_directory_is_told_by_the_first_that_is_not_there(here: Path) -> None:
    (here / "texts").mkdir()
    assert absent.missing_directory("texts/a.txt") == absent.missing_directory("a.txt") == ""
    assert absent.missing_directory("texts/old/er/a.txt") == "there is no directory texts/old"
    assert absent.missing_directory("text/a.txt") == "there is no directory text; is it texts?"


def test_a_guard_tells_what_was_meant_when_it_reads_and_what_is_missing_when_it_writes(here: Path) -> None:
    Path("novel.txt").touch()
    with (
        pytest.raises(CharrnnError, match=r"novl\.txt: No such file or directory; is it novel\.txt\?$"),
        files.guard("novl.txt"),
    ):
        Path("novl.txt").read_bytes()
    failure = r"can't write: No such file or directory; there is no directory a$"
    with pytest.raises(CharrnnError, match=failure), files.guard("a/novl.txt", "can't write"):
        Path("a/novl.txt").write_bytes(b"")


def test_a_directory_that_takes_no_files_is_told_before_the_work(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(CharrnnError, match=r"page\.html: can't write: the current directory takes no new files"):
        files.check_replaceable(Path("page.html"), "is taken")


@pytest.mark.parametrize(
    ("typed", "there", "said"),
    [
        ("saga.txt", ["saga (1).txt", "saga (12).txt"], "is it 'saga (1).txt'?"),
        ("saga.txt", ["saga-of-the-north.txt"], "is it saga-of-the-north.txt?"),
        ("Saga.txt", ["saga - Copy.txt"], "is it 'saga - Copy.txt'?"),
        ("my sgaa.txt", ["my saga.txt"], "is it 'my saga.txt'?"),
        ("saga.txt", ["sagacity.txt", "saga_notes.md", "the saga.md", ".saga (1).txt"], None),
        (".txt", ["a b.txt"], None),
    ],
)
def test_a_name_that_a_program_has_made_longer_is_what_was_meant(
    typed: str, there: list[str], said: str | None, here: Path
) -> None:
    for name in there:
        (here / name).touch()
    assert absent.hint(typed) == (said or f"it was looked for in {here}")


def test_what_is_absent_crosses_processes_whole() -> None:
    error = absent.AbsentError("novl.txt", "No such file", "is it novel.txt?")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path, again.reason) == (str(error), "novl.txt", "No such file")
    assert str(error) == "novl.txt: No such file; is it novel.txt?"
    assert str(absent.AbsentError("novl.txt", "No such file", "")) == "novl.txt: No such file"
