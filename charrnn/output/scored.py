"""What `charrnn score` shows of texts: a table, a row per line or per character, ranks, JSON."""

from __future__ import annotations

import functools
import itertools
import shlex
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, UsageError, files
from charrnn.analysis.scoring import Foreseen, Scorer, Tally, TextRecord
from charrnn.config import ScoreConfig
from charrnn.network import checkpoint, ensemble, lookup
from charrnn.network.checkpoint import Checkpoint, records_of, setting_of
from charrnn.output import notation, tables
from charrnn.output.console import Console
from charrnn.output.notation import json_line
from charrnn.output.progress import Progress
from charrnn.text import sources
from charrnn.text.decoding import Encoding
from charrnn.text.reading import TextReader
from charrnn.text.rows import tell_of_field

ROWS = 1 << 14
"""So many rows of characters go out together."""
NOTHING = {False: "it holds no text", True: "it holds no record"}
"""What there is to say of a text without a character, and of a list without a line that isn't blank."""
LINE_COLUMNS = "bits per character, bits, characters, unknown ones, where, the line"
CHARACTER_COLUMNS = "character, bits, rank, the likeliest three"
"""What the rows hold, for somebody at a terminal."""


@dataclass(frozen=True)
class ScoreRequest:
    """How the user wants texts to be read, and what to see of them; `UsageError` for what excludes each other."""

    config: ScoreConfig = field(default_factory=ScoreConfig)
    by_line: bool = False
    rank: bool = False
    per_char: bool = False
    exact: bool = False
    as_json: bool = False
    adapt: bool = False
    keep: Path | None = None
    """Where the network is saved that has adapted to the text."""

    def __post_init__(self) -> None:
        ways = {
            "--window": self.config.window is not None,
            "--lines": self.by_line,
            "--rank": self.rank,
            "--exact": self.exact,
        }
        given = [option for option, wanted in ways.items() if wanted]
        if len(given) < 2 and self.rank and self.per_char:
            given = ["--rank", "--per-char"]
        if len(given) > 1:
            raise UsageError(f"{' or '.join(given)}: give one, not both")
        if self.adapt and (self.config.window is not None or self.exact):
            raise UsageError(f"--adapt reads a text as one stream, learning as it goes; leave out {given[0]}")
        if self.keep is not None and not self.adapt:
            raise UsageError("--keep saves what a network has learned by --adapt; give both")
        files.check_name("--keep", self.keep, "saves a network in a file, which stdout is not; name one")
        self.encoding  # noqa: B018 - is checked before any file is read

    @property
    def encoding(self) -> Encoding:
        """How files become text; `UsageError` if there is no such encoding."""
        return Encoding(self.config.encoding, self.config.errors, self.config.field)

    def check_kept(self, paths: Sequence[str]) -> None:
        """`UsageError` or `CharrnnError` if no network can be kept that has read the texts in ``paths``."""
        if self.keep is None:
            return
        if len(paths) != 1:
            raise UsageError(f"--keep saves the network that has learned one FILE, not {len(paths)}; each starts anew")
        checkpoint.check_place(self.keep)

    def of_records(self, trained: Checkpoint) -> bool:
        """Whether each line is read by itself because the network learned records, which have nothing to do with each other;
        not where somebody asks how it reads them as one text.
        """
        return records_of(trained.training) is not None and self.config.window is None and not self.exact

    @property
    def sums(self) -> bool:
        """Whether a text is shown as a whole, not by its lines or characters."""
        return not (self.by_line or self.rank or self.per_char)


def show(request: ScoreRequest, paths: Sequence[str], networks: Sequence[Checkpoint], console: Console) -> None:
    """Score the texts in ``paths`` one after another by one network, or by the mean of several, and show each; where one fails,
    what was scored before is still shown.
    """
    scorer = _scorer(request, networks)
    trained = networks[0]
    named, records = len(paths) > 1, request.of_records(trained)
    shown = _Shown(request, scorer, console, named=named, records=records, networks=networks)
    rows = request.per_char or request.by_line
    tell_of_field(paths, request.config.field, setting_of(trained.training, "field"), console.warn)
    if not request.sums and console.stderr_is_terminal and not request.as_json:
        console.say(f"charrnn: the columns: {CHARACTER_COLUMNS if request.per_char else LINE_COLUMNS}")
    with Progress(console, wanted=console.stdout_is_kept or not rows, typed=sources.typed(paths)) as progress:
        try:
            for path in paths:
                tally = scorer.tally()
                progress(f"scoring {sources.shown(path)}", functools.partial(_so_far, tally))
                shown.score(path, tally)
        except CharrnnError:
            shown.finish(whole=False)
            raise
        shown.finish(whole=True)
    if named and request.sums and not (shown.total.characters or shown.total.unknown):
        raise CharrnnError("there is nothing to score in any of the texts")
    if request.sums and not request.adapt:
        _tell_of_learned(paths, networks, console)
    if request.keep is not None:
        _keep(request.keep, scorer, trained, paths[0], tally, console)


