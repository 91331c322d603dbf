from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from charrnn.classifier_config import ClassifierConfig
from charrnn.config import ModelConfig
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import classify
from charrnn.training.augmentation import Examples
from charrnn.training.classify import Fit
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
    assert heard[0] == 120
    assert course[-1].accuracy is not None
    assert course[-1].accuracy > 0.9


def test_a_reason_to_stop_ends_it_with_something_to_keep() -> None:
    calls = iter(range(100))
    made = fit()
    for _ in made.run(lambda: 0.0, lambda: "interrupted" if next(calls) >= 5 else None):
        pass
    assert made.step == 5
    assert made.best.weights


@pytest.mark.parametrize("learned", [True, False])
def test_it_stops_where_nothing_gets_better_if_it_has_learned_anything(learned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where labels hang on what stands far from the end, nothing is learned for a while."""
    made = fit(replace(PLAN, lr=1e-9, epochs=10))
    losses = iter(np.linspace(*((0.3, 0.5) if learned else (0.68, 0.8)), 1000))
    monkeypatch.setattr(Fit, "_validated", lambda self, logits: (float(next(losses)), 0.5, 1.0))
    for _ in made.run(lambda: 0.0, lambda: None):
        pass
    assert (made.step < 0.7 * 10 * made.steps_per_epoch) is learned


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


def test_the_rate_rises_and_falls() -> None:
    assert classify._rate(0) < 0.1
    assert classify._rate(classify.WARM_UP) > 0.99
    assert classify._rate(1) == pytest.approx(classify.FLOOR)
    assert math.isclose(classify._rate(0.5), 0.505, abs_tol=0.01)


def test_its_speed_is_that_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes a quarter of a second by this clock, in which a batch of 16 texts is read."""
    now, made = [0.0], fit(replace(PLAN, batch_size=16), Examples([VOCABULARY.encode("\nabc\n")] * 64, np.arange(64) % 2))
    monkeypatch.setattr(classify.time, "perf_counter", lambda: now[0])
    learn = made._learn

    def watched(*arguments: object) -> None:
        now[0] += 0.25
        learn(*arguments)  # type: ignore[arg-type]

    made._learn = watched  # type: ignore[method-assign]
    assert made.speed(8.0) == pytest.approx(16 * 5 / 0.25)
    assert now[0] == pytest.approx(2 * 8 * 0.25 + 6)


def test_a_run_is_judged_by_some_of_many_validation_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classify, "JUDGED", 7)
    made = fit()
    logits = made._val_logits()["last"]
    assert logits.shape == (7, 2)
    monkeypatch.setattr(classify, "JUDGED", 60)
    everything = fit()._val_logits()["last"]
    assert np.allclose(logits[[0, -1]], everything[[0, -1]], atol=1e-4)
