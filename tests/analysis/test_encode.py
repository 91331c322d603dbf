"""encode: a line's vectors are those of reading it alone, however many are read together, and whatever it holds."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import CharrnnError, files
from charrnn.analysis import encode
from charrnn.analysis.encode import Encoder
from charrnn.config import GATES, ModelConfig
from charrnn.files import replacing
from charrnn.generation.generate import opening
from charrnn.network.cells import Network
from charrnn.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary("char", "\nabcd")


def untrained(cell: str = "lstm", layers: int = 2, vocabulary: Vocabulary = VOCABULARY) -> Network:
    return Network(*described(cell, layers, vocabulary))


def described(cell: str, layers: int, vocabulary: Vocabulary = VOCABULARY) -> tuple[ModelConfig, dict[str, Any]]:
    config = ModelConfig(vocabulary.size, cell=cell, embedding_size=3, hidden_size=6, num_layers=layers)
    rng = np.random.default_rng(1)
    shapes = config.parameter_shapes().items()
    return config, {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes}


def codes(text: str, size: int = 1 << 20) -> list[Any]:
    """``text`` in blocks of so many code points."""
    whole = np.array([ord(character) for character in text], dtype=np.uint32)
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def vectors(encoder: Encoder, blocks: list[Any]) -> tuple[Any, Any]:
    final, mean = zip(*encoder.vectors(blocks), strict=True)
    return np.concatenate(final), np.concatenate(mean)


@pytest.mark.parametrize("cell", list(GATES))
def test_a_lines_vectors_are_those_of_the_equations(cell: str) -> None:
    network, lines = untrained(cell), ["abc", "", "d", "abcdabcdabcd", "x", "a"]
    final, mean = vectors(Encoder(network, VOCABULARY), codes("\n".join(lines)))
    assert final.shape == mean.shape == (6, 6)
    assert final.dtype == mean.dtype == np.float32
    for line, last, average in zip(lines, final, mean, strict=True):
        ids = np.concatenate([opening(VOCABULARY), VOCABULARY.encode(line)]).astype(np.intp)[:, None]
        _, _, traces = network.unroll(ids, network.initial_state(1))
        h = traces[-1].h[:, 0]
        np.testing.assert_allclose(last, h[-1], atol=1e-6)
        np.testing.assert_allclose(average, h[1:].mean(axis=0) if line else h[0], atol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_blocks_and_batches_make_no_difference(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    text = "".join("abcd"[number % 4] * (number % 9) + "\n" for number in range(60))
    expected = vectors(Encoder(untrained(), VOCABULARY), codes(text))
    monkeypatch.setattr(encode, "TOGETHER", 3)
    monkeypatch.setattr(encode, "NUMBERS", 8)
    encoder = Encoder(untrained(), VOCABULARY)
    for found, whole in zip(vectors(encoder, codes(text, size)), expected, strict=True):
        np.testing.assert_allclose(found, whole, atol=1e-6)
    assert encoder.lines == 60


def test_a_newline_is_read_at_no_line_and_the_last_one_opens_none() -> None:
    encoder = Encoder(untrained(), VOCABULARY)
    for with_newline, without in zip(vectors(encoder, codes("ab\n")), vectors(encoder, codes("ab")), strict=True):
        np.testing.assert_array_equal(with_newline, without)


def test_unknown_and_mapped_characters_are_counted() -> None:
    vocabulary = Vocabulary("char", "\na\N{LATIN SMALL LETTER E WITH ACUTE}")
    encoder = Encoder(untrained(vocabulary=vocabulary), vocabulary)
    final, _ = vectors(encoder, codes("ae\u0301\naxx\na\N{LATIN SMALL LETTER E WITH ACUTE}\n"))
    np.testing.assert_array_equal(final[0], final[2])
    assert (encoder.mapped, encoder.unknown, encoder.strangers) == (1, 2, {"x"})


def test_absurd_weights_are_a_line() -> None:
    config, weights = described("rnn", 1)
    weights["rnn.bias_ih_l0"][:] = np.nan
    with pytest.raises(CharrnnError, match="not finite"):
        vectors(Encoder(Network(config, weights), VOCABULARY), codes("ab\n"))


def test_an_archive_is_numpys_and_is_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "IN_MEMORY_BYTES", 100)
    rows = np.arange(120, dtype=np.float32).reshape(20, 6)
    pieces = ((rows[start : start + 7], -rows[start : start + 7]) for start in range(0, 20, 7))
    encode.write(tmp_path / "v.npz", pieces, 6, replacing)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as archive:
        assert list(archive) == ["charrnn_encode", "final", "mean"]
        np.testing.assert_array_equal(archive["final"], rows)
        np.testing.assert_array_equal(archive["mean"], -rows)
        assert str(archive["charrnn_encode"]) == '{"lines": 20, "units": 6}'
    files.check_made(tmp_path / "v.npz", "encode")
    encode.write(tmp_path / "v.npz", itertools.chain(), 6, replacing)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as archive:
        assert archive["mean"].shape == (0, 6)


def test_what_fails_in_the_middle_leaves_the_old_archive(tmp_path: Path) -> None:
    def broken() -> Any:
        yield np.zeros((1, 6), dtype=np.float32), np.zeros((1, 6), dtype=np.float32)
        raise CharrnnError("no")

    (tmp_path / "v.npz").write_bytes(b"old")
    with pytest.raises(CharrnnError, match="no"):
        encode.write(tmp_path / "v.npz", broken(), 6, replacing)
    assert [path.name for path in tmp_path.iterdir()] == ["v.npz"]
    assert (tmp_path / "v.npz").read_bytes() == b"old"


class Closing:
    """A pipe whose reader goes away before some write; nobody looks for a place in it."""

    def __init__(self, left: int) -> None:
        self.left = left

    def write(self, data: bytes) -> int:
        self.left -= 1
        if self.left < 0:
            raise BrokenPipeError
        return len(data)

    def flush(self) -> None:
        pass


def test_a_reader_that_goes_away_at_any_write_is_told_as_such(tmp_path: Path) -> None:
    """The archive is left as it is then: its own words about that would be a traceback."""
    rows = np.ones((3, 6), dtype=np.float32)

    def write_to(pipe: Any) -> None:
        encode.write(tmp_path / "v.npz", iter([(rows, rows)]), 6, lambda _: contextlib.nullcontext(pipe))

    write_to(whole := Closing(99))
    assert whole.left < 90
    for left in range(99 - whole.left):
        with pytest.raises(CharrnnError) as told:
            write_to(Closing(left))
        assert isinstance(told.value.__cause__, BrokenPipeError)
