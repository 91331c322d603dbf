"""How much room on a disk a text will take while it is read, and whether there is so much."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from charrnn.text import sources
from charrnn.text.reading import TextReader

SAMPLES, SAMPLE_BYTES = 16, 4096


@dataclass(frozen=True)
class Needed:
    """Bytes for the code points of a text while it is read, and for its ids afterwards; and how many lines it has: estimates,
    by samples of UTF-8.
    """

    codes: int
    ids: int
    lines: int = 0


def needed(names: Sequence[str], reader: TextReader) -> Needed:
    """What the regular files among ``names`` take; of those whose size doesn't tell how long their text is, a little."""
    sizes = []
    for name in names:
        packed = sources.is_packed(name, reader.version) or reader.is_table(name)
        regular = name != sources.STDIN and Path(name).is_file() and not packed
        sizes.append(Path(name).stat().st_size if regular else 0)
    total = sum(sizes)
    known, pieces = set[str](), _samples(names, sizes)
    lines = int(total * sum(piece.count(b"\n") for piece in pieces) / max(1, sum(map(len, pieces))))
    if reader.level == "byte":
        return Needed(total, total, lines)
    characters = codes = 0.0  # and their bytes, for each byte of the text
    for piece in pieces:
        text = piece.decode("utf-8", "ignore")
        share = len(text) / max(len(piece), 1) / len(pieces)
        known.update(text)
        characters += share
        codes += share * np.min_scalar_type(max(map(ord, text), default=0)).itemsize
    if reader.encoding.name is not None or "\0" in known:
        characters = codes = 0.5  # It needn't be UTF-8; this is the least.
    return Needed(int(total * codes), int(total * characters) * (2 if len(known) > 255 else 1), lines)


def _samples(names: Sequence[str], sizes: Sequence[int]) -> list[bytes]:
    """Some of the text from all over it; raises `OSError`."""
    ends, found = np.cumsum(sizes), []
    for position in np.arange(SAMPLES) * int(ends[-1]) // SAMPLES if len(ends) and ends[-1] else ():
        number = int(np.searchsorted(ends, position, side="right"))
        with open(names[number], "rb") as file:
            file.seek(int(position) - int(ends[number]) + sizes[number])
            found.append(file.read(SAMPLE_BYTES))
    return found


def free(place: Path) -> int | None:
    """The bytes that may still be written to a directory; None where the system doesn't say."""
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None
