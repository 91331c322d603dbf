"""Lists: how well names and molecules are learned, how fast records are drawn, what a list costs at the start of a run.

    python tests/bench/records.py names NAMES [--minutes 1 | --steps N] [--draws 3]
    python tests/bench/records.py molecules SMILES --python PYTHON [--minutes 3 | --steps N]
    python tests/bench/records.py sample
    python tests/bench/records.py startup
    python tests/bench/records.py hostile [equal letters ...]

``names`` tells nats per held-out character, the newline included. Protocol a: the records that `train --records` holds out,
learned as records, and as one stream of the shuffled others with these at its end. Protocol b, makemore's: 1,000 random lines
held out, equal ones left among the others; each draw has another seed. ``molecules`` draws 10,000 at temperature 1; PYTHON
has RDKit, which says how many are valid. ``sample`` draws 30,000 records of about 35 characters from an LSTM of 1 x 448.
``startup`` trains one step on 18.5 MB, as records and as a stream. ``hostile`` tells what each command costs on lists that
nobody would make: seconds of processors, the most memory, and the exit code where it isn't 0.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHARRNN = [sys.executable, "-m", "charrnn"]
VALID = """
import sys
from rdkit import Chem, RDLogger
RDLogger.DisableLog("rdApp.*")
molecules = [Chem.MolFromSmiles(line.strip()) if line.strip() else None for line in sys.stdin]
canonical = [Chem.MolToSmiles(molecule) for molecule in molecules if molecule is not None]
print(len(molecules), len(canonical), len(set(canonical)), *canonical, sep="\\n")
"""


def train(text: Path, out: Path, *options: str) -> dict[str, Any]:
    """The ``end`` event of a run on ``text``."""
    command = [*CHARRNN, "train", str(text), "--out", str(out), "--json", "--quiet", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    event: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return event


def nats(network: Path, lines: Path) -> float:
    """Nats per character of ``lines``, each read by itself, its newline included."""
    command = [*CHARRNN, "score", str(lines), "--lines", "--json", "--quiet", "--checkpoint", str(network)]
    rows = [json.loads(row) for row in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()]
    bits, characters = (float(sum(row[key] for row in rows)) for key in ("bits", "characters"))
    return math.log(2) * bits / characters


def written(path: Path, lines: list[str]) -> Path:
    """``path``, which now holds ``lines``."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def names(listed: Path, length: list[str], draws: int, room: Path) -> None:
    """Both protocols."""
    from charrnn.text.records import is_held_out

    lines = [line for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
    held_out = [line for line in lines if is_held_out(line, 0.1)]
    rest = [line for line in lines if not is_held_out(line, 0.1)]
    random.Random(0).shuffle(rest)
    share = sum(len(line) + 1 for line in held_out) / sum(len(line) + 1 for line in lines)
    apart, stream = written(room / "held-out.txt", held_out), written(room / "stream.txt", rest + held_out)
    for name, text, options in (
        ("stream", stream, ["--val-fraction", f"{share:.6f}"]),
        ("records", listed, ["--records"]),
    ):
        end = train(text, room / name, *options, *length)
        print(
            f"a  {name:8} {nats(room / name, apart):.4f} nats  ({end['step']:,} steps, {end['epochs']:.1f} epochs)", flush=True
        )
    found = []
    for draw in range(draws):
        order = random.Random(draw).sample(range(len(lines)), len(lines))
        test = written(room / f"test-{draw}.txt", [lines[place] for place in order[:1000]])
        learned = written(room / f"rest-{draw}.txt", [lines[place] for place in order[1000:]])
        train(learned, room / f"draw-{draw}", "--records", "--val-fraction", "0", *length)
        found.append(nats(room / f"draw-{draw}", test))
        print(f"b  draw {draw}   {found[-1]:.4f} nats", flush=True)
    if found:
        print(f"b  median   {statistics.median(found):.4f} nats")


def molecules(listed: Path, length: list[str], python: str, room: Path) -> None:
    """How many of 10,000 drawn molecules are valid, unique and new."""
    end = train(listed, room / "run", "--records", *length)
    command = [*CHARRNN, "sample", "-N", "10000", "--temp", "1", "--seed", "0", "--quiet", "--checkpoint", str(room / "run")]
    drawn = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    judged = subprocess.run([python, "-c", VALID], input=drawn, capture_output=True, text=True, check=True).stdout.split("\n")
    count, valid, unique = map(int, judged[:3])
    known = set(listed.read_text(encoding="utf-8").splitlines())
    new = len(set(judged[3:]) - known - {""})
    print(f"{end['step']:,} steps, {end['best_val_bits_per_char']:.4f} bits per held-out character")
    print(f"{valid / count:.1%} valid, {unique / valid:.2%} of them unique, {new / unique:.1%} of these not in the list")


def sample(room: Path) -> None:
    """Seconds for 30,000 records of an untrained network, of whose 36 symbols each is about as likely."""
    import numpy as np

    from charrnn.config import ModelConfig
    from charrnn.network import checkpoint
    from charrnn.network.checkpoint import Checkpoint
    from charrnn.text.vocabulary import Vocabulary

    vocabulary = Vocabulary("char", "\n" + "".join(map(chr, range(ord("A"), ord("A") + 35))))
    model = ModelConfig(vocabulary.size, embedding_size=64, hidden_size=448)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.02, shape).astype(np.float32) for name, shape in model.parameter_shapes().items()}
    checkpoint.write(room / "net.safetensors", Checkpoint(model, vocabulary, {}, weights))
    command = [*CHARRNN, "sample", "-c", str(room / "net.safetensors"), "--lines", "1", "-N", "30000", "--seed", "0", "-q"]
    for _ in range(3):
        begun = time.perf_counter()
        characters = len(subprocess.run([*command, "--temp", "1"], capture_output=True, check=True).stdout)
        seconds = time.perf_counter() - begun
        print(
            f"30,000 records, {characters:,} characters: {seconds:.1f} s, {characters / seconds:,.0f} characters/s", flush=True
        )


