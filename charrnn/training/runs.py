"""From a request to a run, new or resumed: its text, its trainer and its directory."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn import CharrnnError, UsageError, files
from charrnn.config import ModelConfig, TrainConfig
from charrnn.declaration import option_name
from charrnn.network import checkpoint, lock, lookup, paths, rundir
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.pairs import commonest
from charrnn.network.rundir import RunDirectory
from charrnn.text.corpus import Corpus, Tell, untold
from charrnn.text.decoding import NotTextError
from charrnn.text.sources import STDIN
from charrnn.training import events, machine, recipe, texts
from charrnn.training.events import Event, Start
from charrnn.training.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from charrnn.training.trainer import Trainer

_WAIT = "wait for it"
"""What to do while another process trains where a run would go on."""
MAY_CHANGE = {"steps", "epochs", "minutes", "lr", "eval_every", "val_whole", "save_every", "log_every"}
MAY_CHANGE |= {"device", "precision", "workers", "average_every"}
"""The settings that may change when a run is resumed."""


Say = Callable[[str], None]


@dataclass(frozen=True)
class RunRequest:
    """What the user asked for: under ``settings`` only those given, by their fields' names; ``dropout`` stands for three."""

    corpus: list[str]
    settings: Mapping[str, Any]
    out: Path | None = None
    resume: str | None = None
    allow_changed_corpus: bool = False
    init_from: Path | None = None
    overwrite: bool = False
    members: int = 1
    """How many networks of different seeds."""
    verify: bool = False
    """Whether the text is read whole although it seems to be the one that is kept."""
    val_lines: str | None = None
    """A file whose lines are the records to be held out."""

    def __post_init__(self) -> None:
        """`UsageError` for what excludes ``resume``: before it is looked for."""
        if self.resume is not None and (self.out is not None or self.init_from is not None or self.overwrite):
            raise UsageError("--resume goes on with a run in its own directory; leave out --out, --init-from and --overwrite")

    @property
    def training(self) -> dict[str, Any]:
        """The fields of `TrainConfig`."""
        given = dict(self.settings)
        if "dropout" in given:
            share = given["dropout"]
            given = {"dropout_input": share / 4, "dropout_between": share, "dropout_output": share} | given
        return {name: given[name] for name in TrainConfig.__dataclass_fields__ if name in given}

    @property
    def model(self) -> dict[str, Any]:
        """The fields of `ModelConfig`."""
        return {name: self.settings[name] for name in ModelConfig.__dataclass_fields__ if name in self.settings}


@dataclass(frozen=True)
class Prepared:
    """A new run before it begins."""

    text: Corpus
    model: ModelConfig
    config: TrainConfig
    plan: recipe.Plan
    initial: Checkpoint | None


def prepare(request: RunRequest, warn: Say, ranks: Ranks = ALONE, tell: Tell = untold) -> Prepared:
    """Read the text and plan the run. Settings are checked before the text is read, so that mistakes show at once."""
    training, shape, initial = request.training, request.model, None
    _check_ranks(request, ranks)
    if request.init_from is not None:
        initial = checkpoint.read(lookup.resolve(request.init_from))
        shape = _same_shape(initial, shape)
        training.setdefault("level", initial.vocabulary.level)
        had = len(initial.model.pair_keys)
        if training.setdefault("pairs", had) != had:
            raise UsageError(f"--pairs {training['pairs']} differs from the checkpoint's {had:,}; --init-from keeps its pairs")
        if training["level"] != initial.vocabulary.level:
            raise UsageError(f"--level {training['level']} differs from the checkpoint's, {initial.vocabulary.level}")
    config = TrainConfig(**training)
    ModelConfig(**shape)
    _check_records(request, config)
    if not request.corpus:
        raise UsageError("which text? name a file, a directory, or - for stdin")
    try:
        options: dict[str, Any] = {"val_lines": request.val_lines, "verify": request.verify, "tell": tell}
        text = ranks.first_here(lambda: texts.read(request.corpus, config, warn, **options))
    except NotTextError as error:
        raise CharrnnError(f"{error}; --level byte reads any file, byte by byte") from error
    speed, cores = None, 1
    if config.minutes is not None and not training.keys() | shape.keys() >= recipe.CHOSEN:
        cores = machine.cores(config)
        measured = machine.measured_speed(config, shape, cores)
        # Ranks add up their cores and speeds, unless each trains networks of its own, which shall be alike.
        if request.members > 1:
            measured = ranks.of_first(round(measured))
        else:
            cores, measured = int(ranks.total(np.array(float(cores)))), float(ranks.total(np.array(measured)))
        speed = recipe.rounded_speed(measured)
    adapts = initial is not None
    size = text.train_characters, text.vocabulary.size
    planned = recipe.plan(*size, shape, training, speed, adapts=adapts, hardware=machine.hardware(config, cores))
    if adapts:
        kept = dict.fromkeys((shape.keys() | {"pairs"}) - request.settings.keys(), "the checkpoint's")
        planned = replace(planned, reasons=planned.reasons | kept)
    pair_keys = _pairs(text, planned.training["pairs"], initial)
    if "pairs" not in training:
        fewer = len(pair_keys) < planned.training["pairs"]
        why = f"at most; {len(pair_keys):,} stand in the text twice or oftener" if fewer else "the commonest of the text"
        told = {"pairs": why}
        planned = replace(planned, reasons=planned.reasons | told)
    model = ModelConfig(**planned.model, vocab_size=text.vocabulary.size, pair_keys=pair_keys)
    return Prepared(text, model, TrainConfig(**planned.training), planned, initial)


