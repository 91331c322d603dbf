"""validation: which part of the held-out text a run scores when, what it keeps of that, and how long its end takes."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import OF_TORCH
from small_runs import PLAIN, Clock, Store, corpus_of, only, random_text, run, trainer_of, validation

from charrnn.config import ModelConfig, TrainConfig
from charrnn.network import checkpoint
from charrnn.text.corpus import read_corpus
from charrnn.text.excerpts import spread, stored
from charrnn.training import evaluation, schedule
from charrnn.training.model import CharRNN
from charrnn.training.schedule import Budget
from charrnn.training.snapshot import Progress
from charrnn.training.trainer import Trainer
from charrnn.training.validation import ValidationPlan

FIXTURES = Path(__file__).parent.parent / "fixtures/7c89b3b"
CORPUS = corpus_of(random_text(9_000), 6_000)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations read 900 characters at most."""
    monkeypatch.setattr(schedule, "MAX_EVALUATION_CHARACTERS", 900)


def plan(**settings: Any) -> tuple[ValidationPlan, Progress]:
    config = TrainConfig(**settings)
    return ValidationPlan(config, CORPUS, Budget.of(config, 100), 1024), Progress()


def test_every_evaluation_scores_the_same_characters_from_all_over_the_text() -> None:
    events, store = run(trainer_of(CORPUS, steps=12, eval_every=3))
    assert [event["val_scored_characters"] for event in only(events, "eval")] == [900] * 4
    kept = store.latest("last").training
    assert kept["val_scored"] == spread(CORPUS, 900).to_json()
    assert len(kept["val_scored"]["pieces"]) == 3
    for event in only(events, "eval"):
        assert 0 < event["val_standard_error"] < event["val_bits_per_char"]


def test_a_text_that_fits_is_scored_whole_and_without_an_error() -> None:
    events, store = run(trainer_of(corpus_of(random_text(1000), 400), steps=6, eval_every=3))
    assert [event["val_scored_characters"] for event in only(events, "eval")] == [400, 400]
    assert [event["val_standard_error"] for event in [*only(events, "eval"), events[-1]]] == [0.0] * 3
    assert store.latest("best").training["val_scored"]["pieces"] == [[600, 1000]]


@pytest.mark.parametrize("settings", [{"steps": 200}, {"epochs": 2.0}])
def test_what_a_run_of_steps_scores_follows_from_text_and_settings_alone(settings: dict[str, Any]) -> None:
    slow, fast = plan(**settings), plan(**settings)
    slow[0].timed(spread(CORPUS, 900), 100.0)
    for one, progress in (slow, fast):
        progress.step = 16
        assert one.begin(progress, 0.08).characters == 900
        steps = 200  # both come to as many
        assert one.final_characters(progress) == min(6_000, int(0.03 * 4 * steps * 1024))


def test_the_end_of_a_run_of_minutes_scores_what_fits_into_3_percent_of_them() -> None:
    one, progress = plan(minutes=1.0)
    progress.step, progress.eval_characters = 50, 900
    one.timed(spread(CORPUS, 900), evaluation.reading(900) / 2_000)  # 2,000 characters a second
    scored = one.final_characters(progress)
    assert 900 < scored < 6_000
    assert evaluation.reading(scored) / 2_000 <= 0.03 * 60
    assert evaluation.reading(scored) / 2_000 >= 0.8 * 0.03 * 60
    assert one.closing_seconds(progress) == pytest.approx(evaluation.reading(scored) / 2_000 + 0.2)
    one.timed(spread(CORPUS, 900), evaluation.reading(900) / 1e9)
    assert one.final_characters(progress) == 6_000
    one.timed(spread(CORPUS, 900), evaluation.reading(900) / 100)  # too slow for more than evaluations read anyway
    assert one.final_excerpt(progress) is None


def test_val_whole_scores_all_of_it_and_a_small_text_is_scored_whole_anyway() -> None:
    one, progress = plan(steps=5, val_whole=True)
    assert one.begin(progress, 0.1).characters == 900
    excerpt = one.final_excerpt(progress)
    assert excerpt is not None
    assert excerpt.whole


