"""The equations of the LSTM, the GRU and the RNN in NumPy, with ``torch.nn``'s weights, gate order and conventions.

With x_t the layer's input, h the hidden state and s the logistic function (biases b_ih and b_hh as in PyTorch):

* LSTM (Hochreiter and Schmidhuber 1997; Gers et al. 2000):
  i, f, o = s(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh);  g = tanh(...);  c_t = f * c_{t-1} + i * g;  h_t = o * tanh(c_t)
* GRU (Cho et al. 2014, in the form of cuDNN):
  r, z = s(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh);  n = tanh(W_in x_t + b_in + r * (W_hn h_{t-1} + b_hn));
  h_t = (1 - z) * n + z * h_{t-1}
* RNN (Elman 1990):  h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)

Shapes: N streams, T steps, V symbols, E embedding, H hidden units, L layers, P parts of a layer's state (h, and an LSTM's c), G
blocks of rows in a layer's weights (LSTM 4, GRU 3, RNN 1). Here the equations are written out; `charrnn.network.stepper`
rearranges them for speed.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from charrnn.config import GATES, ModelConfig
from charrnn.network import stepper
from charrnn.network.pace import Pace
from charrnn.network.pairs import Pairs, last_read

Array = stepper.Array
Parts = tuple[Array, ...]
"""The parts of one layer's state, each (N, H): (h, c) of an LSTM, else (h,)."""
TOGETHER = 512
"""Steps times streams whose inputs are multiplied in one product: in larger ones memory takes longer than the product."""


@dataclass(frozen=True)
class LayerTrace:
    """What one layer did over T steps of N streams: every array is (T, N, H).

    ``h`` is the state after each step, ``c`` the LSTM's cell (None otherwise), ``gates`` the activations by ``torch.nn``'s
    letters (LSTM ``i f g o``, GRU ``r z n``; none for the RNN).
    """

    h: Array
    c: Array | None
    gates: dict[str, Array]

    @property
    def parts(self) -> Parts:
        """The parts of the state after each step: (h, c) of an LSTM, else (h,)."""
        return (self.h,) if self.c is None else (self.h, self.c)


