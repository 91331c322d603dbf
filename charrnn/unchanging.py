"""Objects that never change, so that threads may share them."""

from __future__ import annotations

from typing import NoReturn, TypeVar

T = TypeVar("T")


class Unchanging:
    """What never changes is its own copy; other processes load their own by ``loader``, since no pickle is read or written."""

    loader = "load"

    def __copy__(self: T) -> T:
        """See `copy.copy`."""
        return self

    def __deepcopy__(self: T, memo: object) -> T:
        """See `copy.deepcopy`."""
        return self

    def __reduce__(self) -> NoReturn:
        """See `pickle`; a `TypeError`."""
        raise TypeError(f"{self!r} can't be pickled; let each process load its own by charrnn.{self.loader}")
