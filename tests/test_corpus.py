"""corpus: any text file to ids, and ids to batches that are a pure function of the step."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from charrnn import CharrnnError, UsageError, corpus
from charrnn.corpus import Corpus, Streams, corpus_name, read_corpus, text_files
from charrnn.vocabulary import Vocabulary

Put = Callable[[str, bytes], str]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write a file and return its path."""

    def write(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)

    return write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus") / "text.txt"


def text_of(read: Corpus) -> str:
    return read.vocabulary.decode(read.ids)


def as_lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


# -- files to text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 2, 3, 4, 5, 1 << 16])
def test_crlf_and_lone_cr_become_lf_also_across_block_borders(put: Put, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "BLOCK_BYTES", block)
    read = read_corpus([put("a.txt", b"a\r\nbb\rc\n\r\nd\r\r\n\n\re\r")])
    assert text_of(read) == "a\nbb\nc\n\nd\n\n\n\ne\n"


@settings(deadline=None, max_examples=60)
@given(
    text=st.text(st.sampled_from("ab\r\n\u00e9\u20ac\U0001f600"), min_size=2, max_size=40).filter(
        lambda text: len(as_lf(text)) > 1
    ),
    block=st.integers(1, 9),
    memory=st.sampled_from([1, 16, 1 << 26]),
)
def test_the_text_does_not_depend_on_the_size_of_blocks_or_memory(scratch: Path, text: str, block: int, memory: int) -> None:
    scratch.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "BLOCK_BYTES", block)
        patch.setattr(corpus, "IN_MEMORY_BYTES", memory)
        read = read_corpus([str(scratch)])
    assert text_of(read) == as_lf(text)
    assert read.vocabulary.characters == "".join(sorted(set(as_lf(text))))


BOMS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
BOMS |= {"utf-32-le": b"\xff\xfe\0\0", "utf-32-be": b"\0\0\xfe\xff"}


@pytest.mark.parametrize("block", [4, 5, 7, 1 << 16])
@pytest.mark.parametrize("encoding", BOMS)
def test_a_byte_order_mark_tells_the_encoding_and_is_no_text(
    put: Put, encoding: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "BLOCK_BYTES", block)
    text = "h\u00e9llo \U0001f600 w\u00f6rld\r\n\u20ac"
    assert text_of(read_corpus([put("a.txt", BOMS[encoding] + text.encode(encoding))])) == as_lf(text)


def test_a_mark_is_looked_for_in_every_file(put: Put) -> None:
    paths = [put("a.txt", b"ab"), put("b.txt", BOMS["utf-16-be"] + "c\u00e9".encode("utf-16-be")), put("c.txt", b"d")]
    assert text_of(read_corpus(paths)) == "ab\nc\u00e9\nd"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "koi8-r", "shift_jis", "gb18030"])
@pytest.mark.parametrize("block", [1, 3, 1 << 16])
def test_a_named_encoding_is_used(put: Put, encoding: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "BLOCK_BYTES", block)
    text = {"koi8-r": "\u043c\u0438\u0440", "shift_jis": "\u65e5\u672c", "gb18030": "\u4e2d\u6587\U0001f600"}.get(
        encoding, "caf\u00e9"
    )
    path = put("a.txt", f"{text}\r\n{text}".encode(encoding))
    assert text_of(read_corpus([path], encoding=encoding)) == f"{text}\n{text}"


@pytest.mark.parametrize("encoding", ["no-such", "", "hex", "rot13", "base64", "\0", "\u00fc"])
def test_an_unknown_encoding_is_a_usage_error(put: Put, encoding: str) -> None:
    with pytest.raises(UsageError, match="--encoding"):
        read_corpus([put("a.txt", b"abc")], encoding=encoding)


