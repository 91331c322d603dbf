"""``charrnn sample``: generate text."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn import UsageError
from charrnn.cli.options import After, Checkpoints, Json, KeepNewline, Quiet, Uncalibrated
from charrnn.cli.process import limit_threads
from charrnn.config import SampleConfig
from charrnn.declaration import Panel

_PROMPT, _DRAWING, _MANY = Panel.PROMPT.value, Panel.DRAWING.value, Panel.MANY_TEXTS.value
_OUTPUT, _RARE = Panel.OUTPUT.value, Panel.RARE.value


def sample(
    *,
    checkpoint: Checkpoints = None,
    config: SampleConfig,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", metavar="TEXT", help="End before this text; may be given again for others."),
        After("lines"),
    ] = None,
    keep_stop: Annotated[
        bool, typer.Option("--keep-stop", help="Print the stop text too.", rich_help_panel=_RARE), After("stop")
    ] = False,
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
    keep_newline: KeepNewline = False,
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
    adapt_to: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Learn from this text first, as score --adapt does, and write in its manner.",
            rich_help_panel=_PROMPT,
        ),
    ] = None,
    bias: Annotated[
        list[str] | None,
        typer.Option(
            "--bias", metavar="CHAR=X", help="Add X to a character's logit, -inf bans it; repeatable.", rich_help_panel=_DRAWING
        ),
        After("repetition_window"),
    ] = None,
    uncalibrated: Uncalibrated = False,
    separator: Annotated[
        str | None,
        typer.Option(
            "--separator",
            metavar="TEXT",
            help="Between texts (default: an empty line; nothing with --lines 1).",
            rich_help_panel=_MANY,
        ),
        After("best_of"),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each text to a file of its own.", rich_help_panel=_MANY),
        After("separator"),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="On a terminal too, print control characters as they are, not as symbols; of a network of bytes each byte,"
            " be it text or not.",
            rich_help_panel=_RARE,
        ),
        After("seed"),
    ] = False,
    unique: Annotated[
        bool, typer.Option("--unique", help="Draw no line twice (with --lines 1).", rich_help_panel=_MANY), After("best_of")
    ] = False,
    not_in: Annotated[
        list[str] | None,
        typer.Option(
            "--not-in",
            metavar="FILE",
            help="Draw no line of this text (with --lines 1); repeatable.",
            rich_help_panel=_MANY,
        ),
        After("unique"),
    ] = None,
    clamp: Annotated[
        list[str] | None,
        typer.Option(
            "--clamp",
            metavar="L:U=V",
            help="Hold hidden unit U of layer L at V while generating; repeatable.",
            rich_help_panel=_RARE,
        ),
    ] = None,
    copied_from: Annotated[
        str | None,
        typer.Option(
            metavar="CORPUS", help="Tell on stderr what is copied from this text file verbatim.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate text from a trained network, to stdout as it comes."""
    from charrnn.output.console import Console

    console = Console(quiet=quiet)
    most = limit_threads(begin_with_one=True)
    import numpy as np

    from charrnn.cli import network
    from charrnn.generation.request import SampleRequest
    from charrnn.generation.streaming import Generation
    from charrnn.network.pace import threads_of_numpy
    from charrnn.output import conversation, sampled
    from charrnn.text import given

    request = SampleRequest(
        config=config,
        checkpoint=checkpoint,
        prompt=prompt,
        prompt_file=prompt_file,
        prompts=prompts,
        keep_newline=keep_newline,
        escapes=escapes,
        stop=stop or [],
        keep_stop=keep_stop,
        bias=bias or [],
        clamp=clamp or [],
        load_state=load_state,
        measured=as_json or config.color == "surprise",
        exact=raw and not (as_json or interactive or copied_from or unique or not_in),  # What is compared is text.
        unique=unique,
        not_in=not_in or [],
        uncalibrated=uncalibrated,
        single=interactive or save_state is not None,
    )
    if adapt_to == "-" and ("-" in (prompt, str(prompt_file), str(prompts)) or interactive):
        raise UsageError("--adapt-to - reads stdin to its end; take the prompts from elsewhere")
    if not escapes:
        for option, texts in {"--prompt": [prompt], "--stop": stop, "--separator": [separator]}.items():
            for text in filter(None, texts or []):
                given.tell_of_escape(text, option, console.warn)
    between = None if separator is None else request.typed(separator, "--separator")
    shown = sampled.Shown(as_json, not no_echo, raw, between, out_dir, copied_from, save_state, adapt_to)
    with np.errstate(over="ignore", invalid="ignore"):  # Absurd weights give absurd text, not warnings.
        adapted: Callable[..., Any] = list
        if adapt_to is not None:
            from charrnn.output import scored

            adapted = partial(scored.adapted_to, adapt_to, request.encoding_of([adapt_to]), console)
        generation = Generation(request, console.warn, threads_of_numpy(most, now=1), adapted=adapted)
        compared = sampled.check(shown, generation, console, interactive=interactive)
        fresh = [f"seed {generation.seed}"] if config.seed is None and load_state is None else []
        network.tell(checkpoint, generation.networks, console, *fresh)
        console.begin()
        if not (prompt or prompt_file or prompts or load_state or adapt_to or interactive):
            given.tell_of_stdin("-p -", console.say)
        (conversation.converse if interactive else sampled.show)(generation, console, shown, compared)
    console.finish()
