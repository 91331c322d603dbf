"""No file can crash, fool or burden the reader of checkpoints: `attacks` makes them, the full count is ``bench/damage.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attacks
import numpy as np
import pytest

from charrnn import CharrnnError
from charrnn.config import ModelConfig
from charrnn.network import checkpoint
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary

if sys.platform == "win32":
    pytest.skip("FIFOs and resource limits", allow_module_level=True)

MEGABYTES = 200


@pytest.fixture(scope="module")
def sound() -> Checkpoint:
    vocabulary = Vocabulary("char", "\n abcé😀")
    model = ModelConfig(vocabulary.size, "gru", embedding_size=3, hidden_size=5, num_layers=2)
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in model.parameter_shapes().items()}
    return Checkpoint(model, vocabulary, {"corpus": "tale", "step": 7}, weights, {"state": np.ones((2, 1, 4, 5), np.float32)})


@pytest.fixture(scope="module")
def data(sound: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "x.safetensors"
    checkpoint.write(path, sound)
    return path.read_bytes()


def refused(path: Path) -> bool:
    """Read ``path``; whether it was refused, by one line with its name. What is read instead is sound throughout."""
    try:
        found = checkpoint.read(path)
    except CharrnnError as error:
        message = str(error)
        assert message.startswith(f"{path}: "), message
        assert message.isprintable(), message
        assert len(message) < len(str(path)) + 200, message
        return True
    assert found.vocabulary.size == found.model.vocab_size
    for name, shape in found.model.parameter_shapes().items():
        assert found.weights[name].shape == shape
        assert found.weights[name].dtype == np.float32
        assert np.isfinite(found.weights[name]).all()
    return False


def each(files: Iterator[tuple[str, bytes]], folder: Path) -> Iterator[tuple[str, Path]]:
    for name, content in files:
        (folder / "bad.safetensors").write_bytes(content)
        yield name, folder / "bad.safetensors"


@pytest.mark.parametrize("make", [attacks.truncations, attacks.header_lengths, attacks.faults])
def test_every_faulty_file_is_refused(make: Callable[[bytes], Any], data: bytes, tmp_path: Path) -> None:
    outcomes = {name: refused(path) for name, path in each(make(data), tmp_path)}
    assert len(outcomes) > 10
    assert [name for name, was_refused in outcomes.items() if not was_refused] == []


def test_300_mutations_are_each_read_soundly_or_refused(data: bytes, tmp_path: Path) -> None:
    outcomes = [refused(path) for _, path in each(attacks.mutations(data, 300, seed=1), tmp_path)]
    assert outcomes.count(True) > 100, "most break the header"
    assert outcomes.count(False) > 10, "some only change a weight"


def test_a_sound_file_of_another_look_is_read(sound: Checkpoint, data: bytes, tmp_path: Path) -> None:
    variants = dict(attacks.sound_variants(data))
    assert len(variants) >= 4
    for name, path in each(iter(variants.items()), tmp_path):
        found = checkpoint.read(path)
        assert (found.model, found.vocabulary) == (sound.model, sound.vocabulary), name
        assert all(np.array_equal(found.weights[key], sound.weights[key]) for key in sound.weights), name


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    outcomes = {path.name: refused(path) for path in attacks.strange_places(tmp_path)}
    assert {"directory.safetensors", "pipe.safetensors", "loop.safetensors", "zero"} <= outcomes.keys()
    assert all(outcomes.values()), outcomes


# -- memory -----------------------------------------------------------------------------------------------------------

MEASURE = """
import resource, sys
from charrnn import CharrnnError
from charrnn.network import checkpoint
from pathlib import Path

def peak():  # Of this program alone; getrusage counts also what the parent was before exec.
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])

before = peak()
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    checkpoint.read(Path(sys.argv[1]))
    outcome = "read"
except CharrnnError:
    outcome = "refused"
