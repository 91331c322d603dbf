"""Laws of filters, draws and generation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn import UsageError
from charrnn.cells import Network
from charrnn.config import ModelConfig
from charrnn.sampling import Sampler, apply_temperature, generate, keep_top_k, keep_top_p, opening, prime, softmax
from charrnn.vocabulary import Vocabulary

INF = math.inf
HALVES = np.log([0.125, 0.5, 0.25, 0.125])
"""Logits of a distribution whose sums are exact."""


def kept(logits):
    return np.flatnonzero(np.isfinite(logits)).tolist()


def random_network(cell="lstm", layers=1, vocab_size=7):
    config = ModelConfig(vocab_size=vocab_size, cell=cell, embedding_size=4, hidden_size=8, num_layers=layers)
    rng = np.random.default_rng(2)
    return Network(config, {name: rng.normal(0, 0.7, size) for name, size in config.parameter_shapes().items()})


# -- filters ---------------------------------------------------------------------------------------------------------


def test_temperature_divides():
    np.testing.assert_array_equal(apply_temperature(np.array([1.0, -2.0, 0.0]), 0.5), [2.0, -4.0, 0.0])


@pytest.mark.parametrize("temperature", [0, -1, INF, math.nan])
def test_temperature_names_its_legal_interval(temperature):
    with pytest.raises(UsageError, match=r"temperature must be a number above 0, not "):
        apply_temperature(HALVES, temperature)


@pytest.mark.parametrize(("k", "expected"), [(1, [1]), (2, [1, 2]), (3, [0, 1, 2]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])])
def test_top_k_keeps_the_k_largest_and_the_lower_index_of_a_tie(k, expected):
    result = keep_top_k(HALVES, k)
    assert kept(result) == expected
    np.testing.assert_array_equal(result[expected], HALVES[expected])


@settings(deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.0, 2.0]), min_size=1, max_size=12), st.integers(1, 14))
def test_top_k_never_keeps_more_than_k_and_drops_nothing_larger_than_it_keeps(values, k):
    logits = np.array(values)
    stay = kept(keep_top_k(logits, k))
    assert len(stay) == min(k, len(values))
    gone = [value for index, value in enumerate(values) if index not in stay]
    assert max(gone, default=-INF) <= min(logits[stay])


@pytest.mark.parametrize("k", [0, -3])
def test_top_k_names_its_legal_interval(k):
    with pytest.raises(UsageError, match=rf"top_k must be at least 1, not {k}$"):
        keep_top_k(HALVES, k)


@pytest.mark.parametrize(
    ("p", "expected"),
    [(0.01, [1]), (0.5, [1]), (0.51, [1, 2]), (0.75, [1, 2]), (0.76, [0, 1, 2]), (0.88, [0, 1, 2, 3]), (1.0, [0, 1, 2, 3])],
)
def test_top_p_keeps_the_smallest_set_that_reaches_p_with_the_one_that_crosses(p, expected):
    result = keep_top_p(np.log([0.125, 0.5, 0.25, 0.125]), p)
    assert kept(result) == expected
    np.testing.assert_array_equal(result[expected], HALVES[expected])


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5, allow_subnormal=False), min_size=1, max_size=10), st.floats(0.001, 0.999))
def test_top_p_reaches_p_and_would_not_without_its_smallest(values, p):
    logits = np.array(values)
    weights = [math.exp(value) for value in values]
    stay = kept(keep_top_p(logits, p))
    masses = sorted(weights[index] / sum(weights) for index in stay)
    assert sum(masses) >= p - 1e-9
    assert sum(masses[1:]) < p + 1e-9


@pytest.mark.parametrize("p", [0.0, -0.1, 1.01, math.nan])
def test_top_p_names_its_legal_interval(p):
    with pytest.raises(UsageError, match=r"top_p must be above 0 and at most 1, not "):
        keep_top_p(HALVES, p)


def test_filters_leave_their_input_alone():
    logits = HALVES.copy()
    apply_temperature(logits, 2.0)
    keep_top_k(logits, 1)
    keep_top_p(logits, 0.1)
    Sampler(np.random.default_rng(0), top_k=2, top_p=0.5, banned=0).draw(logits)
    np.testing.assert_array_equal(logits, HALVES)


def test_softmax_of_huge_logits_is_what_it_is_of_small_ones():
    np.testing.assert_allclose(softmax(HALVES + 1e4), [0.125, 0.5, 0.25, 0.125], rtol=1e-9)
    assert softmax(np.array([0.0, -INF], dtype=np.float32)).tolist() == [1.0, 0.0]


# -- draws -----------------------------------------------------------------------------------------------------------


def frequencies(sampler, logits, draws=20_000):
    counts = np.bincount([sampler.draw(logits) for _ in range(draws)], minlength=len(logits))
    return counts / draws


def assert_drawn_from(probabilities, sampler, logits, draws=20_000):
    """Chi-square with at most 7 degrees of freedom: 40 is exceeded by chance once in a million runs."""
    expected = np.array(probabilities)
    found = frequencies(sampler, logits, draws)
    assert not found[expected == 0].any()
    possible = expected > 0
    assert (draws * (found - expected)[possible] ** 2 / expected[possible]).sum() < 40


def test_temperature_0_takes_the_likeliest_and_draws_nothing():
    rng = np.random.default_rng(3)
    sampler = Sampler(rng, temperature=0)
    assert [sampler.draw(np.array(row)) for row in ([0.0, 3.0, 2.0], [5.0, 5.0, 1.0], [-9.0, -8.0, -7.0])] == [1, 0, 2]
    assert rng.random() == np.random.default_rng(3).random()


def test_frequencies_are_the_probabilities():
    assert_drawn_from([0.125, 0.5, 0.25, 0.125], Sampler(np.random.default_rng(0), temperature=1.0), HALVES)


def test_frequencies_of_uniform_logits_are_uniform():
    assert_drawn_from([1 / 8] * 8, Sampler(np.random.default_rng(1), temperature=0.3), np.full(8, 123.0, dtype=np.float32))


@pytest.mark.parametrize(
    ("options", "probabilities"),
    [
        ({"temperature": 0.5}, [1 / 22, 16 / 22, 4 / 22, 1 / 22]),  # squared: 1, 16, 4, 1
        ({"temperature": 1.0, "top_k": 2}, [0, 2 / 3, 1 / 3, 0]),
        ({"temperature": 1.0, "top_p": 0.6}, [0, 2 / 3, 1 / 3, 0]),
        ({"temperature": 1.0, "banned": 1}, [1 / 4, 0, 1 / 2, 1 / 4]),
        ({"temperature": 1.0, "banned": 1, "top_k": 1}, [0, 0, 1, 0]),  # the banned one takes no place among the k
        ({"temperature": 1.0, "top_k": 3, "top_p": 0.55}, [0, 1, 0, 0]),  # top-p sees what top-k left: 4/7 >= 0.55
        ({"temperature": 0.5, "top_p": 0.7}, [0, 1, 0, 0]),  # the temperature acts first: 16/22 >= 0.7
    ],
)
def test_filters_compose_in_the_stated_order(options, probabilities):
    assert_drawn_from(probabilities, Sampler(np.random.default_rng(2), **options), HALVES)


def test_the_banned_symbol_is_never_drawn_however_likely():
    logits = np.array([0.0, 50.0, 0.0], dtype=np.float32)
    for temperature in (0, 0.01, 1.0, 100.0):
        sampler = Sampler(np.random.default_rng(0), temperature=temperature, banned=1)
        assert 1 not in {sampler.draw(logits) for _ in range(600)}


def test_draws_are_the_inverse_cdf_of_the_generators_numbers_one_by_one():
    """More than two blocks of them; the expected ids come from single ``rng.random()`` calls."""
    logits = np.random.default_rng(1).normal(0, 2, 9).astype(np.float32)
    sampler, rng = Sampler(np.random.default_rng(7), temperature=0.8), np.random.default_rng(7)
    weights = [math.exp(float(value) / 0.8) for value in logits]
    cdf = [mass / sum(weights) for mass in itertools.accumulate(weights)]
    for _ in range(700):
        u = rng.random()
        assert sampler.draw(logits) == next(index for index, mass in enumerate(cdf) if mass > u)


def test_two_samplers_of_one_seed_agree_and_of_two_seeds_do_not():
    logits = np.zeros(50)
    one, same, other = (Sampler(np.random.default_rng(seed)) for seed in (1, 1, 2))
    drawn = [[sampler.draw(logits) for _ in range(300)] for sampler in (one, same, other)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-30])
def test_a_tiny_temperature_is_greedy_and_does_not_overflow(temperature):
    sampler = Sampler(np.random.default_rng(0), temperature=temperature, top_k=3, top_p=0.9)
    logits = np.array([-40.0, 3.0, 3.5, -30.0, 1.0], dtype=np.float32)
    assert {sampler.draw(logits) for _ in range(300)} == {2}


def test_a_huge_temperature_is_uniform():
    assert_drawn_from([1 / 4] * 4, Sampler(np.random.default_rng(0), temperature=1e30), HALVES)


def test_a_vocabulary_of_one_symbol_draws_it():
    assert Sampler(np.random.default_rng(0), banned=0).draw(np.zeros(1)) == 0


# -- generation ------------------------------------------------------------------------------------------------------


class Recorder:
    """A sampler that keeps the logits it drew from."""

    def __init__(self, seed=0):
        self._sampler = Sampler(np.random.default_rng(seed), temperature=1.0)
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
                generate(network, *prime(network, np.array([1])), Sampler(np.random.default_rng(s), temperature=0)), 30
            )
        )
        for s in (1, 2)
    ]
    assert runs[0] == runs[1]


def test_the_state_advances_with_each_generated_symbol():
    network = random_network("gru")
    logits, state = prime(network, np.array([1]))
    ids = list(itertools.islice(generate(network, logits, state, Sampler(np.random.default_rng(4))), 6))
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
