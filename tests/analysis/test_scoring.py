"""Scores: against the equations written out, torch's kernels, and what a sampler paid for its own text."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from small_networks import OF_TORCH

from charrnn import CharrnnError
from charrnn.analysis import scoring
from charrnn.analysis.scoring import Scorer, Tally, next_characters
from charrnn.config import ModelConfig
from charrnn.generation.drawing import Drawing, Sampler
from charrnn.generation.filters import softmax
from charrnn.generation.generate import generate, opening, prime
from charrnn.network import columns as side_by_side
from charrnn.network.cells import Network
from charrnn.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary("char", "\n abcdef")
KINDS = [("lstm", 1), ("lstm", 2), ("gru", 2), ("rnn", 1)]


def network(cell="lstm", layers=1, vocabulary=VOCABULARY, scale=0.4, seed=2, forget=None):
    """Random weights; ``forget`` sets the bias of the LSTM's forget gate."""
    config = ModelConfig(vocabulary.size, cell=cell, embedding_size=4, hidden_size=8, num_layers=layers)
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(0, scale, shape) for name, shape in config.parameter_shapes().items()}
    if forget is not None:
        weights["rnn.bias_ih_l0"][8:16] = forget
    return Network(config, weights)


def uniform(vocabulary):
    config = ModelConfig(vocabulary.size, embedding_size=2, hidden_size=3)
    return Network(config, {name: np.zeros(shape, dtype=np.float32) for name, shape in config.parameter_shapes().items()})


def text(length, seed=0, alphabet=VOCABULARY.characters):
    return "".join(np.random.default_rng(seed).choice(list(alphabet), length))


def codes(characters, block=37):
    """The code points in blocks, as a file gives them."""
    points = np.array([ord(character) for character in characters], dtype=np.uint32)
    return [points[start : start + block] for start in range(0, len(points), block)]


def nats(pieces):
    return np.concatenate([piece.nats for piece in pieces])


def by_the_equations(net, vocabulary, characters):
    """Nats of each character by `Network.unroll` and a softmax in float64, the opening symbol read first."""
    ids = np.concatenate([opening(vocabulary), vocabulary.encode(characters)]).astype(int)
    logits = net.unroll(ids[:-1, None])[0][:, 0]
    return np.array([-math.log(softmax(row)[index]) for row, index in zip(logits, ids[1:], strict=True)])


