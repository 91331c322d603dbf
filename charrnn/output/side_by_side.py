"""The events of several networks that train side by side: a line for each on a terminal, plain lines, JSON lines."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from charrnn.output.console import Console
from charrnn.output.live import describe_end, describe_start, describe_step, describe_validation
from charrnn.output.notation import at_the_end, clock, json_line, total, visible

SECONDS_BETWEEN_STEPS = 10.0
"""How often plain lines tell a member's steps."""


class MembersView:
    """Shows events that carry their ``member``: on stderr, unless quiet, and with ``as_json`` to stdout as JSON lines."""

    def __init__(self, console: Console, count: int, *, as_json: bool, plain: bool = False) -> None:
        self._console, self._as_json = console, as_json
        self._lines = _Lines(console, count) if console.can_redraw and not (plain or console.quiet) else None
        self._shown_at: dict[int, float] = {}
        self._warned: set[str] = set()

    def __enter__(self) -> MembersView:
        if self._lines is not None:
            self._lines.frame.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines is not None:
            self._lines.frame.stop()

    def show(self, event: Mapping[str, Any]) -> None:
        """Take in the next event."""
        if self._lines is not None:
            self._lines.add(event)
        if (said := self._said(event)) is not None and not self._console.quiet:
            if self._lines is None:
                self._console.say(said)
            else:
                self._lines.frame.draw(above=visible(said))
        elif self._lines is not None:
            self._lines.frame.draw()
        if self._as_json:
            self._console.product(json_line(event), flush=True)

    def _said(self, event: Mapping[str, Any]) -> str | None:
        """What stays on the screen, as a line; with the picture only what isn't in it."""
        kind, name, pictured = event["event"], f"member {event['member']}: ", self._lines is not None
        if kind == "start":
            return name + describe_start(event)  # type: ignore[arg-type]
        if kind == "end":
            return name + describe_end(event)  # type: ignore[arg-type]
        if kind in ("lost", "failed"):
            return f"charrnn: {name}{event['text']}"
        if kind == "warning" and event["text"] not in self._warned:
            self._warned.add(event["text"])  # All members read the same text.
            return f"charrnn: warning: {name}{event['text']}"
        if pictured:
            return None
        if kind == "eval" and event["val_bits_per_char"] is not None:
            return name + describe_validation(event)  # type: ignore[arg-type]
        member, seconds = event["member"], event.get("seconds", 0.0)
        if kind == "step" and seconds - self._shown_at.get(member, -SECONDS_BETWEEN_STEPS) >= SECONDS_BETWEEN_STEPS:
            self._shown_at[member] = seconds
            return name + describe_step(event)  # type: ignore[arg-type]
        return None


class _Lines:
    """A picture with a line for each member."""

    def __init__(self, console: Console, count: int) -> None:
        from rich.console import Console as RichConsole

        from charrnn.output.frame import Frame

        self._steps: dict[int, Mapping[str, Any]] = {}
        self._losses: dict[int, float] = {}
        self._states = dict.fromkeys(range(count), "waits for its turn")
        self.frame = Frame(RichConsole(file=console.stderr), self._picture)

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in the next event."""
        member, kind = event["member"], event["event"]
        if kind == "step":
            self._steps[member], self._states[member] = event, ""
        elif kind == "eval" and event["val_bits_per_char"] is not None:
            self._losses[member] = min(event["val_bits_per_char"], self._losses.get(member, float("inf")))
        elif kind == "start":
            self._states[member] = "begins"
        elif kind in ("end", "lost", "failed"):
            self._states[member] = event["reason"].replace("_", " ") if kind == "end" else kind
        if kind == "end" and member in self._steps:
            self._steps[member] = at_the_end(self._steps[member], event)
        if kind == "end" and event["best_val_bits_per_char"] is not None:
            self._losses[member] = event["best_val_bits_per_char"]

    def _picture(self, width: int, height: int) -> Any:
        from rich.text import Text

        lines = [self._line(member, width) for member in self._states][-height:]
        return Text("\n".join(lines), no_wrap=True, overflow="crop")

    def _line(self, member: int, width: int) -> str:
        """As many of the parts as fit, the most important first; none is cut."""
        step, state = self._steps.get(member), self._states[member]
        parts = [f"member {member}", state]
        if step is not None:
            parts = [
                f"member {member}  {clock(step['seconds'])}  {step['done']:4.0%}",
                state,
                f"val {self._losses[member]:.3f}" if member in self._losses else "",
                f"train {step['bits_per_char']:.3f}",
                f"step {step['step']:,}{total(step, '/')}",
                f"{step['chars_per_second']:,.0f} chars/s",
            ]
        lines = list(accumulate(filter(None, parts), "{}  {}".format))
        return next((line for line in reversed(lines) if len(line) <= width), lines[0][:width])
