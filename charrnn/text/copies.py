"""Which of several files hold the same text: what is held out of one would be learned from the other."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEEN = 4096
"""Files with as many characters as another, and with so many of the same at both ends, are taken for copies of it."""
SHARE = 0.01
"""Copies are told of if they are such a share of all that is read."""


class Copies:
    """Takes in the characters of files ``names``, one after the other."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names, self._number = names, -1
        self._first_with: dict[Hashable, str] = {}
        self._copies: list[tuple[int, str]] = []
        self._copied = self._read = 0
        self._begun()

    def _begun(self) -> None:
        self._length, self._beginning, self._end = 0, b"", np.zeros(0, dtype=np.uint32)

    def begin(self) -> None:
        """The next file begins."""
        self._take()
        self._number += 1
        self._begun()

    def add(self, codes: NDArray[Any]) -> None:
        """Take in the next code points of the file; a newline at its very beginning may belong to the file before."""
        if not self._length and len(codes) == 1 and codes[0] == 10:
            return
        if missing := SEEN - min(self._length, SEEN):
            self._beginning += codes[:missing].astype(np.uint32).tobytes()
        self._end = np.concatenate((self._end, codes[-SEEN:].astype(np.uint32)))[-SEEN:]
        self._length += len(codes)

    def told(self) -> tuple[int, str, str] | None:
        """The number of the first copy, the file that it is a copy of, and what else is to be said; None if none matters."""
        self._take()
        self._begun()
        if self._copied < max(1.0, SHARE * self._read):
            return None
        more = f", and {len(self._copies) - 1:,} more" if len(self._copies) > 1 else ""
        return *self._copies[0], f"{more}; what is held out of one is learned from the other, so leave copies out"

    def _take(self) -> None:
        """The file that was read last is whole; one that is named twice is told of elsewhere."""
        self._read += self._length
        if not self._length:
            return
        name = self._names[self._number]
        original = self._first_with.setdefault((self._length, hash(self._beginning), hash(self._end.tobytes())), name)
        if original != name and os.path.realpath(original) != os.path.realpath(name):
            self._copies.append((self._number, original))
            self._copied += self._length
