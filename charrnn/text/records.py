"""A list as a text: each line is a record of its own, and a hash of its characters says whether it is held out."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.config import MANY
from charrnn.text.spool import Spool
from charrnn.text.vocabulary import REPLACEMENT, Vocabulary

BLOCK = 1 << 20
"""About how many characters are looked at together; a longer record is looked at as a whole."""
SORTED_TOGETHER = 1 << 22
"""So many hashes are sorted at a time."""
_TOGETHER = 1 << 14
_MULTIPLIER = np.uint64(0xD1342543DE82EF95)


@dataclass(frozen=True)
class Records:
    """What is told of a list: how many records it has, how many of them are held out or repeat an earlier one, how many lines
    were blank, and the longest and the mean length in characters without the newline.

    Where those held out are the lines of a file of their own, ``val_lines`` is its name, and ``twins`` of them stand in the
    list, too.
    """

    count: int
    held_out: int
    duplicates: int
    blank: int
    longest: int
    mean_length: float
    val_lines: str | None = None
    twins: int = 0

    def to_json(self) -> dict[str, Any]:
        """A JSON value that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Records | None:
        """What `to_json` wrote; None for anything else."""
        if not isinstance(data, Mapping):
            return None
        # Lists of before have nothing to tell of a file.
        found: dict[str, Any] = {one.name: data.get(one.name, one.default) for one in fields(cls)}
        for name, value in found.items():
            if name == "val_lines":
                if value is not None and type(value) is not str:
                    return None
                continue
            kinds = (int, float) if name == "mean_length" else (int,)
            if type(value) not in kinds or not 0 <= value <= MANY:
                return None
        return cls(**found)


@dataclass(frozen=True)
class ValLines:
    """A file whose lines are the records that are held out: its name, and the digests of its bytes and of its characters."""

    name: str
    sha256: str
    text_sha256: str

    def is_of(self, told: object) -> bool:
        """Whether this is the file that a checkpoint tells of: the same bytes or the same characters."""
        if not isinstance(told, Mapping):
            return False
        return self.sha256 == told.get("sha256") or self.text_sha256 == told.get("text_sha256")


@dataclass(frozen=True)
class RecordList:
    """Where the records of a text lie: those to learn from first, then those held out, each group in the order of the file.

    Record i is ``ids[starts[i] + 1 : starts[i + 1]]``; the newline at ``starts[i]`` opens it and the one at ``starts[i + 1]``
    ends it, (count + 1,). The first ``train`` are to learn from. ``hashes`` are those of the list's records, ascending; a file
    of held-out lines is no part of the list.
    """

    starts: NDArray[np.int64]
    train: int
    facts: Records
    hashes: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))

    @property
    def spans(self) -> NDArray[np.int64]:
        """How many characters each record predicts, its newline included, (count,)."""
        return np.diff(self.starts)

    def spans_of(self, numbers: NDArray[Any] | slice) -> NDArray[np.int64]:
        """The `spans` of some records."""
        return np.asarray(self.starts[1:][numbers] - self.starts[:-1][numbers])

    def holds(self, line: NDArray[Any], vocabulary: Vocabulary) -> bool:
        """Whether a record of these ids, its newline included, is in the list."""
        (wanted,) = _read(line, np.array([0, len(line)]), vocabulary)[1]
        place = int(np.searchsorted(self.hashes, wanted))
        return place < len(self.hashes) and bool(self.hashes[place] == wanted)


def is_held_out(record: str, fraction: float, val_seed: int = 0, level: str = "char") -> bool:
    """Whether ``record`` is kept for validation: by its characters (or bytes) alone, whatever list it stands in."""
    return bool(are_held_out([record], fraction, val_seed, level)[0])


def are_held_out(records: Sequence[str], fraction: float, val_seed: int = 0, level: str = "char") -> NDArray[np.bool_]:
    """Which of ``records`` are kept for validation, each by its characters (or bytes) alone."""
    vocabulary, shares = Vocabulary(level), list[NDArray[np.float64]]()
    for start in range(0, len(records), _TOGETHER):
        units = [vocabulary.units(record) for record in records[start : start + _TOGETHER]]
        values = _mixed(np.concatenate(units).astype(np.uint64) + np.uint64(1))
        bounds = np.concatenate([[0], np.cumsum([len(unit) for unit in units])])
        shares.append(_shares(_hashes(values, bounds), val_seed))
    return np.concatenate([*shares, np.zeros(0)]) < fraction


