"""The one place that talks to a person or a pipe: the product goes to stdout, the conversation to stderr."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from charrnn import CharrnnError
from charrnn.output.notation import on_one_line, visible

if TYPE_CHECKING:
    from rich.console import RenderableType


LOGGED = (
    *("JPY_PARENT_PID", "COLAB_RELEASE_TAG", "COLAB_GPU", "COLAB_BACKEND_VERSION", "KAGGLE_KERNEL_RUN_TYPE"),
    *("DATABRICKS_RUNTIME_VERSION", "CI", "CONTINUOUS_INTEGRATION", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "TRAVIS"),
    *("BUILDKITE", "JENKINS_URL", "TEAMCITY_VERSION", "TF_BUILD", "BITBUCKET_BUILD_NUMBER", "CODEBUILD_BUILD_ID", "DRONE"),
)
"""Variables of notebooks and CI systems, which keep what a terminal would draw over."""


ENDINGS = {
    "html": ((".html", ".htm"), "browsers and phones may show its text, not the page"),
    "svg": ((".svg",), "programs may not know that it is an SVG picture"),
}
"""How the names of files end that are made to be looked at, and what comes of another name."""

_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of characters that stand for no byte of a path either."""


class StdoutError(CharrnnError):
    """Writing to stdout failed: the disk is full, say, or the terminal has hung up."""


