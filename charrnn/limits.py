"""The values a setting may take: numbers of an interval, a few words, any name. Each says itself in words and reads itself."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from charrnn import UsageError


class Limits(Protocol):
    """What a setting may be; as a string, what its refusal says: ``--lr must be {limits}, not x``."""

    @property
    def metavar(self) -> str:
        """What ``--help`` shows in place of a value."""
        ...

    def __contains__(self, value: object, /) -> bool: ...

    def parse(self, option: str, text: str) -> Any:
        """Read a value from ``text``; raise a `UsageError` that names ``option`` where it isn't one of these."""
        ...


@dataclass(frozen=True)
class Interval:
    """The numbers from ``low`` to ``high``, each end included unless ``*_open``."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    integer: bool = False

    def __str__(self) -> str:
        def exactly(bound: float) -> str:
            return f"{bound:,}" if isinstance(bound, int) else f"{bound:,.0f}" if 1e5 < bound < 1e15 else f"{bound:g}"

        parts = []
        if math.isfinite(self.low):
            parts.append(f"{'above' if self.low_open else 'of at least'} {exactly(self.low)}")
        if math.isfinite(self.high):
            parts.append(f"{'below' if self.high_open else 'at most'} {exactly(self.high)}")
        return " ".join(["a whole number" if self.integer else "a number", " and ".join(parts)]).strip()

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.integer else (int, float)):
            return False
        if isinstance(value, float) and not math.isfinite(value):
            return False
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    @property
    def metavar(self) -> str:
        """``INT`` or ``NUMBER``."""
        return "INT" if self.integer else "NUMBER"

    def parse(self, option: str, text: str) -> Any:
        """Read a number of this interval; raise a `UsageError` that names ``option`` and the interval."""
        try:
            value: Any = int(text) if self.integer else float(text)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if value not in self:
            better = f"; write {meant}" if (meant := self._meant(option, str(text)[:80])) else ""
            raise UsageError(f"{option} must be {self}, not {_typed(text)}{better}")
        return value

    def _meant(self, option: str, typed: str) -> str:
        """The number of this interval that was plainly meant; empty if there is none."""
        ways = [_time(typed, _SECONDS[option]) if option in _SECONDS else "", _meant(typed)]
        ways.append(_share(typed) if self.high == 1 and not self.integer else "")
        return next((one for one in ways if one and (int(one) if one.isdecimal() else float(one)) in self), "")


@dataclass(frozen=True)
class Choices:
    """One of a few words."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return either(self.words)

    def __contains__(self, value: object) -> bool:
        return value in self.words

    @property
    def metavar(self) -> str:
        """The words, a bar between them."""
        return "|".join(self.words)

    def parse(self, option: str, text: str) -> str:
        """The word that ``text`` is in upper or lower case; a `UsageError` names ``option`` and the words if it is none."""
        word = text.lower()
        if word not in self:
            raise UsageError(f"{option} must be {self}, not {_typed(text)}")
        return word


@dataclass(frozen=True)
class Flag:
    """Yes or no: an option that takes no value."""

    def __str__(self) -> str:
        return "true or false"

    def __contains__(self, value: object) -> bool:
        return isinstance(value, bool)

    @property
    def metavar(self) -> str:
        """Nothing: the option alone says yes."""
        return ""

    def parse(self, option: str, text: str) -> bool:
        """Refuse ``text``: the option takes no value."""
        raise UsageError(f"{option} takes no value, not {text!s:.80}")


@dataclass(frozen=True)
class Rising:
    """Different whole numbers of at least 0, in rising order, ``most`` at most."""

    most: int

    def __str__(self) -> str:
        return f"at most {self.most:,} whole numbers that rise"

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, tuple) or len(value) > self.most or not all(type(one) is int and one >= 0 for one in value):
            return False
        return all(low < high for low, high in pairwise(value))

    @property
    def metavar(self) -> str:
        """``INT,...``."""
        return "INT,..."

    def parse(self, option: str, text: str) -> tuple[int, ...]:
        """Read such numbers, a comma between them; raise a `UsageError` that names ``option`` where they aren't."""
        words = [word.strip() for word in text.split(",")]
        value = tuple(int(word) for word in words if re.fullmatch(r"[0-9]{1,18}", word))
        if len(value) < len(words) or value not in self:
            raise UsageError(f"{option} must be {self}, not {_typed(text)}")
        return value


@dataclass(frozen=True)
class Name:
    """Any string; whoever uses it knows which ones mean something."""

    def __str__(self) -> str:
        return "a name"

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str)

    @property
    def metavar(self) -> str:
        """``NAME``."""
        return "NAME"

    def parse(self, option: str, text: str) -> str:
        """Give ``text`` back."""
        return text


_SECONDS = {"--minutes": 60.0, "--seconds": 1.0}
"""How long one of what these options count is."""
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _time(text: str, unit: float) -> str:
    """A time that is written with its unit or a colon, in numbers of ``unit`` seconds; empty if it is none."""
    if found := re.fullmatch(
        r"(\d{1,6}(?:\.\d{1,6})?) ?(s|m|h|secs?|mins?|hrs?|seconds?|minutes?|hours?)", text.strip().lower()
    ):
        seconds = float(found[1]) * _UNITS[found[2][0]]
    elif found := re.fullmatch(r"(\d{1,6}):([0-5]\d)(?::([0-5]\d))?", text.strip()):
        first, second, third = int(found[1]), int(found[2]), found[3]
        seconds = 60.0 * first + second if third is None else 3600.0 * first + 60.0 * second + int(third)
    else:
        return ""
    return f"{seconds / unit:.4f}".rstrip("0").rstrip(".")


def _share(text: str) -> str:
    """A percentage above 1 without its sign as a share; empty if it is none."""
    percent = float(text) if re.fullmatch(r"\d{1,2}(\.\d{1,6})?|100", text.strip()) else 0.0
    return f"{percent / 100:.9f}".rstrip("0").rstrip(".") if percent > 1 else ""


def _meant(text: str) -> str:
    """A number that is written as other programs or languages write it, as it is written here; empty if it is none."""
    text = text.strip().removeprefix("=")
    if re.fullmatch(r"\d{1,3}(,\d{3})+", text):
        return text.replace(",", "")
    if re.fullmatch(r"-?\d{0,9},\d{1,9}", text):
        return text.replace(",", ".")
    if found := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([%kKmM])", text):
        value = float(found[1]) * {"%": 0.01, "k": 1e3, "m": 1e6}[found[2].lower()]
        return f"{value:.11f}".rstrip("0").rstrip(".")
    if re.fullmatch(r"\d{1,12}\.0*|\d{1,9}(\.\d{1,9})?[eE]\+?\d|-?\d{1,9}", text) and float(text).is_integer():
        return f"{float(text):.0f}"
    return ""


def _typed(text: str) -> str:
    """A value as its refusal quotes it."""
    return f"{text!s:.80}" or "''; is a variable not set?"


def either(words: tuple[str, ...]) -> str:
    """``a, b or c``."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def from_to(limits: Limits, option: str, text: str) -> tuple[Any, Any]:
    """Read a value within ``limits``, or A:B for one that goes from A to B; a `UsageError` names ``option``."""
    first, colon, last = text.partition(":")
    if colon and not (first and last):
        raise UsageError(f"{option} takes one value, or two as A:B, not {text!s:.80}")
    return limits.parse(option, first), limits.parse(option, last) if colon else None
