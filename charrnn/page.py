"""An inspection as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from charrnn.inspection import Inspection


def render(found: Inspection, history: Sequence[Mapping[str, Any]], memory: Sequence[Mapping[str, Any]] = ()) -> str:
    """Page."""
    return ""