def _pairs(text: Corpus, most: int, initial: Checkpoint | None) -> tuple[int, ...]:
    """The pairs of characters that get a vector: those of the network that the run begins with, or the text's commonest."""
    if initial is not None:
        from charrnn.training.snapshot import carried_pairs

        return carried_pairs(initial, text.vocabulary)
    learned = [text.ids[: text.train_characters]]
    if text.pieces is not None:
        learned = [text.ids[begin:end] for begin, end in zip(*text.pieces.stretches(), strict=True)]
    return commonest(learned, text.vocabulary.size, most)


def _check_records(request: RunRequest, config: TrainConfig) -> None:
    """Raise the `UsageError` for what records can't have, and for what only records can."""
    if config.val_seed and not config.records:
        raise UsageError("--val-seed chooses which records are held out; give --records too")
    if config.records and config.groups > 1:
        raise UsageError("--groups is for a text that is read in columns; leave it out with --records")
    if config.records and config.val != "tail":
        raise UsageError("--val is for a text as a whole; --records holds out records all over the list, --val-seed other ones")
    if request.val_lines is None:
        return
    if not config.records:
        raise UsageError("--val-lines names the lines of a list that are held out; give --records too")
    for name in ("val", "val_seed", "val_fraction"):
        if name in request.settings:
            raise UsageError(f"{option_name(name)} and --val-lines both say what is held out; leave one out")


def _check_ranks(request: RunRequest, ranks: Ranks) -> None:
    """Raise the `UsageError` for what ranks can't have, and for what only ranks can."""
    if request.settings.get("average_every", 1) > 1:
        if request.members > 1:
            raise UsageError("--average-every is for ranks that train one network; leave it out with --members")
        if not ranks.launched:
            raise UsageError("--average-every is for ranks, and this is one process; start them by torchrun, or leave it out")
    if not ranks.launched:
        return
    if STDIN in (*request.corpus, request.val_lines):
        raise UsageError("each rank reads the text itself; name a file, not -")


def command(request: RunRequest, prepared: Prepared, ranks: Ranks = ALONE) -> str:
    """The command that repeats the plan, with everything given that the recipe chose."""
    words = ["train", *prepared.plan.options()]
    if not request.settings.keys() & {"steps", "epochs", "minutes"}:
        words += ["--minutes", recipe.as_option(TrainConfig().minutes)]
    chosen = recipe.CHOSEN | {"dropout"}
    for name, value in request.settings.items():
        if name not in chosen:
            words += [option_name(name)] if value is True else [option_name(name), recipe.as_option(value)]
    if request.members > 1:
        words += ["--members", str(request.members)]
    if request.val_lines is not None:
        words += ["--val-lines", request.val_lines]
    if request.init_from is not None:
        words += ["--init-from", str(request.init_from)]
    if request.out is not None:
        words += ["--out", str(request.out)]
    if request.overwrite:
        words.append("--overwrite")
    # A file's name may begin with a dash.
    words += ["--"] * any(path.startswith("-") and path != STDIN for path in request.corpus)
    return ranks.command([*words, *request.corpus])


def command_to_go_on(request: RunRequest, run: RunDirectory, ranks: Ranks = ALONE) -> str:
    """The command that resumes ``run``; it names the text where the run itself doesn't find it."""

    def lost(told: str) -> bool:
        return told == STDIN or paths.found(told, run.path) is None

    words = ["train", *(request.corpus if any(map(lost, run.text_facts["corpus_paths"])) else ()), "--resume", str(run.path)]
    if (told := run.text_facts.get("val_lines_path")) is not None and lost(told) and request.val_lines is not None:
        words += ["--val-lines", request.val_lines]
    return ranks.command(words)


