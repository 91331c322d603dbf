"""What a snapshot holds and refuses, and how checkpoints that can't be written are tried again."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import Store, same_weights, trainer_of

from charrnn import CharrnnError
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.corpus import Corpus
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.snapshot import Progress, Saves, is_finite, read_training_state

pytestmark = pytest.mark.usefixtures("one_thread")


def test_settings_and_progress_come_back_as_they_were() -> None:
    trainer = trainer_of(steps=5)
    list(trainer.run(Store()))
    config, progress = read_training_state(trainer.snapshot())
    assert config == trainer.config
    assert progress == trainer.progress
    assert progress.step == 5


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Progress)])
@pytest.mark.parametrize("wrong", ["1", -1, math.nan, [1], True])
def test_progress_that_makes_no_sense_is_one_clear_error(field: str, wrong: object) -> None:
    snapshot = trainer_of(steps=5).snapshot()
    snapshot.training["progress"][field] = wrong
    with pytest.raises(CharrnnError, match="holds no sound training state to go on with; see --init-from"):
        read_training_state(snapshot)


def test_only_finite_numbers_are_sound() -> None:
    trainer = trainer_of(steps=5)
    assert is_finite(trainer.snapshot())
    with torch.no_grad():
        trainer.model.head.bias[0] = math.inf
    assert not is_finite(trainer.snapshot())


class FullStore(Store):
    """A store whose disk is full for a while."""

    full = True

    def save(self, kind: str, saved: Checkpoint) -> Path:
        if self.full:
            raise CharrnnError(f"{kind}: no space")
        return super().save(kind, saved)


def test_a_best_network_that_could_not_be_written_is_tried_again() -> None:
    store, network = FullStore(), trainer_of(steps=5).snapshot()
    saves = Saves(store)
    (warned,) = saves.keep("best", network)
    assert warned == {"event": "warning", "text": "best: no space; the next save tries again"}
    assert not saves.complete
    assert (saves.best, saves.best_path) == (network, None)
    store.full = False
    (saved,) = saves.keep_best_again()
    assert saved["event"] == "saved"
    assert saves.complete
    assert same_weights(store.latest("best").weights, network.weights)
    assert list(saves.keep_best_again()) == []
    store.saved.clear()  # Somebody removed the file.
    assert [event["event"] for event in saves.keep_best_again()] == ["saved"]


def other_corpus(corpus: Corpus) -> Corpus:
    return dataclasses.replace(corpus, sha256="1" * 64)


def adopting(best: Checkpoint, corpus: Corpus, *, text_changed: bool = False) -> tuple[Saves, Progress, list[Any], Store]:
    """What comes of a run's ``best`` file when the run goes on."""
    store, progress = Store(), Progress(step=5, best_val_bits_per_char=2.0)
    store.save("best", best)
    saves = Saves(store)
    model = dataclasses.replace(trainer_of(corpus, steps=5).model.config)
    said = list(saves.adopt_best(progress, model, corpus, text_changed=text_changed))
    return saves, progress, said, store


def test_the_best_network_of_the_run_itself_is_adopted() -> None:
    trainer = trainer_of(steps=5)
    saves, progress, said, _ = adopting(network := trainer.snapshot(), trainer.corpus)
    assert (saves.best, progress.best_val_bits_per_char, said) == (network, 2.0, [])


def test_once_the_text_has_changed_the_best_network_is_looked_for_anew() -> None:
    trainer = trainer_of(steps=5)
    saves, progress, said, store = adopting(trainer.snapshot(), other_corpus(trainer.corpus), text_changed=True)
    assert (saves.best, progress.best_val_bits_per_char, said) == (None, None, [])
    assert store.load("best") is not None


@pytest.mark.parametrize("other", ["shape", "cell", "vocabulary", "text"])
def test_a_best_network_of_another_run_is_set_aside_and_said(other: str) -> None:
    corpus = trainer_of(steps=5).corpus
    capitals = dataclasses.replace(corpus, vocabulary=Vocabulary("char", corpus.vocabulary.characters.upper()))
    strangers = {
        "shape": trainer_of(corpus, steps=5, hidden=9),
        "cell": trainer_of(corpus, steps=5, cell="rnn"),
        "vocabulary": trainer_of(capitals, steps=5),
        "text": trainer_of(other_corpus(corpus), steps=5),
    }
    saves, progress, (warned,), store = adopting(strangers[other].snapshot(), corpus)
    assert "of another run; it is called best-1.safetensors now" in warned["text"]
    assert (saves.best, progress.best_val_bits_per_char, store.load("best")) == (None, None, None)
