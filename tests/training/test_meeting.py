"""Ranks that meet: one name for all of them, whatever earlier ranks have left, and a mark that torchrun has been here."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import torch.distributed as dist

from charrnn.training.meeting import has_started_before, named_start

PATIENCE = timedelta(seconds=30)


def meet(store: dist.Store, count: int, order: tuple[int, ...]) -> set[str]:
    """The names that ranks get who come in an ``order``."""
    names = list[str]()
    threads = [
        threading.Thread(target=lambda number=number: names.append(named_start(store, number, count, PATIENCE)))
        for number in order
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == count
    return set(names)


def test_every_start_has_a_name_of_its_own_that_all_ranks_know():
    store, names = dist.HashStore(), list[str]()
    for count, order in ((3, (0, 1, 2)), (3, (2, 1, 0)), (1, (0,)), (2, (1, 0)), (4, (3, 0, 2, 1))):
        (name,) = meet(store, count, order)
        names.append(name)
    assert len(set(names)) == 5


def test_rank_0_tells_which_rank_has_not_come():
    store = dist.HashStore()
    store.set("here/1", "of an earlier start")
    with pytest.raises(RuntimeError, match="rank 1 hasn't come"):
        named_start(store, 0, 2, timedelta(seconds=0))
    with pytest.raises(RuntimeError, match="rank 0 hasn't come"):
        named_start(store, 1, 2, timedelta(milliseconds=1))


def test_a_second_start_is_known_by_torchruns_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    assert not has_started_before()
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "launch/attempt_0/0/error.json"))
    assert not any(has_started_before() for _ in range(2))  # A directory that isn't there keeps nothing.
    (tmp_path / "launch").mkdir()
    for local in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", local)
        assert [has_started_before() for _ in range(3)] == [False, True, True]
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "other/attempt_1/0/error.json"))
    assert not has_started_before()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert has_started_before()
