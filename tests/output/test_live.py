"""A training run as it is shown: a live picture only where somebody looks, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Stream

from charrnn.output.console import Console
from charrnn.output.live import LiveView, PlainView, TrainingView, training_view

BARS = "▁▂▃▄▅▆▇█"
TINY = ("--hidden-size", "16", "--steps", "10", "--eval-every", "5", "--log-every", "1")
GATES = {"i": 0.11, "f": 0.92, "g": 0.33, "o": 0.44}


def start(**other: object) -> dict[str, Any]:
    config = {"model": {"cell": "lstm", "num_layers": 1, "hidden_size": 16}}
    return {
        "event": "start",
        "corpus": "tale",
        "characters": 2000,
        "train_characters": 1800,
        "val_characters": 200,
        "vocab_size": 30,
        "parameters": 12345,
        "device": "cpu",
        "precision": "fp32",
        "run_dir": "checkpoints/tale",
        "config": config,
    } | other


def step(number: int, seconds: float, bits: float = 3.25) -> dict[str, Any]:
    return {
        "event": "step",
        "step": number,
        "steps": 400,
        "epoch": 1.5,
        "seconds": seconds,
        "bits_per_char": bits,
        "learning_rate": 0.004,
        "grad_norm": 0.75,
        "chars_per_second": 54321.0,
    }


def evaluation(bits: float | None = 2.875, *, best: bool = True, seconds: float = 30.0) -> dict[str, Any]:
    hidden = [{"mean_abs": 0.25, "saturated": 0.5, "still": 0.125, "gates": GATES}]
    return {"event": "eval", "step": 100, "seconds": seconds, "val_bits_per_char": bits, "best": best, "hidden": hidden}


def sample(text: str) -> dict[str, Any]:
    return {"event": "sample", "step": 100, "text": text}


def warning(text: str) -> dict[str, Any]:
    return {"event": "warning", "text": text}


def end(reason: str = "finished", bits: float | None = 2.875) -> dict[str, Any]:
    return {
        "event": "end",
        "step": 400,
        "epochs": 6.0,
        "seconds": 125.0,
        "best_val_bits_per_char": bits,
        "chars_per_second": 54321.0,
        "best_path": "checkpoints/tale/best.safetensors",
        "reason": reason,
    }


RUN = [start(), step(1, 0.0), step(100, 30.0, 2.5), evaluation(), sample("the crow\nand the fox"), end()]


@pytest.fixture(autouse=True)
def _a_known_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "50"}.items():
        monkeypatch.setenv(name, value)


def shown(events: list[dict[str, Any]], *, terminal: bool = False, as_json: bool = False, quiet: bool = False) -> Console:
    console = Console(Stream(), Stream(terminal=terminal), quiet=quiet)
    with training_view(console, as_json=as_json) as view:
        for event in events:
            view.show(event)
    return console


def stderr_of(events: list[dict[str, Any]], *, terminal: bool = False) -> str:
    return shown(events, terminal=terminal).stderr.getvalue()  # type: ignore[attr-defined]


def without_escapes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def last_picture(text: str) -> str:
    return "╭" + without_escapes(text).rpartition("╭")[2]


@pytest.mark.parametrize(
    ("terminal", "quiet", "term", "expected"),
    [
        (True, False, "xterm", LiveView),
        (False, False, "xterm", PlainView),
        (True, False, "dumb", PlainView),
        (True, True, "xterm", TrainingView),
        (False, True, "xterm", TrainingView),
    ],
)
def test_the_display_is_live_where_stderr_is_a_terminal_that_can_and_nobody_asked_for_quiet(
    terminal: bool, quiet: bool, term: str, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    console = Console(Stream(), Stream(terminal=terminal), quiet=quiet)
    for as_json in (False, True):
        with training_view(console, as_json=as_json) as view:
            assert type(view) is expected


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("quiet", [True, False])
def test_json_lines_are_the_events_and_nothing_else_whatever_stderr_is(terminal: bool, quiet: bool) -> None:
    console = shown(RUN, terminal=terminal, as_json=True, quiet=quiet)
    assert [json.loads(line) for line in console.stdout.getvalue().splitlines()] == RUN  # type: ignore[attr-defined]


@pytest.mark.parametrize("terminal", [True, False])
def test_without_json_no_view_writes_to_stdout(terminal: bool) -> None:
    assert shown(RUN, terminal=terminal).stdout.getvalue() == ""  # type: ignore[attr-defined]


def test_a_quiet_run_says_nothing() -> None:
    assert shown([*RUN[:-1], warning("look"), end()], quiet=True).stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_plain_lines_tell_the_run_without_escapes() -> None:
    lines = stderr_of([*RUN[:-1], warning("look\x1b"), end()]).splitlines()
    assert len(lines) == 6
    for part in ("lstm 1 x 16", "12,345 parameters", "tale", "1,800 + 200", "cpu", "checkpoints/tale"):
        assert part in lines[0]
    for part in ("0:30", "100/400", "2.500 bits/char", "54,321 chars/s"):
        assert part in lines[2]
    for part in ("validation 2.875 bits/char", "best"):
        assert part in lines[3]
    assert lines[4] == "charrnn: warning: look\u241b"
    for part in ("finished", "400 steps", "2:05", "2.875"):
        assert part in lines[5]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", "".join(lines))


def test_plain_lines_show_a_step_about_every_ten_seconds() -> None:
    said = stderr_of([step(number, float(number)) for number in range(26)])
    assert re.findall(r"step (\d+)/400", said) == ["0", "10", "20"]


def test_plain_lines_advise_once_until_there_is_something_else_to_say() -> None:
    advised = [
        "layer 0: 39% saturated: lower --lr",
        "layer 0: 40.5% saturated: lower --lr",
        None,
        "layer 0: 9% saturated: lower --lr",
    ]
    said = stderr_of([{**evaluation(None, best=False), "advice": advice} for advice in [*advised, "train shorter"]])
    assert said.splitlines() == [f"charrnn: advice: {advice}" for advice in (advised[0], advised[3], "train shorter")]


def test_one_step_is_no_steps() -> None:
    assert stderr_of([{**end(bits=None), "step": 1}]).startswith("finished after 1 step (")


def test_plain_lines_say_nothing_of_an_evaluation_without_validation_text() -> None:
    assert stderr_of([evaluation(None, best=False)]) == ""
    assert stderr_of([{**evaluation(None, best=False), "advice": "lower --lr"}]) == "charrnn: advice: lower --lr\n"
    assert "None" not in stderr_of([end(bits=None)])


def test_plain_lines_call_only_an_improvement_the_best() -> None:
    assert "best" not in stderr_of([evaluation(3.5, best=False)])


def test_the_live_picture_shows_progress_losses_and_hidden_states() -> None:
    picture = last_picture(stderr_of(RUN, terminal=True))
    assert any(bar in picture for bar in BARS)
    for part in (
        "100%",
        "2.500",
        "2.875",
        "400 of 400 (epoch 6.00)",
        "54,321 chars/s",
        "learning rate 0.004",
        "gradient norm 0.75",
    ):
        assert part in re.sub(r" +", " ", picture)
    for part in ("mean |h|", "saturated", "still", "0.25", "50%", "12%", "0.11", "0.92", "0.33", "0.44"):
        assert part in picture
    assert "the crow↵and the fox" in picture


def test_the_live_picture_tells_progress_and_the_time_left() -> None:
    # A quarter of the steps took 30 seconds, so 90 are left.
    picture = last_picture(stderr_of(RUN[:3], terminal=True))
    assert "25%" in picture
    assert "0:30, 1:30 left" in picture


def test_the_live_curve_falls_with_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "10")  # too few for a chart
    picture = last_picture(stderr_of([step(n, float(n), 8.0 - n) for n in range(1, 8)], terminal=True))
    assert "".join(c for c in picture if c in BARS) == "█▇▆▅▃▂▁"  # 6/6 5/6 4/6 3/6 2/6 1/6 0/6 of seven steps upwards


def test_the_live_display_says_a_warning_and_how_it_ended() -> None:
    text = without_escapes(stderr_of([*RUN[:-1], warning("look here"), end("interrupted")], terminal=True))
    assert "charrnn: warning: look here" in text
    assert "interrupted after 400 steps" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_no_control_character_of_a_text_reaches_the_terminal_raw(terminal: bool) -> None:
    nasty = "\x1b]0;owned\x07\x9b2J\x7f\x08"
    events = [start(corpus=nasty, run_dir=nasty), step(1, 0.0), evaluation(), sample(nasty), warning(nasty), end()]
    text = stderr_of(events, terminal=terminal)
    assert not re.search(r"\x1b\]|[\x07\x08\x7f-\x9f]", text)
    assert "\u241b]0;owned\u2407" in text


def test_square_brackets_of_a_text_are_no_markup_in_the_live_display() -> None:
    events = [start(corpus="[red]tale[/red]"), step(1, 0.0), sample("[bold]x[/]"), warning("[blue]w[/nonsense]")]
    text = without_escapes(stderr_of(events, terminal=True))
    for part in ("[red]tale[/red]", "[bold]x[/]", "[blue]w[/nonsense]"):
        assert part in text


def test_the_live_display_gives_the_cursor_back_also_after_a_failure() -> None:
    console = Console(Stream(), Stream(terminal=True))
    with contextlib.suppress(RuntimeError), training_view(console, as_json=False) as view:
        view.show(step(1, 0.0))
        raise RuntimeError
    written = console.stderr.getvalue()  # type: ignore[attr-defined]
    assert -1 < written.rfind("\x1b[?25l") < written.rfind("\x1b[?25h")


def test_no_color_is_honoured_by_the_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    colour = r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7])(?:;\d+)*m"
    assert re.search(colour, stderr_of(RUN, terminal=True))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(colour, stderr_of(RUN, terminal=True))


@pytest.mark.parametrize("width", ["1", "10", "24", "40", "300"])
def test_the_live_display_fits_a_terminal_of_any_width(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    picture = stderr_of(RUN[1:-1], terminal=True)
    if int(width) >= 10:
        lines = re.split(r"[\r\n]", without_escapes(picture))
        assert max(map(len, lines)) <= int(width)
        # Room for the ^C that a terminal echoes.
        assert max(len(line) for line in lines if line[:1] in "\u256d\u2502\u2570") == int(width) - 2


@pytest.mark.parametrize(
    "events",
    [
        [start(), end("interrupted", None)],
        [start(), evaluation(None, best=False), step(1, 1.0), end(bits=None)],
        [start(), step(400, 100.0), end()],
        [start(), step(500, 100.0), end("diverged")],
    ],
)
@pytest.mark.parametrize("terminal", [True, False])
def test_a_run_of_any_shape_can_be_shown(events: list[dict[str, Any]], terminal: bool) -> None:
    text = stderr_of(events, terminal=terminal)
    assert f"{events[-1]['reason']} after 400 steps" in text
    assert "None" not in text


# -- the whole program ----------------------------------------------------------------------------------------------


@pytest.fixture
def tale(tmp_path: Path) -> Path:
    """A text with terminal controls in it."""
    path = tmp_path / "tale.txt"
    path.write_text("a\x07\x9b\x1b]\n" * 100, encoding="utf-8")
    return path


@pytest.mark.parametrize("options", [(), ("--json",), ("-q",)])
def test_training_in_a_pipe_writes_no_escape_codes(invoke: Callable[..., Any], tale: Path, options: tuple[str, ...]) -> None:
    result = invoke("train", tale, *TINY, *options)
    assert result.code == 0
    assert not re.search(r"[\x07\x1b]", result.stdout)
    assert not re.search(r"[\x07\x1b\x9b\r]", result.stderr)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_training_on_a_terminal_shows_a_live_picture_and_no_control_character_of_the_text(
    invoke: Callable[..., Any], tale: Path, options: tuple[str, ...]
) -> None:
    result = invoke("train", tale, *TINY, *options, terminal=True)
    assert result.code == 0
    assert "\x1b[" in result.stderr
    assert "\x1b" not in result.stdout
    assert not re.search(r"\x1b\]|[\x07\x9b]", result.stderr)
    picture = last_picture(result.stderr)
    for part in ("100%", "1 train, 2 validation", "bits/char", "chars/s", "learning rate", "mean |h|", "sample"):
        assert part in picture


def test_quiet_training_prints_the_path_alone(invoke: Callable[..., Any], tale: Path) -> None:
    result = invoke("train", tale, *TINY, "-q", terminal=True)
    assert (result.stdout, result.stderr) == ("checkpoints/tale/best.safetensors\n", "")


def test_plain_lines_tell_fresh_records_as_new_or_known() -> None:
    records = [{"text": "maya", "known": True}, {"text": "a\x1b[2J", "known": False}, {"text": "cor", "known": None}]
    said = stderr_of([start(), {**sample("maya\na\ncor"), "records": records}])
    assert "records: maya (known), a\u241b[2J (new), cor ...\n" in said
    assert "crow" not in stderr_of([start(), sample("the crow")])


def test_of_less_than_one_pass_the_characters_are_told() -> None:
    part = {"epoch": 0.01, "done": 0.5, "characters_read": 4_560_000}
    said = stderr_of([start(), step(1, 0.0) | part, end() | {"epochs": 0.02, "characters_read": 9_120_000}])
    assert "step 1/400  4.56 million characters  train" in said
    assert "finished after 400 steps (9.12 million characters) in 2:05" in said
    assert "epoch" not in said
