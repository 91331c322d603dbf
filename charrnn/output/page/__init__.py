"""An inspection as one self-contained HTML page: its data, its charts, and the template that holds them.

Whatever comes from a text or a checkpoint goes through Jinja2's escaping, or into JSON that can't hold a tag.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from charrnn.analysis.reach import ContributionRecord, MemoryRecord
from charrnn.analysis.traces import Inspection, sentence
from charrnn.cell_types import LETTERS, candidates, keeping
from charrnn.config import GATE_NAMES
from charrnn.output import charts, traced
from charrnn.output.notation import visible
from charrnn.output.page import document
from charrnn.output.palette import GREY, SERIES
from charrnn.output.plot import Axis, Curves, Panel, Point, Scale, line, stroke, thousands
from charrnn.output.traced import Trace

STATES = 1_000_000
"""The most states that a page holds, a byte each: 2,604 characters of 384 units, or 500 characters of 2,000."""
UNITS = 2000
"""The most units that a page shows; of a larger network it shows the liveliest."""
CHARACTERS = 2000
GATES = 240_000
"""The most activations of single units' gates that a page holds, a byte each: of 30 units of an LSTM over 2,000 characters."""
POINTS = 400
"""The most points of a curve; a screen shows no more."""


def render(
    found: Inspection,
    history: Sequence[Mapping[str, Any]] = (),
    memory: Sequence[MemoryRecord] = (),
    contributions: Sequence[ContributionRecord] = (),
    mind: Trace | None = None,
    memory_text: str = "",
) -> str:
    """The page.

    Args:
        found: what it shows.
        history: ``step`` and ``eval`` events of the network's training, for the loss curve.
        memory: networks as `charrnn.analysis.reach.Reach.to_json` writes them, for the memory curves.
        memory_text: which text they were measured on, if that isn't plain.
        contributions: texts as `charrnn.analysis.reach.contributed` gives them, for their shares in the final state.
        mind: what a classifier would say behind each character.
    """
    layers, data = [layer.summary() for layer in found.layers], _data(found)
    return document.render(
        "page.html",
        scripts=["shared.js", "page.js"],
        styles=["shared.css", "page.css"],
        data=data,
        text=visible("".join(data["text"])),
        sentence=sentence(found),
        corpus=str(found.trained.training.get("corpus", "")),
        layers=layers,
        findings=[finding.to_json() for finding in found.findings],
        loss=loss_figure(history),
        gates=[gate_figure(found, letter) for letter in layers[0]["left"]],
        tau=tau_figure(found) if layers[0]["tau"] else None,
        memory=[*memory],
        memory_text=memory_text,
        memory_figures=memory_figures(memory),
        contribution=contribution_figure(contributions) if contributions else None,
        mind=None if mind is None else Figure(mind.title, "classifier", traced.drawn(mind), (traced.WIDTH, traced.HEIGHT)),
        dot=_dot,
        key=curve_key,
        gate=LETTERS.__getitem__,
        keeping=keeping(layers[0]["gates"]),
        example=_example(found),
    )


