"""The optimizer: Muon for the matrices of the recurrent layers, AdamW for the rest; and what a snapshot holds of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from charrnn.config import ModelConfig, TrainConfig
from charrnn.device import Workers

BETAS = (0.9, 0.99)
MOMENTUM = 0.95

ADAMW_MOMENTS = ("exp_avg", "exp_avg_sq")
MUON_MOMENTS = ("momentum_buffer",)

LARGEST_RATE = 1e30
"""Torch's Muon fails at rates near the largest float; at this one too the run diverges, and is told so."""
NEWTON_SCHULZ_STEPS = 3
"""Of torch's five; the two last change nothing that can be measured here, and each costs as much as 100 characters."""


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
        muon = [name for name in weights if config.optimizer == "muon" and takes_muon(name)]
        self._weights = weights
        self._moments = {name: MUON_MOMENTS if name in muon else ADAMW_MOMENTS for name in weights}
        # Leaves of their own that share the blocks' memory: torch's Muon takes whole parameters.
        self._blocks = {
            name: [nn.Parameter(block) for block in torch.split(weights[name].detach(), model.hidden_size)] for name in muon
        }
        rest = [weights[name] for name in weights if name not in muon]
        matrices, vectors = [w for w in rest if w.ndim > 1], [w for w in rest if w.ndim == 1]
        self._adamw = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=config.lr,
            betas=BETAS,
            fused=matrices[0].device.type in ("cpu", "cuda"),
        )
        self._muons = [
            torch.optim.Muon(
                [block],
                lr=config.lr,
                momentum=MOMENTUM,
                ns_steps=NEWTON_SCHULZ_STEPS,
                weight_decay=config.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
            for blocks in self._blocks.values()
            for block in blocks
        ]
        self._all: list[torch.optim.Optimizer] = [self._adamw, *self._muons]

    @property
    def lr(self) -> float:
        """The learning rate of the latest step."""
        return float(self._adamw.param_groups[0]["lr"])

    def take_gradients(self, scaler: torch.amp.GradScaler) -> None:
        """Take the weights' ``.grad`` as the next step's, fp16's loss scale divided out in place."""
        for name, blocks in self._blocks.items():
            gradient = self._weights[name].grad
            assert gradient is not None
            for block, part in zip(blocks, torch.split(gradient, len(blocks[0])), strict=True):
                block.grad = part
        for optimizer in self._all:
            scaler.unscale_(optimizer)

    def step(self, lr: float, workers: Workers) -> None:
        """Update the weights by the gradients taken, at rate ``lr``."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = lr if optimizer is self._adamw else min(lr, LARGEST_RATE)
        workers.map(lambda optimizer: optimizer.step(), self._all)

    def state(self) -> tuple[dict[str, Tensor], int]:
        """The moments, each of its weight's shape, by the names of `state_shapes`, and how many steps AdamW has counted."""
        tensors, steps = {}, 0
        for name, weight in self._weights.items():
            for moment in self._moments[name]:
                if name in self._blocks:
                    parts = [
                        self._muon_of(block).state.get(block, {}).get(moment, torch.zeros_like(block))
                        for block in self._blocks[name]
                    ]
                    tensors[f"optimizer.{moment}.{name}"] = torch.cat(parts)
                else:
                    found = self._adamw.state.get(weight, {})
                    tensors[f"optimizer.{moment}.{name}"] = found.get(moment, torch.zeros_like(weight))
                    steps = int(found.get("step", steps))
        return tensors, steps

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The names and shapes of what `state` gives."""
        return {
            f"optimizer.{moment}.{name}": tuple(weight.shape)
            for name, weight in self._weights.items()
            for moment in self._moments[name]
        }

    def restore(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Take over what `state` gave."""
        for name, weight in self._weights.items():
            moments = {moment: tensors[f"optimizer.{moment}.{name}"].to(weight.device) for moment in self._moments[name]}
            if name in self._blocks:
                for number, block in enumerate(self._blocks[name]):
                    H = len(block)
                    self._muon_of(block).state[block] = {
                        key: value[number * H : (number + 1) * H].clone() for key, value in moments.items()
                    }
            else:
                # Fused optimizers count on the device.
                self._adamw.state[weight] = {"step": torch.tensor(float(steps), device=weight.device), **moments}

    def _muon_of(self, block: nn.Parameter) -> torch.optim.Optimizer:
        return next(muon for muon in self._muons if muon.param_groups[0]["params"][0] is block)
