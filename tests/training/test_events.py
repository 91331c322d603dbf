"""The events' contract: names and keys of every version are still there."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from charrnn.training import events

# Of the first version that promised them; these lists never change.
PROMISED = {
    "start": "corpus characters vocab_size train_characters val_characters parameters device precision workers run_dir config"
    " plan",
    "step": "step steps epoch seconds bits_per_char learning_rate grad_norm clipped chars_per_second",
    "eval": "step seconds val_bits_per_char best hidden grad_norm clipped gradient_reach advice",
    "sample": "step text",
    "saved": "path kind",
    "warning": "text",
    "end": "step epochs seconds best_val_bits_per_char chars_per_second best_path reason",
}


@pytest.mark.parametrize("name", list(PROMISED))
def test_keys_are_added_and_never_renamed(name: str) -> None:
    assert set(PROMISED[name].split()) <= set(events.keys(name))


@pytest.mark.parametrize("name", list(events.CONTRACT))
def test_every_event_names_itself_and_is_one_of_the_union(name: str) -> None:
    hint = get_type_hints(events.CONTRACT[name])["event"]
    assert (get_origin(hint), get_args(hint)) == (Literal, (name,))
    assert events.CONTRACT[name] in get_args(events.Event)
    assert len(get_args(events.Event)) == len(events.CONTRACT)


def test_every_key_is_explained_once_or_says_all_by_its_name() -> None:
    """A string under a key explains it; one that stands in several events is explained in the first of them."""
    plain = {"event", "train_characters", "val_characters", "run_dir", "text", "path", "kind", "best_val_bits_per_char"}
    tree = ast.parse(Path(events.__file__).read_text(encoding="utf-8"))
    explained: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for key, after in zip(node.body, [*node.body[1:], None], strict=True):
                if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name):
                    if isinstance(after, ast.Expr):
                        explained.add(key.target.id)
                    assert key.target.id in explained | plain, (node.name, key.target.id)


def test_a_warning_is_an_event() -> None:
    assert events.warning("mind the gap") == {"event": "warning", "text": "mind the gap"}
