"""What `charrnn classify` shows: how a fit stands, how good a classifier is, and what it says of texts."""

from __future__ import annotations

import itertools
import shlex
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, UsageError
from charrnn.analysis.judge import Figures, Judge
from charrnn.analysis.scoring import whole_lines
from charrnn.analysis.verdicts import TOGETHER, Verdicts
from charrnn.analysis.yardsticks import Yardsticks
from charrnn.output import notation, tables
from charrnn.output.console import Console
from charrnn.output.notation import json_line, on_one_line, plural
from charrnn.output.progress import Progress
from charrnn.text import sources
from charrnn.text.gathered import Gathering
from charrnn.text.labelled import LabelledTexts
from charrnn.text.reading import TextReader, text_of
from charrnn.text.rows import kind

if TYPE_CHECKING:
    from charrnn.training.fitting import Fitted

UNSURE = "unsure"
DECIDING = 3
"""So many units are shown of each label."""
STRANGE = 1000
"""Texts with more labels than this that a classifier doesn't know are no test of it."""
_A_SENTENCE = 3
"""From so many words on a text is one, and so many typed words may have been one."""
Record = dict[str, Any]


# -- how good a classifier is --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """A classifier's figures on some texts, how far its probabilities are off, the units that decide, and the yardsticks."""

    judge: Judge
    figures: Figures
    calibration_error: float
    units: Mapping[str, Any] | None
    yardsticks: Yardsticks | None = None

    def tell_of_strange(self, name: str, warn: Callable[[str], None]) -> None:
        """Say how many texts of ``name`` have labels that the classifier doesn't know."""
        known, figures = len(self.judge.classifier.labels), self.figures
        if count := int(figures.confusion[known:].sum()):
            have = "1 text has a label" if count == 1 else f"{count:,} texts have labels"
            counts = "counts" if count == 1 else "count"
            warn(
                f"{name}: {have} that the classifier doesn't know, and {counts} as wrong: {_some(figures.labels[known:]):.200}"
            )

    def tell_of_learned(self, path: str, name: str, warn: Callable[[str], None]) -> None:
        """Say so where ``path`` plainly is what the classifier was fitted to: by its name, and by how many texts it has."""
        facts, texts = self.judge.classifier.training, self.figures.texts
        known, others = facts.get("texts") or 0, facts.get("val_texts") or 0
        if Path(path).name != facts.get("corpus") or texts not in (known, known - others):
            return
        said = f"{name}: it learned from {known - others:,} of these {texts:,} texts, so the figures don't tell of new ones"
        if others and facts.get("val_accuracy") is not None:
            said += f"; of {others:,} that it didn't learn from it had {facts['val_accuracy']:.1%} right".replace("%", " %")
        warn(said)

    def to_json(self) -> Record:
        """All of it as JSON values."""
        found, figures = self.judge.classifier, self.figures
        return {
            "path": str(found.path),
            "texts": figures.texts,
            "accuracy": figures.accuracy,
            "macro_f1": figures.macro_f1,
            "calibration_error": self.calibration_error,
            "by_label": figures.by_label,
            "confusion": {"labels": list(figures.labels), "counts": figures.confusion.tolist()},
            "yardsticks": None if self.yardsticks is None else self.yardsticks.to_json(),
            "units": None
            if self.units is None
            else {label: [asdict(unit) for unit in units] for label, units in self.units.items()},
            "network": {
                "cell": found.model.cell,
                "hidden_size": found.model.hidden_size,
                "layers": found.model.num_layers,
                "parameters": found.parameters,
                **found.config.to_json(),
            },
        }


def judged(
    judge: Judge, rows: Iterable[tuple[str, str]], name: str, *, keep: bool = False
) -> tuple[Report, Sequence[str], NDArray[np.intp]]:
    """What a classifier makes of labelled texts, some at a time; to ``keep``: the texts and the numbers of their labels.

    It is wrong about a text whose label it doesn't know.

    Raises:
        CharrnnError: there are none, or none has a label that the classifier knows.
    """
    verdicts, right, found = Verdicts(judge), array("q"), iter(rows)
    with Gathering() as kept:
        while some := list(itertools.islice(found, TOGETHER)):
            numbers = [verdicts.number(label) for _, label in some]
            if len(verdicts.strange) > STRANGE:
                break
            verdicts.ask([text for text, _ in some], numbers)
            for text, _ in some if keep else ():
                kept.append(text)
            right.extend(numbers if keep else ())
        if (strange := verdicts.strange) and (len(strange) > STRANGE or not verdicts.known):
            known = _some(judge.classifier.labels)
            raise CharrnnError(f"{name}: the classifier doesn't know the label {strange[0]!r:.80}; it knows {known}")
        if not len(verdicts):
            raise CharrnnError(f"{name}: no labelled texts in it")
        return _report(judge, verdicts), kept.texts(), np.array(right, dtype=np.intp)


