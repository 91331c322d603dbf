"""``charrnn classify`` as people call it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import small_networks
from conftest import FABLES, Result

from charrnn.network import classifier

Invoke = Callable[..., Result]
ROWS = "text\tlabel\n" + "".join(f"{stem}{end}\tends in {end}\n" for stem in map(str, range(100, 200)) for end in "ab")
TINY = ("--hidden-size", "8", "--embedding-size", "4", "--lr", "0.02", "--feature", "last")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.tsv"
    path.write_text(ROWS)
    return path


@pytest.mark.usefixtures("one_thread")
def test_fit_predict_and_evaluate(invoke: Invoke, rows: Path) -> None:
    done = invoke("classify", "fit", rows, "--epochs", "5", *TINY)
    assert done.code == 0, done
    assert "this classifier" in done.stdout
    assert "to beat: " in done.stderr
    assert "charrnn: wrote checkpoints/rows/classifier.safetensors" in done.stderr
    asked = invoke("classify", "predict", "150a", "150b")
    assert [line.split("\t")[0] for line in asked.stdout.splitlines()] == ["ends in a", "ends in b"]
    assert "checkpoints/rows (0 seconds old)" in asked.stderr or "second" in asked.stderr
    report = json.loads(invoke("classify", "evaluate", rows, "--json", "--train", rows).stdout)
    assert report["accuracy"] > 0.95
    assert report["texts"] == 200
    assert report["yardsticks"]["majority"]["accuracy"] == 0.5
    assert 0 <= report["calibration_error"] < 0.2
    again = invoke("classify", "evaluate", rows)
    assert "this classifier" in again.stdout
    learned = 200 - json.loads(invoke("info", "checkpoints/rows", "--json").stdout)["val_texts"]
    assert f"rows.tsv: it learned from {learned} of these 200 texts, so the figures don't tell of new ones; of" in again.stderr
    Path("others.tsv").write_text(ROWS)
    assert "it learned from" not in invoke("classify", "evaluate", "others.tsv").stderr
    described = json.loads(invoke("info", "checkpoints/rows", "--json").stdout)
    assert (described["kind"], described["labels"]) == ("classifier", ["ends in a", "ends in b"])
    assert "ends in a, ends in b" in invoke("info", "checkpoints/rows").stdout
    assert "checkpoints/rows/classifier.safetensors" in invoke("info").stdout


@pytest.mark.usefixtures("one_thread")
def test_fit_tells_all_of_it_as_json(invoke: Invoke, rows: Path) -> None:
    done = invoke("classify", "fit", rows, "--epochs", "0.5", "--json", "-q", "--out", "c", *TINY)
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert found["path"] == "c/classifier.safetensors"
    assert found["split"]["train"] + found["split"]["val"] == 200
    assert {"accuracy", "macro_f1", "confusion", "yardsticks", "units", "network", "training"} <= found.keys()
    assert done.stderr == ""


def test_lines_of_files_and_of_stdin_are_classified(invoke: Invoke, tmp_path: Path) -> None:
    small_networks.classifier(tmp_path / "c")
    (tmp_path / "lines.txt").write_text("one\n\ntwo\n")
    found = invoke("classify", "predict", "-c", "c", "--file", "lines.txt")
    assert [line.split("\t")[-1] for line in found.stdout.splitlines()] == ["one", "", "two"]
    Path("table.csv").write_text('id,say\n1,"one, two"\n2,\n3,three\n', encoding="utf-8")
    found = invoke("classify", "predict", "-c", "c", "--file", "table.csv", "--field", "say", "-q")
    assert [line.split("\t")[-1] for line in found.stdout.splitlines()] == ["one, two", "", "three"]  # a line for each row
    for wrong, said in ((("--field", "say"), "name one by --file"), (("--file", "nowhere"), "nowhere: No such file")):
        found = invoke("classify", "predict", "-c", "c", "typed", *wrong)
        assert (found.code > 0, found.stdout) == (True, "")
        assert said in found.stderr
    found = invoke("classify", "predict", "-c", "c", "--file", "table.csv")
    assert "table.csv: each line is read as a text, as it stands; --field NAME reads a column" in found.stderr
    found = invoke("classify", "predict", "-c", "c", "-", "--json", stdin=b"three\n")
    assert json.loads(found.stdout)["text"] == "three"
    found = invoke("classify", "evaluate", "-c", "c", "-", "--json", stdin=b"no\tabc\nyes\txyz\n")
    assert json.loads(found.stdout)["texts"] == 2


def test_answers_come_while_stdin_goes_on(tmp_path: Path) -> None:
    small_networks.classifier(tmp_path / "c")
    command = [sys.executable, "-m", "charrnn", "classify", "predict", "-", "-c", str(tmp_path / "c"), "-q"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in (b"one", b"two"):
            process.stdin.write(text + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\t" + text + b"\n")
        process.stdin.close()
        assert process.wait(60) == 0


def test_a_trace_is_shown_and_drawn(invoke: Invoke, tmp_path: Path) -> None:
    small_networks.classifier(tmp_path / "c")
    found = invoke("classify", "predict", "what time", "--trace", "-c", "c")
    assert len(found.stdout.splitlines()) == len("what time")
    assert json.loads(invoke("classify", "predict", "what time", "--trace", "--json", "-c", "c").stdout)["text"] == "what time"
    assert invoke("classify", "predict", "what time", "--svg", "t.svg", "-c", "c").stdout == ""
    assert (tmp_path / "t.svg").read_text().startswith("<svg")
    assert invoke("classify", "predict", "a", "b", "--trace", "-c", "c").code == 2


def test_the_page_of_inspect_shows_a_classifier_making_up_its_mind(invoke: Invoke, tmp_path: Path) -> None:
    small_networks.network(tmp_path / "novel")
    small_networks.classifier(tmp_path / "c", ("a<b>", "other"))
    done = invoke("inspect", "The fox said go.", "-c", "novel", "--html", "page.html", "--classifier", "c")
    assert done.code == 0, done
    page = (tmp_path / "page.html").read_text()
    assert "A classifier makes up its mind" in page
    assert "a&lt;b&gt;" in page
    assert "a<b>" not in page
    alone = invoke("inspect", "The fox", "-c", "novel", "--classifier", "c")
    assert (alone.code, "--classifier shows on the page of --html FILE" in alone.stderr) == (2, True)
    assert invoke("inspect", "The fox", "-c", "novel", "--html", "p.html", "--classifier", "novel").code == 1


@pytest.mark.parametrize("verb", [("sample",), ("score", "x.txt"), ("next", "a"), ("inspect", "abc")])
def test_no_other_command_takes_a_classifier(verb: tuple[str, ...], invoke: Invoke, tmp_path: Path) -> None:
    small_networks.classifier(tmp_path / "checkpoints/c")
    (tmp_path / "x.txt").write_text("abc\n")
    for named, words in (
        ((), "no trained network here yet"),
        (("-c", "checkpoints/c"), "the directory holds a classifier of texts, which charrnn classify predict reads"),
        (("-c", "checkpoints/c/classifier.safetensors"), "it is a classifier of texts"),
    ):
        done = invoke(*verb, *named)
        assert done.code == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_classify_takes_no_language_model(invoke: Invoke, tmp_path: Path) -> None:
    small_networks.network(tmp_path / "checkpoints/novel")
    for named, words in (
        ((), "no classifier here yet; make one by charrnn classify fit LABELLED"),
        (("-c", "checkpoints/novel"), "holds a language model, no classifier"),
        (("-c", "checkpoints/novel/best.safetensors"), "it is a language model"),
    ):
        done = invoke("classify", "predict", "a", *named)
        assert (done.code, done.stderr.count("\n")) == (1, 1)
        assert words in done.stderr


@pytest.mark.usefixtures("one_thread")
def test_a_language_model_and_a_classifier_share_a_directory(invoke: Invoke, rows: Path, tmp_path: Path) -> None:
    small_networks.network(tmp_path / "both")
    model = (tmp_path / "both/best.safetensors").read_bytes()
    assert invoke("classify", "fit", rows, "-c", "both", "--out", "both", "--epochs", "0.1").code == 0
    assert (tmp_path / "both/best.safetensors").read_bytes() == model
    assert invoke("sample", "-n", "3", "-c", "both").code == 0
    assert invoke("classify", "predict", "150a", "-c", "both").stdout.startswith("ends in ")
    described = invoke("info", "both", "--json")
    assert (json.loads(described.stdout)["path"], described.stderr) == (
        "both/best.safetensors",
        "charrnn: the directory holds a classifier too: charrnn info both/classifier.safetensors\n",
    )
    kept = (tmp_path / "both/classifier.safetensors").read_bytes()
    train = ("train", rows, "--out", "both", "--steps", "1", "--hidden-size", "4", "--batch-size", "2")
    for more, words in (
        ((), "replace it by --overwrite"),
        (("--overwrite",), "holds classifier.safetensors, which is no file of a run"),
    ):
        refused = invoke(*train, *more)
        assert refused.code == 1
        assert words in refused.stderr
    (tmp_path / "both/best.safetensors").unlink()
    assert invoke(*train, "-q").code == 0
    assert (tmp_path / "both/classifier.safetensors").read_bytes() == kept


def test_the_networks_language_model_is_not_the_environments(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_networks.classifier(tmp_path / "checkpoints/c")
    monkeypatch.setenv("CHARRNN_CHECKPOINT", str(FABLES))
    assert invoke("classify", "predict", "a").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fit", "rows.tsv", "--resume", "x"), "--resume: a fit can't go on"),
        (("fit", "rows.tsv", "--frozen"), "name one by -c PATH"),
        (("fit", "rows.tsv", "--minutes", "0"), "--minutes must be a number above 0"),
        (("fit", "rows.tsv", "--feature", "median"), "--feature must be last, mean, max or last+mean"),
        (("predict",), "which text?"),
        (("predict", "a", "--threshold", "2"), "--threshold must be"),
        (("predict", "a", "--top", "0"), "--top must be"),
        (("predict", "a", "--topk", "3"), "say --top"),
        (("fits", "x"), "say charrnn classify fit"),
    ],
)
def test_usage_is_told_in_a_line(arguments: tuple[str, ...], words: str, invoke: Invoke, rows: Path) -> None:
    done = invoke("classify", *arguments)
    assert done.code == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert "see charrnn classify" in done.stderr
    assert not Path("checkpoints").exists()


def test_a_file_that_is_gone_is_told_and_nothing_is_left(invoke: Invoke) -> None:
    done = invoke("classify", "fit", "gone.tsv", "--epochs", "1")
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("charrnn: gone.tsv: No such file or directory; ")
    assert not list(Path("checkpoints").glob("*"))


def test_frozen_loads_no_torch_and_neither_does_asking(rows: Path, tmp_path: Path) -> None:
    small_networks.network(tmp_path / "novel", known="\n0123456789ab")
    program = "import sys; from charrnn.cli import run; code = run(sys.argv[1:]); sys.exit(code or 'torch' in sys.modules)"
    for arguments in (
        ["fit", str(rows), "--frozen", "-c", "novel", "--out", "c"],
        ["predict", "-c", "c", "150a"],
        ["evaluate", "-c", "c", str(rows)],
        ["predict", "-c", "c", "150a", "--trace"],
        ["fit", "--help"],
    ):
        command = [sys.executable, "-c", program, "classify", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, (arguments, done.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_saves_the_best_so_far(rows: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "charrnn", "classify", "fit", str(rows), "--epochs", "1e6", "--out", "c", *TINY]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stderr is not None
        assert b"to beat" in process.stderr.readline()
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 130
    assert b"this classifier" in out
    assert classifier.read(tmp_path / "c" / classifier.NAME).labels == ("ends in a", "ends in b")
