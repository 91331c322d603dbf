"""A classifier as one self-contained page: a sentence that is typed, and what the classifier says of it at each letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from charrnn.analysis.rounding import RoundedClassifier
from charrnn.cell_types import CELL_TYPES
from charrnn.network.classifier import Classifier, feature_size
from charrnn.output.page import document
from charrnn.output.page.export import FORMS_IN_WORDS, STYLES, model_data, tensor_data, vocabulary_data

SCRIPTS = ("shared.js", "network.js", "painting.js", "judge.js", "classify.js")


@dataclass(frozen=True)
class Measured:
    """How good it is on ``texts`` of what ``read`` names: the share of right answers."""

    read: str
    texts: int
    accuracy: float


@dataclass(frozen=True)
class Shown:
    """A classifier on the page; ``examples`` are texts that the page offers."""

    classifier: Classifier
    label: str
    rounding: RoundedClassifier
    measured: Measured | None = None
    examples: Sequence[str] = ()


def render(shown: Shown) -> str:
    """The page."""
    found, rounding, measured = shown.classifier, shown.rounding, shown.measured
    cost = rounding.costs.get(rounding.form)
    return document.render(
        "classify.html",
        scripts=SCRIPTS,
        styles=(*STYLES, "classify.css"),
        style_attributes=False,
        data={"classifier": data_of(shown)},
        corpus=str(found.training.get("corpus") or shown.label),
        cell=CELL_TYPES[found.model.cell].title,
        article=CELL_TYPES[found.model.cell].article,
        layers=found.model.num_layers,
        units=found.model.hidden_size,
        labels=len(found.labels),
        symbol="byte" if found.vocabulary.level == "byte" else "character",
        feature=found.config.feature,
        features=feature_size(found.model, found.config),
        bidirectional=found.config.bidirectional,
        head_size=found.config.head_size,
        calibrated=found.config.temperature != 1.0,
        temperature=f"{found.config.temperature:.2f}",
        parameters=found.parameters,
        form=FORMS_IN_WORDS[rounding.form],
        cost=None if cost is None or measured is None else f"{cost.moved:.4f}",
        changed=None if cost is None else cost.changed,
        **({} if measured is None else {"read": measured.read, "texts": measured.texts}),
        accuracy=None if measured is None else f"{100 * measured.accuracy:.1f} %",
    )


def data_of(shown: Shown) -> dict[str, Any]:
    """What the scripts need of a classifier."""
    found = shown.classifier
    return {
        "model": model_data(found.model),
        "vocabulary": vocabulary_data(found.vocabulary),
        "classifier": {**found.config.to_json(), "labels": list(found.labels)},
        "tensors": {name: tensor_data(tensor) for name, tensor in shown.rounding.tensors.items()},
        "examples": list(shown.examples),
    }
