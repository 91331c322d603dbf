"""A conversation with a network: each line of stdin is continued, after everything that went before."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from charrnn import CharrnnError, UsageError
from charrnn.config import SampleConfig
from charrnn.declaration import limits_of
from charrnn.generation.streaming import Generation, Start, Stream
from charrnn.limits import from_to
from charrnn.output.console import Console
from charrnn.output.sampled import Compared, Output, Shown, interruptible
from charrnn.text import sources
from charrnn.text.given import decoded, unescaped
from charrnn.text.reading import TextReader

COMMANDS = "/temp X, /reset, /save FILE, /quit; a line that begins with // begins with /"


def converse(generation: Generation, console: Console, shown: Shown, compared: Compared) -> None:
    """Continue each line of stdin until stdin ends; Ctrl-C stops only the current text. `sampled.check` gives ``compared``."""
    ask = _asker(console, generation.reader)
    console.say(f"charrnn: type what to go on from, or nothing; {COMMANDS}; Ctrl-C stops a text, Ctrl-D ends")
    place = generation.beginning()
    if generation.prompts[0]:
        place = generation.read(place, generation.prompts[0])
    output = Output(generation, console, replace(shown, separator="", echo=False), compared)
    while (line := ask()) is not None:
        try:
            line = decoded(line.encode("utf-8", "surrogateescape"), "stdin")
            if line.startswith("/") and not line.startswith("//"):
                if line.split() == ["/quit"]:
                    return
                place = _obey(line, place, generation)
                continue
            text = line.removeprefix("/") if line.startswith("//") else line
            text = generation.known(unescaped(text, "stdin") if generation.request.escapes else text)
        except CharrnnError as error:
            console.error(str(error))
            continue
        stream = Stream(generation, 0, generation.read(place, text), kept=True)
        with interruptible(stream):
            output.live(stream)
        console.finish()
        place = stream.rest()


def _obey(line: str, place: Start, generation: Generation) -> Start:
    """Carry out a command; gives the place from which the conversation goes on. `UsageError` for anything else."""
    command, _, value = line.partition(" ")
    if command == "/temp" and value.strip():
        first, last = from_to(limits_of(SampleConfig, "temperature"), "/temp", value.strip())
        if last is not None and generation.config.limit is None:
            raise UsageError("/temp: an endless text has no end at which to reach a second temperature; give one number")
        generation.drawing = replace(generation.drawing, temperature=first, temperature_end=last)
    elif command == "/reset" and not value.strip():
        return generation.beginning()
    elif command == "/save" and value.strip():
        generation.save(Path(value.strip()), place)
    else:
        raise UsageError(f"{command:.40}: there are {COMMANDS}")
    return place


def _asker(console: Console, reader: TextReader) -> Callable[[], str | None]:
    """A function that gives the next line of stdin, None at its end; on a terminal with a prompt, line editing and history."""
    if sys.stdin is None:
        raise CharrnnError("stdin is closed; there is nobody to talk with")
    if not sys.stdin.isatty():
        lines = reader.lines(_typed(console), "stdin")
        return lambda: next(lines, None)
    with contextlib.suppress(ImportError):  # Windows' terminals edit lines themselves.
        import readline  # noqa: F401 - input() uses it
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # Whatever the locale.
    # If stdout is no terminal, it carries the product alone.
    beside = not console.stdout_is_terminal and console.stderr_is_terminal

    def ask() -> str | None:
        while True:
            try:
                if beside:
                    print("> ", end="", file=console.stderr, flush=True)
                return input("" if beside else "> ")
            except EOFError:
                console.say("")
                return None
            except KeyboardInterrupt:
                console.say("")

    return ask


def _typed(console: Console) -> Iterator[bytes]:
    """The lines of stdin as they come, the last piece of each with its newline; Ctrl-C ends a text, not the wait for a line."""
    while True:
        try:
            block = sources.stdin_block()
        except KeyboardInterrupt:
            console.say("")
            continue
        if not block:
            return
        # In pieces, so that the lines before one that can't be decoded are answered.
        yield from block.splitlines(keepends=True)
