"""One text through a trained network: every number that `charrnn inspect` shows."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, UsageError, files
from charrnn.analysis import features
from charrnn.analysis.features import Finding
from charrnn.analysis.hidden import Statistics
from charrnn.config import GATES, ModelConfig
from charrnn.cores import usable_cores
from charrnn.generation.drawing import Drawing, Sampler
from charrnn.generation.filters import entropy, nats_of, ranked, softmax
from charrnn.generation.generate import generate, opening, prime
from charrnn.network.cells import Array, LayerTrace, Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.columns import Passage, Reading
from charrnn.network.ensemble import Predictor, TracedEnsemble
from charrnn.network.pace import MOST_CORES
from charrnn.network.rundir import LOG
from charrnn.text.vocabulary import Vocabulary

GENERATED = 2000
"""Characters that are generated, with seed 0, if no text is given."""
SEARCHED = 50_000
"""Characters in which units are looked for, at most: the network and five random ones read them."""
TRACED_VALUES = 1 << 26
"""Numbers that the traces may hold: a quarter of a GiB, or 29,000 characters at 1 x 384."""
ALTERNATIVES = 5
COLORS = {"surprise": "surprise, bits", "entropy": "entropy of the prediction, bits", "change": "change of the state"}
"""What a text may be coloured by that is no unit, and its name."""


class Values(NamedTuple):
    """A number for each character of a text."""

    numbers: list[float]
    """Those with a sign are -1 to 1, a cell's divided by its largest size; the others are as they are."""
    name: str
    largest: float | None
    """What 1 stands for; None where numbers have no sign."""


@dataclass(frozen=True)
class Text:
    """What is inspected: ``ids`` (T,), the same as T ``characters``, and the ``logits`` (V,) and the ``state`` (L, P, 1, H)
    that the network begins with.
    """

    ids: NDArray[Any]
    characters: str
    logits: Array
    state: Array
    generated: bool = False
    mapped: int = 0
    """How many characters are read in another, canonically equal form."""


class InspectionRecord(TypedDict):
    """An `Inspection` without its traces, as JSON values."""

    checkpoint: str
    model: Mapping[str, Any]
    """The fields of `ModelConfig`."""
    characters: int
    unknown: int
    mapped: int
    generated: bool
    bits_per_char: float | None
    columns: int
    warm_up: int
    seam: float | None
    layers: list[Mapping[str, Any]]
    """Of each layer `hidden.Summary`, and under ``units`` every number of it unit by unit."""
    features: list[Mapping[str, Any]]
    """The fields of `features.Finding`, with its ``name``, what was ``needed``, and whether it is ``real``."""
    text: str
    bits: list[float]
    entropy: list[float]
    change: list[float]


