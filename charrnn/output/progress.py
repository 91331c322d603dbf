"""What a long piece of work is doing, on stderr."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from charrnn.output.console import Console
from charrnn.output.notation import clock

PATIENCE = 2.0
"""So many seconds nobody wonders."""
_TICK = 0.25


class Progress:
    """Work that says what it is doing once it takes longer than `PATIENCE`: a call names the part of it that begins.

    On a terminal that is a line which changes, and which goes when the work is done; elsewhere one line that stays.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._began = console, time.monotonic()
        self._doing = ""
        self._told = False
        self._lock, self._done = threading.Lock(), threading.Event()
        self._clock = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Progress:
        self._clock.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._done.set()
        self._clock.join()
        self._console.status("")

    def __call__(self, doing: str) -> None:
        """Name what is being done from now on."""
        with self._lock:
            self._doing = doing
            self._tell()

    def pause(self) -> None:
        """Clear the line, because something is shown; the next call goes on."""
        with self._lock:
            self._doing = ""
            self._console.status("")

    def _watch(self) -> None:
        while not self._done.wait(_TICK):
            with self._lock:
                self._tell()

    def _tell(self) -> None:
        seconds = time.monotonic() - self._began
        if self._console.quiet or not self._doing or seconds < PATIENCE:
            return
        if self._console.can_redraw:
            self._console.status(f"charrnn: {self._doing} ({clock(seconds)})")
        elif not self._told:
            self._told = True
            self._console.say(f"charrnn: {self._doing}; this takes a while")
