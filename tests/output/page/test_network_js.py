"""The networks of the page in JavaScript against the same networks in NumPy, and what the scripts may not do."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FABLES, ROOT
from javascript import NODE, complaints, evaluate, needs_node

from charrnn.analysis import rounding
from charrnn.cell_types import keeping
from charrnn.config import GATES, ModelConfig
from charrnn.generation.drawing import Drawing, Sampler
from charrnn.generation.filters import softmax
from charrnn.generation.generate import generate, prime
from charrnn.network import checkpoint
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.output.page import document, export, judged
from charrnn.text.vocabulary import Vocabulary

SCRIPTS = [*dict.fromkeys((*export.SCRIPTS, *judged.SCRIPTS)), "page.js"]
CELLS = tuple(GATES)
LOGITS = """
const network = new Network(data.network), all = [];
for (const [place, value] of data.clamps) network.clamps.set(place, value);
for (const id of data.ids) { network.read(id); all.push(Array.from(network.predict())); }
return { logits: all, state: Array.from(network.state) };
"""


def small(
    cell: str, layers: int = 2, hidden: int = 13, form: str = "int8", vocab_size: int = 7, pair_keys: tuple[int, ...] = ()
) -> Checkpoint:
    """A network with weights that are rounded already."""
    shape = {"embedding_size": 5, "hidden_size": hidden, "num_layers": layers}
    config = ModelConfig(vocab_size, cell=cell, pair_keys=pair_keys, **shape)
    rng = np.random.default_rng(3)
    weights = {name: rng.normal(0, 0.6, shape).astype(np.float32) for name, shape in config.parameter_shapes().items()}
    restored = {name: rounding.rounded(tensor, form).restored() for name, tensor in weights.items()}
    return Checkpoint(config, Vocabulary("char", "abcdefghijk"[: vocab_size - 1]), {}, restored)


def packed(trained: Checkpoint, form: str = "int8") -> dict[str, Any]:
    tensors = {name: export.tensor_data(rounding.rounded(tensor, form)) for name, tensor in trained.weights.items()}
    return {"model": export.model_data(trained.model), "tensors": tensors}


@cache
def shipped(form: str = "int8") -> tuple[Checkpoint, dict[str, Any]]:
    """The network that comes along with its weights rounded, and how the page holds it."""
    trained = checkpoint.read(FABLES / "best.safetensors")
    tensors = {name: rounding.rounded(tensor, form) for name, tensor in trained.weights.items()}
    restored = {name: tensor.restored() for name, tensor in tensors.items()}
    held = {
        "model": export.model_data(trained.model),
        "tensors": {name: export.tensor_data(one) for name, one in tensors.items()},
    }
    return Checkpoint(trained.model, trained.vocabulary, trained.training, restored), held


@needs_node
@pytest.mark.parametrize("form", rounding.FORMS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_gives_the_logits_and_the_state_of_numpys(cell: str, layers: int, form: str) -> None:
    trained = small(cell, layers, form=form)
    # Rounding what is rounded changes nothing, up to the last bit of a scale.
    ids = np.random.default_rng(0).integers(0, 7, 300)
    found = evaluate(["shared.js", "network.js"], LOGITS, {"network": packed(trained, form), "ids": ids.tolist(), "clamps": []})
    logits, state, _ = Network(trained.model, trained.weights).unroll(ids[:, None])
    np.testing.assert_allclose(found["logits"], logits[:, 0], atol=1e-4)
    np.testing.assert_allclose(found["state"], state.ravel(), atol=1e-4)


@needs_node
@pytest.mark.parametrize("tabled", ["1e6", "0"])
@pytest.mark.parametrize("cell", CELLS)
def test_pairs_of_symbols_are_read_as_numpy_reads_them(cell: str, tabled: str) -> None:
    trained, ids = small(cell, pair_keys=tuple(range(0, 49, 3))), np.random.default_rng(0).integers(0, 7, 300)
    script = f"Network.mostTabled = {tabled};\n" + LOGITS
    found = evaluate(["shared.js", "network.js"], script, {"network": packed(trained), "ids": ids.tolist(), "clamps": []})
    logits, state, _ = Network(trained.model, trained.weights).unroll(ids[:, None])
    np.testing.assert_allclose(found["logits"], logits[:, 0], atol=1e-4)
    np.testing.assert_allclose(found["state"], state.ravel(), atol=1e-4)
    assert np.abs(logits - Network(small(cell).model, trained.weights).unroll(ids[:, None])[0]).max() > 0.1


@needs_node
@pytest.mark.parametrize("cell", CELLS)
def test_held_units_keep_their_values_as_in_numpy(cell: str) -> None:
    trained, ids = small(cell), np.random.default_rng(1).integers(0, 7, 50)
    clamps = [(0, 2, -0.5), (1, 12, 1.0)]
    held = Network(trained.model, trained.weights).holding(clamps)
    state = held.initial_state(1)
    step = held.stepper(state)
    expected = [step(np.array([index]))[0].copy() for index in ids]
    data = {
        "network": packed(trained),
        "ids": ids.tolist(),
        "clamps": [(13 * layer + unit, value) for layer, unit, value in clamps],
    }
    found = evaluate(["shared.js", "network.js"], LOGITS, data)
    np.testing.assert_allclose(found["logits"], expected, atol=1e-4)


@needs_node
def test_a_vast_vocabulary_has_no_table_and_the_same_logits() -> None:
    data = {"network": packed(small("lstm")), "ids": [1, 2, 3, 1, 6, 1], "clamps": []}
    tabled, untabled = (
        evaluate(["shared.js", "network.js"], before + LOGITS, data) for before in ("", "Network.mostTabled = 0;")
    )
    assert tabled == untabled


@needs_node
def test_the_shipped_network_gives_numpys_logits_along_2000_characters() -> None:
    trained, held = shipped()
    ids = trained.vocabulary.encode((ROOT / "corpora/fables.txt").read_text(encoding="utf-8"))[-2000:]
    program = LOGITS.replace("all.push(Array.from(network.predict()))", "all.push(Array.from(network.predict(), Math.fround))")
    found = evaluate(["shared.js", "network.js"], program, {"network": held, "ids": ids.tolist(), "clamps": []})
    logits, _, _ = Network(trained.model, trained.weights).unroll(ids[:, None])
    np.testing.assert_allclose(found["logits"], logits[:, 0], atol=1e-3)


@needs_node
def test_at_temperature_0_the_shipped_network_writes_numpys_200_characters() -> None:
    trained, held = shipped()
    program = """
    const network = new Network(data.network), sampler = new Sampler(network.V, 1), ids = [];
    for (const id of data.prompt) network.read(id);
    while (ids.length < 200) { ids.push(sampler.draw(network.predict(), 0, 0, data.unknown)); network.read(ids.at(-1)); }
    return ids;
    """
    prompt, unknown = trained.vocabulary.encode("The fox said"), trained.vocabulary.unknown
    found = evaluate(["shared.js", "network.js"], program, {"network": held, "prompt": prompt.tolist(), "unknown": unknown})
    network = Network(trained.model, trained.weights)
    sampler = Sampler(np.random.default_rng(0), Drawing(temperature=0.0, banned=unknown))
    assert found == list(islice(generate(network, *prime(network, prompt), sampler), 200))
    assert len(set(found)) > 10


LOOK_BACK = """
const network = new Network(data.network), states = [network.state.slice()];
for (const id of data.ids) { network.read(id); states.push(network.state.slice()); }
const kept = Array.from(network.state);
const norms = Object.fromEntries(["all", "weights", "gate"].map((path) => [path,
  Array.from(network.lookBack(states, data.ids, data.target, path))]));
