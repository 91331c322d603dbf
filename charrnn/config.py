"""Every setting, declared once: its default, its legal values, and its option on the command line; standard library only.

Because the limits stand beside the default, the command line, the checkpoint reader and a program that uses the package all
refuse the same values in the same words. Because the option stands there too, adding a field adds it to the command line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from charrnn import UsageError
from charrnn.cell_types import CELL_TYPES, LETTERS
from charrnn.declaration import Config, Option, Panel, choice, count, option_name, setting
from charrnn.limits import Flag, Interval, Name, Rising, either

GATES = {cell: kind.gates for cell, kind in CELL_TYPES.items()}
"""The gates of each cell in ``torch.nn``'s letters and order; a vanilla RNN has none."""

GATE_NAMES = {letter: gate.name for letter, gate in LETTERS.items()}
"""What people call them."""

MANY = 10**15
"""The largest count: beyond any run, within a float's exact integers."""

CHARACTERS = 500
"""The length of a sample, or of each of its lines, if none is given."""

MOST_PAIRS = 2000
"""The most pairs of symbols that have a vector of their own."""

FITTED = "fitted to the text and the time"
"""What ``--help`` says of the defaults that a run's recipe chooses."""

SHARE = Interval(0, 1, high_open=True)
POSITIVE = Interval(0, low_open=True)
SEED = Interval(0, 2**63 - 1, integer=True)