@pytest.mark.parametrize("block", [7, 16, 1 << 16])
@pytest.mark.parametrize(
    ("data", "encoding", "where"),
    [
        (b"\xffabc", "UTF-8", 0),
        (b"abc\xff", "UTF-8", 3),
        (b"x" * 15 + b"\xff" + b"y" * 20, "UTF-8", 15),
        (b"x" * 16 + b"\xff" + b"y" * 20, "UTF-8", 16),
        (b"x" * 17 + b"\xff" + b"y" * 20, "UTF-8", 17),
        (b"x" * 100 + b"\x80", "UTF-8", 100),
        ("\u20ac".encode() * 11 + b"\xe2\x82x", "UTF-8", 33),
        ("\u20ac".encode() * 11 + b"\xe2\x82", "UTF-8", 33),
        (b"\r\n" * 20 + b"\xc0", "UTF-8", 40),
        (b"x" * 14 + b"\xe2\x82" + b"x" * 9, "UTF-8", 14),
        (b"\xef\xbb\xbfab\xff", "UTF-8", 5),
        (b"\xef\xbb\xbf" + b"x" * 30 + b"\xff", "UTF-8", 33),
        (b"\xff\xfea\0\0\xdcb\0", "UTF-16", 4),
        (b"\xff\xfe" + b"a\0" * 20 + b"\0\xdcb\0", "UTF-16", 42),
        (b"\xff\xfea\0b", "UTF-16", 4),
        (b"\xff\xfe\0\0a\0\0\0\xff\xff\xff\xff", "UTF-32", 8),
    ],
)
def test_an_invalid_byte_is_named_by_file_and_offset_with_what_to_try(
    put: Put, data: bytes, encoding: str, where: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "BLOCK_BYTES", block)
    good, bad = put("good.txt", b"fine\n" * 9), put("bad.txt", data)
    with pytest.raises(CharrnnError) as caught:
        read_corpus([good, bad])
    message = str(caught.value)
    assert message.startswith(f"{bad}: byte {where} is not valid {encoding} text; ")
    assert "--encoding latin-1" in message
    assert "--level byte" in message
    assert "\n" not in message


def test_the_suggestions_for_an_invalid_byte_work(put: Put) -> None:
    path = put("bad.txt", b"caf\xe9\r\n")
    assert text_of(read_corpus([path], encoding="latin-1")) == "caf\u00e9\n"
    assert read_corpus([path], level="byte").ids.tolist() == list(b"caf\xe9\r\n")


def test_a_named_encoding_is_named_in_its_error(put: Put) -> None:
    with pytest.raises(CharrnnError, match="byte 2 is not valid ASCII"):
        read_corpus([put("a.txt", b"ab\xe9")], encoding="ascii")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no text"),
        (b"x", "single character"),
        (b"\r\n", "single character"),
        (b"\xef\xbb\xbf", "no text"),
        (b"\xef\xbb\xbfx", "single"),
    ],
)
def test_a_text_of_fewer_than_2_characters_is_a_clear_error(put: Put, data: bytes, what: str) -> None:
    path = put("a.txt", data)
    with pytest.raises(CharrnnError, match=what) as caught:
        read_corpus([path])
    assert path in str(caught.value)
    assert "at least 2" in str(caught.value)


def test_two_characters_are_a_text(put: Put) -> None:
    assert read_corpus([put("a.txt", b"ab")]).ids.tolist() == [0, 1]
    assert read_corpus([put("b.txt", b"a"), put("c.txt", b"b")]).ids.tolist() == [1, 0, 2]


@settings(deadline=None, max_examples=40)
@given(st.binary(min_size=2, max_size=60), st.integers(1, 9))
def test_at_level_byte_every_file_is_its_own_ids(scratch: Path, data: bytes, block: int) -> None:
    scratch.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "BLOCK_BYTES", block)
        read = read_corpus([str(scratch)], level="byte")
    assert bytes(read.ids) == data
    assert read.vocabulary == Vocabulary("byte")


def test_gz_files_are_unzipped(put: Put) -> None:
    read = read_corpus([put("story.txt.gz", gzip.compress(b"a\r\nb"))])
    assert (text_of(read), read.name, read.bytes_read) == ("a\nb", "story", 4)
    assert read.sha256 == hashlib.sha256(b"a\r\nb").hexdigest()


ZIPPED = gzip.compress(bytes(range(256)) * 50, mtime=0)


@pytest.mark.parametrize(
    "data",
    [ZIPPED[:3], ZIPPED[:40], ZIPPED[:-1], ZIPPED[:-8], ZIPPED[:-8] + bytes(8), ZIPPED[:10] + b"\xff" * 40, b"no gzip at all"],
)
@pytest.mark.parametrize("level", ["char", "byte"])
def test_a_damaged_gz_file_is_a_clear_error(put: Put, data: bytes, level: str) -> None:
    path = put("a.gz", data)
    with pytest.raises(CharrnnError, match="gzip") as caught:
        read_corpus([path], level=level, encoding="latin-1")
    assert str(caught.value).startswith(f"{path}: ")


