"""Where matrix products are computed and how precisely, and what training sets in the process."""

from __future__ import annotations

import platform
import subprocess
import sys
import types

import numpy as np
import pytest
import torch

from charrnn import CharrnnError, UsageError
from charrnn.training import device
from charrnn.training.device import autocast, choose_device, choose_precision


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


def test_a_weight_that_is_used_at_every_step_gets_the_gradients_of_all():
    """In bf16, 256 + 1 is 256."""
    weight = torch.ones(1, 1, requires_grad=True)
    with autocast(torch.device("cpu"), "bf16"):
        outputs = [torch.nn.functional.linear(torch.ones(1, 1), weight).float() for _ in range(300)]
    (gradient,) = torch.autograd.grad(torch.stack(outputs).sum(), [weight])
    assert gradient.item() == 300


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize(
    ("megabytes", "pieces", "threads"), [(8, 6, 0), (48, 1, 0), (16, 6, 2)], ids=["many", "large", "in threads"]
)
def test_freed_memory_is_kept_for_the_next_chunk(megabytes, pieces, threads):
    """Memory that is freed and taken anew comes page by page, fault by fault, unless it stays with the process."""
    code = f"""
import ctypes, resource, sys, numpy
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # No huge pages, wherever the system would give them: there are few faults then.
if "keep" in sys.argv:
    from charrnn.training.device import keep_freed_memory
    keep_freed_memory()
together = Barrier({max(threads, 1)})
def take(_):
    together.wait(60)  # Each thread has a heap of its own, so that none may take the other's part.
    pieces = [numpy.ones({megabytes} << 17) for _ in range({pieces})]
def faults(map):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    list(map(take, range({max(threads, 1)})))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
with ThreadPoolExecutor(2) as pool:
    print(sum([faults(pool.map if {threads} else map) for _ in range(5)][2:]) / 3)
"""
    kept, returned = (
        float(subprocess.run([sys.executable, "-c", code, word], check=True, capture_output=True, text=True).stdout)
        for word in ("keep", "return")
    )
    assert returned > 2500  # 48 MB are 12,288 pages of 4 KB, or 3,072 of 16 KB; two threads give back at least 64 MB.
    assert kept * 20 < returned


@pytest.mark.parametrize(
    "libc",
    [TypeError("no such library"), OSError("not found"), types.SimpleNamespace()],
    ids=["none", "not found", "no mallopt"],
)
def test_without_glibc_nothing_is_set_and_nothing_fails(libc, monkeypatch):
    asked = []

    def opened(name):
        asked.append(name)
        if isinstance(libc, Exception):
            raise libc
        return libc

    monkeypatch.setattr(device.ctypes, "CDLL", opened)
    device.keep_freed_memory()
    assert asked == [None]


def test_numpy_looks_at_its_numbers_before_denormal_ones_are_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later, NumPy 1.26 would warn of them in the middle of a run."""
    done: list[str] = []
    monkeypatch.setattr(np, "finfo", lambda kind: done.append(kind.__name__))
    monkeypatch.setattr(torch, "set_flush_denormal", lambda on: done.append("flush"))
    monkeypatch.setattr(device, "keep_freed_memory", lambda: None)
    device.prepare(torch.device("cpu"), "bf16")
    assert done == ["float16", "float32", "float64", "flush"]