@dataclass(frozen=True)
class ModelConfig(Config):
    """The network's shape: embedding -> ``num_layers`` recurrent layers -> a linear head over the vocabulary."""

    vocab_size: int = count(2, 1, 0x110001)
    cell: str = choice("lstm", *GATES, option=Option("Recurrent cell (rnn: tanh).", Panel.NETWORK))
    hidden_size: int = count(384, 1, 65536, Option("Units per layer.", Panel.NETWORK, shown=FITTED))
    num_layers: int = count(1, 1, 64, Option("Recurrent layers.", Panel.NETWORK, spelling="--layers"))
    embedding_size: int = count(
        64, 1, 65536, Option("Size of a character's vector.", Panel.RARE, shown="64, or 128 above 256 symbols")
    )
    pair_keys: tuple[int, ...] = setting((), Rising(MOST_PAIRS))  # V times the first symbol's id, plus the second's

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pair_keys and self.pair_keys[-1] >= self.vocab_size**2:
            raise UsageError(f"a pair of symbols must be below {self.vocab_size**2:,}, not {self.pair_keys[-1]:,}")

    def to_json(self) -> dict[str, Any]:
        """The settings as plain JSON values; ``pair_keys`` only where there are some."""
        shape, keys = super().to_json(), {"pair_keys": list(self.pair_keys)} if self.pair_keys else {}
        return {name: value for name, value in shape.items() if name != "pair_keys"} | keys

    def told(self) -> dict[str, Any]:
        """`to_json` for people: how many pairs there are instead of which."""
        return {**replace(self, pair_keys=()).to_json(), "pairs": len(self.pair_keys)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelConfig:
        """Read a shape written by `to_json`."""
        return super().from_json({**data, "pair_keys": tuple(data.get("pair_keys", ()))})

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in ``torch.nn``'s names: ``embedding.weight`` (V, E), ``rnn.weight_ih_l0``...;
        ``pairs.weight`` (R, E) is what each pair adds to its second symbol's vector.
        """
        rows, hidden = max(1, len(GATES[self.cell])) * self.hidden_size, self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (self.vocab_size, self.embedding_size)}
        if self.pair_keys:
            shapes["pairs.weight"] = (len(self.pair_keys), self.embedding_size)
        for layer in range(self.num_layers):
            inputs = self.embedding_size if layer == 0 else hidden
            shapes[f"rnn.weight_ih_l{layer}"] = (rows, inputs)
            shapes[f"rnn.weight_hh_l{layer}"] = (rows, hidden)
            shapes[f"rnn.bias_ih_l{layer}"] = (rows,)
            shapes[f"rnn.bias_hh_l{layer}"] = (rows,)
        return shapes | {"head.weight": (self.vocab_size, hidden), "head.bias": (self.vocab_size,)}

    @property
    def cell_parts(self) -> int:
        """How many vectors a layer carries: h and c for an LSTM, else h alone."""
        return CELL_TYPES[self.cell].parts

    @property
    def state_parts(self) -> int:
        """P, how many a state holds: with pairs one more, for the symbol that was read last (`charrnn.network.pairs`)."""
        return self.cell_parts + bool(self.pair_keys)

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(math.prod(shape) for shape in self.parameter_shapes().values())


@dataclass(frozen=True)
class ReadConfig(Config):
    """How files and stdin become text."""

    encoding: str | None = setting(
        None, Name(), Option("Encoding of files and stdin (default: UTF-8, or UTF-16 or 32 where they are in it).", Panel.RARE)
    )
    errors: str = choice(
        "strict", "strict", "replace", option=Option("replace: go on with U+FFFD for what is not valid text.", Panel.RARE)
    )


@dataclass(frozen=True)
class TextConfig(ReadConfig):
    """How texts are read that may be tables."""

    field: str | None = setting(
        None,
        Name(),
        Option("Read this field of the rows of .jsonl, .csv, .tsv or .parquet files.", Panel.RARE),
    )


@dataclass(frozen=True)
class TrainConfig(TextConfig):
    """How a network is trained. At most one of ``steps``, ``epochs`` and ``minutes`` is set; without any it is 3 minutes."""

    level: str = choice("char", "char", "byte", option=Option("Characters or raw bytes.", Panel.TEXT))
    min_count: int = count(1, 1, MANY, Option("Rarer characters become the unknown one.", Panel.RARE))
    val_fraction: float = setting(0.1, SHARE, Option("Share kept for validation, at least 0 and below 1.", Panel.TEXT))
    val: str = choice(
        "tail", "tail", "scattered", option=Option("Which part that is: the end, or pieces spread over the text.", Panel.TEXT)
    )
    pairs: int = count(
        0, 0, MOST_PAIRS, Option("Vectors for so many pairs of characters, the commonest.", Panel.RARE, shown=FITTED)
    )
    records: bool = setting(False, Flag(), Option("Each line is a record of its own: a name, a molecule.", Panel.TEXT))
    val_seed: int = setting(0, SEED, Option("Another number holds out other records.", Panel.RARE))

    batch_size: int = count(32, 1, 1 << 20, Option("Columns of text read in parallel.", Panel.OPTIMIZATION, shown=FITTED))
    bptt: int = count(64, 1, 1 << 20, Option("Characters that gradients flow back through.", Panel.OPTIMIZATION))
    groups: int = count(
        1,
        1,
        1 << 20,
        Option(
            "Groups of columns that take turns, a step each.",
            Panel.RARE,
            shown="up to 16 for one pass over the text, 1 from 2.4 on",
        ),
    )
    steps: int | None = count(None, 1, MANY, Option("Number of updates.", Panel.LENGTH))
    epochs: float | None = setting(
        None,
        Interval(0, 1e9, low_open=True),
        Option("Number of passes over the training text; may be a fraction.", Panel.LENGTH),
    )
    minutes: float | None = setting(
        None,
        Interval(0, 1e9, low_open=True),
        Option("Minutes by the clock, start-up included (3 if no length is given).", Panel.LENGTH),
    )

    lr: float = setting(1e-2, POSITIVE, Option("Peak learning rate.", Panel.OPTIMIZATION, shown=FITTED))
    weight_decay: float = setting(
        0.1, Interval(0), Option("Decay of the weight matrices.", Panel.RARE, shown="0.1, less in long runs")
    )
    grad_clip: float = setting(1.0, POSITIVE, Option("Largest global norm of the gradient.", Panel.RARE))
    optimizer: str = choice(
        "soap",
        "soap",
        "muon",
        "adamw",
        option=Option(
            "soap for all matrices, muon for the recurrent layers' matrices, adamw for the rest or for all.",
            Panel.OPTIMIZATION,
            shown="soap from 400,000 training characters on, else adamw",
        ),
    )
    dropout_input: float = setting(
        0.0,
        SHARE,
        Option("Locked dropout on the characters' vectors, at least 0 and below 1.", Panel.RARE, shown=FITTED),
    )
    dropout_between: float = setting(0.0, SHARE, Option("The same between layers.", Panel.RARE, shown=FITTED))
    dropout_output: float = setting(0.0, SHARE, Option("The same on the last layer's output.", Panel.RARE, shown=FITTED))
    seed: int = setting(0, SEED, Option("Seed of every random choice.", Panel.OPTIMIZATION))

    eval_every: int | None = count(
        None, 1, MANY, Option("Steps between evaluations.", Panel.RARE, shown="at 8 % of the run, then every tenth")
    )
    val_whole: bool = setting(
        False,
        Flag(),
        Option("At the end score all of the validation text, however long it takes.", Panel.BOOKKEEPING),
    )
    save_every: float = setting(60.0, POSITIVE, Option("Seconds between saves.", Panel.RARE))
    log_every: int | None = count(None, 1, MANY, Option("Steps between step events.", Panel.RARE, shown="about one a second"))
    device: str = choice(
        "auto", "auto", "cpu", "cuda", "mps", option=Option("Where to train.", Panel.MACHINE, envvar="CHARRNN_DEVICE")
    )
    precision: str = choice(
        "auto",
        "auto",
        "fp32",
        "bf16",
        "fp16",
        option=Option("Precision of the matrix products; weights stay fp32.", Panel.RARE),
    )
    workers: int | None = count(
        None,
        1,
        1024,
        Option(
            "Processes that share the columns on a CPU, a core each; threads where none can be forked.",
            Panel.RARE,
            shown="auto: one per core with at least 8 columns each",
            auto=True,
        ),
    )
    average_every: int = count(
        1,
        1,
        MANY,
        Option(
            "Under torchrun: each rank steps on its own, and networks are averaged every K steps.",
            Panel.RARE,
            metavar="K",
            shown="1: gradients are summed at every step",
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [option_name(name) for name in ("steps", "epochs", "minutes") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UsageError(f"{either(tuple(given))}: give one length for the run, not {len(given)}")
        if not given:
            object.__setattr__(self, "minutes", 3.0)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Read settings written by `to_json`, also those of runs that knew one dropout and one optimizer."""
        if "optimizer" not in data:
            share = data.get("dropout", 0.0)
            quarter = share / 4 if isinstance(share, (int, float)) else share  # What isn't a number is refused below.
            shares = {"dropout_input": quarter, "dropout_between": share, "dropout_output": share}
            data = {"optimizer": "adamw", **shares, **data}
        return super().from_json(data)

    @property
    def dropouts(self) -> tuple[float, float, float]:
        """Shares dropped at the input, between layers and at the output."""
        return self.dropout_input, self.dropout_between, self.dropout_output


@dataclass(frozen=True)
class SampleConfig(TextConfig):
    """How characters are drawn, how many texts, and when each ends; None turns a setting off or leaves it to the network.

    ``temperature`` 0 is greedy; with ``temperature_end`` it changes in a straight line over the text. ``length`` -1 is endless;
    None means `CHARACTERS`, or that many per line where ``lines`` are asked for.
    """

    length: int | None = count(
        None, -1, MANY, Option("Characters to generate, -1: without end (default: 500, or 500 per line).", others=("-n",))
    )
    lines: int | None = count(None, 1, MANY, Option("End after so many lines."))
    seed: int | None = setting(None, SEED, Option("The same seed gives the same text (default: a fresh one, named on stderr)."))

    repetition_penalty: float | None = setting(
        None,
        Interval(1e-30, 1e30),  # Far from where a product with any logit overflows.
        Option("Above 1: recent characters are less likely.", Panel.DRAWING, metavar="X", shown="off"),
    )
    repetition_window: int = count(64, 1, 1 << 20, Option("How many characters are recent.", Panel.DRAWING))
    temperature: float = setting(
        0.8,
        Interval(0),
        Option(
            "Below 1 safer, above 1 wilder, 0 greedy; A:B goes from A to B.",
            Panel.DRAWING,
            spelling="--temp",
            others=("--temperature",),
            end="temperature_end",
        ),
    )
    temperature_end: float | None = setting(None, Interval(0))
    top_k: int | None = count(
        None, 1, MANY, Option("Draw from the K likeliest characters only.", Panel.DRAWING, metavar="K", shown="off")
    )
    typical: float | None = setting(
        None,
        Interval(0, 1, low_open=True),
        Option(
            "Draw from the most typical that together reach probability P, above 0 and at most 1.",
            Panel.DRAWING,
            metavar="P",
            shown="off",
        ),
    )
    top_p: float | None = setting(
        None,
        Interval(0, 1, low_open=True),
        Option(
            "Draw from the likeliest that together reach probability P, above 0 and at most 1.",
            Panel.DRAWING,
            metavar="P",
            shown="off",
        ),
    )
    min_p: float | None = setting(
        None,
        Interval(0, 1),
        Option(
            "Draw from those at least P times as likely as the likeliest, P from 0 to 1.",
            Panel.DRAWING,
            metavar="P",
            shown="off",
        ),
    )

    num_samples: int | None = count(
        None,
        1,
        MANY,
        Option("Number of texts from every prompt (default: 1, of records 10).", Panel.MANY_TEXTS, others=("-N",)),
    )
    best_of: int = count(
        1, 1, MANY, Option("Draw K texts for each; keep the likeliest, no loops.", Panel.MANY_TEXTS, metavar="K")
    )
    device: str = choice(
        "cpu", "cpu", "cuda", "mps", "auto", option=Option("Where many texts are drawn; cuda for thousands.", Panel.MANY_TEXTS)
    )
    color: str = choice(
        "never", "never", "surprise", option=Option("On a terminal, colour each character by its bits.", Panel.OUTPUT)
    )

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
class ScoreConfig(TextConfig):
    """How a text is scored: with ``window`` None the state is carried from its beginning to its end."""

    window: int | None = count(None, 1, MANY, Option("Score windows of so many characters, each from a zero state."))


@dataclass(frozen=True)
class NextConfig(ReadConfig):
    """How much of the next character's distribution is shown."""

    top: int = count(10, 1, MANY, Option("Show the K likeliest."))


@dataclass(frozen=True)
class BenchConfig(Config):
    """How long this machine is measured."""

    seconds: float = setting(60.0, Interval(1, 1e6), Option("About how long to measure."))
    rounds: int = count(5, 1, 1000, Option("How often the contenders take turns."))


@dataclass(frozen=True)
class InspectConfig(TextConfig):
    """What `charrnn inspect` colours a text by."""

    color: str | None = choice(
        None,
        "surprise",
        "entropy",
        "change",
        option=Option("Colour the text by its surprise or entropy (bits), or by the change of the state."),
    )
