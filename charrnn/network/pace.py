"""How many threads the products of one step take: more than one only for as long as they are faster.

On an idle machine, a second thread makes the product of a large matrix and a vector up to twice as fast. Beside other work, it
waits for a core while the first thread waits for it, and a step may take ten times as long. Which of the two is the case
changes while a text is written, so it is measured all the time: a text begins with one thread, more are tried for a moment, and
given up as soon as they take longer.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from charrnn.cores import usable_cores, x86_64

Step = Callable[[Any], Any]
P = TypeVar("P")
R = TypeVar("R")

STRETCH = 16
"""Steps of one thread whose median says how long a step takes."""
GAIN = 0.9
"""The share of the time with one thread that more threads may take at most."""
FIRST_CREDIT, MOST_CREDIT = 0.001, 0.006
"""Seconds that more threads may lose before they are given up: at first, when the second one may have to wake, and at most,
after they have gained as much. A hiccup of an idle machine then costs no more than itself.
"""
FIRST_REST, LONGEST_REST = 0.02, 2.0
"""Seconds that one thread goes on alone: after others that were a gain in all, and after many trials that were none."""
ALIGNED = 4
"""OpenBLAS's kernels multiply so many rows together, and those left over in another way. If every thread has a multiple of it,
their number changes no bit of the product.
"""
MOST_CORES = 4
"""Cores that share the parts of a piece of work: each part holds traces of its own."""


class Threads:
    """The threads of NumPy's matrix library; ``most`` is how many may be worth taking: 1, 2 or 4."""

    def __init__(self, most: int, change: Callable[[int], object], now: int = 0) -> None:
        """``change`` sets their number, which is ``now`` (0: not known)."""
        self.most, self.now, self._change, self._apart = most, now, change, False

    def take(self, number: int) -> None:
        """Let products take so many threads from now on."""
        if number != self.now and not self._apart:
            self._change(number)
            self.now = number

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Inside, products that are made at the same time take one thread each."""
        self.take(1)
        self._apart = True
        try:
            yield
        finally:
            self._apart = False


def threads_of_numpy(most: int, now: int = 0) -> Threads | None:
    """NumPy's threads, up to ``most``; None where their number can't be changed, or would change what is computed.

    If the caller knows that there are ``now``, the library is looked for only when their number first changes.
    """
    if most < 2 or not x86_64():
        return None
    most = 4 if most >= 4 else 2
    if now and openblas_version():
        return Threads(most, _change, now)
    setter = _setter()
    return None if setter is None else Threads(most, setter, now)


def _change(number: int) -> None:
    if (setter := _setter()) is not None:
        setter(number)


@functools.cache
def _setter() -> Callable[[int], object] | None:
    """What sets the number of threads, if the process has one matrix library and that is OpenBLAS."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    return libraries[0].set_num_threads if len(libraries) == 1 and libraries[0].internal_api == "openblas" else None


def on_cores(work: Callable[[P], R], parts: Sequence[P]) -> Iterator[R]:
    """``work`` on each of ``parts``, on up to `MOST_CORES`; the results come in the order of the parts.

    Each part has a thread, and its products one core: what stands between them takes but one, and is as much work as they are.
    """
    cores = min(usable_cores(), MOST_CORES, len(parts))
    if cores < 2:
        yield from map(work, parts)
        return
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        pool = ThreadPoolExecutor(cores, "charrnn-parts")
        try:
            yield from pool.map(work, parts)
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C waits for no part that hasn't begun.


