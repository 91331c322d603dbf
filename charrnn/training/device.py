"""Where matrix products are computed and how precisely, and the settings of the process that training needs."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

from charrnn import CharrnnError, UsageError


def choose_device(name: str) -> torch.device:
    """The device that ``--device`` names (``auto``: CUDA, else MPS, else the CPU); `CharrnnError` if it isn't there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if there[device])
    if not there[name]:
        usable = ", ".join(device for device, is_there in there.items() if is_there)
        raise CharrnnError(f"--device {name}: torch finds no such device on this machine; usable here: {usable}")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> str:
    """The precision that ``--precision`` names (``auto``: bf16 where the hardware multiplies it, else fp32).

    Raises:
        UsageError: fp16 was asked for on another device than CUDA.
    """
    if name == "fp16" and device.type != "cuda":
        raise UsageError(f"--precision fp16 needs --device cuda, this run is on {device.type}; try bf16 or fp32")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and _cpu_multiplies_bf16() else "fp32"


def prepare(device: torch.device, precision: str) -> None:
    """Set up this process and the calling thread for training on ``device`` in ``precision``."""
    if precision == "fp32":
        hold_to_fp32(device)
    if device.type == "cpu":
        for kind in (np.float16, np.float32, np.float64):
            np.finfo(kind)  # NumPy 1.26 looks once, at the first need, and warns where denormal numbers are flushed.
        torch.set_flush_denormal(True)  # Denormal gradients through saturated gates cost up to 100 times as much.
        keep_freed_memory()


def hold_to_fp32(device: torch.device) -> None:
    """Make cuDNN's recurrent layers multiply in true fp32; by default they use TF32, whose relative error is about 1e-3."""
    if device.type == "cuda":
        torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]  # unknown to its stub


def keep_freed_memory() -> None:
    """Have glibc keep the memory that a chunk frees, for the next chunk; without glibc, do nothing. Affects the whole process.

    By default glibc returns large blocks to the system and gets them back with a page fault for every 4 KB, which takes up to a
    third of a GRU's step. It returns memory in three ways, all switched off here: it trims the end of the heap; it maps blocks
    above a threshold (at most 32 MB) individually; and it frees a thread's heap of 64 MB once the previous one has the padding
    to spare.
    """
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # as malloc.h numbers them
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(top_pad, 64 << 20)
        libc.mallopt(trim_threshold, 2**31 - 1)


def _cpu_multiplies_bf16() -> bool:
    # Older versions of torch can't be asked; fp32 is always right.
    abilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(abilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """A context in which matrix products are computed in ``precision``; weights and everything else stay as they are.

    Its cache is off: a weight's copy in it would gather the gradients of all steps of a layer in ``precision``, and threads
    share the cache, which the first that is done empties for all.
    """
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32", cache_enabled=False)
