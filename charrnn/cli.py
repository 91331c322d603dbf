"""The command line: parse, configure, call, show, exit code."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import platform
import re
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from charrnn import CharrnnError, UsageError, __version__, recipe
from charrnn.config import (
    BenchConfig,
    InspectConfig,
    ModelConfig,
    NextConfig,
    SampleConfig,
    ScoreConfig,
    TrainConfig,
    limits,
    option_name,
)

if TYPE_CHECKING:
    from charrnn.checkpoint import Checkpoint
    from charrnn.console import Console, StdoutError
    from charrnn.rundir import RunDirectory
    from charrnn.runs import Asked
    from charrnn.training import Trainer

_IMPORTED = time.monotonic()

SAMPLING_THREADS = 4
"""More threads than this only get in each other's way in matrix-vector products of the usual sizes."""

app = typer.Typer(
    name="charrnn",
    help="Train a character-level recurrent network on any text, and generate text from it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _setting(
    config: type[Any],
    name: str,
    text: str,
    *spellings: str,
    option: str | None = None,
    metavar: str | None = None,
    default: str | None = None,
    panel: str | None = None,
    envvar: str | None = None,
    auto: bool = False,
) -> Any:
    """An option for one field of a configuration: its limits come from there, and its default if none is told. With ``auto``
    that word stands for the default too.
    """
    chosen, interval, choices = limits(config, name)
    option = option or option_name(name)
    if name in recipe.CHOSEN:
        chosen = recipe.FIXED.get(name, "fitted to the text and the time")
    default = default or (f"{chosen:g}" if isinstance(chosen, float) else chosen)
    if default is not None:
        text += f" (default: {default})"

    def parse(given: object) -> Any:
        if auto and given == "auto":
            return given
        if interval is not None:
            return interval.parse(option, given)
        if given not in choices:
            raise UsageError(f"{option} must be one of {', '.join(choices)}, not {given!s:.80}")
        return given

    metavar = metavar or ("|".join(choices) if interval is None else "INT" if interval.integer else "NUMBER") + "|auto" * auto
    return typer.Option(option, *spellings, parser=parse, metavar=metavar, help=text, rich_help_panel=panel, envvar=envvar)


def _complete_checkpoint(incomplete: str) -> list[str]:
    from charrnn import completion

    return completion.checkpoints(incomplete)


_Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--checkpoint",
        metavar="PATH",
        envvar="CHARRNN_CHECKPOINT",
        help="A checkpoint file or a run directory (default: the most recent best.safetensors under checkpoints/).",
        autocompletion=_complete_checkpoint,
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Machine-readable JSON on stdout, one object per line.")]
_Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Errors only on stderr.")]
_TRAIN_SETTINGS = {*ModelConfig.__dataclass_fields__, *TrainConfig.__dataclass_fields__, "dropout"}
_NETWORK, _LENGTH, _OPTIMIZATION, _TEXT = "The network", "Length of the run (one of)", "Optimization", "The text"
_BOOKKEEPING, _MACHINE = "Evaluation and saving", "The machine"
_PROMPT, _DRAWING, _MANY = "What to go on from", "How characters are drawn, in this order", "Many texts"


def _show_version(wanted: bool) -> None:
    if wanted:
        console = _console(False)
        console.product(f"charrnn {__version__} ({_torch_version()}, Python {platform.python_version()})\n")
        console.finish()
        raise typer.Exit


