"""streaming: what was asked for reaches the network; one prompt is read once; one text as it comes."""

from __future__ import annotations

import tracemalloc
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_generation import generation, random_network, texts

from charrnn import UsageError
from charrnn.generation import batches, streaming
from charrnn.generation.streaming import Generation, Stream
from charrnn.network.cells import Network
from charrnn.training.torch_stepper import TorchNetwork

LISTED = {"count": 9, "held_out": 1, "duplicates": 0, "blank": 0, "longest": 9, "mean_length": 5.0}


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of records."""
    return random_network(tmp_path_factory.mktemp("listed") / "net.safetensors", records=LISTED)


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


def bits_of_records(found: Generation, text: str, prompt: str) -> float:
    """What the records of ``text`` cost a network that reads each alone, the characters of ``prompt`` not counted."""
    network, bits = Network(found.trained.model, found.trained.weights), list[NDArray[Any]]()
    for record in text.splitlines(keepends=True):
        ids = found.vocabulary.encode("\n" + record).astype(np.intp)
        logits = network.unroll(ids[:-1, None])[0][:, 0].astype(np.float64)
        nats = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(record)), ids[1:]]
        bits.append(nats / np.log(2))
    return float(np.concatenate(bits)[len(prompt) :].sum())


@pytest.mark.parametrize("of_torch", [False, True])
def test_of_records_a_prompt_begins_one_and_each_newline_another(listed: Path, of_torch: bool) -> None:
    found = generation(listed, {"temperature": 1.0, "length": 200, "lines": 4, "num_samples": 9}, prompt="ab", measured=True)
    trained = found.trained
    device = TorchNetwork(trained.model, trained.weights, "cpu", newline=trained.newline) if of_torch else None
    written = list(batches.samples(found, device))
    for sample in written:
        expected = bits_of_records(found, "ab" + sample.text, "ab")
        assert sample.bits_per_char == pytest.approx(expected / sample.characters, abs=1e-4)
    assert sum(sample.text.count("\n") for sample in written) > 9


def test_a_conversation_with_a_network_of_records_begins_one_at_each_line(listed: Path) -> None:
    found = generation(listed, {"temperature": 1.0, "length": 90, "lines": 1}, measured=True)
    place = found.beginning()
    for prompt in ("ab", "cd"):
        stream = Stream(found, 0, found.read(place, prompt), kept=True)
        text = "".join(stream.pieces())
        assert text.endswith("\n")
        sample = stream.sample(text)
        assert sample.bits_per_char == pytest.approx(
            bits_of_records(found, prompt + text, prompt) / sample.characters, abs=1e-4
        )
        place = stream.rest()


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
