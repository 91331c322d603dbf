"""The command line: what it prints, what it leaves on disk, and how it refuses."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TALE_TEXT
from small_networks import network
from small_runs import OPTIMIZERS

from charrnn import __version__, cli
from charrnn.config import GATES, ModelConfig
from charrnn.network import checkpoint
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import learner
from charrnn.training.events import CONTRACT, keys

Invoke = Callable[..., Any]

TINY = ("--hidden-size", "16", "--steps", "10")


def train_into(out: Path, text: str | bytes, *options: str) -> Path:
    """A run directory, for fixtures that live longer than one test."""
    corpus = out.parent / f"{out.name}.txt"
    corpus.write_bytes(text.encode() if isinstance(text, str) else text)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert cli.run(["train", str(corpus), "--out", str(out), *TINY, *options]) == 0
    return out


@pytest.fixture(scope="module")
def trained_on_bytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_into(tmp_path_factory.mktemp("bytes") / "signs", "é漢😀" * 60, "--level", "byte")


@pytest.fixture
def tale(tmp_path: Path) -> Path:
    path = tmp_path / "tale.txt"
    path.write_text(TALE_TEXT)
    return path


def saved_at(path: Path, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the checkpoint again as if at another time."""
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: seconds)
        checkpoint.write(path, checkpoint.read(path))


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def files(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*") if found.is_file())


def assert_one_line(result: Any, code: int, *parts: str) -> None:
    """An expected failure: its exit code, nothing on stdout, and one line on stderr that holds all of ``parts``."""
    assert result.code == code, result
    assert result.stdout == ""
    assert re.fullmatch(r"charrnn: [^\n]+\n", result.stderr), result.stderr
    for part in parts:
        assert part in result.stderr


# -- train ----------------------------------------------------------------------------------------------------------


def test_train_prints_one_line_the_path_of_the_best_checkpoint(invoke: Invoke, tale: Path, tmp_path: Path) -> None:
    result = invoke("train", tale, *TINY)
    assert (result.code, result.stdout) == (0, "checkpoints/tale/best.safetensors\n")
    assert files(tmp_path / "checkpoints") == ["tale/best.safetensors", "tale/last.safetensors", "tale/log.jsonl"]


def test_train_json_prints_the_events_of_the_contract_and_logs_the_same(invoke: Invoke, tale: Path, tmp_path: Path) -> None:
    result = invoke("train", tale, *TINY, "--eval-every", "5", "--log-every", "1", "--json")
    events = lines(result.stdout)
    log = lines((tmp_path / "checkpoints/tale/log.jsonl").read_text(encoding="utf-8"))
    assert log == [{key: value for key, value in event.items() if key != "host"} for event in events]
    names = [event["event"] for event in events]
    assert set(names) == set(CONTRACT)  # the warning says that the text is short
    assert (names[0], names[-1]) == ("start", "end")
    for event in events:
        assert {"event", *keys(event["event"])} == event.keys()


def test_the_events_tell_the_run_as_it_was_asked_for(invoke: Invoke, tale: Path) -> None:
    result = invoke("train", tale, *TINY, "--eval-every", "5", "--log-every", "1", "--lr", "0.02", "--json")
    by_name: dict[str, list[Any]] = {}
    for event in lines(result.stdout):
        by_name.setdefault(event["event"], []).append(event)
    (first,), (last,) = by_name["start"], by_name["end"]
    assert first["characters"] == len(TALE_TEXT) == first["train_characters"] + first["val_characters"]
    assert first["vocab_size"] == len(set(TALE_TEXT)) + 1
    assert first["config"]["model"]["hidden_size"] == 16
    assert [event["step"] for event in by_name["step"]] == list(range(1, 11))
    assert all(0 < event["learning_rate"] <= 0.02 for event in by_name["step"])
    assert [event["step"] for event in by_name["eval"]] == [5, 10]
    assert [len(event["text"]) for event in by_name["sample"]] == [80, 80]
    assert {event["kind"] for event in by_name["saved"]} == {"best", "last"}
    assert (last["step"], last["reason"], last["best_path"]) == (10, "finished", "checkpoints/tale/best.safetensors")
    assert last["best_val_bits_per_char"] == min(event["val_bits_per_char"] for event in by_name["eval"])


def test_a_second_run_gets_a_name_of_its_own_and_the_first_stays_as_it_was(invoke: Invoke, tale: Path, tmp_path: Path) -> None:
    invoke("train", tale, *TINY)
    before = {path: path.read_bytes() for path in (tmp_path / "checkpoints/tale").iterdir()}
    for number in (2, 3):
        assert invoke("train", tale, *TINY).stdout == f"checkpoints/tale-{number}/best.safetensors\n"
    assert {path: path.read_bytes() for path in before} == before


def test_out_that_holds_a_run_is_refused_with_a_word_on_resume(invoke: Invoke, tale: Path, run: Path) -> None:
    before = {path: path.read_bytes() for path in run.iterdir()}
    assert_one_line(invoke("train", tale, *TINY, "--out", run), 1, "--resume", str(run))
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_out_names_the_run_directory(invoke: Invoke, tale: Path, tmp_path: Path) -> None:
    assert invoke("train", tale, *TINY, "--out", "deep/er").stdout == "deep/er/best.safetensors\n"
    assert not (tmp_path / "checkpoints").exists()


def test_out_that_is_a_file_is_an_expected_failure(invoke: Invoke, tale: Path) -> None:
    assert_one_line(invoke("train", tale, *TINY, "--out", tale), 1, "tale.txt")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(["-"], "stdin"), (["letters"], "letters"), (["letters/b.txt", "letters/a.txt"], "b"), (["c.txt.gz"], "c")],
)
def test_a_run_is_named_after_its_text(invoke: Invoke, tmp_path: Path, arguments: list[str], name: str) -> None:
    (tmp_path / "letters").mkdir()
    for letter in "ab":
        (tmp_path / f"letters/{letter}.txt").write_text(TALE_TEXT)
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(TALE_TEXT.encode()))
    result = invoke("train", *arguments, *TINY, "--steps", "1", stdin=TALE_TEXT.encode())
    assert (result.code, result.stdout) == (0, f"checkpoints/{name}/best.safetensors\n")


