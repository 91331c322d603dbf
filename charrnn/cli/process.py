"""The process that runs the command line: how long it has run, and how many threads its libraries may start."""

from __future__ import annotations

import contextlib
import functools
import os
import time

_IMPORTED = time.monotonic()

SAMPLING_THREADS = 4
"""More threads than this only get in each other's way in matrix-vector products of the usual sizes."""


def limit_threads(most: int = SAMPLING_THREADS, libraries: tuple[str, ...] = ("OPENBLAS", "MKL")) -> None:
    """Limit the threads of NumPy's matrix library, which would otherwise take every core; call it before NumPy is imported."""
    for library in libraries:
        os.environ.setdefault(f"{library}_NUM_THREADS", str(min(os.cpu_count() or 1, most)))


def seconds_since_start() -> float:
    """Seconds since the process began; where the system doesn't tell, since this module was imported."""
    return time.monotonic() - _start()


@functools.cache
def _start() -> float:
    """The process's start on the clock of `time.monotonic`."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        with open("/proc/self/stat", "rb") as file:
            # Field 22, counted after the command's name, which may hold spaces and brackets.
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        # Both count from boot; CLOCK_BOOTTIME goes on during sleep, as the ticks do.
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        if 0 <= age < 86400:
            return time.monotonic() - age
    return _IMPORTED
