"""The corpus: text files as ids, with a part kept for validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import CharrnnError, files
from charrnn.text import cache as caching
from charrnn.text import room, sources, spilled
from charrnn.text.cache import Cache, Source
from charrnn.text.cachefile import Encoded, Remark
from charrnn.text.copies import Copies
from charrnn.text.digest import TextDigest
from charrnn.text.reading import PLAIN, TextReader
from charrnn.text.records import RecordList, ValLines, split
from charrnn.text.scattered import Pieces, scatter
from charrnn.text.sources import STDIN, VERSION
from charrnn.text.spilled import BlockStore, joined
from charrnn.text.vocabulary import CODE_POINTS, Vocabulary, id_dtype

NEWLINE = 10
BYTES_OF_A_RECORD = 16
"""Where it begins, and the hash of its characters; while a list is read they are there twice."""


@dataclass(frozen=True)
class Corpus:
    """A text as ids: ``ids[:train_characters]`` to learn from and the rest to validate on, or ``pieces`` spread over it.

    ``bytes_read`` and ``sha256`` describe the raw (unpacked) bytes of all ``files`` in order; ``reading`` is the version of the
    rules by which they were read, ``text_sha256`` the digest of the UTF-8 of all characters (of the bytes, at level ``byte``).
    Where each line is a record of its own, ``ids`` holds those to learn from first, and ``records`` says where each lies.
    """

    name: str
    paths: tuple[str, ...]
    bytes_read: int
    sha256: str
    vocabulary: Vocabulary
    ids: NDArray[Any]
    train_characters: int
    reading: int = VERSION
    text_sha256: str | None = None
    files: tuple[str, ...] = ()
    pieces: Pieces | None = None
    records: RecordList | None = None
    counts: NDArray[np.int64] | None = None
    """How often each id occurs; None if nobody has counted."""
    val_lines: ValLines | None = None
    """The file whose lines are held out, where there is one; ``val_path`` is where it lies."""
    val_path: str | None = None

    @property
    def val_characters(self) -> int:
        """The number of validation characters; 0 or at least 2."""
        if self.pieces is not None:
            return self.pieces.scored
        return len(self.ids) - self.train_characters

    @property
    def unknown(self) -> int:
        """How many characters of the text are not in the vocabulary."""
        if (unknown := self.vocabulary.unknown) is None:
            return 0
        return int(np.count_nonzero(self.ids == unknown) if self.counts is None else self.counts[unknown])

    def is_text_of(self, training: Mapping[str, Any]) -> bool:
        """Whether a checkpoint with these facts was trained on this text, with the same lines held out if they are of a file:
        the same bytes or, where it says so, characters.
        """
        return self.is_list_of(training) and (self.val_lines is None or self.val_lines.is_of(training.get("val_lines")))

    def is_list_of(self, training: Mapping[str, Any]) -> bool:
        """`is_text_of`, whatever is held out."""
        if self.sha256 == training.get("corpus_sha256"):
            return True
        return self.text_sha256 is not None and self.text_sha256 == training.get("corpus_text_sha256")

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says about its corpus, without paths."""
        records: dict[str, Any] = {} if self.records is None else {"records": self.records.facts.to_json()}
        if self.val_lines is not None:
            records["val_lines"] = asdict(self.val_lines)
        return {
            "corpus": self.name,
            "corpus_bytes": self.bytes_read,
            "corpus_sha256": self.sha256,
            "corpus_text_sha256": self.text_sha256,
            "corpus_reading": self.reading,
            **records,
        }


def corpus_name(paths: Sequence[str]) -> str:
    """The stem of the first file, a directory's name, or ``stdin``."""
    return sources.stem(paths[0]) or "corpus"


@dataclass(frozen=True)
class Reading:
    """How far the reading of a text is: the ``bytes`` and the files that were read, of so many files; and then the share of its
    characters that are ids.
    """

    bytes: int
    file: int = 1
    files: int = 1
    encoded: float = 0.0


Tell = Callable[[Reading], None]


def untold(_: Reading) -> None:
    """Where nobody wants to know how far the reading is."""


