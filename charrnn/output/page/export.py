"""Networks as one self-contained page that writes text and shows their memory while it does."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.analysis.features import Finding
from charrnn.analysis.reach import MemoryRecord
from charrnn.analysis.rounding import FORMS, RoundedTensor, Rounding
from charrnn.cell_types import CELL_TYPES, LETTERS, candidates, keeping
from charrnn.config import ModelConfig
from charrnn.generation.generate import opening
from charrnn.network.checkpoint import Checkpoint, records_of
from charrnn.output import page
from charrnn.output.page import document
from charrnn.text.vocabulary import Vocabulary

MOST = 3
"""Networks that stand side by side, at most."""
SCRIPTS = ("shared.js", "network.js", "painting.js", "player.js", "lessons.js", "export.js")
STYLES = ("shared.css", "export.css")
TYPED = (
    "'\"\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u2010\u2011\u2012\u2013\u2014\u2026\u00ab\u00bb\u00a0"
    "\u2212\u2022\u00d7\u00df\u00c6\u00e6\u00d8\u00f8\u0141\u0142\u0131"
)
"""What keyboards and other programs write, and a network may know only in its plain form, which Unicode doesn't name."""
FORMS_IN_WORDS = {"int8": "8-bit numbers with one scale for each row", "float16": "16-bit floating-point numbers"}


@dataclass(frozen=True)
class Shown:
    """A network on the page.

    ``memory`` is how far back it remembers, as `charrnn.analysis.reach.Reach.to_json` writes it; None of a network of records.
    ``read`` says in words on which text that, ``rounding`` and ``findings`` were measured.
    """

    trained: Checkpoint
    label: str
    rounding: Rounding
    memory: MemoryRecord | None
    findings: Sequence[Finding]
    read: str


def render(networks: Sequence[Shown]) -> str:
    """The page of one to three networks."""
    memories = [shown.memory for shown in networks if shown.memory is not None]
    cells = [shown.trained.model.cell for shown in networks]
    return document.render(
        "export.html",
        scripts=SCRIPTS,
        styles=STYLES,
        style_attributes=False,
        data={"networks": [network_data(shown) for shown in networks]},
        networks=[_facts(shown) for shown in networks],
        cells=cells,
        gated=any(CELL_TYPES[cell].gates for cell in cells),
        units=networks[0].trained.model.hidden_size,
        memory=memories,
        curves=page.memory_figures(memories)[1:],
        key=page.curve_key,
    )


def _facts(shown: Shown) -> dict[str, Any]:
    """What the page says of a network in words."""
    model, rounding = shown.trained.model, shown.rounding
    kind = CELL_TYPES[model.cell]
    keeps = keeping(kind.gates)
    others = [form for form in FORMS if form != rounding.form]
    return {
        "label": shown.label,
        "cell": kind.title,
        "article": kind.article,
        "gated": bool(kind.gates),
        "keeps": keeps and f"{LETTERS[keeps].name} gate {keeps}",
        "layers": model.num_layers,
        "units": model.hidden_size,
        "parameters": model.parameters,
        "corpus": str(shown.trained.training.get("corpus") or shown.label),
        "symbol": "byte" if shown.trained.vocabulary.level == "byte" else "character",
        "records": records_of(shown.trained.training) is not None,
        "form": FORMS_IN_WORDS[rounding.form],
        "cost": _bits(rounding.costs[rounding.form]),
        "other": FORMS_IN_WORDS[others[0]],
        "other_cost": _bits(rounding.costs[others[0]]),
        "characters": rounding.characters,
        "read": shown.read,
        "remembers": None if shown.memory is None else shown.memory["smallest_within_1_percent"],
        "furthest": None if shown.memory is None else shown.memory["withheld_lags"][-1],
    }


def _bits(cost: float) -> str:
    """What a form costs, in words; below what a text can tell, it is nothing."""
    return "less than 0.0001 bits" if cost < 0.0001 else f"{cost:.4f} bits"


def network_data(shown: Shown) -> dict[str, Any]:
    """What the scripts need of a network."""
    model = shown.trained.model
    found = [finding for finding in shown.findings if finding.real]
    # A unit may follow several features; the one that it follows best names it.
    best = {(one.layer, one.unit): one for one in sorted(found, key=lambda one: abs(one.second) - one.needed)}
    return {
        "label": shown.label,
        "model": model_data(model),
        "vocabulary": vocabulary_data(shown.trained.vocabulary),
        "records": records_of(shown.trained.training) is not None,
        "tensors": {name: tensor_data(tensor) for name, tensor in shown.rounding.tensors.items()},
        "units": [
            {"layer": one.layer, "unit": one.unit, "follows": one.feature} for one in found if best[one.layer, one.unit] is one
        ],
        "remembers": None if shown.memory is None else shown.memory["smallest_within_1_percent"],
    }


def model_data(model: ModelConfig) -> dict[str, Any]:
    """A network's shape as the scripts read it: with what holds of its cell."""
    kind = CELL_TYPES[model.cell]
    facts = {"keeps": keeping(kind.gates), "candidates": candidates(kind.gates), "apart": kind.apart}
    return {**model.to_json(), "parts": kind.parts, "gates": kind.gates, **facts}


def vocabulary_data(vocabulary: Vocabulary) -> dict[str, Any]:
    """What the scripts need to read and write texts."""
    plain = {character: vocabulary.plain(character)[0] for character in TYPED}
    known = set(vocabulary.characters)
    return {
        **vocabulary.to_json(),
        "plain": {character: form for character, form in plain.items() if form != character and known.issuperset(form)},
        "opening": opening(vocabulary).tolist(),
    }


def tensor_data(tensor: RoundedTensor) -> dict[str, Any]:
    """A tensor as the scripts read it."""
    return {
        "form": tensor.form,
        "data": _base64(tensor.values),
        **({} if tensor.scales is None else {"scales": _base64(tensor.scales)}),
    }


def _base64(values: NDArray[Any]) -> str:
    """The numbers in the order of their bytes that every browser's machine has."""
    little = values.astype(np.dtype(values.dtype).newbyteorder("<"), copy=False)
    return base64.b64encode(np.ascontiguousarray(little).tobytes()).decode()
