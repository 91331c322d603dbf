"""Samples on their way out: as they come, in colour, as JSON, or into files."""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn import CharrnnError, UsageError, files
from charrnn.generation import bookmark
from charrnn.generation.listing import Census, Listing, trained_on
from charrnn.generation.streaming import PIECE, Generation, Sample, Stream
from charrnn.network.checkpoint import setting_of
from charrnn.network.ensemble import Ensemble
from charrnn.output import notation
from charrnn.output.console import Console
from charrnn.output.notation import json_line, visible
from charrnn.output.palette import SURPRISE_LEGEND, surprise_style
from charrnn.output.progress import Progress, reading
from charrnn.text import rows, sources

if TYPE_CHECKING:
    from charrnn.generation.together import Steps
    from charrnn.text.corpus import Corpus, Tell

CHUNK = 256
"""How many samples are compared with a corpus at once."""
FLUSH_SECONDS = 0.1
"""How long text may wait in the buffer while a slow network writes into a pipe."""


@dataclass(frozen=True)
class Shown:
    """Where the samples go, and in which form."""

    as_json: bool = False
    echo: bool = True
    raw: bool = False
    separator: str | None = None
    out_dir: Path | None = None
    copied_from: str | None = None
    save_state: Path | None = None
    adapted_to: str | None = None

    def beside(self, generation: Generation) -> list[str]:
        """The texts that are read beside prompts."""
        return [*generation.request.not_in, *filter(None, [self.copied_from, self.adapted_to])]


# -- before anything is drawn -----------------------------------------------------------------------------------------


def check(shown: Shown, generation: Generation, console: Console, *, interactive: bool) -> Compared:
    """What to compare the samples with.

    `UsageError` for options that exclude each other; `CharrnnError` if a file is in the way or the corpus can't be read.
    """
    _check_options(shown, generation, interactive=interactive)
    learned = setting_of(generation.trained.training, "field")
    rows.tell_of_field(shown.beside(generation), generation.config.field, learned, console.warn)
    if shown.save_state is not None:
        bookmark.check_place(shown.save_state)
    if shown.out_dir is not None:
        with files.guard(shown.out_dir):
            if shown.out_dir.exists() and not shown.out_dir.is_dir():
                raise CharrnnError(f"{shown.out_dir}: is no directory; choose another --out-dir")
        files.check_takes_files(shown.out_dir, "choose another --out-dir")
        # A look at the files that exist, because there may be millions to come.
        names = _FileNames(generation.count)
        for path in sorted(shown.out_dir.glob("*.txt")):
            if path.name in names:
                files.check_replaceable(path, "already there; choose another --out-dir, or remove it")
    with Progress(console, typed=sources.typed([shown.copied_from or ""])) as progress:
        learned = "reading the list" if generation.records else ""
        progress(f"reading {sources.shown(shown.copied_from)}" if shown.copied_from is not None else learned)
        corpus = _corpus(shown, generation, console, reading(progress), interactive=interactive)
        return Compared(corpus, None if interactive else _census(shown, generation))


@dataclass(frozen=True)
class Compared:
    """What samples are compared with: a ``corpus`` of which they may copy runs, and a ``census`` of their lines."""

    corpus: Corpus | None = None
    census: Census | None = None


def _corpus(shown: Shown, generation: Generation, console: Console, tell: Tell, *, interactive: bool) -> Corpus | None:
    if shown.copied_from is None or (generation.records and generation.one_line and not interactive):
        return None
    from charrnn.text.cache import Cache
    from charrnn.text.corpus import read_corpus

    # What the network can't write otherwise, it may have copied all the same.
    vocabulary = generation.vocabulary
    reader = replace(generation.reader_of([shown.copied_from]), known_form=vocabulary.normalizer)
    cache = Cache.of_user(console.warn)
    return read_corpus([shown.copied_from], reader, vocabulary=vocabulary, cache=cache, tell=tell)


def _census(shown: Shown, generation: Generation) -> Census | None:
    """What counts the lines, where somebody wants to know: in the texts that were named or, of records, in that of training."""
    copied_from, records = shown.copied_from, generation.records
    if not generation.one_line or not (shown.as_json or (records and copied_from is not None)):
        return None
    lists = [refused] if (refused := generation.picker.refused) is not None else []
    if copied_from is not None and (records or sources.readable_again(copied_from)):
        lists.append(Listing.read([copied_from], generation.reader_of([copied_from]), generation.vocabulary))
    if records and not lists and (learned := trained_on(generation.trained)) is not None:
        lists.append(learned)
    return Census(lists)


