"""Several networks of different seeds in one run: a forked process with one thread for each, as many at once as cores.

The processes share nothing but the text, which they have inherited. Each has a run of its own, ``member-<number>`` in the run's
directory, and a socket: events come from it as lines of JSON, and a byte to it asks the member to end after its step. A member
whose socket closes does the same, so that none outlives the process that began them.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from charrnn import CharrnnError, UsageError
from charrnn.config import TrainConfig
from charrnn.network import lookup, rundir
from charrnn.network.lock import HeldError
from charrnn.network.rundir import RunDirectory
from charrnn.text.corpus import Tell, untold
from charrnn.training import recipe, runs, texts
from charrnn.training.children import can_fork, fork, how_it_ended
from charrnn.training.mailbox import Mailbox
from charrnn.training.ranks import ALONE, Ranks
from charrnn.training.runs import Prepared, RunRequest, Say

INTERRUPTED, TERMINATED = b"i", b"t"
"""What asks a member to end, by the reason that its run then gives."""
REASONS = {INTERRUPTED: "interrupted", TERMINATED: "terminated", b"": "terminated"}
ENDS = ("end", "lost", "failed")
"""The events that are a member's last."""
PATIENCE = 0.2
"""Seconds after which what may have changed meanwhile is looked at again."""
LAST_STEP = 60
"""Seconds that a rank which torchrun starts anew waits for the members of a killed one: they end after their step, and save."""

_SHARED = "networks of several machines need a directory that all of them share"

MemberEvent = dict[str, Any]
"""An event with the number of its ``member``; ``failed`` and ``lost`` tell what kept one from its end."""
Begin = Callable[[int, Callable[[], float], Callable[[], "str | None"]], Any]
"""From a member's number, a clock and what may stop it to what `charrnn.training.runs.begin` gives."""


def check(request: RunRequest) -> None:
    """Raise the `UsageError` for what several networks can't have."""
    settings = request.settings
    if settings.get("workers") not in (None, 1):
        raise UsageError("--workers shares one network's columns; with --members each network has one core")
    if settings.get("device") not in (None, "auto", "cpu"):
        raise UsageError(f"--members trains on the CPU, a core for each network; leave out --device {settings['device']}")
    if not can_fork():
        raise UsageError("--members forks a process for each network, which this system can't; train them one by one")


