"""Weights in fewer bits, and what that costs: how much worse the rounded network foresees a text.

A matrix is kept as float16, or as int8 with one float32 scale for each row (its largest weight is 127 steps). Biases, which are
few, stay float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.analysis.judge import Judge
from charrnn.generation.filters import nats_of
from charrnn.generation.generate import opening
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.classifier import Classifier

FORMS = ("int8", "float16")
"""In the order of their sizes, the smallest first."""
MOST = 0.005
"""Bits per character that a form may cost; where even float16 costs more, it is taken all the same."""
STREAM = 500
"""Characters that are read from each zero state, at most."""
_TOGETHER = 64

Ids = NDArray[Any]


@dataclass(frozen=True)
class RoundedTensor:
    """A tensor in one form: ``values`` as they are stored, and the ``scales`` of the rows where the form has them."""

    form: str
    values: NDArray[Any]
    scales: NDArray[np.float32] | None = None

    def restored(self) -> NDArray[np.float32]:
        """The float32 numbers that stand for it."""
        if self.scales is None:
            return self.values.astype(np.float32)
        return self.values.astype(np.float32) * self.scales[:, None]


def rounded(tensor: NDArray[np.float32], form: str) -> RoundedTensor:
    """``tensor`` in a form of `FORMS`; one without columns stays float32."""
    if tensor.ndim == 1:
        return RoundedTensor("float32", tensor)
    if form == "float16":
        largest = np.finfo(np.float16).max
        return RoundedTensor(form, np.clip(tensor, -largest, largest).astype(np.float16))
    scales = np.abs(tensor).max(axis=1) / np.float32(127)
    steps = tensor / np.where(scales > 0, scales, 1)[:, None]
    return RoundedTensor(form, np.clip(np.rint(steps), -127, 127).astype(np.int8), scales.astype(np.float32))


@dataclass(frozen=True)
class Rounding:
    """The form that was chosen for a network's ``tensors``.

    ``bits_per_char`` is what the network itself needs for the text, ``costs`` how much more each form of `FORMS` needs, in bits
    per character. ``characters`` were read.
    """

    form: str
    tensors: Mapping[str, RoundedTensor]
    bits_per_char: float
    costs: Mapping[str, float]
    characters: int

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The weights of the rounded network."""
        return {name: tensor.restored() for name, tensor in self.tensors.items()}


def choose(trained: Checkpoint, streams: Sequence[Ids]) -> Rounding:
    """Round the network's weights to the smallest form that costs at most `MOST` on ``streams``, each read from the zero state.

    Raises:
        CharrnnError: the network's predictions are not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        bits = bits_per_char(Network(trained.model, trained.weights), streams)
        if not math.isfinite(bits):
            raise CharrnnError(f"{trained.path}: the network predicts numbers that are not finite; there is nothing to show")
        forms = {form: {name: rounded(tensor, form) for name, tensor in trained.weights.items()} for form in FORMS}
        costs = {}
        for form, tensors in forms.items():
            restored = {name: tensor.restored() for name, tensor in tensors.items()}
            cost = bits_per_char(Network(trained.model, restored), streams) - bits
            costs[form] = cost if math.isfinite(cost) else math.inf
    chosen = next((form for form in FORMS if costs[form] <= MOST), FORMS[-1])
    return Rounding(chosen, forms[chosen], bits, costs, sum(len(stream) - 1 for stream in streams))


def bits_per_char(network: Network, streams: Sequence[Ids]) -> float:
    """What ``network`` needs for each symbol after the first of all ``streams``, in bits; each begins in the zero state."""
    nats, count = 0.0, 0
    falling = sorted(streams, key=len, reverse=True)
    for begin in range(0, len(falling), _TOGETHER):
        batch = falling[begin : begin + _TOGETHER]
        lengths = np.array([len(stream) for stream in batch])
        ids = np.zeros((lengths[0], len(batch)), dtype=np.intp)  # (T, N)
        for column, stream in enumerate(batch):
            ids[: len(stream), column] = stream
        step = network.stepper(network.initial_state(len(batch)))
        for t in range(lengths[0] - 1):
            going_on = int(np.count_nonzero(lengths > t + 1))
            nats += float(nats_of(step(ids[t])[:going_on], ids[t + 1, :going_on]).sum())
            count += going_on
    return nats / math.log(2) / max(count, 1)


def streams_of(ids: Ids, trained: Checkpoint, *, records: bool = False) -> list[Ids]:
    """A text cut into what is read from the zero state: `STREAM` characters each, or its lines where they are ``records``."""
    first = opening(trained.vocabulary).astype(np.intp)
    if not records:
        pieces: Iterable[Ids] = (ids[begin : begin + STREAM] for begin in range(0, len(ids), STREAM))
    else:
        newline = int(trained.vocabulary.encode("\n")[0])
        ends = np.flatnonzero(ids == newline) + 1
        pieces = (line for line in np.split(ids, ends) if len(line) > 1)
    return [np.concatenate([first, piece[:STREAM]]) for piece in pieces]


# -- classifiers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnswerCost:
    """What a form costs: how far the probabilities of answers are ``moved`` in the mean, and how many answers ``changed``."""

    moved: float
    changed: int


@dataclass(frozen=True)
class RoundedClassifier:
    """The form that was chosen for a classifier's ``tensors``, and what each costs; nothing where no texts were read."""

    form: str
    tensors: Mapping[str, RoundedTensor]
    costs: Mapping[str, AnswerCost]


def choose_for_answers(found: Classifier, texts: Sequence[str]) -> RoundedClassifier:
    """Round a classifier's weights to the smallest form that moves the probabilities of its answers to ``texts`` by at most
    `MOST`; to float16 where there are no texts to tell.
    """
    forms = {form: {name: rounded(tensor, form) for name, tensor in found.weights.items()} for form in FORMS}
    if not texts:
        return RoundedClassifier(FORMS[-1], forms[FORMS[-1]], {})
    before = Judge(found).probabilities(texts)  # (N, C)
    answers, rows, costs = before.argmax(axis=1), np.arange(len(texts)), {}
    for form, tensors in forms.items():
        restored = {name: tensor.restored() for name, tensor in tensors.items()}
        after = Judge(replace(found, weights=restored)).probabilities(texts)
        moved = float(np.abs(after[rows, answers] - before[rows, answers]).mean())
        costs[form] = AnswerCost(moved, int(np.count_nonzero(after.argmax(axis=1) != answers)))
    chosen = next((form for form in FORMS if costs[form].moved <= MOST), FORMS[-1])
    return RoundedClassifier(chosen, forms[chosen], costs)
