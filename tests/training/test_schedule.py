"""The schedule as functions of a few numbers: budget, learning rate, evaluations, and the cadence of the loop."""

from __future__ import annotations

import itertools

import pytest

from charrnn.config import TrainConfig
from charrnn.training.schedule import (
    EVALUATION_MARKS,
    Budget,
    Cadence,
    Due,
    affordable_characters,
    closing_seconds,
    is_marked,
    learning_rate,
    next_mark,
)

STEPS, MINUTE = Budget(200, None), Budget(None, 60.0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"steps": 7}, Budget(7, None)),
        ({"epochs": 1.5}, Budget(15, None)),
        ({"epochs": 0.01}, Budget(1, None)),
        ({"minutes": 2.0}, Budget(None, 120.0)),
    ],
)
def test_a_budget_is_of_steps_or_of_seconds(given: dict[str, float], expected: Budget) -> None:
    assert Budget.of(TrainConfig(**given), chunks_per_epoch=10) == expected  # type: ignore[arg-type]


def test_a_fraction_counts_from_where_the_schedule_began() -> None:
    assert STEPS.fraction(110, 1e9, start=20, closing=0.0) == pytest.approx(0.5)
    assert MINUTE.fraction(10**9, 30.0, start=10.0, closing=10.0) == pytest.approx(0.5)


def test_a_run_of_minutes_on_a_short_text_is_over_after_so_many_passes() -> None:
    budget = Budget.of(TrainConfig(minutes=1.0), chunks_per_epoch=5, most_epochs=1000)
    assert budget == Budget(None, 60.0, 5000)
    assert budget.fraction(2500, 6.0, start=0.0, closing=0.0) == 0.5
    assert budget.fraction(50, 30.0, start=0.0, closing=0.0) == 0.5
    assert budget.spent(4999, 1.0, 0.0) is None
    assert "so short a text" in (budget.spent(5000, 1.0, 0.0) or "")
    assert [*budget.warnings(4999)] == []
    (warning,) = budget.warnings(5000)
    assert "--steps" in str(warning)
    assert Budget.of(TrainConfig(steps=9), chunks_per_epoch=5, most_epochs=1000).most_steps is None


def test_how_many_steps_a_run_will_make_is_given_or_estimated_from_what_steps_took() -> None:
    assert STEPS.expected_steps(3, 1e9, 1e9, 0.0) == 200
    assert MINUTE.expected_steps(100, 20.0, 10.0, closing=10.0) == 100 + 300
    assert MINUTE.expected_steps(100, 70.0, 10.0, closing=0.0) == 100
    assert Budget(None, 60.0, 150).expected_steps(100, 20.0, 10.0, closing=0.0) == 150
    assert [STEPS.is_settled(1), MINUTE.is_settled(49), MINUTE.is_settled(50)] == [True, False, True]


def test_a_share_of_the_whole_run_is_done_by_steps_or_by_the_clock() -> None:
    assert STEPS.done(50, 1e9) == 0.25
    assert MINUTE.done(10**9, 15.0) == 0.25
    assert MINUTE.done(10**9, 75.0) == 1.0
    assert Budget(None, 60.0, 150).done(75, 15.0) == 0.5


def test_what_closes_a_run_leaves_at_least_half_of_it_for_training() -> None:
    assert MINUTE.end(20.0) == 40.0
    assert MINUTE.end(50.0) == 30.0
    assert STEPS.end(50.0) == 200


def test_a_run_in_seconds_leaves_room_for_its_last_evaluation_and_save() -> None:
    assert closing_seconds(MINUTE, 0.0, 0.0, 0.2) == pytest.approx(0.2)  # nothing was evaluated yet
    assert closing_seconds(MINUTE, 1.0, 4.0, 0.2) == pytest.approx(1.0 + 4.0 + 0.2)
    assert closing_seconds(MINUTE, 9.0, 0.0, 0.2) == pytest.approx(0.03 * 60 + 0.2)  # the machine stalled
    assert closing_seconds(STEPS, 1.0, 4.0, 0.2) == 0.0


