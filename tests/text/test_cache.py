"""cache: a text that is kept is the text that is read, and nothing that befalls the cache makes a run fail or lie."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Put, Result

from charrnn import CharrnnError, UsageError
from charrnn.text import cache as caching
from charrnn.text import cachefile, room, spilled
from charrnn.text.cache import Cache
from charrnn.text.corpus import Corpus, Reading, read_corpus
from charrnn.text.decoding import Encoding
from charrnn.text.reading import TextReader
from charrnn.text.vocabulary import Vocabulary

TEXT = "The fox said to the crow: sing.\n" * 50
CHINESE = "".join(map(chr, range(0x4E00, 0x4E00 + 400))) * 3 + "abc\n"


@pytest.fixture(autouse=True)
def every_text_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "LARGE_BYTES", 0)
    monkeypatch.setattr(caching, "RACE_SECONDS", 0)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # Nobody cuts the power here.


class Kept:
    """A cache, and what it said."""

    def __init__(self, place: Path, most: int = 10**9) -> None:
        self.place, self.said, self.read = place, list[str](), list[Reading]()
        self.cache = Cache(place, most, self.said.append)

    def corpus(self, *paths: str, reader: TextReader | None = None, **options: Any) -> Corpus:
        """The text, which ``warm`` says whether anything of it was read."""
        self.read.clear()
        return read_corpus(paths, reader or TextReader(), cache=self.cache, tell=self.read.append, **options)

    @property
    def warm(self) -> bool:
        return not self.read


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "cache")


def same(one: Corpus, other: Corpus) -> None:
    """All that is known of both is the same, but for counts that nobody made."""
    for field in fields(Corpus):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "ids":
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine[:], theirs[:])
        elif field.name == "pieces" and mine is not None:
            np.testing.assert_array_equal(mine.begins, theirs.begins)
        elif field.name == "records" and mine is not None:
            np.testing.assert_array_equal(mine.starts, theirs.starts)
            np.testing.assert_array_equal(mine.hashes, theirs.hashes)
            assert (mine.train, mine.facts) == (theirs.train, theirs.facts)
        elif field.name != "counts":
            assert mine == theirs, field.name


CASES: dict[str, tuple[list[bytes], TextReader, dict[str, Any]]] = {
    "ascii": ([TEXT.encode()], TextReader(), {}),
    "several": ([b"a\r\nb", b"c", b"", TEXT.encode()], TextReader(), {"val": "scattered"}),
    "chinese": ([CHINESE.encode()], TextReader(), {"val_fraction": 0.3}),
    "rare": ([(TEXT + "xyz").encode()], TextReader(), {"min_count": 2}),
    "bytes": ([TEXT.encode() + b"\xff\x00"], TextReader("byte"), {}),
    "latin": ([b"caf\xe9 " * 30], TextReader(encoding=Encoding("latin-1")), {}),
    "replaced": ([b"caf\xe9 " * 30], TextReader(encoding=Encoding(errors="replace")), {}),
    "records": ([b"".join(b"%x\n" % number for number in range(300)) + b"\n \nlast"], TextReader(), {"val_seed": 3}),
    "rare records": ([b"".join(b"%x\n" % number for number in range(300))], TextReader(), {"val_seed": 0, "min_count": 90}),
    "held-out lines": ([b"anna\nbob\n" * 30], TextReader(), {"val_seed": 0, "val_lines": "held.txt"}),
    "first rules": ([b"\xef\xbb\xbf" + TEXT.encode()], TextReader(version=1), {}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("memory", [1 << 26, 100])
def test_a_kept_text_is_the_text_as_it_is_read(
    case: str, memory: int, kept: Kept, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", memory)
    contents, reader, options = CASES[case]
    paths = [put(f"{number}.txt", content) for number, content in enumerate(contents)]
    if "val_lines" in options:
        options = {**options, "val_lines": put(options["val_lines"], b"anna\n\nzoe")}
    plain = read_corpus(paths, reader, **options)
    for warm in (False, True, True):
        found = kept.corpus(*paths, reader=reader, **options)
        assert kept.warm == warm
        same(found, plain)
        assert found.counts is not None
        np.testing.assert_array_equal(found.counts, np.bincount(plain.ids, minlength=plain.vocabulary.size))
        assert found.unknown == plain.unknown
    assert kept.said == []


def test_warnings_come_again_and_under_the_files_new_name(kept: Kept, put: Put) -> None:
    said: list[str] = []
    reader = TextReader(encoding=Encoding(errors="replace"), warn=said.append)
    path = put("a.txt", b"caf\xe9 " * 30)
    for _ in range(2):
        kept.corpus(path, reader=reader)
    shutil.move(path, moved := path.replace("a.txt", "b.txt"))
    kept.corpus(moved, reader=reader)
    assert kept.warm is False  # its bytes were read, and found to be the same
    assert said[0] == said[1] == f"{path}: 30 U+FFFD stand for what is not valid UTF-8 text, the first in line 1"
    assert said[2] == said[0].replace(path, moved)


CHANGES: dict[str, Callable[[Path], Any]] = {
    "another character": lambda path: path.write_bytes(path.read_bytes().replace(b"fox", b"cat", 1)),
    "the same length and times": lambda path: (
        before := path.stat(),
        path.write_bytes(path.read_bytes().replace(b"fox", b"cat", 1)),
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns)),
    ),
    "shorter": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "another file in its place": lambda path: (
        path.with_suffix(".new").write_bytes(path.read_bytes().replace(b"crow", b"wren")),
        os.replace(path.with_suffix(".new"), path),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_another_text(change: str, kept: Kept, put: Put) -> None:
    path = put("a.txt", TEXT.encode())
    kept.corpus(path)
    CHANGES[change](Path(path))
    found = kept.corpus(path)
    assert not kept.warm
    same(found, read_corpus([path]))


@pytest.mark.parametrize("how", ["touched", "copied", "packed"])
def test_the_same_bytes_are_the_same_text(how: str, kept: Kept, put: Put) -> None:
    path = put("a.txt", TEXT.encode())
    kept.corpus(path)
    if how == "touched":
        os.utime(path)
    else:
        path = put("b.txt", TEXT.encode()) if how == "copied" else put("b.txt.gz", gzip.compress(TEXT.encode()))
    found = kept.corpus(path)
    assert kept.read  # all bytes,
    assert not any(told.encoded for told in kept.read)  # and no more
    same(found, read_corpus([path]))
    kept.corpus(path)
    assert kept.warm
    assert len(kept.cache.entries()) == 1


def test_where_one_file_ends_and_the_next_begins_counts(kept: Kept, put: Put) -> None:
    joined = [put("a", b"ab"), put("b", b"cd\n")], [put("c", b"abc"), put("d", b"d\n")], [put("e", b"abcd\n")]
    for paths in joined:
        same(kept.corpus(*paths), read_corpus(paths))


def test_every_rule_has_a_text_of_its_own(kept: Kept, put: Put) -> None:
    path = put("a.txt", b"caf\xc3\xa9 or\r\ncaf\n" * 9)
    ways: list[tuple[TextReader, dict[str, Any]]] = [
        (TextReader(), {}),
        (TextReader("byte"), {}),
        (TextReader(version=1), {}),
        (TextReader(encoding=Encoding("latin-1")), {}),
        (TextReader(encoding=Encoding("ascii", "replace")), {}),
        (TextReader(), {"min_count": 10}),
        (TextReader(), {"val_seed": 0}),
        (TextReader(), {"val_seed": 1}),
        (TextReader(), {"val_seed": 0, "val_fraction": 0.5}),
        (TextReader(), {"vocabulary": Vocabulary("char", "acf")}),
    ]
    for warm in (False, True):
        for reader, options in ways:
            same(kept.corpus(path, reader=reader, **options), read_corpus([path], reader, **options))
            assert kept.warm == warm
    assert len(kept.cache.entries()) == len(ways)


def test_its_own_vocabulary_given_finds_the_text_too(kept: Kept, put: Put) -> None:
    path = put("a.txt", TEXT.encode())
    own = kept.corpus(path).vocabulary
    kept.corpus(path, vocabulary=own)  # as --resume does
    assert kept.warm


def test_to_verify_is_to_read_it_whole(kept: Kept, put: Put) -> None:
    path = put("a.txt", TEXT.encode())
    kept.corpus(path)
    kept.corpus(path, verify=True)
    assert [told.bytes for told in kept.read] == [len(TEXT)]
    (entry,) = kept.cache.entries()
    damage(entry.path, 4096 + 5)
    same(kept.corpus(path, verify=True), read_corpus([path]))
    assert any(told.encoded for told in kept.read)


def test_a_file_that_may_change_within_the_same_tick_is_not_taken_as_it_was(
    kept: Kept, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caching, "RACE_SECONDS", 1000)
    path = put("a.txt", TEXT.encode())
    for _ in range(2):
        kept.corpus(path)
        assert not kept.warm
    assert not any(told.encoded for told in kept.read)


@pytest.mark.parametrize(("size", "packed", "files", "large"), [(9, 99, 9, True), (99, 9, 9, False), (99, 99, 2, True)])
def test_small_texts_are_not_kept(
    size: int, packed: int, files: int, large: bool, kept: Kept, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LARGE_BYTES": size, "PACKED_BYTES": packed, "MANY_FILES": files}.items():
        monkeypatch.setattr(caching, name, value)
    kept.corpus(put("a.txt", b"ab" * 10), put("b.txt", b"ab"))
    assert bool(kept.place.exists()) == large


def test_packed_texts_count_more(kept: Kept, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "LARGE_BYTES", 10**6)
    monkeypatch.setattr(caching, "PACKED_BYTES", 10)
    kept.corpus(put("a.txt.gz", gzip.compress(TEXT.encode())))
    assert len(kept.cache.entries()) == 1


def test_a_pipe_is_not_kept(kept: Kept, tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "pipe")
    writer = threading.Thread(target=path.write_bytes, args=(TEXT.encode(),))
    writer.start()
    assert len(kept.corpus(str(path)).ids) == len(TEXT)
    writer.join()
    assert not kept.place.exists()


# -- what may befall it -----------------------------------------------------------------------------------------------


def damage(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def fill(path: Path, data: bytes) -> None:
    path.write_bytes(data)


BROKEN: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: fill(path, b""),
    "cut": lambda path: fill(path, path.read_bytes()[:-100]),
    "cut in the ids": lambda path: fill(path, path.read_bytes()[:5000]),
    "longer": lambda path: fill(path, path.read_bytes() + b"\0"),
    "zeros": lambda path: fill(path, bytes(path.stat().st_size)),
    "noise": lambda path: fill(path, np.random.default_rng(0).bytes(path.stat().st_size)),
    "header": lambda path: damage(path, path.stat().st_size - 30),
    "opening": lambda path: damage(path, 20),
    "others may write it": lambda path: path.chmod(0o666),
    "directory": lambda path: (path.unlink(), path.mkdir()),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "link to a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "gone": lambda path: path.unlink(),
    "unreadable note": lambda path: fill(next(path.parent.glob("*.json")), b"[" * 5000),
    "another note": lambda path: fill(next(path.parent.glob("*.json")), b'{"text": "../../x", "stamp": 3}'),
    "a note that is a list": lambda path: fill(next(path.parent.glob("*.json")), b"[1]"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_file_is_as_good_as_none(broken: str, kept: Kept, put: Put) -> None:
    path = put("a.txt", TEXT.encode())
    kept.corpus(path)
    (entry,) = kept.cache.entries()
    BROKEN[broken](entry.path)
    same(kept.corpus(path), read_corpus([path]))
    assert not kept.warm
    if broken != "directory":
        kept.corpus(path)
        assert kept.warm
        assert kept.said == []


def test_one_text_in_anothers_place_is_not_taken_for_it(kept: Kept, put: Put) -> None:
    paths = [put("a.txt", TEXT.encode()), put("b.txt", TEXT.replace("fox", "cat").encode())]
    for path in paths:
        kept.corpus(path)
    one, other = (entry.path for entry in kept.cache.entries())
    shutil.copyfile(one, other)
    for path in paths:
        same(kept.corpus(path), read_corpus([path]))


def test_damaged_ids_are_an_error_where_they_are_read_and_are_dropped(kept: Kept, put: Put) -> None:
    path = put("a.txt", TEXT.encode())
    kept.corpus(path)
    (entry,) = kept.cache.entries()
    damage(entry.path, 4096 + 700)
    found = kept.corpus(path)
    with pytest.raises(CharrnnError, match="is damaged, and was dropped; start again"):
        found.ids[700]
    assert not entry.path.exists()
    same(kept.corpus(path), read_corpus([path]))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_belongs_to_another_user_is_not_read(what: str, kept: Kept, put: Put) -> None:
    path = put("a.txt", TEXT.encode())
    kept.corpus(path)
    os.chown(kept.cache.entries()[0].path if what == "file" else kept.place, 12345, -1)
    same(kept.corpus(path), read_corpus([path]))
    assert not kept.warm
    assert bool(kept.said) == (what == "directory")


def test_the_directory_is_the_users_alone(kept: Kept, put: Put) -> None:
    path = put("a.txt", TEXT.encode())
    kept.corpus(path)
    assert kept.place.stat().st_mode & 0o777 == 0o700
    kept.place.chmod(0o755)
    kept.corpus(path)
    assert kept.warm
    assert kept.place.stat().st_mode & 0o777 == 0o700
    kept.place.chmod(0o777)
    same(kept.corpus(path), read_corpus([path]))
    assert not kept.warm
    assert kept.said == [
        f"{kept.place}: others may write there; the text isn't kept, and is read anew next time;"
        " CHARRNN_CACHE names another directory, or none"
    ]


def test_a_file_in_the_directorys_place_is_a_line(kept: Kept, put: Put) -> None:
    kept.place.write_bytes(b"")
    path = put("a.txt", TEXT.encode())
    same(kept.corpus(path), read_corpus([path]))
    assert len(kept.said) == 1
    assert kept.said[0].startswith(f"{kept.place}: ")


READER = """
import os, sys
from charrnn.text import cache
from charrnn.text.corpus import read_corpus
read_corpus([sys.argv[1]])  # Whatever is imported late is then there.
os.setgid(12345), os.setuid(12345)
cache.LARGE_BYTES = 0
said = []
read = read_corpus([sys.argv[1]], cache=cache.Cache(cache.Path(sys.argv[2]), warn=said.append))
print(len(read.ids), said)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root may write anywhere, and has to become somebody else")
def test_a_directory_that_can_only_be_read_is_a_line(put: Put, tmp_path: Path) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:  # (pytest's own directories are for root alone.)
        Path(place).chmod(0o755)
        text, kept = Path(place, "a.txt"), Path(place, "cache")
        text.write_text(TEXT)
        kept.mkdir()
        os.chown(kept, 12345, -1)
        kept.chmod(0o500)
        command = [sys.executable, "-c", READER, str(text), str(kept)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith(f"{len(TEXT)} [\"{kept}: Permission denied; the text isn't kept"), done.stderr


def test_a_disk_that_fills_up_is_a_line(kept: Kept, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cachefile, "write", full)
    path = put("a.txt", TEXT.encode())
    same(kept.corpus(path), read_corpus([path]))
    assert kept.said[0].startswith(f"{kept.place}: No space left on device; the text isn't kept")
    assert list(kept.place.iterdir()) == []


def test_many_at_once_all_get_the_text(put: Put, tmp_path: Path) -> None:
    path, place = put("a.txt", TEXT.encode()), tmp_path / "cache"
    plain, found = read_corpus([path]), list[Corpus]()

    def read() -> None:
        for number in range(20):
            mine = Kept(place)
            found.append(mine.corpus(path))
            if number % 5 == 4:
                mine.cache.clear()

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    for one in found:
        same(one, plain)


# -- its size and its place -------------------------------------------------------------------------------------------


def test_the_texts_used_longest_ago_make_room(put: Put, tmp_path: Path) -> None:
    paths = [put(f"{name}.txt", (name + TEXT).encode()) for name in "abc"]
    size = Kept(tmp_path / "x")
    size.corpus(paths[0])
    (entry,) = size.cache.entries()
    kept = Kept(tmp_path / "cache", int(2.5 * entry.size))
    for number, path in enumerate(paths[:2]):
        kept.corpus(path)
        os.utime(kept.cache.entries()[0].path, (number, number))
    kept.corpus(paths[0])  # so that b is the oldest
    left_over = kept.place / f".{'0' * 32}.json.abcdefgh.tmp"
    left_over.write_bytes(b"x")
    os.utime(left_over, (0, 0))
    kept.corpus(paths[2])
    warm = []
    for path in (paths[0], paths[2], paths[1]):
        kept.corpus(path)
        warm.append(kept.warm)
    assert warm == [True, True, False]
    assert not left_over.exists()
    assert len(list(kept.place.glob("*.json"))) == len(kept.cache.entries()) == 2


def test_too_little_room_is_a_line_before_anything_is_read(
    kept: Kept, put: Put, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", 100)
    path = put("a.txt", TEXT.encode())
    kept.cache.most = 1000
    same(kept.corpus(path), read_corpus([path]))
    assert kept.said.pop().endswith("it is read anew next time; CHARRNN_CACHE_SIZE sets another limit")
    kept.cache.most = 10**9
    free = {kept.place: 1000}
    monkeypatch.setattr(room, "free", lambda place: free.get(place))
    same(kept.corpus(path), read_corpus([path]))
    assert kept.said.pop().startswith(f"{kept.place}: 0 MB free, the text needs 0 MB to be kept; it is read anew next time;")
    monkeypatch.setattr(room, "free", lambda _: 1000)
    with pytest.raises(CharrnnError, match="temporary files; TMPDIR may name another directory for them"):
        kept.corpus(path)
    assert kept.read == []
    assert kept.said


@pytest.mark.parametrize(
    ("platform", "environment", "place"),
    [
        ("linux", {"CHARRNN_CACHE": "/x"}, "/x/charrnn-texts"),
        ("linux", {"CHARRNN_CACHE": ""}, None),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/charrnn/texts"),
        ("linux", {"XDG_CACHE_HOME": "x"}, "/home/me/.cache/charrnn/texts"),
        ("linux", {}, "/home/me/.cache/charrnn/texts"),
        ("darwin", {"XDG_CACHE_HOME": "/x"}, "/home/me/Library/Caches/charrnn/texts"),
        ("win32", {"LOCALAPPDATA": "/x/Local"}, "/x/Local/charrnn/texts"),
        ("win32", {}, None),
    ],
)
def test_the_directory_is_that_of_the_platform_or_the_user(
    platform: str, environment: dict[str, str], place: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CHARRNN_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert caching.directory() == (None if place is None else Path(place))


@pytest.mark.parametrize(("told", "size"), [("", 32 * 10**9), ("5", 5), ("32G", 32 * 10**9), ("10m", 10**7), ("1T", 10**12)])
def test_the_limit_is_a_number_of_bytes(told: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_CACHE_SIZE", told)
    assert caching.limit() == size


@pytest.mark.parametrize("told", ["G", "much", "-1", "1.5G", "\u00b2"])
def test_another_limit_is_refused(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_CACHE_SIZE", told)
    with pytest.raises(UsageError, match="CHARRNN_CACHE_SIZE"):
        caching.limit()


# -- as a user sees it ------------------------------------------------------------------------------------------------

TRAIN = ("train", "a.txt", "--hidden-size", "4", "--steps", "2", "--workers", "1", "--seed", "5", "-q")


def test_the_same_run_with_and_without_a_cache(
    invoke: Callable[..., Result], put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a.txt", TEXT.encode())
    assert invoke(*TRAIN, "--out", "without").code == 0
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "kept"))
    assert invoke(*TRAIN, "--out", "with").code == 0
    place = tmp_path / "kept" / "charrnn-texts"
    (before,) = place.glob("*.text")
    for name in ("with", "without"):  # from what is kept, and from the text
        assert invoke("train", "--resume", name, "--steps", "3", "-q").code == 0
        monkeypatch.setenv("CHARRNN_CACHE", "")
    from charrnn.network import checkpoint

    def facts(name: str) -> Any:
        read = checkpoint.read(tmp_path / name / "last.safetensors")
        weights = {name: weight.tobytes() for name, weight in read.weights.items()}
        own = {name: value for name, value in read.training.items() if name not in ("seconds", "progress", "saved_at")}
        return weights, own

    assert facts("with") == facts("without")
    assert [*place.glob("*.text")] == [before]


def test_the_command_lists_and_clears(
    invoke: Callable[..., Result], put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "kept"))
    place = tmp_path / "kept" / "charrnn-texts"
    assert invoke("cache").stderr == f"charrnn: {place}: no texts are kept\n"
    put("a.txt", TEXT.encode())
    put("\x1b[31mb.txt", (TEXT + "x").encode())
    for name in ("a.txt", "\x1b[31mb.txt"):
        assert invoke("train", name, "--dry-run", "--steps", "3").code == 0
    (place / "mine.txt").write_text("not the program's")
    listed = invoke("cache", terminal=True)
    assert "\x1b[31mb" not in listed.stdout
    assert "\u241b[31mb.txt" in listed.stdout
    facts = [json.loads(line) for line in invoke("cache", "--json").stdout.splitlines()]
    assert {(one["text"], one["characters"]) for one in facts} == {
        ("a.txt", len(TEXT)),
        ("\x1b[31mb.txt", len(TEXT) + 1),
    }
    damage(Path(facts[0]["path"]), 20)
    assert "damaged" in invoke("cache").stdout
    assert invoke("cache", "--clear").stderr.startswith(f"charrnn: {place}: 2 texts removed, ")
    assert [path.name for path in place.iterdir()] == ["mine.txt"]
    monkeypatch.setenv("CHARRNN_CACHE", "")
    assert "CHARRNN_CACHE is empty" in invoke("cache").stderr