def read_corpus(
    paths: Sequence[str],
    reader: TextReader = PLAIN,
    *,
    min_count: int = 1,
    val: str = "tail",
    val_fraction: float = 0.1,
    vocabulary: Vocabulary | None = None,
    val_seed: int | None = None,
    val_lines: str | None = None,
    cache: Cache | None = None,
    verify: bool = False,
    tell: Tell = untold,
) -> Corpus:
    """Read files, directories and ``-`` into one corpus.

    Args:
        paths: what to read, in order. At level ``char`` a file that lacks a final newline gets one if another follows.
        reader: how each is read.
        min_count: characters that occur fewer times become the unknown character.
        val: what is kept for validation: the text's ``tail``, or pieces ``scattered`` over it.
        val_fraction: the share of the text that is.
        vocabulary: encode with this one rather than the text's own.
        val_seed: each line is a record of its own, and this chooses which of them are held out; None: the text is one stream.
        val_lines: a file (or a directory, or ``-``) whose lines are the records held out, instead of some of the text's.
        cache: where a large text is kept as ids, and found again.
        verify: read the files and what is kept of them whole, even if they seem to be as they were.
        tell: called now and then with what was read so far.

    Raises:
        CharrnnError: a file can't be read, is not valid text, or all of them hold fewer than 2 characters or no record; or
            there is too little room for temporary files.
    """
    names = reader.files(paths)
    held_out = () if val_lines is None else reader.files_beside(names, val_lines)
    asked = _Asked(names, reader, min_count, val_fraction, vocabulary, val_seed, tell, held_out)
    source = None if cache is None else _source(cache, asked)
    text = None if source is None else asked.found(source, verify=verify)
    if text is None:
        text = _read(asked, source if _has_room(asked, source) else None)
    if val_lines is not None:
        text = _named(text, val_lines)
    characters, pieces = len(text.ids), None
    tail = int(characters * val_fraction)
    train_characters = characters - (tail if tail >= 2 and characters - tail >= 2 else 0)
    if text.records is not None:
        train_characters = int(text.records.starts[text.records.train]) + 1
    elif val == "scattered":
        pieces = scatter(characters, val_fraction)
        train_characters = pieces.trained if pieces is not None else characters
    return Corpus(
        name=corpus_name(paths),
        paths=tuple(map(_path, paths)),
        bytes_read=text.bytes_read,
        sha256=text.sha256,
        vocabulary=text.vocabulary,
        ids=text.ids,
        train_characters=train_characters,
        reading=reader.version,
        text_sha256=text.text_sha256,
        files=tuple(name if sources.readable_again(name) else STDIN for name in names),
        pieces=pieces,
        records=text.records,
        counts=text.counts,
        val_lines=text.val_lines,
        val_path=None if val_lines is None else _path(val_lines),
    )


def _path(path: str) -> str:
    """Where a text lies; a pipe or device can't be read again, like stdin."""
    return str(Path(path).resolve()) if sources.readable_again(path) else STDIN


def _named(text: Encoded, val_lines: str) -> Encoded:
    """A text that is known by its content alone, with the name of the file whose lines are held out."""
    assert text.val_lines is not None
    assert text.records is not None
    name = Path(sources.shown(val_lines)).name or val_lines
    facts = replace(text.records.facts, val_lines=name)
    return replace(text, val_lines=replace(text.val_lines, name=name), records=replace(text.records, facts=facts))


@dataclass(frozen=True)
class _Asked:
    """What is to be read, by which rules; the lines of ``held_out`` are the records that are held out."""

    names: Sequence[str]
    reader: TextReader
    min_count: int
    val_fraction: float
    vocabulary: Vocabulary | None
    val_seed: int | None
    tell: Tell
    held_out: Sequence[str] = ()

    @property
    def named(self) -> str:
        """The files, for errors."""
        return ", ".join(map(sources.shown, self.names))[:200]

    @property
    def files(self) -> Sequence[str]:
        """All of them."""
        return [*self.names, *self.held_out]

    def rules(self) -> dict[str, Any]:
        """All that a text's ids follow from beside its bytes, and the vocabulary that is given."""
        reader = self.reader
        beside = {"val_lines": len(self.held_out)} if self.held_out else {}
        return {
            **beside,
            "level": reader.level,
            "encoding": reader.encoding.name,
            "errors": reader.encoding.errors,
            "field": reader.encoding.field,
            "reading": reader.version,
            "min_count": self.min_count,
            "records": None if self.val_seed is None else [self.val_seed, self.val_fraction],
            "vocabulary": None,
        }

    def mapped(self, source: Source, vocabulary: Vocabulary) -> Source:
        """``source`` as a ``vocabulary`` reads it that is another than the text's own: of that every character is known."""
        return source.for_vocabulary(vocabulary, known_form=self.reader.known_form() is not None)

    def found(self, source: Source, *, verify: bool) -> Encoded | None:
        """The text as it is kept, with the warnings that reading it gave; None if it isn't."""

        def tell(count: int) -> None:
            self.tell(Reading(count, len(self.files), len(self.files)))

        text = source.find(verify=verify, tell=tell)
        if self.vocabulary is not None and (text is None or text.vocabulary != self.vocabulary):
            text = self.mapped(source, self.vocabulary).find(verify=verify, tell=tell)
        if text is None:
            return None
        for number, sentence in text.remarks:
            self.reader.warn(f"{self.files[number]}: {sentence}" if 0 <= number < len(self.files) else sentence)
        return text