def _report(judge: Judge, verdicts: Verdicts) -> Report:
    return Report(judge, verdicts.figures, verdicts.calibration_error, verdicts.units(DECIDING))


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")


def show_report(report: Report, console: Console) -> None:
    """Tables of a classifier's figures, beside the yardsticks."""
    framed, figures = console.stdout_is_terminal, report.figures
    rows: list[tuple[str, float, float | None]] = [("this classifier", figures.accuracy, figures.macro_f1)]
    if (beside := report.yardsticks) is not None:
        rows.append(("n-grams (logistic regression)", beside.ngrams.accuracy, beside.ngrams.macro_f1))
        rows.append((f"always {on_one_line(beside.majority_label):.40}", beside.majority.accuracy, beside.majority.macro_f1))
        if beside.best_possible < 1:
            rows.append(("best possible (equal texts differ)", beside.best_possible, None))
    console.table(tables.accuracy_table(rows, framed=framed))
    console.product("\n")
    console.table(tables.label_table(figures.by_label, framed=framed))
    console.product("\n")
    console.table(tables.confusion_table(figures.labels, figures.confusion.tolist(), framed=framed))
    if report.units is not None:
        console.product("\n")
        console.table(tables.unit_table(report.units, framed=framed))
    off = f"{report.calibration_error:.1%}".replace("%", " %")
    console.say(f"charrnn: {figures.texts:,} texts; probabilities are off by {off} (expected calibration error)")


# -- texts and what is said of them --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """How answers are to look: so many labels (``top``), below a ``threshold`` `UNSURE`, as JSON."""

    top: int = 1
    threshold: float = 0.0
    as_json: bool = False


def predict(judge: Judge, asked: Asked, texts: Iterable[Sequence[str]], console: Console, *, typed: bool = False) -> None:
    """An answer a line for each of ``texts``, which come some at a time, perhaps ``typed`` just now; a blank one has none."""
    answered = 0
    with Progress(console, wanted=console.stdout_is_kept, typed=typed) as progress:
        progress("classifying", lambda: plural(answered, "text"))
        for some in texts:
            for start in range(0, len(some), TOGETHER):
                part = some[start : start + TOGETHER]
                found = judge.probabilities(part)
                console.product("".join(_row(judge, asked, text, row) for text, row in zip(part, found, strict=True)))
                answered += len(part)
            console.product("", flush=True)
    tell(judge, console.warn)


def _row(judge: Judge, asked: Asked, text: str, row: np.ndarray[Any, Any]) -> str:
    labels = judge.classifier.labels
    if not text.strip():
        return json_line({"text": text, "label": None, "probability": None, "top": []}) if asked.as_json else "\n"
    order = np.argsort(-row, kind="stable")[: asked.top]
    top = [(labels[number], float(row[number])) for number in order]
    label = top[0][0] if top[0][1] >= asked.threshold else UNSURE
    if asked.as_json:
        listed = [{"label": name, "probability": share} for name, share in top]
        return json_line({"text": text, "label": label, "probability": top[0][1], "top": listed})
    said = [(label, top[0][1]), *top[1:]] if label != UNSURE or asked.top == 1 else [(UNSURE, top[0][1]), *top]
    cells = [cell for name, share in said for cell in (on_one_line(name), f"{share:.4f}")]
    return "\t".join([*cells, on_one_line(text)]) + "\n"


def lines(paths: Sequence[str], reader: TextReader) -> Iterable[list[str]]:
    """The lines of texts, as they come; of tables the field that is read, a line for each row."""
    reader = replace(reader, every_row=True)
    for path in paths:
        if reader.encoding.field is None and path != sources.STDIN and kind(path) is not None:
            reader.warn(f"{sources.shown(path)}: each line is read as a text, as it stands; --field NAME reads a column")
        for some in whole_lines(reader.codes(path, by_lines=True)):
            yield [text_of(line).rstrip("\n") for line in some]


def tell(judge: Judge, warn: Callable[[str], None]) -> None:
    """Say what the classifier couldn't read as it stood there."""
    heard, longest = judge.heard, judge.classifier.config.longest
    if heard.changed:
        from charrnn.text import given

        given.tell(heard.changed, warn, "the texts")
    if heard.cut:
        count = "1 text is" if heard.cut == 1 else f"{heard.cut:,} texts are"
        warn(f"{count} longer than the {longest:,} characters that the classifier reads; the rest doesn't count")


def tell_of_words(judge: Judge, typed: Sequence[str], warn: Callable[[str], None]) -> None:
    """Say that each of some ``typed`` words is asked for alone, where the classifier knows sentences: quotes were forgotten."""
    usual = judge.classifier.training.get("words_per_text") or 0
    if len(typed) >= _A_SENTENCE <= usual and not any(len(text.split()) > 1 for text in typed):
        whole = shlex.quote(" ".join(typed))
        warn(f"these are {len(typed):,} texts of one word each; several words are one text in quotes: {whole:.100}")


