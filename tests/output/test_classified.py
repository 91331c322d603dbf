from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_networks
from conftest import Stream

from charrnn import CharrnnError, UsageError
from charrnn.analysis import ngrams, verdicts
from charrnn.analysis.judge import Judge
from charrnn.analysis.yardsticks import Yardsticks
from charrnn.network import classifier
from charrnn.output import classified, progress
from charrnn.output.classified import Asked
from charrnn.output.console import Console
from charrnn.text.reading import PLAIN
from charrnn.training.classify import Progress

ROWS = [("what time", "no"), ("is it", "yes"), ("wake me", "no"), ("please", "yes")]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    return Judge(classifier.read(small_networks.classifier(tmp_path / "c") / classifier.NAME))


def console(*, terminal: bool = False) -> tuple[Console, Stream, Stream]:
    out, err = Stream(terminal=terminal), Stream(terminal=terminal)
    return Console(out, err), out, err


def test_an_answer_is_label_probability_and_text(judge: Judge) -> None:
    speaker, out, _ = console()
    classified.predict(judge, Asked(), [["what time\tis it", ""], ["please"]], speaker)
    first, blank, last, _ = out.getvalue().split("\n")
    label, share, text = first.split("\t")
    assert label in judge.classifier.labels
    assert 0.5 <= float(share) <= 1
    assert text == r"what time\tis it"
    assert blank == ""
    assert last.endswith("\tplease")


def test_the_likeliest_labels_come_in_order(judge: Judge) -> None:
    speaker, out, _ = console()
    classified.predict(judge, Asked(top=5), [["please"]], speaker)
    first, one, second, other, text = out.getvalue().rstrip("\n").split("\t")
    assert {first, second} == {"no", "yes"}
    assert float(one) >= float(other)
    assert float(one) + float(other) == pytest.approx(1, abs=1e-3)
    assert text == "please"


def test_below_the_threshold_it_is_unsure(judge: Judge) -> None:
    speaker, out, _ = console()
    classified.predict(judge, Asked(threshold=1.0), [["please"]], speaker)
    classified.predict(judge, Asked(threshold=1.0, top=2, as_json=True), [["please", ""]], speaker)
    row, record, blank = out.getvalue().splitlines()
    assert row.startswith("unsure\t0.")
    found = json.loads(record)
    assert (found["label"], found["text"]) == ("unsure", "please")
    assert found["top"][0]["probability"] == found["probability"]
    assert [one["label"] for one in found["top"]] != ["unsure"]
    assert json.loads(blank) == {"text": "", "label": None, "probability": None, "top": []}