class StdoutClosedError(StdoutError):
    """Nobody reads stdout any more; the program ends without a word."""


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Turn what goes wrong on stdout into a `StdoutError`."""
    try:
        yield
    except BrokenPipeError as error:
        raise StdoutClosedError("stdout is closed") from error
    except OSError as error:
        raise StdoutError(f"stdout: {error.strerror or error}") from error


class _Closed(io.StringIO):
    """A stream that nobody reads."""

    def write(self, text: str, /) -> int:
        if text:
            raise BrokenPipeError
        return 0


class _Conversation:
    """stderr. When it fails (the terminal has hung up, the disk behind it is full), nothing else does."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Console:
    """Owns stdout and stderr and knows whether they are terminals; tests pass streams of their own."""

    def __init__(self, stdout: IO[str] | None = None, stderr: IO[str] | None = None, *, quiet: bool = False) -> None:
        # Python's stream is None where the shell closed it: then nobody reads the product or hears the conversation.
        self.stdout = stdout or sys.stdout or _Closed()
        self.stderr = cast("IO[str]", _Conversation(stderr or sys.stderr or io.StringIO()))
        self.quiet = quiet
        self._announced = ""
        self._status = False
        self._lock = threading.RLock()  # What a thread shows as the status is never in the middle of what another one says.
        if hasattr(self.stdout, "reconfigure"):
            # stdout is UTF-8 whatever the locale; surrogateescape passes a path that isn't UTF-8 through unchanged.
            # Reconfiguring flushes, which fails on a full disk: writing will fail too, and is reported.
            with contextlib.suppress(OSError):
                self.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        self.stdout_is_terminal = self.stdout.isatty()
        self.stderr_is_terminal = self.stderr.isatty()

    @property
    def can_redraw(self) -> bool:
        """Whether somebody looks at stderr on a terminal whose cursor moves: a notebook or a CI says that it has one."""
        named = [os.environ.get(name, "").lower() for name in LOGGED]
        return self.stderr_is_terminal and os.environ.get("TERM") != "dumb" and not set(named) - {"", "0", "false"}

    @property
    def paints(self) -> bool:
        """Whether stdout is a terminal that has colours."""
        return self.stdout_is_terminal and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")

    @property
    def stdout_is_kept(self) -> bool:
        """Whether stdout is a file or nowhere, so that nobody reads along: behind a pipe there may be the same terminal."""
        try:
            handle = self.stdout.fileno()
            return stat.S_ISREG(os.fstat(handle).st_mode) or os.path.samestat(os.fstat(handle), Path(os.devnull).stat())
        except (OSError, ValueError, AttributeError):
            return False

    def product(self, text: str, *, flush: bool = False) -> None:
        """Write ``text`` to stdout as it is; raise `StdoutError` if that fails, `StdoutClosedError` if nobody reads it."""
        with self._lock, _writing():
            self._begin(clear=self._status and not self.stdout_is_kept)
            try:
                self.stdout.write(text)
            except UnicodeEncodeError:  # Half of a character, which a stranger's file may hold: nothing was written yet.
                self.stdout.write(_HALVES.sub("\ufffd", text))
            if flush or self.stdout_is_terminal:
                self.stdout.flush()

    def made(self, path: Path, data: bytes, verb: str, more: str = "", *, kind: str = "") -> None:
        """Write what ``verb`` made to ``path`` as `files.write_made` does, and say so, with ``more``; to stdout in silence.

        Browsers and other programs go by the name of a ``kind`` of file that `ENDINGS` has.
        """
        from charrnn import files  # Help pages need none.

        if files.is_stdout(path):
            self.bytes(data)
        else:
            files.write_made(path, data, verb)
            self.say(f"charrnn: wrote {path}{more}")
            endings, so = ENDINGS.get(kind, ((), ""))
            if endings and path.suffix.lower() not in endings and path.is_file():
                self.warn(f"{path}: its name doesn't end in {endings[0]}, so {so}")

    def bytes(self, data: bytes) -> None:
        """Write ``data`` to stdout as it is, as `product` does a text."""
        with self._lock, _writing():
            self._begin(clear=self._status and not self.stdout_is_kept)
            self.stdout.flush()
            binary = getattr(self.stdout, "buffer", None)
            if binary is None:
                raise OSError(errno.EINVAL, "takes text only")
            rest = memoryview(data)
            while rest:  # Unbuffered, as by PYTHONUNBUFFERED, it may take a part.
                if not (taken := binary.write(rest)):
                    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                rest = rest[taken:]
            binary.flush()

    def finish(self) -> None:
        """Flush stdout; raise `StdoutError` if what was written before can't be."""
        self.begin()
        with _writing():
            self.stdout.flush()

    def announce(self, text: str) -> None:
        """Keep a line of conversation until the work begins: a request that can't work is answered by its error alone."""
        self._announced = text

    def begin(self) -> None:
        """Say what was announced: before anything else is said or written, or once the input has proved sound."""
        self._begin(clear=True)

    def _begin(self, *, clear: bool) -> None:
        if clear:
            self._clear()
        if self._announced:
            announced, self._announced = self._announced, ""
            self.say(announced)

    def status(self, text: str) -> None:
        """Show ``text`` as a terminal's last line until something else is said or shown; an empty one clears it."""
        with self._lock:
            if not text:
                self._clear()
                return
            if self._announced:
                self.begin()
            from rich.cells import set_cell_size

            # A line that is wider than the terminal couldn't be taken back.
            self.stderr.write(f"\r{set_cell_size(on_one_line(text), max(1, self.width - 1)).rstrip()}\x1b[K")
            self.stderr.flush()
            self._status = True

    def say(self, text: str) -> None:
        """Say a line of conversation, unless quiet."""
        self.begin()
        if not self.quiet:
            self._line(text)

    def warn(self, text: str) -> None:
        """Say a line that asks for attention, unless quiet."""
        self.say(f"charrnn: warning: {text}")

    def error(self, text: str) -> None:
        """Say why the program stops, even when quiet."""
        self._line(f"charrnn: {text}")

    def _clear(self) -> None:
        with self._lock:
            if self._status:
                self._status = False
                self.stderr.write("\r\x1b[K")
                self.stderr.flush()

    def _line(self, text: str) -> None:
        with self._lock:
            self._clear()
            # One write keeps the line whole beside other programs on the same terminal.
            self.stderr.write(visible(text).replace("\n", " ") + "\n")
            self.stderr.flush()

    @property
    def width(self) -> int:
        """The terminal's columns, as rich finds them."""
        from rich.console import Console as RichConsole

        return RichConsole(file=self.stdout).width

    def table(self, table: RenderableType, *, asked: bool = False) -> None:
        """Write a rich renderable to stdout: as wide as the terminal, or in a pipe as wide as it needs to be.

        Colours that were ``asked`` for are there whatever ``NO_COLOR`` says.
        """
        from rich.console import Console as RichConsole

        shown = self.stdout_is_terminal
        width, colors = None if shown else 10_000, False if asked else None
        rich = RichConsole(file=self.stdout, width=width, color_system="auto" if shown else None, no_color=colors)
        with _writing(), rich.capture() as capture:  # It flushes what was written before.
            rich.print(table)
        text = capture.get()
        self.product(text if self.stdout_is_terminal else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))
