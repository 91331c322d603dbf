"""Samples on their way out: as they come, as JSON, into files, in colour, or in a conversation."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn import CharrnnError, UsageError, bookmark, escapes, files
from charrnn.config import temperatures
from charrnn.console import Console
from charrnn.notation import SURPRISE_LEGEND, json_line, surprise_style, visible
from charrnn.samples import PIECE, Generation, Sample, Start, Stream

if TYPE_CHECKING:
    from charrnn.corpus import Corpus

CHUNK = 256
"""So many samples are compared with a corpus at once."""
FLUSH_SECONDS = 0.1
"""Whoever reads a pipe waits this much longer for a slow network's text at most."""


@dataclass(frozen=True)
class Shown:
    """What becomes of the samples."""

    as_json: bool = False
    echo: bool = True
    raw: bool = False
    separator: str | None = None
    out_dir: Path | None = None
    copied_from: str | None = None
    save_state: Path | None = None


def check(shown: Shown, generation: Generation, *, interactive: bool) -> Corpus | None:
    """`UsageError` for what can't be done together; `CharrnnError` if a file is in the way.

    Gives what the samples are compared with, if they are.
    """
    config, many = generation.config, generation.count * generation.config.best_of > 1
    if config.limit is None and generation.ending.lines is None and not generation.stops:
        collected = {
            "--num-samples": many,
            "--json": shown.as_json,
            "--out-dir": shown.out_dir,
            "--copied-from": shown.copied_from,
            "--device": config.device != "cpu",
        }
        if given := next((option for option, value in collected.items() if value), None):
            raise UsageError(f"--length -1 never ends and {given} waits for the end; give --stop, --lines or a length")
    if interactive:
        collected = {"--prompts": generation.asked.prompts, "--num-samples or --best-of": many, "--json": shown.as_json}
        collected |= {"--out-dir": shown.out_dir, "--save-state (there is /save)": shown.save_state}
        collected["--device"] = config.device != "cpu"
        if given := next((option for option, value in collected.items() if value), None):
            raise UsageError(f"--interactive is a conversation; it goes without {given}")
    if many and shown.save_state is not None:
        raise UsageError("--save-state keeps the place in one text; ask for one sample")
    if config.device != "cpu" and shown.save_state is not None:
        raise UsageError("--save-state works with --device cpu only")
    if config.color != "never" and (config.best_of > 1 or config.device != "cpu"):
        raise UsageError("--color shows a text while it is drawn; not with --best-of or --device")
    if generation.asked.clamp and config.device != "cpu":
        raise UsageError("--clamp works with --device cpu only")
    if shown.save_state is not None:
        bookmark.check_place(shown.save_state)
    if shown.out_dir is not None:
        # Looked for in what is there, because there may be millions to come.
        names = _Names(generation.count)
        for path in sorted(shown.out_dir.glob("*.txt")):
            if path.name in names:
                files.check_replaceable(path, "already there; choose another --out-dir, or remove it")
    if shown.copied_from is None:
        return None
    from charrnn.corpus import read_corpus

    return read_corpus([shown.copied_from], level=generation.vocabulary.level, advice="save a copy of it as UTF-8")


def show(generation: Generation, console: Console, shown: Shown, corpus: Corpus | None) -> None:
    """Draw all that was asked for, and put it where it belongs; ``corpus`` is what `check` gave."""
    colored = generation.config.color != "never" and console.stdout_is_terminal and not (shown.as_json or shown.out_dir)
    put = _Output(generation, console, shown, corpus)
    if generation.config.device == "cpu" and (colored or generation.count * generation.config.best_of == 1):
        if colored:
            console.say(f"charrnn: bits per character: {SURPRISE_LEGEND}")
        for index in range(generation.count):
            stream = generation.stream(index, kept=shown.save_state is not None)
            with _interruptible(stream) if shown.save_state is not None else contextlib.nullcontext():
                finished = put.live(stream, colored=colored)
            if shown.save_state is not None:
                _save(shown.save_state, stream.rest(), generation)
            if finished.reason == "interrupted":
                raise KeyboardInterrupt
        return
    samples = generation.samples()
    while chunk := list(itertools.islice(samples, CHUNK if shown.copied_from else 1)):
        put.finished(chunk)