@dataclass(frozen=True)
class Inspection:
    """What a network does over a text of T characters.

    ``layers`` and ``bits_per_char`` are of the whole text, the latter of its known characters (None if there are none);
    ``findings`` of its first 50,000 characters. All else is of its first S characters, as many as fit. Arrays (S,): ``bits``,
    each character's surprise; ``entropy``, in bits, of the prediction before it; ``change``, the root mean square over all
    units of how far h moved at it. ``likeliest`` and ``probabilities`` (S, 5) are the five symbols that were expected most,
    best first. ``traces`` hold each layer's h, c and gates, each (S, 1, H).
    """

    trained: Checkpoint
    text: Text
    reading: Reading
    layers: list[Statistics]
    findings: list[Finding]
    traces: list[LayerTrace]
    bits_per_char: float | None
    bits: Array
    entropy: Array
    change: Array
    likeliest: NDArray[np.intp]
    probabilities: Array

    @property
    def shown(self) -> str:
        """The characters that have traces."""
        return self.text.characters[: len(self.bits)]

    def to_json(self) -> InspectionRecord:
        """Everything but the traces as JSON values."""
        units = [{name: _digits(values) for name, values in layer.units().items()} for layer in self.layers]
        return {
            "checkpoint": str(self.trained.path),
            "model": self.trained.model.told(),
            "characters": len(self.text.ids),
            "unknown": int(np.count_nonzero(~_known(self.text.ids, self.trained.vocabulary))),
            "mapped": self.text.mapped,
            "generated": self.text.generated,
            "bits_per_char": self.bits_per_char,
            "columns": self.reading.columns,
            "warm_up": self.reading.overlap,
            "seam": self.reading.seam,
            "layers": [{**layer.summary(), "units": unit} for layer, unit in zip(self.layers, units, strict=True)],
            "features": [finding.to_json() for finding in self.findings],
            "text": self.shown,
            "bits": _digits(self.bits),
            "entropy": _digits(self.entropy),
            "change": _digits(self.change),
        }

    def npz(self, **others: Any) -> bytes:
        """The raw traces as a NumPy archive.

        ``ids`` and ``characters`` (S,), ``bits``, ``entropy`` and ``change`` (S,); ``h``, an LSTM's ``c`` and every gate under
        its letter, each (L, S, H) float32. ``charrnn_inspect`` holds everything else as JSON, and ``others``.
        """
        facts = {name: value for name, value in self.to_json().items() if name not in ("text", "bits", "entropy", "change")}
        arrays: dict[str, NDArray[Any]] = {
            "charrnn_inspect": np.array(json.dumps(facts | others)),
            "ids": self.text.ids[: len(self.bits)],
            "characters": np.array(list(self.shown), dtype="<U1"),
            "bits": self.bits,
            "entropy": self.entropy,
            "change": self.change,
            "h": np.stack([trace.h[:, 0] for trace in self.traces]),
        }
        if self.trained.model.cell_parts > 1:
            arrays["c"] = np.stack([trace.c[:, 0] for trace in self.traces if trace.c is not None])
        for letter in GATES[self.trained.model.cell]:
            arrays[letter] = np.stack([trace.gates[letter][:, 0] for trace in self.traces])
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        return file.getvalue()

    def values(self, color: str) -> Values:
        """What the text is coloured by: ``surprise``, ``entropy``, ``change``, or a unit as `unit_of` reads it."""
        if color in COLORS:
            numbers = {"surprise": self.bits, "entropy": self.entropy, "change": self.change}[color]
            return Values(numbers.tolist(), COLORS[color], None)
        layer, unit, part = unit_of(color, self.trained.model)
        trace = self.traces[layer]
        if part == "h" or trace.c is None:
            return Values(trace.h[:, 0, unit].tolist(), f"layer {layer}, unit {unit}", 1.0)
        c = np.nan_to_num(trace.c[:, 0, unit])
        largest = max(float(np.abs(c).max()), 1e-9)
        return Values((c / np.float32(largest)).tolist(), f"layer {layer}, unit {unit}: cell c", largest)


def unit_of(text: str, model: ModelConfig) -> tuple[int, int, str]:
    """The layer, the unit and its part: ``L:U`` gives "h", ``L:Uc`` gives "c", an LSTM's cell.

    Raises:
        UsageError: the network has no such unit; the message names those that it has.
    """
    found = re.fullmatch(r"(\d{1,9}):(\d{1,9})(c?)", text)
    L, H = model.num_layers, model.hidden_size
    if not found or int(found[1]) >= L or int(found[2]) >= H or (found[3] and model.cell_parts == 1):
        cell = ", and c behind it for its cell" if model.cell_parts > 1 else ""
        none = f": {model.cell} units have no cell" if found and found[3] and not cell else ""
        raise UsageError(f"--unit must be LAYER:UNIT from 0:0 to {L - 1}:{H - 1}{cell}, not {text:.80}{none}")
    return int(found[1]), int(found[2]), found[3] or "h"


def given(text: str, trained: Checkpoint, network: Predictor, name: str = "the text to inspect") -> Text:
    """A ``text`` from `TextReader.text` in the form that the network knows; `CharrnnError` if it is empty."""
    vocabulary = trained.vocabulary
    characters, mapped = vocabulary.canonical(text)
    ids = vocabulary.encode(characters)
    if vocabulary.level == "byte":
        characters = ids.tobytes().decode("latin-1")
    if not len(ids):
        raise CharrnnError(f"{name}: empty; leave it out to inspect 2,000 generated characters")
    return Text(ids, characters, *_opened(network, vocabulary), mapped=mapped)


