"""Numbers, characters and records as plain text.

No rich here: importing it takes a twentieth of a short command's time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
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


def size_in_words(count: float) -> str:
    """So many bytes in their largest decimal unit: ``1.2 GB``."""
    unit, size = next(((unit, size) for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)) if count >= size), ("bytes", 1))
    return f"{count / size:.1f} {unit}" if size > 1 and count < 10 * size else f"{count / size:,.0f} {unit}"


def age(seconds: float) -> str:
    """A time in its largest whole unit: ``2 minutes``."""
    units = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
    unit, size = next((unit for unit in units if seconds >= unit[1]), units[-1])
    count = int(seconds // size)
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


_BREAKS = "\n\t\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}"


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


def on_one_line(text: str) -> str:
    """A name as a cell of a table shows it: `visible`, with line breaks and tabs as Python's escapes."""
    return "".join(repr(character)[1:-1] if character in _BREAKS else character for character in visible(text))


def escaped(character: str) -> str:
    """One character for a column of a table: a backslash, and whatever has no shape of its own, as Python's escape.

    A name of several characters stands for a byte that is no character; it stays as it is.
    """
    if len(character) > 1:
        return character
    if character == "\\" or not (character.isprintable() or character.isspace()):
        return character.encode("unicode_escape").decode("ascii")
    return character if character == " " or not character.isspace() else repr(character)[1:-1]


