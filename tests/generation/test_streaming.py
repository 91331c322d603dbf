"""streaming: what was asked for reaches the network; one prompt is read once; a batch writes what one stream would."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import UsageError
from charrnn.config import ModelConfig, SampleConfig
from charrnn.generation import streaming, turns
from charrnn.generation.request import SampleRequest
from charrnn.generation.streaming import Generation, Sample
from charrnn.network import checkpoint
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.pace import threads_of_numpy
from charrnn.text.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network that knows a few letters."""
    vocabulary = Vocabulary("char", "\n =abcde")
    model = ModelConfig(vocabulary.size, cell="lstm", embedding_size=6, hidden_size=12, num_layers=2)
    rng = np.random.default_rng(1)
    weights = {name: rng.normal(0, 0.8, shape).astype(np.float32) for name, shape in model.parameter_shapes().items()}
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    checkpoint.write(path, Checkpoint(model, vocabulary, {}, weights))
    return path


def generation(net: Path, settings: dict[str, Any] | None = None, **others: Any) -> Generation:
    said: list[str] = []
    found = Generation(SampleRequest(SampleConfig(**{"seed": 1, "length": 30, **(settings or {})}), net, **others), said.append)
    found.said = said  # type: ignore[attr-defined]
    return found


def texts(found: Generation) -> list[str]:
    return [sample.text for sample in found.samples()]


def test_sample_i_is_the_same_alone_in_a_small_batch_and_in_a_large_one(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = texts(generation(net, {"num_samples": 40}, stop=["ab"]))
    assert len(set(large)) > 30
    alone = generation(net, {"num_samples": 40}, stop=["ab"])
    assert ["".join(alone.stream(index).pieces()) for index in range(40)] == large
    monkeypatch.setattr(streaming, "BATCH", 7)
    assert texts(generation(net, {"num_samples": 40}, stop=["ab"])) == large
    assert texts(generation(net, {"num_samples": 3}, stop=["ab"])) == large[:3]
    assert texts(generation(net, stop=["ab"])) == large[:1]


@pytest.mark.parametrize("settings", [{}, {"best_of": 3}])
def test_threads_write_what_one_writes(net: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "BATCH", 20)
    asked = {"num_samples": 90, **settings}
    found = generation(net, asked, stop=["ab"])
    if (shared := threads_of_numpy(2)) is None:
        pytest.skip("the number of NumPy's threads can't be changed here")
    several = Generation(found.request, lambda text: None, threads=shared)
    seen: list[int] = []
    original = turns.in_turns
    monkeypatch.setattr(turns, "in_turns", lambda threads, work: seen.append(threads) or original(threads, work))
    assert texts(several) == texts(found)
    assert seen == [2]


def test_a_prompt_is_read_once_however_many_samples_start_from_it(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = streaming.read
    monkeypatch.setattr(streaming, "read", lambda network, ids, *rest: read.append(len(ids)) or original(network, ids, *rest))
    assert len(texts(generation(net, {"num_samples": 600}, prompt="abcde"))) == 600
    assert sum(read) == 5


def test_every_line_of_a_prompts_file_starts_its_own_texts(net: Path, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("ab\ncde\n\nd\n")
    found = list(generation(net, {"num_samples": 3}, prompts=tmp_path / "p").samples())
    assert [(sample.index, sample.prompt) for sample in found] == [(i, ["ab", "cde", "", "d"][i // 3]) for i in range(12)]
    # Texts of other prompts don't disturb: number 4 is what it is for that prompt alone.
    alone = generation(net, {"num_samples": 5}, prompt="cde")
    assert "".join(alone.stream(4).pieces()) == found[4].text


def test_the_best_of_k_has_the_fewest_bits_per_character_of_the_k(net: Path) -> None:
    candidates = list(generation(net, {"num_samples": 12}, measured=True).samples())
    best = list(generation(net, {"num_samples": 4, "best_of": 3}).samples())
    for index, sample in enumerate(best):
        group = candidates[3 * index : 3 * index + 3]
        assert sample.text == min(group, key=lambda candidate: candidate.bits_per_char or 0).text


def test_of_the_candidates_only_the_best_so_far_is_kept(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, alive, most = generation(net, {"best_of": 500, "num_samples": 2}), weakref.WeakSet[Sample](), list[int]()

    def candidates(*_: object) -> Iterator[Sample]:
        for number in range(1000):
            alive.add(one := Sample(number // 500, "", f"{number}", "length", None, 1, (number * 37) % 500))
            most.append(len(alive))
            yield one

    monkeypatch.setattr(found, "_candidates", candidates)
    assert [sample.text for sample in found.samples()] == ["0", "500"]
    assert max(most) <= 4


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
    (sample,) = found.samples()
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
    batch = list(generation(net, {"temperature": 1.0, "length": 25, "num_samples": 9}, **clamps).samples())
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
