"""``charrnn classify``: fit a classifier of texts, ask it, and see how good it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn import UsageError
from charrnn.classifier_config import ClassifierConfig, FitConfig
from charrnn.cli import options
from charrnn.cli.options import Given, Json, Quiet, complete_checkpoint, complete_classifier
from charrnn.cli.process import limit_threads, seconds_since_start
from charrnn.cli.signals import Stop, stop_on_signals
from charrnn.config import ModelConfig, ReadConfig, TextConfig
from charrnn.declaration import Panel
from charrnn.limits import Interval

if TYPE_CHECKING:
    from charrnn.output.console import Console
    from charrnn.text.reading import TextReader

LABELLED = "Texts with labels: TSV, CSV, JSON lines, a directory with a file of lines for each label, or - for stdin."
_PLACE = Panel.BOOKKEEPING.value

Labelled = Annotated[str, typer.Argument(metavar="LABELLED", help=LABELLED)]
Classified = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--checkpoint",
        metavar="PATH",
        help="A classifier.safetensors or its directory (default: latest, the most recent one under checkpoints/).",
        autocompletion=complete_classifier,
    ),
]


def fit(
    *,
    labelled: Labelled,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "-c",
            "--checkpoint",
            metavar="PATH",
            help="A trained network to start from: a file or a run (default: fresh weights).",
            autocompletion=complete_checkpoint,
        ),
    ] = None,
    frozen: Annotated[bool, typer.Option("--frozen", help="Train the head alone; the network of -c stays as it is.")] = False,
    pretrain: Annotated[bool, typer.Option("--pretrain", help="First learn to predict the texts' characters.")] = False,
    model: Given[ModelConfig],
    head: Given[ClassifierConfig],
    settings: Given[FitConfig],
    val: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Validate on these labelled texts instead.", rich_help_panel=Panel.TEXT.value),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Directory of classifier.safetensors (default: checkpoints/<LABELLED>, then -2, ...).",
            rich_help_panel=_PLACE,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the classifier in that directory.", rich_help_panel=_PLACE)
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Refused: a fit takes minutes, and a stopped one is whole.", rich_help_panel=_PLACE),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn which label a text has, from LABELLED ones.

    Network and head learn together; figures on the texts kept for validation stand beside yardsticks. Ctrl-C saves the best.
    """
    from charrnn.output.console import Console

    if resume is not None:
        raise UsageError(
            "--resume: a fit can't go on, since its rate has fallen for the time it had; fit anew with more --minutes"
        )
    console, stop = Console(quiet=quiet), Stop()
    if frozen:
        limit_threads()
    from charrnn.output import classified
    from charrnn.output.notation import json_line
    from charrnn.training import fitting, split

    request = fitting.FitRequest(
        labelled, checkpoint, out, val, frozen, pretrain, overwrite, model.values, head.values, settings.values
    )
    with fitting.Place(request) as place, stop_on_signals(stop):
        texts = split.read(request.path, request.val, request.config, console.warn)
        found = fitting.fit(
            request, texts, place.file, seconds_since_start, stop, classified.FitView(console, seconds_since_start)
        )
    report = classified.of_fit(found)
    if as_json:
        console.product(json_line({**report.to_json(), "split": found.split.to_json(), "training": found.training}))
    else:
        classified.show_report(report, console)
    classified.saved(place.file, console)
    console.finish()
    if stop.reason is not None:
        raise typer.Exit(stop.exit_code)


def predict(
    *,
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT...]", help="Texts to classify; - reads the lines of stdin.")
    ] = None,
    file: Annotated[
        list[str] | None, typer.Option("--file", metavar="FILE", help="Classify each line of a file; again for more.")
    ] = None,
    checkpoint: Classified = None,
    top: Annotated[
        int,
        typer.Option(
            metavar="K",
            parser=lambda text: Interval(1, 10**6, integer=True).parse("--top", text),
            help="Show the K likeliest labels.",
        ),
    ] = 1,
    threshold: Annotated[
        float,
        typer.Option(
            metavar="P",
            parser=lambda text: Interval(0, 1).parse("--threshold", text),
            help="Say unsure where the likeliest label has a smaller probability.",
        ),
    ] = 0.0,
    trace: Annotated[bool, typer.Option("--trace", help="Show what it would say behind each character of TEXT.")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="The trace as a picture.")] = None,
    config: TextConfig,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell the label of each TEXT: label TAB probability TAB text."""
    console, reader = _reading(config, quiet=quiet, field=config.field)
    from charrnn import files
    from charrnn.cli import network
    from charrnn.output import classified, traced
    from charrnn.text import sources

    files.check_name("--svg", svg)
    asked = classified.Asked(top, threshold, as_json)
    given, paths = classified.given(texts or [], file or [], console)
    if config.field is not None and not paths:
        raise UsageError("--field reads a column of a table; name one by --file, or leave it out")
    if trace or svg is not None:
        if len(given) != 1 or paths:
            raise UsageError("--trace and --svg show one TEXT; give it behind the command, in quotes, not by - or --file")
        if (top, threshold) != (1, 0.0):
            raise UsageError("--trace and --svg show the likeliest label; leave out --top and --threshold")
        judge = network.judge(checkpoint, console)
        traced.run(judge, given[0], console, as_json=as_json, svg=svg, show=trace or as_json)
        classified.tell(judge, console.warn)
    else:
        judge = network.judge(checkpoint, console)
        classified.tell_of_words(judge, given, console.warn)
        asking = classified.texts(given, paths, reader)
        classified.predict(judge, asked, asking, console, typed=sources.typed(paths))
    console.finish()


def evaluate(
    *,
    labelled: Labelled,
    checkpoint: Classified = None,
    train: Annotated[
        str | None,
        typer.Option(
            metavar="LABELLED", help="Texts that the yardsticks learn from, those of the fit; without it there are none."
        ),
    ] = None,
    config: ReadConfig,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell how often a classifier is right about LABELLED texts, and how far its probabilities are off."""
    console, reader = _reading(config, quiet=quiet)
    from charrnn.cli import network
    from charrnn.output import classified
    from charrnn.output.notation import json_line

    report = classified.evaluate(network.judge(checkpoint, console), labelled, train, reader, console)
    if as_json:
        console.product(json_line(report.to_json()))
    else:
        classified.show_report(report, console)
    console.finish()


def _reading(config: ReadConfig, *, quiet: bool, field: str | None = None) -> tuple[Console, TextReader]:
    """Where a verb speaks, and how it reads files; of tables a ``field``. NumPy is imported here, its threads limited."""
    from charrnn.output.console import Console

    console = Console(quiet=quiet)
    limit_threads()
    from charrnn.text.decoding import Encoding
    from charrnn.text.reading import TextReader

    return console, TextReader(encoding=Encoding(config.encoding, config.errors, field), warn=console.warn)


VERBS: dict[str, Callable[..., None]] = {"fit": fit, "predict": predict, "evaluate": evaluate}

app = typer.Typer(
    name="classify",
    cls=options.Group,
    help="Tell which label a text has: fit a classifier, ask it, see how good it is.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _verb in VERBS.items():
    app.command(_name, cls=options.Verb)(options.command(_verb))
