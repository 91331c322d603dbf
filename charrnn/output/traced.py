"""A classifier making up its mind: what it would say if the text ended behind each character."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from charrnn import CharrnnError, files
from charrnn.analysis.judge import Judge
from charrnn.output.console import Console
from charrnn.output.notation import bar, json_line, on_one_line
from charrnn.output.palette import GREY, SERIES
from charrnn.output.plot import Axis, Curves, Panel, Scale, content, ink, line, rect, stroke, text
from charrnn.output.tables import one_cell

CURVES = 4
"""So many labels have a curve: those that were likeliest somewhere, the final one first."""
WIDTH, HEIGHT, LEFT = 880, 300, 62
LEGIBLE = 120
"""So many characters can be read side by side in a picture."""


@dataclass(frozen=True)
class Trace:
    """A text's ``characters`` and the probability of each of ``labels`` after each of them, (T, C)."""

    characters: str
    probabilities: NDArray[np.float64]
    labels: tuple[str, ...]

    @property
    def title(self) -> str:
        """What the picture shows, in words."""
        final = int(self.probabilities[-1].argmax())
        share = f"{self.probabilities[-1, final]:.0%}".replace("%", " %")
        return f"behind each character, what it would say if the text ended there; at the end {self.labels[final]}, {share}"

    @property
    def leading(self) -> list[int]:
        """The labels that were likeliest after some character, and the next likeliest at the end; the final one first."""
        final = np.argsort(-self.probabilities[-1], kind="stable")
        led = set(self.probabilities.argmax(axis=1).tolist())
        order = sorted(range(len(self.labels)), key=lambda n: (n != final[0], n not in led, -self.probabilities[-1, n]))
        return order[: min(CURVES, len(self.labels))]

    def to_json(self) -> dict[str, Any]:
        """The trace as JSON values."""
        final = int(self.probabilities[-1].argmax())
        return {
            "text": self.characters,
            "label": self.labels[final],
            "probability": float(self.probabilities[-1, final]),
            "characters": list(self.characters),
            "labels": list(self.labels),
            "probabilities": self.probabilities.tolist(),
        }


def beginning(judge: Judge, text: str) -> Trace | None:
    """The trace of as much of ``text`` as a picture has room for; None where it is blank."""
    return Trace(*judge.trace(text.strip()[:LEGIBLE]), judge.classifier.labels) if text.strip() else None


def run(judge: Judge, text: str, console: Console, *, as_json: bool, svg: Path | None, show: bool) -> None:
    """Trace ``text``: shown, as JSON, or as a picture in the file ``svg``."""
    if not text.strip():
        raise CharrnnError("the text is blank; there is nothing to trace")
    if svg is not None:
        files.check_made(svg, "classify")
    trace = Trace(*judge.trace(text), judge.classifier.labels)
    if show:
        shown(trace, console, as_json=as_json)
    if svg is not None:
        console.made(svg, picture(trace).encode(), "classify", kind="svg")


def shown(trace: Trace, console: Console, *, as_json: bool) -> None:
    """The trace: coloured text with the turns on a terminal, a line per character in a pipe, or JSON."""
    if as_json:
        console.product(json_line(trace.to_json()))
    elif console.stdout_is_terminal:
        console.table(_painted(trace))
        console.table(_turns(trace))
    else:
        for character, row in zip(trace.characters, trace.probabilities, strict=True):
            said = int(row.argmax())
            shown = json.dumps(character, ensure_ascii=False)
            console.product(f"{shown}\t{on_one_line(trace.labels[said])}\t{row[said]:.4f}\n")


def _painted(trace: Trace) -> Text:
    """Each character in the colour of the label that is likeliest after it, bold from one half on."""
    shown, leading = Text(), trace.leading
    for character, row in zip(trace.characters, trace.probabilities, strict=True):
        said = int(row.argmax())
        colour = SERIES[leading.index(said)].terminal if said in leading else "default"
        strength = "bold reverse" if row[said] >= 0.9 else "bold" if row[said] >= 0.5 else "dim"
        shown.append(one_cell(character), f"{strength} {colour}")
    return shown


def _turns(trace: Trace) -> Text:
    """Where it changed its mind, a line each, and what it says at the end."""
    shown, leading, before = Text(), trace.leading, -1
    last = len(trace.characters) - 1
    for place, row in enumerate(trace.probabilities):
        said = int(row.argmax())
        if said == before and place != last:
            continue
        before = said
        colour = SERIES[leading.index(said)].terminal if said in leading else "default"
        seen = on_one_line(trace.characters[max(0, place - 23) : place + 1])
        shown.append(f"{seen:>24}  ", "dim")
        shown.append(f"{bar(row[said], 10)} {row[said]:4.0%} ", colour)
        shown.append(f"{on_one_line(trace.labels[said])}\n", f"bold {colour}")
    shown.right_crop(1)
    return shown


def drawn(trace: Trace) -> str:
    """The elements of a picture, `WIDTH` x `HEIGHT`: the probabilities as curves over the characters."""
    characters, leading = trace.characters, trace.leading
    step = (WIDTH - LEFT - 18) / len(characters)
    across = Axis("", Scale(0, len(characters)), lambda value: "")
    panel = Panel(
        across,
        Axis("", Scale(0, 1), lambda value: f"{value:.0%}".replace("%", " %")),
        LEFT,
        44,
        WIDTH - LEFT - 18,
        HEIGHT - 100,
    )
    curves = [[(place + 0.5, float(row[label])) for place, row in enumerate(trace.probabilities)] for label in leading]
    panel.draw(Curves(across, Axis("", Scale(0, 1)), curves))
    parts, x = [], float(LEFT)
    for number, label in enumerate(leading):
        name = on_one_line(trace.labels[label])
        parts += [line(f"M{x:.0f} 20h30", stroke(number)), text(x + 38, 24.5, name, f'fill="{ink(number)}" font-weight="600"')]
        x += 70 + 8.5 * len(name)
    base, size = HEIGHT - 36, min(15.0, 1.5 * step)
    style = (
        f'text-anchor="middle" font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="{size:.1f}"'
    )
    for place, (character, row) in enumerate(zip(characters, trace.probabilities, strict=True)):
        said = int(row.argmax())
        colour = ink(leading.index(said)) if said in leading else GREY
        left = LEFT + step * place
        title = f"{one_cell(character)} {trace.labels[said]} {row[said]:.0%}".replace("%", " %")
        parts.append(rect(f"{left + 0.1 * step:.1f}", f"{base + 6}", f"{0.8 * step:.1f}", "5", colour, title))
        parts.append(text(left + step / 2, base, one_cell(character), f'{style} fill="{colour}"'))
    return "\n".join([*parts, str(panel)])


def picture(trace: Trace) -> str:
    """The same as a file; legible on white and on black."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"'
        f' font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13" fill="{GREY}">\n'
        "<!-- charrnn classify -->\n"
        f"<title>What a network would say of {content(on_one_line(trace.characters))} behind each character</title>\n"
        f"{drawn(trace)}\n</svg>\n"
    )
