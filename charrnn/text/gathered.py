"""Any number of short texts in few bytes: one array of UTF-8, which lies in a temporary file where it is large, and their ends.

A list of a million `str` takes some 130 bytes for each beside its characters; here it is 16.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from charrnn.text.spilled import BlockStore
from charrnn.text.vocabulary import Vocabulary

_BLOCK = 1 << 16
_TOGETHER = 1 << 12

Ids = NDArray[np.integer]


class Gathering:
    """Takes texts as they come; `texts` are all of them."""

    def __init__(self) -> None:
        self._store, self._waiting, self._ends, self._bytes = BlockStore(), bytearray(), array("q", [0]), 0

    def __enter__(self) -> Gathering:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.__exit__()

    def append(self, text: str) -> None:
        """Take one more text; `CharrnnError` if there is no room for temporary files."""
        code = text.encode("utf-8", "surrogatepass")
        self._waiting += code
        self._bytes += len(code)
        self._ends.append(self._bytes)
        if len(self._waiting) >= _BLOCK:
            self._flush()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._ends) - 1

    def texts(self) -> Gathered:
        """All texts, in their order."""
        self._flush()
        bounds = np.frombuffer(self._ends, dtype=np.int64)
        data = self._store.codes() if self._bytes else np.zeros(0, dtype=np.uint8)
        return Gathered(np.asarray(data), bounds[:-1], bounds[1:])

    def _flush(self) -> None:
        if self._waiting:
            self._store.append(np.frombuffer(bytes(self._waiting), dtype=np.uint8))
            self._waiting.clear()


class Gathered(Sequence[str]):
    """Texts that lie side by side in one array of bytes."""

    def __init__(self, data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Text i is ``data[starts[i] : ends[i]]`` in UTF-8."""
        self._data, self._starts, self._ends = data, starts, ends

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> Gathered: ...

    def __getitem__(self, place: int | slice) -> str | Gathered:
        if isinstance(place, slice):
            return Gathered(self._data, self._starts[place], self._ends[place])
        return self._data[self._starts[place] : self._ends[place]].tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            bounds = zip(self._starts[some].tolist(), self._ends[some].tolist(), strict=True)
            yield from (self._data[first:last].tobytes().decode("utf-8", "surrogatepass") for first, last in bounds)

    def picked(self, places: NDArray[np.intp]) -> Gathered:
        """The texts at ``places`` (N,), in this order; none is copied."""
        return Gathered(self._data, self._starts[places], self._ends[places])


class Encoded(Sequence[Ids]):
    """The ids of texts, a mark before and behind each, in one array, which lies in a temporary file where it is large."""

    def __init__(self, texts: Sequence[str], vocabulary: Vocabulary, mark: Ids, longest: int) -> None:
        """``mark`` (1,) is the id that stands before and behind a text, of which ``longest`` symbols at most are read.

        Raises:
            CharrnnError: there is no room for temporary files.
        """
        lengths, self.cut = np.zeros(len(texts), dtype=np.int64), 0
        with BlockStore() as store:
            for start in range(0, len(texts), _TOGETHER):
                some = slice(start, start + _TOGETHER)
                ids, lengths[some], cut = _encoded(texts[some], vocabulary, longest)
                self.cut += cut
                block = np.insert(ids, np.cumsum(lengths[some]), mark)
                store.append(block if start else np.concatenate([mark.astype(block.dtype), block]))
            self._ids: Ids = np.asarray(store.codes()) if len(lengths) else np.zeros(0, dtype=np.uint8)
        self.lengths = lengths + 2
        """How many ids each text has, its marks included, (N,); ``cut`` is how many texts are longer than what is read."""
        self._starts = np.concatenate([[0], np.cumsum(self.lengths - 1)])  # Two texts side by side share a mark.

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, place: int) -> Ids: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Ids]: ...

    def __getitem__(self, place: int | slice) -> Ids | Sequence[Ids]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        return self._ids[self._starts[place] : self._starts[place] + self.lengths[place]]


def _encoded(texts: Sequence[str], vocabulary: Vocabulary, longest: int) -> tuple[Ids, list[int], int]:
    """The ids of ``texts``, of each at most ``longest``, one behind the other; how many each has; how many were longer."""
    if vocabulary.level == "byte":
        codes = [text.encode("utf-8", "surrogateescape") for text in texts]
        ids: Ids = np.frombuffer(b"".join(code[:longest] for code in codes), dtype=np.uint8)
        lengths = [len(code) for code in codes]
    else:
        ids, lengths = vocabulary.encode("".join(text[:longest] for text in texts)), [len(text) for text in texts]
    return ids, [min(length, longest) for length in lengths], sum(length > longest for length in lengths)
