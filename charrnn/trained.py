"""A trained network for programs and notebooks, as `charrnn.load` and `charrnn.train` give it.

Shapes: T characters of a text, V symbols, L layers, H units of a layer.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn import CharrnnError, CharrnnWarning, keywords
from charrnn.config import SampleConfig, ScoreConfig
from charrnn.keywords import ManySettings, SampleSettings
from charrnn.unchanging import Unchanging

if TYPE_CHECKING:
    from typing import Unpack

    import numpy as np
    from numpy.typing import NDArray

    from charrnn.analysis.results import NextCharacter, Score, States
    from charrnn.analysis.traces import Inspection
    from charrnn.generation.request import SampleRequest
    from charrnn.generation.streaming import Generation
    from charrnn.network.checkpoint import Checkpoint
    from charrnn.network.pace import Pace
    from charrnn.output.notebook import Inspected

    Temperature = float | tuple[float, float]

THREADS = 4
"""Up to how many threads `charrnn sample` takes; texts are the same with as many."""


class TrainedNetwork(Unchanging):
    """A trained network; `load` and `train` make them. It never changes, and any number of threads may use it at once."""

    def __init__(self, trained: Checkpoint) -> None:
        import numpy as np

        from charrnn.network import ensemble

        self._trained, steady = trained, _steady()
        with np.errstate(over="ignore", invalid="ignore"):  # Absurd weights give absurd text, not warnings.
            self._network = ensemble.as_trained(trained, steady, temperature=1)  # Drawing has a temperature of its own.
            self._reading = self._network if trained.temperature == 1 else ensemble.as_trained(trained, steady)
            # Records that are to be scored as one stream are read as one.
            self._scoring = self._reading if trained.newline is None else ensemble.calibrated(trained, steady)

    @property
    def info(self) -> dict[str, Any]:
        """What ``charrnn info --json`` tells of it."""
        from charrnn.network import checkpoint

        return checkpoint.facts(self._trained)

    @property
    def symbols(self) -> tuple[str, ...]:
        """What each of the V ids stands for: a character, U+FFFD for the unknown one; or a byte, beyond ASCII as an escape."""
        from charrnn.analysis.scoring import symbol

        vocabulary = self._trained.vocabulary
        return tuple(symbol(vocabulary, index) for index in range(vocabulary.size))

    @property
    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the weights under ``torch.nn``'s names."""
        return {name: value.copy() for name, value in self._network.weights.items()}

    def __repr__(self) -> str:
        """What it is, how good it is, and where it lies."""
        told = self.info
        bits = told["val_bits_per_char"]
        learned = "" if bits is None else f", {bits:.3f} bits/char on {told['corpus']}"
        return (
            f"<charrnn {told['cell']} {told['layers']} x {told['hidden_size']}, {told['vocab_size']} symbols,"
            f" {told['parameters']:,} parameters{learned}, {told['path']}>"
        )

    # -- generating ---------------------------------------------------------------------------------------------------

    def sample(
        self,
        prompt: str = "",
        n: int | None = None,
        *,
        temperature: Temperature = SampleConfig.temperature,
        seed: int | None = None,
        **settings: Unpack[SampleSettings],
    ) -> str:
        """Generate a text: what ``charrnn sample`` writes after the prompt, with the same seed the same.

        Args:
            prompt: the text to go on from; characters that the network doesn't know become their plain forms, with a warning.
            n: how many characters at most (default: 500, or 500 per line of ``lines``).
            temperature: below 1 safer, above 1 wilder, 0 greedy; (A, B) goes from A to B.
            seed: the same seed gives the same text; None: another one each time.
            settings: see `SampleSettings`. ``bias`` maps characters to what is added to their logits, ``clamp`` maps units,
                ``"0:165"``, to the values at which they are held.

        Returns:
            The new text, without the prompt.

        Raises:
            UsageError: a value is outside its limits, or nothing would end the text.
        """
        from charrnn.generation import batches

        generation = self._generation(_sample_request(prompt, n, temperature, seed, settings))
        generation.check_ends("sample")
        return "".join(_quietly(sample.text for sample in batches.samples(generation)))

    def stream(
        self,
        prompt: str = "",
        n: int | None = None,
        *,
        temperature: Temperature = SampleConfig.temperature,
        seed: int | None = None,
        **settings: Unpack[SampleSettings],
    ) -> Iterator[str]:
        """`sample`'s text as it comes, a character at a time; without end if ``n`` is -1."""
        return _quietly(self._generation(_sample_request(prompt, n, temperature, seed, settings)).stream().pieces())

    def samples(
        self,
        num_samples: int,
        prompt: str = "",
        n: int | None = None,
        *,
        temperature: Temperature = SampleConfig.temperature,
        seed: int | None = None,
        **settings: Unpack[ManySettings],
    ) -> Iterator[str]:
        """``num_samples`` texts, drawn together, as by ``charrnn sample --num-samples``, in order; see `sample` for the others.

        A network of records writes records. Text i is the same among however many. There are `ManySettings`, too.

        Raises:
            UsageError: as for `sample`; ``unique`` and ``not_in`` compare lines, so they need ``lines=1``.
            CharrnnError: at the end, if fewer new lines were found than asked for.
        """
        from charrnn.generation import batches

        generation = self._generation(_sample_request(prompt, n, temperature, seed, settings, num_samples))
        generation.check_ends("samples")
        generation.check_lines()

        def drawn() -> Iterator[str]:
            yield from (sample.text for sample in batches.samples(generation))
            if generation.picker.shortfall:
                raise CharrnnError(generation.picker.shortfall)

        return _quietly(drawn())

    def _generation(self, request: SampleRequest) -> Generation:
        from charrnn.generation.streaming import Generation

        return Generation(request, warn_caller, loaded=(self._trained, self._network))

    # -- reading ------------------------------------------------------------------------------------------------------

    def score(
        self,
        text: str | bytes,
        *,
        window: int | None = None,
        exact: bool = False,
        adapt: bool = False,
        per_char: bool = False,
    ) -> Score:
        """How well the network predicts a text: what ``charrnn score`` tells.

        A network of records reads each line by itself, and leaves blank ones out.

        Args:
            text: what to read; bytes for a network of bytes.
            window: score windows of so many characters, each from the zero state.
            exact: read a text of 65,536 characters or more as one stream, not in columns.
            adapt: foresee 64 characters, learn from them, and so on; this network itself stays as it is.
            per_char: keep ranks and the likeliest symbols, too.

        Raises:
            UsageError: ``window``, ``exact`` and ``adapt`` exclude each other.
            CharrnnError: the network's numbers are not finite.
        """
        from charrnn.analysis.results import Score
        from charrnn.analysis.scoring import Scorer
        from charrnn.output import notation
        from charrnn.output.scored import ScoreRequest

        asked = ScoreRequest(config=ScoreConfig(window=keywords.plain(window)), exact=exact, adapt=adapt)
        vocabulary, units = self._trained.vocabulary, self._trained.vocabulary.units(self._readable(text))
        records = asked.of_records(self._trained)
        plain = scorer = Scorer(self._scoring, vocabulary, seen=self._trained.characters, details=per_char)
        if adapt:
            from charrnn.training.adapt import AdaptingScorer

            scorer = AdaptingScorer(self._trained, details=per_char)
        tally, read = scorer.tally(), []
        for piece in scorer.pieces([units] if len(units) else [], window=window, by_line=records, exact=exact):
            if not (records and piece.blank(vocabulary.level)):
                tally.add(piece)
                read.append(piece)
        if tally.unknown:
            warn_caller(notation.unknown_sentence(tally.unknown, tally.strangers))
        found = Score.of(read, tally, scorer, details=per_char, records=records)
        if not adapt:
            return found
        unadapted = plain.mean_bits([piece.codes for piece in read], by_line=records)
        return replace(found, adapted=True, unadapted_bits_per_char=unadapted)

    def next(self, prompt: str = "") -> NextCharacter:
        """What the network expects after a prompt: the whole distribution of ``charrnn next``.

        Raises:
            CharrnnError: the network's numbers are not finite.
        """
        import numpy as np

        from charrnn.analysis import scoring
        from charrnn.analysis.results import NextCharacter
        from charrnn.text import given

        vocabulary, records = self._trained.vocabulary, self._trained.newline is not None
        with np.errstate(over="ignore", invalid="ignore"):
            known = given.known(prompt, vocabulary, warn_caller)
            found, entropy = scoring.next_characters(self._reading, vocabulary, known, records=records)
        shares = np.array([one["probability"] for one in found])
        return NextCharacter(prompt, tuple(one["char"] for one in found), shares, entropy)

    def states(self, text: str | bytes | None = None) -> States:
        """The hidden states and gates at every character: what ``charrnn inspect --npz`` holds, of the whole text.

        A float32 takes four bytes: 10,000 characters of an LSTM of 1 x 384 take 92 MB. A text of more than 8,192 characters is
        read in columns that first read the 1,024 characters before them; `States.seam` tells how near that comes.

        Args:
            text: what to read; None: the 2,000 characters that ``charrnn inspect`` generates.

        Raises:
            CharrnnError: the text is empty.
        """
        from charrnn.analysis.results import States

        return States.of(self._inspected(text, search=False, room=sys.maxsize))

    def inspect(self, text: str | bytes | None = None) -> Inspected:
        """What the network's memory does over a text: what ``charrnn inspect`` shows. A notebook shows it as a page.

        Args:
            text: what to read; None: the 2,000 characters that ``charrnn inspect`` generates.

        Raises:
            CharrnnError: the text is empty.
        """
        from charrnn.output.notebook import Inspected

        return Inspected(self._inspected(text, search=True))

    def _inspected(self, text: str | bytes | None, **how: Any) -> Inspection:
        import numpy as np

        from charrnn.analysis import traces
        from charrnn.output import notation

        vocabulary = self._trained.vocabulary
        with np.errstate(over="ignore", invalid="ignore"):
            if text is None:
                read = traces.generated(self._trained, self._reading)
            else:
                read = traces.given(self._readable(text), self._trained, self._reading, "the text")
                if strangers := vocabulary.strangers(read.characters):
                    unknown = sum(character in strangers for character in read.characters)
                    warn_caller(notation.unknown_sentence(unknown, strangers))
            return traces.inspect(self._trained, self._reading, read, **how)

    def _readable(self, text: str | bytes) -> str:
        if not isinstance(text, bytes):
            return keywords.one_text(text)
        if self._trained.vocabulary.level != "byte":
            raise TypeError("this network reads characters, not bytes; decode them first")
        return text.decode("utf-8", "surrogateescape")


