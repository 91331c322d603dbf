from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from charrnn.text.vocabulary import Vocabulary
from charrnn.training import augmentation
from charrnn.training.augmentation import AHEAD, Batch, Batches, Examples, in_order, spliced, with_typos, without_words
from charrnn.training.classify_recipe import Plan

VOCABULARY = Vocabulary("char", "\nabcdef")
BLANK = int(VOCABULARY.encode("f")[0])
PLAN = Plan(batch_size=16, typos=0.1, splices=0.5, lost_words=0.2, teaching=0.25)


def batches(plan: Plan = PLAN, texts: int = 100, teacher: object = None) -> Batches:
    rng = np.random.default_rng(0)
    ids = ["\n" + "".join(rng.choice(list("abcdef"), rng.integers(3, 12))) + "\n" for _ in range(texts)]
    train = Examples([VOCABULARY.encode(text).astype(np.uint32) for text in ids], np.arange(texts) % 2)
    return Batches(train, plan, 7, 7, BLANK, teacher)  # type: ignore[arg-type]


def of_letter(ids: Sequence[np.ndarray]) -> np.ndarray:
    """How many characters a text has, as if that were likely."""
    return np.array([[len(one), 1.0] for one in ids])


def test_what_a_step_reads_follows_from_its_number_alone() -> None:
    in_turn = [batch for made in [batches(teacher=of_letter)] for batch in map(made.of_step, range(3 * AHEAD))]
    late = batches(teacher=of_letter)
    for step in (2 * AHEAD + 1, AHEAD, 1, 3 * AHEAD - 1):
        one, other = in_turn[step], late.of_step(step)
        assert all((a == b).all() for a, b in zip(one.ids, other.ids, strict=True))
        assert (one.labels == other.labels).all()
        assert (one.counts == other.counts).all()


def test_each_text_has_what_the_teacher_said_of_it() -> None:
    heard = list[int]()

    def teacher(ids: Sequence[np.ndarray]) -> np.ndarray:
        heard.append(len(ids))
        return of_letter(ids)

    made = batches(teacher=teacher)
    found: list[Batch] = [made.of_step(step) for step in range(AHEAD)]
    assert heard == [sum(len(batch.ids) for batch in found)]
    for batch in found:
        assert batch.said is not None
        assert batch.said[:, 0].tolist() == [len(one) for one in batch.ids]
        assert set(batch.counts.tolist()) <= {1.0, 0.25}
    assert {count for batch in found for count in batch.counts.tolist()} == {1.0, 0.25}


def test_a_teacher_who_counts_for_nothing_is_not_asked() -> None:
    made = batches(Plan(batch_size=16, splices=0.0, teaching=0.0), teacher=lambda ids: pytest.fail("asked"))
    assert made.of_step(0).said is None
    assert not made.of_step(0).counts.any()


def test_texts_stay_with_their_labels() -> None:
    made = batches(Plan(batch_size=16, typos=0.0))
    for step in range(2 * AHEAD):
        numbers, batch = made.numbers(step), made.of_step(step)
        assert (batch.labels == numbers % 2).all()
        assert all((one == made._train.ids[number]).all() for one, number in zip(batch.ids, numbers, strict=True))
        assert made.characters(step) == sum(map(len, batch.ids))


def test_a_varied_text_has_at_most_a_few_characters_more_than_the_longest() -> None:
    made = batches(Plan(batch_size=16, typos=0.9, splices=1.0), teacher=of_letter)
    lengths = [len(one) for step in range(AHEAD) for one in made.of_step(step).ids]
    assert max(lengths) <= made.longest == max(map(len, made._train.ids)) + augmentation.LONGER
    assert all(one[-1] == 0 for one in made.of_step(0).ids)


def test_a_pass_reads_every_text_once_beside_some_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 1000).astype(np.intp)
    one, again, other = (in_order(lengths, 16, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert sorted(np.concatenate(one).tolist()) == list(range(1000))
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(one, other, strict=True))
    padding = sum(int(lengths[rows].max()) * len(rows) for rows in one) / lengths.sum()
    assert padding < 1.1


def test_typos_leave_the_marks_and_most_characters() -> None:
    ids, rng = np.array([0, *range(1, 7), 0], dtype=np.uint32), np.random.default_rng(0)
    seen = with_typos([ids] * 500, 0.3, 7, 7, rng)
    assert len(seen) == 500
    assert all(one[0] == one[-1] == 0 for one in seen)
    assert {len(one) for one in seen} >= {6, 7, 8, 9, 10}
    assert any((one == 7).any() for one in seen)
    assert any(len(one) == 8 and sorted(one) == sorted(ids) and (one != ids).any() for one in seen)
    assert all((one == ids).all() for one in with_typos([ids, ids], 0.0, 7, 7, rng))
    assert max(int(one.max()) for one in with_typos([ids] * 200, 0.5, None, 7, rng)) < 7
    assert ids.tolist() == [0, 1, 2, 3, 4, 5, 6, 0]


def letters(ids: np.ndarray) -> str:
    return VOCABULARY.decode(ids.tolist()).replace("f", " ")


def test_a_splice_has_the_beginning_of_one_text_and_the_end_of_another() -> None:
    first, second, blank = VOCABULARY.encode("\naafbbfcc\n"), VOCABULARY.encode("\ndfe\n"), int(VOCABULARY.encode("f")[0])
    rng = np.random.default_rng(0)
    seen = {letters(spliced(first, second, blank, rng)) for _ in range(50)}
    assert seen == {"\naa e\n", "\naa bb e\n"}
    assert spliced(first, VOCABULARY.encode("\n\n"), blank, rng) is first
    one, other = VOCABULARY.encode("\nab\n"), VOCABULARY.encode("\ncd\n")
    assert {letters(spliced(one, other, None, rng)).strip() for _ in range(50)} == {"cd", "d", "acd", "ad"}


def test_lost_words_go_with_a_blank_and_one_stays() -> None:
    ids, blank, rng = VOCABULARY.encode("\naafbbfcc\n"), int(VOCABULARY.encode("f")[0]), np.random.default_rng(0)
    seen = {letters(without_words(ids, 0.5, blank, rng)).strip() for _ in range(200)}
    assert seen == {"aa bb cc", "aa bb", "aa cc", "bb cc", "aa", "bb", "cc"}
    assert without_words(ids, 0.0, blank, rng) is ids
