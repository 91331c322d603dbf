"""Laws of generation: what is drawn is what was read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from charrnn.config import GATES, ModelConfig
from charrnn.generation.drawing import Drawing, Sampler
from charrnn.generation.generate import generate, opening, prime
from charrnn.network.cells import Network
from charrnn.text.vocabulary import Vocabulary


def random_network(cell="lstm", layers=1, vocab_size=7):
    config = ModelConfig(vocab_size=vocab_size, cell=cell, embedding_size=4, hidden_size=8, num_layers=layers)
    rng = np.random.default_rng(2)
    return Network(config, {name: rng.normal(0, 0.7, size) for name, size in config.parameter_shapes().items()})


class Recorder:
    """A sampler that keeps the logits it drew from."""

    def __init__(self, seed=0):
        self._sampler = Sampler(np.random.default_rng(seed), Drawing(temperature=1.0))
        self.seen = []

    def draw(self, logits):
        self.seen.append(np.array(logits))
        return self._sampler.draw(logits)


@pytest.mark.parametrize("cell", list(GATES))
@pytest.mark.parametrize("layers", [1, 2])
def test_generation_is_teacher_forcing_on_its_own_output(cell, layers):
    network, recorder = random_network(cell, layers), Recorder()
    prompt = np.array([3, 1, 4])
    ids = list(itertools.islice(generate(network, *prime(network, prompt), recorder), 40))
    assert len(set(ids)) > 3
    forced, _, _ = network.unroll(np.concatenate([prompt, ids])[:, None])
    np.testing.assert_allclose(np.stack(recorder.seen), forced[2:-1, 0], atol=1e-4)


@pytest.mark.parametrize("cell", list(GATES))
def test_prime_gives_the_logits_after_the_prompt_and_its_state(cell):
    network, ids = random_network(cell, 2), np.array([0, 6, 2, 2])
    logits, state = prime(network, ids)
    expected, end, _ = network.unroll(ids[:, None])
    assert logits.shape == (7,)
    np.testing.assert_allclose(logits, expected[-1, 0], atol=1e-5)
    np.testing.assert_allclose(state, end, atol=1e-5)


def test_greedy_generation_needs_no_luck():
    network = random_network("gru")
    runs = [
        list(
            itertools.islice(
                generate(network, *prime(network, np.array([1])), Sampler(np.random.default_rng(s), Drawing(temperature=0))), 30
            )
        )
        for s in (1, 2)
    ]
    assert runs[0] == runs[1]


def test_the_state_advances_with_each_generated_symbol():
    network = random_network("gru")
    logits, state = prime(network, np.array([1]))
    ids = list(itertools.islice(generate(network, logits, state, Sampler(np.random.default_rng(4), Drawing())), 6))
    # The last symbol drawn has not been read yet.
    expected = network.unroll(np.array([1, *ids[:-1]])[:, None])[1]
    np.testing.assert_allclose(state, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("vocabulary", "expected"),
    [
        (Vocabulary("char", "\n ab"), 0),
        (Vocabulary("char", "\t\n a"), 1),
        (Vocabulary("char", " ab"), 0),
        (Vocabulary("char", "\t ab"), 1),
        (Vocabulary("char", "xy"), 0),
        (Vocabulary("byte"), 10),
    ],
)
def test_a_text_opens_as_a_line_does_with_newline_else_space_else_the_first_symbol(vocabulary, expected):
    assert opening(vocabulary).tolist() == [expected]
