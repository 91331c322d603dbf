"""What in a directory belongs to a run, and what a run has learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_checkpoints import small

from charrnn import CharrnnError
from charrnn.network import checkpoint, ownership


@pytest.mark.parametrize(
    ("name", "own"),
    [("member-0", True), ("member-17", True), ("member-01", False), ("member-", False), ("member-x", False), ("notes", False)],
)
def test_directories_of_networks_are_known_by_their_names(name: str, own: bool) -> None:
    assert ownership.is_own_directory(name) is own


def test_networks_without_a_step_have_learned_nothing(tmp_path: Path) -> None:
    member = tmp_path / "member-0"
    member.mkdir()
    assert ownership.holds_no_checkpoint(tmp_path)
    assert ownership.has_learned_nothing(tmp_path)
    checkpoint.write(member / ownership.LAST, replace(small(), training={"step": 0}))
    assert not ownership.holds_no_checkpoint(tmp_path)
    assert ownership.has_learned_nothing(tmp_path)
    checkpoint.write(member / ownership.LAST, replace(small(), training={"step": 1}))
    assert not ownership.has_learned_nothing(tmp_path)


def test_only_a_run_and_its_networks_are_one(tmp_path: Path) -> None:
    member = tmp_path / "member-0"
    member.mkdir()
    checkpoint.write(member / ownership.BEST, small())
    ownership.check_is_a_run(tmp_path)
    (member / "member-1").mkdir()  # Networks have no networks.
    with pytest.raises(CharrnnError, match=r"member-0: holds member-1, which is no file of a run"):
        ownership.check_is_a_run(tmp_path)
    (member / "member-1").rmdir()
    (tmp_path / "member-7").symlink_to(member, target_is_directory=True)
    with pytest.raises(CharrnnError, match=r"holds member-7, which is no file of a run"):
        ownership.check_is_a_run(tmp_path)
