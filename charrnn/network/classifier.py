"""A classifier in one ``.safetensors`` file: a network that reads texts, and a head that decides which label each has.

The header holds four JSON texts: ``model`` (`ModelConfig`), ``vocabulary``, ``classifier`` (`ClassifierConfig` and the
labels), and ``training`` (facts). Shapes: C labels, F numbers that the head sees.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.classifier_config import ClassifierConfig
from charrnn.config import ModelConfig
from charrnn.network import lock, lookup, rundir, tensorfile
from charrnn.network.checkpoint import Saved, version
from charrnn.network.tensorfile import TensorFile
from charrnn.text.vocabulary import Vocabulary

NAME = rundir.CLASSIFIER
FORMAT = tensorfile.Format(
    "classifier",
    "charrnn-classifier",
    "1",
    ("model", "vocabulary", "classifier", "training"),
    later=(tensorfile.PAIRS,),
    made_by="charrnn classify fit makes a classifier",
)
_NUMBERS = ("texts", "val_texts", "val_accuracy", "epochs", "steps", "seconds", "seed", "words_per_text")
"""The facts of training that are numbers or null."""
MOST_LABELS = 10_000
LONGEST_LABEL = 500

_NO_CLASSIFIER = "the directory holds a language model, no classifier; make one of it by charrnn classify fit LABELLED"

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Classifier(Saved):
    """A network with its vocabulary, a head with its labels, and the facts of their training.

    ``weights`` are those of `parameter_shapes`, float32.
    """

    model: ModelConfig
    vocabulary: Vocabulary
    config: ClassifierConfig
    labels: tuple[str, ...]
    training: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    path: Path = Path()

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(int(np.prod(shape)) for shape in parameter_shapes(self.model, self.config, len(self.labels)).values())


def parameter_shapes(model: ModelConfig, config: ClassifierConfig, labels: int) -> Shapes:
    """Name and shape of every weight, in ``torch.nn``'s names.

    ``embedding.weight`` and ``rnn.*_l0`` are those of a language model; ``rnn.*_l0_reverse`` read the text backwards. The head
    is ``head.weight`` (C, F) and ``head.bias``; with a hidden layer ``head.0.*`` and ``head.2.*``, a tanh between them.
    """
    shapes = reading_shapes(model)
    if config.bidirectional:
        shapes |= {reverse(name): shape for name, shape in shapes.items() if name.startswith("rnn.")}
    inputs = feature_size(model, config)
    if config.head_size is None:
        return shapes | {"head.weight": (labels, inputs), "head.bias": (labels,)}
    hidden = config.head_size
    return shapes | {
        "head.0.weight": (hidden, inputs),
        "head.0.bias": (hidden,),
        "head.2.weight": (labels, hidden),
        "head.2.bias": (labels,),
    }


def reading_shapes(model: ModelConfig) -> Shapes:
    """The weights of a language model without its head."""
    return {name: shape for name, shape in model.parameter_shapes().items() if not name.startswith("head.")}


def reverse(name: str) -> str:
    """What a recurrent layer's weight is called in the network that reads backwards."""
    return f"{name}_reverse"


def feature_size(model: ModelConfig, config: ClassifierConfig) -> int:
    """F, how many numbers the head sees of a text."""
    return model.hidden_size * len(config.feature.split("+")) * (2 if config.bidirectional else 1)


def write(path: Path, classifier: Classifier) -> None:
    """Write ``classifier`` to ``path``, whole or not at all; `CharrnnError` if that fails."""
    facts = {
        "model": classifier.model.to_json(),
        "vocabulary": classifier.vocabulary.to_json(),
        "classifier": {**classifier.config.to_json(), "labels": list(classifier.labels)},
        "training": {**classifier.training, "saved_at": time.time()},
    }
    weights = {name: np.asarray(value, dtype=np.float32) for name, value in classifier.weights.items()}
    tensorfile.write(path, FORMAT, facts, weights, version=version(classifier.model))


