"""From what the user gave to texts: prompts, drawing and endings against a network, one text as it comes or thousands."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, UsageError, checkpoint, escapes, prompts, rundir, sampling
from charrnn.cells import Array, Network
from charrnn.checkpoint import Checkpoint
from charrnn.config import Interval, SampleConfig
from charrnn.stopping import Ending, Stops, Text
from charrnn.vocabulary import Vocabulary

if TYPE_CHECKING:
    from charrnn.bookmark import Bookmark

BATCH = 256
"""Texts that are drawn together: more of them only leave the caches."""
DEVICE_BATCH = 8192

KEPT = 1024
"""How many of the last ids are kept for a repetition penalty when a text stops."""

PIECE = 64
"""Where nobody watches every character, so many go out together."""

DRAWING = ("temperature", "temperature_end", "top_k", "typical", "top_p", "min_p", "repetition_penalty", "repetition_window")
"""The settings that `charrnn.sampling.Drawing` takes as they are."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What the user gave: at most one of the prompts; texts as they were typed."""

    config: SampleConfig = field(default_factory=SampleConfig)
    checkpoint: Path | None = None
    prompt: str | None = None
    prompt_file: Path | None = None
    prompts: Path | None = None
    escapes: bool = False
    stop: Sequence[str] = ()
    keep_stop: bool = False
    bias: Sequence[str] = ()
    clamp: Sequence[str] = ()
    load_state: Path | None = None
    measured: bool = False

    def typed(self, text: str, option: str) -> str:
        """The text that an option's value means: the one rule for all of them."""
        text = prompts.literal(text, option)
        return escapes.decode(text, option) if self.escapes else text


@dataclass(frozen=True)
class Sample:
    """One finished text without its prompt; ``stop`` is the stop text that ended it, ``bits_per_char`` None if not measured."""

    index: int
    prompt: str
    text: str
    reason: str
    stop: str | None
    characters: int
    bits_per_char: float | None

    def to_json(self, seed: int) -> dict[str, Any]:
        """The record of ``--json``."""
        return {
            "index": self.index,
            "text": self.text,
            "prompt": self.prompt,
            "seed": seed,
            "characters": self.characters,
            "finish_reason": self.reason,
            "stop": self.stop,
            "bits_per_char": self.bits_per_char,
        }


@dataclass
class Start:
    """Where a text begins or stopped: what the network makes of what it has read, logits (V,) and state (L, P, 1, H), and what
    `Bookmark` keeps besides.
    """

    logits: Array
    state: Array
    recent: NDArray[Any]
    pending: bytes = b""
    drawn: int = 0


