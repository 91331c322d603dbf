"""What the user asked for: prompts, stop texts, biases and clamps as they were typed, checked against a network."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, UsageError
from charrnn.config import ModelConfig, SampleConfig
from charrnn.generation.drawing import Drawing
from charrnn.generation.stopping import Ending, Stops
from charrnn.limits import Interval
from charrnn.network.stepper import Clamp
from charrnn.text import given
from charrnn.text.decoding import Encoding
from charrnn.text.reading import TextReader
from charrnn.text.rows import kind
from charrnn.text.sources import STDIN, shown
from charrnn.text.vocabulary import Vocabulary

Say = Callable[[str], None]
_ROOM = Interval(-1e30, 1e30)
"""What a number from the user may be that is added to or multiplied by a network's own, so that neither overflows."""
RECORDS = 10
"""How many records are drawn if no number is given."""


@dataclass(frozen=True)
class SampleRequest:
    """The options of ``charrnn sample`` as the user typed them; of the three ways to give a prompt at most one."""

    config: SampleConfig = field(default_factory=SampleConfig)
    checkpoint: Path | Sequence[Path] | None = None
    prompt: str | None = None
    prompt_file: Path | None = None
    prompts: Path | None = None
    keep_newline: bool = False
    escapes: bool = False
    stop: Sequence[str] = ()
    keep_stop: bool = False
    bias: Sequence[str] = ()
    clamp: Sequence[str] = ()
    load_state: Path | None = None
    measured: bool = False
    exact: bool = False
    """Whether a network of bytes gives each as it is, be it text or not."""
    unique: bool = False
    not_in: Sequence[str] = ()
    uncalibrated: bool = False
    single: bool = False
    """Whether there can be only one text, in a conversation or to be gone on with."""
    literal: bool = False
    """Whether a program asks, whose texts are what they are: - is no stdin, and no file is meant."""

    @property
    def picks(self) -> bool:
        """Whether not every text that is drawn is kept."""
        return self.unique or bool(self.not_in)

    def settings(self, *, records: bool) -> SampleConfig:
        """`config` for a network of ``records`` or another one: where nothing else is said, a text is a record, and there are
        ten, unless there can be only one.
        """
        number = self.config.num_samples or (RECORDS if records and not self.single else 1)
        return replace(self.config, num_samples=number, lines=self.config.lines or (1 if records else None))

    def typed(self, text: str, option: str) -> str:
        """The text that an option's value stands for; every option follows this one rule."""
        if self.literal:
            return text
        text = given.literal(text, option)
        return given.unescaped(text, option) if self.escapes else text

    def read_stops(self) -> list[str]:
        """The stop texts; `UsageError` if one is empty."""
        stops = [self.typed(text, "--stop") for text in self.stop]
        if "" in stops:
            raise UsageError("--stop must be at least one character")
        return stops

    def read_biases(self) -> list[tuple[str, float]]:
        """Each character with its bias; `UsageError` for anything that isn't CHAR=X."""
        return [_bias(self.typed(text, "--bias")) for text in self.bias]

    def read_clamps(self) -> list[Clamp]:
        """The units to hold; `UsageError` for anything that isn't L:U=V."""
        return [_clamp(text) for text in self.clamp]

    @property
    def encoding(self) -> Encoding:
        """How files and stdin become text; `UsageError` if there is no such encoding."""
        return Encoding(self.config.encoding, self.config.errors)

    def encoding_of(self, paths: Sequence[str]) -> Encoding:
        """How texts become text that may be tables, of which one field is read."""
        tables = any(kind(path) is not None or Path(path).is_dir() for path in paths)
        return replace(self.encoding, field=self.config.field if tables else None)

    def read_prompts(self, reader: TextReader) -> list[str]:
        """The prompts, from the argument, a file or stdin; [""] if none was given.

        `UsageError` for more than one source; `CharrnnError` if it can't be read or holds no prompt.
        """
        if sum(source is not None for source in (self.prompt, self.prompt_file, self.prompts)) > 1:
            raise UsageError("--prompt, --prompt-file or --prompts: give one, not more")
        if self.prompts is not None:
            text = reader.text(str(self.prompts))
            if not text:
                raise CharrnnError(f"{shown(str(self.prompts))}: holds no prompt; write one on each line")
            lines = text.removesuffix("\n").split("\n")
            return [given.unescaped(line, "--prompts") if self.escapes else line for line in lines]
        if self.prompt_file is not None:
            return [given.prompt(str(self.prompt_file), reader, keep_newline=self.keep_newline)]
        if self.literal:
            return [self.prompt or ""]
        if self.prompt == STDIN:
            return [given.prompt(STDIN, reader, keep_newline=self.keep_newline)]
        given.tell_of_file(self.prompt or "", "--prompt-file", reader.warn)
        return [self.typed(self.prompt or "", "--prompt")]


