"""The gradient of one chunk: every worker computes that of its columns, and the parts are summed in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from charrnn.training.device import autocast
from charrnn.training.model import CharRNN
from charrnn.training.workers import Workers


def of_chunk(
    model: CharRNN,
    inputs: Tensor,
    targets: Tensor,
    state: Tensor,
    masks: Sequence[Tensor] | None,
    *,
    precision: str = "fp32",
    workers: Workers | None = None,
    scale: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The loss of one chunk and what follows from it.

    Args:
        model: the network.
        inputs: int64, (N, T).
        targets: int64, (N, T), the inputs one character on.
        state: where the columns stand, (L, P, N, H).
        masks: of `CharRNN.dropout_masks`, for all N columns however they are shared out.
        precision: of the matrix products.
        workers: who shares the columns.
        scale: applied to the loss before its gradient is taken.

    Returns:
        The mean loss in nats per character, the state after the chunk (cut from the graph), and the gradients of the scaled
        loss in the order of ``model.weights()``. The same number of workers gives the same bits; another number
        sums in another order.
    """
    workers = workers or Workers(1)
    parameters = list(model.weights().values())

    def learn(share: slice) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        with autocast(inputs.device, precision):
            logits, after = model(inputs[share], state[:, :, share], None if masks is None else [mask[share] for mask in masks])
        loss = functional.cross_entropy(logits.float().flatten(0, 1), targets[share].flatten(), reduction="sum")
        loss = loss / targets.numel()
        # Not ``backward``: which thread adds to a shared ``.grad`` first would change the sum's rounding.
        return loss.detach(), after.detach(), torch.autograd.grad(scale(loss), parameters)

    losses, states, gradients = zip(*workers.map(learn, workers.shares(len(inputs))), strict=True)
    summed = [sum(parts[1:], start=parts[0]) for parts in zip(*gradients, strict=True)]
    return sum(losses[1:], start=losses[0]), torch.cat(states, dim=2), _apart(summed)


def _apart(gradients: list[Tensor]) -> list[Tensor]:
    """Each gradient contiguous and in memory of its own.

    Fused optimizers read gradients as if they were contiguous, whatever their strides say; and of two biases that are only
    ever added, autograd gives the same tensor twice, which clipping in place would scale twice.
    """
    known: set[int] = set()
    for number, gradient in enumerate(gradients):
        gradients[number] = gradient.clone() if gradient.data_ptr() in known else gradient.contiguous()
        known.add(gradient.data_ptr())
    return gradients
