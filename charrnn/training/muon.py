"""Muon (Jordan et al. 2024): momentum, orthogonalised, so that all directions of an update have the same size."""

from __future__ import annotations

import torch
from torch import Tensor

MOMENTUM = 0.95
"""0.9 and 0.97 were worse."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic, which Jordan et al. chose for its steepness at zero."""
NEWTON_SCHULZ_STEPS = 3
"""The usual five end no measurably lower here, and each step costs as much as 100 characters."""


@torch.no_grad()
def change(gradient: Tensor, momentum_buffer: Tensor) -> Tensor:
    """What one step takes from a matrix (M, K), but for `rate`, with Nesterov's momentum, as `torch.optim.Muon` does; in bf16.

    ``momentum_buffer`` is updated.
    """
    momentum_buffer.lerp_(gradient, 1 - MOMENTUM)
    return orthogonalized(gradient.lerp(momentum_buffer, MOMENTUM))


def rate(lr: float, shape: torch.Size) -> float:
    """How much of a `change` is taken: it is scaled to the root mean square of AdamW's (Liu et al. 2025)."""
    scaled: float = lr * 0.2 * max(shape) ** 0.5
    return scaled


def orthogonalized(matrix: Tensor) -> Tensor:
    """Nearly the semi-orthogonal matrix nearest to ``matrix`` (M, K), in bf16, by Newton-Schulz steps."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    X = (matrix.mT if tall else matrix).bfloat16()
    X = X / X.norm().clamp(min=1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = X @ X.mT
        X = torch.addmm(X, torch.addmm(gram, gram, gram, beta=b, alpha=c), X, beta=a)
    return X.mT if tall else X
