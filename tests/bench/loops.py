"""The plain ``torch.nn`` loops that the benchmarks compare with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from numpy.typing import NDArray
from torch import nn

from charrnn.config import ModelConfig

KERNELS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class TorchLoop(nn.Module):
    """Embedding -> ``nn.LSTM/GRU/RNN`` with all layers in one module -> linear head, as one would write it in five minutes."""

    def __init__(self, config: ModelConfig, weights: Mapping[str, NDArray]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.rnn = KERNELS[config.cell](config.embedding_size, config.hidden_size, config.num_layers, batch_first=True)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        self.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})

    @torch.inference_mode()
    def generate(self, temperature: float, seed: int) -> Iterator[int]:
        """Draw ids without end, one stream."""
        generator = torch.Generator().manual_seed(seed)
        ids, state = torch.zeros(1, 1, dtype=torch.int64), None
        while True:
            output, state = self.rnn(self.embedding(ids), state)
            probabilities = torch.softmax(self.head(output[:, -1]) / temperature, dim=-1)
            ids = torch.multinomial(probabilities, 1, generator=generator)
            yield int(ids)
