"""Features of a text, and the units that follow them: which cell counts the position in the line?

A unit counts as following a feature if it does so in a part of the text on which it was not chosen, and better than any unit of
networks that have learned nothing. The units of a random recurrent network are mixtures of recent characters, and some mixture
resembles any feature.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import ModelConfig
from charrnn.network import initial
from charrnn.network.cells import Array, Network
from charrnn.network.columns import MOST, SHORTEST, Passage, Reading
from charrnn.network.pace import on_cores

MARGIN = 0.1
"""By how much a unit's correlation must exceed that of the best unit of the random networks."""
RANDOM_NETWORKS = 5
LONGEST_NAME = 40
"""Characters of the longest line that may be a speaker's name."""

_PAIRS = {")": "(", "]": "[", "}": "{"}
_CURLY = {"\u201c": 1, "\u201d": 0}
_SPEAKER = re.compile(rf"^[^\W\d_][^.!?;:,\n]{{0,{LONGEST_NAME - 2}}}:[ \t]*$", re.MULTILINE)

Correlations = NDArray[np.float64]


def _since(text: str, ends: Callable[[str], bool]) -> Iterator[int]:
    """Characters since the last one for which ``ends`` is true, 0 at that one."""
    count = 0
    for character in text:
        count = 0 if ends(character) else count + 1
        yield count


def _quotes(text: str) -> Iterator[int]:
    """1 inside double quotes, from the opening one on; the end of a paragraph closes a quote left open."""
    inside, before = 0, ""
    for character in text:
        if character == '"':
            inside = 1 - inside
        elif character in _CURLY:
            inside = _CURLY[character]
        elif character == before == "\n":
            inside = 0
        yield inside
        before = character


def _depths(text: str) -> NDArray[np.int64]:
    """How many brackets are open; those without a partner don't count."""
    change = np.zeros(len(text) + 1, dtype=np.int64)
    stack: list[tuple[str, int]] = []
    waiting = dict.fromkeys("([{", 0)  # How many of each kind are on the stack: only one that is there is looked for.
    for position, character in enumerate(text):
        if character in "([{":
            stack.append((character, position))
            waiting[character] += 1
        elif waiting.get(wanted := _PAIRS.get(character, "")):
            opened = ""
            while opened != wanted:  # Whatever was opened later is never closed.
                opened, began = stack.pop()
                waiting[opened] -= 1
            change[began] += 1
            change[position] -= 1
    return np.cumsum(change[:-1])


def _indentation(text: str) -> Iterator[int]:
    """How many blanks at the beginning of the line were read so far."""
    width, leading = 0, True
    for character in text:
        if character == "\n":
            width, leading = 0, True
        elif leading and character in " \t":
            width += 1
        else:
            leading = False
        yield width


def _after_colon(text: str) -> Iterator[int]:
    """From a colon to the end of its line, or of the next line where the colon ends its own."""
    inside, before = 0, ""
    for character in text:
        if character == ":":
            inside = 1
        elif character == "\n" and before != ":":
            inside = 0
        yield inside
        before = character


def _speaker(text: str) -> NDArray[np.bool_]:
    """True in lines that are a speaker's name: short, one phrase, ending in a colon."""
    inside = np.zeros(len(text), dtype=bool)
    for match in _SPEAKER.finditer(text):
        inside[match.start() : match.end()] = True
    return inside


FEATURES: dict[str, Callable[[str], Any]] = {
    "position in the line": lambda text: _since(text, "\n".__eq__),
    "inside quotes": _quotes,
    "inside brackets": lambda text: _depths(text) > 0,
    "depth of brackets": _depths,
    "indentation": _indentation,
    "position in the word": lambda text: _since(text, lambda character: not character.isalpha()),
    "capital letter": lambda text: map(str.isupper, text),
    "digit": lambda text: map(str.isdigit, text),
    "after a colon": _after_colon,
    "speaker's line": _speaker,
    "since newline or space": lambda text: _since(text, "\n ".__contains__),
    "length so far": lambda text: range(len(text)),
}
"""Every feature: a text -> a number for each character, when the network has just read it."""


def features(text: str) -> dict[str, Array]:
    """Every feature of ``text``, each (T,)."""
    return {name: np.fromiter(feature(text), dtype=np.float32, count=len(text)) for name, feature in FEATURES.items()}


@dataclass(frozen=True)
class Finding:
    """The unit that follows one feature best.

    ``part`` is h or c; ``first`` and ``second`` are its correlations on the half of the text on which it was chosen and on the
    other. On that other half, ``random`` is the largest |r| of any unit of the random networks, and ``chance`` the |r| that one
    in a hundred shifts of the feature against the unit exceeds: both wander, and two things that wander agree now and then.
    """

    feature: str
    layer: int
    unit: int
    part: str
    first: float
    second: float
    random: float
    chance: float

    @property
    def needed(self) -> float:
        """The |r| on the second half above which the finding counts."""
        return max(self.random + MARGIN, self.chance)

    @property
    def real(self) -> bool:
        """Whether neither chance nor the architecture alone explains it."""
        return self.first * self.second > 0 and abs(self.second) > self.needed

    @property
    def name(self) -> str:
        """The unit as the command line writes it: ``L:U``, or ``L:Uc`` for an LSTM's cell."""
        return f"{self.layer}:{self.unit}{self.part.replace('h', '')}"

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return {**asdict(self), "name": self.name, "needed": self.needed, "real": self.real}


