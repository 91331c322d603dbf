"""How ranks that have just been started find each other, whatever ranks before them have left in torchrun's store.

torchrun starts ranks anew after a failure, and also when a machine comes or goes (``--nnodes 1:4``). Of that the environment of
a rank tells nothing certain: it counts failures only, and only those that this machine has seen. So rank 0 names every start
anew, and that a torchrun has started ranks before is told by a file in its own directory, which it keeps as long as it runs.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

PAUSE = 0.01
"""Seconds between two looks of rank 0 at who has come."""


def named_start(store: Store, number: int, count: int, patience: timedelta) -> str:
    """A name for this start that all ``count`` ranks know, and that no earlier one had.

    Raises:
        RuntimeError: a rank hasn't come, or the store is gone.
    """
    own = secrets.token_hex(8)
    if number:
        store.set(f"here/{number}", own)
        try:
            store.wait([f"name/{number}/{own}"], patience)
        except RuntimeError as error:
            raise RuntimeError("rank 0 hasn't come") from error
        name = store.get(f"name/{number}/{own}").decode()
        store.set(f"known/{number}/{name}", "")
        return name
    answered, missing, end = dict[int, bytes](), set(range(1, count)), time.monotonic() + patience.total_seconds()
    while missing := {rank for rank in missing if not store.check([f"known/{rank}/{own}"])}:
        for rank in missing:
            # What is found first may be of an earlier start; its rank is gone, and whoever comes replaces it.
            if store.check([f"here/{rank}"]) and answered.get(rank) != (here := store.get(f"here/{rank}")):
                store.set(f"name/{rank}/{here.decode()}", own)
                answered[rank] = here
        if time.monotonic() > end:
            raise RuntimeError(f"rank {min(missing)} hasn't come")
        time.sleep(PAUSE)
    return own


def has_started_before() -> bool:
    """Whether the torchrun that started this process has started one in its place before."""
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")):
        return True
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")  # .../<launch>/attempt_<failures>/<local rank>/error.json
    if not file or len(parents := Path(file).parents) < 3:
        return False
    with contextlib.suppress(OSError):
        try:
            Path(parents[2], f"charrnn-{os.environ.get('LOCAL_RANK', '0')}").touch(exist_ok=False)
        except FileExistsError:
            return True
    return False
