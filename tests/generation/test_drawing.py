"""Laws of the draws: how logits become a distribution, and what one stream and many draw from it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from charrnn.generation.drawing import BatchSampler, Drawing, Sampler, generator

INF = math.inf
HALVES = np.log([0.125, 0.5, 0.25, 0.125])
"""Logits of a distribution whose sums are exact."""


def frequencies(sampler, logits, draws=20_000):
    counts = np.bincount([sampler.draw(logits) for _ in range(draws)], minlength=len(logits))
    return counts / draws


def assert_drawn_from(probabilities, sampler, logits, draws=10_000):
    """Chi-square with at most 7 degrees of freedom: 40 is exceeded by chance once in a million runs."""
    expected = np.array(probabilities)
    found = frequencies(sampler, logits, draws)
    assert not found[expected == 0].any()
    possible = expected > 0
    assert (draws * (found - expected)[possible] ** 2 / expected[possible]).sum() < 40


def test_temperature_0_takes_the_likeliest_and_draws_nothing():
    rng = np.random.default_rng(3)
    sampler = Sampler(rng, Drawing(temperature=0))
    assert [sampler.draw(np.array(row)) for row in ([0.0, 3.0, 2.0], [5.0, 5.0, 1.0], [-9.0, -8.0, -7.0])] == [1, 0, 2]
    assert rng.random() == np.random.default_rng(3).random()


def test_frequencies_are_the_probabilities():
    assert_drawn_from([0.125, 0.5, 0.25, 0.125], Sampler(np.random.default_rng(0), Drawing(temperature=1.0)), HALVES)


def test_frequencies_of_uniform_logits_are_uniform():
    assert_drawn_from(
        [1 / 8] * 8, Sampler(np.random.default_rng(1), Drawing(temperature=0.3)), np.full(8, 123.0, dtype=np.float32)
    )


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
    assert_drawn_from(probabilities, Sampler(np.random.default_rng(2), Drawing(**options)), HALVES)


def test_the_banned_symbol_is_never_drawn_however_likely():
    logits = np.array([0.0, 50.0, 0.0], dtype=np.float32)
    for temperature in (0, 0.01, 1.0, 100.0):
        sampler = Sampler(np.random.default_rng(0), Drawing(temperature=temperature, banned=1))
        assert 1 not in {sampler.draw(logits) for _ in range(600)}


def test_draws_are_the_inverse_cdf_of_the_generators_numbers_one_by_one():
    """More than two blocks of them; the expected ids come from single ``rng.random()`` calls."""
    logits = np.random.default_rng(1).normal(0, 2, 9).astype(np.float32)
    sampler, rng = Sampler(np.random.default_rng(7), Drawing(temperature=0.8)), np.random.default_rng(7)
    weights = [math.exp(float(value) / 0.8) for value in logits]
    cdf = [mass / sum(weights) for mass in itertools.accumulate(weights)]
    for _ in range(700):
        u = rng.random()
        assert sampler.draw(logits) == next(index for index, mass in enumerate(cdf) if mass > u)


def test_two_samplers_of_one_seed_agree_and_of_two_seeds_do_not():
    logits = np.zeros(50)
    one, same, other = (Sampler(np.random.default_rng(seed), Drawing()) for seed in (1, 1, 2))
    drawn = [[sampler.draw(logits) for _ in range(300)] for sampler in (one, same, other)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-30])
def test_a_tiny_temperature_is_greedy_and_does_not_overflow(temperature):
    sampler = Sampler(np.random.default_rng(0), Drawing(temperature=temperature, top_k=3, top_p=0.9))
    logits = np.array([-40.0, 3.0, 3.5, -30.0, 1.0], dtype=np.float32)
    assert {sampler.draw(logits) for _ in range(300)} == {2}


def test_a_huge_temperature_is_uniform():
    assert_drawn_from([1 / 4] * 4, Sampler(np.random.default_rng(0), Drawing(temperature=1e30)), HALVES)


def test_a_vocabulary_of_one_symbol_draws_it():
    assert Sampler(np.random.default_rng(0), Drawing(banned=0)).draw(np.zeros(1)) == 0


def test_the_frequencies_of_a_batch_are_the_probabilities():
    sampler = BatchSampler([generator(3, index) for index in range(200)], Drawing(temperature=1.0))
    drawn = np.concatenate([sampler.draw(np.tile(HALVES, (200, 1))) for _ in range(300)])
    expected = np.array([0.125, 0.5, 0.25, 0.125]) * len(drawn)
    assert ((np.bincount(drawn, minlength=4) - expected) ** 2 / expected).sum() < 40


def test_the_random_numbers_of_two_samples_differ_and_skipping_is_drawing():
    numbers = generator(5, 3).random(1000)
    assert (generator(5, 3, 700).random(300) == numbers[700:]).all()
    for other in (generator(5, 2), generator(6, 3), generator(5 + (3 << 32), 0), generator(5)):
        assert not np.isin(other.random(1000), numbers).any()


# -- what precedes the draw -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "probabilities"),
    [
        ({"temperature": 1.0, "typical": 0.5}, [0, 2 / 3, 1 / 3, 0]),
        ({"temperature": 1.0, "min_p": 0.3}, [0, 2 / 3, 1 / 3, 0]),
        ({"temperature": 1.0, "bias": np.log([1.0, 1.0, 2.0, 4.0])}, [1 / 13, 4 / 13, 4 / 13, 4 / 13]),
        ({"temperature": 1.0, "bias": np.array([0, -INF, 0, 0])}, [1 / 4, 0, 1 / 2, 1 / 4]),
        # The bias comes before the temperature, which squares it too: 1/8, 1/2, 1/2, 1/8 becomes 1, 16, 16, 1.
        ({"temperature": 0.5, "bias": np.log([1.0, 1.0, 2.0, 1.0])}, [1 / 34, 16 / 34, 16 / 34, 1 / 34]),
        # The temperature comes before min-p: 16 : 4 is below 0.3.
        ({"temperature": 0.5, "min_p": 0.3}, [0, 1, 0, 0]),
        # Top-k before typical: of 4/7, 2/7, 1/7 (entropy 1.38 bits) the second is the most typical.
        ({"temperature": 1.0, "top_k": 3, "typical": 0.2}, [0, 0, 1, 0]),
        # Typical before top-p: 1 and 2 stay, 2/3 reaches 0.6; before it, 1/2 would not.
        ({"temperature": 1.0, "typical": 0.5, "top_p": 0.6}, [0, 1, 0, 0]),
        # Top-p before min-p: 1 and 2 reach 0.6; after it, 1 with its 2/3 would by itself.
        ({"temperature": 1.0, "top_p": 0.6, "min_p": 0.3}, [0, 2 / 3, 1 / 3, 0]),
    ],
)
def test_the_other_filters_compose_in_the_stated_order(options, probabilities):
    assert_drawn_from(probabilities, Sampler(np.random.default_rng(2), Drawing(**options)), HALVES)


def test_the_repetition_penalty_comes_before_the_bias():
    """Halved, 2 becomes 1 and with the bias 2, ahead of 1.8; after the bias it would become 1.5."""
    drawing = Sampler(np.random.default_rng(0), Drawing(temperature=0, repetition_penalty=2.0, bias=np.array([1.0, 0.0])))
    drawing.read(np.array([0]))
    assert drawing.draw(np.array([2.0, 1.8], dtype=np.float32)) == 0


def test_the_random_numbers_of_a_seed_are_those_of_every_version():
    """Seeds in scripts and saved states depend on them."""
    assert generator(5, 3).random(3).tolist() == [0.7201956883590646, 0.6946643555619701, 0.6384116219089043]


def test_a_calibration_multiplies_the_temperature_after_penalty_and_bias():
    plain = {"repetition_penalty": 1.5, "bias": np.array([0.3, -0.2, 0.0, 0.1])}
    logits = np.random.default_rng(1).normal(0, 2, (50, 4))
    calibrated, other = (
        Sampler(generator(3), Drawing(temperature=temperature, calibration=calibration, **plain))
        for temperature, calibration in ((0.5, 0.8), (0.4, 1.0))
    )
    assert [calibrated.draw(row) for row in logits] == [other.draw(row) for row in logits]
    drawing = Drawing(temperature=0.5, temperature_end=1.5, length=5, calibration=0.5)
    assert [drawing.temperature_at(position) for position in range(6)] == [0.25, 0.375, 0.5, 0.625, 0.75, 0.75]
    batch = BatchSampler([generator(3, index) for index in range(4)], Drawing(temperature=0.5, calibration=0.8))
    alone = [Sampler(generator(3, index), Drawing(temperature=0.4)) for index in range(4)]
    assert batch.draw(logits[:4]).tolist() == [sampler.draw(row) for sampler, row in zip(alone, logits[:4], strict=True)]


@pytest.mark.parametrize("calibration", [0.01, 0.9, 100])
def test_a_calibrated_network_is_greedy_at_0_and_uniform_at_the_highest_temperature(calibration):
    drawing = Sampler(generator(0), Drawing(temperature=0, calibration=calibration))
    assert [drawing.draw(np.array([0.0, 0.1, 0.0])) for _ in range(20)] == [1] * 20
    wild = Sampler(generator(0), Drawing(temperature=1e308, calibration=calibration))
    assert {wild.draw(np.array([0.0, 50.0, 0.0])) for _ in range(50)} == {0, 1, 2}


def test_bits_are_those_of_the_calibrated_network():
    logits = np.array([0.0, 2.0, 1.0])
    drawing = Sampler(generator(0), Drawing(temperature=0, calibration=0.5), measured=True)
    drawing.draw(logits)
    weights = np.exp(logits / 0.5)
    assert drawing.bits is not None
    assert drawing.bits.popleft() == pytest.approx(-np.log2(weights[1] / weights.sum()))


def test_a_temperature_schedule_is_a_straight_line():
    drawing = Drawing(temperature=0.5, temperature_end=1.5, length=5)
    assert [drawing.temperature_at(position) for position in range(7)] == [0.5, 0.75, 1.0, 1.25, 1.5, 1.5, 1.5]
    assert [Drawing(temperature=0.5, temperature_end=1.5, length=1).temperature_at(0)] == [0.5]


def test_a_schedule_draws_what_its_temperatures_would():
    logits = np.random.default_rng(1).normal(0, 2, 9)
    scheduled, rng = Sampler(generator(4), Drawing(temperature=0.2, temperature_end=3.0, length=300)), generator(4)
    for position in range(300):
        u, temperature = rng.random(), 0.2 + 2.8 * position / 299
        weights = np.exp(logits / temperature - (logits / temperature).max())
        assert scheduled.draw(logits) == np.searchsorted(np.cumsum(weights) / weights.sum(), u, side="right")


def test_a_schedule_may_begin_or_end_greedily():
    logits = np.array([0.0, 0.1, 0.0])
    for first, last, greedy_at in ((0, 50.0, 0), (50.0, 0, 9)):
        runs = []
        for seed in range(50):
            sampler = Sampler(generator(seed), Drawing(temperature=first, temperature_end=last, length=10))
            runs.append([sampler.draw(logits) for _ in range(10)])
        assert {run[greedy_at] for run in runs} == {1}
        assert {run[9 - greedy_at] for run in runs} == {0, 1, 2}


def test_the_repetition_penalty_counts_the_last_characters_of_prompt_and_text():
    logits = np.array([3.0, 2.5, 2.0, 1.5])
    sampler = Sampler(generator(0), Drawing(temperature=0, repetition_penalty=4.0, repetition_window=2))
    sampler.read(np.array([3, 0]))
    # Of 0 and 3 in the window the likeliest left is 1; then 0, 1 -> 2; 1, 2 -> 0; 2, 0 -> 1; ...
    assert [sampler.draw(logits) for _ in range(5)] == [1, 2, 0, 1, 2]


def test_bits_are_those_of_the_network_whatever_is_done_to_its_distribution():
    sampler = Sampler(generator(0), Drawing(temperature=3.0, top_k=3, bias=np.array([0, 0, 5.0, 0]), banned=1), measured=True)
    drawn = [sampler.draw(HALVES + 100) for _ in range(50)]
    np.testing.assert_allclose(sampler.bits, [{0: 3, 2: 2, 3: 3}[index] for index in drawn])


def test_without_being_asked_nothing_is_measured():
    sampler = Sampler(generator(0), Drawing())
    sampler.draw(HALVES)
    assert sampler.bits is None


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.0}, {"top_k": 2}, {"typical": 0.9, "min_p": 0.5}, {"top_p": 0.5}], ids=str
)
@pytest.mark.parametrize(
    ("logits", "possible"),
    [
        ([NAN, NAN, NAN, NAN], {0, 1}),
        ([-INF, -INF, -INF, 9.0], {0, 1}),
        ([NAN, 0.0, NAN, NAN], {1}),
        ([INF, 0.0, INF, INF], {0}),
        ([NAN, INF, NAN, 0.0], {1}),
        ([-INF, NAN, INF, INF], {0, 1}),
    ],
    ids=str,
)
def test_numbers_that_are_not_finite_never_make_what_is_banned_or_no_number(logits, possible, options):
    drawing = Drawing(banned=3, bias=np.array([0.0, 0.0, -INF, 0.0]), **options)
    rows = np.array([logits, [1.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    with np.errstate(invalid="ignore"):
        one, two = Sampler(generator(0), drawing), BatchSampler([generator(0), generator(1)], drawing)
        alone = [one.draw(rows[0]) for _ in range(20)]
        together = [two.draw(rows).tolist() for _ in range(20)]
    assert set(alone) <= possible
    assert [first for first, _ in together] == alone
    assert {second for _, second in together} <= {0, 1}
