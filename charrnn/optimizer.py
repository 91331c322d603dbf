"""The optimizer: SOAP for all matrices, or Muon for those of the recurrent layers, and AdamW for the rest.

All by functions instead of `torch.optim.Optimizer`, whose making imports torch's compiler: 1.9 seconds on two cores, as long
as torch itself takes, and every run would begin with them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from charrnn.config import ModelConfig, TrainConfig
from charrnn.device import Workers

R = TypeVar("R")

BETAS, EPSILON = (0.9, 0.99), 1e-8
"""AdamW's; for a few thousand steps a shorter second memory than the usual 0.999."""
MOMENTUM = 0.95
"""Muon's; 0.9 and 0.97 were worse."""

SMALLEST_BLOCK = 1 << 16
"""Weights that are worth a task of their own."""
LARGEST_RATE = 1e30
"""Rates near the largest float overflow in products; at this one too the run diverges, and is told so."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""The quintic's coefficients, chosen by Jordan et al. for steepness at zero."""
NEWTON_SCHULZ_STEPS = 3
"""Of the usual five; the two last change nothing that can be measured here, and each costs as much as 100 characters."""

SOAP_BETAS, SOAP_EPSILON = (0.5, 0.95), 1e-5
"""Those of SOAP's Adam. Steps here are few and large, so its memories are shorter than usual: with 0.7, and the lower rates
that go with it, long texts end 0.01 bits higher. The epsilon is larger than usual, so that entries near zero are not scaled
up from rounding errors; a hundredth or five times as much is no better.
"""
GRAM_DECAY = 0.95
"""Of the second moments whose eigenbasis is taken: Shampoo's beta."""
SHIFT = 1e-4
"""Of a gram's trace: smaller eigenvalues than this count as none."""
TURN_EVERY = 20
"""Steps between two turns of a basis (the preconditioner's frequency in the paper). A turn costs as much as a step or two, and
one every 10 steps is no better.
"""


