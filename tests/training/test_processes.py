"""Processes that share the columns: the bits of threads, and nothing left behind whatever ends them."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from crash import Nursery, Run
from small_runs import DROPOUT, random_model, run, trainer_of

from charrnn import cli
from charrnn.config import GATES
from charrnn.network import checkpoint, rundir
from charrnn.training import children, gradients, processes
from charrnn.training.processes import Processes, WorkerLostError
from charrnn.training.workers import Workers

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not children.can_fork(), reason="this system doesn't fork processes that compute"),
]

N, T = 6, 5
SETTINGS = {"batch_size": 6, "bptt": 8, "workers": 2, "steps": 6, **DROPOUT}


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Where processes can't be forked."""
    monkeypatch.setattr(children, "can_fork", lambda: False)
    monkeypatch.setattr(gradients, "can_fork", lambda: False)
    return monkeypatch


def chunk(model, seed=0):
    ids = torch.randint(7, (N, T + 1), generator=torch.Generator().manual_seed(seed))
    return ids[:, :-1], ids[:, 1:], torch.rand(model.initial_state(N).shape)


@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize("cell", list(GATES))
def test_processes_and_threads_give_the_same_bits(cell, count):
    model, workers = random_model(cell, layers=2), Workers(count)
    masks = model.dropout_masks(N, (0.1, 0.2, 0.3), torch.Generator().manual_seed(1))
    with gradients.forked(model, workers, N, T, (0.1, 0.2, 0.3)) as forked, workers.working():
        assert forked is not None
        for seed in range(3):
            step = chunk(model, seed)
            loss, state, found = gradients.of_chunk(model, *step, masks, processes=forked)
            expected = gradients.of_chunk(model, *step, masks, workers=workers)
            assert torch.equal(loss, expected[0])
            assert torch.equal(state, expected[1])
            assert all(map(torch.equal, found, expected[2]))
            with torch.no_grad():  # The workers see what the optimizer does to the weights.
                for parameter in model.parameters():
                    parameter.mul_(1.1)


@pytest.mark.parametrize("cell", list(GATES))
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_ends_with_the_same_weights_in_processes_and_in_threads(cell, precision, request):
    settings = {**SETTINGS, "precision": precision}
    _, one = run(trainer_of(cell=cell, **settings))
    request.getfixturevalue("threads")
    _, two = run(trainer_of(cell=cell, **settings))
    weights, expected = one.latest("last").weights, two.latest("last").weights
    assert all((weights[name] == expected[name]).all() for name in expected)


def test_the_workers_end_with_the_context():
    with gradients.forked(random_model(), Workers(3), N, T) as forked:
        pids = list(forked._pids)
        assert len(pids) == 2
    assert not any(map(is_there, pids))


def is_there(pid: int) -> bool:
    """Whether a process is there that isn't merely waiting for its end to be noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_worker_is_one_clear_error():
    model = random_model()
    with gradients.forked(model, Workers(2), N, T) as forked:
        os.kill(forked._pids[0], signal.SIGKILL)
        with pytest.raises(WorkerLostError, match="was killed by signal 9"):
            forked.of_chunk(*chunk(model), None, 24)


def test_an_error_in_a_worker_reaches_the_run():
    here = os.getpid()

    def fails_elsewhere(*_: object) -> processes.Part:
        if os.getpid() != here:
            raise MemoryError("not enough memory for this chunk")
        return torch.zeros(()), torch.zeros(1, 1, 3, 8), []

    model = random_model()
    shapes = processes.Shapes((N, T), tuple(model.initial_state(N).shape))
    workers = Processes(fails_elsewhere, list(model.parameters()), lambda _: [slice(0, 3), slice(3, 6)], shapes)
    with workers, pytest.raises(RuntimeError, match="MemoryError: not enough memory for this chunk"):
        workers.of_chunk(*chunk(model), None, 24)


def test_no_memory_for_processes_leaves_it_to_threads(monkeypatch):
    def full(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(processes.mmap, "mmap", full)
    model = random_model()
    before = {name: weight.clone() for name, weight in model.weights().items()}
    with gradients.forked(model, Workers(2), N, T) as forked:
        assert forked is None
    assert all(torch.equal(weight, before[name]) for name, weight in model.weights().items())


def test_no_process_more_leaves_it_to_threads(monkeypatch):
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(children.os, "fork", refused)
    with gradients.forked(random_model(), Workers(2), N, T) as forked:
        assert forked is None


# -- whole programs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def training(nursery: Nursery, tmp_path: Path) -> Iterator[Run]:
    """A run of two workers that goes on until it is stopped, in a process group of its own."""
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 400)
    arguments = ["--minutes", "5", "--hidden-size", "16", "--workers", "2", "--out", str(tmp_path / "run"), "--cell", "rnn"]
    run = nursery.start(tmp_path, "train", str(text), *arguments, "--batch-size", "16")
    deadline = time.monotonic() + 60
    log = tmp_path / "run" / "log.jsonl"
    # The first step is logged when the workers have made it.
    while not (log.exists() and '"event": "step"' in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(children_of(run.pid)) == 1, run.stderr
    yield run
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_saves_and_leaves_no_process(training, number, tmp_path):
    pids = children_of(training.pid)
    os.killpg(training.pid, number)
    assert training.wait() == 128 + number
    assert "stopped and saved" in training.stderr
    assert (tmp_path / "run" / "last.safetensors").exists()
    assert not any(map(is_there, pids))


def test_workers_die_with_a_run_that_is_killed(training):
    (pid,) = children_of(training.pid)
    training.kill()
    training.wait()
    deadline = time.monotonic() + 30
    while is_there(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_there(pid)


def test_a_run_whose_worker_is_killed_saves_and_says_so_in_a_line(training, tmp_path):
    (pid,) = children_of(training.pid)
    os.kill(pid, signal.SIGKILL)
    assert training.wait() == 1
    stderr = training.stderr
    *lines, last = stderr.splitlines()
    assert any(f"warning: worker process {pid} was killed by signal 9" in line for line in lines)
    assert "Traceback" not in stderr
    step = checkpoint.read_header(tmp_path / "run" / rundir.LAST).training["step"]
    program, *go_on = shlex.split(last.partition("go on by: ")[2])  # What is said to be done does it.
    assert program == "charrnn"
    assert cli.run([*go_on, "--steps", str(step + 2)]) == 0


def test_processes_are_used_by_default_where_columns_are_many(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    trainer = trainer_of(batch_size=16, steps=1, cell="rnn", bptt=2)

    def of_chunk(*_: object) -> None:
        raise WorkerLostError("a process was asked")

    monkeypatch.setattr(Processes, "of_chunk", of_chunk)
    events, store = run(trainer)
    assert (events[-1]["event"], events[-1]["reason"]) == ("end", "worker_lost")
    assert any(event["event"] == "warning" and "a process was asked" in event["text"] for event in events)
    assert store.latest("last").training["step"] == 0
