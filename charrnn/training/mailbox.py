"""What ranks tell each other that train networks of their own: events for rank 0, a reason to end for all.

It goes through torchrun's store, so none of them waits for another while it trains.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store


class Mailbox:
    """That of a process which is alone: nothing comes."""

    def post(self, event: dict[str, Any]) -> None:
        """Send an event to rank 0."""

    def events(self) -> Iterator[dict[str, Any]]:
        """What other ranks have sent to rank 0 since this was last asked."""
        yield from ()

    def end_all(self, reason: str) -> None:
        """Ask all ranks to end for a ``reason``."""

    def asked(self) -> str | None:
        """The reason for which a rank has asked all to end."""
        return None

    def be_through(self) -> None:
        """Say that this rank has nothing more to do; all its events are sent."""

    def all_are_through(self) -> bool:
        """Whether all ranks have said so."""
        return True


class StoreMailbox(Mailbox):
    """That of rank ``number`` of ``count``. Where the store is gone, so is the launch: all are asked to end."""

    def __init__(self, store: Store, number: int, count: int) -> None:
        self._store, self._number, self._count = store, number, count
        self._sent = 0
        self._read = dict.fromkeys(range(1, count), 0)

    def post(self, event: dict[str, Any]) -> None:
        """Send an event to rank 0."""
        if self._number:
            self._store.set(f"events/{self._number}/{self._sent}", json.dumps(event))
            self._sent += 1

    def events(self) -> Iterator[dict[str, Any]]:
        """What other ranks have sent to rank 0, that of each in its order."""
        for rank in self._read if self._number == 0 else ():
            while self._store.check([key := f"events/{rank}/{self._read[rank]}"]):
                yield json.loads(self._store.get(key))
                self._store.delete_key(key)
                self._read[rank] += 1

    def end_all(self, reason: str) -> None:
        """Ask all ranks to end."""
        self._store.set("end", reason)

    def asked(self) -> str | None:
        """The reason for which all are to end."""
        try:
            return self._store.get("end").decode() if self._store.check(["end"]) else None
        except RuntimeError:
            return "terminated"

    def be_through(self) -> None:
        """Say that this rank has nothing more to do."""
        self._store.set(f"through/{self._number}", "yes")

    def all_are_through(self) -> bool:
        """Whether all ranks have said so."""
        return bool(self._store.check([f"through/{rank}" for rank in range(self._count)]))
