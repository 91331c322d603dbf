"""Ranks for tests: forked processes, told of each other as torchrun would, without the seconds that it takes to start."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributed as dist
from small_runs import DROPOUT, Store, corpus_of, only, random_text, trainer_of

SETTINGS: dict[str, Any] = {"batch_size": 5, "steps": 12, "log_every": 1, "eval_every": 6, "groups": 2, **DROPOUT}
TEXT = random_text(900)
PATIENCE = 45
"""Seconds after which ranks that wait for each other are ended."""


class Rendezvous:
    """A store that ranks find each other by, in a process of its own: its threads hold no lock while ranks are forked."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.closerange(3, theirs.fileno())  # Whoever waits for the end of a pipe of the tests' waits for no copy of it.
                os.closerange(theirs.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
                store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
                theirs.sendall(str(store.port).encode())
                theirs.recv(1)  # until whoever started it ends
            finally:
                os._exit(0)
        theirs.close()
        self.port = int(self._ours.recv(16))

    def end(self) -> None:
        """End the store's process."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._ours.close()


@dataclass
class Launch:
    """What torchrun is to its ranks: it holds the store, starts them, and knows them by a name."""

    name: str = "launch"
    restarts: int = 0
    pids: dict[int, int] = field(default_factory=dict)
    store: ClassVar[Rendezvous | None] = None
    """Where ranks find each other; torchrun's outlives them."""

    def start(self, count: int, work: Callable[[int], Any], folder: Path) -> None:
        """Fork ``count`` ranks that each do ``work``, with stdout and stderr in files in ``folder``."""
        if not self.restarts:
            if Launch.store is not None:
                Launch.store.end()
            Launch.store = Rendezvous()
        for number in range(count):
            pid = os.fork()
            if pid == 0:
                self._be(number, count, work, folder)
            self.pids[number] = pid

    def end(self) -> dict[int, int]:
        """Wait for all ranks; their exit codes, those of killed ones negative."""
        codes = {}
        for number, pid in self.pids.items():
            codes[number] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.pids = {}
        return codes

    def end_with_the_first(self) -> dict[int, int]:
        """Wait for the first rank that fails and terminate the others, as torchrun does; all exit codes."""
        numbers = {pid: number for number, pid in self.pids.items()}
        codes: dict[int, int] = {}
        while len(codes) < len(numbers):
            pid, status = os.waitpid(-1, 0)
            del self.pids[numbers[pid]]
            codes[numbers[pid]] = code = os.waitstatus_to_exitcode(status)
            for other in self.pids.values() if code else ():
                os.kill(other, signal.SIGTERM)
        return codes

    def _be(self, number: int, count: int, work: Callable[[int], Any], folder: Path) -> None:
        code = 99
        try:
            signal.alarm(PATIENCE)
            for stream, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(folder / f"{number}.{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
            faulthandler.dump_traceback_later(PATIENCE - 5, file=sys.stderr)
            told = {"RANK": number, "WORLD_SIZE": count, "LOCAL_RANK": number, "LOCAL_WORLD_SIZE": count}
            assert Launch.store is not None
            told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": Launch.store.port}
            told |= {"TORCHELASTIC_RUN_ID": self.name, "TORCHELASTIC_RESTART_COUNT": self.restarts}
            os.environ.update({name: str(value) for name, value in told.items()}, TORCHELASTIC_USE_AGENT_STORE="True")
            torch.set_num_threads(1)
            code = work(number)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 99)


def together(
    count: int,
    work: Callable[[Any], Any],
    folder: Path,
    *,
    before: Callable[[], None] = lambda: None,
    cores: int | None = None,
    environment: dict[str, str] | None = None,
) -> list[Any]:
    """What ``work`` gives in each of ``count`` ranks that have joined in a `Group`; there may be so many ``cores``."""
    clocks = iter(range(10**9))

    def be(number: int) -> int:
        from charrnn.training import distributed
        from charrnn.training.distributed import Group

        before()
        if cores is not None:
            distributed.usable_cores = lambda: cores
            os.environ.pop("OMP_NUM_THREADS", None)
        os.environ.update(environment or {})
        group = Group(lambda: next(clocks) / 1000, lambda: None)
        (folder / f"{number}.pickle").write_bytes(pickle.dumps(work(group)))
        group.leave()
        return 0

    launch = Launch()
    launch.start(count, be, folder)
    codes = launch.end()
    assert not any(codes.values()), "\n".join(said(folder, number) for number in range(count))
    return [pickle.loads((folder / f"{number}.pickle").read_bytes()) for number in range(count)]


def said(folder: Path, number: int) -> str:
    """What a rank has written to stderr."""
    return (folder / f"{number}.err").read_text()


@contextlib.contextmanager
def launched(**named: Any) -> Iterator[Launch]:
    """A launch none of whose ranks outlives the context."""
    launch = Launch(**named)
    try:
        yield launch
    finally:
        for pid in launch.pids.values():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        launch.end()


# -- runs of ranks ------------------------------------------------------------------------------------------------------


def run_of(group: Any, resume: Any = None, stop_after: int | None = None, **settings: Any) -> tuple[Any, Store]:
    """The events of a run, by one process (None) or as one rank of a `Group`, and its store."""
    store = Store()
    if resume is not None:
        store.save("best", resume.latest("best"))

    def stop() -> str | None:
        return "interrupted" if stop_after is not None and trainer.progress.step >= stop_after else None

    told: dict[str, Any] = {"stop": stop}
    if group is not None:
        group._own_stop = stop
        told = {"clock": group.clock, "stop": group.stop, "ranks": group}
    last = None if resume is None else resume.latest("last")
    trainer = trainer_of(corpus_of(TEXT, 300), "lstm", resume=last, **told, **{**SETTINGS, **settings})
    return list(trainer.run(store)), store


def tensors(store: Store) -> dict[str, Any]:
    last = store.latest("last")
    return {**last.weights, **last.extra}


def assert_close(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], atol=2e-4, rtol=2e-3, err_msg=name)


def losses(found: Any) -> list[float]:
    told = [event["bits_per_char"] for event in only(found, "step")]
    return told + [event["val_bits_per_char"] for event in only(found, "eval")]
