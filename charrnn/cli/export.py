"""``charrnn export``: networks as one page that writes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from charrnn import UsageError
from charrnn.cli.options import Quiet, Uncalibrated, checkpoint_option
from charrnn.cli.process import limit_threads
from charrnn.config import TextConfig


def export(
    *,
    page: Annotated[Path, typer.Argument(metavar="PAGE.html", help="The file to write.")],
    checkpoint: Annotated[
        list[Path] | None,
        checkpoint_option("; two or three stand side by side. A classifier has a page of its own"),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="A text that the network hasn't learned: what the page tells of its memory, its units and its rounding is"
            " measured on the last 20,000 characters (default: 10,000 characters of its own). Of a classifier: labelled texts,"
            " as classify evaluate reads them.",
        ),
    ] = None,
    config: TextConfig,
    uncalibrated: Uncalibrated = False,
    quiet: Quiet = False,
) -> None:
    """Make one HTML file that runs the network, shows its memory and explains it, in any browser, offline."""
    from charrnn.output.console import Console

    console = Console(quiet=quiet)
    limit_threads()
    from charrnn.cli import network
    from charrnn.network import rundir
    from charrnn.output import exported

    inside = (page / name for name in (rundir.BEST, rundir.CLASSIFIER))
    if not checkpoint and any(path.exists() for path in ((page,) if page.suffix == ".safetensors" else inside)):
        say = f"name the page, and the network behind -c: charrnn export PAGE.html -c {shlex.quote(str(page))}"
        raise UsageError(f"{page} is a network; {say}")
    request, paths = exported.ExportRequest(page, file, config), checkpoint or []
    if any(map(network.holds_classifier, paths)):
        if len(paths) > 1:
            raise UsageError("a page shows one classifier alone; make a page of each")
        exported.show_classifier(request, network.read_classifier(paths[0], uncalibrated=uncalibrated), console)
    else:
        networks = [network.read(path, console, uncalibrated=uncalibrated) for path in paths or (None,)]
        exported.show(request, networks, console)
    console.finish()