def test_the_rate_rises_linearly_then_falls_along_half_a_cosine() -> None:
    rates = [learning_rate(0.01, step / 200, STEPS) for step in range(200)]
    assert rates[:4] == pytest.approx([0.00125, 0.00375, 0.00625, 0.00875])
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[4:]))
    assert learning_rate(0.01, 0.51, MINUTE) == pytest.approx(0.01 * (0.01 + 0.99 / 2))
    assert learning_rate(0.01, 1.0, MINUTE) == learning_rate(0.01, 3.0, MINUTE) == pytest.approx(0.0001)


def test_evaluations_come_at_each_mark_once() -> None:
    mark, seen = 0, []
    for step in range(1, 200):
        if is_marked(STEPS, mark, step / 200, 1e6):
            seen.append(step / 200)
            mark = next_mark(step / 200)
    assert seen == pytest.approx(EVALUATION_MARKS)


def test_the_first_evaluation_of_a_run_in_seconds_comes_within_a_minute() -> None:
    assert is_marked(Budget(None, 36e3), 0, 60 / 36e3, 60.0)
    assert not is_marked(Budget(None, 36e3), 0, 59 / 36e3, 59.0)
    assert not is_marked(Budget(10**6, None), 0, 0.001, 60.0)
    assert not is_marked(Budget(None, 36e3), 1, 60 / 36e3, 60.0)


def test_evaluations_cost_3_percent_of_the_run() -> None:
    """A character costs a quarter of a training step's; ten evaluations in a run, or one every so many steps."""
    assert affordable_characters(10_000, None, 64) == int(0.03 * 4 * 10_000 * 64 / 11)
    assert affordable_characters(10_000, 500, 64) == int(0.03 * 4 * 500 * 64)
    assert (affordable_characters(10, None, 64), affordable_characters(1e9, None, 64)) == (2000, 200_000)


# -- the cadence -----------------------------------------------------------------------------------------------------


def due(cadence: Cadence, step: int, seconds: float, marked: bool = False, reason: str = "") -> Due:
    return cadence.due(step, seconds, marked=marked, reason=reason)


def test_the_first_step_is_logged_and_then_one_a_second() -> None:
    cadence = Cadence(TrainConfig(), 10, 5.0)
    assert due(cadence, 11, 5.1) == Due(log=True, evaluate=False, save=False)
    cadence.logged(5.1)
    assert not due(cadence, 12, 6.0)
    assert due(cadence, 12, 6.1).log


def test_steps_are_logged_and_evaluated_as_often_as_asked() -> None:
    cadence = Cadence(TrainConfig(log_every=3, eval_every=4), 0, 0.0)
    assert [step for step in range(1, 13) if due(cadence, step, 0.0, marked=True).log] == [3, 6, 9, 12]
    assert [step for step in range(1, 13) if due(cadence, step, 0.0, marked=True).evaluate] == [4, 8, 12]


def test_saves_come_at_their_pace_and_earlier_with_an_evaluation() -> None:
    cadence = Cadence(TrainConfig(save_every=60.0), 0, 0.0)
    assert not due(cadence, 5, 59.0).save
    assert due(cadence, 5, 60.0).save
    assert not due(cadence, 5, 4.9, marked=True).save
    assert due(cadence, 5, 5.0, marked=True) == Due(log=True, evaluate=True, save=True)
    cadence.saved(5.0)
    assert not due(cadence, 6, 9.9, marked=True).save


@pytest.mark.parametrize("reason", ["finished", "interrupted"])
def test_a_run_that_ends_is_saved_and_evaluated_once_if_it_finished(reason: str) -> None:
    cadence = Cadence(TrainConfig(log_every=1), 0, 0.0)
    assert due(cadence, 9, 0.0, reason=reason) == Due(log=False, evaluate=reason == "finished", save=True)
    cadence.evaluated(9)
    assert due(cadence, 9, 0.0, reason=reason) == Due(log=False, evaluate=False, save=True)
