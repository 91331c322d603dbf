"""Large texts: how fast they are read, and what of a run depends on their size.

    python tests/bench/large.py read [MEGABYTES]
    python tests/bench/large.py train [MEGABYTES...]
    python tests/bench/large.py list [MEGABYTES...]
    python tests/bench/large.py files [COUNT]
    python tests/bench/large.py write KIND MEGABYTES PATH

``read`` (200 MB): the speed of both passes in MB of the file per second of a core, with the cache, and the most memory beyond
mapped files. ``train`` (1, 100 and 2,000 MB of ASCII): start-up to the first step, the first time and then from the cache; a
step's time, the size of ``last``, and memory. ``list`` (2,000): the same of lists of 35 letters a line, by ``--records``.
``files`` (100,000): as many small ones in a directory. ``write`` makes the texts that the others read: sentences of made-up
words, always the same ones; ``ascii``, ``two`` (Cyrillic letters, two bytes each) or ``three`` (2,500 Chinese characters,
three bytes each). All files lie in the temporary directory, and go.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from charrnn.text import cache
from charrnn.text.corpus import Reading, read_corpus

MEGABYTE = 1_000_000
KINDS = {"ascii": (range(ord("a"), ord("z") + 1), 8), "two": (range(0x430, 0x450), 8), "three": (range(0x4E00, 0x57C4), 2)}
"""The letters of each kind of text, and how many a word has at most."""
WORDS, SENTENCE = 5_000, 12
"""So many words are made up, and a sentence has so many of them on average."""
LINE = 36
STEPS = 40
SETTINGS = ("--hidden-size", "256", "--batch-size", "32", "--bptt", "64", "--workers", "1", "--groups", "1")


def sentences(kind: str, size: int, seed: int = 0) -> Iterator[bytes]:
    """Exactly ``size`` bytes of sentences in blocks; the last character may be a few spaces."""
    letters, longest = KINDS[kind]
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, WORDS)
    words = ["".join(map(chr, rng.choice(letters, length))) for length in lengths]
    space, stop = ("", "\u3002\n") if kind == "three" else (" ", ".\n")
    spelled = [word.encode() for word in [word + space for word in words] + [word + stop for word in words]]
    left = size
    while left:
        ranks = np.minimum(rng.zipf(1.3, 100_000) - 1, WORDS - 1)  # As in languages, few words are most of the text.
        ranks[rng.random(len(ranks)) < 1 / SENTENCE] += WORDS
        block = b"".join([spelled[rank] for rank in ranks.tolist()])
        if len(block) > left:
            whole = block[:left].decode(errors="ignore").encode()
            block = whole + b" " * (left - len(whole))
        left -= len(block)
        yield block


def lines(size: int, seed: int = 0) -> Iterator[bytes]:
    """At most ``size`` bytes of lines of 35 letters drawn by chance, in blocks."""
    rng, left = np.random.default_rng(seed), size // LINE
    while left:
        block = rng.integers(ord("a"), ord("z") + 1, (min(left, 1 << 20), LINE), dtype=np.uint8)
        block[:, -1] = ord("\n")
        left -= len(block)
        yield block.tobytes()


def write(path: Path, kind: str, megabytes: float, seed: int = 0) -> Path:
    """Make a file of so many ``megabytes``."""
    with path.open("wb") as file:
        size = int(megabytes * MEGABYTE)
        file.writelines(lines(size, seed) if kind == "list" else sentences(kind, size, seed))
    return path


def anonymous(process: int | str = "self") -> float:
    """The megabytes of a process that are no pages of mapped files; 0 where the system doesn't tell."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return max((int(line.split()[1]) * 1024 / MEGABYTE for line in lines if line.startswith("RssAnon")), default=0.0)


class Most:
    """The most anonymous memory of a process while it is watched."""

    def __init__(self, process: int | str = "self") -> None:
        self.megabytes, self._process, self._over = 0.0, process, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Most:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.megabytes = max(self.megabytes, anonymous(self._process))


