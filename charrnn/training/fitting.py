"""From labelled texts to a classifier in its file: read, split, fit, measured beside yardsticks; torch only where it learns."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, UsageError, files
from charrnn.analysis import frozen
from charrnn.analysis.judge import TOGETHER, Judge, Reader
from charrnn.analysis.verdicts import Verdicts
from charrnn.analysis.yardsticks import Yardsticks
from charrnn.classifier_config import FEATURES, ClassifierConfig, FitConfig
from charrnn.config import ModelConfig
from charrnn.generation.generate import opening
from charrnn.network import checkpoint, classifier, lookup, rundir
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.classifier import Classifier
from charrnn.network.lock import DirectoryLock
from charrnn.text import sources
from charrnn.text.gathered import Encoded, Gathered
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import classify_recipe
from charrnn.training.split import Split

if TYPE_CHECKING:
    from charrnn.training.classify import Fit

YARDSTICK_SHARE = 0.12
"""The share of a run's time that the yardsticks may take."""
SPEED_SHARE, SPEED_SECONDS = 0.01, 0.8
"""The share of a run's time in which the machine's speed is measured, and the most seconds."""
AFTERWARDS = 0.02
"""The share that is left for the last figures and the file."""
MOST_FEATURES = 1 << 24
"""A head alone learns from so many texts that their features are about so many numbers at most."""


@dataclass(frozen=True)
class FitRequest:
    """What the user asked for; `UsageError` for what excludes each other."""

    path: str
    checkpoint: Path | None = None
    out: Path | None = None
    val: str | None = None
    frozen: bool = False
    pretrain: bool = False
    overwrite: bool = False
    model: Mapping[str, Any] = field(default_factory=dict)
    head: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.frozen and self.checkpoint is None:
            raise UsageError("--frozen trains the head alone on a trained network; name one by -c PATH")
        if self.frozen and (self.pretrain or self.head.get("bidirectional")):
            other = "--pretrain" if self.pretrain else "--bidirectional"
            raise UsageError(f"--frozen or {other}: give one, not both; a frozen network stays as it is")
        if self.checkpoint is not None and self.model:
            option = next(iter(self.model)).replace("num_", "").replace("_", "-")
            raise UsageError(f"--{option} is for a fresh network; that of -c has its own")
        FitConfig(**self.settings)

    @property
    def config(self) -> FitConfig:
        """The settings, with defaults where none were given."""
        return FitConfig(**self.settings)


# -- where it goes --------------------------------------------------------------------------------------------------------


class Place:
    """The directory of a new classifier, which no other process may fill meanwhile."""

    def __init__(self, request: FitRequest) -> None:
        """Make the directory; `CharrnnError` if it holds a classifier that isn't to be replaced, or can't be made."""
        self.path = request.out or _free(rundir.DEFAULT_ROOT / sources.stem(request.path))
        target = self.path / classifier.NAME
        if not request.overwrite:
            files.check_replaceable(target, "is there already; replace it by --overwrite, or choose another --out")
        self._made = [one for one in (self.path, *self.path.parents) if not one.exists()]
        with files.guard(self.path, "can't make the directory"):
            self.path.mkdir(parents=True, exist_ok=True)
        self._lock = DirectoryLock(self.path)
        files.remove_left_overs(target)

    @property
    def file(self) -> Path:
        """Where the classifier goes."""
        return self.path / classifier.NAME

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        with contextlib.suppress(OSError):
            for made in self._made:  # Where nothing was saved, nothing stays.
                made.rmdir()


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


# -- what is fitted --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fitted:
    """A classifier with what is known of it."""

    classifier: Classifier
    split: Split
    yardsticks: Yardsticks
    verdicts: Verdicts
    stopped: str | None

    @property
    def training(self) -> dict[str, Any]:
        """The facts of its training."""
        return {**self.classifier.training, "stopped": self.stopped}