def read(path: Path) -> Classifier:
    """Read the classifier in ``path``; where it isn't sound, raise a `CharrnnError` that names the file and the fault."""
    with tensorfile.opened(path, FORMAT) as file:
        found = _described(file)
        expected = parameter_shapes(found.model, found.config, len(found.labels))
        for name, shape in expected.items():
            file.expect(name, np.float32, shape)
        weights = {name: file.array(name) for name in expected}
    return Classifier(found.model, found.vocabulary, found.config, found.labels, found.training, weights, path)


def read_header(path: Path) -> Classifier:
    """Like `read`, but without the arrays."""
    with tensorfile.opened(path, FORMAT) as file:
        return _described(file)


def facts(found: Classifier) -> dict[str, Any]:
    """What `charrnn info` tells of a classifier."""
    model = found.model
    return {
        "path": str(found.path),
        "kind": "classifier",
        "cell": model.cell,
        "layers": model.num_layers,
        "hidden_size": model.hidden_size,
        "embedding_size": model.embedding_size,
        "parameters": found.parameters,
        "level": found.vocabulary.level,
        "vocab_size": model.vocab_size,
        "pairs": len(model.pair_keys),
        **found.config.to_json(),
        "labels": list(found.labels),
        **{
            name: found.training.get(name)
            for name in ("corpus", "texts", "val_texts", "val_accuracy", "epochs", "seconds", "seed")
        },
        "when": found.when,
    }


def resolve(path: Path | None) -> Path:
    """The file that ``path`` means: itself, the one in a directory, or the latest under ``checkpoints`` for None or latest."""
    if path is None or lookup.means_latest(path):
        return _latest()
    lookup.check_exists(path, NAME)
    if path.is_dir():
        if not (path / NAME).exists():
            if (path / rundir.BEST).exists():
                raise CharrnnError(f"{path}: {_NO_CLASSIFIER} -c {path}")
            lock.check_saved(path)
            meant = lookup.namesake(path, NAME)
            advice = f"is it {meant}?" if meant else "make one by charrnn classify fit LABELLED"
            raise CharrnnError(f"{path}: the directory holds no {NAME}; {advice}")
        return path / NAME
    lookup.check_no_text(path, NAME)
    return path


def _latest() -> Path:
    newest: Classifier | None = None
    for path in lookup.checkpoints_under(rundir.DEFAULT_ROOT, NAME):
        with contextlib.suppress(CharrnnError):
            found = read_header(path)
            if newest is None or found.saved_at > newest.saved_at:
                newest = found
    if newest is None:
        lookup.check_saved_under(rundir.DEFAULT_ROOT)
        raise CharrnnError(
            f"{rundir.DEFAULT_ROOT}: no classifier here yet; make one by charrnn classify fit LABELLED, or name one by -c PATH"
        )
    return newest.path


def _described(file: TensorFile) -> Classifier:
    """The classifier without its arrays."""
    try:
        model = ModelConfig.from_json(file.facts["model"])
        vocabulary = Vocabulary.from_json(file.facts["vocabulary"])
        told = file.facts["classifier"]
        config, labels = ClassifierConfig.from_json(told), told["labels"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise file.fault("its header is damaged") from error
    except CharrnnError as error:
        raise file.fault(str(error)) from error
    sound = isinstance(labels, list) and all(isinstance(label, str) and 0 < len(label) <= LONGEST_LABEL for label in labels)
    sound = sound and not re.search("[\ud800-\udfff]", "".join(labels))  # Halves of characters can't be printed.
    if not sound or not 2 <= len(labels) <= MOST_LABELS or len(set(labels)) != len(labels):
        raise file.fault("its labels are not different texts, two or more")
    training = file.record("training", _NUMBERS)
    if vocabulary.size != model.vocab_size:
        raise file.fault(f"its vocabulary has {vocabulary.size} symbols, its network {model.vocab_size}")
    return Classifier(model, vocabulary, config, tuple(labels), training, path=file.path)