@dataclass
class Members:
    """A run of several networks: ``directory``, how each of them begins, and how many there are.

    ``numbers`` are those of the networks that this process trains, ``together`` so many at a time; other ranks train the rest.
    """

    directory: RunDirectory
    count: int
    numbers: Sequence[int]
    together: int
    begin: Begin
    clock: Callable[[], float]
    stop: Callable[[], str | None]
    fresh: bool
    go_on: str
    """The command that resumes the run."""
    mailbox: Mailbox
    reason: str = ""
    """Why the run was asked to end early, if it was."""
    _active: dict[int, _Process] = field(default_factory=dict)

    def events(self) -> Iterator[MemberEvent]:
        """The events of the members, as they come, on rank 0 also of other ranks'; the directory is closed behind the last."""
        with contextlib.closing(self.directory), selectors.DefaultSelector() as selector:
            try:
                yield from self._events(selector)
            except KeyboardInterrupt:
                for process in self._active.values():
                    os.kill(process.pid, signal.SIGKILL)
                raise
            finally:
                for process in self._active.values():
                    process.connection.close()
                    process.wait()

    def _events(self, selector: selectors.BaseSelector) -> Iterator[MemberEvent]:
        from charrnn.training import trainer  # noqa: F401 - once for all: importing torch takes a second of a core

        turns, stopping = deque(self.numbers), ""
        if self.fresh:
            # Those whose turn comes later can be gone on with even if it never comes.
            for number in self.numbers[self.together :]:
                self._start(number, selector, only_save=True)
        while turns or self._active or not (stopping or self._others_are_through()):
            at_work = sum(not process.only_saves for process in self._active.values())
            while turns and at_work < self.together and turns[0] not in self._active:
                self._start(turns.popleft(), selector)
                at_work += 1
            if not stopping and (stopping := self.stop() or self.mailbox.asked() or ""):
                self.reason = stopping
                self.mailbox.end_all(stopping)
                turns.clear()
                for process in self._active.values():
                    process.ask(INTERRUPTED if stopping == "interrupted" else TERMINATED)
            for key, _ in selector.select(PATIENCE):
                for event in self._heard(key.data, selector):
                    self.mailbox.post(event)
                    yield self._seen(event)
            yield from map(self._seen, self.mailbox.events())
        yield from map(self._seen, self.mailbox.events())

    def _seen(self, event: MemberEvent) -> MemberEvent:
        """The same event; once a network can be gone on with, the run takes the place of the one that it replaces."""
        if event["event"] == "saved" and event["kind"] == "last" and self.directory.growing:
            self.directory.take_place()
        return event

    def _others_are_through(self) -> bool:
        """Whether nothing is left to wait for, once this process has nothing more to do."""
        self.mailbox.be_through()
        return self.mailbox.all_are_through()

    def _start(self, number: int, selector: selectors.BaseSelector, *, only_save: bool = False) -> None:
        # A budget in minutes begins with the member's turn; that of the first also pays for the start.
        now = self.clock()  # Read here in any case: it counts from the beginning of the process that reads it first.
        offset = 0.0 if number in self.numbers[: self.together] else now

        def work(connection: socket.socket) -> int:
            return _work(connection, lambda stop: self.begin(number, lambda: self.clock() - offset, stop), only_save=only_save)

        pid, ours = fork(work)
        self._active[number] = _Process(number, pid, ours, only_save)
        selector.register(ours, selectors.EVENT_READ, self._active[number])

    def _heard(self, process: _Process, selector: selectors.BaseSelector) -> Iterator[MemberEvent]:
        """The events that have come from a member; at its end, what kept it from it."""
        lines = process.read()
        for event in lines or ():
            if event["event"] in ("end", "failed"):
                process.ended = True
            if not process.only_saves or event["event"] == "failed":
                yield {**event, "member": process.number}
        if lines is None:
            selector.unregister(process.connection)
            process.connection.close()
            del self._active[process.number]
            how = process.wait()
            if not process.ended and not (process.only_saves and how == "has ended with code 0"):
                yield {"event": "lost", "text": f"its process {process.pid} {how}", "member": process.number}


