"""SOAP (Vyas et al. 2024) with a basis for the columns alone: Adam in the eigenbasis of the gradients' second moments.

What a matrix reads, an embedding or a hidden state, has units that vary together; in the eigenbasis each varies on its own.
Shapes: a weight and its gradient are (M, K), a gram and a basis (K, K).
"""

from __future__ import annotations

import torch
from torch import Tensor

BETAS, EPSILON = (0.5, 0.95), 1e-5
"""Those of the Adam inside. Runs here make few and large steps, so the memories are shorter than usual: with 0.7, and the lower
rates that go with it, long texts end 0.01 bits higher. The epsilon is larger than usual, so that entries near zero are not
scaled up from rounding errors; a hundredth or five times as much is no better.
"""
GRAM_DECAY = 0.95
"""Decay of the second moments whose eigenbasis is taken: Shampoo's beta."""
SHIFT = 1e-4
"""Eigenvalues below this share of a gram's trace count as none."""
TURN_EVERY = 20
"""Steps between two turns of a basis (the paper's preconditioning frequency). A turn costs as much as a step or two; turning
every 10 steps is no better.
"""


def turns_at(step: int) -> bool:
    """Whether the bases turn before step ``step``, counted from 1; often at first, while everything changes."""
    return step % TURN_EVERY == 0 or (step < TURN_EVERY and step & (step - 1) == 0)


def turn_within(first: int, steps: int) -> bool:
    """Whether the bases turn before any of so many ``steps`` from step ``first`` on."""
    return any(turns_at(step) for step in range(first, first + steps))


@torch.no_grad()
def add_to_gram(gram: Tensor, gradient: Tensor, dtype: torch.dtype, steps: int) -> None:
    """Update ``gram`` (K, K), the moving average of G'G, by the ``gradient`` G (M, K) of step ``steps``.

    Odd and even steps take the odd and the even rows: half the work, and the average, which spans some `TURN_EVERY` steps,
    still sees every row.
    """
    g = (gradient[steps % 2 :: 2] if len(gradient) > 1 else gradient).to(dtype)
    gram.lerp_((g.mT @ g).to(gram.dtype), 1.0 if steps == 1 else 1 - GRAM_DECAY)


@torch.no_grad()
def turn(gram: Tensor, basis: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Move ``basis`` (K, K), in place, towards the eigenvectors of ``gram`` (K, K) by one step of orthogonal iteration.

    One step is enough, because the basis was right a few steps ago. A basis of zeros starts as the identity. If ``gram`` is not
    finite, because the run diverges, the basis stays as it is.

    Returns:
        The matrix (K, K), in ``dtype``, that takes coordinates in the old basis to coordinates in the new one; None if the
        basis stayed as it is.
    """
    if gram.device.type == "cuda":
        return turn_without_waiting(gram, basis, dtype)
    if not torch.isfinite(gram).all():
        return None
    before = basis if basis.any() else torch.eye(len(basis), dtype=basis.dtype, device=basis.device)
    # Directions with next to no gradient stay where they were; rounding alone would turn them.
    towards = torch.addmm(before, gram, before, beta=SHIFT * float(gram.trace()))
    # MPS has no QR decomposition.
    after = torch.linalg.qr(towards.cpu() if gram.device.type == "mps" else towards)[0].to(gram.device)
    turned: Tensor = basis.to(dtype).mT @ after.to(dtype)
    basis.copy_(after)
    return turned


@torch.no_grad()
def turn_without_waiting(gram: Tensor, basis: Tensor, dtype: torch.dtype) -> Tensor:
    """`turn` for a device that works behind: nothing is asked of it. Where the basis stays, the matrix is the identity."""
    eye = torch.eye(len(basis), dtype=basis.dtype, device=basis.device)
    sound = torch.isfinite(gram).all()
    before = torch.where(basis.any(), basis, eye)
    towards = torch.where(sound, before * (SHIFT * gram.trace()) + gram @ before, eye)
    after = torch.where(sound, torch.linalg.qr(towards)[0], basis)
    turned = torch.where(sound, basis.to(dtype).mT @ after.to(dtype), eye.to(dtype))
    basis.copy_(after)
    return turned


@torch.no_grad()
def change(
    gradient: Tensor, rotated_avg: Tensor, rotated_avg_sq: Tensor, *, basis: Tensor, turned: Tensor | None, steps: int
) -> Tensor:
    """What step ``steps`` of Adam in ``basis`` takes from some rows of a matrix, but for `rate`: (rows, K), in basis's dtype.

    Args:
        gradient: of the loss by the weight, (rows, K).
        rotated_avg: Adam's first moment, in the coordinates of the basis, (rows, K); updated.
        rotated_avg_sq: Adam's second moment, likewise.
        basis: (K, K), in the dtype of the products.
        turned: what `turn` returned, (K, K), if the basis turned before this step.
        steps: counted from 1.
    """
    first, second = BETAS
    if turned is not None:
        rotated_avg.copy_(rotated_avg.to(turned.dtype) @ turned)
    rotated = (gradient.to(basis.dtype) @ basis).to(rotated_avg.dtype)
    rotated_avg.lerp_(rotated, 1 - first)
    rotated_avg_sq.mul_(second).addcmul_(rotated, rotated, value=1 - second)
    scale = (rotated_avg_sq / (1 - second**steps)).sqrt_().add_(EPSILON)
    return torch.div(rotated_avg, scale).to(basis.dtype) @ basis.mT


def rate(lr: float, steps: int) -> float:
    """How much of the `change` of step ``steps``, counted from 1, is taken."""
    corrected: float = lr / (1 - BETAS[0] ** steps)
    return corrected
