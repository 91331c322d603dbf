"""heldout: a line for a list, for a tail that is a stranger, and for a validation loss that is far off from the beginning."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from small_runs import corpus_of

from charrnn.analysis import heldout
from charrnn.analysis.heldout import Distance, advise
from charrnn.text.corpus import read_corpus
from charrnn.text.scattered import scatter

pytestmark = pytest.mark.usefixtures("one_thread")

Invoke = Callable[..., Any]
TINY = ("--cell", "gru", "--hidden-size", "8", "--batch-size", "4", "--bptt", "16", "--workers", "1", "--device", "cpu")
LIST, STRANGER, FAR = "plainly a list", "is a stranger to the rest", "far above that of training from the first"


def names(count: int) -> list[str]:
    rng = random.Random(1)
    return ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(count)]


SORTED, SHUFFLED = ("\n".join(lines) + "\n" for lines in (sorted(names(800)), names(800)))
TALES = (ROOT / "corpora" / "fables.txt").read_text(encoding="utf-8")[:9000]


def lines_of(text: str) -> list[str]:
    return list(advise(corpus_of(text, len(text) // 10)))


def test_a_list_gets_a_line_and_a_sorted_one_another_that_names_what_is_never_learnt() -> None:
    (line,) = lines_of(SHUFFLED)
    assert LIST in line
    assert "--records" in line
    first, second = lines_of(SORTED)
    assert first == line
    assert STRANGER in second
    assert "--val scattered" not in second
    assert "of its lines begin with z, y" in second or "of its lines begin with y, z" in second


def test_tales_get_none_and_another_script_behind_them_is_named() -> None:
    assert lines_of(TALES) == []
    (line,) = lines_of(TALES + "\u043a\u043e\u0442! " * 180)
    assert STRANGER in line
    assert "which the rest hardly has" in line
    assert "\u043e" in line


def test_nothing_is_advised_where_no_tail_is_held_out() -> None:
    assert list(advise(corpus_of(SORTED))) == []
    pieces = scatter(len(SORTED), 0.1)
    assert list(advise(replace(corpus_of(SORTED), pieces=pieces))) == []


@pytest.mark.parametrize(
    ("kinds", "copies", "fraction", "told"),
    [(3, 200, 0.1, True), (3, 200, 0.0, False), (600, 1, 0.5, False), (300, 2, 0.1, False)],
)
def test_a_list_of_few_different_lines_is_told_of_where_most_are_held_out(
    kinds: int, copies: int, fraction: float, told: bool, tmp_path: Path
) -> None:
    path = tmp_path / "list"
    # Two of these three kinds are held out, by what they say.
    levels = [f"0-0-0 0:0:0 {level} worker-0 job 0 done in 0.0s" for level in ("ERROR", "INFO", "WARN")]
    path.write_text("\n".join((levels if kinds == 3 else names(kinds)) * copies) + "\n", encoding="utf-8")
    found = list(advise(read_corpus([str(path)], val_seed=0, val_fraction=fraction)))
    assert ["held out and never learnt" in line and "--val-fraction 0" in line for line in found] == [True] * told


def test_of_a_long_text_lines_from_all_over_it_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldout, "SEEN", 2000)
    assert LIST in lines_of(SHUFFLED)[0]
    assert not any(LIST in line for line in lines_of(TALES + SHUFFLED))


@pytest.mark.parametrize(
    ("bits", "epochs", "told"),
    [
        ([4.0, 4.0, 4.0], 0.5, True),
        ([4.0, 4.0, 3.0], 0.5, False),  # it came nearer
        ([3.0, 4.0, 4.0], 0.5, False),  # not from the first on
        ([4.0, 4.0], 0.5, False),  # too soon to say
        ([4.0, 4.0, 4.0], 3.5, False),  # it may know the text by heart
        ([None, 4.0, 4.0], 0.5, False),
        ([4.0, 4.0, None], 0.5, False),
    ],
)
def test_a_validation_loss_is_far_off_if_the_first_three_evaluations_say_so(
    bits: list[float | None], epochs: float, told: bool
) -> None:
    distance = Distance(256)
    lines = [distance.found(3.0, each, epochs * (number + 1)) for number, each in enumerate(bits)]
    assert [line is not None for line in lines] == [False] * (len(bits) - 1) + [told]


def test_a_loss_that_stays_far_off_is_told_of_once() -> None:
    distance = Distance(256)
    assert [distance.found(3.0, 4.0, 0.5 * number) is not None for number in range(6)] == [False, False, True] + [False] * 3


def test_a_network_that_diverges_tells_nothing_of_the_text() -> None:
    distance = Distance(8)
    assert [distance.found(3.5, 60.0 + number, 0.5) for number in range(3)] == [None] * 3


# -- through the command line -----------------------------------------------------------------------------------------


def warned(invoke: Invoke, *options: str) -> tuple[str, list[str]]:
    """stderr and the warnings of a run on ``a.txt``."""
    result = invoke("train", "a.txt", *TINY, *options, "--json")
    assert result.code == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    return result.stderr, [event["text"] for event in events if event["event"] == "warning"]


def test_a_list_is_told_of_as_training_begins_and_not_again_on_resume(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(SHUFFLED)
    stderr, texts = warned(invoke, "--steps", "2", "--out", "run")
    assert [LIST in text for text in texts] == [True]
    assert sum(LIST in line for line in stderr.splitlines()) == 1
    assert LIST not in invoke("train", "--resume", "run", "--steps", "4").stderr
    for option in (("--val", "scattered"), ("--records",)):
        assert warned(invoke, "--steps", "2", *option)[1] == []


def test_tales_train_without_a_word(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TALES, encoding="utf-8")
    assert warned(invoke, "--steps", "9", "--eval-every", "2")[1] == []


def test_a_tail_of_other_words_is_told_of_once_its_loss_stays_far_off(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat sat on the mat. " * 400 + "mothes chomats not. " * 30 + "so that she ate. " * 20)
    options = ("--steps", "90", "--eval-every", "15", "--lr", "0.03", "--optimizer", "adamw")
    assert [FAR in text for text in warned(invoke, *options)[1]] == [True]
    assert warned(invoke, *options, "--val", "scattered")[1] == []
