"""corpus: any text files to ids, however they are cut into blocks."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FABLES, Put
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn import CharrnnError
from charrnn.text import sources, spilled
from charrnn.text.corpus import Corpus, Reading, corpus_name, read_corpus
from charrnn.text.reading import TextReader
from charrnn.text.streams import Streams
from charrnn.text.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus") / "text.txt"


def text_of(read: Corpus) -> str:
    return read.vocabulary.decode(read.ids)


def as_lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@settings(deadline=None, max_examples=60)
@given(
    text=st.text(st.sampled_from("ab\r\n\u00e9\u20ac\U0001f600"), min_size=2, max_size=40).filter(
        lambda text: len(as_lf(text)) > 1 and not text.isspace()
    ),
    block=st.integers(1, 9),
    memory=st.sampled_from([1, 16, 1 << 26]),
)
def test_the_text_does_not_depend_on_the_size_of_blocks_or_memory(scratch: Path, text: str, block: int, memory: int) -> None:
    scratch.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BLOCK_BYTES", block)
        patch.setattr(spilled, "IN_MEMORY_BYTES", memory)
        read = read_corpus([str(scratch)])
    assert text_of(read) == as_lf(text)
    assert read.vocabulary.characters == "".join(sorted(set(as_lf(text))))


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
        patch.setattr(sources, "BLOCK_BYTES", block)
        read = read_corpus([str(scratch)], TextReader("byte"))
    assert bytes(read.ids) == data
    assert read.vocabulary == Vocabulary("byte")


def test_gz_files_are_unzipped(put: Put) -> None:
    read = read_corpus([put("story.txt.gz", gzip.compress(b"a\r\nb"))])
    assert (text_of(read), read.name, read.bytes_read) == ("a\nb", "story", 4)
    assert read.sha256 == hashlib.sha256(b"a\r\nb").hexdigest()


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
    assert bytes(read_corpus([put("a", b"x"), put("b", b"y\r\n")], TextReader("byte")).ids) == b"xy\r\n"


def test_a_dash_is_standard_input(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("caf\u00e9\r\n".encode())))
    read = read_corpus(["-", put("b.txt", b"b")])
    assert (text_of(read), read.name, read.paths[0]) == ("caf\u00e9\nb", "stdin", "-")


def test_the_digest_is_of_the_raw_bytes(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 64)
    data = b"\xef\xbb\xbf" + b"a\r\nb\r" * 99
    read = read_corpus([put("a.txt", data)])
    digest = hashlib.sha256(data).hexdigest()
    assert read.facts() == {
        "corpus": "a",
        "corpus_bytes": len(data),
        "corpus_sha256": digest,
        "corpus_text_sha256": hashlib.sha256(b"a\nb\n" * 99).hexdigest(),
        "corpus_reading": 3,
    }


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
    monkeypatch.setattr(sources, "BLOCK_BYTES", 128)
    (home / "a.txt").write_bytes(text.encode())
    small = read_corpus([str(home / "a.txt")])
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", 500)
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
    monkeypatch.setattr(sources, "BLOCK_BYTES", 64)
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", 256)
    with pytest.raises(CharrnnError, match="byte 3000 "):  # a handle left open would be a ResourceWarning
        read_corpus([put("a.txt", b"abc" * 1000 + b"\xff")])
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("room", [0, 3000, 15_000])
@pytest.mark.parametrize("command", [["train", "--dry-run", "a.txt"], ["sample", "-c", FABLES, "--copied-from", "a.txt"]])
def test_temporary_space_that_runs_out_is_a_line_that_names_it(
    put: Put, room: int, command: list[Any], invoke: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code points take 12,000 bytes of the disk, the ids as many; only what is written can be refused by a full one."""

    def full(*arguments: Any, **options: Any) -> Any:
        file = opened(*arguments, **options)
        write = file.write

        def limited(data: Any) -> int:
            used.append(len(data))
            if sum(used) > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(write(data))

        file.write = limited
        return file

    opened, used = tempfile.TemporaryFile, list[int]()
    (temporary := tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", 500)
    put("a.txt", b"Once upon a\n" * 1000)
    done = invoke(*command)
    assert (done.code, done.stdout) == (1, "")
    advice = "a long text needs room for temporary files; TMPDIR may name another directory for them"
    assert done.stderr == f"charrnn: {temporary}: No space left on device; {advice}\n"
    assert list(temporary.iterdir()) == []


def test_a_temporary_directory_that_is_nowhere_is_a_line(
    put: Put, invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/where")
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", 500)
    done = invoke("train", "--dry-run", put("a.txt", b"Once upon a\n" * 1000))
    assert done.stderr.startswith("charrnn: /no/where: No such file or directory; ")


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
        (["/dev/fd/63"], "pipe"),
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


def test_many_files_are_open_one_at_a_time(put: Put, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    for number in range(60):
        put(f"{number}.txt", b"ab\n")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    told: list[Reading] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 4, before[1]))
    try:
        read = read_corpus([str(tmp_path)], tell=told.append)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(read.ids) == 180
    assert [one.file for one in told if not one.encoded][::2][:3] == [1, 2, 3]
    assert told[-1] == Reading(180, 60, 60, 1.0)
