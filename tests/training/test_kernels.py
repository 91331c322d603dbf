"""Laws of the layers for CPUs: torch's own are the measure."""

from __future__ import annotations

import platform
import types

import pytest
import torch
from small_runs import KERNELS

from charrnn.config import ModelConfig
from charrnn.training import kernels
from charrnn.training.model import CharRNN

pytestmark = pytest.mark.usefixtures("one_thread")
OWN = {"gru": kernels.gru, "rnn": kernels.rnn}
NAMES = ("x", "h", "w_ih", "w_hh", "b_ih", "b_hh")
INPUTS, H = 5, 6

every_cell = pytest.mark.parametrize("cell", list(OWN))


@pytest.fixture
def operators(monkeypatch):
    """A function that puts others in the place of oneDNN's private operators."""

    def replace(**others):
        monkeypatch.setattr(torch.ops, "mkldnn", types.SimpleNamespace(**others))
        kernels._onednn_multiplies.cache_clear()

    yield replace
    monkeypatch.undo()
    kernels._onednn_multiplies.cache_clear()


PACK, ONEDNN = (getattr(torch.ops.mkldnn, name, None) for name in ("_reorder_linear_weight", "_linear_pointwise"))
needs_packing = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_reorder_linear_weight") or not torch.backends.mkldnn.is_available(),
    reason="this torch has no private operators to pack weights by",
)


def arguments(cell, T, N, dtype=torch.float64, inputs=INPUTS, hidden=H):
    """Everything that a layer takes, each wanting a gradient: x, h and torch.nn's four weights."""
    generator = torch.Generator().manual_seed(T * 100 + N)
    rows = {"gru": 3, "rnn": 1}[cell] * hidden
    shapes = [(T, N, inputs), (N, hidden), (rows, inputs), (rows, hidden), (rows,), (rows,)]
    scale = (1.0, 0.5, inputs**-0.5, hidden**-0.5, 0.5, 0.5)
    drawn = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [(value * factor).to(dtype).requires_grad_() for value, factor in zip(drawn, scale, strict=True)]


def by_torch(cell, x, h, *weights):
    """torch.nn's layer on the same arguments."""
    layer = KERNELS[cell](x.shape[-1], h.shape[-1], dtype=x.dtype)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    outputs, last = torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x, h[None]))
    return outputs, last[0]


def own(cell, *given, dtype=torch.float64):
    return OWN[cell](*given, dtype)


def gradients(outputs, last, given):
    """Of a loss in which every output, and the last state once more, has a weight of its own."""
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (value.double() * torch.randn(value.shape, generator=generator, dtype=torch.float64)).sum() for value in (outputs, last)
    )
    return torch.autograd.grad(loss, given)


@every_cell
@pytest.mark.parametrize("T", [1, 2, kernels.BLOCK - 1, kernels.BLOCK, kernels.BLOCK + 1, 2 * kernels.BLOCK + 3])
@pytest.mark.parametrize("N", [1, 4])
def test_outputs_and_all_gradients_are_torchs(cell, T, N):
    given = arguments(cell, T, N)
    expected, got = by_torch(cell, *given), own(cell, *given)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    for name, one, other in zip(NAMES, gradients(*got, given), gradients(*expected, given), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}")


@every_cell
def test_gradients_are_those_of_finite_differences(cell):
    given = arguments(cell, 3, 2, inputs=2, hidden=3)
    assert torch.autograd.gradcheck(lambda *values: own(cell, *values), given)


@every_cell
@pytest.mark.parametrize("wanted", [("h",), ("x",), ("w_ih", "w_hh"), ("b_hh",)])
def test_a_gradient_is_the_same_whichever_others_are_wanted(cell, wanted):
    given = arguments(cell, 5, 3)
    everything = dict(zip(NAMES, gradients(*own(cell, *given), given), strict=True))
    some = [value if name in wanted else value.detach() for name, value in zip(NAMES, given, strict=True)]
    got = gradients(*own(cell, *some), [value for name, value in zip(NAMES, some, strict=True) if name in wanted])
    for name, gradient in zip(wanted, got, strict=True):
        torch.testing.assert_close(gradient, everything[name], rtol=1e-10, atol=1e-12)


