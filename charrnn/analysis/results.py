"""What a network tells of a text, as objects for programs: its score, the next character, its states."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.analysis.scoring import LIKELIEST, Foreseen, Scorer, Tally
from charrnn.analysis.traces import Inspection


@dataclass(frozen=True, repr=False)
class Score:
    """How well a network predicted a text. Characters that it doesn't know are counted apart and are in no mean.

    Sums and means are those of ``charrnn score --json``; a mean is None of no character. Arrays are of the C characters of
    ``text``, which is what was read (of a network of bytes, of its C bytes).
    """

    characters: int
    """Known ones."""
    unknown: int
    mapped: int
    """Characters that were read in another, canonically equal form."""
    bits: float
    """Of all known characters together."""
    bits_per_char: float | None
    nats_per_char: float | None
    perplexity: float | None
    unknown_bits: float
    """log2(1 + characters of training) for each unknown one."""
    surprise: float | None
    """Bits per character, unknown ones included."""
    uncalibrated_bits_per_char: float | None
    """What `bits_per_char` would be without the network's calibration."""
    exact: bool
    """Whether the text was read as one stream."""
    seam_bits: float | None
    """Else the largest difference where two columns meet, in bits per character."""
    text: str
    char_bits: NDArray[np.float64]
    """Bits of each character (C,), NaN where it is unknown."""
    ranks: NDArray[np.int32] | None = None
    """The rank of each among the V symbols (C,): 1 for the likeliest, 0 where it is unknown; None unless asked for."""
    likeliest: NDArray[np.int32] | None = None
    """The ids of the three likeliest symbols in each place (C, 3); None unless asked for."""
    records: int | None = None
    """Of a network of records: how many there were."""
    bits_per_record: float | None = None
    adapted: bool = False
    """Whether the network learned from the text while it read it."""
    unadapted_bits_per_char: float | None = None
    """If so: what `bits_per_char` is of the network as it is."""

    @classmethod
    def of(cls, pieces: Sequence[Foreseen], tally: Tally, scorer: Scorer, *, details: bool, records: bool) -> Score:
        """The score of ``pieces`` that ``scorer`` read and ``tally`` counted: with ``details``, and each a record, or not."""
        vocabulary, none = scorer.vocabulary, np.zeros(0, dtype=np.int32)
        ids = np.concatenate([none, *(piece.ids for piece in pieces)])
        bits = np.concatenate([none, *(piece.nats for piece in pieces)]) / np.log(2)
        known = np.ones(len(ids), dtype=bool) if vocabulary.unknown is None else ids != vocabulary.unknown
        ranks = likeliest = None
        if details:
            first = np.zeros((0, min(LIKELIEST, vocabulary.size)), dtype=np.int32)
            ranks = np.where(known, np.concatenate([none, *(piece.ranks for piece in pieces)]), 0).astype(np.int32)
            likeliest = np.concatenate([first, *(piece.likeliest for piece in pieces if len(piece.ids))])
        return cls(
            **tally.to_json(),
            **scorer.reading,
            text="".join(piece.text(vocabulary.level) for piece in pieces),
            char_bits=np.where(known, bits, np.nan),
            ranks=ranks,
            likeliest=likeliest,
            records=len(pieces) if records else None,
            bits_per_record=tally.bits / len(pieces) if records and pieces else None,
        )

    def __repr__(self) -> str:
        """The mean, and of how many characters."""
        mean = "-" if self.bits_per_char is None else f"{self.bits_per_char:.3f}"
        unknown = f", {self.unknown:,} unknown" if self.unknown else ""
        return f"<score: {mean} bits/char over {self.characters:,} characters{unknown}>"


class Distribution(Mapping[str, float]):
    """A mapping from names to ``probabilities``, the likeliest first."""

    probabilities: NDArray[np.float64]

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What the probabilities are of."""

    def __getitem__(self, name: str) -> float:
        """The probability of a name."""
        try:
            return float(self.probabilities[self.names.index(name)])
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def top(self, k: int = 10) -> list[tuple[str, float]]:
        """The ``k`` likeliest names with their probabilities."""
        return list(zip(self.names[:k], self.probabilities[:k].tolist(), strict=True))

    def _shown(self, k: int) -> str:
        return ", ".join(f"{name!r} {share:.1%}" for name, share in self.top(k))


@dataclass(frozen=True, repr=False)
class NextCharacter(Distribution):
    """The distribution of the character after ``prompt``: a mapping from symbols to probabilities, the likeliest first.

    ``chars`` are the V symbols, ``probabilities`` (V,) float64 sum to 1, ``entropy_bits`` is how undecided the network is.
    """

    prompt: str
    chars: tuple[str, ...]
    probabilities: NDArray[np.float64]
    entropy_bits: float

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols."""
        return self.chars

    def __repr__(self) -> str:
        """The likeliest symbols."""
        return f"<next: {self._shown(5)}; entropy {self.entropy_bits:.2f} bits>"


@dataclass(frozen=True, repr=False)
class States:
    """What the layers did at each of the T characters of ``text``.

    Arrays are float32: ``h`` (L, T, H), the hidden states; ``c`` (L, T, H), an LSTM's cells, else None; ``gates``, each
    (L, T, H), by ``torch.nn``'s letters, of an LSTM ``i f g o`` (input, forget, candidate, output), of a GRU ``r z n`` (reset,
    update, candidate), of an RNN none; ``bits`` (T,), those of each character.
    """

    text: str
    h: NDArray[np.float32]
    c: NDArray[np.float32] | None
    gates: dict[str, NDArray[np.float32]]
    bits: NDArray[np.float32]
    columns: int
    """In how many columns the text was read; 1: as one stream."""
    seam: float
    """The largest difference of a unit's h where two columns meet."""

    @classmethod
    def of(cls, found: Inspection) -> States:
        """The traces of an inspection."""
        reading, traces = found.reading, found.traces
        h = _layers([trace.h for trace in traces])
        c = _layers([trace.c for trace in traces if trace.c is not None]) if traces[0].c is not None else None
        gates = {letter: _layers([trace.gates[letter] for trace in traces]) for letter in traces[0].gates}
        return cls(found.shown, h, c, gates, found.bits, reading.columns, reading.seam)

    def __repr__(self) -> str:
        """What there is."""
        names = ", ".join(["h", *(["c"] if self.c is not None else []), *self.gates])
        return f"<states: {names}, each {self.h.shape} (layers, characters, units)>"


def _layers(traces: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Each layer's numbers (T, 1, H) as one array (L, T, H), without a copy where there is one layer."""
    return traces[0][None, :, 0] if len(traces) == 1 else np.stack([trace[:, 0] for trace in traces])
