"""How many threads the products of one step take: more than one only for as long as they are faster.

On an idle machine, a second thread makes the product of a large matrix and a vector up to twice as fast. Beside other work, it
waits for a core while the first thread waits for it, and a step may take ten times as long. Which of the two is the case
changes while a text is written, so it is measured all the time: a text begins with one thread, more are tried for a moment, and
given up as soon as they take longer.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Step = Callable[[Any], Any]

STRETCH = 16
"""Steps that are judged together."""
GAIN = 0.9
"""The share of the time with one thread that more threads may take at most."""
FIRST_REST, LONGEST_REST = 0.02, 2.0
"""Seconds that one thread goes on alone: after others that were a gain in all, and after many trials that were none."""
ALIGNED = 4
"""OpenBLAS's kernels multiply so many rows together, and those left over in another way. If every thread has a multiple of it,
their number changes no bit of the product.
"""


class Threads:
    """The threads of NumPy's matrix library; ``most`` is how many may be worth taking: 1, 2 or 4."""

    def __init__(self, most: int, change: Callable[[int], object], now: int = 0) -> None:
        """``change`` sets their number, which is ``now`` (0: not known)."""
        self.most, self._change, self._now = most, change, now

    def take(self, number: int) -> None:
        """Let products take so many threads from now on."""
        if number != self._now:
            self._change(number)
            self._now = number


def threads_of_numpy(most: int) -> Threads | None:
    """NumPy's threads, up to ``most``; None where their number can't be changed, or would change what is computed."""
    if most < 2 or platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    if len(libraries) != 1 or libraries[0].internal_api != "openblas":
        return None
    return Threads(4 if most >= 4 else 2, libraries[0].set_num_threads)


class Pace:
    """Chooses the number of threads by the time that steps take."""

    def __init__(self, threads: Threads, clock: Callable[[], float] = time.perf_counter) -> None:
        self._threads, self._clock = threads, clock
        self.together = False
        """Whether more than one thread is at work now."""
        self._alone: float | None = None  # Seconds of a step with one thread.
        self._times: list[float] = []
        self._total = 0.0  # Seconds of the steps with more threads that are judged together.
        self._most = 0.0  # What those may take at most.
        self._gain = 0.0  # Seconds that more threads have saved since they came.
        self._rest, self._until = FIRST_REST, 0.0

    @property
    def rows(self) -> int:
        """Of what number the rows of a matrix must be a multiple, so that the number of threads changes no product."""
        return ALIGNED * self._threads.most

    def one(self, step: Step) -> Step:
        """``step`` of one stream, with as many threads as are faster just now."""
        take, most, clock, took = self._threads.take, self._threads.most, self._clock, self._took

        def paced(ids: Any) -> Any:
            take(most if self.together else 1)
            begun = clock()
            result = step(ids)
            took(begun, clock())
            return result

        return paced

    def many(self, step: Step) -> Step:
        """``step`` of many streams, always with all threads: their number may change the last digits of such products."""
        take, most = self._threads.take, self._threads.most

        def threaded(ids: Any) -> Any:
            take(most)
            return step(ids)

        return threaded

    def _took(self, begun: float, ended: float) -> None:
        """Judge a step that took from ``begun`` to ``ended``."""
        times = self._times
        times.append(ended - begun)
        if self.together:
            assert self._alone is not None
            self._total += ended - begun
            if self._total > self._most:
                self._gain += len(times) * self._alone - self._total
                self._give_up(ended)
            elif len(times) == STRETCH:
                self._gain += STRETCH * self._alone - self._total
                self._total = 0.0
                times.clear()
        elif len(times) == STRETCH:
            # The median, for a step that waited for a core says nothing of the others.
            self._alone = float(np.median(times))
            times.clear()
            if ended >= self._until:
                self.together, self._gain, self._total = True, 0.0, 0.0
                self._most = GAIN * STRETCH * self._alone

    def _give_up(self, now: float) -> None:
        """Go on with one thread: for a moment if it was a hiccup after a gain, else twice as long as the last time."""
        self._rest = FIRST_REST if self._gain > 0 else min(2 * self._rest, LONGEST_REST)
        self.together, self._until = False, now + self._rest
        self._times.clear()
