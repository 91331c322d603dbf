"""How well a network foresees a text: the nats of every character, summed to bits per character.

Every text, window or line is read as `generate.generate` without a prompt writes one: from the zero state, the opening symbol
first, so that its first character is foreseen too. `charrnn.network.columns` reads long texts, and many short ones, side by
side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.generation.filters import entropy, nats_of, ranked, ranks_of, softmax
from charrnn.generation.generate import opened, opening, prime
from charrnn.network.cells import Array
from charrnn.network.columns import Figures, Reader, rejoined, worthwhile
from charrnn.network.ensemble import Predictor
from charrnn.text.reading import text_of
from charrnn.text.vocabulary import Vocabulary

EXACT_BELOW = 1 << 16
"""A shorter text is read as one stream; that takes a few seconds at most."""
LIKELIEST = 3
RECORDS = 1 << 14
"""Characters that are Python objects at a time; those of a whole piece may take a gigabyte."""
ABSURD = "the network predicts numbers that are not finite: its weights are far too large"

_LN2 = math.log(2.0)


class ScoreRecord(TypedDict):
    """What a text, or a part of it, costs a network; docs/manual.md tells what each number means."""

    characters: int
    unknown: int
    mapped: int
    bits: float
    bits_per_char: float | None
    nats_per_char: float | None
    perplexity: float | None
    unknown_bits: float
    surprise: float | None
    uncalibrated_bits_per_char: float | None


class ReadingRecord(TypedDict):
    """How a text was read: ``exact``, as one stream, or else with the largest difference at a seam of two columns, in bits."""

    exact: bool
    seam_bits: float | None


class TextRecord(ScoreRecord, ReadingRecord):
    """The score of a text."""

    file: str


class LineRecord(ScoreRecord):
    """The score of a line: its number, and its text without the newline."""

    line: int
    text: str


class CharacterRecord(TypedDict):
    """What a character costs; ``bits`` and ``rank`` are None where it is unknown."""

    char: str
    bits: float | None
    rank: int | None
    likeliest: list[str]


class NextRecord(TypedDict):
    """What a network expects after a prompt, likeliest first, and the entropy of that in bits."""

    prompt: str
    entropy_bits: float
    next: list[ExpectedRecord]


class ExpectedRecord(TypedDict):
    """A symbol that may come next; ``bits`` is None where it has no probability."""

    char: str
    probability: float
    bits: float | None


@dataclass
class Foreseen:
    """A piece of text as the network saw it coming, C characters long.

    ``codes`` are the code points (the bytes at level ``byte``), ``ids`` their symbols, ``nats`` -ln of the probability of
    each in the place where it stood, ``uncalibrated`` the same without the network's calibration. ``ranks`` counts from 1, the
    likeliest symbol; ``likeliest`` (C, 3) holds the ids of the first three (fewer if there are fewer symbols). Both are empty
    unless they were asked for.
    """

    codes: NDArray[Any]
    ids: NDArray[Any]
    nats: NDArray[np.float64]
    uncalibrated: NDArray[np.float64]
    ranks: NDArray[Any]
    likeliest: NDArray[Any]
    last: bool = True
    """Whether this is the last piece that what was read so far gives."""
    mapped: int = 0
    """How many characters were read in another, canonically equal form."""
    source: NDArray[Any] | None = None
    """The code points of a line as they were given."""

    def blank(self, level: str) -> bool:
        """Whether it holds white space alone, or nothing."""
        return not self.text(level).strip()

    def text(self, level: str) -> str:
        """The characters; bytes that are not valid UTF-8 as U+FFFD."""
        if level == "byte":
            return self.codes.astype(np.uint8).tobytes().decode("utf-8", "replace")
        return text_of(self.codes)


@dataclass
class Tally:
    """The score of everything added so far. Characters that the network doesn't know are counted apart, and each costs
    ``unknown_price`` bits apart.
    """

    unknown_id: int | None
    unknown_price: float = 0.0
    characters: int = 0
    unknown: int = 0
    mapped: int = 0
    nats: float = 0.0
    uncalibrated: float = 0.0
    strangers: set[str] = field(default_factory=set)
    _NAMED = 64

    def add(self, piece: Foreseen) -> Tally:
        """Count ``piece`` in; `CharrnnError` if its nats are not finite."""
        known = piece.ids != self.unknown_id if self.unknown_id is not None else np.ones(len(piece.ids), dtype=bool)
        nats = float(piece.nats[known].sum())
        if not math.isfinite(nats):
            raise CharrnnError(ABSURD)
        count = int(np.count_nonzero(known))
        self.characters += count
        self.unknown += len(known) - count
        self.mapped += piece.mapped
        self.nats += nats
        self.uncalibrated += float(piece.uncalibrated[known].sum())
        if count < len(known) and len(self.strangers) < self._NAMED:
            self.strangers.update(map(chr, np.unique(piece.codes[~known])[: self._NAMED].tolist()))
        return self

    def merge(self, other: Tally) -> None:
        """Add what ``other`` has counted."""
        self.characters += other.characters
        self.unknown += other.unknown
        self.mapped += other.mapped
        self.nats += other.nats
        self.uncalibrated += other.uncalibrated

    @property
    def bits(self) -> float:
        """What the known characters cost in all, in bits."""
        return self.nats / _LN2

    @property
    def unknown_bits(self) -> float:
        """What the unknown characters cost in all, in bits."""
        return self.unknown * self.unknown_price

    @property
    def surprise(self) -> float | None:
        """Bits per character, known and unknown; None of no text."""
        read = self.characters + self.unknown
        return (self.bits + self.unknown_bits) / read if read else None

    def to_json(self) -> ScoreRecord:
        """The score as JSON values. The means are None if no character is known; so is a perplexity too large for a float."""
        mean = self.nats / self.characters if self.characters else None
        raw = self.uncalibrated / self.characters / _LN2 if self.characters else math.nan
        return {
            "characters": self.characters,
            "unknown": self.unknown,
            "mapped": self.mapped,
            "bits": self.bits,
            "bits_per_char": None if mean is None else mean / _LN2,
            "nats_per_char": mean,
            "perplexity": None if mean is None or mean > 700 else math.exp(mean),
            "unknown_bits": self.unknown_bits,
            "surprise": self.surprise,
            "uncalibrated_bits_per_char": raw if math.isfinite(raw) else None,
        }


class Scorer:
    """Reads texts with one network.

    Args:
        network: what reads, or several as one.
        vocabulary: its symbols.
        seen: the characters that it was trained on, if that is known.
        details: whether ranks and the likeliest symbols are kept too.
        workers: the threads that share the columns.
    """

    def __init__(
        self,
        network: Predictor,
        vocabulary: Vocabulary,
        *,
        seen: int | None = None,
        details: bool = False,
        workers: int | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        # None of the characters seen was this one. At the least each symbol was seen once.
        self._unknown_price = math.log2((seen or vocabulary.size - 1) + 1)
        self._normalizer = vocabulary.normalizer()
        self._see = _seeing(network.temperature, details=details)
        self.reader = Reader(network, self._see, workers=workers)
        self._network, self._opening = network, opening(vocabulary)

    def tally(self) -> Tally:
        """An empty tally for this vocabulary."""
        return Tally(self.vocabulary.unknown, self._unknown_price)

    def carried(self, blocks: Iterable[NDArray[Any]], *, exact: bool = False) -> Iterator[Foreseen]:
        """Score one text, the state carried from its beginning to its end: pieces in order. ``blocks`` are code points.

        With ``exact``, or if it is short, it is read as one stream; otherwise in columns.
        """
        reader, state, last = self.reader, self._network.initial_state(1), self._opening
        reader.seam = None
        for number, codes in enumerate(rejoined(self._normalized(blocks), EXACT_BELOW if exact else reader.characters)):
            read = np.concatenate([last, self._ids(codes)])
            one_stream = exact or (number == 0 and len(codes) < EXACT_BELOW)
            columns = 1 if one_stream else worthwhile(len(codes), reader.workers)
            found, state = reader.text(read, state, columns)
            # A network that remembers longer than the overlap gains nothing from columns.
            exact = exact or reader.columns_read_again > columns // 2
            last = read[-1:]
            yield self._piece(codes, read[1:], found)

    def windows(self, blocks: Iterable[NDArray[Any]], size: int) -> Iterator[Foreseen]:
        """Score windows of ``size`` characters, each by itself from the zero state (the last one may be shorter): pieces in
        order.
        """
        together = max(1, min(self.reader.columns, self.reader.characters // size))
        for codes in rejoined(self._normalized(blocks), together * size):
            ids = self._ids(codes)
            yield self._piece(codes, ids, self._apart([ids[start : start + size] for start in range(0, len(ids), size)]))

    def lines(self, blocks: Iterable[NDArray[Any]]) -> Iterator[Foreseen]:
        """Score each line by itself from the zero state: one piece per line, in order, its newline included.

        The lines of a block come out before the next block is read, so a pipe that pauses holds nothing back.
        """
        for lines in whole_lines(blocks):
            read = [self._normal(line) for line in lines]
            order = sorted(range(len(lines)), key=lambda number: len(read[number][0]))
            found: dict[int, Foreseen] = {}
            together = self.reader.columns
            for batch in (order[start : start + together] for start in range(0, len(order), together)):
                ids = [self._ids(read[number][0]) for number in batch]
                for number, line, figures in zip(batch, ids, self._apart(ids), strict=True):
                    codes, mapped = read[number]
                    found[number] = self._joined(codes, line, [figures], mapped)
            for number, line in enumerate(lines):
                found[number].source = line
                found[number].last = number == len(lines) - 1
                yield found[number]

    def pieces(
        self, blocks: Iterable[NDArray[Any]], *, window: int | None = None, by_line: bool = False, exact: bool = False
    ) -> Iterator[Foreseen]:
        """Score a text `by_line`, in `windows`, or else `carried`: pieces in order."""
        if by_line:
            return self.lines(blocks)
        return self.carried(blocks, exact=exact) if window is None else self.windows(blocks, window)

    def mean_bits(self, blocks: Iterable[NDArray[Any]], *, by_line: bool = False) -> float | None:
        """The bits per character of a text; None if no character is known."""
        tally = self.tally()
        for piece in self.pieces(blocks, by_line=by_line):
            tally.add(piece)
        return tally.bits / tally.characters if tally.characters else None

    def characters(self, piece: Foreseen) -> Iterator[CharacterRecord]:
        """Each character (at level ``byte`` each byte) of a piece that was read with ``details``: its ``bits`` and its
        ``rank``, both None where the network doesn't know it, and the ``likeliest`` in its place.
        """
        unknown, symbols = self.vocabulary.unknown, [symbol(self.vocabulary, index) for index in range(self.vocabulary.size)]
        byte = self.vocabulary.level == "byte"
        columns = piece.codes, piece.ids, piece.nats, piece.ranks, piece.likeliest
        for start in range(0, len(piece.ids), RECORDS):
            rows = zip(*(column[start : start + RECORDS].tolist() for column in columns), strict=True)
            for code, index, nats, rank, likeliest in rows:
                known = index != unknown
                yield {
                    "char": symbols[code] if byte else chr(code),
                    "bits": nats / _LN2 if known else None,
                    "rank": rank if known else None,
                    "likeliest": [symbols[first] for first in likeliest],
                }

    @property
    def reading(self) -> ReadingRecord:
        """How `carried` read its last text."""
        return {"exact": self.reader.seam is None, "seam_bits": self.reader.seam}

    def line(self, piece: Foreseen, number: int) -> LineRecord:
        """The score of ``piece``, line ``number`` of its text."""
        score = self.tally().add(piece).to_json()
        given = piece if piece.source is None else replace(piece, codes=piece.source)
        return {"line": number, **score, "text": given.text(self.vocabulary.level).removesuffix("\n")}

    def _normalized(self, blocks: Iterable[NDArray[Any]]) -> Iterable[NDArray[Any]]:
        """``blocks`` in the canonically equal form that the network knows."""
        return blocks if self._normalizer is None else self._normalizer.blocks(blocks)

    def _normal(self, line: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """A line in that form, and how many characters of it are mapped."""
        return (line, 0) if self._normalizer is None else (self._normalizer.whole(line), self._normalizer.newly_mapped())

    def _piece(self, codes: NDArray[Any], ids: NDArray[Any], found: Sequence[Figures]) -> Foreseen:
        """`_joined`, with how many characters were mapped since the last one."""
        return self._joined(codes, ids, found, 0 if self._normalizer is None else self._normalizer.newly_mapped())

    def _joined(self, codes: NDArray[Any], ids: NDArray[Any], found: Sequence[Figures], mapped: int) -> Foreseen:
        """The piece of which ``found`` holds the figures, column by column."""
        nats, *others = [np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*found, strict=True)]
        uncalibrated = others.pop() if self._network.temperature != 1 else nats
        ranks, first = others or (np.empty(0), np.empty((0, LIKELIEST)))
        return Foreseen(codes, ids, nats, uncalibrated, ranks, first, mapped=mapped)

    def _ids(self, codes: NDArray[Any]) -> NDArray[Any]:
        return codes if self.vocabulary.level == "byte" else np.take(self.vocabulary.table, codes)

    def _apart(self, texts: Sequence[NDArray[Any]]) -> list[Figures]:
        """The figures of ``texts`` of ids, each read by itself."""
        columns = [np.concatenate([self._opening, ids]) for ids in texts]
        return self.reader.each(columns, self._network.initial_state(len(columns)))


def _seeing(temperature: float, *, details: bool) -> Callable[[Array, NDArray[Any]], Figures]:
    """What to keep of ids (T, N) that came in the place of logits (T, N, V), which were divided by ``temperature``.

    Their nats (T, N); with ``details`` their ranks (T, N), and the `LIKELIEST` symbols in their places (T, N, 3); last, where
    they differ, the nats without the temperature.
    """

    def see(logits: Array, ids: NDArray[Any]) -> Figures:
        seen: Figures = [nats_of(logits, ids)]
        if details:
            first = ranked(logits)[:, :, :LIKELIEST]
            seen += [ranks_of(logits, ids).astype(np.int32), first.astype(np.int32)]
        if temperature != 1:
            seen.append(nats_of(logits * np.float32(temperature), ids))
        return seen

    return see


def next_characters(
    network: Predictor, vocabulary: Vocabulary, text: str, *, records: bool = False
) -> tuple[list[ExpectedRecord], float]:
    """What the network, perhaps one of ``records``, expects after ``text``.

    Returns:
        Every symbol with its ``probability`` and ``bits``, likeliest first, ``char`` as in `symbol`; and the entropy of all in
        bits.

    Raises:
        CharrnnError: the network's weights are so large that its predictions are not finite.
    """
    logits, _ = prime(network, opened(vocabulary, vocabulary.encode(text), records=records))
    probabilities = softmax(logits)
    if not np.isfinite(probabilities).all():
        raise CharrnnError(ABSURD)
    expected = [(symbol(vocabulary, index), float(probabilities[index])) for index in ranked(probabilities).tolist()]
    rows: list[ExpectedRecord] = [
        {"char": char, "probability": share, "bits": 0.0 - math.log2(share) if share else None} for char, share in expected
    ]
    return rows, float(entropy(probabilities)) / _LN2


def symbol(vocabulary: Vocabulary, index: int) -> str:
    """What an id stands for: a character, U+FFFD for the unknown one; or a byte, as an ASCII character or its Python escape."""
    if vocabulary.level == "byte":
        return chr(index) if index < 0x80 else f"\\x{index:02x}"
    return vocabulary.decode([index])


def whole_lines(blocks: Iterable[NDArray[Any]]) -> Iterator[list[NDArray[Any]]]:
    """The lines that each block completes, newlines included; finally a last line without a newline, if there is one."""
    held: list[NDArray[Any]] = []
    for block in blocks:
        ends = np.flatnonzero(block == 10) + 1
        if not len(ends):
            held.append(block)
            continue
        first, *others = np.split(block, ends)
        lines = [np.concatenate([*held, first]), *others]
        held = [lines.pop()]
        yield lines
    rest = np.concatenate(held) if held else np.empty(0)
    if len(rest):
        yield [rest]
