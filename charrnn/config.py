"""Every setting with its default and its legal values, in one place; standard library only.

A field's limits stand beside its default, so the command line, the checkpoint reader and a program that uses the
package all refuse the same values with the same words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from charrnn import UsageError

GATES = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n"), "rnn": ()}
"""The gates of each cell in ``torch.nn``'s letters and order; a vanilla RNN has none."""

MANY = 10**15
"""The largest count: beyond any run, within a float's exact integers."""

CHARACTERS = 500
"""The length of a sample, or of each of its lines, if none is given."""

_BLOCKS = {"lstm": 4, "gru": 3, "rnn": 1}


@dataclass(frozen=True)
class Interval:
    """The numbers a setting may take: ``low`` to ``high``, each end included unless ``*_open``."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    integer: bool = False

    def __str__(self) -> str:
        def exactly(bound: float) -> str:
            return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"

        parts = []
        if math.isfinite(self.low):
            parts.append(f"{'above' if self.low_open else 'of at least'} {exactly(self.low)}")
        if math.isfinite(self.high):
            parts.append(f"{'below' if self.high_open else 'at most'} {exactly(self.high)}")
        return " ".join(["a whole number" if self.integer else "a number", " and ".join(parts)]).strip()

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.integer else (int, float)):
            return False
        if isinstance(value, float) and not math.isfinite(value):
            return False
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    def parse(self, option: str, text: Any) -> Any:
        """Turn ``text`` into a number of this interval; raise `UsageError` naming ``option`` and the interval."""
        try:
            value: Any = int(text) if self.integer else float(text)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if value not in self:
            raise UsageError(f"{option} must be {self}, not {str(text)[:80] or repr('')}")
        return value


def option_name(name: str) -> str:
    """The command line's spelling of a field's name."""
    return {"num_layers": "--layers", "temperature": "--temp"}.get(name, "--" + name.replace("_", "-"))


def _number(default: Any, low: float, high: float = math.inf, **ends: bool) -> Any:
    return field(default=default, metadata={"interval": Interval(low, high, **ends)})


def _integer(default: Any, low: int, high: float = math.inf) -> Any:
    return field(default=default, metadata={"interval": Interval(low, high, integer=True)})


def _choice(default: str, *choices: str) -> Any:
    return field(default=default, metadata={"choices": choices})


C = TypeVar("C", bound="_Config")


@dataclass(frozen=True)
class _Config:
    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if value is None and setting.default is None:
                continue
            if interval := setting.metadata.get("interval"):
                if value not in interval:
                    raise UsageError(f"{option_name(setting.name)} must be {interval}, not {value!s:.80}")
            elif setting.metadata.get("text") and not isinstance(value, str):
                raise UsageError(f"{option_name(setting.name)} must be a name, not {value!s:.80}")
            elif (choices := setting.metadata.get("choices")) and value not in choices:
                raise UsageError(f"{option_name(setting.name)} must be {_either(choices)}, not {value!s:.80}")

    def to_json(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls: type[C], data: Mapping[str, Any]) -> C:
        """Read settings written by `to_json`; unknown names are ignored, so that older versions read newer files."""
        known = {setting.name for setting in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


def _either(choices: tuple[str, ...]) -> str:
    return " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))


def limits(config: type[_Config], name: str) -> tuple[Any, Interval | None, tuple[str, ...]]:
    """The default, the interval and the choices of one setting (the latter two where it has any)."""
    setting = next(s for s in fields(config) if s.name == name)
    return setting.default, setting.metadata.get("interval"), setting.metadata.get("choices", ())


@dataclass(frozen=True)
class ModelConfig(_Config):
    """The network's shape: embedding -> ``num_layers`` recurrent layers -> a linear head over the vocabulary."""

    vocab_size: int = _integer(2, 1, 0x110001)
    cell: str = _choice("lstm", "lstm", "gru", "rnn")
    embedding_size: int = _integer(64, 1, 65536)
    hidden_size: int = _integer(384, 1, 65536)
    num_layers: int = _integer(1, 1, 64)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in ``torch.nn``'s names: ``embedding.weight`` (V, E), ``rnn.weight_ih_l0``..."""
        rows, hidden = _BLOCKS[self.cell] * self.hidden_size, self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (self.vocab_size, self.embedding_size)}
        for layer in range(self.num_layers):
            inputs = self.embedding_size if layer == 0 else hidden
            shapes[f"rnn.weight_ih_l{layer}"] = (rows, inputs)
            shapes[f"rnn.weight_hh_l{layer}"] = (rows, hidden)
            shapes[f"rnn.bias_ih_l{layer}"] = (rows,)
            shapes[f"rnn.bias_hh_l{layer}"] = (rows,)
        return shapes | {"head.weight": (self.vocab_size, hidden), "head.bias": (self.vocab_size,)}

    @property
    def state_parts(self) -> int:
        """How many vectors a layer carries: an LSTM's h and c, else h alone."""
        return 2 if self.cell == "lstm" else 1

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(math.prod(shape) for shape in self.parameter_shapes().values())


