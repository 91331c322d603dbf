from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attacks
import numpy as np
import pytest
import small_networks
import torch
from small_networks import OF_TORCH
from torch import nn

from charrnn import CharrnnError
from charrnn.analysis.judge import Judge
from charrnn.classifier_config import ClassifierConfig
from charrnn.config import ModelConfig
from charrnn.network import checkpoint, classifier, lookup, rundir, tensorfile
from charrnn.text.vocabulary import Vocabulary


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return (
        small_networks.classifier(tmp_path / "yes-no", ("no", "yes"), feature="last+mean", bidirectional=True) / classifier.NAME
    )


def test_what_is_written_is_read(sound: Path) -> None:
    found = classifier.read(sound)
    again = sound.with_name("again.safetensors")
    classifier.write(again, found)
    other = classifier.read(again)
    assert (other.model, other.vocabulary, other.config, other.labels) == (
        found.model,
        found.vocabulary,
        found.config,
        found.labels,
    )
    assert all((other.weights[name] == found.weights[name]).all() for name in found.weights)
    assert time.time() - 60 < other.saved_at <= time.time()
    assert classifier.read_header(again).parameters == sum(value.size for value in found.weights.values())


@pytest.mark.parametrize("head_size", [None, 3])
@pytest.mark.parametrize("cell", OF_TORCH)
def test_torchs_own_bidirectional_layer_computes_the_same(cell: str, head_size: int | None, tmp_path: Path) -> None:
    config = ClassifierConfig(feature="last", bidirectional=True, head_size=head_size, temperature=2.0)
    model, vocabulary = ModelConfig(5, cell, 4, 1, 3), Vocabulary("char", "\nabc")
    rng = np.random.default_rng(0)
    shapes = classifier.parameter_shapes(model, config, 2)
    weights = {name: rng.normal(0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}
    made = classifier.Classifier(model, vocabulary, config, ("n", "y"), {}, weights)
    classifier.write(tmp_path / "c.safetensors", made)
    loaded = {
        name: torch.from_numpy(np.array(value)) for name, value in classifier.read(tmp_path / "c.safetensors").weights.items()
    }
    layer = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell](3, 4, batch_first=True, bidirectional=True)
    layer.load_state_dict({name.removeprefix("rnn."): value for name, value in loaded.items() if name.startswith("rnn.")})
    head = nn.Linear(8, 2) if head_size is None else nn.Sequential(nn.Linear(8, head_size), nn.Tanh(), nn.Linear(head_size, 2))
    head.load_state_dict({name.removeprefix("head."): value for name, value in loaded.items() if name.startswith("head.")})
    ids = torch.from_numpy(vocabulary.encode("\nabca\n").astype(np.int64))[None]
    with torch.no_grad():
        h, _ = layer(loaded["embedding.weight"][ids])
        logits = head(torch.cat([h[:, -1, :4], h[:, 0, 4:]], 1)) / 2
    assert Judge(made).probabilities(["abca"])[0] == pytest.approx(logits.softmax(1).numpy()[0], abs=1e-5)


