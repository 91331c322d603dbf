"""``--records``: a network that learns a list, each line from the zero state; from the command line to the weights."""

from __future__ import annotations

import gzip
import json
import random
import time
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
from charrnn.text import streams
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.excerpts import spread
from charrnn.text.records import Records, is_held_out
from charrnn.training import evaluation, gradients, members
from charrnn.training.children import can_fork
from charrnn.training.runs import RunRequest
from charrnn.training.trainer import Trainer

Invoke = Callable[..., Any]
TINY = ("--records", "--hidden-size", "16", "--steps", "6", "--batch-size", "4")

pytestmark = pytest.mark.usefixtures("one_thread")


def lines(count: int = 60) -> list[str]:
    drawn = random.Random(0)
    return ["".join(drawn.choices("abc de", k=drawn.randint(1, 12))).strip() or "a" for _ in range(count)] + ["abc" * 30]


LEARNED = [line for line in lines(200) if not is_held_out(line, 0.1)]


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


def test_a_run_on_a_list_in_parts_goes_on_exactly(listed: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SHUFFLED_TOGETHER", 20)
    _, whole = run(trainer(listed))
    first = trainer(listed)
    assert isinstance(first.streams, streams.ManyRecordStreams)
    first._stop = lambda: "interrupted" if first.progress.step == 17 else None
    _, half = run(first)
    _, rest = run(trainer(listed, resume=half.latest("last")))
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
    facts |= {"val_lines": None, "twins": 0}
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
        ("CR LF", b"one\r\n\r\ntwo\r\n" * 20, (), 40),
        ("none held out", "\n".join(LEARNED).encode(), (), len(LEARNED)),
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
    if name in ("one record", "all the same", "none held out", "nearly all held out"):
        assert start(done)["records"]["held_out"] == 0
        assert "no validation text" in done.stdout
    assert invoke("train", "--resume", "run", "--steps", "9").code == 0
    assert invoke("train", path, "--records", "--init-from", "run", "--steps", "1", *options).code == 0
    drawn = invoke("sample", "-c", "run", "-N", "3", "-n", "40")
    assert (drawn.code, drawn.stdout.count("\n")) == (0, 3), drawn.stderr
    scored = invoke("score", path, "-c", "run", "--json")
    assert json.loads(scored.stdout)["records"] == count, scored.stderr
    assert invoke("encode", path, "--npz", "out.npz", "-c", "run").code == 0
    with np.load("out.npz") as arrays:
        assert len(arrays["final"]) >= count


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


# -- held-out lines of a file of their own ----------------------------------------------------------------------------


LIST = b"anna\nbob\ncarl\nanna\n" * 9 + b"dora"


def test_the_lines_of_a_file_are_held_out_and_their_twins_are_learned(invoke: Invoke, put: Put) -> None:
    listed, beside = put("list.txt", LIST), put("test.txt", b"anna\r\n\nada\nanna\nada")
    said = "41 records, 4 held out (the lines of test.txt, 2 of which are in the list, too), 36 that repeat another"
    planned = invoke("train", listed, *TINY, "--val-lines", beside, "--dry-run")
    assert said in planned.stderr
    assert f" --val-lines {beside} " in planned.stdout
    done = invoke("train", listed, *TINY, "--val-lines", beside, "--out", "run", "--json")
    facts = start(done)["records"]
    assert (facts["count"], facts["held_out"], facts["twins"], facts["val_lines"]) == (41, 4, 2, "test.txt")
    assert (start(done)["train_characters"], start(done)["val_characters"]) == (1 + 9 * 19 + 5, 18)
    assert said.replace(" ", "") in "".join(invoke("info", "run").stdout.split())
    corpus = read_corpus([listed], val_seed=0, val_lines=beside)
    assert corpus.vocabulary.decode(corpus.ids[corpus.train_characters :]) == "anna\nada\nanna\nada\n"
    assert corpus.vocabulary.decode(corpus.ids[: corpus.train_characters]) == "\n" + LIST.decode() + "\n"
    # What is drawn is known if the list has it.
    for line, known in ("dora", True), ("ada", False):
        assert corpus.records.holds(corpus.vocabulary.encode(f"{line}\n"), corpus.vocabulary) is known


def test_a_run_is_resumed_with_the_held_out_lines_that_it_began_with(invoke: Invoke, put: Put) -> None:
    listed, beside = put("list.txt", LIST), Path(put("test.txt", b"anna\nbo\n"))
    assert invoke("train", listed, *TINY, "--val-lines", beside, "--out", "run").code == 0
    assert invoke("train", "--resume", "run", "--steps", "8").code == 0
    moved = beside.rename(beside.with_name("moved.txt"))
    failed = invoke("train", "--resume", "run", "--steps", "10")
    assert (failed.code, failed.stderr.count("\n")) == (1, 1)
    assert "test.txt are not where they were, nor here; name them: charrnn train --resume RUN --val-lines" in failed.stderr
    assert invoke("train", "--resume", "run", "--val-lines", moved, "--steps", "10").code == 0
    assert invoke("train", "--resume", "run", "--steps", "12").code == 0  # It is found there now.
    moved.write_bytes(b"carl\nbo\n")
    failed = invoke("train", "--resume", "run", "--steps", "14")
    assert "moved.txt: not the lines that run/last.safetensors holds out; --allow-changed-corpus" in failed.stderr
    assert invoke("train", "--resume", "run", "--steps", "14", "--allow-changed-corpus").code == 0
    moved.write_bytes(b"CARL\n")
    failed = invoke("train", "--resume", "run", "--steps", "16", "--allow-changed-corpus")
    assert "4 characters are not in the run's vocabulary" in failed.stderr


def test_a_run_whose_held_out_lines_were_a_pipe_asks_for_them(invoke: Invoke, put: Put) -> None:
    listed, beside = put("list.txt", LIST), put("test.txt", b"anna\n")
    assert invoke("train", listed, *TINY, "--val-lines", "-", "--out", "run", stdin=b"anna\n").code == 0
    failed = invoke("train", "--resume", "run", "--steps", "8")
    assert "the run read its held-out lines from stdin or a pipe; name them" in failed.stderr
    assert invoke("train", "--resume", "run", "--steps", "8", "--val-lines", beside).code == 0


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("test.txt", "anna\nbo\n".encode("utf-16"), ()),
        ("test.txt.gz", gzip.compress(b"anna\nbo", mtime=0), ()),
        ("test.jsonl", b'{"name": "anna"}\n{"name": "bo"}\n', ("--field", "name")),
        ("test.txt", b"anna\nbo", ("--field", "name")),
    ],
    ids=["encoding", "packed", "table", "plain beside a table"],
)
def test_held_out_lines_may_stand_in_whatever_train_reads(invoke: Invoke, put: Put, name: str, content: bytes, options) -> None:
    table = b"".join(b'{"name": "%s"}\n' % line for line in LIST.split(b"\n"))
    listed = put("list.jsonl", table) if options else put("list.txt", LIST)
    done = invoke("train", listed, *TINY, *options, "--val-lines", put(name, content), "--out", "run", "--json")
    assert done.code == 0, done.stderr
    assert (start(done)["records"]["held_out"], start(done)["records"]["twins"]) == (2, 1)
    assert invoke("train", "--resume", "run", "--steps", "7").code == 0


