"""`charrnn encode`: vectors in files, in pipes and on stdout; what can't be is one line."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import network

Invoke = Callable[..., Any]
LINES = "go the end\n\nof all.\nThe fox"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    network(tmp_path / "net")
    (tmp_path / "list.txt").write_text(LINES)
    return tmp_path


def test_each_line_is_a_row_in_order_and_the_path_is_the_product(invoke: Invoke, here: Path) -> None:
    result = invoke("encode", "list.txt", "--npz", "v.npz", "-c", "net")
    assert (result.code, result.stdout) == (0, "v.npz\n")
    assert result.stderr == "charrnn: 4 lines as vectors of 8 units: final, mean\n"
    with np.load(here / "v.npz", allow_pickle=False) as archive:
        final, mean = archive["final"], archive["mean"]
    assert final.shape == mean.shape == (4, 8)
    assert invoke("encode", "-", "--npz", "one.npz", "-c", "net", "-q", stdin=b"of all.").stderr == ""
    with np.load(here / "one.npz", allow_pickle=False) as archive:
        np.testing.assert_allclose(archive["final"][0], final[2], atol=1e-6)


def test_packed_files_and_several_are_read_as_score_reads_them(invoke: Invoke, here: Path) -> None:
    (here / "list.txt.gz").write_bytes(gzip.compress(LINES.replace("\n", "\r\n").encode()))
    assert invoke("encode", "list.txt", "list.txt.gz", "--npz", "v.npz", "-c", "net").code == 0
    with np.load(here / "v.npz", allow_pickle=False) as archive:
        assert archive["final"].shape == (8, 8)
        np.testing.assert_allclose(archive["final"][:4], archive["final"][4:], atol=1e-6)


def test_what_is_not_its_own_stays(invoke: Invoke, here: Path) -> None:
    (here / "notes.npz").write_text("mine")
    for out, why in (("notes.npz", "not by charrnn encode"), (".", "a directory has this name"), ("a/v.npz", "no directory a")):
        result = invoke("encode", "list.txt", "--npz", out, "-c", "net")
        assert (result.code, result.stdout) == (1, "")
        assert why in result.stderr
        assert result.stderr.count("\n") == 1
    assert (here / "notes.npz").read_text() == "mine"
    for _ in range(2):  # Its own archive is replaced.
        assert invoke("encode", "list.txt", "--npz", "v.npz", "-c", "net").code == 0
    (here / "link.npz").symlink_to("v.npz")
    assert invoke("encode", "net/../list.txt", "list.txt", "--npz", "link.npz", "-c", "net").code == 0
    assert (here / "link.npz").is_symlink()
    assert np.load(here / "v.npz")["final"].shape == (8, 8)


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("list.txt",), 2, "Missing option '--npz'"),
        (("gone.txt", "--npz", "v.npz"), 1, "gone.txt"),
        (("bad.txt", "--npz", "v.npz"), 1, "is not valid UTF-8"),
        (("list.txt", "--npz", "v.npz", "--encoding", "klingon"), 2, "klingon"),
    ],
)
def test_what_can_not_be_is_one_line_and_leaves_nothing(
    invoke: Invoke, here: Path, arguments: tuple[str, ...], code: int, why: str
) -> None:
    (here / "bad.txt").write_bytes(b"caf\xe9\n")
    result = invoke("encode", *arguments, "-c", "net")
    assert (result.code, result.stdout) == (code, "")
    assert why in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in here.iterdir()) == ["bad.txt", "list.txt", "net"]


def test_an_empty_text_has_no_rows(invoke: Invoke, here: Path) -> None:
    assert invoke("encode", "-", "--npz", "v.npz", "-c", "net", stdin=b"").code == 0
    with np.load(here / "v.npz", allow_pickle=False) as archive:
        assert archive["final"].shape == (0, 8)


def test_characters_that_the_network_does_not_know_are_told(invoke: Invoke, here: Path) -> None:
    result = invoke("encode", "-", "--npz", "v.npz", "-c", "net", stdin="ж\n".encode())
    assert "'ж'" in result.stderr


def test_stdout_takes_the_archive_alone(charrnn: Callable[..., subprocess.CompletedProcess[bytes]], here: Path) -> None:
    result = charrnn("encode", "list.txt", "--npz", "/dev/stdout", "-c", "net")
    assert result.returncode == 0
    with np.load(io.BytesIO(result.stdout), allow_pickle=False) as archive:
        assert archive["final"].shape == (4, 8)
    # Where the shell leads stdout into a file, that file isn't somebody else's.
    command = [sys.executable, "-m", "charrnn", "encode", "list.txt", "--npz", "/dev/stdout", "-c", "net"]
    with open(here / "v.npz", "wb") as file:
        subprocess.run(command, cwd=here, stdout=file, stderr=subprocess.DEVNULL, timeout=60, check=True)
    assert (here / "v.npz").read_bytes() == result.stdout
