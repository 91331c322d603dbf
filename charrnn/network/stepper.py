"""The fast path: one symbol per stream and step, for generating and scoring.

It computes what `charrnn.network.cells` writes out, rearranged for speed: the embedding and the first layer's input matrix
become one table, sigmoid gates stand side by side in front of the candidate, weights lie in large pages, and nothing is
allocated per step.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.cell_types import CELL_TYPES, candidates, sigmoids
from charrnn.config import ModelConfig
from charrnn.cores import x86_64
from charrnn.network.pace import Pace, openblas_version
from charrnn.network.pairs import Pairs, last_read

Array = NDArray[np.float32]
Step = Callable[[NDArray[Any]], Array]
"""Feeds one symbol to each stream: ids (N,) -> logits (N, V)."""
Clamp = tuple[int, int, float]
"""A layer, a hidden unit of it, and the value at which the unit's h is held."""

THREADED_ELEMENTS, SINCE = 460_800, (0, 3, 27)
"""OpenBLAS on x86-64 multiplies a matrix of at least so many elements and a vector in several threads, since this version (its
pull request 4441).
"""

_HALF = np.float32(0.5)

_LayerStep = Callable[[NDArray[Any], Array], Array]
_Advance = Callable[[Array], None]


class PackedNetwork:
    """The weights of a network, packed once for all the steppers that use them."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, Array],
        vectors: Array,
        pairs: Pairs | None = None,
        pace: Pace | None = None,
    ) -> None:
        """Pack ``weights``, C-contiguous float32 under the names of `ModelConfig.parameter_shapes`.

        ``vectors`` are those of all inputs: of the symbols (V, E), or with ``pairs`` of these too (V + R, E). ``pace`` chooses
        the number of threads at each step; None leaves it as it is.
        """
        self._cell, self._parts, self._pairs, self._pace = config.cell, config.cell_parts, pairs, pace
        multiple = 1 if pace is None else pace.rows
        self.layers = [_pack(config, weights, vectors, layer, multiple) for layer in range(config.num_layers)]
        self._head, self._head_bias = weights["head.weight"], weights["head.bias"]
        V, H = self._head.shape
        rows = _rows_of_shares(V, H, multiple)
        self._padded_head = self._head if rows == V else _in_large_pages(self._head, rows)
        sizes = [self._head.size, *(layer.hh.size for layer in self.layers)]
        self._shared = max(sizes) >= THREADED_ELEMENTS

    def stepper(self, state: Array, clamps: Iterable[Clamp] = ()) -> Step:
        """A function that feeds one symbol to each stream and updates ``state`` (L, P, N, H) in place.

        The next call reuses the logits array. All buffers are allocated here, none per step. After each step, the h of every
        clamped unit is set to its value.
        """
        _, _, N, H = state.shape
        # One stream works on vectors, so that every product is a matrix-vector product over contiguous rows.
        streams = () if N == 1 else (N,)
        scratch = np.empty((*streams, H), dtype=np.float32)
        # The layers write their products into the same two buffers, one layer after the other.
        rooms = [np.empty(N * max(layer.hh.rows for layer in self.layers), dtype=np.float32) for _ in range(2)]
        run_layers = []
        for number, layer in enumerate(self.layers):
            parts = [
                part.reshape(*streams, H) for part in state[number, : self._parts]
            ]  # views: (N, H), or (H,) for one stream
            run = _layer_step(self._cell, layer, parts, rooms, scratch)
            held = {unit: value for at, unit, value in clamps if at == number}
            run_layers.append(_holding(run, parts[0], held) if held else run)
        head, head_bias, transposed = self._padded_head, self._head_bias, self._head.T
        predicted = np.empty((*streams, len(head) if N == 1 else len(head_bias)), dtype=np.float32)
        logits = predicted[..., : len(head_bias)]
        result = logits.reshape(N, -1)
        inputs = None if self._pairs is None else self._pairs.reader(last_read(state))

        def step(ids: NDArray[Any]) -> Array:
            below = scratch
            if inputs is not None:
                ids = inputs(ids)
            for run in run_layers:
                below = run(ids, below)
            if N == 1:
                np.dot(head, below, predicted)
            else:
                np.matmul(below, transposed, logits)
            np.add(logits, head_bias, logits)
            return result

        if self._pace is None:
            return step
        return self._pace.many(step) if N > 1 else self._pace.one(step) if self._shared else step


@dataclass(frozen=True)
class _PackedLayer:
    """One layer's weights. The first layer has a ``table``, an upper GRU layer has ``ih``; in any other upper layer ``hh`` is
    [W_ih | W_hh].
    """

    table: Array | None
    hh: _Matrix
    ih: _Matrix | None
    bias: Array
    recurrent_bias: Array


def _pack(config: ModelConfig, weights: Mapping[str, Array], vectors: Array, layer: int, multiple: int) -> _PackedLayer:
    ih, hh = weights[f"rnn.weight_ih_l{layer}"], weights[f"rnn.weight_hh_l{layer}"]
    b_ih, b_hh = weights[f"rnn.bias_ih_l{layer}"], weights[f"rnn.bias_hh_l{layer}"]
    H, kind = config.hidden_size, CELL_TYPES[config.cell]
    # Sigmoid gates first (i f o g). Halving their rows, which is exact, turns s(x) = (1 + tanh(x / 2)) / 2 into one tanh over
    # all rows followed by an affine map.
    blocks, first = np.arange(len(ih)).reshape(-1, H), sigmoids(kind.gates)  # (G, H)
    gates = [kind.gates.index(letter) for letter in (*first, *candidates(kind.gates))]
    order = blocks[gates or [0]].ravel()
    scale = np.ones(len(ih), dtype=np.float32)
    scale[: len(first) * H] = 0.5
    ih, hh = ih[order] * scale[:, None], hh[order] * scale[:, None]
    # The GRU's candidate keeps its recurrent product apart, because r multiplies it.
    candidate = slice(-H, None) if kind.apart else slice(0, 0)
    recurrent_bias = (b_hh[order] * scale)[candidate]
    bias = b_ih[order] * scale + b_hh[order] * scale
    bias[candidate] -= recurrent_bias
    if layer == 0:
        # An embedding followed by a linear map is a table with a row per input: (V, E) @ (E, G H) -> (V, G H).
        table = vectors @ ih.T + bias
        return _PackedLayer(table=table, hh=_Matrix(hh, multiple), ih=None, bias=bias, recurrent_bias=recurrent_bias)
    if kind.apart:
        return _PackedLayer(
            table=None, hh=_Matrix(hh, multiple), ih=_Matrix(ih, multiple), bias=bias, recurrent_bias=recurrent_bias
        )
    # Both products of an upper layer as one, over [x; h].
    both = _Matrix(np.concatenate([ih, hh], axis=1), multiple)
    return _PackedLayer(table=None, hh=both, ih=None, bias=bias, recurrent_bias=recurrent_bias)


def _layer_step(cell: str, layer: _PackedLayer, state: list[Array], rooms: list[Array], scratch: Array) -> _LayerStep:
    """A function that advances one layer's ``state``, parts (N, H) or (H,), by symbols or by the output of the layer below."""
    h, table, bias = state[0], layer.table, layer.bias
    *streams, H = h.shape
    multiply, z = layer.hh.into(rooms[0], streams)
    project, projected = (layer.ih or layer.hh).into(rooms[1], streams)
    advance = _ADVANCE[cell](z, state, layer.recurrent_bias, scratch)
    both = np.empty((*streams, 2 * H), dtype=np.float32)
    lower, upper = both[..., :H], both[..., H:]

    def first(ids: NDArray[Any], _: Array) -> Array:
        assert table is not None
        multiply(h)
        # With "clip", which changes no valid id, NumPy copies the rows straight to where they go.
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

    return first if table is not None else stacked if layer.ih is None else apart


