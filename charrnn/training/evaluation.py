"""What an evaluation measures: the validation loss in columns side by side, with a temperature that lowers it, and a sample."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn.generation.drawing import Drawing, Sampler
from charrnn.generation.generate import generate, opening, prime
from charrnn.network.cells import Network
from charrnn.text.corpus import Corpus
from charrnn.text.excerpts import Excerpt, pieces_of
from charrnn.text.records import RecordList, RecordRows, rectangle
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import events
from charrnn.training.device import autocast
from charrnn.training.model import CharRNN
from charrnn.training.ranks import ALONE, Ranks
from charrnn.training.temperature import FACTORS, PLAIN, calibrate
from charrnn.training.workers import Workers

OVERLAP = 256
"""Characters that a column reads before those that it is scored on; `columns`, which measures the seam, takes more."""
MIN_COLUMN = 1024
"""No column is shorter than this, unless the text is."""
MAX_COLUMNS, MAX_COLUMNS_ON_GPU = 128, 1024
MAX_CHUNK = 128
"""Characters of each column that are read at once."""
MAX_LOGITS = 1 << 25
"""How many logits are held at once; large vocabularies are read in shorter chunks."""
PASSAGE_CHARACTERS = 256
SAMPLE_CHARACTERS = 80
SAMPLES, SAMPLES_CHARACTERS = 12, 320
"""Of a list so many records are drawn, of so many characters together."""


@dataclass(frozen=True)
class Validation:
    """What an evaluation found, in bits per character.

    ``standard_error`` says how far ``bits`` may be from the loss on all that is held out: 0 where all of it was scored, None
    where that isn't known. With logits divided by ``temperature`` the loss is ``calibrated``.
    """

    bits: float
    standard_error: float | None
    calibrated: float
    temperature: float


def reading(characters: int) -> int:
    """About how many characters are read to score so many: the overlaps too."""
    return characters + OVERLAP * pieces_of(characters)


def validate(
    model: CharRNN,
    corpus: Corpus,
    excerpt: Excerpt,
    precision: str = "fp32",
    workers: Workers | None = None,
    ranks: Ranks = ALONE,
) -> Validation | None:
    """Score an ``excerpt`` of what is held out; None if the loss is not finite."""
    found = losses(model, corpus, excerpt, precision, workers, ranks) / math.log(2)  # (P, 2, G)
    plain = found[:, :, PLAIN].sum(axis=1)  # (P,)
    if not np.isfinite(plain).all():
        return None
    fitted, characters = calibrate(found.sum(axis=0)), excerpt.characters
    error = excerpt.standard_error(plain)
    return Validation(float(plain.sum()) / characters, error, fitted.loss / characters, fitted.temperature)


def losses(
    model: CharRNN,
    corpus: Corpus,
    excerpt: Excerpt,
    precision: str = "fp32",
    workers: Workers | None = None,
    ranks: Ranks = ALONE,
) -> NDArray[np.float64]:
    """The loss of each piece of an ``excerpt`` in nats, with logits times each of `FACTORS`; (P, 2, G).

    The middle axis is the two halves of the text, by which a temperature is fitted and judged: of each piece the first and the
    second half, of a list every other record.

    A piece is read after an overlap of the `OVERLAP` characters before it (or all there are), read from the zero state; a
    single piece is cut into columns that are read side by side, each after an overlap. Records are read from the zero state.
    """
    workers = workers or Workers(1)
    if corpus.records is not None:
        return _of_records(model, corpus.ids, excerpt, precision, workers, ranks)
    begins, ends, overlap = excerpt.begins, excerpt.ends, OVERLAP
    if corpus.pieces is not None:
        overlap = corpus.pieces.warm_up - 1  # The first character is only read: what stands before it was trained on.
    elif len(begins) == 1:
        most = MAX_COLUMNS if model.head.weight.device.type == "cpu" else MAX_COLUMNS_ON_GPU
        columns = max(1, min(most, excerpt.characters // MIN_COLUMN))
        length = -(-excerpt.characters // columns)
        begins = excerpt.begins[0] + length * np.arange(columns)
        ends = np.minimum(begins + length, excerpt.ends[0])
    overlap = min(overlap, int(begins[0]) - 1)
    found = _side_by_side(model, corpus.ids, begins, ends, overlap, precision, workers, ranks)
    return found if len(found) == len(excerpt.begins) else found.sum(axis=0, keepdims=True)


def _side_by_side(
    model: CharRNN,
    ids: NDArray[Any],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    overlap: int,
    precision: str,
    workers: Workers,
    ranks: Ranks,
) -> NDArray[np.float64]:
    """The losses (N, 2, G) of N columns, each from its start to its end, after an overlap from the zero state."""
    device = model.head.weight.device
    columns, length = len(starts), int((ends - starts).max())
    chunk = max(1, min(MAX_CHUNK, MAX_LOGITS // (columns * model.config.vocab_size)))

    own, found = ranks.share(columns), np.zeros((columns, 2, len(FACTORS)))

    @torch.inference_mode()
    def score(share: slice) -> None:
        share = slice(own.start + share.start, own.start + share.stop)
        begins, stops = starts[share, None], ends[share, None]  # (n, 1): one worker's columns
        middles, state = (begins + stops) // 2, model.initial_state(len(begins))
        with autocast(device, precision):
            for offset in range(-overlap, length, chunk):
                # Positions of the targets, (n, T); the inputs stand one before.
                positions = begins + np.arange(offset, min(offset + chunk, length))
                clipped = np.minimum(positions, len(ids) - 1)
                inputs, targets = (torch.from_numpy(ids[where].astype(np.int64)).to(device) for where in (clipped - 1, clipped))
                logits, state = model(inputs, state)  # (n, T, V)
                if offset + chunk > 0:
                    costs = _costs(logits, targets)  # (n, T, G)
                    halves = (positions >= begins) & (positions < middles), (positions >= middles) & (positions < stops)
                    for half, counted in enumerate(halves):
                        found[share, half] += _summed(costs, counted)

    workers.map(score, workers.shares(own.stop - own.start))
    return ranks.total(found)


def _of_records(
    model: CharRNN, ids: NDArray[Any], excerpt: Excerpt, precision: str, workers: Workers, ranks: Ranks
) -> NDArray[np.float64]:
    """The losses (P, 2, G) of the records of an ``excerpt``, each read from the zero state, its newline included."""
    device, vocab_size = model.head.weight.device, model.config.vocab_size
    spans = excerpt.ends - excerpt.begins
    order = np.argsort(-spans, kind="stable")
    starts, spans = excerpt.begins[order] - 1, spans[order]
    most = MAX_COLUMNS if device.type == "cpu" else MAX_COLUMNS_ON_GPU
    chunk = max(1, min(MAX_CHUNK, MAX_LOGITS // (most * vocab_size)))
    rows = RecordRows(spans, most * chunk, chunk, most)
    own = ranks.share(len(rows))
    found = np.zeros((len(spans), 2, len(FACTORS)))

    @torch.inference_mode()
    def total(share: slice) -> None:
        with autocast(device, precision):
            for begin, end in itertools.pairwise(rows.first[own.start + share.start : own.start + share.stop + 1]):
                state = model.initial_state(int(end - begin))
                for offset in range(0, int(spans[begin]), chunk):
                    read, ahead, _ = rectangle(ids, starts[begin:end], spans[begin:end], offset, chunk)
                    inputs, targets = (torch.from_numpy(part.astype(np.int64)).to(device) for part in (read, ahead))  # (n, T)
                    logits, state = model(inputs, state[:, :, : len(inputs)])  # (n, T, V)
                    costs = _summed(_costs(logits, targets.clamp(min=0)), ahead >= 0)  # (n, G)
                    numbers = order[begin : begin + len(costs)]
                    found[numbers, numbers % 2] += costs

    workers.map(total, workers.shares(own.stop - own.start))
    return ranks.total(found)


def _costs(logits: Tensor, targets: Tensor) -> Tensor:
    """What targets (n, T) cost in nats under logits (n, T, V) times each of `FACTORS`, (n, T, G)."""
    below = logits.float()
    below = below - below.amax(dim=2, keepdim=True)  # (n, T, V), at most 0
    chosen, room, costs = below.gather(2, targets[:, :, None])[:, :, 0], torch.empty_like(below), []
    for factor in FACTORS:
        torch.mul(below, factor, out=room)
        costs.append(room.exp_().sum(dim=2).log() - factor * chosen)
    return torch.stack(costs, dim=2)


def _summed(costs: Tensor, counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Costs (n, T, G) summed over those characters (n, T) that are counted, (n, G)."""
    mask = torch.from_numpy(counted).to(costs.device)
    return np.asarray(costs.masked_fill(~mask[:, :, None], 0.0).sum(dim=1).cpu().numpy(), dtype=np.float64)


