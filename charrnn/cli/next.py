"""``charrnn next``: the distribution of the next character."""

from __future__ import annotations

from typing import Annotated

import typer

from charrnn.cli.options import Checkpoints, Json, KeepNewline, Quiet, Uncalibrated
from charrnn.cli.process import limit_threads
from charrnn.config import NextConfig


def next_character(
    *,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The text before it; - reads it from stdin.")] = "",
    checkpoint: Checkpoints = None,
    config: NextConfig,
    keep_newline: KeepNewline = False,
    uncalibrated: Uncalibrated = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show which character a network expects after PROMPT: bars on a terminal, character TAB probability in a pipe."""
    from charrnn.output.console import Console

    console = Console(quiet=quiet)
    limit_threads(1)
    import numpy as np

    from charrnn.analysis import scoring
    from charrnn.cli import network
    from charrnn.network import ensemble
    from charrnn.output import notation, tables
    from charrnn.output.notation import json_line
    from charrnn.text import given
    from charrnn.text.decoding import Encoding
    from charrnn.text.reading import TextReader

    encoding = Encoding(config.encoding, config.errors)
    networks = network.read_several(checkpoint, console, uncalibrated=uncalibrated)
    trained = networks[0]
    given.tell_of_file(prompt, "charrnn next - <", console.warn)
    if not prompt:
        given.tell_of_stdin("charrnn next -", console.say)
    reader = TextReader(trained.vocabulary.level, encoding, warn=console.warn)
    text = given.text(prompt, "PROMPT", reader, keep_newline=keep_newline)
    text = given.known(text, trained.vocabulary, console.warn)
    with np.errstate(over="ignore", invalid="ignore"):
        found, entropy_bits = scoring.next_characters(
            ensemble.together(networks, ensemble.as_trained), trained.vocabulary, text, records=trained.newline is not None
        )
    shown = found[: config.top]
    if as_json:
        record: scoring.NextRecord = {"prompt": text, "entropy_bits": entropy_bits, "next": shown}
        console.product(json_line({**record, **notation.networks_record(networks)}))
    elif console.stdout_is_terminal:
        pairs = [(record["char"], record["probability"]) for record in shown]
        console.table(tables.next_table(pairs, len(found) - len(shown), console.width))
    else:
        console.product("".join(notation.next_row(record) for record in shown))
    console.finish()
