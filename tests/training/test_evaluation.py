"""Laws of evaluation: the loss it measures, in columns of any number, and what it leaves alone."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import KERNELS, corpus_of, naive_nats, random_model, random_text, same_weights

from charrnn.network.cells import Network
from charrnn.text.scattered import scatter
from charrnn.training.evaluation import evaluate, passage, sample, validation_bits
from charrnn.training.workers import Workers

pytestmark = pytest.mark.usefixtures("one_thread")


def scattered(text, fraction):
    """``text`` as a corpus with pieces all over it held out."""
    pieces = scatter(len(text), fraction)
    return replace(corpus_of(text), pieces=pieces, train_characters=pieces.trained)


every_cell = pytest.mark.parametrize("cell", list(KERNELS))


@every_cell
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("start", "characters"), [(1, 50), (100, 900), (257, 128), (700, 1500)])
def test_evaluation_equals_a_loss_taken_one_character_at_a_time(cell, layers, start, characters):
    """One column; the state is carried from the 256 characters before, or all there are."""
    model, ids = random_model(cell, layers=layers), np.random.default_rng(0).integers(0, 7, 2200).astype(np.uint8)
    expected = naive_nats(Network(model.config, model.export()), ids, start, start + characters, min(256, start - 1))
    assert evaluate(model, ids, start, characters) == pytest.approx(expected / characters, rel=1e-5)


@pytest.mark.parametrize(("start", "characters", "columns"), [(300, 2048, 2), (40, 3001, 2), (500, 5123, 5)])
def test_evaluation_in_columns_warms_each_on_the_256_characters_before_it(start, characters, columns):
    """Also where the last column is shorter, and where the text ends with it."""
    model = random_model("lstm")
    ids = np.random.default_rng(0).integers(0, 7, start + characters).astype(np.uint8)
    network, total, length = Network(model.config, model.export()), 0.0, math.ceil(characters / columns)
    for begin in range(start, start + characters, length):
        total += naive_nats(network, ids, begin, min(begin + length, start + characters), min(256, start - 1))
    assert evaluate(model, ids, start, characters) == pytest.approx(total / characters, rel=1e-5)


@pytest.mark.parametrize(("start", "characters"), [(1, 2), (300, 3333)])
def test_a_uniform_network_scores_log2_of_the_vocabulary(start, characters):
    model = random_model(vocab_size=23)
    model.load({name: np.zeros(size, dtype=np.float32) for name, size in model.config.parameter_shapes().items()})
    ids = np.random.default_rng(0).integers(0, 23, 4000)
    assert evaluate(model, ids, start, characters) / math.log(2) == pytest.approx(math.log2(23), rel=1e-6)


def test_evaluation_leaves_mode_gradients_weights_and_global_generators_alone():
    model = random_model()
    before = model.export()
    global_state = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    for mode in (True, False):
        model.train(mode)
        evaluate(model, np.arange(500) % 7, 100, 300)
        assert model.training is mode
    assert torch.is_grad_enabled()
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert same_weights(before, model.export())
    assert torch.equal(torch.get_rng_state(), global_state[0])
    assert np.array_equal(np.random.get_state()[1], global_state[1])
    assert random.getstate() == global_state[2]


@pytest.mark.parametrize("count", [2, 5])
def test_an_evaluation_is_the_same_however_its_columns_are_shared_out(count):
    model = random_model("lstm")
    ids = np.random.default_rng(0).integers(0, 7, 6000).astype(np.uint8)
    workers = Workers(count)
    with workers.working():
        assert evaluate(model, ids, 300, 5123, workers=workers) == pytest.approx(evaluate(model, ids, 300, 5123), rel=1e-6)


def test_the_validation_figure_is_in_bits_and_none_if_not_finite():
    model, corpus = random_model(vocab_size=8), corpus_of(random_text(600), 100)
    nats = evaluate(model, corpus.ids, 500, 60)
    assert validation_bits(model, corpus, 60) == pytest.approx(nats / math.log(2))
    with torch.no_grad():
        model.head.bias[0] = math.nan
    assert validation_bits(model, corpus, 60) is None


@pytest.mark.parametrize("characters", [600, 1500, 3000])
def test_pieces_over_the_text_are_each_scored_after_their_own_warm_up(characters):
    corpus = scattered(random_text(10_000), 0.3)
    model = random_model(vocab_size=8)
    network, total = Network(model.config, model.export()), 0.0
    begins, ends = corpus.pieces.first(characters)
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        total += naive_nats(network, corpus.ids, begin, end, 255)
    assert validation_bits(model, corpus, characters) == pytest.approx(total / characters / math.log(2), rel=1e-5)


def test_what_is_trained_on_does_not_change_what_pieces_score():
    corpus, model = scattered(random_text(10_000), 0.3), random_model(vocab_size=8)
    outside = np.concatenate([np.arange(*stretch) for stretch in zip(*corpus.pieces.stretches(), strict=True)])
    ids = corpus.ids.copy()
    ids[outside] = 0
    assert validation_bits(model, corpus, 3000) == validation_bits(model, replace(corpus, ids=ids), 3000)


def test_the_passage_of_pieces_is_where_the_first_is_scored():
    corpus = scattered(random_text(10_000), 0.3)
    begin = corpus.pieces.scored_from[0]
    assert np.array_equal(passage(corpus), corpus.ids[begin : begin + 256])


@pytest.mark.parametrize(
    ("val_characters", "expected"), [(0, slice(744, 1000)), (100, slice(900, 1000)), (400, slice(600, 856))]
)
def test_the_passage_is_where_validation_begins_or_else_where_the_text_ends(val_characters, expected):
    corpus = corpus_of(random_text(1000), val_characters)
    assert np.array_equal(passage(corpus), corpus.ids[expected])


def test_a_sample_follows_from_the_seed_and_the_step():
    model, corpus = random_model(vocab_size=8), corpus_of(random_text(600))
    network = Network(model.config, model.export())
    text = sample(network, corpus.vocabulary, 1, 5)
    assert len(text) == 80
    assert sample(network, corpus.vocabulary, 1, 5) == text
    assert len({text, sample(network, corpus.vocabulary, 2, 5), sample(network, corpus.vocabulary, 1, 6)}) == 3
