"""The mailbox: events reach rank 0 in their order, a reason to end reaches all, and each knows when all are through."""

from __future__ import annotations

import torch.distributed as dist

from charrnn.training.mailbox import Mailbox, StoreMailbox


def boxes(count: int) -> list[StoreMailbox]:
    store = dist.HashStore()
    return [StoreMailbox(store, number, count) for number in range(count)]


def test_events_reach_rank_0_once_and_in_their_order():
    first, second, third = boxes(3)
    for number in range(3):
        second.post({"event": "step", "step": number})
    first.post({"event": "start"})  # Its own it knows.
    third.post({"event": "end"})
    assert list(second.events()) == list(third.events()) == []
    assert [event.get("step", event["event"]) for event in first.events()] == [0, 1, 2, "end"]
    assert list(first.events()) == []
    second.post({"event": "end"})
    assert list(first.events()) == [{"event": "end"}]


def test_a_reason_to_end_reaches_all():
    first, second = boxes(2)
    assert first.asked() is None
    second.end_all("interrupted")
    assert (first.asked(), second.asked()) == ("interrupted", "interrupted")


def test_all_are_through_once_each_has_said_so():
    first, second = boxes(2)
    first.be_through()
    assert not first.all_are_through()
    second.be_through()
    assert first.all_are_through()


def test_without_a_store_there_is_nothing_to_wait_for():
    alone = Mailbox()
    alone.post({"event": "start"})
    assert (list(alone.events()), alone.asked(), alone.all_are_through()) == ([], None, True)


def test_where_the_store_is_gone_all_are_asked_to_end():
    class Gone:
        def check(self, keys: list[str]) -> bool:
            raise dist.DistNetworkError("connection reset")

    assert StoreMailbox(Gone(), 1, 2).asked() == "terminated"
