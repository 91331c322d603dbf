"""The recipe chooses every setting that wasn't given by hand, by the text's size, the budget and the machine's speed.

Two quantities decide. The *work* is what the budget pays for, in characters that the reference network (an LSTM, 1 x 384) could
train on; it decides how large the network is. The *passes* say how often the chosen network reads the text in that time; with
the text's length they decide how strongly it must be kept from learning the text by heart. Every rule that gives a size, a rate
or a share is a monotone formula without jumps, fitted to the study of ``tests/bench/recipe_study.py`` and rounded finely, so
that a slightly longer text gets a slightly different plan. Only the optimizer changes at a border, and the learning rate with
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from charrnn.cell_types import CELL_TYPES
from charrnn.config import MOST_PAIRS, TrainConfig
from charrnn.declaration import option_name

REFERENCE_SIZE = 384
"""The hidden size of the network that a machine's speed refers to."""
ASSUMED_SPEED = 65536.0
"""Characters per second of the reference network where nothing is timed: about what two cores reach."""
SOAP_CHARACTERS = 400_000
"""From here on SOAP ends with the lower loss; on shorter texts AdamW generalises better; around here they are level."""
PACE = 0.75
"""The share of a briefly measured speed that a run keeps: evaluations, saves, SOAP and other programs take the rest."""
ADAPTING = 0.5
"""Share of a fresh network's learning rate for a trained one: the sum of its losses on the new and the old text is lowest."""
UNGATED_PASSES = 4
"""A cell without gates learns as little by heart in so many passes as another in one, and dropout costs it more."""
RECORDS_TEACH = 1.5
"""How much larger a network a list can teach than a text of its length."""
LEAST_OF_LISTS, WHOLE_PASSES = 0.75, 3.0
"""Of the size that its time affords, a list gets this share if the reference network reads half of it or less, and all if that
reads it so many times: a smaller network reads more records.
"""
RECORD_PASSES = 50
"""How often a run of minutes reads a list of 3,500 characters or fewer, some 500 names; a longer one in proportion oftener."""


@dataclass(frozen=True)
class Hardware:
    """What a plan must know of where a run trains."""

    unit: int
    """Hidden sizes are multiples of this, which suits the kernels."""
    columns: int
    """So many suit a text of 1.2 million characters; a longer one takes more, up to `most_columns`."""
    most_columns: int
    column_unit: int
    """Where there are more than 32 columns, they are a multiple of this."""
    widening: float
    """Seconds per character grow with the hidden size to this power."""
    suits: str = "the kernels"
    """What so many columns are enough for."""

    def rounded_columns(self, fitting: float) -> int:
        """So many columns as are read at once."""
        return self.column_unit * round(fitting / self.column_unit) if fitting > 32 else int(fitting)

    def rounded_size(self, fitting: float) -> int:
        """A hidden size."""
        return max(self.unit, self.unit * round(fitting / self.unit))


CPU = Hardware(unit=32, columns=32, most_columns=64, column_unit=4, widening=1.7)
"""One core or two, and every machine where a plan shall be the same on all."""
MOST_CORES = 8
"""More cores than this read no more columns: the rate, which grows with them, is at its limit by then."""
GPU = Hardware(unit=128, columns=128, most_columns=128, column_unit=8, widening=1.0)
"""By its size, and measured on none yet (docs/decisions.md says why each): one afternoon on a GPU shall settle them."""


def cpu(cores: int) -> Hardware:
    """A CPU of so many ``cores``: beyond two, columns grow as their root. So more cores give more columns and more steps, and
    each keeps columns enough that its gradient takes longer than what the cores don't share.
    """
    if cores <= 2:
        return CPU
    more = math.sqrt(min(cores, MOST_CORES) / 2)
    columns, most = round(CPU.columns * more), round(CPU.most_columns * more)
    return replace(CPU, columns=columns, most_columns=most, suits=f"{cores} cores")


