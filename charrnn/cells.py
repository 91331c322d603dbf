"""The equations of the RNN, the GRU and the LSTM in NumPy, with ``torch.nn``'s weights, gate order and conventions.

With x_t the layer's input, h the hidden state and s the logistic function (biases b_ih and b_hh as in PyTorch):

* RNN (Elman 1990):  h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)
* GRU (Cho et al. 2014, in the form of cuDNN):
  r, z = s(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh);  n = tanh(W_in x_t + b_in + r * (W_hn h_{t-1} + b_hn));
  h_t = (1 - z) * n + z * h_{t-1}
* LSTM (Hochreiter and Schmidhuber 1997; Gers et al. 2000):
  i, f, o = s(...);  g = tanh(...);  c_t = f * c_{t-1} + i * g;  h_t = o * tanh(c_t)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import GATES, ModelConfig

Array = NDArray[np.float32]


@dataclass(frozen=True)
class LayerTrace:
    """What one layer did over T steps of N streams: every array (T, N, H).

    ``h`` is the state after each step, ``c`` the LSTM's cell (None otherwise), ``gates`` the activations by
    ``torch.nn``'s letters (LSTM ``i f g o``, GRU ``r z n``; none for the RNN).
    """

    h: Array
    c: Array | None
    gates: dict[str, Array]


class Network:
    """Embedding -> recurrent layers -> head, from the weights that `ModelConfig.parameter_shapes` names.

    A state is one array (L, P, N, H): L layers, P = 2 parts (h, c) for the LSTM and 1 (h) otherwise, N streams.
    """

    def __init__(self, config: ModelConfig, weights: Mapping[str, NDArray[Any]]) -> None:
        self.config = config
        self._weights = {name: np.ascontiguousarray(weights[name], dtype=np.float32) for name in config.parameter_shapes()}
        self._layers = [self._prepare(layer) for layer in range(config.num_layers)]
        self._held: list[tuple[NDArray[np.intp], Array] | None] = [None] * config.num_layers

    def holding(self, clamps: Iterable[tuple[int, int, float]]) -> Network:
        """The same network, whose `stepper` holds h of hidden unit U in layer L at V, for each (L, U, V) of ``clamps``."""
        clamped = copy.copy(self)
        values: list[dict[int, float]] = [{} for _ in self._layers]
        for layer, unit, value in clamps:
            values[layer][unit] = value
        clamped._held = [
            (np.array([*held], dtype=np.intp), np.array([*held.values()], dtype=np.float32)) if held else None
            for held in values
        ]
        return clamped

    def initial_state(self, batch_size: int) -> Array:
        """The zero state of ``batch_size`` streams, (L, P, N, H)."""
        c = self.config
        return np.zeros((c.num_layers, c.state_parts, batch_size, c.hidden_size), dtype=np.float32)

    def _prepare(self, layer: int) -> _StepWeights:
        w = self._weights
        ih, hh = w[f"rnn.weight_ih_l{layer}"], w[f"rnn.weight_hh_l{layer}"]
        b_ih, b_hh = w[f"rnn.bias_ih_l{layer}"], w[f"rnn.bias_hh_l{layer}"]
        H, cell = self.config.hidden_size, self.config.cell
        order, scale = np.arange(len(ih)), np.ones(len(ih), dtype=np.float32)
        if cell == "lstm":
            # Sigmoid gates first (i f o g). Halving their rows, which is exact, turns s(x) = (1 + tanh(x / 2)) / 2 into one
            # tanh over all rows followed by an affine map.
            order = np.concatenate([order[: 2 * H], order[3 * H :], order[2 * H : 3 * H]])
            scale[: 3 * H] = 0.5
        elif cell == "gru":
            scale[: 2 * H] = 0.5
        ih, hh = ih[order] * scale[:, None], hh[order] * scale[:, None]
        # The GRU's candidate keeps its recurrent product apart: r multiplies it.
        candidate = slice(2 * H, None) if cell == "gru" else slice(0, 0)
        recurrent_bias = (b_hh[order] * scale)[candidate]
        bias = b_ih[order] * scale + b_hh[order] * scale
        bias[candidate] -= recurrent_bias
        if layer == 0:
            # An embedding followed by a linear map is a table with a row per symbol.
            table = w["embedding.weight"] @ ih.T + bias
            return _StepWeights(table=table, hh=_in_large_pages(hh), ih=None, bias=bias, recurrent_bias=recurrent_bias)
        if cell == "gru":
            hh, ih = _in_large_pages(hh), _in_large_pages(ih)
            return _StepWeights(table=None, hh=hh, ih=ih, bias=bias, recurrent_bias=recurrent_bias)
        # Both products of an upper layer as one, over [x; h].
        both = _in_large_pages(np.concatenate([ih, hh], axis=1))
        return _StepWeights(table=None, hh=both, ih=None, bias=bias, recurrent_bias=recurrent_bias)

    def stepper(self, state: Array) -> Callable[[NDArray[Any]], Array]:
        """A function that feeds one symbol to each stream: ids (N,) -> logits (N, V), updating ``state`` in place.

        The logits array is reused by the next call. All buffers are allocated here, none per step.
        """
        layers, parts, N, H = state.shape
        head, head_bias = self._weights["head.weight"], self._weights["head.bias"]
        advance = {"lstm": _advance_lstm, "gru": _advance_gru, "rnn": _advance_rnn}[self.config.cell]
        rows = len(self._layers[0].hh)
        # One stream works on vectors, so that every product is a matrix-vector product of contiguous rows.
        shape: Callable[[int], tuple[int, ...]] = (lambda n: (n,)) if N == 1 else (lambda n: (N, n))
        states = [[state[layer, part].reshape(shape(H)) for part in range(parts)] for layer in range(layers)]
        z, projected, both, scratch = (np.empty(shape(n), dtype=np.float32) for n in (rows, rows, 2 * H, H))
        logits = np.empty(shape(len(head)), dtype=np.float32)
        product = np.dot if N == 1 else _batched_product

        def step(ids: NDArray[Any]) -> Array:
            below = scratch
            for weights, carried, held in zip(self._layers, states, self._held, strict=True):
                h = carried[0]
                if weights.table is not None:
                    # Clipping, which no id needs, lets NumPy copy the rows straight to where they go.
                    inputs = weights.table[ids[0]] if N == 1 else weights.table.take(ids, axis=0, out=projected, mode="clip")
                    product(weights.hh, h, out=z)
                elif weights.ih is not None:
                    inputs = product(weights.ih, below, out=projected)
                    inputs += weights.bias
                    product(weights.hh, h, out=z)
                else:
                    both[..., :H] = below
                    both[..., H:] = h
                    inputs = weights.bias
                    product(weights.hh, both, out=z)
                advance(z, inputs, carried, weights.recurrent_bias, scratch)
                if held is not None:
                    h[..., held[0]] = held[1]
                below = h
            product(head, below, out=logits)
            np.add(logits, head_bias, out=logits)
            return logits.reshape(N, -1)

        return step

    def step(self, ids: NDArray[Any], state: Array) -> tuple[Array, Array]:
        """Feed ids (N,) from ``state`` (L, P, N, H): logits (N, V) and the new state; the old one is left alone."""
        new = state.copy()
        return self.stepper(new)(ids), new

    def unroll(self, ids: NDArray[Any], state: Array | None = None) -> tuple[Array, Array, list[LayerTrace]]:
        """Feed ids (T, N) and keep everything.

        Returns:
            The logits (T, N, V), the state after the last step (L, P, N, H), and one trace per layer. The equations are
            written out as in the module's docstring, without `stepper`'s rearrangements.
        """
        w, (T, N), H = self._weights, ids.shape, self.config.hidden_size
        state = self.initial_state(N) if state is None else state
        new = np.empty_like(state)
        x = w["embedding.weight"][ids]  # (T, N, E)
        traces = []
        for layer in range(self.config.num_layers):
            projected = x @ w[f"rnn.weight_ih_l{layer}"].T + w[f"rnn.bias_ih_l{layer}"]  # (T, N, 4H | 3H | H)
            hh, b_hh = w[f"rnn.weight_hh_l{layer}"].T, w[f"rnn.bias_hh_l{layer}"]
            h = state[layer, 0]
            c = state[layer, 1] if self.config.cell == "lstm" else None
            letters = GATES[self.config.cell]
            gates = {letter: np.empty((T, N, H), dtype=np.float32) for letter in letters}
            hs = np.empty((T, N, H), dtype=np.float32)
            cs = np.empty((T, N, H), dtype=np.float32) if c is not None else None
            for t in range(T):
                recurrent = h @ hh + b_hh
                if c is not None:
                    i, f, g, o = np.split(projected[t] + recurrent, 4, axis=1)
                    now = {"i": sigmoid(i), "f": sigmoid(f), "g": np.tanh(g), "o": sigmoid(o)}
                    c = now["f"] * c + now["i"] * now["g"]
                    h = now["o"] * np.tanh(c)
                elif letters:
                    (r, z, n), (hr, hz, hn) = np.split(projected[t], 3, axis=1), np.split(recurrent, 3, axis=1)
                    now = {"r": sigmoid(r + hr), "z": sigmoid(z + hz)}
                    now["n"] = np.tanh(n + now["r"] * hn)
                    h = (1 - now["z"]) * now["n"] + now["z"] * h
                else:
                    now = {}
                    h = np.tanh(projected[t] + recurrent)
                hs[t] = h
                if cs is not None:
                    cs[t] = c
                for letter in letters:
                    gates[letter][t] = now[letter]
            new[layer, 0] = h
            if c is not None:
                new[layer, 1] = c
            traces.append(LayerTrace(hs, cs, gates))
            x = hs
        return x @ w["head.weight"].T + w["head.bias"], new, traces


@dataclass(frozen=True)
class _StepWeights:
    """One layer as `Network.stepper` wants it; ``hh`` is [W_ih | W_hh] where neither ``table`` nor ``ih`` is there."""

    table: Array | None
    hh: Array
    ih: Array | None
    bias: Array
    recurrent_bias: Array


def _in_large_pages(matrix: Array) -> Array:
    """A copy of ``matrix`` that starts on a 2 MiB boundary of an allocation large enough for NumPy to ask for huge pages.

    A step reads every weight once; with small pages a fifth of that time is spent on address translation.
    """
    page = 1 << 21
    room = np.empty(max(matrix.nbytes, 1 << 22) + page, dtype=np.uint8)
    start = -room.ctypes.data % page
    copy = room[start : start + matrix.nbytes].view(np.float32).reshape(matrix.shape)
    copy[:] = matrix
    return copy


def sigmoid(x: Array) -> Array:
    """The logistic function, written with tanh so that no exponential overflows."""
    half: Array = np.tanh(x * np.float32(0.5)) * np.float32(0.5)
    return half + np.float32(0.5)


def _batched_product(weight: Array, x: Array, out: Array) -> Array:
    return np.matmul(x, weight.T, out=out)


_HALF = np.float32(0.5)


def _advance_lstm(z: Array, inputs: Array, state: list[Array], _: Array, scratch: Array) -> None:
    h, c = state
    H = h.shape[-1]
    z += inputs
    np.tanh(z, out=z)
    gates = z[..., : 3 * H]
    gates *= _HALF
    gates += _HALF
    c *= z[..., H : 2 * H]
    np.multiply(z[..., :H], z[..., 3 * H :], out=scratch)
    c += scratch
    np.tanh(c, out=h)
    h *= z[..., 2 * H : 3 * H]


def _advance_gru(z: Array, inputs: Array, state: list[Array], recurrent_bias: Array, scratch: Array) -> None:
    (h,) = state
    H = h.shape[-1]
    gates, candidate = z[..., : 2 * H], z[..., 2 * H :]
    gates += inputs[..., : 2 * H]
    np.tanh(gates, out=gates)
    gates *= _HALF
    gates += _HALF
    candidate += recurrent_bias
    candidate *= z[..., :H]
    candidate += inputs[..., 2 * H :]
    np.tanh(candidate, out=candidate)
    np.subtract(h, candidate, out=scratch)  # h = n + z * (h - n)
    scratch *= z[..., H : 2 * H]
    np.add(candidate, scratch, out=h)


def _advance_rnn(z: Array, inputs: Array, state: list[Array], _: Array, scratch: Array) -> None:
    z += inputs
    np.tanh(z, out=state[0])
