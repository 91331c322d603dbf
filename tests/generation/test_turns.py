"""turns: several threads give what one would, in the same order; whoever stops listening ends them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from charrnn.generation import turns
from charrnn.generation.turns import Dealer, in_turns


def doubled(items: int, threads: int, seconds: float = 0.0) -> Iterator[int]:
    """Twice each of so many numbers; the first thread is slow."""
    dealer = Dealer(range(items), threads)

    def work(thread: int, stopped: Callable[[], bool]) -> Iterator[int]:
        for item in dealer.hand(thread):
            assert item % threads == thread
            time.sleep(seconds if thread == 0 else 0)
            yield 2 * item

    return in_turns(threads, work)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("items", [0, 1, 2, 3, 50])
def test_results_come_in_the_order_of_the_items(items: int, threads: int) -> None:
    assert list(doubled(items, threads, 0.0005)) == list(range(0, 2 * items, 2))


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("charrnn-texts")]


def test_threads_end_when_nobody_wants_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "ROOM", 4)
    monkeypatch.setattr(turns, "WAIT", 0.01)
    found = doubled(10**9, 2)
    assert [next(found) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert len(workers()) == 2
    found.close()  # type: ignore[attr-defined]
    assert workers() == []


def test_a_thread_doesnt_run_far_ahead_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "ROOM", 4)
    monkeypatch.setattr(turns, "WAIT", 0.01)
    taken = [0]
    go_on = threading.Event()

    def work(thread: int, stopped: Callable[[], bool]) -> Iterator[int]:
        if thread == 0:
            go_on.wait(10)
            return
        while not stopped():
            taken[0] += 1
            yield 1

    found = in_turns(2, work)
    threading.Timer(0.05, go_on.set).start()
    assert list(found) == []
    assert taken[0] <= 6


def test_an_error_in_a_thread_is_the_callers() -> None:
    def work(thread: int, stopped: Callable[[], bool]) -> Iterator[int]:
        yield 1
        raise MemoryError("too large")

    with pytest.raises(MemoryError, match="too large"):
        list(in_turns(2, work))
    assert workers() == []


def test_what_numpy_shouldnt_warn_of_it_doesnt_in_a_thread_either(recwarn: pytest.WarningsRecorder) -> None:
    def work(thread: int, stopped: Callable[[], bool]) -> Iterator[np.ndarray]:
        yield np.exp(np.float32([1000.0]))

    with np.errstate(over="ignore"):
        assert np.isinf(next(in_turns(1, work)))
    assert not recwarn.list