def _tell_of_learned(paths: Sequence[str], networks: Sequence[Checkpoint], console: Console) -> None:
    """Say of which texts the score flatters a network, since it was trained on them, and what it has on those it was not."""
    for path, trained in itertools.product(paths, networks):
        told = trained.training
        size, sha256, held_out = (told.get(name) for name in ("corpus_bytes", "corpus_sha256", "val_bits_per_char"))
        if size and isinstance(sha256, str) and sources.is_text(path, size, sha256):
            console.product("", flush=True)  # The score comes first, and nothing is said to a reader who has left.
            rest = "" if held_out is None else f"; the part held out from training took {held_out:.3f} bits/char"
            console.say(f"charrnn: {lookup.named(trained.path)} was trained on {path}, which flatters it{rest}")


def _keep(path: Path, scorer: Scorer, trained: Checkpoint, text: str, tally: Tally, console: Console) -> None:
    """Save the network as it is after the last text."""
    checkpoint.check_place(path)  # Somebody may have written there meanwhile.
    checkpoint.write(path, _learned(scorer, trained, text, tally))
    read = tally.characters + tally.unknown
    console.say(f"charrnn: {path}: the network after {read:,} characters of {sources.shown(text)}")


def _learned(scorer: Scorer, trained: Checkpoint, text: str, tally: Tally) -> Checkpoint:
    """What has become of ``trained`` over a text."""
    from charrnn.training.adapt import AdaptingScorer

    assert isinstance(scorer, AdaptingScorer)
    name = PurePath(sources.shown(text)).name
    return checkpoint.adapted(trained, scorer.adapter.weights(), name, tally.characters + tally.unknown)