def _source(cache: Cache, asked: _Asked) -> Source | None:
    """The text as something that may be kept."""
    source = Source.of(cache, asked.files, asked.rules(), asked.reader.version)
    return source if source is not None and cache.usable() else None


def _has_room(asked: _Asked, source: Source | None) -> bool:
    """Whether ``source`` can be kept, for all that is known beforehand; says so if not.

    Raises:
        CharrnnError: there is too little room for the temporary files of a text that isn't kept.
    """
    try:
        needed = room.needed(asked.files, asked.reader)
    except OSError:
        return source is not None  # Whoever reads it says why.
    places = 0 if asked.val_seed is None else BYTES_OF_A_RECORD * needed.lines
    copies = needed.ids if asked.val_seed is None else 2 * needed.ids + needed.codes
    total = sum(size for size in (needed.codes, copies, 2 * places) if size > spilled.IN_MEMORY_BYTES)
    if source is not None:
        cache, free = source.cache, room.free(source.cache.place)
        sparing = None if free is None else free + sum(entry.size for entry in cache.entries())
        if needed.ids + places > cache.most:
            reason = f"the text takes {_gigabytes(needed.ids + places)}, all that is kept at most {_gigabytes(cache.most)}"
            cache.warn(f"{reason}; it is read anew next time; {caching.SIZE} sets another limit")
        elif sparing is not None and sparing < total:
            reason = f"{_gigabytes(sparing)} free, the text needs {_gigabytes(total)} to be kept"
            cache.warn(f"{cache.place}: {reason}; it is read anew next time; {caching.PLACE} names another directory")
        else:
            return True
    place = files.temporary_place()
    free = room.free(Path(place))
    if free is not None and free < total:
        raise CharrnnError(
            f"{place}: {_gigabytes(free)} free, the text needs {_gigabytes(total)} of temporary files;"
            " TMPDIR may name another directory for them"
        )
    return False


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def _read(asked: _Asked, source: Source | None) -> Encoded:
    """Read the text, and keep it in ``source`` where it is given and that is possible."""
    vocabulary, val_seed = asked.vocabulary, asked.val_seed
    with BlockStore(None if source is None else source.cache.place) as store:
        read, border = _read_all(asked, store)
        if vocabulary is None:
            vocabulary = _vocabulary(asked, read.counts)
        if vocabulary.size == 1:
            raise CharrnnError(f"{asked.named}: no character occurs {asked.min_count} times; lower --min-count")
        facts = sum(read.sizes[: len(asked.names)]), read.sha256, read.text_sha256, vocabulary
        text = Encoded(*facts, np.empty(0), remarks=read.remarks, name=", ".join(asked.names)[:200], val_lines=read.val_lines)
        dtype = np.dtype(id_dtype(vocabulary.size))

        def tell(share: float) -> None:
            asked.tell(replace(read.told, encoded=share))

        blocks: Callable[[], Iterable[NDArray[Any]]] = partial(store.ids, vocabulary, tell)
        length = store.characters
        if val_seed is not None:
            ids = store.encoded(vocabulary)
            try:
                codes = None if vocabulary.unknown is None else store.codes()
                listed, blocks = split(ids, vocabulary, asked.val_fraction, val_seed, codes, border)
            except CharrnnError as error:
                raise CharrnnError(f"{asked.named}: {error}") from error
            length, text = int(listed.starts[-1]) + 1, replace(text, records=listed)
        if source is not None:
            if asked.vocabulary is not None:
                source = asked.mapped(source, vocabulary)
            kept = source.keep(text, blocks(), read.sizes, length * dtype.itemsize)
            if kept is not None:
                return kept
        return replace(text, ids=joined(blocks(), length, dtype))


def _vocabulary(asked: _Asked, counts: NDArray[np.int64]) -> Vocabulary:
    """The text's own vocabulary."""
    if asked.reader.level == "byte":
        return Vocabulary("byte")
    present = np.flatnonzero(counts)
    occurrences = dict(zip(present.tolist(), counts[present].tolist(), strict=True))
    if asked.val_seed is not None:
        occurrences[NEWLINE] = max(occurrences.get(NEWLINE, 0), asked.min_count)  # It ends every record.
    return Vocabulary.from_counts(occurrences, asked.min_count)