def _torch_version() -> str:
    """Read from torch's metadata; importing it would take a second."""
    from importlib import metadata

    try:
        return f"torch {metadata.version('torch')}"
    except metadata.PackageNotFoundError:
        return "without torch"


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def train(
    corpus: Annotated[
        list[str] | None,
        typer.Argument(metavar="CORPUS...", help="Text files, .gz files, directories of *.txt, or - for stdin."),
    ] = None,
    cell: Annotated[str | None, _setting(ModelConfig, "cell", "Recurrent cell (rnn: tanh).", panel=_NETWORK)] = None,
    hidden_size: Annotated[int | None, _setting(ModelConfig, "hidden_size", "Units per layer.", panel=_NETWORK)] = None,
    num_layers: Annotated[int | None, _setting(ModelConfig, "num_layers", "Recurrent layers.", panel=_NETWORK)] = None,
    embedding_size: Annotated[
        int | None,
        _setting(
            ModelConfig,
            "embedding_size",
            "Size of a character's vector.",
            default="64, or 128 above 256 symbols",
            panel=_NETWORK,
        ),
    ] = None,
    steps: Annotated[int | None, _setting(TrainConfig, "steps", "Number of updates.", panel=_LENGTH)] = None,
    epochs: Annotated[
        float | None,
        _setting(TrainConfig, "epochs", "Number of passes over the training text; may be a fraction.", panel=_LENGTH),
    ] = None,
    minutes: Annotated[
        float | None,
        _setting(TrainConfig, "minutes", "Minutes by the clock, start-up included (3 if no length is given).", panel=_LENGTH),
    ] = None,
    batch_size: Annotated[
        int | None, _setting(TrainConfig, "batch_size", "Columns of text read in parallel.", panel=_OPTIMIZATION)
    ] = None,
    bptt: Annotated[
        int | None, _setting(TrainConfig, "bptt", "Characters that gradients flow back through.", panel=_OPTIMIZATION)
    ] = None,
    groups: Annotated[
        int | None,
        _setting(
            TrainConfig,
            "groups",
            "Groups of columns that take turns, a step each.",
            default="up to 16 for one pass over the text, 1 from 2.4 on",
            panel=_OPTIMIZATION,
        ),
    ] = None,
    lr: Annotated[float | None, _setting(TrainConfig, "lr", "Peak learning rate.", panel=_OPTIMIZATION)] = None,
    weight_decay: Annotated[
        float | None,
        _setting(
            TrainConfig,
            "weight_decay",
            "Decay of the weight matrices.",
            default="0.1, less in long runs",
            panel=_OPTIMIZATION,
        ),
    ] = None,
    grad_clip: Annotated[
        float | None, _setting(TrainConfig, "grad_clip", "Largest global norm of the gradient.", panel=_OPTIMIZATION)
    ] = None,
    optimizer: Annotated[
        str | None,
        _setting(
            TrainConfig,
            "optimizer",
            "soap for all matrices, muon for the recurrent layers' matrices, adamw for the rest or for all.",
            default=f"soap from {recipe.SOAP_CHARACTERS:,} training characters on, else adamw",
            panel=_OPTIMIZATION,
        ),
    ] = None,
    dropout: Annotated[
        float | None,
        _setting(
            TrainConfig,
            "dropout_output",
            "Short for all three: P between layers and at the output, P / 4 at the input.",
            option="--dropout",
            metavar="P",
            panel=_OPTIMIZATION,
        ),
    ] = None,
    dropout_input: Annotated[
        float | None,
        _setting(
            TrainConfig,
            "dropout_input",
            "Locked dropout on the characters' vectors, at least 0 and below 1.",
            panel=_OPTIMIZATION,
        ),
    ] = None,
    dropout_between: Annotated[
        float | None, _setting(TrainConfig, "dropout_between", "The same between layers.", panel=_OPTIMIZATION)
    ] = None,
    dropout_output: Annotated[
        float | None,
        _setting(TrainConfig, "dropout_output", "The same on the last layer's output.", panel=_OPTIMIZATION),
    ] = None,
    seed: Annotated[int | None, _setting(TrainConfig, "seed", "Seed of every random choice.", panel=_OPTIMIZATION)] = None,
    level: Annotated[str | None, _setting(TrainConfig, "level", "Characters or raw bytes.", panel=_TEXT)] = None,
    min_count: Annotated[
        int | None, _setting(TrainConfig, "min_count", "Rarer characters become the unknown one.", panel=_TEXT)
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            help="Encoding of the files (default: UTF-8, or what a byte-order mark says).",
            metavar="NAME",
            rich_help_panel=_TEXT,
        ),
    ] = None,
    val_fraction: Annotated[
        float | None,
        _setting(TrainConfig, "val_fraction", "Share at the end kept for validation, at least 0 and below 1.", panel=_TEXT),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the run (default: checkpoints/<corpus>, then <corpus>-2, ...).",
            metavar="DIR",
            rich_help_panel=_BOOKKEEPING,
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run: its directory, or latest.",
            autocompletion=_complete_checkpoint,
            rich_help_panel=_BOOKKEEPING,
        ),
    ] = None,
    allow_changed_corpus: Annotated[
        bool,
        typer.Option("--allow-changed-corpus", help="Resume although the text has changed.", rich_help_panel=_BOOKKEEPING),
    ] = False,
    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Start a new run from the weights of a checkpoint or run; each character keeps its own.",
            autocompletion=_complete_checkpoint,
            rich_help_panel=_BOOKKEEPING,
        ),
    ] = None,
    eval_every: Annotated[
        int | None,
        _setting(
            TrainConfig,
            "eval_every",
            "Steps between evaluations.",
            default="at 8 % of the run, then every tenth",
            panel=_BOOKKEEPING,
        ),
    ] = None,
    save_every: Annotated[
        float | None, _setting(TrainConfig, "save_every", "Seconds between saves.", panel=_BOOKKEEPING)
    ] = None,
    log_every: Annotated[
        int | None,
        _setting(TrainConfig, "log_every", "Steps between step events.", default="about one a second", panel=_BOOKKEEPING),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and the command that repeats it.", rich_help_panel=_BOOKKEEPING)
    ] = False,
    device: Annotated[
        str | None, _setting(TrainConfig, "device", "Where to train.", panel=_MACHINE, envvar="CHARRNN_DEVICE")
    ] = None,
    precision: Annotated[
        str | None, _setting(TrainConfig, "precision", "Precision of the matrix products; weights stay fp32.", panel=_MACHINE)
    ] = None,
    workers: Annotated[
        int | None,
        _setting(
            TrainConfig,
            "workers",
            "Threads that share the columns on a CPU.",
            default="auto: for the LSTM one per core with at least 8 columns each, else 1",
            panel=_MACHINE,
            auto=True,
        ),
    ] = None,
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Train a network on CORPUS and print the path of its best checkpoint.

    Progress goes to stderr. Ctrl-C finishes the step, saves, and says how to go on.
    """
    settings: dict[str, Any] = {
        name: value for name, value in locals().items() if name in _TRAIN_SETTINGS and value is not None
    }
    if settings.get("workers") == "auto":
        del settings["workers"]
        if resume is not None:
            settings["workers"] = None  # A resumed run keeps its number unless it is told to choose anew.
    console, stop = _console(quiet), _Stop()
    from charrnn import live, runs

    asked = runs.Asked(corpus or [], settings, out, resume, allow_changed_corpus, init_from)
    if dry_run:
        _show_plan(asked, console, as_json=as_json)
        return
    run, trainer, start = runs.begin(asked, _seconds_since_start, stop, console.say)
    with live.training_view(console, as_json=as_json) as view, _stop_on_signals(stop):
        for event in _logged(run, trainer, start):
            if stop.unheard is None:
                with _noticing_failing_stdout(stop):
                    view.show(event)
    if event["reason"] == "diverged":
        raise CharrnnError(f"{run.path}: training diverged twice; what was good before, at step {event['step']}, is kept there")
    if event["reason"] == "failed":
        raise CharrnnError(f"{run.path}: the last save failed; what was saved before it is as it was")
    if event["reason"] != "finished":
        saved = f"stopped and saved; go on by: charrnn train --resume {shlex.quote(str(run.path))}"
        if stop.unheard is not None and stop.exit_code == stop.unheard.exit_code:
            raise type(stop.unheard)(f"{stop.unheard}; {saved}")
        console.say(f"charrnn: {saved}")
        raise typer.Exit(stop.exit_code)
    if stop.unheard is not None:
        raise stop.unheard
    if not as_json:
        console.product(f"{event['best_path']}\n")
    console.finish()


def _show_plan(asked: Asked, console: Console, *, as_json: bool) -> None:
    from charrnn import runs, tables

    if asked.resume is not None:
        raise UsageError("--dry-run plans a new run; a resumed one keeps its plan")
    prepared = runs.prepare(asked)
    repeat = runs.command(asked, prepared)
    if as_json:
        settings = {**prepared.plan.model, **prepared.config.to_json()}
        console.product(_json({"settings": settings, "plan": prepared.plan.to_json(), "command": repeat}))
    else:
        console.table(tables.plan_table(prepared.plan.model | prepared.plan.training, prepared.plan.reasons))
        console.product(f"{repeat}\n")
    console.finish()


@dataclass
class _Stop:
    """Why the run should end, as far as signals and a failing stdout have said."""

    reason: str | None = None
    exit_code: int = 0
    unheard: StdoutError | None = None

    def __call__(self) -> str | None:
        return self.reason

    def ask(self, reason: str, exit_code: int) -> None:
        """Let the run end after its step; the first reason counts."""
        if self.reason is None:
            self.reason, self.exit_code = reason, exit_code


_SIGNALS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "terminated"}


@contextlib.contextmanager
def _stop_on_signals(stop: _Stop) -> Iterator[None]:
    """Let the first signal end the run after its step, and a second Ctrl-C end it at once."""

    def handle(number: int, _: FrameType | None) -> None:
        if stop.reason is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.ask(_SIGNALS[signal.Signals(number).name], 128 + number)

    previous = {}
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        # One that is ignored stays so: that is how nohup works.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            previous[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _noticing_failing_stdout(stop: _Stop) -> Iterator[None]:
    """Where the events can't be written any more, end the run as a signal would: after its step, saved."""
    from charrnn.console import StdoutError

    try:
        yield
    except StdoutError as error:
        stop.unheard = error
        stop.ask("terminated", error.exit_code)


