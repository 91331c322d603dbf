"""How well a network foresees a text: the nats of every character, summed to bits per character.

Every text, window or line is read as `generate.generate` without a prompt writes one: from the zero state, the opening symbol
first, so that its first character is foreseen too.

One stream of characters is sequential: each state needs the one before. A long text is therefore cut into columns that are
read side by side, which turns matrix-vector products into matrix products and uses several cores. Each column first reads the
`OVERLAP` characters before it, from the zero state. How well that replaces the true state is measured rather than believed:
the end of the overlap has been read by the column before as well, and where the two differ there by more than `TOLERANCE` the
column is read again from the true state.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.cells import Array, Network
from charrnn.filters import softmax
from charrnn.generate import opening, prime
from charrnn.vocabulary import Vocabulary

OVERLAP = 1024
"""Characters that a column reads before its own. A trained network has as good as forgotten its start by then: from the zero
state, a network of 1 x 384 came within 1e-5 bits of the carried prediction in the mean, on two texts.
"""
SEAM = 128
"""Characters at the end of the overlap over which a column is compared with the one before."""
TOLERANCE = 1e-3
"""The largest mean difference over a seam, in bits per character, with which a column is not read again."""
EXACT_BELOW = 1 << 16
"""A shorter text is read as one stream; it takes a few seconds at most."""
COLUMN, COLUMNS = 1 << 14, 128
"""The longest column, and how many one thread reads side by side."""
MOST_WORKERS = 8
LOGITS = 1 << 20
"""Logits that a thread keeps until it turns them into nats."""
LIKELIEST = 3
ABSURD = "the network's predictions are no finite numbers; its weights are out of all proportion"

_LN2 = math.log(2.0)


@dataclass
class Foreseen:
    """A piece of text as the network saw it coming, C characters long.

    ``codes`` are the code points (the bytes at level ``byte``), ``ids`` their symbols, ``nats`` -ln of the probability of
    each in the place where it stood. ``ranks`` counts from 1, the likeliest symbol; ``likeliest`` (C, 3) holds the ids of the
    first three (fewer where there are fewer symbols). Both are empty unless they were asked for.
    """

    codes: NDArray[Any]
    ids: NDArray[Any]
    nats: NDArray[np.float64]
    ranks: NDArray[Any]
    likeliest: NDArray[Any]
    last: bool = True
    """Whether nothing that has been read already comes after it."""

    def text(self, level: str) -> str:
        """The characters; bytes that are not valid UTF-8 as U+FFFD."""
        if level == "byte":
            return self.codes.astype(np.uint8).tobytes().decode("utf-8", "replace")
        return self.codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


@dataclass
class Tally:
    """The score of what was added so far. Characters that the network doesn't know are counted apart and are in no sum."""

    unknown_id: int | None
    characters: int = 0
    unknown: int = 0
    nats: float = 0.0
    strangers: set[str] = field(default_factory=set)
    _NAMED = 64

    def add(self, piece: Foreseen) -> Tally:
        """Count ``piece`` in; `CharrnnError` if its nats are no numbers."""
        known = piece.ids != self.unknown_id if self.unknown_id is not None else np.ones(len(piece.ids), dtype=bool)
        nats = float(piece.nats[known].sum())
        if not math.isfinite(nats):
            raise CharrnnError(ABSURD)
        count = int(np.count_nonzero(known))
        self.characters += count
        self.unknown += len(known) - count
        self.nats += nats
        if count < len(known) and len(self.strangers) < self._NAMED:
            self.strangers.update(map(chr, np.unique(piece.codes[~known])[: self._NAMED].tolist()))
        return self

    def merge(self, other: Tally) -> None:
        """Count in what ``other`` has counted."""
        self.characters += other.characters
        self.unknown += other.unknown
        self.nats += other.nats

    @property
    def bits(self) -> float:
        """The bits that the known characters took, all together."""
        return self.nats / _LN2

    def to_json(self) -> dict[str, Any]:
        """The score as JSON values; the means are None where no character is known, a perplexity beyond all numbers too."""
        mean = self.nats / self.characters if self.characters else None
        return {
            "characters": self.characters,
            "unknown": self.unknown,
            "bits": self.bits,
            "bits_per_char": None if mean is None else mean / _LN2,
            "nats_per_char": mean,
            "perplexity": None if mean is None or mean > 700 else math.exp(mean),
        }


