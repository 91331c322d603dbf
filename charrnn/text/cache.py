"""Large texts as ids in the user's cache directory, so that they are read once: what is kept, for how long, and when it holds.

A text is known by its content, a digest of all bytes, and by the rules by which it was read. What was found of some paths is
remembered with their files' sizes, inodes and times and a digest of samples: where all of these are as they were, the content
is taken to be so too. Otherwise the files are read whole, and their digest tells.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from charrnn import UsageError, files
from charrnn.text import cachefile, room, rows, sources
from charrnn.text.cachefile import Encoded, is_ours
from charrnn.text.vocabulary import Vocabulary

PLACE, SIZE = "CHARRNN_CACHE", "CHARRNN_CACHE_SIZE"
"""The variables that name another directory, or none, and how many bytes all of it may take."""
MOST_BYTES = 32 * 10**9
LARGE_BYTES, PACKED_BYTES, MANY_FILES = 64 * 10**6, 8 * 10**6, 1000
"""A text is kept if its files have so many bytes together, the compressed ones among them so many, or if it has so many files:
what is less is read as quickly."""
RACE_SECONDS = 2.0
"""A file that was written so shortly before it was read may change again without a change of its times."""
SAMPLES, SAMPLE_BYTES = 64, 4096
TEXT, NOTE = ".text", ".json"
LEFT_OVER_SECONDS = 3600
"""A file that nobody has written to for so long is what a killed process left."""
_OURS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{32}\.text|[0-9a-f]{32}\.json|\.[0-9a-f-]{32,41}\.(text|json)\.\w+\.tmp")
_LARGEST_NOTE = 4096
_NOT_KEPT = f"the text isn't kept, and is read anew next time; {PLACE} names another directory, or none"

Say = Callable[[str], None]


def directory() -> Path | None:
    """Where texts are kept: what the user or the platform says; None if nothing is to be kept or nobody says."""
    told = os.environ.get(PLACE)
    if told is not None:
        return Path(told, "charrnn-texts") if told else None  # A folder of its own: it is made and cleared.
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", ""))
    elif sys.platform == "darwin":
        base = Path("~/Library/Caches")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = base if base.is_absolute() else Path("~/.cache")
    with contextlib.suppress(RuntimeError):  # Nobody's home.
        base = base.expanduser()
    return base / "charrnn" / "texts" if base.is_absolute() else None


def limit() -> int:
    """How many bytes all texts may take together; `UsageError` for what is no number of bytes."""
    told = os.environ.get(SIZE, "")
    units = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    number, unit = (told[:-1], units[told[-1].upper()]) if told[-1:].upper() in units and told else (told, 1)
    if not told:
        return MOST_BYTES
    if not (number.isascii() and number.isdecimal()):
        raise UsageError(f"{SIZE}: {told!r:.40} is no size; give bytes, or a number with K, M, G or T, as in 32G")
    return int(number) * unit


@dataclass(frozen=True)
class Entry:
    """A text that is kept: its file, the bytes that takes, and when it was last used."""

    path: Path
    size: int
    used: float

    def facts(self) -> dict[str, Any]:
        """What is told of it, as JSON values; of a damaged one only where it is, and when it was used."""
        text = cachefile.read(self.path, self.path.stem)
        told = {} if text is None else {"text": text.name, "characters": len(text.ids), "symbols": text.vocabulary.size}
        return {"path": str(self.path), "bytes": self.size, "used": self.used, **told}


class Cache:
    """The texts that are kept in one directory, which is made when the first is."""

    def __init__(self, place: Path, most: int = MOST_BYTES, warn: Say = lambda _: None) -> None:
        """At most so many bytes are kept; ``warn`` hears why a text is not."""
        self.place, self.most, self.warn = place, most, warn

    @classmethod
    def of_user(cls, warn: Say) -> Cache | None:
        """The cache of whoever runs this; None if they want none."""
        place = directory()
        return None if place is None else cls(place, limit(), warn)

    def usable(self) -> bool:
        """Whether its directory is there (it is made, for this user alone) and nobody else may write there; says why not."""
        try:
            self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.place.stat()
            if is_ours(status):
                if hasattr(os, "geteuid") and status.st_mode & 0o077:
                    self.place.chmod(0o700)
                return True
            reason = "others may write there"
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        self.warn(f"{self.place}: {reason}; {_NOT_KEPT}")
        return False

    def entries(self) -> list[Entry]:
        """All texts, the one used last first."""
        found = []
        for path, status in self._files():
            if path.suffix == TEXT:
                found.append(Entry(path, status.st_size, status.st_mtime))
        return sorted(found, key=lambda entry: (-entry.used, entry.path))

    def clear(self) -> tuple[int, int]:
        """Remove everything that this program put there: how many texts that were, and how many bytes; raises `OSError`."""
        texts = size = 0
        for path, status in self._files():
            path.unlink(missing_ok=True)
            texts, size = texts + (path.suffix == TEXT), size + status.st_size
        return texts, size

    def make_room(self, size: int) -> None:
        """Drop the texts used longest ago until there is room for another of ``size`` bytes, and what was left over."""
        total, kept, entries = size, set[str](), self.entries()
        free = room.free(self.place)
        most = self.most if free is None else min(self.most, free + sum(entry.size for entry in entries))
        for entry in entries:
            total += entry.size
            if total > most:
                with contextlib.suppress(OSError):
                    entry.path.unlink()
            else:
                kept.add(entry.path.name)
        for path, status in self._files():
            stale = path.suffix == ".tmp" and status.st_mtime < time.time() - LEFT_OVER_SECONDS
            if stale or (path.suffix == NOTE and f"{_note(path).get('text')}{TEXT}" not in kept):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """The files that are this program's by their names."""
        with contextlib.suppress(OSError):
            for path in sorted(self.place.iterdir()):
                with contextlib.suppress(OSError):
                    if _OURS.fullmatch(path.name):
                        yield path, path.lstat()


