"""The network in torch: embedding -> recurrent layers -> head."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from charrnn.config import ModelConfig
from charrnn.network.initial import initials
from charrnn.training import kernels, persistent

_LAYER_WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
_HAND_WRITTEN: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {"gru": kernels.gru, "rnn": kernels.rnn}


class _Undrawn:
    """Leaves the weights uninitialised: torch's own initialisation would draw from its global generator."""

    def reset_parameters(self) -> None: ...


class _Embedding(_Undrawn, nn.Embedding): ...


class Linear(_Undrawn, nn.Linear):
    """A linear layer whose weights nobody has drawn yet."""


class _LSTM(_Undrawn, nn.LSTM): ...


class _GRU(_Undrawn, nn.GRU): ...


class _RNN(_Undrawn, nn.RNN): ...


_LAYERS: dict[str, Callable[..., nn.Module]] = {"lstm": _LSTM, "gru": _GRU, "rnn": _RNN}
"""Layers that are made and called as ``torch.nn``'s are, batch first, with weights of the same names."""


class CharRNN(nn.Module):
    """A character-level recurrent network on ``torch.nn``'s fused kernels, one module per layer.

    A state is one tensor (L, P, N, H): L layers, P = 2 parts (h, c) for the LSTM and 1 (h) for the others, N streams; with
    vectors for pairs of symbols one part more, for the symbol that was read last (`charrnn.network.pairs`).
    """

    pair_keys: Tensor

    def __init__(self, config: ModelConfig, generator: torch.Generator | None = None) -> None:
        """Draw fresh weights from ``generator`` (default: seed 0), as `charrnn.network.initial` says."""
        super().__init__()
        self.config = config
        self.embedding = _Embedding(config.vocab_size, config.embedding_size)
        if config.pair_keys:
            self.pairs = _Embedding(len(config.pair_keys), config.embedding_size)
            self.register_buffer("pair_keys", torch.tensor(config.pair_keys), persistent=False)
        self.layers = nn.ModuleList(
            _LAYERS[config.cell](
                config.embedding_size if layer == 0 else config.hidden_size, config.hidden_size, batch_first=True
            )
            for layer in range(config.num_layers)
        )
        self.head = Linear(config.hidden_size, config.vocab_size)
        self._initialize(generator or torch.Generator().manual_seed(0))

    @torch.no_grad()
    def _initialize(self, generator: torch.Generator) -> None:
        parameters = self.weights()
        for initial in initials(self.config):
            parameter, scale = parameters[initial.name], initial.scale
            if initial.kind == "normal":
                parameter.normal_(std=scale, generator=generator)
            elif initial.kind == "uniform":
                parameter.uniform_(-scale, scale, generator=generator)
            elif initial.kind == "orthogonal":
                for block in torch.split(parameter, self.config.hidden_size):
                    nn.init.orthogonal_(block, generator=generator)
            else:
                parameter.fill_(scale)
                for rows, value in initial.exceptions:
                    parameter[rows] = value

    def weights(self) -> dict[str, nn.Parameter]:
        """The parameters by the names of `ModelConfig.parameter_shapes`, in its order."""
        own = {re.sub(r"^layers\.(\d+)\.(.*)0$", r"rnn.\2\1", name): value for name, value in self.named_parameters()}
        return {name: own[name] for name in self.config.parameter_shapes()}

    def export(self) -> dict[str, NDArray[np.float32]]:
        """A float32 NumPy copy of every weight."""
        return {name: value.detach().to("cpu", torch.float32, copy=True).numpy() for name, value in self.weights().items()}

    @torch.no_grad()
    def load(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Copy in the weights that `export` gave."""
        for name, parameter in self.weights().items():
            parameter.copy_(torch.from_numpy(np.array(weights[name])))

    def initial_state(self, batch_size: int) -> Tensor:
        """The zero state of ``batch_size`` streams, (L, P, N, H)."""
        c = self.config
        return torch.zeros(c.num_layers, c.state_parts, batch_size, c.hidden_size, device=self.head.weight.device)

    def forward(self, ids: Tensor, state: Tensor, masks: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Read ids (N, T) from ``state``.

        Args:
            ids: int64, (N, T).
            state: (L, P, N, H).
            masks: dropout masks from `dropout_masks`, or None for no dropout.

        Returns:
            Logits (N, T, V) and the state after the last character (L, P, N, H).
        """
        h, after = self.follow(ids, state, masks)
        return self.head(h), after

    def follow(self, ids: Tensor, state: Tensor, masks: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Like `forward`, but the last layer's h (N, T, H) instead of logits."""
        h, after = self.hidden(self.embed(ids, state), state, masks)
        if self.config.pair_keys:
            after[0, -1, :, 0] = ids[:, -1] + 1
        return h, after

    def embed(self, ids: Tensor, state: Tensor) -> Tensor:
        """The vectors (N, T, E) of ids (N, T) that are read from ``state`` (L, P, N, H)."""
        x: Tensor = self.embedding(ids)
        if not self.config.pair_keys:
            return x
        before = state[0, -1, :, 0].nan_to_num().clamp(0, self.config.vocab_size).long() - 1  # (N,), -1 where there is none
        keys = torch.cat([before[:, None], ids[:, :-1]], 1) * self.config.vocab_size + ids
        rows = torch.searchsorted(self.pair_keys, keys).clamp_(max=len(self.pair_keys) - 1)
        there = self.pair_keys[rows] == keys
        added: Tensor = self.pairs(rows) * there[:, :, None]
        return x + added

    def read(self, x: Tensor, state: Tensor, masks: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Like `forward`, but from embedded characters x (N, T, E), so that gradients with respect to them can be taken."""
        h, after = self.hidden(x, state, masks)
        return self.head(h), after

    def hidden(self, x: Tensor, state: Tensor, masks: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Like `read`, but the last layer's h (N, T, H) instead of logits."""
        if masks is not None:
            x = x * masks[0]
        # torch's own kernel for the LSTM is fused; on a CPU those for the other cells are not.
        on_cpu = x.device.type == "cpu" and torch.is_grad_enabled()
        hand_written = _HAND_WRITTEN.get(self.config.cell) if on_cpu else None
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        narrow = x.device.type == "cpu" and dtype == torch.bfloat16
        keeps_cells = self.config.cell == "lstm" and narrow and kernels.lstm_keeps_cells()
        kind = x.device.type
        of_products = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        states = []
        for index, layer in enumerate(self.layers):
            if hand_written is not None:
                outputs, h = hand_written(
                    x.transpose(0, 1), state[index, 0], *(getattr(layer, name) for name in _LAYER_WEIGHTS), dtype
                )
                x = outputs.transpose(0, 1)
                states.append(h[None])
            elif keeps_cells:
                weights = (getattr(layer, name) for name in _LAYER_WEIGHTS)
                outputs, h, c = kernels.lstm(x.transpose(0, 1), state[index, 0], state[index, 1], *weights)
                x = outputs.transpose(0, 1)
                states.append(torch.stack([h, c]))  # (P, N, H)
            elif self.config.cell == "lstm":
                missing = persistent.missing_inputs(x.shape[2], self.config.hidden_size, len(x), of_products, x.device)
                x, h, c = persistent.lstm(layer, x, state[index, 0:1].contiguous(), state[index, 1:2].contiguous(), missing)
                states.append(torch.cat([h, c]))  # (P, N, H)
            else:
                parts = tuple(part[None].contiguous() for part in state[index, : self.config.cell_parts])  # (1, N, H) each
                x, own = layer(x, parts if len(parts) > 1 else parts[0])
                states.append(torch.cat(own) if len(parts) > 1 else own)
            if masks is not None:
                x = x * masks[index + 1]
        after = torch.stack(states).float()
        if self.config.pair_keys:
            after = torch.cat([after, torch.zeros_like(after[:, :1])], 1)
        return x, after

    def dropout_masks(
        self, batch_size: int, dropouts: tuple[float, float, float], generator: torch.Generator
    ) -> list[Tensor] | None:
        """Locked dropout (Gal and Ghahramani 2016): a mask per column that stays the same for all characters of a chunk.

        Args:
            batch_size: N.
            dropouts: the shares dropped from the embedding, from each layer's output but the last's, and from the last's.
            generator: draws the masks.

        Returns:
            One mask (N, 1, E) for the embedding and one (N, 1, H) for each layer's output, scaled so that their mean is 1;
            None if nothing is dropped.
        """
        if not any(dropouts):
            return None
        at_input, between, at_output = dropouts
        c, device = self.config, self.head.weight.device
        shares = [(c.embedding_size, at_input), *[(c.hidden_size, between)] * (c.num_layers - 1), (c.hidden_size, at_output)]
        return [
            (torch.rand(batch_size, 1, size, generator=generator, device=device) >= share).float().div_(1 - share)
            for size, share in shares
        ]