def _data(found: Inspection) -> dict[str, Any]:
    """What the script needs: the text, its states in steps of 1/127, and the predictions at every character."""
    model, vocabulary = found.trained.model, found.trained.vocabulary
    L, H = model.num_layers, model.hidden_size
    std = np.concatenate([layer.units()["std"] for layer in found.layers])
    units = np.sort(np.argsort(-std, kind="stable")[:UNITS])
    S = min(len(found.bits), CHARACTERS, STATES // len(units))
    h = np.concatenate([trace.h[:S, 0] for trace in found.traces], axis=1)[:, units].T  # (units, S)
    cells = {finding.name: found.values(finding.name).numbers[:S] for finding in found.findings if finding.part == "c"}
    shares = {letter: _saturation(found, letter, units) for letter in found.layers[0].summary()["left"]}
    byte = vocabulary.level == "byte"
    symbols = [f"{index:02x}" if byte else visible(vocabulary.decode([index])) for index in range(model.vocab_size)]
    return {
        "text": list(found.shown[:S]),
        "layers": L,
        "hidden": H,
        "units": [f"{unit // H}:{unit % H}" for unit in units.tolist()],
        "std": _short(std[units]),
        "states": _bytes(h),
        "cells": {name: _bytes(np.array(values)) for name, values in cells.items()},
        "bits": _short(found.bits[:S], 2),
        "entropy": _short(found.entropy[:S], 2),
        "change": _short(found.change[:S]),
        "symbols": symbols,
        "likeliest": found.likeliest[:S].tolist(),
        "probabilities": [_short(row) for row in found.probabilities[:S]],
        "gates": [
            {letter: _short(_size(letter, gate[:S, 0]), 2) for letter, gate in trace.gates.items()} for trace in found.traces
        ],
        "gateNames": GATE_NAMES,
        "candidates": candidates(LETTERS),
        "unitGates": _unit_gates(found, units[np.argsort(-std[units], kind="stable")].tolist(), S),
        "saturation": shares,
        "panel": _PANEL,
    }


def _unit_gates(found: Inspection, liveliest: Sequence[int], S: int) -> dict[str, dict[str, str]]:
    """The gates of single units at each of S characters, by the unit's name and the gate's letter: first of units that follow a
    feature, then of the ``liveliest``, as many as `GATES` allows.
    """
    H, letters = found.trained.model.hidden_size, [*found.traces[0].gates]
    if not letters:
        return {}
    following = [finding.layer * H + finding.unit for finding in found.findings if finding.real]
    chosen = [*dict.fromkeys([*following, *liveliest])][: GATES // (S * len(letters))]
    return {
        f"{unit // H}:{unit % H}": {
            letter: _bytes(found.traces[unit // H].gates[letter][:S, 0, unit % H]) for letter in letters
        }
        for unit in chosen
    }


def _saturation(found: Inspection, letter: str, units: NDArray[np.intp]) -> list[list[float]]:
    """The shares of steps in which a gate of each unit is shut and open, two lists (units,)."""
    told = [layer.units() for layer in found.layers]
    return [_short(np.concatenate([one[f"{side}_{letter}"] for one in told])[units]) for side in ("left", "right")]


def _example(found: Inspection) -> str:
    """A unit that follows a feature of the text, or else the first one."""
    return next((finding.name.removesuffix("c") for finding in found.findings if finding.real), "0:0")


def _size(letter: str, gate: NDArray[Any]) -> NDArray[Any]:
    """The mean over the units of a gate (S, H), of a tanh candidate the mean absolute value."""
    mean: NDArray[Any] = (np.abs(gate) if LETTERS[letter].candidate else gate).mean(axis=1)
    return mean


def _bytes(values: NDArray[Any]) -> str:
    """Numbers of -1 to 1 as signed bytes in base64."""
    return base64.b64encode(np.round(np.clip(np.nan_to_num(values), -1, 1) * 127).astype(np.int8).tobytes()).decode()


def _short(values: NDArray[Any], digits: int = 3) -> list[float]:
    """Numbers to as many ``digits`` as the page shows; rounded twice, some would end in another digit."""
    return [round(value, digits) for value in np.nan_to_num(values).tolist()]


# -- charts: inline SVG ------------------------------------------------------------------------------------------------

_SIZE = (480, 226)
_PANEL = (58, 10, 400, 170)
"""Left, top, width and height of the axes' rectangle."""


@dataclass(frozen=True)
class Figure:
    """A chart on the page: ``title`` and ``name`` for people and screen readers, and the SVG elements ``drawn`` in it."""

    title: str
    name: str
    drawn: str
    size: tuple[float, float] = _SIZE
    letter: str = ""
    """The gate whose units' dots it shows, if it does."""

    def __html__(self) -> str:
        dots = Markup(' class="dots" data-letter="{}"').format(self.letter) if self.letter else ""
        head = Markup('<svg viewBox="0 0 {} {}" fill="{}" role="img" aria-label="{}"{}>').format(
            *self.size, GREY, self.name, dots
        )
        return f"{head}\n{self.drawn}\n</svg>"


def _dot(number: int) -> Markup:
    """The colour of a layer, for the words beside a chart."""
    return Markup('<i class="key" style="background: {}"></i>').format(SERIES[number % len(SERIES)].ink)


def curve_key(number: int) -> Markup:
    """A piece of a curve, for the words beside a chart."""
    path = Markup(line("M1 5h30", stroke(number)))  # noqa: S704 - made of numbers alone
    return Markup('<svg class="key" viewBox="0 0 32 10" aria-hidden="true">{}</svg>').format(path)


def _drawn(name: str, curves: Curves) -> Figure:
    panel = Panel(curves.x, curves.y, *_PANEL)
    panel.draw(curves)
    return Figure(curves.y.title, name, str(panel))


def memory_figures(memory: Sequence[MemoryRecord]) -> list[Figure]:
    """The memory curves of `charrnn.output.charts`; an empty list without a network."""
    if not memory:
        return []
    return [_drawn("gradient", charts.gradient_curves(memory)), _drawn("withheld", charts.withheld_curves(memory))]


def contribution_figure(contributions: Sequence[ContributionRecord]) -> Figure:
    """How much of each character of a text the final hidden state holds, as bars."""
    bars = "\n".join(charts.svg_bars(contributions, 10, 10))
    size = charts.WIDTH, 20 + charts.BARS * len(contributions)
    return Figure(charts.SHARES, "contribution", bars, size)


def loss_figure(history: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Bits per character against the step, in training and in validation; None without two points."""
    training = _points(history, "step", "bits_per_char")
    validation = _points(history, "eval", "val_bits_per_char")
    both = [*training, *validation]
    if len(training) < 2:
        return None
    # On a logarithmic axis the first steps, in which the loss falls most, have the room that they need.
    training, validation = ([(max(step, 1.0), bits) for step, bits in points] for points in (training, validation))
    top, low = max(bits for _, bits in both), min(bits for _, bits in both)
    x = Axis(
        "step (logarithmic)", Scale(training[0][0], max(*(step for step, _ in both), 2 * training[0][0]), log=True), thousands
    )
    y = Axis("loss, bits per character", Scale(max(low - 0.05, 0.0), max(top, low + 0.1)), thousands)
    panel = Panel(x, y, *_PANEL)
    panel.draw(Curves(x, y, [_thinned(training), validation]))
    panel.dots(validation, 1)
    return Figure(y.title, "loss curve", str(panel))


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most `POINTS` of ``points``, as many of the early steps as of the late ones on a logarithmic axis."""
    if len(points) <= POINTS:
        return [*points]
    places = np.unique(np.geomspace(1, len(points), POINTS).astype(int)) - 1
    return [points[place] for place in places.tolist()]


def _points(history: Sequence[Mapping[str, Any]], event: str, key: str) -> list[Point]:
    """Step and value of every sound ``event``. Of a run that went back after a divergence, only what it went on from."""
    points: list[Point] = []
    for entry in history:
        value = entry.get(key)
        if entry.get("event") == event and isinstance(value, int | float) and 0 <= value < 1e3 and 0 <= entry["step"] < 1e15:
            while points and points[-1][0] >= entry["step"]:
                points.pop()
            points.append((float(entry["step"]), float(value)))
    return points


def gate_figure(found: Inspection, letter: str) -> Figure:
    """Every unit's share of steps with the gate shut against that with the gate open, after Karpathy et al. 2015."""
    shut, opened = (Axis(f"share of steps {what}", Scale(0, 1), thousands) for what in ("below 0.1", "above 0.9"))
    panel = Panel(shut, opened, *_PANEL)
    for number, layer in enumerate(found.layers):
        units = layer.units()
        panel.dots(list(zip(units[f"left_{letter}"].tolist(), units[f"right_{letter}"].tolist(), strict=True)), number)
    return Figure(f"{LETTERS[letter].name} gate, {opened.title}", f"saturation of gate {letter}", str(panel), letter=letter)


def tau_figure(found: Inspection) -> Figure:
    """How many units remember for how many characters, in halves of an octave from 1 character on."""
    taus = [np.log2(np.maximum(layer.units()["tau"], 1.0)) for layer in found.layers]
    top = min(max(2.0, math.ceil(2 * max(float(tau.max()) for tau in taus)) / 2), 14.0)
    edges = np.arange(0, top + 0.5, 0.5)
    counts = [np.histogram(np.minimum(tau, edges[-1] - 1e-6), edges)[0].tolist() for tau in taus]
    x = Axis("a unit's time constant, characters", Scale(0, float(edges[-1])), lambda octaves: f"{2**octaves:,.3g}")
    y = Axis("units", Scale(0, max(map(max, counts)) * 1.05), thousands)
    panel = Panel(x, y, *_PANEL)
    for number, heights in enumerate(counts):
        panel.bars(edges.tolist(), heights, number, len(counts))
    return Figure("how many units have which time constant", "time constants of the units", str(panel))
