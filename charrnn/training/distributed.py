"""Ranks that torchrun has started: sums of gradients, one clock, one reason to stop, by `torch.distributed`.

Every collective is called by all ranks in the same order, because all run the same program on the same numbers. With the
gradients of a step travel the clock of rank 0 and the signals that any rank has received, so that a step costs one message.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from charrnn import CharrnnError, files
from charrnn.cores import usable_cores
from charrnn.network import checkpoint, lookup, rundir
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.rundir import RunDirectory
from charrnn.training import meeting
from charrnn.training.mailbox import Mailbox, StoreMailbox
from charrnn.training.ranks import Apart, Own, R, RankLostError, Ranks

REASONS = ("interrupted", "terminated")
"""Why a run ends early; the first of them that a rank gives counts."""
JOINING = timedelta(minutes=5)
"""How long ranks wait for each other at the beginning; torchrun has started all of them by then."""
READING_PATIENCE = 0.05
"""Seconds after which a rank asks again whether the text has been read."""
_LOST = "another rank has ended before its time"


class Group(Ranks):
    """One process among the ranks that torchrun has started.

    ``clock`` and ``stop`` are what all ranks go by. A reading of the clock is a message, but for the one after a step.
    """

    launched = True

    def __init__(self, clock: Callable[[], float], stop: Callable[[], str | None]) -> None:
        """Join the others; `RankLostError` if they can't be reached.

        Args:
            clock: this process's clock; that of rank 0 counts.
            stop: why this process would end the run, if it would.
        """
        self._own_clock, self._own_stop = clock, stop
        self._reason: str | None = None
        self._readings = 0
        self._came_with_step: float | None = None
        self._first_to_fail: bool | None = None
        self.path = Path()
        """The run's directory, once it is known."""
        with _talking():
            store, self.number, self.count = next(rendezvous("env://", timeout=JOINING))
            self._store = PrefixStore(f"charrnn/{self._start(store)}", store)  # It outlives the ranks.
            self._local, backend = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))), "gloo"
            if self._local <= torch.cuda.device_count():
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
                backend = "cpu:gloo,cuda:nccl"
            with _quiet():
                dist.init_process_group(backend, store=self._store, rank=self.number, world_size=self.count)
        self.restarted = bool(self.total(np.array(float(meeting.has_started_before()))))
        if self._local > 1 and os.environ.get("OMP_NUM_THREADS") == "1":
            # torchrun's own default; any other number is the user's.
            torch.set_num_threads(max(1, usable_cores() // self._local))

    def _start(self, store: Store) -> str:
        """What tells this start of the ranks from others of the same launch."""
        try:
            return meeting.named_start(PrefixStore("charrnn", store), self.number, self.count, JOINING)
        except RuntimeError as error:
            waited = f"{error} within {JOINING.seconds // 60} minutes"
            raise RankLostError(f"{waited}; are torchrun's options the same on all machines?") from error

    def leave(self) -> None:
        """Part from the others at the end of the run."""
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()

    def takes_the_word(self) -> bool:
        """Whether this rank is the first that something has kept from going on: one tells why, the others fail silently."""
        if self._first_to_fail is None:
            try:
                self._first_to_fail = bool(self._store.add("charrnn/first to fail", 1) == 1)
            except RuntimeError:  # The machine that holds the store is gone.
                self._first_to_fail = True
        return self._first_to_fail

    # -- what all go by ---------------------------------------------------------------------------------------------

    def clock(self) -> float:
        """The seconds that rank 0 reads."""
        seconds, self._came_with_step = self._came_with_step, None
        if seconds is None:
            told = self._told()
            _add_up(told)
            seconds = self._hear(told)
        return seconds

    def stop(self) -> str | None:
        """Why the run should end, as far as the latest message tells."""
        return self._reason

    def _told(self) -> Tensor:
        """What this rank tells all others with every message, (4,): seconds, in two parts, and whether to stop."""
        seconds = self._own_clock() if self.number == 0 else 0.0
        coarse = float(np.float32(seconds))
        reason = self._own_stop()
        return torch.tensor([coarse, seconds - coarse, *(float(reason == known) for known in REASONS)])

    def _hear(self, summed: Tensor) -> float:
        coarse, rest, *asked = summed.tolist()
        if self._reason is None:
            self._reason = next((reason for reason, ranks in zip(REASONS, asked, strict=True) if ranks), None)
        return float(coarse + rest)

    # -- sums -------------------------------------------------------------------------------------------------------

    def summed(self, loss: Tensor, gradients: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The sums over all ranks, by one message that the clock and the signals travel with."""
        told = self._told().to(loss.device)
        flat = torch.cat([told, loss.reshape(1), *(gradient.reshape(-1) for gradient in gradients)])
        _add_up(flat)
        told, loss, *parts = torch.split(flat, [len(told), 1, *(gradient.numel() for gradient in gradients)])
        self._came_with_step = self._hear(told)
        return loss[0], [part.view(gradient.shape) for part, gradient in zip(parts, gradients, strict=True)]

    def apart(self) -> Ranks:
        """The same rank for a step of its own."""
        return Apart(self.number, self.count)

    def total(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sums over all ranks."""
        summed = torch.from_numpy(np.array(parts, dtype=np.float64, ndmin=1))
        _add_up(summed)
        return summed.numpy().reshape(np.shape(parts))

    def everyones(self, own: Tensor) -> Callable[[], Tensor]:
        """Send ``own`` (n,), as long on all ranks, to all others; what is returned waits for that of all ranks, (count, n)."""
        sent = own.view(torch.uint8)
        found = torch.empty(self.count, len(sent), dtype=torch.uint8, device=own.device)
        with _talking():
            under_way = dist.all_gather(list(found), sent, async_op=True)

        def wait() -> Tensor:
            with _talking():
                under_way.wait()
            return found.view(own.dtype)

        return wait

    def gather(self, state: Tensor, own: slice) -> None:
        """Take the columns of a ``state`` (L, P, columns, H) that are not ``own`` from the ranks that know them."""
        # As whole numbers: the sum of a float's bits and zeros is that float, whatever its sign.
        bits = torch.zeros(state.shape, dtype=torch.int32, device=state.device)
        bits[:, :, own] = state[:, :, own].contiguous().view(torch.int32)
        _add_up(bits)
        state.copy_(bits.view(torch.float32))

    # -- agreement --------------------------------------------------------------------------------------------------

    def first_here(self, read: Callable[[], R]) -> R:
        """What ``read`` gives; rank 0 of each machine reads first, and what it puts into the cache the others find there."""
        self._readings += 1
        key = f"charrnn/read/{os.environ.get('GROUP_RANK', '0')}/{self._readings}"
        if int(os.environ.get("LOCAL_RANK", "0")):
            self._wait_for(key)
            return read()
        told = "failed"
        try:
            found = read()
            told = "done"
        finally:
            if told == "failed":
                self.takes_the_word()  # Before the others hear of it, who know less of why.
            with _talking():
                self._store.set(key, told)
        return found

    def _wait_for(self, key: str) -> None:
        """Wait until another rank has told that it is done; a large text takes as long as it takes."""
        with _talking():
            while not self._store.check([key]):
                if self._own_stop() == "terminated":  # By torchrun, because a rank is gone.
                    raise RankLostError(_LOST)
                time.sleep(READING_PATIENCE)
            if self._store.get(key) != b"done":
                raise RankLostError(_LOST)

    def of_first(self, number: int) -> int:
        """The ``number`` that rank 0 has."""
        told = torch.tensor(number)
        with _talking():
            dist.broadcast(told, 0)
        return int(told)

    def check_same(self, what: bytes, message: str) -> None:
        """Compare digests; the rank whose differs raises a `CharrnnError`, and is lost to the others."""
        digest = hashlib.sha256(what).digest()
        if self._from_first(digest) != digest:
            raise CharrnnError(f"rank {self.number} on {platform.node()}: {message}")

    def _from_first(self, data: bytes) -> bytes:
        """The ``data`` that rank 0 has."""
        length = self.of_first(len(data))
        told = torch.frombuffer(bytearray(data), dtype=torch.uint8) if self.number == 0 and length else None
        told = torch.zeros(length, dtype=torch.uint8) if told is None else told
        with _talking():
            dist.broadcast(told, 0)
        return told.numpy().tobytes()

    # -- the run's directory ----------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """How many ranks there are, and by what torchrun's restarts find the run."""
        return {"ranks": self.count, "torchrun": _launch()}

    def of_members(self) -> Ranks:
        """What trains the networks that are this rank's own."""
        return Own({"torchrun": _launch()})

    def mailbox(self) -> Mailbox:
        """What goes through torchrun's store."""
        return StoreMailbox(self._store, self.number, self.count)

    def cores(self) -> int:
        """The share that rank 0 has of the cores of its machine."""
        return self.of_first(max(1, usable_cores() // self._local))

    def command(self, words: Sequence[str]) -> str:
        """The command line by which torchrun calls this program with these ``words``."""
        # Of several machines each is called differently.
        options = f"--nproc-per-node {self.count}" if self.count == self._local else "..."
        return f"torchrun {options} -m {shlex.join(['charrnn', *words])}"

    def directory(self, make: Callable[[], RunDirectory]) -> RunDirectory:
        """The run's directory, which rank 0 makes or opens; the others get an `Onlooker`."""
        run = make() if self.number == 0 else None
        path = os.fsdecode(self._from_first(os.fsencode(run.path) if run else b""))
        self.path = Path(path)
        return run or Onlooker(self.path)

    def previous(self, run: RunDirectory) -> Checkpoint:
        """The ``last`` checkpoint, which rank 0 reads and sends: the others need not see its files."""
        found = super().previous(run) if self.number == 0 else None
        last = self._checkpoint(found)
        best = self._checkpoint(run.load("best") if found else None)
        assert last is not None
        if isinstance(run, Onlooker):
            run.best_there = best
        return found or last

    def _checkpoint(self, found: Checkpoint | None) -> Checkpoint | None:
        """The checkpoint that rank 0 has ``found``, read from the bytes of its file; None if it has found none."""
        with files.guard(found.path if found else self.path):
            data = found.path.read_bytes() if found else b""
        data = self._from_first(data)
        if not data or self.number == 0:
            return found
        with tempfile.TemporaryDirectory(prefix="charrnn-") as folder:
            file = Path(folder, rundir.LAST)
            file.write_bytes(data)
            return checkpoint.read(file)

    def begun_before(self, out: Path | None) -> Path | None:
        """The run whose ``last`` says that this launch of torchrun began it, if it has started its ranks anew."""
        path = b""
        if self.number == 0 and self.restarted:
            path = os.fsencode(_begun_by(_launch(), out) or "")
        found = self._from_first(path)
        return Path(os.fsdecode(found)) if found else None


class Onlooker(RunDirectory):
    """What the other ranks hold in place of the run's directory: they write nothing, and remember the best network."""

    growing = False

    def __init__(self, path: Path) -> None:
        self.path, self.text_facts = path, {}
        self.best_there: Checkpoint | None = None

    def save(self, kind: str, checkpoint: Checkpoint) -> Path:
        """Remember what rank 0 writes."""
        if kind == "best":
            self.best_there = replace(checkpoint, path=self.best)
        return self.path / (rundir.BEST if kind == "best" else rundir.LAST)

    def set_aside(self, kind: str) -> Path:
        """Forget what was kept."""
        self.best_there = None
        return self.path / f"{kind} set aside"

    def load(self, kind: str) -> Checkpoint | None:
        """The best network, as rank 0 reads it."""
        return self.best_there if kind == "best" else None

    def log(self, event: Any) -> None:
        """Rank 0 does."""

    def past_steps(self, made: int) -> list[dict[str, Any]]:
        """Nothing, since nobody looks."""
        return []

    def close(self) -> None:
        """There is nothing to close."""


@contextlib.contextmanager
def _talking() -> Iterator[None]:
    """Turn what goes wrong between the ranks into a `RankLostError`."""
    try:
        yield
    except RuntimeError as error:
        raise RankLostError(_LOST) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let nobody hear what is written to the process's stdout: gloo of torch 2.9 says there that it has connected."""
    try:
        kept = os.dup(1)
    except OSError:  # It is closed.
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _add_up(parts: Tensor) -> None:
    """Replace ``parts``, of which every rank has its own, by their sum."""
    with _talking():
        dist.all_reduce(parts)


def _launch() -> str:
    """What torchrun calls this launch of ranks, restarts included; where it has no name for it, the process is its name."""
    name = os.environ["TORCHELASTIC_RUN_ID"]
    return f"none {platform.node()} {os.getppid()}" if name == "none" else name


def _begun_by(launch: str, out: Path | None) -> Path | None:
    """The directory of the latest run that a ``launch`` has begun, if it has saved anything."""
    if out is None:
        files = lookup.checkpoints_under(rundir.DEFAULT_ROOT, rundir.LAST)
    else:
        files = [path / rundir.LAST for path in (out, *lookup.members(out))]
    begun = list[Checkpoint]()
    for file in files:
        with contextlib.suppress(CharrnnError):
            found = checkpoint.read_header(file)
            if found.training.get("torchrun") == launch:
                begun.append(found)
    return lookup.run_of(max(begun, key=lambda found: found.saved_at).path.parent) if begun else None
