"""The gradient of one chunk: every worker computes that of its columns, and the parts are summed in a fixed order."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from charrnn.text.records import spells
from charrnn.training.children import can_fork
from charrnn.training.device import autocast
from charrnn.training.model import CharRNN
from charrnn.training.processes import Part, Processes, Shapes
from charrnn.training.ranks import ALONE, Ranks
from charrnn.training.workers import Workers


def of_chunk(
    model: CharRNN,
    inputs: Tensor,
    targets: Tensor,
    state: Tensor,
    masks: Sequence[Tensor] | None,
    *,
    counted: int | None = None,
    precision: str = "fp32",
    workers: Workers | None = None,
    processes: Processes | None = None,
    ranks: Ranks = ALONE,
    among: int | None = None,
    alone: bool = False,
    scale: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Compute the loss of one chunk and what follows from it.

    Args:
        model: the network.
        inputs: int64, (N, T).
        targets: int64, (N, T), the inputs one character on; -100 where there is nothing to predict.
        state: where the columns stand, (L, P, N, H).
        masks: of `CharRNN.dropout_masks`, for all N columns however they are shared out.
        counted: how many targets there are to predict; None: all.
        precision: of the matrix products.
        workers: threads that share the columns.
        processes: of `forked`; they share the columns instead, and ``scale`` is not used.
        ranks: each calls this with all N columns, and takes a share of them.
        among: the columns that are shared out, of which these are the first; None: just these.
        alone: whether a rank's gradients are those of its own columns' mean loss, and the loss its part of that of all.
        scale: applied to the loss before its gradient is taken.

    Returns:
        The mean loss in nats per character, the state after the chunk (cut from the graph; a rank knows that of its own
        columns), and the gradients of the scaled loss in the order of ``model.weights()``. The same number of workers, threads
        or processes, and of ranks gives the same bits; another number sums in another order.

    Raises:
        WorkerLostError: a worker process has ended before its time.
        RankLostError: another rank has.
    """
    total = of_all = targets.numel() if counted is None else counted
    own = ranks.share(len(inputs), among)
    if alone:
        ranks = ranks.apart()
        total = max(1, targets[own].numel() if counted is None else int((targets[own] >= 0).sum()))
    if own.start == own.stop:  # Fewer columns than ranks leave some without any.
        loss, after, summed = state.new_zeros(()), state, [torch.zeros_like(weight) for weight in model.weights().values()]
    else:
        mine = inputs[own], targets[own], state[:, :, own], None if masks is None else [mask[own] for mask in masks]
        parts = _parts(model, *mine, total, precision=precision, workers=workers, processes=processes, scale=scale)
        losses, states, gradients = zip(*parts, strict=True)
        summed = _apart([sum(same[1:], start=same[0]) for same in zip(*gradients, strict=True)])
        loss, after = sum(losses[1:], start=losses[0]), torch.cat(states, dim=2)
        if ranks.count > 1:
            after = torch.cat([state[:, :, : own.start], after, state[:, :, own.stop :]], dim=2)
    loss, summed = ranks.summed(loss, summed)
    return loss * (total / of_all) if alone else loss, after, summed


def _parts(
    model: CharRNN,
    inputs: Tensor,
    targets: Tensor,
    state: Tensor,
    masks: Sequence[Tensor] | None,
    total: int,
    *,
    precision: str,
    workers: Workers | None,
    processes: Processes | None,
    scale: Callable[[Tensor], Tensor],
) -> list[Part]:
    """The parts of all workers of this process."""
    if processes is not None:
        return processes.of_chunk(inputs, targets, state, masks, total)
    workers = workers or Workers(1)

    def learn(share: slice) -> Part:
        own = None if masks is None else [mask[share] for mask in masks]
        return _part(model, inputs[share], targets[share], state[:, :, share], own, total, precision=precision, scale=scale)

    return workers.map(learn, workers.shares(len(inputs)))


@contextlib.contextmanager
def forked(
    model: CharRNN,
    workers: Workers,
    columns: int,
    characters: int,
    dropouts: tuple[float, float, float] = (0.0, 0.0, 0.0),
    precision: str = "fp32",
) -> Iterator[Processes | None]:
    """Let as many processes as there are ``workers`` share chunks of at most ``columns`` x ``characters`` (N, T).

    None where that is not possible, or one worker takes all columns. To be entered before the workers' threads are started: a
    forked process has only the thread that forked it.
    """
    shares = workers.shares(columns)
    if len(shares) == 1 or model.head.weight.device.type != "cpu" or not can_fork():
        yield None
        return
    masks = model.dropout_masks(columns, dropouts, torch.Generator()) or ()
    shapes = Shapes((columns, characters), tuple(model.initial_state(columns).shape), [tuple(mask.shape) for mask in masks])
    learn = functools.partial(_part, model, precision=precision)
    with contextlib.ExitStack() as stack:
        processes = None
        with contextlib.suppress(OSError):  # No memory, or no more processes: then threads do it.
            processes = stack.enter_context(Processes(learn, list(model.weights().values()), workers.shares, shapes))
        yield processes


def _part(
    model: CharRNN,
    inputs: Tensor,
    targets: Tensor,
    state: Tensor,
    masks: Sequence[Tensor] | None,
    total: int,
    *,
    precision: str,
    scale: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> Part:
    """One worker's part of the mean loss over ``total`` characters, its columns' state, and its part of the gradients."""
    with autocast(inputs.device, precision):
        logits, wanted, after = _read(model, inputs, targets, state, masks)
    loss = functional.cross_entropy(logits.float(), wanted, reduction="sum") / total
    # Not ``backward``: which thread adds to a shared ``.grad`` first would change the sum's rounding.
    return loss.detach(), after.detach(), torch.autograd.grad(scale(loss), list(model.weights().values()))


def _can_be_asked(tensor: Tensor) -> bool:
    """Whether its numbers are at hand; a GPU, which works behind, would be waited for, and reads all columns to the end."""
    return tensor.device.type == "cpu"


def _read(
    model: CharRNN, inputs: Tensor, targets: Tensor, state: Tensor, masks: Sequence[Tensor] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (M, V) and what they should have foretold (M,), in an order of their own, and the columns' state.

    Columns that end before others are read as far as they go, or a little farther.
    """
    lengths = (targets >= 0).sum(1).numpy() if _can_be_asked(targets) else None
    if lengths is None or lengths.min() == targets.shape[1]:
        logits, after = model(inputs, state, masks)
        return logits.flatten(0, 1), targets.flatten(), after
    order = np.argsort(-lengths, kind="stable")
    falling = torch.from_numpy(order).to(inputs.device)
    inputs, targets, after = inputs[falling], targets[falling], state[:, :, falling]
    masks = None if masks is None else [mask[falling] for mask in masks]
    found, wanted, states = list[Tensor](), list[Tensor](), list[Tensor]()
    for begin, end, rows in spells(lengths[order]):
        states.append(after[:, :, rows:])
        here = None if masks is None else [mask[:rows] for mask in masks]
        h, after = model.follow(inputs[:rows, begin:end], after[:, :, :rows], here)
        found.append(h.flatten(0, 1))
        wanted.append(targets[:rows, begin:end].flatten())
    back = torch.argsort(falling)
    return model.head(torch.cat(found)), torch.cat(wanted), torch.cat([after, *reversed(states)], dim=2)[:, :, back]


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
