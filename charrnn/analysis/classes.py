"""A classifier for programs: which label a text has, and how sure it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.analysis.judge import Heard, Judge
from charrnn.analysis.results import Distribution
from charrnn.keywords import one_text
from charrnn.network import classifier
from charrnn.network.classifier import Classifier
from charrnn.unchanging import Unchanging


@dataclass(frozen=True, repr=False)
class Labelled(Distribution):
    """What a classifier says of ``text``: a mapping from labels to probabilities, the likeliest first.

    ``labels`` are the C labels, ``probabilities`` (C,) float64 sum to 1.
    """

    text: str
    labels: tuple[str, ...]
    probabilities: NDArray[np.float64]

    @property
    def label(self) -> str:
        """The likeliest label."""
        return self.labels[0]

    @property
    def probability(self) -> float:
        """How likely that is."""
        return float(self.probabilities[0])

    @property
    def names(self) -> tuple[str, ...]:
        """The labels."""
        return self.labels

    def __repr__(self) -> str:
        """The likeliest labels."""
        return f"<labels: {self._shown(3)}>"


class TextClassifier(Unchanging):
    """A classifier of texts. It never changes, and any number of threads may use it at once."""

    loader = "load_classifier"

    def __init__(self, found: Classifier, tell: Callable[[Judge], object]) -> None:
        """``tell`` hears of a judge what it couldn't read as it stood there."""
        self._judge, self._tell = Judge(found), tell

    @property
    def labels(self) -> tuple[str, ...]:
        """Its C labels."""
        return self._judge.classifier.labels

    @property
    def info(self) -> dict[str, Any]:
        """What ``charrnn info --json`` tells of it."""
        return classifier.facts(self._judge.classifier)

    def classify(self, text: str) -> Labelled:
        """The labels of a text with their probabilities, as ``charrnn classify predict`` tells them.

        Raises:
            CharrnnError: the network's numbers are not finite.
        """
        return self.classify_all([text])[0]

    def classify_all(self, texts: Iterable[str]) -> list[Labelled]:
        """`classify` for each of N texts, which are read side by side."""
        if isinstance(texts, str):
            raise TypeError("classify_all takes several texts, classify one")
        given, judge, found = [one_text(text) for text in texts], self._fresh(), []
        for text, row in zip(given, judge.probabilities(given), strict=True):
            order = np.argsort(-row, kind="stable")
            found.append(Labelled(text, tuple(self.labels[number] for number in order), row[order]))
        self._tell(judge)
        return found

    def trace(self, text: str) -> tuple[str, NDArray[np.float64]]:
        """The T characters of a text that are read, and what the classifier would say if it ended behind each: (T, C), a column
        for each of `labels`.

        Raises:
            CharrnnError: the network reads backwards too, and the text is too long.
        """
        judge = self._fresh()
        found = judge.trace(one_text(text))
        self._tell(judge)
        return found

    def _fresh(self) -> Judge:
        """The judge, which has heard nothing yet: other threads may ask it meanwhile."""
        judge = copy.copy(self._judge)
        judge.heard = Heard(changed={})
        return judge

    def __repr__(self) -> str:
        """What it tells apart, and where it lies."""
        found = self._judge.classifier
        return f"<charrnn classifier of {len(self.labels)} labels, {found.parameters:,} parameters, {found.path}>"
