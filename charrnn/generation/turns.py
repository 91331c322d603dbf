"""Work in several threads whose order is that of one: dealt by turns, taken by turns."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np

ROOM = 2048
"""How many results of a thread may wait for their turn."""
WAIT = 0.5
"""Seconds after which a thread that waits looks whether anybody still wants its results."""

T = TypeVar("T")
R = TypeVar("R")


class Dealer(Generic[T]):
    """Deals the items of one iterator to several takers by turns: taker t gets numbers t, t + takers, and so on.

    Which item comes to whom doesn't depend on who is faster.
    """

    def __init__(self, items: Iterable[T], takers: int) -> None:
        self._items, self._takers, self._number = iter(items), takers, 0
        self._hands: list[deque[T]] = [deque() for _ in range(takers)]
        self._lock = threading.Lock()

    def hand(self, taker: int) -> Iterator[T]:
        """The items of one taker."""
        while True:
            with self._lock:
                while not self._hands[taker]:
                    try:
                        item = next(self._items)
                    except StopIteration:
                        return
                    self._hands[self._number % self._takers].append(item)
                    self._number += 1
                item = self._hands[taker].popleft()
            yield item


def in_turns(threads: int, work: Callable[[int, Callable[[], bool]], Iterator[R]]) -> Iterator[R]:
    """What ``work`` gives in each of so many threads, by turns: one result of thread 0, one of thread 1, and so on to the first
    that has no more.

    ``work`` gets the number of its thread, and what tells it that nobody wants more.
    """
    stop = threading.Event()
    rooms = [queue.Queue[tuple[str, Any]](ROOM) for _ in range(threads)]

    def put(room: queue.Queue[tuple[str, Any]], what: tuple[str, Any]) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                return room.put(what, timeout=WAIT)

    errors = np.geterr()  # NumPy 1.26 keeps it by thread, not with the context.

    def run(thread: int) -> None:
        try:
            with np.errstate(**errors):
                for result in work(thread, stop.is_set):
                    put(rooms[thread], ("result", result))
                    if stop.is_set():
                        return
            put(rooms[thread], ("end", None))
        except BaseException as error:
            put(rooms[thread], ("error", error))

    started = [
        threading.Thread(target=contextvars.copy_context().run, args=(run, thread), name=f"charrnn-texts-{thread}", daemon=True)
        for thread in range(threads)
    ]
    try:
        for thread in started:
            thread.start()
        for room in itertools.cycle(rooms):
            kind, what = _taken(room)
            if kind == "error":
                raise what
            if kind == "end":
                return
            yield what
    finally:
        stop.set()
        for thread in started:
            thread.join()


def _taken(room: queue.Queue[tuple[str, Any]]) -> tuple[str, Any]:
    while True:
        with contextlib.suppress(queue.Empty):  # Not forever at once: on Windows Ctrl-C wouldn't be heard.
            return room.get(timeout=WAIT)
