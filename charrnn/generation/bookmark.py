"""Where a text stopped, as one ``.safetensors`` file: what is needed to go on with it as if it had never stopped."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, files
from charrnn.network import tensorfile
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.ensemble import common_temperature, state_shape

FORMAT = tensorfile.Format(
    "state file",
    "charrnn-state",
    "1",
    ("facts",),
    "; name one that charrnn sample --save-state wrote",
    max_bytes=1 << 30,  # The state of the largest network takes a few hundred megabytes.
)


@dataclass(frozen=True)
class Bookmark:
    """The ``state`` that has read the whole text, (L, P, 1, H) or of several networks (1, 1, 1, S), the ``logits`` (V,) of what
    comes next, the ``recent`` ids that a repetition penalty counts, the ``pending`` bytes of a character that is not whole, and
    the place in the random numbers.
    """

    state: NDArray[Any]
    logits: NDArray[Any]
    recent: NDArray[Any]
    pending: bytes
    seed: int
    index: int
    drawn: int


def fingerprint(network: Checkpoint, *others: Checkpoint) -> str:
    """A digest of the weights and the vocabulary; a state means nothing to any other network.

    That of the mean with ``others`` also depends on their order, and on how their temperatures differ.
    """
    if others:
        members, common = (network, *others), common_temperature((network, *others))
        each = [[fingerprint(member), member.temperature / common] for member in members]
        return hashlib.sha256(json.dumps(each).encode()).hexdigest()
    digest = hashlib.sha256(json.dumps(network.vocabulary.to_json()).encode())
    for name in network.model.parameter_shapes():
        digest.update(np.ascontiguousarray(network.weights[name], dtype="<f4").data)
    return digest.hexdigest()


def check_place(path: Path) -> None:
    """Raise `CharrnnError` if no bookmark can be written to ``path``; only a bookmark may be replaced."""
    ours = functools.partial(tensorfile.is_of, kind=FORMAT)
    files.check_place(path, "is there already, and not a usable state file; name another file", ours)


def write(path: Path, mark: Bookmark, network: Checkpoint, *others: Checkpoint) -> None:
    """Write ``mark`` to ``path``, whole or not at all; `CharrnnError` if that fails, or if a file of another kind is there.

    It is a place in what ``network`` reads, or the mean of it and ``others``.
    """
    check_place(path)
    facts = {
        "network": fingerprint(network, *others),
        "seed": mark.seed,
        "index": mark.index,
        "drawn": mark.drawn,
        "pending": mark.pending.hex(),
    }
    arrays: dict[str, NDArray[Any]] = {
        "state": np.asarray(mark.state, dtype=np.float32),
        "logits": np.asarray(mark.logits, dtype=np.float32),
        "recent": np.asarray(mark.recent, dtype=np.int64),
    }
    tensorfile.write(files.followed(path), FORMAT, {"facts": facts}, arrays)


def read(path: Path, network: Checkpoint, *others: Checkpoint) -> Bookmark:
    """Read what `write` wrote for the same networks; `CharrnnError` for any other file."""
    shape, V = state_shape([network.model, *(other.model for other in others)]), network.model.vocab_size
    with tensorfile.opened(path, FORMAT) as file:
        facts = file.facts["facts"]
        if not isinstance(facts, dict):
            raise file.fault("its header is damaged")
        if facts.get("network") != fingerprint(network, *others):
            whose, name = "another network", "the checkpoint"
            if others:
                whose, name = "other networks, or of these in another order", "those, and only those,"
            raise CharrnnError(f"{path}: the state of {whose}; name {name} that it was saved with by -c")
        try:
            numbers = [facts[name] for name in ("seed", "index", "drawn")]
            pending = bytes.fromhex(facts["pending"])
        except (KeyError, TypeError, ValueError) as error:
            raise file.fault("its header is damaged") from error
        if len(pending) >= 4 or not all(type(number) is int and 0 <= number < 1 << 64 for number in numbers):
            raise file.fault("its header is damaged")
        file.expect("state", np.float32, shape)
        file.expect("logits", np.float32, (V,))
        length = math.prod(file.entries["recent"].shape) if "recent" in file.entries else 0
        file.expect("recent", np.int64, (length,))
        state, logits, recent = (file.array(name) for name in ("state", "logits", "recent"))
        if not ((recent >= 0) & (recent < V)).all():
            raise file.fault("recent holds ids that the network doesn't have")
    return Bookmark(state, logits, recent, pending, *numbers)
