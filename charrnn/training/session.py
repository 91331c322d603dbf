"""A run from a program's request to its end: what Ctrl-C does to it, and a loop over its events that is left early."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator

from charrnn import CharrnnError
from charrnn.training import runs
from charrnn.training.events import Event
from charrnn.training.runs import RunRequest, Say


def events(request: RunRequest, warn: Say) -> Iterator[Event]:
    """The events of the run that was asked for; it begins with the first one that is. ``warn`` hears of its text.

    Raises:
        CharrnnError: it can't begin, or something kept it from its end.
        KeyboardInterrupt: Ctrl-C has stopped it, and it is saved.
    """
    begun, stop = time.monotonic(), _Stop()
    with _interruptible(stop):
        run, trainer, start = runs.begin(request, lambda: time.monotonic() - begun, stop, lambda _: None, warn)
        following = runs.logged(run, trainer, start)
        try:
            for event in following:
                yield event
        finally:
            if not sys.is_finalizing():
                # Whoever left the loop leaves a saved run; after the last event nothing is left to come.
                stop.reason = "interrupted"
                deque(following, maxlen=0)
    assert event["event"] == "end"
    go_on = runs.command_to_go_on(request, run)
    if trouble := runs.trouble(event, run, go_on):
        raise CharrnnError(trouble)
    if event["reason"] == "interrupted":
        raise KeyboardInterrupt(f"stopped and saved; go on by: {go_on}")


class _Stop:
    """Why the run should end, if it should."""

    reason: str | None = None

    def __call__(self) -> str | None:
        return self.reason


@contextlib.contextmanager
def _interruptible(stop: _Stop) -> Iterator[None]:
    """Let the first Ctrl-C end the run after its step, where Python itself would raise `KeyboardInterrupt`."""

    def handle(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop.reason = "interrupted"

    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        if ours and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)
