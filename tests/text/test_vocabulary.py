"""vocabulary: characters to ids and back, without losing or inventing any."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn import CharrnnError
from charrnn.text.vocabulary import Vocabulary, id_dtype

UNKNOWN = "\ufffd"
BYTES = Vocabulary("byte")
texts = st.text(max_size=60)


def of(text: str) -> Vocabulary:
    return Vocabulary.from_counts(Counter(map(ord, text)))


def test_ids_are_the_sorted_code_points_and_then_the_unknown() -> None:
    vocabulary = of("banana\n€😀")
    assert vocabulary.characters == "\nabn€😀"
    assert (vocabulary.size, vocabulary.unknown) == (7, 6)
    assert vocabulary.encode("ban😀?").tolist() == [2, 1, 3, 5, 6]
    assert vocabulary.decode([0, 4, 6, 5]) == f"\n€{UNKNOWN}😀"


@settings(deadline=None, max_examples=50)
@given(texts)
def test_a_text_survives_its_own_vocabulary(text: str) -> None:
    vocabulary = of(text)
    ids = vocabulary.encode(text)
    assert ids.tolist() == [sorted(set(text)).index(character) for character in text]
    assert vocabulary.decode(ids) == text


@settings(deadline=None, max_examples=50)
@given(texts)
def test_any_text_survives_as_bytes(text: str) -> None:
    ids = BYTES.encode(text)
    assert ids.tolist() == list(text.encode())
    assert BYTES.decode(ids) == text


def test_bytes_have_256_symbols_and_none_unknown() -> None:
    assert (BYTES.size, BYTES.unknown) == (256, None)
    assert BYTES.decode([0x61, 0xFF, 0x62]) == f"a{UNKNOWN}b"


def test_bytes_of_an_undecodable_argument_come_through() -> None:
    argument = b"caf\xe9".decode("utf-8", "surrogateescape")  # as Python hands over a Latin-1 word on the command line
    assert BYTES.encode(argument).tolist() == list(b"caf\xe9")


@settings(deadline=None, max_examples=50)
@given(texts)
def test_the_byte_decoder_emits_each_character_with_its_last_byte(text: str) -> None:
    data, decoder, said = text.encode(), BYTES.decoder(), ""
    for count, byte in enumerate(data, start=1):
        said += decoder.decode(byte)
        assert said == data[:count].decode(errors="ignore")


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=40))
@example(b"\xed\xa0")  # Python tells only behind it that no character begins so.
def test_the_byte_decoder_replaces_exactly_what_is_invalid(data: bytes) -> None:
    decoder = BYTES.decoder()
    said = "".join(decoder.decode(byte) for byte in data)
    unfinished = BYTES.decode(data)
    assert unfinished == data.decode("utf-8", "replace")
    # Only a last character whose bytes have not all come is held back.
    assert said + decoder.pending.decode("utf-8", "replace") == unfinished
    assert len(decoder.pending) < 4


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=40))
def test_the_exact_byte_decoder_holds_nothing_back_and_changes_nothing(data: bytes) -> None:
    decoder = BYTES.decoder(exact=True)
    said = [decoder.decode(byte) for byte in data]
    assert all(said)
    assert "".join(said).encode("utf-8", "surrogateescape") == BYTES.decoder(exact=True).text([*data]).encode(
        "utf-8", "surrogateescape"
    )
    assert "".join(said).encode("utf-8", "surrogateescape") == data
    assert decoder.pending == b""


def test_nothing_is_said_of_a_character_cut_off_at_the_end() -> None:
    decoder = BYTES.decoder()
    assert [decoder.decode(byte) for byte in "€".encode()[:2]] == ["", ""]


def test_the_character_decoder_emits_one_character_per_id() -> None:
    vocabulary = of("aé😀")
    decoder = vocabulary.decoder()
    assert [decoder.decode(index) for index in (2, 0, 3, 1)] == ["😀", "a", UNKNOWN, "é"]


@pytest.mark.parametrize(
    ("known", "text", "plain", "changed"),
    [
        ("\"'abc", "“a”‘b’", "\"a\"'b'", {"“": '"', "”": '"', "‘": "'", "’": "'"}),
        ("don’t", "don't", "don’t", {"'": "’"}),
        ("“a”", '"a', "“a", {'"': "“"}),
        ("„a“", '"a', "„a", {'"': "„"}),
        ("« a »", '"a', "«a", {'"': "«"}),
        ("'\"‘’“”", "'\"", "'\"", {}),
        ("ab-", "a–b—a−b", "a-b-a-b", {"–": "-", "—": "-", "−": "-"}),
        ("cafe", "café", "cafe", {"é": "e"}),
        ("cafe", "cafe\u0301", "cafe", {"é": "e"}),
        ("e\u0301", "é", "e\u0301", {}),
        ("a.", "a…", "a...", {"…": "..."}),
        ("fi", "ﬁ", "fi", {"ﬁ": "fi"}),
        ("aes", "æß", "aess", {"æ": "ae", "ß": "ss"}),
        ("o", "ǿ", "o", {"ǿ": "o"}),
        ("a b", "a\u00a0b\tb", "a b b", {"\u00a0": " ", "\t": " "}),
        ("abc", "ABC", "abc", {"A": "a", "B": "b", "C": "c"}),
        ("ABC", "abc", "ABC", {"a": "A", "b": "B", "c": "C"}),
        ("ab", "a语b", f"a{UNKNOWN}b", {"语": UNKNOWN}),
        ("a", "a\ufb2a", f"a{2 * UNKNOWN}", {"\ufb2a": 2 * UNKNOWN}),
        ("\u05e9", "\ufb2a", "\u05e9", {"\ufb2a": "\u05e9"}),
        ("A", "\u212b", "A", {"\u212b": "A"}),
        ("a", "“a", f"{UNKNOWN}a", {"“": UNKNOWN}),
        ("“a", "“a", "“a", {}),
        ("éea", "éa", "éa", {}),
    ],
)
def test_a_foreign_character_becomes_its_nearest_known_plain_form(
    known: str, text: str, plain: str, changed: dict[str, str]
) -> None:
    assert of(known).plain(text) == (plain, changed)


@settings(deadline=None, max_examples=50)
@given(texts, texts)
def test_plain_text_is_known_or_replaced_and_known_text_untouched(known: str, text: str) -> None:
    vocabulary = of(known)
    plain, changed = vocabulary.plain(text)
    assert set(plain) <= set(known) | {UNKNOWN}
    assert set(changed) == set(text) - set(known)
    assert vocabulary.plain(known) == (known, {})


def test_bytes_need_no_plain_form() -> None:
    assert BYTES.plain("“語”") == ("“語”", {})


def test_what_is_rarer_than_min_count_folds_into_the_unknown() -> None:
    counts = Counter(map(ord, "aaabbc"))
    vocabulary = Vocabulary.from_counts(counts, min_count=2)
    assert (vocabulary.characters, vocabulary.size) == ("ab", 3)
    assert vocabulary.encode("cab").tolist() == [2, 0, 1]
    assert Vocabulary.from_counts(counts, min_count=9).encode("ab").tolist() == [0, 0]


@settings(deadline=None, max_examples=25)
@given(texts)
def test_a_vocabulary_survives_json(text: str) -> None:
    again = Vocabulary.from_json(json.loads(json.dumps(of(text).to_json())))
    assert again == of(text)
    assert hash(again) == hash(of(text))
    assert again.encode(text).tolist() == of(text).encode(text).tolist()


def test_the_byte_vocabulary_survives_json_and_differs_from_the_empty_one() -> None:
    assert Vocabulary.from_json(BYTES.to_json()) == BYTES
    assert Vocabulary("char") != BYTES
    assert BYTES != "byte"


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "abc",
        {},
        {"level": "char"},
        {"characters": "ab"},
        {"level": None, "characters": "ab"},
        {"level": "char", "characters": ["a", "b"]},
        {"level": "char", "characters": 3},
        {"level": "word", "characters": "ab"},
        {"level": "char", "characters": "ba"},
        {"level": "char", "characters": "aab"},
        {"level": "byte", "characters": "a"},
    ],
)
def test_a_malformed_vocabulary_is_refused(data: Any) -> None:
    with pytest.raises(CharrnnError):
        Vocabulary.from_json(data)


@pytest.mark.parametrize(
    ("size", "dtype"), [(1, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "u4"), (0x110001 - 2048, "u4")]
)
def test_ids_are_as_narrow_as_their_number_allows(size: int, dtype: str) -> None:
    assert np.dtype(id_dtype(size)) == dtype
    codes = [code for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF][: size - 1]  # the last id is the unknown's
    vocabulary = Vocabulary("char", "".join(map(chr, codes)))
    assert vocabulary.table.dtype == dtype
    assert vocabulary.table.shape == (0x110000,)
    assert vocabulary.table[codes].tolist() == list(range(size - 1))
    assert set(np.delete(vocabulary.table, codes).tolist()) <= {size - 1}
