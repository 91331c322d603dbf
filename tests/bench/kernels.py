"""The GRU and RNN layers of `charrnn.training.kernels` beside torch's own, forwards and backwards, each in the same precision.

    python tests/bench/kernels.py [--rounds 7] [--columns 32] [--hidden-size 384]

Characters per second of one layer over 64 characters, on all cores: medians of rounds in which the contenders take turns, their
range, and the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import nn

from charrnn.training import bench, kernels
from charrnn.training.device import keep_freed_memory

EMBEDDING, CHARACTERS, SECONDS = 64, 64, 0.5


def contenders(cell: str, columns: int, hidden: int, dtype: torch.dtype) -> dict[str, Callable[[], None]]:
    """A forward and backward pass by torch's layer and by ours, with the same weights."""
    layer = {"gru": nn.GRU, "rnn": nn.RNN}[cell](EMBEDDING, hidden, batch_first=True)
    weights = list(layer.parameters())
    x, h = torch.randn(columns, CHARACTERS, EMBEDDING), torch.zeros(columns, hidden)
    gradient = torch.randn(columns, CHARACTERS, hidden)

    def torchs() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype != torch.float32):
            outputs, _ = layer(x, h[None])
        torch.autograd.grad((outputs.float() * gradient).sum(), weights)

    def ours() -> None:
        outputs, _ = getattr(kernels, cell)(x.transpose(0, 1), h, *weights, dtype)
        torch.autograd.grad((outputs.float() * gradient.transpose(0, 1)).sum(), weights)

    return {"torch": torchs, "ours": ours}


def main() -> None:
    """Print a line for each cell and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--hidden-size", type=int, default=384)
    given = parser.parse_args()
    torch.set_flush_denormal(True)
    keep_freed_memory()
    for cell in ("gru", "rnn"):
        for dtype in (torch.float32, torch.bfloat16):
            pair = contenders(cell, given.columns, given.hidden_size, dtype)
            rounds = [
                {name: bench.rate(step, SECONDS) * given.columns * CHARACTERS for name, step in pair.items()}
                for _ in range(given.rounds)
            ]
            found = {name: [one[name] for one in rounds] for name in pair}
            shown = "  ".join(
                f"{name} {statistics.median(rates):9,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"
                for name, rates in found.items()
            )
            ratio = statistics.median(one["ours"] / one["torch"] for one in rounds)
            print(f"{cell} {str(dtype).removeprefix('torch.'):9} {shown}  ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
