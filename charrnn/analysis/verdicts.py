"""What a classifier says of many labelled texts, and how good that is: texts come some at a time, and none is kept."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from charrnn.analysis import calibration
from charrnn.analysis.judge import Figures, Judge, Unit, confusion, deciding
from charrnn.network.cells import Array

TOGETHER = 1024
"""So many texts are judged at a time, and by those of the first time it is told which units decide."""


class Verdicts:
    """Counts right and wrong answers, and how sure each was."""

    def __init__(self, judge: Judge) -> None:
        """``judge`` will be asked."""
        self._judge, self._numbers = judge, {label: number for number, label in enumerate(judge.classifier.labels)}
        self._confusion = np.zeros((0, 0), dtype=np.int64)
        self._sure, self._hits = array("d"), bytearray()
        self._features: Array | None = None

    def number(self, label: str) -> int:
        """The number of a ``label``; one that the classifier doesn't know gets the next: its texts count as wrong answers."""
        return self._numbers.setdefault(label, len(self._numbers))

    @property
    def strange(self) -> list[str]:
        """The labels that have a number, and that the classifier doesn't know."""
        return list(self._numbers)[len(self._judge.classifier.labels) :]

    def ask(self, texts: Sequence[str], right: Sequence[int]) -> None:
        """Judge ``texts``, whose labels have the numbers ``right``."""
        for start in range(0, len(texts), TOGETHER):
            some, numbers = texts[start : start + TOGETHER], np.asarray(right[start : start + TOGETHER])
            features = self._judge.features(some)
            found = self._judge.decided(features)
            said = found.argmax(axis=1)
            self._confusion = self._widened + confusion(numbers.tolist(), said.tolist(), len(self._numbers))
            self._sure.frombytes(found.max(axis=1).tobytes())
            self._hits += (said == numbers).tobytes()
            if self._features is None:
                self._features = features

    def __len__(self) -> int:
        """How many texts were judged."""
        return len(self._hits)

    @property
    def known(self) -> int:
        """How many of the texts have a label that the classifier knows."""
        return int(self._confusion[: len(self._judge.classifier.labels)].sum())

    @property
    def figures(self) -> Figures:
        """How often it was right."""
        return Figures(tuple(self._numbers), self._widened)

    @property
    def _widened(self) -> NDArray[np.int64]:
        """The confusion with a row and a column for each label that has a number by now."""
        more = len(self._numbers) - len(self._confusion)
        return np.pad(self._confusion, ((0, more), (0, more)))

    @property
    def calibration_error(self) -> float:
        """How far its probabilities are off."""
        hits: NDArray[np.bool_] = np.frombuffer(bytes(self._hits), dtype=np.bool_)
        return calibration.expected_error(np.frombuffer(self._sure, dtype=np.float64), hits)

    def units(self, count: int) -> dict[str, list[Unit]] | None:
        """Of each label the ``count`` units that decide, by the first texts; None where a layer lies between."""
        return None if self._features is None else deciding(self._judge.classifier, self._features, count)
