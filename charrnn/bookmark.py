"""Where a text stopped, as one ``.safetensors`` file: what is needed to go on with it as if it had never stopped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError
from charrnn.checkpoint import Checkpoint, write_whole

FORMAT, VERSION = "charrnn-state", "1"
MAX_BYTES = 1 << 30
"""A larger file is no bookmark: the largest network's state has a few hundred megabytes."""


@dataclass(frozen=True)
class Bookmark:
    """The ``state`` (L, P, 1, H) that has read the whole text, the ``logits`` (V,) of what comes next, the ``recent`` ids that
    a repetition penalty counts, the ``pending`` bytes of a character that is not whole, and the place in the random numbers.
    """

    state: NDArray[Any]
    logits: NDArray[Any]
    recent: NDArray[Any]
    pending: bytes
    seed: int
    index: int
    drawn: int


def fingerprint(network: Checkpoint) -> str:
    """A digest of the weights and the vocabulary: a state means nothing to any other network."""
    digest = hashlib.sha256(json.dumps(network.vocabulary.to_json()).encode())
    for name in network.model.parameter_shapes():
        digest.update(np.ascontiguousarray(network.weights[name], dtype="<f4").data)
    return digest.hexdigest()


def check_place(path: Path) -> None:
    """`CharrnnError` if no bookmark can be written to ``path``: only a bookmark is replaced."""
    if path.exists():
        try:
            _metadata(path)
        except CharrnnError as error:
            raise CharrnnError(f"{path}: is there already, and not a usable state file; name another file") from error
    elif not path.parent.is_dir():
        raise CharrnnError(f"{path}: can't save: there is no directory {path.parent}; make it, or name another file")


def write(path: Path, mark: Bookmark, network: Checkpoint) -> None:
    """Write ``mark`` to ``path``, whole or not at all; `CharrnnError` if it can't be, or is a file of another kind."""
    from safetensors.numpy import save

    check_place(path)
    facts: dict[str, Any] = {"network": fingerprint(network), "seed": mark.seed, "index": mark.index, "drawn": mark.drawn}
    metadata = {"format": FORMAT, "version": VERSION, "facts": json.dumps(facts | {"pending": mark.pending.hex()})}
    tensors: dict[str, NDArray[Any]] = {
        "state": np.ascontiguousarray(mark.state, dtype=np.float32),
        "logits": np.ascontiguousarray(mark.logits, dtype=np.float32),
        "recent": np.ascontiguousarray(mark.recent, dtype=np.int64),
    }
    try:
        write_whole(path, save(tensors, metadata))
    except OSError as error:
        raise CharrnnError(f"{path}: can't save: {error.strerror}") from error


def read(path: Path, network: Checkpoint) -> Bookmark:
    """Read what `write` wrote for the same network; `CharrnnError` for any other file."""
    from safetensors import SafetensorError, safe_open

    facts, model = _metadata(path), network.model
    if facts.get("network") != fingerprint(network):
        raise CharrnnError(f"{path}: the state of another network; name the checkpoint that it was saved with by -c")
    tensors = {}
    try:
        with safe_open(path, "np") as file:
            for name in ("state", "logits", "recent"):
                tensors[name] = file.get_tensor(name)
        shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
        shape = (model.num_layers, model.state_parts, 1, model.hidden_size)
        numbers = [facts[name] for name in ("seed", "index", "drawn")]
        pending = bytes.fromhex(facts["pending"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise _fault(path) from error
    recent = tensors["recent"]
    sound = (
        shapes["state"] == (shape, np.float32)
        and shapes["logits"] == ((model.vocab_size,), np.float32)
        and (recent.ndim, recent.dtype) == (1, np.int64)
        and ((recent >= 0) & (recent < model.vocab_size)).all()
        and np.isfinite(tensors["state"]).all()
        and np.isfinite(tensors["logits"]).all()
        and all(type(number) is int and 0 <= number < 1 << 64 for number in numbers)
        and len(pending) < 4
    )
    if not sound:
        raise _fault(path)
    return Bookmark(tensors["state"], tensors["logits"], recent, pending, *numbers)


def _metadata(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise CharrnnError(f"{path}: {'not a usable state file' if path.exists() else 'no such file'}")
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
        facts = json.loads(metadata.get("facts", "null"))
    except OSError as error:
        raise CharrnnError(f"{path}: {error.strerror or error}") from error
    except (SafetensorError, ValueError, RecursionError) as error:
        raise _fault(path) from error
    if metadata.get("format") != FORMAT or not isinstance(facts, dict):
        raise _fault(path)
    if metadata.get("version") != VERSION:
        raise CharrnnError(f"{path}: a state file of another version; this charrnn reads version {VERSION}")
    return facts


def _fault(path: Path) -> CharrnnError:
    return CharrnnError(f"{path}: not a usable state file; name one that charrnn sample --save-state wrote")
