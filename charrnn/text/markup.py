"""What of a text is no word of it, and is learned, too: tags, columns, a list's numbers, bullets, quotes, commas, blanks, SQL,
the headers of sequences, a second way to write an é.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from charrnn.text import canonical
from charrnn.text.corpus import Corpus
from charrnn.text.records import Records

_SEEN = 4096
"""How many characters tell it, from the beginning on."""
_PAGE = re.compile(r"(?is)\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html\b|html[\s>])")
_XML = re.compile(r"\s*<\?xml\b")
_STRING = r"""\"(?:[^"\\]|\\.)*"\s*"""
_JSON = re.compile(rf"""\s*(?:(?:\[\s*)?\{{\s*{_STRING}:|\[\s*{_STRING},\s*")""")
_NAMED_TEXT = re.compile(r'"([A-Za-z_][A-Za-z_0-9]*)"\s*:\s*"((?:[^"\\]|\\.)*)"')
_SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
_FEWEST_ROWS, _ALIKE = 10, 0.95
"""Lines are a table if there are so many and such a share of them has as many columns as the others."""
_FEW_LINES, _LONG_LINES = 3, 200
"""A list of so few lines, so long on average, is one whose entries stand in the lines."""
_MANY_BLANKS = 0.02
"""From this share on, records that end with blanks are told of."""
_NUMBERED = re.compile(r"[ \t]*(\d{1,9})(?:[^\w\s]+[ \t]*|[ \t]+)(?=.*[^\W\d_])")
_BULLETED = re.compile(r"[ \t]*([-*+\u2022\u2023\u25aa\u25cf\u25e6\u00b7\u2013\u2014])[ \t]+(?=\S)")
_QUOTED = re.compile(r"""[ \t]*(?:"(?:[^"\\]|\\.|"")*"|'(?:[^'\\]|\\.|'')*'),?[ \t]*$""")
_TAGGED = re.compile(r"[ \t]*</?[A-Za-z][^<>]*>(?:.*>)?[ \t]*$")
_SQL = re.compile(r"(?im)^INSERT INTO\b")
_SEQUENCES = re.compile(r"(?:>.*\n(?:[A-Za-z*-]+\n)+)+(?:>.*)?$")
_DIFFERENT = 0.5
"""A column whose values are at least such a share of the rows names them, unlike one of kinds."""
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_COMPOSING = """python3 -c 'import sys, unicodedata as u; sys.stdout.write(u.normalize("NFC", sys.stdin.read()))'"""
_LATEST_START, _WIDEST_STEP = 1000, 3
"""Lines are numbered if their numbers rise from below this (years begin above it), by no more than so many a line: what is held
out is missing.
"""


def advise(corpus: Corpus) -> Iterator[str]:
    """A line for somebody who trains on HTML, XML or JSON, or on a list whose lines are rows of a table or end with blanks."""
    beginning = corpus.vocabulary.decode(corpus.ids[:_SEEN])
    lines = beginning.split("\n")[1:-1]
    if corpus.records is not None:
        facts = corpus.records.facts
        told = _of_languages(beginning, lines) or _of_rows(lines) or _of_entries(lines) or _of_few_lines(facts, beginning)
        yield from filter(None, (told, _of_blanks(lines)))
    if (corpus.records is None or _PAGE.match(beginning)) and (told := _of_document(beginning)):
        yield told
    if (told := _of_forms(beginning, corpus.vocabulary.characters)) is not None:
        yield told


def _of_document(beginning: str) -> str | None:
    """What to say of a text that is written for a program."""
    if _PAGE.match(beginning):
        return "this begins as a page of HTML, whose tags are learned, too; for its words alone save it as plain text"
    if _XML.match(beginning):
        return "this begins as XML, whose tags are learned, too; without them: sed 's/<[^>]*>//g' FILE > NEW"
    line, _, rest = beginning.lstrip().partition("\n")
    if not _JSON.match(beginning) or (rest.strip() and _is_whole(line)):
        return None
    lengths: dict[str, list[int]] = {}
    for name, text in _NAMED_TEXT.findall(beginning):
        lengths.setdefault(name, []).append(len(text))
    said = "this begins as JSON, whose names and signs are learned, too"
    if not lengths:
        return f"{said}; its texts alone: jq -r '.. | strings' FILE > NEW"
    longest = max(lengths, key=lambda name: sum(lengths[name]) / len(lengths[name]))
    return f"{said}; what it calls {longest} alone: jq -r '.. | .{longest}? | strings' FILE > NEW"


def _is_whole(line: str) -> bool:
    """Whether a line is a value of JSON by itself, as in JSON lines, of which is told where they are read."""
    try:
        return json.loads(line) is not None
    except ValueError:
        return False


def _of_forms(beginning: str, known: str) -> str | None:
    """What to say of a text that writes one character as one code point and as several."""
    for piece in canonical.pieces("" if beginning.isascii() else beginning):
        composed = unicodedata.normalize("NFC", piece)
        if composed != piece and len(composed) == 1 and composed in known:
            return (
                f"some characters are written in two ways, which are learned as two: {composed!r} as one, and as {piece[0]!r}"
                f" with a mark behind it; this makes them one: {_COMPOSING} < FILE > NEW"
            )
    return None