def given(texts: Sequence[str], files: Sequence[str], console: Console) -> tuple[list[str], list[str]]:
    """The texts that were typed, and the names of files and stdin whose lines are texts; `UsageError` if there are none."""
    from charrnn.text.given import literal, tell_of_file

    paths = [*files, *(text for text in texts if text == sources.STDIN)]
    typed = [literal(text, "TEXT") for text in texts if text != sources.STDIN]
    if not typed and not paths:
        raise UsageError("which text? Give one in quotes, --file FILE, or - for the lines of stdin")
    if paths.count(sources.STDIN) > 1:
        raise UsageError("- (standard input) can be read once, not twice")
    for text in typed:
        tell_of_file(text, "charrnn classify predict --file", console.warn)
    return typed, paths


def texts(typed: Sequence[str], paths: Sequence[str], reader: TextReader) -> Iterable[Sequence[str]]:
    """What was typed, then the lines of files, as they come; whether the files are there is seen first."""
    names = reader.files(paths) if paths else []
    return itertools.chain([typed] if typed else [], lines(names, reader))


def evaluate(judge: Judge, path: str, train: str | None, reader: TextReader, console: Console) -> Report:
    """A classifier's figures on the labelled texts in ``path``, beside yardsticks that learn from those in ``train``."""
    labels = judge.classifier.labels
    source = LabelledTexts(path, reader, set(labels))
    with Progress(console, typed=sources.typed([path, train or ""])) as progress:
        progress(f"asking it about {source.name}")
        report, said, right = judged(judge, rows_of(source), source.name, keep=train is not None)
        source.tell(console.warn)
        report.tell_of_strange(source.name, console.warn)
        report.tell_of_learned(path, source.name, console.warn)
        tell(judge, console.warn)
        if train is None:
            return report
        numbers, known = {label: number for number, label in enumerate(labels)}, LabelledTexts(train, reader, set(labels))
        learned = array("q")
        progress(f"teaching n-grams {known.name}")
        with Gathering() as texts:
            for row in known:
                if row.part != "test":
                    if row.label not in numbers:
                        raise CharrnnError(f"{known.name}: the classifier doesn't know the label {row.label!r:.80}")
                    texts.append(row.text)
                    learned.append(numbers[row.label])
            if not learned:
                raise CharrnnError(f"{known.name}: no labelled texts in it")
            beside = Yardsticks.of(texts.texts(), np.array(learned, dtype=np.intp), said, right, report.figures.labels)
    _tell_of_sample(beside, console)
    return replace(report, yardsticks=beside)


def _tell_of_sample(beside: Yardsticks, console: Console) -> None:
    """Say that the n-grams learned from some of the texts, if so."""
    if beside.sample < beside.texts:
        console.say(f"charrnn: the n-grams learned from {beside.sample:,} of the {beside.texts:,} texts, evenly spread")


def of_fit(found: Fitted) -> Report:
    """The figures of a new classifier on the texts kept for validation; if there are none, on those it learned."""
    return replace(_report(Judge(found.classifier), found.verdicts), yardsticks=found.yardsticks)


def rows_of(source: LabelledTexts) -> Iterable[tuple[str, str]]:
    """Texts with their labels; where the file has a part for a test, those of that part."""
    found, parts = iter(source), False
    for row in found:
        parts = parts or bool(row.part)
        if not row.part or row.part == "test":
            yield row.text, row.label


# -- a fit ---------------------------------------------------------------------------------------------------------------


class FitView:
    """How a fit stands, on stderr: a line that changes on a terminal, lines elsewhere."""

    def __init__(self, console: Console, elapsed: Any) -> None:
        self._console, self._elapsed = console, elapsed

    def __call__(self, event: Any) -> None:
        """Tell of the yardsticks, of a run's progress, or of what is to be known of it."""
        if isinstance(event, Yardsticks):
            self._console.say(
                f"charrnn: to beat: {event.ngrams.accuracy:.1%} by n-grams, {event.majority.accuracy:.1%} by always saying"
                f" {event.majority_label:.40}".replace("%", " %")
            )
            _tell_of_sample(event, self._console)
            return
        if isinstance(event, str):
            self._console.warn(event)
            return
        known = "" if event.accuracy is None else f", accuracy {event.accuracy:.1%}, {event.loss:.3f} nats".replace("%", " %")
        line = (
            f"charrnn: {notation.clock(self._elapsed())}, {event.share:.0%} done, {event.epochs:.1f} passes".replace("%", " %")
            + known
        )
        if self._console.can_redraw and not self._console.quiet:
            self._console.status(line)
        else:
            self._console.say(line)


def saved(path: Path, console: Console) -> None:
    """Say where the classifier is."""
    console.say(f"charrnn: wrote {path}; ask it by charrnn classify predict -c {shlex.quote(str(path.parent))} TEXT")
