"""How far back gradients and information reach.

Nothing here changes the network. A *state* is everything that it carries from one character to the next, in all its layers: h
of an RNN or GRU, h and c of an LSTM. With l_t(s_{t-k}, x_{t-k+1}, ..., x_t) the loss after character t, -ln p(x_{t+1}), as a
function of the state k characters earlier and of what was read since,

* `gradient_reach` measures |dl_t / ds_{t-k}|, the product of Jacobians whose decay Hochreiter (1991), Bengio et al. (1994) and
  Pascanu et al. (2013) call the vanishing gradient. For an LSTM this is the norm of the gradients of h and c together; h alone
  would leave out the cell, which carries its memory.
* `withheld_rise` measures how much the loss rises when the state is zero k characters before, so that nothing older is known
  (Khandelwal et al. 2018).
* `contribution` measures |dh_T / dx_t|: how much of each character of a text is still in the last state.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, UsageError
from charrnn.analysis.scoring import Scorer, Tally
from charrnn.analysis.traces import Inspection
from charrnn.generation.drawing import Drawing, Sampler
from charrnn.generation.filters import nats_of, softmax
from charrnn.generation.generate import generate, opening, prime
from charrnn.network.cells import Array, Network
from charrnn.network.checkpoint import Checkpoint, records_of
from charrnn.network.ensemble import as_trained
from charrnn.network.pace import on_cores

LAGS = 200
"""How many characters to look back."""
WINDOWS = 1024
"""Places in the text where the past is withheld from the loss."""
GRADIENTS_AT = 4
"""Gradients are computed at one place in so many."""
CHARACTERS = 20_000
"""How much of a text's end is read; of a text ten times as long, training holds out as much."""
GENERATED = 10_000
"""Characters that a network generates to read where no text is given."""
_TOGETHER = 256
"""Streams that step together at most. 128 cost as much on one thread; on several, fewer and larger products wait less."""
_CHUNK = 512
"""Characters whose logits are kept at once."""
_KEPT = 1 << 24
"""About how many numbers the traces of one batch may keep."""

Curve = NDArray[np.float64]


class MemoryRecord(TypedDict):
    """How far back one network remembers; docs/manual.md tells what each number means, `Reach` when one is None."""

    label: str
    bits_per_char: float | None
    lags: list[int]
    gradient: list[float]
    half_life: float | None
    below_1_percent: int | None
    withheld_lags: list[int]
    withheld: list[float]
    smallest_within_1_percent: int | None


class ContributionRecord(TypedDict):
    """How much of each character of a text a network's final state holds, as shares of 1."""

    label: str
    characters: list[str]
    contribution: list[float]


@dataclass(frozen=True)
class Reach:
    """How far back a network's memory reaches on one text.

    ``gradient``: `gradient_reach` at the lags 0, 1, ..., K. ``withheld``: the rise in bits per character with only the last
    1, ..., K characters known. ``bits_per_char``: the loss that it rises from.
    """

    gradient: Curve
    withheld: Curve
    bits_per_char: float
    score: Tally | None = None
    """The score of the whole text, where it was asked for."""

    @property
    def half_life(self) -> float | None:
        """The lag at which the gradient is half of that at lag 0; None if that lies beyond the furthest lag."""
        return crossing(self.gradient, 0.5)

    @property
    def below_1_percent(self) -> int | None:
        """The smallest lag at which the gradient is below 1 % of that at lag 0; None if none is."""
        return _first(self.gradient < 0.01 * self.gradient[0])

    @property
    def smallest_within_1_percent(self) -> int | None:
        """The fewest characters from which on the loss stays within 1 % of that with all of them; None if K are too few."""
        beyond = np.flatnonzero(self.withheld > 0.01 * self.bits_per_char)
        fewest = int(beyond[-1]) + 2 if len(beyond) else 1
        return fewest if fewest <= len(self.withheld) else None

    def to_json(self, label: str) -> MemoryRecord:
        """One curve as plain JSON values."""
        return {
            "label": label,
            "bits_per_char": self.bits_per_char if self.score is None else self.score.to_json()["bits_per_char"],
            "lags": list(range(len(self.gradient))),
            "gradient": self.gradient.tolist(),
            "half_life": self.half_life,
            "below_1_percent": self.below_1_percent,
            "withheld_lags": list(range(1, len(self.withheld) + 1)),
            "withheld": self.withheld.tolist(),
            "smallest_within_1_percent": self.smallest_within_1_percent,
        }


def _first(condition: NDArray[np.bool_]) -> int | None:
    return int(condition.argmax()) if condition.any() else None


def crossing(curve: Curve, share: float) -> float | None:
    """Where ``curve`` first falls to ``share`` of its first value, log-linear between lags (exact for an exponential).

    None if it never does.
    """
    level = share * curve[0]
    after = _first(curve <= level)
    if not after:
        return None
    high, low = curve[after - 1], curve[after]
    return float(after if low <= 0 else after - 1 + math.log(high / level) / math.log(high / low))


