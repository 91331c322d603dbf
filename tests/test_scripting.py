"""What a script may count on: examples that run, stdin left alone, variables, streams, tables and rows."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from small_networks import TEXT, classifier, network

from charrnn import cli

Invoke = Callable[..., Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as the manual's examples find it, and a ``charrnn`` on the path."""
    place = tmp_path_factory.mktemp("place")
    for name in ("fables", "novel"):
        network(place / "checkpoints" / name)
    for name in ("novel.txt", "app.log", "README.md", "corpora/fables.txt", "chapters/1.txt", "chapters/2.txt", "letter.txt"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(TEXT)
    (place / "prompts.txt").write_text("The fox\nThe crow\nthe end\n")
    (place / "bin").mkdir()
    (place / "bin/charrnn").write_text(f'#!/bin/sh\nexec {sys.executable} -m charrnn "$@"\n')
    (place / "bin/charrnn").chmod(0o755)
    return place


def shell(place: Path, script: str, command: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script whose ``charrnn`` lies in ``command``, or is a program of its own."""
    environment = {**os.environ, "PATH": f"{command or place / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "--norc", "-e", "-c", script],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def examples(heading: str) -> list[str]:
    """The examples of the first block of shell code under a heading of the manual; blank lines stand between them."""
    text = (ROOT / "docs/manual.md").read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    return re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1].strip().split("\n\n")  # type: ignore[index] # it is there


EXAMPLES = [*examples("Scripting"), *examples("Five one-liners")]


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.splitlines()[0][:50])
def test_the_examples_of_the_readme_do_what_they_say(place: Path, forks: Path, example: str) -> None:
    if "jq" in example and not shutil.which("jq"):
        pytest.skip("jq is not installed")
    short = example.replace(" --minutes 5", "").replace(
        "train novel.txt", "train novel.txt --steps 4 --hidden-size 8 --eval-every 2"
    )
    # A reader that has enough is one of the examples; elsewhere no part of a pipe fails.
    done = shell(place, short) if "head -" in example else shell(place, f"set -o pipefail\n{short}", forks)
    assert done.returncode == 0, done.stderr
    # A network with random weights may well begin with empty lines.
    assert done.stdout
    assert not re.search("Traceback|not found|Error|No such", done.stderr), done.stderr


def test_there_are_examples_of_every_kind() -> None:
    scripting = "\n".join(examples("Scripting"))
    assert all(kind in scripting for kind in ("|", "for ", "while read", "xargs -P", "jq", "exit code"))
    assert len(examples("Five one-liners")) == 5


def test_what_examples_print_is_what_their_comments_say(place: Path, forks: Path) -> None:
    by_first_line = {example.splitlines()[0]: example for example in EXAMPLES}
    code = shell(place, by_first_line["# An exit code decides."]).stdout
    assert code.startswith("exit code 1: charrnn: missing.txt: No such file or directory; ")
    samples = shell(place, by_first_line["# One text for each line of a file."], forks).stdout
    assert [prompt for prompt in ("The fox", "The crow", "the end") if prompt in samples] == ["The fox", "The crow", "the end"]
    assert len(shell(place, by_first_line["# A pipe that is closed ends the program silently."]).stdout.splitlines()) == 3


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_the_examples_of_classifying_do_what_they_say(place: Path, forks: Path) -> None:
    for name in ("intents.tsv", "intents-test.tsv"):
        shutil.copy(ROOT / "corpora" / name, place / "corpora")
    (example,) = examples("Classify")
    short = example.replace("--minutes 0.5", "--epochs 1 --hidden-size 8 --typos 0")
    assert short != example
    done = shell(place, short, forks)
    assert done.returncode == 0, done.stderr
    assert (place / "checkpoints/intents/classifier.safetensors").is_file()
    answers = re.findall(r"^\w+\t0\.\d{4}\t(.*)$", done.stdout, re.MULTILINE)
    assert answers == ["what time is it to start?", "wake me up at six"]
    assert done.stdout.count("this classifier") == 2  # The figures of the fit, and those of the test.


def test_the_classifier_that_ships_answers_in_a_fresh_checkout(invoke: Invoke, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "checkpoints/intents", tmp_path / "checkpoints/intents")
    assert (tmp_path / "checkpoints/intents/classifier.safetensors").stat().st_size <= 3_000_000
    label, probability, text = invoke("classify", "predict", "what time is it to start?").stdout.rstrip("\n").split("\t")
    assert (label, text) == ("ask_time", "what time is it to start?")
    assert float(probability) > 0.8
    report = json.loads(invoke("classify", "evaluate", str(ROOT / "corpora/intents-test.tsv"), "--json").stdout)
    assert report["accuracy"] > 0.6
    assert report["calibration_error"] < 0.15


# -- stdin ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("inspect ab -c net --svg", "--svg calls stdout /dev/stdout, not -"),
        ("inspect ab -c net --html", "--html calls stdout /dev/stdout, not -"),
        ("inspect ab -c net --npz", "--npz calls stdout /dev/stdout, not -"),
        ("export -c net", "PAGE calls stdout /dev/stdout, not -"),
        ("encode text -c net --npz", "--npz calls stdout /dev/stdout, not -"),
        ("classify predict ab -c judge --svg", "--svg calls stdout /dev/stdout, not -"),
        ("score text -c net --adapt --keep", "--keep saves a network in a file, which stdout is not; name one"),
        ("sample -c net -n 3 --save-state", "--save-state keeps the place in a file, which stdout is not; name one"),
        ("sample -c net -n 3 --out-dir", "--out-dir writes files of their own, which stdout is not; name a directory"),
    ],
)
def test_no_output_is_called_dash(tmp_path: Path, invoke: Invoke, words: str, said: str) -> None:
    network(tmp_path / "net")
    classifier(tmp_path / "judge")
    (tmp_path / "text").write_text(TEXT)
    done = invoke(*words.split(), "-")
    verb = " ".join(words.split()[: 2 if words.startswith("classify") else 1])
    assert (done.code, done.stdout, done.stderr) == (2, "", f"charrnn: {said} (see charrnn {verb} --help)\n")
    assert not (tmp_path / "-").exists()


class Untouchable(io.RawIOBase):
    """A standard input that must not be read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise AssertionError("stdin was read")


COMMANDS = {
    "train": ["train", "novel.txt", "--steps", "2", "--hidden-size", "4", "--out", "run"],
    "sample": ["sample", "-n", "20", "--seed", "1"],
    "score": ["score", "novel.txt"],
    "encode": ["encode", "novel.txt", "--npz", "novel.npz"],
    "next": ["next", "The"],
    "inspect": ["inspect", "--contribution", "The fox"],
    "info": ["info"],
    "classify": ["classify", "predict", "the fox", "--trace", "-c", "labels"],
}


@pytest.fixture
def here(here: Path) -> Path:
    """With a classifier, too."""
    classifier(here / "labels")
    return here


TRIED_ELSEWHERE = {"bench", "cache", "export"}
"""Commands that take long or need more than a tiny network, or none."""


def test_every_command_is_tried_here() -> None:
    import typer

    group: Any = typer.main.get_command(cli.application())
    assert COMMANDS.keys() | TRIED_ELSEWHERE == set(group.commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_reads_stdin_unless_told_to(here: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Untouchable())))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert cli.run(COMMANDS[command]) == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_in_a_pipe_nothing_is_drawn_and_on_a_terminal_the_same_is_said(invoke: Invoke, here: Path, command: str) -> None:
    piped = invoke(*COMMANDS[command])
    (shutil.rmtree(here / "run") if (here / "run").exists() else None)
    shown = invoke(*COMMANDS[command], terminal=True)
    assert (piped.code, shown.code) == (0, 0)
    assert piped.stdout
    assert shown.stdout
    assert "\x1b" not in piped.stdout + piped.stderr
    assert not set("█▏━─") & set(piped.stdout)


def test_a_terminal_sees_bars_and_a_pipe_sees_numbers(invoke: Invoke, here: Path) -> None:
    assert "█" in invoke("next", "The", terminal=True).stdout
    rows = [line.split("\t") for line in invoke("next", "The", "--top", "4").stdout.splitlines()]
    assert len(rows) == 4
    shares = [float(share) for _, share in rows]
    assert shares == sorted(shares, reverse=True)
    (record,) = [json.loads(line) for line in invoke("next", "The", "--json").stdout.splitlines()]
    assert [entry["probability"] for entry in record["next"][:4]] == pytest.approx(shares, abs=1e-6)
    assert len(record["next"]) == 10
    assert 0 < record["entropy_bits"] < 6


# -- what can't work, and variables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "score"])
def test_no_text_is_a_usage_error_and_leaves_stdout_alone(invoke: Invoke, command: str) -> None:
    result = invoke(command)
    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["score", "novel.txt", "--window", "0"], 2, "--window must be a whole number of at least 1"),
        (["score", "novel.txt", "--window", "9", "--lines"], 2, "--window or --lines"),
        (["score", "novel.txt", "--rank", "--exact"], 2, "--rank or --exact"),
        (["score", "novel.txt", "--rank", "--per-char"], 2, "--rank or --per-char"),
        (["score", "-", "-"], 2, "once"),
        (["score", "novel.txt", "--encoding", "klingon"], 2, "klingon"),
        (["score", "gone.txt"], 1, "gone.txt"),
        (["score", "."], 0, ""),
        (["next", "The", "--top", "0"], 2, "--top must be a whole number of at least 1"),
        (["next", "The", "-c", "gone"], 1, "gone"),
        (["next", os.fsdecode(b"a\xff")], 1, "PROMPT: byte 1 is not valid UTF-8 text"),
        (["sample", "-p", os.fsdecode(b"\xfe")], 1, "--prompt: byte 0 is not valid UTF-8 text"),
        (["score", os.fsdecode(b"\xfe")], 1, "No such file"),
        (["sample", "--temp", os.fsdecode(b"\xfe")], 2, "--temp must be a number"),
    ],
)
def test_a_request_that_cannot_work_is_one_line(invoke: Invoke, here: Path, arguments: list[str], code: int, part: str) -> None:
    result = invoke(*arguments)
    assert result.code == code
    if code:
        assert result.stdout == ""
        assert re.fullmatch(r"charrnn: [^\n]+\n", result.stderr)
        assert part in result.stderr


