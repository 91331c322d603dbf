"""GRU and tanh layers with a hand-written backward pass, for CPUs.

torch computes these cells step by step on a CPU, forwards and backwards, some twenty small operators per character. Here
whatever doesn't depend on the step before is computed for many characters at once: the input's products, the derivatives of
the gates and the gradient of the weights. What stays in the loop is one matrix product and a few elementwise operators.

With d_t the gradient of the loss with respect to h_t, every gate's gradient is d_t times a factor that the forward pass knows:

* RNN: h = tanh(a);  da = d (1 - h^2)
* GRU: h' = n + z (h - n);  n = tanh(x_n + r m), m = W_hn h + b_hn:  dx_n = d (1 - z)(1 - n^2), dm = dx_n r,
  da_r = dx_n m r (1 - r), da_z = d (h - n) z (1 - z)
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

    Matrix products are in ``dtype``, everything else in h's own.
    """
    H = h.shape[-1]
    # The recurrent biases of r and z are added once for all steps; that of the candidate stands inside r's product.
    bias = b_ih + torch.cat([b_hh[: 2 * H], torch.zeros_like(b_hh[2 * H :])])
    outputs: Tensor = _gru(_project(x, w_ih, bias, dtype), h, w_hh, b_hh[2 * H :], dtype)
    return outputs, outputs[-1]


def rnn(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """One tanh layer, as `gru`; everything but the last state is in ``dtype``, because products are all that h goes into."""
    outputs: Tensor = _rnn(x.to(dtype), h, w_ih, w_hh, b_ih + b_hh, dtype)
    return outputs, outputs[-1].to(h.dtype)


def _project(x: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    return functional.linear(x.to(dtype), weight.to(dtype), bias.to(dtype))


class _Product:
    """x (``rows``, K) -> x @ matrix.T for many x and one matrix (M, K), in ``dtype``."""

    def __init__(self, matrix: Tensor, rows: int, dtype: torch.dtype, bias: Tensor | None = None) -> None:
        self._matrix, self._bias = matrix.to(dtype), None if bias is None else bias.to(dtype)
        self._packed: Tensor | None = None
        if dtype == torch.bfloat16:
            with contextlib.suppress(AttributeError, RuntimeError):
                # oneDNN's own layout; otherwise every call would bring the matrix into it anew. These are private operators, so
                # their absence must not matter.
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
        d_w_hh, d_w_ih = torch.split(torch.mm(rows.t(), both[:T].flatten(0, 1)).to(w_hh.dtype), [H, w_ih.shape[1]], dim=1)
        d_x = torch.mm(rows, w_ih.to(dtype)).view(T, N, -1) if ctx.needs_input_grad[0] else None
        return d_x, d_h.to(w_hh.dtype), d_w_ih, d_w_hh, rows.sum(0, dtype=w_hh.dtype), None


class _Gru(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, h: Tensor, w_hh: Tensor, b_hn: Tensor, dtype: torch.dtype) -> Tensor:
        T, N, H = len(projected), *h.shape
        multiply = _Product(w_hh, N, dtype)
        states = torch.empty(T + 1, N, H, dtype=h.dtype)
        inputs = torch.empty(T, N, H, dtype=dtype)  # the states before, as the products take them
        gates = torch.empty(T, N, 2 * H, dtype=h.dtype)  # r, z
        candidates = torch.empty(T, N, H, dtype=h.dtype)  # n
        recurrent = torch.empty(T, N, H, dtype=h.dtype)  # m
        states[0] = h
        r, z = (part.unbind() for part in torch.split(gates, H, dim=2))
        h_of, rz_of, n_of, m_of, read = (part.unbind() for part in (states, gates, candidates, recurrent, inputs))
        for block in _blocks(T):
            now = projected[block.start : block.stop].to(h.dtype)
            x_gates, x_candidates = (part.unbind() for part in torch.split(now, [2 * H, H], dim=2))
            for k, t in enumerate(block):
                product_gates, product_m = torch.split(multiply(read[t].copy_(h_of[t])), [2 * H, H], dim=1)
                torch.add(x_gates[k], product_gates, out=rz_of[t]).sigmoid_()
                torch.add(product_m, b_hn, out=m_of[t])
                torch.addcmul(x_candidates[k], r[t], m_of[t], out=n_of[t]).tanh_()
                torch.lerp(n_of[t], h_of[t], z[t], out=h_of[t + 1])
        ctx.save_for_backward(states, inputs, gates, candidates, recurrent, w_hh)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        states, inputs, gates, candidates, recurrent, w_hh = ctx.saved_tensors
        (d_outputs,) = gradients
        T, N, H = candidates.shape
        dtype = inputs.dtype
        # All gradients of a step are d_t times a factor: of m, r, z and x_n, in this order, so that the recurrent product's
        # (m, r, z) and the input's (r, z, x_n) are both contiguous.
        multiply = _Product(torch.cat([w_hh[2 * H :], w_hh[: 2 * H]]).t(), N, dtype)
        d_gates = torch.empty(T, N, 4, H, dtype=dtype)
        all_of, outer = d_gates.unbind(), d_outputs.unsqueeze(2).unbind()
        d_h = torch.zeros(N, 1, H, dtype=states.dtype)
        buffer = torch.empty(BLOCK, N, 4, H, dtype=states.dtype)
        for block in reversed(_blocks(T)):
            now = slice(block.start, block.stop)
            factors = buffer[: len(block)]
            (r, z), n, m = torch.split(gates[now], H, dim=2), candidates[now], recurrent[now]
            f_m, f_r, f_z, f_x = factors.unbind(2)
            torch.mul(1 - n.square(), 1 - z, out=f_x)
            torch.mul(f_x, r, out=f_m)
            torch.mul(f_m, m, out=f_r).mul_(1 - r)
            torch.mul(states[now] - n, z - z.square(), out=f_z)
            kept = z.unsqueeze(2)
            for t in reversed(block):
                d = torch.add(outer[t], d_h)  # (N, 1, H)
                torch.mul(d, factors[t - block.start], out=all_of[t])
                products = multiply(all_of[t].flatten(1)[:, : 3 * H])
                d_h = torch.addcmul(products.to(d.dtype).unsqueeze(1), d, kept[t - block.start])
        d_rows = d_gates.flatten(2)
        d_w = _weight_gradient(d_rows[:, :, : 3 * H], inputs, states.dtype)
        d_bias = d_rows[:, :, :H].sum((0, 1), dtype=states.dtype)
        return d_rows[:, :, H:], d_h.squeeze(1), torch.cat([d_w[H:], d_w[:H]]), d_bias, None


def _weight_gradient(d_products: Tensor, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Of W in W h, from the gradients of all T products (T, N, M) and the states before them (T, N, H): (M, H)."""
    return torch.mm(d_products.flatten(0, 1).t(), inputs.flatten(0, 1)).to(dtype)


_gru: Callable[..., Any] = _Gru.apply
_rnn: Callable[..., Any] = _Rnn.apply
