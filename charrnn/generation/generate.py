"""Text from a network, as ids: reading a prompt, and one endless stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.generation.drawing import Sampler
from charrnn.generation.filters import Logits
from charrnn.network.cells import Array
from charrnn.network.ensemble import Predictor
from charrnn.text.vocabulary import Vocabulary


def opening(vocabulary: Vocabulary) -> NDArray[Any]:
    """The ids (1,) that a network reads before a text without a prompt, so that the text starts as a line does.

    A newline; a space if there is none; else the vocabulary's first symbol.
    """
    known = vocabulary.characters if vocabulary.level == "char" else "\n"
    return vocabulary.encode(next((character for character in "\n " if character in known), known[:1]))


def opened(vocabulary: Vocabulary, prompt: NDArray[Any], *, records: bool) -> NDArray[Any]:
    """The ids that a network reads from the zero state before it writes: those of a ``prompt`` (T,), behind the `opening` if
    there are none, or if a network of ``records`` is to go on with one, all of which begin there.
    """
    return np.concatenate([opening(vocabulary), prompt]) if records or not len(prompt) else prompt


def prime(network: Predictor, ids: NDArray[Any]) -> tuple[Array, Array]:
    """Read ids (T,) from the zero state: the logits (V,) after the last one, and the state (L, P, 1, H)."""
    state = network.initial_state(1)
    logits = np.zeros(network.vocab_size, dtype=np.float32)
    return read(network, ids, logits, state), state


def read(network: Predictor, ids: NDArray[Any], logits: Array, state: Array) -> Array:
    """Read ids (T,) from ``state`` (L, P, 1, H), which advances in place: the logits (V,) after the last id.

    Without ids these are ``logits``, those before them.
    """
    step = network.stepper(state)
    for index in ids:
        logits = step(np.array([index]))[0]
    return logits


def generate(network: Predictor, logits: Logits, state: Array, sampler: Sampler) -> Iterator[int]:
    """Draw ids without end from ``logits`` (V,) and ``state`` (L, P, 1, H) on; the state advances in place."""
    step = network.stepper(state)
    ids = np.zeros(1, dtype=np.intp)
    while True:
        ids[0] = sampler.draw(logits)
        yield int(ids[0])
        logits = step(ids)[0]