FIXED = {"cell": "lstm", "num_layers": 1, "bptt": 64}
"""What suits every text and budget."""
BPTT_REASONS = "spans a word, a line and their neighbours", "records of up to four times as many are read whole"
ORDER_REASON = "every epoch reads the records in another order"
PLANNED = {
    "model": ("cell", "num_layers", "hidden_size", "embedding_size"),
    "training": (
        "batch_size",
        "bptt",
        "groups",
        "optimizer",
        "lr",
        "dropout_input",
        "dropout_between",
        "dropout_output",
        "weight_decay",
        "pairs",
    ),
}
"""The settings that the recipe chooses, in the order in which a plan lists them."""
CHOSEN = {name for names in PLANNED.values() for name in names}


@dataclass(frozen=True)
class Plan:
    """Settings for a run, and the reason for each.

    ``model`` and ``training`` hold the fields of `ModelConfig` (without the vocabulary) and `TrainConfig`; ``reasons`` holds a
    line for each setting, by its name; ``work`` and ``passes`` are the quantities that decided them.
    """

    model: dict[str, Any]
    training: dict[str, Any]
    reasons: dict[str, str]
    work: float
    passes: float
    speed: float | None = None

    def to_json(self) -> dict[str, Any]:
        """For the ``start`` event and the checkpoint."""
        return {
            "work": round(self.work),
            "passes": round(self.passes, 2),
            "speed": None if self.speed is None else round(self.speed),
            "reasons": self.reasons,
        }

    def options(self) -> list[str]:
        """The command-line options that ask for exactly this plan."""
        words = []
        for part, names in (self.model, PLANNED["model"]), (self.training, PLANNED["training"]):
            for name in names:
                words += [option_name(name), as_option(part[name])]
        return words


