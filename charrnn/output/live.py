"""The events of a training run as a person or a program sees them: a live picture, plain lines, JSON lines."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from charrnn.output.console import Console
from charrnn.output.notation import (
    clock,
    count_in_words,
    json_line,
    list_in_words,
    on_one_line,
    plural,
    read_so_far,
    total,
    visible,
    yardsticks_clause,
)
from charrnn.training.events import End, Eval, Event, Sample, Start, Step


def training_view(console: Console, *, as_json: bool, plain: bool = False) -> TrainingView:
    """A context manager that shows events on stderr: live on a terminal, otherwise as plain lines, or not at all when quiet.

    ``as_json`` writes them to stdout as JSON lines besides; ``plain`` has lines on a terminal, too.
    """
    if console.quiet:
        return TrainingView(console, as_json)
    return PlainView(console, as_json) if plain or not console.can_redraw else LiveView(console, as_json)


class TrainingView:
    """Shows nothing but JSON lines, and these only if asked; the base of the other views."""

    def __init__(self, console: Console, as_json: bool) -> None:
        self._console, self._as_json = console, as_json

    def __enter__(self) -> TrainingView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back."""

    def recall(self, steps: Sequence[Mapping[str, Any]]) -> None:
        """Take in the ``step`` events of a resumed run's earlier processes, as its log of whatever version holds them."""

    def show(self, event: Event) -> None:
        """Take in the next event."""
        self._render(event)
        if self._as_json:
            self._console.product(json_line(event), flush=True)

    def _render(self, event: Event) -> None:
        pass


class PlainView(TrainingView):
    """Lines for a log file: every evaluation, and a step about every ten seconds."""

    _SECONDS_BETWEEN_STEPS = 10.0

    def __init__(self, console: Console, as_json: bool) -> None:
        super().__init__(console, as_json)
        self._shown_at = -self._SECONDS_BETWEEN_STEPS
        self._advised = ""

    def _render(self, event: Event) -> None:
        match event["event"]:
            case "start":
                self._console.say(describe_start(event))
            case "step":
                if event["seconds"] - self._shown_at >= self._SECONDS_BETWEEN_STEPS:
                    self._shown_at = event["seconds"]
                    self._console.say(describe_step(event))
            case "eval":
                if event["val_bits_per_char"] is not None:
                    self._console.say(describe_validation(event))
                self._advise(event.get("advice") or "")
            case "sample" if event.get("records"):
                self._console.say(describe_records(event))
            case "warning":
                self._console.warn(event["text"])
            case "end":
                self._console.say(describe_end(event))

    def _advise(self, advice: str) -> None:
        """Say what is advised, unless the evaluation before had the same, its numbers aside."""
        told, self._advised = self._advised, re.sub(r"[\d.,]+", "", advice)
        if advice and self._advised != told:
            self._console.say(f"charrnn: advice: {advice}")


class LiveView(TrainingView):
    """A picture that every event redraws, and that stays on the screen when the run is over."""

    def __init__(self, console: Console, as_json: bool) -> None:
        # rich costs 0.05 s, which a run without a terminal needn't spend.
        from rich.console import Console as RichConsole

        from charrnn.output.display import Seen, picture
        from charrnn.output.frame import Frame

        super().__init__(console, as_json)
        self._seen = Seen()
        self._frame = Frame(RichConsole(file=console.stderr), functools.partial(picture, self._seen))

    def __enter__(self) -> TrainingView:
        self._frame.start()
        return self

    def close(self) -> None:
        """Leave the last picture on the screen."""
        self._frame.stop()

    def recall(self, steps: Sequence[Mapping[str, Any]]) -> None:
        """Begin the curve of losses with those of the past."""
        from charrnn.output.display import put

        for event in steps:
            bits = event.get("bits_per_char")
            if isinstance(bits, (int, float)):
                self._seen.losses.append(float(bits))
                put(self._seen.training, event["step"], float(bits))

    def _render(self, event: Event) -> None:
        self._seen.add(event)
        match event["event"]:
            case "start":
                self._frame.draw(above=visible(describe_start(event)))
            case "warning":
                self._frame.draw(above=visible(f"charrnn: warning: {event['text']}"), style="yellow")
            case _:
                self._frame.draw()
        if event["event"] == "end":
            self.close()
            self._console.say(describe_end(event))


