"""How a classifier is trained where nothing else was asked for: from the number, length and balance of the texts; no torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from charrnn.config import ModelConfig

ASSUMED_SPEED = 60_000.0
"""Characters a second that a fit learns from with `USUAL` units, where nothing is timed: about what two cores reach."""
PACE = 0.8
"""The share of a briefly measured speed that a fit keeps: evaluations and other programs take the rest."""
ALWAYS = 40
"""A character costs as much beside the network, in units, as it is read by so many of them."""
FEW, SEVERAL, MANY = 3_000, 8_000, 30_000
"""Fewer than `FEW` texts are easily learned by heart, more than `MANY` hardly."""
MOST_PASSES, MOST_OF_FEW = 60, 120
SMALLEST, OF_FEW, USUAL = 96, 128, 256
NARROW = 192
"""Wider networks learn at a lower rate."""
ENOUGH_PASSES = 16
"""A network so large that the time is enough for fewer passes than this learns less than a smaller one."""
SENTENCES = 20
"""Shorter texts than this, on average, a network still knows whole at their ends."""
PASSES_OF_BOTH = 14
"""For two networks, one in each direction, so many are enough; they pay where there is time for that many of `NARROW` ones."""
SKEWED = 10
"""The commonest label has so many times the texts of the rarest, or more."""


def both_ways(characters: int, texts: int, seconds: float | None, speed: float | None = None) -> bool:
    """Whether a second network that reads backwards pays: two learn fewer texts by heart, and with more one has enough to do.

    ``speed`` is that of one network with `USUAL` units, as for `plan`.
    """
    if not SEVERAL <= texts < MANY or characters < SENTENCES * texts:
        return False
    learned = math.inf if seconds is None else PACE * (speed or ASSUMED_SPEED) * seconds
    # In both directions a character costs twice as much, with narrow networks somewhat less.
    return learned / 2 * (USUAL + ALWAYS) / (NARROW + ALWAYS) >= PASSES_OF_BOTH * characters


@dataclass(frozen=True)
class Plan:
    """Everything that a run needs to know; ``seconds`` is None where ``epochs`` alone end it."""

    hidden_size: int = USUAL
    embedding_size: int = 64
    batch_size: int = 32
    epochs: float = 40.0
    seconds: float | None = None
    lr: float = 2e-3
    weight_decay: float = 0.01
    dropout_input: float = 0.1
    dropout: float = 0.4
    typos: float = 0.05
    splices: float = 0.0
    lost_words: float = 0.0
    teaching: float = 0.0
    balance: float = 0.0
    pretrain: bool = False
    seed: int = 0


def plan(
    model: Mapping[str, Any],
    settings: Mapping[str, Any],
    lengths: Collection[int],
    counts: Sequence[int],
    seconds: float | None,
    speed: float | None = None,
    *,
    pretrain: bool = False,
    trained: ModelConfig | None = None,
    bidirectional: bool = False,
) -> Plan:
    """The plan for texts of ``lengths`` with ``counts`` of each label, in ``seconds`` (None: no limit of time).

    ``speed`` is how many characters a second a fit with `USUAL` units was measured to learn from, in as many directions;
    ``model`` and ``settings`` are what the user gave of a network and of its training, which stays; ``trained`` is a network to
    start from.
    """
    texts, characters = len(lengths), sum(lengths) * (2 if bidirectional and speed is None else 1)
    size = trained.hidden_size if trained is not None else OF_FEW if texts < FEW else USUAL
    if trained is None and seconds is not None:
        learned = PACE * (speed or ASSUMED_SPEED) * seconds
        enough = PASSES_OF_BOTH if bidirectional else ENOUGH_PASSES
        # What a character costs grows about as the units do.
        while size > SMALLEST and learned * (USUAL + ALWAYS) / (size + ALWAYS) / characters < enough:
            size -= 32
    chosen = Plan(
        hidden_size=size,
        embedding_size=64 if trained is None else trained.embedding_size,
        batch_size=32 if texts < SEVERAL else 64,
        epochs=MOST_OF_FEW if texts < FEW else MOST_PASSES,
        seconds=seconds,
        lr=1e-3
        if trained is not None or model.get("cell") == "rnn"
        else 3e-3
        if FEW <= texts < SEVERAL or size > NARROW
        else 4e-3,
        dropout=0.4 if texts < MANY else 0.2,
        # From more texts a network learns more than a teacher knows.
        splices=0.9 if texts < FEW else 0.0,
        teaching=0.9 if texts < FEW else 0.0,
        lost_words=0.2 if texts < FEW else 0.05 if texts < MANY else 0.0,
        balance=0.25 if max(counts) >= SKEWED * max(1, min(counts)) else 0.0,
        pretrain=pretrain,
    )
    given = {name: value for name, value in (*model.items(), *settings.items()) if name in asdict(chosen)}
    return replace(chosen, **given)
