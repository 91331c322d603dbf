"""Laws of evaluation: the loss it measures, in columns of any number, and what it leaves alone."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import corpus_of, naive_nats, random_model, random_text, same_weights

from charrnn.config import GATES
from charrnn.network.cells import Network
from charrnn.text.excerpts import Excerpt, first, spread
from charrnn.text.scattered import scatter
from charrnn.training.evaluation import losses, passage, sample, validate
from charrnn.training.temperature import FACTORS, PLAIN
from charrnn.training.workers import Workers

pytestmark = pytest.mark.usefixtures("one_thread")


def scattered(text, fraction):
    """``text`` as a corpus with pieces all over it held out."""
    pieces = scatter(len(text), fraction)
    return replace(corpus_of(text), pieces=pieces, train_characters=pieces.trained)


def evaluate(model, ids, start, characters, workers=None):
    """Nats per character of a single piece of a text of ids."""
    text = replace(corpus_of("ab"), ids=ids, train_characters=start)
    piece = Excerpt(np.array([start]), np.array([start + characters]), len(ids) - start)
    found = losses(model, text, piece, workers=workers)
    assert found.shape == (1, 2, len(FACTORS))
    return found[0, :, PLAIN].sum() / characters


def sample_of(model, characters):
    """Ids drawn from a network at temperature 1."""
    network, rng = Network(model.config, model.export()), np.random.default_rng(0)
    step, ids = network.stepper(network.initial_state(1)), [0]
    for _ in range(characters - 1):
        logits = step(np.array(ids[-1:]))[0].astype(np.float64)
        chances = np.exp(logits - logits.max())
        ids.append(int(rng.choice(len(chances), p=chances / chances.sum())))
    return np.array(ids, dtype=np.uint8)


every_cell = pytest.mark.parametrize("cell", list(GATES))


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
    found = validate(model, corpus, first(corpus, 60))
    assert found.bits == pytest.approx(nats / math.log(2))
    assert found.standard_error is None  # of a single piece
    assert validate(model, corpus, first(corpus, 100)).standard_error == 0.0
    with torch.no_grad():
        model.head.bias[0] = math.nan
    assert validate(model, corpus, first(corpus, 60)) is None


@pytest.mark.parametrize("characters", [600, 1500, 3000])
def test_pieces_over_the_text_are_each_scored_after_their_own_warm_up(characters):
    corpus = scattered(random_text(10_000), 0.3)
    model = random_model(vocab_size=8)
    network, total = Network(model.config, model.export()), 0.0
    begins, ends = corpus.pieces.first(characters)
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        total += naive_nats(network, corpus.ids, begin, end, 255)
    found = validate(model, corpus, spread(corpus, characters))
    assert found.bits == pytest.approx(total / characters / math.log(2), rel=1e-5)


@every_cell
def test_pieces_spread_over_a_tail_are_each_scored_after_the_256_characters_before(cell):
    corpus, model = corpus_of(random_text(9000), 6000), random_model(cell, vocab_size=8)
    excerpt, network = spread(corpus, 2000), Network(model.config, model.export())
    found = losses(model, corpus, excerpt)[:, :, PLAIN].sum(axis=1)
    assert len(found) == len(excerpt.begins) > 1
    for loss, begin, end in zip(found, excerpt.begins.tolist(), excerpt.ends.tolist(), strict=True):
        assert loss == pytest.approx(naive_nats(network, corpus.ids, begin, end, 256), rel=1e-5)


def test_each_factor_scores_what_a_network_with_such_logits_scores():
    corpus, model = corpus_of(random_text(900), 300), random_model(vocab_size=8)
    found = losses(model, corpus, spread(corpus, 300)).sum(axis=(0, 1))
    for number, factor in enumerate(FACTORS):
        other = random_model(vocab_size=8)
        with torch.no_grad():
            other.head.weight *= factor
            other.head.bias *= factor
        expected = losses(other, corpus, spread(corpus, 300)).sum(axis=(0, 1))[PLAIN]
        assert found[number] == pytest.approx(expected, rel=1e-5)


def test_the_temperature_of_a_network_whose_logits_are_too_large_brings_back_the_loss():
    """The text is drawn from the network itself, so that 1 is the temperature that suits it."""
    model = random_model(vocab_size=8)
    text = sample_of(model, 6000)
    corpus = replace(corpus_of(random_text(100)), ids=text, train_characters=1000)
    before = validate(model, corpus, spread(corpus, 5000))
    with torch.no_grad():
        model.head.weight *= 1.5
        model.head.bias *= 1.5
    found = validate(model, corpus, spread(corpus, 5000))
    assert found.temperature == pytest.approx(1.5, abs=0.1)
    assert found.bits > before.bits + 0.01
    assert found.calibrated == pytest.approx(before.bits, abs=0.002)


def test_what_is_trained_on_does_not_change_what_pieces_score():
    corpus, model = scattered(random_text(10_000), 0.3), random_model(vocab_size=8)
    outside = np.concatenate([np.arange(*stretch) for stretch in zip(*corpus.pieces.stretches(), strict=True)])
    ids = corpus.ids.copy()
    ids[outside] = 0
    excerpt = spread(corpus, 3000)
    assert validate(model, corpus, excerpt) == validate(model, replace(corpus, ids=ids), excerpt)


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
