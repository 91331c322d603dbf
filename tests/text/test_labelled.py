from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from charrnn import CharrnnError
from charrnn.text import labelled, sources
from charrnn.text.decoding import Encoding
from charrnn.text.labelled import LabelledTexts, Row
from charrnn.text.reading import PLAIN, TextReader

Put = Callable[[str, bytes], str]
CATS = [Row("a cat", "pet"), Row("a wolf", "wild"), Row("a dog", "pet")]


def rows(path: str, known: tuple[str, ...] = ()) -> list[Row]:
    return list(LabelledTexts(path, PLAIN, known))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.tsv", "text\tlabel\na cat\tpet\na wolf\twild\na dog\tpet\n"),
        ("x.tsv", "label\ttext\npet\ta cat\nwild\ta wolf\npet\ta dog\n"),
        ("x.tsv", "a cat\tpet\na wolf\twild\na dog\tpet\n"),
        ("x.tsv", "pet\ta cat\nwild\ta wolf\npet\ta dog\n"),
        ("x.tsv", "text\tkind of animal\na cat\tpet\na wolf\twild\na dog\tpet\n"),
        ("x.csv", "Label,description\npet,a cat\nwild,a wolf\npet,a dog\n"),
        ("x.csv", "text,label\na cat,pet\na wolf,wild\na dog,pet\n"),
        ("x.csv", 'Intent,Sentence\npet,"a cat"\nwild,a wolf\npet,a dog'),
        ("x.csv", "pet;a cat\nwild;a wolf\npet;a dog\n"),
        ("x.csv", "\ufeffsep=;\r\nText;Label\r\na cat;pet\r\na wolf;wild\r\na dog;pet\r\n"),
        ("x.csv", "text|label\na cat|pet\na wolf|wild\na dog|pet\n"),
        ("x.md", "| text | label |\n|:--|---|\n| a cat | pet |\n| a wolf | wild |\n| a dog | pet |\n"),
        ("x.csv", "a cat;pet;\na wolf;wild;\na dog;pet\n"),
        ("x.csv", "text,label,part,note\na cat,pet\na wolf,wild,,,\na dog,pet,,x\n"),
        ("x", "SEP=,\ntext,label\na cat,pet\na wolf,wild\na dog,pet\n"),
        ("x", "a cat\tpet\n\na wolf\twild\na dog\tpet\n"),
        ("x", "id,text,label\n1,a cat,pet\n2,a wolf,wild\n3,a dog,pet\n"),
        (
            "x.txt",
            '{"text": "a cat", "label": "pet"}\n{"label": "wild", "text": "a wolf"}\n{"text": "a dog", "label": "pet"}\n',
        ),
    ],
)
def test_texts_and_labels_are_found_whatever_the_columns_are(name: str, text: str, put: Put) -> None:
    assert rows(put(name, text.encode())) == CATS


def test_json_lines_are_read_with_whatever_else_they_hold(put: Put) -> None:
    lines = [json.dumps({"text": row.text, "label": row.label, "n": 1}) for row in CATS]
    assert rows(put("x.jsonl", "\n".join(lines).encode())) == CATS
    assert rows(put("n.jsonl", b'{"text": "a", "label": 1}\n')) == [Row("a", "1")]
    assert rows(put("b.jsonl", b'{"text": "a", "label": true}\n')) == [Row("a", "true")]
    assert rows(put("t.jsonl", b'{"text": null, "label": 1}\n{"text": "a", "label": 1}\n')) == [Row("a", "1")]


def test_what_stands_between_columns_is_what_every_line_has_once(put: Put) -> None:
    lines = b"hello, you;greet\nbye;part\ngo, now;part\n"
    assert rows(put("x.csv", lines)) == [Row("hello, you", "greet"), Row("bye", "part"), Row("go, now", "part")]
    assert rows(put("y.csv", b"text,label\na;b,c\n")) == [Row("a;b", "c")]


def test_files_deeper_in_a_directory_have_no_label(tmp_path: Path) -> None:
    for label in ("neg", "pos"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "0.txt").write_text("a text\n")
    with pytest.raises(CharrnnError, match=r"neg/0.txt lies deeper in it; for each label it needs a file .*, as neg.txt$"):
        rows(str(tmp_path))


def test_texts_of_tsv_that_a_program_has_quoted_are_told_of(put: Put) -> None:
    source, said = (
        LabelledTexts(put("x.tsv", b'text\tlabel\n"he said ""hi"""\tq\n"go" she said\tq\n"no, no"\tq\n'), PLAIN),
        list[str](),
    )
    assert next(iter(list(source))) == Row('"he said ""hi"""', "q")
    source.tell(said.append)
    assert said == [f"{source.name}: 1 text stands in quotes, which are characters of the text in TSV; in .csv they are none"]


def test_half_a_character_in_json_is_no_text(put: Put) -> None:
    path = put("x.jsonl", b'{"text": "fine", "label": "a"}\n{"text": "cut \\ud83d", "label": "b\\udfff"}\n')
    with pytest.raises(CharrnnError, match=r"x.jsonl: line 2: half of a character \(\\ud83d\) in it; --errors replace goes on"):
        rows(path)
    reader = TextReader(encoding=Encoding(errors="replace"))
    assert list(LabelledTexts(path, reader))[1] == Row("cut \ufffd", "b\ufffd")