def _check_options(shown: Shown, generation: Generation, *, interactive: bool) -> None:
    files.check_name("--save-state", shown.save_state, "keeps the place in a file, which stdout is not; name one")
    files.check_name("--out-dir", shown.out_dir, "writes files of their own, which stdout is not; name a directory")
    if generation.config.field is not None and generation.request.encoding_of(shown.beside(generation)).field is None:
        tables = f"--field reads a field of {rows.FILES}"
        raise UsageError(f"{tables}; name one by --copied-from, --not-in or --adapt-to, or leave it out")
    config, many = generation.config, generation.count * generation.config.best_of > 1
    on_device = config.device != "cpu"
    picks = _first_given({"--unique": generation.request.unique, "--not-in": generation.request.not_in})
    waiting = {
        "--num-samples": many,
        "--json": shown.as_json,
        "--out-dir": shown.out_dir,
        "--copied-from": shown.copied_from,
        "--device": on_device,
    }
    generation.check_ends(_first_given(waiting))
    if interactive:
        unfit = {
            "--prompts": generation.request.prompts,
            "--num-samples or --best-of": many,
            "--json": shown.as_json,
            "--out-dir": shown.out_dir,
            "--save-state (there is /save)": shown.save_state,
            "--device": on_device,
            "--unique or --not-in": picks,
        }
        if given := _first_given(unfit):
            raise UsageError(f"--interactive is a conversation; leave out {given}")
    generation.check_lines()
    if many and shown.save_state is not None:
        raise UsageError("--save-state keeps the place in one text; ask for one sample")
    if on_device and shown.save_state is not None:
        raise UsageError("--save-state works with --device cpu only")
    if picks and shown.save_state is not None:
        raise UsageError(f"--save-state keeps the place in the text that is drawn; not with {picks}, which may drop it")
    if config.color != "never" and (config.best_of > 1 or on_device or picks):
        raise UsageError("--color shows a text while it is drawn; not with --best-of, --device, --unique or --not-in")
    if generation.request.clamp and on_device:
        raise UsageError("--clamp works with --device cpu only")


def _first_given(options: Mapping[str, object]) -> str | None:
    return next((option for option, value in options.items() if value), None)


# -- the way out ------------------------------------------------------------------------------------------------------


def show(generation: Generation, console: Console, shown: Shown, compared: Compared) -> None:
    """Draw everything that was asked for and put it where it belongs; ``compared`` comes from `check`.

    Raises:
        CharrnnError: of the lines that were asked for not all were found.
    """
    output, device = Output(generation, console, shown, compared), _device(generation)
    live = device is None and (output.colored or generation.alone)
    # A text that comes as it is drawn tells by itself how far it is.
    waited_for = not live or shown.as_json or shown.out_dir is not None or console.stdout_is_kept
    with Progress(console, wanted=waited_for) as progress:
        progress("drawing", lambda: output.so_far)
        if live:
            if output.colored:
                console.say(f"charrnn: bits per character: {SURPRISE_LEGEND}")
            for index in range(generation.count):
                _show_live(generation.stream(index, kept=shown.save_state is not None), generation, output, shown.save_state)
        else:
            from charrnn.generation import batches  # One stream starts sooner without them.

            samples = batches.samples(generation, device)
            while chunk := list(itertools.islice(samples, CHUNK if compared.corpus is not None else 1)):
                with progress.paused():
                    output.finished(chunk)
    output.tell()


def _device(generation: Generation) -> Steps | None:
    """The network on the device that ``--device`` names; None for the CPU."""
    if generation.config.device == "cpu":
        return None
    from charrnn.training.torch_stepper import TorchNetwork

    common, device = generation.drawing.calibration, generation.config.device
    members = [
        TorchNetwork(one.model, one.weights, device, one.temperature / common, one.newline) for one in generation.networks
    ]
    return members[0] if len(members) == 1 else Ensemble(members)


def _show_live(stream: Stream, generation: Generation, output: Output, save_state: Path | None) -> None:
    """Write ``stream`` as it comes; with ``save_state``, save where it stopped, even if Ctrl-C stopped it."""
    if save_state is None:
        output.live(stream)
        return
    with interruptible(stream):
        sample = output.live(stream)
    generation.save(save_state, stream.rest())
    if sample.reason == "interrupted":
        raise KeyboardInterrupt