def fit(
    request: FitRequest,
    split: Split,
    path: Path,
    elapsed: Callable[[], float],
    stop: Callable[[], str | None],
    told: Callable[[Any], None],
) -> Fitted:
    """Fit a classifier to ``split`` and write it to ``path``.

    ``elapsed`` are the seconds since the program began, ``stop`` gives a reason to end, ``told`` hears the yardsticks and then
    how the run stands.
    """
    config = request.config
    seconds = 60 * (config.minutes or 3.0) if config.epochs is None else None
    allowed = None if seconds is None else time.monotonic() + YARDSTICK_SHARE * max(0.0, seconds - elapsed())
    judged = split.judged
    trained = None if request.checkpoint is None else _to_start_from(request.checkpoint)
    yardsticks = Yardsticks.of(split.train.texts, split.train.labels, judged.texts, judged.labels, split.labels, allowed)
    told(yardsticks)
    if request.frozen:
        assert trained is not None
        deadline = None if seconds is None else time.monotonic() + seconds - elapsed()
        found = _frozen(request, trained, split, deadline, stop, told)
    else:
        found = _learned(request, trained, split, yardsticks, seconds, elapsed, stop, told)
    facts = {
        "corpus": sources.shown(request.path) if request.path == "-" else Path(request.path).name,
        "texts": len(split.train) + len(split.val),
        "seed": config.seed,
        "seconds": elapsed(),
        "frozen": request.frozen,
        "val_texts": len(split.val),
        "words_per_text": _words(split.train.texts),
    }
    done = replace(found, training={**facts, **found.training}, path=path)
    verdicts = Verdicts(Judge(done))
    verdicts.ask(judged.texts, judged.labels.tolist())
    if len(split.val):
        done = replace(done, training={**done.training, "val_accuracy": verdicts.figures.accuracy})
    classifier.write(path, done)
    return Fitted(done, split, yardsticks, verdicts, stop())


