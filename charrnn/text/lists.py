"""Whether a text is plainly a list: names, words, titles, molecules, lines of a log; one entry a line.

A list in alphabetical order, or a log, is no text whose end is like its beginning, and a network that reads it as one learns
too little of it. Only what is plainly a list is called one: prose, verse, plays, code, chats, tables and markup are not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

FEWEST_LINES = 20
LONGEST_LINE = 200
"""In a list half of the lines are no longer than this."""

_STAMP = re.compile(
    r"[\[(<]?(?:\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{2,4}|[A-Z][a-z]{2} +\d{1,2}|\d\d?:\d\d)"
    r"(?:,? *(?:at )?T?\d\d?:\d\d)?(?::\d\d)?(?:[.,]\d{3,9}\b)?(?: ?[AP]M)?(?:Z| ?[+-]\d\d:?\d\d)?[\])>]?(?: -)? *"
)
"""A date or time, as lines of logs and chats begin with one."""
_LEVEL = re.compile(r"\b(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b|\w\[\d+\]: |\"(?:GET|POST|HEAD|PUT) ")
_LEADING_LEVEL = re.compile(r"\W?(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b")
_ACCESS = re.compile(r"\S+ \S+ \S+ \[\d\d?/\w{3}/\d{4}:")
_SPEAKER = re.compile(
    r"<[^<>]{1,40}> |\* |-!- |(?:[~\s\u200e\u200f\u202a]*(?:[^\W\d]|[^\x00-\x7f])(?:[\w .'()@&+-]|[^\x00-\x7f]){0,30}"
    r"|[\u202a\u200e]?\+[\d\s()\u2010\u2011-]{6,20}\u202c?)(?::(?: |$)| \| )"
)
"""A name, with signs too, or the number of a telephone, as speakers in chats have them."""
_DELIMITER = re.compile(r"[\t;|]|,(?! [^\W\d_])")
_SENTENCE_END = re.compile(r"[.,;:!?…—\-{}()\[\]>\\\"'”’»。，、；：！？」』”]$")
_CLAUSE = re.compile(r"\w[\"'”’)]?[.,;:!?] |[。，、；：！？]")
_CODE = re.compile(r" (?:[-+*/|&<>=!:]?=|=>|->|\|\||&&) |^(?:#|//|/\*|--|import |from |def |class |return\b|<[a-zA-Z/!?])")
_MARKUP = re.compile(r"#{1,6} |[-*+>] |\d+[.)] |```|~~~|\||={3,}|-{3,}|!?\[[^\]]*\]\(|\\[a-z]+")


def is_list(lines: Sequence[str]) -> bool:
    """Whether lines, without their ends, are plainly the entries of a list.

    A list has at least 20 lines, hardly any of them blank or indented (2 % each), and half of them have at most 200
    characters. It is one of these:

    * a log: nine lines in ten begin with a date, a time or a level (INFO), and are not the lines of a table or of speakers;
    * entries: at most one line in ten ends as sentences, clauses or code do, at most one in ten looks like code, and one in
      twenty like markup; few hold delimiters, or the same number of commas (a table), or begin with a speaker's name and a
      colon; nor are they running text: lines of five words and more with punctuation within, or of nearly one length.
    """
    filled = [line for line in lines if line.strip()]
    if len(filled) < FEWEST_LINES or len(filled) < 0.98 * len(lines):
        return False
    if _share(filled, lambda line: line[0].isspace()) > 0.02:
        return False
    if sorted(map(len, filled))[len(filled) // 2] > LONGEST_LINE:
        return False
    return _is_log(filled) or _are_entries(filled)


def _is_log(lines: Sequence[str]) -> bool:
    if _share(lines, lambda line: bool(_ACCESS.match(line) or _LEADING_LEVEL.match(line))) >= 0.9:
        return True
    stamps = [_STAMP.match(line) for line in lines]
    if sum(stamp is not None for stamp in stamps) < 0.9 * len(lines):
        return False
    rests = [line[stamp.end() :] if stamp else line for line, stamp in zip(lines, stamps, strict=True)]
    if _share(rests, lambda rest: not rest or bool(re.match(r"[\t,;|]", rest))) > 0.1:
        return False
    return _share(rests, lambda rest: _LEVEL.search(rest) is not None) >= 0.5 or (
        _share(rests, lambda rest: _SPEAKER.match(rest) is not None) < 0.3
        and _share(rests, lambda rest: len(rest.split()) >= 2) > 0.5
    )


def _are_entries(lines: Sequence[str]) -> bool:
    return not (
        _share(lines, lambda line: _SENTENCE_END.search(line) is not None and not _is_closed(line)) > 0.1
        or _share(lines, lambda line: _CODE.search(line) is not None) > 0.1
        or _share(lines, lambda line: _MARKUP.match(line) is not None) > 0.05
        or _share(lines, lambda line: _STAMP.match(line) is not None) > 0.5
        or _share(lines, lambda line: _SPEAKER.match(line) is not None) > 0.3
        or _is_table(lines)
        or _is_running(lines)
    )


def _is_closed(line: str) -> bool:
    """Whether a last bracket closes one within the line, as in titles with a year and in molecules."""
    return line[-1] in ")]" and line.count("(") + line.count("[") >= line.count(")") + line.count("]")


def _is_table(lines: Sequence[str]) -> bool:
    if _share(lines, lambda line: _DELIMITER.search(line) is not None) > 0.5:
        return True
    commas, often = Counter(line.count(",") for line in lines).most_common(1)[0]
    return commas >= 2 and often >= 0.9 * len(lines)


def _is_running(lines: Sequence[str]) -> bool:
    """Prose broken into lines, and verse."""
    lengths = sorted(map(len, lines))
    long = lengths[int(0.95 * (len(lengths) - 1))]
    full = sum(length >= 0.85 * long for length in lengths) / len(lengths)
    if full >= 0.9 and long >= 50:
        return True
    if _share(lines, lambda line: re.search(r"[。，、；：！？]", line) is not None) > 0.3:
        return True
    words = sum(len(line.split()) for line in lines) / len(lines)
    return words >= 5 and (full >= 0.5 or _share(lines, lambda line: _CLAUSE.search(line) is not None) > 0.4)


def _share(lines: Sequence[str], holds: Callable[[str], bool]) -> float:
    return sum(map(holds, lines)) / len(lines)