def measure_reading(folder: Path, megabytes: float) -> None:
    """Print the speed of both passes over each kind of text."""
    print("kind    first pass   second pass   memory")
    for kind in KINDS:
        path, told = write(folder / f"{kind}.txt", kind, megabytes), list[float]()

        def tell(now: Reading, told: list[float] = told) -> None:
            if len(told) < 2 and bool(told) == bool(now.encoded):
                told.append(time.process_time())  # when the first block is read, and when the first is encoded

        with Most() as most:
            read_corpus([str(path)], cache=cache.Cache(folder / "cache"), tell=tell)
        told.append(time.process_time())
        first, second = (megabytes / seconds for seconds in np.diff(told))
        print(f"{kind:6}{first:7,.0f} MB/s {second:8,.0f} MB/s {most.megabytes:6,.0f} MB", flush=True)
        path.unlink()


def measure_training(folder: Path, sizes: list[float], kind: str = "ascii") -> None:
    """Print what a run costs on texts of these ``sizes``, the first time and from the cache."""
    options = [*SETTINGS, *(["--records"] if kind == "list" else [])]
    print("text        start-up: first, kept   verified   a step   last      memory")
    for size in sizes:
        path, seconds, most = write(folder / "text.txt", kind, size), list[float](), 0.0
        time.sleep(cache.RACE_SECONDS + 0.5)
        for number, more in enumerate(((), (), ("--verify",))):
            run = folder / f"run-{size:g}-{number}"
            command = [sys.executable, "-m", "charrnn", "train", str(path), "--out", str(run), "--json", "-q", *options, *more]
            environment = {**os.environ, "CHARRNN_CACHE": str(folder / "cache")}
            with (
                subprocess.Popen(
                    [*command, "--steps", str(STEPS), "--log-every", "1"], stdout=subprocess.PIPE, env=environment
                ) as process,
                Most(process.pid) as watched,
            ):
                assert process.stdout is not None
                events = [json.loads(line) for line in process.stdout]
            steps = [event for event in events if event["event"] == "step"]
            took = [2048 / event["chars_per_second"] for event in steps]
            seconds.append(steps[0]["seconds"] - took[0])
            most = max(most, watched.megabytes)
        last = (run / "last.safetensors").stat().st_size
        first, kept, verified = seconds
        print(
            f"{size:6,.0f} MB {first:17.1f} s {kept:8.1f} s {verified:8.1f} s {1000 * float(np.median(took)):5.0f} ms"
            f" {last:11,} {most:6,.0f} MB",
            flush=True,
        )
        path.unlink()


def measure_files(folder: Path, count: int) -> None:
    """Print how long so many small files take, the first time and from the cache."""
    block = next(sentences("ascii", 100 * MEGABYTE))
    for number in range(count):
        name = folder / "texts" / f"{number % 317}" / f"{number}.txt"
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(block[number % 1000 : number % 1000 + 500])
    for what in ("first", "kept"):
        begun, opened = time.perf_counter(), len(os.listdir("/proc/self/fd"))
        read_corpus([str(folder / "texts")], cache=cache.Cache(folder / "cache"))
        leaked = len(os.listdir("/proc/self/fd")) - opened
        print(f"{count:,} files, {what}: {time.perf_counter() - begun:.1f} s, {leaked} descriptors more", flush=True)


def main() -> None:
    """Measure or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("read").add_argument("megabytes", type=float, nargs="?", default=200)
    verbs.add_parser("train").add_argument("megabytes", type=float, nargs="*", default=[1, 100, 2000])
    verbs.add_parser("list").add_argument("megabytes", type=float, nargs="*", default=[2000])
    verbs.add_parser("files").add_argument("count", type=int, nargs="?", default=100_000)
    writing = verbs.add_parser("write")
    writing.add_argument("kind", choices=[*KINDS, "list"])
    writing.add_argument("megabytes", type=float)
    writing.add_argument("path", type=Path)
    given = parser.parse_args()
    if given.verb == "write":
        write(given.path, given.kind, given.megabytes)
        return
    if given.verb not in ("train", "list") and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        cache.RACE_SECONDS = 0.0  # The texts are made at once, and don't change.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.verb == "read":
            measure_reading(folder, given.megabytes)
        elif given.verb == "train":
            measure_training(folder, given.megabytes)
        elif given.verb == "list":
            measure_training(folder, given.megabytes, "list")
        else:
            measure_files(folder, given.count)


if __name__ == "__main__":
    main()
