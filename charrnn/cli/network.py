"""Which network a verb works with: the one that was named, or the most recent one, which stderr then names."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charrnn.analysis.judge import Judge
    from charrnn.network.checkpoint import Checkpoint, Saved
    from charrnn.network.classifier import Classifier
    from charrnn.output.console import Console


def read(path: Path | None, console: Console, *, uncalibrated: bool = False) -> Checkpoint:
    """The network of a checkpoint or a run, None or ``latest`` for the most recent one; if ``uncalibrated`` without its
    calibration.
    """
    from charrnn.network import checkpoint, lookup

    trained = checkpoint.read(lookup.resolve(path))
    tell([path], [trained], console)
    return replace(trained, temperature=1.0) if uncalibrated else trained


def read_several(paths: Sequence[Path] | None, console: Console, *, uncalibrated: bool = False) -> list[Checkpoint]:
    """The networks of ``paths``, each as `read` has it, whose mean is meant; `CharrnnError` if they have none."""
    from charrnn.network import ensemble, lookup

    trained = ensemble.read(lookup.resolve_each(paths), uncalibrated=uncalibrated)
    tell(paths, trained, console)
    return trained


def judge(path: Path | None, console: Console) -> Judge:
    """The classifier of a file or a directory, None or ``latest`` for the most recent one."""
    from charrnn.analysis.judge import Judge
    from charrnn.network import classifier, lookup

    found = classifier.read(classifier.resolve(path))
    if lookup.means_latest(path):
        console.announce(f"charrnn: {_description(found)}")
    return Judge(found)


def holds_classifier(path: Path) -> bool:
    """Whether a path names a classifier: its file, or a directory that holds one and no network that writes."""
    from charrnn.network import classifier, rundir, tensorfile

    if path.is_dir():
        return (path / rundir.CLASSIFIER).exists() and not (path / rundir.BEST).exists()
    return path.is_file() and (path.name == rundir.CLASSIFIER or tensorfile.is_of(path, classifier.FORMAT))


def read_classifier(path: Path, *, uncalibrated: bool = False) -> Classifier:
    """The classifier of a file or a directory; if ``uncalibrated`` without its calibration."""
    from charrnn.network import classifier

    found = classifier.read(classifier.resolve(path))
    return replace(found, config=replace(found.config, temperature=1.0)) if uncalibrated else found


def read_apart(paths: Sequence[Path] | None, console: Console, *, uncalibrated: bool = False) -> list[Checkpoint]:
    """The networks of ``paths``, which are compared; those of a run of several, too."""
    from charrnn.network import lookup

    named: list[Path | None] = [file for path in paths for file in lookup.resolve_each(path)] if paths else [None]
    return [read(path, console, uncalibrated=uncalibrated) for path in named]


def tell(paths: Sequence[Path | None] | None, trained: Sequence[Saved], console: Console, *others: str) -> None:
    """Announce ``others``, of how many networks the mean is taken, and which network it is that no path names.

    As in ``charrnn: seed 7, checkpoints/novel (2 minutes old)``.
    """
    said = [*others]
    if len(trained) > 1:
        said.append(f"the mean of {len(trained)} networks")
    said += _latest(paths or [None], trained)
    if said:
        console.announce(f"charrnn: {', '.join(said)}")


def _latest(paths: Sequence[Path | None], trained: Sequence[Saved]) -> list[str]:
    """Which network, or which run of several, is the most recent one, if that is meant."""
    from charrnn.network import lookup

    counts = [0 if lookup.means_latest(path) else len(lookup.resolve_each(path)) for path in paths]
    if counts.count(0) != 1:
        return [_description(trained[0])] if 0 in counts and len(trained) == 1 else []
    at = sum(counts[: counts.index(0)])
    return [_description(trained[at], of_run=len(trained) - sum(counts) > 1)]


def _description(trained: Saved, *, of_run: bool = False) -> str:
    from charrnn.network import lookup, rundir
    from charrnn.output.notation import age

    name = trained.path.parent if trained.path.name in (rundir.BEST, rundir.CLASSIFIER) else trained.path
    name = lookup.run_of(trained.path.parent) if of_run else name
    seconds = time.time() - trained.saved_at
    # A header may not say when, and the clock of another machine may be ahead.
    return f"{name} ({age(seconds)} old)" if trained.saved_at and seconds >= 0 else str(name)