@dataclass
class Source:
    """A text that may be kept: the ``names`` of its files, and the ``rules`` from which its ids follow beside their bytes."""

    cache: Cache
    names: Sequence[str]
    rules: Mapping[str, Any]
    version: int
    stamp: str
    """A digest of the files' sizes, inodes and times, and of samples from them."""
    racy: bool
    """Whether a file was written so lately that its times may not tell of the next change."""

    @classmethod
    def of(cls, cache: Cache, names: Sequence[str], rules: Mapping[str, Any], version: int) -> Source | None:
        """None where the text is too short, or can't be read twice."""
        now = time.time()
        try:
            status = [Path(name).stat() for name in names]
            if sources.STDIN in names or not all(stat.S_ISREG(one.st_mode) for one in status):
                return None
            size = sum(one.st_size for one in status)
            packed = sum(one.st_size for one, name in zip(status, names, strict=True) if _is_packed(name, version))
            if size < LARGE_BYTES and packed < PACKED_BYTES and len(names) < MANY_FILES:
                return None
            stamp = _stamp(names, status)
        except (OSError, ValueError):
            return None  # Whoever reads it says why.
        racy = any(abs(now - written) < RACE_SECONDS for one in status for written in (one.st_mtime, one.st_ctime))
        return cls(cache, names, rules, version, stamp, racy)

    def _path(self, name: str) -> Path:
        return self.cache.place / name

    @property
    def _note(self) -> Path:
        """What is remembered of these paths, read by these rules."""
        return self._path(_digest([self.rules, [str(Path(name).absolute()) for name in self.names]]) + NOTE)

    def find(self, *, verify: bool = False, tell: Callable[[int], None] = lambda _: None) -> Encoded | None:
        """The text, if it is kept; a text that may have changed, or that is to be verified, is read whole."""
        note = _note(self._note)
        same = note.get("stamp") == self.stamp and not verify
        key = str(note.get("text")) if same else self._read_key(tell)
        if not _is_key(key):
            return None
        path = self._path(key + TEXT)
        found = cachefile.read(path, key)
        if found is not None and verify:
            found = cachefile.verified(found)
        if found is None:
            with contextlib.suppress(OSError):
                path.unlink()  # Whatever it is, it isn't sound.
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        if not same:
            self._remember(key)
        return found

    def _read_key(self, tell: Callable[[int], None]) -> str:
        """What the text is called, by all of its bytes; nothing if no text by these rules is kept at all."""
        prefix = _digest(self.rules)[:8]
        if not any(entry.path.name.startswith(prefix) for entry in self.cache.entries()):
            return ""
        digest, listed, sizes, done = hashlib.sha256(), "", [], 0
        beside = len(self.names) - self.rules.get("val_lines", 0)
        for number, name in enumerate(self.names):
            if number == beside:
                digest, listed = hashlib.sha256(), digest.hexdigest()
            size = 0
            for block in sources.blocks(name, self.version):
                digest.update(block)
                size += len(block)
                tell(done + size)
            sizes.append(size)
            done += size
        return self.key(listed + digest.hexdigest(), sizes)

    def key(self, digest: str, sizes: Sequence[int]) -> str:
        """What a text with this `Encoded.digest` and files of these sizes, unpacked, is called."""
        kinds = [rows.kind(name, self.version) for name in self.names] if self.rules["field"] is not None else None
        return f"{_digest(self.rules)[:8]}-{_digest([self.rules, digest, list(sizes), kinds])}"

    def keep(self, text: Encoded, blocks: Iterable[NDArray[Any]], sizes: Sequence[int], size: int) -> Encoded | None:
        """Keep ``text``, whose ids are ``blocks`` and take ``size`` bytes; its files have ``sizes``, unpacked.

        Returns:
            What was kept, to be read as it will be next time; None if that isn't possible, which the user is told.
        """
        key = self.key(text.digest, sizes)
        path = self._path(key + TEXT)
        try:
            self.cache.make_room(size)
            with files.replacing(path) as file:
                cachefile.write(file, key, text, blocks)
            self.cache.make_room(0)  # It takes a little more than its ids.
            found = cachefile.read(path, key)
        except OSError as error:
            self.cache.warn(f"{self.cache.place}: {error.strerror or error}; {_NOT_KEPT}")
            return None
        if found is not None:
            self._remember(key)
        return found

    def _remember(self, key: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            status = [Path(name).stat() for name in self.names]
            if not self.racy and _stamp(self.names, status) == self.stamp:
                files.write_whole(self._note, json.dumps({"text": key, "stamp": self.stamp}).encode())

    def for_vocabulary(self, vocabulary: Vocabulary, *, known_form: bool = False) -> Source:
        """The same text as a ``vocabulary`` that is given makes ids of it; perhaps in the form which that knows."""
        form = {"form": "known"} if known_form else {}
        return replace(self, rules={**self.rules, **form, "vocabulary": _digest(vocabulary.to_json())})


def _stamp(names: Sequence[str], status: Sequence[os.stat_result]) -> str:
    facts = [[one.st_size, one.st_ino, one.st_dev, one.st_mtime_ns, one.st_ctime_ns] for one in status]
    digest, total = hashlib.sha256(json.dumps(facts).encode()), sum(one.st_size for one in status)
    position = begin = 0
    for name, one in zip(names, status, strict=True):
        end = begin + one.st_size
        if position < end:
            with open(name, "rb") as file:
                while position < end:
                    file.seek(position - begin)
                    digest.update(file.read(SAMPLE_BYTES))
                    position += max(total // SAMPLES, 1)
        begin = end
    return digest.hexdigest()


def _is_packed(name: str, version: int) -> bool:
    return sources.is_packed(name, version) or rows.kind(name) == "parquet"


def _note(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError), files.opened(path, "rb") as file:
        found = json.loads(file.read(_LARGEST_NOTE))
        return found if isinstance(found, dict) else {}
    return {}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:32]


def _is_key(key: str) -> bool:
    return len(key) == 41 and all(letter in "0123456789abcdef-" for letter in key)
