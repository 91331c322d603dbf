"""Lines as vectors: the last layer's h after each line of a text and its mean over the line, streamed into an archive."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, files
from charrnn.analysis.scoring import ABSURD, whole_lines
from charrnn.generation.generate import opening
from charrnn.network.cells import Array, LayerTrace, Network
from charrnn.network.columns import Feed, blocks
from charrnn.text.vocabulary import Vocabulary

TOGETHER = 256
"""How many lines are read side by side."""
NUMBERS = 1 << 20
"""About how many numbers of h are held at a time."""
IN_MEMORY_BYTES = 1 << 26
"""Vectors that need more than this wait in temporary files."""
MARK = "charrnn_encode"
"""The first array of an archive, by which `files.check_made` knows it; it tells what the archive holds."""
_NAMED = 64

Sink = Callable[[Path], AbstractContextManager[IO[bytes]]]
"""Opens what an archive is written to."""


class Encoder:
    """Reads each line by itself, as `charrnn score --lines` does: from the zero state, after the opening symbol.

    ``lines`` counts those that were read, ``unknown`` the characters that the network doesn't know, of which ``strangers``
    names some, and ``mapped`` those read in another, canonically equal form.
    """

    def __init__(self, network: Network, vocabulary: Vocabulary) -> None:
        self.units = network.config.hidden_size
        self.lines = self.unknown = self.mapped = 0
        self.strangers: set[str] = set()
        self._network, self._vocabulary = network, vocabulary
        self._opening, self._normalizer = opening(vocabulary), vocabulary.normalizer()

    def vectors(self, text: Iterable[NDArray[Any]]) -> Iterator[tuple[Array, Array]]:
        """The lines of ``text``, blocks of code points, in order, some at a time (N, H): h after each line's last character,
        its newline not read, and the mean of h over its characters. Of an empty line both are h after the opening symbol.

        Raises:
            CharrnnError: the network's numbers are not finite.
        """
        for lines in whole_lines(text):
            for start in range(0, len(lines), TOGETHER * 16):
                yield self._some([self._ids(line) for line in lines[start : start + TOGETHER * 16]])

    def _ids(self, line: NDArray[Any]) -> NDArray[Any]:
        """What is read of a line: the opening symbol and its characters."""
        codes = line[:-1] if len(line) and line[-1] == 10 else line
        if self._normalizer is not None:
            codes = self._normalizer.whole(codes)
            self.mapped += self._normalizer.newly_mapped()
        ids = codes if self._vocabulary.level == "byte" else np.take(self._vocabulary.table, codes)
        if self._vocabulary.unknown is not None and (strange := ids == self._vocabulary.unknown).any():
            self.unknown += int(strange.sum())
            if len(self.strangers) < _NAMED:
                self.strangers.update(map(chr, np.unique(codes[strange])[:_NAMED].tolist()))
        self.lines += 1
        return np.concatenate([self._opening, ids])

    def _some(self, columns: Sequence[NDArray[Any]]) -> tuple[Array, Array]:
        order = sorted(range(len(columns)), key=lambda number: len(columns[number]))
        final, mean = (np.empty((len(columns), self.units), dtype=np.float32) for _ in range(2))
        for start in range(0, len(order), TOGETHER):
            batch = order[start : start + TOGETHER]
            final[batch], mean[batch] = self._read([columns[number] for number in batch])
        if not np.isfinite(final).all():
            raise CharrnnError(ABSURD)
        return final, mean

    def _read(self, columns: Sequence[NDArray[Any]]) -> tuple[Array, NDArray[np.float64]]:
        state = self._network.initial_state(len(columns))  # (L, P, N, H)
        sums = np.zeros((len(columns), self.units))
        for block in blocks(self._network, columns, state, max(1, NUMBERS // self.units), hidden):
            h = block.logits[1:] if block.offsets.start == 0 else block.logits  # (T, N, H), without the opening symbol
            sums[block.columns] += h.sum(axis=0, dtype=np.float64)
        final, lengths = state[-1, 0], np.array([len(column) - 1 for column in columns])[:, None]
        return final, np.where(lengths, sums / np.maximum(lengths, 1), final)


def hidden(network: Network, state: Array) -> Feed:
    """Feeds the network and gives, where others give logits, the last layer's h (T, N, H) after each symbol."""
    step, h = network.stepper(state), state[-1, 0]

    def feed(ids: NDArray[Any]) -> tuple[Array, list[LayerTrace]]:
        seen = np.empty((*ids.shape, h.shape[-1]), dtype=np.float32)
        for t, row in enumerate(ids):
            step(row)
            seen[t] = h
        return seen, []

    return feed


# -- the archive ------------------------------------------------------------------------------------------------------


def write(path: Path, vectors: Iterable[tuple[Array, Array]], units: int, sink: Sink) -> None:
    """Write ``vectors`` as the arrays ``final`` and ``mean`` (lines, H), float32, of an archive for ``numpy.load``.

    Raises:
        CharrnnError: it can't be written, or there is too little room for temporary files.
    """
    # One array follows the other in the archive, each behind a header that says how many rows it has.
    with (
        tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, prefix="charrnn-") as final,
        tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, prefix="charrnn-") as mean,
    ):
        count = 0
        for last, average in vectors:
            with files.temporary_space("a long text"):
                final.write(last.tobytes())
                mean.write(average.tobytes())
            count += len(last)
        facts = np.array(json.dumps({"lines": count, "units": units}))
        with files.guard(path, "can't write"), sink(path) as file, zipfile.ZipFile(file, "w") as archive:
            with _member(archive, MARK, facts.dtype, ()) as member:
                member.write(facts.tobytes())
            for name, rows in (("final", final), ("mean", mean)):
                rows.seek(0)
                with _member(archive, name, np.dtype("<f4"), (count, units)) as member:
                    shutil.copyfileobj(rows, member, 1 << 20)


@contextmanager
def _member(archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """An array of ``archive``, to which its numbers are still to be written."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, {"descr": dtype.str, "fortran_order": False, "shape": shape})
        yield member
