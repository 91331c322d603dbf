"""Laws of generation: what is drawn is what was read, and a text of a batch is the text drawn alone."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from charrnn.config import ModelConfig
from charrnn.generation.drawing import BatchSampler, Drawing, Sampler, generator
from charrnn.generation.generate import complete, generate, opening, prime
from charrnn.generation.stopping import Ending, Stops, Text
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


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("layers", [1, 2])
def test_generation_is_teacher_forcing_on_its_own_output(cell, layers):
    network, recorder = random_network(cell, layers), Recorder()
    prompt = np.array([3, 1, 4])
    ids = list(itertools.islice(generate(network, *prime(network, prompt), recorder), 40))
    assert len(set(ids)) > 3
    forced, _, _ = network.unroll(np.concatenate([prompt, ids])[:, None])
    np.testing.assert_allclose(np.stack(recorder.seen), forced[2:-1, 0], atol=1e-4)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
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


# -- many streams ----------------------------------------------------------------------------------------------------

SETTINGS = [
    {"temperature": 1.0},
    {"temperature": 0},
    {"temperature": 0.3, "temperature_end": 2.0, "length": 40},
    {"temperature": 0.9, "top_k": 3, "banned": 2},
    {"temperature": 1.2, "typical": 0.8, "top_p": 0.9, "min_p": 0.05},
    {"temperature": 1.0, "repetition_penalty": 1.3, "repetition_window": 5},
    {"temperature": 1.0, "bias": np.array([0, -math.inf, 1.5, 0, 0, 0, 0])},
]


@pytest.mark.parametrize("options", SETTINGS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_text_of_a_batch_is_the_text_drawn_alone(cell, options):
    network = random_network(cell, 2)
    prompts = [np.array([3, 1, 4]), np.array([1]), np.array([5, 5, 0, 2, 6, 1, 3])]
    rows = [prompts[index % 3] for index in range(12)]
    primed = [prime(network, prompt) for prompt in rows]
    sampler = BatchSampler([generator(7, index) for index in range(12)], Drawing(**options), measured=True)
    sampler.read(np.stack([np.pad(prompt, (9 - len(prompt), 0), constant_values=-1) for prompt in rows], axis=1))
    stops = Stops([np.array([1, 3]), np.array([6, 6])], 7)
    ending = Ending(40, stops, 3, 0)
    state = np.concatenate([state for _, state in primed], axis=2)
    together = complete(network, np.stack([logits for logits, _ in primed]), state, sampler, ending)
    assert len(together) == 12
    for index, (prompt, found) in enumerate(zip(rows, together, strict=True)):
        alone = Sampler(generator(7, index), Drawing(**options), measured=True)
        alone.read(prompt)
        text = Text(generate(network, *prime(network, prompt), alone), ending)
        ids = list(text)
        assert (found.ids.tolist(), found.reason, found.stop) == (ids, text.reason, text.stop)
        assert found.bits == pytest.approx(sum(list(alone.bits)[: len(ids)]), abs=1e-3)


def test_texts_of_a_batch_end_differently_in_that_test():
    network = random_network("lstm", 2)
    primed = prime(network, np.array([3]))
    sampler = BatchSampler([generator(7, index) for index in range(60)], Drawing(temperature=1.0))
    ending = Ending(30, Stops([np.array([1, 3])], 7), 5, 0)
    state = np.repeat(primed[1], 60, axis=2)
    found = complete(network, np.repeat(primed[0][None], 60, axis=0), state, sampler, ending)
    assert {completion.reason for completion in found} == {"stop", "lines", "length"}
    assert len({len(completion.ids) for completion in found}) > 10


def test_no_shrinking_and_shrinking_give_the_same_texts():
    network, texts = random_network("gru"), []
    for shrink in (True, False):
        logits, state = prime(network, np.array([3]))
        sampler = BatchSampler([generator(1, index) for index in range(30)], Drawing(temperature=1.0))
        ending = Ending(200, Stops([np.array([2])], 7))
        found = complete(
            network, np.repeat(logits[None], 30, axis=0), np.repeat(state, 30, axis=2), sampler, ending, shrink=shrink
        )
        texts.append([completion.ids.tolist() for completion in found])
    assert texts[0] == texts[1]


def test_texts_of_no_characters_need_no_draw():
    network = random_network()
    logits, state = prime(network, np.array([3]))
    (found,) = complete(network, logits[None], state, BatchSampler([generator(1)], Drawing()), Ending(0))
    assert (found.ids.tolist(), found.reason) == ([], "length")
