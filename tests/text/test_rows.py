"""rows: the texts in one field of JSON lines, CSV and Parquet files, as any other text."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import FABLES, Put, Result
from small_networks import network

from charrnn import CharrnnError, UsageError
from charrnn.text import cache as caching
from charrnn.text import rows, sources
from charrnn.text.cache import Cache
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.decoding import Encoding
from charrnn.text.reading import TextReader

READER = TextReader(encoding=Encoding(field="text"))
TEXTS = ["the fox\n", "caf\u00e9 \U0001f600\r\nno", "", "crow", None, "\u4e00\u4e8c"]
READ = "the fox\ncaf\u00e9 \U0001f600\nno\ncrow\n\u4e00\u4e8c\n"


def lines(texts: list[Any] = TEXTS, field: str = "text") -> bytes:
    return "".join(json.dumps({"id": number, field: text}) + "\n" for number, text in enumerate(texts)).encode()


def text_of(read: Corpus) -> str:
    return read.vocabulary.decode(read.ids[:])


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
@pytest.mark.parametrize("end", [b"\n", b"", b"\n\n \n", b"\r\n"])
def test_the_texts_follow_each_other(block: int, end: bytes, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", block)
    data = lines()[:-1] + end
    said: list[str] = []
    path = put("a.jsonl", data)
    read = read_corpus([path], TextReader(encoding=Encoding(field="text"), warn=said.append))
    assert text_of(read) == READ
    assert read.bytes_read == len(data)
    assert read.sha256 == read_corpus([path]).sha256
    assert read.text_sha256 == read_corpus([put("b.txt", READ.encode())]).text_sha256
    assert said == [f"{path}: 2 rows have no 'text' and were left out"]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.NDJSON.GZ"])
def test_compressed_ones_too(name: str, put: Put) -> None:
    assert text_of(read_corpus([put(name, gzip.compress(lines()))], READER)) == READ


def test_at_level_byte_the_text_is_its_bytes(put: Put) -> None:
    read = read_corpus([put("a.jsonl", lines())], TextReader("byte", Encoding(field="text")))
    assert bytes(read.ids) == READ.encode()


def test_stdin_has_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines())))
    assert text_of(read_corpus(["-"], READER)) == READ


@pytest.mark.parametrize("level", ["char", "byte"])
def test_what_can_be_read_once_only_is_read_so_too(level: str) -> None:
    assert TextReader(level, Encoding(field="text")).text_in(lines(), "stdin") == READ


def test_a_row_is_one_record(put: Put) -> None:
    read = read_corpus([put("a.jsonl", lines(["one\ntwo", "three\r\n", "four"]))], READER, val_seed=0, val_fraction=0)
    assert text_of(read) == "\none two\nthree\nfour\n"


def test_a_directory_has_tables_beside_texts(tmp_path: Path, put: Put) -> None:
    put("a.jsonl", lines(["x"]))
    put("b.txt", b"y\n")
    put("c.json", b"z\n")
    assert text_of(read_corpus([str(tmp_path)], READER)) == "x\ny\n"
    assert text_of(read_corpus([str(tmp_path)])) == "y\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"id": 1}\n', "a.jsonl: line 1: no field 'text'; it has 'id'"),
        (b'{"text": "a"}\n[1]\n', "a.jsonl: line 2: not a JSON object; JSON lines have one object a line"),
        (b'\n{"text": "a"\n', "a.jsonl: line 2: not a JSON object"),
        (b"[" * 100_000, "a.jsonl: line 1: not a JSON object"),
        (b'[{"text": "a"}]\n', "one object a line; jq -c '.[]' makes them of other JSON"),
        (b'{"text": ["a"]}\n', """a.jsonl: line 1: 'text' is no text but ["a"]"""),
        (b'{"text": "a"}\n{"text": 12}\n', "a.jsonl: line 2: 'text' is no text but 12"),
        (b'{"text": "a\\ud800"}\n', r"a.jsonl: line 1: half of a character (\ud800) in it; --errors replace goes on"),
        (b'{"text": "a\xff"}\n', "a.jsonl: byte 11 (line 1) is not valid UTF-8 text"),
    ],
)
def test_what_is_no_text_is_told_by_its_line(data: bytes, said: str, put: Put) -> None:
    with pytest.raises(CharrnnError) as caught:
        read_corpus([put("a.jsonl", data)], READER)
    assert said in str(caught.value)


def test_halves_of_characters_may_be_replaced(put: Put) -> None:
    reader = TextReader(encoding=Encoding(errors="replace", field="text"))
    assert text_of(read_corpus([put("a.jsonl", lines(["a\ud800b"]))], reader)) == "a\ufffdb\n"


def test_rows_may_lack_the_field_that_others_have(put: Put) -> None:
    said: list[str] = []
    path = put("a.jsonl", b'{"text": "ab"}\n{"id": 1}\n{"text": ""}\n')
    assert text_of(read_corpus([path], TextReader(encoding=Encoding(field="text"), warn=said.append))) == "ab\n"
    assert said == [f"{path}: 2 rows have no 'text' and were left out"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.txt"], "a.txt is none; if it is one all the same, give it such a name$"),
        (["a.txt", "b.txt"], "these are none; if "),
        (["a.XLSX"], "a.XLSX is none; save the spreadsheet as CSV first$"),
    ],
)
def test_a_field_of_plain_texts_is_a_mistake(names: list[str], said: str, put: Put) -> None:
    with pytest.raises(UsageError, match=f"--field names a field of .jsonl, .csv, .tsv and .parquet files; .*{said}"):
        read_corpus([put(name, b"ab") for name in names], READER)
    with pytest.raises(UsageError, match="--field: the name is empty"):
        read_corpus([put("a.jsonl", lines())], TextReader(encoding=Encoding(field="")))


# -- columns ------------------------------------------------------------------------------------------------------------

CSV = b"""id,text,n
1,"Crow, ""a"" fox",3

