"""config: every setting refuses what it can't be, with words that name the option and the legal values."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from small_networks import OF_TORCH

from charrnn import CharrnnError, UsageError
from charrnn.config import GATES, ModelConfig, SampleConfig, TrainConfig
from charrnn.declaration import limits_of
from charrnn.limits import Choices, from_to

FROM_0 = "a number of at least 0"
FROM_1 = "a whole number of at least 1"
ROOM = "a number of at least 1e-30 and at most 1e+30"
ABOVE_0 = "a number above 0"
SHARE = "a number of at least 0 and below 1"
SIZE = "a whole number of at least 1 and at most 65,536"

# class, field, the option, the interval in words, values at its ends, values just outside
SETTINGS: list[tuple[Any, str, str, str, list[Any], list[Any]]] = [
    (
        ModelConfig,
        "vocab_size",
        "--vocab-size",
        "a whole number of at least 1 and at most 1,114,113",
        [1, 1114113],
        [0, 1114114],
    ),
    (ModelConfig, "embedding_size", "--embedding-size", SIZE, [1, 65536], [0, 65537, 1.5]),
    (ModelConfig, "hidden_size", "--hidden-size", SIZE, [1, 65536], [0, -1, 65537, 1.5]),
    (ModelConfig, "num_layers", "--layers", "a whole number of at least 1 and at most 64", [1, 64], [0, 65, 1.5]),
    (TrainConfig, "pairs", "--pairs", "a whole number of at least 0 and at most 2,000", [0, 2000], [-1, 2001, 1.5]),
    (TrainConfig, "min_count", "--min-count", FROM_1, [1, 10**9], [0, 1.5]),
    (TrainConfig, "val_seed", "--val-seed", "a whole number of at least 0 and at most ", [0, 2**63 - 1], [-1, 2**63, 1.5]),
    (TrainConfig, "val_fraction", "--val-fraction", SHARE, [0, 0.999], [-1e-9, 1, 1.5]),
    (
        TrainConfig,
        "batch_size",
        "--batch-size",
        "a whole number of at least 1 and at most 1,048,576",
        [1, 2**20],
        [0, 2**20 + 1],
    ),
    (TrainConfig, "groups", "--groups", "a whole number of at least 1 and at most 1,048,576", [1, 2**20], [0, 2**20 + 1]),
    (TrainConfig, "bptt", "--bptt", "a whole number of at least 1 and at most 1,048,576", [1, 2**20], [0, 2**20 + 1]),
    (TrainConfig, "steps", "--steps", FROM_1, [1, 10**12], [0, -5, 0.5]),
    (TrainConfig, "epochs", "--epochs", ABOVE_0, [1e-9, 1000], [0, -1]),
    (TrainConfig, "minutes", "--minutes", ABOVE_0, [1e-9, 1e6], [0, -1]),
    (TrainConfig, "lr", "--lr", ABOVE_0, [1e-12, 10], [0, -1e-3]),
    (TrainConfig, "weight_decay", "--weight-decay", FROM_0, [0, 5], [-1e-9]),
    (TrainConfig, "grad_clip", "--grad-clip", ABOVE_0, [1e-9, 1e9], [0, -1]),
    (TrainConfig, "dropout_input", "--dropout-input", SHARE, [0, 0.999], [-0.1, 1]),
    (TrainConfig, "dropout_between", "--dropout-between", SHARE, [0, 0.999], [-0.1, 1]),
    (TrainConfig, "dropout_output", "--dropout-output", SHARE, [0, 0.999], [-0.1, 1]),
    (TrainConfig, "seed", "--seed", "a whole number of at least 0 and at most ", [0, 2**63 - 1], [-1, 2**63]),
    (TrainConfig, "eval_every", "--eval-every", FROM_1, [1], [0, 1.5]),
    (TrainConfig, "save_every", "--save-every", ABOVE_0, [1e-9], [0, -1]),
    (TrainConfig, "log_every", "--log-every", FROM_1, [1], [0, 1.5]),
    (TrainConfig, "workers", "--workers", "a whole number of at least 1 and at most 1,024", [1, 1024], [0, 1025, 1.5]),
    (TrainConfig, "average_every", "--average-every", FROM_1, [1, 10**12], [0, 1.5]),
    (SampleConfig, "temperature", "--temp", FROM_0, [0, 100], [-1e-9]),
    (SampleConfig, "temperature_end", "--temperature-end", FROM_0, [0, 100], [-1e-9]),
    (SampleConfig, "length", "--length", "a whole number of at least -1", [-1, 0, 10**9], [-2, 0.5]),
    (SampleConfig, "lines", "--lines", FROM_1, [1, 10**9], [0, 1.5]),
    (SampleConfig, "top_k", "--top-k", FROM_1, [1, 10**9], [0, 2.5]),
    (SampleConfig, "typical", "--typical", "a number above 0 and at most 1", [1e-9, 1], [0, 1.0001]),
    (SampleConfig, "top_p", "--top-p", "a number above 0 and at most 1", [1e-9, 1], [0, 1.0001]),
    (SampleConfig, "min_p", "--min-p", "a number of at least 0 and at most 1", [0, 1], [-1e-9, 1.0001]),
    (
        SampleConfig,
        "repetition_penalty",
        "--repetition-penalty",
        ROOM,
        [1e-9, 10],
        [0, 1e-308],
    ),
    (SampleConfig, "repetition_window", "--repetition-window", FROM_1, [1, 1 << 20], [0, 1.5]),
    (SampleConfig, "num_samples", "--num-samples", FROM_1, [1, 10**9], [0, 1.5]),
    (SampleConfig, "best_of", "--best-of", FROM_1, [1, 10**9], [0, 1.5]),
    (SampleConfig, "seed", "--seed", "a whole number of at least 0 and at most ", [0, 2**63 - 1], [-1, 2**63]),
]
NAMES = [f"{config.__name__}.{name}" for config, name, *_ in SETTINGS]
CHOICES = {
    ("ModelConfig", "cell"): tuple(GATES),
    ("TrainConfig", "level"): ("char", "byte"),
    ("TrainConfig", "val"): ("tail", "scattered"),
    ("TrainConfig", "optimizer"): ("soap", "muon", "adamw"),
    ("TrainConfig", "device"): ("auto", "cpu", "cuda", "mps"),
    ("TrainConfig", "precision"): ("auto", "fp32", "bf16", "fp16"),
    ("TrainConfig", "errors"): ("strict", "replace"),
    ("SampleConfig", "errors"): ("strict", "replace"),
    ("SampleConfig", "color"): ("never", "surprise"),
    ("SampleConfig", "device"): ("cpu", "cuda", "mps", "auto"),
}
CONFIGS = {"ModelConfig": ModelConfig, "TrainConfig": TrainConfig, "SampleConfig": SampleConfig}


def test_every_setting_stands_in_these_tables() -> None:
    every = {(name, field.name) for name, config in CONFIGS.items() for field in fields(config)}
    here = {(config.__name__, name) for config, name, *_ in SETTINGS} | CHOICES.keys()
    assert every == here | {
        ("TrainConfig", "encoding"),
        ("TrainConfig", "field"),
        ("SampleConfig", "encoding"),
        ("SampleConfig", "field"),
        ("TrainConfig", "records"),
        ("TrainConfig", "val_whole"),
        ("ModelConfig", "pair_keys"),
    }


def test_defaults_are_the_documented_ones() -> None:
    model, train, sample = ModelConfig(), TrainConfig(), SampleConfig()
    assert (model.cell, model.num_layers, model.hidden_size, model.embedding_size) == ("lstm", 1, 384, 64)
    assert (train.batch_size, train.bptt, train.weight_decay, train.grad_clip) == (32, 64, 0.1, 1.0)
    assert (train.optimizer, train.lr, train.dropouts, train.workers) == ("soap", 0.01, (0, 0, 0), None)
    assert (train.level, train.min_count, train.encoding, train.val_fraction) == ("char", 1, None, 0.1)
    assert train.val == "tail"
    assert (train.save_every, train.eval_every, train.log_every) == (60, None, None)
    assert (train.device, train.precision) == ("auto", "auto")
    assert (sample.temperature, sample.limit, sample.top_k, sample.top_p, sample.seed) == (0.8, 500, None, None, None)
    assert (sample.repetition_penalty, sample.repetition_window, sample.num_samples, sample.best_of) == (None, 64, None, 1)


@pytest.mark.parametrize(("config", "name", "option", "words", "legal", "illegal"), SETTINGS, ids=NAMES)
def test_a_number_outside_its_interval_is_refused_with_option_and_interval(
    config: Any, name: str, option: str, words: str, legal: list[Any], illegal: list[Any]
) -> None:
    for value in [*illegal, math.nan, math.inf, -math.inf, "1", True, [1]]:
        with pytest.raises(UsageError) as caught:
            config(**{name: value})
        assert str(caught.value).startswith(f"{option} must be {words}")
        assert str(caught.value).endswith(f", not {value}")
    for value in legal:
        assert getattr(config(**{name: value}), name) == value


@pytest.mark.parametrize(("config", "name", "option", "words", "legal", "illegal"), SETTINGS, ids=NAMES)
def test_an_option_refuses_text_that_its_field_refuses(
    config: Any, name: str, option: str, words: str, legal: list[Any], illegal: list[Any]
) -> None:
    interval = limits_of(config, name)
    for text in [*map(str, illegal), "nan", "inf", "-inf", "1e999", "", "x", "0x10", None, "-" + "9" * 5000]:
        with pytest.raises(UsageError) as caught:
            interval.parse(option, text)
        assert str(caught.value).startswith(f"{option} must be {words}")
    for value in legal:
        assert interval.parse(option, str(value)) == value


@pytest.mark.parametrize(("name", "option"), [("hidden_size", "--hidden-size"), ("num_layers", "--layers")])
def test_a_whole_number_beyond_every_float_is_refused_not_a_traceback(name: str, option: str) -> None:
    interval = limits_of(ModelConfig, name)
    with pytest.raises(UsageError, match=option):
        ModelConfig(**{name: 10**400})
    with pytest.raises(UsageError, match=option):
        interval.parse(option, "1" + "0" * 400)


@pytest.mark.parametrize(("where", "choices"), CHOICES.items())
def test_a_choice_is_one_of_its_choices(where: tuple[str, str], choices: tuple[str, ...]) -> None:
    config, name = CONFIGS[where[0]], where[1]
    limits = limits_of(config, name)
    assert limits == Choices(choices)
    for choice in choices:
        assert getattr(config(**{name: choice}), name) == choice
    for wrong in ("", "LSTM", "elman", None, 1, ["cpu"]):
        with pytest.raises(UsageError) as caught:
            config(**{name: wrong})
        assert str(caught.value) == f"--{name} must be {', '.join(choices[:-1])} or {choices[-1]}, not {wrong}"


def test_without_a_length_a_run_takes_3_minutes() -> None:
    assert TrainConfig().minutes == 3
    assert TrainConfig(steps=5).minutes is None
    assert TrainConfig(epochs=0.5).minutes is None
    assert TrainConfig(minutes=7).minutes == 7


@pytest.mark.parametrize("given", [("--steps", "--epochs"), ("--steps", "--minutes"), ("--epochs", "--minutes")])
def test_two_lengths_for_one_run_are_refused_by_name(given: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=f"^{given[0]} or {given[1]}: give one length for the run, not 2$"):
        TrainConfig(**{option.removeprefix("--"): 1 for option in given})


def test_three_lengths_for_one_run_are_refused() -> None:
    with pytest.raises(UsageError, match="not 3"):
        TrainConfig(steps=1, epochs=1, minutes=1)


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(),
        ModelConfig(vocab_size=7, cell="gru", embedding_size=3, hidden_size=5, num_layers=2),
        TrainConfig(),
        TrainConfig(steps=9, encoding="latin-1", level="byte", lr=1e-4, seed=2**63 - 1),
        SampleConfig(),
        SampleConfig(temperature=0, top_k=3, top_p=0.5, seed=1),
    ],
)
def test_settings_survive_json(config: Any) -> None:
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_newer_versions_settings_are_ignored_and_illegal_ones_refused() -> None:
    assert ModelConfig.from_json({"hidden_size": 8, "not_yet_invented": 1}) == ModelConfig(hidden_size=8)
    with pytest.raises(CharrnnError, match=r"its hidden size must be .*, not 0"):
        ModelConfig.from_json({"hidden_size": 0})


def test_settings_of_a_run_that_knew_one_dropout_and_one_optimizer_mean_what_they_meant() -> None:
    """A quarter of the share was dropped from the embedding, all of it from every layer's output."""
    old = {"steps": 9, "lr": 0.005, "batch_size": 16, "dropout": 0.2}
    assert TrainConfig.from_json(old) == TrainConfig(
        steps=9, lr=0.005, batch_size=16, optimizer="adamw", dropout_input=0.05, dropout_between=0.2, dropout_output=0.2
    )
    assert TrainConfig.from_json({"steps": 9}).dropouts == (0, 0, 0)
    with pytest.raises(CharrnnError, match="its dropout"):
        TrainConfig.from_json({"dropout": 1})
    new = TrainConfig(steps=9, dropout_output=0.4)
    assert TrainConfig.from_json({**new.to_json(), "dropout": 0.9}) == new