# -- against the network ----------------------------------------------------------------------------------------------


def possible_stops(stops: Sequence[str], vocabulary: Vocabulary, warn: Say) -> list[str]:
    """Those of ``stops`` that the network can write; ``warn`` hears of the others."""
    possible = []
    for stop in (vocabulary.canonical(stop)[0] for stop in stops):
        if unknown := _unknown(stop, vocabulary):
            warn(f"--stop {stop!r} will never occur: the network doesn't know {', '.join(map(repr, unknown))}")
        else:
            possible.append(stop)
    return possible


def ending(config: SampleConfig, stops: Sequence[str], vocabulary: Vocabulary, *, keep_stop: bool, warn: Say) -> Ending:
    """When a text ends; ``warn`` hears of ``lines`` without effect."""
    newline = None if _unknown("\n", vocabulary) else int(vocabulary.encode("\n")[0])
    if config.lines is not None and newline is None:
        warn("--lines has no effect: the network knows no newline")
    watched = Stops([vocabulary.encode(text) for text in stops], vocabulary.size) if stops else None
    return Ending(config.limit, watched, config.lines if newline is not None else None, newline, keep_stop)


def drawing(config: SampleConfig, biases: Sequence[tuple[str, float]], vocabulary: Vocabulary, warn: Say) -> Drawing:
    """How characters are drawn: the settings of ``config``, the ``biases``, and never the unknown character."""
    return Drawing(
        temperature=config.temperature,
        temperature_end=config.temperature_end,
        length=config.limit or 0,
        top_k=config.top_k,
        typical=config.typical,
        top_p=config.top_p,
        min_p=config.min_p,
        repetition_penalty=config.repetition_penalty,
        repetition_window=config.repetition_window,
        bias=_bias_vector(biases, vocabulary, warn),
        banned=vocabulary.unknown,
    )


def within(clamps: list[Clamp], model: ModelConfig) -> list[Clamp]:
    """``clamps``; `UsageError` if one names a layer or a unit that the network doesn't have."""
    layers, units = model.num_layers, model.hidden_size
    for layer, unit, _ in clamps:
        if layer >= layers or unit >= units:
            raise UsageError(f"--clamp {layer}:{unit}: this network has layers 0 to {layers - 1} and units 0 to {units - 1}")
    return clamps


def _unknown(text: str, vocabulary: Vocabulary) -> list[str]:
    return [] if vocabulary.level == "byte" else sorted(set(text) - set(vocabulary.characters))


def _bias(text: str) -> tuple[str, float]:
    """CHAR=X as the character and the number."""
    character, equals, number = text.rpartition("=")
    if len(character) > 1:
        character = unicodedata.normalize("NFC", character)
    if not equals or len(character) != 1:
        raise UsageError(f"--bias must be one character, =, and a number or -inf, not {text:.80}")
    if number.strip() == "-inf":
        return character, -math.inf
    return character, float(_ROOM.parse(f"--bias {character}=X: X", number))


def _bias_vector(biases: Sequence[tuple[str, float]], vocabulary: Vocabulary, warn: Say) -> NDArray[np.float64] | None:
    """The sum of ``biases`` per id (V,), or None without any; `UsageError` if they leave nothing to draw."""
    if not biases:
        return None
    vector = np.zeros(vocabulary.size)
    for character, bias in biases:
        ids = vocabulary.encode(vocabulary.canonical(character)[0])
        if len(ids) != 1:
            unit = "bytes" if vocabulary.level == "byte" else "letters and accents apart"
            raise UsageError(f"--bias {character}: this network writes {unit}, and the character is {len(ids)} of them")
        if ids[0] == vocabulary.unknown:
            warn(f"--bias: the network doesn't know {character!r}")
        else:
            vector[ids[0]] += bias
    if not (np.delete(vector, [] if vocabulary.unknown is None else [vocabulary.unknown]) > -math.inf).any():
        raise UsageError("--bias bans every character that the network knows; leave one")
    return vector


def _clamp(text: str) -> Clamp:
    """L:U=V as layer, unit and value."""
    place, _, value = text.partition("=")
    layer, colon, unit = place.partition(":")
    if re.fullmatch(r"[0-9]{1,9}:[0-9]{1,9}[cC]", place):
        raise UsageError(f"--clamp holds a unit's output h, not its cell c; say --clamp {place[:-1]}={value:.80}")
    if not (colon and layer.isdecimal() and unit.isdecimal() and layer.isascii() and unit.isascii() and len(place) < 20):
        raise UsageError(f"--clamp must be LAYER:UNIT=VALUE, each counted from 0, not {text:.80}")
    return int(layer), int(unit), float(_ROOM.parse(f"--clamp {place}=V: V", value))
