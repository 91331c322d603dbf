"""A run of 2n steps stopped after n and gone on with from its file equals one never stopped, bit for bit."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import DROPOUT, OPTIMIZERS, Clock, corpus_of, random_text, trainer_of, validation

from charrnn import CharrnnError, UsageError
from charrnn.config import GATES, ModelConfig, TrainConfig
from charrnn.network import checkpoint, rundir
from charrnn.text.excerpts import spread
from charrnn.training import evaluation, runs, schedule
from charrnn.training.model import CharRNN
from charrnn.training.trainer import Trainer

N = 9
CELLS = tuple(GATES)


pytestmark = pytest.mark.usefixtures("one_thread")


class Store:
    """Real files, one for each save, so that none is lost."""

    def __init__(self, path, before=None):
        self.path, self.saved, self.before = path, [], before
        path.mkdir()

    def save(self, kind, saved):
        path = self.path / f"{len(self.saved)}-{kind}"
        checkpoint.write(path, saved)
        self.saved.append((kind, path))
        return path

    def load(self, kind):
        return self.latest(kind) if any(name == kind for name, _ in self.saved) else self.before

    def latest(self, kind):
        return checkpoint.read([path for name, path in self.saved if name == kind][-1])


def run(path, cell="lstm", layers=2, stop_after=None, resume=None, best=None, corpus=None, weights=None, **settings):
    """The events of a run with dropout that evaluates three times if nothing else is said, and its store."""
    trainer = trainer_of(
        corpus or corpus_of(random_text(500), 100),
        cell,
        layers,
        stop=lambda: "interrupted" if trainer.progress.step == stop_after else None,
        resume=resume,
        **{"steps": 2 * N, "eval_every": 6, **DROPOUT, **settings},
    )
    if weights is not None:
        trainer.model.load(weights)
    # A resumed run finds the best network of the run before.
    store = Store(path, before=best or resume)
    return list(trainer.run(store)), store


@cache
def made(folder, cell="lstm", layers=2, stop_after=None, **settings):
    """The events of a run and its store, which several tests read."""
    return run(folder / str(len(list(folder.iterdir()))), cell, layers, stop_after, **settings)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the runs lie that tests share."""
    return tmp_path_factory.mktemp("kept")


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def evaluations(events, after=0):
    """All that does not depend on the time of day."""
    return [
        {key: value for key, value in event.items() if key != "seconds"}
        for event in events
        if event["event"] in ("eval", "sample") and event["step"] > after
    ]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["fp32", "auto"])
@pytest.mark.parametrize("eval_every", [None, 5])
def test_a_run_stopped_halfway_and_resumed_equals_one_never_stopped(cell, precision, eval_every, tmp_path):
    settings = {"cell": cell, "precision": precision, "eval_every": eval_every}
    whole, store = run(tmp_path / "whole", **settings)
    assert whole[-1]["epochs"] > 1.2
    first, half = run(tmp_path / "half", stop_after=N, **settings)
    assert (first[-1]["reason"], first[-1]["step"]) == ("interrupted", N)
    second, rest = run(tmp_path / "rest", resume=half.latest("last"), best=half.load("best"), **settings)
    expected, got = store.latest("last"), rest.latest("last")
    assert_same(expected.weights, got.weights)
    assert_same(expected.extra, got.extra)
    assert evaluations(second) == evaluations(whole, after=N) != []
    assert second[-1]["best_val_bits_per_char"] == whole[-1]["best_val_bits_per_char"]
    assert (second[-1]["step"], second[-1]["reason"]) == (2 * N, "finished")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_of_two_workers_resumes_exactly(cell, optimizer, tmp_path):
    """Each cell and each optimizer in either precision."""
    precision = ("fp32", "bf16")[(CELLS.index(cell) + OPTIMIZERS.index(optimizer)) % 2]
    settings = {"cell": cell, "optimizer": optimizer, "precision": precision, "workers": 2, "eval_every": 5}
    whole, store = run(tmp_path / "whole", **settings)
    _, half = run(tmp_path / "half", stop_after=N, **settings)
    second, rest = run(tmp_path / "rest", resume=half.latest("last"), best=half.load("best"), **settings)
    assert_same(store.latest("last").weights, rest.latest("last").weights)
    assert_same(store.latest("last").extra, rest.latest("last").extra)
    assert evaluations(second) == evaluations(whole, after=N) != []


