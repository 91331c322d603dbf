"""The optimizer: Muon for the matrices of the recurrent layers, AdamW for the rest; and what a snapshot holds of it.

Both by functions instead of `torch.optim.Optimizer`, whose making imports torch's compiler: 1.9 seconds on two cores, as long
as torch itself takes, and every run would begin with them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from charrnn.config import ModelConfig, TrainConfig
from charrnn.device import Workers

BETAS = (0.9, 0.99)
EPSILON = 1e-8
MOMENTUM = 0.95

ADAMW_MOMENTS = ("exp_avg", "exp_avg_sq")
MUON_MOMENTS = ("momentum_buffer",)

LARGEST_RATE = 1e30
"""Rates near the largest float overflow Muon's scaling; at this one too the run diverges, and is told so."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""The quintic's coefficients, chosen by Jordan et al. for steepness at zero."""
NEWTON_SCHULZ_STEPS = 3
"""Of the usual five; the two last change nothing that can be measured here, and each costs as much as 100 characters."""


def takes_muon(name: str) -> bool:
    """Whether Muon updates the weight: the matrices of the recurrent layers, not the embedding and the head."""
    return name.startswith("rnn.weight")


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019) for all weights, or Muon (Jordan et al. 2024) for the recurrent layers' matrices.

    Muon replaces a matrix's momentum by the nearest semi-orthogonal matrix, so that all directions of the update have the same
    size; each gate's block of H rows counts as a matrix of its own. Its updates are scaled to the root mean square
    of AdamW's (Liu et al. 2025), so that one learning rate serves both. Weight decay is for matrices only.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], model: ModelConfig, config: TrainConfig) -> None:
        self.lr = config.lr
        """The learning rate of the latest step."""
        self._weights, self._hidden_size, self._weight_decay = dict(weights), model.hidden_size, config.weight_decay
        muon = {name for name in weights if config.optimizer == "muon" and takes_muon(name)}
        self._moments = {
            name: {moment: torch.zeros_like(weight.detach()) for moment in (MUON_MOMENTS if name in muon else ADAMW_MOMENTS)}
            for name, weight in weights.items()
        }
        self._muon = [name for name in weights if name in muon]
        rest = [name for name in weights if name not in muon]
        self._adamw = [
            ([name for name in rest if weights[name].ndim > 1], config.weight_decay),
            ([name for name in rest if weights[name].ndim == 1], 0.0),
        ]
        # Fused AdamW counts its steps on the device, weight by weight.
        self._counts = {name: torch.zeros((), dtype=torch.float32, device=weights[name].device) for name in rest}

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
        tasks: list[Callable[[], None]] = [functools.partial(self._step_adamw, *group) for group in self._adamw if group[0]]
        for name in self._muon:
            buffer, gradient = self._moments[name]["momentum_buffer"], self._weights[name].grad
            assert gradient is not None
            wholes = (self._weights[name].detach(), gradient, buffer)
            update = functools.partial(muon, lr=lr, weight_decay=self._weight_decay)
            for block in zip(*(torch.split(whole, self._hidden_size) for whole in wholes), strict=True):
                tasks.append(functools.partial(update, *block))
        workers.map(_call, tasks)

    @torch.no_grad()
    def _step_adamw(self, names: list[str], weight_decay: float) -> None:
        weights = [self._weights[name] for name in names]
        adamw(
            cast(list[Tensor], weights),
            [cast(Tensor, weight.grad) for weight in weights],
            [self._moments[name]["exp_avg"] for name in names],
            [self._moments[name]["exp_avg_sq"] for name in names],
            [],
            [self._counts[name] for name in names],
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
        """The moments, each of its weight's shape, by the names of `state_shapes`, and how many steps AdamW has counted."""
        tensors = {
            f"optimizer.{moment}.{name}": tensor
            for name, moments in self._moments.items()
            for moment, tensor in moments.items()
        }
        return tensors, int(next(iter(self._counts.values())))

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of what `state` gives."""
        return {name: tuple(tensor.shape) for name, tensor in self.state()[0].items()}

    def restore(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Take over what `state` gave."""
        for name, moment in self.state()[0].items():
            moment.copy_(tensors[name])
        for count in self._counts.values():
            count.fill_(float(steps))


@torch.no_grad()
def muon(weight: Tensor, gradient: Tensor, momentum_buffer: Tensor, lr: float, weight_decay: float) -> None:
    """One step of Muon, in place, on a matrix (rows, columns), with Nesterov's momentum; as `torch.optim.Muon` makes it."""
    lr = min(lr, LARGEST_RATE)
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


def _call(task: Callable[[], None]) -> None:
    task()
