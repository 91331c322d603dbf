"""An inspection as one self-contained HTML page: its data, its charts, and the template that holds them.

Whatever comes from a text or a checkpoint goes through Jinja2's escaping, or into JSON in which no tag can stand; the page's
policy lets nothing run but the one script whose hash it names, and nothing load at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from charrnn.inspection import Inspection, sentence
from charrnn.notation import visible

STATES = 1_000_000
"""States that a page holds, a byte each: 2,604 characters at 384 units, 500 of the liveliest 2,000 units."""
UNITS = 2000
CHARACTERS = 2000
COLOURS = 6
"""How many colours the style sheet has for layers and curves."""
POINTS = 400
"""Of a curve; more than that is more than a screen shows."""


def render(found: Inspection, history: Sequence[Mapping[str, Any]] = (), memory: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page.

    Args:
        found: what it shows.
        history: ``step`` and ``eval`` events of the network's training, for the loss curve.
        memory: memory curves, a mapping per model: ``label``; ``lags`` and ``gradient``; ``half_life`` and ``below_1_percent``
            in characters or None; ``withheld``, the rise in bits per character with only the last 1, 2, ... characters known
            (or the last ``withheld_lags``); ``smallest_within_1_percent``.
    """
    here = Path(__file__).parent
    script = (here / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        (here / "page.html").read_text(encoding="utf-8")
    )
    layers, data = [layer.summary() for layer in found.layers], _data(found)
    return template.render(
        script=Markup(script),  # noqa: S704 - our own file
        style=Markup((here / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:",
        data=_inert(data),
        text=visible("".join(data["text"])),
        sentence=sentence(found),
        corpus=str(found.trained.training.get("corpus", "")),
        layers=layers,
        findings=[finding.to_json() for finding in found.findings],
        loss=loss_chart(history),
        gates=[(letter, gate_chart(found, letter)) for letter in layers[0]["left"]],
        tau=tau_chart(found) if layers[0]["tau"] else None,
        memory=[*memory],
        gradient=memory_chart(memory, "gradient", logarithmic=True),
        withheld=memory_chart(memory, "withheld", logarithmic=False),
        colours=COLOURS,
    )


def _inert(value: Any) -> Markup:
    """``value`` as JSON that holds no character with a meaning in HTML."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - made harmless above


def _data(found: Inspection) -> dict[str, Any]:
    """What the script needs: the text, its states in steps of 1/127, and what was predicted at every character."""
    model, vocabulary = found.trained.model, found.trained.vocabulary
    L, H = model.num_layers, model.hidden_size
    std = np.concatenate([layer.units()["std"] for layer in found.layers])
    units = np.sort(np.argsort(-std, kind="stable")[:UNITS])
    S = min(len(found.bits), CHARACTERS, STATES // len(units))
    h = np.concatenate([trace.h[:S, 0] for trace in found.traces], axis=1)[:, units].T  # (units, S)
    cells = {finding.name: found.values(finding.name)[0][:S] for finding in found.findings if finding.part == "c"}
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
    }


def _size(letter: str, gate: NDArray[Any]) -> NDArray[Any]:
    """The mean over the units of a gate (S, H), of a tanh candidate the mean absolute value."""
    mean: NDArray[Any] = (np.abs(gate) if letter in "gn" else gate).mean(axis=1)
    return mean


def _bytes(values: NDArray[Any]) -> str:
    """Numbers of -1 to 1 as signed bytes in base64."""
    return base64.b64encode(np.round(np.clip(np.nan_to_num(values), -1, 1) * 127).astype(np.int8).tobytes()).decode()


def _short(values: NDArray[Any], digits: int = 3) -> list[float]:
    """The ``digits`` are those that the page shows: rounded twice, some numbers would end in another."""
    return [round(value, digits) for value in np.nan_to_num(values).tolist()]


# -- charts: inline SVG, whose colours are classes of the style sheet ---------------------------------------------------

_SVG = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">')
_GRID = Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>')
_SIDEWAYS = Markup('<text transform="translate(11 {}) rotate(-90)" text-anchor="middle">{}</text>')
_BAR = Markup('<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 480, 220, 58, 38, 10, 22


class _Chart:
    """Axes from ``x`` and ``y`` intervals onto a picture, and what is drawn between them."""

    def __init__(
        self,
        title: str,
        x: tuple[float, float],
        y: tuple[float, float],
        labels: tuple[str, str],
        *,
        logarithmic: bool = False,
        x_tick: Callable[[float], str] | None = None,
    ) -> None:
        x_tick = x_tick or _tick
        self._x, self._y, self._logarithmic = x, y, logarithmic
        self._parts = [_SVG.format(_WIDTH, _HEIGHT, title)]
        bottom = _HEIGHT - _BOTTOM
        for value in _ticks(*x):
            at = self.place_x(value)
            self._parts.append(_GRID.format(at, _TOP, at, bottom))
            self._text(at, bottom + 16, x_tick(value), "middle")
        for value in _decades(*y) if logarithmic else _ticks(*y):
            at = self.place_y(value)
            self._parts.append(_GRID.format(_LEFT, at, _WIDTH - _RIGHT, at))
            self._text(_LEFT - 6, at + 5, _tick(value), "end")
        self._text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 4, labels[0], "middle")
        self._parts.append(_SIDEWAYS.format((_TOP + bottom) / 2, labels[1]))

    def place_x(self, value: float) -> float:
        low, high = self._x
        return round(_LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT), 1)

    def place_y(self, value: float) -> float:
        low, high = self._y
        if self._logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP), 1)

    def _text(self, x: float, y: float, text: str, anchor: str) -> None:
        self._parts.append(Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, y, anchor, text))

    def line(self, xs: Sequence[float], ys: Sequence[float], style: str) -> None:
        pairs = [f"{self.place_x(x)} {self.place_y(y)}" for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
        if pairs:
            self._parts.append(Markup('<path class="line {}" d="M{}"/>').format(style, "L".join(pairs)))

    def dots(self, xs: Sequence[float], ys: Sequence[float], style: str) -> None:
        """Points as one path of segments without length, whose round ends show."""
        d = "".join(f"M{self.place_x(x)} {self.place_y(y)}h0" for x, y in zip(xs, ys, strict=True))
        self._parts.append(Markup('<path class="dots {}" d="{}"/>').format(style, d))

    def bars(self, edges: Sequence[float], heights: Sequence[float], style: str, part: tuple[int, int]) -> None:
        """A bar between neighbouring edges; ``part`` (which, of how many) shares the room among series."""
        for low, high, height in zip(edges, edges[1:], heights, strict=False):
            left, right, top = self.place_x(low), self.place_x(high), self.place_y(height)
            wide = (right - left - 2) / part[1]
            if height:
                self._parts.append(_BAR.format(style, left + 1 + part[0] * wide, top, wide, _HEIGHT - _BOTTOM - top))

    def __html__(self) -> str:
        return "".join([*self._parts, "</svg>"])


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between ``low`` and ``high``, three to eight of them."""
    span = high - low
    step = 10 ** math.floor(math.log10(span / 2))
    step *= next((factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 7), 10)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    exponents = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    return [10.0**exponent for exponent in exponents][:: max(1, len(exponents) // 6)]


def _tick(value: float) -> str:
    if 0 < abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:.4g}"


def loss_chart(history: Sequence[Mapping[str, Any]]) -> _Chart | None:
    """Bits per character against the step: training as a line, validation as dots on one; None without two points."""
    training = _points(history, "step", "bits_per_char")
    validation = _points(history, "eval", "val_bits_per_char")
    both = [*training, *validation]
    if len(training) < 2:
        return None
    # The first losses would flatten the rest of the curve.
    top = max(bits for _, bits in both[len(training) // 20 :])
    low = min(bits for _, bits in both)
    ends = (0.0, float(max(max(step for step, _ in both), 1)))
    chart = _Chart("loss curve", ends, (low - 0.05, max(top, low + 0.1)), ("step", "bits per character"))
    kept = training[:: -(-len(training) // POINTS)]
    chart.line([step for step, _ in kept], [bits for _, bits in kept], "c0")
    if validation:
        chart.line([step for step, _ in validation], [bits for _, bits in validation], "c1")
        chart.dots([step for step, _ in validation], [bits for _, bits in validation], "c1")
    return chart


def _points(history: Sequence[Mapping[str, Any]], event: str, key: str) -> list[tuple[float, float]]:
    """Step and value of every sound ``event``; a run that went back in time after a divergence shows what it went on from."""
    points: list[tuple[float, float]] = []
    for entry in history:
        value = entry.get(key)
        if entry.get("event") == event and isinstance(value, int | float) and 0 <= value < 1e3 and 0 <= entry["step"] < 1e15:
            while points and points[-1][0] >= entry["step"]:
                points.pop()
            points.append((float(entry["step"]), float(value)))
    return points


def gate_chart(found: Inspection, letter: str) -> _Chart:
    """Every unit's share of steps with the gate shut against that with the gate open, after Karpathy et al. 2015."""
    chart = _Chart(f"saturation of gate {letter}", (0, 1), (0, 1), ("share of steps below 0.1", "above 0.9"))
    for number, layer in enumerate(found.layers):
        units = layer.units()
        chart.dots(units[f"left_{letter}"].tolist(), units[f"right_{letter}"].tolist(), f"c{number % COLOURS}")
    return chart


def tau_chart(found: Inspection) -> _Chart:
    """How many units remember for how many characters, in halves of an octave from 1 character on."""
    taus = [np.log2(np.maximum(layer.units()["tau"], 1.0)) for layer in found.layers]
    top = min(max(2.0, math.ceil(2 * max(float(tau.max()) for tau in taus)) / 2), 14.0)
    edges = np.arange(0, top + 0.5, 0.5)
    counts = [np.histogram(np.minimum(tau, edges[-1] - 1e-6), edges)[0].tolist() for tau in taus]
    room = (0, float(edges[-1])), (0, max(map(max, counts)) * 1.05)
    chart = _Chart("memory of the units", *room, ("characters", "units"), x_tick=lambda octaves: f"{2**octaves:,.3g}")
    for number, heights in enumerate(counts):
        chart.bars(edges.tolist(), heights, f"c{number % COLOURS}", (number, len(counts)))
    return chart


def memory_chart(memory: Sequence[Mapping[str, Any]], key: str, *, logarithmic: bool) -> _Chart | None:
    """A curve per model: ``gradient`` as shares of its first value, or ``withheld``; None where there is nothing to draw."""
    curves = []
    for number, model in enumerate(memory):
        ys = np.array(model.get(key) or [], dtype=np.float64)
        lags = model["lags"] if key == "gradient" else model.get("withheld_lags") or range(1, len(ys) + 1)
        if len(ys) > 1:
            curves.append((number, list(lags), (ys / max(ys[0], 1e-30) if logarithmic else ys).tolist()))
    if not curves:
        return None
    xs = (0.0, float(max(max(lags) for _, lags, _ in curves)))
    if logarithmic:
        lowest = min(min((y for y in ys if y > 0), default=1.0) for _, _, ys in curves)
        interval = (max(min(lowest, 1e-2), 1e-8), max(max(ys) for _, _, ys in curves) * 1.1)
        chart = _Chart("gradient", xs, interval, ("characters back", "share of the first"), logarithmic=True)
    else:
        top = max(max(ys) for _, _, ys in curves)
        chart = _Chart("withheld", xs, (0.0, max(top * 1.05, 1e-3)), ("characters known", "rise, bits per character"))
    for number, lags, ys in curves:
        chart.line(lags, ys, f"c{number % COLOURS}")
    return chart
