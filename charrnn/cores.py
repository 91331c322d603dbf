"""The processor's cores."""

from __future__ import annotations

import os
import platform


def usable_cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def x86_64() -> bool:
    """Whether this is a 64-bit processor of Intel's or AMD's kind."""
    return platform.machine().lower() in ("x86_64", "amd64")