2,"two
lines",4
3,,5
4,caf\xc3\xa9,6
"""
OF_CSV = 'Crow, "a" fox\ntwo\nlines\ncaf\u00e9\n'


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.csv", CSV, OF_CSV),
        ("a.CSV", b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n")[:-2], OF_CSV),
        ("a.csv.gz", gzip.compress(CSV, mtime=0), OF_CSV),
        ("a.csv", b"n;text\n1;a,b\n2;c\n", "a,b\nc\n"),
        ("a.csv", b"n\t text \n1\ta,b\n2\tc\n", "a,b\nc\n"),
        ("a.csv", b"text\nanna\nbo\n", "anna\nbo\n"),
        ("a.csv", b"\xef\xbb\xbfsep=;\r\nn;text\r\n1;a,b\r\n", "a,b\n"),
        ("a.csv", b"n|text\n1|a,b\n2|c\n", "a,b\nc\n"),
        ("a.csv", b"n,text\n1,anna,\n2,bo,,\n", "anna\nbo\n"),
        ("a.csv", b"text,text\nanna,bo\n", "anna\n"),
        ("a.tsv", b'n\ttext\n1\t"a, b\n2\tc"', '"a, b\nc"\n'),
        ("a.tab", b"text\tn\n a \t1\n", " a \n"),
    ],
)
def test_a_column_of_a_table_is_a_text(
    block: int, name: str, data: bytes, text: str, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", block)
    said: list[str] = []
    path = put(name, data)
    read = read_corpus([path], TextReader(encoding=Encoding(field="text"), warn=said.append))
    assert text_of(read) == text
    assert read.sha256 == read_corpus([path]).sha256
    assert said == ([f"{path}: 1 row has no 'text' and was left out"] if text is OF_CSV else [])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", b'{"text": "ab"}\n{"id": 1}\n{"text": ""}\n{"text": "c\\nd"}\n'),
        ("a.csv", b'n,text\n1,ab\n2,\n3,\n4,"c\nd"\n'),
    ],
)
def test_where_every_row_is_a_line_one_without_a_text_is_an_empty_line(name: str, data: bytes, put: Put) -> None:
    said: list[str] = []
    path = put(name, data)
    reader = TextReader(encoding=Encoding(field="text"), warn=said.append, every_row=True)
    found = "".join(chr(code) for codes in reader.codes(path, by_lines=True) for code in codes)
    assert found == "ab\n\n\nc d\n"
    assert said[-1] == f"{path}: 2 rows have no 'text' and are empty lines"


def test_cells_of_tsv_that_a_program_has_quoted_are_told_of(put: Put) -> None:
    said: list[str] = []
    path = put("a.tsv", b'text\tn\n"he said ""hi"""\t1\n"go" she said\t2\n')
    read_corpus([path], TextReader(encoding=Encoding(field="text"), warn=said.append))
    assert said == [f"{path}: 1 text stands in quotes, which are characters of the text in TSV; in .csv they are none"]
    with pytest.raises(
        CharrnnError, match="line 2: 1 column, but line 1 names 2; a text with a line end or a tab in it needs CSV"
    ):
        read_corpus([put("b.tsv", b'text\tn\n"two\nlines"\t1\n')], READER)