def test_the_end_scores_more_and_the_best_says_which_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    events, store = run(trainer_of(CORPUS, steps=300, eval_every=150))
    best, end = store.latest("best"), events[-1]
    assert end["val_characters"] == 6_000
    assert end["val_scored_characters"] == best.training["val_scored_characters"] == int(0.03 * 4 * 300 * 32)
    excerpt = stored(best.training["val_scored"], CORPUS)
    assert excerpt is not None
    assert excerpt.characters == end["val_scored_characters"]
    model = CharRNN(best.model)
    model.load(best.weights)
    found = evaluation.validate(model, CORPUS, excerpt)
    assert found is not None
    assert end["best_val_bits_per_char"] == best.training["val_bits_per_char"] == pytest.approx(found.bits)
    assert end["val_standard_error"] == best.training["val_standard_error"] == pytest.approx(found.standard_error)
    assert end["best_val_part"]["characters"] == 900
    # The network that goes on was chosen by what evaluations scored.
    assert store.latest("last").training["val_scored_characters"] == 900


def test_the_calibrated_loss_and_its_temperature_are_kept_with_the_best_network() -> None:
    events, store = run(trainer_of(corpus_of("to be or not to be\n" * 60, 300), hidden=16, steps=60, eval_every=20, lr=3e-2))
    best, end = store.latest("best"), events[-1]
    told = [event for event in only(events, "eval") if event["step"] == best.training["step"]]
    assert best.temperature != 1.0
    assert best.training["val_bits_per_char_calibrated"] == told[0]["val_bits_per_char_calibrated"]
    assert end["val_bits_per_char_calibrated"] == told[0]["val_bits_per_char_calibrated"] < told[0]["val_bits_per_char"]
    assert store.latest("last").temperature == best.temperature


def test_a_resumed_run_scores_what_it_scored_and_tells_the_same() -> None:
    whole, whole_store = run(trainer_of(CORPUS, steps=12, eval_every=3))
    calls = iter([None] * 7 + ["interrupted"])
    _, store = run(trainer_of(CORPUS, steps=12, eval_every=3, stop=lambda: next(calls)))
    rest, rest_store = run(trainer_of(CORPUS, steps=12, eval_every=3, resume=store.latest("last")))
    assert only(rest, "eval") == [
        {**event, "seconds": rest_event["seconds"]}
        for event, rest_event in zip(only(whole, "eval")[2:], only(rest, "eval"), strict=True)
    ]
    for name in ("val_scored", "val_standard_error", "val_bits_per_char_calibrated", "val_bits_per_char"):
        assert rest_store.latest("last").training[name] == whole_store.latest("last").training[name]


def test_a_stored_excerpt_is_kept_even_where_this_version_would_choose_another() -> None:
    _, store = run(trainer_of(CORPUS, steps=3, eval_every=3))
    last = store.latest("last")
    kept = {"characters": 900, "pieces": [[3_100, 3_500], [4_000, 4_500]]}
    last.training["val_scored"] = kept
    _, rest = run(trainer_of(CORPUS, steps=6, eval_every=3, resume=last))
    assert rest.latest("last").training["val_scored"] == kept


def test_a_run_of_an_earlier_version_keeps_its_own_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    _, store = run(trainer_of(CORPUS, steps=3, eval_every=3))
    last = store.latest("last")
    for name in ("val_scored", "val_standard_error", "val_bits_per_char_calibrated"):
        del last.training[name]
    _, rest = run(trainer_of(CORPUS, steps=6, eval_every=3, resume=last))
    assert rest.latest("last").training["val_scored"] == {"characters": 900, "pieces": [[3_000, 3_900]]}


