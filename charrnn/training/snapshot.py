"""What a run consists of while it trains, what a ``last`` checkpoint keeps of it, and where checkpoints go.

Everything random is keyed by (seed, step), so a snapshot is weights, optimizer moments, the carried state and a few numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charrnn import CharrnnError
from charrnn.config import MANY, ModelConfig, TrainConfig
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.pairs import moved
from charrnn.text.corpus import Corpus
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import events
from charrnn.training.events import Event
from charrnn.training.model import CharRNN
from charrnn.training.optimizer import Optimizer
from charrnn.training.row_rms import RowRMS

Kind = Literal["best", "last"]


@dataclass
class Progress:
    """Where a run stands; with the tensors of a snapshot, all that is needed to go on."""

    step: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    schedule_from: float = 0.0  # in steps, or in seconds where minutes are the budget
    next_mark: int = 0
    eval_characters: int = 0
    best_val_bits_per_char: float | None = None
    best_step: int | None = None
    optimizer_steps: int = 0
    attempt: int = 1  # one more with every rewind, and with every learning rate given on resume
    rewinds: int = 0  # since a learning rate was last given
    rate_scale: float = 1.0  # halved by a rewind
    loss_scale: float = 65536.0
    loss_scale_growth: int = 0
    watched_steps: float = 0.0  # since the latest evaluation, with the sum of their gradients' norms and how many were clipped
    watched_norms: float = 0.0
    watched_clips: float = 0.0
    unjudged_steps: float = 0.0  # the same since advice was last given on them
    unjudged_norms: float = 0.0
    unjudged_clips: float = 0.0


def read_training_state(snapshot: Checkpoint) -> tuple[TrainConfig, Progress]:
    """The settings and the progress that a ``last`` checkpoint holds; `CharrnnError` naming its file if it holds none."""
    facts = snapshot.training
    try:
        # Before there was `rewinds`, only a rewind began another attempt.
        known = {"rewinds": facts["progress"].get("attempt", 1) - 1, **facts["progress"]}
        config, progress = TrainConfig.from_json(facts["config"]), Progress(**known)
        for name, default in vars(Progress()).items():
            value = getattr(progress, name)
            if default is None and value is None:
                continue
            limit = math.inf if name in ("best_val_bits_per_char", "watched_norms", "unjudged_norms") else MANY
            if type(value) not in ((int,) if type(default) is int else (int, float)) or not 0 <= value < limit:
                raise ValueError(name)
        if not all(isinstance(path, str) for path in facts.get("corpus_paths", [])):
            raise TypeError("corpus_paths")
    except (KeyError, TypeError, ValueError, AttributeError, CharrnnError) as error:
        raise CharrnnError(f"{snapshot.path}: holds no sound training state to go on with; see --init-from") from error
    return config, progress


class TrainingState:
    """All that changes while a run trains: network, optimizer, loss scale, carried hidden state, progress."""

    def __init__(self, model: CharRNN, optimizer: Optimizer, scaler: torch.amp.GradScaler, columns: int) -> None:
        self.model, self.optimizer, self.scaler = model, optimizer, scaler
        self.row_rms = RowRMS(model.weights())
        self.carried = model.initial_state(columns)
        """The hidden state of every column, (L, P, columns, H)."""
        self.watched = torch.zeros(3, device=self.carried.device)
        """Steps, gradient norms and clipped steps since the latest evaluation, summed, (3,)."""
        self.progress = Progress()

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Copies of what a snapshot holds beside the weights, by name; brings `progress` up to date."""
        p = self.progress
        moments, p.optimizer_steps = self.optimizer.state()
        if self.scaler.is_enabled():
            scaler = self.scaler.state_dict()
            p.loss_scale, p.loss_scale_growth = float(scaler["scale"]), int(scaler["_growth_tracker"])
        p.watched_steps, p.watched_norms, p.watched_clips = self.watched.tolist()
        return {name: _array(tensor) for name, tensor in {"state": self.carried, **moments}.items()} | self.kept()

    def kept(self) -> dict[str, NDArray[np.float32]]:
        """Copies of what any checkpoint holds beside the weights, by name."""
        return {name: _array(tensor) for name, tensor in self.row_rms.tensors().items()}

    def take_watched(self) -> tuple[float | None, float | None]:
        """Mean gradient norm and share of clipped steps since the latest call; None and None if there were no steps."""
        steps, norms, clips = self.watched.tolist()
        self.watched = torch.zeros_like(self.watched)
        p = self.progress
        p.unjudged_steps += steps
        p.unjudged_norms += norms
        p.unjudged_clips += clips
        return (norms / steps, clips / steps) if steps else (None, None)

    def take_many_watched(self, enough: int) -> tuple[float | None, float | None]:
        """The same over all steps since this gave an answer; None and None while they are fewer than ``enough``."""
        p = self.progress
        if p.unjudged_steps < enough:
            return None, None
        means = p.unjudged_norms / p.unjudged_steps, p.unjudged_clips / p.unjudged_steps
        p.unjudged_steps = p.unjudged_norms = p.unjudged_clips = 0.0
        return means

    def restore(self, snapshot: Checkpoint, *, other_text: bool) -> TrainConfig:
        """Go back to ``snapshot`` and return the settings that it was made with.

        With ``other_text`` the text may have grown or shrunk to another number of columns, whose states then begin at zero.

        Raises:
            CharrnnError: the snapshot doesn't fit the network and the text, or holds no training state.
        """
        stored, p = read_training_state(snapshot)
        shapes = {"state": tuple(self.carried.shape)} | self.optimizer.state_shapes()
        tensors: dict[str, Tensor] = {}
        for name, shape in shapes.items():
            found = snapshot.extra.get(name)
            if name == "state" and found is not None and other_text and _differ_in_columns(found.shape, shape):
                tensors[name] = self.carried
                continue
            if found is None or found.shape != shape or found.dtype != np.float32:
                raise CharrnnError(f"{snapshot.path}: its training state ({name}) doesn't fit this network and text")
            tensors[name] = torch.from_numpy(np.array(found))
        self.model.load(snapshot.weights)
        self.row_rms.restore(snapshot.row_rms)
        self.carried = tensors.pop("state").to(self.carried.device)
        self.optimizer.restore(tensors, p.optimizer_steps)
        if self.scaler.is_enabled():
            scale = {"scale": p.loss_scale, "_growth_tracker": p.loss_scale_growth}
            self.scaler.load_state_dict({**self.scaler.state_dict(), **scale})
        self.watched = torch.tensor([p.watched_steps, p.watched_norms, p.watched_clips], device=self.watched.device)
        self.progress = p
        return stored