@dataclass(frozen=True)
class Cell(ABC):
    """One recurrent layer: its equations and its weights, with inputs of size I."""

    w_ih: Array  # (G H, I)
    w_hh: Array  # (G H, H)
    b_ih: Array  # (G H,)
    b_hh: Array  # (G H,)
    gates: ClassVar[tuple[str, ...]]

    @abstractmethod
    def step(self, inputs: Array, state: Parts) -> tuple[Parts, Parts]:
        """From W_ih x + b_ih (N, G H) and the state to the new state and the activations of ``gates``, each (N, H)."""

    @abstractmethod
    def backward(self, d_state: Parts, trace: LayerTrace, t: int, before: Parts) -> tuple[Array, Parts]:
        """Take a gradient back through step ``t`` of ``trace``, which began in the state ``before``.

        ``d_state`` is the gradient with respect to the state after the step. Returns those with respect to W_ih x + b_ih
        (N, G H) and to ``before``.
        """

    def unroll(self, x: Array, state: Parts) -> tuple[LayerTrace, Parts]:
        """Read x (T, N, I) from ``state``: what the layer did, and the state after the last step."""
        together, inputs = max(1, TOGETHER // x.shape[1]), x[:0]
        kept = [np.empty((len(x), *state[0].shape), dtype=np.float32) for _ in (*state, *self.gates)]  # (T, N, H) each
        for t in range(len(x)):
            if t % together == 0:
                inputs = x[t : t + together] @ self.w_ih.T  # (T', N, I) -> (T', N, G H)
                inputs += self.b_ih
            state, gates = self.step(inputs[t % together], state)
            for course, now in zip(kept, (*state, *gates), strict=True):
                course[t] = now
        h, *others = kept
        c = others.pop(0) if len(state) == 2 else None
        return LayerTrace(h, c, dict(zip(self.gates, others, strict=True))), state


class LSTM(Cell):
    """Input, forget, candidate and output gate."""

    gates = GATES["lstm"]

    def step(self, inputs: Array, state: Parts) -> tuple[Parts, Parts]:
        """See `Cell.step`."""
        h, c = state
        z = inputs + (h @ self.w_hh.T + self.b_hh)  # (N, H) -> (N, 4 H)
        i, f, g, o = np.split(z, 4, axis=1)  # (N, H) each
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * c + i * g
        return (o * np.tanh(c), c), (i, f, g, o)

    def backward(self, d_state: Parts, trace: LayerTrace, t: int, before: Parts) -> tuple[Array, Parts]:
        """See `Cell.backward`."""
        assert trace.c is not None
        i, f, g, o = (trace.gates[letter][t] for letter in self.gates)
        (d_h, d_c), (_, c_before), tanh_c = d_state, before, np.tanh(trace.c[t])
        d_c = d_c + d_h * (o * (1 - tanh_c * tanh_c))
        d_i, d_f, d_g = d_c * (g * i * (1 - i)), d_c * (c_before * f * (1 - f)), d_c * (i * (1 - g * g))
        d_o = d_h * (tanh_c * o * (1 - o))
        d_z = np.concatenate([d_i, d_f, d_g, d_o], axis=1)  # (N, 4 H)
        return d_z, (d_z @ self.w_hh, d_c * f)


class GRU(Cell):
    """Reset gate, update gate and candidate."""

    gates = GATES["gru"]

    def step(self, inputs: Array, state: Parts) -> tuple[Parts, Parts]:
        """See `Cell.step`."""
        (h,) = state
        x_r, x_z, x_n = np.split(inputs, 3, axis=1)  # (N, 3 H) -> (N, H) each
        h_r, h_z, h_n = np.split(h @ self.w_hh.T + self.b_hh, 3, axis=1)  # (N, H) -> (N, 3 H) -> (N, H) each
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        n = np.tanh(x_n + r * h_n)
        return ((1 - z) * n + z * h,), (r, z, n)

    def backward(self, d_state: Parts, trace: LayerTrace, t: int, before: Parts) -> tuple[Array, Parts]:
        """See `Cell.backward`."""
        r, z, n = (trace.gates[letter][t] for letter in self.gates)
        (d_h,), (h,), H = d_state, before, self.w_hh.shape[1]
        h_n = h @ self.w_hh[2 * H :].T + self.b_hh[2 * H :]  # (N, H)
        d_n, d_z = d_h * ((1 - z) * (1 - n * n)), d_h * ((h - n) * z * (1 - z))
        d_r = d_n * (h_n * r * (1 - r))
        d_inputs, d_recurrent = (np.concatenate([d_r, d_z, last], axis=1) for last in (d_n, d_n * r))  # (N, 3 H)
        return d_inputs, (d_h * z + d_recurrent @ self.w_hh,)


class RNN(Cell):
    """No gates."""

    gates = GATES["rnn"]

    def step(self, inputs: Array, state: Parts) -> tuple[Parts, Parts]:
        """See `Cell.step`."""
        (h,) = state
        return (np.tanh(inputs + (h @ self.w_hh.T + self.b_hh)),), ()

    def backward(self, d_state: Parts, trace: LayerTrace, t: int, before: Parts) -> tuple[Array, Parts]:
        """See `Cell.backward`."""
        (d_h,), h = d_state, trace.h[t]
        d_z = d_h * (1 - h * h)
        return d_z, (d_z @ self.w_hh,)


CELLS: dict[str, type[Cell]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


class Network:
    """Embedding -> recurrent layers -> head, from the weights that `ModelConfig.parameter_shapes` names.

    A state is one array (L, P, N, H). With a vector for pairs of symbols it also holds the symbol that was read last, in a part
    of its own (`charrnn.network.pairs`).
    """

    def __init__(
        self, config: ModelConfig, weights: Mapping[str, NDArray[Any]], pace: Pace | None = None, *, temperature: float = 1.0
    ) -> None:
        """``pace`` chooses the number of threads of `stepper`'s products; None leaves it as it is. All logits are divided by
        ``temperature``: the head's weights are.
        """
        self.config, self.temperature = config, temperature
        self.weights = {name: np.ascontiguousarray(weights[name], dtype=np.float32) for name in config.parameter_shapes()}
        if temperature != 1:
            for name in ("head.weight", "head.bias"):
                self.weights[name] = self.weights[name] / np.float32(temperature)
        self.layers = [
            CELLS[config.cell](
                *(self.weights[f"rnn.{name}_l{layer}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            )
            for layer in range(config.num_layers)
        ]
        self._pairs = Pairs(config) if config.pair_keys else None
        self._vectors = self.weights["embedding.weight"]  # of all inputs: the symbols and, behind them, their pairs
        if self._pairs is not None:
            self._vectors = self._pairs.vectors(self._vectors, self.weights["pairs.weight"])
        self._packed = stepper.PackedNetwork(config, self.weights, self._vectors, self._pairs, pace)
        self._clamps: tuple[stepper.Clamp, ...] = ()

    @property
    def vocab_size(self) -> int:
        """How many symbols it knows."""
        return self.config.vocab_size

    def holding(self, clamps: Iterable[stepper.Clamp]) -> Network:
        """The same network, but its `stepper` holds the h of unit U in layer L at V, for each (L, U, V) of ``clamps``."""
        clamped = copy.copy(self)
        clamped._clamps = tuple(clamps)
        return clamped

    def alike(self, weights: Mapping[str, NDArray[Any]]) -> Network:
        """A network of this shape that reads in the same way, with other ``weights``."""
        return Network(self.config, weights)

    def carries(self, ids: NDArray[Any]) -> NDArray[np.bool_]:
        """Of ids (T, N), whether anything of the state before each is left in the state after the last."""
        return np.ones(ids.shape, dtype=bool)

    def initial_state(self, batch_size: int) -> Array:
        """The zero state of ``batch_size`` streams, (L, P, N, H)."""
        c = self.config
        return np.zeros((c.num_layers, c.state_parts, batch_size, c.hidden_size), dtype=np.float32)

    def stepper(self, state: Array) -> stepper.Step:
        """A function that feeds one symbol to each stream: ids (N,) -> logits (N, V), updating ``state`` in place.

        See `charrnn.network.stepper.PackedNetwork.stepper`. The next call reuses the logits array.
        """
        return self._packed.stepper(state, self._clamps)

    def step(self, ids: NDArray[Any], state: Array) -> tuple[Array, Array]:
        """Feed ids (N,) from ``state`` (L, P, N, H): logits (N, V) and the new state; the old one is left alone."""
        new = state.copy()
        return self.stepper(new)(ids), new

    def logits(self, h: Array) -> Array:
        """The head: the last layer's h (..., H) to logits (..., V)."""
        logits: Array = h @ self.weights["head.weight"].T + self.weights["head.bias"]
        return logits

    def trace(self, ids: NDArray[Any], state: Array | None = None) -> tuple[Array, list[LayerTrace]]:
        """Feed ids (T, N): the state after the last step (L, P, N, H), and one trace per layer."""
        state = self.initial_state(ids.shape[1]) if state is None else state
        new, traces, parts = np.zeros_like(state), [], self.config.cell_parts
        inputs = ids
        if self._pairs is not None:
            marks = np.concatenate([self._pairs.before(last_read(state))[None], ids.astype(np.intp) + 1])  # (T + 1, N)
            inputs, last_read(new)[...] = self._pairs.inputs(marks[:-1], ids), marks[-1]
        x = self._vectors[inputs]  # (T, N) -> (T, N, E)
        for number, layer in enumerate(self.layers):
            trace, new[number, :parts] = layer.unroll(x, tuple(state[number, :parts]))
            traces.append(trace)
            x = trace.h  # (T, N, H)
        return new, traces

    def states(self, ids: NDArray[Any], traces: Sequence[LayerTrace]) -> Array:
        """The state after each of ids (T,) of one stream, which left ``traces``: (L, P, T, H), each a stream by itself."""
        states = self.initial_state(len(ids))
        for own, trace in zip(states, traces, strict=True):
            own[: self.config.cell_parts] = [part[:, 0] for part in trace.parts]
        if self._pairs is not None:
            last_read(states)[...] = ids + 1
        return states

    def unroll(self, ids: NDArray[Any], state: Array | None = None) -> tuple[Array, Array, list[LayerTrace]]:
        """Feed ids (T, N) and keep everything: the logits (T, N, V), and what `trace` returns."""
        new, traces = self.trace(ids, state)
        return self.logits(traces[-1].h), new, traces

    def backward(self, d_h: Array, traces: Sequence[LayerTrace], state: Array) -> Iterator[tuple[Array, Array]]:
        """Take gradients back from the last of the T steps of ``traces`` to the first.

        Args:
            d_h: the gradient with respect to the last layer's h after the last step, (N, H).
            traces: what `trace` gave for the same N streams, or for one that all gradients go back through.
            state: the state before the first step, (L, P, N, H) or (L, P, 1, H).

        Yields:
            T times, the last step first: the gradients with respect to the state before the step (L, P, N, H) and to the
            embedded symbol that it read (N, E).
        """
        d_state, parts = self.initial_state(len(d_h)), self.config.cell_parts
        d_state[-1, 0] = d_h
        for t in reversed(range(len(traces[0].h))):
            d_x: Array = np.zeros(0, dtype=np.float32)
            for number in reversed(range(len(traces))):
                layer, trace = self.layers[number], traces[number]
                before = tuple(part[t - 1] for part in trace.parts) if t else tuple(state[number, :parts])
                d_inputs, d_state[number, :parts] = layer.backward(tuple(d_state[number, :parts]), trace, t, before)
                d_x = d_inputs @ layer.w_ih  # (N, G H) -> (N, H), or (N, E) below the first layer
                if number:
                    d_state[number - 1, 0] += d_x
            yield d_state.copy(), d_x


def sigmoid(x: Array) -> Array:
    """The logistic function, written with tanh so that no exponential overflows."""
    half: Array = np.tanh(x * np.float32(0.5)) * np.float32(0.5)
    return half + np.float32(0.5)