print(outcome, (peak() - before) / 1024)
"""


def reading(path: Path) -> tuple[str, float]:
    """What a process of its own made of ``path``, and how many megabytes that took at the most."""
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    outcome, megabytes = done.stdout.split()
    return outcome, float(megabytes)


@pytest.mark.parametrize("name", attacks.LARGE_HEADERS)
def test_a_large_header_takes_less_than_200_megabytes(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(attacks.join(attacks.LARGE_HEADERS[name](), b""))
    outcome, megabytes = reading(tmp_path / "x.safetensors")
    assert outcome == "refused"
    assert megabytes < MEGABYTES


def test_a_length_that_lies_takes_no_memory(data: bytes, tmp_path: Path) -> None:
    """A sparse file is as long as its header says, and has tensors nowhere."""
    for length in (attacks.CAP, 1 << 35):
        with open(tmp_path / "x.safetensors", "wb") as file:
            file.write(attacks.join(attacks.split(data)[0], b"", length))
            file.truncate(length + 8)
        outcome, megabytes = reading(tmp_path / "x.safetensors")
        assert outcome == "refused"
        assert megabytes < MEGABYTES


def test_a_network_far_larger_than_its_file_takes_no_memory(data: bytes, tmp_path: Path) -> None:
    header = attacks.within("model", hidden_size=65536, num_layers=64)
    (tmp_path / "x.safetensors").write_bytes(attacks.edited(data, header))
    outcome, megabytes = reading(tmp_path / "x.safetensors")
    assert outcome == "refused"
    assert megabytes < 50


# -- the program ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", attacks.HOSTILE_FACTS)
def test_no_fact_of_a_training_crashes_a_command(
    name: str, run: Path, invoke: Callable[..., Any], alarm: Callable[[int], None], tmp_path: Path
) -> None:
    """They are only looked at by `info` and by a run that goes on; each works with them or refuses the file in one line."""
    run.rename(tmp_path / "run")
    for kind in ("best", "last"):
        path = tmp_path / "run" / f"{kind}.safetensors"
        path.write_bytes(attacks.with_facts(path.read_bytes(), attacks.HOSTILE_FACTS[name]))
    commands = [["info", "run"], ["info", "run", "--json"], ["info", "."], ["sample", "-c", "run", "-n", "3", "--seed", "1"]]
    failures = []
    for command in [*commands, ["train", "--resume", "run", "--steps", "12", "-q"], ["train", "--resume", "latest", "-q"]]:
        alarm(5)
        try:
            result = invoke(*command)
        except Exception as error:
            failures.append((command, repr(error)))
            continue
        assert "\x1b" not in result.stdout + result.stderr
        if result.code and (result.code > 2 or result.stdout or result.stderr.count("\n") != 1):
            failures.append((command, result))
    assert failures == []


@pytest.mark.parametrize("command", [["sample", "-c"], ["info"], ["train", "--resume"], ["train", "tale.txt", "--init-from"]])
def test_no_strange_place_for_a_checkpoint_crashes_a_command(
    command: list[str], invoke: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "tale.txt").write_text("The fox and the crow.\n" * 20)
    (tmp_path / "places").mkdir()
    for path in attacks.strange_places(tmp_path / "places"):
        result = invoke(*command, path)
        if command == ["info"] and path.name == "directory.safetensors":
            assert "no runs here yet" in result.stderr
            continue
        assert (result.code, result.stdout, result.stderr.count("\n")) == (1, "", 1), (path, result)
        assert path.name in result.stderr


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_log_that_is_no_file_keeps_nobody_waiting(
    kind: str, run: Path, invoke: Callable[..., Any], alarm: Callable[[int], None], tmp_path: Path
) -> None:
    run.rename(tmp_path / "run")
    (log := tmp_path / "run" / "log.jsonl").unlink()
    if kind == "pipe":
        os.mkfifo(log)
    else:
        log.symlink_to("/dev/zero")
    alarm(60)
    done = invoke("train", "--resume", "run", "--steps", "12")
    assert done.code == 0
    assert "run/log.jsonl: can't write: not a regular file; training goes on, the log has gaps" in done.stderr
    assert invoke("info", "run").code == 0
    assert invoke("inspect", "The fox", "-c", "run", "--html", "page.html").code == 0
    assert checkpoint.read(tmp_path / "run" / "last.safetensors").training["step"] == 12
