"""What a classifier says of texts: NumPy alone.

A text is read from the zero state: a mark, its characters, a mark. Shapes: N texts, T characters, L layers, P parts of a state,
H hidden units, F numbers that the head sees, C labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.analysis.encode import hidden
from charrnn.config import ModelConfig
from charrnn.generation.filters import softmax
from charrnn.generation.generate import opening
from charrnn.network.cells import Array, Network
from charrnn.network.classifier import Classifier, reverse
from charrnn.network.columns import blocks
from charrnn.text.vocabulary import Vocabulary

TOGETHER = 256
"""How many texts are read side by side."""
NUMBERS = 1 << 20
"""About how many numbers of h are held at a time."""
LONGEST_TRACE = 4096
"""A trace has at most so many characters where a network reads backwards: each needs a reading of its own."""


@dataclass
class Heard:
    """What was noticed of the texts that were read: how many were cut, which characters had another or no plain form."""

    cut: int = 0
    changed: dict[str, str] | None = None


def marked(text: str, vocabulary: Vocabulary, longest: int) -> NDArray[Any]:
    """The ids of a text between two marks; of more than ``longest`` symbols the first."""
    mark = opening(vocabulary)
    return np.concatenate([mark, vocabulary.encode(text)[:longest], mark]).astype(np.uint32)


class Reader:
    """A network, or one that reads forwards and one that reads backwards, and what they make of texts."""

    def __init__(
        self, model: ModelConfig, weights: dict[str, NDArray[Any]], features: Sequence[str], *, bidirectional: bool
    ) -> None:
        """``weights`` are those of `classifier.parameter_shapes`, or of a language model; ``features`` are parts of one."""
        self.features = tuple(features)
        unused = {
            "head.weight": np.zeros((model.vocab_size, model.hidden_size), np.float32),
            "head.bias": np.zeros(model.vocab_size, np.float32),
        }
        with np.errstate(over="ignore", invalid="ignore"):  # A hostile file's weights; what comes of them is checked.
            self.forwards = Network(model, weights | unused)
            back = {
                name: weights[reverse(name)] for name in model.parameter_shapes() if bidirectional and name.startswith("rnn.")
            }
            # Pairs are of texts that are read forwards.
            self.backwards = Network(replace(model, pair_keys=()), weights | back | unused) if bidirectional else None

    def read(self, texts: Sequence[NDArray[Any]]) -> Array:
        """The features (N, F) of ``texts``, ids between marks."""
        order = np.argsort([len(text) for text in texts], kind="stable")
        found = [self._some([texts[i] for i in order[start : start + TOGETHER]]) for start in range(0, len(order), TOGETHER)]
        back = np.empty(len(order), dtype=np.intp)
        back[order] = np.arange(len(order))
        return np.concatenate(found)[back] if found else np.zeros((0, self.size), dtype=np.float32)

    @property
    def size(self) -> int:
        """F, how many numbers there are of a text."""
        return len(self.features) * self.forwards.config.hidden_size * (1 if self.backwards is None else 2)

    def _some(self, texts: Sequence[NDArray[Any]]) -> Array:
        sides = [self._side(self.forwards, texts)]
        if self.backwards is not None:
            sides.append(self._side(self.backwards, [text[::-1] for text in texts]))
        return np.concatenate([side[name] for name in self.features for side in sides], axis=1)

    def _side(self, network: Network, texts: Sequence[NDArray[Any]]) -> dict[str, Array]:
        """Each feature (N, H) of texts as one network reads them."""
        H = network.config.hidden_size
        state = network.initial_state(len(texts))
        sums, highest = np.zeros((len(texts), H)), np.full((len(texts), H), -2.0, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for block in blocks(network, texts, state, max(1, NUMBERS // H), hidden):
                sums[block.columns] += block.logits.sum(axis=0, dtype=np.float64)
                highest[block.columns] = np.maximum(highest[block.columns], block.logits.max(axis=0))
        lengths = np.array([len(text) for text in texts])[:, None]
        return {"last": state[-1, 0], "mean": (sums / lengths).astype(np.float32), "max": highest}


class Judge:
    """A classifier at work: texts to probabilities of its labels."""

    def __init__(self, classifier: Classifier) -> None:
        config = classifier.config
        self.classifier, self.heard = classifier, Heard(changed={})
        self._weights = dict(classifier.weights)
        features = config.feature.split("+")
        self._reader = Reader(classifier.model, self._weights, features, bidirectional=config.bidirectional)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """How likely each label is for each of ``texts``, (N, C).

        Raises:
            CharrnnError: the network's numbers are not finite.
        """
        if not texts:
            return np.zeros((0, len(self.classifier.labels)))
        return self.decided(self.features(texts))

    def ids(self, text: str) -> NDArray[Any]:
        """A text as the network reads it."""
        vocabulary, longest = self.classifier.vocabulary, self.classifier.config.longest
        plain, changed = vocabulary.plain(text.strip())
        if self.heard.changed is not None and len(self.heard.changed) < 64:
            self.heard.changed.update(changed)
        found = marked(plain, vocabulary, longest)
        self.heard.cut += len(vocabulary.units(plain)) > longest
        return found

    def features(self, texts: Sequence[str]) -> Array:
        """What the head sees of ``texts``, (N, F)."""
        return self._reader.read([self.ids(text) for text in texts])

    def logits(self, features: Array) -> NDArray[np.float32]:
        """The head: (N, F) to (N, C), before the temperature."""
        return head(self._weights, features)

    def trace(self, text: str) -> tuple[str, NDArray[np.float64]]:
        """The characters of a text that the network reads, and what it would say if the text ended behind each, (T, C).

        Raises:
            CharrnnError: the network reads backwards too, and the text is longer than `LONGEST_TRACE`.
        """
        ids = self.ids(text)
        plain, _ = self.classifier.vocabulary.plain(text.strip())
        ends, shown = self._places(plain, len(ids) - 2)
        if self._reader.backwards is not None:
            if len(ids) > LONGEST_TRACE:
                raise CharrnnError(f"--trace reads at most {LONGEST_TRACE:,} characters where a network reads backwards")
            return shown, self.decided(self._reader.read([np.append(ids[: end + 1], ids[:1]) for end in ends]))
        return shown, self.decided(self._unrolled(ids)[ends])

    def _places(self, plain: str, symbols: int) -> tuple[list[int], str]:
        """How many symbols the network has read after each character, and the characters."""
        if self.classifier.vocabulary.level == "char":
            return list(range(1, symbols + 1)), plain[:symbols]
        ends = np.cumsum([len(character.encode("utf-8", "surrogateescape")) for character in plain])
        inside = ends[ends <= symbols].tolist()
        return inside, plain[: len(inside)]

    def _unrolled(self, ids: NDArray[Any]) -> Array:
        """The features (T + 1, F) after each beginning of a text, its last mark read behind each."""
        network = self._reader.forwards
        with np.errstate(over="ignore", invalid="ignore"):
            _, traces = network.trace(ids[:-1, None])
            state = network.states(ids[:-1], traces)  # (L, P, T + 1, H)
            _, closed = network.step(np.full(state.shape[2], ids[-1]), state)
        last, h = closed[-1, 0], traces[-1].h[:, 0]  # (T + 1, H)
        lengths = np.arange(2, len(ids) + 1)[:, None]
        found = {
            "last": last,
            "mean": ((np.cumsum(h, axis=0, dtype=np.float64) + last) / lengths).astype(np.float32),
            "max": np.maximum(np.maximum.accumulate(h, axis=0), last),
        }
        return np.concatenate([found[name] for name in self._reader.features], axis=1)

    def decided(self, features: Array) -> NDArray[np.float64]:
        """How likely each label is where the head sees ``features`` (N, F): (N, C).

        Raises:
            CharrnnError: the network's numbers are not finite.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            logits = self.logits(features)
        if not np.isfinite(logits).all():
            raise CharrnnError(f"{self.classifier.path}: its weights make numbers that are not finite")
        return softmax(logits / np.float32(self.classifier.config.temperature))