def begin(
    request: RunRequest,
    clock: Callable[[], float],
    stop: Callable[[], str | None],
    say: Say,
    warn: Say,
    ranks: Ranks = ALONE,
    tell: Tell = untold,
) -> tuple[RunDirectory, Trainer, Start]:
    """The run's directory, its trainer and its ``start`` event; ``say`` hears what is worth a line, ``warn`` a warning, and
    ``tell`` how far the text is read.

    ``ranks`` that were started anew go on with the run that they began.
    """
    if request.resume is None and (before := ranks.begun_before(request.out)) is not None:
        request = replace(request, resume=str(before), out=None, init_from=None, overwrite=False)
    if request.resume is not None:
        return _resumed(request, clock, stop, say, warn, ranks, tell)
    prepared = prepare(request, warn, ranks, tell)
    name, out = prepared.text.name, request.out

    def directory() -> RunDirectory:
        return RunDirectory.create(name, out, overwrite=request.overwrite)

    run, trainer, start = begun(request, prepared, directory, clock, stop, say, ranks)
    if ranks.launched and not request.overwrite:
        run.save("last", trainer.snapshot())  # However early they are started anew, they find it.
    return run, trainer, start


def begun(
    request: RunRequest,
    prepared: Prepared,
    directory: Callable[[], RunDirectory],
    clock: Callable[[], float],
    stop: Callable[[], str | None],
    say: Say,
    ranks: Ranks = ALONE,
) -> tuple[RunDirectory, Trainer, Start]:
    """What `begin` gives, of a run that is ``prepared``; its ``directory`` is made once all else is sound."""
    from charrnn.training.snapshot import symbols
    from charrnn.training.trainer import Trainer

    text, initial, plan = prepared.text, prepared.initial, prepared.plan.to_json()
    texts.check_ranks_agree(text, ranks)
    trainer = Trainer(prepared.model, prepared.config, text, clock=clock, stop=stop, initial=initial, plan=plan, ranks=ranks)
    if initial is not None:
        old, new = ({*symbols(vocabulary)} - {None} for vocabulary in (initial.vocabulary, text.vocabulary))
        counts = f"{len(old & new)} characters carried over, {len(new - old)} new, {len(old - new)} dropped"
        say(f"from {initial.path}: {counts}")
    run = ranks.directory(directory)
    beside = None if request.val_lines is None else (request.val_lines, None)
    run.text_facts = texts.facts(request.corpus, text, run.path, val_lines=beside)
    return run, trainer, _start_event(run, trainer)


def logged(run: RunDirectory, trainer: Trainer, start: Start) -> Iterator[Event]:
    """All events of the run, each also written to its log; the directory is closed behind the last one."""

    def all_events() -> Iterator[Event]:
        yield start
        yield from trainer.warnings()
        yield from trainer.run(run)

    told = False
    with contextlib.closing(run):
        for event in all_events():
            try:
                run.log(event)
            except CharrnnError as error:
                if not told:
                    yield events.warning(f"{error}; training goes on, the log has gaps")
                told = True
            yield event


def trouble(end: events.End, run: RunDirectory, go_on: str) -> str | None:
    """What kept the run from its end, in a sentence; None where nothing did, or somebody stopped it.

    ``go_on`` is the command that resumes it.
    """
    saved = f"what was saved before it goes on by: {go_on}"
    if not (run.path / rundir.LAST).exists():
        saved = "none before it was whole; make room, or name another --out, and begin again"
    why = "" if run.refusal is None else f": {run.refusal}"
    sentences = {
        "diverged": f"training diverged twice; what was good before, at step {end['step']}, is kept there",
        "failed": f"the last save failed{why}; {saved}",
        "worker_lost": f"a worker process was lost; saved at step {end['step']:,}; go on by: {go_on}",
    }
    return f"{run.path}: {sentences[end['reason']]}" if end["reason"] in sentences else None