class _Output:
    """Where samples go, one after another."""

    def __init__(self, generation: Generation, console: Console, shown: Shown, corpus: Corpus | None) -> None:
        self._generation, self._console, self._shown, self._corpus = generation, console, shown, corpus
        self._plain = shown.raw or not console.stdout_is_terminal
        one_line = generation.config.lines == 1
        self._separator = shown.separator if shown.separator is not None else "" if one_line else "\n"
        self._first = True
        self._names = _Names(generation.count)
        self._flushed = time.monotonic()

    def live(self, stream: Stream, *, colored: bool) -> Sample:
        """Write a sample as it comes, if it goes to stdout as text."""
        shown = self._shown
        if shown.as_json or shown.out_dir is not None:
            sample = stream.sample("".join(stream.pieces(PIECE)))
            self.finished([sample])
            return sample
        prompt = stream.prompt if shown.echo else ""
        kept: list[str] | None = None if self._corpus is None else []
        self._separate()
        last = self._write(prompt)
        piecewise = stream.pieces(1 if self._console.stdout_is_terminal else PIECE)
        pieces = _colors(stream.measured(), self._plain) if colored else piecewise
        try:
            for piece in pieces:
                if kept is not None:
                    kept.append(piece)
                last = self._write(piece, plain=colored) or last
        finally:
            if colored:
                self._write("\x1b[0m", plain=True)
        self._end(last)
        sample = stream.sample("")
        if kept is not None:
            self._report([replace(sample, text="".join(kept))])
        return sample

    def finished(self, samples: list[Sample]) -> None:
        """Put finished samples out."""
        shown, records = self._shown, self._report(samples)
        for sample, copied in zip(samples, records, strict=True):
            text = (sample.prompt if shown.echo else "") + sample.text
            record = sample.to_json(self._generation.seed) | copied
            if shown.out_dir is not None:
                path = self._file(shown.out_dir / self._names[sample.index], text)
                record["path"] = str(path)
            if shown.as_json:
                self._put(json_line(record))
            elif shown.out_dir is not None:
                self._put(f"{path}\n")
            else:
                self._separate()
                self._end(self._write(text))

    def _separate(self) -> None:
        if not self._first:
            self._write(self._separator)
        self._first = False

    def _write(self, text: str, *, plain: bool = False) -> str:
        if text:
            self._put(text if plain or self._plain else visible(text))
        return text

    def _end(self, last: str) -> None:
        if not last.endswith("\n"):
            self._put("\n")

    def _put(self, text: str) -> None:
        due = (now := time.monotonic()) >= self._flushed + FLUSH_SECONDS
        self._flushed = now if due else self._flushed
        self._console.product(text, flush=due)

    def _file(self, path: Path, text: str) -> Path:
        with files.guard(path, "can't write"):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_whole(path, (text if text.endswith("\n") else text + "\n").encode("utf-8", "surrogateescape"))
        return path

    def _report(self, samples: list[Sample]) -> list[dict[str, Any]]:
        """What each sample copies from the corpus, for its record; the longest run is told."""
        if self._corpus is None:
            return [{}] * len(samples)
        from charrnn.copied import LONG, copied

        found = copied([self._corpus.vocabulary.encode(sample.text) for sample in samples], self._corpus.ids)
        records = []
        for sample, run in zip(samples, found, strict=True):
            units = sample.text.encode("utf-8") if self._corpus.vocabulary.level == "byte" else sample.text
            part = units[run.start : run.start + run.longest]
            text = part.decode("utf-8", "replace") if isinstance(part, bytes) else part
            records.append({"copied": {"longest": run.longest, "text": text, "share": run.share}})
            which = f"sample {sample.index}: " if self._generation.count > 1 else ""
            self._console.say(
                f"charrnn: {which}the longest run copied from {self._shown.copied_from} has {run.longest} characters,"
                f" {text!r:.120}; {run.share:.1%} of the text is in runs of {LONG} or more"
            )
        return records


class _Names:
    """The files of ``count`` samples: 007.txt."""

    def __init__(self, count: int) -> None:
        self._count, self._width = count, len(str(count - 1))

    def __getitem__(self, index: int) -> str:
        return f"{index:0{self._width}}.txt"

    def __contains__(self, name: str) -> bool:
        number = name.removesuffix(".txt")
        return number.isdecimal() and number.isascii() and int(number) < self._count and self[int(number)] == name


def _colors(pieces: Iterator[tuple[str, float]], raw: bool) -> Iterator[str]:
    """The pieces with terminal colours that tell their bits; the last one stays."""
    style = ""
    for piece, bits in pieces:
        now = surprise_style(bits)
        yield (f"\x1b[{now}m" if now != style else "") + (piece if raw else visible(piece))
        style = now


def _save(path: Path, place: Start, generation: Generation) -> None:
    mark = bookmark.Bookmark(
        place.state, place.logits, place.recent, place.pending, generation.seed, generation.first_index, place.drawn
    )
    bookmark.write(path, mark, generation.trained)


@contextlib.contextmanager
def _interruptible(stream: Stream) -> Iterator[None]:
    """Let Ctrl-C end the text between two characters, where its state is whole; a second one ends the program."""

    def handle(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stream.interrupt()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


# -- a conversation ---------------------------------------------------------------------------------------------------

COMMANDS = "/temp X, /reset, /save FILE, /quit; a line that begins with // begins with /"


def converse(generation: Generation, console: Console, shown: Shown, corpus: Corpus | None) -> None:
    """Go on from each line of stdin, and from all that went before, until its end; Ctrl-C stops the current text only."""
    ask = _asker(console)
    console.say(f"charrnn: type what to go on from, or nothing; {COMMANDS}; Ctrl-C stops a text, Ctrl-D ends")
    place = generation.beginning()
    if generation.prompts[0]:
        place = generation.read(place, generation.prompts[0])
    put = _Output(generation, console, replace(shown, separator="", echo=False), corpus)
    while (line := ask()) is not None:
        try:
            if line.startswith("/") and not line.startswith("//"):
                if line.split() == ["/quit"]:
                    return
                place = _obey(line, place, generation)
                continue
            text = line.removeprefix("/") if line.startswith("//") else line
            text = generation.known(escapes.decode(text, "stdin") if generation.asked.escapes else text)
        except CharrnnError as error:
            console.error(str(error))
            continue
        place = generation.read(place, text)
        stream = Stream(generation, 0, place, kept=True)
        with _interruptible(stream):
            put.live(stream, colored=generation.config.color != "never" and console.stdout_is_terminal)
        console.finish()
        place = stream.rest()


def _obey(line: str, place: Start, generation: Generation) -> Start:
    command, _, value = line.partition(" ")
    if command == "/temp" and value.strip():
        first, last = temperatures("/temp", value.strip())
        if last is not None and generation.config.limit is None:
            raise UsageError("/temp: texts without end have no end for the temperature to go to; give one number")
        generation.drawing |= {"temperature": first, "temperature_end": last}
    elif command == "/reset" and not value.strip():
        return generation.beginning()
    elif command == "/save" and value.strip():
        _save(Path(value.strip()), place, generation)
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
    # Where stdout is no terminal, it carries the product alone.
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
