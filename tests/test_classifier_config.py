"""Settings of classifiers: the values that are legal, and how those that aren't are refused."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from charrnn import UsageError
from charrnn.classifier_config import FEATURES, ClassifierConfig, FitConfig
from charrnn.declaration import limits_of, option_name

# class, field, values at its limits, values just outside
SETTINGS: list[tuple[Any, str, list[Any], list[Any]]] = [
    (ClassifierConfig, "feature", list(FEATURES), ["first", "last+max"]),
    (ClassifierConfig, "bidirectional", [True, False], ["yes"]),
    (ClassifierConfig, "head_size", [None, 1, 65536], [0, 65537, 1.5]),
    (ClassifierConfig, "longest", [1, 2**20], [0, 2**20 + 1]),
    (ClassifierConfig, "temperature", [1e-3, 1e3], [0, 1001]),
    (FitConfig, "errors", ["strict", "replace"], ["ignore"]),
    (FitConfig, "val_fraction", [0, 0.999], [-1e-9, 1]),
    (FitConfig, "val_seed", [0, 2**63 - 1], [-1, 2**63]),
    (FitConfig, "epochs", [None, 1e-9, 1e9], [0, -1]),
    (FitConfig, "minutes", [None, 1e-9, 1e9], [0, -1]),
    (FitConfig, "batch_size", [1, 2**16], [0, 2**16 + 1]),
    (FitConfig, "lr", [1e-12, 10], [0, -1e-3]),
    (FitConfig, "dropout", [0, 0.999], [-0.1, 1]),
    (FitConfig, "typos", [0, 0.999], [-0.1, 1]),
    (FitConfig, "balance", [0, 1], [-0.1, 1.1]),
    (FitConfig, "seed", [0, 2**63 - 1], [-1, 2**63]),
]


def test_every_setting_stands_in_this_table() -> None:
    every = {(config, one.name) for config in (ClassifierConfig, FitConfig) for one in fields(config)}
    assert every == {(config, name) for config, name, *_ in SETTINGS} | {(FitConfig, "encoding")}


@pytest.mark.parametrize(
    ("config", "name", "legal", "illegal"), SETTINGS, ids=[f"{one[0].__name__}.{one[1]}" for one in SETTINGS]
)
def test_a_value_outside_its_limits_is_refused_with_them(config: Any, name: str, legal: list[Any], illegal: list[Any]) -> None:
    for value in legal:
        assert getattr(config(**{name: value}), name) == value
    for value in illegal:
        with pytest.raises(UsageError) as refused:
            config(**{name: value})
        assert str(refused.value) == f"{option_name(name)} must be {limits_of(config, name)}, not {value}"


def test_two_lengths_for_one_fit_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="--epochs or --minutes: give one length for the run, not 2"):
        FitConfig(epochs=1, minutes=1)


def test_settings_survive_json() -> None:
    config = ClassifierConfig(feature="mean", bidirectional=True, head_size=3, temperature=2.0)
    assert ClassifierConfig.from_json(config.to_json()) == config
