"""Which columns a rank takes, and what one process alone is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from charrnn.training.ranks import ALONE, Ranks


def ranks_of(count: int) -> list[Ranks]:
    found = [Ranks() for _ in range(count)]
    for number, rank in enumerate(found):
        rank.number, rank.count = number, count
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("columns", [1, 2, 5, 8, 33])
def test_shares_are_contiguous_nearly_equal_and_all_there_is(count: int, columns: int) -> None:
    ranks = ranks_of(count)
    shares = [range(columns)[rank.share(columns)] for rank in ranks]
    assert [column for share in shares for column in share] == list(range(columns))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == ranks[0].most(columns)


@pytest.mark.parametrize("left", range(8))
def test_a_column_stays_with_its_rank_when_those_behind_it_have_ended(left: int) -> None:
    for rank in ranks_of(3):
        whole, share = range(7)[rank.share(7)], range(left)[rank.share(left, 7)]
        assert list(share) == [column for column in whole if column < left]


def test_one_process_has_nothing_to_sum_and_calls_itself_as_it_was_called() -> None:
    parts = np.arange(3.0)
    assert ALONE.total(parts) is parts
    assert (ALONE.of_first(7), ALONE.facts(), ALONE.begun_before(Path("run")), ALONE.launched) == (7, {}, None, False)
    assert ALONE.command(["train", "a b.txt"]) == "charrnn train 'a b.txt'"
