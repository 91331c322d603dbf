"""A request on its network, and one text as it comes."""

from __future__ import annotations

import math
import os
import shlex
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from charrnn import UsageError
from charrnn.generation.drawing import Sampler, generator
from charrnn.generation.generate import generate, opened, read
from charrnn.generation.listing import Listing, Picker
from charrnn.generation.request import SampleRequest, Say, drawing, ending, possible_stops, within
from charrnn.generation.stopping import Text
from charrnn.network import checkpoint, ensemble, lookup
from charrnn.network.cells import Array, Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.ensemble import Predictor
from charrnn.network.pace import Pace, Threads
from charrnn.network.stepper import Clamp
from charrnn.text import given
from charrnn.text.reading import TextReader

if TYPE_CHECKING:
    from charrnn.generation.bookmark import Bookmark

READ = 8192
"""How many prompts are kept read, for texts that start there too."""

KEPT = 1024
"""The least number of last ids that a finished text keeps for a repetition penalty in its continuation."""

PIECE = 64
"""How many symbols go out together where nobody watches every character."""


class SampleRecord(TypedDict):
    """A finished text as JSON values; docs/manual.md tells what each means."""

    index: int
    text: str
    prompt: str
    seed: int
    characters: int
    finish_reason: str
    stop: str | None
    bits_per_char: float | None


@dataclass(frozen=True)
class Sample:
    """One finished text without its prompt.

    ``stop`` is the stop text that ended it; ``bits_per_char`` is None if nothing was measured or the text is empty;
    ``looped`` of its characters lie in runs that it has had before, as `copied.looped` finds them for ``best_of``.
    """

    index: int
    prompt: str
    text: str
    reason: str
    stop: str | None
    characters: int
    bits_per_char: float | None
    looped: int = 0

    @property
    def line(self) -> str:
        """The line that it has completed, the prompt included, without the newline."""
        return (self.prompt + self.text).removesuffix("\n").rpartition("\n")[2]

    def to_json(self, seed: int) -> SampleRecord:
        """The record of ``--json``."""
        return {
            "index": self.index,
            "text": self.text,
            "prompt": self.prompt,
            "seed": seed,
            "characters": self.characters,
            "finish_reason": self.reason,
            "stop": self.stop,
            "bits_per_char": self.bits_per_char,
        }


@dataclass
class Start:
    """Where a text begins or stopped: the logits (V,) and the state (L, P, 1, H) of a network that has read what came before,
    the ``recent`` ids that a repetition penalty counts, the ``pending`` bytes of an unfinished character, and how many
    random numbers were ``drawn``.
    """

    logits: Array
    state: Array
    recent: NDArray[Any]
    pending: bytes = b""
    drawn: int = 0


