"""Tables whose rows have a text in one field: JSON lines, CSV and Parquet files, row by row."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shlex
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.text.sources import STDIN, VERSION, Say, shown

_PACKED = r"(\.gz|\.bz2|\.xz)?$"
_NAMES = {
    "json": re.compile(rf"\.(jsonl|ndjson){_PACKED}", re.IGNORECASE),
    "csv": re.compile(rf"\.csv{_PACKED}", re.IGNORECASE),
    "tsv": re.compile(rf"\.(tsv|tab){_PACKED}", re.IGNORECASE),
    "parquet": re.compile(r"\.parquet$", re.IGNORECASE),
}
"""What the names of each kind of table end in."""
_SPREADSHEET = re.compile(r"\.(xlsx?|xlsm|ods|numbers)$", re.IGNORECASE)
_SEPARATORS = {"csv": ",;\t|", "tsv": "\t"}
"""What may stand between columns."""
FILES = ".jsonl, .csv, .tsv and .parquet files"
TOGETHER = 1 << 10
"""So many rows of a Parquet file are decoded at a time."""
SAID = re.compile("sep=(.)", re.IGNORECASE)
"""A first line by which Excel says what stands between the columns."""
QUOTED = re.compile(r'"(?=.*"")([^"]|"")*"', re.DOTALL)
"""What a program has put into quotes: those within are doubled."""
_CALLED = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
_HALVES = re.compile("[\ud800-\udfff]")
_NAMED = 8


def kind(path: str, version: int = VERSION) -> str | None:
    """``json``, ``csv``, ``tsv`` or ``parquet``, by a file's name; stdin has JSON lines; None for any other file.

    Up to version 2 of the rules by which texts are read, columns between separators are no table.
    """
    if path == STDIN:
        return "json"
    found = next((name for name, ending in _NAMES.items() if ending.search(path)), None)
    return None if version < 3 and found in _SEPARATORS else found


def rest_of_field(paths: Sequence[str]) -> list[str]:
    """Those of ``paths`` that are plainly words of a field's name which nobody quoted: beside a table, words but no files."""
    words = [path for path in paths if re.fullmatch(r"[\w()-]+", path) and path != STDIN and not Path(path).exists()]
    return words if any(kind(path) is not None and path != STDIN for path in paths) else []


def instead(paths: Sequence[str]) -> str:
    """What to do where none of ``paths`` is a table by its name."""
    if any(_SPREADSHEET.search(path) for path in paths):
        return "; save the spreadsheet as CSV first"
    if listed := next((path for path in paths if path.lower().endswith(".json")), None):
        return f"; jq -c '.[]' {shlex.quote(listed)} > {shlex.quote(f'{listed}l')} makes JSON lines of a list of objects"
    return "; if it is one all the same, give it such a name"


def tell_of_field(paths: Iterable[str], read: str | None, learned: str | None, warn: Say) -> None:
    """Warn of tables among ``paths`` that are read as they are though a network has ``learned`` one field of such."""
    for path in paths if read is None and learned is not None else ():
        if path != STDIN and kind(path) is not None:
            instead_of = f"the network learned a field of its table; --field {shlex.quote(str(learned))} reads that"
            warn(f"{path}: read as plain text, but {instead_of}")