def _holding(run: _LayerStep, h: Array, held: Mapping[int, float]) -> _LayerStep:
    """As ``run``, but each unit of ``held`` keeps its value in ``h``."""
    units, values = np.array([*held], dtype=np.intp), np.array([*held.values()], dtype=np.float32)

    def holding(ids: NDArray[Any], below: Array) -> Array:
        run(ids, below)
        h[..., units] = values
        return h

    return holding


# Each function below returns one that advances ``state`` in place. ``z`` then holds the product with the state, blocks in the
# order of `_pack`, sigmoid gates first and halved; the argument is what the layer's inputs add to it. Views are made once:
# slicing an array of one stream takes as long as adding two.


def _advance_lstm(z: Array, state: list[Array], _: Array, scratch: Array) -> _Advance:
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


def _advance_gru(z: Array, state: list[Array], recurrent_bias: Array, scratch: Array) -> _Advance:
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


def _advance_rnn(z: Array, state: list[Array], _: Array, __: Array) -> _Advance:
    (h,) = state

    def advance(inputs: Array) -> None:
        np.add(z, inputs, z)
        np.tanh(z, h)

    return advance


_ADVANCE = {"lstm": _advance_lstm, "gru": _advance_gru, "rnn": _advance_rnn}


class _Matrix:
    """A matrix (M, K) laid out for products with one vector and with many.

    ``rows`` is how many numbers a product with one vector writes: M, or more where rows of zeros follow.
    """

    def __init__(self, matrix: Array, multiple: int = 1) -> None:
        """With threads that come and go, the rows that they share are a ``multiple`` of more than 1."""
        self._M, K = matrix.shape
        self.rows = _rows_of_shares(_rows_for_threads(self._M, K, come_and_go=multiple > 1), K, multiple)
        self.padded, self.size = _in_large_pages(matrix, self.rows), self.rows * K

    @functools.cached_property
    def _transposed(self) -> Array:
        # Products of thin matrices run up to a third faster on transposed copies.
        return np.ascontiguousarray(self.padded[: self._M].T)

    def into(self, room: Array, streams: Iterable[int]) -> tuple[Callable[[Array], Any], Array]:
        """A function that multiplies the matrix by x (*streams, K), and the part of ``room`` where it leaves the product
        (*streams, M). ``streams`` is empty or N alone.
        """
        if shape := tuple(streams):
            transposed, product = self._transposed, room[: shape[0] * self._M].reshape(*shape, self._M)
            return lambda x: np.matmul(x, transposed, product), product
        return functools.partial(np.dot, self.padded, out=room[: self.rows]), room[: self._M]


