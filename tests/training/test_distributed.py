"""Ranks: the losses of one process, bit-equal networks, states by column, and an end for all when one is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TALE_TEXT
from small_ranks import SETTINGS, TEXT, Launch, assert_close, launched, losses, run_of, said, tensors, together
from small_runs import Store, corpus_of, only, random_text, same_weights, trainer_of

from charrnn import CharrnnError, cli
from charrnn.network import checkpoint, lookup, rundir
from charrnn.text import cache as caching
from charrnn.text import corpus
from charrnn.text.reading import TextReader
from charrnn.training import children, distributed
from charrnn.training.distributed import Group
from charrnn.training.learner import Learner
from charrnn.training.ranks import RankLostError

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not children.can_fork(), reason="this system doesn't fork processes that compute"),
]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_ranks_have_the_losses_of_one_process_and_the_same_network_bit_for_bit(count, tmp_path):
    expected, whole = run_of(None)
    runs = together(count, run_of, tmp_path)
    for found, store in runs:
        assert losses(found) == pytest.approx(losses(expected), abs=1e-4)
        assert len(losses(found)) == 14
        assert_close(tensors(store), tensors(whole))
        for name, value in tensors(store).items():
            np.testing.assert_array_equal(value, tensors(runs[0][1])[name], err_msg=name)
    assert only(runs[0][0], "end")[0]["seconds"] == only(runs[-1][0], "end")[0]["seconds"]


@pytest.mark.parametrize("settings", [{"batch_size": 2, "groups": 1}, {"workers": 2, "batch_size": 7}])
def test_ranks_without_columns_and_ranks_with_workers_of_their_own(settings, tmp_path):
    expected, whole = run_of(None, **{**settings, "workers": 1})
    found, store = together(3, lambda group: run_of(group, **settings), tmp_path)[0]
    assert losses(found) == pytest.approx(losses(expected), abs=1e-4)
    assert_close(tensors(store), tensors(whole))


def test_ranks_learn_a_list_whose_longest_records_take_several_steps(tmp_path):
    lines = [random_text(length, length).replace("\n", " ") for length in (3, 5, 9, 14, 30, 70, 75, 90, 95, 99)] * 5
    (tmp_path / "list.txt").write_text("\n".join(f"{number}{line}" for number, line in enumerate(lines)) + "\n")
    text = corpus.read_corpus([str(tmp_path / "list.txt")], TextReader("char"), val_fraction=0.3, val_seed=1)

    def learn(group: Group | None) -> tuple[Any, Store]:
        told = {} if group is None else {"clock": group.clock, "stop": group.stop, "ranks": group}
        trainer = trainer_of(text, "lstm", **told, bptt=8, batch_size=60, steps=20, log_every=1, eval_every=10)
        assert any(trainer.streams.batch(step).whole != len(trainer.streams.batch(step).inputs) for step in range(20))
        store = Store()
        return list(trainer.run(store)), store

    expected, _ = learn(None)
    for found, _ in together(2, learn, tmp_path):
        assert losses(found) == pytest.approx(losses(expected), abs=1e-4)


@pytest.mark.parametrize("count", [2, 3])
def test_a_run_stopped_by_any_rank_resumes_bit_for_bit_with_as_many_and_to_rounding_with_others(count, tmp_path):
    whole = together(2, run_of, tmp_path)[0][1]
    halves = together(2, lambda group: run_of(group, stop_after=7 if group.number else None), tmp_path)
    assert [only(found, "end")[0]["reason"] for found, _ in halves] == ["interrupted"] * 2
    steps = {store.latest("last").training["step"] for _, store in halves}
    assert steps in ({7}, {8})
    half = halves[0][1]
    assert half.latest("last").training["ranks"] == 2
    _, rest = together(count, lambda group: run_of(group, resume=half), tmp_path)[-1]
    assert rest.latest("last").training["ranks"] == count
    if count == 2:
        for name, value in tensors(whole).items():
            np.testing.assert_array_equal(value, tensors(rest)[name], err_msg=name)
    assert_close(tensors(rest), tensors(whole))
    assert_close(tensors(run_of(None, resume=half)[1]), tensors(whole))


def test_minutes_are_those_of_the_first_rank(tmp_path):
    def learn(group: Group) -> tuple[int, float]:
        if group.number:
            group._own_clock = lambda: 1e6
        found, _ = run_of(group, steps=None, minutes=0.005)
        return found[-1]["step"], found[-1]["seconds"]

    one, other = together(2, learn, tmp_path)
    assert one == other
    assert 2 < one[0] < 1000
    assert one[1] < 1


def test_the_time_comes_without_loss_of_digits(tmp_path):
    def read(group: Group) -> float:
        group._own_clock = lambda: 31_556_952.123456
        return group.clock()

    assert together(2, read, tmp_path) == [pytest.approx(31_556_952.123456, abs=1e-6)] * 2


def test_ranks_that_drift_apart_end_before_the_next_save(tmp_path):
    def learn(group: Group) -> tuple[str, int]:
        def drift(step: int) -> None:
            if group.number and step == 3:
                trainer.model.head.bias.data[0] += 1e-6

        told = {"clock": group.clock, "stop": group.stop, "ranks": group}
        trainer = trainer_of(corpus_of(TEXT, 300), "lstm", **told, **SETTINGS, before_step=drift)
        store = Store()
        try:
            list(trainer.run(store))
        except CharrnnError as error:
            return str(error), len(store.saved)
        return "", 0

    first, second = together(2, learn, tmp_path)
    assert second[0].startswith("rank 1 on ")
    assert second[0].endswith(": its network differs from that of rank 0 at step 12")
    assert first == ("another rank has ended before its time", second[1])


# -- whole programs ----------------------------------------------------------------------------------------------------

WORDS = ("train", "tale.txt", "--hidden-size", "8", "--steps", "24", "--batch-size", "4", "--bptt", "8", "--workers", "1")
WORDS += ("--save-every", "0.0001", "--eval-every", "12", "--device", "cpu", "--precision", "fp32")


def program(
    *words: str, count: int = 2, before: Any = lambda number: None, end: Any = Launch.end, **named: Any
) -> dict[int, int]:
    """Call the command line in ``count`` ranks and return their exit codes; their streams are files in this directory."""
    folder = Path.cwd()

    def work(number: int) -> int:
        before(number)
        return cli.run(list(words))

    for file in [*folder.glob("*.out"), *folder.glob("*.err")]:
        file.unlink()
    with launched(**named) as launch:
        launch.start(count, work, folder)
        return end(launch)


def all_said(count: int = 2) -> str:
    return "".join(said(Path.cwd(), number) for number in range(count))


def killing(rank: int, step: int) -> Any:
    """What kills a ``rank`` before a ``step``, counted in its own process."""

    def before(number: int) -> None:
        steps, learn = iter(range(10**6)), Learner.step

        def killed(self: Learner, lr: float, **how: Any) -> Any:
            if number == rank and next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return learn(self, lr, **how)

        Learner.step = killed

    return before


@pytest.fixture
def tale(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tale.txt").write_text(TALE_TEXT)
    return tmp_path


@pytest.mark.usefixtures("tale")
def test_rank_0_alone_writes_and_speaks():
    assert program(*WORDS, "--out", "run") == {0: 0, 1: 0}
    assert Path("0.out").read_text() == "run/best.safetensors\n"
    assert "; cpu fp32, 2 ranks; run run\n" in said(Path.cwd(), 0)
    assert (Path("1.out").read_text(), said(Path.cwd(), 1)) == ("", "")
    log = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    assert (log[0]["ranks"], log[-1]["event"], log[-1]["step"]) == (2, "end", 24)
    last = checkpoint.read(Path("run/last.safetensors"))
    assert (last.training["ranks"], last.training["torchrun"]) == (2, "launch")


@pytest.mark.usefixtures("tale")
@pytest.mark.parametrize("more", [(), ("--average-every", "5")])
def test_ranks_that_are_killed_twice_and_started_anew_end_as_if_nothing_had_happened(more):
    words = (*WORDS, *more)
    assert program(*words, "--out", "whole") == {0: 0, 1: 0}
    assert program(*words, before=killing(1, 0)) == {0: 1, 1: -signal.SIGKILL}
    assert checkpoint.read(Path("checkpoints/tale/last.safetensors")).training["step"] == 0
    assert all_said().count("charrnn: ") == 1
    told = "checkpoints/tale: another rank has ended before its time; go on from what was saved last by:"
    assert f"{told} torchrun --nproc-per-node 2 -m charrnn train --resume checkpoints/tale\n" in all_said()
    assert program(*words, before=killing(0, 15), restarts=1) == {0: -signal.SIGKILL, 1: 1}
    assert all_said().count("charrnn: ") == 1
    assert checkpoint.read(Path("checkpoints/tale/last.safetensors")).training["step"] > 0
    assert program(*words, restarts=2) == {0: 0, 1: 0}
    for name in (rundir.BEST, rundir.LAST):
        whole, disturbed = (checkpoint.read(Path(run, name)) for run in ("whole", "checkpoints/tale"))
        for part in ("weights", "extra"):
            for tensor, value in getattr(whole, part).items():
                np.testing.assert_array_equal(value, getattr(disturbed, part)[tensor], err_msg=tensor)
    assert [path.name for path in Path("checkpoints").iterdir()] == ["tale"]


@pytest.mark.usefixtures("tale")
def test_ranks_started_anew_after_the_last_save_have_nothing_to_do():
    assert program(*WORDS) == {0: 0, 1: 0}
    assert program(*WORDS, restarts=1) == {0: 0, 1: 0}
    assert Path("0.out").read_text() == "checkpoints/tale/best.safetensors\n"
    assert program(*WORDS, "--out", "other", restarts=2) == {0: 0, 1: 0}  # That is another run.
    assert Path("0.out").read_text() == "other/best.safetensors\n"


@pytest.mark.usefixtures("tale")
def test_ranks_started_anew_go_on_with_no_run_of_another_launch():
    assert program(*WORDS) == {0: 0, 1: 0}
    assert program(*WORDS, name="another", before=killing(0, 0))[0] == -signal.SIGKILL
    assert program(*WORDS, name="another", restarts=1) == {0: 0, 1: 0}
    assert Path("0.out").read_text() == "checkpoints/tale-2/best.safetensors\n"


@pytest.mark.usefixtures("tale")
def test_a_signal_to_any_rank_saves_once_and_ends_all():
    def interrupt(number: int) -> None:
        steps, learn = iter(range(10**6)), Learner.step

        def interrupted(self: Learner, lr: float) -> Any:
            if number == 1 and next(steps) == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return learn(self, lr)

        Learner.step = interrupted

    assert program(*WORDS, "--save-every", "1000", before=interrupt) == {0: 130, 1: 130}
    go_on = "torchrun --nproc-per-node 2 -m charrnn train --resume checkpoints/tale"
    assert all_said().endswith(f"charrnn: stopped and saved; go on by: {go_on}\n")
    log = [json.loads(line) for line in Path("checkpoints/tale/log.jsonl").read_text().splitlines()]
    assert [event["kind"] for event in log if event["event"] == "saved"] == ["best", "last"]
    step = log[-1]["step"]
    assert step in (6, 7)
    assert program("train", "--resume", "checkpoints/tale", count=1) == {0: 0}


@pytest.mark.usefixtures("tale")
@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("train", "gone.txt"), 1, "charrnn: gone.txt: No such file"),
        (("train", "tale.txt", "--bptt", "no"), 2, "charrnn: --bptt"),
        (("train", "tale.txt", "--steps", "1", "--groups", "2", "--records"), 2, "charrnn: --groups"),
        (
            ("train", "tale.txt", "--members", "2", "--average-every", "4"),
            2,
            "charrnn: --average-every is for ranks that train",
        ),
        (("train", "-"), 2, "charrnn: each rank reads the text itself; name a file, not -"),
        (("train", "--resume", "gone"), 1, "charrnn: gone: No such file or directory"),
    ],
)
def test_what_keeps_all_ranks_from_beginning_is_said_once(words, code, line):
    def before(number: int) -> None:
        sys.modules.pop("charrnn.training.distributed")  # As of a program that has just begun.

    codes = program(*words, before=before)
    assert set(codes.values()) <= {code, 1}
    assert code in codes.values()
    assert all_said().startswith(line)
    assert all_said().count("\n") == 1


@pytest.mark.usefixtures("tale")
def test_a_rank_that_reads_another_text_says_so():
    def elsewhere(number: int) -> None:
        if number:
            Path("other").mkdir()
            os.chdir("other")
            Path("tale.txt").write_text(TALE_TEXT + "!")

    assert program(*WORDS, before=elsewhere) == {0: 1, 1: 1}
    assert "tale.txt: not the text that rank 0 has read" in all_said()
    assert all_said().count("\n") == 1
    assert not Path("checkpoints").exists()


@pytest.mark.usefixtures("tale")
def test_a_plan_is_shown_once_and_told_for_torchrun():
    assert program(*WORDS, "--dry-run") == {0: 0, 1: 0}
    assert "\ntorchrun --nproc-per-node 2 -m charrnn train --cell lstm " in Path("0.out").read_text()
    assert Path("1.out").read_text() == ""


@pytest.mark.parametrize(("given", "cores", "expected"), [("1", 8, 4), ("1", 1, 1), ("3", 8, 3), (None, 8, 5)])
def test_a_rank_takes_its_share_of_the_cores_unless_the_environment_says_how_many(given, cores, expected, tmp_path):
    def threads(_: Any) -> int:
        torch.distributed.barrier()  # None leaves before all have come.
        return torch.get_num_threads()

    def before() -> None:
        torch.set_num_threads(5 if given is None else int(given))

    environment = {} if given is None else {"OMP_NUM_THREADS": given}
    assert together(2, threads, tmp_path, before=before, cores=cores, environment=environment) == [expected] * 2


def test_torchrun_starts_killed_ranks_anew_and_the_run_goes_on(tale):
    """The real one, which takes seconds to start."""
    kill = (
        "import os, signal, sys\nfrom charrnn import cli\nfrom charrnn.training.learner import Learner\n"
        "learn = Learner.step\n"
        "def step(self, lr):\n"
        "    if self.progress.step == 9 and os.environ['RANK'] + os.environ['TORCHELASTIC_RESTART_COUNT'] == '10':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return learn(self, lr)\n"
        "Learner.step = step\ncli.main()\n"
    )
    (tale / "killed.py").write_text(kill)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    done = subprocess.run([*torchrun, "killed.py", *WORDS], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "checkpoints/tale/best.safetensors\n"
    assert done.stderr.count("charrnn: ") == 1
    assert checkpoint.read(Path("checkpoints/tale/last.safetensors")).training["step"] == 24


# -- networks of their own ---------------------------------------------------------------------------------------------

MEMBERS = ("train", "tale.txt", "--members", "3", *WORDS[2:])


def weights_of(run: str) -> list[dict[str, Any]]:
    return [checkpoint.read(path / "last.safetensors").weights for path in lookup.members(Path(run))]


@pytest.mark.usefixtures("tale")
def test_ranks_share_several_networks_which_are_those_of_one_process():
    assert program(*MEMBERS, "--out", "run") == {0: 0, 1: 0}
    assert (Path("0.out").read_text(), Path("1.out").read_text(), said(Path.cwd(), 1)) == ("run\n", "", "")
    for number in range(3):
        assert f"member {number}: training lstm 1 x 8 " in said(Path.cwd(), 0)
    assert checkpoint.read(Path("run/member-1/last.safetensors")).training["torchrun"] == "launch"
    assert cli.run([*MEMBERS, "--out", "alone", "-q"]) == 0
    assert [same_weights(*pair) for pair in zip(weights_of("run"), weights_of("alone"), strict=True)] == [True] * 3


@pytest.mark.usefixtures("tale")
def test_networks_of_ranks_that_were_stopped_or_killed_go_on_with_any_number_of_ranks():
    words = (*MEMBERS, "--seed", "7")
    assert program(*words, "--out", "whole") == {0: 0, 1: 0}

    def kill(number: int) -> None:
        children._close_all_but = lambda kept: os.kill(os.getppid(), signal.SIGKILL) if number else None

    codes = program(*words, before=kill, end=Launch.end_with_the_first)
    assert codes == {0: 143, 1: -signal.SIGKILL}
    found = program(*words, count=3, restarts=1)
    assert found == {0: 0, 1: 0, 2: 0}, all_said(3)
    assert [path.name for path in Path("checkpoints").iterdir()] == ["tale"]
    assert [same_weights(*pair) for pair in zip(weights_of("checkpoints/tale"), weights_of("whole"), strict=True)] == [True] * 3
    assert program("train", "--resume", "whole", "--steps", "30", count=3) == {0: 0, 1: 0, 2: 0}
    assert checkpoint.read(Path("whole/member-2/last.safetensors")).training["step"] == 30


def test_ranks_that_miss_one_say_which(monkeypatch):
    monkeypatch.setattr(distributed, "JOINING", timedelta(seconds=0))
    group = object.__new__(Group)
    group.number, group.count = 0, 2
    with pytest.raises(RankLostError, match="rank 1 hasn't come within 0 minutes; are torchrun's options the same"):
        group._start(torch.distributed.HashStore())


# -- reading ---------------------------------------------------------------------------------------------------------


def _read(group: Group, path: Path, place: Path, told: list[Any]) -> list[Any]:
    cache = caching.Cache(place)
    found = group.first_here(lambda: corpus.read_corpus([str(path)], TextReader("char"), cache=cache, tell=told.append))
    return [len(told), found.sha256, found.ids[:].tobytes()]


@pytest.mark.parametrize("hosts", [1, 2])
def test_the_ranks_of_a_machine_read_a_text_once(hosts, monkeypatch, tmp_path):
    """Here a machine is what torchrun says and has a cache of its own."""
    monkeypatch.setattr(caching, "LARGE_BYTES", 0)
    monkeypatch.setattr(caching, "RACE_SECONDS", 0)
    (tmp_path / "text.txt").write_text(TEXT)
    each = 4 // hosts

    def read(group: Group) -> list[Any]:
        host, local = divmod(group.number, each)
        os.environ.update(GROUP_RANK=str(host), LOCAL_RANK=str(local))
        return _read(group, tmp_path / "text.txt", tmp_path / f"cache-{host}", [])

    found = together(4, read, tmp_path)
    assert [bool(count) for count, *_ in found] == ([True, *[False] * (each - 1)] * hosts)
    assert len({text for _, *text_of in found for text in text_of}) == 2  # one digest, one text


def test_nobody_waits_for_a_rank_that_could_not_read(tmp_path):
    def read(group: Group) -> str:
        try:
            _read(group, tmp_path / "nothing.txt", tmp_path / "cache", [])
        except CharrnnError as error:
            return str(error)
        return "read"

    first, second = together(2, read, tmp_path)
    assert "nothing.txt: No such file" in first
    assert second == "another rank has ended before its time"


def test_what_torch_says_while_ranks_connect_is_no_product(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(1, b"before ")
    with distributed._quiet():
        os.write(1, b"[Gloo] Rank 0 is connected ")
    os.write(1, b"after")
    assert capfd.readouterr().out == "before after"
