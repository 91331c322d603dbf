"""Ids in a mapped file whose blocks are checked when they are first read: what has been damaged never gets further."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError

BLOCK_BYTES = 1 << 16
"""So many bytes have one checksum."""
AT_ONCE_BYTES = 1 << 26
"""A longer slice is checked where it is read, not as a whole."""


class DamagedError(CharrnnError):
    """Bytes differ from those that were written."""


def checksums(data: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """One for each block of ``data``."""
    return np.array(
        [zlib.crc32(data[start : start + BLOCK_BYTES].data) for start in range(0, len(data), BLOCK_BYTES)], np.uint32
    )


class Guard:
    """Which blocks of an array of bytes are known to be as they were written."""

    def __init__(self, data: NDArray[np.uint8], sums: NDArray[np.uint32], on_damage: Callable[[], str]) -> None:
        """``on_damage`` is called when a block differs, and says what the error says."""
        self._data, self._sums, self._on_damage = data, sums, on_damage
        self._sound = np.zeros(len(sums), dtype=bool)
        self.address = data.ctypes.data

    def check(self, begin: int, end: int) -> None:
        """Raise `DamagedError` unless the bytes from ``begin`` to ``end`` are sound."""
        self.check_blocks(np.arange(begin // BLOCK_BYTES, -(-end // BLOCK_BYTES)))

    def check_blocks(self, blocks: NDArray[Any]) -> None:
        """Raise `DamagedError` unless the blocks of these numbers are sound."""
        if self._sound[blocks].all():
            return
        for block in np.unique(blocks[~self._sound[blocks]]).tolist():
            begin = block * BLOCK_BYTES
            if zlib.crc32(self._data[begin : begin + BLOCK_BYTES].data) != self._sums[block]:
                raise DamagedError(self._on_damage())
            self._sound[block] = True


class CheckedIds(np.ndarray[Any, Any]):
    """An array of ids, (C,), that a `Guard` watches: what is taken out of it by index or slice is sound, and a plain array.

    A slice too long to be read at once is watched like the whole.
    """

    _guard: Guard | None = None

    @classmethod
    def of(cls, ids: NDArray[Any], guard: Guard) -> NDArray[Any]:
        """``ids``, which lie in the bytes that ``guard`` knows."""
        checked = ids.view(cls)
        checked._guard = guard
        return checked

    def check_all(self) -> None:
        """Raise `DamagedError` unless all are sound."""
        assert self._guard is not None
        first = self.ctypes.data - self._guard.address
        self._guard.check(first, first + self.nbytes)

    def __array_finalize__(self, other: object) -> None:
        self._guard = getattr(other, "_guard", None)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        guard = self._guard
        if guard is None:
            return found
        first = self.ctypes.data - guard.address
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if (stop - start) * self.itemsize > AT_ONCE_BYTES:
                return found
            if step != 1:
                start, stop = 0, len(self)
            if stop > start:
                guard.check(first + start * self.itemsize, first + stop * self.itemsize)
        else:
            places = np.asarray(key)
            if places.dtype == bool:
                guard.check(first, first + self.nbytes)
            else:
                guard.check_blocks((first + np.where(places < 0, places + len(self), places) * self.itemsize) // BLOCK_BYTES)
        return found.view(np.ndarray) if isinstance(found, np.ndarray) else found

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), AT_ONCE_BYTES // 8):
            yield from self[start : start + AT_ONCE_BYTES // 8].view(np.ndarray)

    def __array_wrap__(self, *_: Any) -> NoReturn:
        raise TypeError("ids of the cache are read by index or slice, which checks them")
