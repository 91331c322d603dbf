"""The Python door: what the command line does, for programs and notebooks.

Names, units and sentences are those of the command line, whose functions do the work. Nothing is printed: warnings are Python's
`warnings`, failures are `CharrnnError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn import keywords
from charrnn.config import ModelConfig, TrainConfig
from charrnn.keywords import TrainSettings
from charrnn.trained import TrainedNetwork as TrainedNetwork  # offered by this module, too
from charrnn.trained import warn_caller

if TYPE_CHECKING:
    from typing import Unpack

    from charrnn.analysis.classes import TextClassifier
    from charrnn.training.events import Event
    from charrnn.training.runs import RunRequest

    Texts = str | Path | Sequence[str | Path]


def load(path: str | Path | None = None, *, uncalibrated: bool = False) -> TrainedNetwork:
    """The network of a checkpoint file or a run's directory; None or ``latest``: the most recent one below ``checkpoints/``.

    If ``uncalibrated``, it predicts without the temperature that was fitted to validation text, if one was.

    Raises:
        CharrnnError: there is none, or the file isn't sound.
    """
    from charrnn.network import checkpoint, lookup

    trained = checkpoint.read(lookup.resolve(None if path is None else Path(path)))
    return TrainedNetwork(replace(trained, temperature=1.0) if uncalibrated else trained)


def load_classifier(path: str | Path | None = None) -> TextClassifier:
    """The classifier of a file or a directory that ``charrnn classify fit`` wrote; None or ``latest``: the most recent one.

    Raises:
        CharrnnError: there is none, or the file isn't sound.
    """
    from charrnn.analysis.classes import TextClassifier
    from charrnn.network import classifier
    from charrnn.output import classified

    found = classifier.read(classifier.resolve(None if path is None else Path(path)))
    return TextClassifier(found, lambda judge: classified.tell(judge, warn_caller))


def train(texts: Texts = (), **settings: Unpack[TrainSettings]) -> TrainedNetwork:
    """Train a network as ``charrnn train`` does and return the best one; the run is kept in a directory of its own.

    Ctrl-C finishes the step, saves, and raises `KeyboardInterrupt`, whose message says how to go on.

    Args:
        texts: files, directories of them, or ``-`` for stdin; none with ``resume``, unless they have moved.
        settings: see `TrainSettings`; ``minutes=3`` if no length is given, counted from this call.

    Raises:
        UsageError: a value is outside its limits, or settings exclude each other.
        CharrnnError: a text can't be read, the directory holds a run already, or training failed; what was saved stays.
    """
    saved: str | None = None
    for event in train_events(texts, **settings):
        if event["event"] == "warning":
            warn_caller(event["text"])
        elif event["event"] == "end":
            saved = event["best_path"]
    assert saved is not None
    return load(saved)


def train_events(texts: Texts = (), **settings: Unpack[TrainSettings]) -> Iterator[Event]:
    """`train`, as an iterator of the events that ``charrnn train --json`` writes; the last one is ``end``.

    Nothing happens before the first one is asked for. Whoever leaves the loop early leaves a saved run. Ctrl-C finishes the
    step and saves; after ``end`` `KeyboardInterrupt` is raised. A second one ends at once.
    """
    return _events(_run_request(texts, settings))


def _events(request: RunRequest) -> Iterator[Event]:
    from charrnn.training import session

    yield from session.events(request, warn_caller)


def _run_request(texts: Texts, given: Mapping[str, Any]) -> RunRequest:
    from charrnn.training.runs import RunRequest

    settings = keywords.checked(given, TrainSettings)
    out, init_from, resume, val_lines = (settings.pop(name, None) for name in ("out", "init_from", "resume", "val_lines"))
    changed, overwrite = (bool(settings.pop(name, False)) for name in ("allow_changed_corpus", "overwrite"))
    if settings.get("workers") == "auto":
        # A new run chooses anyway; a resumed one keeps its number unless it is told to choose anew.
        settings["workers"] = None
        if resume is None:
            del settings["workers"]
    names = keywords.fields(ModelConfig) | keywords.fields(TrainConfig) | {"dropout": "dropout"}
    return RunRequest(
        keywords.listed(texts),
        {names[name]: value for name, value in settings.items()},
        out=None if out is None else Path(out),
        resume=None if resume is None else str(resume),
        allow_changed_corpus=changed,
        init_from=None if init_from is None else Path(init_from),
        overwrite=overwrite,
        val_lines=None if val_lines is None else str(val_lines),
    )
