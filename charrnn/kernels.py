"""GRU and tanh layers with a hand-written backward pass, for CPUs.

torch computes these cells step by step on a CPU, forwards and backwards, some twenty small operators per character. Here
whatever doesn't depend on the step before is computed for many characters at once: the input's products, the derivatives of
the gates and the gradient of the weights. What stays in the loop is one matrix product and a few elementwise operators.

With d_t the gradient of the loss with respect to h_t, every gate's gradient is d_t times a factor that the forward pass knows:

* RNN: h = tanh(a);  da = d (1 - h^2)
* GRU: h' = n + z (h - n);  n = tanh(a_n), a_n = x_n + r m, m = W_hn h + b_hn:  da_n = d (1 - z)(1 - n^2), dm = da_n r,
  da_r = dm m (1 - r), da_z = d (h - n) z (1 - z)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 8
"""Steps whose factors are computed at once: few enough that they stay in the cache."""


def gru(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """One GRU layer: x (T, N, I), h (N, H) and ``nn.GRU``'s weights -> outputs (T, N, H) and the last state (N, H).

    Matrix products are in ``dtype`` and what the backward pass needs is kept in it, everything else is in h's own.
    """
    outputs: Tensor = _gru(x.to(dtype).contiguous(), h, w_ih, w_hh, b_ih, b_hh, dtype)
    return outputs, outputs[-1]


def rnn(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """One tanh layer, as `gru`; everything but the last state is in ``dtype``, because products are all that h goes into."""
    outputs: Tensor = _rnn(x.to(dtype), h, w_ih, w_hh, b_ih + b_hh, dtype)
    return outputs, outputs[-1].to(h.dtype)


class _Product:
    """x (``rows``, K) -> x @ matrix.T for many x and one matrix (M, K), in ``dtype``."""

    def __init__(self, matrix: Tensor, rows: int, dtype: torch.dtype, bias: Tensor | None = None) -> None:
        self._matrix, self._bias = matrix.to(dtype), None if bias is None else bias.to(dtype)
        self._packed: Tensor | None = None
        if dtype in (torch.float32, torch.bfloat16):
            with contextlib.suppress(AttributeError, RuntimeError):
                # oneDNN's own layout: otherwise every call would bring the matrix into it anew in bf16, and would be left to
                # another library in fp32. These are private operators, so their absence must not matter.
                self._linear = torch.ops.mkldnn._linear_pointwise
                self._packed = torch.ops.mkldnn._reorder_linear_weight(self._matrix.contiguous(), rows)

    def __call__(self, x: Tensor) -> Tensor:
        if self._packed is not None:
            return self._run(x, "none")
        return functional.linear(x, self._matrix, self._bias)

    def tanh(self, x: Tensor) -> Tensor:
        """The same with the bias added, through tanh."""
        if self._packed is not None:
            return self._run(x, "tanh")
        return functional.linear(x, self._matrix, self._bias).tanh_()

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """X @ matrix.T + other."""
        if self._packed is not None:
            total: Tensor = self._linear.binary(x, other, self._packed, None, "add")
            return total
        return torch.addmm(other, x, self._matrix.t())

    def _run(self, x: Tensor, activation: str) -> Tensor:
        result: Tensor = self._linear(x, self._packed, self._bias, activation, [], "")
        return result


def _weight_gradient(d_products: Tensor, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Of W in W x, from the gradients of all products (rows, M) and all x (rows, K), both contiguous: (M, K) in ``dtype``."""
    if inputs.dtype == torch.float32:
        with contextlib.suppress(AttributeError, RuntimeError):
            # oneDNN again. Of operands that aren't contiguous it would make do with its reference implementation.
            product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs.t().contiguous(), d_products.t(), None, "none", [], "")
            return product.t()
    return torch.mm(d_products.t(), inputs).to(dtype)


def _blocks(T: int) -> list[range]:
    return [range(start, min(start + BLOCK, T)) for start in range(0, T, BLOCK)]


