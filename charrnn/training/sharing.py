"""Ranks that each compute a part of an optimizer's updates and send it to the others, where that is faster than computing all.

The parts are whole blocks, the same as those of one process, and what is sent arrives as it was computed. So nothing but the
time depends on who computes what, and a run may measure in its first steps which way is the faster one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from charrnn.training.ranks import Ranks

EACH = 10
"""So many steps are measured each way: first every rank computes all updates, then its part."""
GAIN = 0.95
"""Sharing should take less than this part of the time: before each save it costs a message more."""


class Sharing:
    """Which blocks of an optimizer's matrices this rank updates, and whether it does so for the others."""

    def __init__(self, ranks: Ranks, works: Sequence[float]) -> None:
        """``works`` are what the blocks cost, in any unit."""
        self._ranks, self._begun = ranks, 0
        self._seconds: dict[bool, list[float]] = {False: [], True: []}
        loads, self._owners = [0.0] * ranks.count, [0] * len(works)
        for block in sorted(range(len(works)), key=lambda block: -works[block]):
            self._owners[block] = owner = min(range(ranks.count), key=lambda rank: loads[rank])
            loads[owner] += works[block]
        self.on = False
        """Whether the current step's updates are shared."""

    @property
    def own(self) -> list[int]:
        """The numbers of the blocks that this rank updates."""
        return [block for block, owner in enumerate(self._owners) if owner == self._ranks.number]

    @contextmanager
    def step(self, *, usual: bool) -> Iterator[bool]:
        """Whether the step inside is shared; its time counts for what follows if it is a ``usual`` one.

        Raises:
            RankLostError: another rank has ended before its time.
        """
        self._begun += 1
        if self._begun == EACH + 1:
            self.on = True
        elif self._begun == 2 * EACH + 1:
            self.on = self._was_faster()
        begun = time.perf_counter()
        yield self.on
        if usual and 1 < self._begun <= 2 * EACH:
            self._seconds[self.on].append(time.perf_counter() - begun)

    def _was_faster(self) -> bool:
        """Whether it was faster to share, by the slowest rank; all ranks find the same."""
        told = np.zeros((self._ranks.count, 2))
        told[self._ranks.number] = [statistics.median(self._seconds[way] or [0.0]) for way in (False, True)]
        apart, shared = self._ranks.total(told).max(axis=0)
        return bool(shared < GAIN * apart)

    def send(self, parts: Sequence[Tensor], shapes: Sequence[torch.Size], dtype: torch.dtype) -> Callable[[], list[Tensor]]:
        """Send the ``parts`` of the own blocks, in ``dtype``; what is returned waits for those of all blocks, of ``shapes``.

        Raises:
            RankLostError: another rank has ended before its time; so does what is returned.
        """
        ends, places = [0] * self._ranks.count, list[slice]()
        for shape, owner in zip(shapes, self._owners, strict=True):
            places.append(slice(ends[owner], ends[owner] + shape.numel()))
            ends[owner] += shape.numel()
        message = torch.zeros(max(ends), dtype=dtype)  # as long on all ranks
        for block, part in zip(self.own, parts, strict=True):
            message[places[block]] = part.reshape(-1)
        everyones = self._ranks.everyones(message)

        def wait() -> list[Tensor]:
            found = everyones()
            return [found[owner, place].view(shape) for owner, place, shape in zip(self._owners, places, shapes, strict=True)]

        return wait
