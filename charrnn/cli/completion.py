"""What a shell offers while a word is being typed; standard library only, since a person waits for every key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from charrnn import files

ROOT, SUFFIX = "checkpoints", ".safetensors"
BEST, CLASSIFIER = "best.safetensors", "classifier.safetensors"
HIDDEN = (".charrnn-new", ".charrnn-old")
"""How the names of directories end that are about to change places."""
MOST_DIRECTORIES = 1000
"""No more than these are looked into for one completion."""


def checkpoints(incomplete: str, name: str = BEST) -> list[str]:
    """The checkpoints that ``incomplete`` may become, sorted: directories under ``checkpoints/`` that hold a file called
    ``name``, and directories and ``.safetensors`` files where the word points to.
    """
    found = {run for run in _runs(ROOT, name) if run.startswith(incomplete)}
    parent, name = os.path.split(incomplete)
    for entry in _entries(parent or "."):
        if entry.name.startswith(name) and (name.startswith(".") or not entry.name.startswith(".")):
            path = incomplete.removesuffix(name) + entry.name
            if entry.is_dir():
                found.add(path if path in found else path + "/")
            elif entry.name.endswith(SUFFIX):
                found.add(path)
    return sorted(found)


def _runs(root: str, name: str) -> Iterator[str]:
    for number, (top, _, names) in enumerate(files.walk(root)):
        if number == MOST_DIRECTORIES:
            return
        if name in names and not top.endswith(HIDDEN):
            yield top


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(Path(directory).expanduser()) as entries:
            return list(entries)
    except (OSError, RuntimeError):  # RuntimeError: ~nobody-of-this-name
        return []
