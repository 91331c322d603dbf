"""``charrnn cache``: the large texts that are kept as ids, so that they are read once."""

from __future__ import annotations

from typing import Annotated

import typer

from charrnn.cli.options import Json


def cache(
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Remove them all; the next run reads its text anew.")] = False,
    as_json: Json = False,
) -> None:
    """List the large texts that are kept as ids, or remove them.

    CHARRNN_CACHE names another directory for them, or none if it is empty; CHARRNN_CACHE_SIZE how much they may take.
    """
    from charrnn import files
    from charrnn.output import tables
    from charrnn.output.console import Console
    from charrnn.output.notation import json_line, size_in_words
    from charrnn.text.cache import PLACE, Cache

    console = Console()
    found = Cache.of_user(console.warn)
    if found is None:
        console.say(f"charrnn: no texts are kept: {PLACE} is empty, or nobody has a home")
    elif clear:
        with files.guard(found.place):
            count, size = found.clear()
        console.say(f"charrnn: {found.place}: {count} text{'s' * (count != 1)} removed, {size_in_words(size)}")
    elif as_json:
        console.product("".join(json_line(entry.facts()) for entry in found.entries()))
    elif entries := found.entries():
        console.table(tables.cache_table([entry.facts() for entry in entries], framed=console.stdout_is_terminal))
        total = sum(entry.size for entry in entries)
        console.say(f"charrnn: {size_in_words(total)} of at most {size_in_words(found.most)} in {found.place}")
    else:
        console.say(f"charrnn: {found.place}: no texts are kept")
    console.finish()