@pytest.mark.parametrize(("given", "expected"), [({}, 4), ({"workers": 3}, 3)])
def test_a_resumed_run_keeps_its_workers_whatever_cores_there_are(given, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    begun = trainer_of(cell="lstm", batch_size=32, bptt=2, corpus=corpus_of(random_text(2000), 100))
    assert begun.describe()["workers"] == 4
    checkpoint.write(tmp_path / "last", begun.snapshot())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    stored = checkpoint.read(tmp_path / "last")
    config = runs._resumed_config(stored, given, {})
    resumed = Trainer(stored.model, config, begun.corpus, clock=lambda: 0.0, resume=stored)
    assert resumed.describe()["workers"] == expected


@pytest.mark.parametrize("stop_after", range(0, 2 * N + 1, 3))
@pytest.mark.parametrize("groups", [1, 3])
def test_it_does_not_matter_where_a_run_was_stopped(groups, stop_after, kept, tmp_path):
    """Also before the first step, at the last, between two groups, and on either side of an epoch's border."""
    whole, store = made(kept, "gru", 1, eval_every=4, groups=groups)
    assert whole[-1]["epochs"] > 1.2
    assert store.latest("last").extra["state"].shape[2] == 4 * groups
    _, half = run(tmp_path / "half", "gru", 1, stop_after=stop_after, eval_every=4, groups=groups)
    second, rest = run(tmp_path / "rest", "gru", 1, resume=half.latest("last"), eval_every=4, groups=groups)
    assert_same(store.latest("last").weights, rest.latest("last").weights)
    assert second[-1]["best_val_bits_per_char"] == whole[-1]["best_val_bits_per_char"]


def test_a_run_stopped_twice_equals_one_never_stopped(kept, tmp_path):
    _, store = made(kept)
    snapshot = None
    for number, stop_after in enumerate((5, 17, None)):
        _, part = run(tmp_path / str(number), stop_after=stop_after, resume=snapshot)
        snapshot = part.latest("last")
    assert_same(store.latest("last").weights, snapshot.weights)
    assert_same(store.latest("last").extra, snapshot.extra)


def test_a_save_in_the_middle_is_as_good_as_one_at_a_stop(tmp_path):
    _, store = run(tmp_path / "whole", save_every=1e-6)
    middle = [checkpoint.read(path) for kind, path in store.saved if kind == "last"]
    middle = next(saved for saved in middle if saved.training["step"] == N)
    _, rest = run(tmp_path / "rest", resume=middle)
    assert_same(store.latest("last").weights, rest.latest("last").weights)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_alone_are_not_enough(cell, kept, tmp_path):
    """What optimizer, carried state and step add to them makes a difference."""
    _, store = made(kept, cell)
    _, half = made(kept, cell, stop_after=N)
    _, restarted = run(tmp_path / "restarted", cell, weights=half.latest("last").weights, steps=N)
    expected, got = store.latest("last").weights, restarted.latest("last").weights
    assert not any(np.array_equal(value, got[name]) for name, value in expected.items())


@pytest.mark.parametrize(
    ("optimizer", "part"),
    [
        *(("soap", part) for part in ("rotated_avg", "rotated_avg_sq", "gram", "basis", "exp_avg", "exp_avg_sq", "state")),
        ("muon", "momentum_buffer"),
    ],
)
def test_each_part_of_the_snapshot_matters(optimizer, part, kept, tmp_path):
    _, store = made(kept, optimizer=optimizer)
    _, half = made(kept, stop_after=N, optimizer=optimizer)
    snapshot = half.latest("last")
    harmed = [name for name in snapshot.extra if name == part or name.startswith(f"optimizer.{part}.")]
    assert harmed
    for name in harmed:
        snapshot.extra[name] = np.zeros_like(snapshot.extra[name])
    _, rest = run(tmp_path / "rest", resume=snapshot, optimizer=optimizer)
    expected, got = store.latest("last").weights, rest.latest("last").weights
    assert not np.array_equal(expected["head.weight"], got["head.weight"])


def test_seconds_go_on_where_they_stood(kept, tmp_path):
    first, half = made(kept, stop_after=N)
    second, _ = run(tmp_path / "rest", resume=half.latest("last"), log_every=1)
    seconds = [event["seconds"] for event in second if "seconds" in event]
    assert seconds == sorted(seconds)
    assert seconds[0] >= half.latest("last").training["seconds"] == pytest.approx(first[-1]["seconds"], abs=0.02)


def test_a_resumed_run_of_minutes_spends_only_what_was_left_of_them(tmp_path):
    settings = {"steps": None, "minutes": 0.08, "log_every": 1, "eval_every": None}
    whole, _ = run(tmp_path / "whole", "gru", 1, clock=Clock(0.02), **settings)
    _, half = run(tmp_path / "half", "gru", 1, stop_after=20, clock=Clock(0.02), **settings)
    second, _ = run(tmp_path / "rest", "gru", 1, resume=half.latest("last"), clock=Clock(0.02), **settings)
    assert whole[-1]["step"] > 26
    assert second[-1]["seconds"] <= 4.8 * 1.05
    assert second[-1]["step"] == pytest.approx(whole[-1]["step"], abs=4)


@pytest.mark.parametrize(("length", "less"), [({"steps": 20}, {"steps": 19}), ({"minutes": 0.02}, {"minutes": 0.01})])
def test_a_length_that_is_used_up_already_is_refused(length, less, tmp_path):
    settings = {"steps": None, "clock": Clock(0.02)}
    _, store = run(tmp_path / "first", "rnn", 1, **settings | length)
    with pytest.raises(UsageError, match="already; give a length beyond that"):
        run(tmp_path / "less", "rnn", 1, resume=store.latest("last"), **settings | less)


def test_a_run_made_longer_warms_up_again_and_decays_over_what_was_added(tmp_path):
    _, store = run(tmp_path / "first", "rnn", 1, steps=20)
    more = {"steps": 220, "log_every": 1, "lr": 0.01, "eval_every": None}
    events, _ = run(tmp_path / "more", "rnn", 1, resume=store.latest("last"), **more)
    rates = [event["learning_rate"] for event in events if event["event"] == "step"]
    assert len(rates) == 200
    peak = int(np.argmax(rates))
    assert rates[0] < 0.005
    assert peak < 6
    assert rates[peak] == pytest.approx(0.01, rel=0.05)
    assert all(np.diff(rates[:peak]) > 0)
    assert all(np.diff(rates[peak:]) < 0)
    assert rates[-1] < 0.0003
    # Evaluations too are spread over the part that was added.
    steps = [event["step"] for event in events if event["event"] == "eval"]
    assert steps == [36, *range(60, 221, 20)]


def test_a_resumed_run_replaces_best_only_by_something_better(kept, tmp_path, monkeypatch):
    """The better network of the part before stays where it is."""
    _, half = made(kept, stop_after=N, eval_every=4)
    snapshot = half.latest("last")
    assert snapshot.training["val_bits_per_char"] is not None
    monkeypatch.setattr(evaluation, "validate", lambda *_: validation(100.0))
    events, rest = run(tmp_path / "rest", resume=snapshot, eval_every=4)
    assert not any(event["best"] for event in events if event["event"] == "eval")
    assert [kind for kind, _ in rest.saved if kind == "best"] == []
    assert events[-1]["best_val_bits_per_char"] == snapshot.training["val_bits_per_char"]


def test_a_resumed_run_directory_keeps_its_best_file_and_names_it(tmp_path, monkeypatch):
    corpus = corpus_of(random_text(500), 100)
    model = ModelConfig(corpus.vocabulary.size, "gru", embedding_size=5, hidden_size=8)
    config = TrainConfig(batch_size=4, bptt=8, device="cpu", steps=2 * N, eval_every=4)
    directory = rundir.RunDirectory.create("run", tmp_path / "run")
    trainer = Trainer(model, config, corpus, clock=Clock(), stop=lambda: "interrupted" if trainer.progress.step == N else None)
    assert list(trainer.run(directory))[-1]["best_path"] == str(directory.best)
    before = directory.best.read_bytes()
    monkeypatch.setattr(evaluation, "validate", lambda *_: validation(100.0))
    resumed = Trainer(model, config, corpus, clock=Clock(), resume=checkpoint.read(directory.last))
    end = list(resumed.run(directory))[-1]
    assert directory.best.read_bytes() == before
    assert end["best_path"] is not None
    assert Path(end["best_path"]) == directory.best


def test_a_resumed_run_that_finds_nothing_better_still_ends_with_the_whole_validation_text(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "MAX_EVALUATION_CHARACTERS", 60)
    corpus = corpus_of(random_text(700), 300)
    directory = rundir.RunDirectory.create("run", tmp_path / "run")
    model = ModelConfig(corpus.vocabulary.size, "gru", embedding_size=5, hidden_size=8)

    def ending(stop_after, resume=None):
        config = TrainConfig(batch_size=4, bptt=8, device="cpu", precision="fp32", steps=2 * N, eval_every=4, val_whole=True)
        trainer = Trainer(
            model,
            config,
            corpus,
            clock=Clock(),
            stop=lambda: "interrupted" if trainer.progress.step == stop_after else None,
            resume=resume,
        )
        return list(trainer.run(directory))[-1]

    ending(N)
    best = CharRNN(model)
    best.load(checkpoint.read(directory.best).weights)
    real = evaluation.validate
    whole = real(best, corpus, spread(corpus, 300)).bits
    # Nothing that follows on the part is better; on the whole text it is what it is.
    monkeypatch.setattr(evaluation, "validate", lambda *a: validation(100.0) if a[2].characters == 60 else real(*a))
    end = ending(None, checkpoint.read(directory.last))
    assert end["best_val_bits_per_char"] == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("change", [{"batch_size": 2}, {"layers": 1}, {"cell": "gru"}, {"optimizer": "adamw"}])
def test_a_snapshot_that_does_not_fit_is_one_clear_error(change, kept, tmp_path):
    _, half = made(kept, stop_after=N)
    with pytest.raises(CharrnnError, match="doesn't fit"):
        run(tmp_path / "rest", resume=half.latest("last"), **change)


@pytest.mark.parametrize("moment", ["rotated_avg.rnn.weight_hh_l0", "basis.head.weight", "exp_avg_sq.head.bias"])
@pytest.mark.parametrize("harm", ["missing", "another shape", "another type"])
def test_moments_that_do_not_fit_are_one_clear_error(moment, harm, kept, tmp_path):
    snapshot = made(kept, stop_after=N)[1].latest("last")
    name = f"optimizer.{moment}"
    value = snapshot.extra.pop(name)
    if harm != "missing":
        harmed = {"another shape": value[:-1], "another type": value.astype(np.float64)}
        snapshot.extra[name] = np.ascontiguousarray(harmed[harm])
    with pytest.raises(CharrnnError, match=rf"training state \({name}\) doesn't fit"):
        run(tmp_path / "rest", resume=snapshot)


def test_a_best_file_holds_no_training_state_and_says_so(kept, tmp_path):
    _, store = made(kept)
    with pytest.raises(CharrnnError, match="holds no sound training state"):
        run(tmp_path / "rest", resume=store.latest("best"))
