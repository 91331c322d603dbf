"""Files that only look like checkpoints, made from a sound one: whatever reads them must read them rightly or refuse them."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from charrnn.network.tensorfile import MAX_HEADER_BYTES

CAP = MAX_HEADER_BYTES
"""The longest header that is read."""


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """A file's header and the bytes of its tensors."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: object, body: bytes, length: int | None = None) -> bytes:
    """A file of ``header`` (text, or a value to become JSON), which says that the header is ``length`` bytes long."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", (len(text) if length is None else length) % (1 << 64)) + text + body


def truncations(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The file cut off at every hundredth of its length."""
    for percent in range(100):
        yield f"cut at {percent} %", data[: len(data) * percent // 100]


def mutations(data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """The file with one or several bytes changed, put in, taken out or moved; two of three times within its header."""
    (length,) = struct.unpack("<Q", data[:8])
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        end = len(data) if rng.random() < 1 / 3 else 8 + length
        at, changed = rng.randrange(end), bytearray(data)
        kind = rng.choice(("bit", "byte", "bytes", "digit", "insert", "delete", "copy", "scatter"))
        if kind == "bit":
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == "byte":
            changed[at] = rng.choice((0, 0x22, 0x5C, 0x7B, 0x7D, 0x5B, 0x5D, 0x2C, 0x30, 0x80, 0xFF, rng.randrange(256)))
        elif kind == "bytes":
            width = rng.choice((2, 4, 8))
            changed[at : at + width] = rng.choice((bytes(width), b"\xff" * width, rng.randbytes(width)))[: len(data) - at]
        elif kind == "digit":
            digits = [place for place in range(8, end) if 0x30 <= changed[place] <= 0x39]
            changed[rng.choice(digits)] = rng.randrange(0x30, 0x3A)
        elif kind == "insert":
            changed[at:at] = rng.randbytes(rng.choice((1, 2, 8, 100)))
        elif kind == "delete":
            del changed[at : at + rng.choice((1, 2, 8, 100))]
        elif kind == "copy":
            source, width = rng.randrange(end), rng.choice((1, 4, 16, 64))
            changed[at : at + width] = changed[source : source + width]
        else:
            for _ in range(rng.randrange(2, 20)):
                changed[rng.randrange(end)] = rng.randrange(256)
        yield f"{kind} at {at}, seed {seed}, number {number}", bytes(changed)


def edited(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The file with its header changed."""
    header, body = split(data)
    header = copy.deepcopy(header)
    change(header)
    return join(header, body)


def within(part: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    """Set keys of the JSON text ``part`` of the metadata."""

    def change(header: dict[str, Any]) -> None:
        metadata = header["__metadata__"]
        metadata[part] = json.dumps({**json.loads(metadata[part]), **values})

    return change


def header_lengths(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Files whose first eight bytes, the header's length, lie."""
    header, body = split(data)
    sound = len(json.dumps(header))
    for length in (0, 1, 2, sound - 1, sound + 1, len(data), len(data) - 8, CAP, CAP + 1, 1 << 31, 1 << 40, 1 << 63, -1, -8):
        yield f"a header of {length} bytes", join(header, body, length)


_METADATA = b'{"__metadata__":{"format":"charrnn","version":"1","model":"{}","training":"{}","vocabulary":"'
_SIZE = CAP - 1000

LARGE_HEADERS: dict[str, Callable[[], bytes]] = {
    "spaces": lambda: b" " * _SIZE,
    "brackets": lambda: b"[" * _SIZE,
    "empty lists": lambda: b"[" + b"[]," * (_SIZE // 3) + b"0]",
    "numbers": lambda: b"[" + b"7," * (_SIZE // 2) + b"0]",
    "one number": lambda: b"[" + b"7" * _SIZE + b"]",
    "one string": lambda: b'{"a":"' + b"x" * _SIZE + b'"}',
    "many keys": lambda: b"{" + b",".join(b'"%d":0' % n for n in range(_SIZE // 12)) + b"}",
    "one vocabulary": lambda: _METADATA + b'{\\"level\\":\\"char\\",\\"characters\\":\\"' + b"x" * (_SIZE - 200) + b'\\"}"}}',
    "a vocabulary of lists": lambda: _METADATA + b"[" + b"[]," * (_SIZE // 3 - 200) + b'0]"}}',
}
"""Whole headers of about the largest size that is read, each of a kind that costs memory or time to take apart."""


def large_headers() -> Iterator[tuple[str, bytes]]:
    """Files of `LARGE_HEADERS` alone."""
    for name, make in LARGE_HEADERS.items():
        yield f"a large header of {name}", join(make(), b"")


def faults(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Files that are well-formed and wrong."""
    header, body = split(data)
    names = [name for name in header if name != "__metadata__"]
    dtype: Any
    shape: Any
    offsets: Any
    level: Any
    text: Any
    cell: Any
    version: Any
    value: Any
    first = next(name for name in names if name == "head.bias")
    begin, end = header[first]["data_offsets"]

    def entry(**values: Any) -> Callable[[dict[str, Any]], None]:
        return lambda header: header[first].update(values)

    def noted(**values: Any) -> Callable[[dict[str, Any]], None]:
        return lambda header: header["__metadata__"].update(values)

    yield "a tensor missing", edited(data, lambda header: header.pop(first))
    yield "all tensors missing", edited(data, lambda header: [header.pop(name) for name in names])
    yield "the metadata missing", edited(data, lambda header: header.pop("__metadata__"))
    extra = {"dtype": "F32", "shape": [2], "data_offsets": [len(body), len(body) + 8]}
    yield "an extra tensor beyond the end", edited(data, lambda header: header.update(extra=extra))
    yield "a tensor under another name", edited(data, lambda header: header.update({"head.bios": header.pop(first)}))
    yield "a tensor over another", edited(data, entry(data_offsets=[0, end - begin]))
    for dtype in ("F64", "F16", "BF16", "I64", "I32", "U8", "BOOL", "F8_E5M2", "", "f32", None, 4, ["F32"], {}):
        yield f"dtype {dtype}", edited(data, entry(dtype=dtype))
    count = (end - begin) // 4
    shapes = [[count, 1], [1, count], [count - 1], [count + 1], [], [0], [-count], [-1, -count], [float(count)], [True] * count]
    shapes += [[1 << 62, 4], [1 << 64], [10**30], [0, 10**30], [[count]], [1] * 1000 + [count]]
    for shape in (*shapes, "7", 7, None, {}):
        yield f"shape {shape!s:.40}", edited(data, entry(shape=shape))
    places = [[end, begin], [-8, end], [begin, 1 << 63], [begin], [], [begin, end, end], [float(begin), end], [begin, begin]]
    for offsets in (*places, [None, None], "ab", None, {}):
        yield f"offsets {offsets}", edited(data, entry(data_offsets=offsets))
    for words, value in (("NaN", "nan"), ("inf", "inf"), ("-inf", "-inf")):
        poison = struct.pack("<f", float(value))
        yield f"a weight that is {words}", join(header, body[:begin] + poison + body[begin + 4 :])
    characters = json.loads(header["__metadata__"]["vocabulary"])["characters"]
    for words, text in {
        "with a duplicate": characters[0] + characters[:-1],
        "in another order": characters[::-1],
        "too short": characters[:-1],
        "too long": characters + "\U0010ffff",
        "empty": "",
        "of the whole plane": "".join(map(chr, range(0x10000))),
    }.items():
        yield f"a vocabulary {words}", edited(data, within("vocabulary", characters=text))
    for level in ("byte", "word", None, 1, []):
        yield f"vocabulary level {level}", edited(data, within("vocabulary", level=level))
    for name in ("hidden_size", "embedding_size", "num_layers", "vocab_size"):
        for value in (0, -1, 1 << 15, 1 << 16, 1 << 63, 1.5, 1e300, float("nan"), "8", None, True, [8], {}):
            yield f"{name} {value}", edited(data, within("model", **{name: value}))
    for cell in ("LSTM", "transformer", "", None, 3, ["lstm"], {}):
        yield f"cell {cell}", edited(data, within("model", cell=cell))
    for version in ("3", "99", "", "1.0", 1, None, [], "9" * 10_000, "\x1b[31m\n2"):
        yield f"version {version!s:.10}", edited(data, noted(version=version))
    for part in ("model", "vocabulary", "training"):
        for text in ("", "null", "[]", "{}", "0", "{", '"x"', "[" * 100_000, "NaN", "1" * 5000, None, 5, [], "\ud800"):
            if (part, text) != ("training", "{}"):
                yield f"{part} is {text!s:.10}", edited(data, noted(**{part: text}))
    yield "one byte more", data + b"\x00"
    yield "twice the file", data * 2
    yield "nothing", b""
    yield "a header that is no object", join([header], body)
    yield "a header in UTF-16", join(json.dumps(header).encode("utf-16"), body)
    yield "a pickle", pickle.dumps({"weights": [1.0] * 100})
    zipped = BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps([1]))
    yield "a zip", zipped.getvalue()


def sound_variants(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Files that differ from the sound one and are as good."""
    header, body = split(data)
    extra = {"dtype": "F32", "shape": [2], "data_offsets": [len(body), len(body) + 8]}
    yield "an extra tensor", join({**header, "extra": extra}, body + bytes(8))
    yield "the header's keys in another order", join(dict(reversed(header.items())), body)
    yield "spaces after the header", join(json.dumps(header).encode() + b"   ", body)
    yield "an unknown fact of the network", edited(data, within("model", colour="red"))


HOSTILE_FACTS: dict[str, dict[str, Any]] = {
    "no config": {"config": None},
    "config a list": {"config": []},
    "config of words": {"config": {"steps": "ten"}},
    "config with an unknown level": {"config": {"level": "word"}},
    "config with an encoding that is a number": {"config": {"encoding": 5}},
    "config with two lengths": {"config": {"steps": 5, "epochs": 1.0}},
    "no progress": {"progress": None},
    "progress a list": {"progress": [1, 2]},
    "progress of words": {"progress": {"step": "ten"}},
    "progress unknown": {"progress": {"stop": 3}},
    "progress negative": {"progress": {"step": -5}},
    "progress without measure": {"progress": {"step": 10**400}},
    "progress in fractions": {"progress": {"step": 1.5, "attempt": "two"}},
    "progress not a number": {"progress": {"seconds": float("nan"), "schedule_from": float("nan")}},
    "progress with a bad mark": {"progress": {"next_mark": -3, "eval_characters": -10}},
    "progress with a huge evaluation": {"progress": {"eval_characters": 1 << 60}},
    "progress with a best that is a word": {"progress": {"best_val_bits_per_char": "low"}},
    "no text": {"corpus_paths": None},
    "texts that are numbers": {"corpus_paths": [1, 2]},
    "texts that are one word": {"corpus_paths": "tale.txt"},
    "a text with a null byte": {"corpus_paths": ["a\0b"]},
    "a digest that is a list": {"corpus_sha256": []},
    "figures that are words": {"val_bits_per_char": "low", "seconds": "long", "epochs": "many", "step": "ten", "seed": "x"},
    "figures that are lists": {"val_bits_per_char": [], "seconds": [], "epochs": {}, "characters": [], "corpus": []},
    "figures without measure": {"val_bits_per_char": 10**400, "seconds": 10**400, "epochs": 1e308, "characters": -(10**400)},
    "a corpus with escapes": {"corpus": "\x1b]0;owned\x07\x1b[31m\n"},
    "a corpus that is no text": {"corpus": "\ud800"},
}
"""Facts of the training that a sound network may come with: each replaces those of a `last` file."""


def with_facts(data: bytes, facts: dict[str, Any]) -> bytes:
    """The file with facts of its training replaced; a dictionary is merged into the one that was there."""

    def change(header: dict[str, Any]) -> None:
        training = json.loads(header["__metadata__"]["training"])
        for name, value in facts.items():
            training[name] = {**training.get(name, {}), **value} if isinstance(value, dict) and value else value
        header["__metadata__"]["training"] = json.dumps(training)

    return edited(data, change)


def strange_places(folder: Path) -> Iterator[Path]:
    """Things with the name of a checkpoint that are no regular file."""
    (folder / "directory.safetensors").mkdir()
    yield folder / "directory.safetensors"
    os.mkfifo(folder / "pipe.safetensors")
    yield folder / "pipe.safetensors"
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    yield folder / "loop.safetensors"
    (folder / "nowhere.safetensors").symlink_to("gone")
    yield folder / "nowhere.safetensors"
    yield folder / "gone.safetensors"
    yield folder / "gone.safetensors" / "below"
    yield folder / ("x" * 300)
    yield Path("/dev/zero")
