"""The settings as keyword arguments of Python: their types, and from an option's name to its field."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from charrnn.declaration import Config, option_name, options


class SampleSettings(TypedDict, total=False):
    """How characters are drawn and when a text ends: the options of ``charrnn sample`` by their names."""

    lines: int
    repetition_penalty: float
    repetition_window: int
    top_k: int
    typical: float
    top_p: float
    min_p: float
    stop: str | Sequence[str]
    keep_stop: bool
    bias: Mapping[str, float]
    clamp: Mapping[str, float]


class ManySettings(SampleSettings, total=False):
    """`SampleSettings`, and what there is besides for many texts."""

    best_of: int
    unique: bool
    not_in: str | Path | Sequence[str | Path]


class TrainSettings(TypedDict, total=False):
    """How a network is trained: the options of ``charrnn train`` by their names; what isn't given is fitted to the text."""

    cell: str
    hidden_size: int
    layers: int
    embedding_size: int
    encoding: str
    errors: str
    field: str
    level: str
    min_count: int
    val_fraction: float
    val: str
    pairs: int
    records: bool
    val_seed: int
    val_lines: str | Path
    batch_size: int
    bptt: int
    groups: int
    steps: int
    epochs: float
    minutes: float
    lr: float
    weight_decay: float
    grad_clip: float
    optimizer: str
    dropout: float
    dropout_input: float
    dropout_between: float
    dropout_output: float
    seed: int
    eval_every: int
    val_whole: bool
    save_every: float
    log_every: int
    device: str
    precision: str
    workers: int | str
    average_every: int
    out: str | Path
    overwrite: bool
    resume: str | Path
    allow_changed_corpus: bool
    init_from: str | Path


OPTIONS_OF_SAMPLE = {"length": "n", "temp": "temperature"}
"""Options of ``charrnn sample`` whose argument has another name."""


def fields(config: type[Config]) -> dict[str, str]:
    """The fields of ``config`` that are options, by the options' names."""
    return {option_name(name).removeprefix("--").replace("-", "_"): name for name in options(config)}


def checked(given: Mapping[str, Any], known: type, others: Mapping[str, str] | None = None) -> dict[str, Any]:
    """``given`` without what is None, NumPy's numbers as Python's.

    Raises:
        TypeError: a name is none of the typed dict ``known``; the message has the one that was meant, for ``others`` theirs.
    """
    for name in given:
        if name not in known.__annotations__:
            near = [others[name]] if others and name in others else difflib.get_close_matches(name, known.__annotations__, 1)
            raise TypeError(f"there is no argument {name!r}{f'; did you mean {near[0]!r}?' if near else ''}")
    return {name: plain(value) for name, value in given.items() if value is not None}


def one_text(given: object) -> str:
    """``given``, which is to be one text; `TypeError` if it is something else."""
    if not isinstance(given, str):
        raise TypeError(f"a text is a str, not {type(given).__name__}")
    return given


def plain(value: Any) -> Any:
    """``value``, one of NumPy's numbers as Python's."""
    return value.item() if hasattr(value, "item") else value


def listed(given: str | Path | Sequence[str | Path]) -> list[str]:
    """One or several names, or texts, as a list."""
    return [str(given)] if isinstance(given, (str, Path)) else [str(one) for one in given]