def as_option(value: Any) -> str:
    """The shortest text that an option reads as exactly ``value``."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def rounded_speed(characters_per_second: float) -> float:
    """A measured speed as the nearest power of the square root of 2, so that its noise seldom changes a plan."""
    return float(2.0 ** (round(2 * math.log2(max(characters_per_second, 1.0))) / 2))


def plan(
    characters: int,
    vocab_size: int,
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    speed: float | None = None,
    *,
    adapts: bool = False,
    hardware: Hardware = CPU,
) -> Plan:
    """Choose every setting that was not given.

    Args:
        characters: how long the training text is.
        vocab_size: V.
        model: the given fields of `ModelConfig`; they are kept.
        training: the given fields of `TrainConfig`, among them the length of the run; they are kept.
        speed: characters per second at which this machine trains the reference network; used with ``minutes`` only.
        adapts: whether the run starts from a trained network.
        hardware: where it trains.
    """
    length = TrainConfig(**{name: training[name] for name in ("steps", "epochs", "minutes") if name in training})
    reasons: dict[str, str] = {}

    def choose(given: Mapping[str, Any], name: str, value: Any, why: str) -> Any:
        if name in given:
            reasons[name] = "given"
            return given[name]
        reasons[name] = why
        return value

    records = bool(training.get("records"))
    fitting_columns = _fitting_columns(characters, records, hardware)
    rounded = hardware.rounded_columns(fitting_columns)
    columns = choose(training, "batch_size", rounded, f"enough for {hardware.suits}, few enough for the text")
    bptt = choose(training, "bptt", FIXED["bptt"], BPTT_REASONS[records])
    timed = length.steps is None and length.epochs is None
    # Here the columns before rounding count, and below the size before it, so that a step of the rounding moves nothing else.
    unrounded = float(columns if "batch_size" in training else fitting_columns)
    # What a step reads: no more of a short text than `Streams` finds.
    per_step = min(unrounded * bptt, max(characters / 4, 1.0))
    work = _work(length, characters, per_step, speed or ASSUMED_SPEED)

    cell = choose(model, "cell", FIXED["cell"], "learns most per minute")
    layers = choose(model, "num_layers", FIXED["num_layers"], "one wide layer learns more per second than two narrow ones")
    paid = f"{_short(work)} characters of work, {_short(characters)} of text"
    fitting = _fitting_size(characters, work / layers, records)
    hidden = choose(model, "hidden_size", hardware.rounded_size(fitting), paid)
    embedding = choose(model, "embedding_size", 64 if vocab_size <= 256 else 128, f"{vocab_size:,} symbols")
    # Steps or epochs fix how many characters are read; in a number of minutes a larger network reads fewer.
    size = hidden if "hidden_size" in model else fitting
    passes = (PACE * work / cost(size, layers, hardware) if timed else work) / max(characters, 1)
    passes, often = _often(passes, characters, most_passes(characters, records=records) if timed else math.inf)
    optimizer = choose(training, "optimizer", _optimizer(characters), f"{_short(characters)} characters of text")
    at_output = _output_dropout(passes if CELL_TYPES[cell].gates else passes / UNGATED_PASSES, characters)
    chunks = characters / per_step
    peak = _peak_rate(optimizer, cell)
    rate = choose(training, "lr", *_learning_rate(optimizer, peak, hidden, columns, adapts))
    decay = _adamw_decay(rate, passes * chunks, characters) if optimizer == "adamw" else _matrix_decay(peak, passes)
    groups = choose(training, "groups", 1 if records else _fitting_groups(passes, chunks), ORDER_REASON if records else often)
    chosen_model = {"cell": cell, "num_layers": layers, "hidden_size": hidden, "embedding_size": embedding}
    chosen_training = {
        "batch_size": columns,
        "bptt": bptt,
        "groups": groups,
        "optimizer": optimizer,
        "lr": rate,
        "dropout_input": choose(training, "dropout_input", round(1.35 * at_output**3, 3), often),
        "dropout_between": choose(training, "dropout_between", round(at_output / 2, 3), often),
        "dropout_output": choose(training, "dropout_output", at_output, often),
        "weight_decay": choose(training, "weight_decay", decay, "keeps the weights small"),
        "pairs": choose(training, "pairs", MOST_PAIRS, "the commonest pairs of characters have vectors of their own"),
    }
    return Plan(
        chosen_model,
        {**training, **chosen_training},
        {name: reasons[name] for names in PLANNED.values() for name in names},
        work,
        passes,
        speed if timed else None,
    )


@dataclass(frozen=True)
class Split:
    """How ``members`` networks share the cores and the time: so many ``together``, a core for each, in so many ``turns``."""

    members: int
    together: int
    turns: int

    def reason(self, minutes: float | None) -> str:
        """The same in words; ``minutes`` are those of each network."""
        each = "" if minutes is None else f", {minutes:.3g} minute{'s' * (minutes != 1)} each"
        if self.turns == 1:
            return f"a core for each network{each}"
        return f"{self.together} at a time, a core for each, in {self.turns} turns{each}"


def split(members: int, cores: int) -> Split:
    """How networks share ``cores``: no more turns than there must be, and as many in each as in the others, or one less."""
    turns = -(-members // max(cores, 1))
    return Split(members, -(-members // turns), turns)


def most_passes(characters: int, *, records: bool = False) -> float:
    """How often a run of minutes reads its text at most: one of a few lines is known by heart within seconds.

    So is a list of some hundred ``records``. It learns most in few passes whose rate falls to its end; in a long run the best
    network is an early one, which learned at a high rate.
    """
    if records:
        return RECORD_PASSES * max(characters / 3500, 1.0)
    return 1000 * max(characters / 1000, 1.0) ** 2


def _often(passes: float, characters: int, most: float) -> tuple[float, str]:
    """How often the text is read, ``most`` times at most, as a number and in words."""
    if passes > most:
        return most, f"{_short(characters)} characters of text, read {most:,.0f} times: more teaches nothing"
    digits = 1 if passes < 10 else 0
    return passes, f"{_short(characters)} characters of text, read about {passes:,.{digits}f} times"


def _work(length: TrainConfig, characters: int, per_step: float, speed: float) -> float:
    """The characters that the run's length pays for."""
    if length.steps is not None:
        return length.steps * per_step
    if length.epochs is not None:
        return length.epochs * characters
    assert length.minutes is not None
    return 60 * length.minutes * speed


def _fitting_columns(characters: int, records: bool, hardware: Hardware) -> float:
    """How many columns suit the text, before rounding: on two cores 32; fewer for a short text, which needs more updates per
    pass; up to 64 for a long one, whose parts differ more. ``records`` suit twice as many, up to 32: each is a start of its
    own, and rows of several lengths in one step cost least where there are many.
    """
    if characters > 1.2e6:
        return min(hardware.columns * math.sqrt(characters / 1.2e6), float(hardware.most_columns))
    fitting = float(max(4, min(8, characters / 1024), min(hardware.columns, characters / 12288)))
    return min(2 * fitting, float(hardware.columns)) if records else fitting