def startup(room: Path) -> None:
    """Seconds, and those of the processors, of runs of one step."""
    drawn = random.Random(0)
    lines = ["".join(drawn.choices("CNOcno()=123[]", k=drawn.randint(24, 46))) for _ in range(514_000)]
    text = written(room / "list.txt", lines)
    options = ["--steps", "1", "--hidden-size", "16", "--val-fraction", "0.0001", "--workers", "1"]
    for number in range(3):
        for kind in ([], ["--records"]):
            before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            train(text, room / f"run-{len(kind)}-{number}", *options, *kind)
            seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"{'records' if kind else 'stream':8} {seconds:.2f} s, {spent:.2f} s of processors", flush=True)


def hostile_lists() -> dict[str, Iterator[bytes]]:
    """Lists by name, in pieces, so that what they cost here is in no figure."""
    drawn = random.Random(0)

    def lines(count: int, alphabet: str = "abcdefghij", longest: int = 9, end: bytes = b"\n") -> Iterator[bytes]:
        for _ in range(count):
            yield "".join(drawn.choices(alphabet, k=drawn.randint(min(3, longest), longest))).encode() + end

    return {
        "equal": itertools.repeat(b"Anna Maria\n", 1_000_000),
        "long": itertools.chain(lines(10_000), lines(1_000_000, "abcdefghij ", end=b" gh"), lines(10_001)),
        "letters": lines(1_000_000, "abcdefghijklmnopqrstuvwxyz", 1),
        "crlf": lines(300_000, end=b"\r\n"),
        "nul": lines(300_000, "abcdefghij\0"),
        "bytes": lines(300_000, end=b"\xed\xa0\x80\xff\n"),
        "three equal": itertools.repeat(b"abc\n", 3),
        "two": iter([b"abc\n", b"xyz\n"]),
        "blank": itertools.repeat(b"\n", 900_000),
        "empty": iter([]),
    }


def hostile(chosen: list[str], room: Path) -> None:
    """What training, scoring, ranking, encoding and drawing cost on each list."""
    for name, content in hostile_lists().items():
        if chosen and name not in chosen:
            continue
        text, run = room / f"{name}.txt", room / name
        with open(text, "wb") as file:
            file.writelines(content)
        level = ["--level", "byte"] if name == "bytes" else []
        sized = ["--steps", "20", "--hidden-size", "16", "--workers", "1", *level]
        commands = {
            "train": ["train", str(text), "--records", *sized, "--out", str(run)],
            "score": ["score", str(text), "-c", str(run)],
            "rank": ["score", "--rank", str(text), "-c", str(run)],
            "encode": ["encode", str(text), "--npz", str(room / "vectors.npz"), "-c", str(run)],
            "sample": ["sample", "-N", "100", "--unique", "--not-in", str(text), "--copied-from", str(text), "-c", str(run)],
        }
        for verb, command in commands.items():
            print(f"{name:12} {verb:7} {cost([*CHARRNN, *command])}", flush=True)
            if not run.exists():
                break


def cost(command: list[str]) -> str:
    """What ``command`` took, and the last line that it said, if it failed."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        said = process.stderr.read().splitlines() if process.stderr else []
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    failed = f"  exit {process.returncode}: {said[-1] if said else ''}" if process.returncode else ""
    return f"{used.ru_utime + used.ru_stime:6.1f} s {used.ru_maxrss / 1024:6,.0f} MB{failed}"


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["names", "molecules", "sample", "startup", "hostile"])
    parser.add_argument("listed", nargs="*", help="the list, for names and molecules; which ones, for hostile")
    parser.add_argument("--minutes", default="1")
    parser.add_argument("--steps")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--python", help="an interpreter that has RDKit")
    asked = parser.parse_args()
    length = ["--steps", asked.steps] if asked.steps else ["--minutes", asked.minutes]
    if asked.what in ("names", "molecules") and len(asked.listed) != 1:
        parser.error(f"{asked.what} needs a list")
    if asked.what == "molecules" and asked.python is None:
        parser.error("molecules needs --python, an interpreter that has RDKit")
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        if asked.what == "names":
            names(Path(asked.listed[0]), length, asked.draws, room)
        elif asked.what == "molecules":
            molecules(Path(asked.listed[0]), length, asked.python, room)
        elif asked.what == "sample":
            sample(room)
        elif asked.what == "hostile":
            hostile(asked.listed, room)
        else:
            startup(room)


if __name__ == "__main__":
    main()
