"""files: a file appears whole or not at all, nothing of the user's is replaced, and each failure is a line with its name."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from charrnn import CharrnnError, files


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_no_other(
    call: str, failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(type(failure)):
            files.write_whole(tmp_path / "x", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_a_file_is_synced_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append(Path(old).parent), replace(old, new)))
    files.write_whole(tmp_path / "x", b"data")
    assert calls[:2] == ["fsync", tmp_path], "the temporary file stands in the same directory"


def test_while_a_file_is_replaced_a_reader_finds_a_whole_one(tmp_path: Path) -> None:
    path, done = tmp_path / "x", threading.Event()
    contents = [bytes([number]) * (1000 * number) for number in range(1, 10)]
    files.write_whole(path, contents[0])

    def rewrite() -> None:
        for number in range(30):
            files.write_whole(path, contents[number % 9])
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    while not done.is_set():
        assert path.read_bytes() in contents
    writer.join()


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_gets_the_rights_that_the_user_gives_new_files(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        files.write_whole(tmp_path / "x", b"data")
        assert os.umask(mask) == mask, "the mask itself is untouched"
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode


def test_a_file_keeps_the_rights_that_it_had(tmp_path: Path) -> None:
    files.write_whole(tmp_path / "x", b"data")
    for mode in (0o600, 0o444, 0o640):
        (tmp_path / "x").chmod(mode)
        files.write_whole(tmp_path / "x", b"other data")
        assert (tmp_path / "x").stat().st_mode & 0o777 == mode


def test_only_the_left_overs_of_the_named_file_are_removed(tmp_path: Path) -> None:
    for name in (".x.abc.tmp", ".y.abc.tmp", "x", "x.tmp"):
        (tmp_path / name).touch()
    files.remove_left_overs(tmp_path / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".y.abc.tmp", "x", "x.tmp"]


def test_a_failure_of_the_system_becomes_a_line_with_the_name() -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(CharrnnError) as caught, files.guard("a.txt", "can't write"):
        raise error
    assert str(caught.value) == "a.txt: can't write: No space left on device"
    assert caught.value.__cause__ is error
    with pytest.raises(CharrnnError, match=r"^a\.txt: No space left on device$"), files.guard(Path("a.txt")):
        raise error
    with pytest.raises(CharrnnError, match=r"^a\.gz: not a gzip file$"), files.guard("a.gz"):
        raise OSError("not a gzip file")  # as some libraries do, without a number


@pytest.mark.parametrize("failure", [ValueError("bad"), CharrnnError("told already"), KeyboardInterrupt()])
def test_any_other_failure_passes_through_as_it_is(failure: BaseException) -> None:
    with pytest.raises(type(failure)) as caught, files.guard("a.txt"):
        raise failure
    assert caught.value is failure


def test_only_our_own_files_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x"
    files.check_replaceable(path, "is taken")
    path.write_text("mine")
    for ours in (None, lambda _: False):
        with pytest.raises(CharrnnError) as caught:
            files.check_replaceable(path, "is taken; choose another", ours=ours)
        assert str(caught.value) == f"{path}: is taken; choose another"
    files.check_replaceable(path, "is taken", ours=lambda found: found == path)


def test_what_cannot_be_looked_at_may_not_be_replaced(tmp_path: Path) -> None:
    def fails(_: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(CharrnnError, match=r"can't write: Permission denied$"):
        files.check_replaceable(tmp_path, "is taken", ours=fails)


def test_only_what_a_verb_made_is_written_over_by_it(tmp_path: Path) -> None:
    mine = tmp_path / "mine.svg"
    mine.write_bytes(b"precious")
    with pytest.raises(CharrnnError, match="is there already"):
        files.write_made(mine, b"<!-- charrnn inspect -->", "inspect")
    assert mine.read_bytes() == b"precious"
    ours = tmp_path / "ours.svg"
    for data in (b"<!-- charrnn inspect --> 1", b"<!-- charrnn inspect --> 2"):
        files.write_made(ours, data, "inspect")
        assert ours.read_bytes() == data
    with pytest.raises(CharrnnError, match="not by charrnn export"):
        files.check_made(ours, "export")
    with pytest.raises(CharrnnError, match="can't write: there is no directory"):
        files.check_made(tmp_path / "no" / "where.svg", "inspect")


@pytest.mark.parametrize("verb", ["export", "inspect", "encode", "classify"])
@pytest.mark.parametrize(
    "notes", ["charrnn {}\n", "# Made by\n<!-- charrnn {} -->\n", "<p>charrnn {} wrote it</p>", "charrnn_{}"]
)
def test_what_only_names_a_verb_is_not_made_by_it(notes: str, verb: str, tmp_path: Path) -> None:
    mine = tmp_path / "README.md"
    mine.write_text(notes.format(verb))
    with pytest.raises(CharrnnError, match=f"is there already, and not by charrnn {verb}"):
        files.write_made(mine, b"<svg><!-- charrnn %b --></svg>" % verb.encode(), verb)
    assert mine.read_text() == notes.format(verb)


def test_a_directory_that_takes_no_files_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "file").touch()
    for there in ("own", "own/new/deep", "file"):  # The last is for who makes a directory of it to tell.
        files.check_takes_files(Path(there), "choose another")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for there, said in (("own", "it"), ("own/new", "own"), ("new", "the current directory")):
        with pytest.raises(CharrnnError, match=f"^{there}: can't write: {said} takes no new files; choose another$"):
            files.check_takes_files(Path(there), "choose another")


def test_what_is_made_goes_through_a_link_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    for name, there in (("page.svg", b"<!-- charrnn inspect --> 1"), ("new.svg", None)):
        target, link = tmp_path / "www" / name, tmp_path / name
        if there is not None:
            target.write_bytes(there)
        link.symlink_to(Path("www", name))
        files.write_made(link, b"<!-- charrnn inspect --> 2", "inspect")
        assert link.is_symlink()
        assert target.read_bytes() == b"<!-- charrnn inspect --> 2"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new.svg", "new.svg", "page.svg", "page.svg", "www"]


def test_directories_are_walked_once_and_behind_a_link_the_next_ones(tmp_path: Path) -> None:
    for name in ("root/b/c", "far/d/e", "far/f"):
        (tmp_path / name).mkdir(parents=True)
    for link, target in {"a": "root/b", "loop": "root", "x": "far", "broken": "nothing"}.items():
        (tmp_path / "root" / link).symlink_to(tmp_path / target)
    found = sorted(top for top, _, _ in files.walk(tmp_path / "root"))
    assert [str(Path(top).relative_to(tmp_path / "root")) for top in found] == [".", "b", "b/c", "x", "x/d", "x/f"]


def test_of_json_lines_the_sound_objects_are_read(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(
        b'{"a": 1}\n\n[2]\n"x"\n{"b": \n' + b"[" * 100_000 + b'\n\xff\n{"c": "\xff"}\n{"d": null}\n{"unfinished": '
    )
    assert list(files.json_lines(tmp_path / "log")) == [{"a": 1}, {"c": "\ufffd"}, {"d": None}]


def test_no_file_of_json_lines_has_no_lines(tmp_path: Path) -> None:
    assert list(files.json_lines(tmp_path / "none")) == []
    assert list(files.json_lines(tmp_path)) == []
