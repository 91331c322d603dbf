"""From the logits of one step to the next id: the settings of a draw, and samplers for one stream and for many."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import SampleConfig
from charrnn.generation import filters
from charrnn.generation.filters import Logits

UNIFORMS = 256
"""How many random numbers are drawn at a time: a block holds the same numbers as single calls, at a fraction of the cost."""

LOWEST_TEMPERATURE = 1e-290
"""Dividing by anything smaller overflows."""
HIGHEST_TEMPERATURE = 1e308
"""The highest that a calibration makes of any."""


def generator(seed: int, index: int = 0, drawn: int = 0) -> np.random.Generator:
    """The random numbers of sample ``index`` under ``seed``, from number ``drawn`` on; they don't depend on other samples."""
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(index,)))
    return np.random.Generator(bits.advance(drawn) if drawn else bits)


@dataclass(frozen=True)
class Drawing:
    """How logits become the distribution that is drawn from.

    The steps run in this order: repetition penalty, bias, temperature, top-k, typical, top-p, min-p (see `filters`). A
    setting that is None is off and takes no time. Temperature 0 picks the likeliest symbol and uses no random number.
    With ``temperature_end`` the temperature changes in a straight line over ``length`` draws. ``bias`` (V,) is added to the
    logits; the id ``banned`` is never drawn. ``calibration`` is what logits are to be divided by to be those of the network's
    own distribution: it multiplies the temperature.
    """

    temperature: float = SampleConfig.temperature
    temperature_end: float | None = None
    length: int = 0
    top_k: int | None = None
    typical: float | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    repetition_window: int = SampleConfig.repetition_window
    bias: NDArray[Any] | None = None
    banned: int | None = None
    calibration: float = 1.0

    def filters(self) -> list[Callable[[Logits], Logits]]:
        """The filters after the temperature, in order."""
        chosen: list[Callable[[Logits], Logits]] = []
        if self.top_k is not None:
            chosen.append(partial(filters.keep_top_k, k=self.top_k))
        if self.typical is not None:
            chosen.append(partial(filters.keep_typical, p=self.typical))
        if self.top_p is not None:
            chosen.append(partial(filters.keep_top_p, p=self.top_p))
        if self.min_p is not None:
            chosen.append(partial(filters.keep_min_p, p=self.min_p))
        return chosen

    def temperature_at(self, position: Any) -> Any:
        """What the logits of draw ``position``, counted from 0, are divided by; of many positions, of each."""
        temperature: Any = self.temperature
        if self.temperature_end is not None:
            share = np.minimum(position / max(self.length - 1, 1), 1.0)
            temperature = (1 - share) * self.temperature + share * self.temperature_end
        return np.clip(temperature * self.calibration, LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE)


