"""room: what a text will take on the disk, before it is read."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from conftest import Put

from charrnn.text import room
from charrnn.text.decoding import Encoding
from charrnn.text.reading import TextReader
from charrnn.text.room import Needed

HAN = "".join(map(chr, range(0x4E00, 0x4E00 + 400)))


@pytest.mark.parametrize(
    ("text", "reader", "needed"),
    [
        (b"plain" * 2000, TextReader(), Needed(10_000, 10_000)),
        (b"\xff" * 10_000, TextReader("byte"), Needed(10_000, 10_000)),
        (b"name\n" * 2000, TextReader(), Needed(10_000, 10_000, 2000)),
        (b"name\n" * 2000, TextReader("byte"), Needed(10_000, 10_000, 2000)),
        ("\u0439".encode() * 5000, TextReader(), Needed(10_000, 5000)),
        (HAN.encode() * 30, TextReader(), Needed(24_000, 24_000)),
        ("\u0439".encode("utf-16-le") * 5000, TextReader(encoding=Encoding("utf-16-le")), Needed(5000, 5000)),
    ],
)
def test_an_estimate_is_the_size_of_code_points_and_of_ids(text: bytes, reader: TextReader, needed: Needed, put: Put) -> None:
    path = put("a.txt", text)
    found = room.needed([path], reader)
    assert found.ids == pytest.approx(needed.ids, rel=0.02)
    assert found.codes == pytest.approx(needed.codes, rel=0.02)
    assert found.lines == pytest.approx(needed.lines, rel=0.02)
    assert room.needed([path, path], reader).ids == pytest.approx(2 * needed.ids, rel=0.02)


def test_what_no_size_tells_is_taken_for_nothing(put: Put) -> None:
    assert room.needed([put("a.txt.gz", gzip.compress(b"a" * 10_000)), "-"], TextReader()) == Needed(0, 0)


def test_the_disk_says_what_is_free(tmp_path: Path) -> None:
    assert room.free(tmp_path)
    assert room.free(tmp_path / "nowhere") is None
