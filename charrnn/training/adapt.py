"""Dynamic evaluation (Krause et al. 2018): a network whose weights follow the text that it reads.

It foresees `CHUNK` characters, then takes one step down the gradient of what they cost, and only then reads on: no prediction
knows anything of the characters that it is about. A step divides the gradient of each row of weights by its root mean square
in training, as far as the network's file holds that, and over the text so far; and it draws the row back to where training left
it, the more the larger that is.

Shapes: N texts side by side, T characters, V symbols.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from charrnn.analysis.scoring import Foreseen, Scorer, whole_lines
from charrnn.network.cells import Array
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.columns import Figures, rejoined
from charrnn.network.ensemble import calibrated
from charrnn.training import device
from charrnn.training.model import CharRNN

CHUNK = 64
"""Characters between two steps."""
LONG = CHUNK * 3 // 2
"""Longer lines are learned in parts of about `CHUNK` characters."""
IGNORED = -100
"""In the place of a character from which nothing is learned."""
SMALLEST = 1e-3
"""What is added to a row's root mean square, as a share of the mean one: a row that is all but never used stays where it is."""


@dataclass(frozen=True)
class Adaptation:
    """How fast weights follow a text."""

    rate: float = 1e-3
    """How far a weight goes in a step whose gradient is its row's root mean square."""
    decay: float = 2e-3
    """The share of the way back to the trained weights that a row of the mean root mean square goes in a step."""
    memory: float = 0.99
    """How much of the mean square over the text so far is kept in a step, at most."""
    prior: float = 200.0
    """For how many steps over the text the root mean squares of training count, where the network's file holds them."""


class Adapter:
    """A network that learns from what it has read; the same text always leads to the same weights, bit for bit."""

    def __init__(self, trained: Checkpoint, adaptation: Adaptation | None = None) -> None:
        device.prepare(torch.device("cpu"), "fp32")
        self._model = CharRNN(trained.model)
        self._trained, self._adaptation, self._unknown = trained, adaptation or Adaptation(), trained.vocabulary.unknown
        self._parameters = list(self._model.weights().values())
        self._in_training = [_rms_in_training(trained, name) for name in self._model.weights()]
        self.restart()

    def restart(self) -> None:
        """Go back to the trained weights, and forget how large gradients were."""
        self._model.load(self._trained.weights)
        self._origins = [parameter.detach().clone() for parameter in self._parameters]
        self._squares = [torch.zeros_like(_square_of_rows(parameter.detach())) for parameter in self._parameters]
        self.steps = 0
        """How many steps the weights have followed."""

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the weights as they are now."""
        return self._model.export()

    def initial_state(self, texts: int) -> Tensor:
        """The zero state of so many texts, (L, P, N, H)."""
        return self._model.initial_state(texts)

    def read(self, ids: NDArray[Any], state: Tensor, *, learn: bool = True) -> tuple[Array, Tensor]:
        """Foresee the ids (N, T + 1) after the first of each text, then ``learn`` from them; -1 stands behind a text's end.

        Returns:
            The logits (N, T, V) in the places of all ids but the first, and the state (L, P, N, H) before the last is read.
        """
        symbols = torch.from_numpy(ids.astype(np.int64))
        with _one_thread():
            logits, after = self._model(symbols[:, :-1].clamp(min=0), state)
            targets = symbols[:, 1:]
            nothing = targets < 0
            if self._unknown is not None:  # What stands for any stranger says nothing of what comes.
                nothing = nothing | (targets == self._unknown)
            if learn and not nothing.all():
                known = targets.masked_fill(nothing, IGNORED)
                loss = functional.cross_entropy(logits.flatten(0, 1), known.flatten(), ignore_index=IGNORED)
                self._step(torch.autograd.grad(loss, self._parameters))
        foreseen: Array = logits.detach().numpy()
        return foreseen, after.detach()

    @torch.no_grad()
    def _step(self, gradients: Sequence[Tensor]) -> None:
        """Let the weights follow the ``gradients`` of one chunk."""
        how = self._adaptation
        self.steps += 1
        kept = min(how.memory, 1 - 1 / self.steps)
        for square, gradient in zip(self._squares, gradients, strict=True):
            square.mul_(kept).add_(_square_of_rows(gradient), alpha=1 - kept)
        sizes = self._sizes()
        spread = (size.sum() * (own.numel() / size.numel()) for size, own in zip(sizes, self._parameters, strict=True))
        mean = float(sum(spread, start=torch.zeros(()))) / self._trained.model.parameters
        if not 0 < mean < math.inf:  # Nothing to learn, or absurd weights, which whoever adds up the figures reports.
            return
        for parameter, gradient, size, origin in zip(self._parameters, gradients, sizes, self._origins, strict=True):
            parameter.addcdiv_(gradient, size + SMALLEST * mean, value=-how.rate)
            parameter.lerp_(origin, (size * (how.decay / mean)).clamp_(max=1))

    def _sizes(self) -> list[Tensor]:
        """The root mean square of each row over the text so far and, as far as that is short, in training.

        A chunk of the text is shorter than a batch, so its gradients are larger; how much is learned from the text.
        """
        how, here = self._adaptation, [square.sqrt() for square in self._squares]
        both = [(size, known) for size, known in zip(here, self._in_training, strict=True) if known is not None]
        there = sum(float(known.sum()) for _, known in both)
        if not there or not how.prior:
            return here
        larger = sum(float(size.sum()) for size, _ in both) / there
        share = how.prior / (how.prior + min(self.steps, 1 / (1 - how.memory)))
        return [
            size if known is None else (square * (1 - share) + (known * larger).square() * share).sqrt()
            for size, known, square in zip(here, self._in_training, self._squares, strict=True)
        ]


def _rms_in_training(trained: Checkpoint, name: str) -> Tensor | None:
    """What the network's file says of the rows of a matrix, (M, 1); None where it says nothing."""
    found = trained.row_rms.get(name)
    return None if found is None else torch.from_numpy(np.abs(found))[:, None]


