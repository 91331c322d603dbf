"""copied: runs found by hashes are those found by looking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.generation import copied as room
from charrnn.generation.copied import LOOP, copied, looped

IDS = st.lists(st.integers(0, 2), max_size=60).map(lambda values: np.array(values, dtype=np.uint8))


def longest_common(one, other):
    """By the textbook's table."""
    best, above = 0, [0] * (len(other) + 1)
    for a in one:
        row = [0] * (len(other) + 1)
        for column, b in enumerate(other):
            if a == b:
                row[column + 1] = above[column] + 1
                best = max(best, row[column + 1])
        above = row
    return best


def stands_in(part, corpus):
    return any((corpus[i : i + len(part)] == part).all() for i in range(len(corpus) - len(part) + 1))


@settings(deadline=None)
@given(st.lists(IDS, max_size=4), IDS, st.integers(0, 50), st.integers(0, 60))
def test_the_longest_run_is_the_longest_common_substring(texts, corpus, start, length):
    texts = [*texts, corpus[start : start + length]]
    for text, found in zip(texts, copied(texts, corpus), strict=True):
        assert found.longest == longest_common(text.tolist(), corpus.tolist())
        assert stands_in(text[found.start : found.start + found.longest], corpus)


def marked(*lengths):
    """A text of copied runs of these lengths with one strange symbol after each, and its corpus."""
    corpus = np.random.default_rng(0).integers(0, 200, 5000).astype(np.uint8)
    parts = [np.append(corpus[400 * n + 7 : 400 * n + 7 + length], np.uint8(255)) for n, length in enumerate(lengths)]
    return np.concatenate(parts), corpus


@pytest.mark.parametrize(
    ("lengths", "longest", "inside"),
    [((31, 20), 31, 0), ((32, 20), 32, 32), ((40, 31, 100), 100, 140), ((300,), 300, 300), ((64, 64), 64, 128)],
)
def test_the_share_counts_characters_inside_runs_of_32_or_more(lengths, longest, inside):
    text, corpus = marked(*lengths)
    (found,) = copied([text], corpus)
    assert (found.longest, found.share) == (longest, inside / len(text))


def test_a_run_across_two_blocks_of_the_corpus_is_found(monkeypatch):
    text, corpus = marked(90)
    for block in (1, 7, 64, 50):
        monkeypatch.setattr(room, "BLOCK", block)
        assert copied([text], corpus)[0].longest == 90


def test_a_whole_copy_and_a_text_of_nothing():
    _, corpus = marked(1)
    whole, nothing = copied([corpus, corpus[:0]], corpus)
    assert (whole.longest, whole.start, whole.share) == (5000, 0, 1.0)
    assert (nothing.longest, nothing.share) == (0, 0.0)
    assert copied([corpus], corpus[:0])[0].longest == 0
    assert copied([], corpus) == []


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("", 0),
        ("a" * 20, 0),
        ("a" * 21, 20),
        ("ab" * 10 + "a", 0),
        ("ab" * 11, 20),
        ("abcdefghijklmnopqrstuvwxyz" * 2, 26),
        ("0123456789012345678|0123456789012345678", 0),
        ("01234567890123456789|01234567890123456789", 20),
    ],
)
def test_what_a_text_says_again_is_counted_in_runs_of_20_or_more(text, again):
    assert LOOP == 20
    assert looped(np.frombuffer(text.encode(), dtype=np.uint8)) == again


@settings(deadline=None)
@given(st.lists(st.integers(0, 1), max_size=90))
def test_loops_are_those_found_by_looking(ids):
    inside = [False] * len(ids)
    windows = [ids[start : start + LOOP] for start in range(len(ids) - LOOP + 1)]
    for start, window in enumerate(windows):
        if window in windows[:start]:
            inside[start : start + LOOP] = [True] * LOOP
    assert looped(np.array(ids, dtype=np.intp)) == sum(inside)