def generated(trained: Checkpoint, network: Predictor, length: int = GENERATED) -> Text:
    """What the network writes with seed 0 at temperature 0.8, ``length`` characters."""
    logits, state = _opened(network, trained.vocabulary)
    sampler = Sampler(np.random.default_rng(0), Drawing(banned=trained.vocabulary.unknown))
    drawn = itertools.islice(generate(network, logits, state.copy(), sampler), length)
    ids = np.fromiter(drawn, dtype=np.intp, count=length)
    byte = trained.vocabulary.level == "byte"
    characters = bytes(ids.tolist()).decode("latin-1") if byte else trained.vocabulary.decode(ids)
    return Text(ids, characters, logits, state, generated=True)


def _opened(network: Predictor, vocabulary: Vocabulary) -> tuple[Array, Array]:
    """The logits (V,) and the state (L, P, 1, H) in which every text begins, as a line does."""
    return prime(network, opening(vocabulary))


def inspect(
    trained: Checkpoint,
    network: Network,
    text: Text,
    *,
    search: bool = True,
    room: int = TRACED_VALUES,
    tell: Callable[[str], None] = lambda _: None,
) -> Inspection:
    """Read ``text`` once; and, to ``search`` for units that follow a feature of it, again with this and random networks.

    There is ``room`` for so many numbers of traces. ``tell`` hears what is being done.
    """
    config, T = trained.model, len(text.ids)
    S = _traceable(T, [config] * config.num_layers, room)
    cores = min(usable_cores(), MOST_CORES)
    reading, layers = Reading(network, text.ids, text.state, cores=cores), [Statistics() for _ in range(config.num_layers)]
    predicted, traces = _Predictions(text.ids, S, config.vocab_size), [_empty(config, S) for _ in layers]
    predicted.add(np.array([0]), text.logits[None])
    for done, block in enumerate(reading):
        tell(f"reading the text, {min(1.0, done * block.positions.size / T):.0%}")
        following = block.positions + 1
        predicted.add(following[following < T], block.logits[following < T])
        for layer, trace in zip(layers, block.traces, strict=True):
            layer.add(trace)
        _keep(block, traces)
    searched = slice(SEARCHED)
    findings = features.find(network, text.ids[searched], text.characters[searched], text.state, tell=tell) if search else []
    return Inspection(
        trained,
        text,
        reading,
        layers,
        findings,
        traces,
        bits_per_char=_mean(predicted.bits[_known(text.ids, trained.vocabulary)]),
        bits=predicted.bits[:S],
        entropy=predicted.entropy,
        change=_change(text.state, traces),
        likeliest=predicted.likeliest,
        probabilities=predicted.probabilities,
    )


def mixed(network: TracedEnsemble, text: Text, color: str, tell: Callable[[str], None] = lambda _: None) -> Array:
    """What ``text`` is coloured by as the mean of several networks sees it, one of `COLORS`: numbers (S,) of as many characters
    as fit. The change is that of the units of all networks.
    """
    shapes, T = [*network.layers()], len(text.ids)
    S = _traceable(T, shapes)
    reading, traces = Reading(network, text.ids[:S], text.state), [_empty(shape, S) for shape in shapes]
    predicted = _Predictions(text.ids[:S], S, network.vocab_size)
    predicted.add(np.array([0]), text.logits[None])
    for done, block in enumerate(reading):
        tell(f"reading the text, {min(1.0, done * block.positions.size / S):.0%}")
        following = block.positions + 1
        predicted.add(following[following < S], block.logits[following < S])
        _keep(block, traces)
    began = [layer for own in network.parts(text.state) for layer in own]
    return {"surprise": predicted.bits, "entropy": predicted.entropy, "change": _change(began, traces)}[color]


