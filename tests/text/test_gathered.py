from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from charrnn.text import gathered, spilled
from charrnn.text.gathered import Encoded, Gathered, Gathering
from charrnn.text.vocabulary import Vocabulary

TEXTS = ["what time", "", "caf\u00e9 \N{ROBOT FACE}", "a\nb", "half \ud800", "last one"] * 5


@pytest.fixture(params=[1 << 26, 20], ids=["in memory", "in a file"])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many bytes stay in memory; where these are few, blocks are small too."""
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", request.param)
    monkeypatch.setattr(gathered, "_BLOCK", request.param)
    monkeypatch.setattr(gathered, "_TOGETHER", 4)
    return int(request.param)


def gather(texts: list[str]) -> Gathered:
    with Gathering() as gathering:
        for text in texts:
            gathering.append(text)
        assert len(gathering) == len(texts)
        return gathering.texts()


@pytest.mark.usefixtures("memory")
def test_texts_come_back_as_they_were() -> None:
    found = gather(TEXTS)
    assert len(found) == len(TEXTS)
    assert list(found) == TEXTS
    assert [found[place] for place in range(len(found))] == TEXTS
    assert list(found[3:9]) == TEXTS[3:9]
    assert list(found.picked(np.array([5, 0, 2]))) == [TEXTS[5], TEXTS[0], TEXTS[2]]
    assert list(gather([])) == []


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("level", ["char", "byte"])
def test_ids_are_those_of_each_text_between_two_marks(level: str) -> None:
    texts = [text for text in TEXTS if "\ud800" not in text]
    vocabulary = Vocabulary(level, "" if level == "byte" else "".join(sorted(set("\n" + "".join(texts)))))
    mark = vocabulary.encode("\n")
    found = Encoded(gather(texts), vocabulary, mark, 6)
    expected = [np.concatenate([mark, vocabulary.encode(text)[:6], mark]).tolist() for text in texts]
    assert [one.tolist() for one in found] == expected
    assert [one.tolist() for one in found[2:4]] == expected[2:4]
    assert found.lengths.tolist() == [len(one) for one in expected]
    assert found.cut == sum(len(vocabulary.encode(text)) > 6 for text in texts)
    assert len(Encoded(gather([]), vocabulary, mark, 6)) == 0


def test_a_text_takes_its_bytes_and_two_numbers() -> None:
    tracemalloc.start()
    try:
        found = gather([]), tracemalloc.get_traced_memory()[0]
        with Gathering() as gathering:
            for number in range(20_000):
                gathering.append(f"text {number:05}")
            texts = gathering.texts()
        taken = tracemalloc.get_traced_memory()[0] - found[1]
    finally:
        tracemalloc.stop()
    assert len(texts) == 20_000
    assert taken < 20_000 * (10 + 8) * 2.2  # the texts and their ends, and what of them is about to go