class _Shaping:
    """What the samplers of one stream and of many share: from logits (..., V) to unnormalised log-probabilities.

    If ``measured``, ``bits`` holds the information of each drawn symbol under the network's own distribution, -log2 p, until
    it is taken from there.
    """

    def __init__(self, streams: tuple[int, ...], drawing: Drawing, *, measured: bool) -> None:
        """``streams`` is the shape of the ids of one draw: () for one stream, (N,) for N."""
        self._drawing = drawing
        # For one stream a plain index: it assigns ten times as fast as one with an ellipsis.
        self._banned = (slice(None), drawing.banned) if streams else drawing.banned
        self._filters = drawing.filters()
        self._early = drawing.repetition_penalty is not None or drawing.bias is not None
        self._greedy = drawing.temperature == 0 and not drawing.temperature_end
        self._scheduled = drawing.temperature_end is not None
        self._temperature = drawing.temperature_at(0)
        # The last ids of every stream (window, ...), as a ring; -1 where there is none yet.
        window = 0 if drawing.repetition_penalty is None else drawing.repetition_window
        self._recent = np.full((window, *streams), -1, dtype=np.intp)
        self._rows = tuple(np.arange(size) for size in streams)
        self._read = 0
        self.drawn: Any = np.zeros(streams, dtype=np.intp) if streams else 0
        """How many symbols were drawn, of each stream where there are many."""
        self.bits: deque[Any] | None = deque() if measured else None

    def read(self, ids: NDArray[Any]) -> None:
        """Count ids (T,), or (T, N) for N streams, as text before the draws, for the repetition penalty; -1 is no id."""
        if len(self._recent):
            for row in ids[-len(self._recent) :]:
                self._remember(row)

    def _remember(self, ids: Any) -> None:
        self._recent[self._read % len(self._recent)] = ids
        self._read += 1

    def _scores(self, logits: Logits) -> NDArray[np.float64]:
        """A copy of ``logits`` in float64 after everything that comes before the temperature."""
        scores = logits.astype(np.float64)
        if self._drawing.banned is not None:
            scores[self._banned] = -np.inf
        if self._early:
            if len(self._recent):
                # An id of -1 marks the extra last column, which is dropped.
                repeated = np.zeros((*scores.shape[:-1], scores.shape[-1] + 1), dtype=np.bool_)
                repeated[(*self._rows, self._recent)] = True
                scores = filters.penalize_repetition(scores, repeated[..., :-1], self._drawing.repetition_penalty or 1.0)
            if self._drawing.bias is not None:
                scores = filters.add_bias(scores, self._drawing.bias)
        return scores

    def _settled(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """``scores`` that leave something to draw where numbers that are not finite left nothing; their maximum is 0.

        What is infinitely likely is alone; NaN is never drawn; where nothing is left, everything that isn't banned is alike.
        """
        allowed = np.ones(scores.shape[-1], dtype=np.bool_) if self._drawing.bias is None else self._drawing.bias > -np.inf
        if self._drawing.banned is not None:
            allowed[self._drawing.banned] = False
        scores = np.where(np.isnan(scores), -np.inf, scores)
        most = scores.max(axis=-1, keepdims=True)
        alike = np.where(np.isposinf(most), np.isposinf(scores), allowed)
        return np.where(np.isinf(most), np.where(alike, 0.0, -np.inf), scores - np.where(np.isinf(most), 0.0, most))

    def _summed(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The cumulative distribution, unnormalised, of ``scores`` whose maximum is 0; they are overwritten."""
        scores = self._tempered(scores)
        np.exp(scores, scores)
        return np.add.accumulate(scores, -1, None, scores)

    def _tempered(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """``scores`` after temperature and filters. Their maximum must be 0, so that a tiny temperature gives no inf."""
        if self._scheduled:
            self._temperature = self._drawing.temperature_at(self.drawn)[..., None]
        scores = filters.apply_temperature(scores, self._temperature)
        for keep in self._filters:
            scores = keep(scores)
        return scores

    def _took(self, logits: Logits, ids: Any) -> None:
        """Record that ``ids`` were drawn from ``logits``."""
        self.drawn = self.drawn + 1
        if self.bits is not None:
            calibration = self._drawing.calibration
            self.bits.append(information(logits if calibration == 1 else logits / calibration, ids))
        if len(self._recent):
            self._remember(ids)


class Sampler(_Shaping):
    """Draws one id per step for one stream, by inverting the cumulative distribution."""

    def __init__(self, rng: np.random.Generator, drawing: Drawing, *, measured: bool = False) -> None:
        super().__init__((), drawing, measured=measured)
        self._rng = rng
        self._uniforms: list[float] = []

    def draw(self, logits: Logits) -> int:
        """An id drawn from ``logits`` (V,), which stay unchanged."""
        scores = self._scores(logits)
        if self._greedy or scores.size == 1:
            drawn = int(scores.argmax())
            if not scores[drawn] > -np.inf:
                drawn = int(self._settled(scores).argmax())
        else:
            sums = self._summed(scores - scores[scores.argmax()])
            if not sums[-1] > 0:
                sums = self._summed(self._settled(scores))
            if not self._uniforms:
                self._uniforms = self._rng.random(UNIFORMS).tolist()[::-1]
            drawn = int(sums.searchsorted(self._uniforms.pop() * sums[-1], side="right"))
        self._took(logits, drawn)
        return drawn


class BatchSampler(_Shaping):
    """Draws one id per step for each of N streams; stream n uses generator n and draws what a `Sampler` with it would."""

    def __init__(self, rngs: Sequence[np.random.Generator], drawing: Drawing, *, measured: bool = False) -> None:
        super().__init__((len(rngs),), drawing, measured=measured)
        self._rngs = list(rngs)
        self._uniforms = np.empty((len(rngs), UNIFORMS))

    def draw(self, logits: Logits) -> NDArray[Any]:
        """Ids (N,) drawn from ``logits`` (N, V), which stay unchanged."""
        scores = self._scores(logits)
        if self._greedy or scores.shape[-1] == 1:
            drawn = scores.argmax(axis=-1)
            absurd = ~(scores[(*self._rows, drawn)] > -np.inf)
            if absurd.any():
                drawn[absurd] = self._settled(scores[absurd]).argmax(axis=-1)
        else:
            sums = self._summed(scores - scores.max(axis=-1, keepdims=True))
            absurd = ~(sums[:, -1] > 0)
            if absurd.any():
                sums = np.where(absurd[:, None], self._summed(self._settled(scores)), sums)
            column = self.drawn % UNIFORMS
            for row in np.flatnonzero(column == 0):
                self._rngs[row].random(out=self._uniforms[row])
            targets = self._uniforms[(*self._rows, column)][:, None] * sums[:, -1:]  # (N, 1)
            drawn = (sums <= targets).sum(axis=-1)
        ids: NDArray[Any] = drawn
        self._took(logits, ids)
        return ids

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Drop all streams but those of ``rows``, which become streams 0, 1, ..."""
        self._rngs = [self._rngs[row] for row in rows]
        self._uniforms, self._recent, self.drawn = self._uniforms[rows], self._recent[:, rows], self.drawn[rows]
        self._rows = (np.arange(len(rows)),)

    def begin(self, row: int, rng: np.random.Generator, before: NDArray[Any]) -> None:
        """Let stream ``row`` be another one, which draws from ``rng`` after a text of ids ``before`` (T,)."""
        self._rngs[row], self.drawn[row] = rng, 0
        if window := len(self._recent):
            last = before[-window:]
            self._recent[:, row] = -1
            # The ring's next place is overwritten first, so the latest ids stand before it.
            self._recent[(self._read - len(last) + np.arange(len(last))) % window, row] = last


def information(logits: Logits, ids: Any) -> Any:
    """The bits of ``ids`` (...) under ``logits`` (..., V), -log2 p: a float for one stream, an array (N,) for N."""
    bits = filters.nats_of(np.asarray(logits, dtype=np.float64), np.asarray(ids)) / np.log(2.0)
    return float(bits) if bits.ndim == 0 else bits
