"""``charrnn train``: train a network, or show the plan of a run."""

from __future__ import annotations

import io
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn import CharrnnError, UsageError
from charrnn.cli import exit_codes, options
from charrnn.cli.exit_codes import ExitCode
from charrnn.cli.options import After, Given, Json, Quiet, complete_checkpoint
from charrnn.cli.process import limit_threads, rank, seconds_since_start
from charrnn.cli.signals import EXIT_CODES, Stop, stop_on_failing_stdout, stop_on_signals
from charrnn.config import FITTED, ModelConfig, TrainConfig
from charrnn.cores import x86_64
from charrnn.declaration import Option, Panel
from charrnn.limits import Interval

if TYPE_CHECKING:
    from charrnn.output.console import Console
    from charrnn.training.ranks import Ranks
    from charrnn.training.runs import RunRequest

_BOOKKEEPING, _MACHINE = Panel.BOOKKEEPING.value, Panel.MACHINE.value
_DROPOUT = Option(
    "Short for all three: P between layers and at the output, P / 4 at the input.",
    Panel.OPTIMIZATION,
    spelling="--dropout",
    metavar="P",
    shown=FITTED,
)


def train(
    *,
    corpus: Annotated[
        list[str] | None,
        typer.Argument(metavar="CORPUS...", help=options.TEXTS),
    ] = None,
    model: Given[ModelConfig],
    dropout: Annotated[float | None, options.setting(TrainConfig, "dropout_output", _DROPOUT), After("optimizer")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the run (default: checkpoints/<corpus>, then <corpus>-2, ...).",
            metavar="DIR",
            rich_help_panel=_BOOKKEEPING,
        ),
    ] = None,
    val_lines: Annotated[
        str | None,
        typer.Option(
            "--val-lines",
            metavar="FILE",
            help="Hold out the lines of FILE, instead of some of CORPUS; with --records.",
            rich_help_panel=Panel.TEXT.value,
        ),
        After("records"),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read the text whole, though it seems to be the one that is kept (see charrnn cache).",
            rich_help_panel=Panel.RARE.value,
        ),
    ] = False,
    members: Annotated[
        int | None,
        typer.Option(
            parser=lambda text: Interval(1, 64, integer=True).parse("--members", text),
            metavar="K",
            help="Train K networks of different seeds, a core for each; their mean predicts better than one (default: 1).",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace the run in that directory, once this one has saved.", rich_help_panel=_BOOKKEEPING
        ),
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run: its directory, or latest.",
            autocompletion=complete_checkpoint,
            rich_help_panel=_BOOKKEEPING,
        ),
    ] = None,
    allow_changed_corpus: Annotated[
        bool,
        typer.Option("--allow-changed-corpus", help="Resume although the text has changed.", rich_help_panel=Panel.RARE.value),
    ] = False,
    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Start a new run from the weights of a checkpoint or run; each character keeps its own.",
            autocompletion=complete_checkpoint,
            rich_help_panel=_BOOKKEEPING,
        ),
    ] = None,
    training: Given[TrainConfig],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and the command that repeats it.", rich_help_panel=_BOOKKEEPING)
    ] = False,
    as_json: Json = False,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Lines instead of the live picture, on a terminal too.", rich_help_panel=Panel.OUTPUT.value
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on CORPUS and print the path of its best checkpoint.

    Progress goes to stderr. Ctrl-C finishes the step, saves, and says how to go on.
    """
    # NumPy only reads single streams here, at evaluations: beside other members, or other programs, a second thread waits for a
    # core in every product. Where processors are others, OpenBLAS is torch's too, as MKL is here.
    if x86_64():
        limit_threads(1, libraries=("OPENBLAS",))

    from charrnn.output.console import Console
    from charrnn.training import members as several
    from charrnn.training import ranks, runs

    settings = {**model.values, **training.values}
    if dropout is not None:
        settings["dropout"] = dropout
    if resume is None and settings.get("workers", 0) is None:
        del settings["workers"]  # A new run chooses anyway; a resumed one keeps its number unless it is told to choose anew.
    console, stop = Console(quiet=quiet), Stop()
    request = runs.RunRequest(
        corpus or [], settings, out, resume, allow_changed_corpus, init_from, overwrite, members or 1, verify, val_lines
    )
    if rank() is not None:
        _train_as_rank(request, console, stop, dry_run=dry_run, as_json=as_json, plain=plain)
    elif dry_run:
        _show_plan(request, console, ranks.ALONE, as_json=as_json)
    elif several.is_asked_for(request):
        _train_members(request, console, stop, ranks.ALONE, as_json=as_json, plain=plain)
    else:
        _train_network(request, console, stop, seconds_since_start, stop, ranks.ALONE, as_json=as_json, plain=plain)


def _train_network(
    request: RunRequest,
    console: Console,
    stop: Stop,
    clock: Callable[[], float],
    stopped: Callable[[], str | None],
    among: Ranks,
    *,
    as_json: bool,
    plain: bool,
) -> None:
    """Train one network and print the path of its best checkpoint.

    ``clock`` and ``stopped`` are what the run goes by: of one process, its own clock and ``stop``.
    """
    from charrnn.network import lookup
    from charrnn.output import live
    from charrnn.output.progress import Progress, reading
    from charrnn.text import sources
    from charrnn.training import runs

    with Progress(console, typed=sources.typed(request.corpus)) as progress:
        say = _say(console)
        run, trainer, start = runs.begin(request, clock, stopped, say, console.warn, among, reading(progress))
    go_on = runs.command_to_go_on(request, run, among)
    with live.training_view(console, as_json=as_json, plain=plain) as view, stop_on_signals(stop):
        view.recall(run.past_steps(start["step"]) if start["step"] else [])
        try:
            for event in runs.logged(run, trainer, start):
                if stop.unheard is None:
                    with stop_on_failing_stdout(stop):
                        view.show(event)
        except CharrnnError as error:
            if not among.launched or request.overwrite:
                raise
            raise type(error)(f"{run.path}: {error}; go on from what was saved last by: {go_on}") from error
    assert event["event"] == "end"
    if trouble := runs.trouble(event, run, go_on):
        raise CharrnnError(trouble)
    if (reason := event["reason"]) in EXIT_CODES:  # Perhaps another rank was asked to stop.
        stop.ask(reason, EXIT_CODES[reason])
    if event["best_path"] is not None and not lookup.is_found(run.path):
        console.say(f"charrnn: outside checkpoints/ no command finds it unless you name it: {_sampling(run.path)}")
    _raise_unless_finished(reason, go_on, stop, console)
    if 0 < start["step"] == event["step"]:
        length = next(name for name in ("steps", "epochs", "minutes") if start["config"].get(name) is not None)
        console.say(f"charrnn: nothing was left to do; a larger --{length} goes on, counted from the run's beginning")
    if not as_json:
        console.product(f"{event['best_path']}\n")
    console.finish()


def _train_as_rank(request: RunRequest, console: Console, stop: Stop, *, dry_run: bool, as_json: bool, plain: bool) -> None:
    """Train a network together with the other ranks that torchrun has started; rank 0 alone writes and speaks.

    Of ranks that fail the first says why: what the others then run into is that it is gone.
    """
    from charrnn.network import rundir
    from charrnn.output.console import Console
    from charrnn.training import members
    from charrnn.training.distributed import Group
    from charrnn.training.learner import RunIsOverError

    group = Group(seconds_since_start, stop)
    if group.number:
        console, as_json = Console(io.StringIO(), io.StringIO(), quiet=True), False
    try:
        if dry_run:
            _show_plan(request, console, group, as_json=as_json)
            return
        with stop_on_signals(stop):
            if group.of_first(int(not group.number and members.is_asked_for(request))):
                _train_members(request, console, stop, group, as_json=as_json, plain=plain)
            else:
                _train_network(request, console, stop, group.clock, group.stop, group, as_json=as_json, plain=plain)
    except RunIsOverError:
        if not group.restarted:
            raise
        console.product(f"{group.path / rundir.BEST}\n")  # A rank ended badly after the last save.
    except typer.Exit:
        raise
    except Exception as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends them all now; first the line is said.
        if not group.takes_the_word():
            raise typer.Exit(exit_codes.of(error) if isinstance(error, CharrnnError) else ExitCode.FAILURE) from error
        raise
    finally:
        group.leave()


def _train_members(request: RunRequest, console: Console, stop: Stop, among: Ranks, *, as_json: bool, plain: bool) -> None:
    """Train several networks and print the path of their run; ``among`` ranks each trains some."""
    from charrnn.output.progress import Progress, reading
    from charrnn.output.side_by_side import MembersView
    from charrnn.text import sources
    from charrnn.training import members

    with Progress(console, typed=sources.typed(request.corpus)) as progress:
        run = members.begin(request, seconds_since_start, stop, console.warn, among, reading(progress))
    ends = []
    with MembersView(console, run.count, as_json=as_json, plain=plain) as view, stop_on_signals(stop):
        for event in run.events():
            if event["event"] in members.ENDS:
                ends.append(event)
            if stop.unheard is None:
                with stop_on_failing_stdout(stop):
                    view.show(event)
    if (trouble := members.trouble(ends, run)) and among.number == 0:
        raise CharrnnError(trouble)
    if run.reason in EXIT_CODES:  # Perhaps another rank was asked to stop.
        stop.ask(run.reason, EXIT_CODES[run.reason])
    _raise_unless_finished(stop.reason or "finished", run.go_on, stop, console)
    console.say(f"charrnn: {run.count} networks; their mean: {_sampling(run.directory.path)}")
    if not as_json:
        console.product(f"{run.directory.path}\n")
    console.finish()


def _sampling(run: Path) -> str:
    """The command that lets the networks of ``run`` write."""
    return f"charrnn sample -c {shlex.quote(str(run))}"


def _say(console: Console) -> Callable[[str], None]:
    return lambda text: console.say(f"charrnn: {text}")


def _raise_unless_finished(reason: str, go_on: str, stop: Stop, console: Console) -> None:
    """Say how a run ended that was stopped, or that nobody heard; ``go_on`` is the command that resumes it."""
    if reason != "finished":
        saved = f"stopped and saved; go on by: {go_on}"
        if stop.unheard is not None and stop.exit_code == exit_codes.of(stop.unheard):
            raise type(stop.unheard)(f"{stop.unheard}; {saved}")
        console.say(f"charrnn: {saved}")
        raise typer.Exit(stop.exit_code)
    if stop.unheard is not None:
        raise stop.unheard


def _show_plan(request: RunRequest, console: Console, among: Ranks, *, as_json: bool) -> None:
    from charrnn.analysis import heldout
    from charrnn.output import tables
    from charrnn.output.notation import json_line, list_in_words, yardsticks_clause
    from charrnn.output.progress import Progress, reading
    from charrnn.text import baselines, markup, sources
    from charrnn.training import members, runs

    if request.resume is not None:
        raise UsageError("--dry-run plans a new run; a resumed one keeps its plan")
    plan = members.prepare if request.members > 1 else runs.prepare
    with Progress(console, typed=sources.typed(request.corpus)) as progress:
        prepared = plan(request, console.warn, ranks=among, tell=reading(progress))
    for advised in (*markup.advise(prepared.text), *heldout.advise(prepared.text)):
        console.warn(advised)
    repeat = runs.command(request, prepared, among)
    listed = None if prepared.text.records is None else prepared.text.records.facts.to_json()
    beside = baselines.facts(baselines.unigram_bits(prepared.text), baselines.xz_bits(prepared.text))
    if as_json:
        settings = {**prepared.plan.model, **prepared.config.to_json()}
        told = {} if listed is None else {"records": listed}
        console.product(json_line({"settings": settings, "plan": prepared.plan.to_json(), **told, **beside, "command": repeat}))
    else:
        if listed is not None:
            console.say(f"charrnn: {list_in_words(listed)}")
        console.table(tables.plan_table(prepared.plan.model | prepared.plan.training, prepared.plan.reasons))
        console.say(f"charrnn: without a network this text takes, in bits/char: {yardsticks_clause(beside)}")
        console.product(f"{repeat}\n")
    console.finish()
