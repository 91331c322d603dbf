"""What of a text is no word of it, and is learned, too: tags, columns, blanks at ends of lines, a list's commas."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

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


def advise(corpus: Corpus) -> Iterator[str]:
    """A line for somebody who trains on a page of HTML, or on a list whose lines are rows of a table or end with blanks."""
    beginning = corpus.vocabulary.decode(corpus.ids[:_SEEN])
    if corpus.records is not None and (found := _columns(beginning.split("\n")[1:-1])) is not None:
        separator, count = found
        cut = "cut -f 1" if separator == "\t" else f"cut -d '{separator}' -f 1"
        yield (
            f"these lines are rows of a table, {count} columns with {_SEPARATORS[separator]} between, and are learned whole;"
            f" for the first column alone: {cut} FILE > NEW"
        )
    if corpus.records is not None and (line := _of_few_lines(corpus.records.facts, beginning)) is not None:
        yield line
    if corpus.records is not None and (line := _of_blanks(beginning.split("\n")[1:-1])) is not None:
        yield line
    if _PAGE.match(beginning):
        yield "this begins as a page of HTML, whose tags are learned, too; for its words alone save it as plain text"


def _of_few_lines(facts: Records, beginning: str) -> str | None:
    """What to say of a list of a few long lines, whose entries plainly are no lines."""
    if facts.count > _FEW_LINES or facts.mean_length < _LONG_LINES:
        return None
    lines = "1 line, which is one record" if facts.count == 1 else f"{facts.count} lines, each of which is one record"
    apart = "if commas are what is between its entries, this puts each on a line: tr ',' '\\n' < FILE | sed 's/^ *//' > NEW"
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