def _resumed(
    request: RunRequest,
    clock: Callable[[], float],
    stop: Callable[[], str | None],
    say: Say,
    warn: Say,
    ranks: Ranks,
    tell: Tell,
) -> tuple[RunDirectory, Trainer, Start]:
    """Open the run's directory before its checkpoint is read, so that no other process can change it in between."""
    if not request.resume:
        raise UsageError("--resume: the name is empty; is a variable not set?")
    _check_ranks(request, ranks)
    name = request.resume
    with contextlib.ExitStack() as stack:
        run = ranks.directory(lambda: RunDirectory(lookup.of_one_network(run_to_resume(name)), advice=_WAIT))
        stack.callback(run.close)
        previous = ranks.previous(run)
        config = _resumed_config(previous, request.training, request.model)
        if previous.training.get("ranks", 1) != ranks.count and "workers" not in request.settings:
            config = replace(config, workers=None)  # As many cores as a rank has now.
        stored = [] if request.corpus else texts.stored_paths(previous)
        found = request.corpus or [texts.found(path, run.path, previous.path) for path in stored]
        beside = _val_lines(request, previous, run)
        val_lines = None if beside is None else beside[0]
        options: dict[str, Any] = {"val_lines": val_lines, "verify": request.verify, "tell": tell}
        text = ranks.first_here(lambda: texts.read(found, config, warn, previous, **options))
        texts.check_same(previous, text, config, request.allow_changed_corpus)
        texts.check_ranks_agree(text, ranks)

        from charrnn.training.trainer import Trainer

        trainer = Trainer(previous.model, config, text, clock=clock, stop=stop, resume=previous, ranks=ranks)
        if trainer.made_longer:
            say("the learning rate warms up again over the added part; one longer run would have ended otherwise")
        run.text_facts = texts.facts(found, text, run.path, stored, beside)
        stack.pop_all()
    return run, trainer, _start_event(run, trainer)


def _val_lines(request: RunRequest, previous: Checkpoint, run: RunDirectory) -> tuple[str, str | None] | None:
    """The file whose lines a resumed run holds out, and where it says that this lies; None if there is no such file."""
    if request.val_lines is None:
        stored = texts.stored_val_lines(previous)
        return None if stored is None else (texts.found(stored, run.path, previous.path, held_out=True), stored)
    if previous.training.get("val_lines") is None:
        raise UsageError("--val-lines: the run holds out lines of its own list, and that can't change on resume")
    return request.val_lines, None


def _start_event(run: RunDirectory, trainer: Trainer) -> Start:
    return {
        "event": "start",
        "corpus": trainer.corpus.name,
        "run_dir": str(run.path),
        **trainer.describe(),
        "pid": os.getpid(),
        "host": platform.node(),
    }


def run_to_resume(name: str) -> Path:
    """The directory of the run that ``--resume`` names."""
    if lookup.means_latest(Path(name)):
        return lookup.latest(name=rundir.LAST).parent
    path = Path(name)
    rundir.mend(path)
    if path.name == rundir.LAST:
        path = path.parent
    lookup.check_exists(path, rundir.LAST)
    if not path.is_dir():
        raise CharrnnError(f"{path}: not a run's directory; {lookup.instead_of_going_on(path)}")
    if not (path / rundir.LAST).exists() and not lookup.is_of_members(path):
        lock.check_free(path, _WAIT)  # Only here: every rank asks for the path, and one of them may have opened it.
        raise CharrnnError(f"{path}: holds no {rundir.LAST} to go on from; {lookup.instead_of_going_on(path)}")
    files.check_takes_files(path, "copy the run to a place of your own (cp -r), and go on with that")
    return path


def _same_shape(initial: Checkpoint, shape: dict[str, Any]) -> dict[str, Any]:
    """The network's shape without its vocabulary; `UsageError` if what was given differs from it."""
    stored = replace(initial.model, pair_keys=()).to_json()
    del stored["vocab_size"]
    for name, value in shape.items():
        if value != stored[name]:
            raise UsageError(
                f"{option_name(name)} {value} differs from the checkpoint's, {stored[name]}; --init-from keeps its shape"
            )
    return stored


def _resumed_config(previous: Checkpoint, settings: dict[str, Any], shape: dict[str, Any]) -> TrainConfig:
    """The run's own settings with those that may change replaced by what was given."""
    try:
        stored = TrainConfig.from_json(previous.training["config"]).to_json()
    except (KeyError, TypeError, AttributeError, CharrnnError) as error:
        raise CharrnnError(f"{previous.path}: holds no sound training state to go on with; see --init-from") from error
    for name, value in {**settings, **shape}.items():
        before = stored[name] if name in stored else getattr(previous.model, name)
        if name not in MAY_CHANGE and value != before:
            raise UsageError(f"{option_name(name)} {value} differs from the run's own, {before}, and can't change on resume")
    if settings.keys() & {"steps", "epochs", "minutes"}:
        stored |= {"steps": None, "epochs": None, "minutes": None}
    return TrainConfig(**{**stored, **settings})
