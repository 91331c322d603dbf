"""Laws of shared updates: nothing but the time depends on who computes what, and all ranks choose the faster way."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from small_ranks import run_of, tensors, together

from charrnn.training import children, sharing
from charrnn.training.distributed import Group
from charrnn.training.ranks import Apart
from charrnn.training.sharing import Sharing

pytestmark = pytest.mark.usefixtures("one_thread")

among_ranks = pytest.mark.skipif(not children.can_fork(), reason="this system doesn't fork processes that compute")


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("works", [[4, 4, 4, 4], [1, 9, 2, 2, 5], [3], [1] * 20])
def test_every_block_has_one_owner_and_none_has_much_more_to_do(count, works):
    own = [Sharing(Apart(number, count), works).own for number in range(count)]
    assert sorted(block for blocks in own for block in blocks) == list(range(len(works)))
    loads = [sum(works[block] for block in blocks) for blocks in own]
    assert max(loads) - min(loads) <= max(works)


@among_ranks
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_arrive_bit_for_bit_and_a_rank_may_have_none(dtype, tmp_path):
    shapes = [torch.Size(shape) for shape in ((3, 2), (1, 5))]
    whole = [torch.randn(shape).to(dtype) for shape in shapes]
    whole[0][1, 1] = -0.0

    def send(group: Group) -> list[Any]:
        shared = Sharing(group, [2.0, 1.0])
        found = shared.send([whole[number] for number in shared.own], shapes, dtype)()
        return [part.view(torch.int32 if dtype == torch.float32 else torch.int16).tolist() for part in found]

    bits = [part.view(torch.int32 if dtype == torch.float32 else torch.int16).tolist() for part in whole]
    assert together(3, send, tmp_path) == [bits] * 3


@among_ranks
@pytest.mark.parametrize(("optimizer", "each", "faster"), [("soap", 3, False), ("muon", 2, True)])
def test_a_run_is_the_same_bit_for_bit_however_its_updates_are_made(optimizer, each, faster, monkeypatch, tmp_path):
    """Shared for a while, from some step on, or never: also what is saved, on every rank."""

    def made(each: int) -> list[dict[str, Any]]:
        monkeypatch.setattr(sharing, "EACH", each)
        return [tensors(store) for _, store in together(2, lambda group: run_of(group, optimizer=optimizer), tmp_path)]

    monkeypatch.setattr(Sharing, "_was_faster", lambda self: faster)
    expected = made(1000)[0]
    assert any(name.startswith("optimizer.") for name in expected)
    for found in made(each):
        assert found.keys() == expected.keys()
        for name, value in found.items():
            np.testing.assert_array_equal(value, expected[name], err_msg=name)


@among_ranks
def test_a_run_that_shares_resumes_bit_for_bit_and_with_another_number_of_ranks(monkeypatch, tmp_path):
    monkeypatch.setattr(sharing, "EACH", 1)
    monkeypatch.setattr(Sharing, "_was_faster", lambda self: True)

    def learn(group: Group, **more: Any) -> Any:
        return run_of(group, optimizer="soap", **more)[1]

    whole = together(2, learn, tmp_path)[0]
    half = together(2, lambda group: learn(group, stop_after=7), tmp_path)[1]
    rest = together(2, lambda group: learn(group, resume=half), tmp_path)[0]
    for name, value in tensors(whole).items():
        np.testing.assert_array_equal(value, tensors(rest)[name], err_msg=name)
    other = together(3, lambda group: learn(group, resume=half), tmp_path)[2]
    for name, value in tensors(whole).items():
        np.testing.assert_allclose(value, tensors(other)[name], atol=2e-3, rtol=2e-2, err_msg=name)


@among_ranks
@pytest.mark.parametrize("slow", ["sharing", "one rank alone", "nothing"])
def test_ranks_choose_what_is_faster_for_the_slowest_of_them(slow, monkeypatch, tmp_path):
    monkeypatch.setattr(sharing, "EACH", 4)

    def choose(group: Group) -> tuple[list[bool], bool]:
        now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: now)
        shared, ways = Sharing(group, [1.0, 1.0]), []
        for number in range(9):
            usual = number != 3
            with shared.step(usual=usual) as on:
                ways.append(on)
                late = slow == ("sharing" if on else "one rank alone") and group.number == 1
                now += 3.0 if late else 2.0 if not on else 1.95
                now += 0.0 if usual else 100.0
        return ways, shared.on

    shared = slow == "one rank alone"
    assert together(2, choose, tmp_path) == [([False] * 4 + [True] * 4 + [shared], shared)] * 2