def _logged(run: RunDirectory, trainer: Trainer, start: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All events of the run, each also written to its log."""

    def events() -> Iterator[dict[str, Any]]:
        yield start
        yield from trainer.warnings()
        yield from trainer.run(run)

    told = False
    with contextlib.closing(run):
        for event in events():
            try:
                run.log(event)
            except CharrnnError as error:
                if not told:
                    yield {"event": "warning", "text": f"{error}; training goes on, the log has gaps"}
                told = True
            yield event


def _temperatures(given: object) -> tuple[float, float | None]:
    from charrnn.config import temperatures

    return temperatures("--temp", str(given))


@app.command()
def sample(
    checkpoint: _Checkpoint = None,
    length: Annotated[
        int | None,
        _setting(SampleConfig, "length", "Characters to generate, -1: without end (default: 500, or 500 per line).", "-n"),
    ] = None,
    lines: Annotated[int | None, _setting(SampleConfig, "lines", "End after so many lines.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", metavar="TEXT", help="End before this text; may be given again for others.")
    ] = None,
    keep_stop: Annotated[bool, typer.Option("--keep-stop", help="Print the stop text too.")] = False,
    seed: Annotated[
        int | None, _setting(SampleConfig, "seed", "The same seed gives the same text (default: a fresh one, named on stderr).")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "-p", "--prompt", metavar="TEXT", help="Text to go on from; - reads it from stdin.", rich_help_panel=_PROMPT
        ),
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read the prompt from a file.", rich_help_panel=_PROMPT)
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A prompt per line; - is stdin.", rich_help_panel=_PROMPT)
    ] = None,
    escapes: Annotated[
        bool,
        typer.Option(
            "-e",
            "--escapes",
            help=r"Decode \n, \t, \r, \0, \\, \uXXXX, \UXXXXXXXX in texts given by options.",
            rich_help_panel=_PROMPT,
        ),
    ] = False,
    no_echo: Annotated[
        bool, typer.Option("--no-echo", help="Don't print the prompt before the new text.", rich_help_panel=_PROMPT)
    ] = False,
    load_state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Go on where a text stopped.", rich_help_panel=_PROMPT)
    ] = None,
    save_state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep where this text stops.", rich_help_panel=_PROMPT)
    ] = None,
    interactive: Annotated[
        bool, typer.Option("-i", "--interactive", help="Go on from line after line of stdin.", rich_help_panel=_PROMPT)
    ] = False,
    repetition_penalty: Annotated[
        float | None,
        _setting(
            SampleConfig,
            "repetition_penalty",
            "Above 1: recent characters are less likely.",
            metavar="X",
            default="off",
            panel=_DRAWING,
        ),
    ] = None,
    repetition_window: Annotated[
        int | None, _setting(SampleConfig, "repetition_window", "How many characters are recent.", panel=_DRAWING)
    ] = None,
    bias: Annotated[
        list[str] | None,
        typer.Option(
            "--bias", metavar="CHAR=X", help="Add X to a character's logit, -inf bans it; repeatable.", rich_help_panel=_DRAWING
        ),
    ] = None,
    temperature: Annotated[
        Any,
        typer.Option(
            "--temp",
            "--temperature",
            parser=_temperatures,
            metavar="NUMBER|A:B",
            help="Below 1 safer, above 1 wilder, 0 greedy; A:B goes from A to B (default: 0.8).",
            rich_help_panel=_DRAWING,
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        _setting(
            SampleConfig, "top_k", "Draw from the K likeliest characters only.", metavar="K", default="off", panel=_DRAWING
        ),
    ] = None,
    typical: Annotated[
        float | None,
        _setting(
            SampleConfig,
            "typical",
            "Draw from the most typical that together reach probability P, above 0 and at most 1.",
            metavar="P",
            default="off",
            panel=_DRAWING,
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        _setting(
            SampleConfig,
            "top_p",
            "Draw from the likeliest that together reach probability P, above 0 and at most 1.",
            metavar="P",
            default="off",
            panel=_DRAWING,
        ),
    ] = None,
    min_p: Annotated[
        float | None,
        _setting(
            SampleConfig,
            "min_p",
            "Draw from those at least P times as likely as the likeliest, P from 0 to 1.",
            metavar="P",
            default="off",
            panel=_DRAWING,
        ),
    ] = None,
    num_samples: Annotated[
        int | None, _setting(SampleConfig, "num_samples", "Number of texts from every prompt.", "-N", panel=_MANY)
    ] = None,
    best_of: Annotated[
        int | None, _setting(SampleConfig, "best_of", "Draw K texts for each and keep the likeliest.", metavar="K", panel=_MANY)
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(
            "--separator",
            metavar="TEXT",
            help="Between texts (default: an empty line; nothing with --lines 1).",
            rich_help_panel=_MANY,
        ),
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each text to a file of its own.", rich_help_panel=_MANY)
    ] = None,
    device: Annotated[
        str | None, _setting(SampleConfig, "device", "Where many texts are drawn; cuda for thousands.", panel=_MANY)
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="On a terminal too, print control characters as they are, not as symbols.")
    ] = False,
    color: Annotated[str | None, _setting(SampleConfig, "color", "On a terminal, colour each character by its bits.")] = None,
    clamp: Annotated[
        list[str] | None,
        typer.Option(
            "--clamp",
            metavar="L:U=V",
            help="Hold hidden unit U of layer L at V while generating; repeatable.",
        ),
    ] = None,
    copied_from: Annotated[
        str | None, typer.Option(metavar="CORPUS", help="Tell on stderr what is copied from this text file verbatim.")
    ] = None,
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Generate text from a trained network, to stdout as it comes."""
    given = {name: value for name, value in locals().items() if name in SampleConfig.__dataclass_fields__ and value is not None}
    if temperature is not None:
        given["temperature"], given["temperature_end"] = temperature
    console, config = _console(quiet), SampleConfig(**given)
    _limit_threads()
    import numpy as np

    from charrnn import conversation, sampled
    from charrnn.request import SampleRequest
    from charrnn.streaming import Generation

    request = SampleRequest(
        config=config,
        checkpoint=checkpoint,
        prompt=prompt,
        prompt_file=prompt_file,
        prompts=prompts,
        escapes=escapes,
        stop=stop or [],
        keep_stop=keep_stop,
        bias=bias or [],
        clamp=clamp or [],
        load_state=load_state,
        measured=as_json or color == "surprise",
    )
    between = None if separator is None else request.typed(separator, "--separator")
    shown = sampled.Shown(as_json, not no_echo, raw, between, out_dir, copied_from, save_state)
    with np.errstate(over="ignore", invalid="ignore"):  # Absurd weights give absurd text, not warnings.
        generation = Generation(request, console.warn)
        corpus = sampled.check(shown, generation, interactive=interactive)
        if config.seed is None and load_state is None:
            console.say(f"charrnn: seed {generation.seed}")
        (conversation.converse if interactive else sampled.show)(generation, console, shown, corpus)
    console.finish()


@app.command()
def score(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Text files, .gz files, directories of *.txt, or - for stdin.")
    ],
    checkpoint: _Checkpoint = None,
    window: Annotated[
        int | None, _setting(ScoreConfig, "window", "Score windows of so many characters, each from a zero state.")
    ] = None,
    by_line: Annotated[bool, typer.Option("--lines", help="Score each line by itself: a row each, in order.")] = False,
    rank: Annotated[bool, typer.Option("--rank", help="Like --lines, from the most to the least surprising.")] = False,
    per_char: Annotated[
        bool, typer.Option("--per-char", help="A row per character: its bits, its rank, the likeliest three.")
    ] = False,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Read long texts as one stream. By default texts from 65,536 characters are read in columns that first read"
            " the 1,024 characters before them; a column that differs by over 0.001 bits at its seam is read again exactly.",
        ),
    ] = False,
    encoding: Annotated[
        str | None,
        typer.Option(help="Encoding of the files (default: UTF-8, or what a byte-order mark says).", metavar="NAME"),
    ] = None,
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Tell how well a network predicts each FILE, in bits per character: the fewer, the better."""
    console, config = _console(quiet), ScoreConfig(window=window, encoding=encoding)
    ways = {"--window": window is not None, "--lines": by_line, "--rank": rank, "--exact": exact}
    if len(given := [option for option, wanted in ways.items() if wanted]) > 1 or (rank and per_char):
        raise UsageError(f"{' or '.join(given if len(given) > 1 else ['--rank', '--per-char'])}: give one, not both")
    _limit_threads(1)  # The columns are shared among threads instead.
    import numpy as np

    from charrnn import checkpoint as checkpoints
    from charrnn import notation, reading, rundir, scoring, tables
    from charrnn.cells import Network

    paths = reading.text_files(files)
    trained = checkpoints.read(rundir.resolve(checkpoint))
    with np.errstate(over="ignore", invalid="ignore"):
        network = Network(trained.model, trained.weights)
    scorer = scoring.Scorer(network, trained.vocabulary, details=per_char)
    records: list[dict[str, Any]] = []
    total = scorer.tally()
    show = functools.partial(_score_row, as_json=as_json, raw=not console.stdout_is_terminal)

    def tell(*, whole: bool) -> None:
        if rank:
            for record in sorted(records, key=scoring.surprise, reverse=True):
                console.product(show(record))
        elif records:
            together = [{"file": "total", **total.to_json()}] if whole and len(records) > 1 else []
            console.table(tables.score_table([*records, *together], framed=console.stdout_is_terminal))

    try:
        for path in paths:
            blocks, tally = reading.code_points(path, level=trained.vocabulary.level, encoding=config.encoding), scorer.tally()
            if by_line or rank:
                pieces = scorer.lines(blocks)
            else:
                pieces = scorer.carried(blocks, exact=exact) if window is None else scorer.windows(blocks, window)
            name = {"file": path} if len(paths) > 1 else {}
            for number, piece in enumerate(pieces, 1):
                tally.add(piece)
                if per_char:
                    rows = (show(name | record) for record in scorer.characters(piece))
                    while text := "".join(itertools.islice(rows, 1 << 14)):
                        console.product(text)
                elif rank:
                    records.append(name | scorer.line(piece, number))
                elif by_line:
                    console.product(show(name | scorer.line(piece, number)), flush=piece.last)
            summary = {"file": path, **tally.to_json()}
            if per_char or by_line or rank:
                console.say(notation.score_sentence(summary))
            elif as_json:
                console.product(_json(summary | scorer.reading), flush=True)
            else:
                records.append(summary)
            if tally.unknown:
                console.warn(f"{path}: {notation.unknown_sentence(tally.unknown, tally.strangers)}")
            total.merge(tally)
    except CharrnnError:
        tell(whole=False)  # What was scored before one of the texts failed is not lost.
        raise
    tell(whole=True)
    console.finish()


def _score_row(record: Mapping[str, Any], *, as_json: bool, raw: bool) -> str:
    from charrnn import notation

    if as_json:
        return _json(record)
    return notation.character_row(record) if "char" in record else notation.line_row(record, raw=raw)


@app.command("next")
def next_character(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The text before it; - reads it from stdin.")] = "",
    checkpoint: _Checkpoint = None,
    top: Annotated[int | None, _setting(NextConfig, "top", "Show the K likeliest.")] = None,
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Show which character a network expects after PROMPT: bars on a terminal, character TAB probability in a pipe."""
    console, config = _console(quiet), NextConfig() if top is None else NextConfig(top)
    _limit_threads(1)
    import numpy as np

    from charrnn import checkpoint as checkpoints
    from charrnn import given, notation, rundir, scoring, tables
    from charrnn.cells import Network

    text = given.text(prompt, None, "PROMPT")
    trained = checkpoints.read(rundir.resolve(checkpoint))
    text = given.known(text, trained.vocabulary, console.warn)
    with np.errstate(over="ignore", invalid="ignore"):
        found = scoring.next_characters(Network(trained.model, trained.weights), trained.vocabulary, text)
    shown = found[: config.top]
    if as_json:
        entropy = scoring.entropy([record["probability"] for record in found])
        console.product(_json({"prompt": text, "entropy_bits": entropy, "next": shown}))
    elif console.stdout_is_terminal:
        pairs = [(record["char"], record["probability"]) for record in shown]
        console.table(tables.next_table(pairs, len(found) - len(shown), console.width))
    else:
        console.product("".join(notation.next_row(record) for record in shown))
    console.finish()


