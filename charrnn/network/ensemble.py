"""Several networks as one: the mean of their log-probabilities, renormalised (a geometric mean of their predictions).

Logits are log-probabilities but for a constant, which renormalising takes out again. So the mean of the members' logits, each
divided by its member's temperature, is all that it takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.config import ModelConfig
from charrnn.network import checkpoint
from charrnn.network.afresh import RecordNetwork
from charrnn.network.cells import Array, LayerTrace, Network
from charrnn.network.checkpoint import Checkpoint, records_of
from charrnn.network.pace import Pace
from charrnn.network.stepper import Step
from charrnn.text.vocabulary import Vocabulary

NAMED = 8
"""How many characters a refusal names."""


class Member(Protocol):
    """A network that steps, here or on a device."""

    @property
    def config(self) -> ModelConfig:
        """Its shape."""
        ...

    @property
    def temperature(self) -> float:
        """What its logits have been divided by."""
        ...

    def stepper(self, state: Array, /) -> Step:
        """A function from ids (N,) to logits (N, V) that starts at ``state`` (L, P, N, H)."""
        ...


class Ensemble:
    """Networks over one vocabulary that read the same text, each with a state of its own; M of them.

    A state is one array (1, 1, N, S): the states of all members, flat, one after the other. S is the sum of their L P H.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        self.vocab_size = self.members[0].config.vocab_size
        self._borders = list(accumulate((state_size(member.config) for member in self.members), initial=0))
        temperatures = {member.temperature for member in self.members}
        self.temperature = temperatures.pop() if len(temperatures) == 1 else math.nan
        """What all logits were divided by; NaN if that differs, so that nobody takes the mean for something else."""

    def initial_state(self, batch_size: int) -> Array:
        """The zero state of ``batch_size`` streams, (1, 1, N, S)."""
        return np.zeros((1, 1, batch_size, self._borders[-1]), dtype=np.float32)

    def parts(self, state: Array) -> list[Array]:
        """Each member's state (L, P, N, H), a view of ``state`` (1, 1, N, S)."""
        flat = state[0, 0]  # (N, S)
        found = []
        for member, (begin, end) in zip(self.members, pairwise(self._borders), strict=True):
            c = member.config
            own = flat[:, begin:end].reshape(-1, c.num_layers, c.state_parts, c.hidden_size)
            found.append(own.transpose(1, 2, 0, 3))
        return found

    def stepper(self, state: Array) -> Step:
        """A function that feeds one symbol to each stream: ids (N,) -> logits (N, V), updating ``state`` in place.

        The next call reuses the logits array.
        """
        first, second, *others = [member.stepper(own) for member, own in zip(self.members, self.parts(state), strict=True)]
        mean, share = np.empty((state.shape[2], self.vocab_size), dtype=np.float32), np.float32(1 / len(self.members))

        def step(ids: NDArray[Any]) -> Array:
            np.add(first(ids), second(ids), mean)
            for other in others:
                np.add(mean, other(ids), mean)
            return np.multiply(mean, share, mean)

        return step


class TracedEnsemble(Ensemble):
    """An ensemble that also tells what its layers do."""

    def __init__(self, members: Sequence[Network]) -> None:
        super().__init__(members)
        self._networks = tuple(members)

    def unroll(self, ids: NDArray[Any], state: Array) -> tuple[Array, Array, list[LayerTrace]]:
        """Feed ids (T, N) and keep everything: the logits (T, N, V), the state after the last step, and the traces of the
        layers of all members, one after the other.
        """
        new, traces, logits = np.empty_like(state), list[LayerTrace](), list[Array]()
        for network, own, after in zip(self._networks, self.parts(state), self.parts(new), strict=True):
            each, after[...], some = network.unroll(ids, own)
            logits.append(each)
            traces += some
        return np.mean(logits, axis=0, dtype=np.float32), new, traces

    def layers(self) -> Iterator[ModelConfig]:
        """The shape that each of the traced layers belongs to."""
        for network in self._networks:
            yield from [network.config] * network.config.num_layers


Predictor = Network | Ensemble
"""What reads a text and foresees it."""


def state_size(config: ModelConfig) -> int:
    """How many numbers a network of this shape carries."""
    return config.num_layers * config.state_parts * config.hidden_size


def state_shape(models: Sequence[ModelConfig]) -> tuple[int, ...]:
    """The shape of one stream's state in one network, or in an ensemble of several."""
    if len(models) > 1:
        return 1, 1, 1, sum(map(state_size, models))
    return models[0].num_layers, models[0].state_parts, 1, models[0].hidden_size


def read(paths: Sequence[Path], *, uncalibrated: bool = False) -> list[Checkpoint]:
    """The checkpoints in ``paths``, if ``uncalibrated`` without their temperatures; `CharrnnError` if they have no mean."""
    found = [checkpoint.read(path) for path in paths]
    check(found)
    return [replace(one, temperature=1.0) for one in found] if uncalibrated else found


def together(trained: Sequence[Checkpoint], build: Callable[[Checkpoint], Network] | None = None) -> Network | TracedEnsemble:
    """The network of a checkpoint, or the ensemble of several, calibrated; ``build`` makes each, if given."""
    networks = [(build or calibrated)(one) for one in trained]
    return networks[0] if len(networks) == 1 else TracedEnsemble(networks)


def calibrated(trained: Checkpoint, pace: Pace | None = None) -> Network:
    """The network of a checkpoint, with its temperature."""
    return Network(trained.model, trained.weights, pace, temperature=trained.temperature)


def as_trained(trained: Checkpoint, pace: Pace | None = None, *, temperature: float | None = None) -> Network:
    """`calibrated`, or of a ``temperature``; of records, it begins anew at every newline, whatever it reads or writes."""
    found = trained.temperature if temperature is None else temperature
    if (newline := trained.newline) is None:
        return Network(trained.model, trained.weights, pace, temperature=found)
    return RecordNetwork(trained.model, trained.weights, newline, pace, temperature=found)


def common_temperature(trained: Sequence[Checkpoint]) -> float:
    """A temperature by which the mean of logits may be divided, where each member's have been divided by its own over this."""
    return math.fsum(one.temperature for one in trained) / len(trained)


def check(trained: Sequence[Checkpoint]) -> None:
    """Raise the `CharrnnError` that says why the networks of these checkpoints have no mean; None if they have."""
    first, *others = trained
    for other in others:
        if (unlike := _unlike(other.vocabulary, first.vocabulary)) is not None:
            what, more = unlike
            raise CharrnnError(
                f"{other.path}: {what} {first.path}{more}; only networks that know the same characters have a mean"
            )
        if (records_of(first.training) is None) != (records_of(other.training) is None):
            one, text = (first, other) if records_of(first.training) is not None else (other, first)
            raise CharrnnError(f"{one.path}: learned records, unlike {text.path}; the two have no mean")


def _unlike(one: Vocabulary, other: Vocabulary) -> tuple[str, str] | None:
    """What is said of ``one`` before the name of the network with the ``other``, and after it; None if they are the same."""
    if one.level != other.level:
        return f"reads {'bytes' if one.level == 'byte' else 'characters'}, unlike", ""
    if one.characters == other.characters:
        return None
    strangers = sorted(set(one.characters) ^ set(other.characters))
    more = f" and {len(strangers) - NAMED:,} more" if len(strangers) > NAMED else ""
    return "knows other characters than", f" (only one has {' '.join(map(repr, strangers[:NAMED]))}{more})"
