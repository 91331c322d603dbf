"""All texts of a request: drawn in batches by threads that take turns, the best of several kept."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice

from charrnn.generation.copied import looped
from charrnn.generation.streaming import PIECE, Generation, Sample, Start, per_character
from charrnn.generation.together import Beginning, Completion, Steps, complete
from charrnn.generation.turns import Dealer, in_turns

BATCH = 256
"""How many texts a thread draws together; larger batches no longer fit the caches."""
FEWEST = 16
"""With fewer texts than this, a thread's products are too thin to be worth it."""
DEVICE_BATCH = 8192
"""How many texts a device draws together."""


def samples(generation: Generation, device: Steps | None = None) -> Iterator[Sample]:
    """All texts of ``generation`` in order, each the best of ``best_of``; batches are computed by ``device`` if given."""
    if generation.alone and device is None:
        stream = generation.stream()
        text = "".join(stream.pieces(PIECE))
        yield stream.sample(text)
        return
    batches = Batches(generation, device)
    if generation.request.picks:
        together = 16 * BATCH if device is None else DEVICE_BATCH
        picked = generation.picker.pick(batches.best, len(generation.prompts), generation.from_each, together)
        yield from (replace(sample, index=index) for index, sample in enumerate(picked))
    else:
        yield from batches.best((number, number // generation.from_each) for number in range(generation.count))


class Batches:
    """Texts of a `Generation` drawn side by side, on a device or by NumPy."""

    def __init__(self, generation: Generation, device: Steps | None) -> None:
        self._generation, self._device = generation, device

    def best(self, wanted: Iterable[tuple[int, int]]) -> Iterator[Sample]:
        """The texts of ``wanted`` numbers and prompts, each the best of ``best_of`` candidates."""
        best: Sample | None = None
        V = self._generation.vocabulary.size
        for drawn, sample in enumerate(self.candidates(wanted), start=1):
            if best is None or _cost(sample, V) < _cost(best, V):
                best = sample
            if drawn % self._generation.config.best_of == 0:
                yield best
                best = None

    def candidates(self, wanted: Iterable[tuple[int, int]]) -> Iterator[Sample]:
        """The ``best_of`` candidates of each of the ``wanted`` texts, in order."""
        generation = self._generation
        best_of = generation.config.best_of
        numbered = ((number, prompt, number * best_of + one) for number, prompt in wanted for one in range(best_of))
        drawn: deque[tuple[int, int, Start]] = deque()  # Begun, but not given yet; the latest on the left.

        def beginnings() -> Iterator[Beginning]:
            for number, prompt, candidate in numbered:
                start = generation.start(prompt)
                drawn.appendleft((number, prompt, start))
                yield Beginning(start.logits, start.state, start.recent, generation.generator(candidate, start.drawn))

        for completion in self._completions(beginnings()):
            yield self._sample(*drawn.pop(), completion)

    def _completions(self, beginnings: Iterator[Beginning]) -> Iterator[Completion]:
        """The texts of ``beginnings`` in their order: in batches on the device, or in threads that take turns."""
        generation, device = self._generation, self._device
        measured = generation.request.measured or generation.config.best_of > 1
        settings = generation.drawing, generation.ending
        if device is not None:
            yield from complete(device, beginnings, *settings, rows=DEVICE_BATCH, measured=measured, refill=False)
            return
        shared = generation.threads
        most = 1 if shared is None else shared.most
        first = list(islice(beginnings, most * BATCH))
        texts, threads = chain(first, beginnings), max(1, min(most, len(first) // FEWEST))
        rows = min(-(-len(first) // threads), BATCH)
        if shared is None or threads == 1:
            yield from complete(generation.generating, texts, *settings, rows=rows, measured=measured)
            return
        dealer = Dealer(texts, threads)

        def work(thread: int, stopped: Callable[[], bool]) -> Iterator[Completion]:
            hand = dealer.hand(thread)
            return complete(generation.generating, hand, *settings, rows=rows, measured=measured, stopped=stopped)

        with shared.apart():
            yield from in_turns(threads, work)

    def _sample(self, index: int, prompt: int, start: Start, completion: Completion) -> Sample:
        generation = self._generation
        text = generation.vocabulary.decoder(start.pending, exact=generation.request.exact).text(completion.ids.tolist())
        length = len(completion.ids)
        stop = None if completion.stop is None else generation.stops[completion.stop]
        again = looped(completion.ids) if generation.config.best_of > 1 else 0
        bits = per_character(completion.bits, length)
        return Sample(index, generation.prompts[prompt], text, completion.reason, stop, length, bits, again)


def _cost(sample: Sample, vocab_size: int) -> float:
    """What the best candidate has least of: bits per character, those that it repeats as costly as a uniform guess besides; a
    text without a figure is the last choice.
    """
    if sample.bits_per_char is None:
        return math.inf
    return sample.bits_per_char + sample.looped / sample.characters * math.log2(vocab_size)
