"""excerpts: which characters of a held-out text are scored, how that is stored, and how far a sample may be off."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from small_runs import corpus_of

from charrnn.text.corpus import Corpus
from charrnn.text.excerpts import PIECES, Excerpt, first, spread, stored
from charrnn.text.records import RecordList, Records, split
from charrnn.text.scattered import scatter

MOST = PIECES[-1][1]


def tail(characters: int, held_out: int) -> Corpus:
    return replace(corpus_of("ab"), ids=np.zeros(characters, dtype=np.uint8), train_characters=characters - held_out)


def scattered(characters: int, fraction: float = 0.1) -> Corpus:
    pieces = scatter(characters, fraction)
    assert pieces is not None
    return replace(tail(characters, 0), pieces=pieces, train_characters=pieces.trained)


def listed(count: int) -> Corpus:
    corpus = corpus_of("".join(f"{number:x}\n" for number in range(count)))
    records, blocks = split(corpus.ids, corpus.vocabulary, 0.3, 0)
    train = int(records.starts[records.train]) + 1
    return replace(corpus, ids=np.concatenate(list(blocks())), records=records, train_characters=train)


@pytest.mark.parametrize("characters", [1, 255, 2_000, 8_000, 46_000, 199_999, 900_000])
def test_so_many_characters_are_scored_in_pieces_from_all_over_the_tail(characters: int) -> None:
    corpus = tail(2_000_000, 1_000_000)
    excerpt = spread(corpus, characters)
    assert (excerpt.characters, excerpt.whole, excerpt.held_out) == (characters, False, 1_000_000)
    count = len(excerpt.begins)
    assert count <= MOST
    assert (excerpt.ends - excerpt.begins).max() <= max(513, -(-characters // MOST), 8192)
    assert count == 1 or (excerpt.ends - excerpt.begins).min() >= 249
    # A piece in each of so many equal parts, in its middle.
    borders = corpus.train_characters + 1_000_000 * np.arange(count + 1) / count
    assert (excerpt.begins >= borders[:-1] - 1).all()
    assert (excerpt.ends <= borders[1:] + 1).all()
    middles = (excerpt.begins + excerpt.ends) / 2 - (borders[:-1] + borders[1:]) / 2
    assert np.abs(middles).max() <= 1.5


@pytest.mark.parametrize("count", [*range(11, 40), 300])
def test_of_records_only_those_that_are_held_out_are_scored_however_many(count: int) -> None:
    corpus = corpus_of("\n" + "ab\n" * 2 * count)
    records = RecordList(np.arange(2 * count + 1) * 3, count, Records(2 * count, count, 0, 0, 2, 2.0))
    corpus = replace(corpus, records=records, train_characters=3 * count + 1)
    for characters in range(1, 3 * count + 1):
        excerpt = spread(corpus, characters)
        assert excerpt.begins[0] > 3 * count
        assert excerpt.ends[-1] <= 6 * count + 1
        assert (np.diff(excerpt.begins) > 0).all()


@pytest.mark.parametrize("characters", [100, 5_000, 10**9])
def test_a_text_that_fits_is_scored_whole(characters: int) -> None:
    for corpus in (tail(1_000, 100), scattered(1_000)):
        excerpt = spread(corpus, max(characters, corpus.val_characters))
        assert excerpt.whole
        assert excerpt.standard_error(np.ones(len(excerpt.begins))) == 0.0
    whole = spread(tail(1_000, 100), characters)
    assert (whole.begins.tolist(), whole.ends.tolist()) == ([900], [1000])


def test_what_runs_of_earlier_versions_scored_is_the_beginning() -> None:
    excerpt = first(tail(10_000, 5_000), 2_000)
    assert (excerpt.begins.tolist(), excerpt.ends.tolist()) == ([5_000], [7_000])


def test_records_are_evenly_spread_ones_with_their_newlines() -> None:
    corpus = listed(300)
    assert corpus.records is not None
    excerpt = spread(corpus, corpus.val_characters // 3)
    assert 0.25 < excerpt.characters / corpus.val_characters < 0.42
    newline = int(corpus.vocabulary.encode("\n")[0])
    assert (corpus.ids[excerpt.begins - 1] == newline).all()
    assert (corpus.ids[excerpt.ends - 1] == newline).all()
    held_out = corpus.records.starts[corpus.records.train :] + 1
    numbers = np.searchsorted(held_out, excerpt.begins)
    assert set(np.diff(numbers)) <= {2, 3, 4}
    assert spread(corpus, corpus.val_characters).whole


@pytest.mark.parametrize(
    "excerpt",
    [spread(tail(9_000, 4_000), 1_500), first(tail(9_000, 4_000), 1_500), spread(tail(900, 400), 400)],
    ids=["pieces", "beginning", "whole"],
)
def test_which_characters_they_are_is_stored_and_read_back(excerpt: Excerpt) -> None:
    corpus = tail(9_000 if excerpt.held_out == 4_000 else 900, excerpt.held_out)
    written = json.loads(json.dumps(excerpt.to_json()))
    assert written["characters"] == excerpt.characters
    assert [b - a for a, b in written["pieces"]] == (excerpt.ends - excerpt.begins).tolist()
    again = stored(written, corpus)
    assert again is not None
    assert again.to_json() == written


def test_pieces_and_records_are_stored_and_read_back() -> None:
    for corpus in (scattered(100_000), listed(200)):
        excerpt = spread(corpus, corpus.val_characters // 2)
        again = stored(json.loads(json.dumps(excerpt.to_json())), corpus)
        assert again is not None
        assert (again.begins.tolist(), again.ends.tolist()) == (excerpt.begins.tolist(), excerpt.ends.tolist())
    assert len(json.dumps(spread(listed(200), 100).to_json())) < 100


@pytest.mark.parametrize(
    "data",
    [
        None,
        7,
        {},
        {"pieces": []},
        {"pieces": [[950, 900]]},
        {"pieces": [[900, 900]]},
        {"pieces": [[950, 960], [900, 910]]},
        {"pieces": [[899, 910]]},
        {"pieces": [[990, 1001]]},
        {"pieces": [[900.0, 910.0]]},
        {"pieces": [[True, 910]]},
        {"pieces": [[900, 910, 920]]},
        {"pieces": [[900, 900 + 1]] * 2},
        {"pieces": [[10**30, 10**31]]},
        {"pieces": [[901 + n, 902 + n] for n in range(0, 2 * MOST + 2, 2)]},
        {"every": 2.0, "longest": 10},
    ],
)
def test_what_is_no_excerpt_of_this_text_is_none(data: object) -> None:
    assert stored(data, tail(1_000, 100)) is None


@pytest.mark.parametrize("data", [{}, {"every": 0.5, "longest": 3}, {"every": 2, "longest": 3}, {"every": 2.0, "longest": 0}])
def test_what_is_no_excerpt_of_this_list_is_none(data: object) -> None:
    assert stored(data, listed(50)) is None


def test_no_stored_piece_is_outside_the_scored_parts_of_pieces() -> None:
    corpus = scattered(100_000)
    assert corpus.pieces is not None
    begin, end = int(corpus.pieces.scored_from[1]), int(corpus.pieces.ends[1])
    assert stored({"pieces": [[begin, end]]}, corpus) is not None
    for wrong in ([begin - 1, end], [begin, end + 1], [0, 10]):
        assert stored({"pieces": [wrong]}, corpus) is None


def test_the_standard_error_is_how_far_samples_are_from_the_whole() -> None:
    """Of a text whose characters cost differently from place to place: so many samples, each from elsewhere."""
    rng = np.random.default_rng(0)
    costs = np.repeat(rng.gamma(2.0, 1.0, 2_000), 500)
    sums = np.concatenate([[0.0], np.cumsum(costs)])
    errors, told = [], []
    for _ in range(400):
        begins = np.sort(rng.choice(2_000, 50, replace=False)) * 500
        sample = Excerpt(begins, begins + 500, len(costs))
        losses = sums[sample.ends] - sums[sample.begins]
        errors.append(losses.sum() / sample.characters - costs.mean())
        told.append(sample.standard_error(losses))
    assert np.mean(told) == pytest.approx(np.std(errors), rel=0.1)


def test_a_larger_share_of_the_text_errs_less_and_one_piece_says_nothing() -> None:
    losses = np.array([100.0, 140.0, 90.0, 130.0])
    begins = np.array([0, 100, 200, 300])
    found = [Excerpt(begins, begins + 100, held_out).standard_error(losses) for held_out in (10**9, 800, 500, 400)]
    assert all(more > less for more, less in pairwise(found))  # type: ignore[operator]
    assert found[0] == pytest.approx(np.std(losses / 100, ddof=1) / 2, rel=1e-6)
    assert found[-1] == 0.0
    assert Excerpt(begins[:1], begins[:1] + 100, 400).standard_error(losses[:1]) is None