class Scorer:
    """Reads texts with one network. ``details`` asks for ranks and the likeliest symbols too; ``workers`` threads share the
    columns.
    """

    def __init__(self, network: Network, vocabulary: Vocabulary, *, details: bool = False, workers: int | None = None) -> None:
        self.vocabulary, self.workers = vocabulary, workers or usable_cores()
        self.seam: float | None = None
        """The largest difference let stand at a seam of two columns, in bits per character; None where there was no seam."""
        self.columns_read_again = 0
        self._network, self._details = network, details
        self._opening = opening(vocabulary)
        self._rows = max(1, min(4096, LOGITS // vocabulary.size))
        self._stopped = False

    def tally(self) -> Tally:
        """An empty tally for this vocabulary."""
        return Tally(self.vocabulary.unknown)

    def carried(self, blocks: Iterable[NDArray[Any]], *, exact: bool = False) -> Iterator[Foreseen]:
        """Score one text, the state carried from its beginning to its end: pieces in order. ``blocks`` are code points.

        With ``exact`` it is read as one stream; else the module's docstring says what is done.
        """
        state, last, self.seam = self._network.initial_state(1), self._opening, None
        size = EXACT_BELOW if exact else self.workers * COLUMNS * COLUMN
        for number, codes in enumerate(_rejoined(blocks, size)):
            read = np.concatenate([last, self._ids(codes)])
            count = 1 if exact or (number == 0 and len(codes) < EXACT_BELOW) else len(codes) // (4 * OVERLAP)
            columns = max(1, min(count, self.workers * COLUMNS))
            piece, state = self._side_by_side(codes, read, state, columns)
            # A network that remembers longer than the overlap gains nothing from columns.
            exact = exact or self.columns_read_again > columns // 2
            last = read[-1:]
            yield piece

    def windows(self, blocks: Iterable[NDArray[Any]], size: int) -> Iterator[Foreseen]:
        """Score windows of ``size`` characters, each by itself from the zero state (the last one may be shorter): pieces in
        order.
        """
        together = max(1, min(self.workers * COLUMNS, self.workers * COLUMNS * COLUMN // size))
        for codes in _rejoined(blocks, together * size):
            ids = self._ids(codes)
            columns = [np.concatenate([self._opening, ids[start : start + size]]) for start in range(0, len(ids), size)]
            yield self._joined(codes, ids, self._read(columns, self._network.initial_state(len(columns))))

    def lines(self, blocks: Iterable[NDArray[Any]]) -> Iterator[Foreseen]:
        """Score each line by itself from the zero state: one piece per line, in order, its newline included.

        The lines of a block come out before the next block is read, so a pipe that pauses holds nothing back.
        """
        for lines in _lines(blocks):
            order = sorted(range(len(lines)), key=lambda number: len(lines[number]))
            found: dict[int, Foreseen] = {}
            together = self.workers * COLUMNS
            for batch in (order[start : start + together] for start in range(0, len(order), together)):
                ids = [self._ids(lines[number]) for number in batch]
                columns = [np.concatenate([self._opening, line]) for line in ids]
                read = self._read(columns, self._network.initial_state(len(batch)))
                for number, line, one in zip(batch, ids, read, strict=True):
                    found[number] = self._joined(lines[number], line, [one])
            for number in range(len(lines)):
                found[number].last = number == len(lines) - 1
                yield found[number]

    def characters(self, piece: Foreseen) -> Iterator[dict[str, Any]]:
        """Each character (at level ``byte`` each byte) of a piece that was read with ``details``: its ``bits`` and its
        ``rank``, both None where the network doesn't know it, and the ``likeliest`` in its place.
        """
        unknown, symbols = self.vocabulary.unknown, [symbol(self.vocabulary, index) for index in range(self.vocabulary.size)]
        byte = self.vocabulary.level == "byte"
        columns = piece.codes, piece.ids, piece.nats, piece.ranks, piece.likeliest
        for start in range(0, len(piece.ids), COLUMN):  # As Python's objects a whole piece may take a gigabyte.
            rows = zip(*(column[start : start + COLUMN].tolist() for column in columns), strict=True)
            for code, index, nats, rank, likeliest in rows:
                known = index != unknown
                yield {
                    "char": symbols[code] if byte else chr(code),
                    "bits": nats / _LN2 if known else None,
                    "rank": rank if known else None,
                    "likeliest": [symbols[first] for first in likeliest],
                }

    @property
    def reading(self) -> dict[str, Any]:
        """How the last text of `carried` was read: ``exact``, or with which largest difference in bits at a seam of two
        columns.
        """
        return {"exact": self.seam is None, "seam_bits": self.seam}

    def line(self, piece: Foreseen, number: int) -> dict[str, Any]:
        """One line's score: its ``line`` number, that of `Tally.to_json`, and its ``text`` without the newline."""
        score = self.tally().add(piece).to_json()
        return {"line": number, **score, "text": piece.text(self.vocabulary.level).removesuffix("\n")}

    def _ids(self, codes: NDArray[Any]) -> NDArray[Any]:
        return codes if self.vocabulary.level == "byte" else np.take(self.vocabulary.table, codes)

    def _side_by_side(self, codes: NDArray[Any], read: NDArray[Any], state: Array, columns: int) -> tuple[Foreseen, Array]:
        """Score ``read[1:]`` after ``state`` (L, P, 1, H), which has seen all before ``read[0]``; the piece and the state at
        its end.
        """
        borders = [len(codes) * column // columns for column in range(columns + 1)]
        overlaps = [0] + [OVERLAP] * (columns - 1)
        parts = [
            read[start - overlap : end + 1] for start, end, overlap in zip(borders[:-1], borders[1:], overlaps, strict=True)
        ]
        states = self._network.initial_state(columns)
        states[:, :, :1] = state
        found = self._read(parts, states)
        for column in range(1, columns):
            cold, warm = found[column].nats[OVERLAP - SEAM : OVERLAP], found[column - 1].nats[-SEAM:]
            seam = float(np.abs(cold - warm).mean()) / _LN2
            if seam <= TOLERANCE:
                found[column] = found[column].after(OVERLAP)
                self.seam = max(seam, self.seam or 0.0)
            else:
                end = states[:, :, column - 1 : column].copy()
                (found[column],) = self._read([parts[column][OVERLAP:]], end)
                states[:, :, column : column + 1] = end
                self.columns_read_again += 1
        return self._joined(codes, read[1:], found), states[:, :, -1:].copy()

    @staticmethod
    def _joined(codes: NDArray[Any], ids: NDArray[Any], found: Sequence[_Column]) -> Foreseen:
        nats, ranks, likeliest = (
            np.concatenate([getattr(one, name) for one in found]) if len(found) > 1 else getattr(found[0], name)
            for name in ("nats", "ranks", "likeliest")
        )
        return Foreseen(codes, ids, nats, ranks, likeliest)

    def _read(self, columns: Sequence[NDArray[Any]], state: Array) -> list[_Column]:
        """`_read_columns`, the columns shared among the threads; ``state`` (L, P, N, H) advances in place."""
        shares = max(1, min(self.workers, len(columns) // 8))
        if shares == 1:
            return self._read_columns(columns, state)
        # Neighbours in length go to different threads.
        order = sorted(range(len(columns)), key=lambda column: -len(columns[column]))
        parts = [order[share::shares] for share in range(shares)]
        states = [np.ascontiguousarray(state[:, :, part]) for part in parts]
        found: dict[int, _Column] = {}
        with ThreadPoolExecutor(shares, "charrnn-score") as pool:
            try:
                jobs = [
                    pool.submit(self._read_columns, [columns[column] for column in part], own)
                    for part, own in zip(parts, states, strict=True)
                ]
                for part, own, job in zip(parts, states, jobs, strict=True):
                    found.update(zip(part, job.result(), strict=True))
                    state[:, :, part] = own
            except BaseException:
                self._stopped = True  # Ctrl-C shall not wait for the other threads' whole columns.
                raise
        return [found[column] for column in range(len(columns))]

    def _read_columns(self, columns: Sequence[NDArray[Any]], state: Array) -> list[_Column]:
        """Feed every column from its own ``state`` (L, P, N, H) and score all its symbols but the first.

        The state advances in place by all symbols but the last, which the next piece of the column begins with.
        """
        lengths = np.array([len(column) - 1 for column in columns])
        order = np.argsort(-lengths, kind="stable")
        found = [_Column.empty(int(length), self._details, self._network.config.vocab_size) for length in lengths]
        begin, active, carried = 0, 0, state
        with np.errstate(over="ignore", invalid="ignore"):  # Absurd weights are told by the tally.
            while (going := int(np.count_nonzero(lengths > begin))) and not self._stopped:
                if going != active:
                    # Columns that have ended leave the products.
                    if active:
                        state[:, :, order[:active]] = carried
                    active, carried = going, np.ascontiguousarray(state[:, :, order[:going]])
                    step = self._network.stepper(carried)
                reading = [columns[column] for column in order[:active]]
                end = min(begin + max(1, self._rows // active), int(lengths[order[active - 1]]))
                ids = np.stack([column[begin : end + 1] for column in reading], axis=1).astype(np.intp)  # (T + 1, N)
                logits = np.empty((end - begin, active, self._network.config.vocab_size), dtype=np.float32)
                for t in range(end - begin):
                    logits[t] = step(ids[t])
                seen = _Column.of(logits, ids[1:], self._details)
                for place, column in enumerate(order[:active]):
                    found[column].fill(begin, end, seen, place)
                begin = end
            if active:
                state[:, :, order[:active]] = carried
        return found


@dataclass
class _Column:
    """`Foreseen` without the characters; the first axis is the text, a second one numbers the columns where there are
    several.
    """

    nats: NDArray[np.float64]
    ranks: NDArray[Any]
    likeliest: NDArray[Any]

    @classmethod
    def empty(cls, length: int, details: bool, symbols: int) -> _Column:
        first = min(LIKELIEST, symbols)
        rows = length if details else 0
        return cls(np.empty(length), np.empty(rows, dtype=np.int32), np.empty((rows, first), dtype=np.int32))

    @classmethod
    def of(cls, logits: Array, ids: NDArray[Any], details: bool) -> _Column:
        """What ``logits`` (T, N, V) say of ``ids`` (T, N). The sum of exponentials and all that follows is float64."""
        own = np.take_along_axis(logits, ids[:, :, None], axis=2)
        top = logits.max(axis=2, keepdims=True)
        total = np.exp(logits - top).sum(axis=2, dtype=np.float64)
        nats = np.log(total) + (top[:, :, 0].astype(np.float64) - own[:, :, 0])
        if not details:
            return cls(nats, np.empty(0), np.empty(0))
        first = min(LIKELIEST, logits.shape[2])
        ranks = np.count_nonzero(logits > own, axis=2) + 1
        return cls(nats, ranks, np.argsort(-logits, axis=2, kind="stable")[:, :, :first])

    def fill(self, begin: int, end: int, seen: _Column, place: int) -> None:
        """Take in characters ``begin`` to ``end`` of this column, the one numbered ``place`` in ``seen``."""
        self.nats[begin:end] = seen.nats[:, place]
        if len(self.ranks):
            self.ranks[begin:end], self.likeliest[begin:end] = seen.ranks[:, place], seen.likeliest[:, place]

    def after(self, start: int) -> _Column:
        return _Column(self.nats[start:], self.ranks[start:], self.likeliest[start:])


def next_characters(network: Network, vocabulary: Vocabulary, text: str) -> list[dict[str, Any]]:
    """Every symbol with its ``probability`` and ``bits`` after ``text``, likeliest first; ``char`` as in `symbol`."""
    ids = vocabulary.encode(text) if text else opening(vocabulary)
    logits, _ = prime(network, ids)
    probabilities = softmax(logits)
    if not np.isfinite(probabilities).all():
        raise CharrnnError(ABSURD)
    order = np.argsort(-probabilities, kind="stable").tolist()
    likeliest = [(symbol(vocabulary, index), float(probabilities[index])) for index in order]
    return [{"char": char, "probability": share, "bits": -math.log2(share) if share else None} for char, share in likeliest]


def entropy(probabilities: Iterable[float]) -> float:
    """Bits that a draw from ``probabilities`` takes in the mean."""
    return -sum(share * math.log2(share) for share in probabilities if share > 0)


def symbol(vocabulary: Vocabulary, index: int) -> str:
    """What an id stands for: a character, U+FFFD for the unknown one, or a byte: an ASCII character, else its Python escape."""
    if vocabulary.level == "byte":
        return chr(index) if index < 0x80 else f"\\x{index:02x}"
    return vocabulary.decode([index])


def surprise(line: Mapping[str, Any]) -> float:
    """What a line's record is ranked by: its bits per character, or beyond all others where no character of it is known."""
    bits = line["bits_per_char"]
    return math.inf if bits is None else float(bits)


def usable_cores() -> int:
    """How many threads are worth starting here."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        count = os.cpu_count() or 1
    return min(count, MOST_WORKERS)


def _rejoined(blocks: Iterable[NDArray[Any]], size: int) -> Iterator[NDArray[Any]]:
    """The same codes in blocks of ``size``, the last one shorter."""
    held: list[NDArray[Any]] = []
    length = 0
    for block in blocks:
        while length + len(block) >= size:
            rest = size - length
            yield np.concatenate([*held, block[:rest]])
            held, length, block = [], 0, block[rest:]
        if len(block):
            held.append(block)
            length += len(block)
    if held:
        yield np.concatenate(held)


def _lines(blocks: Iterable[NDArray[Any]]) -> Iterator[list[NDArray[Any]]]:
    """For each block the lines that it completes, newlines included; at last the line without one, if there is one."""
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
