"""``--records``: a network that learns a list, each line from the zero state; from the command line to the weights."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Put
from small_runs import DROPOUT, run, same_weights, trainer_of

from charrnn.analysis import heldout
from charrnn.config import GATES
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint, records_of
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.excerpts import spread
from charrnn.text.records import Records, is_held_out
from charrnn.training import evaluation, gradients
from charrnn.training.trainer import Trainer

Invoke = Callable[..., Any]
TINY = ("--records", "--hidden-size", "16", "--steps", "6", "--batch-size", "4")

pytestmark = pytest.mark.usefixtures("one_thread")


def lines(count: int = 60) -> list[str]:
    drawn = random.Random(0)
    return ["".join(drawn.choices("abc de", k=drawn.randint(1, 12))).strip() or "a" for _ in range(count)] + ["abc" * 30]


@pytest.fixture
def listed(put: Put) -> Corpus:
    """60 short records, and a long one that takes several steps."""
    return read_corpus([put("list.txt", "\n".join(lines()).encode())], val_seed=0)


def trainer(corpus: Corpus, cell: str = "lstm", **settings: Any) -> Trainer:
    return trainer_of(corpus, cell, **{"records": True, "batch_size": 4, "bptt": 4, "steps": 40, **DROPOUT, **settings})


@pytest.mark.parametrize("cell", list(GATES))
def test_stopping_anywhere_and_going_on_changes_no_bit(listed: Corpus, cell: str) -> None:
    _, whole = run(trainer(listed, cell))
    streams = trainer(listed).streams
    inside = next(step for step in range(1, 40) if not streams.batch(step).first)  # within the long record
    for stop in (inside, streams.chunks_per_epoch):
        first = trainer(listed, cell)
        first._stop = lambda one=first, stop=stop: "interrupted" if one.progress.step == stop else None
        _, half = run(first)
        _, rest = run(trainer(listed, cell, resume=half.latest("last")))
        assert same_weights(whole.latest("last").weights, rest.latest("last").weights)
        assert same_weights(whole.latest("last").extra, rest.latest("last").extra)


@pytest.mark.parametrize("cell", list(GATES))
@pytest.mark.parametrize("count", [2, 3])
def test_processes_and_threads_give_the_same_bits_and_one_worker_the_same_weights(listed, cell, count, monkeypatch):
    _, processes = run(trainer(listed, cell, workers=count))
    monkeypatch.setattr(gradients, "can_fork", lambda: False)
    _, threads = run(trainer(listed, cell, workers=count))
    _, alone = run(trainer(listed, cell, workers=1))
    assert same_weights(processes.latest("last").weights, threads.latest("last").weights)
    for name, weight in alone.latest("last").weights.items():
        assert np.allclose(weight, threads.latest("last").weights[name], atol=2e-3), name


def test_validation_reads_each_record_from_the_zero_state_its_newline_included(listed: Corpus) -> None:
    model = trainer(listed).model
    network, nats, characters = Network(model.config, model.export()), 0.0, 0
    held_out = [line for line in lines() if is_held_out(line, 0.1)]
    assert len(held_out) == listed.records.facts.held_out > 2
    for line in held_out:
        ids = listed.vocabulary.encode(f"\n{line}\n")
        step = network.stepper(network.initial_state(1))
        for before, after in pairwise(ids):
            logits = step(np.array([before]))[0].astype(np.float64)
            nats -= float(logits[after] - np.log(np.exp(logits).sum()))
            characters += 1
    assert characters == listed.val_characters
    for chunk in (3, 128):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(evaluation, "MAX_CHUNK", chunk)
            bits = evaluation.validate(model, listed, spread(listed, characters)).bits
        assert bits == pytest.approx(nats / characters / np.log(2), rel=1e-5)


def test_the_loss_of_a_step_is_the_mean_over_what_its_records_predict(listed: Corpus) -> None:
    one = trainer(listed, "gru", dropout_input=0.0, dropout_between=0.0, dropout_output=0.0)
    network = Network(one.model.config, one.model.export())
    batch = one.streams.batch(0)
    assert batch.first
    nats = 0.0
    for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
        step = network.stepper(network.initial_state(1))
        for before, after in zip(inputs, targets, strict=True):
            logits = step(np.array([before]))[0].astype(np.float64)
            nats -= float(logits[after] - np.log(np.exp(logits).sum())) if after != -100 else 0.0
    loss, _ = one._learner.step(1e-3)
    assert float(loss) == pytest.approx(nats / batch.counted, rel=1e-4)


def test_a_record_without_end_takes_no_evaluation_with_it(put: Put) -> None:
    lines = next(text for n in range(99) if is_held_out((text := f"{n}" * 50_000), 0.1))
    corpus = read_corpus([put("list.txt", f"{lines}\nshort\n1\n2\n".encode())], val_seed=0)
    assert corpus.val_characters >= 50_001
    model, read = trainer(corpus).model, []
    forward = model.forward
    model.forward = lambda ids, *more: (read.append(ids.numel()), forward(ids, *more))[1]
    evaluation.validate(model, corpus, spread(corpus, 300))
    assert sum(read) <= 600


# -- the command line -------------------------------------------------------------------------------------------------


def start(result: Any) -> dict[str, Any]:
    return json.loads(result.stdout.splitlines()[0])


def test_the_start_event_the_checkpoint_info_and_the_plan_tell_what_the_list_is(
    invoke: Invoke, put: Put, tmp_path: Path
) -> None:
    text = put("list.txt", b"\nanna\r\nbob\n  \nanna\n\nchristopher")
    done = invoke("train", text, *TINY, "--out", "run", "--json", "--val-fraction", "0")
    assert done.code == 0, done.stderr
    facts = {"count": 4, "held_out": 0, "duplicates": 1, "blank": 3, "longest": 11, "mean_length": 5.5}
    assert start(done)["records"] == facts
    assert start(done)["train_characters"] == 1 + 22 + 4
    (info,) = map(json.loads, invoke("info", "run", "--json").stdout.splitlines())
    assert info["records"] == facts
    told = "4 records, 0 held out, 1 that repeat another, 5.5 characters on average, the longest 11, blank lines skipped: 3"
    assert told.replace(" ", "") in "".join(invoke("info", "run").stdout.split())
    planned = invoke("train", text, *TINY, "--dry-run", "--val-fraction", "0")
    assert f"charrnn: {told}\n" in planned.stderr
    assert " --records" in planned.stdout
    assert json.loads(invoke("train", text, *TINY, "--dry-run", "--json", "--val-fraction", "0").stdout)["records"] == facts
    assert told in invoke("train", text, *TINY, "--out", "second", "--val-fraction", "0").stderr


def test_a_text_that_is_no_list_holds_no_records(invoke: Invoke, put: Put) -> None:
    done = invoke("train", put("text.txt", b"to be or not to be\n" * 9), *TINY[1:], "--out", "run", "--json")
    assert start(done)["records"] is None
    (info,) = map(json.loads, invoke("info", "run", "--json").stdout.splitlines())
    assert "records" not in info


@pytest.mark.parametrize(
    ("name", "text", "options", "count"),
    [
        ("one record", b"a", (), 1),
        ("records of one character", b"a\nb\n" * 40, (), 80),
        ("all the same", b"same\n" * 500, (), 500),
        ("a long record", b"short\n" * 9 + b"long" * 20_000, (), 10),
        ("NUL", b"a\0b\n\0\n" * 20, (), 40),
        ("bytes with CR LF", b"one\r\n\r\ntwo\r\n" * 20, ("--level", "byte"), 40),
        ("rare characters", b"abc\nabd\nxyz\n" + b"ab\n" * 9, ("--min-count", "5"), 12),
        ("no held-out share", b"anna\nbob\n" * 9, ("--val-fraction", "0"), 18),
        ("nearly all held out", b"anna\nbob\n" * 9, ("--val-fraction", "0.999999"), 18),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_list_trains_and_goes_on(invoke: Invoke, put: Put, name: str, text: bytes, options, count) -> None:
    path = put("list.txt", text)
    done = invoke("train", path, *TINY, *options, "--out", "run", "--json")
    assert done.code == 0, done.stderr
    assert start(done)["records"]["count"] == count
    # Equal records are on one side; where that leaves nothing to learn from, nothing is held out.
    if name in ("one record", "all the same", "nearly all held out"):
        assert start(done)["records"]["held_out"] == 0
        assert "no validation text" in done.stdout
    assert invoke("train", "--resume", "run", "--steps", "9").code == 0
    assert invoke("train", path, "--records", "--init-from", "run", "--steps", "1", *options).code == 0


def test_two_files_without_a_last_newline_are_two_records_at_both_levels(invoke: Invoke, put: Put) -> None:
    one, two = put("one.txt", b"anna"), put("two.txt", b"bob")
    for level in ("char", "byte"):
        assert start(invoke("train", one, two, *TINY, "--level", level, "--json"))["records"]["count"] == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--records", "--groups", "4"), "--groups is for a text that is read in columns"),
        (("--records", "--val", "scattered"), "--records holds out records all over the list"),
        (("--val-seed", "3"), "--val-seed chooses which records are held out; give --records too"),
        (("--records",), "blank.txt: every line is blank"),
    ],
)
def test_what_makes_no_sense_is_one_line(invoke: Invoke, put: Put, options: tuple[str, ...], said: str) -> None:
    failed = invoke("train", put("blank.txt", b"\n \n\t\n"), "--steps", "1", *options)
    assert failed.code != 0
    assert failed.stdout == ""
    assert said in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_a_run_on_a_list_is_not_resumed_on_a_stream(invoke: Invoke, put: Put) -> None:
    text = put("list.txt", b"anna\nbob\ncarl\n" * 20)
    assert invoke("train", text, *TINY[1:], "--out", "run").code == 0
    failed = invoke("train", text, "--resume", "run", "--records", "--steps", "9")
    assert (failed.code, failed.stderr.count("\n")) == (2, 1)
    assert "--records" in failed.stderr


def test_records_are_not_told_to_be_a_list(put: Put) -> None:
    text = "".join(f"name{number:04}\n" for number in range(3000)).encode()
    assert list(heldout.advise(read_corpus([put("list.txt", text)])))
    assert list(heldout.advise(read_corpus([put("list.txt", text)], val_seed=0))) == []


def test_the_sample_of_an_evaluation_is_records_each_known_or_new(listed: Corpus) -> None:
    """The network has 60 records to learn, many of one letter or two; the list holds those held out, too."""
    events, _ = run(trainer(listed, steps=120, lr=0.03))
    samples = [event for event in events if event["event"] == "sample"]
    records = samples[-1]["records"]
    assert len(records) >= 5
    assert samples[-1]["text"] == "\n".join(record["text"] for record in records)
    found = [(record["text"], record["known"]) for event in samples for record in event["records"]]
    assert all(known == (text in lines()) for text, known in found if known is not None)
    assert {known for _, known in found} >= {True, False}
    assert not any("\n" in text for text, _ in found)


def test_a_text_has_no_records_in_its_samples(put: Put) -> None:
    events, _ = run(trainer_of(read_corpus([put("text.txt", b"to be or not to be. " * 30)]), steps=2))
    assert {event["records"] is None for event in events if event["event"] == "sample"} == {True}


def test_a_hostile_header_holds_no_records() -> None:
    sound = Records(3, 1, 0, 0, 4, 2.5)
    assert records_of({"records": sound.to_json()}) == sound
    for stored in (None, 3, "x", [], {}, {"count": 1}, {**sound.to_json(), "count": "3"}):
        assert records_of({"records": stored}) is None
    assert records_of({}) is None


def test_a_checkpoint_says_that_it_holds_records(listed: Corpus) -> None:
    _, store = run(trainer(listed, steps=2))
    saved: Checkpoint = store.latest("best")
    assert records_of(saved.training) == listed.records.facts


def test_minutes_end_early_on_a_list_that_is_known_by_heart(listed: Corpus) -> None:
    one = trainer(listed, steps=None, minutes=60.0)
    assert one._learner.budget.most_steps == 50 * one.streams.chunks_per_epoch
