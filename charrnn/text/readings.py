"""In which 8-bit and East Asian encodings bytes may be text, and how a word reads in each: a person sees which is right.

To a program any letters are text. What tells is that in a wrong encoding signs stand within words (za¿ó³æ), capitals behind
small letters, or letters of several alphabets, and that few bytes are valid in an East Asian one by chance.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

LATIN = ("cp1252", "cp1250", "iso8859-2", "cp1254", "cp1257", "mac-roman", "mac-latin2", "cp850", "cp852")
OTHERS = ("cp1251", "koi8-r", "cp866", "cp1253", "iso8859-7", "cp1255", "cp1256", "iso8859-6", "cp874", "mac-cyrillic")
EAST_ASIAN = ("shift_jis", "gb18030", "big5", "euc_jp", "euc_kr")
MOST = 4
"""So many encodings are offered at most."""
FEWEST_WORDS = 8
"""Fewer words with bytes beyond ASCII tell nothing."""
ENOUGH = 0.7
"""By an encoding that is offered so many of these words look like words at least,"""
MARGIN = 0.1
"""and so many fewer than by another at most."""
IN_CAPITALS = 0.95
"""What a word in capitals counts: small letters often read as capitals in another encoding."""

_WORD = re.compile(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*")
_SHOWN = 20
"""Bytes of the longest word that is shown."""
_AROUND = "\xa0«»‹›“”„‘’‚–—…¿¡·"
"""What stands around words and is no letter."""
_JOINTS = re.compile("(?<=[^\\W\\d_])[’–—…](?=[^\\W\\d_])")
"""What joins words in print: don’t, yes—no."""


def readings(sample: bytes) -> list[tuple[str, str]]:
    """The encodings that ``sample`` is likely to be in, best first, each with what a word of it reads: no two alike.

    The word is one that tells as many of them apart as any does. Empty if the sample tells nothing.
    """
    words = _words(sample)
    if len(words) < FEWEST_WORDS:
        return []
    if found := {text: name for name in reversed(EAST_ASIAN) if (text := _east_asian(sample, name))}:
        return [(name, text) for text, name in reversed(found.items())][:MOST]
    latin = sum(re.search(rb"[A-Za-z]", word) is not None for word in words) > len(words) / 2
    scores = {name: sum(_likeness(_read(word, name)) for word in words) / len(words) for name in (LATIN if latin else OTHERS)}
    least = max(ENOUGH, max(scores.values()) - MARGIN)
    names = sorted((name for name in scores if scores[name] >= least), key=lambda name: -round(scores[name], 1))
    return _told_apart(names, words)


def has_words(sample: bytes) -> bool:
    """Whether so many words have bytes beyond ASCII that `readings` would tell of an encoding, if it knew the right one."""
    return len(_words(sample)) >= FEWEST_WORDS


def _words(sample: bytes) -> list[bytes]:
    """The words with bytes beyond ASCII, without the first, within which ``sample`` may begin."""
    return [word for word in _WORD.findall(sample)[1:] if len(word) > 1]


def _told_apart(names: Sequence[str], words: Sequence[bytes]) -> list[tuple[str, str]]:
    """``names`` with their readings of one of ``words``; of names that read it alike the first."""
    best: dict[str, str] = {}
    for word in sorted({word for word in words if len(word) <= _SHOWN}, key=len, reverse=True):
        found = {text: name for name in reversed(names) if _likeness(text := _read(word, name))}
        best = found if len(found) > len(best) else best
    return sorted(((name, text) for text, name in best.items()), key=lambda one: names.index(one[0]))[:MOST]


def _read(word: bytes, name: str) -> str:
    """``word`` without what stands around it; "" where it isn't valid."""
    try:
        return word.decode(name).strip(_AROUND)
    except UnicodeDecodeError:
        return ""


def _likeness(text: str) -> float:
    """How much ``text`` looks like a word, or like several that are joined: 1, a little less in capitals, or 0."""
    return min(map(_likeness_of_word, _JOINTS.split(text)))


def _likeness_of_word(text: str) -> float:
    letters = [character for character in text if not unicodedata.combining(character)]
    if not letters or not all(map(str.isalpha, letters)) or len(set(map(_alphabet, letters))) > 1:
        return 0
    if len(text) > 1 and text.isupper():
        return IN_CAPITALS
    return float(text[1:] == text[1:].lower())


@lru_cache(maxsize=1024)
def _alphabet(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


def _east_asian(sample: bytes, name: str) -> str:
    """The first word beyond ASCII of ``sample`` if all of it is text in this encoding; "" if not."""
    try:
        text = codecs.getincrementaldecoder(name)().decode(sample)
    except UnicodeDecodeError:
        return ""
    beyond = [character for character in text if not character.isascii()]
    wide = [character for character in beyond if unicodedata.east_asian_width(character) in "WF"]
    found = re.search(r"[^\W\d_\x00-\x7f]{2,6}", text)
    return found[0] if found and len(wide) > 0.95 * len(beyond) else ""