@app.command()
def info(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]",
            help="A checkpoint, a run directory, or a directory of runs (default: checkpoints).",
            autocompletion=_complete_checkpoint,
        ),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Describe a checkpoint, or list every run under a directory."""
    from charrnn import checkpoint as checkpoints
    from charrnn import rundir, tables

    console = _console(False)
    path = rundir.DEFAULT_ROOT if path is None else path
    one = path if not path.is_dir() else path / rundir.BEST
    if one.exists() or (path != rundir.DEFAULT_ROOT and not path.is_dir()):
        facts = _facts(checkpoints.read_header(one))
        if as_json:
            console.product(_json(facts))
        else:
            console.table(tables.fact_table(facts))
    else:
        rows = []
        for found in rundir.checkpoints_under(path):
            try:
                rows.append(_facts(checkpoints.read_header(found)))
            except CharrnnError as error:
                console.warn(str(error))
        if as_json:
            console.product("".join(_json(facts) for facts in rows))
        elif rows:
            framed = console.stdout_is_terminal
            console.table(tables.info_table(rows, framed=framed))
        else:
            console.say(f"{path}: no runs here yet; train one by charrnn train FILE")
    console.finish()


@app.command()
def inspect(
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="What to read; - for stdin (default: 2,000 generated characters).")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Read this text file instead.")] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            "-c",
            "--checkpoint",
            metavar="PATH",
            help="A checkpoint or a run (default: the most recent best.safetensors under checkpoints/);"
            " several for --memory and --contribution.",
            envvar="CHARRNN_CHECKPOINT",
            autocompletion=_complete_checkpoint,
        ),
    ] = None,
    units: Annotated[bool, typer.Option("--units", help="Only which unit follows which feature of the text.")] = False,
    unit: Annotated[
        str | None, typer.Option(metavar="L:U", help="Colour the text by unit U of layer L; 0:7c is an LSTM's cell.")
    ] = None,
    color: Annotated[
        str | None,
        _setting(InspectConfig, "color", "Colour the text by its surprise or entropy (bits), or by the change of the state."),
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="How far back gradients and information reach (needs torch).")
    ] = False,
    contribution: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="How much of each character of TEXT the final hidden state holds (needs torch)."),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="The coloured text, or the curves of the memory, as a picture.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Everything as one page to explore.")] = None,
    npz: Annotated[Path | None, typer.Option("--npz", metavar="FILE", help="The raw traces for NumPy.")] = None,
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Show what a network's memory does over TEXT: units, gates, cells that mean something, how far back it reaches."""
    console, back = _console(quiet), memory or contribution is not None
    if (text is not None and file is not None) or (unit is not None and color is not None):
        raise UsageError(f"{'TEXT or --file' if file is not None else '--unit or --color'}: give one, not both")
    if back and (units or unit or color or npz is not None):
        raise UsageError("--memory and --contribution go with --html, --svg and --json; leave out what shows units")
    if (not back or html is not None) and len(checkpoint or ()) > 1:
        raise UsageError("several --checkpoint are for --memory and --contribution without --html")
    _limit_threads()
    import numpy as np

    from charrnn import checkpoint as checkpoints
    from charrnn import inspection, rundir, views

    networks = [checkpoints.read(rundir.resolve(path)) for path in checkpoint or (None,)]
    if unit is not None:
        inspection.unit_of(unit, networks[0].model)
    asked = views.Asked(text, file, units, unit or color, svg, html, npz, as_json)
    with np.errstate(over="ignore", invalid="ignore"):
        curves = views.of_memory(asked, networks, console, memory=memory, contribution=contribution) if back else []
        if not back or html is not None:
            views.of_states(asked, networks[0], console, curves)
    console.finish()