def _fitting_groups(passes: float, chunks: float) -> int:
    """How many groups suit the run: many where it reads the text about once, so that the last updates, at the lowest rates, see
    parts of the whole text and not one stretch of each column; a run of three passes sees all of it late anyway.

    Each column keeps a length of at least 32 chunks; in a single group it would have ``chunks``.
    """
    return round(max(min(20 / max(passes, 1e-9) ** 3, 16.0, chunks / 32), 1.0))


def _fitting_size(characters: int, work: float, records: bool) -> float:
    """The hidden size before rounding: the lesser of what the work affords and what the text can teach, with a soft corner.

    A list teaches a larger network than a text of as many characters: its records have nothing to do with each other. One that
    is not read whole gets a smaller network, which reads more of it.
    """
    affordable = 430 * (max(work, 1) / 9e6) ** 0.14
    if records:
        exponent = math.log(1 / LEAST_OF_LISTS) / math.log(2 * WHOLE_PASSES)
        affordable *= min(max(LEAST_OF_LISTS * (2 * max(work, 1) / max(characters, 1)) ** exponent, LEAST_OF_LISTS), 1.0)
    useful = 430 * (max(characters, 1) / 2e5) ** 0.3 * (RECORDS_TEACH if records else 1.0)
    return float(min(max((affordable**-4 + useful**-4) ** -0.25, 64.0), 2048.0))


def cost(hidden: float, layers: int, hardware: Hardware = CPU) -> float:
    """Seconds per character, relative to the reference network's."""
    return layers * float((hidden / REFERENCE_SIZE) ** hardware.widening)


def _optimizer(characters: int) -> str:
    """SOAP learns most per update, so it also learns a short text by heart soonest."""
    return "soap" if characters >= SOAP_CHARACTERS else "adamw"


def _peak_rate(optimizer: str, cell: str) -> float:
    """The learning rate for the reference size and 32 columns. The LSTM's for SOAP costs the other cells loss, RNNs most."""
    if optimizer == "soap":
        return 0.02 if cell == "lstm" else 0.01
    return {"muon": 0.01, "adamw": 0.007}[optimizer]


def _learning_rate(optimizer: str, peak: float, hidden: int, columns: int, adapts: bool) -> tuple[float, str]:
    """Wider layers need a lower rate, larger batches a higher one; with SOAP in proportion to the columns above 32."""
    batches = columns / 32
    by_columns = batches if optimizer == "soap" and batches > 1 else batches**0.5
    rate = _two_digits(min(max(peak * (REFERENCE_SIZE / hidden) ** 0.5 * by_columns, 0.001), 0.05))
    if adapts:
        return _two_digits(ADAPTING * rate), f"half of a fresh network's {rate:g}: unlearns less"
    return rate, f"for {hidden} units, {columns} columns"


def _matrix_decay(peak: float, passes: float) -> float:
    """The weight decay of SOAP and Muon, their best regulariser; it pays even where the text is read only once.

    In a step weights forget decay x rate, so in many passes the LSTM's high rates need a lower decay: 0.06, which forgets as
    much as 0.1 at 0.6 times those rates.
    """
    often = (3.2 / max(passes, 3.2)) ** 0.5
    return float(f"{min(max(0.1 * often, 0.0012 / peak), 0.1):.2g}")


def _adamw_decay(rate: float, steps: float, characters: int) -> float:
    """The weight decay of AdamW, with which weights forget over the same share of a run, whatever its length (Wang and
    Aitchison 2024). So it falls in long runs, but not on very short texts, which are known by heart well before.
    """
    lowest = max(3000 / max(characters, 1), 0.01)
    return float(f"{min(max(2.3 / max(rate * steps, 1e-9), lowest), 0.1):.2g}")


def _output_dropout(passes: float, characters: int) -> float:
    """No dropout up to 3.2 passes, then more with every pass, and more for shorter texts; at most 0.6."""
    limit = min(max(0.65 - 0.052 * math.log2(max(characters, 1) / 1e6), 0.4), 0.8)
    return round(min(limit * max(1 - float((3.2 / max(passes, 1e-9)) ** 0.55), 0.0), 0.6), 2)


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def _short(count: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"
