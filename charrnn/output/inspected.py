"""What `charrnn inspect` shows of networks: the text it reads, tables, coloured text, pictures, pages, memory curves."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from charrnn import CharrnnError, UsageError, files
from charrnn.analysis import traces
from charrnn.analysis.judge import Judge
from charrnn.analysis.traces import Inspection, Values
from charrnn.config import InspectConfig, TextConfig
from charrnn.declaration import option_name
from charrnn.network import ensemble, lookup
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.lookup import labels
from charrnn.output import charts, colored, notation, tables, traced
from charrnn.output.console import Console
from charrnn.output.notation import json_line
from charrnn.output.progress import Progress
from charrnn.text import given
from charrnn.text.decoding import Encoding
from charrnn.text.given import GivenText
from charrnn.text.reading import TextReader
from charrnn.text.sources import STDIN

if TYPE_CHECKING:
    from charrnn.analysis.reach import ContributionRecord, MemoryRecord


@dataclass(frozen=True)
class InspectRequest:
    """What the user gave: what to read, and what to make of it; `UsageError` for what excludes each other."""

    text: str | None = None
    file: Path | None = None
    units_only: bool = False
    unit: str | None = None
    config: InspectConfig = field(default_factory=InspectConfig)
    memory: bool = False
    contribution: str | None = None
    keep_newline: bool = False
    svg: Path | None = None
    html: Path | None = None
    npz: Path | None = None
    as_json: bool = False
    judge: Judge | None = None
    """A classifier whose word on the text stands on the page."""

    def __post_init__(self) -> None:
        if self.text is not None and self.file is not None:
            raise UsageError("TEXT or --file: give one, not both")
        if self.unit is not None and self.config.color is not None:
            raise UsageError("--unit or --color: give one, not both")
        if self.units_only and self.colored_by and self.svg is None:
            raise UsageError("--units or what colours the text: give one, not both")
        if self.looks_back and (self.units_only or self.colored_by):
            raise UsageError("--memory and --contribution go with --html, --svg, --npz and --json; leave out what shows units")
        alone = self.contribution is not None and not self.memory and self.compares
        if alone and (self.text is not None or self.file is not None):
            raise UsageError("--contribution has a TEXT of its own; another is for --memory, --html or --npz: leave it out")
        if len({path.absolute() for path in self.files.values()}) < len(self.files):
            raise UsageError("--svg, --npz or --html: give each a file of its own")
        for kind, path in self.files.items():
            files.check_name(f"--{kind}", path)

    @property
    def looks_back(self) -> bool:
        """Whether it asks how far back a network remembers."""
        return self.memory or self.contribution is not None

    @property
    def compares(self) -> bool:
        """Whether several networks can be shown side by side."""
        return self.looks_back and self.html is None and self.npz is None

    @property
    def mixes(self) -> bool:
        """Whether several networks can be shown as their mean."""
        return self.config.color is not None and not (self.as_json or self.npz or self.html)

    @property
    def files(self) -> dict[str, Path]:
        """The files that were asked for, by their options."""
        asked = {"svg": self.svg, "npz": self.npz, "html": self.html}
        return {kind: path for kind, path in asked.items() if path is not None}

    @property
    def colored_by(self) -> str | None:
        """What colours the text: a unit's name or one of `InspectConfig`'s words."""
        return self.unit or self.config.color

    def colored(self, unit: str, trained: Checkpoint) -> str:
        """The command that colours this text by a ``unit`` of this network."""
        words = ["charrnn", "inspect", "--unit", unit, "-c", str(lookup.named(trained.path))]
        if self.file is not None:
            words += ["--file", str(self.file)]
        for one in fields(TextConfig):
            if (value := getattr(self.config, one.name)) != one.default:
                words += [option_name(one.name), value]
        if self.text is not None:
            words += ["--", self.text] if self.text.startswith("-") and self.text != STDIN else [self.text]
        return shlex.join(words)

    def read(self, console: Console) -> GivenText:
        """The text, to be read as each network needs it."""
        reader = TextReader(encoding=Encoding(self.config.encoding, self.config.errors, self.config.field), warn=console.warn)
        if self.text is None and self.file is None and self.contribution is None:
            given.tell_of_stdin("charrnn inspect -", console.say)
        for text, option in ((self.text, "--file"), (self.contribution, "--contribution - <")):
            given.tell_of_file(text or "", f"charrnn inspect {option}", console.warn)
        return GivenText(self.text, self.file, "the text to inspect", reader, keep_newline=self.keep_newline)


@dataclass(frozen=True)
class Memory:
    """How far back networks remember and what their final states hold of a text, as plain JSON values."""

    curves: Sequence[MemoryRecord] = ()
    measured_on: str = ""
    """On which text the curves were measured, if that isn't plain."""
    contributions: Sequence[ContributionRecord] = ()