class Generation:
    """A request, checked against its network: `stream` gives one text as it comes, `charrnn.generation.batches` gives all."""

    def __init__(
        self,
        request: SampleRequest,
        warn: Say,
        threads: Threads | None = None,
        loaded: tuple[Checkpoint, Network] | None = None,
        adapted: Callable[[list[Checkpoint]], list[Checkpoint]] = list,
    ) -> None:
        """`UsageError` or `CharrnnError` for whatever can't be done; ``warn`` hears of what has no effect.

        Of NumPy's ``threads`` as many are used as are faster just now; None leaves their number as it is. A network that is
        ``loaded`` already isn't read again. Those that are read write as ``adapted`` makes them.
        """
        self.request = request
        # Options are checked before any file is read, so that mistakes show at once.
        stops, biases, clamps = request.read_stops(), request.read_biases(), request.read_clamps()
        encoding = request.encoding
        asked = request.checkpoint
        self.networks = (
            adapted(ensemble.read(lookup.resolve_each(asked), uncalibrated=request.uncalibrated))
            if loaded is None
            else [loaded[0]]
        )
        """The checkpoints whose networks write: one, or several as their mean."""
        self.trained = self.networks[0]
        self.records = checkpoint.records_of(self.trained.training) is not None
        """Whether the network learned records, lines that have nothing to do with each other."""
        self.config = request.settings(records=self.records)
        self.from_each = self.config.num_samples or 1
        """The number of texts from every prompt."""
        self.vocabulary = vocabulary = self.trained.vocabulary
        calibration = ensemble.common_temperature(self.networks)
        self.threads = threads
        """NumPy's, of which as many are used as are faster just now."""
        self.network = _packed(self.networks, calibration, threads) if loaded is None else loaded[1]
        self.generating = self._clamped(clamps)
        """The network that writes: `network`, with the clamped units held."""
        self._warn = warn
        self.reader = TextReader(vocabulary.level, encoding, warn=warn)
        """How this command reads files: prompts, and a text to compare with."""
        refused = Listing.read(request.not_in, self.reader_of(request.not_in), vocabulary) if request.not_in else None
        self.picker = Picker(refused, unique=request.unique)
        """Which texts are kept, where not all are."""
        self.prompts = self._known(request.read_prompts(self.reader))
        self._loaded = self._load()
        fresh = int.from_bytes(os.urandom(4), "big") if self._loaded is None else self._loaded.seed
        self.seed = fresh if self.config.seed is None else self.config.seed
        self.first_index = self._loaded.index if self._loaded is not None and self.config.seed is None else 0
        self.stops = possible_stops(stops, vocabulary, warn)
        self.ending = ending(self.config, self.stops, vocabulary, keep_stop=request.keep_stop, warn=warn)
        self.drawing = replace(drawing(self.config, biases, vocabulary, warn), calibration=calibration)
        self._starts: dict[int, Start] = {}

    def reader_of(self, paths: Sequence[str]) -> TextReader:
        """How this command reads ``paths`` to compare with, which may be tables."""
        return replace(self.reader, encoding=self.request.encoding_of(paths))

    def _clamped(self, clamps: list[Clamp]) -> Predictor:
        """`network`, with some units held."""
        if not clamps:
            return self.network
        if not isinstance(self.network, Network):
            one = shlex.quote(str(lookup.named(self.trained.path)))
            raise UsageError(f"--clamp holds a unit of one network, not of several; name one, as -c {one}")
        return self.network.holding(within(clamps, self.trained.model))

    @property
    def count(self) -> int:
        """How many texts there will be."""
        return len(self.prompts) * self.from_each

    @property
    def alone(self) -> bool:
        """Whether only one text is drawn, candidates included."""
        return self.count * self.config.best_of == 1 and not self.request.picks

    @property
    def one_line(self) -> bool:
        """Whether each text is a line."""
        return self.ending.lines == 1

    def check_ends(self, waiting: str | None) -> None:
        """Raise `UsageError` if something is ``waiting`` for the end of a text that has none."""
        if waiting and self.config.limit is None and self.ending.lines is None and not self.stops:
            raise UsageError(f"--length -1 never ends and {waiting} waits for the end; give --stop, --lines or a length")

    def check_lines(self) -> None:
        """Raise `UsageError` if not every text is kept, and texts are no lines that could be compared."""
        if self.request.picks and not self.one_line:
            which = "--unique" if self.request.unique else "--not-in"
            why = "this network knows no newline" if self.ending.newline is None else "give --lines 1"
            raise UsageError(f"{which} compares lines; {why}")

    def _known(self, texts: Sequence[str]) -> list[str]:
        """Prompts in characters that the network knows, with one warning about those that were replaced in any of them."""
        found = [self.vocabulary.plain(text) for text in texts]
        changed = {old: new for _, one in found for old, new in one.items()}
        given.tell(changed, self._warn, "the prompt" if len(texts) == 1 else "the prompts")
        return [plain for plain, _ in found]

    def known(self, text: str) -> str:
        """``text`` in characters that the network knows, with a warning about those that were replaced."""
        return given.known(text, self.vocabulary, self._warn)

    def stream(self, index: int = 0, *, kept: bool = False) -> Stream:
        """Sample ``index`` as it comes, drawn alone."""
        return Stream(self, index, self.start(index // self.from_each), kept=kept)

    def prompt_of(self, index: int) -> str:
        """The prompt of sample ``index``."""
        return self.prompts[index // self.from_each]

    def generator(self, number: int, drawn: int) -> np.random.Generator:
        """The random numbers of text ``number``. Text 0 continues those of a loaded text, unless --seed gave new ones."""
        return generator(self.seed, self.first_index + number, drawn)

    def start(self, prompt: int) -> Start:
        """The network after reading prompt number ``prompt``, which it reads once; texts that start there take copies."""
        if prompt not in self._starts:
            self._starts.pop(prompt - READ, None)  # Texts come in the order of their prompts.
            self._starts[prompt] = start = self.read(self.beginning(), self.prompts[prompt])
            if self.records and self.one_line and not self.prompts[prompt] and self._loaded is None:
                start.logits[self.ending.newline] = -np.inf  # Blank lines are no records, and were never learned.
        return self._starts[prompt]

    def beginning(self) -> Start:
        """The place before any prompt: the zero state, or where the loaded text stopped."""
        if (mark := self._loaded) is not None:
            drawn = mark.drawn if self.config.seed is None else 0
            return Start(mark.logits.copy(), mark.state.copy(), mark.recent, mark.pending, drawn)
        V = self.network.vocab_size
        return Start(np.zeros(V, dtype=np.float32), self.network.initial_state(1), np.zeros(0, dtype=np.intp))

    def read(self, start: Start, text: str) -> Start:
        """Read ``text`` from ``start``, whose state is overwritten; at the zero state a record opens, and a text of nothing."""
        ids = self.vocabulary.encode(text).astype(np.intp)
        records = self.trained.newline is not None
        unread = ids if start.state.any() else opened(self.vocabulary, ids, records=records).astype(np.intp)
        read(self.network, unread[:-1], start.logits, start.state)
        # What follows the last id is generated, so clamps hold from that id on.
        logits = read(self.generating, unread[-1:], start.logits, start.state)
        recent = np.concatenate([start.recent, ids])
        return Start(logits.copy(), start.state, recent, b"" if text else start.pending, start.drawn)

    def _load(self) -> Bookmark | None:
        if self.request.load_state is None:
            return None
        from charrnn.generation import bookmark

        return bookmark.read(self.request.load_state, *self.networks)

    def save(self, path: Path, place: Start) -> None:
        """Write ``place`` to ``path`` for ``--load-state``; `CharrnnError` if it can't be written."""
        from charrnn.generation import bookmark

        numbers = self.seed, self.first_index, place.drawn
        mark = bookmark.Bookmark(place.state, place.logits, place.recent, place.pending, *numbers)
        bookmark.write(path, mark, *self.networks)


def _packed(networks: Sequence[Checkpoint], calibration: float, shared: Threads | None) -> Predictor:
    """What reads and writes; all its logits are still to be divided by ``calibration``."""

    def build(trained: Checkpoint) -> Network:
        pace = None if shared is None else Pace(shared)
        return ensemble.as_trained(trained, pace, temperature=trained.temperature / calibration)

    return ensemble.together(networks, build)


class Stream:
    """One text as it comes, in pieces of whole characters; once it is finished, `sample` tells how it ended.

    If ``kept``, `rest` tells where it stopped, and `interrupt` ends it early.
    """

    def __init__(self, generation: Generation, index: int, start: Start, *, kept: bool = False) -> None:
        self._generation, self._start, self.index = generation, start, index
        self._state = start.state.copy()
        rng = generation.generator(index, start.drawn)
        self._sampler = Sampler(rng, generation.drawing, measured=generation.request.measured)
        self._sampler.read(start.recent)
        ids = generate(generation.generating, start.logits, self._state, self._sampler)
        self._decoder = generation.vocabulary.decoder(start.pending, exact=generation.request.exact)
        self._tail = deque(start.recent.tolist(), maxlen=max(KEPT, generation.config.repetition_window))
        self._interrupted = False
        self._text = Text(self._remembered(ids) if kept else ids, generation.ending)
        self.characters, self._bits = 0, 0.0

    def pieces(self, symbols: int = 1) -> Iterator[str]:
        """The text in pieces of so many ``symbols``, the last one shorter; large pieces cost less."""
        for piece, _ in self.measured(symbols):
            yield piece

    def measured(self, symbols: int = 1) -> Iterator[tuple[str, float]]:
        """The pieces, each with its bits; 0 if nothing is measured."""
        ids, told = iter(self._text), 0.0
        while part := list(islice(ids, symbols)):
            self.characters += len(part)
            if (waiting := self._sampler.bits) is not None:
                for _ in part:
                    self._bits += waiting.popleft()
            if piece := self._decoder.text(part):
                yield piece, self._bits - told
                told = self._bits

    @property
    def prompt(self) -> str:
        """The prompt of this text."""
        return self._generation.prompt_of(self.index)

    def interrupt(self) -> None:
        """End the text after the symbol that is being drawn."""
        self._interrupted = True

    def _remembered(self, ids: Iterator[int]) -> Iterator[int]:
        for index in ids:
            self._tail.append(index)
            yield index
            if self._interrupted:
                return

    def sample(self, text: str) -> Sample:
        """The finished text, which the caller has put together as ``text``."""
        generation = self._generation
        stop = None if self._text.stop is None else generation.stops[self._text.stop]
        mean = per_character(None if self._sampler.bits is None else self._bits, self.characters)
        reason = "interrupted" if self._interrupted else self._text.reason
        return Sample(self.index, self.prompt, text, reason, stop, self.characters, mean)

    def rest(self) -> Start:
        """Where the finished text stopped."""
        # The last id was drawn, but not read yet.
        last = np.array([self._tail[-1]] if self._sampler.drawn else [], dtype=np.intp)
        logits = read(self._generation.generating, last, self._start.logits, self._state)
        recent = np.array(self._tail, dtype=np.intp)
        return Start(logits.copy(), self._state, recent, self._decoder.pending, self._start.drawn + self._sampler.drawn)


def per_character(bits: float | None, characters: int) -> float | None:
    """Bits per character; None where nothing was measured or written, or where the network's numbers are none."""
    return bits / characters if bits is not None and characters and math.isfinite(bits) else None
