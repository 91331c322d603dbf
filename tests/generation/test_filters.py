"""Every filter on distributions whose sums can be done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn import UsageError
from charrnn.generation.filters import (
    add_bias,
    apply_temperature,
    entropy,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical,
    nats_of,
    penalize_repetition,
    ranked,
    ranks_of,
    softmax,
)

INF = math.inf
HALVES = np.log([0.125, 0.5, 0.25, 0.125])
"""Logits of a distribution whose sums are exact; its entropy is 1.75 bits."""


def kept(logits):
    return np.flatnonzero(np.isfinite(logits)).tolist()


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


def test_softmax_of_huge_logits_is_what_it_is_of_small_ones():
    np.testing.assert_allclose(softmax(HALVES + 1e4), [0.125, 0.5, 0.25, 0.125], rtol=1e-9)
    assert softmax(np.array([0.0, -INF], dtype=np.float32)).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("p", "expected"),
    # Bits 3, 1, 2, 3 lie 1.25, 0.75, 0.25, 1.25 from the entropy.
    [(0.01, [2]), (0.25, [2]), (0.26, [1, 2]), (0.75, [1, 2]), (0.76, [0, 1, 2]), (0.88, [0, 1, 2, 3]), (1.0, [0, 1, 2, 3])],
)
def test_typical_keeps_those_nearest_to_the_entropy_until_they_reach_p(p, expected):
    result = keep_typical(HALVES, p)
    assert kept(result) == expected
    np.testing.assert_array_equal(result[expected], HALVES[expected])


def test_typical_takes_what_is_banned_as_never_likely():
    assert kept(keep_typical(np.array([-INF, 0.0, 0.0, -INF]), 0.9)) == [1, 2]


@pytest.mark.parametrize(
    ("p", "expected"), [(0, [0, 1, 2, 3]), (0.24, [0, 1, 2, 3]), (0.26, [1, 2]), (0.49, [1, 2]), (0.51, [1]), (1, [1])]
)
def test_min_p_keeps_what_is_at_least_p_times_the_likeliest(p, expected):
    result = keep_min_p(HALVES, p)
    assert kept(result) == expected
    np.testing.assert_array_equal(result[expected], HALVES[expected])


def test_a_repetition_penalty_divides_positive_logits_and_multiplies_negative_ones():
    logits, repeated = np.array([2.0, -2.0, 4.0, -4.0, 0.0]), np.array([True, True, False, False, True])
    np.testing.assert_array_equal(penalize_repetition(logits, repeated, 2.0), [1.0, -4.0, 4.0, -4.0, 0.0])
    np.testing.assert_array_equal(penalize_repetition(logits, repeated, 0.5), [4.0, -1.0, 4.0, -4.0, 0.0])
    np.testing.assert_array_equal(penalize_repetition(logits, repeated, 1.0), logits)


def test_a_bias_is_added_and_minus_infinity_bans():
    np.testing.assert_array_equal(add_bias(np.array([1.0, 2.0, 3.0]), np.array([0.5, -INF, 0.0])), [1.5, -INF, 3.0])


@pytest.mark.parametrize(
    ("call", "interval"),
    [
        *((lambda p=p: keep_typical(HALVES, p), "typical must be above 0 and at most 1, not ") for p in (0.0, 1.01, math.nan)),
        *((lambda p=p: keep_min_p(HALVES, p), "min_p must be at least 0 and at most 1, not ") for p in (-0.1, 1.01, math.nan)),
        *(
            (
                lambda x=x: penalize_repetition(HALVES, HALVES > 0, x),
                "repetition_penalty must be a number above 0, not ",
            )
            for x in (0, -1, INF, math.nan)
        ),
        *((lambda x=x: add_bias(HALVES, np.full(4, x)), "bias must be numbers or -inf") for x in (INF, math.nan)),
    ],
)
def test_each_of_the_others_names_its_legal_interval_too(call, interval):
    with pytest.raises(UsageError, match=f"^{interval}"):
        call()


EVERY = {
    "penalty": lambda x: penalize_repetition(x, np.arange(x.shape[-1]) % 2 == 0, 1.5),
    "bias": lambda x: add_bias(x, np.linspace(-1, 1, x.shape[-1])),
    "temperature": lambda x: apply_temperature(x, 0.7),
    "top-k": lambda x: keep_top_k(x, 3),
    "typical": lambda x: keep_typical(x, 0.6),
    "top-p": lambda x: keep_top_p(x, 0.6),
    "min-p": lambda x: keep_min_p(x, 0.2),
    "softmax": softmax,
}


@pytest.mark.parametrize("name", EVERY)
def test_many_rows_are_each_treated_like_one_and_the_input_is_left_alone(name):
    rows = np.random.default_rng(5).normal(0, 2, (20, 9))
    rows[3, 4:] = 1.0  # ties
    rows[5, 2] = -INF
    before = rows.copy()
    np.testing.assert_array_equal(EVERY[name](rows), np.stack([EVERY[name](row) for row in rows]))
    np.testing.assert_array_equal(rows, before)


# -- figures of a distribution ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nats_are_the_logarithm_of_the_probability_whatever_is_added_to_the_logits(dtype):
    for shift in (0.0, 700.0, -700.0):
        nats = nats_of((HALVES + shift).astype(dtype), np.array(2))
        assert nats.dtype == np.float64
        assert nats == pytest.approx(math.log(4), rel=1e-12 if dtype is np.float64 else 1e-4)
    rows = np.stack([HALVES, HALVES[::-1]])
    np.testing.assert_allclose(nats_of(rows, np.array([1, 3])), np.log([2, 8]))


def test_ranks_count_from_the_likeliest_and_ties_go_by_index():
    assert ranked(HALVES).tolist() == [1, 2, 0, 3]
    assert ranks_of(np.tile(HALVES, (4, 1)), np.arange(4)).tolist() == [3, 1, 2, 3]


def test_the_entropy_of_halves_is_exact_and_what_never_happens_adds_nothing():
    assert entropy(np.array([0.5, 0.25, 0.125, 0.125, 0.0])) / math.log(2) == pytest.approx(1.75, rel=1e-15)
    np.testing.assert_array_equal(entropy(np.array([[1.0, 0.0], [0.0, 1.0]])), [0.0, 0.0])
    assert not np.signbit(entropy(np.array([[1.0], [1.0]]))).any()