def test_a_field_of_several_words_needs_quotes(put: Put, tmp_path: Path) -> None:
    path = put("a.csv", b"First (given) name,n\nanna,1\n")
    field = TextReader(encoding=Encoding(field="First"))
    with pytest.raises(UsageError, match=r"name: no such file; .* quoted: --field 'First name'$"):
        field.files([path, "name"])
    with pytest.raises(CharrnnError, match=r"^name: No such file"):
        field.files([put("a.txt", b"x"), "name"])
    with pytest.raises(CharrnnError, match=r"^b.csv: No such file"):
        field.files([path, "b.csv"])


def test_a_cell_of_a_list_is_one_line(put: Put) -> None:
    read = read_corpus([put("a.csv", CSV)], READER, val_seed=0, val_fraction=0)
    assert text_of(read) == '\nCrow, "a" fox\ntwo lines\ncaf\u00e9\n'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"id,title\n1,a\n", "a.csv: line 1: no column 'text'; it names 'id', 'title'"),
        (b"Anna\nBo\n", "a.csv: line 1: no column 'text'; it names 'Anna'"),
        (b"\ntext\n", "a.csv: line 1: no column 'text'; it names none"),
        (b"id,text\n1,a\n\n2,b,c\n", "a.csv: line 4: 3 columns, but line 1 names 2; a text with a comma in it needs quotes"),
        (b"sep=;\nid;text\n1;a;b\n", "a.csv: line 3: 3 columns, but line 2 names 2; a text with a semicolon in it needs"),
        (b"sep=;\nid;title\n1;a\n", "a.csv: line 2: no column 'text'; it names 'id', 'title'"),
        (b"id\ttext\n2\tb\tc\n", "a.csv: line 2: 3 columns, but line 1 names 2; a text with a tab in it needs"),
        (b'id,text\n1,"a\nb"\n2,"c\nd",e\n', "a.csv: line 4: 3 columns"),
        (b"id,text\n1\n", "a.csv: line 2: 1 column, but line 1 names 2"),
        (b"sep=;\nid;text\n1\n", "a.csv: line 3: 1 column, but line 2 names 2"),
        (b'text\n"a" b\n', "a.csv: line 2: here begins a row whose quotes don't match ("),
        (b'text\na\n"b\nc\nd\n', "a.csv: line 3: here begins a row whose quotes don't match ("),
        (b"x" * 200_000, "a.csv: line 1: no column 'text'; it names 'xxx"),
        (b"text\na\xff\n", "a.csv: byte 6 (line 2) is not valid UTF-8 text"),
    ],
)
def test_what_is_no_table_is_told_by_its_line(data: bytes, said: str, put: Put) -> None:
    with pytest.raises(CharrnnError) as caught:
        read_corpus([put("a.csv", data)], READER)
    assert said in str(caught.value)