def _square_of_rows(values: Tensor) -> Tensor:
    """The mean square of each row of a matrix, (M, 1); of a vector that of each number."""
    if values.ndim == 1:
        return values.square()
    norms: Tensor = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    return norms.square_() / values.shape[1]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: one stream gains nothing from more, and sums are then the same everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass
class _Line:
    """A line that waits for its batch: its code points as given and as read, its ids, how many were mapped, its place."""

    source: NDArray[Any]
    codes: NDArray[Any]
    ids: NDArray[Any]
    mapped: int
    last: bool
    foreseen: bool = False


class AdaptingScorer(Scorer):
    """Reads texts with a network that learns from them as it goes, each from the trained weights.

    The characters that a prediction is about don't come into it, nor do any after them.
    """

    def __init__(self, trained: Checkpoint, *, details: bool = False, adaptation: Adaptation | None = None) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            network = calibrated(trained)
        super().__init__(network, trained.vocabulary, seen=trained.characters, details=details)
        self.adapter = Adapter(trained, adaptation)

    def pieces(
        self, blocks: Iterable[NDArray[Any]], *, window: int | None = None, by_line: bool = False, exact: bool = False
    ) -> Iterator[Foreseen]:
        """Score a text line by line or as one stream, beginning with the trained weights."""
        self.adapter.restart()
        return super().pieces(blocks, by_line=by_line)

    def carried(self, blocks: Iterable[NDArray[Any]], *, exact: bool = True) -> Iterator[Foreseen]:
        """Score one text, the state carried from its beginning to its end: a piece for each `CHUNK`."""
        self.reader.seam = None  # It is one stream.
        state, last = self.adapter.initial_state(1), self._opening
        for codes in rejoined(self._normalized(blocks), CHUNK):
            read = np.concatenate([last, self._ids(codes)])
            logits, state = self.adapter.read(read[None], state)
            yield self._piece(codes, read[1:], [self._figures(logits[0], read[1:])])
            last = read[-1:]

    def lines(self, blocks: Iterable[NDArray[Any]]) -> Iterator[Foreseen]:
        """Score each line by itself from the zero state, while the weights go on from line to line.

        Lines are learned together as soon as they come to `CHUNK` characters; a longer one by itself, in parts. Each comes out
        before the next block is read, whether its batch is whole or not.
        """
        waiting: list[_Line] = []
        for lines in whole_lines(blocks):
            for number, given in enumerate(lines, 1):
                codes, mapped = self._normal(given)
                line = _Line(given, codes, self._ids(codes), mapped, last=number == len(lines))
                if len(codes) > LONG:
                    yield from self._batch(waiting)
                    waiting = []
                    yield self._long(line)
                    continue
                waiting.append(line)
                if sum(len(one.codes) for one in waiting) >= CHUNK:
                    yield from self._batch(waiting)
                    waiting = []
            yield from self._batch(waiting, learn=False)
        yield from self._batch(waiting)

    def _batch(self, lines: Sequence[_Line], *, learn: bool = True) -> Iterator[Foreseen]:
        """Read ``lines`` side by side; those come out that haven't yet."""
        if not lines or (not learn and all(line.foreseen for line in lines)):
            return
        read = np.full((len(lines), 1 + max(len(line.ids) for line in lines)), -1, dtype=np.int64)
        read[:, 0] = self._opening[0]
        for row, line in zip(read, lines, strict=True):
            row[1 : len(line.ids) + 1] = line.ids
        logits, _ = self.adapter.read(read, self.adapter.initial_state(len(lines)), learn=learn)
        for own, line in zip(logits, lines, strict=True):
            if not line.foreseen:
                line.foreseen = True
                yield self._of(line, [self._figures(own[: len(line.ids)], line.ids)])

    def _long(self, line: _Line) -> Foreseen:
        """Read a line that is learned in parts."""
        state, last, found = self.adapter.initial_state(1), self._opening, list[Figures]()
        for ids in np.array_split(line.ids, round(len(line.ids) / CHUNK)):
            read = np.concatenate([last, ids])
            logits, state = self.adapter.read(read[None], state)
            found.append(self._figures(logits[0], ids))
            last = read[-1:]
        return self._of(line, found)

    def _of(self, line: _Line, found: Sequence[Figures]) -> Foreseen:
        piece = self._joined(line.codes, line.ids, found, line.mapped)
        piece.source, piece.last = line.source, line.last
        return piece

    def _figures(self, logits: Array, ids: NDArray[Any]) -> Figures:
        """What is kept of ids (T,) that came in the place of the network's own logits (T, V)."""
        with np.errstate(over="ignore", invalid="ignore"):
            calibrated = logits if self._network.temperature == 1 else logits / np.float32(self._network.temperature)
            return [figure[:, 0] for figure in self._see(calibrated[:, None], ids[:, None].astype(np.intp))]
