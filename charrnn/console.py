"""The one place that talks to a person or a pipe: the product goes to stdout, the conversation to stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, cast

from charrnn import CharrnnError
from charrnn.notation import clock, gradient_line, json_line, sparkline, visible

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import RenderableType

Event = Mapping[str, Any]


class StdoutError(CharrnnError):
    """What was to be written to stdout was not: the disk is full, say, or the terminal has hung up."""


class StdoutClosedError(StdoutError):
    """Whoever read stdout went away; the program ends without a word."""

    exit_code = 141


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Tell what keeps stdout from being written by a `StdoutError`."""
    try:
        yield
    except BrokenPipeError as error:
        raise StdoutClosedError("stdout is closed") from error
    except OSError as error:
        raise StdoutError(f"stdout: {error.strerror or error}") from error


class _Closed(io.StringIO):
    def write(self, text: str, /) -> int:
        raise BrokenPipeError


class _Conversation:
    """stderr, whose failing (the terminal has hung up, the disk behind it is full) shall fail nothing else."""

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
    """Owns both streams and knows what they are; tests put their own in their place."""

    def __init__(self, stdout: IO[str] | None = None, stderr: IO[str] | None = None, *, quiet: bool = False) -> None:
        # A stream that the shell closed is None: nobody reads the product then, and nobody hears the conversation.
        self.stdout = stdout or sys.stdout or _Closed()
        self.stderr = cast("IO[str]", _Conversation(stderr or sys.stderr or io.StringIO()))
        self.quiet = quiet
        if hasattr(self.stdout, "reconfigure"):
            # stdout is UTF-8 whatever the locale; surrogateescape lets a path that isn't pass through unchanged. It is flushed
            # on the way, which fails where the disk is full: then this console is there to say so.
            with contextlib.suppress(OSError):
                self.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        self.stdout_is_terminal = self.stdout.isatty()
        self.stderr_is_terminal = self.stderr.isatty()

    def product(self, text: str, *, flush: bool = False) -> None:
        """Write ``text`` to stdout as it is; raise `StdoutError` if that fails, `StdoutClosedError` if nobody reads it."""
        with _writing():
            self.stdout.write(text)
            if flush or self.stdout_is_terminal:
                self.stdout.flush()

    def finish(self) -> None:
        """Flush stdout; raise `StdoutError` if that is too late."""
        with _writing():
            self.stdout.flush()

    def say(self, text: str) -> None:
        """A line of conversation."""
        if not self.quiet:
            self._line(text)

    def warn(self, text: str) -> None:
        """A line that asks for attention."""
        self.say(f"charrnn: warning: {text}")

    def error(self, text: str) -> None:
        """Why the program stops; shown even when quiet."""
        self._line(f"charrnn: {text}")

    def _line(self, text: str) -> None:
        # One write: beside another program on the same terminal the line stays whole.
        self.stderr.write(visible(text).replace("\n", " ") + "\n")
        self.stderr.flush()

    @property
    def width(self) -> int:
        """The terminal's columns, as rich finds them."""
        from rich.console import Console as RichConsole

        return RichConsole(file=self.stdout).width

    def table(self, table: RenderableType) -> None:
        """A rich renderable on stdout: as wide as the terminal, or as wide as it needs in a pipe."""
        from rich.console import Console as RichConsole

        width = None if self.stdout_is_terminal else 10_000
        rich = RichConsole(file=self.stdout, width=width, color_system="auto" if self.stdout_is_terminal else None)
        with rich.capture() as capture:
            rich.print(table)
        text = capture.get()
        self.product(text if self.stdout_is_terminal else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))

    @contextlib.contextmanager
    def training(self, *, as_json: bool) -> Iterator[TrainingView]:
        """Show a training run's events: live on a terminal, else as plain lines; with ``as_json`` also as JSON on stdout."""
        view: TrainingView
        if self.quiet:
            view = TrainingView(self, as_json)
        elif self.stderr_is_terminal and os.environ.get("TERM") != "dumb":
            view = LiveView(self, as_json)
        else:
            view = PlainView(self, as_json)
        with view:
            yield view


