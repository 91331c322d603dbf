"""The command line: `main` dispatches to a verb and turns every expected failure into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from charrnn import CharrnnError, UsageError, __version__, absent
from charrnn.cli import exit_codes, options
from charrnn.cli.exit_codes import ExitCode
from charrnn.cli.process import rank

VERBS = {
    "train": "train:train",
    "sample": "sample:sample",
    "score": "score:score",
    "encode": "encode:encode",
    "next": "next:next_character",
    "classify": "classify:app",
    "info": "info:info",
    "inspect": "inspect:inspect",
    "export": "export:export",
    "cache": "cache:cache",
    "bench": "bench:bench",
}
"""The verbs in the order of ``--help``: the module of each in this package, and its function or its own verbs there."""


def application(verbs: Iterable[str] = VERBS) -> typer.Typer:
    """The command line with these ``verbs``: only what is called need be imported, and its options made."""
    app = typer.Typer(
        name="charrnn",
        cls=options.Group,
        help="Train a character-level recurrent network on any text, and generate text from it.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    for name in verbs:
        module, _, function = VERBS[name].partition(":")
        verb = getattr(importlib.import_module(f"charrnn.cli.{module}"), function)
        if isinstance(verb, typer.Typer):
            app.add_typer(verb, name=name)
        else:
            app.command(name, cls=options.Verb)(options.command(verb))
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        from charrnn.output.console import Console

        console = Console()
        console.product(f"charrnn {__version__} ({_torch_version()}, Python {platform.python_version()})\n")
        console.finish()
        raise typer.Exit


def _torch_version() -> str:
    """Read it from torch's metadata: importing torch would take a second."""
    from importlib import metadata

    try:
        return f"torch {metadata.version('torch')}"
    except metadata.PackageNotFoundError:
        return "without torch"


def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


_IN_WORDS: dict[str, Callable[[list[str]], list[str]]] = {
    "help": lambda rest: [*rest, "--help"],
    "version": lambda rest: ["--version", *rest],
}
"""Options that may be said like commands, `charrnn help train`."""

_COMPLETIONS = ("--install-completion", "--show-completion")
_SMALLER = {
    "charrnn train": "; try a smaller --hidden-size, --batch-size or --bptt",
    "charrnn sample": "; try a smaller --num-samples or --best-of",
}
"""What to try where memory is short."""


def _command(arguments: list[str]) -> str:
    """The command that ``arguments`` call, whose --help tells its options."""
    # (The builtin `next` is hidden here by the module of that name.)
    found = [word for word in arguments if word in VERBS][:1]
    if found == ["classify"]:
        from charrnn.cli import classify

        found += [word for word in arguments if word in classify.VERBS][:1]
    return " ".join(["charrnn", *found])


def _usage(error: UsageError | typer.TyperException, arguments: list[str]) -> str:
    """What to say of ``arguments`` that can't be, with the right spelling where one was meant, and whose help to see."""
    from charrnn.cli import misspelled

    command = _command(arguments)
    if isinstance(error, UsageError):
        said = misspelled.refused(str(error), arguments)
    else:
        if (context := getattr(error, "ctx", None)) is not None:
            # The program that was called knows one verb only, and an option may be another's.
            context.find_root().command = typer.main.get_command(application())
        said, command = misspelled.told(error, arguments, command)
    return f"{_explained(said, arguments)} (see {command} --help)"


def _placed(error: CharrnnError, arguments: list[str]) -> str:
    """What ``error`` says; of several names in one or a number in place of one, as the command of ``arguments`` takes it."""
    if not isinstance(error, absent.AbsentError):
        return str(error)
    from charrnn.cli import misspelled

    return misspelled.placed(error, arguments, typer.main.get_command(application()))


