"""How many bytes ``xz -9`` makes of a text.

Run as a program it reads standard input, gives way to all other work, and ends when the process whose number it is given does.
It needs the standard library alone, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import sys
import threading
import time

LARGEST_WINDOW = 1 << 26
LOOKED_AFTER = 0.2
"""Seconds between two looks whether the other process is still there."""


def compressed_size(data: bytes) -> int:
    """The bytes of an ``.xz`` file of ``data`` with the highest preset; its window is no larger than a small text needs."""
    window = min(max(len(data), 4096), LARGEST_WINDOW)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": window}]
    return len(lzma.compress(data, format=lzma.FORMAT_XZ, filters=filters))


def _give_way() -> None:
    """Run only while a core has nothing else to do, or where the system knows no such thing, with the lowest priority."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (OSError, AttributeError):
        with contextlib.suppress(OSError, AttributeError):
            os.nice(19)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOKED_AFTER)
    os._exit(1)


def main() -> None:
    """Print the size of what standard input holds."""
    # This thread looks after the other process with the usual priority; what follows has the lowest.
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    _give_way()
    print(compressed_size(sys.stdin.buffer.read()))


if __name__ == "__main__":
    main()