def show(request: InspectRequest, networks: Sequence[Checkpoint], console: Console) -> None:
    """Make all that was asked for, each output with all that it can hold; the states are those of the first network."""
    if request.unit is not None:
        traces.unit_of(request.unit, networks[0].model)
    for path in request.files.values():
        files.check_made(path, "inspect")
    text = request.read(console)
    with np.errstate(over="ignore", invalid="ignore"), Progress(console) as progress:
        memory = of_memory(request, text, networks, console, progress) if request.looks_back else Memory()
        if len(networks) > 1 and request.mixes:
            of_mean(request, text, networks, console, progress)
        elif not request.compares:
            of_states(request, text, networks[0], console, progress, memory)


def of_states(
    request: InspectRequest, text: GivenText, trained: Checkpoint, console: Console, progress: Progress, memory: Memory
) -> None:
    """Show what the network's states do over a text; the page and the archive hold its ``memory``, too."""
    as_tables = request.units_only or not (request.as_json or request.colored_by or request.files)
    network = ensemble.as_trained(trained)
    searched = as_tables or request.as_json or request.html is not None
    progress("reading the text")
    # How the text is read was told when the memory was measured.
    read = _text(text, trained, network, None if request.memory else console)
    found = traces.inspect(trained, network, read, search=searched, tell=progress)
    on_page = memory
    if request.html is not None and not memory.curves:
        from charrnn.analysis import reach

        (label,) = labels([trained.path])
        progress(f"measuring how far back {label} remembers")
        on_page = Memory(*reach.of_inspection(found, label), memory.contributions)
    for kind, path in request.files.items():
        if kind != "svg" or not request.looks_back:
            progress(f"making {path}")
            data = _rendered(kind, found, request, on_page if kind == "html" else memory)
            console.made(path, data, "inspect", kind=kind)
    progress.pause()
    if request.as_json:
        console.product(json_line(found.to_json()))
    elif as_tables:
        _show_tables(console, found, request, trained)
    elif request.colored_by and request.svg is None:
        _show_colored(console, found.shown, found.values(request.colored_by))


def of_mean(
    request: InspectRequest, text: GivenText, networks: Sequence[Checkpoint], console: Console, progress: Progress
) -> None:
    """Show a text coloured by what the mean of several networks foresees."""
    color, network = request.config.color or "surprise", ensemble.TracedEnsemble([*map(ensemble.as_trained, networks)])
    progress("reading the text")
    read = _text(text, networks[0], network, console)
    values = traces.Values(traces.mixed(network, read, color, progress).tolist(), traces.COLORS[color], None)
    characters = read.characters[: len(values.numbers)]
    progress.pause()
    if request.svg is not None:
        console.made(request.svg, colored.text_svg(characters, values).encode(), "inspect", kind="svg")
    else:
        _show_colored(console, characters, values)


def of_memory(
    request: InspectRequest, text: GivenText, networks: Sequence[Checkpoint], console: Console, progress: Progress
) -> Memory:
    """Show how far back the networks remember and what their final states hold."""
    from charrnn.analysis import reach

    probe = GivenText(request.contribution, None, "--contribution", text.reader, keep_newline=request.keep_newline)
    generated = None
    whole = text.at(networks[0].vocabulary.level)
    if request.memory and whole == "":
        raise CharrnnError(f"{text.name}: empty; leave it out to read {reach.GENERATED:,} generated characters")
    if request.memory and whole is None:
        console.say(f"charrnn: no text given; reading {reach.GENERATED:,} characters that the first network generates")
        progress(f"generating {reach.GENERATED:,} characters")
        generated = reach.generated(networks[0])
    curves, contributions = [], []
    for trained, label in zip(networks, labels([trained.path for trained in networks]), strict=True):
        known = functools.partial(_known, trained=trained, console=console)
        level = trained.vocabulary.level
        if request.memory:
            progress(f"measuring how far back {label} remembers")
            curves.append(reach.remembered(trained, known(generated or text.at(level) or "")).to_json(label))
        if request.contribution is not None:
            progress(f"measuring what the final state of {label} holds")
            contributions.append(reach.contributed(trained, known(probe.at(level) or ""), label))
    progress.pause()
    if request.svg is not None:
        console.made(request.svg, charts.memory_svg(curves, contributions).encode(), "inspect", kind="svg")
    if request.as_json:
        console.product("".join(map(json_line, [*curves, *contributions])))
    elif not any(map(files.is_stdout, request.files.values())):
        for picture in (charts.drawn if console.stdout_is_terminal else charts.listed)(curves, contributions):
            console.table(picture)
    return Memory(curves, "", contributions)


