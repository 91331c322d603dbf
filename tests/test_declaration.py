"""What a field declares: its limits hold, its option is named and found."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from charrnn import UsageError
from charrnn.config import ModelConfig, SampleConfig, TrainConfig
from charrnn.declaration import Config, Option, Panel, choice, count, declared, limits_of, option_name, options, setting
from charrnn.limits import Choices, Interval

SPELLED = {
    "num_layers": "--layers",
    "temperature": "--temp",
    "val_fraction": "--val-fraction",
    "lr": "--lr",
    "guests": "--people",
}


@dataclass(frozen=True)
class Supper(Config):
    """Settings that no command has."""

    guests: int | None = count(None, 1, 12, Option("How many come.", spelling="--people"))
    dish: str = choice("soup", "soup", "pie", option=Option("What there is.", Panel.OPTIMIZATION))
    salt: float = setting(0.5, Interval(0, 1), Option("How much.", Panel.NETWORK))
    cook: int = count(1, 1, 9)


def test_a_declaration_tells_default_and_limits_and_holds_them() -> None:
    assert (declared(Supper, "guests").default, declared(Supper, "dish").default) == (None, "soup")
    assert limits_of(Supper, "dish") == Choices(("soup", "pie"))
    assert Supper(guests=None).guests is None
    for wrong in ({"guests": 13}, {"dish": "cake"}, {"salt": None}, {"cook": 0}):
        name, value = next(iter(wrong.items()))
        with pytest.raises(UsageError) as caught:
            Supper(**wrong)  # type: ignore[arg-type]
        assert str(caught.value) == f"{option_name(name)} must be {limits_of(Supper, name)}, not {value}"


def test_the_options_are_the_fields_that_declare_one_by_their_panels() -> None:
    assert list(options(Supper)) == ["salt", "dish", "guests"]


def test_an_option_is_spelled_as_on_the_command_line() -> None:
    assert {name for config in (ModelConfig, SampleConfig, TrainConfig, Supper) for name in options(config)} >= SPELLED.keys()
    assert {name: option_name(name) for name in SPELLED} == SPELLED