@app.command()
def bench(
    seconds: Annotated[float | None, _setting(BenchConfig, "seconds", "About how long to measure.")] = None,
    rounds: Annotated[int | None, _setting(BenchConfig, "rounds", "How often the contenders take turns.")] = None,
    as_json: _Json = False,
) -> None:
    """Measure this machine: training, sampling, reading, starting; each beside a plain torch.nn loop."""
    _limit_threads(libraries=("OPENBLAS",))  # MKL's would be torch's too, which trains with all of them.
    import dataclasses

    from charrnn import bench as benchmarks
    from charrnn import notation, tables

    console, figures = _console(False), []
    given: dict[str, Any] = {"seconds": seconds, "rounds": rounds}
    config = BenchConfig(**{name: value for name, value in given.items() if value is not None})
    about = benchmarks.machine()
    if as_json:
        console.product(_json({"group": "machine", **about}), flush=True)
    for figure in benchmarks.measure(config.seconds, config.rounds):
        figures.append(dataclasses.asdict(figure))
        if as_json:
            console.product(_json(figures[-1]), flush=True)
        else:
            console.say(f"charrnn: {figure.group}: {figure.name} {notation.three_digits(figure.median)} {figure.unit}")
    if not as_json:
        console.product(notation.bench_heading(about))
        console.table(tables.bench_table(figures, framed=console.stdout_is_terminal))
    console.finish()


