"""``charrnn score``: how well a network predicts texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.options import After, Checkpoints, Json, Quiet, Texts, Uncalibrated
from charrnn.cli.process import limit_threads
from charrnn.config import ScoreConfig
from charrnn.declaration import Panel


def score(
    *,
    files: Texts,
    checkpoint: Checkpoints = None,
    config: ScoreConfig,
    by_line: Annotated[
        bool, typer.Option("--lines", help="Score each line by itself: a row each, in order."), After("window")
    ] = False,
    rank: Annotated[
        bool,
        typer.Option("--rank", help="Like --lines, from the most to the least surprising, without blank lines."),
        After("by_line"),
    ] = False,
    per_char: Annotated[
        bool,
        typer.Option("--per-char", help="A row per character: its bits, its rank, the likeliest three."),
        After("rank"),
    ] = False,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Read long texts as one stream. By default texts from 65,536 characters are read in columns that first read"
            " the 1,024 characters before them; a column that differs by over 0.001 bits at its seam is read again exactly.",
            rich_help_panel=Panel.RARE.value,
        ),
        After("per_char"),
    ] = False,
    adapt: Annotated[
        bool,
        typer.Option(
            "--adapt",
            help="Learn from each FILE while reading it: every 64 characters are foreseen first, then learned. Each FILE starts"
            " from the checkpoint.",
        ),
        After("per_char"),
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="PATH", help="With --adapt and one FILE: save the network that has learned it."),
        After("adapt"),
    ] = None,
    uncalibrated: Uncalibrated = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell how well a network predicts each FILE, in bits per character: the fewer, the better."""
    from charrnn.output.console import Console

    console = Console(quiet=quiet)
    limit_threads(1)  # The columns are shared among threads instead.
    from charrnn.cli import network
    from charrnn.output import scored
    from charrnn.text.reading import TextReader

    request = scored.ScoreRequest(
        config=config, by_line=by_line, rank=rank, per_char=per_char, exact=exact, as_json=as_json, adapt=adapt, keep=keep
    )
    paths = TextReader(encoding=request.encoding, warn=console.warn).files(files)
    request.check_kept(paths)
    scored.show(request, paths, network.read_several(checkpoint, console, uncalibrated=uncalibrated), console)
    console.finish()