@dataclass(frozen=True)
class TrainConfig(_Config):
    """How a network is trained. Of ``steps``, ``epochs`` and ``minutes`` at most one is set; none means 3 minutes."""

    level: str = _choice("char", "char", "byte")
    min_count: int = _integer(1, 1, MANY)
    encoding: str | None = field(default=None, metadata={"text": True})
    val_fraction: float = _number(0.1, 0, 1, high_open=True)

    batch_size: int = _integer(32, 1, 1 << 20)
    bptt: int = _integer(64, 1, 1 << 20)
    groups: int = _integer(1, 1, 1 << 20)
    steps: int | None = _integer(None, 1, MANY)
    epochs: float | None = _number(None, 0, 1e9, low_open=True)
    minutes: float | None = _number(None, 0, 1e9, low_open=True)

    lr: float = _number(1e-2, 0, low_open=True)
    weight_decay: float = _number(0.1, 0)
    grad_clip: float = _number(1.0, 0, low_open=True)
    optimizer: str = _choice("soap", "soap", "muon", "adamw")
    dropout_input: float = _number(0.0, 0, 1, high_open=True)
    dropout_between: float = _number(0.0, 0, 1, high_open=True)
    dropout_output: float = _number(0.0, 0, 1, high_open=True)
    seed: int = _integer(0, 0, 2**63 - 1)

    eval_every: int | None = _integer(None, 1, MANY)
    save_every: float = _number(60.0, 0, low_open=True)
    log_every: int | None = _integer(None, 1, MANY)
    device: str = _choice("auto", "auto", "cpu", "cuda", "mps")
    precision: str = _choice("auto", "auto", "fp32", "bf16", "fp16")
    workers: int | None = _integer(None, 1, 1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [option_name(name) for name in ("steps", "epochs", "minutes") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UsageError(f"{_either(tuple(given))}: give one length for the run, not {len(given)}")
        if not given:
            object.__setattr__(self, "minutes", 3.0)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Read settings written by `to_json`, also those of runs that knew one dropout and one optimizer."""
        if "optimizer" not in data:
            share = data.get("dropout", 0.0)
            quarter = share / 4 if isinstance(share, (int, float)) else share  # refused, as any value that is no number
            shares = {"dropout_input": quarter, "dropout_between": share, "dropout_output": share}
            data = {"optimizer": "adamw", **shares, **data}
        return super().from_json(data)

    @property
    def dropouts(self) -> tuple[float, float, float]:
        """Shares dropped at the input, between layers and at the output."""
        return self.dropout_input, self.dropout_between, self.dropout_output


@dataclass(frozen=True)
class SampleConfig(_Config):
    """How characters are drawn, how many texts, and when each ends; what is None is off.

    ``temperature`` 0 is greedy; with ``temperature_end`` it changes in a straight line over the text. ``length`` -1 is endless,
    None `CHARACTERS`, or so many per line where ``lines`` are asked for.
    """

    temperature: float = _number(0.8, 0)
    temperature_end: float | None = _number(None, 0)
    length: int | None = _integer(None, -1, MANY)
    lines: int | None = _integer(None, 1, MANY)
    top_k: int | None = _integer(None, 1, MANY)
    typical: float | None = _number(None, 0, 1, low_open=True)
    top_p: float | None = _number(None, 0, 1, low_open=True)
    min_p: float | None = _number(None, 0, 1)
    repetition_penalty: float | None = _number(None, 0, low_open=True)
    repetition_window: int = _integer(64, 1, 1 << 20)
    num_samples: int = _integer(1, 1, MANY)
    best_of: int = _integer(1, 1, MANY)
    seed: int | None = _integer(None, 0, 2**63 - 1)
    color: str = _choice("never", "never", "surprise")
    device: str = _choice("cpu", "cpu", "cuda", "mps", "auto")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length == -1 and self.temperature_end is not None:
            raise UsageError("--temp A:B needs an end to go to; give a --length other than -1")

    @property
    def limit(self) -> int | None:
        """The most characters of a text; None is endless."""
        if self.length is None:
            return CHARACTERS * (self.lines or 1)
        return None if self.length == -1 else self.length


@dataclass(frozen=True)
class ScoreConfig(_Config):
    """How a text is scored: ``window`` None carries the state through it."""

    window: int | None = _integer(None, 1, MANY)
    encoding: str | None = field(default=None, metadata={"text": True})


@dataclass(frozen=True)
class NextConfig(_Config):
    """How much of the next character's distribution is shown."""

    top: int = _integer(10, 1, MANY)


@dataclass(frozen=True)
class BenchConfig(_Config):
    """How long this machine is measured."""

    seconds: float = _number(60.0, 1, 1e6)
    rounds: int = _integer(5, 1, 1000)


@dataclass(frozen=True)
class InspectConfig(_Config):
    """What `charrnn inspect` colours a text by."""

    color: str | None = field(default=None, metadata={"choices": ("surprise", "entropy", "change")})


def temperatures(option: str, text: str) -> tuple[float, float | None]:
    """A temperature, or A:B for one that goes from A to B, as `SampleConfig` has them; `UsageError` naming ``option``."""
    _, interval, _ = limits(SampleConfig, "temperature")
    assert interval is not None
    first, colon, last = text.partition(":")
    return interval.parse(option, first), interval.parse(option, last) if colon else None