def in_turns(works: Sequence[Iterator[R]]) -> Iterator[R]:
    """What each of ``works`` gives, one after the other in turn; each goes on in a thread of its own while the others' is used.

    Products take one core each, as in `on_cores`. No item may be None.
    """
    if len(works) < 2:
        yield from itertools.chain(*works)
        return
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_limits

    def following(work: Iterator[R]) -> R | None:
        with np.errstate(over="ignore", invalid="ignore"):  # which a thread doesn't inherit
            return next(work, None)

    with threadpool_limits(1, user_api="blas"):
        pool = ThreadPoolExecutor(len(works), "charrnn-turns")
        try:
            waiting = deque((work, pool.submit(following, work)) for work in works)
            while waiting:
                work, coming = waiting.popleft()
                if (item := coming.result()) is not None:
                    waiting.append((work, pool.submit(following, work)))
                    yield item
        finally:
            pool.shutdown(cancel_futures=True)


def openblas_version() -> tuple[int, ...]:
    """The version of the OpenBLAS that NumPy was built with; empty if it was another library."""
    build: Mapping[str, Any] = np.show_config(mode="dicts") or {}
    library = build.get("Build Dependencies", {}).get("blas", {})
    named = "openblas" in str(library.get("name")).lower()
    return tuple(map(int, re.findall(r"\d+", str(library.get("version")))[:3])) if named else ()


class Pace:
    """Chooses the number of threads by the time that steps take."""

    def __init__(self, threads: Threads, clock: Callable[[], float] = time.perf_counter) -> None:
        self._threads, self._clock = threads, clock
        self.together = False
        """Whether more than one thread is at work now."""
        self._alone = 0.0  # Seconds of a step with one thread.
        self._times: list[float] = []
        self._margin = 0.0  # Seconds that more threads must save at each step.
        self._credit = 0.0  # Seconds that they may still lose.
        self._gain = 0.0  # Seconds that they have saved since they came.
        self._rest, self._until = FIRST_REST, 0.0

    @property
    def rows(self) -> int:
        """Of what number the rows of a matrix must be a multiple, so that the number of threads changes no product."""
        return ALIGNED * self._threads.most

    def one(self, step: Step) -> Step:
        """``step`` of one stream, with as many threads as are faster just now."""
        threads, most, clock = self._threads, self._threads.most, self._clock

        def paced(ids: Any) -> Any:
            wanted = most if self.together else 1
            if threads.now != wanted:
                threads.take(wanted)
            begun = clock()
            result = step(ids)
            ended = clock()
            if self.together:
                saved = self._alone - (ended - begun)
                self._gain += saved
                credit = self._credit + saved - self._margin
                self._credit = credit if credit < MOST_CREDIT else MOST_CREDIT
                if credit < 0:
                    self._give_up(ended)
            else:
                self._try_more(ended - begun, ended)
            return result

        return paced

    def many(self, step: Step) -> Step:
        """``step`` of many streams, always with all threads: their number may change the last digits of such products."""
        take, most = self._threads.take, self._threads.most

        def threaded(ids: Any) -> Any:
            take(most)
            return step(ids)

        return threaded

    def _try_more(self, seconds: float, now: float) -> None:
        """Note the ``seconds`` that a step took with one thread; after enough of them, let more threads come."""
        times = self._times
        times.append(seconds)
        if len(times) == STRETCH:
            # The median, for a step that waited for a core says nothing of the others; `np.median` takes 10 ms to import.
            self._alone = sorted(times)[STRETCH // 2]
            times.clear()
            if now >= self._until:
                self.together, self._gain, self._credit = True, 0.0, FIRST_CREDIT
                self._margin = (1 - GAIN) * self._alone

    def _give_up(self, now: float) -> None:
        """Go on with one thread: for a moment if it was a hiccup after a gain, else twice as long as the last time."""
        self._rest = FIRST_REST if self._gain > 0 else min(2 * self._rest, LONGEST_REST)
        self.together, self._until = False, now + self._rest


class Steady(Pace):
    """Leaves the number of threads to the program that multiplies, in whatever threads of its own; no bit of a product differs
    from those that a `Pace` chooses threads for.
    """

    def one(self, step: Step) -> Step:
        """``step`` as it is."""
        return step

    def many(self, step: Step) -> Step:
        """``step`` as it is."""
        return step
