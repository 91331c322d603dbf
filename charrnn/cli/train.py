"""``charrnn train``: train a network, or show the plan of a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn import CharrnnError, UsageError
from charrnn.cli import exit_codes, options
from charrnn.cli.options import After, Given, Json, Quiet, complete_checkpoint
from charrnn.cli.process import seconds_since_start
from charrnn.cli.signals import Stop, stop_on_failing_stdout, stop_on_signals
from charrnn.config import FITTED, ModelConfig, TrainConfig
from charrnn.declaration import Option, Panel

if TYPE_CHECKING:
    from charrnn.output.console import Console
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
    members: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
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
    from charrnn.output import live
    from charrnn.output.console import Console
    from charrnn.training import members as several
    from charrnn.training import runs

    settings = {**model.values, **training.values}
    if dropout is not None:
        settings["dropout"] = dropout
    if resume is None and settings.get("workers", 0) is None:
        del settings["workers"]  # A new run chooses anyway; a resumed one keeps its number unless it is told to choose anew.
    console, stop = Console(quiet=quiet), Stop()
    request = runs.RunRequest(corpus or [], settings, out, resume, allow_changed_corpus, init_from, overwrite, members or 1)
    if dry_run:
        _show_plan(request, console, as_json=as_json)
        return
    if several.is_asked_for(request):
        _train_members(request, console, stop, as_json=as_json, plain=plain)
        return
    run, trainer, start = runs.begin(
        request, seconds_since_start, stop, lambda text: console.say(f"charrnn: {text}"), console.warn
    )
    with live.training_view(console, as_json=as_json, plain=plain) as view, stop_on_signals(stop):
        view.recall(run.past_steps(start["step"]) if start["step"] else [])
        for event in runs.logged(run, trainer, start):
            if stop.unheard is None:
                with stop_on_failing_stdout(stop):
                    view.show(event)
    assert event["event"] == "end"
    go_on = runs.command_to_go_on(request, run)
    if trouble := runs.trouble(event, run, go_on):
        raise CharrnnError(trouble)
    _raise_unless_finished(event["reason"], go_on, stop, console)
    if not as_json:
        console.product(f"{event['best_path']}\n")
    console.finish()


def _train_members(request: RunRequest, console: Console, stop: Stop, *, as_json: bool, plain: bool) -> None:
    """Train several networks and print the path of their run."""
    from charrnn.output.side_by_side import MembersView
    from charrnn.training import members

    run = members.begin(request, seconds_since_start, stop, lambda text: console.say(f"charrnn: {text}"), console.warn)
    ends = []
    with MembersView(console, run.count, as_json=as_json, plain=plain) as view, stop_on_signals(stop):
        for event in run.events():
            if event["event"] in members.ENDS:
                ends.append(event)
            if stop.unheard is None:
                with stop_on_failing_stdout(stop):
                    view.show(event)
    if trouble := members.trouble(ends, run):
        raise CharrnnError(trouble)
    _raise_unless_finished(stop.reason or "finished", run.go_on, stop, console)
    console.say(f"charrnn: {run.count} networks; their mean: charrnn sample -c {shlex.quote(str(run.directory.path))}")
    if not as_json:
        console.product(f"{run.directory.path}\n")
    console.finish()


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


def _show_plan(request: RunRequest, console: Console, *, as_json: bool) -> None:
    from charrnn.output import tables
    from charrnn.output.notation import json_line, list_in_words, yardsticks_clause
    from charrnn.text import baselines
    from charrnn.training import members, runs

    if request.resume is not None:
        raise UsageError("--dry-run plans a new run; a resumed one keeps its plan")
    prepared = (members.prepare if request.members > 1 else runs.prepare)(request, console.warn)
    repeat = runs.command(request, prepared)
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