def find(
    network: Network,
    ids: NDArray[Any],
    text: str,
    state: Array | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Finding]:
    """The best unit for each feature that varies in both halves of the text.

    Args:
        network: the network to search: every h, and every c of an LSTM.
        ids: what it reads, (T,).
        text: the same as T characters.
        state: where it begins, (L, P, 1, H); default: the zero state.
        seed: the seed of the random networks.
        tell: hears what is being done.
    """
    half = len(text) // 2
    chosen = {name: f for name, f in features(text).items() if half and f[:half].std() > 0 and f[half:].std() > 0}
    if not chosen:
        return []
    values = np.stack(list(chosen.values()))

    def correlated(number: int) -> Correlations:
        with np.errstate(over="ignore", invalid="ignore"):  # which a thread doesn't inherit
            if number == 0:
                return correlations(network, ids, values, state)
            random = random_network(network.config, np.random.default_rng((seed, number - 1)))
            return correlations(network.alike(random.weights), ids, values)

    tell("looking for units that follow the text")
    correlated_each = on_cores(correlated, range(1 + RANDOM_NETWORKS))
    found, random = next(correlated_each), np.zeros(len(chosen))
    for number in range(1, 1 + RANDOM_NETWORKS):
        tell(f"looking for units that follow the text, beside random network {number} of {RANDOM_NETWORKS}")
        random = np.maximum(random, np.abs(next(correlated_each)[1]).max(axis=1))
    best = np.abs(found[0]).argmax(axis=1)
    courses = np.empty((len(ids), len(best)), dtype=np.float32)
    for block in Reading(network, ids, state):
        courses[block.positions.ravel()] = _units(block)[:, best]
    findings = []
    parts, H = "hc"[: network.config.cell_parts], network.config.hidden_size
    for row, (name, course) in enumerate(chosen.items()):
        layer, part, unit = (int(index) for index in np.unravel_index(best[row], (network.config.num_layers, len(parts), H)))
        first, second = found[:, row, best[row]].tolist()
        chance = by_chance(course[half:], courses[half:, row])
        findings.append(Finding(name, layer, unit, parts[part], first, second, float(random[row]), chance))
    return findings


def by_chance(a: Array, b: Array) -> float:
    """The |r| of ``a`` and ``b``, each (T,), that one in a hundred circular shifts exceeds. Shifts of less than a twentieth are
    left out, because the two are still aligned there.
    """
    standard = [(part - part.mean(dtype=np.float64)) / max(float(part.std(dtype=np.float64)), 1e-12) for part in (a, b)]
    spectra = [np.fft.rfft(part) for part in standard]
    r = np.fft.irfft(spectra[0] * spectra[1].conj(), len(a)) / len(a)
    near = -(-len(a) // 20)
    return float(np.quantile(np.abs(r[near : len(a) - near + 1]), 0.99))


def correlations(network: Network, ids: NDArray[Any], values: Array, state: Array | None = None) -> Correlations:
    """Pearson's r of every unit with every row of ``values`` (F, T) over each half of ids (T,): (2, F, U).

    Units are in the order of a state (L, P, H). The text is read once, a long one in many columns, and only sums of
    products are kept.
    """
    half = len(ids) // 2
    middle = values.mean(axis=1, keepdims=True)
    scaled = (values - middle) / np.maximum(values.std(axis=1, keepdims=True), 1e-12)
    sums: dict[int, list[NDArray[np.float64]]] = {}
    origin: Array | None = None
    for block in Reading(network, ids, state, MOST if len(ids) > 2 * SHORTEST else None):
        units = _units(block)
        if origin is None:
            origin = units.mean(axis=0)
        units -= origin  # Second moments around a point near the mean lose no digits.
        positions = block.positions.ravel()
        for which, kept in enumerate((positions < half, positions >= half)):
            u, f = units[kept], scaled[:, positions[kept]]
            added = [u.sum(axis=0), (u * u).sum(axis=0), f.sum(axis=1), (f * f).sum(axis=1), f @ u]
            for total, more in zip(sums.setdefault(which, [np.zeros(more.shape) for more in added]), added, strict=True):
                total += more
    return np.stack([_pearson(count, *sums[which]) for which, count in enumerate((half, len(ids) - half))])


def _units(block: Passage) -> Array:
    """What every unit did, a row per character, (T N, U)."""
    parts = [part for trace in block.traces for part in (trace.h, trace.c) if part is not None]
    return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts], axis=1)


def _pearson(count: int, u: Any, uu: Any, f: Any, ff: Any, fu: Any) -> NDArray[np.float64]:
    """R from the sums of u (U,), f (F,), their squares and their products (F, U); 0 where one of the two doesn't vary."""
    covariance = fu / count - np.outer(f, u) / count**2
    variances = np.outer(ff / count - (f / count) ** 2, uu / count - (u / count) ** 2)
    moving = variances > 1e-12
    r: NDArray[np.float64] = np.clip(np.nan_to_num(covariance / np.sqrt(np.where(moving, variances, 1.0)) * moving), -1, 1)
    return r


def random_network(config: ModelConfig, rng: np.random.Generator) -> Network:
    """A network of that shape that has learned nothing: its weights are as training first draws them."""
    return Network(config, initial.draw(config, rng))