def _facts(found: Checkpoint) -> dict[str, Any]:
    model, training = found.model, found.training
    kept: Mapping[str, Any] = {
        name: training.get(name)
        for name in (
            "corpus",
            "characters",
            "corpus_bytes",
            "corpus_sha256",
            "val_bits_per_char",
            "step",
            "epochs",
            "seconds",
            "seed",
        )
    }
    return {
        "path": str(found.path),
        "cell": model.cell,
        "layers": model.num_layers,
        "hidden_size": model.hidden_size,
        "embedding_size": model.embedding_size,
        "parameters": model.parameters,
        "level": found.vocabulary.level,
        "vocab_size": model.vocab_size,
        **kept,
        "when": found.when,
    }


def _console(quiet: bool) -> Console:
    from charrnn.console import Console

    return Console(quiet=quiet)


def _limit_threads(most: int = SAMPLING_THREADS, libraries: tuple[str, ...] = ("OPENBLAS", "MKL")) -> None:
    """Before NumPy is imported: its matrix library reads these then, and would otherwise take every core."""
    for library in libraries:
        os.environ.setdefault(f"{library}_NUM_THREADS", str(min(os.cpu_count() or 1, most)))


def _seconds_since_start() -> float:
    """Seconds since the process began; where the system doesn't tell, since this module was imported."""
    return time.monotonic() - _process_start()


