"""spilled: a text that doesn't stay in memory is the same text, in as few bytes as its characters need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from charrnn import CharrnnError
from charrnn.text import spilled
from charrnn.text.spilled import BlockStore
from charrnn.text.vocabulary import Vocabulary

BLOCKS = ["plain", "caf\u00e9", "\u4e00\u4e8c", "\U0001f600", "plain again"]


@pytest.mark.parametrize("memory", [0, 12, 1 << 20])
def test_blocks_come_back_as_ids_and_as_code_points(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", memory)
    text, told = "".join(BLOCKS), list[float]()
    vocabulary = Vocabulary("char", "".join(sorted({*text} - {"p"})))
    with BlockStore() as store:
        for block in BLOCKS:
            codes = np.array([*map(ord, block)], dtype=np.uint8 if block.isascii() else np.uint32)
            store.append(codes)
        assert (store.codes().tolist(), store.codes().itemsize) == ([*map(ord, text)], 4)
        for _ in range(2):
            assert store.encoded(vocabulary).tolist() == vocabulary.encode(text).tolist()
        assert np.concatenate(list(store.ids(vocabulary, told.append))).tolist() == vocabulary.encode(text).tolist()
    assert told[-1] == 1
    assert told == sorted(told)


def test_latin_letters_take_a_byte_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", 0)
    with BlockStore() as store:
        store.append(np.array([0xE9] * 10, dtype=np.uint32))
        assert store.codes().itemsize == 1


def test_a_place_that_is_no_directory_is_a_line_with_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", 0)
    place = tmp_path / "nowhere"
    with BlockStore(place) as store, pytest.raises(CharrnnError, match=f"{place}: .*CHARRNN_CACHE may name another directory"):
        store.append(np.zeros(9, dtype=np.uint8))
