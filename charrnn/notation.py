"""Numbers and characters as people read them, in plain text: what stderr's lines and the live display are made of.

Apart from `charrnn.report`, because rich's tables take a twentieth of a short command's time to import.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """``values`` as at most ``width`` block characters, neighbours averaged; the lowest value is the lowest block."""
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    means = []
    for column in range(count):
        part = values[column * len(values) // count : (column + 1) * len(values) // count]
        means.append(sum(part) / len(part))
    low, high = min(means), max(means)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((mean - low) * scale)] for mean in means)


def clock(seconds: float) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def visible(text: str) -> str:
    """``text`` with control characters (terminal escapes among them) as visible symbols; newlines and tabs stay."""
    shown = []
    for character in text:
        code = ord(character)
        if code < 32 and character not in "\n\t":
            shown.append(chr(0x2400 + code))
        elif 127 <= code < 160:
            shown.append("\u2421")
        else:
            shown.append(character)
    return "".join(shown)


def escaped(character: str) -> str:
    """One character for a column of a table: what has no shape of its own, and the backslash, as an escape of Python's.

    A name of several characters, which stands for a byte that is none, stays as it is.
    """
    if len(character) > 1:
        return character
    if character == "\\" or not (character.isprintable() or character.isspace()):
        return character.encode("unicode_escape").decode("ascii")
    return character if character == " " or not character.isspace() else repr(character)[1:-1]


SURPRISE_STYLES = ((1.0, "2", "dim"), (2.0, "0", "plain"), (4.0, "33", "yellow"), (6.0, "31", "red"))
"""Below so many bits a character has this SGR code; the colours are the terminal's own, legible on dark and light."""
SURPRISE_LEGEND = ", ".join(f"{name} below {bits:g}" for bits, _, name in SURPRISE_STYLES) + ", magenta above"


def surprise_style(bits: float) -> str:
    """The terminal's SGR code for a character that had so many bits of information, nothing of earlier codes left."""
    code = next((code for limit, code, _ in SURPRISE_STYLES if bits < limit), "1;35")
    return code if code == "0" else f"0;{code}"


def bar(share: float, width: int = 6) -> str:
    """A share of 0 to 1 as a bar of ``width`` characters, to an eighth of one."""
    eighths = round(min(max(share, 0.0), 1.0) * 8 * width)
    return ("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8]).strip().ljust(width)[:width]


def json_line(record: Mapping[str, Any]) -> str:
    """A record as one line of JSON. A file's name that is no UTF-8 keeps its odd bytes as lone surrogates, as in Python."""
    line = json.dumps(record, ensure_ascii=False)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(record)
    return line + "\n"


def gradient_line(event: Mapping[str, Any]) -> str:
    """What an ``eval`` event tells about gradients."""
    if event.get("grad_norm") is None:
        return ""
    reach = event.get("gradient_reach")
    far = "not vanishing in the text watched" if reach is None else f"vanishing within {reach} characters"
    return f"gradient norm {event['grad_norm']:.2f} before clipping, {event['clipped']:.0%} of steps clipped, {far}"
