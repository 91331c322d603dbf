"""Where the products are computed, in what precision, and by how many threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time

import pytest
import torch

from charrnn import CharrnnError, UsageError, device
from charrnn.device import Workers, autocast, choose_device, choose_precision, choose_workers


def test_a_device_that_is_not_there_is_one_line_with_those_that_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("cuda", "mps"):
        with pytest.raises(CharrnnError, match=rf"--device {name}: .*usable here: cpu$"):
            choose_device(name)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


def test_auto_prefers_cuda_to_mps_to_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_fp16_off_cuda_is_an_error_that_names_what_is_legal(device):
    with pytest.raises(UsageError, match=rf"--precision fp16 needs --device cuda, this run is on {device}; try bf16 or fp32"):
        choose_precision("fp16", torch.device(device))
    assert choose_precision("fp16", torch.device("cuda")) == "fp16"


@pytest.mark.parametrize(
    ("abilities", "expected"),
    [({}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"amx_bf16": False, "avx2": True}, "fp32")],
)
def test_auto_precision_is_bf16_where_the_cpu_multiplies_it(monkeypatch, abilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)
    assert choose_precision("auto", torch.device("cpu")) == expected
    assert choose_precision("auto", torch.device("mps")) == "fp32"
    for name in ("fp32", "bf16"):
        assert choose_precision(name, torch.device("cpu")) == name


def test_auto_precision_on_cuda_is_bf16_where_the_gpu_has_it(monkeypatch):
    for there, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True, there=there: there)
        assert choose_precision("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_autocast_sets_the_precision_of_products_and_of_nothing_else(precision, dtype):
    matrix = torch.ones(4, 4)
    with autocast(torch.device("cpu"), precision):
        assert (matrix @ matrix).dtype == dtype
        assert (matrix + matrix).dtype == torch.float32
    assert (matrix @ matrix).dtype == torch.float32


# -- workers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "cell", "columns", "expected"),
    [
        (None, "lstm", 32, 4),
        (None, "lstm", 64, 4),
        (None, "lstm", 24, 3),
        (None, "lstm", 16, 2),
        (None, "lstm", 15, 1),
        (None, "lstm", 1, 1),
        (None, "gru", 32, 1),
        (None, "rnn", 32, 1),
        (3, "lstm", 32, 3),
        (3, "gru", 32, 3),
        (9, "lstm", 32, 9),
        (9, "rnn", 4, 4),
        (1, "lstm", 32, 1),
    ],
)
def test_every_worker_has_a_core_and_8_columns_unless_their_number_is_given(asked, cell, columns, expected, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert choose_workers(asked, torch.device("cpu"), cell, columns) == expected


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_gpu_takes_all_columns_at_once(device):
    assert choose_workers(None, torch.device(device), "lstm", 32) == 1
    assert choose_workers(4, torch.device(device), "lstm", 32) == 1


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize(
    ("megabytes", "pieces", "threads"), [(8, 6, 0), (48, 1, 0), (16, 6, 2)], ids=["many", "large", "in threads"]
)
def test_freed_memory_is_kept_for_the_next_chunk(megabytes, pieces, threads):
    """Freed and taken anew ten times, all memory comes page by page, unless it stays with the process."""
    code = f"""
import ctypes, resource, sys, numpy
from concurrent.futures import ThreadPoolExecutor
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # No huge pages, wherever the system would give them: there are few faults then.
if "keep" in sys.argv:
    from charrnn.device import keep_freed_memory
    keep_freed_memory()
def take(_):
    pieces = [numpy.ones({megabytes} << 17) for _ in range({pieces})]
def faults(map):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    list(map(take, range({max(threads, 1)})))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
with ThreadPoolExecutor(2) as pool:
    print(min([faults(pool.map if {threads} else map) for _ in range(10)][2:]))
"""
    kept, returned = (
        int(subprocess.run([sys.executable, "-c", code, word], check=True, capture_output=True, text=True).stdout)
        for word in ("keep", "return")
    )
    assert returned > 2500  # 48 MB are 12,288 pages of 4 KB, or 3,072 of 16 KB; two threads give back at least 64 MB.
    assert kept * 20 < returned


def test_without_glibc_there_is_nothing_to_set(monkeypatch):
    def missing(_):
        raise TypeError("no such library")

    monkeypatch.setattr(device.ctypes, "CDLL", missing)
    device.keep_freed_memory()
