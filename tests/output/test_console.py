"""The product on stdout, the conversation on stderr, in UTF-8, without escape codes in a pipe."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import FABLES, Stream

from charrnn import cli
from charrnn.output.console import Console, StdoutClosedError, StdoutError

TINY = ("--hidden-size", "16", "--steps", "10", "--eval-every", "5", "--log-every", "1")


# -- the streams ----------------------------------------------------------------------------------------------------


def test_the_product_goes_to_stdout_as_it_is_and_the_conversation_to_stderr() -> None:
    console = Console(Stream(), Stream())
    console.product("a \x1b[31m product")
    console.say("words")
    console.warn("careful")
    console.error("no")
    assert console.stdout.getvalue() == "a \x1b[31m product"  # type: ignore[attr-defined]
    assert console.stderr.getvalue() == "words\ncharrnn: warning: careful\ncharrnn: no\n"  # type: ignore[attr-defined]


def test_half_a_character_is_no_reason_to_fail_and_the_bytes_of_a_path_stay() -> None:
    """A stranger's checkpoint may call its text so; a path in another encoding is written as it is."""
    binary = io.BytesIO()
    console = Console(io.TextIOWrapper(binary, encoding="utf-8"), Stream())
    console.product("corpus \ud800, path \udcff\n", flush=True)
    assert binary.getvalue() == "corpus \ufffd, path ".encode() + b"\xff\n"


def test_a_status_stays_on_its_line_whatever_a_file_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console, "width", 20)
    console = Console(Stream(), Stream(terminal=True))
    console.status(f"charrnn: scoring {'漢' * 20}")
    console.status("charrnn: a\nb")
    assert console.stderr.getvalue() == "\rcharrnn: scoring 漢\x1b[K\rcharrnn: a\\nb\x1b[K"  # type: ignore[attr-defined]


