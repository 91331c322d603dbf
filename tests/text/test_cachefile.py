"""cachefile: what is read is what was written, whatever the blocks were."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from charrnn.text import cachefile, checked, records
from charrnn.text.cachefile import Encoded
from charrnn.text.vocabulary import Vocabulary, id_dtype


@pytest.mark.parametrize("size", [3, 300, 70_000])
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_ids_of_any_width_in_blocks_of_any_length(
    size: int, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (cachefile, checked):
        monkeypatch.setattr(module, "BLOCK_BYTES", 64)
    monkeypatch.setattr(cachefile, "_CHUNK_BYTES", 64 * 4)
    first = 0xE000 if size < 70_000 else 0x20000  # beyond the surrogates
    vocabulary = Vocabulary("char", "".join(map(chr, range(first, first + size))))
    ids = np.random.default_rng(0).integers(0, vocabulary.size, 1001).astype(id_dtype(vocabulary.size))
    text = Encoded(7, "a" * 64, "b" * 64, vocabulary, np.empty(0), remarks=((0, "odd"), (-1, "all")), name="x")
    path = tmp_path / "x.text"
    with path.open("wb") as file:
        cachefile.write(file, "key", text, (ids[start : start + block] for start in range(0, 1001, block)))
    path.chmod(0o600)
    found = cachefile.read(path, "key")
    assert found is not None
    assert found.ids.dtype == ids.dtype
    np.testing.assert_array_equal(found.ids[:], ids)
    np.testing.assert_array_equal(found.counts, np.bincount(ids, minlength=vocabulary.size))
    assert (found.vocabulary, found.remarks, found.name) == (vocabulary, text.remarks, "x")
    assert (found.bytes_read, found.sha256, found.text_sha256) == (7, "a" * 64, "b" * 64)
    assert cachefile.verified(found) is found
    assert cachefile.read(path, "other") is None


def test_long_arrays_are_mapped_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cachefile, "_MAPPED_BYTES", 0)
    vocabulary = Vocabulary("char", "\nab")
    listed, blocks = records.split(vocabulary.encode("ab\nba\n\naab\nb\n"), vocabulary, 0.3, 0)
    text = Encoded(13, "a" * 64, "b" * 64, vocabulary, np.empty(0), listed)
    path = tmp_path / "x.text"
    with path.open("wb") as file:
        cachefile.write(file, "key", text, blocks())
    path.chmod(0o600)
    monkeypatch.setattr(cachefile, "_CHUNK_BYTES", 4)
    found = cachefile.read(path, "key")
    assert found is not None
    assert found.records is not None
    assert isinstance(found.records.starts.base, mmap.mmap | np.memmap)
    np.testing.assert_array_equal(found.records.starts, listed.starts)
    np.testing.assert_array_equal(found.records.hashes, listed.hashes)
    data = path.read_bytes()
    place = data.index(listed.starts.tobytes()) + 8
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert cachefile.read(path, "key") is None
