from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from charrnn.config import ClassifierConfig, ModelConfig
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import classify
from charrnn.training.classify import Examples, Fit, batches, with_typos
from charrnn.training.classify_recipe import Plan

pytestmark = pytest.mark.usefixtures("one_thread")
VOCABULARY = Vocabulary("char", "\nabcdef")
PLAN = Plan(hidden_size=12, embedding_size=6, batch_size=16, epochs=8, lr=0.03, dropout=0.1)


def endings(count: int, seed: int, share: float = 0.5) -> Examples:
    """Texts whose last letter, a or b, is their label."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < share).astype(np.intp)
    texts = ["".join(rng.choice(list("cdef"), rng.integers(2, 6))) + "ab"[label] for label in labels]
    return Examples([VOCABULARY.encode(f"\n{text}\n").astype(np.uint32) for text in texts], labels)


def fit(plan: Plan = PLAN, train: Examples | None = None, val: Examples | None = None, **options: object) -> Fit:
    model = ModelConfig(VOCABULARY.size, hidden_size=plan.hidden_size, embedding_size=plan.embedding_size)
    sides = endings(120, 0) if train is None else train, endings(60, 1) if val is None else val
    return Fit(model, ClassifierConfig(), plan, *sides, 2, unknown=VOCABULARY.unknown, **options)  # type: ignore[arg-type]


def test_it_learns_and_keeps_what_did_best() -> None:
    made = fit()
    course = list(made.run(lambda: 0.0, lambda: None))
    assert course[-1].accuracy == 1
    assert made.best.loss == min(one.loss for one in course[-8:] if one.loss is not None)
    assert made.best.loss < 0.1
    assert made.best.feature in classify.FEATURES
    assert all(np.isfinite(value).all() for value in made.best.weights.values())


def test_the_same_seed_learns_the_same() -> None:
    plan = replace(PLAN, epochs=1)
    first, again, other = fit(plan), fit(plan), fit(replace(plan, seed=1))
    for made in (first, again, other):
        for _ in made.run(lambda: 0.0, lambda: None):
            pass
    assert all((first.best.weights[name] == again.best.weights[name]).all() for name in first.best.weights)
    assert any((first.best.weights[name] != other.best.weights[name]).any() for name in other.best.weights)


def test_processes_learn_what_one_alone_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, found = replace(PLAN, epochs=0.5), list[Fit]()
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
        monkeypatch.setattr(classify.device, "choose_precision", lambda *_: "fp32")
        found.append(fit(plan))
        for _ in found[-1].run(lambda: 0.0, lambda: None):
            pass
    for name, value in found[0].best.weights.items():
        assert np.allclose(value, found[1].best.weights[name], atol=1e-4), name


def test_it_ends_in_its_time_with_the_rate_at_its_floor() -> None:
    now, rates = iter(np.arange(1000) * 0.5), list[float]()
    made = fit(replace(PLAN, seconds=20.0, epochs=1e6))
    learn = made._learn
    made._learn = lambda optimizer, share, *others: (rates.append(classify._rate(share)), learn(optimizer, share, *others))[1]  # type: ignore[method-assign,assignment]
    course = list(made.run(lambda: float(next(now)), lambda: None))
    assert 20 <= len(rates) <= 40
    assert rates[-1] < 0.15 < 0.9 < max(rates)
    assert course[-1].share == 1


def test_a_teacher_says_what_spliced_texts_are() -> None:
    """It learns what the teacher says, though no text has that label by itself."""
    heard = list[int]()

    def teacher(ids: list[np.ndarray]) -> np.ndarray:
        heard.append(len(ids))
        said = [0 if one[-2] == int(VOCABULARY.encode("a")[0]) else 1 for one in ids]
        return np.eye(2)[said]

    train = replace(endings(120, 0), labels=np.zeros(120, dtype=np.intp))
    made = fit(replace(PLAN, splices=1.0, teaching=0.5), train, teacher=teacher)
    course = list(made.run(lambda: 0.0, lambda: None))
    assert heard[0] == 16
    assert course[-1].accuracy is not None
    assert course[-1].accuracy > 0.9


def test_a_reason_to_stop_ends_it_with_something_to_keep() -> None:
    calls = iter(range(100))
    made = fit()
    for _ in made.run(lambda: 0.0, lambda: "interrupted" if next(calls) >= 5 else None):
        pass
    assert made.step == 5
    assert made.best.weights


def test_it_stops_where_nothing_gets_better(monkeypatch: pytest.MonkeyPatch) -> None:
    made = fit(replace(PLAN, lr=1e-9, epochs=20))
    losses = iter(np.linspace(1, 2, 1000))
    monkeypatch.setattr(Fit, "_validated", lambda self, logits: (float(next(losses)), 0.5, 1.0))
    for _ in made.run(lambda: 0.0, lambda: None):
        pass
    assert made.step < 0.7 * 20 * made.steps_per_epoch


def test_without_validation_texts_the_last_weights_are_kept() -> None:
    made = fit(replace(PLAN, epochs=1), val=endings(0, 0))
    course = list(made.run(lambda: 0.0, lambda: None))
    assert (course[-1].accuracy, made.best.temperature, made.best.feature) == (None, 1.0, "last+mean")
    assert made.best.weights


def test_pretraining_learns_the_characters_first() -> None:
    made = fit(replace(PLAN, pretrain=True, epochs=8))
    before = {name: value.detach().clone() for name, value in made._network.forwards.weights().items()}
    heads, steps = list[bool](), list[float]()
    learn = made._learn

    def watched(optimizer: torch.optim.AdamW, share: float, *others: object) -> None:
        learn(optimizer, share, *others)  # type: ignore[arg-type]
        steps.append(share)
        heads.append(bool(made._network.heads[0].weight.any()))

    made._learn = watched  # type: ignore[method-assign,assignment]
    for _ in made.run(lambda: 0.0, lambda: None):
        pass
    first = heads.index(True)
    assert steps[first] == pytest.approx(classify.PRETRAINING, abs=0.03)
    assert not torch.equal(before["head.weight"], made._network.forwards.weights()["head.weight"])


def test_rare_labels_count_more_and_are_made_as_rare_again() -> None:
    weights = classify._label_weights(np.array([0] * 90 + [1] * 10), 2, 1.0)
    assert weights.tolist() == pytest.approx([1 / 1.8, 5])
    assert classify._label_weights(np.array([0] * 90 + [1] * 10), 2, 0.0).tolist() == [1, 1]
    shares = []
    for balance in (0.0, 1.0):
        made = fit(replace(PLAN, balance=balance, epochs=4, seed=3), endings(300, 0, 0.05), endings(200, 1, 0.05))
        for _ in made.run(lambda: 0.0, lambda: None):
            pass
        logits = torch.from_numpy(made._val_logits()[made.best.feature])
        shares.append(float(logits.softmax(1)[:, 1].mean()))
    assert shares == pytest.approx([0.05, 0.05], abs=0.04)


def test_a_pass_reads_every_text_once_beside_some_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 1000).astype(np.intp)
    one, again, other = (batches(lengths, 16, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert sorted(np.concatenate(one).tolist()) == list(range(1000))
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(one, other, strict=True))
    padding = sum(int(lengths[rows].max()) * len(rows) for rows in one) / lengths.sum()
    assert padding < 1.1


def test_typos_leave_the_marks_and_most_characters() -> None:
    ids, rng = np.array([0, *range(1, 7), 0] * 1, dtype=np.uint32), np.random.default_rng(0)
    seen = [with_typos(ids, 0.3, 7, 7, rng) for _ in range(500)]
    assert all(one[0] == one[-1] == 0 for one in seen)
    assert {len(one) for one in seen} >= {6, 7, 8, 9, 10}
    assert any((one == 7).any() for one in seen)
    assert any(len(one) == 8 and sorted(one) == sorted(ids) and (one != ids).any() for one in seen)
    assert with_typos(ids, 0.0, 7, 7, rng) is ids
    assert max(int(one.max()) for one in (with_typos(ids, 0.5, None, 7, rng) for _ in range(200))) < 7


def letters(ids: np.ndarray) -> str:
    return VOCABULARY.decode(ids.tolist()).replace("f", " ")


def test_a_splice_has_the_beginning_of_one_text_and_the_end_of_another() -> None:
    first, second, blank = VOCABULARY.encode("\naafbbfcc\n"), VOCABULARY.encode("\ndfe\n"), int(VOCABULARY.encode("f")[0])
    rng = np.random.default_rng(0)
    seen = {letters(classify.spliced(first, second, blank, rng)) for _ in range(50)}
    assert seen == {"\naa e\n", "\naa bb e\n"}
    assert classify.spliced(first, VOCABULARY.encode("\n\n"), blank, rng) is first
    one, other = VOCABULARY.encode("\nab\n"), VOCABULARY.encode("\ncd\n")
    assert {letters(classify.spliced(one, other, None, rng)).strip() for _ in range(50)} == {"cd", "d", "acd", "ad"}


def test_lost_words_go_with_a_blank_and_one_stays() -> None:
    ids, blank, rng = VOCABULARY.encode("\naafbbfcc\n"), int(VOCABULARY.encode("f")[0]), np.random.default_rng(0)
    seen = {letters(classify.without_words(ids, 0.5, blank, rng)).strip() for _ in range(200)}
    assert seen == {"aa bb cc", "aa bb", "aa cc", "bb cc", "aa", "bb", "cc"}
    assert classify.without_words(ids, 0.0, blank, rng) is ids


def test_a_varied_text_fits_what_the_processes_share() -> None:
    rows = [VOCABULARY.encode("\n" + "abf" * 30 + "\n").astype(np.uint32) for _ in range(40)]
    train = Examples(rows, np.arange(40) % 2)
    plan = replace(PLAN, epochs=1, typos=0.9, splices=1.0)
    made = fit(plan, train, blank=int(VOCABULARY.encode("f")[0]), teacher=lambda ids: np.eye(2)[[0] * len(ids)])
    widths = list[int]()
    part = made._part
    made.__dict__["_part"] = lambda inputs, *others: widths.append(inputs.shape[1]) or part(inputs, *others)
    for _ in made.run(lambda: 0.0, lambda: None):
        pass
    assert max(widths) == 92 + 8


def test_the_rate_rises_and_falls() -> None:
    assert classify._rate(0) < 0.1
    assert classify._rate(classify.WARM_UP) > 0.99
    assert classify._rate(1) == pytest.approx(classify.FLOOR)
    assert math.isclose(classify._rate(0.5), 0.505, abs_tol=0.01)
