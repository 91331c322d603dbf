"""``charrnn info``: what checkpoints hold."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn import CharrnnError
from charrnn.cli.options import Json, complete_checkpoint


def info(
    *,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]",
            help="A checkpoint, a run directory, latest, or a directory of runs (default: checkpoints).",
            autocompletion=complete_checkpoint,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Describe a checkpoint, or list every run under a directory."""
    from charrnn.network import lookup, rundir
    from charrnn.output import tables
    from charrnn.output.console import Console
    from charrnn.output.notation import json_line

    console = Console()
    if path is None:
        path = rundir.DEFAULT_ROOT
    elif lookup.means_latest(path):
        path = lookup.latest()
    rundir.mend(path)
    if path != rundir.DEFAULT_ROOT:
        lookup.check_exists(path)
    one = path
    if path.is_dir():
        one = next((path / name for name in (rundir.BEST, rundir.CLASSIFIER) if (path / name).exists()), path / rundir.BEST)
    if one.exists() or (path != rundir.DEFAULT_ROOT and not path.is_dir()):
        found = facts_of(one)
        if as_json:
            console.product(json_line(found))
        else:
            console.table(tables.fact_table(found))
        if one == path / rundir.BEST and (other := path / rundir.CLASSIFIER).exists():
            console.say(f"charrnn: the directory holds a classifier too: charrnn info {shlex.quote(str(other))}")
    else:
        runs = []
        for file in (*lookup.checkpoints_under(path), *lookup.checkpoints_under(path, rundir.CLASSIFIER)):
            try:
                runs.append(facts_of(file))
            except CharrnnError as error:
                console.warn(str(error))
        if as_json:
            console.product("".join(map(json_line, runs)))
        elif runs:
            console.table(tables.info_table(runs, framed=console.stdout_is_terminal))
        else:
            console.say(_nothing_in(path))
    console.finish()


def _nothing_in(path: Path) -> str:
    """What to say of a directory in which nothing has been saved."""
    from charrnn.network import lookup, rundir
    from charrnn.network.lock import HeldError

    try:
        lookup.check_saved_under(path)
    except HeldError as error:
        return f"charrnn: {error}"
    if meant := lookup.namesake(path, rundir.BEST):
        return f"{path}: no runs here; is it {meant}?"
    return f"{path}: no runs here yet; train one by charrnn train FILE, or name where they are: charrnn info DIR"


def facts_of(path: Path) -> dict[str, Any]:
    """What the header of a checkpoint or of a classifier tells, as JSON values."""
    from charrnn.network import checkpoint, classifier, lookup, rundir, tensorfile

    if path.name == rundir.CLASSIFIER or tensorfile.is_of(path, classifier.FORMAT):
        return classifier.facts(classifier.read_header(path))
    return checkpoint.facts(checkpoint.read_header(lookup.resolve(path)))
