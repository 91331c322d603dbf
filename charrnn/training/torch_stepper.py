"""Generation through torch, for thousands of streams on a GPU: torch steps the network, NumPy draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.config import ModelConfig
from charrnn.training.device import choose_device, hold_to_fp32
from charrnn.training.model import CharRNN


class TorchNetwork:
    """What `charrnn.network.cells.Network` is to a sampler, with the products on a device."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, NDArray[Any]],
        device: str,
        temperature: float = 1.0,
        newline: int | None = None,
    ) -> None:
        """`CharrnnError` if torch finds no such ``device``; logits are divided by ``temperature``. A ``newline``, if given, is
        read from the zero state, as by a `charrnn.network.afresh.RecordNetwork`.
        """
        self.config, self.temperature, self._newline = config, temperature, newline
        self.device = choose_device(device)
        hold_to_fp32(self.device)
        self._model = CharRNN(config)
        self._model.load(weights)
        self._model.to(self.device)

    def stepper(self, state: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """A function that feeds one symbol to each stream: ids (N,) -> logits (N, V), from ``state`` (L, P, N, H) on, which is
        left alone.
        """
        carried = torch.tensor(state, device=self.device)

        @torch.inference_mode()
        def step(ids: NDArray[Any]) -> NDArray[Any]:
            nonlocal carried
            symbols = torch.from_numpy(ids.astype(np.int64)).to(self.device)
            if self._newline is not None:
                carried[:, :, symbols == self._newline] = 0
            logits, carried = self._model(symbols[:, None], carried)
            numbers: NDArray[Any] = logits[:, 0].float().cpu().numpy()
            return numbers if self.temperature == 1 else numbers / np.float32(self.temperature)

        return step