def changed(path: Path, fact: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """The file with one of its header's JSON texts changed."""
    header, body = attacks.split(path.read_bytes())
    value = json.loads(header["__metadata__"][fact])
    change(value)
    header["__metadata__"][fact] = json.dumps(value)
    path.write_bytes(attacks.join(header, body))
    return path


@pytest.mark.parametrize(
    ("fact", "change", "words"),
    [
        ("classifier", lambda value: value.update(labels=["one"]), "labels"),
        ("classifier", lambda value: value.update(labels=["same", "same"]), "labels"),
        ("classifier", lambda value: value.update(labels=["", "b"]), "labels"),
        ("classifier", lambda value: value.update(labels="no"), "labels"),
        ("classifier", lambda value: value.update(labels=["x" * 600, "b"]), "labels"),
        ("classifier", lambda value: value.update(labels=["a\ud83d", "b"]), "labels"),
        ("classifier", lambda value: value.pop("labels"), "damaged"),
        ("classifier", lambda value: value.update(labels=["a", "b", "c"]), "head.weight"),
        ("classifier", lambda value: value.update(feature="median"), "its feature must be last, mean, max or last+mean"),
        ("classifier", lambda value: value.update(temperature=0), "must be a number of at least 0.001"),
        ("classifier", lambda value: value.update(temperature=float("nan")), "must be a number of at least 0.001"),
        ("classifier", lambda value: value.update(longest=10**12), "its longest must be"),
        ("classifier", lambda value: value.update(head_size=7), "missing"),
        ("model", lambda value: value.update(hidden_size=60_000), "expected"),
        ("vocabulary", lambda value: value.update(characters="ab"), "symbols"),
        ("training", lambda value: value.update(seconds=float("inf")), "damaged"),
        ("training", lambda value: value.update(texts="many"), "damaged"),
    ],
)
def test_a_changed_header_is_refused(fact: str, change: Callable[[dict[str, Any]], None], words: str, sound: Path) -> None:
    with pytest.raises(CharrnnError) as caught:
        classifier.read(changed(sound, fact, change))
    assert str(caught.value).startswith(f"{sound}: not a usable classifier: ")
    assert words in str(caught.value)


def test_no_damage_crashes_the_reader(sound: Path, tmp_path: Path) -> None:
    data, path = sound.read_bytes(), tmp_path / "damaged.safetensors"
    damaged, said = [*attacks.truncations(data), *attacks.mutations(data, 100, 1)], list[str]()
    for _, changed in damaged:
        path.write_bytes(changed)
        try:
            classifier.read(path)
        except CharrnnError as error:
            said.append(str(error))
    assert len(said) > 150
    assert all(line.startswith(f"{path}: ") and line.isprintable() for line in said)


def test_a_version_to_come_is_refused_by_its_number(sound: Path) -> None:
    header, body = attacks.split(sound.read_bytes())
    header["__metadata__"]["version"] = "3"
    sound.write_bytes(attacks.join(header, body))
    with pytest.raises(CharrnnError, match="its format is version 3, this charrnn reads versions 1 and 2"):
        classifier.read(sound)


def test_each_kind_of_network_says_what_the_other_is(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(CharrnnError, match="it is a classifier of texts, which charrnn classify predict and evaluate read"):
        checkpoint.read(sound)
    language = small_networks.network(tmp_path / "novel")
    with pytest.raises(CharrnnError, match="it is a language model, which charrnn sample, score, next and inspect read"):
        classifier.read(language / rundir.BEST)
    with pytest.raises(CharrnnError, match="holds a language model, no classifier; make one of it by charrnn classify fit"):
        classifier.resolve(language)
    with pytest.raises(CharrnnError, match="holds a classifier of texts, which charrnn classify predict reads"):
        lookup.resolve(sound.parent)
    header, other = json.dumps({"__metadata__": {"format": "pt"}}).encode(), tmp_path / "other.safetensors"
    other.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CharrnnError, match="it was not written by charrnn"):
        classifier.read(other)


def test_the_latest_of_each_kind_is_found_among_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CharrnnError, match="no classifier here yet; make one by charrnn classify fit LABELLED"):
        classifier.resolve(None)
    small_networks.classifier(Path("checkpoints/old"))
    small_networks.network(Path("checkpoints/novel"))
    newer = small_networks.classifier(Path("checkpoints/new"))
    small_networks.network(Path("checkpoints/both"))
    (Path("checkpoints/damaged")).mkdir()
    (Path("checkpoints/damaged") / classifier.NAME).write_bytes(b"nonsense")
    assert classifier.resolve(None) == newer / classifier.NAME
    assert classifier.resolve(Path("latest")) == newer / classifier.NAME
    assert lookup.resolve(None) == Path("checkpoints/both") / rundir.BEST
    assert classifier.resolve(newer) == newer / classifier.NAME
    assert tensorfile.is_of(newer / classifier.NAME, classifier.FORMAT)
    assert not tensorfile.is_of(newer / classifier.NAME, checkpoint.FORMAT)
