"""What a classifier is measured by: the commonest label, n-grams, and the best that equal texts with several labels allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.analysis.judge import Figures, confusion
from charrnn.analysis.ngrams import NgramClassifier, affordable


@dataclass(frozen=True)
class Yardsticks:
    """How the commonest label and logistic regression on n-grams do on the texts that a classifier is judged by.

    ``best_possible`` is the accuracy of whoever says of each text the label that it has most often among them. The n-grams
    learned from ``sample`` of the ``texts``, evenly spread: from all unless these are too many for memory and time.
    """

    majority_label: str
    majority: Figures
    ngrams: Figures
    best_possible: float
    learned: NgramClassifier
    sample: int
    texts: int

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

        The n-grams learn until ``deadline``, by `time.monotonic`, from so many of the texts as they can until then.
        """
        commonest = int(np.bincount(right).argmax())
        sample = affordable(texts, right, len(names), len(judged), deadline)
        some = np.linspace(0, len(texts) - 1, sample).astype(np.intp)
        ngrams = NgramClassifier([texts[i] for i in some], right[some], len(names), deadline)

        def figures(said: NDArray[np.intp]) -> Figures:
            return Figures(names, confusion(labels, said, len(names)))

        return cls(
            names[commonest],
            figures(np.full(len(labels), commonest)),
            figures(ngrams.predict(judged)),
            best_possible(judged, labels),
            ngrams,
            sample,
            len(texts),
        )

    def to_json(self) -> dict[str, object]:
        """The figures as JSON values."""
        return {
            "majority": {
                "label": self.majority_label,
                "accuracy": self.majority.accuracy,
                "macro_f1": self.majority.macro_f1,
            },
            "ngrams": {"accuracy": self.ngrams.accuracy, "macro_f1": self.ngrams.macro_f1, "texts": self.sample},
            "best_possible": self.best_possible,
        }


def best_possible(texts: Sequence[str], labels: NDArray[np.intp]) -> float:
    """The best accuracy that any rule reaches that says the same of equal texts."""
    if not len(texts):
        return 0.0
    hashes = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts))  # 64 bits: different texts have different ones.
    order = np.lexsort((labels, hashes))
    hashes, labels = hashes[order], labels[order]
    new_text = np.append(True, hashes[1:] != hashes[:-1])
    starts = np.flatnonzero(new_text | np.append(True, labels[1:] != labels[:-1]))
    counts = np.diff(np.append(starts, len(labels)))
    return float(np.maximum.reduceat(counts, np.flatnonzero(new_text[starts])).sum() / len(labels))
