"""An inspection as a notebook shows it: the page, in a frame of its own."""

from __future__ import annotations

import html
from functools import cached_property
from pathlib import Path
from typing import Any

from charrnn import files
from charrnn.analysis import reach, traces
from charrnn.analysis.hidden import Summary
from charrnn.analysis.reach import MemoryRecord
from charrnn.analysis.traces import Inspection
from charrnn.network.lookup import labels

HEIGHT = 760
"""Pixels of a notebook that the page takes."""


class Inspected:
    """What a network's memory does over a text; a notebook shows it as the page of ``charrnn inspect --html``."""

    def __init__(self, found: Inspection) -> None:
        self._found = found

    @property
    def layers(self) -> list[Summary]:
        """Every layer's states and gates in numbers, as in ``charrnn inspect --json``."""
        return [layer.summary() for layer in self._found.layers]

    @property
    def features(self) -> list[dict[str, Any]]:
        """Which unit follows which feature of the text, as in ``charrnn inspect --json``."""
        return [finding.to_json() for finding in self._found.findings]

    @property
    def bits_per_char(self) -> float | None:
        """The text's score; None if the network knows no character of it."""
        return self._found.bits_per_char

    def values(self, by: str) -> list[float]:
        """What the text is coloured by, a number for each character: ``surprise`` or ``entropy`` in bits, ``change``, a unit as
        ``0:165``, or its cell as ``0:165c``, which is a share of its largest size.

        Raises:
            UsageError: there is no such unit.
        """
        return self._found.values(by).numbers

    def html(self) -> str:
        """The page: one file that needs nothing else."""
        from charrnn.output import page

        curves, measured_on = self._memory
        return page.render(self._found, traces.history(self._found.trained.path), curves, memory_text=measured_on)

    @cached_property
    def _memory(self) -> tuple[list[MemoryRecord], str]:
        """How far back the network remembers, and of which text: measured once, however often it is shown."""
        return reach.of_inspection(self._found, *labels([self._found.trained.path]))

    def save(self, path: str | Path) -> None:
        """Write the page to ``path``; `CharrnnError` if it can't be written, or something else is there."""
        files.write_made(Path(path), self.html().encode("utf-8", "replace"), "inspect")

    def __repr__(self) -> str:
        """What was read by which network."""
        return f"<inspected: {traces.sentence(self._found)}>"

    def _repr_html_(self) -> str:
        """The page in a frame, where its style and its script touch nothing else."""
        return (
            f'<iframe srcdoc="{html.escape(self.html())}" sandbox="allow-scripts" title="what the memory does"'
            f' style="width: 100%; height: {HEIGHT}px; border: 0"></iframe>'
        )
