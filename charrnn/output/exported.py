"""What `charrnn export` makes of networks: the measurements that a page tells of, and the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from charrnn import CharrnnError, UsageError, files
from charrnn.analysis import features, reach, rounding
from charrnn.analysis.judge import Judge
from charrnn.config import TextConfig
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint, records_of
from charrnn.network.classifier import Classifier
from charrnn.network.lookup import labels
from charrnn.output import classified, notation
from charrnn.output.console import Console
from charrnn.output.page import export, judged
from charrnn.output.page.export import Shown
from charrnn.output.progress import Progress
from charrnn.text.decoding import Encoding
from charrnn.text.given import GivenText
from charrnn.text.labelled import LabelledTexts
from charrnn.text.reading import TextReader

SEARCHED = 6000
"""Characters in which units that follow something are looked for: this network and five random ones read them."""
EXAMPLES = 6
"""Texts that the page of a classifier offers, at most."""
LARGE = 2_500_000
"""Bytes of a page; a larger one is told of."""


@dataclass(frozen=True)
class ExportRequest:
    """What the user gave: where the page goes, and on which text the networks are measured."""

    page: Path
    file: Path | None = None
    config: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        files.check_name("PAGE", self.page)


def show(request: ExportRequest, networks: Sequence[Checkpoint], console: Console) -> None:
    """Measure the networks, and write their page."""
    if len(networks) > export.MOST:
        raise UsageError(f"a page shows {export.MOST} networks side by side at most, not {len(networks)}")
    files.check_made(request.page, "export")
    reader = _reader(request, console)
    text = GivenText(None, request.file, "--file", reader, keep_newline=True)
    with np.errstate(over="ignore", invalid="ignore"), Progress(console) as progress:
        names = labels([trained.path for trained in networks])
        shown = [measured(trained, name, text, console, progress) for trained, name in zip(networks, names, strict=True)]
        progress(f"making {request.page}")
        data = export.render(shown).encode("utf-8", "replace")
        progress.pause()
    _written(request.page, data, console)


def show_classifier(request: ExportRequest, found: Classifier, console: Console) -> None:
    """Measure a classifier on the labelled texts that the request names, and write its page."""
    files.check_made(request.page, "export")
    judge, figures, examples = Judge(found), None, list[str]()
    texts: Sequence[str] = ()
    with np.errstate(over="ignore", invalid="ignore"), Progress(console) as progress:
        if request.file is not None:
            source = LabelledTexts(str(request.file), _reader(request, console), set(found.labels))
            progress(f"asking it about {source.name}")
            report, texts, right = classified.judged(judge, classified.rows_of(source), source.name, keep=True)
            source.tell(console.warn)
            report.tell_of_strange(source.name, console.warn)
            figures = judged.Measured(source.name, len(texts), report.figures.accuracy)
            examples = _examples(judge, texts, right.tolist())
        progress("measuring what fewer bits cost")
        judge.probabilities(["".join(found.labels)])  # which fails where its numbers aren't finite
        kept = rounding.choose_for_answers(found, texts)
        progress(f"making {request.page}")
        data = judged.render(judged.Shown(found, found.path.stem, kept, figures, examples)).encode("utf-8", "replace")
        progress.pause()
    _written(request.page, data, console)


def _examples(judge: Judge, texts: Sequence[str], right: Iterable[int]) -> list[str]:
    """The first texts of different labels that are neither very short nor very long.

    Those with the right answer come first, of them the longest, as it has most to show.
    """
    found = dict[int, str]()
    for text, label in zip(texts, right, strict=True):
        if 12 <= len(text) <= 64 and len(found) < EXAMPLES:
            found.setdefault(label, text)
    answers = judge.probabilities(list(found.values())).argmax(axis=-1).tolist() if found else []
    wrong = {text for (label, text), answer in zip(found.items(), answers, strict=True) if answer != label}
    return sorted(found.values(), key=lambda text: (text in wrong, -len(text)))


def _reader(request: ExportRequest, console: Console) -> TextReader:
    return TextReader(
        encoding=Encoding(request.config.encoding, request.config.errors, request.config.field), warn=console.warn
    )


def _written(page: Path, data: bytes, console: Console) -> None:
    """Write the page, and say so."""
    console.made(page, data, "export", f" ({len(data) / 1e6:.1f} MB); open it in a browser", kind="html")
    if len(data) > LARGE and not files.is_stdout(page):
        console.warn(f"{page}: so large a page opens and writes slowly on a phone; a smaller network makes a smaller one")


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
