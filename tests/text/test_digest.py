"""Both digests are those of hashlib, whatever the blocks and wherever bytes and characters begin to differ."""

from __future__ import annotations

import codecs
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text import digest
from charrnn.text.digest import TextDigest


def codes(text: str) -> np.ndarray:
    if text.isascii():
        return np.frombuffer(text.encode(), dtype=np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@given(st.text(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be"]), st.integers(1, 7))
def test_the_digests_are_of_the_bytes_and_of_the_utf_8_whatever_the_blocks(text: str, encoding: str, size: int) -> None:
    raw = text.encode(encoding)
    decoder = codecs.getincrementaldecoder(encoding)()
    digest = TextDigest("char")
    for start in range(0, len(raw), size):
        block = raw[start : start + size]
        digest.update(block, codes(decoder.decode(block)))
    digest.update(b"", codes(decoder.decode(b"", final=True)))
    assert digest.of_bytes == sha256(raw)
    assert digest.of_text == sha256(text.encode())


@pytest.mark.parametrize("cut", range(12))
def test_line_ends_change_the_bytes_digest_alone(cut: int) -> None:
    raw, digest = "aé\r\nb\r\nc".encode(), TextDigest("char")
    # Whoever reads holds a CR back until it is known what follows.
    first = raw[:cut].decode("utf-8", "ignore").removesuffix("\r").replace("\r\n", "\n")
    digest.update(raw[:cut], codes(first))
    digest.update(raw[cut:], codes("aé\nb\nc".removeprefix(first)))
    assert (digest.of_bytes, digest.of_text) == (sha256(raw), sha256("aé\nb\nc".encode()))


def test_a_newline_put_between_two_files_is_in_the_text_alone() -> None:
    digest = TextDigest("char")
    for raw, text in ((b"ab", "ab"), (b"", "\n"), (b"cd", "cd")):
        digest.update(raw, codes(text))
    assert (digest.of_bytes, digest.of_text) == (sha256(b"abcd"), sha256(b"ab\ncd"))


def test_lone_surrogates_have_a_digest() -> None:
    digest = TextDigest("char")
    digest.update(b"\x00\xd8", codes("\ud800"))
    assert digest.of_text == sha256("\ud800".encode("utf-8", "surrogatepass"))


def test_bytes_are_their_own_text() -> None:
    digest, raw = TextDigest("byte"), bytes(range(256))
    digest.update(raw, np.frombuffer(raw, dtype=np.uint8))
    assert digest.of_bytes == digest.of_text == sha256(raw)


def test_what_reads_as_its_own_bytes_is_hashed_once() -> None:
    digest, (first, second) = TextDigest("char"), (b"\xc3", b"\xa9")
    for raw, text in ((b"plain text\n", "plain text\n"), (first, ""), (second, "é")):
        digest.update(raw, codes(text))
    assert digest._raw is None
    assert digest.of_bytes == digest.of_text == sha256("plain text\né".encode())


def test_raw_bytes_do_not_wait_for_ever_for_their_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a table whose rows have no text for long, all raw bytes would be held."""
    monkeypatch.setattr(digest, "_FARTHEST", 100)
    made, nothing = TextDigest("char"), np.empty(0, dtype=np.uint8)
    raw = [b"x" * 60] * 9
    for block in raw:
        made.update(block, nothing)
        assert len(made._behind) < 100
    made.update(b"", np.frombuffer(b"text", dtype=np.uint8))
    assert made.of_bytes == hashlib.sha256(b"".join(raw)).hexdigest()
    assert made.of_text == hashlib.sha256(b"text").hexdigest()
