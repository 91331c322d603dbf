"""``charrnn inspect``: what a network's memory does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn import UsageError
from charrnn.cli.options import Json, Quiet, Uncalibrated, checkpoint_option, complete_classifier
from charrnn.cli.process import limit_threads
from charrnn.config import InspectConfig
from charrnn.declaration import Panel

if TYPE_CHECKING:
    from charrnn.output.inspected import InspectRequest


def inspect(
    *,
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="What to read; - for stdin (default: 2,000 generated characters).")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Read this text file instead.")] = None,
    checkpoint: Annotated[
        list[Path] | None,
        checkpoint_option("; several: compared by --memory and --contribution, their mean with --color"),
    ] = None,
    units: Annotated[bool, typer.Option("--units", help="Only which unit follows which feature of the text.")] = False,
    unit: Annotated[
        str | None, typer.Option(metavar="L:U", help="Colour the text by unit U of layer L; 0:7c is an LSTM's cell.")
    ] = None,
    config: InspectConfig,
    memory: Annotated[bool, typer.Option("--memory", help="How far back gradients and information reach.")] = False,
    contribution: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="How much of each character of TEXT the final hidden state holds."),
    ] = None,
    keep_newline: Annotated[
        bool,
        typer.Option(
            "--keep-newline", help="Keep the newline at the end of TEXT from stdin.", rich_help_panel=Panel.RARE.value
        ),
    ] = False,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="The coloured text, or the curves of the memory, as a picture.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Everything as one page to explore.")] = None,
    classifier: Annotated[
        Path | None,
        typer.Option(
            "--classifier",
            metavar="PATH",
            help="With --html: what a classifier would say behind each character.",
            autocompletion=complete_classifier,
        ),
    ] = None,
    npz: Annotated[Path | None, typer.Option("--npz", metavar="FILE", help="The raw traces for NumPy.")] = None,
    uncalibrated: Uncalibrated = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what a network's memory does over TEXT: units, gates, cells that mean something, how far back it reaches."""
    from charrnn.output.console import Console

    console = Console(quiet=quiet)
    limit_threads()
    from charrnn.cli import network
    from charrnn.output import inspected

    if classifier is not None and html is None:
        raise UsageError("--classifier shows on the page of --html FILE; alone it is charrnn classify predict TEXT --trace")
    request = inspected.InspectRequest(
        text=text,
        file=file,
        units_only=units,
        unit=unit,
        config=config,
        memory=memory,
        contribution=contribution,
        keep_newline=keep_newline,
        svg=svg,
        html=html,
        npz=npz,
        as_json=as_json,
        judge=None if classifier is None else network.judge(classifier, console),
    )
    _check(len(checkpoint or ()), request)
    read = network.read_apart if request.compares else network.read_several
    networks = read(checkpoint, console, uncalibrated=uncalibrated)
    _check(len(networks), request)  # A run may be of several.
    inspected.show(request, networks, console)
    console.finish()


def _check(count: int, request: InspectRequest) -> None:
    """Raise the `UsageError` for several networks of which one alone can be shown."""
    if count > 1 and not (request.compares or request.mixes):
        compared = "they are compared by --memory and --contribution without --html and --npz"
        raise UsageError(f"several --checkpoint: {compared}, and --color takes their mean, without --json, --html and --npz")
