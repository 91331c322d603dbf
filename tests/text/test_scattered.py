"""scattered: pieces held out all over a text, and the columns between them. Ids 0, 1, 2, ... say where they are."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from charrnn.network import checkpoint
from charrnn.text.corpus import read_corpus
from charrnn.text.scattered import MOST_PIECES, WARM_UP, Pieces, StretchStreams, scatter
from charrnn.training import runs

FRACTIONS = [0.01, 0.1, 0.25, 0.5, 0.9, 0.99]


def trained_on(pieces: Pieces) -> NDArray[np.int64]:
    return np.concatenate([np.arange(begin, end) for begin, end in zip(*pieces.stretches(), strict=True)])


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 30_000), st.sampled_from(FRACTIONS))
def test_pieces_hold_the_share_and_everything_else_is_trained_on(characters: int, fraction: float) -> None:
    pieces = scatter(characters, fraction)
    if pieces is None:
        return
    assert pieces.scored == int(characters * fraction)
    assert (pieces.ends - pieces.begins).sum() == pieces.scored + pieces.warm_up * len(pieces.begins)
    begins, ends = pieces.stretches()
    borders = np.stack([begins, ends], axis=1).ravel()
    assert (np.diff(borders) > 0).all()
    assert (borders[0], borders[-1], (ends - begins).sum()) == (0, characters, pieces.trained)
    for lengths in (pieces.ends - pieces.begins, np.subtract(*reversed(pieces.stretches()))):
        assert lengths.max() - lengths.min() <= 1
        assert lengths.min() >= 2


def test_long_texts_have_many_pieces_with_whole_warm_ups_and_hardly_any_text_none() -> None:
    for characters, count in ((1_000_000, MOST_PIECES), (100_000, 19), (5_000, 1)):
        pieces = scatter(characters, 0.1)
        assert pieces is not None
        assert (len(pieces.begins), pieces.warm_up) == (count, WARM_UP)
    assert [scatter(characters, 0.1) for characters in (2, 9, 19)] == [None] * 3
    assert scatter(10_000, 0.0) is None


@pytest.mark.parametrize("characters", [1, 2, 100, 255, 256, 257, 2_000, 9_999, 10_000])
def test_a_part_of_the_validation_text_is_from_all_over_it_and_within_the_pieces(characters: int) -> None:
    pieces = scatter(100_000, 0.1)
    assert pieces is not None
    begins, ends = pieces.first(characters)
    assert (ends - begins).sum() == characters
    assert set(begins) <= set(pieces.scored_from)
    assert (ends <= pieces.ends[np.isin(pieces.scored_from, begins)]).all()
    if characters >= 2_000:
        assert begins[0] < 20_000
        assert begins[-1] > 80_000


def read_of(streams: StretchStreams, epoch: int) -> tuple[list[Any], Any]:
    """The batches of an epoch, and what was read of each column, a chunk after another, (columns, chunks, T)."""
    steps = range(epoch * streams.chunks_per_epoch, (epoch + 1) * streams.chunks_per_epoch)
    batches = [streams.batch(step) for step in steps]
    chunks = np.empty((streams.columns, streams.chunks_per_epoch // streams.groups, streams.bptt + 1), dtype=np.int64)
    for within, batch in enumerate(batches):
        chunks[batch.rows, within // streams.groups] = np.concatenate([batch.inputs, batch.targets[:, -1:]], axis=1)
    return batches, chunks


@settings(deadline=None, max_examples=25)
@given(
    st.integers(12, 30_000),
    st.sampled_from(FRACTIONS),
    st.integers(1, 40),
    st.sampled_from([1, 7, 64, 3000]),
    st.integers(0, 9),
    st.integers(1, 4),
)
def test_columns_read_the_text_without_the_pieces_and_begin_anew_behind_each(
    characters: int, fraction: float, batch_size: int, bptt: int, seed: int, groups: int
) -> None:
    pieces = scatter(characters, fraction)
    if pieces is None:
        return
    streams = StretchStreams(np.arange(characters), pieces, batch_size, bptt, seed, groups)
    assert 1 <= streams.batch_size <= batch_size
    assert 1 <= streams.groups <= groups
    for epoch in (0, 3):
        batches, chunks = read_of(streams, epoch)
        assert [batch.first for batch in batches] == [True] + [False] * (len(batches) - 1)
        assert (np.diff(chunks, axis=2) == 1).all(), "no chunk spans a cut"
        assert len(np.unique(chunks[..., 1:])) == chunks[..., 1:].size, "no character is a target twice"
        assert np.isin(chunks, trained_on(pieces)).all(), "nothing held out, warm-ups neither, is read"
        for within, batch in enumerate(batches[streams.groups :], streams.groups):
            chunk = within // streams.groups
            goes_on = chunks[batch.rows, chunk, 0] == chunks[batch.rows, chunk - 1, -1]
            assert np.array_equal(batch.opens, ~goes_on), "a column goes on where it was, or begins anew"


def test_a_batch_is_a_pure_function_of_the_step_and_epochs_differ() -> None:
    pieces = scatter(40_000, 0.1)
    assert pieces is not None
    one, other = (StretchStreams(np.arange(40_000), pieces, 8, 64, 5, 2) for _ in range(2))
    forwards = [one.batch(step) for step in range(200)]
    for step in reversed(range(200)):
        assert np.array_equal(other.batch(step).inputs, forwards[step].inputs)
        assert np.array_equal(other.batch(step).opens, forwards[step].opens)
    assert not np.array_equal(forwards[0].inputs, one.batch(one.chunks_per_epoch).inputs)


def test_an_epoch_reads_nearly_all_of_the_training_part() -> None:
    pieces = scatter(1_000_000, 0.1)
    assert pieces is not None
    streams = StretchStreams(np.arange(1_000_000), pieces, 32, 64, 0)
    assert streams.chunks_per_epoch * streams.characters_per_step > 0.98 * pieces.trained


# -- through the command line -----------------------------------------------------------------------------------------

TINY = ("--cell", "gru", "--hidden-size", "8", "--batch-size", "8", "--bptt", "32", "--workers", "1", "--device", "cpu")
HANDS = "the cat sat on the mat and saw the rat.\n" * 150 + "\u043a\u043e\u0442 \u0438 \u043f\u0435\u0441\n" * 600
"""Two authors who share no letter, each a half of the text."""


def both_hands(ids: Any, corpus: Any) -> bool:
    text = corpus.vocabulary.decode(ids)
    return "t" in text and "\u043e" in text


def test_a_text_by_two_hands_has_both_in_both_parts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(HANDS, encoding="utf-8")
    tail = read_corpus([str(tmp_path / "a.txt")])
    read = read_corpus([str(tmp_path / "a.txt")], val="scattered")
    assert read.pieces is not None
    assert (read.val_characters, read.train_characters) == (tail.val_characters, read.pieces.trained)
    assert np.array_equal(read.ids, tail.ids)
    scored = zip(*read.pieces.first(read.val_characters), strict=True)
    assert both_hands(np.concatenate([read.ids[begin:end] for begin, end in scored]), read)
    assert both_hands(read.ids[trained_on(read.pieces)], read)
    assert not both_hands(tail.ids[tail.train_characters :], tail)


def test_a_run_with_scattered_validation_resumes_exactly(invoke: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(HANDS, encoding="utf-8")
    train = ("train", "a.txt", *TINY, "--val", "scattered", "--lr", "0.01", "--eval-every", "20")
    result = invoke(*train, "--steps", "60", "--out", "whole", "--json")
    assert result.code == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    start, end = events[0], events[-1]
    assert (start["val_characters"], start["config"]["val"]) == (start["characters"] // 10, "scattered")
    assert start["train_characters"] == start["characters"] - start["val_characters"] - 2 * WARM_UP
    assert end["epochs"] > 1
    best = checkpoint.read(tmp_path / "whole" / "best.safetensors").training
    assert best["val_scored_characters"] == start["val_characters"]

    stored = checkpoint.read(tmp_path / "whole" / "last.safetensors").training["config"]
    settings = {name: value for name, value in stored.items() if value is not None} | {"cell": "gru", "hidden_size": 8}
    request = runs.RunRequest(["a.txt"], settings, tmp_path / "half")
    run, trainer, _ = runs.begin(
        request, lambda: 0.0, lambda: "interrupted" if trainer.progress.step == 31 else None, print, print
    )
    with contextlib.closing(run):
        assert list(trainer.run(run))[-1]["step"] == 31
    result = invoke("train", "--resume", "half")
    assert result.code == 0, result.stderr
    one, other = (checkpoint.read(tmp_path / name / "last.safetensors") for name in ("whole", "half"))
    assert all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert all(np.array_equal(one.extra[name], other.extra[name]) for name in one.extra)
    assert other.training["config"]["val"] == "scattered"


def test_another_part_of_the_text_is_refused_on_resume(invoke: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(HANDS, encoding="utf-8")
    assert invoke("train", "a.txt", *TINY, "--val", "scattered", "--steps", "2", "--out", "run").code == 0
    result = invoke("train", "--resume", "run", "--val", "tail", "--steps", "4")
    assert (result.code, "--val tail differs from the run's own, scattered" in result.stderr) == (2, True)
