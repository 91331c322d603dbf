"""checked: whatever is taken out of watched ids is as it was written, or nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from charrnn.text import checked
from charrnn.text.checked import BLOCK_BYTES, CheckedIds, DamagedError, Guard, checksums


def watched(dtype: str = "u2", blocks: int = 4) -> tuple[Any, Any]:
    """Ids that a guard watches, and the bytes below them, which a test may damage."""
    raw = np.random.default_rng(0).integers(0, 256, blocks * BLOCK_BYTES - 10, dtype=np.uint8)
    guard = Guard(raw, checksums(raw), lambda: "damaged")
    return CheckedIds.of(raw.view(dtype), guard), raw


WAYS: list[Callable[[Any, int], Any]] = [
    lambda ids, place: ids[place],
    lambda ids, place: ids[place - len(ids)],
    lambda ids, place: ids[place : place + 1],
    lambda ids, place: ids[place - 5 : place + 5],
    lambda ids, place: ids[place::-1],
    lambda ids, place: ids[np.array([[0, place], [1, 2]])],
    lambda ids, place: ids[np.array([-1, place - len(ids)])],
    lambda ids, place: ids[np.arange(len(ids)) == place],
    lambda ids, place: ids[: place + 9][place],
    lambda ids, place: list(ids),
    lambda ids, place: ids.check_all(),
]


@pytest.mark.parametrize("way", range(len(WAYS)))
@pytest.mark.parametrize("at_once", [1000, 1 << 26])
def test_damage_is_found_in_whatever_way_it_is_read(way: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "AT_ONCE_BYTES", at_once)
    for place in (BLOCK_BYTES, len(watched()[0]) - 1):  # in the third block, and in the last, which is shorter
        ids, raw = watched()
        raw[2 * place] ^= 1
        np.testing.assert_array_equal(ids[:9], raw.view("u2")[:9])
        with pytest.raises(DamagedError, match="damaged"):
            WAYS[way](ids, place)


@pytest.mark.parametrize("way", range(len(WAYS) - 1))
def test_sound_ids_are_read_as_those_of_any_array(way: int) -> None:
    ids, raw = watched()
    found, plain = WAYS[way](ids, BLOCK_BYTES), WAYS[way](raw.view("u2"), BLOCK_BYTES)
    np.testing.assert_array_equal(found, plain)
    assert not isinstance(found, CheckedIds)


def test_a_long_slice_is_watched_like_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "AT_ONCE_BYTES", 1000)
    ids, raw = watched("u1")
    raw[-1] ^= 1
    part = ids[BLOCK_BYTES:]
    assert part[5] == raw[BLOCK_BYTES + 5]
    with pytest.raises(DamagedError):
        part[-1:]


def test_what_has_been_read_once_is_not_checked_again() -> None:
    ids, raw = watched()
    before = ids[5]
    raw[10] ^= 1
    assert ids[5] != before


def test_arithmetic_on_all_of_them_is_refused() -> None:
    ids, _ = watched()
    with pytest.raises(TypeError, match="by index or slice"):
        ids == 3  # noqa: B015
    with pytest.raises(TypeError, match="by index or slice"):
        np.add(ids, 1)
