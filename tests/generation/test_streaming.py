"""streaming: what was asked for reaches the network; one prompt is read once; one text as it comes."""

from __future__ import annotations

import tracemalloc
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from small_generation import generation, random_network, texts

from charrnn import UsageError
from charrnn.generation import batches, streaming


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_network(tmp_path_factory.mktemp("net") / "net.safetensors")


def test_a_prompt_is_read_once_however_many_samples_start_from_it(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = streaming.read
    monkeypatch.setattr(streaming, "read", lambda network, ids, *rest: read.append(len(ids)) or original(network, ids, *rest))
    assert len(texts(generation(net, {"num_samples": 600}, prompt="abcde"))) == 600
    assert sum(read) == 5


def test_an_endless_text_that_is_measured_keeps_no_list_that_grows(net: Path) -> None:
    stream = generation(net, {"length": -1}, measured=True, stop=["abcdeabcde"]).stream()
    pieces = stream.measured()
    told = [bits for _, bits in islice(pieces, 500)]
    tracemalloc.start()
    told += [next(pieces)[1] for _ in range(4_000)]
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stream.sample("").bits_per_char == pytest.approx(sum(told) / len(told))
    assert kept < 24 * 4_000 + 8 * len(told) + 40_000, "what this test holds itself, and not as much again"


def test_the_bits_of_a_sample_are_those_of_reading_it_again(net: Path) -> None:
    found = generation(net, {"temperature": 1.0, "length": 200}, prompt="ab", measured=True)
    (sample,) = batches.samples(found)
    ids = found.vocabulary.encode("ab" + sample.text).astype(np.intp)
    logits = found.network.unroll(ids[:, None])[0][1:-1, 0].astype(np.float64)
    nats = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(200), ids[2:]]
    assert sample.bits_per_char == pytest.approx(nats.mean() / np.log(2), abs=1e-4)


def test_a_clamped_unit_is_held_from_the_last_character_of_the_prompt_on(net: Path) -> None:
    clamps = {"prompt": "abc", "clamp": ["0:3=0.9", "1:0=-0.5"], "measured": True}
    found = generation(net, {"temperature": 1.0, "length": 25}, **clamps)
    weights, state, bits = found.trained.weights, found.network.initial_state(1), list[float]()
    pieces = list(found.stream().measured())
    written = "".join(piece for piece, _ in pieces)
    # The equations once more, an LSTM of two layers with its own hand.
    ids = found.vocabulary.encode("abc" + written)
    for place, index in enumerate(ids[:-1]):
        x = weights["embedding.weight"][index]
        for layer in range(2):
            z = weights[f"rnn.weight_ih_l{layer}"] @ x + weights[f"rnn.bias_ih_l{layer}"]
            z = z + weights[f"rnn.weight_hh_l{layer}"] @ state[layer, 0, 0] + weights[f"rnn.bias_hh_l{layer}"]
            i, f, g, o = np.split(z, 4)
            s = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
            state[layer, 1, 0] = s(f) * state[layer, 1, 0] + s(i) * np.tanh(g)
            x = s(o) * np.tanh(state[layer, 1, 0])
            if place >= 2:
                unit, value = ((3, 0.9), (0, -0.5))[layer]
                x[unit] = value
            state[layer, 0, 0] = x
        if place >= 2:
            logits = weights["head.weight"] @ x + weights["head.bias"]
            bits.append(-np.log2(np.exp(logits[ids[place + 1]]) / np.exp(logits).sum()))
    np.testing.assert_allclose([each for _, each in pieces], bits, atol=1e-4)
    batch = list(batches.samples(generation(net, {"temperature": 1.0, "length": 25, "num_samples": 9}, **clamps)))
    assert (batch[0].text, batch[0].bits_per_char) == (written, pytest.approx(np.mean(bits), abs=1e-4))


def test_biases_ban_and_force_characters_equals_signs_and_escapes_too(net: Path) -> None:
    assert set(texts(generation(net, {"length": 300}, bias=["a=-inf", "= = -inf".replace(" ", ""), "b=-inf"]))[0]) <= set(
        "\n cde"
    )
    assert texts(generation(net, bias=["==+100"])) == ["=" * 30]
    assert texts(generation(net, bias=[r"\n=1e3"], escapes=True)) == ["\n" * 30]
    with pytest.raises(UsageError, match="--bias must be one character"):
        generation(net, bias=[r"\n=1e3"])
    with pytest.raises(UsageError, match="bans every character"):
        generation(net, bias=[f"{character}=-inf" for character in "\n =abcde"])


def test_a_stop_text_that_the_network_cannot_write_is_said_and_does_no_harm(net: Path) -> None:
    found = generation(net, stop=["xyz", "zz"])
    assert [("'xyz'" in said, "'z'" in said) for said in found.said] == [(True, True), (False, True)]  # type: ignore[attr-defined]
    assert texts(found) == texts(generation(net))