def test_rows_that_lack_their_last_cells_are_read_and_counted(put: Put) -> None:
    said: list[str] = []
    path = put("a.csv", b"n,text,note\n1,anna,\n2,bo\n3,carl\n")
    assert text_of(read_corpus([path], TextReader(encoding=Encoding(field="text"), warn=said.append))) == "anna\nbo\ncarl\n"
    assert said == [f"{path}: 2 rows have fewer columns than the first line names; the last ones were taken for empty"]


def test_rows_are_told_by_their_lines_in_the_file(put: Put, tmp_path: Path) -> None:
    path = put("a.csv", CSV)
    json_lines = put("a.jsonl", b'{"text": "x"}\n\n{"text": ""}\n{"text": "y\\nz"}')
    for name, expected in ((path, [2, 4, 7]), (json_lines, [1, 4]), (put("b.txt", b"x\ny\n"), [])):
        numbers = deque[int]()
        read = list(READER.codes(name, by_lines=True, numbers=numbers))
        assert list(numbers) == expected
        assert not expected or sum(int((codes == 10).sum()) for codes in read) == len(expected)


def test_a_run_begun_when_columns_were_no_table_reads_them_as_it_did(put: Put, tmp_path: Path) -> None:
    put("a.csv", b"text\nx\n")
    names = [put("b.jsonl", lines(["y"])), put("c.tsv", b"text\nz\n")]
    before = replace(READER, version=2)
    assert text_of(read_corpus([str(tmp_path)], before)) == "y\n"
    assert text_of(read_corpus([str(tmp_path)], READER)) == "x\ny\nz\n"
    assert text_of(read_corpus(names, before)) == "y\ntext\nz\n"
    assert text_of(read_corpus(names, READER)) == "y\nz\n"


def test_each_field_is_kept_apart(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "LARGE_BYTES", 0)
    monkeypatch.setattr(caching, "RACE_SECONDS", 0)
    data = b'{"text": "fox", "title": "crow"}\n'
    cache = Cache(tmp_path / "cache")
    for _ in range(2):
        for field, text in (("text", "fox\n"), ("title", "crow\n"), (None, data.decode())):
            reader = TextReader(encoding=Encoding(field=field))
            assert text_of(read_corpus([put("a.jsonl", data)], reader, cache=cache)) == text
    names = put("b.txt", data), put("b.jsonl", data)
    for order in (names, names[::-1]):  # The same bytes; by its name one is a table.
        assert text_of(read_corpus(order, READER, cache=cache)) == text_of(read_corpus(order, READER))


# -- Parquet ----------------------------------------------------------------------------------------------------------


def parquet(path: Path, columns: dict[str, list[Any]], **options: Any) -> str:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path, **options)
    return str(path)


@pytest.mark.parametrize("together", [1, 2, 1024])
def test_a_column_of_parquet_is_a_text(together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "TOGETHER", together)
    path = parquet(tmp_path / "a.parquet", {"id": [*range(6)], "text": TEXTS}, row_group_size=3)
    read = read_corpus([path], READER)
    assert text_of(read) == READ
    assert read.bytes_read == Path(path).stat().st_size
    assert read.sha256 == read_corpus([path], TextReader("byte")).sha256


