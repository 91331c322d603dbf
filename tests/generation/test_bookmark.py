"""bookmark: what was kept comes back, and nothing else is taken for it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import attacks
import numpy as np
import pytest
from conftest import FABLES
from safetensors.numpy import save_file

from charrnn import CharrnnError
from charrnn.config import ModelConfig
from charrnn.generation import bookmark
from charrnn.generation.bookmark import Bookmark
from charrnn.network import checkpoint
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary


def network(characters: str = "\nabc", **weights: float) -> Checkpoint:
    vocabulary = Vocabulary("char", characters)
    model = ModelConfig(vocabulary.size, embedding_size=2, hidden_size=3, num_layers=2)
    return Checkpoint(
        model,
        vocabulary,
        {},
        {name: np.full(shape, weights.get("value", 0.5)) for name, shape in model.parameter_shapes().items()},
    )


def mark() -> Bookmark:
    rng = np.random.default_rng(0)
    state, logits = (rng.normal(size=size).astype(np.float32) for size in ((2, 2, 1, 3), 5))
    return Bookmark(state, logits, np.array([0, 4, 2]), b"\xe2\x82", 2**63 - 1, 3, 12345)


def test_a_bookmark_comes_back_as_it_was(tmp_path: Path) -> None:
    bookmark.write(tmp_path / "state", mark(), network())
    found = bookmark.read(tmp_path / "state", network())
    for name in ("state", "logits", "recent"):
        np.testing.assert_array_equal(getattr(found, name), getattr(mark(), name))
    assert replace(found, state=0, logits=0, recent=0) == replace(mark(), state=0, logits=0, recent=0)  # type: ignore[arg-type]


def test_who_takes_it_for_a_network_is_told_what_it_is(tmp_path: Path) -> None:
    bookmark.write(tmp_path / "state", mark(), network())
    with pytest.raises(CharrnnError, match="it is the place in a text, which charrnn sample --load-state reads"):
        checkpoint.read(tmp_path / "state")


def test_a_newer_one_replaces_it_and_leaves_nothing_beside(tmp_path: Path) -> None:
    bookmark.write(tmp_path / "state", mark(), network())
    bookmark.write(tmp_path / "state", replace(mark(), drawn=7), network())
    assert bookmark.read(tmp_path / "state", network()).drawn == 7
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_link_to_one_stays_a_link(tmp_path: Path) -> None:
    bookmark.write(tmp_path / "state", mark(), network())
    (tmp_path / "link").symlink_to("state")
    bookmark.write(tmp_path / "link", replace(mark(), drawn=7), network())
    assert (tmp_path / "link").is_symlink()
    assert bookmark.read(tmp_path / "state", network()).drawn == 7


def test_a_file_of_another_kind_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    checkpoint.write(tmp_path / "net", network())
    for name in ("notes", "net", "."):
        before = (tmp_path / name).read_bytes() if name != "." else b""
        with pytest.raises(CharrnnError, match="not a usable state file"):
            bookmark.write(tmp_path / name, mark(), network())
        assert name == "." or (tmp_path / name).read_bytes() == before
    with pytest.raises(CharrnnError, match=r"there is no directory [^\n]*gone; make it"):
        bookmark.write(tmp_path / "gone" / "state", mark(), network())


@pytest.mark.parametrize("other", [network(value=0.25), network("\nabd"), network("\nab")])
def test_another_network_refuses_it(tmp_path: Path, other: Checkpoint) -> None:
    bookmark.write(tmp_path / "state", mark(), network())
    with pytest.raises(CharrnnError, match="the state of another network"):
        bookmark.read(tmp_path / "state", other)


def forged(path: Path, **changes: Any) -> None:
    """A bookmark of the right network that is wrong in one thing."""
    good = mark()
    tensors = {"state": good.state, "logits": good.logits, "recent": good.recent}
    facts = {"network": bookmark.fingerprint(network()), "seed": 1, "index": 0, "drawn": 0, "pending": ""}
    meta = {"format": "charrnn-state", "version": "1"}
    for name, value in changes.items():
        chosen: Any = tensors if name in tensors else meta if name in meta else facts
        if value is None:
            del chosen[name]
        else:
            chosen[name] = value
    save_file(tensors, path, {**meta, "facts": json.dumps(facts)})


@pytest.mark.parametrize(
    "change",
    [
        {"state": np.zeros((2, 2, 1, 4), dtype=np.float32)},
        {"state": np.zeros((2, 2, 1, 3))},
        {"state": np.full((2, 2, 1, 3), np.nan, dtype=np.float32)},
        {"state": None},
        {"logits": np.full(5, np.inf, dtype=np.float32)},
        {"recent": np.array([5])},
        {"recent": np.array([-1])},
        {"recent": np.zeros((1, 1), dtype=np.int64)},
        {"drawn": -1},
        {"drawn": "1"},
        {"drawn": True},
        {"seed": 2**64},
        {"index": None},
        {"pending": "zz"},
        {"pending": "00000000"},
        {"pending": 5},
        {"format": "other"},
        {"format": None},
        {"version": "2"},
    ],
)
def test_a_forged_bookmark_is_one_line_with_its_name(tmp_path: Path, change: dict[str, Any]) -> None:
    forged(tmp_path / "good")
    bookmark.read(tmp_path / "good", network())
    forged(tmp_path / "bad", **change)
    with pytest.raises(CharrnnError, match=r"bad: [^\n]*state file[^\n]*$"):
        bookmark.read(tmp_path / "bad", network())


@pytest.mark.parametrize("data", [b"", b"x", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]"])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(CharrnnError, match="bad: not a usable state file"):
        bookmark.read(tmp_path / "bad", network())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CharrnnError, match="none: No such file or directory"):
        bookmark.read(tmp_path / "none", network())


# The dtypes of the format, with the bytes of a number in each; NumPy has no name for some.
DTYPES = {"F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "BF16": 2, "F16": 2, "F64": 8, "I8": 1, "U64": 8, "BOOL": 1, "C64": 8}


@pytest.mark.parametrize("kind", ["state", "checkpoint"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_of_another_dtype_is_one_line(dtype: str, kind: str, sample: Callable[..., Any], tmp_path: Path) -> None:
    """The file is whole but for that, as a converter would write it."""
    assert sample("-n", "1", "--save-state", "state").code == 0
    source = tmp_path / "state" if kind == "state" else FABLES / "best.safetensors"
    header, body = attacks.split(source.read_bytes())
    tensors = sorted((entry["data_offsets"], name) for name, entry in header.items() if name != "__metadata__")
    parts = [body[slice(*place)] for place, _ in tensors]
    header[tensors[0][1]]["dtype"] = dtype
    parts[0] = bytes(math.prod(header[tensors[0][1]]["shape"]) * DTYPES[dtype])
    begin = 0
    for (_, name), part in zip(tensors, parts, strict=True):
        header[name]["data_offsets"] = [begin, begin + len(part)]
        begin += len(part)
    (tmp_path / "bad.safetensors").write_bytes(attacks.join(header, b"".join(parts)))
    result = sample("-q", *(("--load-state",) if kind == "state" else ("-c",)), "bad.safetensors")
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert dtype in result.stderr or "float64" in result.stderr


def test_no_damaged_state_file_crashes_the_reader(tmp_path: Path) -> None:
    bookmark.write(tmp_path / "good", mark(), network())
    data = (tmp_path / "good").read_bytes()
    files = [*attacks.truncations(data), *attacks.header_lengths(data), *attacks.mutations(data, 200, seed=2)]
    messages = []
    for name, content in files:
        (tmp_path / "bad").write_bytes(content)
        try:
            found = bookmark.read(tmp_path / "bad", network())
        except CharrnnError as error:
            messages.append(str(error))
        else:
            assert np.isfinite(found.state).all(), name
            assert np.isfinite(found.logits).all(), name
    assert len(messages) > 200
    assert [
        message for message in messages if not message.startswith(f"{tmp_path / 'bad'}: ") or not message.isprintable()
    ] == []


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    for path in attacks.strange_places(tmp_path):
        with pytest.raises(CharrnnError, match=path.name):
            bookmark.read(path, network())