def split(
    ids: NDArray[Any],
    vocabulary: Vocabulary,
    fraction: float,
    val_seed: int,
    codes: NDArray[Any] | None = None,
    border: int | None = None,
) -> tuple[RecordList, Callable[[], Iterator[NDArray[Any]]]]:
    """The records of ``ids``, lines that each end with a newline; and what gives, in blocks, the ids that it speaks of.

    A line of nothing but white space is blank and left out. If every record would be held out, none is. ``codes`` are the code
    points of ``ids``, needed where some characters of the list are the unknown one: which side a record is on must not depend
    on how often its characters occur. If there is a ``border``, the lines from this position on are held out, and no others.

    Raises:
        CharrnnError: there is no record.
    """
    newline = int(vocabulary.encode("\n")[0])
    lines = Spool(np.int64)
    lines.append(np.zeros(1))
    for begin in range(0, len(ids), BLOCK):
        lines.append(begin + 1 + np.flatnonzero(ids[begin : begin + BLOCK] == newline))
    starts = lines.array()  # of the lines, and the end
    blank, hashes = _read(ids, starts, vocabulary) if codes is None else _read_codes(codes, starts)
    listed = ~blank
    if border is not None:
        listed[np.searchsorted(starts[:-1], border) :] = False
    if not listed.any():
        raise CharrnnError("every line is blank; --records needs one record a line")
    held_out = ~blank & ~listed
    if border is None:
        for some in _slices(len(blank)):
            held_out[some] = listed[some] & (_shares(hashes[some], val_seed) < fraction)
        if held_out.sum() == listed.sum():
            held_out[:] = False
    sides_of = [~blank & ~held_out, held_out]
    distinct = _distinct(hashes, listed)
    # Equal records are on one side, unless a border says otherwise.
    beside = hashes[held_out] if border is not None else hashes[:0]
    twins = _are_among(beside, distinct)
    new_starts, longest = _new_starts(starts, sides_of)
    count = len(new_starts) - 1
    facts = Records(
        count=count,
        held_out=int(held_out.sum()),
        duplicates=count - len(distinct) - len(np.unique(beside[~twins])),
        blank=int(blank.sum()),
        longest=longest - 1,
        mean_length=int(new_starts[-1]) / count - 1,
        twins=int(twins.sum()),
    )
    arranged = RecordList(new_starts, int(sides_of[0].sum()), facts, distinct)
    return arranged, lambda: _arranged(ids, starts, sides_of, newline)


def _slices(count: int) -> Iterator[slice]:
    """All of so many lines, `BLOCK` at a time."""
    return (slice(first, first + BLOCK) for first in range(0, count, BLOCK))