return { norms, untouched: kept.every((value, at) => value === network.state[at]) };
"""


@needs_node
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_on_its_way_back_is_numpys_and_each_path_is_its_part(cell: str, layers: int) -> None:
    trained, ids, target = small(cell, layers), np.random.default_rng(2).integers(0, 7, 12), 4
    found = evaluate(
        ["shared.js", "network.js"], LOOK_BACK, {"network": packed(trained), "ids": ids.tolist(), "target": target}
    )
    assert found["untouched"]
    network = Network(trained.model, trained.weights)
    start = network.initial_state(1)
    logits, _, traces = network.unroll(ids[:, None])
    slope = softmax(logits[-1]).astype(np.float32)
    slope[0, target] -= 1
    d_h = slope @ network.weights["head.weight"]
    whole = [np.linalg.norm(d_h), *(np.linalg.norm(d_state) for d_state, _ in network.backward(d_h, traces, start))]
    np.testing.assert_allclose(found["norms"]["all"], whole, rtol=1e-3, atol=1e-6)
    # Through the weights alone: what the gate hands on is left out at every step.
    factor = keeping(GATES[cell]) or ""
    d_state = start.copy()
    d_state[-1, 0] = d_h
    weights, through = [np.linalg.norm(d_h)], [np.linalg.norm(d_h)]
    straight = d_h.copy()
    c = traces[-1].c
    if c is not None:
        straight = d_h * traces[-1].gates["o"][-1] * (1 - np.tanh(c[-1]) ** 2)
        through = [np.linalg.norm(straight)]
    for t in reversed(range(len(ids))):
        d_x = np.zeros(0, dtype=np.float32)
        for number in reversed(range(layers)):
            layer, trace = network.layers[number], traces[number]
            before = tuple(part[t - 1] for part in trace.parts) if t else tuple(start[number])
            d_h_now = d_state[number, 0].copy()
            d_inputs, new = layer.backward(tuple(d_state[number]), trace, t, before)
            d_state[number] = new
            if trained.model.cell_parts > 1:
                d_state[number, 1] = 0
            elif factor:
                d_state[number, 0] -= d_h_now * trace.gates[factor][t]
            d_x = d_inputs @ layer.w_ih
            if number:
                d_state[number - 1, 0] += d_x
        weights.append(np.linalg.norm(d_state))
        straight = straight * (traces[-1].gates[factor][t] if factor else 0)
        through.append(np.linalg.norm(straight))
    np.testing.assert_allclose(found["norms"]["weights"], weights, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found["norms"]["gate"], through, rtol=1e-3, atol=1e-6)


@needs_node
def test_draws_follow_the_distribution_its_temperature_and_top_k() -> None:
    program = """
    const sampler = new Sampler(5, data.seed), counts = [0, 0, 0, 0, 0];
    const logits = Float64Array.from([1, 2, 2, 0, 9]);
    for (let n = 0; n < 20000; n++) counts[sampler.draw(logits, data.temperature, data.k, 4)]++;
    return counts;
    """
    for temperature, k in ((1.0, 0), (0.5, 0), (1.0, 2), (1.0, 1), (0.0, 0)):
        counts = evaluate(["shared.js", "network.js"], program, {"seed": 5, "temperature": temperature, "k": k})
        logits = np.array([1, 2, 2, 0])
        if temperature == 0 or k == 1:
            expected = np.array([0.0, 1, 0, 0])  # of equal ones the first
        else:
            shares = np.exp(logits / temperature) * (1 if k == 0 else logits == 2)
            expected = shares / shares.sum()
        assert counts[4] == 0  # the unknown character is never drawn
        np.testing.assert_allclose(np.array(counts[:4]) / 20000, expected, atol=0.015)
    again = [evaluate(["shared.js", "network.js"], program, {"seed": seed, "temperature": 1, "k": 0}) for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


@needs_node
def test_texts_become_the_ids_of_the_vocabulary_and_back() -> None:
    vocabulary = Vocabulary("char", "\n \"'-aehorsté\U0001f98a")
    program = """
    const vocabulary = new Vocabulary(data.vocabulary), decode = vocabulary.decoder();
    return data.texts.map((text) => {
      const { ids, unknown } = vocabulary.encode(text);
      return [ids, unknown, ids.map(decode).join("")];
    });
    """
    texts = ["a hot\n\U0001f98a é", "e\u0301", "\u201crat\u2019\u201d \u2014", "Ätz", "HÀ", "x", "hßo"]
    found = evaluate(["shared.js", "network.js"], program, {"vocabulary": export.vocabulary_data(vocabulary), "texts": texts})
    for text, (ids, unknown, decoded) in zip(texts, found, strict=True):
        plain, changed = vocabulary.plain(text)  # as the command line reads a prompt
        assert ids == vocabulary.encode(plain).tolist()
        assert unknown == [character for character, form in changed.items() if form == "\ufffd"]
        assert decoded == plain
    raw = evaluate(
        ["shared.js", "network.js"],
        program,
        {"vocabulary": export.vocabulary_data(Vocabulary("byte")), "texts": ["a é\U0001f98a\ufeff"]},
    )
    assert raw == [[list("a é\U0001f98a\ufeff".encode()), [], "a é\U0001f98a\ufeff"]]


# -- what the scripts may not do --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_strict_and_makes_no_markup_of_text(name: str) -> None:
    assert complaints(document.resource(name)) == []


@pytest.mark.parametrize(
    "line",
    ["if (a == b) c();", "if (a != b) c();", "var x = 1;", "e.innerHTML = x;", "eval(x);", 'fetch("x");', "console.log(x);"],
)
def test_what_a_script_may_not_do_is_seen(line: str) -> None:
    assert len(complaints(f'"use strict";\n{line}\n')) == 1
    assert (
        complaints(f'"use strict";\n// {line}\nconst a = "innerHTML == var "; if (a === b || a !== b || a >= b) c();\n') == []
    )
    assert complaints("const a = 1;") == ["doesn't begin with use strict"]


@needs_node
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_can_be_parsed(name: str, tmp_path: Path) -> None:
    assert NODE is not None
    path = tmp_path / name
    path.write_text(document.resource(name), encoding="utf-8")
    done = subprocess.run([NODE, "--check", path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("scripts", [export.SCRIPTS, judged.SCRIPTS])
def test_no_name_stands_at_the_top_of_two_scripts(scripts: Sequence[str]) -> None:
    names = [
        name
        for script in scripts
        for name in re.findall(r"^(?:const|let|class|function\*?) (\w+)", document.resource(script), re.MULTILINE)
    ]
    assert len(names) > 10
    assert len(names) == len(set(names))


def test_what_all_pages_share_stands_in_one_script() -> None:
    shared = re.findall(r"^function (\w+)", document.resource("shared.js"), re.MULTILINE)
    assert {"bytesOf", "make", "makeSvg", "shape", "shapeInText"} <= {*shared}
    for script in {*SCRIPTS} - {"shared.js"}:
        assert not {*shared} & {*re.findall(r"function (\w+)", document.resource(script))}, script
        assert not re.search(r"charCodeAt|setAttribute\(name|createElementNS|0x2400", document.resource(script)), script