def test_a_file_name_that_is_not_utf8_is_as_good_as_any(invoke: Invoke, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    (tmp_path / name).write_text(TALE_TEXT)
    result = invoke("train", name, *TINY)
    assert result.code == 0
    assert Path(tmp_path, result.stdout.rstrip("\n")).is_file()


def test_training_too_short_to_step_or_to_evaluate_still_ends_well(invoke: Invoke, tale: Path, tmp_path: Path) -> None:
    for options in (("--minutes", "1e-6"), ("--epochs", "1e-6"), ("--steps", "1", "--val-fraction", "0")):
        result = invoke("train", tale, "--hidden-size", "16", *options)
        assert result.code == 0, options
        assert Path(tmp_path, result.stdout.strip()).is_file()


@pytest.mark.parametrize("logged_every", ["1", "20", "1000"])
def test_a_run_that_diverges_says_so_and_keeps_what_was_good(invoke: Invoke, tale: Path, logged_every: str) -> None:
    # Evaluations fall before, between and after the step events that would tell.
    options = ("--steps", "40", "--eval-every", "10", "--log-every", logged_every)
    result = invoke("train", tale, *TINY, "--lr", "1e30", *options, "--json")
    assert result.code == 1
    assert lines(result.stdout)[-1]["reason"] == "diverged"
    assert re.search(r"^charrnn: .*diverged", result.stderr, re.MULTILINE)
    assert invoke("sample", "-n", "5", "-q").code == 0


@pytest.mark.parametrize("option", ["--epochs", "--minutes"])
def test_a_length_beyond_all_counting_is_a_usage_error(invoke: Invoke, tale: Path, option: str) -> None:
    assert_one_line(invoke("train", tale, "--hidden-size", "16", option, "1e308"), 2, f"{option} must be a number above 0")


# -- resume ---------------------------------------------------------------------------------------------------------


def test_a_run_goes_on_where_it_stopped_and_its_log_grows(invoke: Invoke, run: Path) -> None:
    before = (run / "log.jsonl").read_text()
    result = invoke("train", "--resume", "checkpoints/tale", "--steps", "15", "--log-every", "1", "--json")
    assert result.code == 0
    assert [event["step"] for event in lines(result.stdout) if event["event"] == "step"] == [11, 12, 13, 14, 15]
    log = (run / "log.jsonl").read_text()
    assert log.startswith(before)
    start, *others = lines(log.removeprefix(before))
    assert [start | {"host": platform.node()}, *others] == lines(result.stdout)


def test_workers_auto_is_the_default_and_on_resume_chooses_anew(
    invoke: Invoke, tale: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []

    def choose(number: int | None, *_: object) -> int:
        asked.append(number)
        return number or 2

    monkeypatch.setattr(learner, "choose_workers", choose)
    begin = ("train", "tale.txt", "--steps", "1", "--hidden-size", "8")
    for words in ((), ("--workers", "auto"), ("--workers", "3")):
        assert invoke(*begin, "--out", f"run{len(asked)}", *words).code == 0
    for number, words in enumerate(((), ("--workers", "auto"), ("--workers", "4")), 2):
        assert invoke("train", "--resume", "run2", "--steps", str(number), *words).code == 0
    assert asked == [None, None, 3, 3, None, 4]


def test_resume_latest_means_the_run_saved_last_by_its_own_header(
    invoke: Invoke, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = shutil.copytree(run, run.with_name("a-newer-one"))
    for path, seconds in ((run, 1e9), (newer, 2e9)):
        saved_at(path / "last.safetensors", seconds, monkeypatch)
    os.utime(run / "last.safetensors", (3e9, 3e9))
    result = invoke("train", "--resume", "latest", "--steps", "11")
    assert (result.code, result.stdout) == (0, "checkpoints/a-newer-one/best.safetensors\n")
    Path("latest").symlink_to(run)  # A run of that name comes before the word, as it does for -c.
    assert invoke("train", "--resume", "latest", "--steps", "12").stdout == "latest/best.safetensors\n"


def test_a_run_that_no_command_finds_by_itself_ends_with_how_to_name_it(invoke: Invoke, tale: Path) -> None:
    begin = ("train", "tale.txt", "--steps", "1", "--hidden-size", "8")
    told = "charrnn: outside checkpoints/ no command finds it unless you name it: charrnn sample -c 'my run'\n"
    assert told in invoke(*begin, "--out", "my run").stderr
    assert told not in invoke(*begin, "--out", "my run", "--overwrite", "-q").stderr
    Path("elsewhere").mkdir()
    Path("checkpoints").mkdir(exist_ok=True)
    Path("checkpoints/linked").symlink_to(Path("elsewhere").resolve())
    for found in (
        (),
        ("--out", "checkpoints/mine"),
        ("--out", Path("checkpoints/deep/mine").resolve()),
        ("--out", "checkpoints/linked/a"),
    ):
        assert "unless you name it" not in invoke(*begin, *found).stderr


def test_resuming_a_finished_run_trains_no_further_and_keeps_its_best(invoke: Invoke, tmp_path: Path) -> None:
    # The validation text holds letters that training never shows, so the first evaluation is the best one.
    run = train_into(tmp_path / "over", "ab" * 400 + "xyzw" * 22, "--steps", "30", "--eval-every", "5", "--lr", "0.05")
    weights = checkpoint.read(run / "best.safetensors").weights["head.weight"]
    result = invoke("train", "--resume", run, "--json")
    assert result.code == 0
    assert lines(result.stdout)[-1]["step"] == 30
    assert "nothing was left to do; a larger --steps goes on, counted from the run's beginning\n" in result.stderr
    assert (checkpoint.read(run / "best.safetensors").weights["head.weight"] == weights).all()


@pytest.mark.parametrize(
    ("option", "value", "own"),
    [
        ("--hidden-size", "32", "16"),
        ("--layers", "2", "1"),
        ("--cell", "gru", "lstm"),
        ("--seed", "7", "0"),
        ("--bptt", "32", "64"),
        ("--groups", "2", "1"),
        ("--batch-size", "8", "4"),
        ("--optimizer", "muon", "adamw"),
        ("--dropout-input", "0.9", "0.0"),
        ("--val-fraction", "0.25", "0.1"),
        ("--val", "scattered", "tail"),
        ("--level", "byte", "char"),
    ],
)
def test_a_setting_that_may_not_change_on_resume_is_refused_with_both_values(
    invoke: Invoke, run: Path, option: str, value: str, own: str
) -> None:
    before = files(run), (run / "last.safetensors").read_bytes()
    assert_one_line(invoke("train", "--resume", run, option, value), 2, option, value, own, "--help")
    assert (files(run), (run / "last.safetensors").read_bytes()) == before


def test_a_setting_given_again_as_it_was_is_no_change(invoke: Invoke, run: Path) -> None:
    assert invoke("train", "--resume", run, "--hidden-size", "16", "--seed", "0", "--steps", "11").code == 0


def test_a_run_is_not_resumed_on_another_text(invoke: Invoke, run: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text(TALE_TEXT + TALE_TEXT)
    assert_one_line(invoke("train", "other.txt", "--resume", run), 1, "other.txt")


def test_a_run_on_stdin_is_resumed_when_its_text_is_given_again(invoke: Invoke) -> None:
    assert invoke("train", "-", *TINY, stdin=TALE_TEXT.encode()).code == 0
    assert_one_line(invoke("train", "--resume", "checkpoints/stdin"), 2, "stdin", "again")
    again = invoke("train", "-", "--resume", "checkpoints/stdin", "--steps", "11", stdin=TALE_TEXT.encode())
    assert (again.code, again.stdout) == (0, "checkpoints/stdin/best.safetensors\n")


def test_only_a_run_can_be_resumed(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_one_line(invoke("train", "--resume", "empty"), 1, "empty", "last.safetensors")
    assert_one_line(invoke("train", "--resume", "nowhere"), 1, "nowhere")
    assert_one_line(invoke("train", "--resume", "latest"), 1, "checkpoints")


# -- sample ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def sample(invoke: Invoke, trained: Path) -> Invoke:
    return lambda *arguments, **others: invoke("sample", "-c", trained, *arguments, **others)


def ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_sample_is_the_prompt_and_exactly_n_new_characters(sample: Invoke, terminal: bool) -> None:
    (record,) = lines(sample("-p", "The fox", "-n", "37", "--seed", "1", "--json").stdout)
    assert len(record["text"]) == 37
    result = sample("-p", "The fox", "-n", "37", "--seed", "1", terminal=terminal)
    assert (result.code, result.stdout) == (0, ended("The fox" + record["text"]))


def test_a_sample_is_500_characters_long_unless_told(sample: Invoke) -> None:
    assert len(lines(sample("--json").stdout)[0]["text"]) == 500


def test_no_echo_leaves_the_prompt_out(sample: Invoke) -> None:
    echoed = sample("-p", "The fox", "-n", "20", "--seed", "1").stdout
    assert "The fox" + sample("-p", "The fox", "-n", "20", "--seed", "1", "--no-echo").stdout == echoed


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("prompt", ["The crow", "The crow\n", "\n"])
def test_a_prompt_comes_from_the_command_line_a_file_or_stdin_alike(
    sample: Invoke, tmp_path: Path, prompt: str, end: str
) -> None:
    """Files and `echo` end with a newline that nobody means: one is dropped, as `$(...)` does, unless it is to be kept."""
    (tmp_path / "prompt").write_text(prompt + end, newline="")
    common = ("-n", "20", "--seed", "1")
    read = (prompt + end).replace("\r\n", "\n")
    for options, meant in (((), read.removesuffix("\n")), (("--keep-newline",), read)):
        expected = sample("--prompt", meant, *common).stdout
        assert expected.startswith(meant)
        assert sample("--prompt-file", "prompt", *common, *options).stdout == expected
        assert sample("--prompt", "-", *common, *options, stdin=(prompt + end).encode()).stdout == expected


@pytest.mark.parametrize("typed", ["The fo", "The fo\n", "The fo\n\n"])
def test_every_prompt_on_stdin_loses_one_newline_and_no_text_does(invoke: Invoke, tmp_path: Path, typed: str) -> None:
    meant, stdin = typed.removesuffix("\n"), typed.encode()
    network(tmp_path / "net")
    options = ("-c", "net", "--json", "-q")
    for kept, read in ((("--keep-newline",), typed), ((), meant)):
        (asked,) = lines(invoke("next", "-", *options, *kept, stdin=stdin).stdout)
        assert asked["prompt"] == read
        assert lines(invoke("inspect", "-", *options, *kept, stdin=stdin).stdout)[0]["text"] == read
        (held,) = lines(invoke("inspect", "--contribution", "-", *options, *kept, stdin=stdin).stdout)
        assert "".join(held["characters"]) == read
        assert lines(invoke("inspect", "--file", "-", *options, *kept, stdin=stdin).stdout)[0]["text"] == typed
    assert lines(invoke("next", typed, *options).stdout)[0]["prompt"] == typed
    assert lines(invoke("score", "-", *options, stdin=stdin).stdout)[0]["characters"] == len(typed)


def test_a_network_of_bytes_drops_a_whole_line_end(invoke: Invoke, tmp_path: Path) -> None:
    network(tmp_path / "bytes", level="byte")
    for stdin, read in ((b"a\r\n", "a"), (b"a\n", "a"), (b"a\r", "a\r"), (b"a\r\n\r\n", "a\r\n")):
        assert lines(invoke("next", "-", "-c", "bytes", "--json", stdin=stdin).stdout)[0]["prompt"] == read
        assert lines(invoke("inspect", "-", "-c", "bytes", "--json", stdin=stdin).stdout)[0]["text"] == read


def test_a_prompt_changes_what_follows(sample: Invoke) -> None:
    texts = {sample("-p", prompt, "-n", "40", "--seed", "1", "--no-echo").stdout for prompt in ("The", "crow's", "\n\n")}
    assert len(texts) == 3


def test_two_prompts_are_a_usage_error(sample: Invoke) -> None:
    assert_one_line(sample("-p", "x", "--prompt-file", "y"), 2, "--prompt", "--prompt-file")


@pytest.mark.parametrize("options", [("--prompt-file", "latin"), ("-p", "-")])
def test_a_prompt_that_is_no_utf8_is_an_expected_failure(sample: Invoke, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    assert_one_line(sample(*options, stdin=b"caf\xe9"), 1, "byte 3", "UTF-8")


def test_the_same_seed_gives_the_same_text_and_another_seed_another(sample: Invoke) -> None:
    first, again, other = (sample("-n", "60", "--seed", seed) for seed in ("1", "1", "2"))
    assert first.stdout == again.stdout != other.stdout
    assert first.stderr == ""


def test_without_a_seed_a_fresh_one_is_drawn_and_named(sample: Invoke) -> None:
    runs = [sample("-n", "60") for _ in range(2)]
    seeds = [re.fullmatch(r"charrnn: seed (\d+)\n", result.stderr)[1] for result in runs]  # type: ignore[index]
    assert seeds[0] != seeds[1]
    assert [sample("-n", "60", "--seed", seed).stdout for seed in seeds] == [result.stdout for result in runs]


def test_temperature_0_needs_no_luck(sample: Invoke) -> None:
    (text,) = {sample("-n", "60", "--temp", "0", "--seed", seed).stdout for seed in "123"}
    assert len(text) in (60, 61)  # A text that doesn't end its line gets a line end.


def test_the_likeliest_character_alone_is_temperature_0(sample: Invoke) -> None:
    greedy = sample("-n", "60", "--temp", "0").stdout
    assert len(greedy) in (60, 61)
    assert sample("-n", "60", "--top-k", "1").stdout == greedy
    assert sample("-n", "60", "--top-p", "1e-9").stdout == greedy


def test_temperature_is_the_long_name_of_temp(sample: Invoke) -> None:
    short, long = (sample("-n", "60", "--seed", "1", option, "3.5") for option in ("--temp", "--temperature"))
    assert short.stdout == long.stdout != sample("-n", "60", "--seed", "1").stdout


@pytest.mark.parametrize("temperature", ["1e-320", "1e-300", "1e300"])
def test_extreme_temperatures_give_text_and_no_complaint(sample: Invoke, temperature: str) -> None:
    result = sample("-n", "20", "--seed", "1", "--temp", temperature)
    assert (result.code, result.stderr) == (0, "")
    assert len(result.stdout) in (20, 21)
    assert set(result.stdout) <= set(TALE_TEXT)


def test_a_json_sample_is_one_object_of_the_contract(sample: Invoke) -> None:
    (record,) = lines(sample("-p", "The", "-n", "9", "--seed", "5", "--json").stdout)
    assert set(record) >= {"index", "text", "prompt", "seed", "characters", "finish_reason"}
    assert (record["index"], record["prompt"], record["seed"], record["characters"]) == (0, "The", 5, 9)
    assert record["finish_reason"] == "length"


def test_prompt_characters_the_network_does_not_know_are_replaced_and_named(sample: Invoke) -> None:
    result = sample("-p", "“Thé fox’s 😀—”", "-n", "0", "--json", "--seed", "1")
    assert lines(result.stdout)[0]["prompt"] == '"The fox\'s \ufffd-"'
    assert result.stderr.count("\n") == 1
    for character in "“é’😀—”":
        assert character in result.stderr
    assert "unknown" in result.stderr


def test_a_prompt_of_nothing_but_unknown_characters_does_not_crash(sample: Invoke) -> None:
    result = sample("-p", "\x01漢", "-n", "10", "--seed", "1", "--no-echo")
    assert result.code == 0
    assert len(result.stdout) in (10, 11)


def test_the_unknown_character_is_never_generated(invoke: Invoke, tmp_path: Path) -> None:
    # Every third character is a rare one: "unknown" is the likeliest symbol by far.
    rare = "".join(f"a{chr(0x4E00 + number)}{chr(0x5E00 + number)}" for number in range(300))
    run = train_into(tmp_path / "rare", rare, "--min-count", "2", "--steps", "30", "--lr", "0.05")
    for temperature in ("0", "1", "100"):
        result = invoke("sample", "-c", run, "-n", "100", "--temp", temperature, "--seed", "1")
        assert result.stdout == "a" * 100 + "\n"


def test_a_vocabulary_of_nothing_known_is_refused_before_training(invoke: Invoke, tale: Path, tmp_path: Path) -> None:
    assert_one_line(invoke("train", tale, *TINY, "--min-count", "100000"), 1, "--min-count")
    assert files(tmp_path) == ["tale.txt"]


def test_n_0_prints_the_prompt_alone(sample: Invoke) -> None:
    assert sample("-p", "The fox", "-n", "0", "--seed", "1").stdout == "The fox\n"
    assert sample("-n", "0", "--seed", "1").stdout.strip() == ""
    assert lines(sample("-n", "0", "--json").stdout)[0]["text"] == ""


def test_a_byte_network_writes_whole_characters(charrnn: Invoke, trained_on_bytes: Path) -> None:
    done = charrnn("sample", "-c", trained_on_bytes, "-n", "90", "-p", "é漢", "--temp", "0.1", "--seed", "1")
    assert done.returncode == 0
    assert done.stdout.decode("utf-8").startswith("é漢")
    assert len(done.stdout) >= len("é漢".encode()) + 90


def test_a_prompt_that_is_no_utf8_is_one_clear_error(charrnn: Invoke, trained_on_bytes: Path) -> None:
    done = charrnn("sample", "-c", trained_on_bytes, "-n", "9", "-p", os.fsdecode(b"\xff"), "--json", "--seed", "1")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"charrnn: --prompt: byte 0 is not valid UTF-8 text\n"


def test_a_checkpoint_is_named_by_its_file_or_its_run(invoke: Invoke, trained: Path) -> None:
    common = ("-n", "50", "--seed", "1")
    by_file, by_run = (invoke("sample", "-c", path, *common) for path in (trained / "best.safetensors", trained))
    assert by_file.stdout == by_run.stdout != ""
    assert invoke("sample", "--checkpoint", trained / "last.safetensors", *common).code == 0


def test_the_default_is_the_most_recent_network_by_its_own_header(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "checkpoints"
    root.mkdir()
    for name, text, seconds in (("a", "ab", 1e9), ("b", "xy", 2e9), ("c", "pq", 1.5e9)):
        saved_at(train_into(root / name, text * 50) / "best.safetensors", seconds, monkeypatch)
    os.utime(root / "a/best.safetensors", (3e9, 3e9))
    (root / "broken").mkdir()
    (root / "broken/best.safetensors").write_bytes(b"\x00" * 100)
    assert set(invoke("sample", "-n", "40", "-q").stdout) == set("xy\n")


# -- info -----------------------------------------------------------------------------------------------------------


def test_info_describes_a_checkpoint(invoke: Invoke, trained: Path) -> None:
    of_file, of_run = (invoke("info", path) for path in (trained / "best.safetensors", trained))
    assert of_file.code == 0
    assert of_file.stdout == of_run.stdout
    facts = dict(re.split(r" {2,}", line, maxsplit=1) for line in of_file.stdout.splitlines())
    assert (facts["cell"], facts["layers"], facts["hidden size"], facts["corpus"]) == ("lstm", "1", "16", "tale")
    assert facts["path"] == str(trained / "best.safetensors")


def test_info_json_holds_the_facts_of_the_file(invoke: Invoke, trained: Path) -> None:
    (facts,) = lines(invoke("info", trained, "--json").stdout)
    found = checkpoint.read(trained / "best.safetensors")
    assert facts["parameters"] == sum(weights.size for weights in found.weights.values())
    assert facts["val_bits_per_char"] == found.training["val_bits_per_char"]
    assert (facts["path"], facts["cell"], facts["step"]) == (str(trained / "best.safetensors"), "lstm", 10)


def test_info_latest_is_the_network_that_sample_takes(invoke: Invoke, tmp_path: Path) -> None:
    network(tmp_path / "checkpoints" / "older")
    network(tmp_path / "checkpoints" / "newer")
    assert json.loads(invoke("info", "latest", "--json").stdout)["path"] == "checkpoints/newer/best.safetensors"
    network(tmp_path / "latest")  # A run of that name comes before the word.
    assert json.loads(invoke("info", "latest", "--json").stdout)["path"] == "latest/best.safetensors"


def test_info_lists_every_run_under_a_directory(invoke: Invoke, run: Path) -> None:
    shutil.copytree(run, run.parent / "deeper/one")
    listed = invoke("info")
    assert listed.stdout.split()[:7] == ["path", "cell", "size", "parameters", "corpus", "bits/char", "when"]
    expected = ["checkpoints/deeper/one/best.safetensors", "checkpoints/tale/best.safetensors"]
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == expected
    assert [facts["path"] for facts in lines(invoke("info", "checkpoints", "--json").stdout)] == expected


def test_info_names_a_broken_checkpoint_and_lists_the_others(invoke: Invoke, run: Path) -> None:
    (run.parent / "bad").mkdir()
    (run.parent / "bad/best.safetensors").write_bytes(b"nothing")
    result = invoke("info")
    assert result.code == 0
    assert len(result.stdout.splitlines()) == 2
    assert "bad/best.safetensors" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="no file can have such a name there")
def test_info_shows_names_with_line_breaks_on_one_line(invoke: Invoke, tmp_path: Path) -> None:
    network(tmp_path / "checkpoints/two\nlines\tand a tab")
    _, row = invoke("info").stdout.splitlines()
    assert row.count("two\\nlines\\tand a tab") == 2
    one = invoke("info", "checkpoints/two\nlines\tand a tab").stdout.splitlines()
    assert [line.split()[0] for line in one][:3] == ["path", "cell", "layers"]
    assert invoke("info", "--json").stdout.count("\n") == 1


def test_an_entropy_is_never_minus_zero(invoke: Invoke, tmp_path: Path) -> None:
    model = ModelConfig(2, embedding_size=2, hidden_size=3)
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in model.parameter_shapes().items()}
    weights["head.bias"][:] = [2000, -2000]
    (tmp_path / "sure").mkdir()
    checkpoint.write(tmp_path / "sure/best.safetensors", Checkpoint(model, Vocabulary("char", "a"), {}, weights))
    for ask in (("next", "a"), ("inspect", "aaa"), ("score", "-", "--per-char")):
        assert "-0.0" not in invoke(*ask, "-c", "sure", "--json", stdin=b"aaa").stdout


@pytest.mark.skipif(os.name == "nt", reason="rights are kept elsewhere there")
def test_a_run_keeps_the_rights_that_its_checkpoints_were_given(invoke: Invoke, run: Path) -> None:
    saved = [run / "best.safetensors", run / "last.safetensors"]
    before = [path.stat().st_mtime_ns for path in saved]
    for path in saved:
        path.chmod(0o600)
    assert invoke("train", "--resume", run, "--steps", "30").code == 0
    assert [path.stat().st_mode & 0o777 for path in saved] == [0o600, 0o600]
    assert before != [path.stat().st_mtime_ns for path in saved]


def test_info_on_a_directory_without_runs_says_so(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = invoke("info", "empty")
    assert (result.code, result.stdout) == (0, "")
    assert "empty" in result.stderr
    assert "train one by charrnn train FILE, or name where they are: charrnn info DIR" in result.stderr


# -- usage errors ---------------------------------------------------------------------------------------------------

WORDS = ["nan", "inf", "-inf", "1e999", "ten", "", "0x10", "1,5", "\x1b[31m5", "5\n6"]
ABOVE_0, AT_LEAST_0, BELOW_1 = ("above 0", ["0", "-1", "-1e-9"]), ("at least 0", ["-1e-9", "-5"]), ("below 1", ["1", "1.5"])
AT_MOST_1 = ("at most 1", ["1.001", "50"])


def whole(low: int, high: int = 10**15) -> list[tuple[str, list[str]]]:
    """The bounds of a whole number and values outside them."""
    below = (f"at least {low}", [str(low - 1), "-7", "1.5", "1e3"])
    return [below, (f"at most {high:,}", [str(high + 1), "9" * 400, "9" * 5000])]


TRAIN_LIMITS = {
    "--hidden-size": whole(1, 65536),
    "--layers": whole(1, 64),
    "--embedding-size": whole(1, 65536),
    "--batch-size": whole(1, 1 << 20),
    "--bptt": whole(1, 1 << 20),
    "--groups": whole(1, 1 << 20),
    "--seed": whole(0, 2**63 - 1),
    "--steps": whole(1),
    "--min-count": whole(1),
    "--pairs": whole(0, 2000),
    "--eval-every": whole(1),
    "--log-every": whole(1),
    "--epochs": [ABOVE_0],
    "--minutes": [ABOVE_0],
    "--lr": [ABOVE_0],
    "--grad-clip": [ABOVE_0],
    "--save-every": [ABOVE_0],
    "--weight-decay": [AT_LEAST_0],
    "--dropout": [AT_LEAST_0, BELOW_1],
    "--dropout-input": [AT_LEAST_0, BELOW_1],
    "--dropout-between": [AT_LEAST_0, BELOW_1],
    "--dropout-output": [AT_LEAST_0, BELOW_1],
    "--workers": whole(1, 1024),
    "--average-every": whole(1),
    "--val-fraction": [AT_LEAST_0, BELOW_1],
    "--val-seed": whole(0, 2**63 - 1),
}
SAMPLE_LIMITS = {
    "--temp": [AT_LEAST_0],
    "--temperature": [AT_LEAST_0],
    "-n": whole(-1),
    "--length": whole(-1),
    "--lines": whole(1),
    "--top-k": whole(1),
    "--typical": [ABOVE_0, AT_MOST_1],
    "--top-p": [ABOVE_0, AT_MOST_1],
    "--min-p": [AT_LEAST_0, AT_MOST_1],
    "--repetition-penalty": [("at least 1e-30", ["0", "-1", "9e-31"]), ("at most 1e+30", ["1.1e30", "1e300"])],
    "--repetition-window": whole(1, 1 << 20),
    "-N": whole(1),
    "--num-samples": whole(1),
    "--best-of": whole(1),
    "--seed": whole(0, 2**63 - 1),
}
BENCH_LIMITS = {"--seconds": [("at least 1", ["0.5", "-1"]), ("at most 1,000,000", ["1e7"])], "--rounds": whole(1, 1000)}


@pytest.mark.parametrize(
    ("command", "option", "bounds"),
    [
        *(("train", *item) for item in TRAIN_LIMITS.items()),
        *(("sample", *item) for item in SAMPLE_LIMITS.items()),
        *(("bench", *item) for item in BENCH_LIMITS.items()),
    ],
)
def test_a_number_outside_its_interval_is_one_line_with_the_interval_and_leaves_nothing(
    invoke: Invoke, tale: Path, tmp_path: Path, command: str, option: str, bounds: list[tuple[str, list[str]]]
) -> None:
    arguments = ["train", "tale.txt"] if command == "train" else [command]
    for value in [*WORDS, *(value for _, values in bounds for value in values)]:
        result = invoke(*arguments, option, value)
        assert_one_line(result, 2, "--help", *(phrase for phrase, _ in bounds))
        assert len(result.stderr) < 300
    assert os.listdir(tmp_path) == ["tale.txt"]


def test_the_numeric_options_are_all_tried_here() -> None:
    from charrnn.config import BenchConfig, ModelConfig, SampleConfig, TrainConfig
    from charrnn.declaration import limits_of, option_name
    from charrnn.limits import Interval

    tables = ((TRAIN_LIMITS, (ModelConfig, TrainConfig)), (SAMPLE_LIMITS, (SampleConfig,)), (BENCH_LIMITS, (BenchConfig,)))
    for listed, configs in tables:
        numeric = {
            option_name(name)
            for config in configs
            for name in config.__dataclass_fields__
            if isinstance(limits_of(config, name), Interval) and name not in ("vocab_size", "temperature_end")
        }
        assert set() < numeric <= listed.keys()


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("--cell", list(GATES)),
        ("--level", ["char", "byte"]),
        ("--optimizer", list(OPTIMIZERS)),
        ("--device", ["auto", "cpu", "cuda", "mps"]),
        ("--precision", ["auto", "fp32", "bf16", "fp16"]),
    ],
)
def test_a_choice_that_is_none_is_one_line_with_the_choices(
    invoke: Invoke, tale: Path, tmp_path: Path, option: str, choices: list[str]
) -> None:
    for value in ("tape", "", choices[0] + "s"):
        assert_one_line(invoke("train", tale, option, value), 2, option, "--help", *choices)
    assert os.listdir(tmp_path) == ["tale.txt"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train", "tale.txt", "--hiden-size", "5"], ["--hiden-size", "--hidden-size"]),
        (["sample", "--bogus"], ["--bogus"]),
        (["info", "-z"], ["-z"]),
        (["--bogus"], ["--bogus"]),
        (["trane", "tale.txt"], ["trane"]),
        (["sample", "stray"], ["stray"]),
        (["info", "a", "stray"], ["stray"]),
        (["train", "tale.txt", "--steps"], ["--steps"]),
        (["sample", "-n"], ["-n"]),
        (["train", "--steps", "5"], ["file"]),
        (["train", "tale.txt", "--steps", "5", "--epochs", "1"], ["--steps", "--epochs"]),
        (["train", "tale.txt", "--encoding", "klingon"], ["--encoding", "klingon"]),
        (["train", "-", "-"], ["twice"]),
        (["train", "tale.txt", "--device", "cpu", "--precision", "fp16"], ["fp16", "cuda"]),
        (["train", "tale.txt", "--average-every", "2"], ["--average-every", "torchrun"]),
        (["train", "tale.txt", "--average-every", "2", "--members", "2"], ["--average-every", "--members"]),
    ],
)
def test_a_request_that_cannot_work_is_one_line_and_leaves_nothing(
    invoke: Invoke, tale: Path, tmp_path: Path, arguments: list[str], parts: list[str]
) -> None:
    assert_one_line(invoke(*arguments), 2, "--help", *parts)
    assert os.listdir(tmp_path) == ["tale.txt"]


def test_nothing_to_do_shows_the_help_and_no_empty_complaint(invoke: Invoke) -> None:
    result = invoke()
    assert (result.code, result.stderr) == (2, "")
    assert "Usage: charrnn" in result.stdout


# -- expected failures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["train", "gone"], ["sample", "-c", "gone"], ["info", "gone"], ["sample", "--prompt-file", "gone"]],
)
def test_a_missing_file_is_one_line_with_its_name(invoke: Invoke, run: Path, tmp_path: Path, arguments: list[str]) -> None:
    before = files(tmp_path)
    assert_one_line(invoke(*arguments), 1, "gone")
    assert files(tmp_path) == before


def test_without_any_network_sample_says_how_to_get_one(invoke: Invoke, tmp_path: Path) -> None:
    assert_one_line(invoke("sample"), 1, "checkpoints", "charrnn train")
    assert files(tmp_path) == []


def test_a_directory_without_a_checkpoint_is_no_checkpoint(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_one_line(invoke("sample", "-c", "empty"), 1, "empty", "best.safetensors")


BROKEN = {
    "empty": lambda good: b"",
    "short": lambda good: good[:5],
    "cut": lambda good: good[:-7],
    "longer": lambda good: good + b"\x00",
    "zeros": lambda good: b"\x00" * 1000,
    "text": lambda good: b"<!DOCTYPE html>" * 100,
    "pickle": lambda good: pickle.dumps({"weights": [1.0] * 100}),
    "another program's": lambda good: good.replace(b'"charrnn"', b'"notours"'),
    "from the future": lambda good: re.sub(rb'"version":"\d"', b'"version":"9"', good),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_checkpoint_is_one_line_with_its_name(invoke: Invoke, trained: Path, tmp_path: Path, kind: str) -> None:
    good = (trained / "last.safetensors").read_bytes()
    broken = BROKEN[kind](good)
    assert broken != good
    (tmp_path / "bad.safetensors").write_bytes(broken)
    for command in (["sample", "-c"], ["info"], ["train", "--resume"]):
        assert_one_line(invoke(*command, "bad.safetensors"), 1, "bad.safetensors")


def test_a_device_that_is_not_there_is_one_line_and_leaves_nothing(invoke: Invoke, tale: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    assert_one_line(invoke("train", tale, *TINY, "--device", "cuda"), 1, "cuda", "cpu")
    assert os.listdir(tmp_path) == ["tale.txt"]


@pytest.mark.parametrize(("text", "part"), [(b"", "no text"), (b"x", "single"), (b"abc\xffdef" * 9, "byte 3")])
def test_a_text_that_cannot_be_used_is_one_line_and_leaves_nothing(
    invoke: Invoke, tmp_path: Path, text: bytes, part: str
) -> None:
    (tmp_path / "bad.txt").write_bytes(text)
    assert_one_line(invoke("train", "bad.txt", *TINY), 1, "bad.txt", part)
    assert os.listdir(tmp_path) == ["bad.txt"]


def test_errors_are_shown_also_when_quiet(invoke: Invoke) -> None:
    assert_one_line(invoke("sample", "-q"), 1)
    assert_one_line(invoke("train", "gone", "-q"), 1)


# -- the program ----------------------------------------------------------------------------------------------------


def test_the_program_runs_as_a_module_and_tells_its_version(charrnn: Invoke) -> None:
    done = charrnn("--version")
    assert (done.returncode, done.stderr) == (0, b"")
    import torch

    said = re.fullmatch(r"charrnn (\S+) \(torch (\S+), Python (\S+)\)\n", done.stdout.decode())
    assert said
    assert said.group(1, 3) == (__version__, platform.python_version())
    assert torch.__version__.startswith(said[2])  # A build may add its kind (+cu130) to what its package is called.


def test_a_failing_process_exits_with_the_documented_code_and_one_line(charrnn: Invoke) -> None:
    for arguments, code in ((["sample"], 1), (["sample", "--temp", "hot"], 2)):
        done = charrnn(*arguments)
        assert (done.returncode, done.stdout) == (code, b"")
        assert re.fullmatch(rb"charrnn: [^\n]+\n", done.stderr)


def test_a_usage_error_points_to_the_help_of_its_command(invoke: Invoke) -> None:
    assert_one_line(invoke("sample", "--temp", "hot"), 2, "(see charrnn sample --help)")
    assert_one_line(invoke("next", "--top", "0"), 2, "(see charrnn next --help)")
    assert_one_line(invoke("--nonsense"), 2, "(see charrnn --help)")


def test_help_whose_reader_went_away_ends_silently() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-m", "charrnn", "sample", "--help"]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
