"""batches: a batch writes what one stream would, in however many threads; of the candidates the best is kept."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_generation import generation, random_network, texts

from charrnn.generation import batches
from charrnn.generation.streaming import Generation, Sample
from charrnn.network.pace import threads_of_numpy


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_network(tmp_path_factory.mktemp("net") / "net.safetensors")


def test_sample_i_is_the_same_alone_in_a_small_batch_and_in_a_large_one(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = texts(generation(net, {"num_samples": 40}, stop=["ab"]))
    assert len(set(large)) > 30
    alone = generation(net, {"num_samples": 40}, stop=["ab"])
    assert ["".join(alone.stream(index).pieces()) for index in range(40)] == large
    monkeypatch.setattr(batches, "BATCH", 7)
    assert texts(generation(net, {"num_samples": 40}, stop=["ab"])) == large
    assert texts(generation(net, {"num_samples": 3}, stop=["ab"])) == large[:3]
    assert texts(generation(net, stop=["ab"])) == large[:1]


@pytest.mark.parametrize("settings", [{}, {"best_of": 3}])
def test_threads_write_what_one_writes(net: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH", 20)
    asked = {"num_samples": 90, **settings}
    found = generation(net, asked, stop=["ab"])
    if (shared := threads_of_numpy(2)) is None:
        pytest.skip("the number of NumPy's threads can't be changed here")
    several = Generation(found.request, lambda text: None, threads=shared)
    seen: list[int] = []
    original = batches.in_turns
    monkeypatch.setattr(batches, "in_turns", lambda threads, work: seen.append(threads) or original(threads, work))
    assert texts(several) == texts(found)
    assert seen == [2]


def test_every_line_of_a_prompts_file_starts_its_own_texts(net: Path, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("ab\ncde\n\nd\n")
    found = list(batches.samples(generation(net, {"num_samples": 3}, prompts=tmp_path / "p")))
    assert [(sample.index, sample.prompt) for sample in found] == [(i, ["ab", "cde", "", "d"][i // 3]) for i in range(12)]
    # Texts of other prompts don't disturb: number 4 is what it is for that prompt alone.
    alone = generation(net, {"num_samples": 5}, prompt="cde")
    assert "".join(alone.stream(4).pieces()) == found[4].text


def test_the_best_of_k_has_the_fewest_bits_per_character_of_the_k(net: Path) -> None:
    candidates = list(batches.samples(generation(net, {"num_samples": 12}, measured=True)))
    best = list(batches.samples(generation(net, {"num_samples": 4, "best_of": 3})))
    for index, sample in enumerate(best):
        group = candidates[3 * index : 3 * index + 3]
        assert sample.text == min(group, key=lambda candidate: candidate.bits_per_char or 0).text


def test_of_the_candidates_only_the_best_so_far_is_kept(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, alive, most = generation(net, {"best_of": 500, "num_samples": 2}), weakref.WeakSet[Sample](), list[int]()

    def candidates(*_: object) -> Iterator[Sample]:
        for number in range(1000):
            alive.add(one := Sample(number // 500, "", f"{number}", "length", None, 1, (number * 37) % 500))
            most.append(len(alive))
            yield one

    monkeypatch.setattr(batches.Batches, "candidates", candidates)
    assert texts(found) == ["0", "500"]
    assert max(most) <= 4
