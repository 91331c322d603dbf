"""Arrays that grow at their end, and don't stay in memory once they are long."""

from __future__ import annotations

import contextlib
import tempfile
from typing import IO, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn import files

IN_MEMORY_BYTES = 1 << 26
"""An array that needs more than this lives in a temporary file."""

D = TypeVar("D", bound=np.generic)


class Spool(Generic[D]):
    """Numbers of one type, in memory while they are few, else in an unnamed temporary file."""

    def __init__(self, dtype: type[D]) -> None:
        self._dtype: np.dtype[D] = np.dtype(dtype)
        self._parts: list[NDArray[D]] = []
        self._held, self._length = 0, 0
        self._file: IO[bytes] | None = None

    def append(self, values: NDArray[Any]) -> None:
        """Add ``values``, (n,)."""
        part = np.ascontiguousarray(values, dtype=self._dtype)
        self._parts.append(part)
        self._held += part.nbytes
        self._length += len(part)
        if self._held > IN_MEMORY_BYTES:
            self._spill()

    def _spill(self) -> None:
        with files.temporary_space("a long list"):
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="charrnn-")  # noqa: SIM115 - mapped in the end
            try:
                for part in self._parts:
                    self._file.write(part.data)
                self._file.flush()
            except OSError:
                with contextlib.suppress(OSError):
                    self._file.close()
                raise
        self._parts, self._held = [], 0

    def array(self) -> NDArray[D]:
        """All of them, memory-mapped where they are many; nothing can be added any more."""
        if self._file is None:
            return np.concatenate([np.zeros(0, dtype=self._dtype), *self._parts])
        self._spill()
        with self._file as file:
            mapped: NDArray[D] = np.memmap(file, dtype=self._dtype, mode="r", shape=(self._length,)).view(np.ndarray)
        return mapped