@every_cell
def test_the_state_after_a_part_carries_the_gradient_into_it(cell):
    """Two calls, the second from where the first ended, are one call: also backwards."""
    given = arguments(cell, 9, 2)
    x, h, *weights = given
    first, middle = own(cell, x[:4], h, *weights)
    second, last = own(cell, x[4:], middle, *weights)
    whole = own(cell, *given)
    parts = torch.cat([first, second]), last
    for one, other in zip(gradients(*parts, given), gradients(*whole, given), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("swap", [(0, 1), (0, 2), (1, 2)])
def test_gates_in_another_order_are_another_network(swap):
    """So that the comparisons above tell r, z and n apart."""
    x, h, *weights = (value.detach() for value in arguments("gru", 5, 3))
    order = [0, 1, 2]
    order[swap[0]], order[swap[1]] = order[swap[1]], order[swap[0]]
    swapped = [torch.cat([torch.split(weight, H)[gate] for gate in order]) for weight in weights]
    difference = own("gru", x, h, *swapped)[0] - by_torch("gru", x, h, *weights)[0]
    assert difference.abs().max() > 0.05


@every_cell
def test_arguments_that_are_not_contiguous_are_as_good(cell):
    x, h, *weights = arguments(cell, 4, 3)
    strided = x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    assert not strided.is_contiguous()
    one, other = (own(cell, value, h, *weights) for value in (x, strided))
    torch.testing.assert_close(one[0], other[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(*one, [x])[0], gradients(*other, [strided])[0], rtol=1e-12, atol=1e-12)


@every_cell
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_network_of_several_layers_has_the_gradients_of_torchs(cell, layers):
    config = ModelConfig(7, cell, embedding_size=INPUTS, hidden_size=H, num_layers=layers)
    model = CharRNN(config, torch.Generator().manual_seed(2)).double()
    torchs = KERNELS[cell](INPUTS, H, layers, batch_first=True, dtype=torch.float64)
    weights = model.weights()
    recurrent = {name.removeprefix("rnn."): value for name, value in weights.items() if name.startswith("rnn.")}
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(7, (4, 11), generator=generator)
    state = torch.randn(layers, 1, 4, H, generator=generator, dtype=torch.float64).requires_grad_()
    x = weights["embedding.weight"][ids]
    outputs, _ = torch.func.functional_call(torchs, recurrent, (x, state[:, 0]))
    expected = outputs @ weights["head.weight"].T + weights["head.bias"]
    logits, _ = model(ids, state)
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-12)
    factors = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    wanted = [*weights.values(), state]
    both = [torch.autograd.grad((value * factors).sum(), wanted) for value in (logits, expected)]
    for name, one, other in zip([*weights, "state"], *both, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")


# -- bf16 and the packed weights -----------------------------------------------------------------------------------------


def distance(one, other):
    """The largest difference as a share of the largest value."""
    one, other = one.detach().double(), other.detach().double()
    return float((one - other).abs().max() / other.abs().max())


precisions = pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 3e-6), (torch.bfloat16, 0.03)])


def in_precision(cell, dtype, T=20, N=8, hidden=32, inputs=16, change=lambda given: None):
    """Outputs, last state and gradients with products in ``dtype``, beside those in fp64."""
    given = arguments(cell, T, N, torch.float32, inputs, hidden)
    with torch.no_grad():
        change(given)
    exact = [value.detach().double().requires_grad_() for value in given]
    got, expected = own(cell, *given, dtype=dtype), own(cell, *exact)
    return [*got, *gradients(*got, given)], [*expected, *gradients(*expected, exact)]


@every_cell
@precisions
@pytest.mark.parametrize(
    ("T", "N", "hidden", "inputs"), [(20, 8, 32, 16), (1, 1, 32, 16), (1, 8, 7, 5), (9, 1, 7, 5), (8, 3, 17, 31)]
)
def test_products_in_fewer_bits_are_near_those_in_fp64(cell, dtype, bound, T, N, hidden, inputs):
    got, expected = in_precision(cell, dtype, T, N, hidden, inputs)
    assert got[1].dtype == torch.float32
    assert all(gradient.dtype == torch.float32 for gradient in got[2:])
    for name, one, other in zip(("outputs", "last", *NAMES), got, expected, strict=True):
        assert 0 < distance(one, other) < bound, name


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 0.06)])
def test_units_that_remember_long_learn_in_fewer_bits_too(dtype, bound):
    """With z within 0.001 of 1 and large candidates every gate's gradient is still near that in fp64, gate by gate."""
    H = 32

    def remember(given):
        _, _, _, _, b_ih, _ = given
        b_ih[H : 2 * H] += 7
        b_ih[2 * H :] *= 6

    got, expected = in_precision("gru", dtype, T=16, change=remember)
    for name, one, other in zip(NAMES, got[2:], expected[2:], strict=True):
        if name[0] in "wb":
            for gate, a, b in zip("rzn", torch.split(one, H), torch.split(other, H), strict=True):
                assert b.abs().max() > 0, (name, gate)
                assert distance(a, b) < bound, (name, gate)