def _rows_of_shares(rows: int, columns: int, multiple: int) -> int:
    """``rows``; of a matrix that several threads may share, the next ``multiple`` (see `charrnn.network.pace.ALIGNED`)."""
    return -(-rows // multiple) * multiple if rows * columns >= THREADED_ELEMENTS else rows


def _rows_for_threads(rows: int, columns: int, *, come_and_go: bool = False) -> int:
    """``rows``, or as many as bring the product to OpenBLAS's threshold, if that is at most a quarter more: on two cores, a
    product with 1,200 x 384 takes half as long as one with 1,152 x 384.
    """
    enough = -(-THREADED_ELEMENTS // columns)
    return enough if rows < enough <= 1.25 * rows and _multiplies_in_threads(come_and_go) else rows


@functools.cache
def _multiplies_in_threads(come_and_go: bool) -> bool:
    """Whether OpenBLAS may multiply in several threads: those that ``come_and_go``, or as many as it began with."""
    if openblas_version() < SINCE or not x86_64():
        return False
    # As OpenBLAS reads them.
    threads = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS")
    return come_and_go or (threads != "1" and (os.cpu_count() or 1) > 1)


def _in_large_pages(matrix: Array, rows: int) -> Array:
    """A copy of ``matrix``, padded with zeros to ``rows``, that starts on a 2 MiB boundary of an allocation large enough for
    NumPy to ask for huge pages.

    A step reads every weight once; with small pages, a fifth of that time goes into address translation.
    """
    page, size = 1 << 21, rows * matrix.shape[1] * matrix.itemsize
    room = np.empty(max(size, 1 << 22) + page, dtype=np.uint8)
    start = -room.ctypes.data % page
    copy = room[start : start + size].view(np.float32).reshape(rows, -1)
    copy[: len(matrix)], copy[len(matrix) :] = matrix, 0
    return copy
