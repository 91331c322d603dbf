"""How a run is told to stop: by signals, and by a stdout that can't be written any more."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from charrnn.cli import exit_codes
from charrnn.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from charrnn.output.console import StdoutError

SIGNALS = {
    "SIGINT": ("interrupted", ExitCode.INTERRUPTED),
    "SIGTERM": ("terminated", ExitCode.TERMINATED),
    "SIGHUP": ("terminated", ExitCode.HUNG_UP),
}
"""The reason that each signal gives in the ``end`` event, and the program's exit code."""


EXIT_CODES = {"interrupted": ExitCode.INTERRUPTED, "terminated": ExitCode.TERMINATED}
"""The exit code of a run that ended for a reason that another process gave."""


@dataclass
class Stop:
    """Why the run should end, as far as signals and stdout have said."""

    reason: str | None = None
    exit_code: ExitCode = ExitCode.DONE
    unheard: StdoutError | None = None
    """What keeps the events from being written."""

    def __call__(self) -> str | None:
        """The reason, for the trainer."""
        return self.reason

    def ask(self, reason: str, exit_code: ExitCode) -> None:
        """Ask the run to end after its step; the first reason counts."""
        if self.reason is None:
            self.reason, self.exit_code = reason, exit_code


@contextlib.contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """Let the first signal end the run after its step, and a second Ctrl-C end it at once."""

    def handle(number: int, _: FrameType | None) -> None:
        if stop.reason is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.ask(*SIGNALS[signal.Signals(number).name])

    previous = {}
    for name in SIGNALS:
        number = getattr(signal, name, None)
        # An ignored signal stays ignored: that is how nohup works.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            previous[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def stop_on_failing_stdout(stop: Stop) -> Iterator[None]:
    """Where stdout can't be written any more, end the run as a signal would: after its step, saved."""
    from charrnn.output.console import StdoutError

    try:
        yield
    except StdoutError as error:
        stop.unheard = error
        stop.ask("terminated", exit_codes.of(error))