def test_a_directory_has_a_file_of_lines_for_each_label(tmp_path: Path) -> None:
    (tmp_path / "pet.txt").write_text("a cat\na dog\n\n")
    (tmp_path / "wild.txt.gz").write_bytes(gzip.compress(b"a wolf\n"))
    assert sorted(rows(str(tmp_path)), key=str) == sorted(CATS, key=str)


def test_the_programs_own_reader_reads_it(put: Put) -> None:
    text = "text\tlabel\r\nein Löwe\twild\r\neine Katze\tpet\r\n"
    expected = [Row("ein Löwe", "wild"), Row("eine Katze", "pet")]
    assert rows(put("x.tsv.gz", gzip.compress(text.encode()))) == expected
    assert rows(put("utf16.tsv", text.encode("utf-16"))) == expected


def test_quotes_are_characters_in_tsv_and_quotes_in_csv(put: Put) -> None:
    assert rows(put("x.tsv", b'text\tlabel\n"go" she said\tq\n')) == [Row('"go" she said', "q")]
    assert rows(put("x.csv", b'text,label\n"""go"", she said",q\n"two\nlines",q\n')) == [
        Row('"go", she said', "q"),
        Row("two\nlines", "q"),
    ]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("x.csv", "category,message,text,label\nnews,Hi,a,x\nsport,Ho,b,y\n"),
        (
            "x.jsonl",
            '{"category": "news", "message": "Hi", "text": "a", "label": "x"}\n'
            '{"category": "sport", "message": "Ho", "text": "b", "label": "y"}\n',
        ),
    ],
)
def test_columns_called_text_and_label_are_these_whatever_others_are_called(name: str, table: str, put: Put) -> None:
    """A column of mails may be called message, and one of labels category, where none is called text or label."""
    assert [(row.text, row.label) for row in rows(put(name, table.encode()))] == [("a", "x"), ("b", "y")]


def test_two_columns_of_one_name_are_refused(put: Put) -> None:
    with pytest.raises(CharrnnError, match=r"x\.csv: line 1: two columns are called 'label'; rename one"):
        rows(put("x.csv", b"text,Label,label\na,x,1\nb,y,2\n"))


def test_a_column_of_parts_says_what_is_kept_for_a_test(put: Put) -> None:
    found = rows(put("x.tsv", b"text\tlabel\tsplit\na\tx\ttrain\nb\ty\tTest\nc\ty\tdev\n"))
    assert [row.part for row in found] == ["train", "test", "val"]


@pytest.mark.parametrize("name", labelled.PERHAPS_PARTS)
def test_a_column_may_have_many_names_if_its_first_cell_is_a_part(put: Put, name: str) -> None:
    found = rows(put("x.csv", f"text,label,{name.title()}\na,x,train\nb,y,Test\n".encode()))
    assert [row.part for row in found] == ["train", "test"]
    found = rows(put("x.jsonl", f'{{"text": "a", "label": "x", "{name}": "test"}}\n'.encode()))
    assert [row.part for row in found] == ["test"]
    found = rows(put("y.csv", f"text,label,{name}\na,x,7\nb,y,test\n".encode()))
    assert [row.part for row in found] == ["", ""]


LANGUAGES = b"".join(b"%d Kuchen,de\n%d cakes,en\n" % (number, number) for number in range(5))


@pytest.mark.parametrize("heading", [b"name,language\n", b"language,name\n"])
def test_a_first_line_with_a_label_of_its_own_names_the_columns(heading: bytes, put: Put) -> None:
    lines = (
        LANGUAGES
        if heading.startswith(b"name")
        else b"".join(b"%b,%b\n" % (*row.split(b",")[::-1],) for row in LANGUAGES.splitlines())
    )
    source, said = LabelledTexts(put("x.csv", heading + lines), TextReader()), list[str]()
    assert next(iter(source)) == Row("0 Kuchen", "de")
    source.tell(said.append)
    assert len(said) == 1
    assert "the first line names the columns, it seems, and is no text: " in said[0]


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (b"tarte,fr\n" + LANGUAGES, ("de", "en", "fr")),
        (b"tarte,fr\n" + LANGUAGES + b"gelato,it\n", ()),  # Another label is there once, too.
        (b"tarte,fr\n" + LANGUAGES[: len(LANGUAGES) // 5 * 2], ()),
        (LANGUAGES, ()),
    ],
)
def test_other_first_lines_are_texts(text: bytes, known: tuple[str, ...], put: Put) -> None:
    source = LabelledTexts(put("x.csv", text), TextReader(), known)
    assert len(list(source)) == text.count(b"\n")
    assert source.heading is None


