"""Labelled texts, row by row: TSV, CSV, JSON lines, or a directory with a file of lines for each label."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charrnn import CharrnnError, files
from charrnn.text import sources
from charrnn.text.reading import TextReader
from charrnn.text.rows import QUOTED, SAID, columns_of, in_quotes, listed, no_object, why_not

TEXT_NAMES = ("text", "sentence", "utterance", "query", "message")
LABEL_NAMES = ("label", "intent", "category", "class", "target")
PART_NAMES = ("part", "split")
"""What a header may call the columns, in small letters; a column of parts need not be there."""
PERHAPS_PARTS = ("set", "subset", "dataset", "data_set", "partition", "fold")
"""What a column of parts may be called, too, if the first row's cell is one."""
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
JUDGED = 10_000
"""So many rows decide which of two columns without a header holds the labels."""
FEWEST = 10
"""So many rows are needed to see that the first one is a heading."""
_JSON, _TABS = (".jsonl", ".ndjson", ".json"), (".tsv", ".tab")
_SEPARATORS = "\t,;|"
_PEEKED = 50
"""So many lines are looked at to see what stands between their columns."""
_RULE = re.compile(r"\s*:?-*:?\s*")
"""A cell of the line below the heading of a table in Markdown."""
_HALVES = re.compile("[\ud800-\udfff]")

Numbered = tuple[int, list[str]]
"""A line's number and its cells."""


@dataclass(frozen=True)
class Row:
    """A text with its label; ``part`` is train, val or test where the file has a column that says so, else empty."""

    text: str
    label: str
    part: str = ""


