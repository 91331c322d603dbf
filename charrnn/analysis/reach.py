"""How far back gradients and information reach.

Nothing here changes the network. A *state* is everything that it carries from one character to the
next, in all its layers: h of an RNN or GRU, h and c of an LSTM. With l_t(s_{t-k}, x_{t-k+1}, ..., x_t) the loss after character
t, -ln p(x_{t+1}), as a function of the state k characters earlier and of what was read since,

* `gradient_reach` measures |dl_t / ds_{t-k}|, the product of Jacobians whose decay Hochreiter (1991), Bengio et al. (1994) and
  Pascanu et al. (2013) call the vanishing gradient. For an LSTM this is the norm of the gradients of h and c together; with h
  alone, the cell c that carries its memory would be left out.
* `withheld_rise` measures what the loss gains when the state is zero k characters before, so that nothing older is known
  (Khandelwal et al. 2018).
* `contribution` measures |dh_T / dx_t|: how much of each character of a text is still in the last state.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from charrnn import CharrnnError, UsageError
from charrnn.generation.drawing import Drawing, Sampler
from charrnn.generation.generate import generate, opening, prime
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.training.model import CharRNN

LAGS = 200
"""How many characters back is looked."""
WINDOWS = 1024
"""Places in the text where the loss is withheld its past."""
GRADIENTS_AT = 4
"""Gradients are computed at one place in so many."""
CHARACTERS = 20_000
"""How much of a text's end is read; of a text ten times as long, training holds out as much."""
GENERATED = 10_000
"""Characters that a network generates to read where no text is given."""
_BATCH = 64
"""Windows whose states are kept at once."""
_CHUNK = 512
"""Characters that are read at once where no gradient is wanted."""
_KEPT = 1 << 25
"""Numbers that a backward pass may keep, about."""

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class Reach:
    """How far back a network's memory reaches on one text.

    ``gradient``: `gradient_reach` at the lags 0, 1, ..., K. ``withheld``: the rise in bits per character with only the last
    1, ..., K characters known. ``bits_per_char``: the loss that it rises from.
    """

    gradient: Curve
    withheld: Curve
    bits_per_char: float

    @property
    def half_life(self) -> float | None:
        """The lag at which the gradient is half of that at lag 0; None if that lies further back than was looked."""
        return crossing(self.gradient, 0.5)

    @property
    def below_1_percent(self) -> int | None:
        """The smallest lag at which the gradient is below 1 % of that at lag 0."""
        return _first(self.gradient < 0.01 * self.gradient[0])

    @property
    def smallest_within_1_percent(self) -> int | None:
        """The fewest characters with which, and with any more, the loss is at most 1 % above that with all of them."""
        beyond = np.flatnonzero(self.withheld > 0.01 * self.bits_per_char)
        fewest = int(beyond[-1]) + 2 if len(beyond) else 1
        return fewest if fewest <= len(self.withheld) else None

    def to_json(self, label: str) -> dict[str, Any]:
        """One curve as plain JSON values."""
        return {
            "label": label,
            "bits_per_char": self.bits_per_char,
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
    """Where ``curve`` first falls to ``share`` of its first value, log-linear between lags (exact for an exponential)."""
    level = share * curve[0]
    after = _first(curve <= level)
    if not after:
        return None
    high, low = curve[after - 1], curve[after]
    return float(after if low <= 0 else after - 1 + math.log(high / level) / math.log(high / low))


def measure(model: CharRNN, ids: NDArray[Any], lags: int = LAGS, windows: int = WINDOWS) -> Reach:
    """Measure how far back ``model`` remembers while it reads a text.

    Args:
        model: the network, in float32 on any device; its weights and mode stay as they are.
        ids: the text (C,); of a longer one the last `CHARACTERS`. The places t are spread over it evenly.
        lags: K, the furthest look back.
        windows: at how many places the past is withheld; gradients are computed at one in `GRADIENTS_AT`.

    Raises:
        CharrnnError: the text has fewer than 2 K + 2 characters, or the loss is no number.
    """
    ids = ids[-CHARACTERS:]
    if len(ids) < 2 * lags + 2:
        raise CharrnnError(f"the text has {len(ids)} characters; to look {lags} back, at least {2 * lags + 2} are needed")
    text = torch.from_numpy(np.asarray(ids, dtype=np.int64)).to(model.head.weight.device)
    # Every start has K characters behind it, so that more is known than is withheld, and K + 1 ahead.
    starts = np.unique(np.linspace(lags, len(ids) - 1 - lags, min(windows, len(ids) - 2 * lags)).astype(np.int64))
    chosen = starts[::GRADIENTS_AT]
    losses, states = _read(model, text, chosen)
    spans = torch.from_numpy(starts[:, None] + np.arange(lags + 1)).to(text.device)  # (M, K + 1)
    rise, bits = withheld_rise(model, text[spans], losses[spans[:, :-1]])
    gradient = gradient_reach(model, text[spans[::GRADIENTS_AT]], states)
    if not (math.isfinite(bits) and np.isfinite(rise).all() and np.isfinite(gradient).all()):
        raise CharrnnError("the network's loss or its gradient is no number; there is no memory to measure")
    return Reach(gradient, rise, bits)


@torch.no_grad()
def _read(model: CharRNN, text: Tensor, starts: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Read the whole text from the zero state.

    Returns:
        The loss of predicting character t + 1 after reading up to t, in nats (C - 1,), and the states before each of ``starts``
        (L, P, M, H).
    """
    state, losses, states = model.initial_state(1), [], []
    wanted, last = set(starts.tolist()), len(text) - 1
    cuts = sorted({0, last, *wanted, *range(0, last, _CHUNK)})
    for begin, end in itertools.pairwise(cuts):
        if begin in wanted:
            states.append(state)
        logits, state = model(text[None, begin:end], state)
        losses.append(functional.cross_entropy(logits[0], text[begin + 1 : end + 1], reduction="none"))
    return torch.cat(losses), torch.cat(states, dim=2)


@torch.no_grad()
def withheld_rise(model: CharRNN, windows: Tensor, full: Tensor) -> tuple[Curve, float]:
    """How much worse the network predicts when everything older than k characters is withheld.

    Args:
        model: the network.
        windows: ids (M, K + 1). Reading each from the zero state, the network predicts its character k + 1 from k characters.
        full: the losses in nats of the same predictions with all that stood before (M, K).

    Returns:
        The mean rise in bits for k = 1, ..., K, each against the same predictions; and the mean of ``full`` in bits.
    """
    M, K = full.shape
    rise, state = torch.zeros(K, dtype=torch.float64), model.initial_state(M)
    for begin in range(0, K, 8):  # (M, 8, V) logits at a time
        block = slice(begin, min(begin + 8, K))
        logits, state = model(windows[:, block], state)
        targets = windows[:, block.start + 1 : block.stop + 1].flatten()
        losses = functional.cross_entropy(logits.flatten(0, 1), targets, reduction="none")
        rise[block] = (losses.view(M, -1) - full[:, block]).double().mean(0).cpu()
    return rise.numpy() / math.log(2), float(full.double().mean()) / math.log(2)


def gradient_reach(model: CharRNN, windows: Tensor, states: Tensor) -> Curve:
    """The mean norm of the gradient of a loss with respect to the states before it.

    Args:
        model: the network.
        windows: ids (M, K + 1). The last is what the loss is about: the network reads the others.
        states: the states before the windows (L, P, M, H).

    Returns:
        For k = 0, ..., K the mean over the windows of |dl_t / ds_{t-k}|. One backward pass for each batch of windows gives all
        lags, because the windows of a batch have nothing to do with each other.
    """
    norms = [
        _norms(model, *batch) for batch in zip(torch.split(windows, _BATCH), torch.split(states, _BATCH, dim=2), strict=True)
    ]
    return torch.cat(norms, dim=1).double().mean(1).cpu().numpy()


def _norms(model: CharRNN, windows: Tensor, state: Tensor) -> Tensor:
    """|dl_t / ds_{t-k}| for k = 0, ..., K and every window, (K + 1, M)."""
    with torch.enable_grad():
        states = [state.detach().requires_grad_()]
        for ids in torch.split(windows[:, :-1], 1, dim=1):
            states.append(model(ids, states[-1])[1])
        # From the state rather than from the layer's output, which is the same number but another node of the graph.
        losses = functional.cross_entropy(model.head(states[-1][-1, 0]), windows[:, -1], reduction="sum")
        gradients = torch.autograd.grad(losses, states)
    return torch.stack([gradient.square().sum((0, 1, 3)).sqrt() for gradient in reversed(gradients)])


def contribution(model: CharRNN, ids: NDArray[Any]) -> Curve:
    """How much each character of a text contributes to the final hidden state.

    Args:
        model: the network, which reads from the zero state.
        ids: the text (T,), T >= 1.

    Returns:
        For every character t the Frobenius norm of dh_T / dx_t, where x_t is the embedded character (E,) and h_T the last
        layer's hidden state after the last one (H,), divided by the sum over t: shares (T,) that sum to 1, or zeros if nothing
        reaches h_T. The Jacobian is exact: as many streams read the text as there are units, each is asked about one unit.
    """
    H, T = model.config.hidden_size, len(ids)
    text = torch.from_numpy(np.asarray(ids, dtype=np.int64)).to(model.head.weight.device)
    x = model.embedding(text).detach()  # (T, E)
    units = torch.arange(H, device=x.device)
    squares = torch.zeros(T, dtype=torch.float64)
    with torch.enable_grad():
        for block in torch.split(units, max(1, _KEPT // (8 * H * T * model.config.num_layers))):
            streams = x.expand(len(block), T, -1).clone().requires_grad_()
            _, state = model.read(streams, model.initial_state(len(block)))
            final = state[-1, 0].gather(1, block[:, None])  # (n, 1): stream j's unit of block j
            (gradient,) = torch.autograd.grad(final.sum(), streams)
            squares += gradient.double().square().sum((0, 2)).cpu()
    norms = squares.sqrt().numpy()
    total = norms.sum()
    return norms / total if total > 0 else norms


def remembered(trained: Checkpoint, text: str) -> Reach:
    """`measure` on the network of a checkpoint and a text."""
    return measure(_network(trained), trained.vocabulary.encode(text))


def contributed(trained: Checkpoint, text: str, label: str) -> dict[str, Any]:
    """`contribution` of a text to a checkpoint's final state, as plain JSON values: a share for each id's character."""
    ids = trained.vocabulary.encode(text)
    if len(ids) == 0:
        raise UsageError("--contribution must be a text of at least 1 character")
    shares = contribution(_network(trained), ids)
    if not np.isfinite(shares).all():
        raise CharrnnError("the network's gradient is no number; there is no memory to measure")
    characters = [trained.vocabulary.decode([index]) for index in ids.tolist()]
    return {"label": label, "characters": characters, "contribution": shares.tolist()}


def _network(trained: Checkpoint) -> CharRNN:
    model = CharRNN(trained.model).requires_grad_(False)
    model.load(trained.weights)
    return model.eval()


def generated(trained: Checkpoint, characters: int = GENERATED) -> str:
    """Text that a network generates at temperature 1, always the same: what it takes the language to be."""
    network, vocabulary = Network(trained.model, trained.weights), trained.vocabulary
    sampler = Sampler(np.random.default_rng(0), Drawing(temperature=1.0, banned=vocabulary.unknown))
    with np.errstate(over="ignore", invalid="ignore"):
        ids = generate(network, *prime(network, opening(vocabulary)), sampler)
        return vocabulary.decode(itertools.islice(ids, characters))