def _traceable(length: int, layers: Sequence[ModelConfig], room: int = TRACED_VALUES) -> int:
    """How many characters of a text have traces, where each of ``layers`` is one of a network of that shape."""
    numbers = sum((shape.cell_parts + len(GATES[shape.cell])) * shape.hidden_size for shape in layers)
    return min(length, max(1, room // numbers))


def _known(ids: NDArray[Any], vocabulary: Vocabulary) -> NDArray[np.bool_]:
    """Which of ``ids`` (T,) are of characters that the network knows."""
    return np.ones(len(ids), dtype=bool) if vocabulary.unknown is None else ids != vocabulary.unknown


def _mean(bits: Array) -> float | None:
    return float(bits.mean(dtype=np.float64)) if len(bits) else None


class _Predictions:
    """How well ids (T,) were predicted: ``bits`` of all of them; ``entropy`` (S,) of the predictions of the first S, and the
    ``likeliest`` symbols (S, 5) in their places with their ``probabilities``.
    """

    def __init__(self, ids: NDArray[Any], shown: int, vocab_size: int) -> None:
        self._ids, self._shown = ids, shown
        self.bits, self.entropy = np.empty(len(ids), dtype=np.float32), np.empty(shown, dtype=np.float32)
        self.likeliest = np.empty((shown, min(ALTERNATIVES, vocab_size)), dtype=np.intp)
        self.probabilities = np.empty(self.likeliest.shape, dtype=np.float32)

    def add(self, positions: NDArray[np.intp], logits: Array) -> None:
        """Take in ``logits`` (M, V), the predictions of the characters at ``positions`` (M,)."""
        finite = np.nan_to_num(logits.astype(np.float64))  # Absurd weights give absurd figures, but JSON still holds them.
        self.bits[positions] = nats_of(finite, self._ids[positions].astype(np.intp)) / np.log(2)
        kept = positions < self._shown
        where, probabilities = positions[kept], softmax(finite[kept])
        best = ranked(probabilities)[:, : self.likeliest.shape[1]]
        self.entropy[where] = entropy(probabilities) / np.log(2)
        self.likeliest[where], self.probabilities[where] = best, np.take_along_axis(probabilities, best, axis=1)


def _empty(config: ModelConfig, length: int) -> LayerTrace:
    """Room for the trace of one layer over one stream of ``length`` steps."""
    shape = (length, 1, config.hidden_size)
    h, *gates = (np.zeros(shape, dtype=np.float32) for _ in range(1 + len(GATES[config.cell])))
    c = np.zeros(shape, dtype=np.float32) if config.cell_parts > 1 else None
    return LayerTrace(h, c, dict(zip(GATES[config.cell], gates, strict=True)))


def _keep(block: Passage, traces: Sequence[LayerTrace]) -> None:
    """Copy what ``block`` holds of the first S characters to ``traces`` (S, 1, H)."""
    kept = block.positions < len(traces[0].h)
    where = block.positions[kept]
    for whole, trace in zip(traces, block.traces, strict=True):
        whole.h[where, 0] = trace.h[kept]
        if whole.c is not None and trace.c is not None:
            whole.c[where, 0] = trace.c[kept]
        for letter, gate in trace.gates.items():
            whole.gates[letter][where, 0] = gate[kept]


def _change(state: Iterable[Array], traces: Sequence[LayerTrace]) -> Array:
    """The root mean square over all units of how far h moved at each character, (S,), from each layer's ``state`` (P, 1, H)."""
    moved = [
        np.diff(np.concatenate([began[0], trace.h[:, 0]]), axis=0) for began, trace in zip(state, traces, strict=True)
    ]  # L x (S, H)
    change: Array = np.sqrt(np.mean(np.concatenate(moved, axis=1) ** 2, axis=1))
    return change


def sentence(found: Inspection) -> str:
    """What was read by which network, and how well it was predicted."""
    model, T = found.trained.model, len(found.text.ids)
    cut = f"; per character the first {len(found.bits):,}" if len(found.bits) < T else ""
    columns = f"; read in {found.reading.columns} columns, seam {found.reading.seam:.1g}" if found.reading.columns > 1 else ""
    bits = "-" if found.bits_per_char is None else f"{found.bits_per_char:.3f}"
    return (
        f"{T:,} {'generated ' if found.text.generated else ''}character{'s' * (T != 1)}, {bits} bits/char,"
        f" {model.cell} {model.num_layers} x {model.hidden_size}, {found.trained.path}{columns}{cut}"
    )


def history(path: Path) -> list[dict[str, Any]]:
    """The ``step`` and ``eval`` events of the log beside the checkpoint ``path``; none if there is no log."""
    return [
        event
        for event in files.json_lines(path.parent / LOG)
        if event.get("event") in ("step", "eval") and isinstance(event.get("step"), int)
    ]


def _digits(values: NDArray[Any]) -> list[float]:
    """The numbers with as many digits as float32 has."""
    return [float(f"{value:.7g}") for value in np.nan_to_num(values).tolist()]
