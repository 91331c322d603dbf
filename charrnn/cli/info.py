"""``charrnn info``: what checkpoints hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charrnn import CharrnnError
from charrnn.cli.options import Json, complete_checkpoint


def info(
    *,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]",
            help="A checkpoint, a run directory, or a directory of runs (default: checkpoints).",
            autocompletion=complete_checkpoint,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Describe a checkpoint, or list every run under a directory."""
    from charrnn.network import checkpoint as checkpoints
    from charrnn.network import rundir
    from charrnn.output import tables
    from charrnn.output.console import Console
    from charrnn.output.notation import json_line

    console = Console()
    path = rundir.DEFAULT_ROOT if path is None else path
    rundir.mend(path)
    one = path if not path.is_dir() else path / rundir.BEST
    if one.exists() or (path != rundir.DEFAULT_ROOT and not path.is_dir()):
        found = checkpoints.facts(checkpoints.read_header(one))
        if as_json:
            console.product(json_line(found))
        else:
            console.table(tables.fact_table(found))
    else:
        runs = []
        for file in rundir.checkpoints_under(path):
            try:
                runs.append(checkpoints.facts(checkpoints.read_header(file)))
            except CharrnnError as error:
                console.warn(str(error))
        if as_json:
            console.product("".join(map(json_line, runs)))
        elif runs:
            console.table(tables.info_table(runs, framed=console.stdout_is_terminal))
        else:
            console.say(f"{path}: no runs here yet; train one by charrnn train FILE")
    console.finish()
