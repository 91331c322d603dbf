"""Layers for CPUs: GRU and tanh with a hand-written backward pass, and oneDNN's LSTM in bf16 with its cells in fp32.

On a CPU torch computes GRU and tanh cells step by step, forwards and backwards, with some twenty small operators per character.
Here the loop keeps one matrix product and a few elementwise operators. Whatever doesn't depend on the step before is computed
for many characters at once: the products of the inputs, the derivatives of the gates and the gradients of the weights.

With d_t the gradient of the loss with respect to h_t, every gate's gradient is d_t times a factor that the forward pass knows:

* RNN: h = tanh(a);  da = d (1 - h^2)
* GRU: h' = n + z (h - n);  n = tanh(a_n), a_n = x_n + r m, m = W_hn h + b_hn:  da_n = d (1 - z)(1 - n^2), dm = da_n r,
  da_r = dm m (1 - r), da_z = d (h - n) z (1 - z)
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_LSTM_MODE = 2
"""How torch's operator numbers the cell."""
BLOCK = 8
"""How many steps' factors are computed at once: few enough that they stay in the cache."""


def gru(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """One GRU layer: x (T, N, I), h (N, H) and ``nn.GRU``'s weights -> outputs (T, N, H) and the last state (N, H).

    Matrix products, and what the backward pass needs besides the states, are in ``dtype``; all else has h's own type.
    """
    outputs: Tensor = _gru(x.to(dtype).contiguous(), h, w_ih, w_hh, b_ih, b_hh, dtype)
    return outputs, outputs[-1]


def rnn(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """One tanh layer, like `gru`; everything but the last state is in ``dtype``, because h goes into nothing but products."""
    outputs: Tensor = _rnn(x.to(dtype), h, w_ih, w_hh, b_ih + b_hh, dtype)
    return outputs, outputs[-1].to(h.dtype)


def lstm(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """OneDNN's LSTM layer in bf16 with its cells in fp32: x (T, N, I), h and c (N, H) and ``nn.LSTM``'s weights -> outputs
    (T, N, H) in bf16 and the last h and c in fp32. Only where `lstm_keeps_cells`.

    ``nn.LSTM`` under autocast rounds c to bf16 at every character. Bits of 1/256 are too coarse there: a forget gate of 0.999
    forgets nothing, and what is added a little at a time is lost.
    """
    inputs, ih, hh, bias, recurrent_bias, before = (value.to(torch.bfloat16) for value in (x, w_ih, w_hh, b_ih, b_hh, h))
    with torch.autocast("cpu", enabled=False):  # It would round c too.
        outputs, last_h, last_c, _ = torch.mkldnn_rnn_layer(
            inputs.contiguous(),
            ih,
            hh,
            bias,
            recurrent_bias,
            before.contiguous(),
            c.float().contiguous(),
            reverse=False,
            batch_sizes=[],
            mode=_LSTM_MODE,
            hidden_size=h.shape[-1],
            num_layers=1,
            has_biases=True,
            bidirectional=False,
            batch_first=False,
            train=torch.is_grad_enabled(),
        )
    return outputs, last_h.float(), last_c


@functools.cache
def lstm_keeps_cells() -> bool:
    """Whether this torch computes `lstm`: by one of its own operators, which has no promise of staying."""
    H, T = 8, 64
    weights = [torch.zeros(4 * H, 4), torch.zeros(4 * H, H), torch.zeros(4 * H), torch.zeros(4 * H)]
    weights[2][:H], weights[2][H : 2 * H] = -20.0, 7.0  # nothing comes in, next to nothing goes
    try:
        with torch.no_grad():
            _, _, c = lstm(torch.zeros(T, 2, 4), torch.zeros(2, H), torch.full((2, H), 200.0), *weights)
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool(torch.allclose(c, torch.full((2, H), 200.0 * torch.sigmoid(torch.tensor(7.0)).item() ** T), rtol=2e-3))


class Product:
    """Multiplies many x (``rows``, K) by one matrix (M, K) in ``dtype``: x -> x @ matrix.T.

    The matrix is prepared first, which isn't worth its time for ``few`` products, as `_are_few` says.
    """

    def __init__(self, matrix: Tensor, rows: int, dtype: torch.dtype, bias: Tensor | None = None, *, few: bool = False) -> None:
        self._matrix, self._bias = matrix.to(dtype), None if bias is None else bias.to(dtype)
        self._packed: Tensor | None = None
        if not few and _onednn_multiplies(dtype):
            # Packed into oneDNN's own layout. Otherwise every call would pack the matrix anew in bf16, and go to another
            # library in fp32.
            self._linear = torch.ops.mkldnn._linear_pointwise
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self._matrix.contiguous(), rows)

    def __call__(self, x: Tensor) -> Tensor:
        """X @ matrix.T + bias."""
        if self._packed is not None:
            return self._run(x, "none")
        return functional.linear(x, self._matrix, self._bias)

    def tanh(self, x: Tensor) -> Tensor:
        """Tanh of x @ matrix.T + bias."""
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


@functools.cache
def _onednn_multiplies(dtype: torch.dtype) -> bool:
    """Whether this torch has oneDNN's products and they are right: they are private operators, so nothing may depend on them.

    In fp32 only x86-64 uses them, where they were measured; elsewhere oneDNN may have only a slow reference implementation.
    """
    if dtype == torch.float32 and platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    matrix, x, other = (torch.linspace(-1, 1, rows * columns).view(rows, columns) for rows, columns in ((3, 8), (2, 8), (2, 3)))
    matrix, x, other = matrix.to(dtype), x.to(dtype), other.to(dtype)
    try:
        linear = torch.ops.mkldnn._linear_pointwise
        packed = torch.ops.mkldnn._reorder_linear_weight(matrix, len(x))
        found: list[Tensor] = [linear(x, packed, None, "none", [], ""), linear(x, packed, other[0], "tanh", [], "")]
        found += [linear.binary(x, other, packed, None, "add"), linear(x, matrix, None, "none", [], "")]
    except (AttributeError, RuntimeError, TypeError):
        return False
    product = x.double() @ matrix.double().t()  # Autocast leaves double precision alone.
    expected = product, (product + other[0].double()).tanh(), product + other.double(), product
    near = 1e-5 if dtype == torch.float32 else 0.02
    return all(torch.allclose(one.double(), two, rtol=near, atol=near) for one, two in zip(found, expected, strict=True))


def _are_few(T: int, N: int, dtype: torch.dtype) -> bool:
    """Whether products of ``T`` x (N, K) are too few for a prepared matrix; in fp32 it does nothing for one column."""
    return T < BLOCK or (N == 1 and dtype == torch.float32)


def _projection(w_ih: Tensor, rows: int, dtype: torch.dtype, biases: Tensor, *, few: bool) -> Callable[[Tensor], Tensor]:
    """What a GRU's step adds of its input, (rows, I) -> (rows, 4 H): that of r and z, nothing, and twice that of n."""
    H = len(w_ih) // 3
    if not few:
        weights = torch.cat([w_ih[: 2 * H], torch.zeros_like(w_ih[2 * H :]), 2 * w_ih[2 * H :]])
        return Product(weights, rows, dtype, biases)
    multiply = Product(w_ih, rows, dtype, few=True)

    def project(x: Tensor) -> Tensor:
        given = multiply(x)
        return torch.cat([given[:, : 2 * H], torch.zeros_like(given[:, :H]), 2 * given[:, 2 * H :]], dim=1) + biases

    return project


def _weight_gradient(d_products: Tensor, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """The gradient (M, K) of W in W x, in ``dtype``, from the products' own (rows, M) and all x (rows, K), both contiguous."""
    if inputs.dtype == torch.float32 and _onednn_multiplies(inputs.dtype):
        # Rows with gaps between them would go to oneDNN's reference implementation.
        product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs.t().contiguous(), d_products.t(), None, "none", [], "")
        return product.t()
    return torch.mm(d_products.t(), inputs).to(dtype)


def _blocks(T: int) -> list[range]:
    return [range(start, min(start + BLOCK, T)) for start in range(0, T, BLOCK)]


class _Rnn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        (T, N, width), H = x.shape, h.shape[-1]
        product = Product(torch.cat([w_hh, w_ih], dim=1), N, dtype, bias, few=_are_few(T, N, dtype))
        both = torch.empty(T + 1, N, H + width, dtype=dtype)  # [h; x]: one product serves the state and the input
        both[:T, :, H:] = x
        states = both[:, :, :H]
        states[0] = h
        for read, after in zip(both[:T].unbind(), states[1:].unbind(), strict=True):
            after.copy_(product.tanh(read))
        ctx.save_for_backward(both, w_ih, w_hh)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        both, w_ih, w_hh = ctx.saved_tensors
        (T, N), H, dtype = (len(both) - 1, both.shape[1]), len(w_hh), both.dtype
        product = Product(w_hh.t(), N, dtype, few=_are_few(T, N, dtype))
        factors = (1 - both[1:, :, :H].square()).unbind()
        d_products = torch.empty(T, N, H, dtype=dtype)
        steps = d_products.unbind()
        # outer[t]: the gradient of the output that step t starts from; the initial state, where step 0 starts, isn't an output.
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
        own, exact, few = h.dtype, dtype == h.dtype, _are_few(T, N, dtype)
        multiply = Product(w_hh, N, dtype, few=few)
        # What a step adds to its product: for r and z; for m only the bias; and for the candidate, doubled because
        # 2 sigmoid(2a) - 1 costs a third of tanh(a).
        biases = torch.cat([b_ih[: 2 * H] + b_hh[: 2 * H], b_hh[2 * H :], 2 * b_ih[2 * H :]])
        project = _projection(w_ih, BLOCK * N, dtype, biases, few=few)
        states = torch.empty(T + 1, N, H, dtype=own)
        states[0] = h
        inputs = states[:T] if exact else torch.empty(T, N, H, dtype=dtype)  # the steps' first states, for the products
        # For the backward pass: the factors of r, z, m, that of the candidate, and 1 - z. In bf16 these keep their relative
        # precision. z itself, near 1, would lose it, and with it the gradients of the units that remember longest.
        kept = [torch.empty(T, N, width, dtype=dtype) for width in (3 * H, H, H)]
        # One block's gates and factors, which stay in the cache.
        rzm, n, *factors = (torch.empty(BLOCK, N, width, dtype=own) for width in (3 * H, H, 3 * H, H, H))
        rzm_of, rz_of, n_of = rzm.unbind(), rzm[:, :, : 2 * H].unbind(), n.unbind()
        r, z, m = torch.split(rzm, H, dim=2)
        r_of, z_of, m_of = r.unbind(), z.unbind(), m.unbind()
        h_of, read = states.unbind(), inputs.unbind()
        one, minus_one = torch.ones((), dtype=own), -torch.ones((), dtype=own)
        for block in _blocks(T):
            length, now = len(block), slice(block.start, block.stop)
            given = project(x[now].flatten(0, 1)).to(own).view(length, N, 4 * H)
            given_rzm, given_n = (part.unbind() for part in torch.split(given, [3 * H, H], dim=2))
            for k, t in enumerate(block):
                product = multiply(read[t] if exact else read[t].copy_(h_of[t]))
                torch.add(given_rzm[k], product, out=rzm_of[k])
                rz_of[k].sigmoid_()
                torch.addcmul(given_n[k], r_of[k], m_of[k], value=2, out=n_of[k]).sigmoid_()
                torch.add(minus_one, n_of[k], alpha=2, out=n_of[k])
                torch.lerp(n_of[k], h_of[t], z_of[k], out=h_of[t + 1])
            made = [part[now] for part in kept] if exact else [part[:length] for part in factors]
            (f_r, f_z, f_m), f_n, renewed = torch.split(made[0], H, dim=2), *made[1:]
            torch.sub(one, z[:length], out=renewed)
            torch.addcmul(one, n[:length], n[:length], value=-1, out=f_n).mul_(renewed)
            torch.mul(f_n, r[:length], out=f_m)
            torch.mul(f_m, m[:length], out=f_r)
            torch.addcmul(f_r, f_r, r[:length], value=-1, out=f_r)
            torch.sub(states[now], n[:length], out=f_z).mul_(z[:length]).mul_(renewed)
            if not exact:
                for whole, part in zip(kept, made, strict=True):
                    whole[now] = part
        ctx.save_for_backward(x, states, inputs, *kept, w_ih, w_hh)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, states, inputs, factors, candidate_factors, renewed, w_ih, w_hh = ctx.saved_tensors
        (T, N, H), own, dtype = inputs.shape, states.dtype, inputs.dtype
        multiply = Product(w_hh.t(), N, dtype, few=_are_few(T, N, dtype))
        d_gates, d_candidates = torch.empty_like(factors), torch.empty_like(candidate_factors)
        rows_of, gates_of = d_gates.unbind(), d_gates.view(T, N, 3, H).unbind()
        # outer[t]: the gradient of the output that step t starts from; the initial state, where step 0 starts, isn't an output.
        outer = (torch.zeros(N, 1, H, dtype=own), *gradients[0].unsqueeze(2).unbind())
        d_states = torch.empty(BLOCK + 1, N, 1, H, dtype=own)
        d_of = d_states.unbind()
        d_of[0].copy_(outer[T])
        for block in reversed(_blocks(T)):
            length, now = len(block), slice(block.start, block.stop)
            factors_of = factors[now].to(own).view(length, N, 3, H).unbind()
            z_of = (1 - renewed[now].to(own)).unsqueeze(2).unbind()
            d_of[length].copy_(d_of[0])
            for k, t in reversed(list(enumerate(block))):
                torch.mul(d_of[k + 1], factors_of[k], out=gates_of[t])
                products = multiply(rows_of[t]).unsqueeze(1)
                torch.addcmul(torch.add(outer[t], products), d_of[k + 1], z_of[k], out=d_of[k])
            torch.mul(candidate_factors[now], d_states[1 : length + 1, :, 0], out=d_candidates[now])
        d_x = d_w_ih = d_w_hh = d_b_ih = d_b_hh = None
        d_gates, d_candidates, x_rows = d_gates.flatten(0, 1), d_candidates.flatten(0, 1), x.flatten(0, 1)
        if ctx.needs_input_grad[0]:
            w_rz, w_n = torch.split(w_ih.to(dtype), [2 * H, H])
            d_x = torch.addmm(torch.mm(d_candidates, w_n), d_gates[:, : 2 * H], w_rz).view_as(x)
        if any(ctx.needs_input_grad[2:6]):
            d_w_hh = _weight_gradient(d_gates, inputs.flatten(0, 1), own)
            # The part of m is computed and dropped, because rows without it would have gaps between them.
            d_w_rz = _weight_gradient(d_gates, x_rows, own)[: 2 * H]
            d_w_ih = torch.cat([d_w_rz, _weight_gradient(d_candidates, x_rows, own)])
            d_b_hh = d_gates.sum(0).to(own)
            d_b_ih = torch.cat([d_b_hh[: 2 * H], d_candidates.sum(0).to(own)])
        return d_x, d_of[0].squeeze(1), d_w_ih, d_w_hh, d_b_ih, d_b_hh, None


_gru: Callable[..., Any] = _Gru.apply
_rnn: Callable[..., Any] = _Rnn.apply