def test_a_directory_is_its_txt_files_in_order_of_name(put: Put, tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.md", "10.txt", "9.txt"):
        put(name, name.encode())
    (tmp_path / "sub.txt").mkdir()
    put("sub.txt/inner.txt", b"not this")
    assert [Path(path).name for path in text_files([str(tmp_path)])] == ["10.txt", "9.txt", "a.txt", "b.txt"]
    read = read_corpus([str(tmp_path)])
    assert (text_of(read), read.name) == ("10.txt\n9.txt\na.txt\nb.txt", tmp_path.name)


def test_a_directory_without_txt_files_is_a_clear_error(put: Put, tmp_path: Path) -> None:
    put("a.md", b"abc")
    with pytest.raises(CharrnnError, match=r"holds no \*\.txt file") as caught:
        read_corpus([str(tmp_path)])
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ([b"x", b"y"], "x\ny"),
        ([b"x\n", b"y\n"], "x\ny\n"),
        ([b"x\r", b"y"], "x\ny"),
        ([b"x\r\n", b"\ny"], "x\n\ny"),
        ([b"x\r", b"\ny"], "x\n\ny"),
        ([b"", b"x", b"y"], "x\ny"),
        ([b"x", b"", b"y"], "x\ny"),
        ([b"x", b"", b"", b"\xef\xbb\xbf", b"y\n"], "x\ny\n"),
    ],
)
def test_files_that_lack_a_final_newline_get_one_before_the_next(put: Put, files: list[bytes], text: str) -> None:
    paths = [put(f"{number}.txt", data) for number, data in enumerate(files)]
    read = read_corpus(paths)
    assert text_of(read) == text
    assert read.bytes_read == sum(map(len, files))
    assert read.sha256 == hashlib.sha256(b"".join(files)).hexdigest()


def test_at_level_byte_nothing_stands_between_files(put: Put) -> None:
    assert bytes(read_corpus([put("a", b"x"), put("b", b"y\r\n")], level="byte").ids) == b"xy\r\n"


def test_a_dash_is_standard_input(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("caf\u00e9\r\n".encode())))
    read = read_corpus(["-", put("b.txt", b"b")])
    assert (text_of(read), read.name, read.paths[0]) == ("caf\u00e9\nb", "stdin", "-")


def test_standard_input_can_be_named_once(put: Put) -> None:
    with pytest.raises(UsageError, match="standard input"):
        read_corpus(["-", put("b.txt", b"b"), "-"])


@pytest.mark.parametrize("name", ["none.txt", "none.gz", "no/where.txt", "x" * 300])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    with pytest.raises(CharrnnError) as caught:
        read_corpus([path])
    assert str(caught.value).startswith(f"{path}: ")


def test_the_digest_is_of_the_raw_bytes(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 64)
    data = BOMS["utf-8"] + b"a\r\nb\r" * 99
    read = read_corpus([put("a.txt", data)])
    digest = hashlib.sha256(data).hexdigest()
    assert read.facts() == {"corpus": "a", "corpus_bytes": len(data), "corpus_sha256": digest}


def test_paths_are_absolute_and_only_there(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("a.txt", b"abc")
    monkeypatch.chdir(tmp_path)
    read = read_corpus(["a.txt"])
    assert read.paths == (str(tmp_path / "a.txt"),)
    assert str(tmp_path) not in str(read.facts())


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("plain ascii\n" * 200, "u1"),
        ("mixed \u00e9 \u20ac\n" * 50 + "ascii again\n" * 50, "u1"),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 400))) + "ascii " * 300, "u2"),
    ],
)
def test_a_large_text_is_memory_mapped_and_leaves_no_file(
    text: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home := tmp_path / "home").mkdir()
    (temporary := tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 128)
    (home / "a.txt").write_bytes(text.encode())
    small = read_corpus([str(home / "a.txt")])
    monkeypatch.setattr(corpus, "IN_MEMORY_BYTES", 500)
    large = read_corpus([str(home / "a.txt")])
    assert isinstance(large.ids, np.memmap)
    assert not isinstance(small.ids, np.memmap)
    assert large.ids.dtype == small.ids.dtype == dtype
    assert text_of(large) == text_of(small) == text
    assert (large.train_characters, large.vocabulary) == (small.train_characters, small.vocabulary)
    assert np.array_equal(Streams(large.ids, 4, 16, 0).batch(3).inputs, Streams(small.ids, 4, 16, 0).batch(3).inputs)
    del large
    assert [path.name for path in home.iterdir()] == ["a.txt"]
    assert list(temporary.iterdir()) == []