class TrainingView:
    """What a training run looks like; this one shows nothing, or JSON lines."""

    def __init__(self, console: Console, as_json: bool) -> None:
        self._console, self._as_json = console, as_json

    def __enter__(self) -> TrainingView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as a plain one."""

    def show(self, event: Event) -> None:
        """Take in the next event."""
        self._render(event)
        if self._as_json:
            self._console.product(json_line(event), flush=True)

    def _render(self, event: Event) -> None:
        pass


def describe_start(event: Event) -> str:
    """The ``start`` event as one sentence."""
    model = event["config"]["model"]
    return (
        f"training {model['cell']} {model['num_layers']} x {model['hidden_size']} ({event['parameters']:,} parameters) on"
        f" {event['corpus']}: {event['train_characters']:,} + {event['val_characters']:,} characters,"
        f" {event['vocab_size']} symbols; {event['device']} {event['precision']}; run {event['run_dir']}"
    )


def describe_end(event: Event) -> str:
    """The ``end`` event as one sentence."""
    best = event["best_val_bits_per_char"]
    score = "" if best is None else f", best validation {best:.3f} bits/char"
    return (
        f"{event['reason']} after {event['step']:,} steps ({event['epochs']:.2f} epochs) in {clock(event['seconds'])}{score},"
        f" {event['chars_per_second']:,.0f} chars/s"
    )


class PlainView(TrainingView):
    """Lines for a log file: every evaluation, and a step about every ten seconds."""

    _SECONDS_BETWEEN_STEPS = 10.0

    def __init__(self, console: Console, as_json: bool) -> None:
        super().__init__(console, as_json)
        self._shown_at = -self._SECONDS_BETWEEN_STEPS

    def _render(self, event: Event) -> None:
        say = self._console.say
        match event["event"]:
            case "start":
                say(describe_start(event))
            case "step":
                if event["seconds"] - self._shown_at >= self._SECONDS_BETWEEN_STEPS:
                    self._shown_at = event["seconds"]
                    say(
                        f"{clock(event['seconds'])}  step {event['step']:,}/{event['steps']:,}  epoch {event['epoch']:.2f}"
                        f"  train {event['bits_per_char']:.3f} bits/char  lr {event['learning_rate']:.2g}"
                        f"  grad norm {event['grad_norm']:.2f}  {event['chars_per_second']:,.0f} chars/s"
                    )
            case "eval":
                best = "  best so far" if event["best"] else ""
                if event["val_bits_per_char"] is not None:
                    say(
                        f"{clock(event['seconds'])}  step {event['step']:,}"
                        f"  validation {event['val_bits_per_char']:.3f} bits/char{best}"
                    )
                if event.get("advice"):
                    say(f"charrnn: advice: {event['advice']}")
            case "warning":
                self._console.warn(event["text"])
            case "end":
                say(describe_end(event))


class LiveView(TrainingView):
    """A display that is redrawn with every event and stays on the screen when the run is over."""

    def __init__(self, console: Console, as_json: bool) -> None:
        from rich.console import Console as RichConsole
        from rich.live import Live

        super().__init__(console, as_json)
        self._rich: RichConsole = RichConsole(file=console.stderr)
        self._live = Live(console=self._rich, auto_refresh=False, transient=False, vertical_overflow="crop")
        self._losses: list[float] = []
        self._step: Event | None = None
        self._eval: Event | None = None
        self._before: Event | None = None  # the evaluation before that
        self._sample = ""
        self._best: float | None = None
        self._end: Event | None = None

    def __enter__(self) -> TrainingView:
        self._live.start()
        return self

    def close(self) -> None:
        """Leave the last picture on the screen."""
        self._live.stop()

    def _render(self, event: Event) -> None:
        match event["event"]:
            case "start":
                self._rich.print(visible(describe_start(event)), markup=False, highlight=False)
            case "step":
                self._step = event
                self._losses.append(event["bits_per_char"])
            case "eval":
                self._before, self._eval = self._eval, event
                if event["best"]:
                    self._best = event["val_bits_per_char"]
            case "sample":
                self._sample = event["text"]
            case "warning":
                self._rich.print(visible(f"charrnn: warning: {event['text']}"), markup=False, highlight=False, style="yellow")
            case "end":
                self._end = event
                self._best = event["best_val_bits_per_char"]
        self._live.update(self.display(), refresh=True)
        if self._end is not None:
            self.close()
            self._console.say(describe_end(self._end))

    def display(self) -> RenderableType:
        """The whole picture as a renderable."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        from charrnn.report import hidden_table

        step = self._step
        if step is None:
            return Text("starting ...", style="dim")
        done = 1.0 if self._end is not None and self._end["reason"] == "finished" else step["step"] / max(step["steps"], 1)
        left = step["seconds"] * (1 - done) / max(done, 1e-3)
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column()
        head.add_column(ratio=1)
        head.add_column()
        times = f"{clock(step['seconds'])}" + ("" if done >= 1 else f", {clock(left)} left")
        head.add_row(Text(f"{done:4.0%}", "bold"), ProgressBar(total=1.0, completed=done), Text(times, "dim"))

        loss = Table.grid(padding=(0, 1))
        validation = self._eval["val_bits_per_char"] if self._eval else None
        # The two columns to the right take the ^C that a terminal echoes; wrapped, it would leave a line of the picture behind.
        outer = max(1, self._rich.width - 2)
        width = max(10, outer - 22)
        # The first losses would flatten the rest of the curve.
        skip = len(self._losses) // 10
        loss.add_row("train", Text(f"{step['bits_per_char']:.3f}", "bold cyan"), "bits/char")
        loss.add_row("validation", Text("-" if validation is None else f"{validation:.3f}", "bold green"), "bits/char")
        if self._best is not None:
            loss.add_row("best", Text(f"{self._best:.3f}", "green"), "bits/char")
        facts = Table.grid(padding=(0, 1))
        facts.add_row(Text("step", "dim"), f"{step['step']:,} of {step['steps']:,} (epoch {step['epoch']:.2f})")
        facts.add_row(Text("speed", "dim"), f"{step['chars_per_second']:,.0f} chars/s")
        facts.add_row(Text("learning rate", "dim"), f"{step['learning_rate']:.2g}, gradient norm {step['grad_norm']:.2f}")
        numbers = Table.grid(padding=(0, 4))
        numbers.add_row(loss, facts)
        parts: list[RenderableType] = [
            head,
            Text.assemble(("train loss ", "dim"), (sparkline(self._losses[skip:], width), "cyan")),
            numbers,
        ]
        if self._eval is not None:
            parts += [
                Text("hidden state", "dim"),
                hidden_table(self._eval["hidden"], self._before["hidden"] if self._before else None, outer),
                Text(gradient_line(self._eval), "dim"),
            ]
            if self._eval.get("advice"):
                parts.append(Text(self._eval["advice"], "yellow"))
        if self._sample:
            one_line = visible(self._sample).replace("\n", "\u21b5")
            parts.append(Text.assemble(("sample ", "dim"), (one_line, "italic"), overflow="ellipsis", no_wrap=True))
        return Panel(Group(*parts), border_style="dim", padding=(0, 1), width=outer)