def passage(corpus: Corpus) -> NDArray[Any]:
    """The fixed passage, (T,), on which the hidden state is watched: where validation begins, or else where the text ends."""
    if not corpus.val_characters:
        return np.asarray(corpus.ids[-PASSAGE_CHARACTERS:])
    begin, end = corpus.train_characters, len(corpus.ids)
    if corpus.pieces is not None:
        begin, end = int(corpus.pieces.scored_from[0]), int(corpus.pieces.ends[0])
    return np.asarray(corpus.ids[begin : min(begin + PASSAGE_CHARACTERS, end)])


def sample(network: Network, vocabulary: Vocabulary, seed: int, step: int) -> str:
    """A short text from the network as it is after ``step`` steps."""
    return vocabulary.decode(itertools.islice(_drawn(network, vocabulary, _sampler(vocabulary, seed, step)), SAMPLE_CHARACTERS))


def sample_records(network: Network, vocabulary: Vocabulary, listed: RecordList, seed: int, step: int) -> list[events.Record]:
    """A few records from the network as it is after ``step`` steps, and whether each is in the list."""
    sampler, newline = _sampler(vocabulary, seed, step), int(vocabulary.encode("\n")[0])
    found, left = list[events.Record](), SAMPLES_CHARACTERS
    while len(found) < SAMPLES and left > 0:
        ids = list[int]()
        for index in itertools.islice(_drawn(network, vocabulary, sampler), min(SAMPLE_CHARACTERS, left)):
            ids.append(index)
            if index == newline:
                break
        left -= len(ids)
        whole = ids[-1] == newline
        text = vocabulary.decode(ids[:-1] if whole else ids)
        found.append({"text": text, "known": listed.holds(np.array(ids), vocabulary) if whole else None})
    return found


def _sampler(vocabulary: Vocabulary, seed: int, step: int) -> Sampler:
    return Sampler(np.random.default_rng((seed, step)), Drawing(temperature=0.8, banned=vocabulary.unknown))


def _drawn(network: Network, vocabulary: Vocabulary, sampler: Sampler) -> Iterator[int]:
    """A text without end that opens as a line does."""
    logits, state = prime(network, opening(vocabulary))
    return generate(network, logits, state, sampler)
