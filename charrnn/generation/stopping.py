"""When a text ends: after so many symbols, at a stop text, after so many lines."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Stops:
    """An automaton that looks for several stop texts at once while symbols arrive (Aho and Corasick 1975).

    Its places are numbers, 0 at the start of a text. A place stands for the longest suffix of the text so far that is a
    prefix of a stop text. Arrays have a row per place. What it holds grows with the stop texts, not with the vocabulary.
    """

    def __init__(self, texts: Sequence[NDArray[Any]], vocab_size: int) -> None:
        """``texts`` holds the ids (T,) of each stop text, at least one id each."""
        self.lengths = [len(text) for text in texts]
        self._vocab_size = vocab_size
        self._next: dict[int, int] = {}  # Key: a place times V, plus the id with which a stop text goes on from there.
        before, depth, found = [0], [0], [-1]
        for number, text in enumerate(texts):
            place = 0
            for index in text.tolist():
                key = place * vocab_size + index
                if key not in self._next:
                    self._next[key] = len(depth)
                    before.append(key)
                    depth.append(depth[place] + 1)
                    found.append(-1)
                place = self._next[key]
            found[place] = number if found[place] < 0 else found[place]
        self._fallback = [0] * len(depth)
        for place in sorted(range(1, len(depth)), key=depth.__getitem__):
            last, index = divmod(before[place], vocab_size)
            back = self.after(self._fallback[last], index) if last else 0
            self._fallback[place] = back
            found[place] = found[back] if found[place] < 0 else found[place]
        self.depth = np.array(depth)
        """How many of the last symbols may be the beginning of a stop text (places,)."""
        self.found = np.array(found)
        """The number of the longest stop text that ends here (places,), -1 for none."""

    def after(self, place: int, index: int) -> int:
        """The place after ``place`` and one more symbol."""
        while (found := self._next.get(place * self._vocab_size + index)) is None and place:
            place = self._fallback[place]
        return found or 0

    @functools.cached_property
    def _arrays(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """The first places (V,) by id; the keys of `_next`, ascending, and where each leads; the fallbacks (places,)."""
        keys = np.array(sorted(self._next), dtype=np.intp)
        places = np.array([self._next[key] for key in keys.tolist()], dtype=np.intp)
        first = np.zeros(self._vocab_size, dtype=np.intp)
        begin = keys < self._vocab_size
        first[keys[begin]] = places[begin]
        return first, keys, places, np.array(self._fallback, dtype=np.intp)

    def after_each(self, places: NDArray[np.intp], ids: NDArray[Any]) -> NDArray[np.intp]:
        """`after` for N places and ids at once."""
        first, keys, targets, fallback = self._arrays
        new: NDArray[np.intp] = first[ids]
        open_ = np.flatnonzero(places)  # Most texts are at no beginning of a stop text.
        at = places[open_]
        while len(open_):
            wanted = at * self._vocab_size + ids[open_]
            nearest = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            goes_on = keys[nearest] == wanted
            new[open_[goes_on]] = targets[nearest[goes_on]]
            at = fallback[at]
            left = ~goes_on & (at > 0)
            open_, at = open_[left], at[left]
        return new


@dataclass(frozen=True)
class Ending:
    """When a text ends: after ``length`` symbols, at one of ``stops``, or at newline number ``lines``; None means never.

    ``newline`` is the id of the newline. The text loses the stop text that ended it, unless ``keep_stop``.
    """

    length: int | None
    stops: Stops | None = None
    lines: int | None = None
    newline: int | None = None
    keep_stop: bool = False

    @property
    def watches(self) -> bool:
        """Whether it depends on the symbols, not just on their number."""
        return self.stops is not None or self.lines is not None

    @property
    def held_back(self) -> int:
        """The most symbols at its end that a text may still lose."""
        return 0 if self.stops is None or self.keep_stop else max(self.stops.lengths)

    def dropped(self, stop: int | None) -> int:
        """How many symbols a text that ended at stop text number ``stop`` loses at its end; 0 for None."""
        return 0 if stop is None or self.stops is None or self.keep_stop else self.stops.lengths[stop]


class Text:
    """Iterates over the ids of one text, each as soon as it can no longer belong to a stop text.

    Afterwards ``reason`` is ``length``, ``stop`` or ``lines``, and ``stop`` the number of the stop text, if one ended it.
    """

    def __init__(self, ids: Iterator[int], ending: Ending) -> None:
        self._ids, self._ending = islice(ids, ending.length), ending
        self.reason = "length"
        self.stop: int | None = None

    def __iter__(self) -> Iterator[int]:
        return self._watched() if self._ending.watches else self._ids

    def _watched(self) -> Iterator[int]:
        ending, stops = self._ending, self._ending.stops
        held = deque[int]()
        place = lines = keep_back = 0
        for index in self._ids:
            held.append(index)
            if stops is not None:
                place = stops.after(place, index)
                if (found := int(stops.found[place])) >= 0:
                    self.reason, self.stop = "stop", found
                    break
                keep_back = 0 if ending.keep_stop else int(stops.depth[place])
            if index == ending.newline:
                lines += 1
                if lines == ending.lines:
                    self.reason = "lines"
                    break
            while len(held) > keep_back:
                yield held.popleft()
        yield from islice(held, len(held) - ending.dropped(self.stop))


class Watch:
    """Tells when each of N texts that grow together ends."""

    def __init__(self, ending: Ending, streams: int) -> None:
        self._ending = ending
        self._places = np.zeros(streams, dtype=np.intp)
        self._lines = np.zeros(streams, dtype=np.intp)
        self._read = np.zeros(streams, dtype=np.intp)

    def ended(self, ids: NDArray[Any]) -> dict[int, tuple[str, int | None]]:
        """The streams that end with ``ids`` (N,), each with its reason and the number of its stop text."""
        ending, stops = self._ending, self._ending.stops
        self._read += 1
        over: dict[int, tuple[str, int | None]] = {}
        if ending.length is not None:
            over = dict.fromkeys(np.flatnonzero(self._read == ending.length).tolist(), ("length", None))
        if ending.lines is not None:
            self._lines += ids == ending.newline
            over |= dict.fromkeys(np.flatnonzero(self._lines == ending.lines).tolist(), ("lines", None))
        if stops is not None:
            self._places = stops.after_each(self._places, ids)
            found = stops.found[self._places]
            over |= {row: ("stop", int(found[row])) for row in np.flatnonzero(found >= 0).tolist()}
        return over

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Drop all texts but those of ``rows``, which become texts 0, 1, ..."""
        self._places, self._lines, self._read = self._places[rows], self._lines[rows], self._read[rows]

    def begin(self, row: int) -> None:
        """Let text ``row`` be another one, of which nothing has been written yet."""
        self._places[row] = self._lines[row] = self._read[row] = 0
