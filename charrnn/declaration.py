"""How a setting is declared: its default, its limits and its option in one line; standard library only.

A class of settings is a frozen dataclass below `Config`. `setting`, `count` and `choice` make its fields; whoever needs a
declaration asks `declared`, `limits_of`, `options` or `option_name` for it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from enum import Enum
from typing import Any, TypeVar

from charrnn import CharrnnError, UsageError
from charrnn.limits import Choices, Interval, Limits


class Panel(Enum):
    """The groups of options in ``--help``, in the order in which it shows them."""

    LENGTH = "Length of the run (one of)"
    BOOKKEEPING = "Evaluation and saving"
    TEXT = "The text"
    NETWORK = "The network"
    OPTIMIZATION = "Optimization"
    MACHINE = "The machine"
    PROMPT = "What to go on from"
    DRAWING = "How characters are drawn, in this order"
    MANY_TEXTS = "Many texts"
    OUTPUT = "What is printed"
    RARE = "Rarely needed"


@dataclass(frozen=True)
class Option:
    """How a setting is given on the command line; what the field tells anyway need not be repeated here."""

    help: str
    panel: Panel | None = None
    spelling: str | None = None
    """The option's name, if it isn't the field's."""
    negative: str | None = None
    """Of a flag the option that says the opposite, where not to give it says neither."""
    others: tuple[str, ...] = ()
    """Further names."""
    metavar: str | None = None
    """What stands for the value, if it isn't that of the limits."""
    shown: str | None = None
    """What ``--help`` says of the default, if it isn't the field's."""
    envvar: str | None = None
    auto: bool = False
    """Whether the word ``auto`` may be given for None."""
    end: str | None = None
    """The field that takes B where A:B is given."""


def setting(default: Any, limits: Limits, option: Option | None = None) -> Any:
    """A field with its legal values; None is legal where it is the default."""
    return field(default=default, metadata={"limits": limits, "option": option})


def count(default: int | None, low: int, high: int, option: Option | None = None) -> Any:
    """A field that holds a whole number from ``low`` to ``high``."""
    return setting(default, Interval(low, high, integer=True), option)


def choice(default: str | None, *words: str, option: Option) -> Any:
    """A field that holds one of ``words``."""
    return setting(default, Choices(words), option)


C = TypeVar("C", bound="Config")


@dataclass(frozen=True)
class Config:
    """Settings that are within their limits: `UsageError` for one that isn't."""

    def __post_init__(self) -> None:
        for one in fields(self):
            if (refusal := _refusal(one, getattr(self, one.name))) is not None:
                raise UsageError(f"{option_name(one.name)} {refusal}")

    def to_json(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls: type[C], data: Mapping[str, Any]) -> C:
        """Read settings written by `to_json`; unknown names are ignored, so that older versions read newer files.

        Raises:
            CharrnnError: a setting isn't within its limits.
        """
        known = {one.name: one for one in fields(cls)}
        found = {name: value for name, value in data.items() if name in known}
        for name, value in found.items():
            if (refusal := _refusal(known[name], value)) is not None:
                raise CharrnnError(f"its {name.replace('_', ' ')} {refusal}")
        return cls(**found)


def _refusal(one: Field[Any], value: object) -> str | None:
    """Why a field can't have ``value``, in words that go on from its name."""
    limits: Limits = one.metadata["limits"]
    legal = value in limits or (value is None and one.default is None)
    return None if legal else f"must be {limits}, not {value!s:.80}"


def declared(config: type[Config], name: str) -> Field[Any]:
    """The declaration of one one."""
    return next(one for one in fields(config) if one.name == name)


def limits_of(config: type[Config], name: str) -> Limits:
    """The legal values of one setting; a setting whose default is None may be None as well."""
    limits: Limits = declared(config, name).metadata["limits"]
    return limits


def options(config: type[Config]) -> dict[str, Option]:
    """The settings that the command line takes, by their fields' names, in the order of their panels."""
    panels = [*Panel, None]
    declarations = {one.name: option for one in fields(config) if (option := one.metadata["option"]) is not None}
    return dict(sorted(declarations.items(), key=lambda pair: panels.index(pair[1].panel)))


@functools.cache
def option_name(name: str) -> str:
    """The command line's spelling of a field's name."""
    for config in _below(Config):
        option = options(config).get(name)
        if option is not None and option.spelling is not None:
            return option.spelling
    return "--" + name.replace("_", "-")


def _below(config: type[Config]) -> Iterator[type[Config]]:
    """The classes that inherit from ``config``, each before those that inherit from it."""
    for one in config.__subclasses__():
        yield one
        yield from _below(one)
