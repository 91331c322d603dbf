"""What the program's exit code says."""

from __future__ import annotations

from enum import IntEnum

from charrnn import CharrnnError, UsageError


class ExitCode(IntEnum):
    """The exit codes that docs/reference/scripting.md lists; from 128 on as a shell counts signals."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    HUNG_UP = 129
    INTERRUPTED = 130
    STDOUT_CLOSED = 141
    TERMINATED = 143


def of(error: CharrnnError) -> ExitCode:
    """The exit code that an error ends the program with."""
    from charrnn.output.console import StdoutClosedError

    if isinstance(error, StdoutClosedError):
        return ExitCode.STDOUT_CLOSED
    return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.FAILURE