@needs_packing
@every_cell
@precisions
def test_packed_weights_are_used_where_there_are_any_and_without_them_all_goes_on(cell, dtype, bound, operators):
    matrix = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    if dtype == torch.float32 and platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("measured on x86-64 only")
    try:
        PACK(matrix.to(dtype), 2)
    except RuntimeError:  # bf16 needs AVX-512 or newer
        pytest.skip("this processor has no such layout")
    assert kernels.Product(matrix, 2, dtype)._packed is not None
    assert kernels.Product(matrix.double(), 2, torch.float64)._packed is None
    packed, expected = in_precision(cell, dtype)
    operators()
    assert kernels.Product(matrix, 2, dtype)._packed is None
    plain, _ = in_precision(cell, dtype)
    for name, one, other, exact in zip(("outputs", "last", *NAMES), packed, plain, expected, strict=True):
        assert distance(one, other) < bound, name
        assert distance(other, exact) < bound, name


def refuse(*_):
    raise RuntimeError("oneDNN has no such layout")


class Wrong:
    """oneDNN's product, but for one way of calling it."""

    def __init__(self, way):
        self.way, self.right = way, ONEDNN

    def __call__(self, x, matrix, bias, activation, *more):
        way = "unpacked" if matrix.layout == torch.strided else activation
        return self.right(x, matrix, bias, activation, *more) * (0.5 if way == self.way else 1)

    def binary(self, *given):
        return self.right.binary(*given) * (0.5 if self.way == "binary" else 1)


@needs_packing
@every_cell
@precisions
@pytest.mark.parametrize(
    ("pack", "multiply"),
    [(refuse, refuse), (PACK, refuse), *((PACK, Wrong(way)) for way in ("none", "tanh", "binary", "unpacked"))],
)
def test_operators_that_refuse_or_err_are_not_used(cell, dtype, bound, pack, multiply, operators):
    operators(_linear_pointwise=multiply, _reorder_linear_weight=pack)
    for name, one, other in zip(("outputs", "last", *NAMES), *in_precision(cell, dtype), strict=True):
        assert distance(one, other) < bound, name


@needs_packing
@precisions
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_a_packed_product_is_the_product(rows, dtype, bound):
    """Also for another number of rows than it was packed for; a few products by themselves are not packed."""
    generator = torch.Generator().manual_seed(0)
    matrix, bias = torch.randn(24, 40, generator=generator), torch.randn(24, generator=generator)
    product = kernels.Product(matrix, 16, dtype, bias)
    assert kernels.Product(matrix, 16, dtype, bias, few=True)._packed is None
    x, other = (torch.randn(rows, size, generator=generator).to(dtype) for size in (40, 24))
    exact = x.double() @ matrix.to(dtype).double().T
    assert distance(product(x), exact + bias.to(dtype).double()) < bound / 3
    assert distance(product.tanh(x), (exact + bias.to(dtype).double()).tanh()) < bound / 3
    assert distance(product.plus(x, other), exact + other.double()) < bound / 3


@every_cell
def test_a_network_under_autocast_is_near_the_one_in_fp32(cell):
    kernels._onednn_multiplies.cache_clear()  # Whether they are right is found out under autocast, too.
    model = CharRNN(ModelConfig(7, cell, embedding_size=16, hidden_size=32, num_layers=2), torch.Generator().manual_seed(2))
    ids = torch.randint(7, (8, 16), generator=torch.Generator().manual_seed(3))
    found = []
    for precise in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            logits, state = model(ids, model.initial_state(8))
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1)[:-1], ids.flatten()[1:])
        found.append([logits, state, *torch.autograd.grad(loss, list(model.weights().values()))])
        assert state.dtype == torch.float32
    for exact, near in zip(*found, strict=True):
        assert 0 < distance(near, exact) < 0.05


@every_cell
def test_what_a_call_keeps_for_its_gradient_goes_with_it(cell):
    """The outputs are a view of what is kept; a cycle between the two would never be freed."""
    resource = pytest.importorskip("resource")
    given = arguments(cell, 64, 32, torch.float32, 64, 256)  # keeps at least 2.6 MB
    for number in range(31):
        outputs, last = own(cell, *given, dtype=torch.float32)
        if number % 5 == 0:
            gradients(outputs, last, given)
        if number == 6:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 25_000  # KB


# -- the LSTM in bf16 ----------------------------------------------------------------------------------------------------

LSTM_NAMES = ("x", "h", "c", "w_ih", "w_hh", "b_ih", "b_hh")


