"""Properties of the recipe, whatever its constants are."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import OPTIMIZERS

from charrnn.config import GATES, ModelConfig, TrainConfig
from charrnn.declaration import limits_of, option_name
from charrnn.training import recipe
from charrnn.training.recipe import (
    CHOSEN,
    FIXED,
    GPU,
    PLANNED,
    SOAP_CHARACTERS,
    WHOLE_PASSES,
    most_passes,
    plan,
    rounded_speed,
    split,
)
from charrnn.training.workers import MIN_COLUMNS

SIZES = [10_000, 30_000, 100_000, 220_000, 1_000_000, 3_000_000, 10_000_000, 100_000_000]
MINUTES = [0.5, 1, 3, 10, 30, 100, 600]
SPEEDS = [8192.0, 46341.0, 131072.0, None]
DROPOUTS = ("dropout_input", "dropout_between", "dropout_output")

lengths = st.one_of(
    st.fixed_dictionaries({"minutes": st.floats(1e-6, 1e9)}),
    st.fixed_dictionaries({"epochs": st.floats(1e-6, 1e9)}),
    st.fixed_dictionaries({"steps": st.integers(1, 10**15)}),
    st.just({}),
)


def planned(characters, vocab_size=64, model=None, speed=None, **training):
    return plan(characters, vocab_size, model or {}, training, speed)


def hidden(made):
    return made.model["hidden_size"]


@settings(max_examples=500, deadline=None)
@given(st.integers(1, 10**12), st.integers(1, 0x110001), lengths, st.sampled_from([None, 1.0, 92682.0, 1e12]))
def test_every_text_and_length_gets_settings_that_are_legal_and_each_a_reason(characters, vocab_size, length, speed):
    made = plan(characters, vocab_size, {}, length, speed)
    assert made.model.keys() == set(PLANNED["model"])
    assert made.training.keys() == {*PLANNED["training"], *length}
    ModelConfig(**made.model, vocab_size=vocab_size)
    TrainConfig(**made.training)
    assert made.reasons.keys() == CHOSEN
    assert all(reason and "given" not in reason for reason in made.reasons.values())
    assert json.loads(json.dumps(made.to_json(), allow_nan=False)) == made.to_json()


CELLS = tuple(GATES)
GIVEN = {
    "pairs": 17,
    "cell": "gru",
    "num_layers": 3,
    "hidden_size": 77,
    "embedding_size": 5,
    "batch_size": 7,
    "bptt": 33,
    "groups": 5,
    "optimizer": "adamw",
    "lr": 0.123,
    "dropout_input": 0.11,
    "dropout_between": 0.22,
    "dropout_output": 0.33,
    "weight_decay": 0.44,
}


def asked(names):
    model = {name: GIVEN[name] for name in names if name in PLANNED["model"]}
    return model, {name: GIVEN[name] for name in names if name in PLANNED["training"]}


def test_all_that_can_be_chosen_is_tried_here():
    assert GIVEN.keys() == CHOSEN


@settings(max_examples=500, deadline=None)
@given(st.sets(st.sampled_from(sorted(GIVEN))), lengths)
def test_what_is_given_is_kept_and_called_given(names, length):
    model, training = asked(names)
    made = plan(500_000, 64, model, {**training, **length, "seed": 5})
    both = made.model | made.training
    assert {name: both[name] for name in names} == {name: GIVEN[name] for name in names}
    assert {name for name, reason in made.reasons.items() if reason == "given"} == names
    assert made.training["seed"] == 5
    assert {name: made.training[name] for name in length} == length


@pytest.mark.parametrize("name", ["hidden_size", "batch_size"])
def test_the_rest_is_fitted_round_what_is_given(name):
    """A large network reads the text less often in the same time and needs less against learning by heart."""
    if name == "hidden_size":
        small, large = (planned(300_000, model={name: size}, minutes=10) for size in (128, 1024))
        assert small.passes > large.passes
        assert small.training["dropout_output"] > large.training["dropout_output"]
        assert small.training["lr"] > large.training["lr"]
    else:
        few, many = (planned(300_000, steps=2000, **{name: columns}) for columns in (8, 128))
        assert few.passes < many.passes
        assert few.training["dropout_output"] < many.training["dropout_output"]


@pytest.mark.parametrize("characters", SIZES)
@pytest.mark.parametrize("speed", SPEEDS)
def test_more_time_is_never_a_smaller_network_nor_less_regularisation(characters, speed):
    plans = [planned(characters, minutes=minutes, speed=speed) for minutes in MINUTES]
    for less, more in itertools.pairwise(plans):
        assert hidden(less) <= hidden(more)
        assert less.passes <= more.passes
        assert all(less.training[name] <= more.training[name] for name in DROPOUTS)
        assert less.training["lr"] >= more.training["lr"]
        assert less.training["optimizer"] == more.training["optimizer"]
    assert hidden(plans[0]) < hidden(plans[-1]) or characters < 100_000


@pytest.mark.parametrize("minutes", MINUTES)
@pytest.mark.parametrize("speed", SPEEDS)
def test_more_text_is_never_a_smaller_network_nor_more_regularisation(minutes, speed):
    plans = [planned(characters, minutes=minutes, speed=speed) for characters in SIZES]
    for less, more in itertools.pairwise(plans):
        assert hidden(less) <= hidden(more)
        assert less.training["batch_size"] <= more.training["batch_size"]
        assert all(less.training[name] >= more.training[name] for name in DROPOUTS)
    assert hidden(plans[0]) < hidden(plans[-1])


@settings(max_examples=1000, deadline=None)
@given(
    st.integers(5000, 10**8),
    st.integers(5000, 10**8),
    st.one_of(
        st.tuples(st.just("minutes"), st.sampled_from(MINUTES), st.sampled_from(MINUTES)),
        st.tuples(st.just("steps"), st.integers(100, 10**6), st.integers(100, 10**6)),
    ),
)
def test_the_choice_is_monotone_between_any_two_texts_and_lengths(one, other, lengths):
    few, many = sorted((one, other))
    name, *values = lengths
    short, long = sorted(values)
    assert hidden(planned(few, **{name: short})) <= hidden(planned(many, **{name: long}))
    at_few, at_many = planned(few, **{name: long}), planned(many, **{name: short})
    assert all(at_few.training[share] >= at_many.training[share] for share in DROPOUTS)


def fine_steps(low, high):
    """From ``low`` to ``high``, each 3 % above the one before."""
    return [low * 1.03**n for n in range(int(math.log(high / low) / math.log(1.03)) + 1)]


@pytest.mark.parametrize("characters", [20_000, 1_000_000])
def test_no_small_step_in_time_goes_backwards(characters):
    plans = [planned(characters, minutes=minutes) for minutes in fine_steps(0.5, 100)]
    for less, more in itertools.pairwise(plans):
        assert hidden(less) <= hidden(more)
        assert all(less.training[name] <= more.training[name] for name in DROPOUTS)


@pytest.mark.parametrize("minutes", [1, 30])
def test_no_small_step_in_text_goes_backwards(minutes):
    plans = [planned(round(characters), minutes=minutes) for characters in fine_steps(8000, 10**7)]
    for less, more in itertools.pairwise(plans):
        assert hidden(less) <= hidden(more)
        assert all(less.training[name] >= more.training[name] for name in DROPOUTS)


def test_a_faster_machine_is_more_time():
    slow, fast = (planned(1_000_000, minutes=3, speed=speed) for speed in (16384.0, 262144.0))
    assert hidden(slow) < hidden(fast)
    assert planned(1_000_000, minutes=16, speed=16384.0).model == planned(1_000_000, minutes=1, speed=262144.0).model


@pytest.mark.parametrize("length", [{"steps": 3000}, {"epochs": 3.0}])
def test_with_steps_or_epochs_the_machines_speed_is_neither_here_nor_there(length):
    plans = [planned(300_000, speed=speed, **length) for speed in SPEEDS]
    assert all(made == plans[0] for made in plans)
    assert plans[0].speed is None


def assert_no_jump(one, other, *, border=False):
    a, b = one.model | one.training, other.model | other.training
    assert abs(a["hidden_size"] - b["hidden_size"]) <= 32 + 0.07 * max(a["hidden_size"], b["hidden_size"])
    assert all(abs(a[name] - b[name]) <= 0.095 for name in DROPOUTS)
    assert (a["optimizer"] == b["optimizer"]) is not border  # the one choice that can't be gradual, and the rate with it
    assert border or abs(math.log(a["lr"] / b["lr"])) <= 0.25
    assert border or abs(math.log(a["weight_decay"] / b["weight_decay"])) <= 0.45
    assert abs(a["batch_size"] - b["batch_size"]) <= 1 + 0.2 * max(a["batch_size"], b["batch_size"])
    assert abs(a["groups"] - b["groups"]) <= 1 + 0.45 * max(a["groups"], b["groups"])
    assert a["embedding_size"] == b["embedding_size"]
    assert FIXED.items() <= a.items() & b.items()


@settings(max_examples=500, deadline=None)
@given(
    st.integers(5000, 10**8),
    st.floats(0.83, 1.2),
    st.one_of(
        st.fixed_dictionaries({"minutes": st.floats(0.2, 1000)}),
        st.fixed_dictionaries({"epochs": st.floats(0.5, 100)}),
        st.fixed_dictionaries({"steps": st.integers(100, 10**6)}),
    ),
    st.sampled_from(SPEEDS),
)
def test_a_text_a_fifth_longer_or_shorter_makes_no_jump(characters, factor, length, speed):
    sizes = round(characters), round(characters * factor)
    one, other = (plan(size, 64, {}, length, speed) for size in sizes)
    assert_no_jump(one, other, border=min(sizes) < SOAP_CHARACTERS <= max(sizes))


@settings(max_examples=500, deadline=None)
@given(st.integers(5000, 10**8), st.floats(0.2, 1000), st.floats(0.83, 1.2))
def test_a_time_a_fifth_longer_or_shorter_makes_no_jump(characters, minutes, factor):
    assert_no_jump(planned(characters, minutes=minutes), planned(characters, minutes=minutes * factor))


@pytest.mark.parametrize("minutes", [3, 10, 60])
def test_a_small_text_gets_a_small_or_heavily_regularised_network(minutes):
    small, large = planned(10_000, minutes=minutes), planned(10_000_000, minutes=minutes)
    assert hidden(small) < hidden(large)
    assert small.training["dropout_output"] >= 0.4
    assert large.training["dropout_output"] <= small.training["dropout_output"] - 0.3


def test_a_long_text_is_read_in_more_columns_at_a_rate_that_grows_with_them():
    short, long = (planned(characters, model={"hidden_size": 384}, minutes=3) for characters in (1_000_000, 10_000_000))
    assert short.training["optimizer"] == long.training["optimizer"] == "soap"
    assert (short.training["batch_size"], long.training["batch_size"]) == (32, 64)
    assert long.training["lr"] == pytest.approx(2 * short.training["lr"], rel=0.02)
    by_root = [planned(1_000_000, optimizer="adamw", batch_size=columns).training["lr"] for columns in (32, 64)]
    assert by_root[1] == pytest.approx(math.sqrt(2) * by_root[0], rel=0.02)


def test_a_short_text_which_is_soon_learnt_by_heart_gets_the_slower_optimizer():
    sizes = (200_000, SOAP_CHARACTERS - 1, SOAP_CHARACTERS, 1_000_000)
    assert [planned(characters).training["optimizer"] for characters in sizes] == ["adamw", "adamw", "soap", "soap"]


def test_weight_decay_falls_as_a_run_with_adamw_gets_longer():
    small = [planned(200_000, minutes=minutes) for minutes in (1, 3, 10, 1000)]
    decays = [made.training["weight_decay"] for made in small]
    assert decays == sorted(decays, reverse=True)
    assert decays[0] > 0.08
    assert 0.03 < decays[1] < 0.06
    assert decays[2] == pytest.approx(decays[1] * 3 / 10, rel=0.35)
    assert decays[-1] == 0.015
    assert planned(370_000, minutes=1000).training["weight_decay"] == 0.01
    assert planned(10_000, minutes=10).training["weight_decay"] == 0.1
    assert planned(200_000, minutes=10, lr=0.001).training["weight_decay"] > 2 * decays[2]


def test_soaps_rate_is_higher_for_the_lstm_and_in_long_runs_its_weight_decay_is_lower():
    lstm, *others = (
        [planned(10**6, model={"cell": cell}, minutes=minutes) for minutes in (0.5, 3, 10, 1000)] for cell in CELLS
    )
    rates, decays = ([made.training[name] for made in lstm] for name in ("lr", "weight_decay"))
    assert decays == sorted(decays, reverse=True)
    assert decays[0] == 0.1
    assert decays[0] > decays[1] > decays[2] == decays[3] == 0.06
    for other in others:
        assert {made.training["weight_decay"] for made in other} == {0.1}
        assert rates == [pytest.approx(2 * made.training["lr"], rel=0.07) for made in other]
    assert planned(200_000, minutes=10, optimizer="muon").training["weight_decay"] == 0.1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_has_a_rate_of_its_own(optimizer):
    assert planned(10**6, optimizer=optimizer).training["lr"] > 0


def test_a_cell_without_gates_gets_as_much_dropout_in_four_passes_as_another_in_one():
    shares = "dropout_input", "dropout_between", "dropout_output"
    for epochs in (3, 12, 20, 100):
        gated, fewer = ([planned(10**6, epochs=n).training[share] for share in shares] for n in (epochs, epochs / 4))
        assert [planned(10**6, model={"cell": "gru"}, epochs=epochs).training[share] for share in shares] == gated
        assert [planned(10**6, model={"cell": "rnn"}, epochs=epochs).training[share] for share in shares] == fewer
    assert fewer[2] < gated[2]


@pytest.mark.parametrize(("vocab_size", "expected"), [(2, 64), (256, 64), (257, 128), (5000, 128)])
def test_many_symbols_get_larger_embeddings(vocab_size, expected):
    assert plan(1_000_000, vocab_size, {}, {}).model["embedding_size"] == expected


def test_a_text_read_less_than_once_is_learnt_without_dropout():
    made = planned(10**9, minutes=1)
    assert made.passes < 1
    assert made.training["dropout_input"] == made.training["dropout_between"] == made.training["dropout_output"] == 0


def test_a_text_read_less_than_once_is_read_in_groups_of_columns_and_one_read_often_is_not():
    by_text = [planned(characters, minutes=3) for characters in (10**9, 10**7, 5 * 10**6, 10**6)]
    by_time = [planned(5 * 10**6, minutes=minutes) for minutes in (0.5, 1, 3, 10)]
    for plans in by_text, by_time:
        groups = [made.training["groups"] for made in plans]
        assert groups == sorted(groups, reverse=True)
        assert (groups[0], groups[-1]) == (16, 1)
        assert 1 < groups[2] < 16
        assert all((made.training["groups"] == 1) == (made.passes > 2.37) for made in plans)
    short = [planned(characters, steps=10) for characters in (100, 30_000, 500_000)]
    assert [made.training["groups"] for made in short] == [1, 2, 8], "columns of short texts stay long"


@pytest.mark.parametrize("minutes", MINUTES)
def test_options_parse_back_to_what_was_planned(minutes):
    made = planned(300_000, minutes=minutes, lr=0.012345678901)
    words = made.options()
    parsed = dict(zip(words[::2], words[1::2], strict=True))
    assert len(parsed) == len(CHOSEN)
    for config, values in ((ModelConfig, made.model), (TrainConfig, made.training)):
        for name in CHOSEN & values.keys():
            assert limits_of(config, name).parse(name, parsed[option_name(name)]) == values[name], name


@settings(max_examples=500, deadline=None)
@given(st.floats(1, 1e12))
def test_a_speed_is_rounded_to_the_nearest_power_of_the_square_root_of_2(speed):
    rounded = rounded_speed(speed)
    exponent = 2 * math.log2(rounded)
    assert exponent == pytest.approx(round(exponent), abs=1e-9)
    assert 2**-0.2501 <= rounded / speed <= 2**0.2501
    assert rounded_speed(rounded) == rounded


def test_a_speed_of_nothing_is_no_crash_and_noise_changes_it_by_one_step_at_most():
    assert rounded_speed(0) == 1
    for speed in (9_000, 50_000, 81_234):
        near = {rounded_speed(speed * noise) for noise in (0.9, 0.95, 1, 1.05, 1.1)}
        assert len(near) <= 2
        assert max(near) / min(near) <= math.sqrt(2) * 1.0001


@pytest.mark.parametrize("minutes", [0.1, 3, 600])
def test_a_text_of_a_few_lines_is_read_a_thousand_times_in_however_many_minutes(minutes):
    for characters in (2, 6, 80, 900):
        assert planned(characters, minutes=minutes, speed=65536.0).passes <= most_passes(characters) == 1000
    assert most_passes(10_000) == 100_000


@pytest.mark.parametrize("minutes", [0.1, 3, 600])
def test_a_short_list_is_read_tens_of_times_and_a_long_one_as_often_as_the_minutes_allow(minutes):
    for characters in (2, 350, 3500):
        assert planned(characters, minutes=minutes, speed=65536.0, records=True).passes <= most_passes(characters, records=True)
        assert most_passes(characters, records=True) == 50 < most_passes(characters)
    assert most_passes(7000, records=True) == 100
    assert planned(200_000, minutes=60, speed=65536.0, records=True).passes < most_passes(200_000, records=True)
    assert planned(3500, epochs=300, records=True).passes == 300


def test_the_passes_of_a_number_of_steps_count_what_a_short_text_has_for_a_step():
    assert planned(4, steps=20).passes == 5
    assert planned(400, steps=20).passes == 5
    assert planned(100_000, steps=20).passes == pytest.approx(20 * 64 * 8.14 / 100_000, rel=0.01)


def test_a_trained_network_goes_on_at_half_the_rate_of_a_fresh_one():
    for characters in (50_000, 2_000_000):
        fresh, trained = (plan(characters, 64, {"hidden_size": 192}, {"steps": 500}, adapts=adapts) for adapts in (False, True))
        assert trained.training["lr"] == pytest.approx(fresh.training["lr"] / 2, rel=0.05)
        assert "half of a fresh network's" in trained.reasons["lr"]
    assert plan(50_000, 64, {}, {"steps": 500, "lr": 0.01}, adapts=True).reasons["lr"] == "given"


@pytest.mark.parametrize(
    ("members", "cores", "together", "turns"),
    [(1, 1, 1, 1), (2, 2, 2, 1), (2, 8, 2, 1), (3, 2, 2, 2), (4, 2, 2, 2), (5, 4, 3, 2), (3, 1, 1, 3), (64, 8, 8, 8)],
)
def test_networks_share_the_cores_in_as_few_turns_as_there_must_be(members: int, cores: int, together: int, turns: int) -> None:
    found = split(members, cores)
    assert (found.together, found.turns) == (together, turns)
    assert found.together * found.turns >= members
    assert found.together <= cores


@pytest.mark.parametrize("minutes", MINUTES)
def test_a_list_gets_no_smaller_network_and_no_fewer_columns_than_a_text_and_both_grow_with_it(minutes):
    """Its records are starts of their own, and have nothing to do with each other; but one that is read seldom gets less."""
    plans = [planned(characters, minutes=minutes, records=True) for characters in SIZES]
    for text, one in zip(SIZES, plans, strict=True):
        other = planned(text, minutes=minutes)
        assert hidden(one) >= hidden(other) or one.work < WHOLE_PASSES * text
        assert one.training["batch_size"] >= other.training["batch_size"]
        assert one.training["batch_size"] == other.training["batch_size"] or text < 1_000_000
    for (few, many), text in zip(itertools.pairwise(plans), SIZES[1:], strict=True):
        assert hidden(few) <= hidden(many) or many.work < WHOLE_PASSES * text
        assert few.training["batch_size"] <= many.training["batch_size"]
    assert hidden(plans[2]) > hidden(planned(SIZES[2], minutes=minutes))
    assert plans[2].training["batch_size"] == 2 * planned(SIZES[2], minutes=minutes).training["batch_size"]


@given(st.integers(1, 10**12), lengths, st.sampled_from([None, 1e5, 1e8]))
def test_a_plan_for_a_gpu_has_sizes_that_its_kernels_are_quick_with(characters, length, speed):
    made = plan(characters, 64, {}, length, speed, hardware=GPU)
    columns = made.training["batch_size"]
    assert made.model["hidden_size"] % 128 == 0
    assert columns <= 32 or columns % 8 == 0
    assert columns <= 128


def test_a_gpu_reads_more_columns_of_a_long_text_and_has_a_larger_network_for_its_speed():
    cpu = plan(10**7, 64, {}, {"minutes": 3}, 6e4)
    gpu = plan(10**7, 64, {}, {"minutes": 3}, 2e6, hardware=GPU)
    assert (cpu.training["batch_size"], gpu.training["batch_size"]) == (64, 128)
    assert hidden(gpu) > hidden(cpu)
    assert gpu.training["dropout_output"] > cpu.training["dropout_output"]


def test_beyond_two_cores_columns_grow_as_the_root_of_the_cores():
    assert recipe.cpu(1) == recipe.cpu(2) == recipe.CPU
    assert [recipe.cpu(cores).columns for cores in (3, 4, 6, 8, 16, 128)] == [39, 45, 55, 64, 64, 64]
    assert [recipe.cpu(cores).most_columns for cores in (4, 8, 16)] == [91, 128, 128]


@pytest.mark.parametrize("cores", range(1, 9))
def test_of_a_megabyte_each_of_eight_cores_has_columns_for_a_worker_of_its_own(cores):
    columns = plan(10**6, 64, {}, {"minutes": 3}, 6e4, hardware=recipe.cpu(cores)).training["batch_size"]
    assert columns // MIN_COLUMNS >= cores


def test_a_plan_for_more_cores_says_so_and_has_the_rate_of_its_columns():
    two, eight = (plan(10**6, 64, {"hidden_size": 384}, {"minutes": 3}, 6e4, hardware=recipe.cpu(n)) for n in (2, 8))
    assert (two.training["batch_size"], two.training["lr"]) == (32, 0.02)
    assert (eight.training["batch_size"], eight.training["lr"]) == (64, 0.04)
    assert "8 cores" in eight.reasons["batch_size"]


@pytest.mark.parametrize("characters", [1_000, 50_000, 200_000, 390_000])
def test_a_short_text_has_the_same_columns_on_any_number_of_cores(characters):
    made = [plan(characters, 64, {}, {"minutes": 3}, 6e4, hardware=recipe.cpu(cores)).training for cores in (2, 16)]
    assert made[0]["batch_size"] == made[1]["batch_size"]


def test_a_list_that_is_not_read_whole_gets_a_smaller_network_which_reads_more_of_it():
    def size(characters, minutes, **settings):
        return hidden(planned(characters, minutes=minutes, records=True, **settings))

    assert (size(52_500_000, 3), hidden(planned(52_500_000, minutes=3))) == (320, 448)
    assert (size(200_000, 1), hidden(planned(200_000, minutes=1))) == (384, 352)  # read some twenty times
    for characters in (200_000, 5_000_000, 52_500_000):
        sizes = [size(characters, minutes) for minutes in fine_steps(0.5, 100)]
        assert all(0 <= more - less <= 64 for less, more in itertools.pairwise(sizes))
    sizes = [size(round(characters), 3) for characters in fine_steps(10**5, 10**8)]
    assert all(abs(more - less) <= 64 for less, more in itertools.pairwise(sizes))
