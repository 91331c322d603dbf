"""stopping: texts end where a direct search says, and nothing of a stop text comes out early."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config import ModelConfig
from charrnn.generation.stopping import Ending, Stops, Text, Watch
from charrnn.network import checkpoint
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary

LETTERS = "ab\n"


def ids(text):
    return np.array([LETTERS.index(letter) for letter in text], dtype=np.intp)


def ending(length=None, stops=(), lines=None, keep_stop=False):
    watched = Stops([ids(stop) for stop in stops], len(LETTERS)) if stops else None
    return Ending(length, watched, lines, LETTERS.index("\n"), keep_stop)


def read(text, end):
    reader = Text(iter(ids(text).tolist()), end)
    return "".join(LETTERS[index] for index in reader), reader.reason, reader.stop


def searched(text, length, stops, lines, keep_stop):
    """The same by looking at every beginning of the text."""
    for count in range(1, min(len(text), length) + 1):
        begun = text[:count]
        found = [stop for stop in stops if begun.endswith(stop)]
        if found:
            longest = max(found, key=len)
            return begun if keep_stop else begun[: count - len(longest)], "stop", stops.index(longest)
        if lines is not None and begun[-1] == "\n" and begun.count("\n") == lines:
            return begun, "lines", None
    return text[:length], "length", None


CASES = st.tuples(
    st.text(LETTERS, max_size=30),
    st.integers(0, 30),
    st.lists(st.text(LETTERS, min_size=1, max_size=4), max_size=3, unique=True),
    st.none() | st.integers(1, 3),
    st.booleans(),
)


@settings(deadline=None)
@given(CASES)
def test_a_text_ends_where_a_direct_search_says(case):
    text, length, stops, lines, keep_stop = case
    assert read(text, ending(length, stops, lines, keep_stop)) == searched(*case)


@settings(deadline=None)
@given(CASES)
def test_no_more_is_held_back_than_could_begin_a_stop_text(case):
    text, length, stops, lines, _ = case
    out, given_so_far = [], 0

    def source():
        nonlocal given_so_far
        for index in ids(text).tolist():
            # What has come out before another symbol is asked for:
            begun = text[:given_so_far]
            open_ends = [size for size in range(1, given_so_far + 1) if any(s.startswith(begun[-size:]) for s in stops)]
            assert len(out) == given_so_far - max(open_ends, default=0)
            given_so_far += 1
            yield index

    for index in Text(source(), ending(length, stops, lines)):
        out.append(index)


@settings(deadline=None)
@given(st.lists(CASES, min_size=2, max_size=5))
def test_texts_that_grow_together_end_as_each_alone(cases):
    _, length, stops, lines, _ = cases[0]
    texts = [case[0].ljust(31, "a") for case in cases]
    end = ending(length or 1, stops, lines)
    watch, over = Watch(end, len(texts)), {}
    streams = list(range(len(texts)))
    for column in range(31):
        now = watch.ended(np.array([ids(texts[text])[column] for text in streams], dtype=np.intp))
        over |= {streams[row]: (column + 1, *how) for row, how in now.items() if streams[row] not in over}
        if column == 3:  # Some leave; the others go on as if nothing had happened.
            left = [row for row, text in enumerate(streams) if text not in over]
            watch.keep(np.array(left, dtype=np.intp))
            streams = [streams[row] for row in left]
    for number, text in enumerate(texts):
        count, reason, stop = over[number]
        assert (text[: count - end.dropped(stop)], reason, stop) == searched(text, length or 1, stops, lines, False)


@pytest.mark.parametrize(("stops", "expected"), [(["ab"], "b"), (["ab", "bab"], ""), (["b"], "")])
def test_of_two_stop_texts_that_end_together_the_longer_one_counts(stops, expected):
    assert read("bab", ending(9, stops))[0] == expected


def test_an_endless_text_goes_on_as_long_as_its_source():
    assert read("ab" * 50, ending()) == ("ab" * 50, "length", None)


def test_a_long_stop_text_takes_room_for_itself_not_for_the_vocabulary(sample, tmp_path):
    """A table of places and symbols would take 480 MB here."""
    vocabulary = Vocabulary("char", "".join(map(chr, [10, *range(0x4E00, 0x4E00 + 20_000)])))
    model = ModelConfig(vocabulary.size, cell="rnn", embedding_size=1, hidden_size=1)
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in model.parameter_shapes().items()}
    checkpoint.write(tmp_path / "net", Checkpoint(model, vocabulary, {}, weights))
    stop = vocabulary.characters[1:3001]
    tracemalloc.start()
    results = [sample("-c", "net", "-n", "5", "--stop", stop, *options) for options in ((), ("-N", "2"))]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [result.code for result in results] == [0, 0]
    assert most < 100e6