@dataclass
class _Process:
    """A member at work, as the process sees it that began it."""

    number: int
    pid: int
    connection: socket.socket
    only_saves: bool
    ended: bool = False
    _held: bytes = b""

    def read(self) -> list[MemberEvent] | None:
        """The events that have come whole; None at the end."""
        try:
            data = self.connection.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            return None
        *lines, self._held = (self._held + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def ask(self, reason: bytes) -> None:
        """Ask the member to end."""
        with contextlib.suppress(OSError):  # It has ended by itself.
            self.connection.sendall(reason)

    def wait(self) -> str:
        """Wait for its end; how that was."""
        return how_it_ended(self.pid)


# -- in the member's process ------------------------------------------------------------------------------------------


def _work(connection: socket.socket, begin: Callable[[Callable[[], str | None]], Any], *, only_save: bool) -> int:
    """Be a member: train to the end, or until asked to end, and tell every event; the exit code."""
    told = _Told(connection)
    try:
        import torch

        torch.set_num_threads(1)
        run, trainer, start = begin(told.stop)
        if trainer.progress.step == 0:
            run.save("last", trainer.snapshot())
        if only_save:
            run.close()
        else:
            for event in runs.logged(run, trainer, start):
                told.tell(dict(event))
        return 0
    except CharrnnError as error:
        told.tell({"event": "failed", "text": str(error)})
    except BaseException as error:
        told.tell({"event": "failed", "text": f"{type(error).__name__}: {error}"})
    return 1


class _Told:
    """Where a member's events go, and from where it hears that it should end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._reason, self._alone = connection, None, False

    _reason: str | None

    def tell(self, event: MemberEvent) -> None:
        """Send an event; where nobody hears it any more, end after this step."""
        if not self._alone:
            try:
                self._connection.sendall(json.dumps(event).encode() + b"\n")
            except OSError:
                self._alone, self._reason = True, "terminated"

    def stop(self) -> str | None:
        """Why the run should end, if it should."""
        if self._reason is None:
            with contextlib.suppress(BlockingIOError):
                self._reason = REASONS.get(self._connection.recv(1, socket.MSG_DONTWAIT), "terminated")
        return self._reason


# -- new and resumed runs ---------------------------------------------------------------------------------------------


def prepare(request: RunRequest, warn: Say, ranks: Ranks = ALONE, tell: Tell = untold) -> Prepared:
    """The plan that all members share; the settings of the first, whose budget is its turn's."""
    check(request)
    split = recipe.split(ranks.most(request.members), ranks.cores())
    settings: dict[str, Any] = {**request.settings, "workers": 1, "device": "cpu"}
    if not request.settings.keys() & {"steps", "epochs"}:
        settings["minutes"] = request.settings.get("minutes", TrainConfig().minutes) / split.turns
    prepared = runs.prepare(replace(request, settings=settings), warn, ranks, tell)
    plan, told = prepared.plan, {"members": split.reason(prepared.config.minutes)}
    training = {**plan.training, "members": request.members}
    return replace(prepared, plan=replace(plan, training=training, reasons=told | plan.reasons))


def begin(
    request: RunRequest,
    clock: Callable[[], float],
    stop: Callable[[], str | None],
    warn: Say,
    ranks: Ranks = ALONE,
    tell: Tell = untold,
) -> Members:
    """The run that was asked for, new or resumed; ``ranks`` that were started anew go on with what they began."""
    if request.resume is None and (before := ranks.begun_before(request.out)) is not None:
        settings = {name: value for name, value in request.settings.items() if name != "seed"}  # Each member has its own.
        request = replace(request, resume=str(before), settings=settings, out=None, init_from=None, overwrite=False)
    if request.resume is not None:
        return _resumed(request, clock, stop, ranks)
    prepared = prepare(request, warn, ranks, tell)
    texts.check_ranks_agree(prepared.text, ranks)
    name, out = prepared.text.name, request.out
    directory = ranks.directory(lambda: RunDirectory.create(name, out, overwrite=request.overwrite))
    growing = bool(ranks.of_first(directory.growing))
    if not directory.path.is_dir():
        raise CharrnnError(f"{directory.path}: not seen by rank {ranks.number}; {_SHARED}")

    def begin_member(number: int, own_clock: Callable[[], float], own_stop: Callable[[], str | None]) -> Any:
        seed = (prepared.config.seed + number) % 2**63
        mine = replace(prepared, config=replace(prepared.config, seed=seed))

        def own() -> RunDirectory:
            return _member(directory.path, number, growing=growing)

        return runs.begun(request, mine, own, own_clock, own_stop, lambda _: None, ranks.of_members())

    return _members(directory, request.members, begin_member, clock, stop, True, _command(ranks, directory.path), ranks)


def _members(
    directory: RunDirectory,
    count: int,
    begin: Begin,
    clock: Callable[[], float],
    stop: Callable[[], str | None],
    fresh: bool,
    go_on: str,
    ranks: Ranks,
) -> Members:
    """A run whose member i is trained by rank i mod the number of ranks."""
    numbers, together = range(ranks.number, count, ranks.count), recipe.split(ranks.most(count), ranks.cores()).together
    return Members(directory, count, numbers, together, begin, clock, stop, fresh, go_on, ranks.mailbox())


def _member(run: Path, number: int, *, growing: bool) -> RunDirectory:
    """The directory of a member; if the run was ``growing`` when it began, it may be so still."""
    path, place = (rundir.member(directory, number) for directory in (run, rundir.hidden(run)))
    if growing:
        try:
            place.mkdir(exist_ok=True)
            return RunDirectory(path, place)
        except (OSError, CharrnnError):
            if place.parent.is_dir():
                raise
    path.mkdir(exist_ok=True)
    return RunDirectory(path)


def _resumed(request: RunRequest, clock: Callable[[], float], stop: Callable[[], str | None], ranks: Ranks) -> Members:
    check(request)
    name = request.resume
    assert name is not None
    if "-" in (*request.corpus, request.val_lines):
        raise UsageError("each member of a run reads its text again; name a file, not -")
    with contextlib.ExitStack() as stack:
        directory = ranks.directory(lambda: RunDirectory(_run(name)))
        stack.callback(directory.close)
        found = _found(directory, request, clock, stop, ranks)
        stack.pop_all()
    return found


def _found(
    directory: RunDirectory,
    request: RunRequest,
    clock: Callable[[], float],
    stop: Callable[[], str | None],
    ranks: Ranks,
) -> Members:
    """The run in ``directory``, to go on with."""
    path = directory.path
    members = lookup.members(path)
    if len(members) != (count := ranks.of_first(len(members))):
        raise CharrnnError(f"{path}: rank {ranks.number} sees {len(members)} of its {count} networks; {_SHARED}")
    if (given := request.members) > 1 and given != len(members):
        raise UsageError(f"--members {given} differs from the run's own, {len(members)}, and can't change on resume")
    split, settings = recipe.split(ranks.most(len(members)), ranks.cores()), dict(request.settings)
    if "minutes" in settings:
        settings["minutes"] /= split.turns

    def begin_member(number: int, own_clock: Callable[[], float], own_stop: Callable[[], str | None]) -> Any:
        mine = replace(request, resume=str(members[number]), settings=settings, members=1)
        until = time.monotonic() + LAST_STEP * ranks.restarted
        while True:
            try:
                return runs.begin(mine, own_clock, own_stop, lambda _: None, lambda _: None, ranks.of_members())
            except HeldError:
                if time.monotonic() >= until:
                    raise
            time.sleep(PATIENCE)

    go_on = _command(ranks, path, request.corpus, request.val_lines)
    return _members(directory, len(members), begin_member, clock, stop, False, go_on, ranks)


def _command(ranks: Ranks, run: Path, corpus: Sequence[str] = (), val_lines: str | None = None) -> str:
    beside = [] if val_lines is None else ["--val-lines", val_lines]
    return ranks.command(["train", *corpus, "--resume", str(run), *beside])


def is_asked_for(request: RunRequest) -> bool:
    """Whether a request is for several networks, or to go on with a run of several."""
    if request.members > 1:
        return True
    return bool(request.resume) and lookup.is_of_members(_run(request.resume or ""))


def _run(name: str) -> Path:
    """The directory of the run that ``--resume`` names; the most recent one is that of several networks, and no member."""
    path = runs.run_to_resume(name)
    return lookup.run_of(path) if lookup.means_latest(Path(name)) else path


def trouble(ends: Sequence[MemberEvent], run: Members) -> str | None:
    """What kept members from their end, in a sentence; None where nothing did, or somebody stopped them."""
    said = []
    for event in ends:
        if event["event"] in ("lost", "failed"):
            said.append(f"member-{event['member']}: {event['text']}")
        elif event["reason"] not in ("finished", "interrupted", "terminated"):
            said.append(f"member-{event['member']}: {event['reason'].replace('_', ' ')}")
    texts = [text.partition(": ")[2] for text in said]
    if len(said) == run.count and len({*texts}) == 1:
        said = texts[:1]
    return f"{run.directory.path}: {'; '.join(said)}; go on by: {run.go_on}" if said else None