def _text(text: GivenText, trained: Checkpoint, network: ensemble.Predictor, console: Console | None) -> traces.Text:
    """The text as the network reads it, or one that it generates; the ``console`` tells how it differs."""
    characters = text.at(trained.vocabulary.level)
    if characters is None:
        return traces.generated(trained, network)
    read = traces.given(characters, trained, network, text.name)
    if console is not None:
        _tell(read.characters, read.mapped, trained, console)
    return read


def _known(text: str, trained: Checkpoint, console: Console) -> str:
    """``text`` in the form that the network knows; the console tells how it differs, and what is unknown."""
    characters, mapped = trained.vocabulary.canonical(text)
    _tell(characters, mapped, trained, console)
    return characters


def _tell(text: str, mapped: int, trained: Checkpoint, console: Console) -> None:
    if mapped:
        console.say(f"charrnn: {notation.mapped_sentence(mapped)}")
    if strangers := trained.vocabulary.strangers(text):
        unknown = sum(character in strangers for character in text)
        console.warn(notation.unknown_sentence(unknown, strangers))


def _rendered(kind: str, found: Inspection, request: InspectRequest, memory: Memory) -> bytes:
    if kind == "npz":
        asked = {"memory": [*memory.curves], "contribution": [*memory.contributions]}
        return found.npz(**{name: values for name, values in asked.items() if values})
    if kind == "html":
        from charrnn.output import page

        history = traces.history(found.trained.path)
        mind = None if request.judge is None else traced.beginning(request.judge, found.shown)
        return page.render(found, history, memory.curves, memory.contributions, mind, memory.measured_on).encode(
            "utf-8", "replace"
        )
    return colored.text_svg(found.shown, found.values(request.colored_by or "surprise")).encode()


def _show_tables(console: Console, found: Inspection, request: InspectRequest, trained: Checkpoint) -> None:
    framed = console.stdout_is_terminal
    console.say(f"charrnn: {traces.sentence(found)}")
    findings = [finding.to_json() for finding in found.findings]
    if not request.units_only:
        layers = [layer.summary() for layer in found.layers]
        console.table(tables.layer_table(layers, framed=framed))
        if layers[0]["gates"]:
            console.product("\n")
            console.table(tables.gate_table(layers, framed=framed))
        findings = [finding for finding in findings if finding["real"]]
        console.product("\n")
    if findings:
        console.table(tables.finding_table(findings, framed=framed))
    else:
        console.say("charrnn: no unit follows a feature of this text better than chance; a longer text may show more")
    if real := [finding.name for finding in found.findings if finding.real]:
        console.say(f"charrnn: the text coloured by such a unit: {request.colored(real[0], trained)}")


def _show_colored(console: Console, text: str, values: Values) -> None:
    """On a terminal the coloured text; in a pipe, or without colours, a line each: the character as JSON, a tab, its number."""
    if console.paints:
        console.say(f"charrnn: coloured by {values.name}, {colored.scale_in_words(values)}")
        console.table(colored.painted(text, values), asked=True)
    else:
        share = f", as a share of {values.largest:.3g}" if values.largest not in (None, 1) else ""
        console.say(f"charrnn: a number for each character: {values.name}{share}")
        pairs = zip(text, values.numbers, strict=True)
        console.product("".join(f"{json.dumps(character, ensure_ascii=False)}\t{value:.6g}\n" for character, value in pairs))
