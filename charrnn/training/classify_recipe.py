"""How a classifier is trained where nothing else was asked for: from the number, length and balance of the texts; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from charrnn.config import ModelConfig

SPEED = 60_000
"""About how many characters a second two cores learn from with 256 units."""
FEW, MANY = 3_000, 30_000
"""Fewer texts than this are easily learned by heart; more than that hardly."""
MOST_PASSES, MOST_OF_FEW = 60, 120
SMALLEST, OF_FEW, USUAL = 96, 192, 256
ENOUGH_PASSES = 10
"""A network so large that the time is enough for fewer passes than this learns less than a smaller one."""
SKEWED = 10
"""The commonest label has so many times the texts of the rarest, or more."""


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
    lengths: Sequence[int],
    counts: Sequence[int],
    seconds: float | None,
    *,
    pretrain: bool = False,
    trained: ModelConfig | None = None,
    bidirectional: bool = False,
) -> Plan:
    """The plan for texts of ``lengths`` with ``counts`` of each label, in ``seconds`` (None: no limit of time).

    ``model`` and ``settings`` are what the user gave of a network and of its training, which stays; ``trained`` is a network to
    start from.
    """
    texts, characters = len(lengths), sum(lengths) * (2 if bidirectional else 1)
    size = trained.hidden_size if trained is not None else OF_FEW if texts < FEW else USUAL
    if trained is None and seconds is not None:
        # What a character costs grows by the square of the units.
        while size > SMALLEST and SPEED * seconds * (USUAL / size) ** 2 / characters < ENOUGH_PASSES:
            size -= 32
    chosen = Plan(
        hidden_size=size,
        embedding_size=64 if trained is None else trained.embedding_size,
        batch_size=16 if texts < FEW else 32 if texts < MANY else 64,
        epochs=MOST_OF_FEW if texts < FEW else MOST_PASSES,
        seconds=seconds,
        lr=2e-3 if trained is None else 1e-3,
        dropout=0.4 if texts < MANY else 0.2,
        splices=0.6 if texts < FEW else 0.5 if texts < MANY else 0.0,
        teaching=0.5 if texts < MANY else 0.0,
        lost_words=0.1 if texts < FEW else 0.05 if texts < MANY else 0.0,
        balance=0.25 if max(counts) >= SKEWED * max(1, min(counts)) else 0.0,
        pretrain=pretrain,
    )
    given = {name: value for name, value in (*model.items(), *settings.items()) if name in asdict(chosen)}
    return replace(chosen, **given)