class Rows:
    """The texts of one file's rows, as code points; each ends with a newline. ``warn`` hears of rows without a text."""

    def __init__(
        self,
        path: str,
        field: str,
        level: str,
        warn: Say,
        *,
        strict: bool,
        one_line: bool,
        every: bool = False,
        numbers: deque[int] | None = None,
    ) -> None:
        """Where ``one_line`` is true, a newline within a text becomes a space, so that each row is a line; with ``every`` a row
        without a text is an empty one. ``numbers`` gets the line of the file at which each row with a text begins (of Parquet,
        its row).
        """
        self._path, self._name, self._field, self._level, self._warn = path, shown(path), field, level, warn
        self._strict, self._one_line, self._every = strict, one_line, every
        self._numbers, self._unit, self._without, self._short, self._quoted, self._seen = numbers, "line", 0, 0, 0, False

    def of_json(self, decoded: Iterable[tuple[bytes, str]]) -> Iterator[tuple[bytes, NDArray[Any]]]:
        """The raw bytes of JSON lines with the texts of the rows that they complete; ``decoded`` are bytes and characters."""
        unfinished, number = "", 0
        for raw, characters in decoded:
            *lines, unfinished = (unfinished + characters).split("\n")
            texts = [self._of_line(line, number) for number, line in enumerate(lines, number + 1)]
            number += len(lines)
            yield raw, self._codes(texts)
        if unfinished:
            yield b"", self._codes([self._of_line(unfinished, number + 1)])
        self._tell()

    def of_columns(self, decoded: Iterable[tuple[bytes, str]], kind: str) -> Iterator[tuple[bytes, NDArray[Any]]]:
        """As `of_json`, of a table whose first line names its columns: of CSV, or with tabs between and no quotes."""
        taken, texts = list[bytes](), list[str]()
        lines = _lines(decoded, taken)
        heading, above, separator = next(lines, ""), 0, ""
        if said := SAID.fullmatch(heading.strip()):
            heading, above, separator = next(lines, ""), 1, said[1]
        begins = above + 1
        csv.field_size_limit(1 << 30)
        try:
            separator = separator or self._separator(heading, _SEPARATORS[kind])
            table = csv.reader(
                itertools.chain([heading], lines),
                delimiter=separator,
                quoting=csv.QUOTE_NONE if kind == "tsv" else csv.QUOTE_MINIMAL,
                strict=True,
            )
            names = [name.strip() for name in next(table)] if heading else [self._field]
            if self._field not in names:
                raise self._error(above + 1, f"no column {self._field!r}; it names {listed(names)}")
            place, begins = names.index(self._field), above + table.line_num + 1
            for cells in table:
                number, begins = begins, above + table.line_num + 1
                if not cells:
                    continue
                # Some programs leave out the separators before empty cells at the end of CSV, or write one more.
                if len(cells) < (len(names) if kind == "tsv" else place + 1) or any(cells[len(names) :]):
                    named = f"line {above + 1} names {len(names)}{why_not(cells, len(names), separator)}"
                    raise self._error(number, f"{columns_of(cells)}, but {named}")
                self._short += len(cells) < len(names)
                self._quoted += kind == "tsv" and QUOTED.fullmatch(cells[place].strip()) is not None
                texts.append(self._text(cells[place], number))
                if taken:
                    yield b"".join(taken), self._codes(texts)
                    taken.clear()
                    texts.clear()
        except csv.Error as error:
            raise self._error(
                begins, f"here begins a row whose quotes don't match ({error}); a quote in a cell is written twice"
            ) from error
        yield b"".join(taken), self._codes(texts)
        self._tell()

    def _separator(self, heading: str, order: str) -> str:
        """What stands between the columns of a first line: what leaves the field's name whole, or else what it has at all."""
        cells = {one: [cell.strip() for cell in next(csv.reader([heading], delimiter=one), [])] for one in order}
        named = (one for one in order if self._field in cells[one])
        return next(itertools.chain(named, (one for one in order if one in heading)), order[0])

    def of_parquet(self, raw: Callable[[], Iterator[bytes]]) -> Iterator[tuple[bytes, NDArray[Any]]]:
        """The texts of all rows; and then, for whoever identifies the file, its ``raw`` bytes."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            what = "Parquet files are read by pyarrow, which isn't installed: pip install 'charrnn-cli[parquet]'"
            raise CharrnnError(f"{self._name}: {what}") from error
        row, self._unit = 0, "row"
        try:
            with open(self._path, "rb") as file:
                table = pyarrow.parquet.ParquetFile(file, pre_buffer=False)
                names = table.schema_arrow.names
                if self._field not in names:
                    raise CharrnnError(f"{self._name}: no column {self._field!r}; it has {listed(names)}")
                for batch in table.iter_batches(TOGETHER, columns=[self._field], use_threads=False):
                    texts = [self._text(value, row + number) for number, value in enumerate(batch[0].to_pylist(), 1)]
                    row += len(texts)
                    yield b"", self._codes(texts)
        except (pyarrow.ArrowException, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise CharrnnError(f"{self._name}: not a sound Parquet file ({reason:.200})") from error
        self._tell()
        nothing = np.empty(0, dtype=np.uint8)
        yield from ((block, nothing) for block in raw())

    def _of_line(self, line: str, number: int) -> str:
        if not line.strip():
            return ""
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            more = "; of stdin --field reads JSON lines alone, so name a file of another kind" if self._path == STDIN else ""
            raise self._error(number, no_object(line) + more)
        if not self._seen and self._field not in record:
            raise self._error(number, f"no field {self._field!r}; it has {listed(record)}")
        return self._text(record.get(self._field), number)

    def _error(self, number: int, what: str) -> CharrnnError:
        return CharrnnError(f"{self._name}: {self._unit} {number:,}: {what}")

    def _text(self, value: object, number: int) -> str:
        """The text of one row with a newline at its end; where there is none, nothing or the newline alone."""
        self._seen = True
        if value is None or value == "":
            self._without += 1
            return "\n" if self._every else ""
        if not isinstance(value, str):
            raise self._error(number, f"{self._field!r} is no text but {json.dumps(value, default=str):.40}")
        if not value.isascii() and (found := _HALVES.search(value)):
            if self._strict:
                half = f"half of a character (\\u{ord(found[0]):04x})"
                raise self._error(number, f"{half} in it; --errors replace goes on with U+FFFD")
            value = _HALVES.sub("\ufffd", value)
        if self._numbers is not None:
            self._numbers.append(number)
        if "\r" in value:
            value = value.replace("\r\n", "\n").replace("\r", "\n")
        if self._one_line:
            return value.strip("\n").replace("\n", " ") + "\n"
        return value if value.endswith("\n") else value + "\n"

    def _codes(self, texts: list[str]) -> NDArray[Any]:
        text = "".join(texts)
        if self._level == "byte" or text.isascii():
            return np.frombuffer(text.encode(), dtype=np.uint8)
        return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")

    def _tell(self) -> None:
        if self._short:
            rows = "1 row has" if self._short == 1 else f"{self._short:,} rows have"
            self._warn(f"{self._name}: {rows} fewer columns than the first line names; the last ones were taken for empty")
        if self._without:
            rows = "1 row has" if self._without == 1 else f"{self._without:,} rows have"
            one = self._without == 1
            left = ("is an empty line" if one else "are empty lines") if self._every else f"{'was' if one else 'were'} left out"
            self._warn(f"{self._name}: {rows} no {self._field!r} and {left}")
        if self._quoted:
            self._warn(f"{self._name}: {in_quotes(self._quoted)}")


def _lines(decoded: Iterable[tuple[bytes, str]], taken: list[bytes]) -> Iterator[str]:
    """Each line with its end; ``taken`` gets the raw bytes that were read for it."""
    unfinished = ""
    for raw, characters in decoded:
        taken.append(raw)
        *lines, unfinished = (unfinished + characters).split("\n")
        yield from (line + "\n" for line in lines)
    if unfinished:
        yield unfinished


def columns_of(cells: Sequence[str]) -> str:
    """How many columns a row has."""
    return "1 column" if len(cells) == 1 else f"{len(cells)} columns"


def why_not(cells: Sequence[str], columns: int, separator: str) -> str:
    """What may be behind a row that hasn't so many columns, and what to do; empty where nothing tells."""
    if separator == "\t" and any(cell.count('"') % 2 for cell in cells):
        return "; a text with a line end or a tab in it needs CSV, since quotes are characters in TSV"
    if len(cells) <= columns:
        return ""
    needs = "CSV" if separator == "\t" else "quotes around it"
    return f"; a text with a {_CALLED.get(separator, separator)} in it needs {needs}"


def in_quotes(count: int) -> str:
    """What is to be said of so many texts of TSV that are `QUOTED`."""
    stand = "1 text stands" if count == 1 else f"{count:,} texts stand"
    return f"{stand} in quotes, which are characters of the text in TSV; in .csv they are none"


def no_object(line: str) -> str:
    """What is to be said of a line that JSON lines can't have."""
    begun = "." if line.strip() == "{" else "'.[]'" if line.lstrip().startswith("[") else None
    do = "" if begun is None else f"; jq -c {begun} makes them of other JSON"
    return f"not a JSON object; JSON lines have one object a line{do}"


def listed(names: Iterable[str]) -> str:
    """Some names for people, the first of many."""
    found = [str(name) for name in names]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (", ".join(map(repr, found[:_NAMED])) or "none")[:200] + more
