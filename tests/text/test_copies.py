"""Files that hold the same text are told of; others, and what doesn't matter, are not."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Put

from charrnn.text import copies, corpus
from charrnn.text.cache import Cache
from charrnn.text.reading import TextReader

SAGA = "".join(f"{number}: the fox said to the crow: sing.\n" for number in range(400))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def read(said: list[str]) -> Callable[..., None]:
    """Read files into one corpus."""

    def read(*paths: str, level: str = "char", **options: int) -> None:
        corpus.read_corpus(paths, TextReader(level, warn=said.append), **options)

    return read


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("copy.txt", SAGA.encode()),
        ("copy.txt.gz", gzip.compress(SAGA.encode(), mtime=0)),
        ("windows.txt", SAGA.replace("\n", "\r\n").encode("utf-16")),
    ],
)
def test_a_copy_under_another_name_is_told_of(
    name: str, copy: bytes, put: Put, read: Callable[..., None], said: list[str]
) -> None:
    first, between, second = put("saga.txt", SAGA.encode()), put("other.txt", b"a crow"), put(name, copy)
    read(first, between, second)
    what = "what is held out of one is learned from the other, so leave copies out"
    assert said == [f"{second}: the same text as {first}; {what}"]


def test_several_are_counted_also_bytes_and_without_a_last_newline(
    put: Put, read: Callable[..., None], said: list[str], tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        put(f"{name}.txt", SAGA.rstrip().encode())
    for level in ("char", "byte"):
        read(str(tmp_path), level=level)
    expected = f"{tmp_path / 'b.txt'}: the same text as {tmp_path / 'a.txt'}, and 1 more; "
    assert [line.startswith(expected) for line in said] == [True, True]


def test_other_texts_of_one_length_are_no_copies(put: Put, read: Callable[..., None], said: list[str]) -> None:
    read(
        put("a.txt", SAGA.encode()),
        put("b.txt", SAGA.replace("0:", "1:", 1).encode()),
        put("c.txt", (SAGA[:-2] + "!\n").encode()),
    )
    assert said == []


def test_nor_are_records_or_a_file_that_is_named_twice_which_is_said_elsewhere_or_a_small_part(
    put: Put, read: Callable[..., None], said: list[str]
) -> None:
    first, second = put("a.txt", SAGA.encode()), put("b.txt", SAGA.encode())
    read(first, second, val_seed=0)
    assert said == []
    read(first, first)
    assert len(said) == 1
    read(put("c.txt", b"fox"), put("d.txt", b"fox"), first)
    assert len(said) == 1


def test_the_blocks_make_no_difference(
    put: Put, read: Callable[..., None], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "SEEN", 100)
    first = put("a.txt", SAGA.encode())
    second = put("b.txt.gz", b"".join(gzip.compress(SAGA[begin : begin + 7].encode()) for begin in range(0, len(SAGA), 7)))
    read(first, second)
    assert len(said) == 1


def test_a_text_that_is_kept_is_told_of_again(
    put: Put, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.text.cache.LARGE_BYTES", 1)
    paths = [put("a.txt", SAGA.encode()), put("b.txt", SAGA.encode())]
    for _ in range(2):
        corpus.read_corpus(paths, TextReader(warn=said.append), cache=Cache(tmp_path / "cache"))
    assert said[0].startswith(f"{paths[1]}: the same text as {paths[0]}; what")
    assert said[1].startswith(f"{paths[1]}: the same text as another of these files; what")
