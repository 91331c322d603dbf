"""streams: ids to batches. Where the ids are 0, 1, 2, ... each value says where it stands."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.text import streams
from charrnn.text.records import RecordList, Records
from charrnn.text.streams import Columns, RecordStreams, Streams


def shapes() -> Iterator[tuple[int, int, int, int]]:
    for characters in (*range(2, 81), *range(81, 301, 7)):
        for batch_size, bptt in ((1, 1), (16, 64), (3, 7), (1, 400), (50, 2)):
            for groups in (1, 2, 5):
                yield characters, batch_size, bptt, groups


def together(streams: Streams, parts: list[tuple[slice, NDArray[Any]]]) -> NDArray[Any]:
    """What was read of every column, one after another, (G * N, chunks of a group * T)."""
    read: list[list[NDArray[Any]]] = [[] for _ in range(streams.columns)]
    for columns, chunk in parts:
        for column, piece in zip(range(streams.columns)[columns], chunk, strict=True):
            read[column].append(piece)
    return np.array([np.concatenate(pieces) for pieces in read])


def test_groups_take_turns_and_each_reads_from_all_over_the_text() -> None:
    streams = Streams(np.arange(100_000), 4, 64, 0, groups=3)
    batches = [streams.batch(step) for step in range(7)]
    assert [batch.rows for batch in batches] == [slice(turn % 3, None, 3) for turn in range(7)]
    for before, after in zip(batches, batches[3:], strict=False):
        assert (after.inputs[:, 0] == before.inputs[:, -1] + 1).all()
    starts = np.array([batch.inputs[:, 0] for batch in batches[:3]])
    assert (np.diff(starts.T.ravel()) == np.diff(starts.T.ravel())[0]).all(), "neighbours in the text are in different groups"
    assert (starts.max(axis=1) - starts.min(axis=1) > 70_000).all()


def test_any_text_of_2_characters_or_more_gives_sound_batches() -> None:
    for characters, batch_size, bptt, groups in shapes():
        streams = Streams(np.arange(characters), batch_size, bptt, characters, groups)
        chunks = streams.chunks_per_epoch
        assert chunks >= 1
        assert chunks % streams.groups == 0
        assert 1 <= streams.groups <= groups
        assert streams.columns == streams.groups * streams.batch_size
        assert 1 <= streams.batch_size <= batch_size
        assert 1 <= streams.bptt <= bptt
        assert streams.characters_per_step == streams.batch_size * streams.bptt
        for epoch in (0, 3):
            batches = [streams.batch(epoch * chunks + chunk) for chunk in range(chunks)]
            assert [batch.first for batch in batches] == [True] + [False] * (chunks - 1)
            assert {batch.epoch for batch in batches} == {epoch}
            columns = together(streams, [(batch.rows, batch.inputs) for batch in batches])
            assert columns.shape == (streams.columns, chunks // streams.groups * streams.bptt)
            assert (np.diff(columns, axis=1) == 1).all(), "chunk k + 1 of a column continues chunk k"
            assert len(np.unique(columns)) == columns.size, "columns are disjoint"
            assert columns[0, 0] == streams.offset(epoch)
            assert columns.min() >= 0
            assert columns.max() <= characters - 2, "the last character is only ever a target"
            assert (together(streams, [(batch.rows, batch.targets) for batch in batches]) == columns + 1).all()
            unseen = characters - 1 - columns.size
            assert unseen < (streams.columns + 1) * streams.bptt, "less than a row of chunks and the offset's room is left out"


@pytest.mark.parametrize(
    ("characters", "batch_size", "bptt"),
    [
        (100_001, 16, 64),  # long enough: as asked
        (4097, 16, 64),  # 16 columns of exactly four chunks
        (4096, 15, 64),  # one fewer: a column goes
        (1001, 3, 64),
        (257, 1, 64),
        (256, 1, 63),  # then the chunk shrinks
        (101, 1, 25),
        (9, 1, 2),
        (5, 1, 1),
        (4, 1, 1),
        (2, 1, 1),
    ],
)
def test_short_texts_get_fewer_columns_then_shorter_chunks(characters: int, batch_size: int, bptt: int) -> None:
    for groups in (1, 16):
        streams = Streams(np.zeros(characters, dtype=np.uint8), 16, 64, 0, groups)
        assert (streams.batch_size, streams.bptt) == (batch_size, bptt)
        assert streams.groups == (16 if groups == 16 and characters > 100_000 else 1)


def test_a_text_of_one_character_gives_no_batches() -> None:
    with pytest.raises(CharrnnError, match="at least 2"):
        Streams(np.zeros(1, dtype=np.uint8), 1, 1, seed=0)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 400), st.integers(1, 8), st.integers(1, 30), st.integers(0, 2**63 - 1), st.integers(1, 4), st.randoms())
def test_a_batch_is_a_pure_function_of_the_step(
    characters: int, batch_size: int, bptt: int, seed: int, groups: int, order: Any
) -> None:
    ids = np.random.default_rng(seed).integers(0, 256, characters).astype(np.uint8)
    before = ids.copy()
    steps = list(range(25))
    one, other = (Streams(ids, batch_size, bptt, seed, groups) for _ in range(2))
    forwards = {step: one.batch(step) for step in steps}
    order.shuffle(steps)
    for step in steps:
        again = other.batch(step)
        assert np.array_equal(again.inputs, forwards[step].inputs)
        assert np.array_equal(again.targets, forwards[step].targets)
        assert (again.epoch, again.first, again.rows) == (
            forwards[step].epoch,
            forwards[step].first,
            forwards[step].rows,
        )
    assert np.array_equal(ids, before)


def test_offsets_differ_by_epoch_and_come_from_seed_and_epoch_alone() -> None:
    ids = np.zeros(5000, dtype=np.uint8)

    def offsets(seed: int) -> list[int]:
        return [Streams(ids, 2, 64, seed).offset(epoch) for epoch in range(30)]

    first = offsets(7)
    np.random.seed(3)  # the global generator must not matter
    assert offsets(7) == first
    assert len(set(first)) > 15
    assert offsets(8) != first
    assert offsets(8)[:-1] != first[1:], "seed and epoch are not merely added"
    assert max(first) > 32, "offsets reach over the room there is"


# -- records ----------------------------------------------------------------------------------------------------------


def record_streams(lengths: list[int], batch_size: int = 4, bptt: int = 4, seed: int = 0) -> RecordStreams:
    """Records of these lengths; where the ids are 0, 1, 2, ... each value says where it stands."""
    starts = np.concatenate([[0], np.cumsum(np.array(lengths) + 1)])
    facts = Records(len(lengths), 0, 0, 0, max(lengths), 1.0)
    return RecordStreams(np.arange(starts[-1] + 1), RecordList(starts, len(lengths), facts), batch_size, bptt, seed)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(1, 9), st.integers(1, 9), st.integers(0, 9))
def test_every_epoch_predicts_every_character_of_every_record_once(lengths, batch_size, bptt, seed):
    streams, before = record_streams(lengths, batch_size, bptt, seed), None
    steps = streams.chunks_per_epoch
    for epoch in range(2):
        seen: list[int] = []
        for step in range(steps):
            batch = streams.batch(epoch * steps + step)
            counted = batch.targets != -100
            assert batch.epoch == epoch
            assert batch.counted == counted.sum() > 0
            assert len(batch.inputs) <= streams.batch_size
            assert batch.inputs.shape[1] <= streams.bptt
            assert (batch.targets[counted] == batch.inputs[counted] + 1).all()
            if not batch.first:  # The rows that go on are the first of the batch before.
                assert (batch.inputs[:, 0] == before.inputs[: len(batch.inputs), -1] + 1).all()
            seen += batch.targets[counted].tolist()
            before = batch
        assert sorted(seen) == list(range(1, sum(lengths) + len(lengths) + 1))


def test_every_epoch_reads_the_records_in_another_order_and_any_step_can_be_asked_for() -> None:
    lengths = [5, 6, 7] * 20
    one, other = record_streams(lengths), record_streams(lengths)
    steps = one.chunks_per_epoch
    order = [[one.batch(epoch * steps + step).inputs.tolist() for step in range(steps)] for epoch in range(3)]
    assert order[0] != order[1] != order[2] != order[0]
    for step in (2 * steps, 1, 2 * steps - 1):
        assert other.batch(step).inputs.tolist() == order[step // steps][step % steps]
    assert record_streams(lengths, seed=1).batch(0).inputs.tolist() != order[0][0]


def test_a_step_reads_records_of_several_lengths_and_every_share_of_its_rows_as_many_of_each() -> None:
    streams = record_streams([3] * 400 + [5] * 400 + [8] * 400 + [13] * 400, batch_size=8, bptt=32)
    lengths = [(streams.batch(step).targets >= 0).sum(1) for step in range(streams.chunks_per_epoch)]
    assert np.mean([len(np.unique(rows)) for rows in lengths]) > 2
    for rows in lengths:
        first, second = (half.mean() for half in np.array_split(rows, 2))
        assert abs(first - second) < 1


@pytest.mark.parametrize("lengths", [[7] * 300, [2, 60] * 40, list(range(1, 60))])
def test_a_step_reads_about_as_many_characters_as_columns_would(lengths: list[int]) -> None:
    streams = record_streams(lengths, batch_size=8, bptt=16)
    counted = [streams.batch(step).counted for step in range(streams.chunks_per_epoch)]
    assert np.mean(counted) < 1.5 * 8 * 16
    assert streams.characters_per_step == round(sum(counted) / len(counted))


# -- long lists -------------------------------------------------------------------------------------------------------


def many(lengths: list[int], monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> Columns:
    monkeypatch.setattr(streams, "SHUFFLED_TOGETHER", 25)
    starts = np.concatenate([[0], np.cumsum(np.array(lengths) + 1)])
    listed = RecordList(starts, len(lengths), Records(len(lengths), 0, 0, 0, max(lengths), 1.0))
    return streams.of_records(np.arange(starts[-1] + 1), listed, 4, 4, seed)


def test_an_epoch_of_a_long_list_reads_one_part_after_another_and_every_character_once(monkeypatch) -> None:
    lengths = [3, 5, 7, 40] * 25
    found = many(lengths, monkeypatch)
    assert isinstance(found, streams.ManyRecordStreams)
    steps, orders = found.chunks_per_epoch, []
    for epoch in range(3):
        seen, parts = list[int](), list[int]()
        for step in range(steps):
            batch = found.batch(epoch * steps + step)
            counted = batch.targets != -100
            assert batch.epoch == epoch
            assert len(batch.inputs) <= found.batch_size
            assert batch.inputs.shape[1] <= found.bptt
            seen += batch.targets[counted].tolist()
            parts.append(found._number)
        assert sorted(seen) == list(range(1, sum(lengths) + len(lengths) + 1))
        assert len([*itertools.groupby(parts)]) == 4  # each part at one go
        orders.append([*dict.fromkeys(parts)])
    assert len({tuple(order) for order in orders}) > 1
    assert found.characters_per_step == round((sum(lengths) + len(lengths)) / steps)


def test_any_step_of_a_long_list_can_be_asked_for(monkeypatch) -> None:
    lengths = [3, 5, 7, 40] * 25
    one, other = many(lengths, monkeypatch), many(lengths, monkeypatch)
    inputs = [one.batch(step).inputs.tolist() for step in range(2 * one.chunks_per_epoch)]
    for step in (len(inputs) - 1, 0, len(inputs) // 2, len(inputs) // 2 - 1, 3):
        assert other.batch(step).inputs.tolist() == inputs[step]
    assert many(lengths, monkeypatch, seed=1).batch(0).inputs.tolist() != inputs[0]


def test_a_part_has_records_from_all_over_the_list(monkeypatch) -> None:
    found = many([5] * 100, monkeypatch)
    places = [int(found.batch(step).inputs.min()) for step in range(found.chunks_per_epoch // 4)]
    assert min(places) < 100
    assert max(places) > 400
