"""A request on its network: one text as it comes, or thousands in batches."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from charrnn import UsageError
from charrnn.generation.drawing import Sampler, generator
from charrnn.generation.generate import generate, opening, read
from charrnn.generation.listing import Listing, Picker
from charrnn.generation.request import SampleRequest, Say, drawing, ending, possible_stops, within
from charrnn.generation.stopping import Text
from charrnn.network import checkpoint, ensemble, rundir
from charrnn.network.cells import Array, Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.ensemble import Predictor
from charrnn.network.pace import Pace, Threads
from charrnn.network.stepper import Clamp
from charrnn.text import given
from charrnn.text.reading import TextReader

if TYPE_CHECKING:
    from charrnn.generation.bookmark import Bookmark
    from charrnn.generation.together import Beginning, Completion, Steps

BATCH = 256
"""How many texts a thread draws together; larger batches no longer fit the caches."""
FEWEST = 16
"""With fewer texts than this, a thread's products are too thin to be worth it."""
DEVICE_BATCH = 8192
"""The same on a device."""

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
    """A request, checked against its network: `stream` gives one text as it comes, `samples` gives all."""

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
            adapted(ensemble.read(rundir.resolve_each(asked), uncalibrated=request.uncalibrated))
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
        self._threads = threads
        self.network = _packed(self.networks, calibration, self._threads) if loaded is None else loaded[1]
        self.generating = self._clamped(clamps)
        """The network that writes: `network`, with the clamped units held."""
        self._warn = warn
        self.reader = TextReader(vocabulary.level, encoding, warn=warn)
        """How this command reads files: prompts, and a text to compare with."""
        refused = Listing.read(request.not_in, self.reader, vocabulary) if request.not_in else None
        self.picker = Picker(refused, unique=request.unique)
        """Which texts are kept, where not all are."""
        self.prompts = [self.known(text) for text in request.read_prompts(self.reader)]
        self._loaded = self._load()
        fresh = int.from_bytes(os.urandom(4), "big") if self._loaded is None else self._loaded.seed
        self.seed = fresh if self.config.seed is None else self.config.seed
        self.first_index = self._loaded.index if self._loaded is not None and self.config.seed is None else 0
        self.stops = possible_stops(stops, vocabulary, warn)
        self.ending = ending(self.config, self.stops, vocabulary, keep_stop=request.keep_stop, warn=warn)
        self.drawing = replace(drawing(self.config, biases, vocabulary, warn), calibration=calibration)
        self._starts: dict[int, Start] = {}

    def _clamped(self, clamps: list[Clamp]) -> Predictor:
        """`network`, with some units held."""
        if not clamps:
            return self.network
        if not isinstance(self.network, Network):
            raise UsageError("--clamp holds a unit of one network; name one by -c, not several")
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

    def known(self, text: str) -> str:
        """``text`` in characters that the network knows, with a warning about those that were replaced."""
        return given.known(text, self.vocabulary, self._warn)

    def stream(self, index: int = 0, *, kept: bool = False) -> Stream:
        """Sample ``index`` as it comes, drawn alone."""
        return Stream(self, index, self.start(index // self.from_each), kept=kept)

    def samples(self, device: Steps | None = None) -> Iterator[Sample]:
        """All texts in order, each the best of ``best_of`` candidates; batches are computed by ``device`` if given."""
        if self.alone and device is None:
            stream = self.stream()
            text = "".join(stream.pieces(PIECE))
            yield stream.sample(text)
            return
        if self.request.picks:
            together = 16 * BATCH if device is None else DEVICE_BATCH
            drawn = self.picker.pick(lambda some: self._best(some, device), len(self.prompts), self.from_each, together)
            yield from (replace(sample, index=index) for index, sample in enumerate(drawn))
        else:
            yield from self._best(((number, number // self.from_each) for number in range(self.count)), device)

    def _best(self, wanted: Iterable[tuple[int, int]], device: Steps | None) -> Iterator[Sample]:
        """The texts of ``wanted`` numbers and prompts, each the best of ``best_of`` candidates."""
        best: Sample | None = None
        V = self.vocabulary.size
        for drawn, sample in enumerate(self._candidates(wanted, device), start=1):
            if best is None or _cost(sample, V) < _cost(best, V):
                best = sample
            if drawn % self.config.best_of == 0:
                yield best
                best = None

    def _candidates(self, wanted: Iterable[tuple[int, int]], device: Steps | None) -> Iterator[Sample]:
        from charrnn.generation.together import Beginning  # One stream starts sooner without it.

        best_of = self.config.best_of
        candidates = ((number, prompt, number * best_of + one) for number, prompt in wanted for one in range(best_of))
        drawn: deque[tuple[int, int, Start]] = deque()  # Begun, but not given yet; the latest on the left.

        def beginnings() -> Iterator[Beginning]:
            for number, prompt, candidate in candidates:
                start = self.start(prompt)
                drawn.appendleft((number, prompt, start))
                yield Beginning(start.logits, start.state, start.recent, self.generator(candidate, start.drawn))

        for completion in self._completions(beginnings(), device):
            yield self._sample(*drawn.pop(), completion)

    def _completions(self, beginnings: Iterator[Beginning], device: Steps | None) -> Iterator[Completion]:
        """The texts of ``beginnings`` in their order: in batches on the ``device``, or in threads that take turns."""
        from charrnn.generation.together import complete
        from charrnn.generation.turns import Dealer, in_turns

        measured = self.request.measured or self.config.best_of > 1
        settings = self.drawing, self.ending
        if device is not None:
            yield from complete(device, beginnings, *settings, rows=DEVICE_BATCH, measured=measured, refill=False)
            return
        shared = self._threads
        most = 1 if shared is None else shared.most
        first = list(islice(beginnings, most * BATCH))
        texts, threads = chain(first, beginnings), max(1, min(most, len(first) // FEWEST))
        rows = min(-(-len(first) // threads), BATCH)
        if shared is None or threads == 1:
            yield from complete(self.generating, texts, *settings, rows=rows, measured=measured)
            return
        dealer = Dealer(texts, threads)

        def work(thread: int, stopped: Callable[[], bool]) -> Iterator[Completion]:
            hand = dealer.hand(thread)
            return complete(self.generating, hand, *settings, rows=rows, measured=measured, stopped=stopped)

        with shared.apart():
            yield from in_turns(threads, work)

    def _sample(self, index: int, prompt: int, start: Start, completion: Completion) -> Sample:
        from charrnn.generation.copied import looped

        decoder = self.vocabulary.decoder(start.pending)
        text, length = decoder.text(completion.ids.tolist()), len(completion.ids)
        stop = None if completion.stop is None else self.stops[completion.stop]
        again = looped(completion.ids) if self.config.best_of > 1 else 0
        bits = _mean(completion.bits, length)
        return Sample(index, self.prompts[prompt], text, completion.reason, stop, length, bits, again)

    def prompt_of(self, index: int) -> str:
        """The prompt of sample ``index``."""
        return self.prompts[index // self.from_each]

    def generator(self, number: int, drawn: int) -> np.random.Generator:
        """The random numbers of text ``number``. Text 0 continues those of a loaded text, unless --seed gave new ones."""
        return generator(self.seed, self.first_index + number, drawn)

    def start(self, prompt: int) -> Start:
        """The network after reading prompt number ``prompt``, which it reads once; texts that start there take copies."""
        if prompt not in self._starts:
            self._starts.pop(prompt - DEVICE_BATCH, None)  # Texts come in the order of their prompts.
            self._starts[prompt] = self.read(self.beginning(), self.prompts[prompt])
        return self._starts[prompt]

    def beginning(self) -> Start:
        """The place before any prompt: the zero state, or where the loaded text stopped."""
        if (mark := self._loaded) is not None:
            drawn = mark.drawn if self.config.seed is None else 0
            return Start(mark.logits.copy(), mark.state.copy(), mark.recent, mark.pending, drawn)
        V = self.network.vocab_size
        return Start(np.zeros(V, dtype=np.float32), self.network.initial_state(1), np.zeros(0, dtype=np.intp))

    def read(self, start: Start, text: str) -> Start:
        """Read ``text`` from ``start``, whose state is overwritten. At the zero state, no text opens as a line does."""
        ids = self.vocabulary.encode(text).astype(np.intp)
        unread = ids if text or start.state.any() else opening(self.vocabulary).astype(np.intp)
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
        return Network(trained.model, trained.weights, pace, temperature=trained.temperature / calibration)

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
        self._decoder = generation.vocabulary.decoder(start.pending)
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
        mean = _mean(None if self._sampler.bits is None else self._bits, self.characters)
        reason = "interrupted" if self._interrupted else self._text.reason
        return Sample(self.index, self.prompt, text, reason, stop, self.characters, mean)

    def rest(self) -> Start:
        """Where the finished text stopped."""
        # The last id was drawn, but not read yet.
        last = np.array([self._tail[-1]] if self._sampler.drawn else [], dtype=np.intp)
        logits = read(self._generation.generating, last, self._start.logits, self._state)
        recent = np.array(self._tail, dtype=np.intp)
        return Start(logits.copy(), self._state, recent, self._decoder.pending, self._start.drawn + self._sampler.drawn)


def _mean(bits: float | None, characters: int) -> float | None:
    """Bits per character; None where nothing was measured or written, or where the network's numbers are none."""
    return bits / characters if bits is not None and characters and math.isfinite(bits) else None


def _cost(sample: Sample, vocab_size: int) -> float:
    """What the best candidate has least of: bits per character, those that it repeats as costly as a uniform guess besides; a
    text without a figure is the last choice.
    """
    if sample.bits_per_char is None:
        return math.inf
    return sample.bits_per_char + sample.looped / sample.characters * math.log2(vocab_size)
