"""Statistics of layers as `charrnn.analysis.hidden` summarises them, and what tables of them look like; shared by tests."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.table import Table

from charrnn.analysis.hidden import Statistics
from charrnn.network.columns import Passage

LSTM_LAYER = {
    "mean_abs": 0.25,
    "std": 0.3,
    "saturated": 0.5,
    "still": 0.125,
    "dimensions": 12.4,
    "gates": {"i": 0.11, "f": 0.92, "g": 0.33, "o": 0.44},
    "left": {"i": 0.6, "f": 0.01, "o": 0.2},
    "right": {"i": 0.1, "f": 0.7, "g": 0.05, "o": 0.3},
    "c": [-2.25, 3.5],
    "tau": {"quartiles": [2.0, 12.5, 30.0], "longest": 1234.0},
}


def statistics(blocks: Iterable[Passage]) -> list[Statistics]:
    """The statistics of every layer over all of ``blocks``."""
    layers: list[Statistics] = []
    for block in blocks:
        layers = layers or [Statistics() for _ in block.traces]
        for layer, trace in zip(layers, block.traces, strict=True):
            layer.add(trace)
    return layers


def rendered(what: RenderableType, *, colour: bool = False) -> str:
    file = io.StringIO()
    Console(file=file, width=200, force_terminal=colour, color_system="standard" if colour else None).print(what)
    return file.getvalue()


def columns(table: Table) -> list[str]:
    return [str(column.header) for column in table.columns]


def layer(gates: str = "", **changed: object) -> dict[str, object]:
    tau = {"quartiles": [1.0, 2.0, 3.0], "longest": 9.0} if gates else None
    quiet = {"mean_abs": 0.1, "std": 0.1, "saturated": 0.0, "still": 0.0, "dimensions": 1.0, "c": None, "tau": tau}
    return {**quiet, "gates": dict.fromkeys(gates, 0.5), "left": {}, "right": dict.fromkeys(gates, 0.5), **changed}