def measure(network: Network, ids: NDArray[Any], lags: int = LAGS, windows: int = WINDOWS) -> Reach:
    """Measure how far back ``network`` remembers while it reads a text.

    Args:
        network: the network.
        ids: the text (C,); of a longer one the last `CHARACTERS`. The places t are spread over it evenly.
        lags: K, the furthest look back.
        windows: at how many places the past is withheld; gradients are computed at one in `GRADIENTS_AT`.

    Raises:
        CharrnnError: the text has fewer than 2 K + 2 characters, or a loss or a gradient is not finite.
    """
    ids = ids[-CHARACTERS:]
    if len(ids) < 2 * lags + 2:
        needed = f"to look {lags} back, at least {2 * lags + 2} are needed"
        raise CharrnnError(
            f"the text has {len(ids)} characters; {needed}; give a longer one, or none: then the network writes one"
        )
    # Every start has K characters behind it, so that more is known than is withheld, and K + 1 ahead.
    starts = np.unique(np.linspace(lags, len(ids) - 1 - lags, min(windows, len(ids) - 2 * lags)).astype(np.int64))
    spans = starts[:, None] + np.arange(lags + 1)  # (M, K + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        losses, states = _read(network, ids, starts[::GRADIENTS_AT])
        rise, bits = withheld_rise(network, ids[spans], losses[spans[:, :-1]])
        gradient = gradient_reach(network, ids[spans[::GRADIENTS_AT]], states)
    if not (math.isfinite(bits) and np.isfinite(rise).all() and np.isfinite(gradient).all()):
        raise CharrnnError("the network's loss or its gradient is not finite; there is no memory to measure")
    return Reach(gradient, rise, bits)


def _read(network: Network, ids: NDArray[Any], starts: NDArray[np.int64]) -> tuple[Curve, Array]:
    """Read the whole text ids (C,) from the zero state.

    Returns:
        The loss of predicting character t + 1 after reading up to t, in nats (C - 1,), and the states before each of ``starts``
        (L, P, M, H).
    """
    state, before, last = network.initial_state(1), [], len(ids) - 1
    wanted, losses = set(starts.tolist()), np.empty(last)
    step, logits = network.stepper(state), np.empty((_CHUNK, network.config.vocab_size), dtype=np.float32)
    for begin in range(0, last, _CHUNK):
        end = min(begin + _CHUNK, last)
        for t in range(begin, end):
            if t in wanted:
                before.append(state.copy())
            logits[t - begin] = step(ids[t : t + 1])[0]
        losses[begin:end] = nats_of(logits[: end - begin], ids[begin + 1 : end + 1])
    return losses, np.concatenate(before, axis=2)  # M times (L, P, 1, H) -> (L, P, M, H)


def withheld_rise(network: Network, windows: NDArray[Any], full: Curve) -> tuple[Curve, float]:
    """How much worse the network predicts when everything older than k characters is withheld.

    Args:
        network: the network.
        windows: ids (M, K + 1). Reading each from the zero state, the network predicts its character k + 1 from k characters.
        full: the losses in nats of the same predictions with all that stood before (M, K).

    Returns:
        The mean rise in bits for k = 1, ..., K, each against the same predictions; and the mean of ``full`` in bits.
    """
    M, K = full.shape

    def lost(begin: int) -> Curve:
        batch = windows[begin : begin + _TOGETHER].T  # (K + 1, N)
        step = network.stepper(network.initial_state(batch.shape[1]))
        with np.errstate(over="ignore", invalid="ignore"):  # which a thread doesn't inherit
            return np.array([nats_of(step(batch[k]), batch[k + 1]).sum() for k in range(K)])

    total: Curve = sum(on_cores(lost, range(0, M, _TOGETHER)), np.zeros(K))
    return (total / M - full.mean(axis=0)) / math.log(2), float(full.mean()) / math.log(2)


