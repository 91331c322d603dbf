"""From logits to characters: draws, and generation as an iterator of ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn import filters
from charrnn.cells import Array, Network
from charrnn.filters import Logits
from charrnn.stopping import Ending, Watch
from charrnn.vocabulary import Vocabulary, id_dtype

REPETITION_WINDOW = 64
Step = Callable[[NDArray[Any]], Logits]

UNIFORMS = 256
"""Random numbers come in blocks of so many: the same as one by one, and far cheaper."""


def generator(seed: int, index: int = 0, drawn: int = 0) -> np.random.Generator:
    """The random numbers of sample ``index`` under ``seed``, after its first ``drawn``; the same alone and among others."""
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(index,)))
    return np.random.Generator(bits.advance(drawn) if drawn else bits)


@dataclass(frozen=True)
class Drawing:
    """How logits become the distribution that is drawn from, in this order: repetition penalty, bias, temperature, top-k,
    typical, top-p, min-p (`charrnn.filters`).

    Temperature 0 takes the likeliest symbol and draws nothing. With ``temperature_end`` the temperature goes there in a
    straight line over ``length`` draws. ``bias`` (V,) is added; ``banned`` is never drawn. What is None costs nothing.
    """

    temperature: float = 0.8
    temperature_end: float | None = None
    length: int = 0
    top_k: int | None = None
    typical: float | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    repetition_window: int = REPETITION_WINDOW
    bias: NDArray[Any] | None = None
    banned: int | None = None

    def filters(self) -> list[Callable[[Logits], Logits]]:
        """Those that follow the temperature."""
        asked: list[tuple[Callable[[Logits, Any], Logits], str, Any]] = [
            (filters.keep_top_k, "k", self.top_k),
            (filters.keep_typical, "p", self.typical),
            (filters.keep_top_p, "p", self.top_p),
            (filters.keep_min_p, "p", self.min_p),
        ]
        return [partial(keep, **{name: value}) for keep, name, value in asked if value is not None]

    def temperature_at(self, position: int) -> float:
        """The temperature of draw ``position``, counted from 0."""
        if self.temperature_end is None:
            return self.temperature
        share = min(position / max(self.length - 1, 1), 1.0)
        return (1 - share) * self.temperature + share * self.temperature_end


class _Shaping:
    """What samplers of one stream and of many share: from logits (..., V) to unnormalised log-probabilities.

    With ``measured``, ``bits`` holds the information of each drawn symbol under the network's own distribution, -log2 p.
    """

    def __init__(self, streams: tuple[int, ...], settings: dict[str, Any], *, measured: bool) -> None:
        self._drawing = drawing = Drawing(**settings)
        # A plain index, where there is one stream, is set in a tenth of the time of one with an ellipsis.
        self._banned = (slice(None), drawing.banned) if streams else drawing.banned
        self._filters = drawing.filters()
        self._early = drawing.repetition_penalty is not None or drawing.bias is not None
        self._greedy = drawing.temperature == 0 and not drawing.temperature_end
        self._scheduled = drawing.temperature_end is not None
        self._temperature = max(drawing.temperature, 1e-290)  # Dividing by less overflows.
        # The last ids of every stream; -1 is none.
        window = 0 if drawing.repetition_penalty is None else drawing.repetition_window
        self._recent = np.full((window, *streams), -1, dtype=np.intp)
        self._rows = tuple(np.arange(size) for size in streams)
        self._read = 0
        self.drawn = 0
        self.bits: list[Any] | None = [] if measured else None

    def read(self, ids: NDArray[Any]) -> None:
        """Take ids (T,), or (T, N) for N streams, -1 for none, as what was read so far; a repetition penalty counts them."""
        if len(self._recent):
            for row in ids[-len(self._recent) :]:
                self._recent[self._read % len(self._recent)] = row
                self._read += 1

    def _scores(self, logits: Logits) -> NDArray[np.float64]:
        scores = logits.astype(np.float64)
        if self._drawing.banned is not None:
            scores[self._banned] = -np.inf
        if self._early:
            if len(self._recent):
                # The column of -1 is the one behind the last symbol's.
                repeated = np.zeros((*scores.shape[:-1], scores.shape[-1] + 1), dtype=np.bool_)
                repeated[(*self._rows, self._recent)] = True
                scores = filters.penalize_repetition(scores, repeated[..., :-1], self._drawing.repetition_penalty or 1.0)
            if self._drawing.bias is not None:
                scores = filters.add_bias(scores, self._drawing.bias)
        return scores

    def _tempered(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """``scores``, whose maximum is 0 so that a tiny temperature gives -inf and not inf, after temperature and filters."""
        if self._scheduled:
            self._temperature = max(self._drawing.temperature_at(self.drawn), 1e-290)
        scores = filters.apply_temperature(scores, self._temperature)
        for keep in self._filters:
            scores = keep(scores)
        return scores

    def _took(self, logits: Logits, ids: Any) -> None:
        self.drawn += 1
        if self.bits is not None:
            self.bits.append(information(logits, ids))
        if len(self._recent):
            self._recent[self._read % len(self._recent)] = ids
            self._read += 1


class Sampler(_Shaping):
    """Draws one id from the logits of one step, as the settings of a `Drawing` say, by the inverse of the CDF."""

    def __init__(self, rng: np.random.Generator, *, measured: bool = False, **settings: Any) -> None:
        super().__init__((), settings, measured=measured)
        self._rng = rng
        self._uniforms: list[float] = []

    def draw(self, logits: Logits) -> int:
        """An id drawn from ``logits`` (V,), which are left alone."""
        scores = self._scores(logits)
        if self._greedy or scores.size == 1:
            drawn = int(scores.argmax())
        else:
            scores = self._tempered(scores - scores[scores.argmax()])
            np.exp(scores, scores)
            np.add.accumulate(scores, out=scores)
            if not self._uniforms:
                self._uniforms = self._rng.random(UNIFORMS).tolist()[::-1]
            drawn = int(scores.searchsorted(self._uniforms.pop() * scores[-1], side="right"))
            drawn = min(drawn, scores.size - 1)  # Logits that are no numbers sort behind everything.
        self._took(logits, drawn)
        return drawn


class BatchSampler(_Shaping):
    """Draws one id for each of N streams; stream n has the n-th generator and draws what a `Sampler` with it would."""

    def __init__(self, rngs: Sequence[np.random.Generator], *, measured: bool = False, **settings: Any) -> None:
        super().__init__((len(rngs),), settings, measured=measured)
        self._rngs = list(rngs)
        self._uniforms = np.empty((len(rngs), UNIFORMS))

    def draw(self, logits: Logits) -> NDArray[Any]:
        """Ids (N,) drawn from ``logits`` (N, V), which are left alone."""
        scores = self._scores(logits)
        if self._greedy or scores.shape[-1] == 1:
            drawn = scores.argmax(axis=-1)
        else:
            scores = self._tempered(scores - scores.max(axis=-1, keepdims=True))
            np.exp(scores, out=scores)
            np.cumsum(scores, axis=-1, out=scores)
            column = self.drawn % UNIFORMS
            if column == 0:
                for row, rng in zip(self._uniforms, self._rngs, strict=True):
                    rng.random(out=row)
            aims = self._uniforms[:, column, None] * scores[:, -1:]
            drawn = np.minimum((scores <= aims).sum(axis=-1), scores.shape[-1] - 1)
        ids: NDArray[Any] = drawn
        self._took(logits, ids)
        return ids

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Go on with the streams of these ``rows`` only."""
        self._rngs = [self._rngs[row] for row in rows]
        self._uniforms, self._recent = self._uniforms[rows], self._recent[:, rows]
        self._rows = (np.arange(len(rows)),)