def _of_languages(beginning: str, lines: Sequence[str]) -> str | None:
    """What to say of lines that are written for a program: SQL, tags, sequences with their headers."""
    if _SQL.search(beginning):
        of_quoted = """grep -o "'[^']*'" FILE | tr -d "'" > NEW"""
        return f"this is SQL, whose statements are learned, too; save one column as lines; of all in quotes: {of_quoted}"
    if _are(_TAGGED, lines):
        return "these lines stand in tags, which are learned, too; without them: sed 's/<[^>]*>//g' FILE > NEW"
    if len(lines) >= _FEWEST_ROWS and _SEQUENCES.match("".join(f"{line}\n" for line in lines)):
        joined = """awk '/^>/ {if (s) print s; s = ""; next} {s = s $0} END {print s}' FILE > NEW"""
        return f"these lines are FASTA, whose headers and broken lines are records, too; with a sequence on each: {joined}"
    return None


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
    """What to say of lines that are rows of a table: the column is told that is likeliest to be what they name."""
    if _are(_QUOTED, lines) or (found := _columns(lines)) is None:
        return None
    separator, count = found
    column = _naming([line.split(separator) for line in lines if line.count(separator) == count - 1]) + 1
    which = _ORDINALS[column - 1] if column <= len(_ORDINALS) else f"{column}th"
    cut = f"cut -f {column}" if separator == "\t" else f"cut -d '{separator}' -f {column}"
    return (
        f"these lines are rows of a table, {count} columns with {_SEPARATORS[separator]} between, and are learned whole;"
        f" for the {which} column alone: {cut} FILE > NEW"
    )


def _naming(rows: Sequence[Sequence[str]]) -> int:
    """Which column of ``rows`` has names in it: the first of words, if possible of different ones; else the first that doesn't
    count the rows.
    """
    columns = [[cell.strip() for cell in cells] for cells in zip(*rows, strict=True)]
    words = [at for at, cells in enumerate(columns) if sum(map(_wordy, cells)) >= _ALIKE * len(cells)]
    several = [at for at in words if len(set(columns[at])) >= _DIFFERENT * len(rows)]
    return next(iter(several or words), int(_counts_up(columns[0])))


def _wordy(cell: str) -> bool:
    """Whether a cell has letters, and no more digits."""
    return sum(map(str.isalpha, cell)) >= max(1, sum(map(str.isdigit, cell)))


def _of_entries(lines: Sequence[str]) -> str | None:
    """What to say of lines that begin with a number or a bullet each, or stand in quotes."""
    if lines and lines[0].strip() in ("[", "{"):
        return (
            "these are lines of one JSON value, each of which is learned as a record, names and signs, too; of a list of"
            " objects this takes one text of each: jq -r '.[].NAME' FILE > NEW"
        )
    kinds = {_NUMBERED: "begin with their numbers", _BULLETED: "begin with bullets", _QUOTED: "stand in quotes"}
    for pattern, what in kinds.items():
        matches = [found for line in lines if (found := pattern.match(line))]
        if not _are(pattern, lines) or (pattern is _NUMBERED and not _counts_up([found[1] for found in matches])):
            continue
        shown, bare = matches[0].string, _BARE[pattern](matches[0])
        return f"these lines {what}, which are learned, too: {shown!r:.40}; without them: {bare} FILE > NEW"
    return None


def _without_numbers(_: re.Match[str]) -> str:
    return "sed -E 's/^[[:blank:]]*[0-9]+[^[:alnum:][:blank:]]*[[:blank:]]*//'"


def _without_bullets(found: re.Match[str]) -> str:
    bullet = f"[{found[1]}]" if found[1].isascii() else found[1]
    return f"sed 's/^[[:blank:]]*{bullet}[[:blank:]]*//'"


def _without_quotes(found: re.Match[str]) -> str:
    if found[0].lstrip(" \t").startswith('"'):
        return """sed 's/^[[:blank:]]*"//; s/",*[[:blank:]]*$//'"""
    return """sed "s/^[[:blank:]]*'//; s/',*[[:blank:]]*$//\""""


_BARE = {_NUMBERED: _without_numbers, _BULLETED: _without_bullets, _QUOTED: _without_quotes}
"""The command that takes away what a line begins with, or stands in."""


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
    found = []
    for separator in _SEPARATORS:
        counts = Counter(line.count(separator) for line in lines)
        usual, often = counts.most_common(1)[0]
        punctuates = separator != "\t" and sum(f"{separator} " in line for line in lines) >= 0.5 * len(lines)
        if usual and often >= _ALIKE * len(lines) and not punctuates:
            found.append((separator, usual + 1))
    return max(found, key=lambda one: one[1], default=None)  # Prices, too, have a comma.
