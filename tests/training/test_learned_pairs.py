"""Vectors for pairs of symbols in torch: they are read, learned, resumed and carried over as the other weights are."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import OPTIMIZERS, PLAIN, Clock, Store, corpus_of, random_text

from charrnn import UsageError
from charrnn.analysis.judge import Judge
from charrnn.classifier_config import ClassifierConfig
from charrnn.config import GATES, ModelConfig, TrainConfig
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.classifier import Classifier
from charrnn.network.pairs import commonest, last_read
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import optimizer, runs
from charrnn.training.classify import padded
from charrnn.training.model import CharRNN
from charrnn.training.runs import RunRequest
from charrnn.training.snapshot import carried_over, carried_pairs
from charrnn.training.text_classifier import TextClassifier, exported
from charrnn.training.trainer import Trainer

V, KEYS = 7, tuple(range(0, 49, 3))
every_cell = pytest.mark.parametrize("cell", list(GATES))
TEXT = random_text(600)


def model_of(cell: str = "lstm", layers: int = 2) -> CharRNN:
    config = ModelConfig(V, cell, embedding_size=5, hidden_size=8, num_layers=layers, pair_keys=KEYS)
    model, rng = CharRNN(config), np.random.default_rng(3)
    model.load({name: rng.normal(0, 0.6, size).astype(np.float32) for name, size in config.parameter_shapes().items()})
    return model


def trainer(
    steps: int, resume: Checkpoint | None = None, cell: str = "lstm", stop_at: int | None = None, **settings: Any
) -> Trainer:
    corpus = corpus_of(TEXT, 100)
    keys = commonest([corpus.ids[:500]], corpus.vocabulary.size, 30)
    assert len(keys) == 30
    shape = ModelConfig(corpus.vocabulary.size, cell, embedding_size=5, hidden_size=8, num_layers=1, pair_keys=keys)
    config, made = TrainConfig(**{**PLAIN, "steps": steps, **settings}), list[Trainer]()

    def stop() -> str | None:
        return "interrupted" if made[0].progress.step == stop_at else None

    made.append(Trainer(shape, config, corpus, clock=Clock(), resume=resume, stop=stop))
    return made[0]


def trained(made: Trainer) -> Store:
    store = Store()
    assert list(made.run(store))[-1]["event"] == "end"
    return store


@every_cell
@pytest.mark.parametrize("learning", [False, True])
def test_torch_reads_pairs_as_numpy_does_also_from_the_middle_of_a_text(cell: str, learning: bool) -> None:
    model, ids = model_of(cell), np.random.default_rng(0).integers(0, V, (40, 3))
    network = Network(model.config, model.export())
    expected, end, _ = network.unroll(ids)
    state, found = model.initial_state(3), []
    with torch.set_grad_enabled(learning):
        for piece in np.split(ids, [1, 2, 19]):
            logits, state = model(torch.from_numpy(np.ascontiguousarray(piece.T)), state.detach())
            found.append(logits.detach().numpy().transpose(1, 0, 2))
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)
    np.testing.assert_allclose(state.detach().numpy(), end, atol=1e-5)
    last_read(end)[...] = np.nan  # A damaged file's state.
    assert torch.isfinite(model(torch.zeros(3, 1, dtype=torch.long), torch.from_numpy(end))[0]).all()


@pytest.mark.parametrize("chosen", OPTIMIZERS)
def test_pairs_begin_at_zero_and_those_that_were_read_are_learned(chosen: str) -> None:
    assert optimizer.method("pairs.weight", chosen) == "adamw"
    made = trainer(40, optimizer=chosen, weight_decay=0.0)
    assert not made.model.export()["pairs.weight"].any()
    weights = trained(made).latest("last").weights["pairs.weight"]
    assert np.abs(weights).max(axis=1).all()


def test_a_run_with_pairs_begins_with_the_weights_of_one_without() -> None:
    made = trainer(1)
    plain = CharRNN(dataclasses.replace(made.model.config, pair_keys=()), torch.Generator().manual_seed(0)).export()
    for name, weight in plain.items():
        np.testing.assert_array_equal(made.model.export()[name], weight)


@every_cell
@pytest.mark.parametrize("workers", [1, 2])
def test_training_in_two_goes_ends_as_in_one(cell: str, workers: int) -> None:
    settings = {"cell": cell, "workers": workers, "batch_size": 4, "optimizer": "soap"}
    whole = trained(trainer(12, **settings)).latest("last")
    half = trained(trainer(12, stop_at=7, **settings)).latest("last")
    assert half.training["step"] == 7
    again = trained(trainer(12, half, **settings)).latest("last")
    assert last_read(whole.extra["state"]).all()
    for name, weight in whole.weights.items():
        np.testing.assert_array_equal(again.weights[name], weight)
    np.testing.assert_array_equal(again.extra["state"], whole.extra["state"])


def test_pairs_go_along_to_another_vocabulary() -> None:
    model = model_of(layers=1)
    old = Checkpoint(model.config, Vocabulary("char", "abcdef"), {}, model.export())
    now = Vocabulary("char", "Aacefgh")  # without b and d
    shape = dataclasses.replace(model.config, vocab_size=now.size, pair_keys=carried_pairs(old, now))
    network = Network(shape, carried_over(old, now, CharRNN(shape).export()))
    text = "aacfefcaacefaacecafe"
    expected = Network(old.model, old.weights).unroll(old.vocabulary.encode(text)[:, None])[1]
    found = network.unroll(now.encode(text)[:, None])[1]
    np.testing.assert_allclose(found[:, :2], expected[:, :2], atol=1e-6)
    assert 0 < len(shape.pair_keys) < len(KEYS)


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_numpys_classifier_reads_pairs_as_torchs_does(cell: str, bidirectional: bool) -> None:
    vocabulary = Vocabulary("char", "\nabcde")
    shape = ModelConfig(V, cell, 6, 2, 3, pair_keys=KEYS)
    config = ClassifierConfig(feature="last+mean", bidirectional=bidirectional)
    made = TextClassifier(shape, config, ("last+mean",), 3, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in (made.forwards.pairs.weight, made.heads[0].weight):
            parameter.normal_(generator=torch.Generator().manual_seed(2))
    texts = ["a", "dead", "bad cab", "ebb"]
    ids, lengths = padded([vocabulary.encode(f"\n{text}\n") for text in texts])
    with torch.no_grad():
        (logits,) = made.logits(made.states(ids, lengths), lengths)
    judge = Judge(Classifier(shape, vocabulary, config, ("x", "y", "z"), {}, exported(made.named("last+mean"))))
    features = judge.features(texts)
    np.testing.assert_allclose(judge.logits(features), logits.numpy(), atol=1e-5)
    if not bidirectional:
        np.testing.assert_allclose(judge.trace("dead")[1][-1], judge.probabilities(["dead"])[0], atol=1e-5)


# -- what a run chooses ------------------------------------------------------------------------------------------------


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def shape_of(*corpus: Path, **settings: Any) -> ModelConfig:
    request = RunRequest([str(path) for path in corpus], {"steps": 4, **settings})
    return runs.prepare(request, lambda _: None).model


def test_the_text_that_is_learned_chooses_the_pairs(text: Path) -> None:
    plain = corpus_of(TEXT, 60)
    assert shape_of(text, pairs=9).pair_keys == commonest([plain.ids[:540]], plain.vocabulary.size, 9)
    assert shape_of(text, pairs=0) == dataclasses.replace(shape_of(text, pairs=9), pair_keys=())
    with pytest.raises(UsageError, match="--pairs must be a whole number of at least 0 and at most 2,000"):
        shape_of(text, pairs=2001)


def test_what_is_held_out_in_pieces_chooses_no_pair(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("ab" * 2000)
    request = RunRequest([str(path)], {"steps": 4, "pairs": 9, "val": "scattered"})
    pieces = runs.prepare(request, lambda _: None).text.pieces
    assert pieces is not None
    written = np.array(list("ab" * 2000))
    for begin, end in zip(pieces.begins, pieces.ends, strict=True):
        written[begin:end] = list("xy" * 2000)[: end - begin]
    path.write_text("".join(written))
    assert len(shape_of(path, pairs=9, val="scattered").pair_keys) == 2
