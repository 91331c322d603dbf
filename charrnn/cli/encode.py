"""``charrnn encode``: the lines of a text as vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.options import Checkpoint, Quiet, Texts
from charrnn.cli.process import limit_threads
from charrnn.config import TextConfig


def encode(
    *,
    texts: Texts,
    npz: Annotated[Path, typer.Option("--npz", metavar="OUT", help="The archive to write, for numpy.load.")],
    checkpoint: Checkpoint = None,
    config: TextConfig,
    quiet: Quiet = False,
) -> None:
    """Turn each line of FILE into vectors: the last hidden state, and the mean over the line."""
    from charrnn.output.console import Console

    console = Console(quiet=quiet)
    limit_threads()
    from charrnn import files
    from charrnn.cli import network
    from charrnn.output import encoded
    from charrnn.text.decoding import Encoding

    files.check_name("--npz", npz)
    encoding = Encoding(config.encoding, config.errors, config.field)
    files.check_made(npz, "encode")
    encoded.show(texts, npz, encoding, network.read(checkpoint, console), console)
    console.finish()
