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
    from charrnn.output.console import Console


def read(path: Path | None, console: Console, *, uncalibrated: bool = False) -> Checkpoint:
    """The network of a checkpoint or a run, None or ``latest`` for the most recent one; if ``uncalibrated`` without its
    calibration.
    """
    from charrnn.network import checkpoint, rundir

    trained = checkpoint.read(rundir.resolve(path))
    tell([path], [trained], console)
    return replace(trained, temperature=1.0) if uncalibrated else trained


def read_several(paths: Sequence[Path] | None, console: Console, *, uncalibrated: bool = False) -> list[Checkpoint]:
    """The networks of ``paths``, each as `read` has it, whose mean is meant; `CharrnnError` if they have none."""
    from charrnn.network import ensemble, rundir

    trained = ensemble.read(rundir.resolve_each(paths), uncalibrated=uncalibrated)
    tell(paths, trained, console)
    return trained


def judge(path: Path | None, console: Console) -> Judge:
    """The classifier of a file or a directory, None or ``latest`` for the most recent one."""
    from charrnn.analysis.judge import Judge
    from charrnn.network import classifier

    found = classifier.read(classifier.resolve(path))
    tell([path], [found], console)
    return Judge(found)


def tell(paths: Sequence[Path | None] | None, trained: Sequence[Saved], console: Console, *others: str) -> None:
    """Announce ``others``, of how many networks the mean is taken, and which network it is that no path names.

    As in ``charrnn: seed 7, checkpoints/novel (2 minutes old)``.
    """
    from charrnn.network import rundir

    said = [*others]
    if len(trained) > 1:
        said.append(f"the mean of {len(trained)} networks")
    said += [_description(one) for path, one in zip(paths or [None], trained, strict=False) if rundir.means_latest(path)]
    if said:
        console.announce(f"charrnn: {', '.join(said)}")


def _description(trained: Saved) -> str:
    from charrnn.network import rundir
    from charrnn.output.notation import age

    name = trained.path.parent if trained.path.name in (rundir.BEST, rundir.CLASSIFIER) else trained.path
    seconds = time.time() - trained.saved_at
    # A header may not say when, and the clock of another machine may be ahead.
    return f"{name} ({age(seconds)} old)" if trained.saved_at and seconds >= 0 else str(name)