def describe_start(event: Start) -> str:
    """The ``start`` event as one sentence."""
    model = event["config"]["model"]
    known = event.get("records")
    listed = f"{list_in_words(known)}; " if known else ""
    ranks = f", {event['ranks']} ranks" if event.get("ranks", 1) > 1 else ""
    computed = f"{event['device']} {event['precision']}{ranks}"
    return (
        f"training {model['cell']} {model['num_layers']} x {model['hidden_size']} ({event['parameters']:,} parameters) on"
        f" {event['corpus']}: {listed}{event['train_characters']:,} + {event['val_characters']:,} characters,"
        f" {event['vocab_size']} symbols; {computed}; run {event['run_dir']}{_resuming(event)}"
    )


def _resuming(event: Start) -> str:
    """Where a resumed run goes on."""
    if not event.get("step"):
        return ""
    minutes = event["config"].get("minutes")
    of = f" of {event['steps']:,}" if minutes is None else f", {clock(event['seconds'])} of {clock(60 * minutes)}"
    return f"; resuming at step {event['step']:,}{of}"


def describe_step(event: Step) -> str:
    """A ``step`` event as one line."""
    return (
        f"{clock(event['seconds'])}  step {event['step']:,}{total(event, '/')}  {read_so_far(event)}"
        f"  train {event['bits_per_char']:.3f} bits/char  lr {event['learning_rate']:.2g}"
        f"  grad norm {event['grad_norm']:.2f}  {event['chars_per_second']:,.0f} chars/s"
    )


def describe_validation(event: Eval) -> str:
    """An ``eval`` event with a validation loss as one line."""
    best = "  best so far" if event["best"] else ""
    error = _error(event.get("val_standard_error"))
    loss = f"validation {event['val_bits_per_char']:.3f}{error} bits/char"
    return f"{clock(event['seconds'])}  step {event['step']:,}  {loss}{best}"


def _error(standard_error: float | None) -> str:
    """A standard error behind its figure; nothing where there is none."""
    return f" +- {standard_error:.3f}" if standard_error else ""


def describe_records(event: Sample) -> str:
    """A ``sample`` event of records as one line."""
    marks = {True: " (known)", False: " (new)", None: " ..."}
    drawn = (f"{on_one_line(record['text'])}{marks[record['known']]}" for record in event["records"] or ())
    return f"records: {', '.join(drawn)}"


def describe_end(event: End) -> str:
    """The ``end`` event as one sentence."""
    best = event["best_val_bits_per_char"]
    error = _error(event.get("val_standard_error"))
    beside = f" ({clause})" if (clause := yardsticks_clause(event)) else ""
    score = "" if best is None else f", best validation {best:.3f}{error} bits/char{beside}{_where(event)}"
    reason, passes = event["reason"].replace("_", " "), f"{event['epochs']:.2f} epochs"
    if event["epochs"] < 1 and "characters_read" in event:
        passes = f"{count_in_words(event['characters_read'])} characters"
    advised = f"; {event['advice']}" if event.get("advice") else ""
    return (
        f"{reason} after {plural(event['step'], 'step')} ({passes}) in {clock(event['seconds'])}{score},"
        f" {event['chars_per_second']:,.0f} chars/s{advised}"
    )


def _where(event: End) -> str:
    """At which step the best network was found, and on how much text, where that isn't plain."""
    step, part = event.get("best_step"), event.get("best_val_part")
    at = f" at step {step:,}" if step is not None and step != event["step"] else ""
    whole = event.get("val_characters", 0)
    scored = event.get("val_scored_characters") or whole
    on = "" if scored == whole and not part else f" on {'all ' if scored == whole else f'{scored:,} of '}{whole:,} characters"
    less = f" ({part['bits_per_char']:.3f} on the {part['characters']:,} that evaluations read)" if part else ""
    return f"{at}{on}{less}"
