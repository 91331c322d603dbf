"""What of a text is no word of it, and is learned, too: tags, columns, a list's numbers, bullets, quotes, commas and blanks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from charrnn.text.corpus import Corpus
from charrnn.text.records import Records

_SEEN = 4096
"""How many characters tell it, from the beginning on."""
_PAGE = re.compile(r"(?is)\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html\b|html[\s>])")
_SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
_FEWEST_ROWS, _ALIKE = 10, 0.95
"""Lines are a table if there are so many and such a share of them has as many columns as the others."""
_FEW_LINES, _LONG_LINES = 3, 200
"""A list of so few lines, so long on average, is one whose entries stand in the lines."""
_MANY_BLANKS = 0.02
"""From this share on, records that end with blanks are told of."""
_NUMBERED = re.compile(r"[ \t]*(\d{1,9})(?:[^\w\s]+[ \t]*|[ \t]+)(?=.*[^\W\d_])")
_BULLETED = re.compile(r"[ \t]*([-*+\u2022\u2023\u25aa\u25cf\u25e6\u00b7\u2013\u2014])[ \t]+(?=\S)")
_QUOTED = re.compile(r'[ \t]*"(?:[^"\\]|\\.|"")*",?[ \t]*$')
_LATEST_START, _WIDEST_STEP = 1000, 3
"""Lines are numbered if their numbers rise from below this (years begin above it), by no more than so many a line: what is held
out is missing.
"""


def advise(corpus: Corpus) -> Iterator[str]:
    """A line for somebody who trains on a page of HTML, or on a list whose lines are rows of a table or end with blanks."""
    beginning = corpus.vocabulary.decode(corpus.ids[:_SEEN])
    lines = beginning.split("\n")[1:-1]
    if corpus.records is not None:
        of_entries = _of_rows(lines) or _of_entries(lines)
        yield from filter(None, (of_entries, _of_few_lines(corpus.records.facts, beginning), _of_blanks(lines)))
    if _PAGE.match(beginning):
        yield "this begins as a page of HTML, whose tags are learned, too; for its words alone save it as plain text"


def _of_few_lines(facts: Records, beginning: str) -> str | None:
    """What to say of a list of a few long lines, whose entries plainly are no lines."""
    if facts.count > _FEW_LINES or facts.mean_length < _LONG_LINES:
        return None
    lines = "1 line, which is one record" if facts.count == 1 else f"{facts.count} lines, each of which is one record"
    between = max((separator for separator in _SEPARATORS if separator != "\t"), key=beginning.count)
    apart = (
        f"if {_SEPARATORS[between]} are what is between its entries, this puts each on a line:"
        f" tr '{between}' '\\n' < FILE | sed 's/^ *//' > NEW"
    )
    if beginning.lstrip().startswith("["):
        apart = "of a JSON list of texts this puts each on a line: jq -r '.[]' FILE > NEW"
    return f"this list has {lines}, of {facts.mean_length:,.0f} characters on average; {apart}"


def _of_blanks(lines: Sequence[str]) -> str | None:
    """What to say of a list many of whose lines end with blanks, which nobody sees."""
    ending = [line for line in lines if line != line.rstrip(" \t")]
    if len(ending) < max(1, _MANY_BLANKS * len(lines)):
        return None
    return (
        f"{len(ending)} of the first {len(lines)} records end with blanks, which are learned, too: {ending[0]!r:.40} is another"
        " one than without them; of a plain list this takes them away: sed 's/[[:blank:]]*$//' FILE > NEW"
    )


def _of_rows(lines: Sequence[str]) -> str | None:
    """What to say of lines that are rows of a table, whose first column may number them."""
    if _are(_QUOTED, lines) or (found := _columns(lines)) is None:
        return None
    separator, count = found
    which, column = ("second", 2) if _counts_up([line.partition(separator)[0] for line in lines]) else ("first", 1)
    cut = f"cut -f {column}" if separator == "\t" else f"cut -d '{separator}' -f {column}"
    return (
        f"these lines are rows of a table, {count} columns with {_SEPARATORS[separator]} between, and are learned whole;"
        f" for the {which} column alone: {cut} FILE > NEW"
    )


def _of_entries(lines: Sequence[str]) -> str | None:
    """What to say of lines that begin with a number or a bullet each, or stand in quotes."""
    if _are(_NUMBERED, lines) and _counts_up([found[1] if (found := _NUMBERED.match(line)) else "" for line in lines]):
        what, program = "begin with their numbers", "sed -E 's/^[[:blank:]]*[0-9]+[^[:alnum:][:blank:]]*[[:blank:]]*//'"
    elif _are(_BULLETED, lines) and (found := _BULLETED.match(lines[0])) is not None:
        bullet = f"[{found[1]}]" if found[1].isascii() else found[1]
        what, program = "begin with bullets", f"sed 's/^[[:blank:]]*{bullet}[[:blank:]]*//'"
    elif _are(_QUOTED, lines):
        what, program = "stand in quotes", """sed 's/^[[:blank:]]*"//; s/",*[[:blank:]]*$//'"""
    elif lines and lines[0].strip() in ("[", "{"):
        return (
            "these are lines of one JSON value, each of which is learned as a record, names and signs, too; of a list of"
            " objects this takes one text of each: jq -r '.[].NAME' FILE > NEW"
        )
    else:
        return None
    return f"these lines {what}, which are learned, too: {lines[0]!r:.40}; without them: {program} FILE > NEW"


def _are(pattern: re.Pattern[str], lines: Sequence[str]) -> bool:
    """Whether lines are so many, and such a share of them alike, that what ``pattern`` finds is none of their words."""
    return len(lines) >= _FEWEST_ROWS and sum(map(bool, map(pattern.match, lines))) >= _ALIKE * len(lines)


def _counts_up(cells: Sequence[str]) -> bool:
    """Whether nearly all ``cells`` are numbers that count the lines."""
    numbers = [int(cell) for cell in cells if cell.strip().isdecimal()]
    if len(numbers) < max(2, _ALIKE * len(cells)) or numbers[0] >= _LATEST_START:
        return False
    rising = sum(one < other for one, other in pairwise(numbers))
    return rising >= _ALIKE * (len(numbers) - 1) and numbers[-1] - numbers[0] <= _WIDEST_STEP * len(numbers)


def _columns(lines: Sequence[str]) -> tuple[str, int] | None:
    """What separates the columns of lines, and how many there are; None if they are no rows of a table.

    A blank behind a comma is part of a name or a title.
    """
    if len(lines) < _FEWEST_ROWS:
        return None
    for separator in _SEPARATORS:
        counts = Counter(line.count(separator) for line in lines)
        usual, often = counts.most_common(1)[0]
        if usual and often >= _ALIKE * len(lines) and sum(f"{separator} " in line for line in lines) < 0.5 * len(lines):
            return separator, usual + 1
    return None
