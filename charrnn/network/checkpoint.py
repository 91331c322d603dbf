"""Checkpoints: one ``.safetensors`` file each, written whole or not at all, and read without trusting it.

The header holds three JSON texts: ``model`` (`ModelConfig`), ``vocabulary``, and ``training`` (facts: corpus, seed, step,
seconds, bits per character, ...); of a network that was calibrated also ``calibration``, ``{"temperature": T}``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, files
from charrnn.config import MANY, ModelConfig
from charrnn.limits import Interval
from charrnn.network import tensorfile
from charrnn.network.tensorfile import TensorFile
from charrnn.text.records import Records
from charrnn.text.vocabulary import Vocabulary

FORMAT = tensorfile.Format(
    "checkpoint", "charrnn", "1", ("model", "vocabulary", "training"), optional=("calibration",), later=(tensorfile.PAIRS,)
)

ROW_RMS = "row_rms."
"""Before the name of a matrix: the root mean square of its gradients in training, a number for each row."""

TEMPERATURES = Interval(0.01, 100)
"""What a calibration's temperature may be; those that are of any use are near 1."""

_VALIDATION = ("val_bits_per_char", "val_standard_error", "val_scored_characters", "val_bits_per_char_calibrated")
_YARDSTICKS = ("unigram_bits_per_char", "xz_bits_per_char")
_NUMBERS = ("characters", "corpus_bytes", *_VALIDATION, *_YARDSTICKS, "step", "epochs", "seconds", "seed")
"""The facts of training that are numbers or null."""

TRAINING_FACTS = (
    "corpus",
    "characters",
    "corpus_bytes",
    "corpus_sha256",
    *_VALIDATION,
    *_YARDSTICKS,
    "step",
    "epochs",
    "seconds",
    "seed",
)
"""What `facts` tells of a network's training, where its checkpoint says so."""


class Saved:
    """What is told of any network in a file: when it was written."""

    training: Mapping[str, Any]
    path: Path

    @property
    def saved_at(self) -> float:
        """When the checkpoint was written, in seconds since 1970; 0 where the file doesn't say."""
        when = self.training.get("saved_at")
        try:
            seconds = float(when) if isinstance(when, int | float) else 0.0
        except OverflowError:
            return 0.0
        return seconds if math.isfinite(seconds) else 0.0

    @property
    def when(self) -> str:
        """`saved_at` as local date and time."""
        try:
            return datetime.fromtimestamp(self.saved_at).strftime("%Y-%m-%d %H:%M") if self.saved_at else ""
        except (OverflowError, OSError, ValueError):
            return ""


@dataclass(frozen=True)
class Checkpoint(Saved):
    """A network with its vocabulary and the facts of its training.

    ``weights`` are those of `ModelConfig.parameter_shapes`, float32. ``extra`` holds, by name, the other arrays that training
    needs to go on; in a ``best.safetensors`` it holds `row_rms` at most. ``temperature`` is what logits are divided by before
    they become probabilities (Guo et al. 2017), 1 of a network that wasn't calibrated.
    """

    model: ModelConfig
    vocabulary: Vocabulary
    training: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    path: Path = Path()
    temperature: float = 1.0

    @property
    def characters(self) -> int | None:
        """How long the text was that the network was trained on; None where the file doesn't say."""
        found = self.training.get("characters")
        return int(found) if found is not None and found >= 1 else None

    @property
    def newline(self) -> int | None:
        """The symbol that begins each record, of a network that learned records; None of one that learned a text as a whole."""
        known = self.vocabulary.level == "byte" or "\n" in self.vocabulary.characters
        return int(self.vocabulary.encode("\n")[0]) if known and records_of(self.training) is not None else None

    @property
    def row_rms(self) -> dict[str, NDArray[np.float32]]:
        """The root mean square of the gradients of each row in training, (M,), by the matrices' names; none in older files."""
        return {name: self.extra[ROW_RMS + name] for name in self.weights if ROW_RMS + name in self.extra}


def check_place(path: Path) -> None:
    """`CharrnnError` if no checkpoint can be written to ``path``: nothing that is there is replaced."""
    files.check_place(path, "is there already, and nothing is overwritten; name another file")


def adapted(trained: Checkpoint, weights: Mapping[str, NDArray[Any]], text: str, characters: int) -> Checkpoint:
    """``trained`` with the ``weights`` that it has after adapting to so many characters of ``text``.

    What it scored on its own validation text isn't true of them.
    """
    known = {name: value for name, value in trained.training.items() if name not in _VALIDATION}
    facts = {**known, "adapted": {"text": text, "characters": characters}}
    kept = {ROW_RMS + name: rms for name, rms in trained.row_rms.items()}
    return replace(trained, training=facts, weights=weights, extra=kept)