def gradient_reach(network: Network, windows: NDArray[Any], states: Array) -> Curve:
    """The mean norm of the gradient of a loss with respect to the states before it.

    Args:
        network: the network.
        windows: ids (M, K + 1). The last is what the loss is about: the network reads the others.
        states: the states before the windows (L, P, M, H).

    Returns:
        For k = 0, ..., K the mean over the windows of |dl_t / ds_{t-k}|. One walk back through a batch of windows gives all
        lags, because no window of a batch depends on another.
    """
    (M, steps), head = windows.shape, network.weights["head.weight"]
    layers, parts, _, H = states.shape
    kept = steps * layers * H * (parts + len(network.layers[0].gates))
    together = min(_TOGETHER, max(1, _KEPT // kept))

    def norms(begin: int) -> Curve:
        batch, state = windows[begin : begin + together].T, states[:, :, begin : begin + together]
        with np.errstate(over="ignore", invalid="ignore"):  # which a thread doesn't inherit
            _, traces = network.trace(batch[:-1], state)
            d_logits = softmax(network.logits(traces[-1].h[-1])).astype(np.float32)  # (N, V), of the cross-entropy
            d_logits[np.arange(len(d_logits)), batch[-1]] -= 1
            d_h = d_logits @ head  # (N, V) -> (N, H)
            walked = zip(network.backward(d_h, traces, state), network.carries(batch[:-1])[::-1], strict=True)
            back = (np.square(d_state).sum(axis=(0, 1, 3)) * carried for (d_state, _), carried in walked)
            return np.array([np.sqrt(squares).sum() for squares in (np.square(d_h).sum(axis=1), *back)])  # each from (N,)

    mean: Curve = sum(on_cores(norms, range(0, M, together)), np.zeros(steps)) / M
    return mean


def contribution(network: Network, ids: NDArray[Any]) -> Curve:
    """How much each character of a text contributes to the final hidden state.

    Args:
        network: the network, which reads from the zero state.
        ids: the text (T,), T >= 1.

    Returns:
        For every character t the Frobenius norm of dh_T / dx_t, where x_t is the embedded character (E,) and h_T the last
        layer's hidden state after the last one (H,), divided by the sum over t: shares (T,) that sum to 1, or zeros if nothing
        reaches h_T. The Jacobian is exact: one gradient for each unit walks back through the same trace.
    """
    H, T, start = network.config.hidden_size, len(ids), network.initial_state(1)
    squares: Curve = np.zeros(T)
    with np.errstate(over="ignore", invalid="ignore"):
        _, traces = network.trace(ids[:, None], start)
        for begin in range(0, H, _TOGETHER):
            d_h = np.eye(min(_TOGETHER, H - begin), H, begin, dtype=np.float32)  # (N, H): row j asks about unit begin + j
            for back, (_, d_x) in enumerate(network.backward(d_h, traces, start), start=1):
                squares[T - back] += np.square(d_x).sum(dtype=np.float64)  # from (N, E)
    norms: Curve = np.sqrt(squares)
    shares: Curve = norms / (norms.sum() or 1.0)
    return shares


def remembered(trained: Checkpoint, text: str) -> Reach:
    """`measure` on the network of a checkpoint and a text, with its score as `charrnn score` reads it."""
    network, vocabulary = as_trained(trained), trained.vocabulary
    text, _ = vocabulary.canonical(text)
    found = measure(network, vocabulary.encode(text))
    scorer = Scorer(network, vocabulary, workers=1)
    tally = scorer.tally()
    for piece in scorer.carried([vocabulary.units(text)[-CHARACTERS:]]):
        tally.add(piece)
    return replace(found, score=tally)


def of_inspection(found: Inspection, label: str) -> tuple[list[MemoryRecord], str]:
    """How far back the network of an inspection remembers: on the inspected text, or on one that the network generates where
    that is too short; and on which of them.

    The list has one curve, or none where the network's numbers are not finite.
    """
    trained, text = found.trained, found.text
    own = not text.generated and len(text.ids) >= 2 * LAGS + 2
    byte = trained.vocabulary.level == "byte"
    read = bytes(text.ids.tolist()).decode("utf-8", "surrogateescape") if byte else text.characters
    try:
        curve = remembered(trained, read if own else generated(trained))
    except CharrnnError:
        return [], ""
    return [curve.to_json(label)], "this text" if own else f"{GENERATED:,} characters that the network generated"


def contributed(trained: Checkpoint, text: str, label: str) -> ContributionRecord:
    """`contribution` of a text to a checkpoint's final state, as plain JSON values: a share for each character of the text."""
    ids = trained.vocabulary.encode(trained.vocabulary.canonical(text)[0])
    if len(ids) == 0:
        raise UsageError("--contribution must be a text of at least 1 character")
    # Of records the last one alone is in the final state.
    newlines = [] if records_of(trained.training) is None else np.flatnonzero(ids == opening(trained.vocabulary)).tolist()
    begun = newlines[-1] if newlines else 0
    shares = np.concatenate([np.zeros(begun), contribution(Network(trained.model, trained.weights), ids[begun:])])
    if not np.isfinite(shares).all():
        raise CharrnnError("the network's gradient is not finite; there is no memory to measure")
    characters = [trained.vocabulary.decode([index]) for index in ids.tolist()]
    return {"label": label, "characters": characters, "contribution": shares.tolist()}


def generated(trained: Checkpoint, characters: int = GENERATED) -> str:
    """Text that a network generates at temperature 1, always the same: its own idea of the language."""
    network, vocabulary = as_trained(trained), trained.vocabulary
    sampler = Sampler(np.random.default_rng(0), Drawing(temperature=1.0, banned=vocabulary.unknown))
    with np.errstate(over="ignore", invalid="ignore"):
        ids = generate(network, *prime(network, opening(vocabulary)), sampler)
        return vocabulary.decode(itertools.islice(ids, characters))
