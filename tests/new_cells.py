"""Two cells that the program doesn't have, added from outside: all that CONTRIBUTING's "Add a cell" asks for but the page.

The coupled LSTM (Greff et al. 2017) has a state of two parts, and one gate for both input and forgetting. The minimal gated
unit (Zhou et al. 2016) has one gate for everything; written as the GRU is, it multiplies the product with h, and is the share
that stays. `test_cell_types` runs this as a program.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from charrnn import cell_types
from charrnn.cell_types import CellType

NEW = {
    "cifg": CellType("coupled LSTM", gates=("f", "g", "o"), parts=2),
    "mgu": CellType("minimal gated unit", gates=("f", "n"), apart=True),
}
cell_types.CELL_TYPES.update(NEW)  # before the settings are declared, which take their choices from it

import charrnn  # noqa: E402
from charrnn.analysis import traces  # noqa: E402
from charrnn.config import ModelConfig  # noqa: E402
from charrnn.network import cells, initial, stepper  # noqa: E402
from charrnn.network.cells import Cell, Network, sigmoid  # noqa: E402
from charrnn.output import page  # noqa: E402
from charrnn.training import model as training  # noqa: E402
from charrnn.training.model import CharRNN  # noqa: E402


class Coupled(Cell):
    gates = NEW["cifg"].gates

    def step(self, inputs, state):
        h, c = state
        f, g, o = np.split(inputs + (h @ self.w_hh.T + self.b_hh), 3, axis=1)
        f, g, o = sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * c + (1 - f) * g
        return (o * np.tanh(c), c), (f, g, o)

    def backward(self, d_state, trace, t, before):
        f, g, o = (trace.gates[letter][t] for letter in self.gates)
        (d_h, d_c), (_, c), tanh_c = d_state, before, np.tanh(trace.c[t])
        d_c = d_c + d_h * (o * (1 - tanh_c * tanh_c))
        d_f, d_g, d_o = d_c * ((c - g) * f * (1 - f)), d_c * ((1 - f) * (1 - g * g)), d_h * (tanh_c * o * (1 - o))
        d_z = np.concatenate([d_f, d_g, d_o], axis=1)
        return d_z, (d_z @ self.w_hh, d_c * f)


class Minimal(Cell):
    gates = NEW["mgu"].gates

    def step(self, inputs, state):
        (h,) = state
        (x_f, x_n), (h_f, h_n) = np.split(inputs, 2, axis=1), np.split(h @ self.w_hh.T + self.b_hh, 2, axis=1)
        f = sigmoid(x_f + h_f)
        n = np.tanh(x_n + (1 - f) * h_n)
        return (f * h + (1 - f) * n,), (f, n)

    def backward(self, d_state, trace, t, before):
        f, n = (trace.gates[letter][t] for letter in self.gates)
        (d_h,), (h,), H = d_state, before, self.w_hh.shape[1]
        h_n = h @ self.w_hh[H:].T + self.b_hh[H:]
        d_n = d_h * ((1 - f) * (1 - n * n))
        d_f = (d_h * (h - n) - d_n * h_n) * f * (1 - f)
        d_recurrent = np.concatenate([d_f, d_n * (1 - f)], axis=1)
        return np.concatenate([d_f, d_n], axis=1), (d_h * f + d_recurrent @ self.w_hh,)


def advance_coupled(z, state, _, scratch):
    h, c = state
    H = h.shape[-1]
    gates, f, o, g = z[..., : 2 * H], z[..., :H], z[..., H : 2 * H], z[..., 2 * H :]

    def advance(inputs):
        np.tanh(np.add(z, inputs, z), z)
        np.add(np.multiply(gates, 0.5, gates), 0.5, gates)
        np.multiply(np.subtract(c, g, c), f, c)  # c = g + f * (c - g)
        np.multiply(o, np.tanh(np.add(c, g, c), scratch), h)

    return advance


def advance_minimal(z, state, recurrent_bias, scratch):
    (h,) = state
    H = h.shape[-1]
    f, n = z[..., :H], z[..., H:]

    def advance(inputs):
        np.tanh(np.add(f, inputs[..., :H], f), f)
        np.add(np.multiply(f, 0.5, f), 0.5, f)
        np.multiply(np.add(n, recurrent_bias, n), np.subtract(1, f, scratch), n)
        np.tanh(np.add(n, inputs[..., H:], n), n)
        np.add(n, np.multiply(np.subtract(h, n, scratch), f, scratch), h)  # h = n + f * (h - n)

    return advance


class Layer(nn.Module):
    """Made and called as ``torch.nn``'s layers, computed a step at a time."""

    blocks: int

    def __init__(self, inputs: int, hidden_size: int, batch_first: bool) -> None:
        super().__init__()
        assert batch_first
        rows = self.blocks * hidden_size
        self.weight_ih_l0, self.weight_hh_l0 = (nn.Parameter(torch.empty(rows, size)) for size in (inputs, hidden_size))
        self.bias_ih_l0, self.bias_hh_l0 = (nn.Parameter(torch.empty(rows)) for _ in range(2))

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """X (N, T, I) from h (1, N, H), or from (h, c): the outputs (N, T, H), and what ``state`` is after the last."""
        parts, outputs = state if isinstance(state, tuple) else (state,), []
        for given in (x @ self.weight_ih_l0.T + self.bias_ih_l0).unbind(1):
            parts = self.step(given, parts[0][0] @ self.weight_hh_l0.T + self.bias_hh_l0, *(part[0] for part in parts))
            outputs.append(parts[0][0])
        return torch.stack(outputs, dim=1), parts if isinstance(state, tuple) else parts[0]