def test_characters_that_only_held_out_lines_have_are_told(invoke: Invoke, put: Put) -> None:
    done = invoke("train", put("list.txt", LIST), *TINY, "--val-lines", put("test.txt", b"anna\nzo\0e\x1b\n"))
    assert done.code == 0
    assert "warning: " in done.stderr
    assert "test.txt: nothing teaches '\\x00', '\\x1b', 'e', 'z': no line to learn from has them\n" in done.stderr


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (b"anna\n", (), "--val-lines names the lines of a list that are held out; give --records too"),
        (b"anna\n", ("--records", "--val-seed", "1"), "--val-seed and --val-lines both say what is held out"),
        (b"anna\n", ("--records", "--val-fraction", "0.1"), "--val-fraction and --val-lines both say what is held out"),
        (b"anna\n", ("--records", "--val", "tail"), "--val and --val-lines both say what is held out"),
        (b"", ("--records",), "test.txt: every line is blank; --val-lines needs one to hold out"),
        (b" \n\n", ("--records",), "test.txt: every line is blank; --val-lines needs one to hold out"),
        (None, ("--records",), "test.txt: No such file"),
        (b"anna\n", ("--records", "--resume", "run"), "the run holds out lines of its own list"),
    ],
)
def test_what_can_not_be_held_out_is_one_line(invoke: Invoke, put: Put, tmp_path: Path, content, options, said: str) -> None:
    listed = put("list.txt", LIST)
    if "--resume" in options:
        assert invoke("train", listed, *TINY, "--out", "run").code == 0
    beside = tmp_path / "test.txt" if content is None else put("test.txt", content)
    failed = invoke("train", listed, "--steps", "9", *options, "--val-lines", beside)
    assert failed.code != 0
    assert (failed.stdout, failed.stderr.count("\n")) == ("", 1)
    assert said in failed.stderr


@pytest.mark.skipif(not can_fork(), reason="processes can't be forked here")
def test_members_hold_out_the_same_lines_and_go_on_with_them(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed, beside = put("list.txt", LIST), put("test.txt", b"anna\nbo\n")
    settings = {"records": True, "hidden_size": 8, "batch_size": 4, "steps": 2}
    request = RunRequest([listed], settings, Path("run"), members=2, val_lines=beside)
    for again in (request, RunRequest([], {"steps": 3}, resume="run")):
        ends = list(members.begin(again, time.monotonic, lambda: None, pytest.fail).events())
        assert [event["val_characters"] for event in ends if event["event"] == "end"] == [8, 8]


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
