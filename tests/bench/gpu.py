"""What a GPU makes of training and sampling; `gpu.sh` calls all of it.

    python tests/bench/gpu.py {machine,scores,steps,sampling,memory,minute TEXT} [--device cuda] [--small]

With ``--device cpu --small`` each part runs anywhere; its figures then mean nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from charrnn.config import ModelConfig
from charrnn.network import checkpoint
from charrnn.network.cells import Network
from charrnn.training.device import autocast, hold_to_fp32
from charrnn.training.model import CharRNN
from charrnn.training.speed import Exercise

ROOT = Path(__file__).parent.parent.parent
FABLES, TEXT = ROOT / "checkpoints" / "fables" / "best.safetensors", ROOT / "corpora" / "fables.txt"
CLOSE = 1e-3
"""By how many bits per character the scores of two devices may differ."""
SHAPES = ((384, 32), (512, 128), (1024, 128))
"""Units and columns of which a step is measured."""


def main() -> None:
    """Print one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["machine", "scores", "steps", "sampling", "memory", "minute"])
    parser.add_argument("text", nargs="?")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)
    if options.part == "minute":
        minute(options.text or parser.error("minute needs TEXT"), device, small=options.small)
    else:
        {"machine": machine, "scores": scores, "steps": steps, "sampling": sampling, "memory": memory}[options.part](
            device, options.small
        )


def machine(device: torch.device, _: bool) -> None:
    """The device and its libraries."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    told = f"{name}; torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}"
    print(f"{time.strftime('%Y-%m-%d')}, commit {commit.stdout.strip() or 'unknown'}; {told}")


def scores(device: torch.device, small: bool) -> None:
    """Bits per character of the fables by the shipped network: NumPy on the CPU, torch on the device."""
    found = checkpoint.read(FABLES)
    ids = found.vocabulary.encode(TEXT.read_text(encoding="utf-8")[: 2_000 if small else 50_000])
    logits = Network(found.model, found.weights).unroll(ids[:-1, None])[0][:, 0]
    expected = bits(torch.from_numpy(logits), torch.from_numpy(ids[1:].astype(np.int64)))
    model = CharRNN(found.model)
    model.load(found.weights)
    model.to(device)
    read, ahead = (torch.from_numpy(part.astype(np.int64)).to(device) for part in (ids[None, :-1], ids[1:]))
    differ = False
    for precision in ("fp32", "bf16", "fp16") if device.type == "cuda" else ("fp32", "bf16"):
        if precision == "fp32":
            hold_to_fp32(device)
        with torch.inference_mode(), autocast(device, precision):
            there = bits(model(read, model.initial_state(1))[0][0], ahead)
        differ |= precision == "fp32" and abs(there - expected) > CLOSE
        print(f"{precision}  {there:.5f} bits/char, {there - expected:+.5f} from {expected:.5f} on the CPU")
    if differ:
        sys.exit(f"scores in fp32 differ by more than {CLOSE} bits")


def bits(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """The mean cost of targets (T,) under logits (T, V)."""
    return float(nn.functional.cross_entropy(logits.float(), targets)) / math.log(2)


def steps(device: torch.device, small: bool) -> None:
    """Characters a second of a whole step, by optimizer, and of cuDNN's LSTM alone, forwards and backwards."""
    seconds = 0.05 if small else 2.0
    for hidden_size, columns in SHAPES[:1] if small else SHAPES:
        for precision in ("bf16", "fp16", "fp32") if device.type == "cuda" else ("fp32",):
            bare = kernel(hidden_size, columns, precision, device, seconds)
            row = f"1 x {hidden_size:4d}, {columns:3d} columns, {precision}  kernel {bare:12,.0f} characters/s"
            for optimizer in ("adamw", "soap"):
                model = ModelConfig(65, "lstm", hidden_size, 1, 64)
                exercise = Exercise(model, device, precision, columns, 64, optimizer)
                with exercise.working():
                    exercise.rate(seconds / 4)
                    whole = exercise.rate(seconds)
                row += f"  {optimizer} {whole:12,.0f} ({whole / bare:.0%})"
            print(row, flush=True)


def kernel(hidden_size: int, columns: int, precision: str, device: torch.device, seconds: float) -> float:
    """Characters a second of one layer that reads vectors of its own size, and of its gradients."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    layer = nn.LSTM(hidden_size, hidden_size, batch_first=True).to(device, dtype)
    x = torch.randn(columns, 64, hidden_size, device=device, dtype=dtype)

    def once() -> None:
        outputs, _ = layer(x)
        torch.autograd.grad(outputs.sum(), list(layer.parameters()))

    return columns * 64 / timed(once, device, seconds)


def timed(once: Callable[[], None], device: torch.device, seconds: float) -> float:
    """Seconds of one call."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        once()
    wait()
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        once()
        count += 1
        if count % 20 == 0:
            wait()
    wait()
    return (time.perf_counter() - begun) / count


def sampling(device: torch.device, small: bool) -> None:
    """Characters a second of many texts at once, on the device and on the CPU."""
    count, length = (8, 10) if small else (4096, 300)
    for name in dict.fromkeys((device.type, "cpu")):
        command = [sys.executable, "-m", "charrnn", "sample", "-c", str(FABLES), "-N", str(count), "-n", str(length)]
        begun = time.perf_counter()
        done = subprocess.run([*command, "--seed", "1", "-q", "--device", name], capture_output=True, check=True, cwd=ROOT)
        seconds = time.perf_counter() - begun
        print(f"{name:4s}  {count * length / seconds:12,.0f} characters/s, start included; {len(done.stdout):,} bytes")


def memory(device: torch.device, small: bool) -> None:
    """The most memory that training takes."""
    for hidden_size, columns in SHAPES[:1] if small else SHAPES:
        exercise = Exercise(ModelConfig(65, "lstm", hidden_size, 1, 64), device, "fp32", columns, 64, "soap")
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with exercise.working():
            exercise.rate(0.05)
        most = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else math.nan
        print(f"1 x {hidden_size}, {columns} columns, SOAP: {most:,.0f} MiB")


def minute(text: str, device: torch.device, *, small: bool) -> None:
    """The loss after one minute by the recipe."""
    length = ["--steps", "3"] if small else ["--minutes", "1"]
    command = [sys.executable, "-m", "charrnn", "train", text, *length, "--device", device.type, "--json", "-q"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*command, "--out", f"{folder}/run"], capture_output=True, text=True, check=True)
    start, *_, end = map(json.loads, done.stdout.splitlines())
    nats = end["best_val_bits_per_char"] * math.log(2)
    model = start["config"]["model"]
    told = f"1 x {model['hidden_size']}, {start['config']['batch_size']} columns, {start['precision']}, {end['step']:,} steps"
    print(f"{nats:.4f} nats; {told}, {end['chars_per_second']:,.0f} characters/s")


if __name__ == "__main__":
    main()