def _steady() -> Pace | None:
    """Threads that any number of callers share; None where NumPy's can't be told."""
    from charrnn.network.pace import Steady, threads_of_numpy

    return None if (shared := threads_of_numpy(THREADS)) is None else Steady(shared)


def _sample_request(
    prompt: str,
    n: int | None,
    temperature: Temperature,
    seed: int | None,
    given: Mapping[str, Any],
    num_samples: int | None = None,
) -> SampleRequest:
    from charrnn.generation.request import SampleRequest

    settings = keywords.checked(given, SampleSettings if num_samples is None else ManySettings, keywords.OPTIONS_OF_SAMPLE)
    stop, not_in = (keywords.listed(settings.pop(name, ())) for name in ("stop", "not_in"))
    bias, clamp = ([f"{key}={value}" for key, value in settings.pop(name, {}).items()] for name in ("bias", "clamp"))
    keep_stop, unique = (bool(settings.pop(name, False)) for name in ("keep_stop", "unique"))
    first, last = temperature if isinstance(temperature, tuple) else (temperature, None)
    numbers = {"length": n, "temperature": first, "temperature_end": last, "seed": seed, "num_samples": num_samples}
    return SampleRequest(
        config=SampleConfig(**{name: keywords.plain(value) for name, value in numbers.items()}, **settings),
        prompt=keywords.one_text(prompt),
        stop=stop,
        keep_stop=keep_stop,
        bias=bias,
        clamp=clamp,
        unique=unique,
        not_in=not_in,
        single=num_samples is None,
        literal=True,
    )


def _quietly(pieces: Iterator[str]) -> Iterator[str]:
    """``pieces``, without NumPy's warnings of numbers that are too large while one is made."""
    import numpy as np

    while True:
        with np.errstate(over="ignore", invalid="ignore"):
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


def warn_caller(text: str) -> None:
    """Warn whoever called this package."""
    package = str(Path(__file__).parent)
    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1  # type: ignore[assignment] # ends outside the package
    warnings.warn(text, CharrnnWarning, stacklevel=level)
