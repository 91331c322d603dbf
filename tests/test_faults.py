"""What goes wrong around a run: disks, directories, other processes, readers, other texts, divergence, hostile texts."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import math
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TALE_TEXT

if sys.platform == "win32":
    pytest.skip("forks and resource limits", allow_module_level=True)

import crash
import torch
from small_runs import Store, trainer_of, validation

from charrnn import CharrnnError
from charrnn.config import ModelConfig
from charrnn.network import checkpoint, lookup
from charrnn.network.cells import Network
from charrnn.text import sources, spilled
from charrnn.text.corpus import read_corpus
from charrnn.text.decoding import Encoding
from charrnn.text.reading import TextReader
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import evaluation, runs, schedule, trainer
from charrnn.training.learner import Learner
from charrnn.training.model import CharRNN
from charrnn.training.snapshot import carried_over
from charrnn.training.trainer import Trainer

Invoke = Callable[..., Any]
TINY = (
    "--hidden-size",
    "8",
    "--embedding-size",
    "4",
    "--batch-size",
    "4",
    "--bptt",
    "8",
    "--device",
    "cpu",
    "--log-every",
    "1",
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tale(tmp_path: Path) -> Path:
    (tmp_path / "tale.txt").write_text(TALE_TEXT)
    return tmp_path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run beside its text."""
    shutil.copy(trained.parent / "tale.txt", tmp_path)
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def before_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], Any]], None]:
    """Let something happen in the middle of a run."""

    def arrange(step: int, action: Callable[[], Any]) -> None:
        def before(made: int) -> None:
            if made == step:
                action()

        monkeypatch.setattr(trainer, "Trainer", functools.partial(Trainer, before_step=before))

    return arrange


def events_of(result: Any, name: str) -> list[dict[str, Any]]:
    return [event for event in map(json.loads, result.stdout.splitlines()) if event["event"] == name]


def one_line(text: str) -> str:
    assert re.fullmatch(r"charrnn: [^\n]+\n", text), text
    return text


# -- disks and directories --------------------------------------------------------------------------------------------


def test_a_disk_too_full_for_a_checkpoint_leaves_the_older_ones_and_ends_with_exit_1(
    nursery: crash.Nursery, tale: Path
) -> None:
    wide = ("--hidden-size", "96", *TINY[2:])  # a checkpoint far larger than the log
    code, child = nursery.run(tale, "train", "tale.txt", *wide, "--steps", "2", "--out", "run")
    assert code == 0, child.stderr
    run, limit = tale / "run", 100_000
    older = {path.name: path.read_bytes() for path in run.glob("*.safetensors")}
    assert min(map(len, older.values())) > limit
    code, child = nursery.run(tale, "train", "--resume", "run", "--steps", "8", "--save-every", "1e-9", max_file=limit)
    assert code == 1, child.stderr
    assert "Traceback" not in child.stderr
    assert child.stderr.count("last.safetensors: can't save: File too large; the next save tries again") >= 6, (
        "training went on"
    )
    assert (
        "the last save failed: File too large; what was saved before it goes on by: charrnn train --resume run" in child.stderr
    )
    assert child.stdout == ""
    assert {path.name: path.read_bytes() for path in run.glob("*.safetensors")} == older
    assert crash.left_overs(run) == []
    code, child = nursery.run(tale, "train", "--resume", "run", "--steps", "8", "-q")
    assert code == 0, child.stderr
    assert crash.logged(run) == list(range(1, 9))


def test_where_no_save_was_whole_there_is_nothing_to_go_on_from(nursery: crash.Nursery, tale: Path) -> None:
    code, child = nursery.run(tale, "train", "tale.txt", *TINY, "--steps", "2", "--out", "run", max_file=2_000)
    assert code == 1, child.stderr
    assert not (tale / "run" / "last.safetensors").exists()
    assert "none before it was whole; make room, or name another --out, and begin again" in child.stderr.splitlines()[-1]


