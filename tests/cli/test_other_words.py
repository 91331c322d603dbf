"""Other programs' words lead to options, arguments and commands that are there."""

from __future__ import annotations

from typing import Any

import typer

from charrnn import cli
from charrnn.cli import other_words


def test_every_answer_is_an_option_an_argument_or_a_command() -> None:
    program: Any = typer.main.get_command(cli.application())
    commands = [program, *program.commands.values(), *program.commands["classify"].commands.values()]
    options = {spelling for command in commands for parameter in command.params for spelling in parameter.opts}
    arguments = {str(parameter.metavar).strip("[]") for command in commands for parameter in command.params}
    for answer in other_words.OPTIONS:
        for one in answer.split(" | "):
            assert one.split()[0] in options | arguments | {"charrnn"}, one
    assert {verb.split()[0] for verb in other_words.VERBS} <= program.commands.keys() | {"--help", "--version"}
