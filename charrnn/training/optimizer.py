"""The optimizer: SOAP for all matrices, or Muon for those of the recurrent layers, and AdamW for the rest.

It calls functions. Making a `torch.optim.Optimizer` imports torch's compiler, which takes 1.9 seconds on two cores, as long as
torch itself, at the start of every run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from charrnn.config import ModelConfig, TrainConfig
from charrnn.training import muon, soap
from charrnn.training.ranks import ALONE, Ranks
from charrnn.training.sharing import Sharing
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


class Block(NamedTuple):
    """Some rows of a matrix that are updated at once, and their moments."""

    name: str
    rows: slice
    moments: list[Tensor]

    @property
    def shape(self) -> torch.Size:
        """Rows and columns."""
        return self.moments[0].shape


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019) for all weights, or in its place SOAP for all matrices or Muon for
    those of the recurrent layers, where each gate's block of H rows counts as a matrix of its own. Only matrices decay.
    """

    def __init__(
        self,
        weights: Mapping[str, nn.Parameter],
        model: ModelConfig,
        config: TrainConfig,
        precision: str = "fp32",
        ranks: Ranks = ALONE,
    ) -> None:
        """``precision`` is that of SOAP's products: bf16, or else fp32. The ``ranks`` may share the work."""
        self.lr = config.lr
        """The learning rate of the latest step."""
        self._weights, self._weight_decay = dict(weights), config.weight_decay
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        methods = {name: method(name, config.optimizer) for name in weights}
        self._soap, matrices_of_muon, rest = (
            [name for name in weights if methods[name] == chosen] for chosen in ("soap", "muon", "adamw")
        )
        self._moments = {name: self._zeros(weight.detach(), methods[name]) for name, weight in weights.items()}
        self._adamw = [
            ([name for name in rest if weights[name].ndim > 1], config.weight_decay),
            ([name for name in rest if weights[name].ndim == 1], 0.0),
        ]
        self._steps = 0
        # SOAP treats all rows alike, so any blocks will do; those of a gate's recurrent matrix keep the threads busy.
        most = max(model.hidden_size**2, SMALLEST_BLOCK)
        self._blocks = [
            *(block for name in self._soap for block in self._cut(name, max(1, most // weights[name].shape[1]))),
            *(block for name in matrices_of_muon for block in self._cut(name, model.hidden_size)),
        ]
        shares = ranks.count > 1 and self._blocks and config.average_every == 1
        on_cpu = all(weight.device.type == "cpu" for weight in weights.values())
        works = [block.shape.numel() * block.shape[1] for block in self._blocks]
        self._sharing = Sharing(ranks, works) if shares and on_cpu else None
        self._whole = True
        """Whether this rank has the moments of all blocks, not just of those that it updates."""

    def _cut(self, name: str, rows: int) -> list[Block]:
        """A matrix in blocks of so many ``rows``."""
        moments = [moment for kind, moment in self._moments[name].items() if kind not in ("gram", "basis")]
        starts = range(0, len(moments[0]), rows)
        slices = [slice(start, min(start + rows, len(moments[0]))) for start in starts]
        return [Block(name, rows, [moment[rows] for moment in moments]) for rows in slices]

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
        tasks: list[Callable[[], None]] = [functools.partial(self._step_adamw, *group) for group in self._adamw if group[0]]
        grams = [
            functools.partial(soap.add_to_gram, self._moments[name]["gram"], self._gradient(name), self._dtype, self._steps)
            for name in self._soap
        ]
        if self._steps == 1:
            workers.map(_call, grams)
        else:
            tasks += grams
        turned = self._turned(workers) if self._soap and soap.turn_within(self._steps, turning) else {}
        bases = {name: self._moments[name]["basis"].to(self._dtype) for name in self._soap}
        change = functools.partial(self._change, bases, turned)
        update = functools.partial(self._update, change)
        updates: list[Callable[[], None]] = [functools.partial(update, block) for block in self._blocks]
        if self._sharing is None:
            workers.map(_call, tasks + updates)
            return
        with self._sharing.step(usual=not turned) as shared:
            if shared:
                self._share(self._sharing, change, tasks, workers)
            else:
                self.complete()
                workers.map(_call, tasks + updates)

    def _turned(self, workers: Workers) -> dict[str, Tensor | None]:
        """Turn SOAP's bases; what took them there."""
        known = [self._moments[name] for name in self._soap]
        turns = [functools.partial(soap.turn, moments["gram"], moments["basis"], self._dtype) for moments in known]
        return dict(zip(self._soap, workers.map(_call, turns), strict=True))

    def _change(self, bases: Mapping[str, Tensor], turned: Mapping[str, Tensor | None], block: Block) -> Tensor:
        """What this step takes from a block, but for the rate."""
        name, gradient = block.name, self._gradient(block.name)[block.rows]
        if name in bases:
            return soap.change(gradient, *block.moments, basis=bases[name], turned=turned.get(name), steps=self._steps)
        return muon.change(gradient, *block.moments)

    def _update(self, change: Callable[[Block], Tensor], block: Block) -> None:
        self._take(block, change(block))

    def _take(self, block: Block, change: Tensor) -> None:
        """Take a ``change`` from a block of weights."""
        lr = min(self.lr, LARGEST_RATE)
        rate = soap.rate(lr, self._steps) if block.name in self._soap else muon.rate(lr, block.shape)
        weight = self._weights[block.name].detach()[block.rows]
        weight.mul_(1 - lr * self._weight_decay)
        weight.add_(change.to(weight.dtype), alpha=-rate)

    def _share(
        self, sharing: Sharing, change: Callable[[Block], Tensor], others: Sequence[Callable[[], None]], workers: Workers
    ) -> None:
        """Update all blocks by the changes that each rank has computed of its own; the ``others`` are done meanwhile."""
        own = workers.map(change, [self._blocks[number] for number in sharing.own])
        everyones = sharing.send(own, [block.shape for block in self._blocks], self._dtype if self._soap else torch.bfloat16)
        self._whole = False
        workers.map(_call, others)
        workers.map(_call, [functools.partial(self._take, *known) for known in zip(self._blocks, everyones(), strict=True)])

    @torch.no_grad()
    def complete(self) -> None:
        """Take the moments of the blocks that other ranks update; all call it before they look at the `state`.

        Raises:
            RankLostError: another rank has ended before its time.
        """
        if self._sharing is None or self._whole:
            return
        for moments in zip(*(block.moments for block in self._blocks), strict=True):
            shapes = [moment.shape for moment in moments]
            everyones = self._sharing.send([moments[number] for number in self._sharing.own], shapes, moments[0].dtype)
            for moment, found in zip(moments, everyones(), strict=True):
                moment.copy_(found)
        self._whole = True

    def _gradient(self, name: str) -> Tensor:
        gradient = self._weights[name].grad
        assert gradient is not None
        return gradient

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
        """The moments by name (the tensors themselves, not copies), and the number of steps made; after `complete`."""
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
        self._steps, self._whole = steps, True


def _call(task: Callable[[], R]) -> R:
    return task()
