"""What a long piece of work is doing, on stderr."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from charrnn.output.console import Console
from charrnn.output.notation import clock, size_in_words

if TYPE_CHECKING:
    from charrnn.text.corpus import Reading, Tell

PATIENCE = 2.0
"""So many seconds nobody wonders at a terminal or a notebook."""
PATIENCE_OF_A_PIPE = 10.0
"""So many seconds nobody wonders elsewhere: most work is done by then, and needs no line in anybody's log."""
_TICK = 0.25
_ENDS_TYPING = "Ctrl-Z and Enter end it" if os.name == "nt" else "Ctrl-D on an empty line ends it"


class Progress:
    """Work that says what it is doing once it takes longer than `PATIENCE`: a call names the part of it that begins.

    On a terminal that is a line which changes, and which goes when the work is done. Elsewhere lines stay: each comes when
    the work has taken twice as long as at the one before. Where ``wanted`` is false nothing is said: what comes out already
    tells how far it is. Of a text that is being ``typed`` is said at once how it ends, and nothing more.
    """

    def __init__(self, console: Console, *, wanted: bool = True, typed: bool = False) -> None:
        self._console, self._began = console, time.monotonic()
        self._typed = typed
        self._wanted = wanted and not typed and not console.quiet
        self._doing = ""
        self._so_far: Callable[[], str] | None = None
        self._due = PATIENCE if console.stderr_is_terminal else PATIENCE_OF_A_PIPE
        self._lock, self._done = threading.Lock(), threading.Event()
        self._clock = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Progress:
        if self._typed:
            self._console.say(f"charrnn: reading what is typed here; {_ENDS_TYPING}")
        if self._wanted:
            self._clock.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._done.set()
        if self._wanted:
            self._clock.join()
            self._console.status("")

    def __call__(self, doing: str, so_far: Callable[[], str] | None = None) -> None:
        """Name what is being done from now on; ``so_far`` tells at any moment how much of it is."""
        with self._lock:
            self._doing, self._so_far = doing, so_far
            self._tell()

    def pause(self) -> None:
        """Clear the line, because something is shown; the next call goes on."""
        with self._lock:
            self._doing = ""
            self._console.status("")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """While something is shown there is no line; afterwards the same work goes on."""
        doing = self._doing
        self.pause()
        yield
        with self._lock:
            self._doing = doing

    def _watch(self) -> None:
        while not self._done.wait(_TICK):
            with self._lock:
                self._tell()

    def _tell(self) -> None:
        seconds = time.monotonic() - self._began
        if not self._wanted or not self._doing or seconds < self._due:
            return
        so_far = self._so_far() if self._so_far is not None else ""
        line = f"charrnn: {self._doing}{so_far and ': '}{so_far} ({clock(seconds)})"
        if self._console.can_redraw:
            self._console.status(line)
        else:
            self._due = 2 * seconds
            self._console.say(line)


def reading(progress: Progress) -> Tell:
    """What hears how far a text is read, and says it: how much, how fast, which file of many, and then the share encoded."""
    from charrnn.text.corpus import Reading

    began, latest = time.monotonic(), Reading(0)

    def so_far() -> str:
        if latest.encoded:
            return f"{100 * latest.encoded:.0f} % encoded"
        speed = size_in_words(latest.bytes / max(time.monotonic() - began, 1e-9))
        which = f"file {latest.file:,} of {latest.files:,}, " if latest.files > 1 else ""
        return f"{which}{size_in_words(latest.bytes)}, {speed}/s"

    def tell(now: Reading) -> None:
        nonlocal began, latest
        if not latest.bytes:
            began = time.monotonic()
            progress("reading the text", so_far)
        latest = now
        if now.encoded == 1:
            progress.pause()
            latest = Reading(0)

    return tell