def _words(texts: Gathered) -> float:
    """Words of a text on average, from about a thousand texts all over."""
    some = texts[:: max(1, len(texts) // 1000)]
    return sum(len(text.split()) for text in some) / max(1, len(some))


def _learned(
    request: FitRequest,
    trained: Checkpoint | None,
    split: Split,
    yardsticks: Yardsticks,
    seconds: float | None,
    elapsed: Callable[[], float],
    stop: Callable[[], str | None],
    told: Callable[[Any], None],
) -> Classifier:
    config = ClassifierConfig(**request.head)
    vocabulary = _vocabulary(split, trained)
    ids = [Encoded(side.texts, vocabulary, opening(vocabulary), config.longest) for side in (split.train, split.val)]
    if cut := sum(side.cut for side in ids):
        texts = "1 text is" if cut == 1 else f"{cut:,} texts are"
        told(f"{texts} longer than the {config.longest:,} characters that are read (--longest); the rest doesn't count")

    def planned(model: Mapping[str, Any], speed: float | None = None) -> classify_recipe.Plan:
        return classify_recipe.plan(
            model, request.settings, ids[0].lengths, np.bincount(split.train.labels).tolist(), seconds, speed,
            pretrain=request.pretrain, trained=None if trained is None else trained.model, bidirectional=config.bidirectional,
        )  # fmt: skip

    def made(plan: classify_recipe.Plan) -> Fit:
        return _made(request, config, trained, split, yardsticks, vocabulary, ids, plan)

    speed = None
    if seconds is not None and trained is None and "hidden_size" not in request.model:
        usual = planned({**request.model, "hidden_size": classify_recipe.USUAL})
        speed = made(usual).speed(min(SPEED_SHARE * seconds, SPEED_SECONDS))
    # Who asks for the last state alone wants to know what a network that reads forwards still holds.
    free = trained is None and "bidirectional" not in request.head and request.head.get("feature") != "last"
    if free and classify_recipe.both_ways(int(ids[0].lengths.sum()), len(split.train), seconds, speed):
        config, speed = replace(config, bidirectional=True), None if speed is None else speed / 2
    run = made(plan := planned(request.model, speed))
    # The last figures and the file have their time too.
    limit = None
    if plan.seconds is not None:
        limit = plan.seconds * (1 - AFTERWARDS) - 0.5 - _judging(run, vocabulary, config, split)
    run.plan = replace(plan, seconds=limit)
    for progress in run.run(elapsed, stop):
        told(progress)
    best = run.best
    facts = {"epochs": best.epochs, "steps": run.step, "passes": run.step / max(1, run.steps_per_epoch)}
    chosen = replace(config, feature=best.feature, temperature=best.temperature)
    return Classifier(run.model, vocabulary, chosen, split.labels, facts, best.weights)


def _judging(run: Fit, vocabulary: Vocabulary, config: ClassifierConfig, split: Split) -> float:
    """How many seconds the last figures will take, by some of the texts; 0 where there are few."""
    judged = split.judged
    if len(judged) <= TOGETHER:
        return 0.0
    feature = run.features[-1]
    fresh = Classifier(run.model, vocabulary, replace(config, feature=feature), split.labels, {}, run.weights(feature))
    some = [judged.texts[place] for place in np.linspace(0, len(judged) - 1, TOGETHER).astype(int).tolist()]
    began = time.perf_counter()
    Judge(fresh).probabilities(some)
    return (time.perf_counter() - began) * len(judged) / TOGETHER


def _made(
    request: FitRequest,
    config: ClassifierConfig,
    trained: Checkpoint | None,
    split: Split,
    yardsticks: Yardsticks,
    vocabulary: Vocabulary,
    ids: Sequence[Encoded],
    plan: classify_recipe.Plan,
) -> Fit:
    from charrnn.training.augmentation import Examples
    from charrnn.training.classify import Fit

    if trained is None:
        shape = {"hidden_size": plan.hidden_size, "embedding_size": plan.embedding_size, **request.model}
        model = ModelConfig(vocabulary.size, **shape)
    else:
        from charrnn.training.snapshot import carried_pairs

        model = replace(trained.model, vocab_size=vocabulary.size, pair_keys=carried_pairs(trained, vocabulary))
    return Fit(
        model,
        config,
        plan,
        Examples(ids[0], split.train.labels),
        Examples(ids[1], split.val.labels),
        len(split.labels),
        (request.head["feature"],) if "feature" in request.head else FEATURES,
        None if trained is None else _carried(trained, vocabulary, model),
        vocabulary.unknown,
        int(vocabulary.encode(" ")[0]) if vocabulary.level == "byte" or " " in vocabulary.characters else None,
        lambda ids: yardsticks.learned.probabilities([vocabulary.decode(one[1:-1].tolist()) for one in ids]),
    )


def _vocabulary(split: Split, trained: Checkpoint | None) -> Vocabulary:
    """Every character of the texts, the mark around them, and what a trained network knows."""
    if trained is not None and trained.vocabulary.level == "byte":
        return trained.vocabulary
    known = set("\n") | set(trained.vocabulary.characters if trained is not None else "")
    for text in itertools.chain(split.train.texts, split.val.texts):
        known.update(text)
    return Vocabulary("char", "".join(sorted(character for character in known if not 0xD800 <= ord(character) < 0xE000)))


def _carried(trained: Checkpoint, vocabulary: Vocabulary, model: ModelConfig) -> dict[str, NDArray[np.float32]]:
    from charrnn.network import initial
    from charrnn.training.snapshot import carried_over

    fresh = initial.draw(model, np.random.default_rng(0))
    return carried_over(trained, vocabulary, {name: value.astype(np.float32) for name, value in fresh.items()})


def _frozen(
    request: FitRequest,
    trained: Checkpoint,
    split: Split,
    deadline: float | None,
    stop: Callable[[], str | None],
    told: Callable[[Any], None],
) -> Classifier:
    config, settings = ClassifierConfig(**request.head), request.config
    reader = Reader(trained.model, dict(trained.weights), ("last", "mean", "max"), bidirectional=False)
    judge = Judge(Classifier(trained.model, trained.vocabulary, config, split.labels, {}, trained.weights))
    learned = split.some_learned(max(1, MOST_FEATURES // reader.size))
    if len(learned) < len(split.train):
        told(
            f"the head learns from {len(learned):,} of the {len(split.train):,} texts, evenly spread; more don't fit in memory"
        )
    train, val = (
        reader.read([judge.ids(text) for text in side.texts]) if len(side) else np.zeros((0, reader.size), np.float32)
        for side in (learned, split.val)
    )
    counts = np.bincount(learned.labels, minlength=len(split.labels))
    weights = ((len(learned) / (len(split.labels) * counts)) ** settings.balance)[learned.labels].astype(np.float32)
    places = {
        name: slice(n * trained.model.hidden_size, (n + 1) * trained.model.hidden_size)
        for n, name in enumerate(reader.features)
    }
    best, chosen = frozen.Head({}, math.inf, 1.0), config.feature
    features = (request.head["feature"],) if "feature" in request.head else FEATURES
    for number, feature in enumerate(features):
        columns = np.r_[tuple(places[name] for name in feature.split("+"))]
        found = frozen.fitted(
            (train[:, columns], learned.labels),
            (val[:, columns], split.val.labels),
            len(split.labels),
            weights,
            config.head_size,
            settings.seed,
            frozen.share_of(deadline, len(features) - number),
            stop,
        )
        if found.loss < best.loss:
            best, chosen = found, feature
        if stop():
            break
    kept = {name: trained.weights[name] for name in classifier.reading_shapes(trained.model)}
    config = replace(config, feature=chosen, temperature=best.temperature)
    return Classifier(trained.model, trained.vocabulary, config, split.labels, {}, kept | best.weights)


def _to_start_from(path: Path) -> Checkpoint:
    """The language model that ``path`` means."""
    try:
        return checkpoint.read(lookup.resolve(path))
    except CharrnnError as error:
        if _is_classifier(path):
            starts = "a fit starts from a language model, or from nothing; for more texts, fit all of them anew, without -c"
            raise CharrnnError(f"{path}: it is a classifier; {starts}") from error
        raise


def _is_classifier(path: Path) -> bool:
    try:
        classifier.read_header(classifier.resolve(path))
    except CharrnnError:
        return False
    return True
