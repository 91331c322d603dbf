"""decoding: bytes in any encoding to code points, or a line that says which byte of which line is wrong and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import FABLES, Put

from charrnn import CharrnnError, UsageError
from charrnn.text import decoding, sources
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.decoding import Encoding
from charrnn.text.reading import TextReader

Invoke = Callable[..., Any]


def text_of(read: Corpus) -> str:
    return read.vocabulary.decode(read.ids)


def as_lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("block", [1, 2, 3, 4, 5, 1 << 16])
def test_crlf_and_lone_cr_become_lf_also_across_block_borders(put: Put, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", block)
    read = read_corpus([put("a.txt", b"a\r\nbb\rc\n\r\nd\r\r\n\n\re\r")])
    assert text_of(read) == "a\nbb\nc\n\nd\n\n\n\ne\n"


BOMS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
BOMS |= {"utf-32-le": b"\xff\xfe\0\0", "utf-32-be": b"\0\0\xfe\xff"}


@pytest.mark.parametrize("block", [4, 5, 7, 1 << 16])
@pytest.mark.parametrize("encoding", BOMS)
def test_a_byte_order_mark_tells_the_encoding_and_is_no_text(
    put: Put, encoding: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", block)
    text = "h\u00e9llo \U0001f600 w\u00f6rld\r\n\u20ac"
    assert text_of(read_corpus([put("a.txt", BOMS[encoding] + text.encode(encoding))])) == as_lf(text)


def test_a_mark_is_looked_for_in_every_file(put: Put) -> None:
    paths = [put("a.txt", b"ab"), put("b.txt", BOMS["utf-16-be"] + "c\u00e9".encode("utf-16-be")), put("c.txt", b"d")]
    assert text_of(read_corpus(paths)) == "ab\nc\u00e9\nd"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "koi8-r", "shift_jis", "gb18030"])
@pytest.mark.parametrize("block", [1, 3, 1 << 16])
def test_a_named_encoding_is_used(put: Put, encoding: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", block)
    text = {"koi8-r": "\u043c\u0438\u0440", "shift_jis": "\u65e5\u672c", "gb18030": "\u4e2d\u6587\U0001f600"}.get(
        encoding, "caf\u00e9"
    )
    path = put("a.txt", f"{text}\r\n{text}".encode(encoding))
    assert text_of(read_corpus([path], TextReader(encoding=Encoding(encoding)))) == f"{text}\n{text}"


@pytest.mark.parametrize("encoding", ["no-such", "", "hex", "rot13", "base64", "\0", "\u00fc"])
def test_an_unknown_encoding_is_a_usage_error(put: Put, encoding: str) -> None:
    with pytest.raises(UsageError, match="--encoding"):
        read_corpus([put("a.txt", b"abc")], TextReader(encoding=Encoding(encoding)))


CUT = "it ends in the middle of a character"
LATIN, REPLACE, NAME = "try --encoding latin-1; --errors replace", "--errors replace", "name its --encoding"


@pytest.mark.parametrize("block", [7, 16, 1 << 16])
@pytest.mark.parametrize(
    ("data", "encoding", "where", "line", "advice"),
    [
        (b"\xffabc", "UTF-8", 0, 1, LATIN),
        (b"abc\xff", "UTF-8", 3, 1, LATIN),
        (b"x" * 15 + b"\xff" + b"y" * 20, "UTF-8", 15, 1, LATIN),
        (b"x" * 16 + b"\xff" + b"y" * 20, "UTF-8", 16, 1, LATIN),
        (b"x" * 17 + b"\xff" + b"y" * 20, "UTF-8", 17, 1, LATIN),
        (b"a\rb\r\n" + b"x" * 95 + b"\xff\x93 fine", "UTF-8", 100, 3, "try --encoding cp1252; --errors replace"),
        (b"x" * 40 + b"\x81\x93 fine", "UTF-8", 40, 1, NAME),
        ("\u20ac".encode() * 11 + b"\xe2\x82x", "UTF-8", 33, 1, REPLACE),
        ("\u20ac".encode() * 11 + b"\xe2\x82", "UTF-8", 33, 1, CUT),
        (b"\r\n" * 20 + b"\xc0", "UTF-8", 40, 21, NAME),
        (b"\r\n" * 20 + b"\xc0 and \xc1 and so on", "UTF-8", 40, 21, LATIN),
        (b"\xef\xbb\xbfab\xffc", "UTF-8", 5, 1, LATIN),
        (b"\xef\xbb\xbf" + b"x" * 30 + b"\xffc", "UTF-8", 33, 1, LATIN),
        (b"\xff\xfea\0\0\xdcb\0", "UTF-16", 4, 1, REPLACE),
        (b"\xff\xfe" + b"a\0\n\0" * 10 + b"\0\xdcb\0", "UTF-16", 42, 11, REPLACE),
        (b"\xff\xfea\0b", "UTF-16", 4, 1, CUT),
        (b"\xff\xfe\0\0a\0\0\0\xff\xff\xff\xff", "UTF-32", 8, 1, REPLACE),
    ],
)
def test_an_invalid_byte_is_named_by_file_offset_and_line_with_what_to_try(
    put: Put, data: bytes, encoding: str, where: int, line: int, advice: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", block)
    good, bad = put("good.txt", b"fine\n" * 9), put("bad.txt", data)
    with pytest.raises(CharrnnError) as caught:
        read_corpus([good, bad])
    message = str(caught.value)
    assert message.startswith(f"{bad}: byte {where} (line {line}) is not valid {encoding} text")
    assert f"; {advice}" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("data", "encoding", "said"),
    [
        (
            b"caf\xe9 na\xefve fa\xe7ade \x93so\x94 \x96",
            None,
            "byte 3 (line 1) is not valid UTF-8 text, nor are 5 others",
        ),
        (b"well, \x93 it said\n" * 2000, None, "nor are 1,999 others; try --encoding cp1252"),
        (b"it is na\xefve\n" * 2000, None, "nor are 1,999 others; try the --encoding that reads right: cp1252 (na\xefve), "),
        ("caf\xe9 ".encode() * 9 + b"\xff!", None, "byte 54 (line 1) is not valid UTF-8 text; --errors replace"),
        ("\u043c\u0438\u0440 \u0438 ".encode("koi8-r") * 9, None, "koi8-r (\u043c\u0438\u0440)"),
        ("\u65e5\u672c\u8a9e ".encode("shift_jis") * 9, None, "shift_jis (\u65e5\u672c\u8a9e)"),
        (b"za\xb0\x95\xb1g\xb2\xb3 and letters \xf5o\xa0w\xb5 " * 20, None, "name its --encoding (cp1251,"),
        (b"caf\xe9 and more", "ascii", "byte 3 (line 1) is not valid ASCII text; name another --encoding; --errors replace"),
        (b"fine \x81", "cp1252", "byte 5 (line 1) is not valid CP1252 text; name another --encoding"),
        (b"\0\1\2\xff\xfe\0\3", None, "byte 3 (line 1) is not valid UTF-8 text, nor is 1 other; it holds NULs, so is it text?"),
    ],
)
def test_what_is_no_text_is_counted_and_the_encoding_suggested_that_fits(
    put: Put, invoke: Invoke, data: bytes, encoding: str | None, said: str
) -> None:
    options = [] if encoding is None else ["--encoding", encoding]
    for command in (["train", "--dry-run"], ["score", "-c", FABLES], ["inspect", "-c", FABLES, "--file"]):
        done = invoke(*command, put("bad.txt", data), *options)
        assert (done.code, done.stdout) == (1, "")
        assert said in done.stderr.splitlines()[-1]
        assert ("--level byte" in done.stderr) == (command[0] == "train")


def test_a_large_file_is_not_read_to_its_end_to_count_what_is_no_text(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "DIAGNOSED_BYTES", 1 << 16)
    path = put("bad.txt", b"na\xefve\n" * (1 << 16))
    with pytest.raises(CharrnnError, match=r"nor are at least [0-9,]+ others; try the --encoding that reads right: cp1252"):
        read_corpus([path])


def test_of_a_pipe_no_more_is_read_once_something_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[bytes]:
        yield b"Once upon a \xff time\n" * 9
        pytest.fail("it may be the end of a log that grows")

    with pytest.raises(CharrnnError, match=r"^stdin: byte 12 \(line 1\) is not valid UTF-8 text, nor are 8 others; "):
        list(decoding.decoded(endless(), "stdin", decoding.TOLD, pytest.fail))


@pytest.mark.parametrize("block", [1, 2, 3, 1 << 16])
@pytest.mark.parametrize(
    ("data", "encoding", "text", "count", "line"),
    [
        (b"abc\n\xff, \xe2\x82, \xe2\x82\xac\r\n", None, "abc\n\ufffd, \ufffd, \u20ac\n", 2, 2),
        ("genuine \ufffd".encode() + b" and \xff", "utf-8", "genuine \ufffd and \ufffd", 1, 1),
        (b"\xff\xfea\0\0\xdcb\0c", None, "a\ufffdb\ufffd", 2, 1),
        (b"\x81 well \x93", "cp1252", "\ufffd well \u201c", 1, 1),
        (b"\x82\xa0\n\n\x82", "shift_jis", "\u3042\n\n\ufffd", 1, 3),
    ],
)
def test_errors_replace_goes_on_and_counts(
    put: Put, data: bytes, encoding: str | None, text: str, count: int, line: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", block)
    said: list[str] = []
    path = put("a.txt", data)
    assert text_of(read_corpus([path], TextReader(encoding=Encoding(encoding, "replace"), warn=said.append))) == text
    verb = "stands" if count == 1 else "stand"
    name = (encoding or ("utf-16" if data[:1] == b"\xff" else "utf-8")).upper()
    assert said == [f"{path}: {count} U+FFFD {verb} for what is not valid {name} text, the first in line {line}"]


def test_every_command_that_reads_texts_takes_errors_replace(put: Put, invoke: Invoke) -> None:
    path = put("bad.txt", b"Once upon a t\xff\xfeime\n" * 3)
    stand = "6 U+FFFD stand for what is not valid UTF-8 text, the first in line 1"
    options = ["--errors", "replace", "-c", FABLES]
    for arguments in (
        ["score", path],
        ["inspect", "--file", path, "--color", "surprise"],
        ["sample", "--prompt-file", path, "-n", "1"],
        ["sample", "-n", "1", "--copied-from", path],
        ["sample", "--prompts", path, "-n", "1"],
        ["train", path, "--dry-run"],
    ):
        done = invoke(*arguments, *(options[:2] if arguments[0] == "train" else options))
        assert done.code == 0, done.stderr
        assert f"warning: {path}: {stand}\n" in done.stderr
    assert "stdin: 1 U+FFFD stands" in invoke("next", "-", *options, stdin=b"Once\xff").stderr


@pytest.mark.parametrize("option", [["--encoding", "latin-1"], ["--errors", "replace"]])
def test_a_file_in_windows_1252_is_not_quietly_read_as_control_characters(put: Put, invoke: Invoke, option: list[str]) -> None:
    path = put("w.txt", b"\x93Well\x94, he said \x96 so.\n" * 20)
    said = invoke("train", path, "--dry-run", "--steps", "1", *option).stderr
    if option[1] == "latin-1":
        assert "60 control characters U+0080 to U+009F; in Windows-1252 they are quotes and dashes: --encoding cp1252" in said
    else:
        assert "60 U+FFFD" in said
    said = invoke("train", path, "--dry-run", "--steps", "1", "--encoding", "cp1252").stderr
    assert re.fullmatch(r"charrnn: without a network this text takes, .*\n", said)


# -- UTF-16 and UTF-32 without a mark, and marks within a text ---------------------------------------------------------

TEXTS = ["Hello there, my friend.\n", "Hi", "caf\xe9 \u2014 \u201cso\u201d\r\n", "a\U0001f600b c d e f\n" * 3]
TEXTS += ["\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u043e\u0439 \u0434\u0440\u0443\u0433.\n" * 3]
TEXTS += ["\u4f60\u597d\uff0c\u4e00\u754c\n\u4eca\u5929\n\u5929\u6c14\u5f88\u597d\n" * 9]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", TEXTS)
def test_wide_characters_are_known_without_a_mark(put: Put, text: str, encoding: str) -> None:
    said: list[str] = []
    path = put("a.txt", text.encode(encoding))
    assert text_of(read_corpus([path], TextReader(warn=said.append))) == as_lf(text)
    assert said == [f"{path}: read as {encoding.upper()}, which no byte-order mark says; --encoding names another"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("order", ["-le", "-be"])
def test_a_named_encoding_without_a_mark_is_read_in_the_order_of_its_bytes(put: Put, encoding: str, order: str) -> None:
    path = put("a.txt", TEXTS[0].encode(encoding + order))
    assert text_of(read_corpus([path], TextReader(encoding=Encoding(encoding), warn=pytest.fail))) == TEXTS[0]


@pytest.mark.parametrize(
    "data", [b"one\0two\0three\0", b"abc\0" * 9, b"ab\0", b"\0\0\0\0", b"a\0\1\0b\0\2\0", "\u4f60\0".encode() * 9]
)
def test_a_text_with_nuls_that_is_no_utf_16_stays_what_it_is(put: Put, data: bytes) -> None:
    said: list[str] = []
    path = put("a.txt", data)
    assert text_of(read_corpus([path], TextReader(warn=said.append))) == data.decode()
    assert said == [f"{path}: holds NUL characters; is it text?"]


@pytest.mark.parametrize("block", [1, 3, 4, 1 << 16])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32-be"])
def test_a_mark_at_the_beginning_of_a_line_is_dropped_and_elsewhere_it_is_text(
    put: Put, encoding: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", block)
    text = "\ufeffone\r\n\ufefftwo\r\ufeff\ufeffthree\n\ufeff\ufeff\n\ufefffo\ufeffur\ufeff\n\ufeff"
    read = read_corpus([put("a.txt", text.encode(encoding))], TextReader(encoding=Encoding(encoding)))
    assert text_of(read) == "one\ntwo\nthree\n\nfo\ufeffur\ufeff\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", "a\n\ufeffb"),
        (b"\xef\xbb\xbf\xef\xbb\xbfab", "\ufeffab"),
        (b"a\0b\0", "a\0b\0"),
        (b"%PDF-1.4", "%PDF-1.4"),
    ],
)
def test_a_run_that_began_before_reads_its_text_as_it_did(put: Put, data: bytes, text: str) -> None:
    assert text_of(read_corpus([put("a.txt", data)], TextReader(version=1, warn=pytest.fail))) == text


def test_the_suggestions_for_an_invalid_byte_work(put: Put) -> None:
    path = put("bad.txt", b"caf\xe9\r\n")
    assert text_of(read_corpus([path], TextReader(encoding=Encoding("latin-1")))) == "caf\u00e9\n"
    assert read_corpus([path], TextReader("byte")).ids.tolist() == list(b"caf\xe9\r\n")


def test_a_named_encoding_is_named_in_its_error(put: Put) -> None:
    with pytest.raises(CharrnnError, match=r"byte 2 \(line 1\) is not valid ASCII"):
        read_corpus([put("a.txt", b"ab\xe9")], TextReader(encoding=Encoding("ascii")))


@pytest.mark.parametrize(
    ("data", "encoding", "cut"),
    [
        ("The fox \U0001f98a".encode()[:-1], None, True),
        ("caf\u00e9 na\u00ef".encode()[:-1], None, True),
        ("caf\u00e9".encode("utf-16")[:-1], None, True),
        ("\u732b".encode("shift_jis")[:-1], "shift_jis", True),
        (b"caf\xe9", None, False),
        ("caf\u00e9 na\u00efv\u00e9".encode()[:-1] + b"!", None, False),
    ],
)
def test_a_text_that_ends_within_a_character_is_told_from_another_encoding(
    put: Put, invoke: Invoke, data: bytes, encoding: str | None, cut: bool
) -> None:
    named = ["--encoding", encoding] if encoding else []
    said = invoke("score", put("cut.txt", data), "-c", FABLES, *named).stderr
    assert "is not valid" in said
    assert (CUT in said) is cut


def test_two_encodings_in_one_file_are_told_of(invoke: Invoke, put: Put) -> None:
    path = put("both.txt", "\u2018 \u2019\n".encode() * 20 + "\u2018 \u2019\n".encode("cp1252") * 20)
    done = invoke("score", path, "-c", FABLES)
    assert "is not valid UTF-8 text, nor are 39 others; most of it is, so were files of two encodings joined?" in done.stderr
