"""Texts given as arguments, files and stdin."""

from __future__ import annotations

import io
import os
import sys

import pytest
from small_networks import network

from charrnn import CharrnnError, UsageError
from charrnn.text import given
from charrnn.text.decoding import Encoding
from charrnn.text.reading import PLAIN, TextReader
from charrnn.text.vocabulary import Vocabulary


def test_an_argument_means_the_bytes_that_were_typed():
    assert given.literal(os.fsdecode("Ä\\n".encode()), "-p") == "Ä\\n"
    with pytest.raises(CharrnnError, match="-p: byte 1 is not valid UTF-8 text"):
        given.literal(os.fsdecode(b"a\xff"), "-p")


def test_stdin_is_read_for_a_dash_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe\r\n")))
    assert given.text("--", "-p", PLAIN, keep_newline=False) == "--"
    assert given.text("", "-p", PLAIN, keep_newline=False) == ""
    assert given.text("-", "-p", PLAIN, keep_newline=True) == "from a pipe\n"
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CharrnnError, match="stdin is closed"):
        given.text("-", "-p", PLAIN, keep_newline=False)


def test_a_text_is_read_once_and_as_each_level_needs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa\r\n")))
    text = given.GivenText("-", None, "TEXT", PLAIN, keep_newline=True)
    assert (text.name, text.at("char"), text.at("byte")) == ("stdin", "a\n", "\ufeffa\r\n")
    (tmp_path / "x").write_bytes(b"a\xff\r")
    text = given.GivenText(None, tmp_path / "x", "--file", TextReader(encoding=Encoding("latin-1")), keep_newline=False)
    assert (text.name, text.at("char"), text.at("byte")) == (str(tmp_path / "x"), "a\xff\n", "a\udcff\r")
    assert given.GivenText("", None, "TEXT", PLAIN, keep_newline=True).at("char") == ""
    assert given.GivenText(None, None, "TEXT", PLAIN, keep_newline=True).at("char") is None
    typed = given.GivenText(os.fsdecode(b"a\xff"), None, "TEXT", PLAIN, keep_newline=True)
    assert typed.at("byte") == "a\udcff"
    with pytest.raises(CharrnnError, match="TEXT: byte 1 is not valid UTF-8 text"):
        typed.at("char")


def test_a_text_that_names_a_file_is_told_how_to_be_read(tmp_path):
    said: list[str] = []
    for text in ("", "no file", "x" * 5000, "a\0b", str(tmp_path)):
        given.tell_of_file(text, "--file", said.append)
    assert said == []
    (tmp_path / "x").touch()
    given.tell_of_file(str(tmp_path / "x"), "--file", said.append)
    assert said.pop() == f"{tmp_path / 'x'} is read as a text, but it names a file; --file {tmp_path / 'x'} reads the file"
    (tmp_path / "a b.txt").touch()
    given.tell_of_file(str(tmp_path / "a b.txt"), "--file", said.append)
    assert said.pop().endswith(f"; --file '{tmp_path / 'a b.txt'}' reads the file")
    for text in ("a tale.txt", "3.14", "e.g.", "-", "https://example.org/a.txt"):
        given.tell_of_file(text, "--file", said.append)
    assert said == []
    given.tell_of_file("tale.txt.gz", "--file", said.append)
    assert said == ["tale.txt.gz is read as a text; there is no file of this name"]


@pytest.mark.skipif(sys.platform == "win32", reason="no FIONREAD")
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_a_text_on_stdin_that_nothing_reads_is_told_of_and_stays(kind, monkeypatch, tmp_path):
    (tmp_path / "prompt").write_text("ab")
    read, write = os.pipe() if kind == "pipe" else (os.open(tmp_path / "prompt", os.O_RDONLY), os.open(os.devnull, os.O_WRONLY))
    os.write(write, b"ab")
    said = []
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        given.tell_of_stdin("-p -", said.append)
        assert stdin.read(2) == "ab"
        given.tell_of_stdin("-p -", said.append)  # Nothing is left, as of a loop that has ended.
    os.close(write)
    given.tell_of_stdin("-p -", said.append)  # It is closed.
    assert said == ["charrnn: stdin isn't read; -p - reads it"]


def test_commands_that_need_no_text_tell_of_one_on_stdin(invoke, monkeypatch, tmp_path):
    network(tmp_path / "net")
    told = []
    monkeypatch.setattr(given, "tell_of_stdin", lambda instead, _: told.append(instead))
    for words in (["sample", "-n", "2"], ["next"], ["inspect", "--units"]):
        for more in ([], ["-p", "a"] if words[0] == "sample" else ["a"]):
            assert invoke(*words, *more, "-c", "net").code == 0
    assert told == ["-p -", "charrnn next -", "charrnn inspect -"]


def test_what_the_network_cannot_read_is_replaced_and_said():
    said: list[str] = []
    vocabulary = Vocabulary("char", ' "abe')
    assert given.known("“abé”", vocabulary, said.append, "the text") == '"abe"'
    assert len(said) == 1
    assert said[0].startswith("the network doesn't know every character of the text: ")
    assert "'é' -> 'e'" in said[0]
    assert given.known("abe", vocabulary, said.append) == "abe"
    assert len(said) == 1


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", ""),
        ("plain é", "plain é"),
        (r"a\nb\tc\rd\0e", "a\nb\tc\rd\0e"),
        (r"\\n", r"\n"),
        (r"\\\n", "\\\n"),
        (r"caf\u00e9 \u201C", "café “"),
        (r"\U0001F600", "😀"),
        (r"\u00e9e", "ée"),
    ],
)
def test_escapes_become_what_they_mean(typed: str, meant: str) -> None:
    assert given.unescaped(typed, "--stop") == meant


@pytest.mark.parametrize("typed", ["\\", "a\\", r"\q", r"\u12", r"\u12g4", r"\U00110000", r"\U0001F60", r"\x41", "\\\n"])
def test_anything_else_behind_a_backslash_names_the_option_and_the_escapes(typed: str) -> None:
    with pytest.raises(UsageError, match=r"(?s)^--stop: \\.* is not an escape; there are ") as caught:
        given.unescaped(typed, "--stop")
    assert r"\uXXXX" in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "known", "read", "told"),
    [
        ("cafe\u0301", "cafeé", "café", None),
        ("café", "cafe\u0301", "cafe\u0301", None),
        ("cafe\u0301", "cafe", "cafe", "'é' -> 'e'"),
        ("x\u0302y", "xy", "xy", "'x\u0302' -> 'x'"),
        ("각", "\u1100\u1161\u11a8", "\u1100\u1161\u11a8", None),
        ("か\u3099", "か", "か", "'が' -> 'か'"),
        ("\u1100\u1161\u11a8", "ab", "\ufffd", "'각' -> unknown"),
    ],
)
def test_what_is_the_same_is_read_without_a_word_before_a_plain_form_is(typed: str, known: str, read: str, told: str | None):
    said: list[str] = []
    assert given.known(typed, Vocabulary("char", "".join(sorted(set(known)))), said.append) == read
    assert [line for line in said if told is None or told not in line] == []
    assert len(said) == (told is not None)


def test_half_of_a_surrogate_pair_is_told_how_to_be_whole() -> None:
    with pytest.raises(UsageError, match=r"^--prompt: .ud83d is half of a character; write a whole one as .UXXXXXXXX$"):
        given.unescaped(r"\ud83d\ude00", "--prompt")
