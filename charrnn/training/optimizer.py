"""The optimizer: SOAP for all matrices, or Muon for those of the recurrent layers, and AdamW for the rest.

It calls functions. Making a `torch.optim.Optimizer` imports torch's compiler, which takes 1.9 seconds on two cores, as long as
torch itself, at the start of every run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from charrnn.config import ModelConfig, TrainConfig
from charrnn.training import muon, soap
from charrnn.training.workers import Workers

R = TypeVar("R")

BETAS, EPSILON = (0.9, 0.99), 1e-8
"""AdamW's; a run of a few thousand steps wants a shorter second memory than the usual 0.999."""
SMALLEST_BLOCK = 1 << 16
"""Blocks of fewer weights aren't worth a task of their own."""
LARGEST_RATE = 1e30
"""Rates near the largest float would overflow in products; at this one a run diverges all the same, and says so."""


def method(name: str, optimizer: str) -> str:
    """Which method updates the weight ``name`` under ``optimizer``: AdamW takes all biases and the pairs, few of which occur in
    a chunk, and the embedding and head if ``optimizer`` is Muon.
    """
    takes = {"soap": "weight" in name and not name.startswith("pairs."), "muon": name.startswith("rnn.weight"), "adamw": True}
    return optimizer if takes[optimizer] else "adamw"


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019) for all weights, or in its place SOAP for all matrices or Muon for
    those of the recurrent layers, where each gate's block of H rows counts as a matrix of its own. Only matrices decay.
    """

    def __init__(
        self, weights: Mapping[str, nn.Parameter], model: ModelConfig, config: TrainConfig, precision: str = "fp32"
    ) -> None:
        """``precision`` is that of SOAP's products: bf16, or else fp32."""
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
            # Named otherwise than AdamW's, because their coordinates differ.
            moments = {name: torch.zeros_like(weight) for name in ("rotated_avg", "rotated_avg_sq")}
            return moments | {name: weight.new_zeros(weight.shape[1], weight.shape[1]) for name in ("gram", "basis")}
        return {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The one attribute of an optimizer that a gradient scaler reads."""
        return [{"params": list(self._weights.values())}]

    def take_gradients(self, scaler: torch.amp.GradScaler) -> None:
        """Divide fp16's loss scale out of the weights' ``.grad``, in place."""
        scaler.unscale_(cast(torch.optim.Optimizer, self))

    @torch.no_grad()
    def step(self, lr: float, workers: Workers, turning: int = 1, sound: Tensor | None = None) -> None:
        """Update the weights by their ``.grad`` at rate ``lr``; the blocks of the matrices are shared among ``workers``.

        SOAP's bases turn if they are to within ``turning`` steps from this one. A step that isn't ``sound``, (), changes
        nothing; nobody waits to know, so it is made all the same, taken back, and counted.
        """
        if sound is not None:
            changed = [*(weight.detach() for weight in self._weights.values()), *self.state()[0].values()]
            before = [tensor.clone() for tensor in changed]
            self.step(lr, workers, turning)
            for tensor, old in zip(changed, before, strict=True):
                torch.where(sound, tensor, old, out=tensor)
            return
        self.lr = lr
        self._steps += 1
        rate = min(lr, LARGEST_RATE)
        tasks: list[Callable[[], None]] = [functools.partial(self._step_adamw, *group) for group in self._adamw if group[0]]
        grams = [
            functools.partial(soap.add_to_gram, self._moments[name]["gram"], self._gradient(name), self._dtype, self._steps)
            for name in self._soap
        ]
        if self._steps == 1:
            workers.map(_call, grams)
        else:
            tasks += grams
        turns: list[Tensor | None] = [None] * len(self._soap)
        if self._soap and soap.turn_within(self._steps, turning):
            known = [self._moments[name] for name in self._soap]
            turns = workers.map(_call, [functools.partial(soap.turn, m["gram"], m["basis"], self._dtype) for m in known])
        for name, turned in zip(self._soap, turns, strict=True):
            basis = self._moments[name]["basis"].to(self._dtype)
            update = functools.partial(
                soap.update, basis=basis, turned=turned, lr=rate, weight_decay=self._weight_decay, steps=self._steps
            )
            # SOAP treats all rows alike, so any blocks will do; those of a gate's recurrent matrix keep the threads busy.
            rows = max(1, max(self._hidden_size**2, SMALLEST_BLOCK) // len(basis))
            tasks += [functools.partial(update, *block) for block in self._blocks(rows, name, "rotated_avg", "rotated_avg_sq")]
        for name in self._muon:
            update = functools.partial(muon.update, lr=rate, weight_decay=self._weight_decay)
            tasks += [functools.partial(update, *gate) for gate in self._blocks(self._hidden_size, name, "momentum_buffer")]
        workers.map(_call, tasks)

    def _gradient(self, name: str) -> Tensor:
        gradient = self._weights[name].grad
        assert gradient is not None
        return gradient

    def _blocks(self, rows: int, name: str, *moments: str) -> Iterator[tuple[Tensor, ...]]:
        """Cut a matrix, its gradient and its ``moments`` into blocks of ``rows`` rows."""
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
            # Fused AdamW counts the steps itself, on the device, for each weight.
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
        """The moments by name (the tensors themselves, not copies), and the number of steps made."""
        tensors = {
            f"optimizer.{moment}.{name}": tensor
            for name, moments in self._moments.items()
            for moment, tensor in moments.items()
        }
        return tensors, self._steps

    def averageable(self) -> list[Tensor]:
        """The moments of which a mean makes sense: all but bases."""
        return [tensor for moments in self._moments.values() for name, tensor in moments.items() if name != "basis"]

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of the moments that `state` returns."""
        return {name: tuple(tensor.shape) for name, tensor in self.state()[0].items()}

    def restore(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Go on from what `state` returned."""
        for name, moment in self.state()[0].items():
            moment.copy_(tensors[name])
        self._steps = steps


def _call(task: Callable[[], R]) -> R:
    return task()
