"""Text from a network, as ids: reading a prompt, one endless stream, and many texts drawn together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.drawing import BatchSampler, Sampler
from charrnn.generation.filters import Logits
from charrnn.generation.stopping import Ending, Watch
from charrnn.network.cells import Array
from charrnn.network.ensemble import Predictor
from charrnn.network.stepper import Step
from charrnn.text.vocabulary import Vocabulary, id_dtype


class Steps(Protocol):
    """A network that takes one symbol per stream and step, as `charrnn.network.cells.Network` does."""

    def stepper(self, state: Array, /) -> Step:
        """A function from ids (N,) to logits (N, V) that starts at ``state`` (L, P, N, H)."""


def opening(vocabulary: Vocabulary) -> NDArray[Any]:
    """The ids (1,) that a network reads before a text without a prompt, so that the text starts as a line does.

    A newline; a space if there is none; else the vocabulary's first symbol.
    """
    known = vocabulary.characters if vocabulary.level == "char" else "\n"
    return vocabulary.encode(next((character for character in "\n " if character in known), known[:1]))


def prime(network: Predictor, ids: NDArray[Any]) -> tuple[Array, Array]:
    """Read ids (T,) from the zero state: the logits (V,) after the last one, and the state (L, P, 1, H)."""
    state = network.initial_state(1)
    logits = np.zeros(network.vocab_size, dtype=np.float32)
    return read(network, ids, logits, state), state


def read(network: Predictor, ids: NDArray[Any], logits: Array, state: Array) -> Array:
    """Read ids (T,) from ``state`` (L, P, 1, H), which advances in place: the logits (V,) after the last id.

    Without ids these are ``logits``, those before them.
    """
    step = network.stepper(state)
    for index in ids:
        logits = step(np.array([index]))[0]
    return logits


def generate(network: Predictor, logits: Logits, state: Array, sampler: Sampler) -> Iterator[int]:
    """Draw ids without end from ``logits`` (V,) and ``state`` (L, P, 1, H) on; the state advances in place."""
    step = network.stepper(state)
    ids = np.zeros(1, dtype=np.intp)
    while True:
        ids[0] = sampler.draw(logits)
        yield int(ids[0])
        logits = step(ids)[0]


@dataclass(frozen=True)
class Completion:
    """One text of `complete`: its ids (T,), why it ended, which stop text ended it, and its ``bits`` in all if measured."""

    ids: NDArray[Any]
    reason: str
    stop: int | None = None
    bits: float | None = None


def complete(
    network: Steps, logits: Logits, state: Array, sampler: BatchSampler, ending: Ending, *, shrink: bool = True
) -> list[Completion]:
    """Draw N texts together, each until ``ending``, from ``logits`` (N, V) and ``state`` (L, P, N, H), which is overwritten.

    With ``shrink``, texts that have ended leave the batch whenever they are half of it or more.
    """
    N, watch, step = len(logits), Watch(ending, len(logits)), network.stepper(state)
    if ending.length == 0:
        return [Completion(np.zeros(0, dtype=np.intp), "length", bits=0.0)] * N
    streams, live = np.arange(N), np.ones(N, dtype=np.bool_)  # Which text each stream is, and whether it goes on.
    drawn = list[NDArray[Any]]()
    measure = None if sampler.bits is None else Measure(N, ending.held_back)
    ends: dict[int, tuple[int, str, int | None, float | None]] = {}
    while True:
        ids = sampler.draw(logits)
        drawn.append(np.zeros(N, dtype=id_dtype(logits.shape[-1])))
        drawn[-1][streams] = ids
        if measure is not None and sampler.bits is not None:
            measure.add(streams, sampler.bits.popleft())
        for stream, (reason, stop) in watch.ended(ids).items():
            if live[stream]:
                live[stream] = False
                text, dropped = int(streams[stream]), ending.dropped(stop)
                bits = None if measure is None else measure.without(text, dropped)
                ends[text] = len(drawn) - dropped, reason, stop, bits
        left = np.flatnonzero(live)
        if not len(left):
            break
        if shrink and 2 * len(left) <= len(live):
            streams, live, ids = streams[left], live[left], ids[left]
            sampler.keep(left)
            watch.keep(left)
            state = np.ascontiguousarray(state[:, :, left])
            step = network.stepper(state)
        logits = step(ids)
    ids = np.stack(drawn, axis=1)  # (N, T)
    return [Completion(ids[text, :count], reason, stop, bits) for text, (count, reason, stop, bits) in sorted(ends.items())]


class Measure:
    """The bits of N texts that grow together: their sums, and apart from them those of the last symbols, which a stop text may
    take with it.
    """

    def __init__(self, texts: int, held_back: int) -> None:
        self._sums, self._held_back = np.zeros(texts), held_back
        self._late: deque[NDArray[np.float64]] = deque()

    def add(self, texts: NDArray[np.intp], bits: NDArray[np.float64]) -> None:
        """Add the ``bits`` of one symbol of each of ``texts``."""
        row = np.zeros(len(self._sums))
        row[texts] = bits
        self._late.append(row)
        if len(self._late) > self._held_back:
            self._sums += self._late.popleft()

    def without(self, text: int, dropped: int) -> float:
        """The bits of ``text`` without those of its last ``dropped`` symbols."""
        kept = islice(self._late, len(self._late) - dropped)
        return float(self._sums[text]) + sum(float(row[text]) for row in kept)