def test_text_that_is_no_utf8_is_an_error_that_helps(invoke: Invoke, here: Path) -> None:
    result = invoke("score", "-", stdin=b"abc\xff")
    assert (result.code, result.stdout) == (1, "")
    assert "byte 3" in result.stderr
    assert "--encoding latin-1" in result.stderr
    assert "--level" not in result.stderr


# -- variables --------------------------------------------------------------------------------------------------------


def test_the_checkpoint_may_come_from_a_variable_and_the_option_wins(
    invoke: Invoke, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = network(here / "other", known="\nxyz")
    monkeypatch.setenv("CHARRNN_CHECKPOINT", str(other))
    for command in (["sample", "-n", "30", "-q", "--no-echo"], ["next", "x"]):
        assert set("".join(line.split("\t")[0] for line in invoke(*command).stdout.splitlines())) <= set("xyz\\n\ufffd")
        assert set(invoke(*command, "-c", "checkpoints/novel").stdout) - set("xyz\\n\ufffd\t.0123456789")
    monkeypatch.setenv("CHARRNN_CHECKPOINT", "nowhere")
    for command in (["sample"], ["score", "novel.txt"], ["next"], ["inspect"]):
        result = invoke(*command)
        assert result.code == 1
        assert result.stderr == (
            "charrnn: nowhere: No such file or directory; charrnn info lists the runs (CHARRNN_CHECKPOINT names it)\n"
        )
    assert "CHARRNN_CHECKPOINT" not in invoke("sample", "-c", "nowhere").stderr
    assert invoke("next", "x", "-c", "checkpoints/novel").code == 0
    (here / "empty").mkdir()
    monkeypatch.setenv("CHARRNN_CHECKPOINT", "empty")
    assert invoke("next", "x").stderr.endswith("name a run directory or a checkpoint file (CHARRNN_CHECKPOINT names it)\n")
    monkeypatch.setenv("CHARRNN_CHECKPOINT", "")
    assert invoke("sample", "-n", "1").code == 0


def test_the_device_may_come_from_a_variable_and_the_option_wins(
    invoke: Invoke, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARRNN_DEVICE", "toaster")
    result = invoke(*COMMANDS["train"])
    assert result.code == 2
    assert "--device must be auto, cpu, cuda or mps, not toaster" in result.stderr
    assert invoke(*COMMANDS["train"], "--device", "cpu").code == 0
    assert invoke("sample", "-n", "1").code == 0
