"""texts: a run says of its text where it lies and which files it has, and knows it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from charrnn import CharrnnError, UsageError
from charrnn.config import ModelConfig, TrainConfig
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.corpus import Corpus
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import texts

DEFAULTS = TrainConfig(steps=1)


def read(*names: str) -> Corpus:
    return texts.read([*names], DEFAULTS, pytest.fail, verify=False, tell=lambda _: None)


def checkpoint(facts: dict[str, object]) -> Checkpoint:
    vocabulary = Vocabulary("char", "ab")
    return Checkpoint(ModelConfig(vocabulary.size, embedding_size=2, hidden_size=2), vocabulary, facts, {}, path=Path("last"))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ch").mkdir()
    for number, name in enumerate(("ch/1.txt", "ch/2.txt", "b.txt"), 20):
        (tmp_path / name).write_text("ab" * number)
    return tmp_path


def test_files_are_told_as_they_were_named(tree: Path) -> None:
    facts = texts.facts(["ch", "b.txt"], read("ch", "b.txt"), tree / "run")
    assert facts == {"corpus_paths": ["../ch", "../b.txt"], "corpus_files": ["../ch/1.txt", "../ch/2.txt", "../b.txt"]}


def test_many_files_are_not_listed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MOST_FILES", 2)
    text = read("ch", "b.txt")
    facts = texts.facts(["ch", "b.txt"], text, tree / "run")
    assert facts["corpus_files"] == []
    (tree / "ch" / "3.txt").write_text("ba")
    with pytest.raises(CharrnnError, match="not the text that last was trained on; --allow-changed-corpus"):
        texts.check_same(checkpoint({**text.facts(), **facts}), read("ch", "b.txt"), DEFAULTS, allowed=False)


def test_other_files_are_named(tree: Path) -> None:
    text = read("ch")
    facts = {**text.facts(), **texts.facts(["ch"], text, tree / "run")}
    texts.check_same(checkpoint(facts), text, DEFAULTS, allowed=False)
    (tree / "ch" / "1.txt").rename(tree / "ch" / "0.txt")
    (tree / "ch" / "0.txt").write_text("b")
    with pytest.raises(CharrnnError, match=r"trained on \(new: 0.txt; gone: 1.txt\); --allow"):
        texts.check_same(checkpoint(facts), read("ch"), DEFAULTS, allowed=False)


def test_a_text_that_was_a_pipe_is_to_be_named() -> None:
    with pytest.raises(UsageError, match="name the text again"):
        texts.stored_paths(checkpoint({"corpus_paths": ["-"]}))
    with pytest.raises(CharrnnError, match="doesn't say which text"):
        texts.stored_paths(checkpoint({}))
    assert texts.stored_paths(checkpoint({"corpus_paths": ["a"]})) == ["a"]
