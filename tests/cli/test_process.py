"""How long the process has run, and the threads of its libraries."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Put

from charrnn.cli import process


def test_the_time_since_the_start_grows_and_began_with_the_process() -> None:
    first, second = process.seconds_since_start(), process.seconds_since_start()
    assert 0 < first <= second < 86400


THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_THREAD_TIMEOUT")


@pytest.mark.parametrize(
    ("given", "cores", "most", "allowed", "set_to"),
    [
        ({}, 2, 4, 2, ("2", "2")),
        ({}, 64, 4, 4, ("4", "4")),
        ({}, 8, 1, 1, ("1", "1")),
        ({"OMP_NUM_THREADS": "1"}, 8, 4, 1, ("1", "1")),
        ({"OMP_NUM_THREADS": "3,2"}, 8, 4, 3, ("3", "3")),
        ({"OMP_NUM_THREADS": "many"}, 2, 4, 2, ("2", "2")),
        ({"MKL_NUM_THREADS": "7"}, 2, 4, 2, ("2", "7")),
        ({"OPENBLAS_NUM_THREADS": "3"}, 2, 4, 1, ("3", "2")),  # What is chosen is not changed.
    ],
)
def test_threads_are_limited_unless_the_user_has_set_them(
    given: dict[str, str], cores: int, most: int, allowed: int, set_to: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREADS:
        monkeypatch.setenv(name, "")  # So that it is as it was afterwards.
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(process, "usable_cores", lambda: cores)
    assert process.limit_threads(most) == allowed
    assert (os.environ["OPENBLAS_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == set_to


@pytest.mark.parametrize(("intel", "first"), [(True, "1"), (False, "2")])
def test_openblas_begins_with_one_thread_where_their_number_may_change_later(
    intel: bool, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREADS:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(process, "usable_cores", lambda: 2)
    monkeypatch.setattr(process, "x86_64", lambda: intel)
    assert process.limit_threads(begin_with_one=True) == 2
    assert (os.environ["OPENBLAS_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == (first, "2")


@pytest.mark.parametrize(("intel", "threads"), [(True, "1"), (False, None)])
def test_training_leaves_numpy_one_thread_and_torch_its_own(
    intel: bool, threads: str | None, invoke: Callable[..., Any], put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREADS:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr("charrnn.cli.train.x86_64", lambda: intel)
    assert invoke("train", put("novel.txt", b"to be " * 9), "--steps", "1", "--dry-run").code == 0
    assert (os.environ.get("OPENBLAS_NUM_THREADS"), os.environ.get("MKL_NUM_THREADS")) == (threads, None)