def _distinct(hashes: NDArray[np.uint64], chosen: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Each of the ``chosen`` hashes once, ascending: sorted by parts, of equal first bits, where they are many."""
    found, bits = Spool(np.uint64), max(0, int(np.count_nonzero(chosen)) // SORTED_TOGETHER).bit_length()
    for part in range(1 << bits):
        own = [block if not bits else block[block >> np.uint64(64 - bits) == part] for block in _chosen(hashes, chosen)]
        found.append(np.unique(np.concatenate(own)))
    return found.array()


def _chosen(hashes: NDArray[np.uint64], chosen: NDArray[np.bool_]) -> Iterator[NDArray[np.uint64]]:
    return (hashes[some][chosen[some]] for some in _slices(len(hashes)))


def _are_among(wanted: NDArray[np.uint64], distinct: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which hashes are among the ``distinct`` ones, which ascend."""
    places = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
    return np.asarray(distinct[places] == wanted)


def _new_starts(starts: NDArray[np.int64], sides: list[NDArray[np.bool_]]) -> tuple[NDArray[np.int64], int]:
    """Where the lines of each of ``sides`` come to lie, one side behind the other, and the longest one's length."""
    found, position, longest = Spool(np.int64), 0, 0
    found.append(np.zeros(1))
    for side in sides:
        for some in _slices(len(side)):
            spans = np.diff(starts[some.start : some.stop + 1])[side[some]]
            if len(spans):
                found.append(position + np.cumsum(spans))
                position, longest = position + int(spans.sum()), max(longest, int(spans.max()))
    return found.array(), longest


def _arranged(
    ids: NDArray[Any], starts: NDArray[np.int64], sides: list[NDArray[np.bool_]], newline: int
) -> Iterator[NDArray[Any]]:
    """A newline, then the lines of each of ``sides``."""
    yield np.array([newline], dtype=ids.dtype)
    for side in sides:
        for first, last in _blocks(starts):
            chosen = side[first:last]
            if 4 * np.count_nonzero(chosen) > len(chosen):
                yield ids[starts[first] : starts[last]][np.repeat(chosen, np.diff(starts[first : last + 1]))]
            else:
                lines = first + np.flatnonzero(chosen)
                yield from (ids[starts[line] : starts[line + 1]] for line in lines)


def _blocks(starts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of lines of about `BLOCK` characters together."""
    first = 0
    while first < len(starts) - 1:
        last = max(int(np.searchsorted(starts, starts[first] + BLOCK, side="right")) - 1, first + 1)
        yield first, last
        first = last


_Read = tuple[NDArray[np.bool_], NDArray[np.uint64]]
"""Of each line whether it is blank, and a hash of its characters."""


def _read(ids: NDArray[Any], starts: NDArray[np.int64], vocabulary: Vocabulary) -> _Read:
    """What the lines of ``ids`` are; the unknown character counts as U+FFFD."""
    if vocabulary.level == "byte":
        codes, space = np.arange(256, dtype=np.uint64), np.array([bytes([code]).isspace() for code in range(256)])
    else:
        characters = vocabulary.characters + REPLACEMENT
        codes = np.array([ord(character) for character in characters], dtype=np.uint64)
        space = np.array([character.isspace() for character in characters])
    mixed = _of_codes(codes)
    return _by_blocks(ids, starts, lambda block: mixed[block], lambda block: space[block])


def _read_codes(codes: NDArray[Any], starts: NDArray[np.int64]) -> _Read:
    """What the lines of code points are."""
    return _by_blocks(codes, starts, _of_codes, lambda block: np.array([chr(code).isspace() for code in block.tolist()]))


def _of_codes(codes: NDArray[Any]) -> NDArray[np.uint64]:
    """Code points as what is hashed of them: a newline is nothing."""
    mixed = _mixed(codes.astype(np.uint64) + np.uint64(1))
    mixed[codes == 10] = 0
    return mixed


def _by_blocks(
    text: NDArray[Any],
    starts: NDArray[np.int64],
    values: Callable[[NDArray[Any]], NDArray[np.uint64]],
    is_space: Callable[[NDArray[Any]], NDArray[np.bool_]],
) -> _Read:
    blank, hashes = np.zeros(len(starts) - 1, dtype=bool), Spool(np.uint64)
    for first, last in _blocks(starts):
        block, bounds = text[starts[first] : starts[last]], starts[first : last + 1] - starts[first]
        for line in np.flatnonzero(is_space(block[bounds[:-1]])):  # Few lines begin with a space or are empty.
            blank[first + line] = is_space(block[bounds[line] : bounds[line + 1]]).all()
        hashes.append(_hashes(values(block), bounds))
    return blank, hashes.array()


def _hashes(values: NDArray[np.uint64], bounds: NDArray[np.int64]) -> NDArray[np.uint64]:
    """For each piece of ``values`` the sum of its i-th value times the i-th power of an odd number, modulo 2^64."""
    count = len(values)
    powers, back = _few_powers(1 << count.bit_length()) if count <= BLOCK else _powers(count + 1)
    sums = np.empty(count + 1, dtype=np.uint64)
    sums[0] = 0
    np.multiply(values, powers[:count], out=sums[1:])
    np.cumsum(sums, out=sums)
    # The powers go on through all pieces; an odd number has an inverse, which brings each piece back to the first power.
    return np.asarray((sums[bounds[1:]] - sums[bounds[:-1]]) * back[bounds[:-1]])


def _powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The powers of the odd number from the first on, and those of its inverse modulo 2^64 from the zeroth on."""
    inverse = np.full(count, pow(int(_MULTIPLIER), -1, 1 << 64), dtype=np.uint64)
    inverse[0] = 1
    return np.multiply.accumulate(np.full(count, _MULTIPLIER)), np.multiply.accumulate(inverse)


_few_powers = functools.lru_cache(maxsize=2)(_powers)
"""`_powers`, kept from block to block."""


def _shares(hashes: NDArray[np.uint64], val_seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each hash: a record is held out if it is below the share to be held out."""
    seed = _mixed(np.array([val_seed], dtype=np.uint64))
    return np.asarray(_mixed(hashes ^ seed) >> np.uint64(11)) * 2.0**-53


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each value as another one, as if drawn by chance (splitmix64)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


# -- batches of like length -------------------------------------------------------------------------------------------

LONGEST_CHUNK = 4
"""Records of up to so many times ``bptt`` characters are read whole; longer ones in chunks, with their state."""
MOST_ROWS = 16
"""A batch of short records has at most so many times ``batch_size`` of them."""
SHORTEST = 0.85
"""The shortest record of a batch has at least this share of the longest one's characters."""
NOISE = 0.04
"""Records whose lengths differ by up to this share change places, so that each epoch has other batches."""
TOGETHER = 4
"""So many groups of rows of like length are read in a step, where it has that many records."""
PADDING = 0.05
"""Of the work on rows of several lengths so much may be padding."""


def _counted(spans: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The different lengths, ascending, and how many records have each."""
    if not len(spans) or int(spans.max()) > BLOCK:
        lengths, counts = np.unique(spans, return_counts=True)
        return lengths, counts
    counts = np.bincount(spans)  # ten times as fast as sorting
    lengths = np.flatnonzero(counts)
    return lengths, counts[lengths]


class RecordRows:
    """Which records stand side by side: rows of like length, the longest first, about ``characters`` of them together.

    Batch b takes the records of ranks ``first[b]`` to ``first[b + 1]`` in an order by falling length. It is read in
    ``chunks[b]`` chunks; rows that end in an earlier one are left out of the later ones.
    """

    def __init__(self, spans: NDArray[np.int64], characters: int, chunk: int, rows: int) -> None:
        """``spans`` (records,); ``chunk`` characters at most are read at once, of ``rows`` records at most."""
        lengths, counts = _counted(spans)
        ends = np.cumsum(counts[::-1])  # how many records are as long as each length or longer, the longest first
        first, rank, total = [0], 0, len(spans)
        self.chunks: list[int] = []
        while rank < total:
            place = int(np.searchsorted(ends, rank, side="right"))
            longest = int(lengths[len(lengths) - 1 - place])
            fitting = max(1, min(characters // min(longest, chunk), rows))
            shorter = int(np.searchsorted(lengths, -math.floor(-SHORTEST * longest)))
            alike = int(ends[len(lengths) - 1 - shorter])
            groups = -(-(int(ends[place]) - rank) // fitting)  # that begin with a record of this length
            first += range(rank + fitting, rank + groups * fitting, fitting)
            rank = min(rank + groups * fitting, alike)
            first.append(rank)
            self.chunks += [-(-longest // chunk)] * groups
        self.first = np.array(first)

    def __len__(self) -> int:
        return len(self.chunks)


def rectangle(
    ids: NDArray[Any], starts: NDArray[np.int64], spans: NDArray[np.int64], offset: int, chunk: int
) -> tuple[NDArray[Any], NDArray[np.int64], int]:
    """The characters from ``offset`` on of records side by side, at most ``chunk`` of each.

    Args:
        ids: the text.
        starts: where the newlines are that open the records, the longest record first, (records,).
        spans: how many characters the records predict, (records,).
        offset: how many were read before.
        chunk: how many are read.

    Returns:
        Inputs and targets (n, T) of the n records that go on there, and how many targets count; the others are -100.
    """
    going_on = spans > offset
    starts, left = starts[going_on], spans[going_on] - offset
    width = min(int(left.max()), chunk)
    along = np.arange(width)
    inside = along < left[:, None]  # (n, T)
    positions = np.where(inside, starts[:, None] + offset + along, 0)
    targets = np.where(inside, ids[positions + 1].astype(np.int64), -100)
    return ids[positions], targets, int(np.minimum(left, width).sum())


def spells(lengths: NDArray[np.int64], padding: float = PADDING) -> list[tuple[int, int, int]]:
    """How rows of several ``lengths``, the longest first, are read in few spells: from where to where, and how many rows.

    The rows that have ended are left out of the spells after. Spells are joined as long as at most a share ``padding`` of the
    characters that are read is behind an end.
    """
    ends = np.unique(lengths)
    rows = len(lengths) - np.searchsorted(lengths[::-1], ends)  # how many reach each end
    found = list(zip([0, *ends[:-1].tolist()], ends.tolist(), rows.tolist(), strict=True))
    counted, room = int(lengths.sum()), padding / (1 - padding) * int(lengths.sum())
    assert counted >= 0
    while len(found) > 1:
        costs = [(later[1] - later[0]) * (one[2] - later[2]) for one, later in itertools.pairwise(found)]
        place = int(np.argmin(costs))
        if costs[place] > room:
            break
        room -= costs[place]
        found[place : place + 2] = [(found[place][0], found[place + 1][1], found[place][2])]
    return found