class LabelledTexts:
    """The rows of one source, read once, as they come.

    After that ``without_text`` says how many rows had none and were left out, ``respelled`` which labels were taken for others
    that differ from them in white space alone, ``capitals`` which differ from others in these alone, ``quoted`` how
    many texts of TSV stand in quotes, and ``heading`` a first line that was taken for one, though it names no known column.
    """

    def __init__(self, path: str, reader: TextReader, known: Container[str] = ()) -> None:
        """``known`` are labels by which their column is recognised where no header names it."""
        self.path, self.name = path, sources.shown(path)
        self.without_text = self.quoted = 0
        self.heading: list[str] | None = None
        self.respelled: dict[str, str] = {}
        self.capitals: dict[str, str] = {}
        self._spelled: dict[str, str] = {}
        self._reader, self._known = reader, known

    def __iter__(self) -> Iterator[Row]:
        """Raise `CharrnnError`, naming the line, for a row that has no label or too many columns."""
        for where, text, label, part in self._found():
            text, plain = text.strip(), " ".join(label.split())
            if not plain:
                raise CharrnnError(f"{where}: no label; give it one, or take the row out")
            if plain != label:
                self.respelled[label] = plain
            if (first := self._spelled.setdefault(plain.casefold(), plain)) != plain:
                self.capitals[plain] = first
            if part and part.strip().lower() not in PARTS:
                raise CharrnnError(f"{where}: part {part!r:.40}; it must be train, val or test")
            if text:
                yield Row(text, plain, PARTS[part.strip().lower()] if part else "")
            else:
                self.without_text += 1

    def tell(self, warn: Callable[[str], None]) -> None:
        """Say what was left out or read otherwise than it stands there."""
        if self.heading is not None:
            warn(f"{self.name}: the first line names the columns, it seems, and is no text: {', '.join(self.heading):.80}")
        if self.without_text:
            none = (
                "1 row has no text and was" if self.without_text == 1 else f"{self.without_text:,} rows have no text and were"
            )
            warn(f"{self.name}: {none} left out")
        if self.quoted:
            warn(f"{self.name}: {in_quotes(self.quoted)}")
        if self.respelled:
            shown = ", ".join(f"{label!r} as {plain!r}" for label, plain in itertools.islice(self.respelled.items(), 3))
            more = ", ..." if len(self.respelled) > 3 else ""
            warn(f"{self.name}: white space in labels doesn't count: {shown:.200}{more}")
        if self.capitals:
            shown = ", ".join(f"{label!r} and {first!r}" for label, first in itertools.islice(self.capitals.items(), 3))
            more = ", ..." if len(self.capitals) > 3 else ""
            warn(f"{self.name}: capitals in labels count, these are different ones: {shown:.200}{more}")

    def _found(self) -> Iterator[tuple[str, str, str, str]]:
        """Where each row stands, its text, its label and its part."""
        if self.path != sources.STDIN and sources.is_directory(self.path):
            yield from self._directory()
            return
        lines = self._lines(self.path)
        seen = list[str]()
        first = next((line for line in lines if seen.append(line) or line.strip()), None)  # type: ignore[func-returns-value]
        if first is None:
            return
        ending = re.sub(r"\.(gz|bz2|xz)$", "", self.path.lower())
        if ending.endswith(_JSON) or (not ending.endswith((*_TABS, ".csv")) and first.lstrip().startswith(("{", "["))):
            yield from self._json(itertools.chain(seen, lines))
            return
        if ending.endswith(_TABS):
            separator = "\t"
        elif said := SAID.fullmatch(first.strip()):
            separator, seen[-1] = said[1], ""
        else:
            seen += itertools.islice(lines, _PEEKED)
            separator = self._separator(first, seen, ",;\t|" if ending.endswith(".csv") else _SEPARATORS)
        lines = itertools.chain(seen, lines)
        found = _split(lines) if separator == "\t" else _parsed(lines, separator, self.name)
        yield from self._columns(found, separator)

    def _lines(self, path: str) -> Iterator[str]:
        with files.guard(sources.shown(path)):
            yield from self._reader.lines(sources.blocks(path), sources.shown(path))

    def _directory(self) -> Iterator[tuple[str, str, str, str]]:
        needed = "for each label it needs a file with a text on each line, as"
        for path in sources.text_files([self.path], self._reader.warn, instead=f"{needed} spam.txt"):
            label = sources.stem(path)
            if (folder := Path(path).parent) != Path(self.path):
                raise CharrnnError(
                    f"{self.name}: {sources.shown(str(Path(path).relative_to(self.path)))} lies deeper in it; {needed}"
                    f" {sources.shown(folder.name)}.txt"
                )
            yield from ((path, line, label, "") for line in self._lines(path) if line.strip())

    def _separator(self, first: str, some: Sequence[str], order: str) -> str:
        """What stands between the columns: what ``some`` lines have once each, or else what the first one has at all."""
        there = [separator for separator in order if separator in first]
        if not there:
            raise CharrnnError(
                f"{self.name}: line 1: one column; a text and its label stand side by side, a tab or comma between"
            )
        return next((separator for separator in there if _are_two(some, separator)), there[0])

    def _json(self, lines: Iterator[str]) -> Iterator[tuple[str, str, str, str]]:
        parts: list[str] | None = None
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{self.name}: line {number}"
            try:
                record: Any = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise CharrnnError(f"{where}: {no_object(line)}") from error
            if not isinstance(record, dict):
                raise CharrnnError(f"{where}: {no_object(line)}")
            parts = _part_names(record) if parts is None else parts
            text, label, part = (_named(record, names) for names in (TEXT_NAMES, LABEL_NAMES, parts))
            if text is _ABSENT or label is _ABSENT:
                raise CharrnnError(f"{where}: needs a string `text` and a `label`; it has {listed(record)}")
            text, label = ("" if value is None else value for value in (text, label))
            if not isinstance(text, str):
                raise CharrnnError(f"{where}: the text is {json.dumps(text):.40}; it must be a string")
            if not isinstance(label, str | int):
                raise CharrnnError(f"{where}: the label is {json.dumps(label):.40}; it must be a string or a whole number")
            label = label if isinstance(label, str) else json.dumps(label)  # true, not True.
            part = "" if part is _ABSENT or part is None else str(part)
            yield where, self._whole(text, where), self._whole(label, where), part

    def _whole(self, value: str, where: str) -> str:
        """A string of JSON without halves of characters, which its escapes may hold."""
        if found := _HALVES.search(value):
            if self._reader.encoding.errors == "strict":
                half = f"half of a character (\\u{ord(found[0]):04x})"
                raise CharrnnError(f"{where}: {half} in it; --errors replace goes on with U+FFFD")
            value = _HALVES.sub("\ufffd", value)
        return value

    def _columns(self, rows: Iterator[Numbered], separator: str) -> Iterator[tuple[str, str, str, str]]:
        number, cells = next(rows)
        header = [cell.strip().lower() for cell in cells]
        text, label = (_column(header, names) for names in (TEXT_NAMES, LABEL_NAMES))
        if len(header) == 2 and len({"text", "label"} & set(header)) == 1:  # A name of its own for the other column.
            text = header.index("text") if "text" in header else 1 - header.index("label")
            label = 1 - text
        if text is not None and label is not None:
            first = list(itertools.islice(rows, 1))
            parts = _part_names(dict(zip(header, first[0][1], strict=False)) if first else {})
            columns, part = len(header), _column(header, parts)
            if twice := [header[place] for place in (text, label) if header.count(header[place]) > 1]:
                raise CharrnnError(f"{self.name}: line {number}: two columns are called {twice[0]!r}; rename one")
            rows = itertools.chain(first, rows)
        else:
            columns, part = 2, None
            if any(cell.strip() for cell in cells[columns:]):
                which = "which of them are text and label? Name them so in a first line"
                raise CharrnnError(f"{self.name}: line {number}: {len(cells)} columns; {which}")
            rows = itertools.chain([(number, cells)], rows)
            judged = list(itertools.islice(rows, JUDGED))
            self._check(judged, columns, columns, separator)
            text, label = self._order([cells for _, cells in judged])
            if self._is_heading([" ".join(cells[label].split()) for _, cells in judged]):
                self.heading = judged.pop(0)[1]
            rows = itertools.chain(judged, rows)
        for row in rows:
            self._check([row], columns, max(text, label) + 1, separator)
            number, cells = row
            self.quoted += separator == "\t" and QUOTED.fullmatch(cells[text].strip()) is not None
            yield (
                f"{self.name}: line {number}",
                cells[text],
                cells[label],
                "" if part is None or part >= len(cells) else cells[part],
            )

    def _is_heading(self, labels: Sequence[str]) -> bool:
        """Whether the first of some rows' labels is none: no other row has it, while each of the others is there again."""
        counts = Counter(labels)
        own = counts.pop(labels[0]) if labels else 0
        return own == 1 and len(labels) > FEWEST and labels[0] not in self._known and min(counts.values(), default=0) > 1

    def _check(self, rows: Sequence[Numbered], columns: int, needed: int, separator: str) -> None:
        """CSV may lack empty cells behind those that are ``needed``, or have some more."""
        for number, cells in rows:
            loose = separator != "\t" and len(cells) >= needed and not any(cell.strip() for cell in cells[columns:])
            if len(cells) != columns and not loose:
                raise CharrnnError(
                    f"{self.name}: line {number}: {columns_of(cells)}, expected {columns}{why_not(cells, columns, separator)}"
                )

    def _order(self, rows: Sequence[list[str]]) -> tuple[int, int]:
        """Which column holds the texts and which the labels: that with known ones, else that with fewer different ones."""
        known = [sum(" ".join(row[column].split()) in self._known for row in rows) for column in (0, 1)]
        fewer = [-len({row[column] for row in rows}) for column in (0, 1)]
        for first, second in (known, fewer):
            if first != second:
                return (1, 0) if first > second else (0, 1)
        raise CharrnnError(f"{self.name}: which column holds the labels? Name them in a first line: text,label")


