"""compressor: what xz makes of the text is told beside training, which never waits for it, and nothing stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import corpus_of, random_text

from charrnn.network import checkpoint
from charrnn.text import baselines, xz
from charrnn.training import compressor, schedule
from charrnn.training.compressor import Compressor
from charrnn.training.schedule import Budget

Invoke = Callable[..., Any]
TEXT = "The fox said to the crow: sing, and let the cheese fall.\n" * 40
TINY = ("--hidden-size", "8", "--embedding-size", "4", "--batch-size", "4", "--bptt", "8", "--workers", "1", "--steps", "3")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short texts are compressed by a process, too, however slowly it begins beside other work."""
    monkeypatch.setattr(compressor, "AT_ONCE", 0)
    monkeypatch.setattr(schedule, "patience", lambda *_: 120.0)


def children() -> list[str]:
    """The program's processes that this one has begun."""
    # A process is listed with the thread that began it, and its command is told a moment after it has begun.
    found = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
    return [command for pid in found if xz.__file__ in (command := command_of(Path(f"/proc/{pid}/cmdline")))]


def command_of(path: Path) -> str:
    """Nothing for a process that has ended."""
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if command := path.read_text():
                return command
        time.sleep(0.001)
    return ""


def test_both_figures_are_those_of_the_text(beside: None) -> None:
    corpus = corpus_of(random_text(3_000))
    one = Compressor(corpus)
    with one.working():
        one.wait(60)
        found = one.facts
    assert found == baselines.facts(baselines.unigram_bits(corpus), baselines.xz_bits(corpus))
    assert one.facts == found
    assert children() == []


def test_a_short_text_takes_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process"))
    one = Compressor(corpus_of(random_text(3_000)))
    with one.working():
        assert one.facts["xz_bits_per_char"] > 1


def test_what_is_not_done_at_the_end_is_given_up_and_leaves_nothing(beside: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "excerpt", lambda _: (os.urandom(2_000_000), 2_000_000))
    one = Compressor(corpus_of(random_text(300)))
    begun = time.monotonic()
    with one.working():
        assert len(children()) == 1
        assert one.facts["xz_bits_per_char"] is None
        assert one.facts["unigram_bits_per_char"] > 2
    assert children() == []
    assert time.monotonic() - begun < 5
    assert one.facts["xz_bits_per_char"] is None


@pytest.mark.parametrize("error", [OSError("no process"), ValueError("no program")])
def test_where_no_process_starts_training_goes_on_without(
    beside: None, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "Popen", fails)
    one = Compressor(corpus_of(random_text(300)))
    with one.working():
        one.wait(1)
        assert one.facts["xz_bits_per_char"] is None


def test_what_a_checkpoint_tells_is_not_asked_again(beside: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process"))
    one = Compressor(corpus_of(random_text(300)))
    one.remember({"unigram_bits_per_char": 2.5, "xz_bits_per_char": 1.5})
    with one.working():
        assert one.facts == {"unigram_bits_per_char": 2.5, "xz_bits_per_char": 1.5}
        one.remember({"unigram_bits_per_char": None, "xz_bits_per_char": None})
    assert one.facts == {"unigram_bits_per_char": 2.5, "xz_bits_per_char": 1.5}


def test_a_run_waits_for_it_as_long_as_it_has_time_and_a_hundredth_more() -> None:
    assert schedule.patience(Budget(10, None), 1.0) == 5.0
    assert schedule.patience(Budget(None, 60.0), 56.0) == 4.0
    assert schedule.patience(Budget(None, 60.0), 60.0) == pytest.approx(0.6)
    assert schedule.patience(Budget(None, 36_000.0), 100.0) == 5.0


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def tale(tmp_path: Path) -> str:
    (tmp_path / "tale.txt").write_text(TEXT)
    return "tale.txt"


CLAUSE = r"\(xz \d\.\d\d, letters alone \d\.\d\d\)"


def test_the_end_info_and_the_plan_tell_both_beside_the_loss(tale: str, invoke: Invoke, beside: None) -> None:
    result = invoke("train", tale, *TINY, "--out", "run")
    assert re.search(rf"best validation \d\.\d+ bits/char {CLAUSE}", result.stderr)
    corpus = corpus_of(TEXT)
    expected = {"unigram_bits_per_char": baselines.unigram_bits(corpus), "xz_bits_per_char": baselines.xz_bits(corpus)}
    for kind in ("best", "last"):
        told = checkpoint.read(Path("run") / f"{kind}.safetensors").training
        assert {name: told[name] for name in expected if kind == "best"} == (expected if kind == "best" else {})
    info = json.loads(invoke("info", "run", "--json").stdout)
    assert {name: info[name] for name in expected} == expected
    shown = invoke("info", "run").stdout
    assert re.search(rf"val bits per char +\d\.\d+ {CLAUSE}", shown)
    assert "xz bits per char" not in shown
    planned = invoke("train", tale, *TINY, "--dry-run")
    xz_bits, unigram = expected["xz_bits_per_char"], expected["unigram_bits_per_char"]
    assert f"this text takes, in bits/char: xz {xz_bits:.2f}, letters alone {unigram:.2f}\n" in planned.stderr
    plan = json.loads(invoke("train", tale, *TINY, "--dry-run", "--json").stdout)
    assert {name: plan[name] for name in expected} == expected
    again = invoke("train", "--resume", "run", "--steps", "5", "--json")
    end = json.loads(again.stdout.splitlines()[-1])
    assert {name: end[name] for name in expected} == expected


HOLDER = """
import os, sys, time
import numpy as np
from charrnn.text.corpus import Corpus
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.compressor import Compressor
ids = np.frombuffer(os.urandom(2_000_000), dtype=np.uint8)
one = Compressor(Corpus("noise", (), len(ids), "", Vocabulary("byte"), ids, len(ids)))
with one.working():
    print(one._process.pid, flush=True)
    time.sleep(60)
"""


def is_gone(pid: int) -> bool:
    """Whether a process has ended, whoever is to ask for its exit code."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at /proc")
def test_it_goes_with_a_training_process_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert not is_gone(pid)
        holder.kill()
    until = time.monotonic() + 30
    while not is_gone(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert is_gone(pid)
