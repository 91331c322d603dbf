"""containers: what is no text is called by its name, with what to do about it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from conftest import FABLES, Put

from charrnn.text.containers import recognised

Invoke = Callable[..., Any]


def zipped(**members: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/"), text)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("tale.txt")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"tale"))
    return file.getvalue()


CONTAINERS = {
    "a Word document": zipped(**{"[Content_Types].xml": "<Types/>", "word__document.xml": "<w/>"}),
    "a spreadsheet": zipped(**{"[Content_Types].xml": "<Types/>", "xl__workbook.xml": "<w/>"}),
    "an Office document": zipped(**{"[Content_Types].xml": "<Types/>", "ppt__presentation.xml": "<w/>"}),
    "an OpenDocument file": zipped(mimetype="application/vnd.oasis.opendocument.text", content="x"),
    "an EPUB book": zipped(mimetype="application/epub+zip", content="x"),
    "a zip archive": zipped(tale="Once upon a time"),
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
    "an RTF document": b"{\\rtf1\\ansi\\deff0 Once upon a time\\par}",
    "an old Office document": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99),
    "gzip data": gzip.compress(b"Once upon a time"),
    "bzip2 data": bz2.compress(b"Once upon a time"),
    "xz data": lzma.compress(b"Once upon a time"),
    "lzma data": lzma.compress(b"Once upon a time\n", format=lzma.FORMAT_ALONE),
    "zstd data": b"\x28\xb5\x2f\xfd\x24\x11\x89\0\0Once upon a time\n",
    "a tar archive": tarred(),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(99),
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "what macOS keeps beside a file": b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(99),
    "a picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "an SQLite database": b"SQLite format 3\0\x10\0",
    "sound or film": b"ID3\4\0\0\0\0\0\0",
    "a program": b"\x7fELF\2\1\1",
}


@pytest.mark.parametrize("what", CONTAINERS)
def test_a_container_is_called_by_its_name_whatever_the_encoding(put: Put, invoke: Invoke, what: str) -> None:
    path = put("tale.txt", CONTAINERS[what])
    for command in (["score", path, "-c", FABLES], ["inspect", "--file", path, "-c", FABLES], ["train", path, "--dry-run"]):
        done = invoke(*command, "--encoding", "latin-1")
        assert (done.code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert f"{path}: this is {what}, not text" in done.stderr
    assert f"stdin: this is {what}, not text" in invoke("score", "-", "-c", FABLES, stdin=CONTAINERS[what]).stderr
    # Who could have the text itself isn't told to read the bytes around it.
    assert ("--level byte reads any file" in done.stderr) is (what in ("a picture", "sound or film", "a program"))
    assert invoke("train", path, "--dry-run", "--steps", "1", "--level", "byte").code == 0


@pytest.mark.parametrize(
    ("what", "advice"),
    [
        ("gzip data", ".gz, or"),
        ("xz data", ".xz, or"),
        ("a Git LFS pointer", "git lfs pull"),
        ("a spreadsheet", "save it as CSV first; where a command has --field NAME, that reads a column"),
        ("an old Office document", "a spreadsheet as CSV"),
    ],
)
def test_it_is_said_what_to_do(what: str, advice: str) -> None:
    assert advice in (recognised(CONTAINERS[what]) or ("", ""))[1]


def test_a_spreadsheet_of_opendocument_is_one() -> None:
    first = zipped(mimetype="application/vnd.oasis.opendocument.spreadsheet", content="x")
    assert recognised(first) == (
        "this is a spreadsheet, not text",
        "save it as CSV first; where a command has --field NAME, that reads a column",
    )


def test_a_checkpoint_is_no_text(invoke: Invoke) -> None:
    assert "this is a file of numbers, not text" in invoke("score", FABLES / "best.safetensors", "-c", FABLES).stderr


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"PK is short for Phil Katz",
        b"BZh91 was",
        b"GIF89a is old",
        b"MZ, MM and II*",
        b"ID3 tags",
        b"the ftyp box",
        b"RIFF",
        b"PDF-1",
    ],
)
def test_texts_that_begin_alike_are_texts(text: bytes) -> None:
    assert recognised(text) is None
