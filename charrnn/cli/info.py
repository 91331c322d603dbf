"""``charrnn info``: what checkpoints hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn import CharrnnError
from charrnn.cli.options import Json, complete_checkpoint

if TYPE_CHECKING:
    from charrnn.network.checkpoint import Checkpoint

TRAINING_FACTS = (
    "corpus",
    "characters",
    "corpus_bytes",
    "corpus_sha256",
    "val_bits_per_char",
    "step",
    "epochs",
    "seconds",
    "seed",
)
"""What is told of a network's training, where its checkpoint says so."""


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
        found = facts(checkpoints.read_header(one))
        if as_json:
            console.product(json_line(found))
        else:
            console.table(tables.fact_table(found))
    else:
        runs = []
        for file in rundir.checkpoints_under(path):
            try:
                runs.append(facts(checkpoints.read_header(file)))
            except CharrnnError as error:
                console.warn(str(error))
        if as_json:
            console.product("".join(map(json_line, runs)))
        elif runs:
            console.table(tables.info_table(runs, framed=console.stdout_is_terminal))
        else:
            console.say(f"{path}: no runs here yet; train one by charrnn train FILE")
    console.finish()


def facts(found: Checkpoint) -> dict[str, Any]:
    """What a checkpoint's header tells, as JSON values."""
    from charrnn.network.checkpoint import records_of

    model, records = found.model, records_of(found.training)
    return {
        "path": str(found.path),
        "cell": model.cell,
        "layers": model.num_layers,
        "hidden_size": model.hidden_size,
        "embedding_size": model.embedding_size,
        "parameters": model.parameters,
        "level": found.vocabulary.level,
        "vocab_size": model.vocab_size,
        **{name: found.training.get(name) for name in TRAINING_FACTS},
        **({} if records is None else {"records": records.to_json()}),
        "calibration": None if found.temperature == 1 else {"temperature": found.temperature},
        "when": found.when,
    }
