"""xz: the size that xz -9 makes of a text, and the program that tells it without standing in anybody's way."""

from __future__ import annotations

import lzma
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from charrnn.text import xz

PROGRAM = [sys.executable, "-I", "-S", xz.__file__]


@pytest.mark.parametrize("size", [0, 1, 2_000, 70_000])
def test_the_size_is_that_of_the_highest_preset(size: int) -> None:
    data = "".join(random.Random(0).choices("abc de\n", k=size)).encode()
    # An .xz file's blocks are padded to four bytes; a smaller window is told in the same byte.
    assert xz.compressed_size(data) == len(lzma.compress(data, preset=9))


def test_the_program_prints_the_size_of_standard_input() -> None:
    data = b"to be or not to be\n" * 500
    done = subprocess.run([*PROGRAM, str(os.getpid())], input=data, capture_output=True, timeout=60, check=True)
    assert (int(done.stdout), done.stderr) == (xz.compressed_size(data), b"")


def endless(parent: str) -> subprocess.Popen[bytes]:
    """The program with a standard input that doesn't end."""
    return subprocess.Popen([*PROGRAM, parent], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def test_it_ends_with_the_process_whose_number_it_is_given() -> None:
    program = endless("1" if os.getpid() != 1 else "2")  # not its parent: as if that had been killed
    try:
        assert program.wait(30) == 1
    finally:
        program.kill()
        program.communicate()


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="no such priority here")
def test_it_runs_only_while_a_core_has_nothing_else_to_do() -> None:
    program = endless(str(os.getpid()))
    try:
        until = time.monotonic() + 30
        while os.sched_getscheduler(program.pid) != os.SCHED_IDLE and time.monotonic() < until:
            time.sleep(0.01)
        assert os.sched_getscheduler(program.pid) == os.SCHED_IDLE
    finally:
        program.send_signal(signal.SIGKILL)
        program.communicate()


def test_it_needs_the_standard_library_alone() -> None:
    assert "charrnn" not in Path(xz.__file__).read_text(encoding="utf-8").partition('"""')[2].partition('"""')[2]
