"""What a shell is offered: as lists, by the protocols of the shells, and by bash itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charrnn.cli import completion
from charrnn.config import GATES


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, a run elsewhere, a checkpoint by itself, and what is none of these."""
    monkeypatch.chdir(tmp_path)
    for run in ("checkpoints/novel", "checkpoints/deep/er", "elsewhere/run"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "best.safetensors").touch()
    for name in ("notes.txt", "model.safetensors", ".hidden.safetensors", "checkpoints/novel/log.jsonl"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", ["checkpoints/", "checkpoints/deep/er", "checkpoints/novel", "elsewhere/", "model.safetensors"]),
        ("checkpoints/", ["checkpoints/deep/", "checkpoints/deep/er", "checkpoints/novel"]),
        ("checkpoints/n", ["checkpoints/novel"]),
        ("checkpoints/novel/", ["checkpoints/novel/best.safetensors"]),
        ("else", ["elsewhere/"]),
        ("./elsewhere/r", ["./elsewhere/run/"]),
        ("m", ["model.safetensors"]),
        (".h", [".hidden.safetensors"]),
        ("gone/", []),
        ("~nobody-of-this-name/", []),
    ],
)
def test_checkpoints_are_offered_by_run_and_by_path(tree: Path, typed: str, offered: list[str]) -> None:
    assert completion.checkpoints(typed) == offered


def test_a_verb_of_classifiers_is_offered_classifiers(tree: Path) -> None:
    (tree / "checkpoints/intents").mkdir()
    (tree / "checkpoints/intents/classifier.safetensors").touch()
    assert "checkpoints/intents" in offered_by("bash", "charrnn", "classify", "predict", "-c", "checkpoints/", cwd=tree)
    assert "checkpoints/novel" in offered_by("bash", "charrnn", "classify", "fit", "-c", "checkpoints/", cwd=tree)
    assert "checkpoints/intents" in offered_by("bash", "charrnn", "inspect", "--classifier", "checkpoints/", cwd=tree)
    assert completion.checkpoints("checkpoints/i") == ["checkpoints/intents/"]


def test_a_run_behind_a_link_is_offered(tree: Path) -> None:
    (tree / "checkpoints/linked").symlink_to(tree / "elsewhere/run")
    assert completion.checkpoints("checkpoints/l") == ["checkpoints/linked"]


def test_a_home_directory_is_looked_into_and_stays_as_typed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree))
    assert completion.checkpoints("~/m") == ["~/model.safetensors"]


def offered_by(shell: str, *words: str, cwd: Path) -> list[str]:
    """What the program answers the completion script of ``shell`` after ``words``, the last one unfinished."""
    line = " ".join(words)
    variables = {
        "_CHARRNN_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    # A process of its own says at its end that it has loaded neither NumPy nor torch.
    program = (
        "import atexit, sys; atexit.register(lambda: {'numpy', 'torch'} & set(sys.modules) and print('SLOW'));"
        "from charrnn.cli import main; main()"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    answer = done.stdout.replace("_arguments '*: :((", "").replace("))'", "")
    return [text.strip('"').split('"')[0].split("\t")[0] for text in answer.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_options_and_checkpoints_are_completed(tree: Path, shell: str) -> None:
    assert {"sample", "score"} <= set(offered_by(shell, "charrnn", "s", cwd=tree))
    assert offered_by(shell, "charrnn", "score", "--per", cwd=tree) == ["--per-char"]
    assert offered_by(shell, "charrnn", "score", "--checkpoint", "checkpoints/n", cwd=tree) == ["checkpoints/novel"]
    assert offered_by(shell, "charrnn", "train", "--out", "--overwrite", "--min-", cwd=tree) == ["--min-count"]
    assert offered_by(shell, "charrnn", "train", "--cell", "", cwd=tree) == list(GATES)
    assert offered_by(shell, "charrnn", "inspect", "--color", "s", cwd=tree) == ["surprise"]
    for command in ("sample", "score", "next", "inspect"):
        assert offered_by(shell, "charrnn", command, "-c", "mod", cwd=tree) == ["model.safetensors"]
    for words in (["train", "--resume"], ["train", "--init-from"], ["info"]):
        assert offered_by(shell, "charrnn", *words, "checkpoints/n", cwd=tree) == ["checkpoints/novel"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(tree: Path, shell: str) -> None:
    command = [sys.executable, "-m", "charrnn"]
    environment = {**os.environ, "_CHARRNN_COMPLETE": f"source_{shell}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert f"complete_{shell}" in done.stdout


@pytest.mark.parametrize("option", ["--install-completion", "--show-completion"])
def test_a_shell_that_is_named_is_not_taken_for_the_one_that_runs(
    option: str, invoke: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    done = invoke(option, "bogus")
    assert (done.code, done.stdout) == (2, "")
    why = f"{option} takes no value, not bogus; it serves the shell that runs it"
    assert done.stderr == f"charrnn: {why} (see charrnn --help)\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_bash_itself_completes(tree: Path) -> None:
    program = tree / "bin" / "charrnn"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m charrnn "$@"\n')
    program.chmod(0o755)
    script = """
    eval "$(_CHARRNN_COMPLETE=source_bash charrnn)"
    COMP_WORDS=(charrnn score -c checkpoints/n); COMP_CWORD=3
    _charrnn_completion charrnn
    echo "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    command = ["bash", "--norc", "-c", script]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "checkpoints/novel\n"


def test_a_run_that_is_about_to_replace_another_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("novel", ".novel.charrnn-new", ".novel.charrnn-old"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "best.safetensors").touch()
    assert completion.checkpoints("checkpoints/") == ["checkpoints/novel"]
