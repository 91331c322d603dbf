"""spool: an array that doesn't stay in memory holds the same numbers."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from charrnn import CharrnnError
from charrnn.text import spool
from charrnn.text.spool import Spool


@pytest.mark.parametrize("memory", [0, 40, 1 << 20])
def test_what_was_added_comes_back_in_order(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY_BYTES", memory)
    made, parts = Spool(np.int64), [np.arange(4), np.zeros(0), np.array([-1], dtype=np.int8), np.arange(900, 990)]
    for part in parts:
        made.append(part)
    found = made.array()
    assert (found.dtype, type(found)) == (np.int64, np.ndarray)
    assert found.tolist() == [int(number) for part in parts for number in part]
    assert Spool(np.uint64).array().tolist() == []


def test_its_file_has_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Spool(np.int64)
    made.append(np.arange(9))
    assert os.name == "nt" or not list(tmp_path.iterdir())
    assert made.array().tolist() == list(range(9))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "wb", buffering=0))  # noqa: SIM115
    with pytest.raises(CharrnnError, match="a long list"):
        Spool(np.int64).append(np.arange(9))
