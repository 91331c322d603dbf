"""reading: files of any encoding and container to code points, or a line that says which byte of which file is wrong."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Put

from charrnn import CharrnnError, UsageError
from charrnn.text import reading
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.reading import code_points, text_files


def text_of(read: Corpus) -> str:
    return read.vocabulary.decode(read.ids)


def as_lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("block", [1, 2, 3, 4, 5, 1 << 16])
def test_crlf_and_lone_cr_become_lf_also_across_block_borders(put: Put, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", block)
    read = read_corpus([put("a.txt", b"a\r\nbb\rc\n\r\nd\r\r\n\n\re\r")])
    assert text_of(read) == "a\nbb\nc\n\nd\n\n\n\ne\n"


BOMS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
BOMS |= {"utf-32-le": b"\xff\xfe\0\0", "utf-32-be": b"\0\0\xfe\xff"}


@pytest.mark.parametrize("block", [4, 5, 7, 1 << 16])
@pytest.mark.parametrize("encoding", BOMS)
def test_a_byte_order_mark_tells_the_encoding_and_is_no_text(
    put: Put, encoding: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", block)
    text = "h\u00e9llo \U0001f600 w\u00f6rld\r\n\u20ac"
    assert text_of(read_corpus([put("a.txt", BOMS[encoding] + text.encode(encoding))])) == as_lf(text)


def test_a_mark_is_looked_for_in_every_file(put: Put) -> None:
    paths = [put("a.txt", b"ab"), put("b.txt", BOMS["utf-16-be"] + "c\u00e9".encode("utf-16-be")), put("c.txt", b"d")]
    assert text_of(read_corpus(paths)) == "ab\nc\u00e9\nd"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "koi8-r", "shift_jis", "gb18030"])
@pytest.mark.parametrize("block", [1, 3, 1 << 16])
def test_a_named_encoding_is_used(put: Put, encoding: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", block)
    text = {"koi8-r": "\u043c\u0438\u0440", "shift_jis": "\u65e5\u672c", "gb18030": "\u4e2d\u6587\U0001f600"}.get(
        encoding, "caf\u00e9"
    )
    path = put("a.txt", f"{text}\r\n{text}".encode(encoding))
    assert text_of(read_corpus([path], encoding=encoding)) == f"{text}\n{text}"


@pytest.mark.parametrize("encoding", ["no-such", "", "hex", "rot13", "base64", "\0", "\u00fc"])
def test_an_unknown_encoding_is_a_usage_error(put: Put, encoding: str) -> None:
    with pytest.raises(UsageError, match="--encoding"):
        read_corpus([put("a.txt", b"abc")], encoding=encoding)


@pytest.mark.parametrize("block", [7, 16, 1 << 16])
@pytest.mark.parametrize(
    ("data", "encoding", "where"),
    [
        (b"\xffabc", "UTF-8", 0),
        (b"abc\xff", "UTF-8", 3),
        (b"x" * 15 + b"\xff" + b"y" * 20, "UTF-8", 15),
        (b"x" * 16 + b"\xff" + b"y" * 20, "UTF-8", 16),
        (b"x" * 17 + b"\xff" + b"y" * 20, "UTF-8", 17),
        (b"x" * 100 + b"\x80", "UTF-8", 100),
        ("\u20ac".encode() * 11 + b"\xe2\x82x", "UTF-8", 33),
        ("\u20ac".encode() * 11 + b"\xe2\x82", "UTF-8", 33),
        (b"\r\n" * 20 + b"\xc0", "UTF-8", 40),
        (b"x" * 14 + b"\xe2\x82" + b"x" * 9, "UTF-8", 14),
        (b"\xef\xbb\xbfab\xff", "UTF-8", 5),
        (b"\xef\xbb\xbf" + b"x" * 30 + b"\xff", "UTF-8", 33),
        (b"\xff\xfea\0\0\xdcb\0", "UTF-16", 4),
        (b"\xff\xfe" + b"a\0" * 20 + b"\0\xdcb\0", "UTF-16", 42),
        (b"\xff\xfea\0b", "UTF-16", 4),
        (b"\xff\xfe\0\0a\0\0\0\xff\xff\xff\xff", "UTF-32", 8),
    ],
)
def test_an_invalid_byte_is_named_by_file_and_offset_with_what_to_try(
    put: Put, data: bytes, encoding: str, where: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", block)
    good, bad = put("good.txt", b"fine\n" * 9), put("bad.txt", data)
    with pytest.raises(CharrnnError) as caught:
        read_corpus([good, bad])
    message = str(caught.value)
    assert message.startswith(f"{bad}: byte {where} is not valid {encoding} text; ")
    assert "--encoding latin-1" in message
    assert "--level byte" in message
    assert "\n" not in message


def test_the_suggestions_for_an_invalid_byte_work(put: Put) -> None:
    path = put("bad.txt", b"caf\xe9\r\n")
    assert text_of(read_corpus([path], encoding="latin-1")) == "caf\u00e9\n"
    assert read_corpus([path], level="byte").ids.tolist() == list(b"caf\xe9\r\n")


def test_a_named_encoding_is_named_in_its_error(put: Put) -> None:
    with pytest.raises(CharrnnError, match="byte 2 is not valid ASCII"):
        read_corpus([put("a.txt", b"ab\xe9")], encoding="ascii")


ZIPPED = gzip.compress(bytes(range(256)) * 50, mtime=0)


@pytest.mark.parametrize(
    "data",
    [ZIPPED[:3], ZIPPED[:40], ZIPPED[:-1], ZIPPED[:-8], ZIPPED[:-8] + bytes(8), ZIPPED[:10] + b"\xff" * 40, b"no gzip at all"],
)
@pytest.mark.parametrize("level", ["char", "byte"])
def test_a_damaged_gz_file_is_a_clear_error(put: Put, data: bytes, level: str) -> None:
    path = put("a.gz", data)
    with pytest.raises(CharrnnError, match="gzip") as caught:
        read_corpus([path], level=level, encoding="latin-1")
    assert str(caught.value).startswith(f"{path}: ")


def test_a_directory_is_its_txt_files_in_order_of_name(put: Put, tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.md", "10.txt", "9.txt"):
        put(name, name.encode())
    (tmp_path / "sub.txt").mkdir()
    put("sub.txt/inner.txt", b"not this")
    assert [Path(path).name for path in text_files([str(tmp_path)])] == ["10.txt", "9.txt", "a.txt", "b.txt"]
    read = read_corpus([str(tmp_path)])
    assert (text_of(read), read.name) == ("10.txt\n9.txt\na.txt\nb.txt", tmp_path.name)


def test_a_directory_without_txt_files_is_a_clear_error(put: Put, tmp_path: Path) -> None:
    put("a.md", b"abc")
    with pytest.raises(CharrnnError, match=r"holds no \*\.txt file") as caught:
        read_corpus([str(tmp_path)])
    assert str(tmp_path) in str(caught.value)


def test_standard_input_can_be_named_once(put: Put) -> None:
    with pytest.raises(UsageError, match="standard input"):
        read_corpus(["-", put("b.txt", b"b"), "-"])


@pytest.mark.parametrize("name", ["none.txt", "none.gz", "no/where.txt", "x" * 300])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    with pytest.raises(CharrnnError) as caught:
        read_corpus([path])
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("block", [1, 5, 1 << 16])
def test_code_points_come_block_by_block(block: int, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", block)
    blocks = list(code_points(put("a.txt", "a\r\n\u20acb\r".encode())))
    assert np.concatenate(blocks).tolist() == [97, 10, 0x20AC, 98, 10]
    assert len(blocks) > 1 or block > 5
    assert all(len(codes) for codes in blocks)
    assert bytes(np.concatenate(list(code_points(put("b.gz", gzip.compress(b"\xff\r\n")), level="byte")))) == b"\xff\r\n"


def test_code_points_are_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab")))
    assert [codes.tolist() for codes in code_points("-")] == [[97, 98]]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CharrnnError, match="stdin is closed"):
        list(code_points("-"))


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_a_name_that_no_file_can_have_is_an_error_in_one_line(name: str) -> None:
    for read in (lambda: list(code_points(name)), lambda: read_corpus([name])):
        with pytest.raises(CharrnnError) as caught:
            read()
        assert str(caught.value).startswith(f"{name}: ")
