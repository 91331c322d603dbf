"""A conversation with a network: each line of stdin is continued, after everything that went before."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn import CharrnnError, UsageError
from charrnn.config import temperatures
from charrnn.generation.streaming import Generation, Start, Stream
from charrnn.output.console import Console
from charrnn.output.sampled import Output, Shown, interruptible
from charrnn.text.given import unescaped

if TYPE_CHECKING:
    from charrnn.text.corpus import Corpus

COMMANDS = "/temp X, /reset, /save FILE, /quit; a line that begins with // begins with /"


def converse(generation: Generation, console: Console, shown: Shown, corpus: Corpus | None) -> None:
    """Continue each line of stdin until stdin ends; Ctrl-C stops only the current text. `sampled.check` gives ``corpus``."""
    ask = _asker(console)
    console.say(f"charrnn: type what to go on from, or nothing; {COMMANDS}; Ctrl-C stops a text, Ctrl-D ends")
    place = generation.beginning()
    if generation.prompts[0]:
        place = generation.read(place, generation.prompts[0])
    output = Output(generation, console, replace(shown, separator="", echo=False), corpus)
    while (line := ask()) is not None:
        try:
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
        first, last = temperatures("/temp", value.strip())
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


def _asker(console: Console) -> Callable[[], str | None]:
    """A function that gives the next line of stdin, None at its end; on a terminal with a prompt, line editing and history."""
    if sys.stdin is None:
        raise CharrnnError("stdin is closed; there is nobody to talk with")
    terminal = sys.stdin.isatty()
    if terminal:
        with contextlib.suppress(ImportError):  # Windows' terminals edit lines themselves.
            import readline  # noqa: F401 - input() uses it
    # If stdout is no terminal, it carries the product alone.
    beside = terminal and not console.stdout_is_terminal and console.stderr_is_terminal

    def ask() -> str | None:
        while True:
            try:
                if beside:
                    print("> ", end="", file=console.stderr, flush=True)
                return input("> " if terminal and not beside else "")
            except EOFError:
                if terminal:
                    console.say("")
                return None
            except KeyboardInterrupt:
                console.say("")
            except UnicodeDecodeError as error:
                raise CharrnnError(f"stdin: byte {error.start} is not valid UTF-8 text") from error

    return ask
