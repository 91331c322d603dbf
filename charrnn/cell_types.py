"""The recurrent cells: what each is called, its gates, and the vectors that it carries; standard library only.

Their equations stand in `charrnn.network.cells`. What else the program must know of a cell stands here, once: the shapes of its
weights, which of its gates are candidates, how its layers may be packed, and what people are told of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """What a letter means, whichever cell has it.

    A candidate is a tanh, -1 to 1; any other gate is a sigmoid, 0 to 1. A gate that ``keeps`` is the share of the old state
    that stays: at 1 all of it. ``does`` says what it does, in words that go on from its name.
    """

    name: str
    does: str
    candidate: bool = False
    keeps: bool = False


LETTERS = {
    "i": Gate("input", "lets new things in"),
    "f": Gate("forget", "keeps the old (at 1, all of it)", keeps=True),
    "g": Gate("candidate", "is what would come in", candidate=True),
    "o": Gate("output", "lets the unit speak"),
    "r": Gate("reset", "says how much of the old the candidate sees"),
    "z": Gate("update", "keeps the old (at 1, all of it)", keeps=True),
    "n": Gate("candidate", "is what would come in", candidate=True),
}
"""Every gate by its letter, which is ``torch.nn``'s."""


@dataclass(frozen=True)
class CellType:
    """What holds of a cell besides its equations.

    Each of its ``gates`` has H rows of the weights, in this order; a cell without gates has H rows in all. A layer carries
    ``parts`` vectors: h alone, or h and c. Where a gate multiplies what the candidate sees of the state, as in the GRU's
    r * (W h + b), that product and its bias stay ``apart`` from the input's; the candidate is the last gate then.
    """

    title: str
    article: str = "a"
    gates: tuple[str, ...] = ()
    parts: int = 1
    apart: bool = False


CELL_TYPES = {
    "lstm": CellType("LSTM", "an", gates=("i", "f", "g", "o"), parts=2),
    "gru": CellType("GRU", gates=("r", "z", "n"), apart=True),
    "rnn": CellType("vanilla RNN"),
}
"""Every cell, by the word that ``--cell`` takes; gates in ``torch.nn``'s order."""


def sigmoids(letters: Iterable[str]) -> tuple[str, ...]:
    """Those of some gates that are 0 to 1."""
    return tuple(letter for letter in letters if not LETTERS[letter].candidate)


def candidates(letters: Iterable[str]) -> tuple[str, ...]:
    """Those of some gates that are -1 to 1."""
    return tuple(letter for letter in letters if LETTERS[letter].candidate)


def keeping(letters: Iterable[str]) -> str | None:
    """Which of a cell's gates says how much of its old state stays; None if none does."""
    return next((letter for letter in letters if LETTERS[letter].keeps), None)