@dataclass(frozen=True)
class _Read:
    """What reading the files found: what was ``told`` at the end, the number of raw bytes of each file, both digests, how often
    each code point or byte occurs, and what was warned of.

    Unless the caller asked for counts, 1 may stand for any number of occurrences. The digests are without the file of
    ``val_lines``.
    """

    told: Reading
    sizes: Sequence[int]
    sha256: str
    text_sha256: str
    counts: NDArray[np.int64]
    remarks: tuple[Remark, ...]
    val_lines: ValLines | None = None


def _read_all(asked: _Asked, store: BlockStore) -> tuple[_Read, int | None]:
    """Read the text, then the lines that are held out, if they are of a file; and where these begin."""
    read, border = _read_files(asked, asked.names, store), store.characters
    if border < 2:
        what = "holds no text" if border == 0 else "holds a single character"
        raise CharrnnError(f"{asked.named}: {what}; at least 2 characters are needed")
    if not asked.held_out:
        return read, None
    beside = _read_files(asked, asked.held_out, store, read.told, read.sizes)
    of_code: Callable[[int], str | bytes] = chr if asked.reader.level == "char" else lambda code: bytes([code])
    if all(of_code(code).isspace() for code in np.flatnonzero(beside.counts).tolist()):
        named = ", ".join(map(sources.shown, asked.held_out))[:200]
        raise CharrnnError(f"{named}: every line is blank; --val-lines needs one to hold out")
    remarks, new = read.remarks + beside.remarks, np.flatnonzero((beside.counts > 0) & (read.counts == 0))
    if asked.vocabulary is None and len(new := new[new != NEWLINE]):
        shown = ", ".join(repr(of_code(code)) for code in new[:5].tolist()) + f" and {len(new) - 5:,} more" * (len(new) > 5)
        sentence = f"nothing teaches {shown}: no line to learn from has {'it' if len(new) == 1 else 'them'}"
        asked.reader.warn(f"{asked.held_out[0]}: {sentence}")
        remarks += ((len(asked.names), sentence),)
    val_lines, counts = ValLines("", beside.sha256, beside.text_sha256), read.counts + beside.counts
    return _Read(beside.told, beside.sizes, read.sha256, read.text_sha256, counts, remarks, val_lines), border


def _read_files(
    asked: _Asked, names: Sequence[str], store: BlockStore, before: Reading | None = None, sizes_before: Sequence[int] = ()
) -> _Read:
    """Read ``names``; ``before`` is what was told of files that were read before them."""
    remarks, sizes, count = list[Remark](), [*sizes_before], len(asked.files)
    size = 0 if before is None else before.bytes
    records, counted = asked.val_seed is not None, asked.min_count > 1

    def warn(said: str) -> None:
        """Pass on a warning, and keep it without the file's name: next time it may have another."""
        number, named = len(sizes) - 1, f"{asked.files[len(sizes) - 1]}: "
        remarks.append((number, said.removeprefix(named)) if said.startswith(named) else (-1, said))
        asked.reader.warn(said)

    reader = replace(asked.reader, warn=warn)
    digest, seen = TextDigest(reader.level), bytearray()
    counts = np.zeros(CODE_POINTS if reader.level == "char" else 256, dtype=np.int64)
    last, copies = NEWLINE, Copies(names)

    def begin() -> None:
        sizes.append(0)
        copies.begin()

    for raw, codes in reader.joined(names, by_lines=records, begins=begin):
        digest.update(raw, codes)
        size += len(raw)
        sizes[-1] += len(raw)
        asked.tell(Reading(size, len(sizes), count))
        if not len(codes):
            continue
        if counted or codes.dtype != np.uint8:
            found = np.bincount(codes)
            counts[: len(found)] += found
        elif new := set(codes.tobytes().translate(None, seen)):  # Dropping known ones is four times as fast as counting.
            seen.extend(new)
            counts[list(new)] += 1
        store.append(codes)
        last = int(codes[-1])
        if len(names) > 1 and not records:  # Equal records are on one side, whatever files they are of.
            copies.add(codes)
    if (copy := copies.told()) is not None:
        number, original, said = copy
        asked.reader.warn(f"{names[number]}: the same text as {original}{said}")
        remarks.append((number, f"the same text as another of these files{said}"))
    if records and last != NEWLINE:
        store.append(np.array([NEWLINE], dtype=np.uint8))
    return _Read(Reading(size, len(sizes), count), sizes, digest.of_bytes, digest.of_text, counts, tuple(remarks))