@pytest.mark.parametrize("share", ["a lot", None, [0.1], float("nan")])
def test_an_old_dropout_that_is_no_number_is_refused(share: Any) -> None:
    with pytest.raises(CharrnnError, match="its dropout"):
        TrainConfig.from_json({"dropout": share})


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        ModelConfig().hidden_size = 1  # type: ignore[misc]


@pytest.mark.parametrize("cell", OF_TORCH)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_parameter_shapes_are_torchs_own(cell: str, num_layers: int) -> None:
    from small_runs import KERNELS
    from torch import nn

    V, E, H = 11, 3, 5
    recurrent = KERNELS[cell]
    torchs = nn.ModuleDict(
        {"embedding": nn.Embedding(V, E), "rnn": recurrent(E, H, num_layers=num_layers), "head": nn.Linear(H, V)}
    ).state_dict()
    config = ModelConfig(vocab_size=V, cell=cell, embedding_size=E, hidden_size=H, num_layers=num_layers)
    assert config.parameter_shapes() == {name: tuple(weight.shape) for name, weight in torchs.items()}
    assert config.parameters == sum(weight.numel() for weight in torchs.values())


def test_of_torchs_cells_only_the_lstm_carries_two_vectors_and_gates_are_in_torchs_order() -> None:
    assert {cell: ModelConfig(cell=cell).state_parts for cell in OF_TORCH} == {"lstm": 2, "gru": 1, "rnn": 1}
    assert {cell: GATES[cell] for cell in OF_TORCH} == {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n"), "rnn": ()}


@pytest.mark.parametrize(
    ("settings", "limit"),
    [({}, 500), ({"length": 0}, 0), ({"length": -1}, None), ({"lines": 3}, 1500), ({"lines": 3, "length": 20}, 20)],
)
def test_a_text_ends_after_500_characters_or_500_per_line_or_what_is_given(settings: dict[str, Any], limit: int | None) -> None:
    assert SampleConfig(**settings).limit == limit


@pytest.mark.parametrize(("text", "expected"), [("0.5", (0.5, None)), ("0.5:1.2", (0.5, 1.2)), ("0:0", (0.0, 0.0))])
def test_a_temperature_is_a_number_or_two(text: str, expected: tuple[float, float | None]) -> None:
    assert from_to(limits_of(SampleConfig, "temperature"), "--temp", text) == expected


@pytest.mark.parametrize("text", ["", "-1:1", "1:-1", "1:2:3", "nan:1", "1:inf"])
def test_a_temperature_that_is_none_is_refused_with_its_interval(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--temp must be a number of at least 0, not "):
        from_to(limits_of(SampleConfig, "temperature"), "--temp", text)


@pytest.mark.parametrize("text", [":", "1:", ":1"])
def test_a_temperature_that_goes_nowhere_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=rf"^--temp takes one value, or two as A:B, not {text}$"):
        from_to(limits_of(SampleConfig, "temperature"), "--temp", text)


def test_a_temperature_that_changes_needs_an_end() -> None:
    with pytest.raises(UsageError, match="--temp A:B needs an end"):
        SampleConfig(temperature_end=1.0, length=-1)
