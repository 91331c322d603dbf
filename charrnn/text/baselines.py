"""What a text takes without a network: the entropy of its characters' frequencies, and what a compressor makes of it.

A loss means little by itself: a list of random numbers and a fable are not equally hard. These two say what is easy here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.text import xz
from charrnn.text.corpus import Corpus
from charrnn.text.records import RecordList

MOST_BYTES = 2_000_000
"""A longer text is compressed in part:"""
PIECES = 8
"""so many pieces from all over it, one after another."""
BLOCK = 1 << 20
"""Characters that are counted at a time."""
DRAWN_FROM = 1 << 22
"""Of a list of more records as many are drawn as can be needed, instead of an order of all."""


def unigram_bits(corpus: Corpus) -> float:
    """The entropy of the frequencies of a text's characters, in bits per character: what knowing no order at all comes to."""
    if (counts := corpus.counts) is None:
        counts = np.zeros(corpus.vocabulary.size, dtype=np.int64)
        for start in range(0, len(corpus.ids), BLOCK):
            counts += np.bincount(corpus.ids[start : start + BLOCK], minlength=len(counts))
    shares = counts[counts > 0] / len(corpus.ids)
    return 0.0 - float((shares * np.log2(shares)).sum())


def excerpt(corpus: Corpus, most: int = MOST_BYTES) -> tuple[bytes, int]:
    """A text of at most ``most`` bytes from all over the corpus, in UTF-8 unless it is of bytes; and how long it is.

    Records come in an order drawn by chance, as they do in training: to a compressor, a sorted list would tell by its order how
    most records begin.
    """
    pieces, length = (PIECES, most // PIECES) if corpus.records is None else (1, most)
    ids = corpus.ids if corpus.records is None else _drawn(corpus.ids, corpus.records, most)
    encoded = _encoded(corpus, ids[:most])
    if len(ids) <= most and len(encoded) <= most:
        return encoded, len(ids)
    length = min(length, len(ids) // pieces)
    while True:
        last = len(ids) - length
        starts = [last * piece // max(pieces - 1, 1) for piece in range(pieces)]
        encoded = _encoded(corpus, np.concatenate([ids[start : start + length] for start in starts]))
        if len(encoded) <= most:
            return encoded, pieces * length
        length = min(length - 1, int(length * most / len(encoded)))


def _drawn(ids: NDArray[Any], records: RecordList, most: int) -> NDArray[Any]:
    """Records in an order drawn by chance, as many as reach ``most`` characters."""
    rng, count = np.random.default_rng(0), len(records.starts) - 1
    # As many numbers as there are bytes to fill are enough, and take no room for each record.
    order = rng.permutation(count if count <= DRAWN_FROM else np.unique(rng.integers(count, size=most)))
    reaching = int(np.searchsorted(np.cumsum(records.spans_of(order)), most)) + 1
    return np.concatenate([ids[records.starts[i] + 1 : records.starts[i + 1] + 1] for i in order[:reaching]])


def xz_bits(corpus: Corpus) -> float:
    """What ``xz -9`` makes of the text, in bits per character; it takes about a second for two megabytes."""
    data, characters = excerpt(corpus)
    return bits(xz.compressed_size(data), characters)


def bits(size: int, characters: int) -> float:
    """So many bytes in bits per character."""
    return 8 * size / characters


def facts(unigram: float | None, compressed: float | None) -> dict[str, Any]:
    """Both figures by the names that events and checkpoints give them."""
    return {"unigram_bits_per_char": unigram, "xz_bits_per_char": compressed}


def known(data: object) -> float | None:
    """A figure that a checkpoint holds; None for anything else."""
    return float(data) if type(data) is float and math.isfinite(data) and data >= 0 else None


def _encoded(corpus: Corpus, ids: NDArray[Any]) -> bytes:
    if corpus.vocabulary.level == "byte":
        return bytes(ids.astype(np.uint8))
    codes = np.array([*map(ord, corpus.vocabulary.characters), 0xFFFD], dtype="<u4")
    return str(codes[ids].tobytes(), "utf-32-le", "surrogatepass").encode("utf-8", "surrogatepass")
