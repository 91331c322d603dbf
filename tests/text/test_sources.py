"""sources: files, directories, compressed files and standard input as bytes."""

from __future__ import annotations

import bz2
import errno
import gzip
import json
import lzma
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import FABLES, Put

from charrnn import CharrnnError, UsageError
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.decoding import Encoding
from charrnn.text.reading import TextReader
from charrnn.text.sources import BLOCK_BYTES, blocks, text_files

Invoke = Callable[..., Any]


def one_line(stderr: str) -> str:
    assert stderr.count("\n") == 1, stderr
    return stderr


def text_of(read: Corpus) -> str:
    return read.vocabulary.decode(read.ids)


ZIPPED = gzip.compress(bytes(range(256)) * 50, mtime=0)


@pytest.mark.parametrize(
    "data",
    [ZIPPED[:3], ZIPPED[:40], ZIPPED[:-1], ZIPPED[:-8], ZIPPED[:-8] + bytes(8), ZIPPED[:10] + b"\xff" * 40, b"no gzip at all"],
)
@pytest.mark.parametrize("level", ["char", "byte"])
def test_a_damaged_gz_file_is_a_clear_error(put: Put, data: bytes, level: str) -> None:
    path = put("a.gz", data)
    with pytest.raises(CharrnnError, match="gzip") as caught:
        read_corpus([path], TextReader(level, Encoding("latin-1")))
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(("ending", "module", "called"), [(".bz2", bz2, "bzip2"), (".xz", lzma, "xz"), (".GZ", gzip, "gzip")])
def test_every_compressed_file_of_the_standard_library_is_read(
    put: Put, ending: str, module: ModuleType, called: str, invoke: Invoke
) -> None:
    packed = module.compress(b"Once upon a time\r\n" * 2)
    path = put(f"tale.txt{ending}", packed)
    read = read_corpus([path])
    assert (text_of(read), read.name) == ("Once upon a time\n" * 2, "tale")
    assert json.loads(invoke("score", path, "-c", FABLES, "--json").stdout)["characters"] == 34
    for data in (packed[:-9], packed[:4] + b"?" * 40, b"no such data"):
        broken = invoke("score", put(f"broken{ending}", data), "-c", FABLES)
        assert broken.code == 1
        assert f"not a whole {called} file" in one_line(broken.stderr)


@pytest.mark.parametrize(("ending", "module", "called"), [(".bz2", bz2, "bzip2"), (".xz", lzma, "xz"), (".gz", gzip, "gzip")])
def test_of_a_compressed_file_everything_is_read_or_it_is_refused(
    put: Put, ending: str, module: ModuleType, called: str, invoke: Invoke
) -> None:
    packed = module.compress(b"Once upon a time\n" * 9000)
    joined = packed + bytes(8) + module.compress(b"") + module.compress(b"The end\n") + bytes(12)
    assert b"".join(blocks(put(f"joined{ending}", joined))) == b"Once upon a time\n" * 9000 + b"The end\n"
    assert max(map(len, blocks(put(f"joined{ending}", joined)))) <= BLOCK_BYTES
    for data, why in (
        (packed + b"garbage", f"something else follows the {called} data"),
        (packed + bytes(4) + b"x" * 99, f"something else follows the {called} data"),
        (joined[:-21], f"not a whole {called} file (it ends before the data does)"),
        (b"", f"the file is empty, which no {called} file is"),
    ):
        refused = invoke("score", put(f"odd.txt{ending}", data), "-c", FABLES)
        assert (refused.code, refused.stdout) == (1, "")
        assert one_line(refused.stderr).endswith(f"odd.txt{ending}: {why}\n")


