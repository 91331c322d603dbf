"""What an evaluation measures: the validation loss in columns side by side, and a sample to look at."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from charrnn.generation.drawing import Drawing, Sampler
from charrnn.generation.generate import generate, opening, prime
from charrnn.network.cells import Network
from charrnn.text.corpus import Corpus
from charrnn.text.records import RecordList, RecordRows, rectangle
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import events
from charrnn.training.device import autocast
from charrnn.training.model import CharRNN
from charrnn.training.workers import Workers

OVERLAP = 256
"""Characters that a column reads before those that it is scored on; `columns`, which measures the seam, takes more."""
MIN_COLUMN = 1024
"""No column is shorter than this, unless the text is."""
MAX_COLUMNS, MAX_COLUMNS_ON_GPU = 128, 1024
MAX_CHUNK = 128
"""Characters of each column that are read at once."""
MAX_RECORD = 1 << 16
MAX_LOGITS = 1 << 25
"""How many logits are held at once; large vocabularies are read in shorter chunks."""
PASSAGE_CHARACTERS = 256
SAMPLE_CHARACTERS = 80
SAMPLES, SAMPLES_CHARACTERS = 12, 320
"""Of a list so many records are drawn, of so many characters together."""


def evaluate(
    model: CharRNN, ids: NDArray[Any], start: int, characters: int, precision: str = "fp32", workers: Workers | None = None
) -> float:
    """Mean loss of ``ids[start : start + characters]`` in nats per character.

    The text is cut into N columns that are read side by side, each after an overlap of the `OVERLAP` characters before it (or
    all there are), read from the zero state.

    Args:
        model: the network.
        ids: the whole text, (characters,).
        start: at least 1, because the first character is predicted from the one before it.
        characters: how many are scored.
        precision: of the matrix products.
        workers: who share the columns.
    """
    most = MAX_COLUMNS if model.head.weight.device.type == "cpu" else MAX_COLUMNS_ON_GPU
    columns = max(1, min(most, characters // MIN_COLUMN))
    length = -(-characters // columns)
    starts = start + length * np.arange(columns)
    ends = np.minimum(starts + length, start + characters)
    return _summed(model, ids, starts, ends, min(OVERLAP, start - 1), precision, workers) / characters


def _summed(
    model: CharRNN,
    ids: NDArray[Any],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    overlap: int,
    precision: str,
    workers: Workers | None,
) -> float:
    """The loss in nats of all columns (N,) together, each from its start to its end, after an overlap from the zero state."""
    workers = workers or Workers(1)
    device = model.head.weight.device
    columns, length = len(starts), int((ends - starts).max())
    chunk = max(1, min(MAX_CHUNK, MAX_LOGITS // (columns * model.config.vocab_size)))

    @torch.inference_mode()
    def total(share: slice) -> float:
        begins, stops = starts[share, None], ends[share, None]  # (n, 1): one worker's columns
        state, loss = model.initial_state(len(begins)), 0.0
        with autocast(device, precision):
            for offset in range(-overlap, length, chunk):
                # Positions of the targets, (n, T); the inputs stand one before.
                positions = begins + np.arange(offset, min(offset + chunk, length))
                counted = (positions >= begins) & (positions < stops)
                clipped = np.minimum(positions, len(ids) - 1)
                inputs, targets = (torch.from_numpy(ids[where].astype(np.int64)).to(device) for where in (clipped - 1, clipped))
                logits, state = model(inputs, state)  # (n, T, V)
                losses = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")  # (n * T,)
                loss += float((losses * torch.from_numpy(counted.ravel()).to(device)).sum())
        return loss

    return sum(workers.map(total, workers.shares(columns)))


def evaluate_records(
    model: CharRNN,
    ids: NDArray[Any],
    records: RecordList,
    characters: int,
    precision: str = "fp32",
    workers: Workers | None = None,
) -> float:
    """Mean loss of held-out records in nats per character, each read from the zero state, its newline included.

    All of them are read, or evenly spread ones that have about so many ``characters`` together; of a long one its first
    `MAX_RECORD` characters.
    """
    workers = workers or Workers(1)
    device, vocab_size = model.head.weight.device, model.config.vocab_size
    first, count = records.train, len(records.spans) - records.train
    every = max(1.0, int(records.spans[first:].sum()) / max(characters, 1))
    chosen = first + np.arange(0, count, every).astype(np.int64)
    chosen = chosen[np.argsort(-records.spans[chosen], kind="stable")]
    # One record is read alone, so a very long one would take all the time.
    starts, spans = records.starts[chosen], np.minimum(records.spans[chosen], min(max(characters, 1), MAX_RECORD))
    most = MAX_COLUMNS if device.type == "cpu" else MAX_COLUMNS_ON_GPU
    chunk = max(1, min(MAX_CHUNK, MAX_LOGITS // (most * vocab_size)))
    rows = RecordRows(spans, most * chunk, chunk, most)

    @torch.inference_mode()
    def total(share: slice) -> float:
        loss = 0.0
        with autocast(device, precision):
            for begin, end in itertools.pairwise(rows.first[share.start : share.stop + 1]):
                state = model.initial_state(int(end - begin))
                for offset in range(0, int(spans[begin]), chunk):
                    found = rectangle(ids, starts[begin:end], spans[begin:end], offset, chunk)
                    inputs, targets = (torch.from_numpy(part.astype(np.int64)).to(device) for part in found[:2])  # (n, T)
                    logits, state = model(inputs, state[:, :, : len(inputs)])  # (n, T, V)
                    loss += float(functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="sum"))
        return loss

    return sum(workers.map(total, workers.shares(len(rows)))) / int(spans.sum())


def validation_bits(
    model: CharRNN, corpus: Corpus, characters: int, precision: str = "fp32", workers: Workers | None = None
) -> float | None:
    """Bits per character of the first ``characters`` of the validation text; None if that is not finite.

    Pieces spread over the text are a column each; where ``characters`` are but a part, that too is from all over it.
    Of a list, held-out records are read.
    """
    if (pieces := corpus.pieces) is not None:
        # The first character of a piece is only read: what stands before it was trained on.
        nats = _summed(model, corpus.ids, *pieces.first(characters), pieces.warm_up - 1, precision, workers) / characters
    elif corpus.records is not None:
        nats = evaluate_records(model, corpus.ids, corpus.records, characters, precision, workers)
    else:
        nats = evaluate(model, corpus.ids, corpus.train_characters, characters, precision, workers)
    return nats / math.log(2) if math.isfinite(nats) else None


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
