"""What a classifier is measured by: the commonest label, n-grams, and the best that equal texts with several labels allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.analysis.judge import Figures, confusion
from charrnn.analysis.ngrams import NgramClassifier

MOST = 100_000
"""The n-grams learn from so many texts at most, evenly spread."""


@dataclass(frozen=True)
class Yardsticks:
    """How the commonest label and logistic regression on n-grams do on the texts that a classifier is judged by.

    ``best_possible`` is the accuracy of whoever says of each text the label that it has most often among them.
    """

    majority_label: str
    majority: Figures
    ngrams: Figures
    best_possible: float
    learned: NgramClassifier

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        right: NDArray[np.intp],
        judged: Sequence[str],
        labels: NDArray[np.intp],
        names: tuple[str, ...],
        deadline: float | None = None,
    ) -> Yardsticks:
        """Learn from ``texts`` whose labels are ``right``, and judge by those of ``judged``, whose are ``labels``.

        The n-grams stop learning at ``deadline``, by `time.monotonic`.
        """
        commonest = int(np.bincount(right).argmax())
        some = np.linspace(0, len(texts) - 1, min(len(texts), MOST)).astype(np.intp)
        ngrams = NgramClassifier([texts[i] for i in some], right[some], len(names), deadline)

        def figures(said: NDArray[np.intp]) -> Figures:
            return Figures(names, confusion(labels, said, len(names)))

        return cls(
            names[commonest],
            figures(np.full(len(labels), commonest)),
            figures(ngrams.predict(judged)),
            best_possible(judged, labels),
            ngrams,
        )

    def to_json(self) -> dict[str, object]:
        """The figures as JSON values."""
        return {
            "majority": {
                "label": self.majority_label,
                "accuracy": self.majority.accuracy,
                "macro_f1": self.majority.macro_f1,
            },
            "ngrams": {"accuracy": self.ngrams.accuracy, "macro_f1": self.ngrams.macro_f1},
            "best_possible": self.best_possible,
        }


def best_possible(texts: Sequence[str], labels: NDArray[np.intp]) -> float:
    """The best accuracy that any rule reaches that says the same of equal texts."""
    counts = Counter(zip(texts, labels.tolist(), strict=True))
    most: dict[str, int] = {}
    for (text, _), count in counts.items():
        most[text] = max(most.get(text, 0), count)
    return sum(most.values()) / max(1, len(texts))
