"""Texts given as arguments, files and stdin."""

from __future__ import annotations

import io
import os
import sys

import pytest

from charrnn import CharrnnError, prompts
from charrnn.vocabulary import Vocabulary


def test_an_argument_means_the_bytes_that_were_typed():
    assert prompts.literal(os.fsdecode("Ä\\n".encode()), "-p") == "Ä\\n"
    with pytest.raises(CharrnnError, match="-p: byte 1 is not valid UTF-8 text"):
        prompts.literal(os.fsdecode(b"a\xff"), "-p")


def test_a_file_gives_its_text_with_plain_line_ends_and_no_byte_order_mark(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert prompts.read(path) == prompts.given(None, path, "-p") == "one\ntwo\nthree\n"
    path.write_bytes(b"ab\xff")
    with pytest.raises(CharrnnError, match=r"text\.txt: byte 2 is not valid UTF-8 text"):
        prompts.read(path)
    with pytest.raises(CharrnnError, match=r"missing\.txt: No such file"):
        prompts.read(tmp_path / "missing.txt")


def test_stdin_is_read_for_a_dash_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe\r\n")))
    assert prompts.given("--", None, "-p") == "--"
    assert prompts.given(None, None, "-p") == ""
    assert prompts.given("-", None, "-p") == "from a pipe\n"
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CharrnnError, match="stdin is closed"):
        prompts.given("-", None, "-p")


def test_what_the_network_cannot_read_is_replaced_and_said():
    said: list[str] = []
    vocabulary = Vocabulary("char", ' "abe')
    assert prompts.known("“abé”", vocabulary, said.append, "the text") == '"abe"'
    assert len(said) == 1
    assert said[0].startswith("the network doesn't know every character of the text: ")
    assert "'é' -> 'e'" in said[0]
    assert prompts.known("abe", vocabulary, said.append) == "abe"
    assert len(said) == 1