class CoupledLayer(Layer):
    blocks = 3

    def step(self, given, recurrent, h, c):
        f, g, o = (given + recurrent).chunk(3, dim=1)
        f = f.sigmoid()
        c = f * c + (1 - f) * g.tanh()
        return (o.sigmoid() * c.tanh())[None], c[None]


class MinimalLayer(Layer):
    blocks = 2

    def step(self, given, recurrent, h):
        (x_f, x_n), (h_f, h_n) = given.chunk(2, dim=1), recurrent.chunk(2, dim=1)
        f = (x_f + h_f).sigmoid()
        return ((f * h + (1 - f) * (x_n + (1 - f) * h_n).tanh())[None],)


cells.CELLS |= {"cifg": Coupled, "mgu": Minimal}
stepper._ADVANCE |= {"cifg": advance_coupled, "mgu": advance_minimal}
training._LAYERS |= {"cifg": CoupledLayer, "mgu": MinimalLayer}
initial.OPEN["cifg"] = ("f", 1.0)


def check_the_numbers(cell: str) -> None:
    """The equations, the fast step and the layer are one thing, and so are their gradients."""
    config, rng = ModelConfig(7, cell, embedding_size=3, hidden_size=5, num_layers=2), np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.7, shape).astype(np.float32) for name, shape in config.parameter_shapes().items()}
    network, model, ids = Network(config, weights), CharRNN(config), rng.integers(0, 7, (9, 2))
    model.load(weights)
    state = rng.uniform(-0.9, 0.9, network.initial_state(2).shape).astype(np.float32)
    logits, after, traces = network.unroll(ids, state)
    for streams in (slice(2), slice(1)):  # many, and one
        own = state[:, :, streams].copy()
        step = network.stepper(own)
        stepped = np.stack([step(now[streams]).copy() for now in ids])
        np.testing.assert_allclose(stepped, logits[:, streams], atol=1e-5)
        np.testing.assert_allclose(own, after[:, :, streams], atol=1e-5)
    start = torch.from_numpy(state).requires_grad_()
    h, end = model.follow(torch.from_numpy(ids.T), start)
    np.testing.assert_allclose(h.detach().numpy(), traces[-1].h.transpose(1, 0, 2), atol=1e-5)
    np.testing.assert_allclose(end.detach().numpy(), after, atol=1e-5)
    (expected,) = torch.autograd.grad(h[:, -1].sum(), start)
    *_, (found, _) = network.backward(np.ones((2, 5), dtype=np.float32), traces, state)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def check_a_run(cell: str, folder: Path) -> None:
    """It learns, is kept, and everything that the program says of a network it says of this one."""
    (folder / "text.txt").write_text("to be or not to be\n" * 12, encoding="utf-8")
    shape = {"hidden_size": 6, "embedding_size": 3, "layers": 2}
    charrnn.train(folder / "text.txt", cell=cell, out=folder / cell, steps=1, batch_size=2, workers=1, device="cpu", **shape)
    network = charrnn.load(folder / cell)
    assert len(network.sample("to", 5, seed=1)) == 5
    assert network.score("to be or not").bits_per_char > 0
    states = network.states("to be")
    assert [*states.gates] == [*NEW[cell].gates]
    assert (states.c is not None) == (NEW[cell].parts == 2)
    found = traces.inspect(network._trained, network._network, traces.given("to be or not", network._trained, network._network))
    assert found.layers[0].summary()["tau"] is not None
    assert "forget keeps the old" in page.render(found)


if __name__ == "__main__":
    import sys

    for name in NEW:
        check_the_numbers(name)
        check_a_run(name, Path(sys.argv[1]))
