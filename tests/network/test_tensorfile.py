"""tensorfile: checkpoints and state files are read alike, and no file can crash the reader while it reads."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import attacks
import numpy as np
import pytest
import safetensors.numpy

from charrnn import CharrnnError
from charrnn.network import tensorfile
from charrnn.network.tensorfile import Format

LETTERS = Format("letter", "test-letter", "7", ("address",), "; write one", max_bytes=10_000)


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array([1, -2])}
    tensorfile.write(tmp_path / "letter", LETTERS, {"address": {"street": "Ä"}, "unknown": 1}, arrays)
    return tmp_path / "letter"


def test_facts_and_arrays_come_back(letter: Path) -> None:
    with tensorfile.opened(letter, LETTERS) as file:
        assert file.facts == {"address": {"street": "Ä"}}
        assert {name: (entry.dtype, entry.shape) for name, entry in file.entries.items()} == {
            "a": (np.float32, (2, 3)),
            "n": (np.int64, (2,)),
        }
        assert file.array("n").tolist() == [1, -2]
        assert file.array("a").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "words"),
    [
        ("b", np.float32, (2, 3), "the tensor b is missing"),
        ("a", np.float32, (3, 2), r"a is float32 \(2, 3\), expected float32 \(3, 2\)"),
        ("n", np.float32, (2,), r"n is int64 \(2,\), expected float32 \(2,\)"),
    ],
)
def test_an_array_that_differs_from_what_is_expected_is_named(
    name: str, dtype: type[np.generic], shape: tuple[int, ...], words: str, letter: Path
) -> None:
    with tensorfile.opened(letter, LETTERS) as file:
        file.expect("a", np.float32, (2, 3))
        with pytest.raises(CharrnnError, match=f"^{letter}: not a usable letter: {words}; write one$"):
            file.expect(name, dtype, shape)


def test_another_format_another_version_and_too_large_a_file_are_refused(letter: Path) -> None:
    for kind, words in (
        (Format("letter", "test-parcel", "7", ("address",)), "it was not written by charrnn"),
        (Format("letter", "test-letter", "8", ("address",)), "its format is version 7, this charrnn reads version 8"),
        (Format("letter", "test-letter", "7", ("address", "stamp")), "its header is damaged"),
        (Format("letter", "test-letter", "7", ("address",), max_bytes=100), "it is too large"),
    ):
        with pytest.raises(CharrnnError) as caught, tensorfile.opened(letter, kind):
            pass
        assert str(caught.value) == f"{letter}: not a usable letter: {words}"


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F4", "BF16", "F16", "U8", "BOOL", "C64"])
def test_a_dtype_that_no_file_of_ours_has_is_refused(dtype: str, letter: Path) -> None:
    letter.write_bytes(attacks.edited(letter.read_bytes(), lambda header: header["a"].update(dtype=dtype)))
    words = f"it holds tensors of dtype {dtype}, which this charrnn doesn't read"
    with pytest.raises(CharrnnError, match=words), tensorfile.opened(letter, LETTERS):
        pass


def test_a_file_that_is_cut_while_it_is_read_is_an_error_not_a_crash(letter: Path) -> None:
    """A reader that maps the file into memory would be killed by SIGBUS here."""
    arrays = {"a": np.ones(2000, dtype=np.float32)}
    tensorfile.write(letter, LETTERS, {"address": None}, arrays)
    (length,) = struct.unpack("<Q", letter.read_bytes()[:8])
    with tensorfile.opened(letter, LETTERS) as file:
        os.truncate(letter, 8 + length)
        with pytest.raises(CharrnnError, match="it ends too early"):
            file.array("a")


def test_a_path_that_becomes_another_file_is_still_the_one_that_was_checked(letter: Path) -> None:
    with tensorfile.opened(letter, LETTERS) as file:
        letter.unlink()
        safetensors.numpy.save_file({"a": np.full((2, 3), np.nan, dtype=np.float32)}, letter)
        assert np.isfinite(file.array("a")).all()
