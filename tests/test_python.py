"""The Python door: networks are loaded and trained as on the command line."""

from __future__ import annotations

import inspect as signatures
import json
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, TALE
from small_networks import network, records

import charrnn
from charrnn import CharrnnError, CharrnnWarning, UsageError, python

TINY: dict[str, Any] = {"hidden_size": 6, "batch_size": 2, "bptt": 8, "device": "cpu", "workers": 1, "seed": 3}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return network(tmp_path / "checkpoints" / "novel", characters=500)


@pytest.fixture
def net(run: Path) -> charrnn.TrainedNetwork:
    return charrnn.load(run)


@pytest.fixture
def tale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A text in the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tale.txt").write_text(TALE * 20)
    return "tale.txt"


# -- loading ----------------------------------------------------------------------------------------------------------


def test_the_most_recent_network_is_loaded_where_none_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent.parent)
    assert charrnn.load().info["path"] == charrnn.load("latest").info["path"] == "checkpoints/novel/best.safetensors"


def test_a_network_says_what_it_is(net: charrnn.TrainedNetwork, run: Path, invoke) -> None:
    assert repr(net).startswith("<charrnn lstm 1 x 8, 22 symbols, ")
    assert "4.200 bits/char on novel" in repr(net)
    assert [net.info] == records(invoke("info", run, "--json"))
    assert len(net.symbols) == 22
    assert net.weights["rnn.weight_hh_l0"].shape == (32, 8)


def test_what_cannot_be_loaded_is_told_in_the_command_lines_words(tmp_path: Path, invoke) -> None:
    with pytest.raises(CharrnnError) as error:
        charrnn.load(tmp_path / "gone")
    assert f"charrnn: {error.value}\n" == invoke("sample", "-c", tmp_path / "gone").stderr


def test_everything_public_has_types_and_a_docstring() -> None:
    public = [charrnn.load, charrnn.train, charrnn.train_events, charrnn.TrainedNetwork]
    methods = [value for name, value in vars(charrnn.TrainedNetwork).items() if not name.startswith("_")]
    for one in [*public, *methods]:
        function = one.fget if isinstance(one, property) else one
        assert function.__doc__
        if signatures.isfunction(function):
            assert "return" in function.__annotations__
    assert {*charrnn.__all__} <= {*dir(charrnn)}
    with pytest.raises(AttributeError, match="no attribute 'sample'"):
        charrnn.sample  # type: ignore[attr-defined] # noqa: B018


# -- training -----------------------------------------------------------------------------------------------------------


def test_training_gives_the_network_of_the_command_line(tale: str, invoke, tmp_path: Path) -> None:
    net = charrnn.train(tale, steps=4, cell="gru", dropout=0.2, out="mine", **TINY)
    options = ["--steps", "4", "--cell", "gru", "--dropout", "0.2", "--out", "theirs", "--seed", "3", "--workers", "1"]
    sizes = ["--hidden-size", "6", "--batch-size", "2", "--bptt", "8", "--device", "cpu"]
    assert invoke("train", tale, *options, *sizes, "-q").code == 0
    theirs = charrnn.load("theirs")
    assert net.info["path"] == "mine/best.safetensors"
    assert all(np.array_equal(value, theirs.weights[name]) for name, value in net.weights.items())


def test_a_run_tells_its_events_and_logs_them(tale: str) -> None:
    events = list(charrnn.train_events([Path(tale)], steps=2, layers=2, **TINY))
    names = [event["event"] for event in events]
    assert (names[0], names[-1], names.count("eval")) == ("start", "end", 2)
    assert events[0]["config"]["model"]["num_layers"] == 2
    logged = [json.loads(line)["event"] for line in Path("checkpoints/tale/log.jsonl").read_text().splitlines()]
    assert logged == names


def test_training_prints_nothing(tale: str, capfd: pytest.CaptureFixture[str]) -> None:
    charrnn.train(tale, steps=2, **TINY)
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_in_train_itself(tale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from charrnn.training.learner import Learner

    step = Learner.step

    def interrupted(self: Learner, *arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return step(self, *arguments)

    monkeypatch.setattr(Learner, "step", interrupted)
    with pytest.raises(KeyboardInterrupt, match="stopped and saved"):
        charrnn.train(tale, steps=1000, **TINY)
    assert charrnn.load().info["step"] == 1


def test_training_in_a_thread(tale: str) -> None:
    found: list[charrnn.TrainedNetwork] = []
    thread = threading.Thread(target=lambda: found.append(charrnn.train(tale, steps=2, **TINY)))
    thread.start()
    thread.join(60)
    assert found[0].info["step"] == 2


def test_what_a_run_warns_of_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("".join(f"name{number}\n" for number in range(300)))
    with pytest.warns(CharrnnWarning, match="list") as heard:
        charrnn.train("names.txt", steps=2, **TINY)
    assert {one.filename for one in heard} == {__file__}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"lr": -1.0}, "--lr must be a number above 0, not -1.0"),
        ({"layers": 0}, "--layers must be a whole number of at least 1 and at most 64, not 0"),
        ({"steps": 2, "minutes": 1}, "--steps or --minutes: give one length for the run, not 2"),
    ],
)
def test_a_run_that_can_not_be_is_refused_in_the_command_lines_words(tale: str, given, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        charrnn.train(tale, **given)
    assert str(error.value) == sentence
    assert not Path("checkpoints").exists()


def test_a_run_is_never_replaced_without_leave(tale: str) -> None:
    charrnn.train(tale, steps=1, out="here", **TINY)
    with pytest.raises(CharrnnError, match="here: already holds a run"):
        charrnn.train(tale, steps=1, out="here", **TINY)
    assert charrnn.train(tale, steps=2, out="here", overwrite=True, **TINY).info["step"] == 2
    again = charrnn.train(tale, steps=1, init_from="here", device="cpu", workers="auto", batch_size=2)
    assert again.info["hidden_size"] == 6


def test_a_training_that_fails_says_so(tale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from charrnn.training import standing

    ended = standing.ended
    monkeypatch.setattr(standing, "ended", lambda *given, **how: ended(*given, **how) | {"reason": "diverged"})
    with pytest.raises(CharrnnError, match="checkpoints/tale: training diverged twice; what was good before, at step 2"):
        charrnn.train(tale, steps=2, **TINY)


def test_the_package_is_typed_where_it_is_installed() -> None:
    assert (Path(python.__file__).parent / "py.typed").exists()
    assert "charrnn" in (ROOT / "pyproject.toml").read_text().split("[tool.hatch.build.targets.wheel]")[1].split("[")[1]