def is_finite(snapshot: Checkpoint) -> bool:
    """Whether every number of its weights and tensors is finite."""
    return all(np.isfinite(array).all() for part in (snapshot.weights, snapshot.extra) for array in part.values())


def _differ_in_columns(shape: tuple[int, ...], own: tuple[int, ...]) -> bool:
    """Whether two shapes (L, P, columns, H) differ in the columns alone."""
    return shape != own and (*shape[:2], *shape[3:]) == (*own[:2], *own[3:])


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().to("cpu", torch.float32, copy=True).numpy()


# -- a trained network for another vocabulary ------------------------------------------------------------------------


def carried_over(
    trained: Checkpoint, vocabulary: Vocabulary, fresh: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """The weights of ``trained`` for another vocabulary: each character takes its rows of the embedding and the head along.

    Characters that ``trained`` doesn't know keep their rows of ``fresh``; the pairs are those of `carried_pairs`.
    """
    was, now = ({symbol: row for row, symbol in enumerate(symbols(v))} for v in (trained.vocabulary, vocabulary))
    pairs = [(row, was[symbol]) for symbol, row in now.items() if symbol in was]
    rows, sources = (np.array(column, dtype=np.intp) for column in zip(*pairs, strict=True))
    weights = {name: np.array(value) for name, value in trained.weights.items()}
    for name in ("embedding.weight", "head.weight", "head.bias"):
        weights[name] = np.array(fresh[name])
        weights[name][rows] = trained.weights[name][sources]
    if trained.model.pair_keys:
        weights["pairs.weight"] = weights["pairs.weight"][[*_moved_pairs(trained, vocabulary).values()]]
    return weights


def carried_pairs(trained: Checkpoint, vocabulary: Vocabulary) -> tuple[int, ...]:
    """The pairs of ``trained`` in another vocabulary, without those of a character that it lacks: `ModelConfig.pairs`."""
    return tuple(_moved_pairs(trained, vocabulary))


def _moved_pairs(trained: Checkpoint, vocabulary: Vocabulary) -> dict[int, int]:
    return moved(trained.model.pair_keys, symbols(trained.vocabulary), symbols(vocabulary))


def symbols(vocabulary: Vocabulary) -> list[int | str | None]:
    """What each id stands for; None is the unknown character."""
    return list(range(256)) if vocabulary.level == "byte" else [*vocabulary.characters, None]


# -- where checkpoints go --------------------------------------------------------------------------------------------


class Store(Protocol):
    """Where checkpoints go; a run directory is one."""

    def save(self, kind: str, checkpoint: Checkpoint) -> Path:
        """Keep ``checkpoint`` as the run's ``best`` or ``last`` and return its path; `CharrnnError` if that fails."""

    def load(self, kind: str) -> Checkpoint | None:
        """Return what was kept as ``kind``; None if it is gone."""

    def set_aside(self, kind: str) -> Path:
        """Rename what was kept as ``kind`` and return its new path; `CharrnnError` if that fails."""


class Saves:
    """A run's checkpoints on their way into a `Store`. What can't be written now is tried again with the next save."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unsaved: dict[Kind, Checkpoint] = {}
        self.best: Checkpoint | None = None
        self.best_path: Path | None = None

    @property
    def complete(self) -> bool:
        """Whether everything could be written."""
        return not self._unsaved

    def adopt_best(self, p: Progress, model: ModelConfig, corpus: Corpus, *, text_changed: bool) -> Iterator[Event]:
        """Go on from the best network of the processes before this one, if its file is still there and is of this run.

        A network of another run is set aside, and a warning says so; so is one of another text, unless the run's text changed.
        """
        best = self._store.load("best")
        same_text = best is not None and corpus.is_text_of(best.training)
        if best is None or not same_text:
            p.best_val_bits_per_char = p.best_step = None
        if best is None:
            return
        if (best.model, best.vocabulary) != (model, corpus.vocabulary) or not (same_text or text_changed):
            p.best_val_bits_per_char = p.best_step = None
            yield self._without(best)
            return
        if not same_text:
            return
        self.best, self.best_path = best, best.path

    def _without(self, stranger: Checkpoint) -> Event:
        try:
            name = self._store.set_aside("best").name
        except CharrnnError as error:
            return events.warning(f"{error}; it is of another run, and this one goes on without it")
        return events.warning(f"{stranger.path}: is of another run; it is called {name} now, and this run goes on without it")

    def keep(self, kind: Kind, checkpoint: Checkpoint) -> Iterator[Event]:
        """Write ``checkpoint``; a failure is a warning."""
        if kind == "best":
            self.best = checkpoint
        try:
            path = self._store.save(kind, checkpoint)
        except CharrnnError as error:
            self._unsaved[kind] = checkpoint
            yield events.warning(f"{error}; the next save tries again")
            return
        self._unsaved.pop(kind, None)
        if kind == "best":
            self.best_path = path
        yield {"event": "saved", "path": str(path), "kind": kind}

    def keep_best_again(self) -> Iterator[Event]:
        """Write the best network once more if that failed before, or if its file was removed meanwhile."""
        if self.best is not None and ("best" in self._unsaved or self._store.load("best") is None):
            yield from self.keep("best", self.best)