@functools.cache
def _process_start() -> float:
    """The process's start on the clock of `time.monotonic`."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        with open("/proc/self/stat", "rb") as file:
            # Field 22, counted after the command's name, which may hold spaces and brackets.
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        # Both count from boot; CLOCK_BOOTTIME goes on during sleep, as the ticks do.
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        if 0 <= age < 86400:
            return time.monotonic() - age
    return _IMPORTED


def _json(record: Mapping[str, Any]) -> str:
    from charrnn.notation import json_line

    return json_line(record)


_SMALLER = {
    "charrnn train": "; try a smaller --hidden-size, --batch-size or --bptt",
    "charrnn sample": "; try a smaller --num-samples or --best-of",
}
"""What to try where memory is short."""


def _command(arguments: list[str]) -> str:
    """The command that ``arguments`` call, whose --help tells its options."""
    # No option before the command takes a value.
    return next((f"charrnn {argument}" for argument in arguments if not argument.startswith("-")), "charrnn")


def _explained(message: str, arguments: list[str]) -> str:
    """The message about a checkpoint that nobody typed says where its name comes from."""
    named = os.environ.get("CHARRNN_CHECKPOINT")
    typed = any(re.match("-c|--checkpoint", argument) for argument in arguments)
    return f"{message} (CHARRNN_CHECKPOINT names it)" if named and not typed and message.startswith(named) else message


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; every expected failure is one line on stderr."""
    from charrnn.console import Console, StdoutClosedError

    typed = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(args=arguments, prog_name="charrnn", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except StdoutClosedError as error:
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except SystemExit as error:  # Typer's own way out where whoever read the help has closed it.
        if isinstance(error.__context__, BrokenPipeError):
            return 141
        raise
    except UsageError as error:
        Console().error(f"{error} (see {_command(typed)} --help)")
        return error.exit_code
    except CharrnnError as error:
        Console().error(_explained(str(error), typed))
        return error.exit_code
    except (MemoryError, RuntimeError) as error:
        # torch tells it by its own errors, in these words; an illegal access to memory is another matter.
        if not isinstance(error, MemoryError) and not re.search("(allocate|out of|not enough) memory", str(error)):
            raise
        Console().error(f"not enough memory{_SMALLER.get(_command(typed), '')}")
        return 1
    except OSError as error:
        message = f"{os.fsdecode(error.filename) + ': ' if error.filename else ''}{error.strerror or error}"
        Console().error(_explained(message, typed))
        return 1
    except typer.TyperException as error:
        if not error.format_message():  # No arguments at all: the help was shown.
            return error.exit_code
        context = getattr(error, "ctx", None)
        Console().error(f"{error.format_message().rstrip('.')} (see {context.command_path if context else 'charrnn'} --help)")
        return error.exit_code


def main() -> NoReturn:
    """The console script."""
    code = run()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            if stream is sys.stdout and code == 0:
                code = 141 if isinstance(error, BrokenPipeError) else 1
            # The interpreter's own flush at exit would complain, and end with a code of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)
