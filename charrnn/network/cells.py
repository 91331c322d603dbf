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
import functools
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import GATES, ModelConfig

Array = NDArray[np.float32]

_Runner = Callable[[NDArray[Any], Array], Array]


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
            return _StepWeights(table=table, hh=_Matrix(hh), ih=None, bias=bias, recurrent_bias=recurrent_bias)
        if cell == "gru":
            return _StepWeights(table=None, hh=_Matrix(hh), ih=_Matrix(ih), bias=bias, recurrent_bias=recurrent_bias)
        # Both products of an upper layer as one, over [x; h].
        both = _Matrix(np.concatenate([ih, hh], axis=1))
        return _StepWeights(table=None, hh=both, ih=None, bias=bias, recurrent_bias=recurrent_bias)

    def stepper(self, state: Array) -> Callable[[NDArray[Any]], Array]:
        """A function that feeds one symbol to each stream: ids (N,) -> logits (N, V), updating ``state`` in place.

        The logits array is reused by the next call. All buffers are allocated here, none per step.
        """
        _, _, N, H = state.shape
        # One stream works on vectors, so that every product is a matrix-vector product of contiguous rows.
        shape: Callable[[int], tuple[int, ...]] = (lambda n: (n,)) if N == 1 else (lambda n: (N, n))
        scratch = np.empty(shape(H), dtype=np.float32)
        # What all layers write their products into, one after the other.
        rooms = [np.empty(N * max(layer.hh.rows for layer in self._layers), dtype=np.float32) for _ in range(2)]
        layers = [
            self._runner(layer, [part.reshape(shape(H)) for part in state[layer]], rooms, scratch)
            for layer in range(len(state))
        ]
        head, head_bias = self._weights["head.weight"], self._weights["head.bias"]
        logits = np.empty(shape(len(head)), dtype=np.float32)
        result = logits.reshape(N, -1)
        transposed = head.T

        def step(ids: NDArray[Any]) -> Array:
            below = scratch
            for run in layers:
                below = run(ids, below)
            if N == 1:
                np.dot(head, below, logits)
            else:
                np.matmul(below, transposed, logits)
            np.add(logits, head_bias, logits)
            return result

        return step

    def _runner(self, layer: int, state: list[Array], rooms: list[Array], scratch: Array) -> _Runner:
        """A function that advances one layer's ``state``, parts of (N, H) or (H,), by symbols or by what comes from below."""
        weights, held, h = self._layers[layer], self._held[layer], state[0]
        (H,), table, bias = h.shape[-1:], weights.table, weights.bias
        multiply, z = weights.hh.into(rooms[0], h.shape[:-1])
        project, projected = (weights.ih or weights.hh).into(rooms[1], h.shape[:-1])
        prepare = {"lstm": _advance_lstm, "gru": _advance_gru, "rnn": _advance_rnn}[self.config.cell]
        advance = prepare(z, state, weights.recurrent_bias, scratch)
        both = np.empty((*h.shape[:-1], 2 * H), dtype=np.float32)
        lower, upper = both[..., :H], both[..., H:]

        def first(ids: NDArray[Any], _: Array) -> Array:
            assert table is not None
            multiply(h)
            # Clipping, which no id needs, lets NumPy copy the rows straight to where they go.
            advance(table[ids[0]] if h.ndim == 1 else table.take(ids, axis=0, out=projected, mode="clip"))
            return h

        def stacked(_: NDArray[Any], below: Array) -> Array:
            lower[...] = below
            upper[...] = h
            multiply(both)
            advance(bias)
            return h

        def apart(_: NDArray[Any], below: Array) -> Array:
            project(below)
            np.add(projected, bias, projected)
            multiply(h)
            advance(projected)
            return h

        run = first if table is not None else stacked if weights.ih is None else apart
        if held is None:
            return run
        units, values = held

        def holding(ids: NDArray[Any], below: Array) -> Array:
            run(ids, below)
            h[..., units] = values
            return h

        return holding

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

    def backward(self, d_logits: Array, traces: Sequence[LayerTrace]) -> Iterator[Array]:
        """Go back from the last of the T steps of ``traces``, whose logits have the gradient ``d_logits`` (N, V).

        Yields the gradient with respect to the state before that step, to the state before the step before, ...: T - 1 times
        (L, P, N, H), as far as ``traces`` know what came before.
        """
        w, cell, (T, N, H) = self._weights, self.config.cell, traces[0].h.shape
        carried = self.initial_state(N)  # (L, P, N, H)
        from_above = d_logits @ w["head.weight"]
        for t in range(T - 1, 0, -1):
            for layer in reversed(range(len(traces))):
                trace, hh = traces[layer], w[f"rnn.weight_hh_l{layer}"]
                h, before = trace.h[t], trace.h[t - 1]
                d = carried[layer, 0] + from_above
                if trace.c is not None:
                    i, f, g, o = (trace.gates[letter][t] for letter in "ifgo")
                    out = np.tanh(trace.c[t])
                    d_c = carried[layer, 1] + d * o * (1 - out * out)
                    factors = (g * i * (1 - i), trace.c[t - 1] * f * (1 - f), i * (1 - g * g))
                    d_inputs = d_recurrent = np.concatenate(
                        [*(d_c * factor for factor in factors), d * out * o * (1 - o)], axis=1
                    )
                    carried[layer, 0], carried[layer, 1] = d_recurrent @ hh, d_c * f
                elif cell == "gru":
                    r, z, n = (trace.gates[letter][t] for letter in "rzn")
                    m = before @ hh[2 * H :].T + w[f"rnn.bias_hh_l{layer}"][2 * H :]
                    d_n = d * (1 - z) * (1 - n * n)
                    d_r, d_z = d_n * m * r * (1 - r), d * (before - n) * z * (1 - z)
                    d_inputs, d_recurrent = (np.concatenate([d_r, d_z, last], axis=1) for last in (d_n, d_n * r))
                    carried[layer, 0] = d * z + d_recurrent @ hh
                else:
                    d_inputs = d_recurrent = d * (1 - h * h)
                    carried[layer, 0] = d_recurrent @ hh
                from_above = d_inputs @ w[f"rnn.weight_ih_l{layer}"] if layer else np.zeros_like(d)
            yield carried.copy()