def test_what_parquet_lacks_is_told(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", {"id": [1], "title": ["x"]})
    with pytest.raises(CharrnnError, match=r"a.parquet: no column 'text'; it has 'id', 'title'"):
        read_corpus([path], READER)
    with pytest.raises(CharrnnError, match=r"a.parquet: row 1: 'id' is no text but 1"):
        read_corpus([path], TextReader(encoding=Encoding(field="id")))
    with pytest.raises(CharrnnError, match=r"this is a Parquet table, not text; .*--field NAME"):
        read_corpus([path])
    Path(path).write_bytes(Path(path).read_bytes()[:-20])
    with pytest.raises(CharrnnError, match=r"a.parquet: not a sound Parquet file \("):
        read_corpus([path], READER)


def test_without_pyarrow_a_line_says_what_to_install(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CharrnnError, match=r"a.parquet: .*isn't installed: pip install 'charrnn-cli\[parquet\]'$"):
        read_corpus([put("a.parquet", b"PAR1")], READER)


# -- as a user sees it ------------------------------------------------------------------------------------------------


def test_lines_of_a_table_are_scored_by_their_place_in_the_file(invoke: Callable[..., Result], put: Put) -> None:
    put("a.csv", b'id,text\n1,"the\nfox"\n\n2,\n3,crow\n')
    for order in ("--lines", "--rank"):
        rows_of = invoke("score", order, "a.csv", "--field", "text", "-c", FABLES).stdout.splitlines()
        assert sorted(row.split("\t")[4:] for row in rows_of) == [["2", "the fox"], ["6", "crow"]]


def test_score_takes_a_field_of_tables_alone(invoke: Callable[..., Result], put: Put, tmp_path: Path) -> None:
    put("a.csv", b"text\nfox\n")
    put("b.txt", b"text\nfox\n")
    refused = invoke("score", "b.txt", "--field", "text", "-c", FABLES)
    assert (refused.code, "b.txt is none" in refused.stderr) == (2, True)
    scored = invoke("score", str(tmp_path), "--field", "text", "-c", FABLES, "--json").stdout.splitlines()
    assert [Path(json.loads(one)["file"]).name for one in scored] == ["a.csv", "b.txt"]


def test_a_cell_is_one_line_to_encode(invoke: Callable[..., Result], put: Put, tmp_path: Path) -> None:
    put("a.csv", b'text\n"the\nfox"\ncrow\n')
    assert "2 lines as vectors" in invoke("encode", "a.csv", "--field", "text", "-c", FABLES, "--npz", "a.npz").stderr


def test_a_table_that_is_read_whole_by_a_network_of_one_field_is_told(
    invoke: Callable[..., Result], put: Put, tmp_path: Path
) -> None:
    put("a.csv", b"name,age\nThe fox,3\n")
    network(tmp_path / "net", config={"field": "name"})
    said = "a.csv: read as plain text, but the network learned a field of its table; --field name"
    for words in (
        ("score", "a.csv"),
        ("encode", "a.csv", "--npz", "a.npz"),
        ("sample", "-n", "2", "--copied-from", "a.csv"),
        ("sample", "-n", "2", "--lines", "1", "--not-in", "a.csv"),
    ):
        assert said in invoke(*words, "-c", "net").stderr
        assert said not in invoke(*words, "-c", "net", "--field", "name").stderr
        assert said not in invoke(*words, "-c", FABLES).stderr


def test_stdin_says_that_it_is_json_lines(invoke: Callable[..., Result]) -> None:
    done = invoke("score", "-", "--field", "text", "-c", FABLES, stdin=b"text\nfox\n")
    assert "stdin: line 1: not a JSON object; JSON lines have one object a line; of stdin --field reads" in done.stderr


def test_the_commands_take_a_field(invoke: Callable[..., Result], put: Put) -> None:
    put("a.jsonl", lines(["the fox said to the crow"] * 40))
    put("a.txt", b"the fox said to the crow\n" * 40)
    scored = [
        invoke("score", name, "-c", FABLES, "--json", *more) for name, *more in (["a.txt"], ["a.jsonl", "--field", "text"])
    ]
    assert [json.loads(one.stdout)["bits_per_char"] for one in scored] == [json.loads(scored[0].stdout)["bits_per_char"]] * 2
    plain = invoke("train", "a.jsonl", "--dry-run", "--steps", "2")
    assert (
        "a.jsonl: read as plain text, with all that is no text in it; --field NAME reads one field of each row" in plain.stderr
    )
    put("a.csv", b"text\nthe fox\n" * 40)
    whole = invoke("train", "a.csv", "--dry-run", "--steps", "2")
    assert "a.csv: read as plain text, with line 1 and all columns; --field NAME reads one that line 1 names" in whole.stderr
    planned = invoke("train", "a.jsonl", "--field", "text", "--dry-run", "--steps", "2")
    assert planned.stderr.count("warning") == 0
    assert "--field text" in planned.stdout
    assert invoke("train", "a.txt", "--field", "text", "--dry-run").code == 2