@contextlib.contextmanager
def interruptible(stream: Stream) -> Iterator[None]:
    """Let Ctrl-C end the text between two characters, where its state is whole; a second one ends the program."""

    def handle(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stream.interrupt()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


class Output:
    """Where samples go, one after another; ``colored`` tells whether they show their bits in colour."""

    def __init__(self, generation: Generation, console: Console, shown: Shown, compared: Compared) -> None:
        self._generation, self._console, self._shown = generation, console, shown
        self._corpus, self._census = compared.corpus, compared.census
        as_text = not shown.as_json and shown.out_dir is None
        self.colored = generation.config.color != "never" and console.paints and as_text
        self._plain = shown.raw or not console.stdout_is_terminal
        self._separator = shown.separator if shown.separator is not None else "" if generation.config.lines == 1 else "\n"
        self._first = True
        self._blank: bool | None = None
        self._finished = self._characters = self._cut = 0
        self._names = _FileNames(generation.count)
        self._flushed = time.monotonic()

    @property
    def so_far(self) -> str:
        """How much has been drawn."""
        if self._generation.count > 1:
            return f"{self._finished:,} of {self._generation.count:,} texts"
        return f"{self._characters:,} characters" if self._characters else ""

    def _counted(self, pieces: Iterator[str]) -> Iterator[str]:
        for piece in pieces:
            self._characters += len(piece)
            yield piece

    def live(self, stream: Stream) -> Sample:
        """Write a sample as it comes, or when it is finished if it goes into JSON or a file."""
        shown = self._shown
        if shown.as_json or shown.out_dir is not None:
            sample = stream.sample("".join(self._counted(stream.pieces(PIECE))))
            self.finished([sample])
            return sample
        kept: list[str] | None = None if self._corpus is None and self._census is None else []
        self._separate()
        last = self._write(stream.prompt if shown.echo else "")
        piecewise = self._counted(stream.pieces(1 if self._console.stdout_is_terminal else PIECE))
        pieces = _colors(stream.measured(), self._plain) if self.colored else piecewise
        try:
            for piece in pieces:
                if kept is not None:
                    kept.append(piece)
                last = self._write(piece, plain=self.colored) or last
        finally:
            if self.colored:
                self._write("\x1b[0m", plain=True)
        self._end(last)
        sample = stream.sample("")
        self._count([sample])
        if kept is not None:
            self._report([replace(sample, text="".join(kept))])
        return sample

    def finished(self, samples: list[Sample]) -> None:
        """Write finished samples."""
        shown, records = self._shown, self._report(samples)
        self._count(samples)
        for sample, copied in zip(samples, records, strict=True):
            text = (sample.prompt if shown.echo else "") + sample.text
            record = sample.to_json(self._generation.seed) | copied | notation.networks_record(self._generation.networks)
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

    def _count(self, samples: list[Sample]) -> None:
        self._finished += len(samples)
        self._cut += sum(sample.reason == "length" for sample in samples)

    def _separate(self) -> None:
        if not self._first:
            self._write(self._separator)
        self._first = False

    def _write(self, text: str, *, plain: bool = False) -> str:
        """Write ``text``, control characters as symbols unless ``plain``; gives ``text`` back."""
        if text:
            self._blank = self._blank is not False and text.isspace()
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

    def tell(self) -> None:
        """Say at the end why the likeliest text is a blank one, how many lines are in the list, what was dropped, and how many
        records are no whole ones.

        Raises:
            CharrnnError: of the lines that were asked for not all were found.
        """
        config = self._generation.config
        if self._blank and config.temperature == 0 and not config.temperature_end:
            self._console.say(f"charrnn: {notation.BLANK}")
        if (census := self._census) is not None and self._shown.copied_from is not None and self._generation.records:
            self._console.say(
                f"charrnn: {notation.census_sentence(census.count, census.known, census.repeated, self._shown.copied_from)}"
            )
        limit = config.limit
        if self._cut and limit is not None and self._generation.records and self._generation.one_line:
            self._console.say(f"charrnn: {notation.cut_sentence(self._cut, self._finished, limit)}")
        if self._generation.request.picks:
            picker, names = self._generation.picker, self._generation.request.not_in
            self._console.say(f"charrnn: {notation.dropped_sentence(picker.kept, picker.repeated, picker.listed, names)}")
            if picker.shortfall:
                raise CharrnnError(picker.shortfall)

    def _report(self, samples: list[Sample]) -> list[dict[str, Any]]:
        """What each sample copies, for its record; stderr hears of the longest run."""
        told: list[dict[str, Any]] = [{} if self._census is None else self._census.add(sample.line) for sample in samples]
        return (
            told
            if self._corpus is None
            else [one | two for one, two in zip(told, self._copied(samples, self._corpus), strict=True)]
        )

    def _copied(self, samples: list[Sample], corpus: Corpus) -> Iterator[dict[str, Any]]:
        from charrnn.generation.copied import LONG, copied

        found = copied([corpus.vocabulary.encode(sample.text) for sample in samples], corpus.ids)
        for sample, run in zip(samples, found, strict=True):
            units = sample.text.encode("utf-8") if corpus.vocabulary.level == "byte" else sample.text
            part = units[run.start : run.start + run.longest]
            text = part.decode("utf-8", "replace") if isinstance(part, bytes) else part
            which = f"sample {sample.index}: " if self._generation.count > 1 else ""
            self._console.say(
                f"charrnn: {which}the longest run copied from {self._shown.copied_from} has {run.longest} characters,"
                f" {text!r:.120}; {run.share:.1%} of the text is in runs of {LONG} or more"
            )
            yield {"copied": {"longest": run.longest, "text": text, "share": run.share}}


class _FileNames:
    """The names of the files of ``count`` samples, as 007.txt."""

    def __init__(self, count: int) -> None:
        self._count, self._width = count, len(str(count - 1))

    def __getitem__(self, index: int) -> str:
        return f"{index:0{self._width}}.txt"

    def __contains__(self, name: str) -> bool:
        number = name.removesuffix(".txt")
        return number.isdecimal() and number.isascii() and int(number) < self._count and self[int(number)] == name


def _colors(pieces: Iterator[tuple[str, float]], raw: bool) -> Iterator[str]:
    """The pieces with terminal colours for their bits; the last colour stays switched on."""
    style = ""
    for piece, bits in pieces:
        now = surprise_style(bits)
        yield (f"\x1b[{now}m" if now != style else "") + (piece if raw else visible(piece))
        style = now