class _Rnn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        (T, N, width), H = x.shape, h.shape[-1]
        product = _Product(torch.cat([w_hh, w_ih], dim=1), N, dtype, bias)
        both = torch.empty(T + 1, N, H + width, dtype=dtype)  # [h; x]: one product serves the state and the input
        both[:T, :, H:] = x
        states = both[:, :, :H]
        states[0] = h
        for read, after in zip(both[:T].unbind(), states[1:].unbind(), strict=True):
            after.copy_(product.tanh(read))
        ctx.save_for_backward(both, w_ih, w_hh)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        both, w_ih, w_hh = ctx.saved_tensors
        (T, N), H, dtype = (len(both) - 1, both.shape[1]), len(w_hh), both.dtype
        product = _Product(w_hh.t(), N, dtype)
        factors = (1 - both[1:, :, :H].square()).unbind()
        d_products = torch.empty(T, N, H, dtype=dtype)
        steps = d_products.unbind()
        # What comes from the outputs of t - 1; before the first stands only the initial state.
        outer = (torch.zeros(N, H, dtype=dtype), *gradients[0].to(dtype).unbind())
        d_h = outer[T]
        for t in range(T - 1, -1, -1):
            d_h = product.plus(torch.mul(d_h, factors[t], out=steps[t]), outer[t])
        rows = d_products.flatten(0, 1)
        d_weights = _weight_gradient(rows, both[:T].flatten(0, 1), w_hh.dtype)
        d_w_hh, d_w_ih = torch.split(d_weights, [H, w_ih.shape[1]], dim=1)
        d_x = torch.mm(rows, w_ih.to(dtype)).view(T, N, -1) if ctx.needs_input_grad[0] else None
        return d_x, d_h.to(w_hh.dtype), d_w_ih, d_w_hh, rows.sum(0, dtype=w_hh.dtype), None