TREE = {
    "ch10.txt": b"10",
    "ch2.txt": b"2",
    "PG1.TXT": b"P",
    "z.txt.gz": gzip.compress(b"z"),
    "part 1/b.txt.BZ2": bz2.compress(b"b"),
    "part 1/deeper/a.Txt.xz": lzma.compress(b"a"),
    "part 10/x.txt": b"x",
    "part 9/x.txt": b"9",
    "._ch2.txt": b"\0\5\x16\7 not a text",
    ".git/index.txt": b"hidden",
    "notes.md": b"# notes",
    "part 1/more.md": b"# more",
    "cover.pdf": b"%PDF-1.7",
    "LICENSE": b"free",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, data in TREE.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(data)
    return tmp_path / "tree"


def test_a_directory_is_read_with_all_below_it_in_natural_order_and_the_rest_is_counted(tree: Path, invoke: Invoke) -> None:
    done = invoke("score", "tree", "-c", FABLES, "--json", "--errors", "replace")
    order = ["ch2.txt", "ch10.txt", "part 1/b.txt.BZ2", "part 1/deeper/a.Txt.xz", "part 9/x.txt", "part 10/x.txt"]
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == [
        f"tree/{name}" for name in [*order, "PG1.TXT", "z.txt.gz"]
    ]
    left_out = "8 files read, 4 others not (.md 2, .pdf 1, without an ending 1); name what else is to be read"
    assert f"charrnn: warning: tree: {left_out}\n" in done.stderr
    assert text_of(read_corpus(["tree"])) == "2\n10\nb\na\n9\nx\nP\nz"
    assert left_out in invoke("train", "tree", "--steps", "1", "--dry-run").stderr


def test_links_to_directories_are_not_followed_and_links_to_files_are(tree: Path) -> None:
    (tree / "again").symlink_to(tree, target_is_directory=True)
    (tree / "lost.txt").symlink_to("nowhere")
    (tree / "ch3.txt").symlink_to("ch2.txt")
    said: list[str] = []
    assert [Path(path).name for path in text_files([str(tree)], said.append)][:3] == ["ch2.txt", "ch3.txt", "ch10.txt"]
    kinds = ".md 2, .pdf 1, links to directories 1, pipes, sockets or broken links 1, without an ending 1"
    assert f"9 files read, 6 others not ({kinds})" in said[0]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions")
def test_a_directory_that_cannot_be_read_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refused(path: str) -> Any:
        if str(path).endswith("deeper"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)  # Root may read anything.
    with pytest.raises(CharrnnError, match=r"part 1.deeper: Permission denied$"):
        text_files([str(tree)], pytest.fail)


def test_of_many_kinds_of_files_the_commonest_are_named(put: Put, tmp_path: Path) -> None:
    for ending in ("txt", *"abcdefg"):
        put(f"x.{ending}", b"")
    put("y.g", b"")
    said: list[str] = []
    assert len(text_files([str(tmp_path)], said.append)) == 1
    assert "1 file read, 8 others not (.g 2, .a 1, .b 1, .c 1, .d 1, 2 kinds more)" in said[0]
    (tmp_path / "x.f").unlink()
    assert len(text_files([str(tmp_path)], said.append)) == 1
    assert "(.g 2, .a 1, .b 1, .c 1, .d 1, 1 kind more)" in said[1]


def test_a_directory_is_what_it_was_for_a_run_that_began_before(tree: Path) -> None:
    assert text_files([str(tree)], pytest.fail, version=1) == [
        str(tree / name) for name in ("._ch2.txt", "ch10.txt", "ch2.txt")
    ]


def test_a_directory_without_txt_files_is_a_clear_error(put: Put, tmp_path: Path) -> None:
    put("a.md", b"abc")
    with pytest.raises(CharrnnError, match=r"holds no \*\.txt file \(\.md 1\)") as caught:
        read_corpus([str(tmp_path)])
    assert str(tmp_path) in str(caught.value)


def test_standard_input_can_be_named_once(put: Put) -> None:
    with pytest.raises(UsageError, match="standard input"):
        read_corpus(["-", put("b.txt", b"b"), "-"])


@pytest.mark.parametrize("name", ["none.txt", "none.gz", "no/where.txt", "x" * 300])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    with pytest.raises(CharrnnError) as caught:
        read_corpus([path])
    assert str(caught.value).startswith(f"{path}: ")


# -- a pipe that has nothing yet ---------------------------------------------------------------------------------------


def slowly(*arguments: str, parts: Sequence[bytes]) -> subprocess.CompletedProcess[bytes]:
    """Run a command whose stdin doesn't block and has each of ``parts`` only once the one before was taken."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    command = [sys.executable, "-m", "charrnn", *arguments, "-c", str(FABLES)]
    with subprocess.Popen(command, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.set_blocking(write, True)
        for part in parts:
            os.write(write, part)
            while process.poll() is None and left(read):
                time.sleep(0.01)
        os.close(read)
        os.close(write)
        stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def left(pipe: int) -> int:
    """How many bytes of a pipe nobody has read yet."""
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes that don't block")
@pytest.mark.parametrize(
    "arguments", [["score", "-", "--json"], ["next", "-", "--json"], ["sample", "--prompt", "-", "--json", "-n", "1"]]
)
def test_stdin_that_does_not_block_is_waited_for(arguments: list[str]) -> None:
    done = slowly(*arguments, parts=[b"Once upon ", b"a ", b"time"])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.get("prompt", "Once upon a time") == "Once upon a time"
    if arguments[0] == "score":
        assert found["characters"] == 16


@pytest.mark.skipif(sys.platform == "win32", reason="pipes that don't block")
@pytest.mark.parametrize(
    "parts",
    [(b"\xef", b"\xbb\xbfab"), (b"\xef\xbb", b"\xbfab"), (b"\xff\xfe", b"\0\0a\0\0\0b\0\0\0"), (b"\xff", b"\xfea\0b\0")],
)
def test_a_byte_order_mark_may_arrive_in_two_parts(parts: Sequence[bytes]) -> None:
    done = slowly("score", "-", "--json", parts=parts)
    assert [json.loads(done.stdout)[key] for key in ("characters", "unknown")] == [2, 0]