def adaptation_of(training: Mapping[str, Any]) -> dict[str, Any] | None:
    """The ``text`` that a network with these facts has adapted to since its training, and how many ``characters`` of it."""
    told = training.get("adapted")
    if not isinstance(told, dict):
        return None
    text, characters = told.get("text"), told.get("characters")
    sound = isinstance(text, str) and type(characters) is int and 0 <= characters < MANY
    return {"text": text, "characters": characters} if sound else None


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path``, whole or not at all; `CharrnnError` if that fails."""
    facts = {
        "model": checkpoint.model.to_json(),
        "vocabulary": checkpoint.vocabulary.to_json(),
        "training": {**checkpoint.training, "saved_at": time.time()},
    }
    if checkpoint.temperature != 1:
        facts["calibration"] = {"temperature": checkpoint.temperature}
    weights = {name: np.asarray(value, dtype=np.float32) for name, value in checkpoint.weights.items()}
    tensorfile.write(path, FORMAT, facts, {**weights, **checkpoint.extra}, version=version(checkpoint.model))


def version(model: ModelConfig) -> str:
    """The version of a file that holds such a network: one with vectors for pairs means nothing to a reader of version 1."""
    return tensorfile.PAIRS if model.pair_keys else FORMAT.version


def read(path: Path) -> Checkpoint:
    """Read the checkpoint file ``path``; where it isn't sound, raise a `CharrnnError` that names the file and the fault."""
    with tensorfile.opened(path, FORMAT) as file:
        found = _described(file)
        expected = found.model.parameter_shapes()
        for name, shape in expected.items():
            file.expect(name, np.float32, shape)
            if (rms := ROW_RMS + name) in file.entries:
                file.expect(rms, np.float32, shape[:1])
        arrays = {name: file.array(name) for name in file.entries}
    weights = {name: arrays.pop(name) for name in expected}
    return replace(found, weights=weights, extra=arrays)


def read_header(path: Path) -> Checkpoint:
    """Like `read`, but without the arrays."""
    with tensorfile.opened(path, FORMAT) as file:
        return _described(file)


def records_of(training: Mapping[str, Any]) -> Records | None:
    """The list of records that a network with these facts was trained on; None for one that learned a text as a whole."""
    return Records.from_json(training.get("records"))


def setting_of(training: Mapping[str, Any], name: str) -> str | None:
    """The word that the settings of a run with these facts have under ``name``; None if there is none."""
    config = training.get("config")
    value = config.get(name) if isinstance(config, dict) else None
    return value if isinstance(value, str) else None


def facts(found: Checkpoint) -> dict[str, Any]:
    """What a checkpoint's header tells, as JSON values."""
    model, records = found.model, records_of(found.training)
    return {
        "path": str(found.path),
        "cell": model.cell,
        "layers": model.num_layers,
        "hidden_size": model.hidden_size,
        "embedding_size": model.embedding_size,
        "parameters": model.parameters,
        "level": found.vocabulary.level,
        "vocab_size": model.vocab_size,
        "pairs": len(model.pair_keys),
        **{name: found.training.get(name) for name in TRAINING_FACTS},
        **({} if records is None else {"records": records.to_json()}),
        **({} if (adapted_to := adaptation_of(found.training)) is None else {"adapted": adapted_to}),
        "calibration": None if found.temperature == 1 else {"temperature": found.temperature},
        "when": found.when,
    }


def _described(file: TensorFile) -> Checkpoint:
    """The checkpoint without its arrays."""
    try:
        model = ModelConfig.from_json(file.facts["model"])
        vocabulary = Vocabulary.from_json(file.facts["vocabulary"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise file.fault("its header is damaged") from error
    except CharrnnError as error:
        raise file.fault(str(error)) from error
    training = file.record("training", _NUMBERS)
    if vocabulary.size != model.vocab_size:
        raise file.fault(f"its vocabulary has {vocabulary.size} symbols, its network {model.vocab_size}")
    calibration = file.facts.get("calibration", {"temperature": 1.0})
    temperature: Any = calibration.get("temperature") if isinstance(calibration, dict) else None
    if temperature not in TEMPERATURES:
        raise file.fault(f"its calibration must have a temperature that is {TEMPERATURES}")
    return Checkpoint(model, vocabulary, training, path=file.path, temperature=float(temperature))