_ABSENT = object()


def _part_names(first: dict[str, Any]) -> list[str]:
    """What the column of parts may be called in a file whose ``first`` row this is."""
    return [*PART_NAMES, *(name for name in PERHAPS_PARTS if str(first.get(name)).strip().lower() in PARTS)]


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    """Which column has one of ``names``, the first of them that any has, as `_named` takes it."""
    return next((header.index(name) for name in names if name in header), None)


def _named(record: dict[str, Any], names: Sequence[str]) -> Any:
    return next((record[name] for name in names if name in record), _ABSENT)


def _are_two(lines: Sequence[str], separator: str) -> bool:
    """Whether each of some lines that begin a table has two columns; the last row may be cut within its quotes."""
    csv.field_size_limit(1 << 30)
    table = csv.reader((line + "\n" for line in lines), delimiter=separator)
    with contextlib.suppress(csv.Error):
        found = [2 if not any(cells[2:]) and len(cells) > 1 else len(cells) for cells in table if any(map(str.strip, cells))]
        return set(found[:-1] or found) == {2}
    return False


def _split(lines: Iterator[str]) -> Iterator[Numbered]:
    return ((number, line.split("\t")) for number, line in enumerate(lines, 1) if line.strip())


def _parsed(lines: Iterator[str], separator: str, name: str) -> Iterator[Numbered]:
    csv.field_size_limit(1 << 30)
    rows = csv.reader((line + "\n" for line in lines), delimiter=separator, strict=True)
    begins = 1
    try:
        for cells in rows:
            number, begins = begins, rows.line_num + 1
            if any(cell.strip() for cell in cells) and not (separator == "|" and all(map(_RULE.fullmatch, cells))):
                yield number, cells
    except csv.Error as error:
        raise CharrnnError(f"{name}: line {begins}: here begins a row that is not sound CSV ({error})") from error
