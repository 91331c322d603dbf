"""Lines as vectors on their way into a file, a pipe or stdout."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np

from charrnn import files
from charrnn.analysis import encode
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint, setting_of
from charrnn.output import notation
from charrnn.output.console import Console
from charrnn.output.progress import Progress
from charrnn.text import sources
from charrnn.text.decoding import Encoding
from charrnn.text.reading import TextReader
from charrnn.text.rows import tell_of_field


def show(paths: Sequence[str], npz: Path, encoding: Encoding, trained: Checkpoint, console: Console) -> None:
    """Write the vectors of all lines of ``paths`` to ``npz``, whose path is the product unless it leads to a stream."""
    reader = TextReader(trained.vocabulary.level, encoding, warn=console.warn, every_row=True)
    names = reader.files(paths)
    tell_of_field(names, encoding.field, setting_of(trained.training, "field"), console.warn)
    with np.errstate(over="ignore", invalid="ignore"):
        encoder = encode.Encoder(Network(trained.model, trained.weights), trained.vocabulary)
        console.begin()
        text = (codes for _, codes in reader.joined(names, by_lines=True) if len(codes))
        streamed = files.is_stream(npz) or files.is_stdout(npz)
        with Progress(console, typed=sources.typed(paths)) as progress:
            progress("encoding", lambda: f"{encoder.lines:,} lines")
            encode.write(npz, encoder.vectors(text), encoder.units, lambda path: _opened(path, console))
    units = f"{encoder.units:,} unit{'s' * (encoder.units != 1)}"
    console.say(f"charrnn: {encoder.lines:,} line{'s' * (encoder.lines != 1)} as vectors of {units}: final, mean")
    if encoder.mapped:
        console.say(f"charrnn: {notation.mapped_sentence(encoder.mapped)}")
    if encoder.unknown:
        console.warn(notation.unknown_sentence(encoder.unknown, encoder.strangers))
    if not streamed:
        console.product(f"{npz}\n")


@contextlib.contextmanager
def _opened(path: Path, console: Console) -> Iterator[IO[bytes]]:
    """What an archive at ``path`` is written to."""
    if files.is_stdout(path):
        yield cast("IO[bytes]", _Stdout(console))
    elif files.is_stream(path):
        with files.stream(path) as file:
            yield file
    else:
        with files.replacing(files.followed(path)) as file:
            yield file


class _Stdout:
    """As much of a file as an archive needs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, data: bytes) -> int:
        self._console.bytes(data)
        return len(data)

    def flush(self) -> None:
        pass