def test_known_labels_tell_which_column_holds_them(put: Put) -> None:
    path = put("x.tsv", b"a\tcat\nb\tcat\n")
    assert rows(path)[0] == Row("a", "cat")
    assert rows(path, ("a", "b"))[0] == Row("cat", "a")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.tsv", "text\tlabel\na\tb\tc\n", "line 2: 3 columns, expected 2"),
        ("x.tsv", "text\tlabel\na\tb\tc\n", "expected 2; a text with a tab in it needs CSV"),
        ("x.tsv", 'text\tlabel\n"a\nb"\tc\n', "line 2: 1 column, expected 2; a text with a line end or a tab in it needs CSV"),
        ("x.tsv", "a\tb\tc\n", "line 1: 3 columns; which of them are text and label? Name them so in a first line"),
        ("x.csv", "text,label\na, b,c\n", "line 2: 3 columns, expected 2; a text with a comma in it needs quotes around it"),
        ("x.csv", "sep=;\ntext;label\na;b\na;b;c\n", "line 4: 3 columns, expected 2; a text with a semicolon in it needs"),
        ("x.csv", "text,label\njust a text\n", "line 2: 1 column, expected 2"),
        ("x", "just a text\nand another\n", "line 1: one column"),
        ("x.csv", 'text,label\n"never closed,x\n\nb,y\n', "line 2: here begins a row that is not sound CSV"),
        ("x.csv", 'text,label\n"a\nb",x\n"c\nd",\n', "line 4: no label"),
        ("x.tsv", "text\tlabel\na\t \n", "line 2: no label; give it one, or take the row out"),
        ("x.jsonl", '{"text": "a", "label": null}\n', "line 1: no label; give it one"),
        ("x.jsonl", '{"text": "a", "label": 1.5}\n', "line 1: the label is 1.5; it must be a string or a whole number"),
        ("x.jsonl", '{"text": ["a"], "label": 1}\n', """line 1: the text is ["a"]; it must be a string"""),
        ("x.json", '[\n {"text": "a", "label": "b"}\n]\n', "one object a line; jq -c '.[]' makes them of other JSON"),
        ("x.jsonl", '{"text": "a", "label": "b"},\n', "line 1: not a JSON object; JSON lines have one object a line"),
        ("x.json", '{\n "text": "a"\n}\n', "one object a line; jq -c . makes them of other JSON"),
        ("x.tsv", "text\tlabel\na\tb\t\n", "line 2: 3 columns, expected 2"),
        ("x", '[{"text": "a", "label": "b"}]\n', "line 1: not a JSON object; JSON lines have one object a line; jq -c '.[]'"),
        ("x.tsv", "one\ta\ntwo\tb\n", "which column holds the labels? Name them in a first line: text,label"),
        ("x.tsv", "text\tlabel\tpart\na\tb\tmaybe\n", "line 2: part 'maybe'; it must be train, val or test"),
        ("x.jsonl", '{"text": "a", "label": "b"}\n\nnonsense\n', "line 3: not a JSON object"),
        ("x.jsonl", "[1]\n", "line 1: not a JSON object"),
        ("x.jsonl", '{"text": "a"}\n', "line 1: needs a string `text` and a `label`; it has 'text'"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(name: str, text: str, words: str, put: Put) -> None:
    path = put(name, text.encode())
    with pytest.raises(CharrnnError) as caught:
        rows(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_without_a_text_are_left_out_and_counted(put: Put) -> None:
    source, said = LabelledTexts(put("x.tsv", b"text\tlabel\na\tx\n \ty\n\ty\n"), PLAIN), list[str]()
    assert list(source) == [Row("a", "x")]
    source.tell(said.append)
    assert "2 rows have no text and were left out" in said[0]


def test_white_space_in_labels_does_not_count(put: Put) -> None:
    source, said = LabelledTexts(put("x.tsv", b"text\tlabel\na\tset alarm\nb\t set  alarm \n"), PLAIN), list[str]()
    assert {row.label for row in source} == {"set alarm"}
    source.tell(said.append)
    assert "' set  alarm ' as 'set alarm'" in said[0]


def test_nothing_is_no_row(put: Put) -> None:
    assert rows(put("x.tsv", b"")) == []
    assert rows(put("y.tsv", b"text\tlabel\n")) == []


def test_rows_come_as_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(path: str, version: int = 2) -> Iterator[bytes]:
        yield b"text\tlabel\n"
        while True:
            yield b"what time is it\task_time\n" * 1000

    monkeypatch.setattr(sources, "blocks", endless)
    tracemalloc.start()
    found = list(islice(LabelledTexts("x.tsv", PLAIN), 20_000))
    assert len(found) == 20_000
    before = tracemalloc.get_traced_memory()[0]
    del found
    for _ in islice(LabelledTexts("x.tsv", PLAIN), 20_000):
        pass
    assert tracemalloc.get_traced_memory()[1] - before < 4 << 20
    tracemalloc.stop()


def test_labels_that_differ_in_capitals_alone_are_told_of(put: Put) -> None:
    source, said = LabelledTexts(put("x.tsv", b"text\tlabel\na\tham\nb\tHAM \nc\tSpam\nd\tham\n"), PLAIN), list[str]()
    assert [row.label for row in source] == ["ham", "HAM", "Spam", "ham"]
    source.tell(said.append)
    assert said[-1] == f"{source.name}: capitals in labels count, these are different ones: 'HAM' and 'ham'"
