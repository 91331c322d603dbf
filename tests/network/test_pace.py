"""pace: more threads than one work only while they are faster, and change nothing but the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import threadpoolctl

from charrnn.network import pace
from charrnn.network.pace import (
    ALIGNED,
    FIRST_REST,
    LONGEST_REST,
    MOST_CREDIT,
    STRETCH,
    Pace,
    Steady,
    Threads,
    in_turns,
    on_cores,
    threads_of_numpy,
)

ALONE, TOGETHER, WAITING = 100e-6, 60e-6, 4e-3
"""Seconds of a step with one thread; with two; and with two of which one waits for its core."""


class Machine:
    """A clock, and steps that take as long as the number of threads and the other work make them."""

    def __init__(self, waits: Callable[[int, float], bool], waiting: float = WAITING) -> None:
        """``waits`` says of step number n, at a time, whether two threads would have to wait ``waiting`` seconds then."""
        self.now, self.steps, self.slow, self.together = 0.0, 0, 0, 0
        self._waits, self._waiting, self._number = waits, waiting, 1
        self.pace = Pace(Threads(2, self._change), lambda: self.now)
        self._step = self.pace.one(self._take)

    def _change(self, number: int) -> None:
        self._number = number

    def _take(self, ids: object) -> object:
        self.steps += 1
        if self._number == 1:
            self.now += ALONE
        elif self._waits(self.steps, self.now):
            self.slow += 1
            self.now += self._waiting
        else:
            self.together += 1
            self.now += TOGETHER
        return ids

    def run(self, seconds: float) -> Machine:
        end = self.now + seconds
        while self.now < end:
            assert self._step("ids") == "ids"
        return self


def test_on_an_idle_machine_all_but_the_first_steps_have_two_threads() -> None:
    machine = Machine(lambda *_: False).run(1.0)
    assert machine.steps - machine.together == STRETCH


def test_a_hiccup_now_and_then_costs_an_idle_machine_little() -> None:
    machine = Machine(lambda number, _: number % 2000 == 0).run(20.0)  # A step in some 120 ms waits.
    assert machine.steps - machine.together == STRETCH + machine.slow  # After each, two threads go on.


def test_a_second_thread_may_take_a_moment_to_wake() -> None:
    machine = Machine(lambda number, _: number == STRETCH + 1, waiting=10 * ALONE).run(1.0)
    assert machine.slow == 1
    assert machine.steps - machine.together == STRETCH + 1


def test_beside_other_work_two_threads_cost_next_to_nothing() -> None:
    for every in (1, 3, 10, 40, 200):
        machine = Machine(lambda number, _, every=every: number % every == 0).run(20.0)
        assert machine.now / machine.steps < 1.05 * ALONE, every


def test_when_the_other_work_ends_two_threads_come_back() -> None:
    machine = Machine(lambda _, now: now < 10.0).run(10.0 + LONGEST_REST + 0.1)
    before = machine.steps
    machine.run(1.0)
    assert machine.steps - before > 0.99 / TOGETHER


def test_when_other_work_begins_two_threads_lose_little_more_than_their_credit() -> None:
    machine = Machine(lambda _, now: now >= 5.0).run(5.0)
    assert machine.slow == 0
    machine.run(MOST_CREDIT + WAITING + FIRST_REST / 2)
    assert 1 <= machine.slow <= MOST_CREDIT / WAITING + 1


def test_a_second_thread_that_gains_nothing_is_left_out() -> None:
    assert Machine(lambda *_: True).run(10.0).slow <= 12


def test_steps_of_many_streams_have_all_threads_always() -> None:
    numbers: list[int] = []
    chosen = Pace(Threads(4, numbers.append))
    one, many = chosen.one(lambda ids: ids), chosen.many(lambda ids: ids)
    for _ in range(2):
        many(0)
        one(0)
    assert numbers == [4, 1, 4, 1]


@pytest.mark.parametrize("columns", [384, 700, 1024])
def test_the_number_of_threads_changes_no_bit_of_a_product(columns: int) -> None:
    """Where it may be changed at all; of rows that no thread has a remainder of."""
    threads = threads_of_numpy(4)
    if threads is None:
        pytest.skip("the number of NumPy's threads stays as it is here")
    rng, rows = np.random.default_rng(0), Pace(threads).rows
    matrix = rng.normal(size=(-(-500_000 // columns // rows) * rows, columns)).astype(np.float32)
    vector, products = rng.normal(size=columns).astype(np.float32), []
    for number in (1, 2, 4, 1):
        threads.take(number)
        products.append((matrix @ vector).tobytes())
    assert len(set(products)) == 1


@pytest.mark.parametrize(("machine", "most"), [("aarch64", 4), ("x86_64", 1)])
def test_where_threads_are_left_alone(machine: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert threads_of_numpy(most) is None


def test_threads_whose_number_is_known_are_looked_for_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[int] = []
    monkeypatch.setattr(pace, "openblas_version", lambda: (0, 3, 31))
    monkeypatch.setattr(pace, "x86_64", lambda: True)
    monkeypatch.setattr(pace, "_setter", lambda: pytest.fail("looked for too early"))
    threads = threads_of_numpy(3, now=1)
    assert threads is not None
    assert threads.most == 2
    threads.take(1)
    monkeypatch.setattr(pace, "_setter", lambda: set_to.append)
    threads.take(2)
    threads.take(1)
    assert set_to == [2, 1]
    monkeypatch.setattr(pace, "_setter", lambda: None)  # Another library came in between: the number stays as it is.
    threads.take(2)
    assert set_to == [2, 1]


def test_a_steady_pace_changes_no_threads_and_no_step() -> None:
    changed: list[int] = []
    steady = Steady(Threads(4, changed.append))
    assert steady.rows == ALIGNED * 4

    def step(ids: object) -> object:
        return ids

    assert steady.one(step) is steady.many(step) is step
    assert changed == []


def test_steps_apart_have_one_thread_each() -> None:
    numbers: list[int] = []
    threads = Threads(2, numbers.append)
    chosen = Pace(threads)
    one, many = chosen.one(lambda ids: ids), chosen.many(lambda ids: ids)
    many("ids")
    with threads.apart():
        for _ in range(100):
            many("ids")
            one("ids")
    many("ids")
    assert numbers == [2, 1, 2]


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_parts_of_work_share_the_cores_and_come_in_their_order(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "usable_cores", lambda: cores)
    together = min(cores, 4)
    meeting, before = threading.Barrier(together), threads_of_products()
    inside = []

    def work(part: int) -> int:
        meeting.wait(timeout=60)  # which breaks unless so many parts are worked on at once
        inside.append(threads_of_products())
        return part**2

    assert list(on_cores(work, range(8))) == [part**2 for part in range(8)]
    assert {*inside} == ({1} if cores > 1 else {before})
    assert threads_of_products() == before


def threads_of_products() -> int:
    """How many threads NumPy's products take; 1 where that can't be asked."""
    return max((one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"), default=1)


def test_a_part_that_fails_ends_the_work_and_leaves_the_threads_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "usable_cores", lambda: 2)
    before, done = threads_of_products(), []

    def work(part: int) -> None:
        done.append(part)
        if part == 0:
            raise ValueError("no")
        time.sleep(0.05)

    with pytest.raises(ValueError, match="no"):
        list(on_cores(work, range(100)))
    assert len(done) < 100
    assert threads_of_products() == before


def test_works_in_turns_give_all_that_they_have_one_after_the_other() -> None:
    before = threads_of_products()
    assert list(in_turns([])) == []
    assert list(in_turns([iter("ab")])) == ["a", "b"]
    assert list(in_turns([iter("abc"), iter("x"), iter("12")])) == ["a", "x", "1", "b", "2", "c"]
    assert threads_of_products() == before

    def failing() -> Iterator[str]:
        yield "a"
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(in_turns([failing(), iter("xyz")]))
    assert threads_of_products() == before
