"""The batches of a run as tensors on its device, cut out of the text itself where that lies there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.text.checked import CheckedIds
from charrnn.text.streams import Batch

ROOM = 0.25
"""The share of a GPU's free memory that the text may take; the rest is for the network, its optimizer and a step."""
SIGNED = {2: np.int16, 4: np.int32}
"""torch computes with few unsigned numbers; a text's ids are sent as these, and what came out negative is put right."""


def fits(ids: NDArray[Any], device: torch.device) -> bool:
    """Whether the ``ids`` of a text can lie on a ``device`` for all of a run."""
    return device.type == "cuda" and ids.nbytes <= ROOM * torch.cuda.mem_get_info(device)[0]


class Feed:
    """Brings batches to a device. No step waits for what it brings."""

    def __init__(self, ids: NDArray[Any], device: torch.device, *, resident: bool | None = None) -> None:
        """``ids`` (C,) are those that batches are cut from; they lie on the device if they fit, or as ``resident`` says.

        Raises:
            DamagedError: they come from the cache, lie on the device, and are not as they were written.
        """
        self._device, self._text = device, None
        if fits(ids, device) if resident is None else resident:
            if isinstance(ids, CheckedIds):
                ids.check_all()  # Nothing is checked on the device.
            self._text = _sent(ids, device)

    def tensors(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Inputs and targets, int64 (N, T), and which columns open, bool (N, 1), of a ``batch``."""
        opens = None if batch.opens is None else _sent(batch.opens[:, None], self._device)
        if self._text is None or batch.starts is None:
            inputs, targets = (_ids(_sent(part, self._device), part.dtype) for part in (batch.inputs, batch.targets))
            return inputs, targets, opens
        # A chunk and the character behind it, (N, T + 1), found on the device.
        behind = torch.arange(batch.inputs.shape[1] + 1, device=self._device)
        chunks = _ids(self._text[_sent(batch.starts, self._device)[:, None] + behind], batch.inputs.dtype)
        return chunks[:, :-1], chunks[:, 1:], opens


def _sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """A copy on the device; a GPU fetches it while this process goes on."""
    array = np.array(array)  # torch doesn't like what it must not write to.
    if array.dtype.kind == "u" and array.itemsize in SIGNED:
        array = array.view(SIGNED[array.itemsize])
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _ids(sent: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """What was sent of numbers of a ``dtype``, as int64."""
    wide = sent.long()
    return wide & (1 << 8 * dtype.itemsize) - 1 if dtype.kind == "u" and dtype.itemsize in SIGNED else wide
