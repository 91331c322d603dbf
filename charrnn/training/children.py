"""Forked processes that work for this one: how they begin, and how they ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable

IGNORED = (signal.SIGINT, signal.SIGTERM, *filter(None, (getattr(signal, "SIGHUP", None),)))
"""A terminal and `timeout` send these to all processes of a group; the one that forked the others decides what follows."""


def can_fork() -> bool:
    """Whether this system can fork a process that goes on computing; on macOS the system's own libraries forbid it."""
    return sys.platform == "linux" and hasattr(os, "fork")


def fork(work: Callable[[socket.socket], int]) -> tuple[int, socket.socket]:
    """Fork a process that does ``work`` with its end of a socket, whose value is the exit code.

    It ignores signals, and has no file open but its socket: the run's lock is to be gone as soon as the process that trains is.

    Returns:
        Its process id, and this process's end of the socket.

    Raises:
        OSError: the system forks no more.
    """
    ours, theirs = socket.socketpair()
    # Until the child ignores them, signals wait.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
    try:
        with warnings.catch_warnings():
            # Python warns of locks that another thread may hold; a child calls nothing that takes one.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for ignored in IGNORED:
                    signal.signal(ignored, signal.SIG_IGN)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
                _close_all_but(theirs.fileno())
                code = work(theirs)
            finally:
                os._exit(code)
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
    return pid, ours


def _close_all_but(kept: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != kept:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(int(name))


def how_it_ended(pid: int) -> str:
    """Wait for a child, and say how it ended, as the rest of a sentence that begins with it."""
    try:
        _, status = os.waitpid(pid, 0)
    except OSError:
        return "has ended"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"was killed by signal {number}{', perhaps because memory was short' * (number == signal.SIGKILL)}"
    return f"has ended with code {os.waitstatus_to_exitcode(status)}"
