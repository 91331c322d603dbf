"""How long the process has run, and the threads of its libraries."""

from __future__ import annotations

import os

import pytest

from charrnn.cli import process


def test_the_time_since_the_start_grows_and_began_with_the_process() -> None:
    first, second = process.seconds_since_start(), process.seconds_since_start()
    assert 0 < first <= second < 86400


def test_threads_are_limited_unless_the_user_has_set_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    process.limit_threads(1)
    assert (os.environ["MKL_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("7", "1")
