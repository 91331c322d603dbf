"""Lists of lines: which of them a text is, and drawing until every line is a new one."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.network import checkpoint, paths, rundir
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.decoding import Encoding
from charrnn.text.reading import TextReader, text_of
from charrnn.text.vocabulary import Vocabulary

TRIES = 1000
"""After so many tries in a row that give no new line there are none to be found."""


def seen(line: str) -> str:
    """``line`` as a reader sees it: an é is an é, be it one character or two, and blanks at the end are nothing."""
    bare = line.rstrip(" \t")
    return bare if bare.isascii() else unicodedata.normalize("NFC", bare)


class Listing:
    """The distinct lines of some texts, each as it is `seen`, empty ones left out.

    It keeps 8 bytes of each: in a list of a billion lines one that isn't there is found with a chance of about 1e-10.
    """

    def __init__(self, lines: Iterator[str]) -> None:
        hashes = np.fromiter((hash(line) for line in map(seen, lines) if line), dtype=np.int64)
        self._hashes: NDArray[np.int64] = np.unique(hashes)

    @classmethod
    def read(cls, paths: Sequence[str], reader: TextReader, vocabulary: Vocabulary) -> Listing:
        """The lines of the texts in ``paths``, at the level of ``vocabulary``.

        Raises:
            CharrnnError: one can't be read, or is not valid text.
        """
        names = reader.files(paths)
        return cls(_lines((codes for _, codes in reader.joined(names, by_lines=True)), vocabulary.level))

    def __contains__(self, line: str) -> bool:
        key = np.int64(hash(seen(line)))
        place = int(np.searchsorted(self._hashes, key))
        return place < len(self._hashes) and bool(self._hashes[place] == key)


def _lines(blocks: Iterator[NDArray[Any]], level: str) -> Iterator[str]:
    """The lines of blocks of code points (bytes, at level ``byte``), without their newlines."""
    held: list[NDArray[Any]] = []
    for block in blocks:
        ends = np.flatnonzero(block == 10)
        if len(ends):
            yield from _text([*held, block[: ends[-1]]], level).split("\n")
            held = []
        held.append(block[ends[-1] + 1 :] if len(ends) else block)
    yield _text(held, level)


def _text(blocks: list[NDArray[Any]], level: str) -> str:
    codes = np.concatenate([np.zeros(0, dtype=np.uint8), *blocks])
    return codes.tobytes().decode("utf-8", "replace") if level == "byte" else text_of(codes)


def trained_on(trained: Checkpoint) -> Listing | None:
    """The list that a network learned, read as it was then; None where it no longer is where it was, or isn't text."""
    run, facts = trained.path.parent, dict(trained.training)
    if "corpus_paths" not in facts and (last := trained.path.with_name(rundir.LAST)).is_file():
        # A network that is given away doesn't say where its text lay.
        with contextlib.suppress(CharrnnError):
            facts |= checkpoint.read_header(last).training
    told = facts.get("corpus_paths")
    if facts.get("corpus_sha256") != trained.training.get("corpus_sha256") or not isinstance(told, list) or not told:
        return None
    found = [paths.found(path, run) if isinstance(path, str) else None for path in told]
    if not all(found):
        return None
    encoding, field = (checkpoint.setting_of(facts, name) for name in ("encoding", "field"))
    with contextlib.suppress(CharrnnError):
        reader = TextReader(trained.vocabulary.level, Encoding(encoding, "replace", field))
        return Listing.read([str(path) for path in found], reader, trained.vocabulary)
    return None


@dataclass
class Census:
    """Counts lines as they come: how many stand in one of ``lists``, and how many came before."""

    lists: Sequence[Listing] = ()
    count: int = 0
    known: int = 0
    repeated: int = 0
    _seen: set[str] = field(default_factory=set)

    def add(self, line: str) -> dict[str, Any]:
        """Count ``line``: whether it is ``known``, None without a list, and whether it is ``repeated``."""
        known, repeated = any(line in listing for listing in self.lists) if self.lists else None, seen(line) in self._seen
        self.count += 1
        self.known += known or 0
        self.repeated += repeated
        self._seen.add(seen(line))
        return {"known": known, "repeated": repeated}


class Line(Protocol):
    """A text that has a line."""

    @property
    def line(self) -> str:
        """The line."""


L = TypeVar("L", bound=Line)
Try = tuple[int, int]
"""A prompt, and the number of a text from it, counted from 0."""


class Picker:
    """Keeps of the texts that are drawn those whose lines are new: if ``unique``, drawn for the first time, and in no list of
    ``refused``.

    ``kept``, ``repeated`` and ``listed`` count the texts that were kept and dropped; ``missing`` those that were not found.
    """

    def __init__(self, refused: Listing | None, *, unique: bool) -> None:
        self.refused, self.unique = refused, unique
        self.kept = self.repeated = self.listed = self.missing = 0
        self._seen: set[str] = set()

    @property
    def shortfall(self) -> str | None:
        """How many of the lines that were asked for could not be found, in a sentence; None where none is missing."""
        if not self.missing:
            return None
        return (
            f"found {self.kept:,} of {self.kept + self.missing:,}: {TRIES:,} tries in a row gave no new one;"
            " ask for fewer, or raise --temp"
        )

    def takes(self, line: str) -> bool:
        """Count ``line``; whether it is kept."""
        if self.refused is not None and line in self.refused:
            self.listed += 1
            return False
        if self.unique:
            if seen(line) in self._seen:
                self.repeated += 1
                return False
            self._seen.add(seen(line))
        self.kept += 1
        return True

    def pick(
        self, draw: Callable[[list[tuple[int, int]]], Iterator[L]], prompts: int, count: int, together: int
    ) -> Iterator[L]:
        """New texts from each of so many ``prompts``, ``count`` from each unless there are none to be found.

        ``draw`` gives the texts of numbers and prompts; how many it is asked for at once, ``together`` at most,
        changes nothing.
        """
        waiting: dict[Try, L] = {}
        for prompt in range(prompts):
            kept = tries = in_vain = 0
            while kept < count and in_vain < TRIES:
                if (prompt, tries) not in waiting:
                    missing = count - kept
                    guess = -(-missing * tries // max(kept, 1)) if tries else missing
                    wanted = [(prompt, tries + more) for more in range(min(guess, together))]
                    later = ((other, first) for other in range(prompt + 1, prompts) for first in range(count))
                    wanted += [key for key in islice(later, together - len(wanted)) if key not in waiting]
                    numbers = [(_number(key, prompts, count), key[0]) for key in wanted]
                    waiting.update(zip(wanted, draw(numbers), strict=True))
                sample = waiting.pop((prompt, tries))
                tries, in_vain = tries + 1, in_vain + 1
                if self.takes(sample.line):
                    yield sample
                    kept, in_vain = kept + 1, 0
            self.missing += count - kept
            waiting = {key: sample for key, sample in waiting.items() if key[0] > prompt}


def _number(key: Try, prompts: int, count: int) -> int:
    """The number of a text, which gives it its random numbers: the first ``count`` from a prompt have those that they would
    have if every text were kept.
    """
    prompt, tried = key
    return prompt * count + tried if tried < count else prompts * count + (tried - count) * prompts + prompt
