"""How large the gradients of each row of weights are while a network trains: `charrnn.training.adapt` divides by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from charrnn.network.checkpoint import ROW_RMS

MEMORY = 0.99
"""How much of the mean square over the steps so far is kept in a step, at most."""


class RowRMS:
    """The root mean square of the gradients of each row of each matrix, over the latest steps, each (M,)."""

    def __init__(self, weights: Mapping[str, nn.Parameter]) -> None:
        self._rows = {name: weight.detach().new_zeros(len(weight)) for name, weight in weights.items() if weight.ndim > 1}

    @torch.no_grad()
    def measured(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """The mean squares of the matrices' rows in the ``gradients`` of all weights, which `add` takes."""
        matrices = (gradient for gradient in gradients if gradient.ndim > 1)
        return [torch.linalg.vector_norm(matrix, dim=1).square_() / matrix.shape[1] for matrix in matrices]

    @torch.no_grad()
    def add(self, squares: Sequence[Tensor], step: int, norm: Tensor) -> None:
        """Add the mean ``squares`` of ``step``, counted from 1, unless its gradient's ``norm`` isn't finite; nobody waits."""
        kept, sound = min(MEMORY, 1 - 1 / step), torch.isfinite(norm)
        for row, square in zip(self._rows.values(), squares, strict=True):
            torch.where(sound, row.square().mul_(kept).add_(square, alpha=1 - kept).sqrt_(), row, out=row)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds, by name: the tensors themselves, not copies."""
        return {ROW_RMS + name: row for name, row in self._rows.items()}

    def restore(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Go on from what a checkpoint holds, ``arrays`` by the matrices' names; one that holds none begins anew."""
        for name, row in self._rows.items():
            row.copy_(torch.from_numpy(np.array(arrays[name]))) if name in arrays else row.zero_()
