"""Advice about the part of a text that is held out: whether its validation loss can tell what it is taken to tell."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from charrnn.text.corpus import Corpus
from charrnn.text.lists import is_list
from charrnn.text.strangers import Strangers, strangers

SEEN = 1 << 16
"""How many characters are looked at to tell a list: the text, or as many from four places all over it."""
NAMED = 5
"""How many symbols are named."""
FAR = 1.25
"""A validation loss this many times that of training is far above it,"""
EVALUATIONS = 3
"""and is told of if the first so many evaluations all find it so,"""
MUCH = 0.3
"""A list of which a greater share is held out is told of, if most of its lines are copies."""
KNOWN_BY_HEART = 3.0
"""unless the text had been read more often than this at the first: then it may be known by heart."""


def advise(corpus: Corpus) -> Iterator[str]:
    """A line for each thing that makes the tail of a text, or the lines of a list, a poor choice for validation."""
    if corpus.records is not None:
        yield from _of_records(corpus)
    if corpus.records is not None or corpus.pieces is not None or not corpus.val_characters:
        return
    listed = is_list(_lines(corpus))
    if listed:
        yield (
            "this is plainly a list, but it is read as one text, whose end is held out: if it is sorted, that is never learnt,"
            " and the validation loss tells nothing of the rest; --records makes each line a record of its own"
        )
    if (found := strangers(corpus.ids, corpus.train_characters, corpus.vocabulary)) is not None:
        instead = "" if listed else ", --val scattered holds out pieces from all over the text"
        yield f"{_described(found, corpus)}; it is never learnt{instead}"


def _of_records(corpus: Corpus) -> Iterator[str]:
    """A line where much more of a list is held out than a tenth, because its lines are few different ones."""
    facts = corpus.records.facts if corpus.records is not None else None
    if facts is None or facts.held_out <= MUCH * facts.count or facts.duplicates < facts.count / 2 or corpus.val_lines:
        return
    yield (
        f"{facts.held_out:,} of {facts.count:,} lines are held out and never learnt, since equal lines are on one side and"
        " few are different ones; --val-seed 1 holds out others, --val-fraction 0 none"
    )


class Distance:
    """How far validation is above training, from the first evaluation on."""

    def __init__(self, vocab_size: int) -> None:
        self._uniform = math.log2(vocab_size)
        self._evaluations = self._far = 0

    def found(self, train_bits: float, val_bits: float | None, epochs: float) -> str | None:
        """Take in an evaluation after ``epochs`` passes; a line at number `EVALUATIONS` if all were far.

        A network that does worse than no network, as where training diverges, tells nothing of the text.
        """
        self._evaluations += 1
        known = self._evaluations == 1 and epochs > KNOWN_BY_HEART
        learned = train_bits < self._uniform
        self._far += val_bits is not None and not known and learned and val_bits > FAR * train_bits
        if val_bits is None or not self._far == self._evaluations == EVALUATIONS:
            return None
        return (
            f"the validation loss has been far above that of training from the first evaluation on ({val_bits:.2f} and"
            f" {train_bits:.2f} bits/char now): the end of the text, which is held out, is unlike the rest;"
            " --val scattered holds out pieces from all over the text"
        )


def _lines(corpus: Corpus) -> list[str]:
    """Whole lines of the text, from all over it if it is long."""
    if len(corpus.ids) <= SEEN:
        return corpus.vocabulary.decode(corpus.ids).removesuffix("\n").split("\n")
    lines: list[str] = []
    for begin in np.linspace(0, len(corpus.ids) - SEEN // 4, 4).astype(int):
        text = corpus.vocabulary.decode(corpus.ids[begin : begin + SEEN // 4])
        lines += text.split("\n")[1:-1]
    return lines


def _described(found: Strangers, corpus: Corpus) -> str:
    named = ", ".join(_name(symbol, corpus) for symbol in found.symbols[:NAMED])
    more = f" and {len(found.symbols) - NAMED} more" if len(found.symbols) > NAMED else ""
    have = f"{found.share:.1%} of its characters are {named}{more}, which the rest hardly has"
    if found.of == "lines":
        have = f"{found.share:.0%} of its lines begin with {named}{more}, as hardly any line of the rest does"
    return f"the end of the text, which is held out, is a stranger to the rest: {have}"


def _name(symbol: int, corpus: Corpus) -> str:
    if corpus.vocabulary.level == "byte" and not 32 < symbol < 127:
        return f"byte {symbol}"
    character = corpus.vocabulary.decode([symbol])
    return character if character.isalnum() else repr(character)
