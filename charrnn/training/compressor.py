"""A process beside training that tells what ``xz -9`` makes of the text, and that no step waits for."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from charrnn.text import baselines, xz
from charrnn.text.corpus import Corpus

AT_ONCE = 1 << 16
"""Up to so many characters are compressed before training: in less time than a process takes to start."""


class Compressor:
    """Both yardsticks of a text, each as soon as it is known."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._unigram: float | None = None
        self._xz: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._characters = 0

    @property
    def facts(self) -> dict[str, Any]:
        """What events and checkpoints tell; None where a figure isn't known (yet)."""
        self._look()
        return baselines.facts(self._unigram, self._xz)

    def remember(self, training: Mapping[str, Any]) -> None:
        """Take what a checkpoint of the same text tells, unless it is known."""
        unigram, compressed = (baselines.known(training.get(name)) for name in baselines.facts(None, None))
        self._unigram = unigram if self._unigram is None else self._unigram
        self._xz = compressed if self._xz is None else self._xz

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Compress the text beside what is done inside; what isn't done at the end is given up."""
        if self._unigram is None:
            self._unigram = baselines.unigram_bits(self._corpus)
        if self._xz is None:
            self._start()
        try:
            yield
        finally:
            self._stop()

    def wait(self, seconds: float) -> None:
        """Wait until the figure is there, for so many ``seconds`` at most."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(seconds, 0.0))

    def _start(self) -> None:
        if len(self._corpus.ids) <= AT_ONCE:
            self._xz = baselines.xz_bits(self._corpus)
            return
        data, self._characters = baselines.excerpt(self._corpus)
        # Whatever fails here, training goes on without the figure.
        with contextlib.suppress(OSError, ValueError), tempfile.TemporaryFile(prefix="charrnn-") as file:
            file.write(data)
            file.seek(0)
            # A session of its own: Ctrl-C is for the process that trains.
            self._process = subprocess.Popen(  # noqa: S603 - this program itself
                [sys.executable, "-I", "-S", xz.__file__, str(os.getpid())],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _look(self) -> None:
        """Take the figure if it is there; the process is gone then."""
        if self._process is None or self._process.poll() is None:
            return
        assert self._process.stdout is not None
        with self._process.stdout as answer, contextlib.suppress(ValueError):
            self._xz = baselines.bits(int(answer.read()), self._characters)
        self._process = None

    def _stop(self) -> None:
        self._look()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._look()