def information(logits: Logits, ids: Any) -> Any:
    """The bits of ``ids`` (...) under ``logits`` (..., V), -log2 p: a float for one stream, an array for many."""
    scores = np.asarray(logits, dtype=np.float64)
    scores = scores - scores.max(axis=-1, keepdims=True)
    nats = np.log(np.exp(scores).sum(axis=-1))
    chosen = scores[ids] if scores.ndim == 1 else scores[np.arange(len(scores)), ids]
    bits = (nats - chosen) / np.log(2.0)
    return float(bits) if scores.ndim == 1 else bits


def opening(vocabulary: Vocabulary) -> NDArray[Any]:
    """What a network reads before a text without a prompt, so that it starts as a line does: a newline, else a space,
    else the first symbol; ids (1,).
    """
    known = vocabulary.characters if vocabulary.level == "char" else "\n"
    return vocabulary.encode(next((character for character in "\n " if character in known), known[:1]))


def prime(network: Network, ids: NDArray[Any]) -> tuple[Array, Array]:
    """Read ids (T,) from the zero state: the logits (V,) after the last one and the state (L, P, 1, H)."""
    state = network.initial_state(1)
    logits = np.zeros(network.config.vocab_size, dtype=np.float32)
    return read(network, ids, logits, state), state


def read(network: Network, ids: NDArray[Any], logits: Array, state: Array) -> Array:
    """Read ids (T,) from ``state`` (L, P, 1, H), which advances in place: the logits (V,) after the last one."""
    step = network.stepper(state)
    for index in ids:
        logits = step(np.array([index]))[0]
    return logits


