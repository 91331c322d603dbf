"""From the settings' declarations to Typer's options, and back from what was given to the settings.

A verb takes a configuration as one parameter: ``config: SampleConfig`` receives the settings, ``given: Given[TrainConfig]``
only what the command line gave. `command` turns such a parameter into an option for each field that declares one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin

import typer
import typer.core

from charrnn import UsageError
from charrnn.cli import help  # noqa: A004 - the module of that name
from charrnn.declaration import Config, Option, Panel, declared, limits_of, option_name, options
from charrnn.limits import Choices, Flag, from_to

C = TypeVar("C", bound=Config)

AUTO = "auto"
ANY_TEXT = ("TEXT", "CHAR=X")
"""What ``--help`` shows in place of values that may begin with a dash, as an option does."""


@dataclass(frozen=True)
class Given(Generic[C]):
    """Those settings of a configuration that the command line gave, by their fields' names."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class After:
    """In an annotation: ``--help`` shows the option after the one with this parameter's name."""

    name: str


class Group(typer.core.TyperGroup):
    """Commands with a help page of ours."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the page; Typer, which expects it in ``formatter``, adds an empty line."""
        typer.echo(help.page(self, ctx), nl=False)


class Verb(typer.core.TyperCommand):
    """A command with a help page of ours, that takes no empty name for a file: a path would make `.` of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Leave what can't be read to whoever reads it, who tells of it as of any other file."""
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            kind: Any = parameter.type
            if kind.name == "path":
                kind.readable = False

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the page; Typer, which expects it in ``formatter``, adds an empty line."""
        typer.echo(help.page(self, ctx), nl=False)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raise `UsageError` for a value that was left out, or what a shell makes of a variable that isn't set."""
        if ctx.resilient_parsing:  # A shell completes what is being typed.
            return super().parse_args(ctx, args)
        self._check_values(ctx, args)
        typed = [*args]
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            if parameter.type.name == "path":
                value = ctx.params.get(parameter.name or "")
                name = max(parameter.opts, key=len) if parameter.param_type_name == "option" else "PATH"
                self._check_names(name, value if isinstance(value, (list, tuple)) else [value], typed)
        return rest

    @staticmethod
    def _check_names(option: str, names: Iterable[Any], typed: list[str]) -> None:
        """`UsageError` for what a shell leaves of a variable that isn't set, or of a ~ behind =, --out=~/run."""
        for name in filter(lambda name: name is not None, names):
            if name == "":
                raise UsageError(f"{option}: the name is empty; is a variable not set?")
            home = str(name).partition("/")[0]
            if f"{option}={name}" in typed and home.startswith("~") and not Path(home).exists():
                raise UsageError(f"{option}={name}: a shell replaces no ~ behind =; put a space there: {option} {name}")

    def _check_values(self, ctx: Any, args: list[str]) -> None:
        """`UsageError` where Typer would take an option for the value of the one before, unless that may be any text."""
        options = [parameter for parameter in self.get_params(ctx) if parameter.param_type_name == "option"]
        spellings = {spelling: option for option in options for spelling in (*option.opts, *option.secondary_opts)}
        words = iter(args)
        for word in words:
            option: Any = spellings.get(word)
            if word == "--":
                return
            if option is None or option.is_flag:
                continue
            if (value := next(words, "")).partition("=")[0] in spellings and option.metavar not in ANY_TEXT:
                raise UsageError(f"Option '{word}' requires an argument, and {value} is an option of its own")


def complete_checkpoint(incomplete: str) -> list[str]:
    """The checkpoints and runs that a shell offers for ``incomplete``."""
    from charrnn.cli import completion

    return completion.checkpoints(incomplete)


def complete_classifier(incomplete: str) -> list[str]:
    """The classifiers that a shell offers for ``incomplete``."""
    from charrnn.cli import completion

    return completion.checkpoints(incomplete, completion.CLASSIFIER)


def checkpoint_option(more: str = "") -> Any:
    """``-c`` of a verb that reads networks; ``more`` says what several of them are for."""
    return typer.Option(
        "-c",
        "--checkpoint",
        metavar="PATH",
        envvar="CHARRNN_CHECKPOINT",
        help="A checkpoint file or a run directory (default: latest, the most recent best.safetensors under checkpoints/)"
        f"{more}.",
        autocompletion=complete_checkpoint,
    )


