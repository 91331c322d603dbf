"""members: networks that train side by side end as each would alone, whatever stops them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import CharrnnError, UsageError
from charrnn.network import checkpoint, lookup, rundir
from charrnn.training import members, ranks, runs
from charrnn.training.children import can_fork
from charrnn.training.members import Members
from charrnn.training.runs import RunRequest

if not can_fork():
    pytest.skip("processes can't be forked here", allow_module_level=True)

SETTINGS = {"steps": 12, "hidden_size": 8, "batch_size": 4, "bptt": 16, "eval_every": 4, "precision": "fp32", "log_every": 1}


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A text to learn; two cores, whatever the machine has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ranks, "usable_cores", lambda: 2)
    Path("novel.txt").write_text("to be, or not to be\n" * 60)
    return "novel.txt"


def begun(request: RunRequest, stop: Callable[[], str | None] = lambda: None) -> Members:
    return members.begin(request, iter(np.arange(1, 1e6) * 1e-3).__next__, stop, pytest.fail)


def asked(text: str, count: int, **others: Any) -> RunRequest:
    return RunRequest([text], {**SETTINGS, **others.pop("settings", {})}, members=count, **others)


def weights(run: Path, name: str = rundir.LAST) -> dict[str, Any]:
    return dict(checkpoint.read(run / name).weights)


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """A run of three on two cores that nothing stopped, and its events."""
    path = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setattr(ranks, "usable_cores", lambda: 2)
        Path("novel.txt").write_text("to be, or not to be\n" * 60)
        run = begun(asked("novel.txt", 3))
        yield path / run.directory.path, list(run.events())


def test_each_member_is_what_it_would_be_alone(whole: tuple[Path, list[dict[str, Any]]], text: str) -> None:
    run, events = whole
    assert [path.name for path in lookup.members(run)] == ["member-0", "member-1", "member-2"]
    for number in (0, 2):
        request = RunRequest([text], {**SETTINGS, "seed": number, "workers": 1, "device": "cpu"}, Path(f"alone-{number}"))
        alone, trainer, start = runs.begin(request, iter(np.arange(1, 1e6) * 1e-3).__next__, lambda: None, print, print)
        told = list(runs.logged(alone, trainer, start))
        assert same(alone.path, rundir.member(run, number))
        ends = [event for event in events if event["event"] == "end" and event["member"] == number]
        assert [event["best_val_bits_per_char"] for event in ends] == [told[-1]["best_val_bits_per_char"]]
    assert not same(rundir.member(run, 0), rundir.member(run, 1))


def test_members_have_seeds_of_their_own_and_one_split(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    run, events = whole
    starts = {event["member"]: event for event in events if event["event"] == "start"}
    assert [starts[number]["config"]["seed"] for number in range(3)] == [0, 1, 2]
    assert [starts[number]["workers"] for number in range(3)] == [1, 1, 1]
    assert len({(event["train_characters"], event["val_characters"]) for event in starts.values()}) == 1
    facts = [checkpoint.read_header(path / rundir.BEST).training for path in lookup.members(run)]
    assert len({fact["corpus_sha256"] for fact in facts}) == 1


def test_every_event_carries_its_member_and_stands_in_the_members_log_without(
    whole: tuple[Path, list[dict[str, Any]]],
) -> None:
    run, events = whole
    for number in range(3):
        mine = [event for event in events if event["member"] == number]
        assert [mine[0]["event"], mine[-1]["event"], mine[-1]["reason"]] == ["start", "end", "finished"]
        logged = [json.loads(line) for line in (rundir.member(run, number) / rundir.LOG).read_text().splitlines()]
        assert [event["event"] for event in logged] == [event["event"] for event in mine]
        assert not any("member" in event for event in logged)


def test_more_members_than_cores_take_turns(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    _, events = whole
    order = [(event["member"], event["event"]) for event in events if event["event"] in ("start", "end")]
    first_end = next(place for place, (_, event) in enumerate(order) if event == "end")
    assert {member for member, _ in order[:first_end]} == {0, 1}
    assert order.index((2, "start")) > first_end


@pytest.mark.parametrize("after", [0, 5])
def test_a_run_that_was_stopped_and_resumed_ends_as_one_that_never_stopped(
    whole: tuple[Path, list[dict[str, Any]]], text: str, after: int
) -> None:
    steps: list[int] = []
    run = begun(asked(text, 3), lambda: "interrupted" if len(steps) >= after else None)
    for event in run.events():
        if event["event"] == "step":
            steps.append(event["step"])
    path = run.directory.path
    assert [(member / rundir.LAST).exists() for member in lookup.members(path)] == [True] * 3
    assert members.is_asked_for(RunRequest([], {}, resume=str(path)))
    resumed = begun(RunRequest([], {}, resume=str(path)))
    assert resumed.count == 3
    ends = [event for event in resumed.events() if event["event"] in members.ENDS]
    assert [event["reason"] for event in ends] == ["finished"] * 3
    assert members.trouble(ends, resumed) is None
    assert all(same(rundir.member(path, number), rundir.member(whole[0], number)) for number in range(3))


def test_a_killed_member_is_told_and_the_others_end(whole: tuple[Path, list[dict[str, Any]]], text: str) -> None:
    run, ends = begun(asked(text, 2)), []
    for event in run.events():
        if event["event"] == "start" and event["member"] == 0:
            os.kill(event["pid"], signal.SIGKILL)
        if event["event"] in members.ENDS:
            ends.append(event)
    ends.sort(key=lambda event: event["member"])
    assert [event["event"] for event in ends] == ["lost", "end"]
    said = members.trouble(ends, run)
    assert said is not None
    assert said.startswith("checkpoints/novel: member-0: its process ")
    assert said.endswith("was killed by signal 9, perhaps because memory was short; go on by: " + run.go_on)
    assert [event["reason"] for event in begun(RunRequest([], {}, resume="latest")).events() if event["event"] == "end"]
    assert all(same(rundir.member(run.directory.path, number), rundir.member(whole[0], number)) for number in range(2))


def test_a_member_ends_when_nobody_hears_it_any_more() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        told = members._Told(theirs)
        assert told.stop() is None
        ours.close()
        assert told.stop() == "terminated"
        told.tell({"event": "step"})
        told.tell({"event": "step"})


@pytest.mark.parametrize("reason", [members.INTERRUPTED, members.TERMINATED])
def test_a_member_that_is_asked_to_end_says_why(reason: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        told = members._Told(theirs)
        ours.sendall(reason)
        assert told.stop() == told.stop() == members.REASONS[reason]


def test_what_keeps_a_member_from_beginning_is_told(text: str) -> None:
    run = begun(asked(text, 2))
    (run.directory.path / "member-0").write_text("in the way")
    ends = [event for event in run.events() if event["event"] in members.ENDS]
    said = members.trouble(ends, run)
    assert said is not None
    assert "member-0" in said
    assert {event["event"] for event in ends if event["member"] == 1} == {"end"}


def test_two_processes_never_train_in_one_run(text: str) -> None:
    run = begun(asked(text, 2))
    with pytest.raises(CharrnnError, match=r"another process .* is training there"):
        rundir.RunDirectory(run.directory.path)
    list(run.events())
    rundir.RunDirectory(run.directory.path).close()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (RunRequest(["novel.txt"], {"workers": 2}, members=2), "--workers shares"),
        (RunRequest(["novel.txt"], {"device": "cuda"}, members=2), "--members trains on the CPU"),
    ],
)
def test_what_several_networks_cannot_have_is_refused(text: str, request_: RunRequest, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        begun(request_)


def test_a_run_of_several_is_resumed_as_it_is(whole: tuple[Path, list[dict[str, Any]]], text: str) -> None:
    run = str(whole[0])
    for request, said in (
        (RunRequest([], {}, resume=run, members=2), "--members 2 differs from the run's own, 3"),
        (RunRequest(["-"], {}, resume=run), "name a file, not -"),
    ):
        with pytest.raises(UsageError, match=said):
            begun(request)
    with pytest.raises(UsageError, match="leave out --out"):
        RunRequest([], {}, resume=run, out=Path("x"))
    with pytest.raises(CharrnnError, match="a run of 3 networks; name one of them"):
        runs.begin(RunRequest([], {}, resume=run), lambda: 0.0, lambda: None, print, print)


def test_the_first_turn_pays_for_the_start_and_a_later_one_begins_with_itself(text: str) -> None:
    """A clock counts from the beginning of the process that reads it first, which mustn't be the member's."""
    read: list[float] = []

    def clock() -> float:
        read.append(100.0 + len(read))
        return read[-1]

    run = members.begin(asked(text, 3), clock, lambda: None, print)
    seconds = {event["member"]: event["seconds"] for event in run.events() if event["event"] == "eval"}
    assert len(read) >= 3  # in this process
    assert min(seconds[0], seconds[1]) > 100
    assert seconds[2] < 100


def test_a_budget_in_minutes_is_split_by_turns(text: str) -> None:
    settings = {name: value for name, value in SETTINGS.items() if name != "steps"}
    prepared = members.prepare(RunRequest([text], {**settings, "minutes": 3.0}, members=3), print)
    assert prepared.config.minutes == 1.5
    assert prepared.config.workers == 1
    assert prepared.plan.reasons["members"] == "2 at a time, a core for each, in 2 turns, 1.5 minutes each"


# -- in the place of another run --------------------------------------------------------------------------------------


@pytest.fixture
def old(whole: tuple[Path, list[dict[str, Any]]], text: str) -> Path:
    """A copy of the run of three."""
    return shutil.copytree(whole[0], Path("run"))


def replacing(text: str, count: int, **others: Any) -> Members:
    settings = {"seed": 7, "steps": 3, "eval_every": 1}
    return begun(asked(text, count, settings=settings, out=Path("run"), overwrite=True, **others))


def test_a_run_is_replaced_once_a_network_of_the_new_one_has_saved(
    whole: tuple[Path, list[dict[str, Any]]], old: Path, text: str
) -> None:
    saved = False
    for event in replacing(text, 2).events():
        saved = saved or (event["event"] == "saved" and event["kind"] == "last")
        if event["event"] == "saved":
            assert event["path"].startswith("run/member-")
        if not saved:
            assert [same(member, rundir.member(whole[0], number)) for number, member in enumerate(lookup.members(old))] == [
                True
            ] * 3
        else:
            assert [path.name for path in lookup.members(old)] == ["member-0", "member-1"]
    assert {path.name for path in Path().iterdir()} == {"novel.txt", "run"}
    for number in (0, 1):
        member = rundir.member(old, number)
        last = checkpoint.read(member / rundir.LAST).training
        assert (last["step"], last["seed"]) == (3, 7 + number)
        assert {path.name for path in member.iterdir()} == {rundir.BEST, rundir.LAST, rundir.LOG}
        events = [json.loads(line)["event"] for line in (member / rundir.LOG).read_text().splitlines()]
        assert (events[0], events[-1], events.count("start"), events.count("step")) == ("start", "end", 1, 3)


def test_networks_whose_turn_comes_later_stand_in_the_new_run(old: Path, text: str) -> None:
    ends = [event["reason"] for event in replacing(text, 3).events() if event["event"] == "end"]
    assert ends == ["finished"] * 3
    assert [checkpoint.read_header(path / rundir.LAST).training["seed"] for path in lookup.members(old)] == [7, 8, 9]
    assert not rundir.hidden(old).exists()


def test_one_network_replaces_several_and_several_one(old: Path, text: str) -> None:
    request = RunRequest([text], {**SETTINGS, "steps": 3}, Path("run"), overwrite=True)
    one, trainer, start = runs.begin(request, iter(np.arange(1, 1e6) * 1e-3).__next__, lambda: None, print, print)
    list(runs.logged(one, trainer, start))
    assert {path.name for path in old.iterdir()} == {rundir.BEST, rundir.LAST, rundir.LOG}
    list(replacing(text, 2).events())
    assert {path.name for path in old.iterdir()} == {"member-0", "member-1"}


def test_where_nothing_is_saved_the_old_run_stays(
    whole: tuple[Path, list[dict[str, Any]]], old: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "logged", lambda *_: iter(()))
    assert {event["event"] for event in replacing(text, 3).events()} == {"lost"}
    assert [same(rundir.member(old, number), rundir.member(whole[0], number)) for number in range(3)] == [True] * 3
    assert not rundir.hidden(old).exists()


def test_only_runs_are_replaced(old: Path, text: str) -> None:
    note = old / "member-1" / "notes.txt"
    note.write_text("mine")
    with pytest.raises(CharrnnError, match=r"member-1: holds notes\.txt, which is no file of a run"):
        replacing(text, 2)
    note.unlink()
    other = rundir.RunDirectory(old / "member-1")
    try:
        with pytest.raises(CharrnnError, match=r"member-1: another process.* is training there"):
            replacing(text, 2)
    finally:
        other.close()
    assert not rundir.hidden(old).exists()
    list(replacing(text, 2).events())
