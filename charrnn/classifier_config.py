"""The settings of classifiers and of their training, declared once as those of `charrnn.config` are; standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from charrnn import UsageError
from charrnn.config import FITTED, POSITIVE, SEED, SHARE, ReadConfig
from charrnn.declaration import Config, Option, Panel, choice, count, setting
from charrnn.limits import Flag, Interval

FEATURES = ("last", "mean", "max", "last+mean")
"""What a classifier's head may see of the hidden states of a text."""


@dataclass(frozen=True)
class ClassifierConfig(Config):
    """How a classifier makes a decision of hidden states.

    ``feature`` is what is taken of the h of each character, ``head_size`` the units of the head's hidden layer (None: the head
    is linear), ``temperature`` what the head's logits are divided by, ``longest`` how many characters of a text are read.
    """

    feature: str = choice(
        "last",
        *FEATURES,
        option=Option("What the head sees of the hidden states.", Panel.NETWORK, shown="chosen by validation"),
    )
    bidirectional: bool = setting(
        False,
        Flag(),
        Option("A second network reads backwards.", Panel.NETWORK, negative="--no-bidirectional", shown=FITTED),
    )
    head_size: int | None = count(
        None, 1, 65536, Option("Units of a hidden layer in the head.", Panel.RARE, shown="none: the head is linear")
    )
    longest: int = count(1024, 1, 1 << 20, Option("Read so many characters of a text at most.", Panel.RARE))
    temperature: float = setting(1.0, Interval(1e-3, 1e3))


@dataclass(frozen=True)
class FitConfig(ReadConfig):
    """How a classifier is trained; at most one of ``epochs`` and ``minutes`` is set, without any it is 3 minutes."""

    val_fraction: float = setting(0.1, SHARE, Option("Share kept for validation, by a hash of the text.", Panel.TEXT))
    val_seed: int = setting(0, SEED, Option("Another number holds out other texts.", Panel.RARE))
    epochs: float | None = setting(
        None, Interval(0, 1e9, low_open=True), Option("Passes over the texts; may be a fraction.", Panel.LENGTH)
    )
    minutes: float | None = setting(
        None,
        Interval(0, 1e9, low_open=True),
        Option("Minutes by the clock at most, start-up included (3 if no length is given).", Panel.LENGTH),
    )
    batch_size: int = count(32, 1, 1 << 16, Option("Texts side by side.", Panel.OPTIMIZATION, shown=FITTED))
    lr: float = setting(2e-3, POSITIVE, Option("Peak learning rate.", Panel.OPTIMIZATION, shown=FITTED))
    dropout: float = setting(
        0.4, SHARE, Option("Share of the head's inputs that is dropped.", Panel.OPTIMIZATION, shown=FITTED)
    )
    typos: float = setting(
        0.05,
        SHARE,
        Option("Share of characters lost, doubled, swapped or unknown while it learns.", Panel.RARE, shown=FITTED),
    )
    balance: float = setting(
        0.0,
        Interval(0, 1),
        Option("0: texts count alike; 1: labels do, however rare.", Panel.RARE, shown=FITTED),
    )
    seed: int = setting(0, SEED, Option("Seed of every random choice.", Panel.OPTIMIZATION))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs is not None and self.minutes is not None:
            raise UsageError("--epochs or --minutes: give one length for the run, not 2")