def test_a_fault_in_a_large_text_leaves_no_file_and_no_open_handle(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary := tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 64)
    monkeypatch.setattr(corpus, "IN_MEMORY_BYTES", 256)
    with pytest.raises(CharrnnError, match="byte 3000 "):  # a handle left open would be a ResourceWarning
        read_corpus([put("a.txt", b"abc" * 1000 + b"\xff")])
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("characters", "fraction", "train"),
    [
        (100, 0.1, 90),
        (1009, 0.1, 909),
        (100, 0, 100),
        (100, 0.5, 50),
        (19, 0.1, 19),  # 1 character is no validation text
        (20, 0.1, 18),
        (2, 0.9, 2),
        (3, 0.9, 3),  # training needs 2 as well
        (4, 0.5, 2),
        (10, 0.99, 10),
    ],
)
def test_the_end_of_the_text_is_held_out_if_both_parts_have_2_characters(
    put: Put, characters: int, fraction: float, train: int
) -> None:
    read = read_corpus([put("a.txt", b"x" * characters)], val_fraction=fraction)
    assert (read.train_characters, read.val_characters) == (train, characters - train)


def test_characters_rarer_than_min_count_are_unknown(put: Put) -> None:
    read = read_corpus([put("a.txt", "aab\u00e9b\u20ac".encode())], min_count=2)
    assert (read.vocabulary.characters, read.ids.tolist()) == ("ab", [0, 0, 1, 2, 1, 2])


