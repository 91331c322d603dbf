"""What `charrnn export` makes of networks: the measurements that a page tells of, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from charrnn import CharrnnError, UsageError, files
from charrnn.analysis import features, reach, rounding, traces
from charrnn.config import ReadConfig
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint, records_of
from charrnn.network.rundir import labels
from charrnn.output import notation
from charrnn.output.console import Console
from charrnn.output.page import export
from charrnn.output.page.export import Shown
from charrnn.output.progress import Progress
from charrnn.text.decoding import Encoding
from charrnn.text.given import GivenText
from charrnn.text.reading import TextReader

SEARCHED = 6000
"""Characters in which units that follow something are looked for: this network and five random ones read them."""
LARGE = 2_500_000
"""Bytes of a page; a larger one is told of."""


@dataclass(frozen=True)
class ExportRequest:
    """What the user gave: where the page goes, and on which text the networks are measured."""

    page: Path
    file: Path | None = None
    config: ReadConfig = field(default_factory=ReadConfig)

    def __post_init__(self) -> None:
        if self.page == Path("-"):
            raise UsageError("PAGE calls stdout /dev/stdout, not -")


def show(request: ExportRequest, networks: Sequence[Checkpoint], console: Console) -> None:
    """Measure the networks, and write their page."""
    if len(networks) > export.MOST:
        raise UsageError(f"a page shows {export.MOST} networks side by side at most, not {len(networks)}")
    traces.check_place(request.page)
    reader = TextReader(encoding=Encoding(request.config.encoding, request.config.errors), warn=console.warn)
    text = GivenText(None, request.file, "--file", reader, keep_newline=True)
    with np.errstate(over="ignore", invalid="ignore"), Progress(console) as progress:
        names = labels([trained.path for trained in networks])
        shown = [measured(trained, name, text, console, progress) for trained, name in zip(networks, names, strict=True)]
        progress(f"making {request.page}")
        data = export.render(shown).encode("utf-8", "replace")
        progress.pause()
    if files.is_stdout(request.page):
        console.bytes(data)
        return
    traces.write(request.page, data, by="export")
    console.say(f"charrnn: wrote {request.page} ({len(data) / 1e6:.1f} MB); open it in a browser")
    if len(data) > LARGE:
        console.warn(
            f"{request.page}: so large a page opens and writes slowly on a phone; a smaller network makes a smaller one"
        )


def measured(trained: Checkpoint, name: str, text: GivenText, console: Console, progress: Progress) -> Shown:
    """A network with what its page tells of it, measured on the end of ``text`` or of what it generates itself."""
    trained = _calibrated(trained)
    vocabulary, records = trained.vocabulary, records_of(trained.training) is not None
    given = text.at(vocabulary.level)
    if given is None:
        progress(f"{name}: generating {reach.GENERATED:,} characters")
        given, read = reach.generated(trained), "its own text"
    else:
        read = text.name
    characters, _ = vocabulary.canonical(given)
    if strangers := vocabulary.strangers(characters):
        console.warn(notation.unknown_sentence(sum(character in strangers for character in characters), strangers))
    ids = vocabulary.encode(characters)
    # A byte's character is for features of texts in a Western encoding; others follow nothing that has a name here.
    if vocabulary.level == "byte":
        characters = ids.tobytes().decode("latin-1")
    ids, characters = ids[-reach.CHARACTERS :], characters[-reach.CHARACTERS :]
    if len(ids) == 0:
        raise CharrnnError(f"{text.name}: empty; name a text of at least {2 * reach.LAGS + 2} characters")
    progress(f"{name}: measuring what fewer bits cost")
    kept = rounding.choose(trained, rounding.streams_of(ids, trained, records=records))
    memory, findings = None, []
    if not records:
        network = Network(trained.model, trained.weights)
        progress(f"{name}: measuring how far back it remembers")
        memory = reach.measure(network, ids).to_json(name)
        progress(f"{name}: looking for units that follow the text")
        findings = features.find(network, ids[-SEARCHED:], characters[-SEARCHED:])
    return Shown(trained, name, kept, memory, findings, read)


def _calibrated(trained: Checkpoint) -> Checkpoint:
    """The same network with its calibration in the weights of its head, so that a page need not know of it."""
    head = {name: trained.weights[name] / np.float32(trained.temperature) for name in ("head.weight", "head.bias")}
    return replace(trained, weights={**trained.weights, **head}, temperature=1.0)