def method(name: str, optimizer: str) -> str:
    """What updates the weight ``name`` where ``optimizer`` was asked for: biases are always AdamW's, embedding and head are
    not Muon's.
    """
    takes = {"soap": "weight" in name, "muon": name.startswith("rnn.weight"), "adamw": True}
    return optimizer if takes[optimizer] else "adamw"


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019) for all weights, or in its place SOAP (Vyas et al. 2024) for all matrices or Muon
    (Jordan et al. 2024) for those of the recurrent layers.

    SOAP is Adam in the eigenbasis of the gradients' second moments, here of their columns only: what a matrix reads is a
    character's embedding or a hidden state, whose units vary together, and in that basis they vary each by itself. Muon
    replaces a matrix's momentum by the nearest semi-orthogonal matrix, so that all directions of the update have the same
    size; each gate's block of H rows counts as a matrix of its own. Its updates are scaled to the root mean square of AdamW's
    (Liu et al. 2025). Weight decay is for matrices only.
    """

    def __init__(
        self, weights: Mapping[str, nn.Parameter], model: ModelConfig, config: TrainConfig, precision: str = "fp32"
    ) -> None:
        """``precision`` is that of SOAP's products; whatever is no bf16 is fp32."""
        self.lr = config.lr
        """The learning rate of the latest step."""
        self._weights, self._hidden_size, self._weight_decay = dict(weights), model.hidden_size, config.weight_decay
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        methods = {name: method(name, config.optimizer) for name in weights}
        self._soap, self._muon, rest = (
            [name for name in weights if methods[name] == chosen] for chosen in ("soap", "muon", "adamw")
        )
        self._moments = {name: self._zeros(weight.detach(), methods[name]) for name, weight in weights.items()}
        self._adamw = [
            ([name for name in rest if weights[name].ndim > 1], config.weight_decay),
            ([name for name in rest if weights[name].ndim == 1], 0.0),
        ]
        self._steps = 0

    @staticmethod
    def _zeros(weight: Tensor, chosen: str) -> dict[str, Tensor]:
        if chosen == "muon":
            return {"momentum_buffer": torch.zeros_like(weight)}
        if chosen == "soap":
            # Not by AdamW's names, because in other coordinates.
            moments = {name: torch.zeros_like(weight) for name in ("rotated_avg", "rotated_avg_sq")}
            return moments | {name: weight.new_zeros(weight.shape[1], weight.shape[1]) for name in ("gram", "basis")}
        return {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """What a gradient scaler looks at."""
        return [{"params": list(self._weights.values())}]

    def take_gradients(self, scaler: torch.amp.GradScaler) -> None:
        """Divide fp16's loss scale out of the weights' ``.grad``, in place."""
        scaler.unscale_(cast(torch.optim.Optimizer, self))

    @torch.no_grad()
    def step(self, lr: float, workers: Workers) -> None:
        """Update the weights by their ``.grad``, at rate ``lr``."""
        self.lr = lr
        self._steps += 1
        rate = min(lr, LARGEST_RATE)
        tasks: list[Callable[[], None]] = [functools.partial(self._step_adamw, *group) for group in self._adamw if group[0]]
        grams = [
            functools.partial(add_to_gram, self._moments[name]["gram"], self._gradient(name), self._dtype, self._steps)
            for name in self._soap
        ]
        if self._steps == 1:
            workers.map(_call, grams)
        else:
            tasks += grams
        turns: list[Tensor | None] = [None] * len(self._soap)
        if self._soap and _turns(self._steps):
            known = [self._moments[name] for name in self._soap]
            turns = workers.map(_call, [functools.partial(turn, m["gram"], m["basis"], self._dtype) for m in known])
        for name, turned in zip(self._soap, turns, strict=True):
            basis = self._moments[name]["basis"].to(self._dtype)
            update = functools.partial(
                soap, basis=basis, turned=turned, lr=rate, weight_decay=self._weight_decay, steps=self._steps
            )
            # SOAP treats all rows alike; blocks as large as the recurrent matrix of a gate keep the threads busy.
            rows = max(1, max(self._hidden_size**2, SMALLEST_BLOCK) // len(basis))
            tasks += [functools.partial(update, *block) for block in self._blocks(rows, name, "rotated_avg", "rotated_avg_sq")]
        for name in self._muon:
            update = functools.partial(muon, lr=rate, weight_decay=self._weight_decay)
            tasks += [functools.partial(update, *gate) for gate in self._blocks(self._hidden_size, name, "momentum_buffer")]
        workers.map(_call, tasks)

    def _gradient(self, name: str) -> Tensor:
        gradient = self._weights[name].grad
        assert gradient is not None
        return gradient

    def _blocks(self, rows: int, name: str, *moments: str) -> Iterator[tuple[Tensor, ...]]:
        """A matrix, its gradient and its moments, ``rows`` rows at a time."""
        wholes = [self._weights[name].detach(), self._gradient(name), *(self._moments[name][moment] for moment in moments)]
        return zip(*(torch.split(whole, rows) for whole in wholes), strict=True)

    @torch.no_grad()
    def _step_adamw(self, names: list[str], weight_decay: float) -> None:
        weights = [self._weights[name] for name in names]
        adamw(
            cast(list[Tensor], weights),
            [cast(Tensor, weight.grad) for weight in weights],
            [self._moments[name]["exp_avg"] for name in names],
            [self._moments[name]["exp_avg_sq"] for name in names],
            [],
            # Fused AdamW counts by itself, on the device, weight by weight.
            [torch.full((), self._steps - 1.0, device=weight.device) for weight in weights],
            fused=weights[0].device.type in ("cpu", "cuda"),
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.lr,
            weight_decay=weight_decay,
            eps=EPSILON,
            maximize=False,
        )

    def state(self) -> tuple[dict[str, Tensor], int]:
        """The moments themselves, no copies, by the names and of the shapes of `state_shapes`, and how many steps were made."""
        tensors = {
            f"optimizer.{moment}.{name}": tensor
            for name, moments in self._moments.items()
            for moment, tensor in moments.items()
        }
        return tensors, self._steps

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of what `state` gives."""
        return {name: tuple(tensor.shape) for name, tensor in self.state()[0].items()}

    def restore(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Take over what `state` gave."""
        for name, moment in self.state()[0].items():
            moment.copy_(tensors[name])
        self._steps = steps


def _turns(step: int) -> bool:
    """Whether the bases turn before step ``step``, counted from 1: often at first, when everything changes."""
    return step % TURN_EVERY == 0 or (step < TURN_EVERY and step & (step - 1) == 0)


@torch.no_grad()
def add_to_gram(gram: Tensor, gradient: Tensor, dtype: torch.dtype, steps: int) -> None:
    """Let ``gram`` (columns, columns), the moving average of G'G, follow ``gradient`` G (rows, columns) of step ``steps``.

    Every other row, the odd ones and the even ones by turns: half the work, and the average, which is as long as
    `TURN_EVERY` steps, sees them all.
    """
    g = (gradient[steps % 2 :: 2] if len(gradient) > 1 else gradient).to(dtype)
    gram.lerp_((g.mT @ g).to(gram.dtype), 1.0 if steps == 1 else 1 - GRAM_DECAY)


@torch.no_grad()
def turn(gram: Tensor, basis: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Bring ``basis`` (columns, columns) nearer to the eigenvectors of ``gram``.

    One step of orthogonal iteration, which from a basis of a few steps before is all it takes; from zeros it starts with the
    identity. A ``gram`` that is no finite numbers, in a run that diverges, turns nothing.

    Returns:
        What brings coordinates in the basis before into those of the new one, in ``dtype``, (columns, columns); or None.
    """
    if not torch.isfinite(gram).all():
        return None
    before = basis if basis.any() else torch.eye(len(basis), dtype=basis.dtype, device=basis.device)
    # Directions in which there is next to no gradient keep what they were, instead of what rounding makes of them.
    towards = torch.addmm(before, gram, before, beta=SHIFT * float(gram.trace()))
    # Not every device has the decomposition.
    after = torch.linalg.qr(towards.cpu() if gram.device.type == "mps" else towards)[0].to(gram.device)
    turned: Tensor = basis.to(dtype).mT @ after.to(dtype)
    basis.copy_(after)
    return turned


@torch.no_grad()
def soap(
    weight: Tensor,
    gradient: Tensor,
    rotated_avg: Tensor,
    rotated_avg_sq: Tensor,
    *,
    basis: Tensor,
    turned: Tensor | None,
    lr: float,
    weight_decay: float,
    steps: int,
) -> None:
    """Step ``steps`` of Adam, in place, on rows of a matrix (rows, columns), in the ``basis`` (columns, columns) of its
    columns; products are in the basis's dtype. ``turned`` is what `turn` gave if the basis has turned since the step before.
    """
    first, second = SOAP_BETAS
    if turned is not None:
        rotated_avg.copy_(rotated_avg.to(turned.dtype) @ turned)
    rotated = (gradient.to(basis.dtype) @ basis).to(rotated_avg.dtype)
    rotated_avg.lerp_(rotated, 1 - first)
    rotated_avg_sq.mul_(second).addcmul_(rotated, rotated, value=1 - second)
    scale = (rotated_avg_sq / (1 - second**steps)).sqrt_().add_(SOAP_EPSILON)
    update = torch.div(rotated_avg, scale).to(basis.dtype) @ basis.mT
    weight.mul_(1 - lr * weight_decay)
    weight.add_(update.to(weight.dtype), alpha=-lr / (1 - first**steps))


@torch.no_grad()
def muon(weight: Tensor, gradient: Tensor, momentum_buffer: Tensor, lr: float, weight_decay: float) -> None:
    """One step of Muon, in place, on a matrix (rows, columns), with Nesterov's momentum; as `torch.optim.Muon` makes it."""
    momentum_buffer.lerp_(gradient, 1 - MOMENTUM)
    update = orthogonalized(gradient.lerp(momentum_buffer, MOMENTUM))
    weight.mul_(1 - lr * weight_decay)
    weight.add_(update, alpha=-lr * 0.2 * max(weight.shape) ** 0.5)


def orthogonalized(matrix: Tensor) -> Tensor:
    """Nearly the nearest semi-orthogonal matrix: singular values near 1, by Newton-Schulz steps in bf16 (Jordan et al.)."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    X = (matrix.mT if tall else matrix).bfloat16()
    X = X / X.norm().clamp(min=1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = X @ X.mT
        X = torch.addmm(X, torch.addmm(gram, gram, gram, beta=b, alpha=c), X, beta=a)
    return (X.mT if tall else X).to(matrix.dtype)


def _call(task: Callable[[], R]) -> R:
    return task()