@pytest.fixture
def layer_operator(monkeypatch):
    """A function that puts another in the place of torch's own operator for an LSTM layer."""

    def replace(operator):
        monkeypatch.setattr(torch, "mkldnn_rnn_layer", operator)
        kernels.lstm_keeps_cells.cache_clear()

    yield replace
    monkeypatch.undo()
    kernels.lstm_keeps_cells.cache_clear()


def needs_lstm():
    if not kernels.lstm_keeps_cells():
        pytest.skip("this torch has no LSTM layer in bf16 that keeps its cells in fp32")


def remembering(model):
    """An LSTM into which nothing comes, and of which the forget gates let a thousandth go at each character."""
    H = model.config.hidden_size
    with torch.no_grad():
        for name, weight in model.weights().items():
            if name.startswith("rnn."):
                weight.zero_()
        model.weights()["rnn.bias_ih_l0"][:H] = -20
        model.weights()["rnn.bias_ih_l0"][H : 2 * H] = 7
    return model


@pytest.mark.parametrize(("T", "N", "hidden", "inputs"), [(20, 8, 32, 16), (1, 1, 32, 16), (9, 1, 7, 5), (8, 3, 17, 31)])
def test_an_lstm_in_bf16_is_near_torchs_in_fp64(T, N, hidden, inputs):
    needs_lstm()
    generator = torch.Generator().manual_seed(T * 100 + N)
    shapes = [(T, N, inputs), (N, hidden), (N, hidden), (4 * hidden, inputs), (4 * hidden, hidden), *[(4 * hidden,)] * 2]
    scales = (1.0, 0.5, 1.0, inputs**-0.5, hidden**-0.5, 0.5, 0.5)
    given = [
        (scale * torch.randn(*shape, generator=generator)).requires_grad_() for shape, scale in zip(shapes, scales, strict=True)
    ]
    exact = [value.detach().double().requires_grad_() for value in given]
    x, h, c, *weights = exact
    layer = KERNELS["lstm"](inputs, hidden, dtype=torch.float64)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    outputs, (last_h, last_c) = torch.func.functional_call(
        layer, dict(zip(names, weights, strict=True)), (x, (h[None], c[None]))
    )
    found, expected = list(kernels.lstm(*given)), [outputs, last_h[0], last_c[0]]
    assert [value.dtype for value in found] == [torch.bfloat16, torch.float32, torch.float32]
    for results, arguments_ in ((found, given), (expected, exact)):
        factors = [torch.randn(value.shape, generator=torch.Generator().manual_seed(1)) for value in results]
        loss = sum((value.double() * factor).sum() for value, factor in zip(results, factors, strict=True))
        results += torch.autograd.grad(loss, arguments_)
    for name, one, other in zip(("outputs", "last h", "last c", *LSTM_NAMES), found, expected, strict=True):
        assert distance(one, other) < 0.04, name


@pytest.mark.parametrize("learning", [False, True])
def test_under_autocast_an_lstms_cells_still_forget_a_little_at_a_time(learning):
    """Rounded to bf16 at every character they would stay what they are."""
    needs_lstm()
    model = remembering(CharRNN(ModelConfig(7, "lstm", embedding_size=4, hidden_size=8, num_layers=1)))
    state = model.initial_state(2)
    state[0, 1] = 200
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(learning):
        for _ in range(2):
            _, state = model(torch.zeros(2, 64, dtype=torch.int64), state)
    expected = 200 * torch.sigmoid(torch.tensor(7.0)) ** 128
    torch.testing.assert_close(state[0, 1], expected.expand(2, 8), rtol=1e-4, atol=0)


def wrong(*given, **named):
    """An operator that keeps its cells as they are."""
    outputs, h, _, room = LSTM_LAYER(*given, **named)
    return outputs, h, given[6].clone(), room


LSTM_LAYER = getattr(torch, "mkldnn_rnn_layer", None)


@pytest.mark.parametrize("operator", [refuse, wrong])
def test_an_operator_that_refuses_or_rounds_cells_is_not_used(operator, layer_operator):
    needs_lstm()
    layer_operator(operator)
    assert not kernels.lstm_keeps_cells()
    model = CharRNN(ModelConfig(7, "lstm", embedding_size=16, hidden_size=32, num_layers=2), torch.Generator().manual_seed(2))
    ids = torch.randint(7, (8, 16), generator=torch.Generator().manual_seed(3))
    exact, _ = model(ids, model.initial_state(8))
    with torch.autocast("cpu", torch.bfloat16):
        logits, _ = model(ids, model.initial_state(8))
    assert 0 < distance(logits, exact) < 0.05