def test_a_disk_too_full_even_for_the_log_is_no_traceback(nursery: crash.Nursery, run: Path) -> None:
    older = (run / "last.safetensors").read_bytes()
    size = (run / "log.jsonl").stat().st_size
    code, child = nursery.run(run.parent, "train", "--resume", "run", "--steps", "13", max_file=size + 50)
    assert (code, "Traceback" in child.stderr) == (1, False), child.stderr
    assert "the last save failed" in child.stderr.splitlines()[-1]
    assert (run / "last.safetensors").read_bytes() == older
    code, child = nursery.run(run.parent, "train", "--resume", "run", "--steps", "13", "-q")
    assert code == 0, child.stderr
    assert crash.logged(run) == list(range(1, 14))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT])
def test_a_disk_that_recovers_before_the_last_save_costs_a_warning_only(
    number: int, tale: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, mkstemp = [], tempfile.mkstemp

    def failing(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) in (1, 2, 5):
            raise OSError(number, os.strerror(number))
        return mkstemp(*arguments, **options)

    monkeypatch.setattr(tempfile, "mkstemp", failing)
    result = invoke("train", "tale.txt", *TINY, "--steps", "5", "--save-every", "1e-9", "--json")
    assert result.code == 0, result.stderr
    warnings = [event["text"] for event in events_of(result, "warning")]
    assert len([text for text in warnings if os.strerror(number) in text and "tries again" in text]) == 3
    assert checkpoint.read(Path("checkpoints/tale/last.safetensors")).training["step"] == 5
    checkpoint.read(Path("checkpoints/tale/best.safetensors"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_run_in_a_read_only_directory_is_not_resumed(run: Path, invoke: Invoke) -> None:
    run.chmod(0o500)
    try:
        result = invoke("train", "--resume", "run", "--steps", "13")
    finally:
        run.chmod(0o700)
    assert result.code == 1
    assert "it takes no new files" in result.stderr


def test_a_run_that_could_save_nothing_is_not_resumed(
    run: Path, invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    done = invoke("train", "--resume", run, "--steps", "99999", "-q")
    assert (done.code, done.stdout) == (1, "")
    why = "can't write: it takes no new files; copy the run to a place of your own (cp -r), and go on with that"
    assert done.stderr == f"charrnn: {run}: {why}\n"


def test_a_directory_removed_while_running_is_made_again_at_the_next_save(tale: Path, invoke: Invoke, before_step: Any) -> None:
    before_step(4, lambda: shutil.rmtree("checkpoints/tale"))
    result = invoke("train", "tale.txt", *TINY, "--steps", "8", "--eval-every", "8")
    assert result.code == 0, result.stderr
    assert crash.sound_files(Path("checkpoints/tale")).keys() == {"best", "last"}


@pytest.mark.parametrize("what", ["best.safetensors", "last.safetensors", "the directory"])
@pytest.mark.parametrize("damage", ["remove", "replace"])
def test_a_checkpoint_lost_while_running_is_saved_again(
    what: str, damage: str, tale: Path, invoke: Invoke, before_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the best one, when nothing better comes after it."""
    nats = iter([1.0, *[2.0] * 100])
    monkeypatch.setattr(evaluation, "validate", lambda *_: validation(next(nats)))
    out = Path("checkpoints/tale")

    def harm() -> None:
        for path in [out / what] if "." in what else list(out.glob("*.safetensors")):
            path.unlink()
            if damage == "replace":
                path.write_bytes(b"no checkpoint")
        if "." not in what and damage == "remove":
            shutil.rmtree(out)

    before_step(6, harm)
    result = invoke("train", "tale.txt", *TINY, "--steps", "9", "--eval-every", "3", "--save-every", "1e-9")
    assert (result.code, result.stdout) == (0, f"{out}/best.safetensors\n"), result.stderr
    found = crash.sound_files(out)
    assert (found["best"].training["step"], found["last"].training["step"]) == (3, 9)


def test_a_best_replaced_by_another_network_while_running_is_no_crash(
    tale: Path, invoke: Invoke, before_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end the best network is scored on the whole validation text."""
    monkeypatch.setattr(schedule, "MAX_EVALUATION_CHARACTERS", 20)
    vocabulary = Vocabulary("char", "ab")
    model = ModelConfig(3, "gru", embedding_size=2, hidden_size=3)
    weights = {name: np.zeros(shape, np.float32) for name, shape in model.parameter_shapes().items()}
    foreign = checkpoint.Checkpoint(model, vocabulary, {}, weights)
    before_step(8, lambda: checkpoint.write(Path("checkpoints/tale/best.safetensors"), foreign))
    nats = iter([1.0, *[2.0] * 100])
    monkeypatch.setattr(evaluation, "validate", lambda *_: validation(next(nats)))
    result = invoke("train", "tale.txt", *TINY, "--steps", "9", "--eval-every", "3", "--val-whole")
    assert result.code == 0, result.stderr
    assert {found.model.hidden_size for found in crash.sound_files(Path("checkpoints/tale")).values()} == {8}


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes"),
    ],
)
@pytest.mark.parametrize(("arguments", "advice"), [(["train", "tale.txt"], "--batch-size"), (["sample"], "--num-samples")])
def test_too_little_memory_is_one_line_that_says_what_to_try(
    error: Exception, arguments: list[str], advice: str, tale: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(runs, "begin", fail)
    monkeypatch.setattr(lookup, "resolve_each", fail)
    result = invoke(*arguments)
    assert result.code == 1
    assert "not enough memory" in one_line(result.stderr)
    assert advice in result.stderr


def test_an_illegal_access_to_memory_is_no_lack_of_it(tale: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(runs, "begin", fail)
    with pytest.raises(RuntimeError, match="illegal"):
        invoke("train", "tale.txt")


# -- several processes ------------------------------------------------------------------------------------------------


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists() and path.read_bytes().count(b"\n") > 1:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def test_two_runs_started_at_once_on_the_same_text_get_two_directories(nursery: crash.Nursery, tale: Path) -> None:
    children = [nursery.start(tale, "train", "tale.txt", *TINY, "--steps", "5", "-q") for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    names = {child.stdout for child in children}
    assert names == {f"checkpoints/{name}/best.safetensors\n" for name in ("tale", "tale-2", "tale-3")}
    for name in ("tale", "tale-2", "tale-3"):
        assert crash.logged(tale / "checkpoints" / name) == [1, 2, 3, 4, 5]


def test_a_second_process_in_the_same_directory_is_refused_and_told_of_the_first(nursery: crash.Nursery, tale: Path) -> None:
    arguments = ("train", "tale.txt", *TINY, "--steps", "100000000", "--save-every", "0.01", "--out", "run")
    first = nursery.start(tale, *arguments)
    try:
        wait_for(tale / "run/log.jsonl")
        for _ in range(200):
            if (tale / "run/last.safetensors").exists():
                break
            time.sleep(0.05)
        for second in (arguments, ("train", "--resume", "run")):
            code, child = nursery.run(tale, *second)
            assert (code, child.stdout) == (1, "")
            line = one_line(child.stderr)
            assert "run: another process" in line
            assert f"process {first.pid} on {platform.node()}" in line
    finally:
        first.kill()
        first.wait()
    code, child = nursery.run(tale, "train", "--resume", "run", kill=("step", 1))
    assert code == -signal.SIGKILL, f"a killed process holds no lock: {child.stderr}"


def test_training_whose_reader_went_away_has_saved_before_it_exits_with_141(tale: Path) -> None:
    command = [sys.executable, "-m", "charrnn", "train", "tale.txt", *TINY, "--steps", "100000000", "--json"]
    with subprocess.Popen(command, cwd=tale, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [json.loads(process.stdout.readline())["event"] for _ in range(2)] == ["start", "step"]
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 141, said
    assert "Traceback" not in said
    found = crash.sound_files(tale / "checkpoints/tale")
    assert found.keys() == {"best", "last"}
    assert found["last"].training["step"] == max(crash.logged(tale / "checkpoints/tale")) >= 1


# -- another text -----------------------------------------------------------------------------------------------------


def test_a_changed_text_is_gone_on_with_only_when_that_is_allowed(run: Path, invoke: Invoke) -> None:
    Path("tale.txt").write_text(TALE_TEXT[::-1] + TALE_TEXT)
    line = one_line(invoke("train", "tale.txt", "--resume", "run", "--steps", "13").stderr)
    assert "tale.txt" in line
    assert "--allow-changed-corpus" in line
    result = invoke("train", "tale.txt", "--resume", "run", "--steps", "13", "--allow-changed-corpus", "--json")
    assert result.code == 0, result.stderr
    assert [event["step"] for event in events_of(result, "step")] == [11, 12, 13]
    assert events_of(result, "start")[0]["characters"] == 2 * len(TALE_TEXT)
    facts = checkpoint.read(run / "last.safetensors").training
    assert facts["corpus_sha256"] == hashlib.sha256((TALE_TEXT[::-1] + TALE_TEXT).encode()).hexdigest()
    assert invoke("train", "--resume", "run", "--steps", "14").code == 0, "the new text is the run's own now"


def test_a_text_that_grew_may_be_read_in_more_columns_from_then_on(invoke: Invoke, tmp_path: Path) -> None:
    Path("tale.txt").write_text(TALE_TEXT)
    small = ("--steps", "3", "--hidden-size", "8", "--batch-size", "2", "--bptt", "8", "--out", "run")
    assert invoke("train", "tale.txt", *small, "--groups", "1000").code == 0
    columns = checkpoint.read(Path("run/last.safetensors")).extra["state"].shape[2]
    Path("tale.txt").write_text(TALE_TEXT + TALE_TEXT)
    longer = ("train", "tale.txt", "--resume", "run", "--steps", "5")
    result = invoke(*longer, "--allow-changed-corpus", "--json")
    assert result.code == 0, result.stderr
    assert events_of(result, "end")[0]["step"] == 5
    assert checkpoint.read(Path("run/last.safetensors")).extra["state"].shape[2] > 1.5 * columns > 1.5 * 2


def test_a_changed_text_with_unknown_characters_is_refused_all_the_same(run: Path, invoke: Invoke) -> None:
    before = (run / "last.safetensors").read_bytes()
    Path("tale.txt").write_text(TALE_TEXT + "Ωμέγα" * 2)
    result = invoke("train", "tale.txt", "--resume", "run", "--steps", "13", "--allow-changed-corpus")
    assert (result.code, result.stdout) == (1, "")
    advice = "--init-from run starts a new run from its weights"
    assert f"trained on, and 10 characters are not in the run's vocabulary; {advice}" in one_line(result.stderr)
    assert (run / "last.safetensors").read_bytes() == before
    Path("tale.txt").write_text(TALE_TEXT + "Ω")
    refused = one_line(invoke("train", "tale.txt", "--resume", "run").stderr)
    assert "and 1 character is not in" in refused
    assert "--allow" not in refused  # It would be refused next.
    Path("tale.txt").write_text(TALE_TEXT + TALE_TEXT[:9])
    refused = one_line(invoke("train", "tale.txt", "--resume", "run").stderr)
    assert f"--allow-changed-corpus goes on with it, {advice}" in refused


# -- other weights to start from --------------------------------------------------------------------------------------


def random_checkpoint(characters: str, seed: int = 0) -> checkpoint.Checkpoint:
    vocabulary = Vocabulary("char", "".join(sorted(characters)))
    model = ModelConfig(vocabulary.size, "lstm", embedding_size=5, hidden_size=8, num_layers=2)
    rng = np.random.default_rng(seed)
    weights = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in model.parameter_shapes().items()}
    return checkpoint.Checkpoint(model, vocabulary, {}, weights)


@pytest.mark.parametrize("others", ["", "0123", "\n é😀", "0a-z"])
@pytest.mark.parametrize("dropped", ["", "a", "cxz"])
def test_weights_move_with_their_characters_whatever_their_ids_become(others: str, dropped: str) -> None:
    """Among the characters that both know, the same ones are predicted from the same ones, with the same loss."""
    old = random_checkpoint("abcdefwxyz")
    now = Vocabulary("char", "".join(sorted(set("abcdefwxyz" + others) - set(dropped))))
    model = ModelConfig(now.size, "lstm", embedding_size=5, hidden_size=8, num_layers=2)
    fresh = CharRNN(model, torch.Generator().manual_seed(1)).export()
    weights = carried_over(old, now, fresh)
    shared = sorted(set("abcdefwxyz") - set(dropped))
    text = "".join(random.Random(2).choices(shared, k=60))
    losses = []
    for vocabulary, network in ((old.vocabulary, Network(old.model, old.weights)), (now, Network(model, weights))):
        logits = network.unroll(vocabulary.encode(text)[:-1, None])[0][:, 0].astype(np.float64)
        known = vocabulary.encode("".join(shared))
        chosen = logits[np.arange(59), vocabulary.encode(text)[1:]]
        losses.append(np.log(np.exp(logits[:, known]).sum(1)) - chosen)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4, atol=1e-4)
    for character in sorted(set(now.characters) - set(old.vocabulary.characters)):
        row = int(now.encode(character)[0])
        for name in ("embedding.weight", "head.weight", "head.bias"):
            np.testing.assert_array_equal(weights[name][row], fresh[name][row])
    np.testing.assert_array_equal(weights["head.bias"][now.unknown], old.weights["head.bias"][old.vocabulary.unknown])


def test_a_run_from_a_checkpoint_scores_at_first_what_that_one_scored(run: Path, invoke: Invoke) -> None:
    expected = checkpoint.read(run / "best.safetensors").training["val_bits_per_char"]
    sizes = TINY[4:]  # the network's own come from the checkpoint
    scores = []
    for options in (
        ("--init-from", "run"),
        ("--init-from", "run/best.safetensors"),
        ("--hidden-size", "8", "--embedding-size", "4"),
    ):
        result = invoke("train", "tale.txt", *options, *sizes, "--steps", "1", "--lr", "1e-12", "--json")
        assert result.code == 0, result.stderr
        scores.append(events_of(result, "end")[0]["best_val_bits_per_char"])
    assert scores[:2] == pytest.approx([expected] * 2, abs=1e-5)
    assert scores[2] > expected + 0.01


def test_characters_carried_over_new_and_dropped_are_counted(run: Path, invoke: Invoke) -> None:
    Path("new.txt").write_text((TALE_TEXT.replace("x", "").replace("w", "") + "0 1 2\n") * 2)
    had = len(set(TALE_TEXT))
    result = invoke("train", "new.txt", "--init-from", "run", "--steps", "1")
    assert result.code == 0, result.stderr
    assert f"{had - 2} characters carried over, 3 new, 2 dropped" in result.stderr
    new = checkpoint.read(Path("checkpoints/new/best.safetensors"))
    assert new.model.hidden_size == 16
    assert set(new.vocabulary.characters) == set(TALE_TEXT) - set("xw") | set("012")


def test_bytes_are_all_carried_over_and_not_counted_as_none(tale: Path, invoke: Invoke) -> None:
    assert invoke("train", "tale.txt", *TINY, "--level", "byte", "--steps", "1", "--out", "run").code == 0
    result = invoke("train", "tale.txt", "--init-from", "run", "--steps", "1")
    assert result.code == 0, result.stderr
    assert "0 characters carried over" not in result.stderr


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--hidden-size", "8"], ["--hidden-size 8", "16"]),
        (["--layers", "2"], ["--layers 2", "1"]),
        (["--cell", "gru"], ["--cell gru", "lstm"]),
        (["--embedding-size", "5"], ["--embedding-size 5", "64"]),
        (["--level", "byte"], ["--level byte", "char"]),
        (["--resume", "run"], ["--resume", "--init-from"]),
    ],
)
def test_another_shape_than_the_checkpoints_is_a_usage_error(
    options: list[str], parts: list[str], run: Path, invoke: Invoke, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = invoke("train", "tale.txt", "--init-from", "run", "--steps", "1", *options)
    assert (result.code, result.stdout) == (2, "")
    assert all(part in one_line(result.stderr) for part in parts), result.stderr
    assert sorted(tmp_path.rglob("*")) == before


# -- divergence -------------------------------------------------------------------------------------------------------


def losing(monkeypatch: pytest.MonkeyPatch, step: int, times: int, factor: float, steps: int = 1) -> None:
    """Let the losses of ``steps`` steps from ``step`` + 1 on be ``factor`` times that of a uniform guess, so many times."""
    real, left = Learner.step, [step + number for _ in range(times) for number in range(steps)]

    def wrapped(self: Learner, lr: float) -> Any:
        made = self.progress.step
        loss, watched = real(self, lr)
        if left and made == left[0]:
            del left[0]
            loss = torch.full_like(loss, factor * math.log(max(self.vocabulary.size, 16)))
        return loss, watched

    monkeypatch.setattr(Learner, "step", wrapped)


def steps_of(events: list[dict[str, Any]], attempt: int = 1) -> dict[int, dict[str, Any]]:
    return {event["step"]: event for event in events if event["event"] == "step" and event["attempt"] == attempt}


@functools.cache
def untroubled_steps() -> dict[int, Any]:
    return steps_of(list(trainer_of(steps=100, log_every=1).run(Store())))


@pytest.mark.parametrize("factor", [math.nan, math.inf, 61.0])
def test_a_divergence_is_rewound_once_with_half_the_rate(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    untroubled = untroubled_steps()
    losing(monkeypatch, 40, 1, factor)
    store = Store()
    events = list(trainer_of(steps=100, log_every=1, eval_every=None).run(store))
    first, second = steps_of(events, 1), steps_of(events, 2)
    back_to = min(second) - 1
    assert 30 <= back_to <= 40, "not far"
    assert (sorted(first), sorted(second)) == (list(range(1, 41)), list(range(back_to + 1, 101)))
    for step, event in second.items():
        assert event["learning_rate"] == pytest.approx(untroubled[step]["learning_rate"] / 2)
    (warning,) = [event["text"] for event in events if event["event"] == "warning"]
    assert "half the learning rate" in warning
    assert (events[-1]["reason"], events[-1]["attempt"]) == ("finished", 2)
    assert store.latest("last").training["progress"]["attempt"] == 2
    assert {event["attempt"] for event in events if event["event"] == "eval" and event["step"] > 40} == {2}


def test_the_retry_that_was_used_up_stays_so_after_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    losing(monkeypatch, 20, 1, math.nan)
    store = Store()
    list(trainer_of(steps=40, log_every=1).run(store))
    losing(monkeypatch, 50, 1, math.nan)
    events = list(trainer_of(steps=80, log_every=1, resume=store.latest("last")).run(store))
    assert events[-1]["reason"] == "diverged"
    assert 40 <= events[-1]["step"] == store.latest("last").training["step"] <= 50
    assert all(np.isfinite(array).all() for array in store.latest("last").weights.values())


@pytest.mark.parametrize("log_every", [1, 7, 1000])
def test_a_loss_that_stays_above_three_times_the_uniform_one_is_a_divergence(
    log_every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Learner.step

    def wrapped(self: Learner, lr: float) -> Any:
        loss, watched = real(self, lr)
        high = self.progress.step > 40 and self.progress.attempt == 1
        return (torch.full_like(loss, 3.5 * math.log(max(self.vocabulary.size, 16))) if high else loss), watched

    monkeypatch.setattr(Learner, "step", wrapped)
    events = list(trainer_of(steps=200, log_every=log_every, eval_every=None).run(Store()))
    assert (events[-1]["reason"], events[-1]["attempt"]) == ("finished", 2)


@pytest.mark.parametrize(("step", "factor", "steps"), [(0, 5.0, 4), (40, 2.99, 160), (40, 20.0, 1), (40, 6.0, 5)])
def test_a_high_loss_during_warm_up_or_of_a_few_steps_or_below_three_times_the_uniform_one_is_no_divergence(
    step: int, factor: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing(monkeypatch, step, 1, factor, steps)
    events = list(trainer_of(steps=200, log_every=1).run(Store()))
    assert sorted(steps_of(events)) == list(range(1, 201))
    assert events[-1]["attempt"] == 1


def test_an_infinite_loss_is_a_divergence_during_warm_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    losing(monkeypatch, 1, 1, math.inf)
    events = list(trainer_of(steps=200, log_every=1).run(Store()))
    assert (events[-1]["reason"], events[-1]["attempt"]) == ("finished", 2)
    assert all(math.isfinite(event["bits_per_char"]) for event in events if event["event"] == "step")


def test_norms_of_exploding_gradients_that_clipping_tames_keep_no_run_from_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *given: real(*given) * 0 + 3e38)
    store = Store()
    events = list(trainer_of(steps=40, log_every=1, eval_every=100).run(store))
    assert all(math.isfinite(event["grad_norm"]) for event in events if event["event"] == "step")
    monkeypatch.undo()
    again = list(trainer_of(steps=80, resume=store.latest("last")).run(Store()))
    assert (again[-1]["reason"], again[-1]["step"]) == ("finished", 80)


def test_a_second_divergence_exits_with_1_and_keeps_what_was_good(
    tale: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing(monkeypatch, 12, 2, math.nan)
    result = invoke("train", "tale.txt", *TINY, "--steps", "30", "--eval-every", "5", "--json")
    assert result.code == 1
    assert "diverged twice" in result.stderr.splitlines()[-1]
    (end,) = events_of(result, "end")
    assert (end["reason"], end["attempt"]) == ("diverged", 3)
    found = crash.sound_files(Path("checkpoints/tale"))
    assert 10 <= found["last"].training["step"] == end["step"] <= 12
    assert found["best"].training["step"] in (5, 10)


def test_a_run_that_goes_on_at_another_rate_after_a_divergence_is_logged(
    tale: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an attempt of its own, with a fresh retry."""
    losing(monkeypatch, 4, 1, math.nan)
    assert invoke("train", "tale.txt", *TINY, "--steps", "8", "--out", "run").code == 0
    assert crash.logged(Path("run")) == list(range(1, 9))
    losing(monkeypatch, 10, 1, math.nan)
    result = invoke("train", "--resume", "run", "--steps", "12", "--lr", "0.001", "--json")
    assert result.code == 0
    assert crash.logged(Path("run")) == list(range(1, 13))
    assert events_of(result, "step")[0]["attempt"] == 3
    assert events_of(result, "end")[0]["attempt"] == 4


def test_after_a_second_divergence_a_run_at_another_rate_is_logged_from_where_it_goes_on(
    tale: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        losing(patch, 6, 1000, math.nan)
        assert invoke("train", "tale.txt", *TINY, "--steps", "30", "--log-every", "1", "--out", "run").code == 1
    stopped = crash.sound_files(Path("run"))["last"].training["step"]
    result = invoke("train", "--resume", "run", "--lr", "0.001", "--log-every", "1", "--json")
    assert result.code == 0
    log = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    assert [*steps_of(log, attempt=4)] == [*range(stopped + 1, 31)]


# -- escapes ----------------------------------------------------------------------------------------------------------

TITLE = "\x1b]0;owned\x07"


@pytest.fixture
def escaping(tmp_path: Path, invoke: Invoke) -> Path:
    """A run on a text of escapes, whose file has one in its name."""
    (tmp_path / f"{TITLE}.txt").write_text("\x1b[31mx\x9b\x07" * 100)
    assert invoke("train", f"{TITLE}.txt", *TINY, "--steps", "3", "--out", "run").code == 0
    return tmp_path / "run"


def test_escapes_of_generated_text_reach_a_terminal_only_if_asked(escaping: Path, invoke: Invoke) -> None:
    arguments = ("sample", "-c", "run", "--seed", "1", "-n", "300", "--temp", "2")
    raw = invoke(*arguments).stdout
    assert "\x1b" in raw, "a pipe gets the text as it is"
    assert invoke(*arguments, "--raw", terminal=True).stdout == raw
    shown = invoke(*arguments, terminal=True).stdout
    assert not set(shown) & set("\x1b\x9b\x07")
    assert len(shown) == len(raw)
    assert invoke(*arguments, "--raw").stdout == raw


@pytest.mark.parametrize("terminal", [True, False])
def test_escapes_of_a_corpus_reach_neither_info_nor_the_conversation(escaping: Path, invoke: Invoke, terminal: bool) -> None:
    for arguments in (("info", "run"), ("info", "."), ("train", f"{TITLE}.txt", *TINY, "--steps", "2", "--out", "again")):
        result = invoke(*arguments, terminal=terminal)
        assert result.code == 0
        for text in (result.stdout, result.stderr):
            assert "\x1b]" not in text
            assert "\x1b[31m" not in text
            assert not set(text) & set("\x9b\x07")


# -- hostile texts ----------------------------------------------------------------------------------------------------


def test_random_bytes_are_refused_as_characters_and_read_as_bytes(tmp_path: Path) -> None:
    data = random.Random(0).randbytes(200_000)
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(CharrnnError, match=r"/x: byte \d+ \(line \d+\) is not valid UTF-8 text"):
        read_corpus([str(tmp_path / "x")])
    assert read_corpus([str(tmp_path / "x")], TextReader("byte")).ids.tobytes() == data
    latin = read_corpus([str(tmp_path / "x")], TextReader(encoding=Encoding("latin-1")))
    assert latin.vocabulary.decode(latin.ids) == data.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize(
    "text", ["\0" * 300, "a" * 300, "\n" * 300, "\0\x01\x7f\n" * 80, "\ufeffab\ufeff" * 60, "\u202eab\u0301" * 80], ids=ascii
)
def test_a_text_of_odd_characters_is_learnt_sampled_and_shown(text: str, tmp_path: Path, invoke: Invoke) -> None:
    Path("x.txt").write_text(text, encoding="utf-8")
    result = invoke("train", "x.txt", *TINY, "--steps", "3", "--json")
    assert result.code == 0, result.stderr
    assert all(math.isfinite(event["bits_per_char"]) for event in events_of(result, "step"))
    sampled = invoke("sample", "-n", "50", "--seed", "1")
    assert (sampled.code, set(sampled.stdout) <= set(text) | {"\n"}) == (0, True)
    assert invoke("info", terminal=True).code == 0


def test_a_mark_in_the_middle_of_a_text_is_a_character(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfab\xef\xbb\xbfcd")
    read = read_corpus([str(tmp_path / "x")])
    assert read.vocabulary.decode(read.ids) == "ab\ufeffcd"


def test_a_line_of_5_megabytes_is_a_text_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("abcdefgh€" * (5_000_000 // 9))
    read = read_corpus([str(tmp_path / "x")])
    assert (len(read.ids), read.vocabulary.characters) == (5_000_000 // 9 * 9, "abcdefgh€")


def test_100000_distinct_characters_are_trained_on_and_sampled(tmp_path: Path, invoke: Invoke) -> None:
    characters = "".join(map(chr, [*range(0x20, 0x7F), *range(0xE000, 0xE000 + 99_905)]))
    assert len(set(characters)) == 100_000
    Path("x.txt").write_text(characters * 2, encoding="utf-8")
    # Every character of an evaluation has 100,001 logits: few characters, and one evaluation a run.
    options = (*TINY, "--batch-size", "2", "--precision", "fp32", "--val-fraction", "0.00001", "--eval-every", "9")
    result = invoke("train", "x.txt", *options, "--steps", "2", "--json")
    assert result.code == 0, result.stderr
    (start,) = events_of(result, "start")
    assert (start["vocab_size"], start["val_characters"]) == (100_001, 2)
    assert events_of(result, "step")[0]["bits_per_char"] == pytest.approx(math.log2(100_001), rel=0.05)
    assert len(events_of(result, "eval")) == 1
    assert len(invoke("sample", "-n", "5", "--seed", "1", "--raw").stdout.removesuffix("\n")) == 5
    assert invoke("train", "--resume", "latest", "--steps", "3").code == 0


def test_a_loop_of_links_is_one_line_with_its_name(tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/loop.txt").symlink_to("loop.txt")
    for arguments in (
        ("train", "loop.txt"),
        ("train", "loop.txt/x"),
        ("train", "folder"),
    ):
        result = invoke(*arguments)
        assert (result.code, result.stdout) == (1, "")
        assert arguments[-1].partition("/")[0] in one_line(result.stderr)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("level", ["char", "byte"])
@pytest.mark.parametrize("change", ["grow", "shrink"])
@pytest.mark.parametrize("memory", [1 << 26, 500])
def test_a_file_that_changes_while_it_is_read_is_what_was_read_of_it(
    change: str, level: str, memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789\n" * 200)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 64)
    monkeypatch.setattr(spilled, "IN_MEMORY_BYTES", memory)
    real, seen = sources.blocks, []

    def changing(name: str, version: int) -> Iterator[bytes]:
        for block in real(name, version):
            seen.append(block)
            if len(seen) == 5:
                if change == "grow":
                    with path.open("ab") as file:
                        file.write(b"abc\n" * 500)
                else:
                    os.truncate(path, 400)
            yield block

    monkeypatch.setattr(sources, "blocks", changing)
    read = read_corpus([str(path)], TextReader(level))
    data = b"".join(seen)
    assert (read.bytes_read, len(read.ids)) == (len(data), len(data))
    assert read.sha256 == hashlib.sha256(data).hexdigest()
    assert read.vocabulary.decode(read.ids).encode() == data


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_text_without_permission_is_one_line(tale: Path, invoke: Invoke) -> None:
    (tale / "tale.txt").chmod(0)
    assert "Permission denied" in one_line(invoke("train", "tale.txt").stderr)