def bar(share: float, width: int = 6) -> str:
    """A share of 0 to 1 as a bar of ``width`` characters, to an eighth of one."""
    eighths = round(min(max(share, 0.0), 1.0) * 8 * width)
    return ("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8]).strip().ljust(width)[:width]


def json_line(record: Mapping[str, Any]) -> str:
    """A record as one line of JSON. Bytes of a file's name that aren't UTF-8 become lone surrogates, as in Python."""
    line = json.dumps(record, ensure_ascii=False)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(record)
    return line + "\n"


def gradient_line(event: Mapping[str, Any]) -> str:
    """What an ``eval`` event says about gradients; empty where it says nothing."""
    if event.get("grad_norm") is None:
        return ""
    reach = event.get("gradient_reach")
    far = "gradient not below 1% in the text watched" if reach is None else f"gradient below 1% after {reach} characters"
    return f"gradient norm {event['grad_norm']:.2f} before clipping, {event['clipped']:.0%} of steps clipped, {far}"


def three_digits(value: float) -> str:
    """A measured figure with three significant digits; the others would mean nothing."""
    digits = 3 - len(str(int(abs(value))))
    return f"{round(value, digits):,.0f}" if digits <= 0 else f"{value:.{digits}f}"


def bench_heading(machine: Mapping[str, Any]) -> str:
    """The machine and the libraries that the figures of `charrnn bench` belong to, in a line."""
    used = "" if machine["threads"] == machine["cores"] else f"{machine['threads']} of "
    cores = f"{used}{machine['cores']} cores"
    variables = "".join(f", {name}={value}" for name, value in machine["environment"].items())
    return f"{machine['processor']}, {cores}, torch {machine['torch']}, NumPy {machine['numpy']}{variables}\n"


# -- scores ------------------------------------------------------------------------------------------------------------


def score_sentence(record: Mapping[str, Any]) -> str:
    """A text's score as one line."""
    return f"charrnn: {score_clause(record)}"


def score_clause(record: Mapping[str, Any]) -> str:
    """A text's score, after its name."""
    return f"{record['file']}: {_bits(record['bits_per_char'])} bits/char over {plural(record['characters'], 'character')}"


def unadapted_sentence(bits: float) -> str:
    """What a text would have cost a network that hadn't learned from it."""
    return f"without adapting {_bits(bits)} bits/char"


def unknown_sentence(count: int, strangers: Iterable[str]) -> str:
    """How the characters were counted that the network doesn't know."""
    named = " ".join(map(repr, sorted(strangers)[:8]))
    what, were, are = ("character", "was", "is") if count == 1 else ("characters", "were", "are")
    return f"{count:,} {what} that the network doesn't know ({named}) {were} read as its unknown character and {are} in no sum"


def mapped_sentence(count: int) -> str:
    """How many characters were read in another form of the same."""
    what, were = ("character", "was") if count == 1 else ("characters", "were")
    return f"{count:,} {what} {were} read in the form that the network knows, composed or decomposed"


def line_row(record: Mapping[str, Any], *, raw: bool) -> str:
    """The score of a line, tab-separated: bits per character with those of unknown ones; bits, characters; unknown ones, where
    it stands, its text.
    """
    fields = (_bits(record["surprise"]), f"{record['bits']:.3f}", record["characters"], record["unknown"], place(record))
    return "\t".join(map(str, fields)) + f"\t{record['text'] if raw else visible(record['text'])}\n"


def place(record: Mapping[str, Any]) -> str:
    """Where a line stands: its number, after the file's name where there are several files."""
    return f"{on_one_line(record['file'])}:{record['line']}" if "file" in record else f"{record['line']}"


def character_row(record: Mapping[str, Any]) -> str:
    """The score of a character, tab-separated: the character, its bits, its rank, the likeliest in its place."""
    rank = "-" if record["bits"] is None else str(record["rank"])
    return "\t".join([escaped(record["char"]), _bits(record["bits"]), rank, *map(escaped, record["likeliest"])]) + "\n"


def next_row(record: Mapping[str, Any]) -> str:
    """A character and its probability, tab-separated."""
    return f"{escaped(record['char'])}\t{record['probability']:.6f}\n"


def _bits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def total(step: Mapping[str, Any], before: str) -> str:
    """The steps at the end of a run after the word ``before``; nothing while a ``step`` event can't estimate them."""
    return f"{before}{step['steps']:,}" if step.get("steps_settled", True) else ""


def at_the_end(step: Mapping[str, Any], end: Mapping[str, Any]) -> dict[str, Any]:
    """The last ``step`` event as it would be at the ``end``: there are some steps behind the last one that was told."""
    told = {"step": end["step"], "seconds": end["seconds"], "epoch": end["epochs"]}
    told |= {name: end[name] for name in ("characters_read",) if name in end and name in step}
    finished = {"done": 1.0, "steps": end["step"], "steps_settled": True} if end["reason"] == "finished" else {}
    return {**step, **told, **finished}


def read_so_far(step: Mapping[str, Any]) -> str:
    """How much a ``step`` event says was read: passes over the text, or characters where the run won't come to one pass."""
    characters = step.get("characters_read")
    if characters is None or step["epoch"] >= max(step.get("done", 1), 1e-9):
        return f"epoch {step['epoch']:.2f}"
    return f"{count_in_words(characters)} characters"


def count_in_words(count: int) -> str:
    """A number with three digits: ``12,300``, ``1.23 million``, ``12.3 billion``."""
    for word, size in (("billion", 10**9), ("million", 10**6)):
        if count >= size:
            return f"{three_digits(count / size)} {word}"
    return f"{count:,}"


def yardsticks_clause(facts: Mapping[str, Any]) -> str:
    """What a text takes without a network, as in ``xz 2.61, letters alone 4.78``; empty where neither is told."""
    told = (("xz", facts.get("xz_bits_per_char")), ("letters alone", facts.get("unigram_bits_per_char")))
    return ", ".join(f"{name} {bits:.2f}" for name, bits in told if bits is not None)


def list_in_words(facts: Mapping[str, Any]) -> str:
    """The list of `charrnn.text.records.Records.to_json` in words."""
    held_out = f"{facts['held_out']:,} held out"
    if facts["val_lines"] is not None:
        twins = f", {facts['twins']:,} of which are in the list, too" if facts["twins"] else ""
        held_out += f" (the lines of {on_one_line(facts['val_lines'])}{twins})"
    more = [held_out]
    if facts["duplicates"]:
        more.append(f"{facts['duplicates']:,} that repeat another")
    more.append(f"{facts['mean_length']:,.1f} characters on average, the longest {facts['longest']:,}")
    if facts["blank"]:
        more.append(f"blank lines skipped: {facts['blank']:,}")
    return f"{facts['count']:,} {'record' if facts['count'] == 1 else 'records'}, {', '.join(more)}"


def networks_record(networks: Sequence[Any]) -> dict[str, list[str]]:
    """Which networks a figure is of, where there are several: ``networks``, the paths of their checkpoints."""
    return {"networks": [str(network.path) for network in networks]} if len(networks) > 1 else {}


def calibration_in_words(facts: Mapping[str, Any]) -> str:
    """The calibration of a checkpoint in words."""
    return f"temperature {facts['temperature']:.3f}"


def adaptation_in_words(facts: Mapping[str, Any]) -> str:
    """What a network has adapted to since its training."""
    return f"to {facts['characters']:,} characters of {on_one_line(facts['text'])}"


def census_sentence(count: int, known: int, repeated: int, name: str) -> str:
    """How many records stand in a list, and how many came before."""
    repeat = f"{repeated:,} repeat{'s' * (repeated == 1)} an earlier one"
    return f"{plural(count, 'record')}: {known:,} stand{'s' * (known == 1)} in {name}, {repeat}"


def dropped_sentence(kept: int, repeated: int, listed: int, names: Sequence[str]) -> str:
    """What became of the lines that were drawn."""
    lists = f", {listed:,} dropped that stand in {', '.join(names)}" if names else ""
    return f"{plural(kept + repeated + listed, 'line')} drawn, {kept:,} kept, {repeated:,} dropped that came before{lists}"


BLANK = "--temp 0 takes the likeliest character, here a space or a newline each time; begin with a prompt: -p TEXT"
"""What there is to say of a greedy text of which nothing is seen."""


def cut_sentence(cut: int, count: int, limit: int) -> str:
    """How many records were ended by --length, and how to get whole ones that are so short."""
    whole = f"of whole ones the short are kept, without --length, by: | grep -xE '.{{1,{limit}}}'"
    return f"{cut:,} of {plural(count, 'record')} {'is' if cut == 1 else 'are'} cut at {plural(limit, 'character')}; {whole}"


def records_sentence(count: int, bits: float) -> str:
    """What records cost on average."""
    return f"{plural(count, 'record')}, {bits:,.2f} bits each"


def plural(count: int, noun: str) -> str:
    """So many of what the ``noun`` names."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
