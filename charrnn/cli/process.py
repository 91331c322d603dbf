"""The process that runs the command line: how long it has run, and how many threads its libraries may start."""

from __future__ import annotations

import contextlib
import functools
import os
import time

from charrnn.cores import usable_cores, x86_64

_IMPORTED = time.monotonic()

SAMPLING_THREADS = 4
"""More threads than this only get in each other's way in matrix-vector products of the usual sizes."""

IDLE_SPIN = "20"
"""OpenBLAS's threads look for work for two to this power of the processor's ticks, less than a thousandth of a second."""


def rank() -> int | None:
    """Which of the ranks this process is that torchrun has started; None where it hasn't."""
    number = os.environ.get("RANK", "") if "TORCHELASTIC_RUN_ID" in os.environ else ""
    return int(number) if number.isascii() and number.isdecimal() else None


def limit_threads(
    most: int = SAMPLING_THREADS, libraries: tuple[str, ...] = ("OPENBLAS", "MKL"), *, begin_with_one: bool = False
) -> int:
    """Limit the threads of NumPy's matrix library, which would otherwise take every core; call it before NumPy is imported.

    OpenBLAS has one at first if it is to ``begin_with_one`` and their number may change later
    (`charrnn.network.pace.threads_of_numpy`): NumPy then starts some milliseconds sooner.

    Returns:
        Up to how many may be used, 1 where the environment already says how many: that number then stays.
    """
    chosen = bool(os.environ.get("OPENBLAS_NUM_THREADS"))
    most = min(usable_cores(), most, _allowed())
    for library in libraries:
        one = begin_with_one and library == "OPENBLAS" and x86_64()
        os.environ.setdefault(f"{library}_NUM_THREADS", "1" if one else str(most))
    # Threads that have nothing to do spin on a core for a tenth of a second, unless they are told to sleep sooner.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", IDLE_SPIN)
    return 1 if chosen else most


def _allowed() -> int:
    """How many threads ``OMP_NUM_THREADS`` allows, which other programs heed too."""
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(text) if text.isascii() and text.isdecimal() and int(text) else SAMPLING_THREADS


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
