"""Threads that share the columns of a batch on the CPU."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

A = TypeVar("A")
R = TypeVar("R")

MIN_COLUMNS = 8
"""With fewer columns than this, a worker's matrix products are too thin to be worth a thread of their own."""

NARROW = 512
"""Of layers with up to so many units, a single worker's products are as fast with one thread as with two."""


def choose_workers(asked: int | None, device: torch.device, columns: int) -> int:
    """How many workers share the columns: ``asked``, or by default one per core with at least 8 columns each.

    There are never more workers than columns, and one on a GPU. Ranks have been given their share of the cores when they met.
    """
    if device.type != "cpu":
        return 1
    return max(1, min(torch.get_num_threads(), columns // MIN_COLUMNS) if asked is None else min(asked, columns))


class Workers:
    """Threads that each take some columns of a batch and divide torch's own threads among them.

    The matrix products of a small recurrent layer gain less from being split over cores than the barriers between the parts
    cost; whole columns need no barrier before the end of a chunk. Inside ``with workers.working():`` the threads run, and
    torch's own are divided. Outside it, and with one worker, everything runs in the calling thread.
    """

    def __init__(self, count: int, hidden_size: int = 0) -> None:
        """A single worker of layers of ``hidden_size`` units, if that is known, takes one thread where more gain nothing."""
        self.count, self._narrow = count, 0 < hidden_size <= NARROW
        self._pool: ThreadPoolExecutor | None = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Start the threads on entering and end them on leaving."""
        before = torch.get_num_threads()
        if self.count == 1:
            # Beside other work, a second thread waits for a core in every product, or lets the first one wait.
            torch.set_num_threads(1 if self._narrow and not os.environ.get("OMP_NUM_THREADS") else before)
            try:
                yield
            finally:
                torch.set_num_threads(before)
            return
        each = max(1, min(before, os.cpu_count() or 1) // self.count)

        def settle() -> None:
            # Both settings belong to a thread, not to the process.
            torch.set_num_threads(each)
            torch.set_flush_denormal(True)

        with ThreadPoolExecutor(self.count, "charrnn-worker", settle) as self._pool:
            # While the workers work the calling thread only waits; torch threads of its own would spin beside them.
            torch.set_num_threads(each)
            try:
                yield
            finally:
                torch.set_num_threads(before)
                self._pool = None

    def map(self, function: Callable[[A], R], parts: Sequence[A]) -> list[R]:
        """Apply ``function`` to all parts at the same time; the results come in the order of the parts."""
        if self._pool is None or len(parts) == 1:
            return [function(part) for part in parts]
        return list(self._pool.map(function, parts))

    def shares(self, columns: int) -> list[slice]:
        """Cut ``columns`` into contiguous, nearly equal pieces, one for each worker."""
        count = min(self.count, columns)
        borders = [columns * share // count for share in range(count + 1)] if columns else []
        return [slice(a, b) for a, b in itertools.pairwise(borders)]