@dataclass(frozen=True)
class _StepWeights:
    """One layer as `Network.stepper` wants it; ``hh`` is [W_ih | W_hh] where neither ``table`` nor ``ih`` is there."""

    table: Array | None
    hh: _Matrix
    ih: _Matrix | None
    bias: Array
    recurrent_bias: Array


class _Matrix:
    """A matrix (M, K) laid out for products with one vector and with many.

    ``rows`` is how many numbers a product with one vector writes: M, or more with what follows them.
    """

    def __init__(self, matrix: Array) -> None:
        self._M, self.rows = len(matrix), _rows_for_threads(*matrix.shape)
        self._padded = _in_large_pages(matrix, self.rows)

    @functools.cached_property
    def _transposed(self) -> Array:
        # Products of thin matrices run up to a third faster on transposed copies.
        return np.ascontiguousarray(self._padded[: self._M].T)

    def into(self, room: Array, streams: tuple[int, ...]) -> tuple[Callable[[Array], Any], Array]:
        """A function of x (*streams, K), ``streams`` being () or (N,), and the part of ``room`` where it leaves matrix @ x,
        as an array (*streams, M).
        """
        if streams:
            transposed, product = self._transposed, room[: streams[0] * self._M].reshape(*streams, self._M)
            return lambda x: np.matmul(x, transposed, product), product
        return functools.partial(np.dot, self._padded, out=room[: self.rows]), room[: self._M]


THREADED_ELEMENTS, SINCE = 460_800, (0, 3, 27)
"""From this many on, OpenBLAS on x86-64 multiplies a matrix and a vector in several threads, since this version (its pull
request 4441).
"""