@pytest.mark.parametrize("cell", OF_TORCH)
def test_a_run_begun_by_7c89b3b_evaluates_what_it_did(cell: str, tmp_path: Path, invoke: Callable[..., Any]) -> None:
    shutil.copytree(FIXTURES / cell, tmp_path / "run")
    old = checkpoint.read(tmp_path / "run/last.safetensors")
    assert "val_scored" not in old.training
    old.training["progress"]["eval_characters"] = 40  # as if its text had been a longer one
    checkpoint.write(tmp_path / "run/last.safetensors", old)
    result = invoke("train", FIXTURES / "text.txt", "--resume", tmp_path / "run", "--steps", 15, "--json")
    (event,) = (event for event in map(json.loads, result.stdout.splitlines()) if event["event"] == "eval")
    assert event["val_scored_characters"] == 40
    text = read_corpus([str(FIXTURES / "text.txt")], vocabulary=old.vocabulary)
    kept = checkpoint.read(tmp_path / "run/last.safetensors").training["val_scored"]["pieces"]
    assert kept == [[text.train_characters, text.train_characters + 40]]


def test_another_text_is_sampled_anew() -> None:
    _, store = run(trainer_of(CORPUS, steps=3, eval_every=3))
    other = corpus_of(random_text(9_600), 6_400)
    object.__setattr__(other, "sha256", "1" * 64)
    _, rest = run(trainer_of(other, steps=6, eval_every=3, resume=store.latest("last")))
    assert rest.latest("last").training["val_scored"] == spread(other, 900).to_json()


def test_a_best_network_that_was_found_after_the_last_save_is_adopted_with_what_is_told_of_it() -> None:
    _, store = run(trainer_of(CORPUS, steps=6, eval_every=3))
    best = store.latest("best")
    one, progress = plan(steps=6)
    one.adopt(best, progress)
    assert (progress.best_val_bits_per_char, progress.eval_characters) == (best.training["val_bits_per_char"], 900)
    assert one.facts() == {name: best.training[name] for name in one.facts()}
    assert one.temperature == best.temperature
    # One that was scored on other characters is no measure for those to come.
    other, progress = plan(steps=6)
    other.begin(progress, 0.5)
    best.training["val_scored"] = {"characters": 900, "pieces": [[3_000, 3_900]]}
    other.adopt(best, progress)
    assert (progress.best_val_bits_per_char, other.best) == (None, {})


def test_the_minutes_are_used_to_within_2_percent_however_long_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a text of which the end scores but a part; an evaluation costs a quarter of a training step per character.

    The clock counts steps of 4 x 64 characters; those that are really made are shorter.
    """
    clock, per_character = Clock(1e-4), 2e-4

    def costly(model: object, corpus: object, excerpt: Any, *more: object) -> evaluation.Validation:
        clock.now += evaluation.reading(excerpt.characters) * per_character
        return validation(2.0 - 1e-4 * clock.now)

    def train(step: int) -> None:
        clock.now += 4 * per_character * 256

    monkeypatch.setattr(evaluation, "validate", costly)
    config = TrainConfig(**PLAIN, minutes=0.5)
    trainer = Trainer(ModelConfig(CORPUS.vocabulary.size, "rnn", 4, 8), config, CORPUS, clock=clock, before_step=train)
    end = list(trainer.run(Store()))[-1]
    assert end["val_scored_characters"] < 6_000
    assert 0.98 * 30 <= end["seconds"] <= 1.02 * 30
    assert evaluation.reading(end["val_scored_characters"]) * per_character >= 0.95 * 0.03 * 30
    assert math.isfinite(end["best_val_bits_per_char"])


def test_a_whole_validation_that_takes_much_of_the_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(1e-3)

    def slow(model: object, corpus: object, excerpt: Any, *more: object) -> evaluation.Validation:
        clock.now += excerpt.characters / 1e4
        return validation(1.0)

    monkeypatch.setattr(evaluation, "validate", slow)
    events, _ = run(trainer_of(CORPUS, steps=9, eval_every=9, clock=clock, val_whole=True))
    (warned,) = only(events, "warning")
    assert "without --val-whole" in warned["text"]
    assert np.isfinite(events[-1]["best_val_bits_per_char"])
