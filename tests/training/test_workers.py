"""How many threads share the columns, and what they share."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch

from charrnn.training.workers import Workers, choose_workers


@pytest.mark.parametrize(
    ("asked", "columns", "expected"),
    [
        (None, 32, 4),
        (None, 64, 4),
        (None, 24, 3),
        (None, 16, 2),
        (None, 15, 1),
        (None, 1, 1),
        (3, 32, 3),
        (9, 32, 9),
        (9, 4, 4),
        (1, 32, 1),
    ],
)
def test_every_worker_has_a_core_and_8_columns_unless_their_number_is_given(asked, columns, expected, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert choose_workers(asked, torch.device("cpu"), columns) == expected


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_gpu_takes_all_columns_at_once(device):
    assert choose_workers(None, torch.device(device), 32) == 1
    assert choose_workers(4, torch.device(device), 32) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("columns", [1, 2, 5, 8, 33])
def test_shares_are_contiguous_nearly_equal_and_all_there_is(count, columns):
    shares = [range(columns)[share] for share in Workers(count).shares(columns)]
    assert [column for share in shares for column in share] == list(range(columns))
    sizes = [len(share) for share in shares]
    assert len(shares) == min(count, columns)
    assert max(sizes) - min(sizes) <= 1


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def settings_of_the_thread(barrier):
    barrier.wait(10)  # so that every worker takes one
    tiny = torch.tensor([1e-38]) * 0.1  # below the smallest normal number
    return threading.current_thread().name, torch.get_num_threads(), tiny.item() == 0


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("count", [2, 4])
def test_workers_are_threads_that_divide_torchs_threads_and_flush_denormals(count, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    torch.set_flush_denormal(False)
    workers = Workers(count)
    with workers.working():
        found = workers.map(settings_of_the_thread, [threading.Barrier(count)] * count)
        assert torch.get_num_threads() == 4 // count
    assert len({name for name, _, _ in found}) == count
    assert all(name.startswith("charrnn-worker") for name, _, _ in found)
    assert [threads for _, threads, _ in found] == [4 // count] * count
    assert all(flushes for _, _, flushes in found)
    assert torch.get_num_threads() == 4
    assert (torch.tensor([1e-38]) * 0.1).item() != 0


@pytest.mark.usefixtures("four_threads")
def test_more_workers_than_cores_have_one_thread_each(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    workers = Workers(5)
    with workers.working():
        assert {threads for _, threads, _ in workers.map(settings_of_the_thread, [threading.Barrier(5)] * 5)} == {1}
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
def test_one_worker_is_the_calling_thread_and_changes_nothing():
    workers = Workers(1)
    with workers.working():
        assert torch.get_num_threads() == 4
        assert workers.map(lambda _: threading.current_thread(), [1, 2]) == [threading.current_thread()] * 2


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(("units", "asked", "threads"), [(256, "", 1), (512, "", 1), (1024, "", 4), (256, "4", 4)])
def test_one_worker_of_narrow_layers_has_one_thread_unless_more_are_asked_for(units, asked, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    with Workers(1, units).working():
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 4


def test_outside_their_context_workers_are_the_calling_thread():
    workers = Workers(3)
    for _ in range(2):
        assert workers.map(lambda _: threading.current_thread(), [1, 2]) == [threading.current_thread()] * 2
        with workers.working():
            assert threading.current_thread() not in workers.map(lambda _: threading.current_thread(), [1, 2])


def test_results_come_in_the_order_of_the_parts():
    workers = Workers(4)

    def slowest_first(part):
        time.sleep(0.02 * (3 - part))
        return part

    with workers.working():
        assert workers.map(slowest_first, range(4)) == [0, 1, 2, 3]


@pytest.mark.usefixtures("four_threads")
def test_a_worker_that_fails_ends_all_in_good_order():
    workers = Workers(2)

    def fail(part):
        raise ValueError(part)

    with pytest.raises(ValueError, match="1"), workers.working():
        workers.map(fail, [1, 2])
    assert torch.get_num_threads() == 4
    assert workers.map(str, [1, 2]) == ["1", "2"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("charrnn-worker")]