class Generation:
    """Everything that was asked for, checked against the network: `stream` gives one text as it comes, `samples` gives all."""

    def __init__(self, asked: Asked, warn: Say) -> None:
        self.asked, self.config = asked, asked.config
        # What was given is checked first, then read, so that faults show at once.
        stops = [asked.typed(text, "--stop") for text in asked.stop]
        biases = [_bias(asked.typed(text, "--bias")) for text in asked.bias]
        clamps = [_clamp(text) for text in asked.clamp]
        if "" in stops:
            raise UsageError("--stop must be at least one character")
        self.trained = checkpoint.read(rundir.resolve(asked.checkpoint))
        self.vocabulary = vocabulary = self.trained.vocabulary
        self.network = Network(self.trained.model, self.trained.weights)
        self.generating = self.network.holding(_within(clamps, self.trained)) if clamps else self.network
        self._warn = warn
        self.prompts = [self.known(text) for text in _read_prompts(asked)]
        self._loaded = self._load()
        fresh = int.from_bytes(os.urandom(4), "big") if self._loaded is None else self._loaded.seed
        self.seed = fresh if self.config.seed is None else self.config.seed
        self.first_index = self._loaded.index if self._loaded is not None and self.config.seed is None else 0
        self.stops = [text for text in stops if _can_occur(text, vocabulary, warn)]
        self.ending = _ending(self.config, self.stops, vocabulary, keep_stop=asked.keep_stop, warn=warn)
        self.drawing: dict[str, Any] = {name: getattr(self.config, name) for name in DRAWING} | {
            "length": self.config.limit or 0,
            "bias": _biases(biases, vocabulary, warn),
            "banned": vocabulary.unknown,
        }
        self._starts: dict[int, Start] = {}

    @property
    def count(self) -> int:
        """How many texts there will be."""
        return len(self.prompts) * self.config.num_samples

    def known(self, text: str) -> str:
        """``text`` in characters that the network knows; what had to be replaced is said."""
        return prompts.known(text, self.vocabulary, self._warn)

    def stream(self, index: int = 0, *, kept: bool = False) -> Stream:
        """Sample ``index`` as it comes, drawn alone."""
        return Stream(self, index, self.start(index // self.config.num_samples), kept=kept)

    def samples(self) -> Iterator[Sample]:
        """All texts in order, drawn in batches; of every ``best_of`` candidates the likeliest."""
        if self.count * self.config.best_of == 1 and self.config.device == "cpu":
            stream = self.stream()
            text = "".join(stream.pieces(PIECE))
            yield stream.sample(text)
            return
        group = list[Sample]()
        for sample in self._candidates():
            group.append(sample)
            if len(group) == self.config.best_of:
                # A text of no characters says nothing, so it is the last choice.
                yield min(group, key=lambda one: math.inf if one.bits_per_char is None else one.bits_per_char)
                group.clear()

    def _candidates(self) -> Iterator[Sample]:
        device, best_of = self.config.device, self.config.best_of
        network: sampling.Steps = self.generating
        size = BATCH
        if device != "cpu":
            from charrnn.torch_stepper import TorchNetwork

            network, size = TorchNetwork(self.trained.model, self.trained.weights, device), DEVICE_BATCH
        measured = self.asked.measured or best_of > 1
        for first in range(0, self.count * best_of, size):
            numbers = range(first, min(first + size, self.count * best_of))
            starts = [self.start(number // best_of // self.config.num_samples) for number in numbers]
            sampler = sampling.BatchSampler(
                [self.generator(n, s.drawn) for n, s in zip(numbers, starts, strict=True)], measured=measured, **self.drawing
            )
            sampler.read(_columns([start.recent for start in starts]))
            logits, state = (
                np.stack([start.logits for start in starts]),
                np.concatenate([start.state for start in starts], axis=2),
            )
            done = sampling.complete(network, logits, state, sampler, self.ending, shrink=device == "cpu")
            for number, start, completion in zip(numbers, starts, done, strict=True):
                yield self._sample(number // best_of, start, completion)

    def _sample(self, index: int, start: Start, completion: sampling.Completion) -> Sample:
        decoder = self.vocabulary.decoder(start.pending)
        text = decoder.text(completion.ids.tolist())
        bits = completion.bits
        mean = None if bits is None or not len(bits) else float(bits.mean())
        stop = None if completion.stop is None else self.stops[completion.stop]
        prompt = self.prompts[index // self.config.num_samples]
        return Sample(index, prompt, text, completion.reason, stop, len(completion.ids), mean)

    def generator(self, number: int, drawn: int) -> np.random.Generator:
        """The random numbers of a text; the first goes on with those of a text that was loaded, unless --seed gave new ones."""
        return sampling.generator(self.seed, self.first_index + number, drawn)

    def start(self, prompt: int) -> Start:
        """The network after reading a prompt, which it does once; the texts that start there take copies."""
        if prompt not in self._starts:
            self._starts.pop(prompt - DEVICE_BATCH, None)  # Texts come in the order of their prompts.
            self._starts[prompt] = self.read(self.beginning(), self.prompts[prompt])
        return self._starts[prompt]

    def beginning(self) -> Start:
        """Before any prompt: nothing, or the text that was loaded."""
        if (mark := self._loaded) is not None:
            drawn = mark.drawn if self.config.seed is None else 0
            return Start(mark.logits.copy(), mark.state.copy(), mark.recent, mark.pending, drawn)
        V = self.network.config.vocab_size
        return Start(np.zeros(V, dtype=np.float32), self.network.initial_state(1), np.zeros(0, dtype=np.intp))

    def read(self, start: Start, text: str) -> Start:
        """Read ``text`` from ``start``, which is used up; a text that begins with nothing opens as a line does."""
        ids = self.vocabulary.encode(text).astype(np.intp)
        read = ids if text or start.state.any() else sampling.opening(self.vocabulary).astype(np.intp)
        sampling.read(self.network, read[:-1], start.logits, start.state)
        # What follows the last character is generated, so clamps hold from there.
        logits = sampling.read(self.generating, read[-1:], start.logits, start.state)
        recent = np.concatenate([start.recent, ids])
        return Start(logits.copy(), start.state, recent, b"" if text else start.pending, start.drawn)

    def _load(self) -> Bookmark | None:
        if self.asked.load_state is None:
            return None
        from charrnn import bookmark

        return bookmark.read(self.asked.load_state, self.trained)


class Stream:
    """One text as it comes, in pieces of whole characters.

    Afterwards it tells how it ended. With ``kept`` it also knows where it stopped, and stops when told to by `interrupt`.
    """

    def __init__(self, generation: Generation, index: int, start: Start, *, kept: bool = False) -> None:
        self._generation, self._start, self.index = generation, start, index
        self._state = start.state.copy()
        rng = generation.generator(index, start.drawn)
        self._sampler = sampling.Sampler(rng, measured=generation.asked.measured, **generation.drawing)
        self._sampler.read(start.recent)
        ids = sampling.generate(generation.generating, start.logits, self._state, self._sampler)
        self._decoder = generation.vocabulary.decoder(start.pending)
        self._tail = deque(start.recent.tolist(), maxlen=max(KEPT, generation.config.repetition_window))
        self._interrupted = False
        self._text = Text(self._remembered(ids) if kept else ids, generation.ending)
        self.characters = 0

    def pieces(self, symbols: int = 1) -> Iterator[str]:
        """The text in pieces of so many ``symbols``, which is cheaper than one by one; at the end of a text the rest."""
        ids = iter(self._text)
        while part := list(islice(ids, symbols)):
            self.characters += len(part)
            if piece := self._decoder.text(part):
                yield piece

    def measured(self) -> Iterator[tuple[str, float]]:
        """The pieces with their bits."""
        told = 0
        for piece in self.pieces():
            bits = self._sampler.bits or []
            yield piece, sum(bits[told : self.characters])
            told = self.characters

    @property
    def prompt(self) -> str:
        """The prompt of this text."""
        return self._generation.prompts[self.index // self._generation.config.num_samples]

    @property
    def bits(self) -> list[float]:
        """The information of each symbol so far, where it is measured."""
        return (self._sampler.bits or [])[: self.characters]

    def interrupt(self) -> None:
        """End the text after the symbol that is being drawn."""
        self._interrupted = True

    def _remembered(self, ids: Iterator[int]) -> Iterator[int]:
        for index in ids:
            self._tail.append(index)
            yield index
            if self._interrupted:
                return

    def sample(self, text: str) -> Sample:
        """The finished text."""
        generation, bits = self._generation, self.bits
        stop = None if self._text.stop is None else generation.stops[self._text.stop]
        mean = sum(bits) / len(bits) if bits else None
        reason = "interrupted" if self._interrupted else self._text.reason
        return Sample(self.index, self.prompt, text, reason, stop, self.characters, mean)

    def rest(self) -> Start:
        """Where the finished text stopped."""
        last = np.array([self._tail[-1]] if self._sampler.drawn else [], dtype=np.intp)
        logits = sampling.read(self._generation.generating, last, self._start.logits, self._state)
        recent = np.array(self._tail, dtype=np.intp)
        return Start(logits.copy(), self._state, recent, self._decoder.pending, self._start.drawn + self._sampler.drawn)


def _columns(texts: Sequence[NDArray[Any]]) -> NDArray[np.intp]:
    """Texts of ids as the columns of one array, aligned at their ends; -1 where a text hasn't begun."""
    columns = np.full((max(map(len, texts)), len(texts)), -1, dtype=np.intp)
    for column, text in zip(columns.T, texts, strict=True):
        column[len(column) - len(text) :] = text
    return columns


# -- what was given ---------------------------------------------------------------------------------------------------


def _read_prompts(asked: Asked) -> list[str]:
    if sum(given is not None for given in (asked.prompt, asked.prompt_file, asked.prompts)) > 1:
        raise UsageError("--prompt, --prompt-file or --prompts: give one, not more")
    if asked.prompts is not None:
        text = prompts.read(asked.prompts)
        if not text:
            name = "stdin" if str(asked.prompts) == prompts.STDIN else asked.prompts
            raise CharrnnError(f"{name}: holds no prompt; write one on each line")
        lines = text.removesuffix("\n").split("\n")
        return [escapes.decode(line, "--prompts") if asked.escapes else line for line in lines]
    if asked.prompt_file is not None:
        return [prompts.read(asked.prompt_file)]
    if asked.prompt == "-":
        return [prompts.given("-", None, "--prompt")]
    return [asked.typed(asked.prompt or "", "--prompt")]


def _unknown(text: str, vocabulary: Vocabulary) -> list[str]:
    return [] if vocabulary.level == "byte" else sorted(set(text) - set(vocabulary.characters))


def _can_occur(stop: str, vocabulary: Vocabulary, warn: Say) -> bool:
    unknown = _unknown(stop, vocabulary)
    if unknown:
        warn(f"--stop {stop!r} will never occur: the network doesn't know {', '.join(map(repr, unknown))}")
    return not unknown


def _ending(config: SampleConfig, stops: list[str], vocabulary: Vocabulary, *, keep_stop: bool, warn: Say) -> Ending:
    if config.lines is not None and _unknown("\n", vocabulary):
        warn("--lines ends nothing: the network knows no newline")
    newline = None if _unknown("\n", vocabulary) else int(vocabulary.encode("\n")[0])
    watched = Stops([vocabulary.encode(text) for text in stops], vocabulary.size) if stops else None
    return Ending(config.limit, watched, config.lines if newline is not None else None, newline, keep_stop)


def _bias(text: str) -> tuple[str, float]:
    """CHAR=X as the character and the number."""
    character, equals, number = text.rpartition("=")
    if not equals or len(character) != 1:
        raise UsageError(f"--bias must be one character, =, and a number or -inf, not {text:.80}")
    if number.strip() == "-inf":
        return character, -math.inf
    return character, float(Interval().parse(f"--bias {character}=X: X", number))


def _biases(biases: list[tuple[str, float]], vocabulary: Vocabulary, warn: Say) -> NDArray[np.float64] | None:
    if not biases:
        return None
    vector = np.zeros(vocabulary.size)
    for character, bias in biases:
        ids = vocabulary.encode(character)
        if len(ids) != 1:
            raise UsageError(f"--bias {character}: this network writes bytes, and the character is {len(ids)} of them")
        if ids[0] == vocabulary.unknown:
            warn(f"--bias: the network doesn't know {character!r}")
        else:
            vector[ids[0]] += bias
    if not (np.delete(vector, [] if vocabulary.unknown is None else [vocabulary.unknown]) > -math.inf).any():
        raise UsageError("--bias bans every character that the network knows; leave one")
    return vector


def _clamp(text: str) -> tuple[int, int, float]:
    """L:U=V as layer, unit and value."""
    place, _, value = text.partition("=")
    layer, colon, unit = place.partition(":")
    if not (colon and layer.isdecimal() and unit.isdecimal() and layer.isascii() and unit.isascii() and len(place) < 20):
        raise UsageError(f"--clamp must be LAYER:UNIT=VALUE, each counted from 0, not {text:.80}")
    return int(layer), int(unit), float(Interval(-1e30, 1e30).parse(f"--clamp {place}=V: V", value))


def _within(clamps: list[tuple[int, int, float]], trained: Checkpoint) -> list[tuple[int, int, float]]:
    layers, units = trained.model.num_layers, trained.model.hidden_size
    for layer, unit, _ in clamps:
        if layer >= layers or unit >= units:
            raise UsageError(f"--clamp {layer}:{unit}: this network has layers 0 to {layers - 1} and units 0 to {units - 1}")
    return clamps
