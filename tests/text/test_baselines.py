"""baselines: what a text takes without a network."""

from __future__ import annotations

import lzma
import math
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from conftest import Put
from small_runs import corpus_of, random_text

from charrnn.text import baselines
from charrnn.text.corpus import read_corpus
from charrnn.text.reading import TextReader


def test_letters_alone_are_the_entropy_of_their_frequencies(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "to be or not to be, that is the question\n" * 9 + "x"
    expected = -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())
    assert baselines.unigram_bits(corpus_of(text)) == pytest.approx(expected)
    monkeypatch.setattr(baselines, "BLOCK", 7)
    assert baselines.unigram_bits(corpus_of(text)) == pytest.approx(expected)
    assert baselines.unigram_bits(corpus_of("aaaa")) == 0.0
    assert math.copysign(1, baselines.unigram_bits(corpus_of("aaaa"))) == 1


@pytest.mark.parametrize("text", ["to be or not to be\n" * 50, "eine Möwe, 鳥 und 😀\n" * 50])
def test_xz_is_what_it_makes_of_the_text_in_utf_8_per_character(text: str) -> None:
    assert baselines.xz_bits(corpus_of(text)) == pytest.approx(8 * len(lzma.compress(text.encode(), preset=9)) / len(text))


def test_bytes_are_compressed_as_they_are(put: Put) -> None:
    data = bytes(range(256)) * 20
    corpus = read_corpus([put("bytes", data)], TextReader("byte"))
    assert baselines.excerpt(corpus) == (data, len(data))


def test_a_long_text_is_compressed_in_pieces_from_all_over_it() -> None:
    corpus = replace(corpus_of("ab"), ids=(np.arange(10_000) >= 5_000).astype(np.uint8))
    found, characters = baselines.excerpt(corpus, 800)
    assert (len(found), characters) == (800, 800)
    assert found == b"a" * 400 + b"b" * 400
    assert baselines.excerpt(corpus, 10_000)[1] == 10_000


@pytest.mark.parametrize("most", [100, 1_000, 5_000])
def test_no_more_bytes_than_asked_for_whatever_characters_take(most: int) -> None:
    corpus = corpus_of("a" * 3_000 + "鳥" * 3_000)
    found, characters = baselines.excerpt(corpus, most)
    assert 0.7 * most < len(found) <= most
    assert len(found.decode()) == characters


def test_a_rare_character_that_is_folded_counts_as_the_unknown_one(put: Put) -> None:
    corpus = read_corpus([put("text.txt", (random_text(500) + "Q").encode())], min_count=3)
    assert baselines.excerpt(corpus)[0].decode().endswith("\ufffd")


def test_what_a_checkpoint_tells_is_a_sound_number_or_nothing() -> None:
    assert baselines.known(2.5) == 2.5
    assert [baselines.known(value) for value in (None, "2", -1.0, math.nan, math.inf, [2.0], True)] == [None] * 7


def test_the_order_of_a_list_tells_a_compressor_nothing(put: Put) -> None:
    drawn = ["".join(random.Random(number).choices("abcdefgh", k=7)) for number in range(2_000)]
    corpora = []
    for name, lines in ("drawn.txt", drawn), ("sorted.txt", sorted(drawn)):
        path = put(name, "".join(f"{line}\n" for line in lines).encode())
        corpora.append(read_corpus([path], val_seed=0))
        assert sorted(baselines.excerpt(corpora[-1])[0].decode().splitlines()) == sorted(drawn)
    assert baselines.xz_bits(corpora[1]) == pytest.approx(baselines.xz_bits(corpora[0]), rel=0.02)
    plain = baselines.xz_bits(read_corpus([path]))
    assert plain < 0.9 * baselines.xz_bits(corpora[1])


def test_of_a_long_list_some_records_are_compressed(put: Put) -> None:
    path = put("list.txt", ("ab\n" * 400 + "鳥鳥\n" * 400).encode())
    found, characters = baselines.excerpt(read_corpus([path], val_seed=0), 900)
    assert 600 < len(found) <= 900
    assert len(found.decode()) == characters
    assert {"ab", "鳥鳥"} <= {*found.decode().splitlines()[:-1]}


def test_of_a_list_of_millions_as_many_records_are_drawn_as_are_needed(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put("list.txt", "".join(f"{number:05}\n" for number in range(3000)).encode())
    corpus = read_corpus([path], val_seed=0)
    monkeypatch.setattr(baselines, "DRAWN_FROM", 100)
    found, characters = baselines.excerpt(corpus, 600)
    lines = [int(line) for line in found.decode().splitlines()]
    assert (len(lines), characters) == (len({*lines}), 600) == (100, 600)
    assert (min(lines) < 600, max(lines) > 2400) == (True, True)