def small_columns(monkeypatch, overlap=64, columns=8):
    """Columns so short that a small text has many."""
    monkeypatch.setattr(scoring, "EXACT_BELOW", 500)
    for name, value in {"OVERLAP": overlap, "SEAM": overlap // 4, "SHORTEST": 4 * overlap, "LONGEST": 8 * overlap}.items():
        monkeypatch.setattr(side_by_side, name, value)
    monkeypatch.setattr(side_by_side, "MOST", columns)


# -- what a score is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocabulary", [VOCABULARY, Vocabulary("byte"), Vocabulary("char", "x")])
@pytest.mark.parametrize("way", ["carried", "windows", "lines"])
def test_uniform_weights_score_the_logarithm_of_the_vocabulary(vocabulary, way):
    scorer = Scorer(uniform(vocabulary), vocabulary, workers=2)
    blocks = codes(text(3000, alphabet=vocabulary.characters or "ab\n"))
    pieces = scorer.windows(blocks, 64) if way == "windows" else getattr(scorer, way)(blocks)
    tally = scorer.tally()
    for piece in pieces:
        tally.add(piece)
    score = tally.to_json()
    assert score["bits_per_char"] == pytest.approx(math.log2(vocabulary.size), abs=1e-12)
    assert score["perplexity"] == pytest.approx(vocabulary.size, rel=1e-12)
    assert score["bits"] == pytest.approx(3000 * math.log2(vocabulary.size), rel=1e-12)
    assert score["nats_per_char"] == pytest.approx(math.log(vocabulary.size), abs=1e-12)


@pytest.mark.parametrize(("cell", "layers"), KINDS)
def test_a_text_scores_what_the_equations_say(cell, layers):
    net, characters = network(cell, layers), text(700)
    expected = by_the_equations(net, VOCABULARY, characters)
    np.testing.assert_allclose(nats(Scorer(net, VOCABULARY).carried(codes(characters))), expected, atol=1e-4)


@pytest.mark.parametrize(("cell", "layers"), KINDS)
def test_windows_are_texts_of_their_own(cell, layers):
    net, characters = network(cell, layers), text(1003)
    pieces = Scorer(net, VOCABULARY, workers=2).windows(codes(characters), 50)
    expected = [by_the_equations(net, VOCABULARY, characters[start : start + 50]) for start in range(0, 1003, 50)]
    np.testing.assert_allclose(nats(pieces), np.concatenate(expected), atol=1e-4)


@pytest.mark.parametrize(("cell", "layers"), KINDS)
@pytest.mark.parametrize("workers", [1, 3])
def test_lines_are_texts_of_their_own_and_come_in_order(cell, layers, workers):
    net, characters = network(cell, layers), text(900) + "\n\n" + "ab" * 300 + "\nlast"[:3]
    pieces = list(Scorer(net, VOCABULARY, workers=workers).lines(codes(characters)))
    lines = characters.splitlines(keepends=True)
    assert [piece.text("char") for piece in pieces] == lines
    for piece, line in zip(pieces, lines, strict=True):
        np.testing.assert_allclose(piece.nats, by_the_equations(net, VOCABULARY, line), atol=1e-4)


@pytest.mark.parametrize("cell", OF_TORCH)
def test_torchs_own_kernels_agree(cell):
    torch = pytest.importorskip("torch")
    from small_runs import KERNELS

    net, characters = network(cell, 2), text(400)
    config, weights = net.config, {name: torch.from_numpy(value) for name, value in net.weights.items()}
    rnn = KERNELS[cell](4, 8, config.num_layers)
    rnn.load_state_dict({name.removeprefix("rnn."): value for name, value in weights.items() if name.startswith("rnn.")})
    ids = torch.tensor([0, *VOCABULARY.encode(characters).tolist()])  # the newline opens
    with torch.no_grad():
        output, _ = rnn(weights["embedding.weight"][ids[:-1]])
        logits = output @ weights["head.weight"].T + weights["head.bias"]
        expected = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
    np.testing.assert_allclose(nats(Scorer(net, VOCABULARY).carried(codes(characters))), expected, atol=1e-4)


class Paying:
    """A sampler that adds up what its draws cost at temperature 1."""

    def __init__(self):
        self._sampler, self.bits = Sampler(np.random.default_rng(5), Drawing(temperature=1.0)), 0.0

    def draw(self, logits):
        drawn = self._sampler.draw(logits)
        self.bits -= math.log2(softmax(logits)[drawn])
        return drawn


@pytest.mark.parametrize("level", ["char", "byte"])
def test_a_generated_text_scores_the_bits_that_its_sampler_paid(level):
    vocabulary = VOCABULARY if level == "char" else Vocabulary("byte")
    net, sampler = network(vocabulary=vocabulary), Paying()
    ids = list(itertools.islice(generate(net, *prime(net, opening(vocabulary)), sampler), 500))
    tally = Tally(None)  # The sampler may draw the unknown symbol here, so it counts like any other.
    points = np.array(ids, dtype=np.uint8)
    if level == "char":
        points = np.array([ord(vocabulary.decode([index])) for index in ids])
    for piece in Scorer(net, vocabulary).carried([points]):
        tally.add(piece)
    assert tally.bits == pytest.approx(sampler.bits, rel=1e-5)


# -- columns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cell", "layers"), KINDS)
def test_columns_score_what_one_stream_scores(monkeypatch, cell, layers):
    small_columns(monkeypatch)
    net, characters = network(cell, layers, scale=0.3), text(20_000)
    exact, quick = (Scorer(net, VOCABULARY, workers=2) for _ in range(2))
    expected = nats(exact.carried(codes(characters), exact=True))
    found = nats(quick.carried(codes(characters)))
    assert exact.reader.seam is None
    assert quick.reader.seam is not None
    assert quick.reader.columns_read_again == 0
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert abs(found.mean() - expected.mean()) / math.log(2) <= 1e-5


def test_the_shipped_network_scores_its_text_in_columns_as_in_one_stream():
    from conftest import ROOT

    from charrnn.network import checkpoint

    trained = checkpoint.read(ROOT / "checkpoints/fables/best.safetensors")
    net = Network(trained.model, trained.weights)
    characters = (ROOT / "corpora/fables.txt").read_text(encoding="utf-8")[:66_000]
    quick = Scorer(net, trained.vocabulary)
    found = nats(quick.carried(codes(characters)))
    assert quick.reader.seam is not None
    assert quick.reader.seam < 1e-4
    # One stream through the last tenth only, from the true state, which nothing before 30,000 characters ago reaches.
    tail = Scorer(net, trained.vocabulary).carried(codes(characters[-12_000:]), exact=True)
    np.testing.assert_allclose(found[-4000:], nats(tail)[-4000:], atol=1e-3)


def test_a_network_that_remembers_beyond_the_overlap_is_read_exactly(monkeypatch):
    """Forget gates that stay open: a column that starts from the zero state would never be right."""
    small_columns(monkeypatch)
    net, characters = network(forget=10.0, scale=0.2), text(4000)
    exact, quick = (Scorer(net, VOCABULARY, workers=2) for _ in range(2))
    expected = nats(exact.carried(codes(characters), exact=True))
    cold = nats(Scorer(net, VOCABULARY).windows(codes(characters), 256))
    found = nats(quick.carried(codes(characters)))
    assert quick.reader.columns_read_again > 0
    assert np.abs(cold - expected).mean() > 0.01  # It does remember.
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("length", [0, 1, 499, 500, 501, 4095, 4096, 4097, 8192, 8193])
def test_every_character_is_scored_once_whatever_the_length(monkeypatch, length):
    small_columns(monkeypatch, columns=4)
    net, characters = network(), text(length)
    for workers in (1, 2):
        pieces = list(Scorer(net, VOCABULARY, workers=workers).carried(codes(characters)))
        assert "".join(piece.text("char") for piece in pieces) == characters
        assert sum(len(piece.nats) for piece in pieces) == length


# -- what is told -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("details", [False, True])
def test_both_scores_of_a_calibrated_network_are_those_of_its_logits(details):
    """With the temperature that it has, and without."""
    plain = network()
    calibrated = Network(plain.config, plain.weights, temperature=0.7)
    found = {
        name: Scorer(one, VOCABULARY, details=details)
        for name, one in (
            ("plain", plain),
            ("calibrated", calibrated),
            ("by hand", Network(plain.config, {**plain.weights, **{
                name: plain.weights[name] / 0.7 for name in ("head.weight", "head.bias")
            }})),
        )
    }  # fmt: skip
    for way in (
        lambda scorer: scorer.carried(codes(text(500))),
        lambda scorer: scorer.windows(codes(text(500)), 64),
        lambda scorer: scorer.lines(codes(text(500))),
    ):
        totals = {}
        for name, scorer in found.items():
            totals[name] = scorer.tally()
            for piece in way(scorer):
                totals[name].add(piece)
        assert totals["calibrated"].nats == pytest.approx(totals["by hand"].nats, rel=1e-6)
        assert totals["calibrated"].uncalibrated == pytest.approx(totals["plain"].nats, rel=1e-6)
        assert totals["plain"].uncalibrated == totals["plain"].nats
        assert totals["calibrated"].nats != pytest.approx(totals["plain"].nats, rel=1e-3)


def test_a_calibration_changes_no_rank():
    plain = network()
    calibrated = Network(plain.config, plain.weights, temperature=0.7)
    one, other = (next(Scorer(each, VOCABULARY, details=True).carried(codes(text(300), 300))) for each in (plain, calibrated))
    assert np.mean(one.ranks == other.ranks) > 0.99
    assert np.mean(one.likeliest == other.likeliest) > 0.99


def test_unknown_characters_are_counted_apart_and_are_in_no_sum():
    net, scorer = network(), Scorer(network(), VOCABULARY)
    characters = "abXc\n中defX"
    (piece,) = scorer.carried(codes(characters))
    tally = scorer.tally().add(piece)
    known = np.array([character in VOCABULARY.characters for character in characters])
    expected = by_the_equations(net, VOCABULARY, characters)[known].sum() / math.log(2)
    assert (tally.characters, tally.unknown, tally.strangers) == (7, 3, {"X", "中"})
    assert tally.bits == pytest.approx(expected, rel=1e-5)
    assert tally.to_json()["bits_per_char"] == pytest.approx(expected / 7, rel=1e-5)


def test_a_text_without_known_characters_has_no_mean():
    scorer = Scorer(network(), VOCABULARY)
    tally = scorer.tally()
    assert tally.to_json()["bits_per_char"] is None
    (piece,) = scorer.carried(codes("XYZ"))
    score = tally.add(piece).to_json()
    assert (score["characters"], score["unknown"], score["bits_per_char"], score["perplexity"]) == (0, 3, None, None)


def test_ranks_and_the_likeliest_are_those_of_the_distribution():
    net, characters = network(), text(300)
    scorer = Scorer(net, VOCABULARY, details=True, workers=2)
    (piece,) = scorer.carried(codes(characters))
    ids = np.concatenate([[0], VOCABULARY.encode(characters)])
    logits = net.unroll(ids[:-1, None])[0][:, 0]
    for row, index, rank, likeliest in zip(logits, ids[1:], piece.ranks, piece.likeliest, strict=True):
        order = sorted(range(len(row)), key=lambda symbol: -row[symbol])
        assert order[:3] == likeliest.tolist()
        assert order.index(index) + 1 == rank
    records = list(scorer.characters(piece))
    assert [record["char"] for record in records] == list(characters)
    assert [record["bits"] for record in records] == pytest.approx((piece.nats / math.log(2)).tolist())


def test_an_unknown_character_has_neither_bits_nor_rank():
    scorer = Scorer(network(), VOCABULARY, details=True)
    (piece,) = scorer.carried(codes("aX"))
    _, stranger = scorer.characters(piece)
    assert (stranger["char"], stranger["bits"], stranger["rank"], len(stranger["likeliest"])) == ("X", None, None, 3)


def test_the_lines_of_a_block_come_before_the_next_block_is_read():
    taken = []

    def blocks():
        for number, block in enumerate([codes("ab\ncd"), codes("e\n")]):
            taken.append(number)
            yield from block

    lines = Scorer(network(), VOCABULARY).lines(blocks())
    assert next(lines).text("char") == "ab\n"
    assert taken == [0]
    assert [line.text("char") for line in lines] == ["cde\n"]


def test_the_next_characters_are_the_softmax_of_the_last_logits_in_order():
    net = network("gru", 2)
    found, entropy_bits = next_characters(net, VOCABULARY, "abba")
    row = softmax(net.unroll(VOCABULARY.encode("abba")[:, None])[0][-1, 0])
    assert [record["probability"] for record in found] == pytest.approx(sorted(row, reverse=True), rel=1e-4)
    assert found[0]["char"] == (VOCABULARY.characters + "\ufffd")[int(row.argmax())]
    assert sum(record["probability"] for record in found) == pytest.approx(1)
    assert found[3]["bits"] == pytest.approx(-math.log2(found[3]["probability"]))
    assert entropy_bits == pytest.approx(-sum(row * np.log2(row)), rel=1e-5)


@pytest.mark.filterwarnings("error")
def test_weights_that_give_no_numbers_are_an_expected_failure():
    with np.errstate(over="ignore", invalid="ignore"):
        net = network(scale=1e38)
    scorer = Scorer(net, VOCABULARY, workers=2)
    pieces = list(scorer.lines(codes(text(200))))
    with pytest.raises(CharrnnError, match="not finite"):
        [scorer.tally().add(piece) for piece in pieces]
    net = uniform(VOCABULARY)
    net.weights["head.bias"][:] = np.inf
    with np.errstate(invalid="ignore"), pytest.raises(CharrnnError, match="not finite"):
        next_characters(net, VOCABULARY, "ab")


def test_characters_come_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(scoring, "RECORDS", 100)
    scorer = Scorer(uniform(VOCABULARY), VOCABULARY, details=True)

    def peak(count):
        (piece,) = scorer.carried([np.tile(np.array([97, 98, 99, 10], dtype=np.uint32), count // 4)])
        tracemalloc.start()
        assert sum(record["rank"] >= 1 for record in scorer.characters(piece)) == count
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(400)  # What is made once.
    assert peak(8000) < 2 * peak(800)


@pytest.mark.parametrize("way", ["carried", "windows", "lines"])
def test_memory_does_not_grow_with_the_text(monkeypatch, way):
    small_columns(monkeypatch)
    monkeypatch.setattr(side_by_side, "LOGITS", 1000)
    net, block = uniform(VOCABULARY), np.tile(np.array([97, 98, 99, 10], dtype=np.uint32), 256)

    def peak(blocks):
        scorer, tally = Scorer(net, VOCABULARY, workers=1), Tally(None)
        endless = itertools.repeat(block, blocks)
        tracemalloc.start()
        for piece in scorer.windows(endless, 64) if way == "windows" else getattr(scorer, way)(endless):
            tally.add(piece)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert tally.characters == blocks * len(block)
        return most

    peak(2)  # What is made once.
    assert peak(36) < 1.2 * peak(12)