def generate(network: Network, logits: Logits, state: Array, sampler: Sampler) -> Iterator[int]:
    """Draw ids without end, starting from ``logits`` (V,) and ``state`` (L, P, 1, H), which advances in place."""
    step = network.stepper(state)
    ids = np.zeros(1, dtype=np.intp)
    while True:
        ids[0] = sampler.draw(logits)
        yield int(ids[0])
        logits = step(ids)[0]


@dataclass(frozen=True)
class Completion:
    """One text of `complete`: its ids (T,), why it ended (and at which stop text), and the bits of each id if measured."""

    ids: NDArray[Any]
    reason: str
    stop: int | None = None
    bits: NDArray[np.float64] | None = None


class Steps(Protocol):
    """A network that is fed one symbol per stream, as `charrnn.cells.Network` is."""

    def stepper(self, state: Array, /) -> Step:
        """A function of ids (N,) that gives logits (N, V) from ``state`` (L, P, N, H) on."""


def complete(
    network: Steps, logits: Logits, state: Array, sampler: BatchSampler, ending: Ending, *, shrink: bool = True
) -> list[Completion]:
    """Draw N texts together, each until ``ending``, from ``logits`` (N, V) and ``state`` (L, P, N, H), which is used up.

    Texts that have ended leave the products when half of them have, unless not to ``shrink``.
    """
    N, watch, step = len(logits), Watch(ending, len(logits)), network.stepper(state)
    if ending.length == 0:
        return [Completion(np.zeros(0, dtype=np.intp), "length", bits=np.zeros(0))] * N
    streams, live = np.arange(N), np.ones(N, dtype=np.bool_)  # Which text each stream is, and whether it goes on.
    drawn, bits = list[NDArray[Any]](), list[NDArray[np.float64]]()
    ends: dict[int, tuple[int, str, int | None]] = {}
    while True:
        ids = sampler.draw(logits)
        drawn.append(np.zeros(N, dtype=id_dtype(logits.shape[-1])))
        drawn[-1][streams] = ids
        if sampler.bits is not None:
            bits.append(np.zeros(N))
            bits[-1][streams] = sampler.bits.pop()
        for stream, (reason, stop) in watch.ended(ids).items():
            if live[stream]:
                live[stream] = False
                ends[int(streams[stream])] = len(drawn) - ending.dropped(stop), reason, stop
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
    all_ids, all_bits = np.stack(drawn, axis=1), np.stack(bits, axis=1) if bits else None
    return [
        Completion(all_ids[text, :count], reason, stop, None if all_bits is None else all_bits[text, :count])
        for text, (count, reason, stop) in sorted(ends.items())
    ]