@pytest.mark.parametrize("characters", ["ab", "".join(map(chr, range(97, 500)))])
def test_another_texts_vocabulary_can_be_used(put: Put, characters: str) -> None:
    vocabulary = Vocabulary("char", characters)
    read = read_corpus([put("a.txt", "bab\u6f22a!".encode())], vocabulary=vocabulary)
    unknown = len(characters)
    assert read.vocabulary is vocabulary
    assert read.ids.tolist() == [1, 0, 1, unknown, 0, unknown]


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        (["story.txt"], "story"),
        (["some/where/story.txt"], "story"),
        (["story.txt.gz"], "story"),
        (["story.gz"], "story"),
        (["notes.md"], "notes"),
        (["vol.1.txt"], "vol.1"),
        (["README"], "README"),
        (["-"], "stdin"),
        (["b.txt", "a.txt"], "b"),
        (["-", "a.txt"], "stdin"),
        ([".gz"], "corpus"),
        (["folder.d"], "folder.d"),
        (["folder.d/"], "folder.d"),
        (["folder.d/sub/.."], "folder.d"),
    ],
)
def test_a_corpus_is_called_after_its_first_path(
    paths: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.d" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert corpus_name(paths) == name


# -- ids to batches. Where the ids are 0, 1, 2, ... each value says where it stands. ----------------------------------


def shapes() -> Iterator[tuple[int, int, int, int]]:
    for characters in range(2, 301):
        for batch_size, bptt in ((1, 1), (16, 64), (3, 7), (1, 400), (50, 2)):
            for groups in (1, 2, 5):
                yield characters, batch_size, bptt, groups


def together(streams: Streams, parts: list[tuple[slice, NDArray[Any]]]) -> NDArray[Any]:
    """What was read of every column, one after another, (G * N, chunks of a group * T)."""
    read: list[list[NDArray[Any]]] = [[] for _ in range(streams.columns)]
    for columns, chunk in parts:
        for column, piece in zip(range(streams.columns)[columns], chunk, strict=True):
            read[column].append(piece)
    return np.array([np.concatenate(pieces) for pieces in read])


def test_groups_take_turns_and_each_reads_from_all_over_the_text() -> None:
    streams = Streams(np.arange(100_000), 4, 64, 0, groups=3)
    batches = [streams.batch(step) for step in range(7)]
    assert [batch.rows for batch in batches] == [slice(turn % 3, None, 3) for turn in range(7)]
    for before, after in zip(batches, batches[3:], strict=False):
        assert (after.inputs[:, 0] == before.inputs[:, -1] + 1).all()
    starts = np.array([batch.inputs[:, 0] for batch in batches[:3]])
    assert (np.diff(starts.T.ravel()) == np.diff(starts.T.ravel())[0]).all(), "neighbours in the text are in different groups"
    assert (starts.max(axis=1) - starts.min(axis=1) > 70_000).all()


def test_any_text_of_2_characters_or_more_gives_sound_batches() -> None:
    for characters, batch_size, bptt, groups in shapes():
        streams = Streams(np.arange(characters), batch_size, bptt, characters, groups)
        chunks = streams.chunks_per_epoch
        assert chunks >= 1
        assert chunks % streams.groups == 0
        assert 1 <= streams.groups <= groups
        assert streams.columns == streams.groups * streams.batch_size
        assert 1 <= streams.batch_size <= batch_size
        assert 1 <= streams.bptt <= bptt
        assert streams.characters_per_step == streams.batch_size * streams.bptt
        for epoch in (0, 3):
            batches = [streams.batch(epoch * chunks + chunk) for chunk in range(chunks)]
            assert [batch.first for batch in batches] == [True] + [False] * (chunks - 1)
            assert {batch.epoch for batch in batches} == {epoch}
            columns = together(streams, [(batch.rows, batch.inputs) for batch in batches])
            assert columns.shape == (streams.columns, chunks // streams.groups * streams.bptt)
            assert (np.diff(columns, axis=1) == 1).all(), "chunk k + 1 of a column continues chunk k"
            assert len(np.unique(columns)) == columns.size, "columns are disjoint"
            assert columns[0, 0] == streams.offset(epoch)
            assert columns.min() >= 0
            assert columns.max() <= characters - 2, "the last character is only ever a target"
            assert (together(streams, [(batch.rows, batch.targets) for batch in batches]) == columns + 1).all()
            unseen = characters - 1 - columns.size
            assert unseen < (streams.columns + 1) * streams.bptt, "less than a row of chunks and the offset's room is left out"


@pytest.mark.parametrize(
    ("characters", "batch_size", "bptt"),
    [
        (100_001, 16, 64),  # long enough: as asked
        (4097, 16, 64),  # 16 columns of exactly four chunks
        (4096, 15, 64),  # one fewer: a column goes
        (1001, 3, 64),
        (257, 1, 64),
        (256, 1, 63),  # then the chunk shrinks
        (101, 1, 25),
        (9, 1, 2),
        (5, 1, 1),
        (4, 1, 1),
        (2, 1, 1),
    ],
)
def test_short_texts_get_fewer_columns_then_shorter_chunks(characters: int, batch_size: int, bptt: int) -> None:
    for groups in (1, 16):
        streams = Streams(np.zeros(characters, dtype=np.uint8), 16, 64, 0, groups)
        assert (streams.batch_size, streams.bptt) == (batch_size, bptt)
        assert streams.groups == (16 if groups == 16 and characters > 100_000 else 1)


def test_a_text_of_one_character_gives_no_batches() -> None:
    with pytest.raises(CharrnnError, match="at least 2"):
        Streams(np.zeros(1, dtype=np.uint8), 1, 1, seed=0)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 400), st.integers(1, 8), st.integers(1, 30), st.integers(0, 2**63 - 1), st.integers(1, 4), st.randoms())
def test_a_batch_is_a_pure_function_of_the_step(
    characters: int, batch_size: int, bptt: int, seed: int, groups: int, order: Any
) -> None:
    ids = np.random.default_rng(seed).integers(0, 256, characters).astype(np.uint8)
    before = ids.copy()
    steps = list(range(25))
    one, other = (Streams(ids, batch_size, bptt, seed, groups) for _ in range(2))
    forwards = {step: one.batch(step) for step in steps}
    order.shuffle(steps)
    for step in steps:
        again = other.batch(step)
        assert np.array_equal(again.inputs, forwards[step].inputs)
        assert np.array_equal(again.targets, forwards[step].targets)
        assert (again.epoch, again.first, again.rows) == (
            forwards[step].epoch,
            forwards[step].first,
            forwards[step].rows,
        )
    assert np.array_equal(ids, before)


def test_offsets_differ_by_epoch_and_come_from_seed_and_epoch_alone() -> None:
    ids = np.zeros(5000, dtype=np.uint8)

    def offsets(seed: int) -> list[int]:
        return [Streams(ids, 2, 64, seed).offset(epoch) for epoch in range(30)]

    first = offsets(7)
    np.random.seed(3)  # the global generator must not matter
    assert offsets(7) == first
    assert len(set(first)) > 15
    assert offsets(8) != first
    assert offsets(8)[:-1] != first[1:], "seed and epoch are not merely added"
    assert max(first) > 32, "offsets reach over the room there is"
