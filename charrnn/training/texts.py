"""The text of a run: by which rules it is read, where it lies, and whether it is the same one still."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from charrnn import CharrnnError, UsageError
from charrnn.config import TrainConfig
from charrnn.network import paths
from charrnn.network.checkpoint import Checkpoint
from charrnn.text import corpus, rows
from charrnn.text.cache import Cache
from charrnn.text.corpus import Corpus, Tell
from charrnn.text.decoding import Encoding
from charrnn.text.reading import TextReader
from charrnn.text.sources import STDIN, VERSION
from charrnn.training.ranks import Ranks

Say = Callable[[str], None]

MOST_FILES = 1000
"""The files of a text that has more are not listed in every checkpoint."""
_NAME_IT = "name it: charrnn train TEXT --resume RUN"
_NAME_THEM = "name them: charrnn train --resume RUN --val-lines FILE"

_COLUMNS = "with line 1 and all columns; --field NAME reads one that line 1 names"
_AS_THEY_ARE: dict[str | None, str] = {
    "json": "with all that is no text in it; --field NAME reads one field of each row",
    "csv": _COLUMNS,
    "tsv": _COLUMNS,
}
"""What to say of tables that are read as they are; others are no text."""


def read(
    paths: list[str],
    config: TrainConfig,
    warn: Say,
    previous: Checkpoint | None = None,
    *,
    val_lines: str | None = None,
    verify: bool,
    tell: Tell,
) -> Corpus:
    """Read the text of a new run, or that of a ``previous`` one by the rules with which that began; see `read_corpus`."""
    reader = TextReader(
        config.level,
        Encoding(config.encoding, config.errors, config.field),
        VERSION if previous is None else _reading_of(previous),
        warn=warn,
    )
    vocabulary = None if previous is None else previous.vocabulary
    if config.field is None and previous is None:
        for name in paths if val_lines is None else [*paths, val_lines]:
            if name != STDIN and (learned := _AS_THEY_ARE.get(rows.kind(name))) is not None:
                warn(f"{name}: read as plain text, {learned}")
    return corpus.read_corpus(
        paths,
        reader,
        min_count=config.min_count,
        val=config.val,
        val_fraction=config.val_fraction,
        vocabulary=vocabulary,
        val_seed=config.val_seed if config.records else None,
        val_lines=val_lines,
        cache=Cache.of_user(warn),
        verify=verify,
        tell=tell,
    )


def _reading_of(previous: Checkpoint) -> int:
    """The version of the rules by which a run reads its text; `CharrnnError` for one that isn't known here."""
    version = previous.training.get("corpus_reading", 1)
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise CharrnnError(f"{previous.path}: its text was read by rules of another version of charrnn; resume it there")
    return version


def stored_paths(previous: Checkpoint) -> list[str]:
    """Where a run says that its text lies."""
    stored = previous.training.get("corpus_paths")
    if not isinstance(stored, list) or not all(isinstance(path, str) for path in stored):
        raise CharrnnError(f"{previous.path}: doesn't say which text it was trained on; {_NAME_IT}")
    if STDIN in stored:
        raise UsageError("the run read its text from stdin or a pipe; name the text again: charrnn train TEXT --resume RUN")
    return stored


def found(stored: str, run: Path, last: Path, *, held_out: bool = False) -> str:
    """Where a text lies, or the lines ``held_out``, that ``run`` has ``stored`` the path of; ``last`` is for the error."""
    path = paths.found(stored, run)
    if path is None:
        what = f"held-out lines {stored} are not where they were" if held_out else f"text {stored} is not where it was"
        raise CharrnnError(f"{last}: its {what}, nor here; {_NAME_THEM if held_out else _NAME_IT}")
    return str(path)


def stored_val_lines(previous: Checkpoint) -> str | None:
    """Where a run says that the lines lie that it holds out; None if they are of no file of their own."""
    if previous.training.get("val_lines") is None:
        return None
    stored = previous.training.get("val_lines_path")
    if not isinstance(stored, str):
        raise CharrnnError(f"{previous.path}: doesn't say which lines it holds out; {_NAME_THEM}")
    if stored == STDIN:
        raise UsageError(f"the run read its held-out lines from stdin or a pipe; {_NAME_THEM}")
    return stored


def facts(
    typed: list[str], text: Corpus, run: Path, stored: Sequence[str] = (), val_lines: tuple[str, str | None] | None = None
) -> dict[str, Any]:
    """What ``last`` says of where the text lies; a resumed run keeps what was ``stored`` as long as it leads there.

    ``val_lines`` is how the file of held-out lines was named, and where that was stored, if there is one.
    """
    told = [_told(*lies, run) for lies in zip_longest(typed, text.paths, stored)]
    listed = text.files if len(text.files) <= MOST_FILES else ()
    beside = {}
    if val_lines is not None and text.val_path is not None:
        beside["val_lines_path"] = _told(val_lines[0], text.val_path, val_lines[1], run)
    return {"corpus_paths": told, "corpus_files": [_told_file(file, typed, told) for file in listed], **beside}


def _told(name: str, path: str, stored: str | None, run: Path) -> str:
    if path == STDIN:
        return STDIN
    return paths.told_again(stored, Path(name), run) if stored else paths.told(name, run)


def _told_file(file: str, typed: Sequence[str], told: Sequence[str]) -> str:
    """``file``, one of those ``typed`` or in a directory of them, as they are ``told``."""
    for name, path in zip(typed, told, strict=True):
        if file == name or (path != STDIN and Path(file).is_relative_to(name)):
            return (Path(path) / Path(file).relative_to(name)).as_posix()
    return STDIN


def check_same(previous: Checkpoint, text: Corpus, config: TrainConfig, allowed: bool) -> None:
    """Refuse to resume on another text, unless ``allowed`` and every character of it is known."""
    if text.is_text_of(previous.training):
        return
    paths = ", ".join(text.paths)
    if not text.is_list_of(previous.training):
        named = f"not the text that {previous.path} was trained on{_other_files(previous, text)}"
    else:
        paths, named = str(text.val_path), f"not the lines that {previous.path} holds out"
    afresh = f"--init-from {shlex.quote(str(previous.path.parent))} starts a new run from its weights"
    if text.unknown and config.min_count == 1:
        count = f"{text.unknown:,} character{' is' if text.unknown == 1 else 's are'}"
        raise CharrnnError(f"{paths}: {named}, and {count} not in the run's vocabulary; {afresh}")
    if not allowed:
        raise CharrnnError(f"{paths}: {named}; --allow-changed-corpus goes on with it, {afresh}")


def _other_files(previous: Checkpoint, text: Corpus) -> str:
    """`` (new: ch3.txt; gone: ch1.txt)`` where the text has several files, and others than it had."""
    stored = previous.training.get("corpus_files")
    if (
        not isinstance(stored, list)
        or not all(isinstance(path, str) for path in stored)
        or not (stored and max(len(stored), len(text.files)) >= 2)
    ):
        return ""
    had, has = (Counter(Path(path).name for path in files) for files in (stored, text.files))
    parts = [f"{label}: {', '.join(islice(names, 3))}" for label, names in (("new", has - had), ("gone", had - has)) if names]
    return f" ({'; '.join(parts)})" if parts else ""


def check_ranks_agree(text: Corpus, ranks: Ranks) -> None:
    """Raise a `CharrnnError` if this rank has read another text than rank 0."""
    ranks.check_same(text.sha256.encode(), f"{', '.join(text.paths)}: not the text that rank 0 has read")
    if text.val_lines is not None:
        ranks.check_same(text.val_lines.sha256.encode(), f"{text.val_path}: not the lines that rank 0 holds out")