@pytest.mark.parametrize("typed", [False, True])
def test_answers_that_go_to_a_file_are_counted_unless_somebody_types(
    typed: bool, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_OF_A_PIPE", 0.0)
    monkeypatch.setattr(Console, "stdout_is_kept", True)
    speaker, _, err = console()
    classified.predict(judge, Asked(), [["please"]], speaker, typed=typed)
    assert ("classifying: 0 texts" in err.getvalue()) is not typed


def test_evaluating_tells_what_it_does(judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    (tmp_path / "rows.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in ROWS))
    speaker, _, err = console(terminal=True)
    classified.evaluate(judge, str(tmp_path / "rows.tsv"), str(tmp_path / "rows.tsv"), PLAIN, speaker)
    for doing in ("asking it about", "teaching n-grams"):
        assert f"\rcharrnn: {doing} " in err.getvalue()


def test_figures_are_of_all_texts_however_many_are_judged_at_a_time(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    together, _, _ = classified.judged(judge, ROWS * 10, "x")
    monkeypatch.setattr(classified, "TOGETHER", 3)
    monkeypatch.setattr(verdicts, "TOGETHER", 2)
    apart, texts, right = classified.judged(judge, ROWS * 10, "x", keep=True)
    assert apart.figures.confusion.tolist() == together.figures.confusion.tolist()
    assert apart.calibration_error == pytest.approx(together.calibration_error)
    assert (list(texts[:2]), right[:2].tolist()) == (["what time", "is it"], [0, 1])
    assert not len(classified.judged(judge, ROWS, "x")[1])


def test_a_label_that_it_never_learned_is_told(judge: Judge) -> None:
    with pytest.raises(CharrnnError, match="x: the classifier doesn't know the label 'maybe'; it knows no, yes"):
        classified.judged(judge, [("a", "maybe")], "x")
    with pytest.raises(CharrnnError, match="x: no labelled texts in it"):
        classified.judged(judge, [], "x")


def test_a_text_with_a_label_that_it_never_learned_counts_as_wrong(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    alone, _, _ = classified.judged(judge, ROWS, "x")
    rows = [*ROWS, ("a", "maybe"), ("b", "never"), ("c", "maybe")]
    for together in (1024, 2):
        monkeypatch.setattr(classified, "TOGETHER", together)
        report, texts, right = classified.judged(judge, rows, "x", keep=True)
        assert report.figures.labels == ("no", "yes", "maybe", "never")
        assert report.figures.accuracy == pytest.approx(alone.figures.accuracy * len(ROWS) / (len(ROWS) + 3))
        assert report.figures.by_label["maybe"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "texts": 2}
        assert right.tolist()[-3:] == [2, 3, 2]
    told = list[str]()
    report.tell_of_strange("x", told.append)
    alone.tell_of_strange("x", told.append)
    assert told == ["x: 3 texts have labels that the classifier doesn't know, and count as wrong: maybe, never"]
    beside = Yardsticks.of([text for text, _ in ROWS], np.array([0, 1, 0, 1]), texts, right, report.figures.labels)
    assert beside.ngrams.accuracy <= len(ROWS) / len(rows)
    json.dumps(classified.replace(report, yardsticks=beside).to_json())


def test_as_many_strange_labels_as_texts_end_the_reading(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classified, "STRANGE", 20)
    monkeypatch.setattr(classified, "TOGETHER", 30)
    with pytest.raises(CharrnnError, match="doesn't know the label 'label 1'"):
        classified.judged(judge, [*ROWS, *((f"text {n}", f"label {n}") for n in range(1, 1000))], "x")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_report_shows_figures_yardsticks_mistakes_and_units(
    judge: Judge, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    texts, labels = [text for text, _ in ROWS], np.array([0, 1, 0, 1])
    report, _, _ = classified.judged(judge, ROWS, "x")
    beside = Yardsticks.of(texts, labels, texts, labels, judge.classifier.labels)
    report = classified.replace(report, yardsticks=beside)
    speaker, out, err = console(terminal=terminal)
    classified.show_report(report, speaker)
    shown = out.getvalue()
    for words in ("this classifier", "n-grams", "always no", "precision", "taken for", "units that decide"):
        assert words in shown
    assert "expected calibration error" in err.getvalue()
    found = report.to_json()
    assert found["yardsticks"]["majority"] == {"label": "no", "accuracy": 0.5, "macro_f1": 1 / 3}
    assert sum(map(sum, found["confusion"]["counts"])) == 4
    assert set(found["units"]) == {"no", "yes"}
    json.dumps(found)


def test_a_matrix_too_wide_for_the_terminal_becomes_a_list_of_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    labels = tuple(f"label number {n}" for n in range(30))
    wide = Judge(classifier.read(small_networks.classifier(tmp_path / "w", labels) / classifier.NAME))
    report, _, _ = classified.judged(wide, [(f"text {n}", labels[n % 30]) for n in range(90)], "x")
    for terminal, words in ((True, "mistakes"), (False, "taken for")):
        speaker, out, _ = console(terminal=terminal)
        classified.show_report(report, speaker)
        assert words in out.getvalue()
    assert "mistakes" not in out.getvalue()


def test_a_fit_tells_what_is_to_beat_and_how_it_stands(judge: Judge) -> None:
    texts, labels = [text for text, _ in ROWS], np.array([0, 1, 0, 1])
    speaker, _, err = console()
    view = classified.FitView(speaker, lambda: 75.0)
    view(Yardsticks.of(texts, labels, texts, labels, ("no", "yes")))
    view(Progress(0.25, 3.1, 0.875, 0.412))
    view("some texts are left out")
    first, second, third = err.getvalue().splitlines()
    assert first == "charrnn: to beat: 100.0 % by n-grams, 50.0 % by always saying no"
    assert second == "charrnn: 1:15, 25 % done, 3.1 passes, accuracy 87.5 %, 0.412 nats"
    assert third == "charrnn: warning: some texts are left out"


def test_it_is_told_where_the_n_grams_learned_from_some_of_the_texts(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "MOST_CHARACTERS", 40)
    monkeypatch.setattr(ngrams, "TRIED", 2)
    texts, labels = [f"{n:04}" for n in range(1_000)], np.arange(1_000) % 2
    speaker, _, err = console()
    classified.FitView(speaker, lambda: 0.0)(beside := Yardsticks.of(texts, labels, texts[:4], labels[:4], ("no", "yes")))
    assert err.getvalue().splitlines()[1] == "charrnn: the n-grams learned from 10 of the 1,000 texts, evenly spread"
    assert beside.to_json()["ngrams"]["texts"] == 10


def test_what_could_not_be_read_as_it_stood_is_told_once(judge: Judge) -> None:
    speaker, _, err = console()
    classified.predict(judge, Asked(), [["caf\u00e9", "caf\u00e9", "x" * 2000]], speaker)
    assert err.getvalue().count("doesn't know every character of the texts: '\u00e9' -> 'e'") == 1
    assert "1 text is longer than the 1,024 characters that the classifier reads; the rest doesn't count" in err.getvalue()


def test_no_label_of_a_stranger_reaches_the_terminal_as_it_is(tmp_path: Path) -> None:
    bad = Judge(classifier.read(small_networks.classifier(tmp_path / "w", ("a\x1b[2J", "b\n\tc")) / classifier.NAME))
    speaker, out, _ = console()
    classified.predict(bad, Asked(top=2), [["a"]], speaker)
    report, _, _ = classified.judged(bad, [("a", "b\n\tc")], "x")
    classified.show_report(report, speaker)
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().splitlines()[0].count("\t") == 4


@pytest.mark.parametrize(
    ("typed", "usual", "told"),
    [
        (["what", "time", "is", "it"], 4.2, True),
        (["Schmidt", "Rossi", "Novak"], 1.1, False),
        (["what", "time", "is", "it"], None, False),
        (["what time", "is", "it"], 4.2, False),
        (["thanks", "bye"], 4.2, False),
    ],
)
def test_words_that_were_probably_one_text_are_told(judge: Judge, typed: list[str], usual: float | None, told: bool) -> None:
    known = Judge(replace(judge.classifier, training={**judge.classifier.training, "words_per_text": usual}))
    said = list[str]()
    classified.tell_of_words(known, typed, said.append)
    words = "these are 4 texts of one word each; several words are one text in quotes: 'what time is it'"
    assert said == [words] * told


def test_what_to_classify_is_typed_or_in_files(tmp_path: Path) -> None:
    speaker, _, err = console()
    assert classified.given(["a", "-"], ["f"], speaker) == (["a"], ["f", "-"])
    with pytest.raises(UsageError, match="which text"):
        classified.given([], [], speaker)
    with pytest.raises(UsageError, match="can be read once"):
        classified.given(["-"], ["-"], speaker)
    path = tmp_path / "lines.txt"
    path.write_text("one\n\nthree")
    classified.given([str(path)], [], speaker)
    assert f"charrnn classify predict --file {path} reads the file" in err.getvalue()
    assert [line for some in classified.texts(["zero"], [str(path)], PLAIN) for line in some] == ["zero", "one", "", "three"]
