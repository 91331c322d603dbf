"""The feed: batches on a device are those of the text, whether it lies there or each batch is sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from charrnn.text import scattered
from charrnn.text.checked import CheckedIds, DamagedError, Guard, checksums
from charrnn.text.records import split
from charrnn.text.scattered import StretchStreams
from charrnn.text.streams import Columns, RecordStreams, Streams
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import feed
from charrnn.training.feed import Feed

CPU = torch.device("cpu")


def text(dtype: Any, largest: int) -> Any:
    return np.random.default_rng(0).integers(0, largest, 3000, endpoint=True).astype(dtype)


def assert_fed(streams: Columns, ids: Any, resident: bool) -> None:
    brought = Feed(ids, CPU, resident=resident)
    for step in range(2 * streams.chunks_per_epoch):
        batch = streams.batch(step)
        inputs, targets, opens = brought.tensors(batch)
        assert inputs.dtype == targets.dtype == torch.int64
        np.testing.assert_array_equal(inputs.numpy(), batch.inputs)
        np.testing.assert_array_equal(targets.numpy(), batch.targets)
        assert (opens is None) == (batch.opens is None)
        if opens is not None:
            np.testing.assert_array_equal(opens.numpy()[:, 0], batch.opens)


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535), (np.uint32, 70000), (np.int64, 70000)])
def test_batches_are_those_of_the_text(dtype, largest, resident):
    ids = text(dtype, largest)
    assert_fed(Streams(ids[:2700], 4, 8, 1, groups=3), ids, resident)
    pieces = scattered.scatter(3000, 0.1)
    assert pieces is not None
    assert_fed(StretchStreams(ids, pieces, 4, 8, 1), ids, resident)


@pytest.mark.parametrize("resident", [False, True])
def test_batches_of_records_keep_what_is_not_predicted(resident):
    vocabulary = Vocabulary("char", "\nabc")
    lines = "".join("abc"[number % 3] * (number % 7 + 1) + "\n" for number in range(60))
    records, blocks = split(vocabulary.encode(lines), vocabulary, 0.1, 0)
    ids = np.concatenate(list(blocks()))
    assert_fed(RecordStreams(ids, records, 4, 8, 1), ids, resident)


def test_a_text_that_lies_on_the_device_is_not_sent_again(monkeypatch):
    ids = text(np.uint8, 255)
    streams, brought = Streams(ids, 4, 8, 1), Feed(ids, CPU, resident=True)
    sent = list[Any]()
    send = feed._sent
    monkeypatch.setattr(feed, "_sent", lambda *what: sent.append(what) or send(*what))
    brought.tensors(streams.batch(5))
    assert [len(what) for what, _ in sent] == [4]  # Where the columns are.


def test_a_text_stays_on_no_cpu_and_on_a_gpu_with_room(monkeypatch):
    ids = text(np.uint8, 255)
    assert not feed.fits(ids, CPU)
    for free, expected in ((3000 / feed.ROOM, True), (3000 / feed.ROOM - 1, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 1e12))
        assert feed.fits(ids, torch.device("cuda")) == expected


def test_a_cached_text_is_checked_before_it_lies_on_the_device() -> None:
    raw = text(np.uint8, 255)
    ids = CheckedIds.of(raw, Guard(raw, checksums(raw), lambda: "damaged"))
    assert_fed(Streams(ids, 4, 16, 0), ids, resident=True)
    raw[5] ^= 1
    with pytest.raises(DamagedError, match="damaged"):
        Feed(CheckedIds.of(raw, Guard(raw, checksums(text(np.uint8, 255)), lambda: "damaged")), CPU, resident=True)