def _explained(message: str, arguments: list[str]) -> str:
    """``message``; if it is about a checkpoint or a device that nobody typed, it says where the name comes from."""
    named = os.environ.get("CHARRNN_CHECKPOINT")
    typed = any(re.match("-c|--checkpoint", argument) for argument in arguments)
    if named and not typed and message.startswith(named):
        return f"{message} (CHARRNN_CHECKPOINT names it)"
    typed = any(argument.startswith("--device") for argument in arguments)
    if os.environ.get("CHARRNN_DEVICE") and not typed and message.startswith("--device"):
        return f"{message} (CHARRNN_DEVICE names it)"
    return message


def _is_typers(arguments: list[str]) -> bool:
    """Whether Typer itself writes to stdout what ``arguments`` ask for: help, or what a shell completes."""
    return not arguments or not {"-h", "--help", *_COMPLETIONS}.isdisjoint(arguments)


def _check_completion(arguments: list[str]) -> None:
    """`UsageError` where Typer would take the shell that runs it for the one that was named."""
    if arguments and arguments[0] in _COMPLETIONS and len(arguments) > 1:
        raise UsageError(f"{arguments[0]} takes no value, not {arguments[1]!s:.80}; it serves the shell that runs it")


def _check_directory(arguments: list[str]) -> None:
    """`CharrnnError` where the current directory isn't there: what libraries say of that, as they are loaded, is no help."""
    try:
        Path.cwd()
    except OSError as error:
        if not _is_typers(arguments):
            raise CharrnnError("the current directory has been removed; cd to another one") from error


def _says_rank_0() -> bool:
    """Whether another rank says what is wrong: torchrun calls all alike, and they haven't met yet."""
    return bool(rank()) and "charrnn.training.distributed" not in sys.modules


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; every expected failure is one line on stderr."""
    from charrnn.output.console import Console, StdoutClosedError

    typed = sys.argv[1:] if arguments is None else arguments
    if typed and typed[0] in _IN_WORDS:
        typed = arguments = _IN_WORDS[typed[0]](typed[1:])
    try:
        _check_completion(typed)
        _check_directory(typed)
        app = application(typed[:1] if typed and typed[0] in VERBS else VERBS)
        code = app(args=arguments, prog_name="charrnn", standalone_mode=False)
        return code if isinstance(code, int) else ExitCode.DONE
    except StdoutClosedError as error:
        return exit_codes.of(error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit as error:  # Typer's own way out where whoever read the help has closed it.
        if isinstance(error.__context__, BrokenPipeError):
            return ExitCode.STDOUT_CLOSED
        raise
    except UsageError as error:
        if not _says_rank_0():
            Console().error(_usage(error, typed))
        return exit_codes.of(error)
    except CharrnnError as error:
        Console().error(_explained(_placed(error, typed), typed))
        return exit_codes.of(error)
    except (MemoryError, RuntimeError) as error:
        # torch reports a lack of memory by errors of its own, in these words; an illegal access to memory is another matter.
        if not isinstance(error, MemoryError) and not re.search("(allocate|out of|not enough) memory", str(error)):
            raise
        Console().error(f"not enough memory{_SMALLER.get(_command(typed), '')}")
        return ExitCode.FAILURE
    except OSError as error:
        named = os.fsdecode(error.filename) if error.filename else "stdout" if _is_typers(typed) else None
        message = f"{named + ': ' if named else ''}{error.strerror or error}"
        Console().error(_explained(message, typed))
        return ExitCode.FAILURE
    except typer.TyperException as error:
        if not error.format_message():  # No arguments at all: the help was shown.
            return error.exit_code
        if not _says_rank_0():
            Console().error(_usage(error, typed))
        return error.exit_code


def main() -> NoReturn:
    """The console script."""
    code = run()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            if stream is sys.stdout and code == ExitCode.DONE:
                code = ExitCode.STDOUT_CLOSED if isinstance(error, BrokenPipeError) else ExitCode.FAILURE
            # The interpreter's own flush at exit would complain, and end with a code of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)
