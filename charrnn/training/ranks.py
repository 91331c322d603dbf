"""The processes, on one machine or several, that train one network together; here, one process that trains it alone.

Each rank holds the whole network and text and takes a contiguous range of the columns of every step. All of them run the same
program on the same numbers: losses and gradients summed over the ranks, the clock of rank 0, and whatever stops any of them.
So all decide alike, and rank 0 alone writes files and speaks. `charrnn.training.distributed` is what talks to the others.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.cores import usable_cores
from charrnn.network import checkpoint
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.rundir import RunDirectory
from charrnn.training.mailbox import Mailbox

if TYPE_CHECKING:
    from torch import Tensor


R = TypeVar("R")


class RankLostError(CharrnnError):
    """Another rank has ended before its time; the step that it worked on has changed nothing that is saved."""


class Ranks:
    """One process alone, for which there is nothing to sum or to agree upon. Shape letters are those of `Columns`."""

    number = 0
    """Which of the ranks this process is; 0 writes and speaks."""
    count = 1
    launched = False
    """Whether torchrun has started this process, as one rank of perhaps several."""
    restarted = False
    """Whether torchrun has started ranks of this launch before, on any machine."""

    def share(self, columns: int, among: int | None = None) -> slice:
        """The part that this rank takes of ``columns``, which may be the first of so many that are shared ``among`` all."""
        among = columns if among is None else among
        first, end = (min(columns, among * number // self.count) for number in (self.number, self.number + 1))
        return slice(first, end)

    def most(self, columns: int) -> int:
        """How many of so many ``columns`` a rank takes at most."""
        return -(-columns // self.count)

    def summed(self, loss: Tensor, gradients: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The ranks' parts of a loss and of its gradients, added up."""
        return loss, gradients

    def apart(self) -> Ranks:
        """The same rank for a step of its own: it takes the same share, and nothing is added up."""
        return self

    def total(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The ranks' parts of some numbers, added up."""
        return parts

    def everyones(self, own: Tensor) -> Callable[[], Tensor]:
        """Send ``own`` (n,), as long on all ranks, to all others; what is returned waits for that of all ranks, (count, n)."""
        return lambda: own[None]

    def gather(self, state: Tensor, own: slice) -> None:
        """Fill in the columns of a ``state`` (L, P, columns, H) that are not this rank's ``own``."""

    def first_here(self, read: Callable[[], R]) -> R:
        """What ``read`` gives; of the ranks on one machine one reads first, and keeps for the others what it can."""
        return read()

    def of_first(self, number: int) -> int:
        """The ``number`` that rank 0 has."""
        return number

    def check_same(self, what: bytes, message: str) -> None:
        """Raise a `CharrnnError` with the ``message`` if ``what`` this rank has isn't what rank 0 has."""

    def facts(self) -> dict[str, Any]:
        """What a ``last`` checkpoint says of the ranks that wrote it."""
        return {}

    def of_members(self) -> Ranks:
        """What trains the networks that are this rank's own."""
        return self

    def mailbox(self) -> Mailbox:
        """What ranks tell each other that train networks of their own."""
        return Mailbox()

    def cores(self) -> int:
        """How many cores this rank has."""
        return usable_cores()

    def command(self, words: Sequence[str]) -> str:
        """The command line that calls this program with these ``words``."""
        return shlex.join(["charrnn", *words])

    # -- the run's directory ----------------------------------------------------------------------------------------

    def directory(self, make: Callable[[], RunDirectory]) -> RunDirectory:
        """The run's directory, which rank 0 makes or opens."""
        return make()

    def previous(self, run: RunDirectory) -> Checkpoint:
        """The ``last`` checkpoint of a run to go on with."""
        return checkpoint.read(run.last)

    def begun_before(self, out: Path | None) -> Path | None:
        """The run that the same ranks began before torchrun started them anew, in ``out`` if they were given that."""
        return None


class Apart(Ranks):
    """One of ``count`` ranks, which talks to no other."""

    def __init__(self, number: int, count: int) -> None:
        self.number, self.count = number, count


class Own(Ranks):
    """What trains a network that is one rank's own: a process alone, but that its checkpoints tell the ``launch``."""

    def __init__(self, launch: dict[str, Any]) -> None:
        self._launch = launch

    def facts(self) -> dict[str, Any]:
        """By what torchrun's restarts find the run."""
        return self._launch


ALONE = Ranks()