Checkpoint = Annotated[Path | None, checkpoint_option()]
Checkpoints = Annotated[list[Path] | None, checkpoint_option("; several: the mean of their predictions")]
TEXTS = "Text files (.gz, .bz2, .xz too), directories of them, or - for stdin."
"""The help of an argument that names texts."""
Texts = Annotated[list[str], typer.Argument(metavar="FILE...", help=TEXTS)]
_OUTPUT, _RARE = Panel.OUTPUT.value, Panel.RARE.value
Json = Annotated[
    bool, typer.Option("--json", help="Machine-readable JSON on stdout, one object per line.", rich_help_panel=_OUTPUT)
]
Uncalibrated = Annotated[
    bool,
    typer.Option(
        "--uncalibrated",
        help="Predictions as the network makes them, without the temperature that was fitted to validation text.",
        rich_help_panel=_RARE,
    ),
]
KeepNewline = Annotated[
    bool,
    typer.Option("--keep-newline", help="Keep the newline at the end of a prompt from stdin or a file.", rich_help_panel=_RARE),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Errors only on stderr.", rich_help_panel=_OUTPUT)]


def setting(config: type[Config], name: str, option: Option) -> Any:
    """Typer's option for ``option``, whose legal values and default are those of the field ``name``."""
    spelling, default, limits = option.spelling or option_name(name), declared(config, name).default, limits_of(config, name)
    shown = option.shown or (f"{default:g}" if isinstance(default, float) else default)

    if isinstance(limits, Flag):
        both = spelling if option.negative is None else f"{spelling}/{option.negative}"
        said = option.help if option.shown is None else f"{option.help} (default: {option.shown})"
        return typer.Option(both, help=said, rich_help_panel=_title(option.panel))

    def parse(text: str) -> Any:
        if option.auto and text.lower() == AUTO:
            return AUTO
        return from_to(limits, spelling, text) if option.end is not None else limits.parse(spelling, text)

    words = limits.words if isinstance(limits, Choices) else ()

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete.lower())]

    return typer.Option(
        spelling,
        *option.others,
        parser=parse,
        metavar=option.metavar or limits.metavar + "|auto" * option.auto + "|A:B" * (option.end is not None),
        help=option.help if shown is None else f"{option.help} (default: {shown})",
        rich_help_panel=_title(option.panel),
        envvar=option.envvar,
        autocompletion=complete if words else None,
    )


def command(verb: Callable[..., None]) -> Callable[..., None]:
    """``verb`` with each configuration among its parameters unfolded into options, in the order of ``--help``."""
    own = inspect.signature(verb, eval_str=True).parameters
    unfolded = {name: config for name, parameter in own.items() if (config := _configuration(parameter.annotation))}

    # Typer reads the signature and passes every option by its name.
    def call(**typed: Any) -> None:
        arguments = {name: typed[name] for name in own if name not in unfolded}
        for name, config in unfolded.items():
            given = _given(config, typed)
            arguments[name] = Given(given) if get_origin(own[name].annotation) is Given else config(**given)
        verb(**arguments)

    call.__name__, call.__doc__ = verb.__name__, verb.__doc__
    call.__signature__ = inspect.Signature(_in_order(own.values(), unfolded))  # type: ignore[attr-defined] # read by inspect
    call.__annotations__ = {}
    return call


def _configuration(annotation: Any) -> type[Config] | None:
    """The class of a parameter that is a configuration or `Given` of one."""
    found = get_args(annotation)[0] if get_origin(annotation) is Given else annotation
    return found if isinstance(found, type) and issubclass(found, Config) else None


def _in_order(own: Iterable[inspect.Parameter], unfolded: Mapping[str, type[Config]]) -> list[inspect.Parameter]:
    """All parameters, by their panels; within a panel a verb's own ones where `After` says or else where they stand."""
    found: dict[str, inspect.Parameter] = {}
    for parameter in own:
        config = unfolded.get(parameter.name)
        for one in _parameters(config) if config is not None else [parameter]:
            found[one.name] = one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    order = list(found)
    for name, parameter in found.items():
        for note in getattr(parameter.annotation, "__metadata__", ()):
            if isinstance(note, After):
                order.remove(name)
                order.insert(order.index(note.name) + 1, name)
    return sorted((found[name] for name in order), key=_place)


def _parameters(config: type[Config]) -> list[inspect.Parameter]:
    """A parameter for each field that declares an option."""
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_type(config, name), setting(config, name, option)],
        )
        for name, option in options(config).items()
    ]


def _type(config: type[Config], name: str) -> Any:
    """What Typer gives for a setting; None if it isn't given."""
    return bool | None if isinstance(limits_of(config, name), Flag) else Any


def _place(parameter: inspect.Parameter) -> int:
    """The number of the parameter's panel; the options without one come last here, first in ``--help``."""
    titles = [getattr(note, "rich_help_panel", None) for note in getattr(parameter.annotation, "__metadata__", ())]
    return next((number for number, panel in enumerate(Panel) if panel.value in titles), len(Panel))


def _title(panel: Panel | None) -> str | None:
    return None if panel is None else panel.value


def _given(config: type[Config], typed: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among what was typed."""
    given: dict[str, Any] = {}
    for name, option in options(config).items():
        value = typed[name]
        if value is None:
            continue
        if option.end is not None:
            given[name], given[option.end] = value
        else:
            given[name] = None if option.auto and value == AUTO else value
    return given