def head(weights: dict[str, NDArray[Any]], features: Array) -> NDArray[np.float32]:
    """Features (N, F) to logits (N, C) by the weights of a linear head, or of one with a hidden layer."""
    if "head.weight" in weights:
        return np.asarray(features @ weights["head.weight"].T + weights["head.bias"])
    between = np.tanh(features @ weights["head.0.weight"].T + weights["head.0.bias"])
    return np.asarray(between @ weights["head.2.weight"].T + weights["head.2.bias"])


# -- what a linear head goes by -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    """A unit that speaks for a label: its feature, the network it is in, its number, its weight, and by how much it varies."""

    feature: str
    reads: str
    unit: int
    weight: float
    spread: float


def deciding(classifier: Classifier, features: Array, count: int) -> dict[str, list[Unit]] | None:
    """For each label the ``count`` units whose weight times spread over texts is largest; None where a layer lies between.

    ``features`` (N, F) are those of some texts; a weight counts by how far it is above the labels' mean for its unit.
    """
    weights = classifier.weights.get("head.weight")
    if weights is None:
        return None
    spread, apart = features.std(axis=0), weights - weights.mean(axis=0)
    sides = ("forwards", "backwards") if classifier.config.bidirectional else ("forwards",)
    places = [(name, side) for name in classifier.config.feature.split("+") for side in sides]
    found, hidden_size = dict[str, list[Unit]](), classifier.model.hidden_size
    for number, label in enumerate(classifier.labels):
        order = np.argsort(-np.abs(apart[number] * spread), kind="stable")[:count]
        found[label] = []
        for place in order.tolist():
            (feature, side), unit = places[place // hidden_size], place % hidden_size
            found[label].append(Unit(feature, side, unit, float(apart[number, place]), float(spread[place])))
    return found


# -- how good it is -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """How well labels were guessed: ``confusion`` (C, C) counts texts by their label and by what was said of them."""

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]

    @property
    def texts(self) -> int:
        """How many there were."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share that was right."""
        return float(np.trace(self.confusion) / max(1, self.texts))

    @property
    def by_label(self) -> dict[str, dict[str, float]]:
        """Of each label that occurs or was said: precision, recall, F1 and the number of texts."""
        right, said, there = np.diag(self.confusion), self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        return {
            label: {
                "precision": float(right[n] / max(1, said[n])),
                "recall": float(right[n] / max(1, there[n])),
                "f1": float(2 * right[n] / max(1, said[n] + there[n])),
                "texts": int(there[n]),
            }
            for n, label in enumerate(self.labels)
            if said[n] or there[n]
        }

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the labels that occur or were said."""
        found = [figures["f1"] for figures in self.by_label.values()]
        return sum(found) / max(1, len(found))


def confusion(right: Iterable[int], said: Iterable[int], count: int) -> NDArray[np.int64]:
    """Counts of texts by their label and by what was said of them, (``count``, ``count``)."""
    found = np.zeros((count, count), dtype=np.int64)
    np.add.at(found, (np.fromiter(right, np.intp), np.fromiter(said, np.intp)), 1)
    return found
