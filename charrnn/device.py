"""Where the products are computed: device, precision, and the threads that share the columns of a batch."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import torch

from charrnn import CharrnnError, UsageError

A = TypeVar("A")
R = TypeVar("R")

MIN_COLUMNS = 8
"""Fewer columns than this make a worker's matrix products too thin to be worth a thread of their own."""


def choose_device(name: str) -> torch.device:
    """The device that ``--device`` names; ``auto`` is CUDA, else MPS, else the CPU. `CharrnnError` if it isn't there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if there[device])
    if not there[name]:
        usable = ", ".join(device for device, is_there in there.items() if is_there)
        raise CharrnnError(f"--device {name}: torch finds no such device on this machine; usable here: {usable}")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """``fp32``, ``bf16`` or ``fp16``; ``auto`` is bf16 where the hardware multiplies it, else fp32."""
    if name == "fp16" and device.type != "cuda":
        raise UsageError(f"--precision fp16 needs --device cuda, this run is on {device.type}; try bf16 or fp32")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and _cpu_multiplies_bf16() else "fp32"


def hold_to_fp32(device: torch.device) -> None:
    """Let recurrent layers on CUDA multiply in fp32 where fp32 is asked for; TF32, cuDNN's default, is off by 1e-3."""
    if device.type == "cuda":
        torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]  # unknown to its stub


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for the next chunk; in the whole process.

    By itself glibc gives large pieces back to the system, as its thresholds happen to stand, and takes them anew at a page
    fault per 4 KB: up to a third of a GRU's step. Three ways lead back to the system: the end of the heap is cut off; pieces
    beyond a size, at most 32 MB, are mapped each for itself; and a thread's heap of 64 MB is given up where the one before it
    has the padding left. Without glibc nothing happens.
    """
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # as malloc.h numbers them
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(top_pad, 64 << 20)
        libc.mallopt(trim_threshold, 2**31 - 1)


def _cpu_multiplies_bf16() -> bool:
    # Older torch has only private ways to ask; there fp32 is the safe answer.
    abilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(abilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Matrix products in ``precision``; weights and everything else stay as they are."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


def choose_workers(asked: int | None, device: torch.device, cell: str, columns: int) -> int:
    """How many threads share the columns: ``asked``, or by default one per core, each with at least 8 columns.

    Never more than there are columns. By default there is one where threads don't help: on other devices than the CPU, and for
    the GRU and the RNN, whose loops over time hold Python's lock too often.
    """
    if device.type != "cpu" or (asked is None and cell != "lstm"):
        return 1
    return max(1, min(torch.get_num_threads(), columns // MIN_COLUMNS) if asked is None else min(asked, columns))


class Workers:
    """Threads that each take some columns of a batch and have torch's own threads divided among them.

    The products of small recurrent layers are too small to be worth splitting over cores, and the barriers between the
    parts of each cost more than they gain; whole columns need no barrier before the end of the chunk. Use it as a context:
    torch's threads are set on entering and set back on leaving. Outside of it, and with one worker, everything runs in the
    calling thread.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Start the threads, and end them."""
        if self.count == 1:
            yield
            return
        before = torch.get_num_threads()
        each = max(1, min(before, os.cpu_count() or 1) // self.count)

        def settle() -> None:
            # Both are settings of the thread.
            torch.set_num_threads(each)
            torch.set_flush_denormal(True)

        with ThreadPoolExecutor(self.count, "charrnn-worker", settle) as self._pool:
            # The calling thread waits while the workers work; threads of its own would spin beside them.
            torch.set_num_threads(each)
            try:
                yield
            finally:
                torch.set_num_threads(before)
                self._pool = None

    def map(self, function: Callable[[A], R], parts: Sequence[A]) -> list[R]:
        """``function`` of every part, at the same time; results in the order of the parts."""
        if self._pool is None or len(parts) == 1:
            return [function(part) for part in parts]
        return list(self._pool.map(function, parts))

    def shares(self, columns: int) -> list[slice]:
        """``columns`` cut into as many contiguous, nearly equal pieces as there are workers."""
        count = min(self.count, columns)
        borders = [columns * share // count for share in range(count + 1)]
        return [slice(a, b) for a, b in itertools.pairwise(borders)]