def _rows_for_threads(rows: int, columns: int) -> int:
    """``rows``, or as many as bring the product over OpenBLAS's threshold, if that is a quarter more at most: 1,200 x 384 take
    half as long as 1,152 x 384 on two cores.
    """
    enough = -(-THREADED_ELEMENTS // columns)
    return enough if rows < enough <= 1.25 * rows and _multiplies_in_threads() else rows


@functools.cache
def _multiplies_in_threads() -> bool:
    build: Mapping[str, Any] = np.show_config(mode="dicts") or {}
    library = build.get("Build Dependencies", {}).get("blas", {})
    version = tuple(map(int, re.findall(r"\d+", str(library.get("version")))[:3]))
    # As OpenBLAS reads them.
    threads = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS")
    return (
        "openblas" in str(library.get("name")).lower()
        and version >= SINCE
        and platform.machine().lower() in ("x86_64", "amd64")
        and threads != "1"
        and (os.cpu_count() or 1) > 1
    )


def _in_large_pages(matrix: Array, rows: int) -> Array:
    """A copy of ``matrix``, with zeros below up to ``rows``, that starts on a 2 MiB boundary of an allocation large enough for
    NumPy to ask for huge pages.

    A step reads every weight once; with small pages a fifth of that time is spent on address translation.
    """
    page, size = 1 << 21, rows * matrix.shape[1] * matrix.itemsize
    room = np.empty(max(size, 1 << 22) + page, dtype=np.uint8)
    start = -room.ctypes.data % page
    copy = room[start : start + size].view(np.float32).reshape(rows, -1)
    copy[: len(matrix)], copy[len(matrix) :] = matrix, 0
    return copy


def sigmoid(x: Array) -> Array:
    """The logistic function, written with tanh so that no exponential overflows."""
    half: Array = np.tanh(x * np.float32(0.5)) * np.float32(0.5)
    return half + np.float32(0.5)


_HALF = np.float32(0.5)

# Each of these gives a function that advances ``state`` in place by what a layer's inputs add to ``z``, which holds the product
# with the state then. Views are made once, because slicing an array of one stream takes as long as adding two.


def _advance_lstm(z: Array, state: list[Array], _: Array, scratch: Array) -> Callable[[Array], None]:
    h, c = state
    H = h.shape[-1]
    gates, i, f, o, g = z[..., : 3 * H], z[..., :H], z[..., H : 2 * H], z[..., 2 * H : 3 * H], z[..., 3 * H :]

    def advance(inputs: Array) -> None:
        np.add(z, inputs, z)
        np.tanh(z, z)
        np.multiply(gates, _HALF, gates)
        np.add(gates, _HALF, gates)
        np.multiply(c, f, c)
        np.multiply(i, g, scratch)
        np.add(c, scratch, c)
        np.tanh(c, h)
        np.multiply(h, o, h)

    return advance


def _advance_gru(z: Array, state: list[Array], recurrent_bias: Array, scratch: Array) -> Callable[[Array], None]:
    (h,) = state
    H = h.shape[-1]
    gates, reset, keep, candidate = z[..., : 2 * H], z[..., :H], z[..., H : 2 * H], z[..., 2 * H :]

    def advance(inputs: Array) -> None:
        np.add(gates, inputs[..., : 2 * H], gates)
        np.tanh(gates, gates)
        np.multiply(gates, _HALF, gates)
        np.add(gates, _HALF, gates)
        np.add(candidate, recurrent_bias, candidate)
        np.multiply(candidate, reset, candidate)
        np.add(candidate, inputs[..., 2 * H :], candidate)
        np.tanh(candidate, candidate)
        np.subtract(h, candidate, scratch)  # h = n + z * (h - n)
        np.multiply(scratch, keep, scratch)
        np.add(candidate, scratch, h)

    return advance


def _advance_rnn(z: Array, state: list[Array], _: Array, scratch: Array) -> Callable[[Array], None]:
    (h,) = state

    def advance(inputs: Array) -> None:
        np.add(z, inputs, z)
        np.tanh(z, h)

    return advance
