"""Write ``docs/reference/cli.md``: every command with its arguments and options, as the program declares them.

python docs/make_reference.py
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from charrnn import cli
from charrnn.cli import help  # noqa: A004 - the module of that name

FILE = Path(__file__).parent / "reference/cli.md"
HEAD = """# Command line: reference

Written by `python docs/make_reference.py` from the program itself; `charrnn help train` shows the
same. The [guides](../guide) tell what to do with it, [scripting](scripting.md) what holds of all
commands.
"""


def commands() -> dict[str, Any]:
    """Every command by its name, in the order of the help."""
    group: Any = typer.main.get_command(cli.application())
    found = {}
    for name in help.EXAMPLES:
        command = group
        for word in name.split():
            command = command.commands[word]
        found[name] = command
    return found


def reference() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for name, command in commands().items() for line in section(name, command))])


def section(name: str, command: Any) -> Iterator[str]:
    """What one command takes."""
    yield f"## `charrnn {name}`\n" if name else "## `charrnn`\n"
    for paragraph in inspect.cleandoc(command.help).split("\n\n"):
        yield textwrap.fill(paragraph, 100) + "\n"
    yield "```sh"
    yield from (f"{typed}    # {meaning}" for typed, meaning in help.EXAMPLES[name])
    yield "```\n"
    if not getattr(command, "commands", None):
        yield from ("| argument or option | | means |", "|---|---|---|")
        arguments_first = sorted(command.params, key=lambda parameter: str(parameter.param_type_name))
        yield from (row(parameter) for parameter in arguments_first)
        yield ""


def row(parameter: Any) -> str:
    """One argument or option."""
    if parameter.param_type_name == "argument":
        names, value = f"`{parameter.metavar}`", ""
    else:
        spelled = [*parameter.opts, *parameter.secondary_opts]
        names = ", ".join(f"`{name}`" for name in sorted(spelled, key=lambda name: name.startswith("--")))
        value = "" if parameter.is_flag else f"`{parameter.metavar or 'TEXT'}`"
    told = parameter.help + (f" (environment: `{parameter.envvar}`)" if getattr(parameter, "envvar", None) else "")
    return line(names, value, told)


def line(*cells: str) -> str:
    """A row of a table; a bar within a cell is none between two."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|').replace('<', '&lt;') for cell in cells)} |"


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
