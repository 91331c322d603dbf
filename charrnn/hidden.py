"""Statistics of hidden states and gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.cells import LayerTrace

SATURATED = 0.9
STILL = 0.01


def _mean(values: NDArray[Any]) -> float:
    """Average ``values``, 0 where that is no number, so that statistics are JSON whatever the weights."""
    return float(np.nan_to_num(values.mean()))


def summarize(traces: Sequence[LayerTrace]) -> list[dict[str, Any]]:
    """One summary per layer of what its units did over a text.

    ``mean_abs``: mean |h|. ``saturated``: share of all values with |h| > 0.9. ``still``: share of units whose standard
    deviation over the text is below 0.01. ``gates``: mean activation by letter (of the tanh candidates g and n, mean
    absolute value).
    """
    summaries = []
    for trace in traces:
        h = np.abs(trace.h)
        still = trace.h.reshape(-1, trace.h.shape[-1]).std(axis=0) < STILL
        summaries.append(
            {
                "mean_abs": _mean(h),
                "saturated": _mean(h > SATURATED),
                "still": _mean(still),
                "gates": {letter: _mean(np.abs(gate) if letter in "gn" else gate) for letter, gate in trace.gates.items()},
            }
        )
    return summaries