def test_a_status_makes_room_for_what_a_pipe_may_bring_to_the_same_terminal(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as pipe, (tmp_path / "kept.txt").open("w") as kept, open(reader):
        for stdout, shown in ((pipe, "\rworking\x1b[K\r\x1b[K"), (kept, "\rworking\x1b[K")):
            console = Console(stdout, Stream(terminal=True))
            console.status("working")
            console.product("a row\n")
            console.bytes(b"another\n")
            assert console.stderr.getvalue() == shown  # type: ignore[attr-defined]


def test_where_the_shell_has_closed_stdout_nobody_reads_a_table_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(StdoutClosedError):
        Console(stderr=Stream()).table("a table")


def test_a_file_arrives_whole_in_a_stdout_that_takes_a_part_at_a_time() -> None:
    """As a pipe may where PYTHONUNBUFFERED is set."""
    taken = bytearray()

    class Raw(io.RawIOBase):
        full = False

        def writable(self) -> bool:
            return True

        def write(self, data: Any, /) -> int | None:
            if self.full:
                return None
            taken.extend(data[:3])
            return min(3, len(data))

    stdout = io.TextIOWrapper(Raw(), write_through=True)  # type: ignore[type-var]
    console = Console(stdout, Stream())
    console.bytes(b"a page of html")
    assert taken == b"a page of html"
    stdout.buffer.full = True  # type: ignore[attr-defined]
    with pytest.raises(StdoutError, match="temporarily unavailable"):
        console.bytes(b"more")


def test_quiet_lets_only_errors_through() -> None:
    console = Console(Stream(), Stream(), quiet=True)
    console.say("words")
    console.warn("careful")
    console.error("no")
    assert console.stderr.getvalue() == "charrnn: no\n"  # type: ignore[attr-defined]


def test_a_message_is_one_line_without_control_characters() -> None:
    console = Console(Stream(), Stream())
    console.error("first\nsecond \x1b[2J\x07")
    assert console.stderr.getvalue() == "charrnn: first second \u241b[2J\u2407\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("terminal", [True, False])
def test_stdout_is_flushed_piece_by_piece_on_a_terminal_only(terminal: bool) -> None:
    flushes = []

    class Counting(Stream):
        def flush(self) -> None:
            flushes.append(1)

    console = Console(Counting(terminal=terminal), Stream())
    for character in "abc":
        console.product(character)
    assert len(flushes) == (3 if terminal else 0)


def test_a_reader_that_went_away_is_an_error_of_its_own() -> None:
    class Closed(Stream):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    with pytest.raises(StdoutClosedError):
        Console(Closed(), Stream()).product("x")


# -- the whole program ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose text holds letters beyond ASCII."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tale.txt").write_text("Müßige Füchse, süße Träume: 狐\n" * 20, encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert cli.run(["train", str(folder / "tale.txt"), "--out", str(folder / "run"), *TINY]) == 0
    return folder / "run"


@pytest.mark.parametrize("arguments", [["sample", "-n", "40", "-c"], ["info"], ["info", "--json"]])
@pytest.mark.parametrize("which", ["run", "."])
def test_sample_and_info_write_no_escape_codes_in_a_pipe(
    invoke: Callable[..., Any], trained: Path, arguments: list[str], which: str
) -> None:
    target = trained if arguments[0] == "sample" or which == "run" else trained.parent
    result = invoke(*arguments, target)
    assert result.code == 0
    assert result.stdout
    assert "\x1b" not in result.stdout + result.stderr


def test_a_table_in_a_pipe_is_never_cut_to_a_width(
    invoke: Callable[..., Any], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    for path in (trained, trained.parent):
        assert str(trained / "best.safetensors") in invoke("info", path).stdout


ASCII_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def ascii_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONIOENCODING", "LANG", "LC_CTYPE")}
    return kept | ASCII_LOCALE


@pytest.mark.parametrize("options", [(), ("--json",), ("-p", "Füchse 狐")])
def test_a_sample_is_utf8_whatever_the_locale(
    charrnn: Callable[..., Any], trained: Path, ascii_environment: dict[str, str], options: tuple[str, ...]
) -> None:
    done = charrnn("sample", "-c", trained, "-n", "300", "--seed", "1", *options, env=ascii_environment)
    assert done.returncode == 0, done.stderr
    assert set("üßä狐") & set(done.stdout.decode("utf-8"))


def test_training_events_are_utf8_whatever_the_locale(
    charrnn: Callable[..., Any], tmp_path: Path, ascii_environment: dict[str, str]
) -> None:
    (tmp_path / "tale.txt").write_text("üßä狐" * 100, encoding="utf-8")
    done = charrnn("train", "tale.txt", "--json", *TINY, env=ascii_environment)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]
    assert all(set(event["text"]) <= set("üßä狐") for event in events if event["event"] == "sample")
    log = (tmp_path / "checkpoints/tale/log.jsonl").read_text(encoding="utf-8").splitlines()
    assert log[1:] == done.stdout.decode("utf-8").splitlines()[1:]


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        *(("deck", "html", True), ("deck.txt", "html", True), ("deck.html", "html", False), ("deck.HTM", "html", False)),
        *(("slide.png", "svg", True), ("slide", "svg", True), ("slide.svg", "svg", False), ("traces.dat", "npz", False)),
    ],
)
def test_a_file_that_programs_would_not_know_by_its_name_is_told_of(name: str, kind: str, told: bool, tmp_path: Path) -> None:
    err = io.StringIO()
    Console(io.StringIO(), err).made(tmp_path / name, b"<!-- charrnn export -->", "export", kind=kind)
    assert (f"doesn't end in .{kind}" in err.getvalue()) == told


def test_what_draws_says_that_it_is_a_picture(invoke: Callable[..., Any]) -> None:
    for words in (
        ("inspect", "The fox", "-c", FABLES, "--unit", "0:3"),
        ("inspect", "--contribution", "The fox", "-c", FABLES),
        ("classify", "predict", "The fox", "-c", FABLES.parent / "intents"),
    ):
        assert "doesn't end in .svg" in invoke(*words, "--svg", "picture.png").stderr
        Path("picture.png").unlink()
