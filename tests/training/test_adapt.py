"""Dynamic evaluation: predictions come before learning, in whole texts and in lines; what is learned, and what never is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from charrnn import CharrnnError
from charrnn.analysis.scoring import Foreseen, Scorer
from charrnn.config import GATES, ModelConfig
from charrnn.network.checkpoint import ROW_RMS, Checkpoint
from charrnn.network.ensemble import calibrated
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.adapt import CHUNK, LONG, SMALLEST, Adaptation, Adapter, AdaptingScorer
from charrnn.training.model import CharRNN

LETTERS = "\n abcdef"
STILL = Adaptation(rate=0.0, decay=0.0)
FAST = Adaptation(rate=0.02, decay=1e-3)


def trained(cell: str = "lstm", layers: int = 1, letters: str = LETTERS, scale: float = 0.4, **more: Any) -> Checkpoint:
    """A tiny network with random weights."""
    vocabulary = Vocabulary("char", letters)
    model = ModelConfig(vocabulary.size, cell=cell, embedding_size=4, hidden_size=8, num_layers=layers)
    rng = np.random.default_rng(3)
    weights = {name: rng.normal(0, scale, shape).astype(np.float32) for name, shape in model.parameter_shapes().items()}
    return Checkpoint(model, vocabulary, {"characters": 1000}, weights, **more)


def text(length: int, seed: int = 0, letters: str = LETTERS) -> str:
    return "".join(np.random.default_rng(seed).choice(list(letters), length))


def read(scorer: Scorer, characters: str, *, by_line: bool = False, block: int = 1000) -> list[Foreseen]:
    points = np.array([ord(character) for character in characters], dtype=np.uint32)
    return list(scorer.pieces([points[at : at + block] for at in range(0, len(points), block)], by_line=by_line))


def nats(pieces: list[Foreseen]) -> NDArray[np.float64]:
    return np.concatenate([piece.nats for piece in pieces])


@pytest.mark.parametrize(("cell", "layers"), [("lstm", 1), ("lstm", 2), ("gru", 1), ("rnn", 2)])
@pytest.mark.parametrize("by_line", [False, True])
def test_predictions_come_before_learning(cell: str, layers: int, by_line: bool) -> None:
    one = text(400)
    place = 219
    other = one[:place] + text(400, seed=1)[place:]
    assert one[place] != other[place]
    scorer = AdaptingScorer(trained(cell, layers), details=True, adaptation=FAST)
    first, second = read(scorer, one, by_line=by_line), read(scorer, other, by_line=by_line)
    assert nats(first)[:place] == pytest.approx(nats(second)[:place], abs=1e-5)
    likeliest = [np.concatenate([piece.likeliest for piece in pieces]) for pieces in (first, second)]
    assert (likeliest[0][: place + 1] == likeliest[1][: place + 1]).all()
    assert not np.allclose(nats(first)[place + CHUNK :], nats(second)[place + CHUNK :])


@pytest.mark.parametrize("adaptation", [Adaptation(), FAST, Adaptation(rate=0.1, decay=0.0)])
@pytest.mark.parametrize("by_line", [False, True])
@pytest.mark.parametrize("known", [{}, {"head.weight": 0.0, "embedding.weight": 9.0, "rnn.weight_hh_l0": 1e-6}])
def test_random_characters_cost_no_less_than_their_logarithm(
    adaptation: Adaptation, by_line: bool, known: dict[str, float]
) -> None:
    """Whatever the file says of the gradients in training."""
    own = trained()
    rms = {ROW_RMS + name: np.full(len(own.weights[name]), size, dtype=np.float32) for name, size in known.items()}
    scorer = AdaptingScorer(replace(own, extra=rms), adaptation=adaptation)
    bits = nats(read(scorer, text(4000, seed=5), by_line=by_line)) / np.log(2)
    assert bits.mean() > np.log2(len(LETTERS)) - 3 * bits.std() / np.sqrt(len(bits))


@pytest.mark.parametrize("cell", list(GATES))
@pytest.mark.parametrize("by_line", [False, True])
def test_what_comes_again_gets_cheaper(cell: str, by_line: bool) -> None:
    again = "a bad cafe\nfaded beef\n" * 60
    plain = nats(read(Scorer(calibrated(trained(cell)), trained(cell).vocabulary), again, by_line=by_line))
    adapted = nats(read(AdaptingScorer(trained(cell), adaptation=FAST), again, by_line=by_line))
    assert adapted[:11] == pytest.approx(plain[:11], abs=1e-5)
    assert adapted[-300:].mean() < 0.7 * plain[-300:].mean()


@pytest.mark.parametrize("cell", list(GATES))
@pytest.mark.parametrize("by_line", [False, True])
def test_without_steps_it_is_the_network_itself(cell: str, by_line: bool) -> None:
    """So the state begins anew at each line, also where lines are read side by side or in parts."""
    own = trained(cell, temperature=1.5)
    characters = text(500) + "ab" * LONG + "\nfed\n" + "c" * (CHUNK * 3) + "\na\n\nb"
    pieces = read(AdaptingScorer(own, adaptation=STILL, details=True), characters, by_line=by_line)
    expected = read(Scorer(calibrated(own), own.vocabulary, details=True), characters, by_line=by_line)
    assert nats(pieces) == pytest.approx(nats(expected), abs=1e-5)
    for name in ("codes", "ids", "uncalibrated", "ranks"):
        found, right = (np.concatenate([getattr(piece, name) for piece in some]) for some in (pieces, expected))
        assert found == pytest.approx(right, abs=1e-5), name
    if by_line:
        assert [piece.text("char") for piece in pieces] == characters.splitlines(keepends=True)
        assert [piece.last for piece in pieces] == [piece.last for piece in expected]


@pytest.mark.parametrize("by_line", [False, True])
def test_every_text_begins_with_the_trained_weights(by_line: bool) -> None:
    scorer = AdaptingScorer(trained(), adaptation=FAST)
    first = nats(read(scorer, text(500), by_line=by_line))
    read(scorer, "fade " * 100, by_line=by_line)
    assert (nats(read(scorer, text(500), by_line=by_line)) == first).all()
    assert (nats(read(AdaptingScorer(trained(), adaptation=FAST), text(500), by_line=by_line)) == first).all()


@pytest.mark.parametrize("by_line", [False, True])
def test_it_does_not_matter_how_a_text_arrives(by_line: bool) -> None:
    characters = text(300) + "d" * 300 + text(100)
    scorer = AdaptingScorer(trained(), adaptation=FAST)
    whole = nats(read(scorer, characters, by_line=by_line))
    for block in (1, 7, 130):
        assert nats(read(scorer, characters, by_line=by_line, block=block)) == pytest.approx(whole, abs=1e-5)


def test_a_line_is_foreseen_before_the_next_block_is_read() -> None:
    asked = []

    def blocks() -> Any:
        for line in ("ab\n", "cab\n", "fed\n"):
            asked.append(line)
            yield np.array([ord(character) for character in line], dtype=np.uint32)

    for number, piece in enumerate(AdaptingScorer(trained()).pieces(blocks(), by_line=True), 1):
        assert len(asked) == number
        assert piece.last


def test_the_lines_of_a_batch_are_learned_once() -> None:
    scorer = AdaptingScorer(trained())
    read(scorer, "fade\n" * 26, by_line=True)  # thirteen lines are 65 characters
    assert scorer.adapter.steps == 2
    read(scorer, "fade\n" * 27, by_line=True, block=5)
    assert scorer.adapter.steps == 3


def gradients_of(trained: Checkpoint, ids: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """Those of the mean loss on ``ids`` (1, T), read from the zero state."""
    model = CharRNN(trained.model)
    model.load(trained.weights)
    symbols = torch.from_numpy(ids)
    logits, _ = model(symbols[:, :-1], model.initial_state(1))
    loss = functional.cross_entropy(logits[0], symbols[0, 1:])
    found = torch.autograd.grad(loss, list(model.weights().values()))
    return {name: gradient.numpy() for name, gradient in zip(model.weights(), found, strict=True)}


def test_a_step_is_that_of_the_literature() -> None:
    own, how = trained(), Adaptation(rate=0.01, decay=0.05, memory=0.5)
    adapter = Adapter(own, how)
    ids = own.vocabulary.encode(text(CHUNK + 1)).astype(np.int64)[None]
    adapter.read(ids, adapter.initial_state(1))
    gradients = gradients_of(own, ids)
    rows = {
        name: np.sqrt((g * g).mean(axis=1, keepdims=True)) * np.ones_like(g) if g.ndim > 1 else abs(g)
        for name, g in gradients.items()
    }
    mean = np.concatenate([size.ravel() for size in rows.values()]).mean()
    for name, weight in own.weights.items():
        moved = weight - how.rate * gradients[name] / (rows[name] + SMALLEST * mean)
        expected = moved + np.minimum(1, how.decay * rows[name] / mean) * (weight - moved)
        assert adapter.weights()[name] == pytest.approx(expected, abs=2e-5), name


@pytest.mark.parametrize("prior", [0.0, 3.0, 1e12])
def test_rows_go_by_the_size_of_their_gradients_in_training(prior: float) -> None:
    """As large as in training for ``prior`` steps, on the scale of the text; vectors go by the text alone."""
    own, how = trained(), Adaptation(rate=0.01, decay=0.0, prior=prior)
    rng = np.random.default_rng(8)
    known = {name: rng.uniform(0.5, 2.0, len(w)).astype(np.float32) for name, w in own.weights.items() if w.ndim > 1}
    adapter = Adapter(replace(own, extra={ROW_RMS + name: rms for name, rms in known.items()}), how)
    ids = own.vocabulary.encode(text(CHUNK + 1)).astype(np.int64)[None]
    adapter.read(ids, adapter.initial_state(1))
    gradients = gradients_of(own, ids)
    here = {name: np.sqrt((g * g).mean(axis=1, keepdims=True)) if g.ndim > 1 else abs(g) for name, g in gradients.items()}
    scale = sum(here[name].sum() for name in known) / sum(rms.sum() for rms in known.values())
    sizes = dict(here)
    for name, rms in known.items():
        there = (rms * scale)[:, None]
        sizes[name] = np.sqrt((prior * there**2 + here[name] ** 2) / (prior + 1))
    mean = np.concatenate([(sizes[name] * np.ones_like(g)).ravel() for name, g in gradients.items()]).mean()
    for name, weight in own.weights.items():
        expected = weight - how.rate * gradients[name] / (sizes[name] + SMALLEST * mean)
        assert adapter.weights()[name] == pytest.approx(expected, abs=2e-5), name


def test_nothing_is_learned_from_characters_that_the_network_does_not_know() -> None:
    scorer = AdaptingScorer(trained(), adaptation=FAST)
    read(scorer, "xyz" * CHUNK)
    assert scorer.adapter.steps == 0
    # Among others they teach nothing either: the network doesn't come to expect them.
    bits = nats(read(scorer, "ax" * 400))
    assert bits[-300::2].mean() < bits[1::2][:20].mean()
    assert bits[-299::2].mean() > bits[1::2][:20].mean()


def test_torchs_threads_stay_as_they_were() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        read(AdaptingScorer(trained()), text(100))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_absurd_weights_are_reported() -> None:
    own = trained()
    infinite = own.weights["head.weight"] * np.float32(np.inf)
    scorer = AdaptingScorer(replace(own, weights={**own.weights, "head.weight": infinite}))
    first, *_ = read(scorer, text(500))
    with pytest.raises(CharrnnError, match="not finite"):
        scorer.tally().add(first)