class _Gru(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, dtype: torch.dtype
    ) -> Tensor:
        T, N, H = len(x), *h.shape
        exact = dtype == h.dtype
        multiply = _Product(w_hh, N, dtype)
        # What a step adds to its product, for r, z, m (only its bias) and the candidate (doubled, because by
        # tanh(a) = 2 s(2a) - 1 it costs a third of tanh).
        weights = torch.cat([w_ih[: 2 * H], torch.zeros_like(w_ih[2 * H :]), 2 * w_ih[2 * H :]])
        biases = torch.cat([b_ih[: 2 * H] + b_hh[: 2 * H], b_hh[2 * H :], 2 * b_ih[2 * H :]])
        project = _Product(weights, BLOCK * N, dtype, biases)
        states = torch.empty(T + 1, N, H, dtype=h.dtype)
        states[0] = h
        inputs = states[:T] if exact else torch.empty(T, N, H, dtype=dtype)  # the states before, as the products take them
        gates, candidates = torch.empty(T, N, 3 * H, dtype=dtype), torch.empty(T, N, H, dtype=dtype)  # r, z, m; n
        scratch = () if exact else (torch.empty(BLOCK, N, 3 * H, dtype=h.dtype), torch.empty(BLOCK, N, H, dtype=h.dtype))
        h_of, read, minus_one = states.unbind(), inputs.unbind(), torch.tensor(-1.0, dtype=h.dtype)
        for block in _blocks(T):
            kept = gates[block.start : block.stop], candidates[block.start : block.stop]
            rzm, n = kept if exact else (part[: len(block)] for part in scratch)
            given = project(x[block.start : block.stop].flatten(0, 1)).to(h.dtype).view(len(block), N, 4 * H)
            given_rzm, given_n = (part.unbind() for part in torch.split(given, [3 * H, H], dim=2))
            rzm_of, rz_of, n_of = rzm.unbind(), rzm[:, :, : 2 * H].unbind(), n.unbind()
            r, z, m = (part.unbind() for part in torch.split(rzm, H, dim=2))
            for k, t in enumerate(block):
                product = multiply(read[t] if exact else read[t].copy_(h_of[t]))
                torch.add(given_rzm[k], product, out=rzm_of[k])
                rz_of[k].sigmoid_()
                torch.addcmul(given_n[k], r[k], m[k], value=2, out=n_of[k]).sigmoid_()
                torch.add(minus_one, n_of[k], alpha=2, out=n_of[k])
                torch.lerp(n_of[k], h_of[t], z[k], out=h_of[t + 1])
            if not exact:
                kept[0].copy_(rzm)
                kept[1].copy_(n)
        ctx.save_for_backward(x, states, inputs, gates, candidates, w_ih, w_hh)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, states, inputs, gates, candidates, w_ih, w_hh = ctx.saved_tensors
        (T, N, H), own, dtype = inputs.shape, states.dtype, inputs.dtype
        multiply = _Product(w_hh.t(), N, dtype)
        d_gates, d_candidates = torch.empty_like(gates), torch.empty_like(candidates)
        rows_of, gates_of = d_gates.unbind(), d_gates.view(T, N, 3, H).unbind()
        # What comes from the outputs of t - 1; before the first stands only the initial state.
        outer = (torch.zeros(N, 1, H, dtype=own), *gradients[0].unsqueeze(2).unbind())
        factors, d_states = torch.empty(BLOCK, N, 3, H, dtype=own), torch.empty(BLOCK + 1, N, 1, H, dtype=own)
        factors_of, d_of, one = factors.unbind(), d_states.unbind(), torch.ones((), dtype=own)
        d_of[0].copy_(outer[T])
        for block in reversed(_blocks(T)):
            length, now = len(block), slice(block.start, block.stop)
            r, z, m = torch.split(gates[now].to(own), H, dim=2)
            n = candidates[now].to(own)
            f_r, f_z, f_m = factors[:length].unbind(2)
            kept = 1 - z
            f_n = torch.addcmul(one, n, n, value=-1).mul_(kept)
            torch.mul(f_n, r, out=f_m)
            torch.mul(f_m, m, out=f_r)
            torch.addcmul(f_r, f_r, r, value=-1, out=f_r)
            # (h - n) z is h' - n.
            torch.sub(states[block.start + 1 : block.stop + 1], n, out=f_z).mul_(kept)
            z_of = z.unsqueeze(2).unbind()
            d_of[length].copy_(d_of[0])
            for k, t in reversed(list(enumerate(block))):
                torch.mul(d_of[k + 1], factors_of[k], out=gates_of[t])
                products = multiply(rows_of[t]).unsqueeze(1)
                torch.addcmul(torch.add(outer[t], products), d_of[k + 1], z_of[k], out=d_of[k])
            torch.mul(f_n, d_states[1 : length + 1, :, 0], out=d_candidates[now])
        d_gates, d_candidates, x_rows = d_gates.flatten(0, 1), d_candidates.flatten(0, 1), x.flatten(0, 1)
        # m's share of the input's product is thrown away: rows without it would not be contiguous.
        d_w_rz = _weight_gradient(d_gates, x_rows, own)[: 2 * H]
        d_w_ih = torch.cat([d_w_rz, _weight_gradient(d_candidates, x_rows, own)])
        d_b_hh = d_gates.sum(0).to(own)
        d_b_ih = torch.cat([d_b_hh[: 2 * H], d_candidates.sum(0).to(own)])
        d_x = None
        if ctx.needs_input_grad[0]:
            w_rz, w_n = torch.split(w_ih.to(dtype), [2 * H, H])
            d_x = torch.addmm(torch.mm(d_candidates, w_n), d_gates[:, : 2 * H], w_rz).view_as(x)
        return d_x, d_of[0].squeeze(1), d_w_ih, _weight_gradient(d_gates, inputs.flatten(0, 1), own), d_b_ih, d_b_hh, None


_gru: Callable[..., Any] = _Gru.apply
_rnn: Callable[..., Any] = _Rnn.apply
