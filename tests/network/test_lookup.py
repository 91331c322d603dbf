"""lookup: a path or a word means one checkpoint, and broken ones hide no other."""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_checkpoints import put_together, setting, small, take_apart

from charrnn import CharrnnError
from charrnn.network import classifier
from charrnn.network.checkpoint import read_header, write
from charrnn.network.lookup import checkpoints_under, latest, named, resolve
from charrnn.network.rundir import BEST, LAST
from charrnn.training.runs import run_to_resume

Invoke = Callable[..., Any]


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(path: Path, when: float, patch: pytest.MonkeyPatch) -> Path:
    """A checkpoint at ``path`` that says it was saved at ``when``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with patch.context() as context:
        context.setattr("charrnn.network.checkpoint.time.time", lambda: when)
        write(path, small())
    return path


def test_the_latest_is_by_the_time_in_the_header_not_the_files(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = saved(at_home / "checkpoints" / "a" / "best.safetensors", 1000, monkeypatch)
    newer = saved(at_home / "checkpoints" / "b" / "deep" / "best.safetensors", 2000, monkeypatch)
    middle = saved(at_home / "checkpoints" / "c" / "best.safetensors", 1500, monkeypatch)
    saved(at_home / "checkpoints" / "a" / "last.safetensors", 9000, monkeypatch)
    saved(at_home / "elsewhere" / "best.safetensors", 9000, monkeypatch)
    for path, modified in ((older, 3000), (newer, 1000), (middle, 2000)):
        os.utime(path, (modified, modified))
    assert latest().resolve() == newer
    assert resolve(None).resolve() == newer
    assert latest(name="last.safetensors").resolve() == at_home / "checkpoints" / "a" / "last.safetensors"
    assert latest(at_home / "checkpoints" / "a") == older
    assert checkpoints_under(at_home / "checkpoints") == [older, newer, middle]
    (at_home / "link").symlink_to(at_home / "checkpoints")
    assert len(checkpoints_under(at_home / "link")) == 3
    (at_home / "linked").mkdir()
    for name, run in (("a", newer), ("b", newer), ("c", at_home / "gone/away")):
        (at_home / "linked" / name).symlink_to(run.parent)
    assert checkpoints_under(at_home / "linked") == [at_home / "linked/a" / newer.name]


@pytest.mark.usefixtures("alarm")
def test_the_latest_passes_over_broken_files(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = at_home / "checkpoints"
    good = saved(root / "good" / "best.safetensors", 1000, monkeypatch)
    cut = saved(root / "cut" / "best.safetensors", 2000, monkeypatch)
    cut.write_bytes(cut.read_bytes()[:-1])
    for name in ("empty", "list", "pipe", "folder"):
        (root / name).mkdir()
    (root / "empty" / "best.safetensors").touch()
    put_together(root / "list" / "best.safetensors", [1])
    os.mkfifo(root / "pipe" / "best.safetensors")
    (root / "folder" / "best.safetensors").mkdir()
    assert latest().resolve() == good


@pytest.mark.parametrize("when", [10**400, "soon", None, math.nan, math.inf, 1e300, -1e300, True, [1]], ids="{!s:.9}".format)
def test_an_absurd_time_of_saving_is_no_crash(when: object, at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = saved(at_home / "checkpoints" / "good" / "best.safetensors", 1000, monkeypatch)
    absurd = saved(at_home / "checkpoints" / "absurd" / "best.safetensors", 0, monkeypatch)
    header, body = take_apart(absurd)
    setting("training", "saved_at", when)(header)
    put_together(absurd, header, body)
    assert latest().resolve() in (good, absurd)
    assert isinstance(read_header(absurd).when, str)


@pytest.mark.usefixtures("at_home")
def test_where_nothing_was_trained_the_error_says_what_to_do() -> None:
    for _ in range(2):
        with pytest.raises(CharrnnError, match=r"^checkpoints: no trained network .* charrnn train FILE"):
            resolve(None)
        Path("checkpoints").mkdir(exist_ok=True)


def test_a_path_means_itself_or_its_runs_best(tmp_path: Path, sound: Path) -> None:
    assert resolve(sound) == sound
    with pytest.raises(CharrnnError, match="none: No such file or directory; charrnn info lists the runs"):
        resolve(tmp_path / "none")
    with pytest.raises(CharrnnError, match=f"^{tmp_path}: the directory holds no best.safetensors"):
        resolve(tmp_path)
    write(tmp_path / "best.safetensors", small())
    assert resolve(tmp_path) == tmp_path / "best.safetensors"


@pytest.mark.parametrize("text", ["novel.txt", "novel.txt.gz", "texts/novel", "novel"])
def test_a_text_where_its_network_belongs_names_the_most_recent_run_that_learned_it(at_home: Path, text: str) -> None:
    path = Path(text)
    path.parent.mkdir(exist_ok=True)
    path.write_text("\u201cSo it begins\u201d, she said.\n", encoding="utf-8-sig")
    asked = {BEST: resolve, LAST: lambda path: run_to_resume(str(path)), classifier.NAME: classifier.resolve}
    for name, of in asked.items():
        for run in ("novella", "novel-old"):
            (at_home / "checkpoints" / run).mkdir(parents=True, exist_ok=True)
            (at_home / "checkpoints" / run / name).touch()
        with contextlib.suppress(CharrnnError):
            assert of(path) == path
        for run, when in (("novel", 1000), ("novel-3", 3000), ("novel-2", 2000)):
            (at_home / "checkpoints" / run).mkdir(exist_ok=True)
            (at_home / "checkpoints" / run / name).touch()
            os.utime(at_home / "checkpoints" / run / name, (when, when))
        with pytest.raises(
            CharrnnError, match=rf"^{text}: (a text, not a network|not a run's directory); is it checkpoints/novel-3\?$"
        ):
            of(path)


def test_a_network_may_be_called_like_a_run(at_home: Path) -> None:
    write(Path("fables"), small())
    (at_home / "checkpoints" / "fables").mkdir(parents=True)
    write(at_home / "checkpoints" / "fables" / BEST, small())
    assert resolve(Path("fables")) == Path("fables")


@pytest.mark.usefixtures("at_home")
def test_where_a_directory_of_texts_is_called_like_a_run_the_run_is_meant(invoke: Invoke) -> None:
    Path("lyrics").mkdir()
    Path("lyrics/song.txt").write_text("oh baby\n", encoding="utf-8")
    asked = {BEST: resolve, LAST: lambda path: run_to_resume(str(path)), classifier.NAME: classifier.resolve}
    for name, of in asked.items():
        with pytest.raises(CharrnnError, match=r"^lyrics: (?!.*is it)"):
            of(Path("lyrics"))
        Path("checkpoints/lyrics").mkdir(parents=True, exist_ok=True)
        Path("checkpoints/lyrics", name).touch()
        with pytest.raises(CharrnnError, match=rf"^lyrics: .*{name}.*; is it checkpoints/lyrics\?$"):
            of(Path("lyrics"))
    assert "is it checkpoints/lyrics?" in invoke("info", "lyrics").stderr


@pytest.mark.usefixtures("at_home")
def test_a_replacement_that_cant_be_put_right_hides_no_other_run(monkeypatch: pytest.MonkeyPatch) -> None:
    good = saved(Path("checkpoints/good/best.safetensors"), 1000, monkeypatch)
    for name in (".bad.charrnn-new", ".bad.charrnn-old"):
        saved(Path("checkpoints", name, "best.safetensors"), 2000, monkeypatch)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        assert checkpoints_under(Path("checkpoints")) == [good]
        assert latest() == good
        with pytest.raises(CharrnnError, match="can't finish what a killed run left undone: Permission denied"):
            resolve(Path("checkpoints/bad"))
    assert latest() == Path("checkpoints/bad/best.safetensors")


def test_a_network_is_named_by_its_run_where_that_means_it() -> None:
    assert named(Path("runs/two/member-0") / BEST) == Path("runs/two/member-0")
    assert named(Path("runs/novel") / LAST) == Path("runs/novel") / LAST