def adapted_to(path: str, encoding: Encoding, console: Console, networks: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The one network of ``networks`` as it is after reading the text in ``path``, learning as it goes."""
    scorer = _scorer(ScoreRequest(adapt=True), networks, "--adapt-to")
    trained, tally = networks[0], scorer.tally()
    reader = TextReader(trained.vocabulary.level, encoding, warn=console.warn)
    by_line = records_of(trained.training) is not None
    with Progress(console, typed=sources.typed([path])) as progress:
        progress(f"adapting to {sources.shown(path)}", functools.partial(_so_far, tally))
        for piece in scorer.pieces(reader.codes(path, by_lines=by_line), by_line=by_line):
            tally.add(piece)
    if not (tally.characters or tally.unknown):
        raise CharrnnError(f"{sources.shown(path)}: there is nothing to learn; {NOTHING[by_line]}")
    if tally.unknown:
        console.warn(f"{sources.shown(path)}: {notation.unknown_sentence(tally.unknown, tally.strangers)}")
    console.say(f"charrnn: adapted to {notation.score_clause({'file': sources.shown(path), **tally.to_json()})}")
    return [_learned(scorer, trained, path, tally)]


def _scorer(request: ScoreRequest, networks: Sequence[Checkpoint], option: str = "--adapt") -> Scorer:
    """What reads the texts; only a network that adapts to them needs torch."""
    if request.adapt:
        if len(networks) > 1:
            one = shlex.quote(str(lookup.named(networks[0].path)))
            raise UsageError(f"{option} changes the weights of one network, not of {len(networks)}; name one, as -c {one}")
        from charrnn.training.adapt import AdaptingScorer

        return AdaptingScorer(networks[0], details=request.per_char)
    return _plain(networks, details=request.per_char)


def _plain(networks: Sequence[Checkpoint], *, details: bool = False) -> Scorer:
    """What reads texts with networks that stay as they are."""
    with np.errstate(over="ignore", invalid="ignore"):
        network = ensemble.together(networks)
    seen = max(one.characters or 0 for one in networks)
    return Scorer(network, networks[0].vocabulary, seen=seen or None, details=details)


def _adapted(plain: float | None) -> dict[str, Any]:
    """What is told of a score beside which a network that learns nothing has ``plain`` bits per character."""
    return {"adapted": True, "unadapted_bits_per_char": plain}


def _given(piece: Foreseen) -> NDArray[Any]:
    """The code points of a piece as they were given."""
    return piece.codes if piece.source is None else piece.source


def _so_far(tally: Tally) -> str:
    read = tally.characters + tally.unknown
    return f"{read:,} characters" if read else ""


class _Shown:
    """Texts on their way from the scorer to stdout; ranks and tables wait for the last one."""

    def __init__(
        self,
        request: ScoreRequest,
        scorer: Scorer,
        console: Console,
        *,
        named: bool,
        records: bool,
        networks: Sequence[Checkpoint],
    ) -> None:
        self._request, self._scorer, self._console, self._named = request, scorer, console, named
        self._plain = _plain(networks) if request.adapt else None
        self._reader = TextReader(scorer.vocabulary.level, request.encoding, warn=console.warn)
        self._records, self._networks = records, notation.networks_record(networks)
        self._waiting: list[dict[str, Any]] = []
        self._ranked: list[tuple[float, str]] = []  # Rows as they are shown: their numbers would take twice as much.
        self.total = scorer.tally()

    def score(self, path: str, tally: Tally) -> None:
        """Score one text, counted by an empty ``tally``; show it, or keep it for `finish`."""
        request, console, records, read = self._request, self._console, 0, list[NDArray[Any]]()
        name, said = {"file": path} if self._named else {}, sources.shown(path)
        numbers = deque[int]()  # of the rows of a table in its file
        for number, piece in enumerate(self._pieces(path, numbers), 1):
            number = numbers.popleft() if numbers else number
            if self._records and piece.blank(self._scorer.vocabulary.level):
                if piece.last and request.by_line:
                    console.product("", flush=True)
                continue  # A blank line is no record.
            tally.add(piece)
            records += 1
            if self._plain is not None:
                read.append(_given(piece))
            if request.per_char:
                rows = (self._row({**name, **record}) for record in self._scorer.characters(piece))
                while text := "".join(itertools.islice(rows, ROWS)):
                    console.product(text)
            elif request.rank:
                if not piece.blank(self._scorer.vocabulary.level):
                    line = self._line(piece, number)
                    self._ranked.append((float(line["surprise"]), self._row({**name, **line})))
            elif request.by_line:
                console.product(self._row({**name, **self._line(piece, number)}), flush=piece.last)
        if not (tally.characters or tally.unknown) and request.sums:
            if not self._named:
                raise CharrnnError(f"{said}: there is nothing to score; {NOTHING[self._records]}")
            console.warn(f"{said}: {NOTHING[self._records]}")
        told: TextRecord = {"file": path, **tally.to_json(), **self._scorer.reading}
        summary: dict[str, Any] = {**told}
        if self._records:
            summary |= {"records": records, "bits_per_record": tally.bits / records if records else None}
        if self._plain is not None:
            plain = self._plain.mean_bits(read, by_line=self._by_line)
            summary |= _adapted(plain)
        if not request.sums:
            console.say(notation.score_sentence({**summary, "file": said}))
        elif request.as_json:
            console.product(json_line(summary | self._networks), flush=True)
        else:
            self._waiting.append(summary)
        if records and self._records and not request.as_json:
            console.say(f"charrnn: {said}: {notation.records_sentence(records, tally.bits / records)}")
        if self._plain is not None and tally.characters:
            console.say(f"charrnn: {said}: {notation.unadapted_sentence(summary['unadapted_bits_per_char'])}")
        if tally.mapped:
            console.say(f"charrnn: {said}: {notation.mapped_sentence(tally.mapped)}")
        if tally.unknown:
            console.warn(f"{said}: {notation.unknown_sentence(tally.unknown, tally.strangers)}")
        self.total.merge(tally)

    def finish(self, *, whole: bool) -> None:
        """Show what has waited, with a total if the ``whole`` list of texts was scored."""
        console, waiting = self._console, self._waiting
        if self._request.rank:
            for _, row in sorted(self._ranked, key=itemgetter(0), reverse=True):
                console.product(row)
        elif waiting:
            total = [{"file": "total", **self.total.to_json()}] if whole and len(waiting) > 1 else []
            console.table(tables.score_table([*waiting, *total], framed=console.stdout_is_terminal))

    def _line(self, piece: Foreseen, number: int) -> dict[str, Any]:
        """The score of a line; in JSON also what it were if the network had not learned the lines before."""
        record: dict[str, Any] = {**self._scorer.line(piece, number)}
        if self._plain is not None and self._request.as_json:
            record |= _adapted(self._plain.mean_bits([_given(piece)], by_line=True))
        return record

    def _pieces(self, path: str, numbers: deque[int]) -> Iterator[Foreseen]:
        """The text as the network foresaw it, read in the way that was asked for; ``numbers`` gets where the lines stand that
        are rows of a table.
        """
        read = self._reader.codes(path, by_lines=self._by_line, numbers=numbers if self._by_line else None)
        request, blocks = self._request, self._begun(read)
        return self._scorer.pieces(blocks, window=request.config.window, by_line=self._by_line, exact=request.exact)

    @property
    def _by_line(self) -> bool:
        return self._request.by_line or self._request.rank or self._records

    def _begun(self, blocks: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """``blocks`` of a text, with a word to the console once the first is read."""
        for block in blocks:
            self._console.begin()
            yield block

    def _row(self, record: Mapping[str, Any]) -> str:
        if self._request.as_json:
            return json_line(record)
        if "char" in record:
            return notation.character_row(record)
        return notation.line_row(record, raw=not self._console.stdout_is_terminal)
