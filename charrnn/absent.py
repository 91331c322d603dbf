"""A path at which nothing is: what was probably meant, in a few words, for whoever typed it."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from charrnn import CharrnnError

CLOSE = 0.72
"""From this similarity on, one name is taken for a slip of the other."""
SHORT, CLOSE_SHORT = 3, 0.65
"""For names of so few letters this similarity is enough: one letter of three is another, or two have changed places."""
MOST_NAMES = 10_000
"""No more names than these are compared."""


class AbsentError(CharrnnError):
    """Nothing is at ``path``, for ``reason``; ``hint`` tells what was probably meant, empty if nobody knows."""

    def __init__(self, path: str, reason: str, hint: str) -> None:
        super().__init__(path, reason, hint)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {'; '.join(filter(None, self.args[1:]))}"


def hint(path: str) -> str:
    """What to do about ``path``, where no file is; empty if there is nothing to say."""
    return (
        _of_link(path)
        or mistyped(path)
        or missing_directory(path)
        or without_quotes(path)
        or _nearby(path)
        or _longer(path)
        or _looked_in(path)
    )


def _of_link(path: str) -> str:
    """Where a link leads that is called ``path``."""
    try:
        link = Path(path)
        return f"it is a link to {link.readlink()!s:.100}, where nothing is" if link.is_symlink() else ""
    except (OSError, ValueError):
        return ""


def mistyped(path: str) -> str:
    """For what is no path but looks like one: an option, an address, or what a shell should have replaced."""
    if path == "help":
        return "what a command does is told by --help behind it"
    if re.match("--?[A-Za-z]", path):
        return "behind -- every word names a file; options stand before it"
    if found := re.match(r"[‐-―−﹘﹣－-]+([A-Za-z][\w-]*.*)", path, re.DOTALL):
        return f"an option begins with two plain hyphens: --{found[1]:.40}"
    if re.search("[“”„‘’«»]", path):
        return "a shell knows straight quotation marks only: ' or \""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
        return f"an address is no file; fetch it first: curl -LO {path:.100}"
    if path.startswith("~"):
        return f"a shell replaces ~ only outside of quotes: {path:.100} without them"
    if re.search(r"[*?]|\[.+\]", path) and not is_sentence(path):
        return "no name is like that; outside of quotes a shell replaces a pattern by the names that are"
    if is_number(path):
        return f"a number is no file; the option that it belongs to stands before it, as in --minutes {path:.20}"
    if names := several(path):
        return f"several files have spaces between them, outside of quotes: {shlex.join(names):.100}"
    if os.sep == "/" and "\\" in path:
        return _of_windows(path)
    if found := re.fullmatch(r"([a-z][a-z-]*[a-z])=(.*)", path):
        return f"an option begins with two hyphens: --{found[1]} {found[2]:.40}".rstrip()
    return ""


def is_number(path: str) -> bool:
    """Whether ``path`` is a number or a percentage, which belongs to an option."""
    return re.fullmatch(r"\d+(\.\d+)?%?", path) is not None


def is_sentence(path: str) -> bool:
    """Whether ``path`` is rather a text itself: several words, the last of which has no ending as names of files have."""
    return re.search(r"[\w,;:] +\w+ +\S", path) is not None and re.search(r"[/\\]|\.\w+$", path) is None


def several(path: str) -> list[str]:
    """The files whose names are in ``path``, with commas, semicolons or blanks between; none unless all are there."""
    names = re.split(r"[,;\s]+", path)
    return names if len(names) > 1 and all(map(os.path.lexists, names)) else []


def _of_windows(path: str) -> str:
    """For a path with backslashes where none are used."""
    if drive := re.match(r"([A-Za-z]):\\", path):
        return f"this is a path of Windows; under WSL it is /mnt/{drive[1].lower()}/{path[3:].replace(chr(92), '/'):.100}"
    return f"names are separated by /, not \\: {path.replace(chr(92), '/'):.100}"


def missing_directory(path: str) -> str:
    """The first of the directories of ``path`` that isn't there, and what was probably meant; empty if all are."""
    above = Path(path).parent
    if above.is_dir():
        return ""
    while above.parent != above and not above.parent.is_dir():
        above = above.parent
    if above.exists():
        return f"{above} is a file, no directory"
    meant = _slip_of(above, directories=True)
    return f"there is no directory {above}" + (f"; is it {meant}?" if meant else "")


def _nearby(path: str) -> str:
    """The name that was probably meant, beside where the path leads."""
    meant = _slip_of(Path(path))
    return _asked(meant) if meant else ""


def _longer(path: str) -> str:
    """The same name with more behind it, as programs name copies: ``saga (1).txt``, ``saga-2.txt``."""
    wanted, meant = Path(path), list[str]()
    for name in _beside(wanted):
        more = Path(name).stem.casefold().partition(wanted.stem.casefold())
        if wanted.stem and Path(name).suffix == wanted.suffix and not more[0] and re.match(r"[\s(_.-]", more[2]):
            meant.append(name)
    return _asked(wanted.with_name(min(meant, key=lambda name: (len(name), name)))) if meant else ""


def _asked(meant: Path) -> str:
    return f"is it {str(meant)!r}?" if " " in str(meant) else f"is it {meant}?"


def without_quotes(path: str) -> str:
    """The name with spaces of which a shell made several, where ``path`` is how it begins."""
    whole = Path(path)
    meant = next((name for name in sorted(_beside(whole)) if whole.name and name.startswith(f"{whole.name} ")), "")
    return f"a name with spaces needs quotes: {str(whole.with_name(meant))!r}" if meant else ""


def closest(name: str, names: Iterable[str]) -> str:
    """Which of ``names`` ``name`` is probably a slip of; empty if it is like none."""
    wanted = name.casefold().strip()
    alike = {one: _likeness(one.casefold().strip(), wanted) for one in sorted(names)}
    best = max(alike, key=alike.__getitem__, default="")
    enough = CLOSE if len(Path(wanted).stem) > SHORT else CLOSE_SHORT
    return best if best and alike[best] >= enough else ""


def _slip_of(path: Path, *, directories: bool = False) -> Path | None:
    """What lies beside ``path`` whose name its own is probably a slip of."""
    meant = closest(path.name, _beside(path, directories=directories))
    return path.with_name(meant) if meant else None


def _beside(path: Path, *, directories: bool = False) -> list[str]:
    """The names beside ``path``, `MOST_NAMES` at most; with ``directories`` those of directories alone."""
    try:
        with os.scandir(path.parent) as entries:
            shown = (entry.name for entry in entries if not entry.name.startswith(".") and (entry.is_dir() or not directories))
            return list(itertools.islice(shown, MOST_NAMES))
    except OSError:
        return []


def _likeness(name: str, wanted: str) -> float:
    """How much one name is like another, from 0 to 1: without their endings, which many names share, and a little by these."""
    import difflib  # At the first mistake, not at every start.

    one, other = Path(name), Path(wanted)
    alike = difflib.SequenceMatcher(None, one.stem, other.stem).ratio() if one.stem and other.stem else 0.0
    return alike - 0.01 * (one.suffix != other.suffix)


def _looked_in(path: str) -> str:
    """Where a name without a place was looked for."""
    try:
        return "" if Path(path).is_absolute() else f"it was looked for in {Path.cwd()}"
    except OSError:
        return "the current directory has been removed"
