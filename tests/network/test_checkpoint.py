"""checkpoint: a file comes back exactly as it was written, or is refused by name; nothing in it is trusted."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from small_checkpoints import Header, put_together, setting, small, take_apart
from small_networks import OF_TORCH

from charrnn import CharrnnError
from charrnn.config import GATES
from charrnn.limits import either
from charrnn.network import tensorfile
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint, read, read_header, write


def refusal(reader: Callable[[Path], Checkpoint], path: Path) -> str:
    """The message with which ``path`` is refused: one line that begins with the file's name."""
    with pytest.raises(CharrnnError) as caught:
        reader(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


# -- there and back ---------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    cell=st.sampled_from(list(GATES)),
    num_layers=st.integers(1, 3),
    hidden_size=st.integers(1, 5),
    level=st.sampled_from(["char", "byte"]),
    seed=st.integers(0, 99),
    facts=st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=9), max_size=4),
    dtype=st.sampled_from(["<f4", "<f8", "<i8"]),
    shape=st.lists(st.integers(0, 3), min_size=1, max_size=4),
)
def test_what_is_written_is_read_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    cell: str,
    num_layers: int,
    hidden_size: int,
    level: str,
    seed: int,
    facts: dict[str, Any],
    dtype: str,
    shape: list[int],
) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.safetensors"
    made = small(cell, num_layers, hidden_size, level, seed)
    extra = {"a": np.arange(math.prod(shape), dtype=dtype).reshape(shape) - 3, "z": np.zeros(2)}
    write(path, Checkpoint(made.model, made.vocabulary, facts, made.weights, extra))
    found = read(path)
    assert (found.model, found.vocabulary, found.path) == (made.model, made.vocabulary, path)
    assert {**found.training, "saved_at": 0} == {**facts, "saved_at": 0}
    for written, back in ((made.weights, found.weights), (extra, found.extra)):
        assert written.keys() == back.keys()
        for name, array in written.items():
            assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
            assert back[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("temperature", [0.9, 1.3, 1.0])
def test_a_calibration_is_kept_and_one_that_says_nothing_is_none(tmp_path: Path, temperature: float) -> None:
    made = replace(small(), temperature=temperature)
    write(tmp_path / "x.safetensors", made)
    assert read(tmp_path / "x.safetensors").temperature == temperature
    assert read_header(tmp_path / "x.safetensors").temperature == temperature
    facts = take_apart(tmp_path / "x.safetensors")[0]["__metadata__"]
    assert json.loads(facts.get("calibration", "1")) == ({"temperature": temperature} if temperature != 1 else 1)


NUMBERS = ("0", "-1", "0.009", "101", "1e999", "-Infinity", "NaN", "null", "true", '"0.9"', "[1]", "{}", "1" * 400)
CALIBRATIONS = ["{}", "[]", "null", "1", "0.9", '"x"', "", "{", "NaN", *(f'{{"temperature": {number}}}' for number in NUMBERS)]


@pytest.mark.parametrize("text", CALIBRATIONS, ids=lambda text: text[:20])
def test_a_calibration_that_is_none_is_refused(sound: Path, text: str) -> None:
    header, body = take_apart(sound)
    header["__metadata__"]["calibration"] = text
    for reader in (read, read_header):
        assert "calibration" in (said := refusal(reader, put_together(sound, header, body))) or "header is damaged" in said


def test_an_unknown_fact_of_a_calibration_is_ignored(sound: Path) -> None:
    header, body = take_apart(sound)
    header["__metadata__"]["calibration"] = '{"temperature": 0.875, "by": "whom"}'
    assert read(put_together(sound, header, body)).temperature == 0.875


def test_extreme_values_and_any_memory_layout_come_back(tmp_path: Path) -> None:
    made = small(hidden_size=4)
    limits = np.finfo(np.float32)
    odd = np.array([[-0.0, limits.tiny / 2, limits.max, limits.min]] * 16, dtype=np.float32)
    weights = {**made.weights, "rnn.weight_hh_l0": np.asfortranarray(odd), "head.bias": np.arange(16, dtype=np.float32)[::2]}
    write(tmp_path / "x", Checkpoint(made.model, made.vocabulary, {}, weights))
    found = read(tmp_path / "x").weights
    assert found["rnn.weight_hh_l0"].tobytes() == odd.tobytes()
    assert found["head.bias"].tolist() == [0, 2, 4, 6, 8, 10, 12, 14]


def test_a_scalar_comes_back_as_a_scalar(tmp_path: Path) -> None:
    made = small()
    write(tmp_path / "x", Checkpoint(made.model, made.vocabulary, {}, made.weights, {"count": np.array(5.0)}))
    assert read(tmp_path / "x").extra["count"].shape == ()


def test_weights_are_stored_in_fp32(tmp_path: Path) -> None:
    made = small()
    double = {name: array.astype(np.float64) for name, array in made.weights.items()}
    write(tmp_path / "x", Checkpoint(made.model, made.vocabulary, {}, double))
    assert {array.dtype for array in read(tmp_path / "x").weights.values()} == {np.dtype(np.float32)}


def test_the_header_alone_tells_all_but_the_tensors(sound: Path) -> None:
    header, whole = read_header(sound), read(sound)
    assert (header.model, header.vocabulary, header.training, header.path) == (
        whole.model,
        whole.vocabulary,
        whole.training,
        sound,
    )
    assert (header.weights, header.extra) == ({}, {})


def test_the_time_of_saving_stands_in_the_header(tmp_path: Path) -> None:
    before = time.time()
    write(tmp_path / "x", small())
    found = read_header(tmp_path / "x")
    assert before <= found.saved_at <= time.time()
    assert found.when == time.strftime("%Y-%m-%d %H:%M", time.localtime(found.saved_at))
    assert (small().saved_at, small().when) == (0, "")


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    write(tmp_path / "x", made := small("gru", 2))
    loaded = safetensors.numpy.load_file(tmp_path / "x")
    assert loaded.keys() == made.weights.keys()
    assert all(np.array_equal(loaded[name], made.weights[name]) for name in loaded)
    metadata = take_apart(tmp_path / "x")[0]["__metadata__"]
    assert (metadata["format"], metadata["version"]) == ("charrnn", "1")
    assert json.loads(metadata["model"])["cell"] == "gru"
    assert json.loads(metadata["vocabulary"])["characters"] == "\n abé€😀"
    assert json.loads(metadata["training"])["step"] == 7


@pytest.mark.parametrize("cell", OF_TORCH)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_torch_loads_the_weights_by_their_names_and_computes_the_same(cell: str, num_layers: int, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from small_runs import KERNELS

    write(tmp_path / "x", made := small(cell, num_layers, hidden_size=6))
    model, tensors = made.model, load_file(tmp_path / "x")
    recurrent = KERNELS[cell](3, 6, num_layers)
    modules = torch.nn.ModuleDict(
        {"embedding": torch.nn.Embedding(model.vocab_size, 3), "rnn": recurrent, "head": torch.nn.Linear(6, model.vocab_size)}
    )
    modules.load_state_dict(tensors)
    ids = np.random.default_rng(1).integers(0, model.vocab_size, (9, 2))  # (T, N)
    with torch.no_grad():
        outputs, _ = modules["rnn"](modules["embedding"](torch.from_numpy(ids)))
        expected = modules["head"](outputs).numpy()
    logits, _, _ = Network(model, read(tmp_path / "x").weights).unroll(ids)
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_reading_needs_no_torch(sound: Path) -> None:
    program = (
        "import sys, pathlib; from charrnn.network import checkpoint; checkpoint.read(pathlib.Path(sys.argv[1]));"
        "print(sorted({'torch', 'rich', 'typer'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program, sound], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_a_truncated_file_is_refused_at_every_length(sound: Path, tmp_path: Path) -> None:
    data = sound.read_bytes()
    header_end = 8 + struct.unpack("<Q", data[:8])[0]
    cut = tmp_path / "cut.safetensors"
    for length in (0, 1, 7, 8, 9, header_end // 2, header_end - 1, header_end, header_end + 1, len(data) - 4, len(data) - 1):
        cut.write_bytes(data[:length])
        for reader in (read, read_header):
            assert "not a usable checkpoint" in refusal(reader, cut)


def test_trailing_bytes_are_refused(sound: Path) -> None:
    size = sound.stat().st_size
    sound.write_bytes(sound.read_bytes() + b"\0")
    assert f"it should hold {size} bytes and holds {size + 1}" in refusal(read, sound)


@pytest.mark.parametrize("length", [1 << 20, 1 << 40, (1 << 63) + 1, (1 << 64) - 1])
def test_an_absurd_header_length_is_refused_without_reading(length: int, sound: Path) -> None:
    sound.write_bytes(struct.pack("<Q", length) + sound.read_bytes()[8:])
    for reader in (read, read_header):
        assert "its header is damaged" in refusal(reader, sound)


def test_a_header_above_the_limit_is_refused(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorfile, "MAX_HEADER_BYTES", 100)
    refusal(read, sound)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"not json",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        [],
        [1],
        3,
        None,
        "text",
        {},
        {"__metadata__": 3},
    ],
    ids=lambda header: repr(header)[:20],
)
def test_a_header_that_is_no_header_is_refused(header: object, tmp_path: Path) -> None:
    path = put_together(tmp_path / "x", header)
    for reader in (read, read_header):
        refusal(reader, path)


def metadata_with(name: str, text: object) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        header["__metadata__"][name] = text

    return change


def tensor(name: str, **facts: object) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        header[name] = {**header[name], **facts}

    return change


def new_tensor(facts: object) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        header["new"] = facts

    return change


def without(name: str) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        del header["__metadata__"][name]

    return change


END = {"dtype": "F32", "data_offsets": [0, 0]}
DAMAGES: dict[str, tuple[Callable[[Header], None], str]] = {
    "format": (metadata_with("format", "pt"), "not written by charrnn"),
    "no format": (without("format"), "not written by charrnn"),
    "version 3": (metadata_with("version", "3"), "version 3, this charrnn reads versions 1 and 2"),
    "no version": (without("version"), "version"),
    "long version": (metadata_with("version", "9" * 999), "version 99999999999999999999, this"),
    "no model": (without("model"), "damaged"),
    "no vocabulary": (without("vocabulary"), "damaged"),
    "no training": (without("training"), "damaged"),
    "model no JSON": (metadata_with("model", "{"), "damaged"),
    "model a list": (metadata_with("model", "[1]"), "damaged"),
    "model deep": (metadata_with("model", "[" * 100_000), "damaged"),
    "model a number": (metadata_with("model", 5), "damaged"),
    "training a list": (metadata_with("training", "[]"), "damaged"),
    "training deep": (metadata_with("training", "[" * 100_000), "damaged"),
    "cell": (setting("model", "cell", "elman"), f"its cell must be {either((*GATES,))}"),
    "cell a list": (setting("model", "cell", ["lstm"]), f"its cell must be {either((*GATES,))}"),
    "no units": (setting("model", "hidden_size", 0), "its hidden size"),
    "units NaN": (setting("model", "hidden_size", math.nan), "its hidden size"),
    "units infinite": (setting("model", "hidden_size", math.inf), "its hidden size"),
    "units beyond floats": (setting("model", "hidden_size", 10**400), ""),
    "units a float": (setting("model", "hidden_size", 4.0), ""),
    "layers a float": (setting("model", "num_layers", 1.0), ""),
    "layers true": (setting("model", "num_layers", True), "its num layers"),
    "vocabulary too short": (setting("vocabulary", "characters", "ab"), "vocabulary has 3 symbols, its network 8"),
    "vocabulary another level": (setting("vocabulary", "level", "byte"), ""),
    "vocabulary unsorted": (setting("vocabulary", "characters", "ba\n é€😀"), "ascending"),
    "vocabulary no text": (setting("vocabulary", "characters", 7), "malformed"),
    "no tensors": (lambda header: [header.pop(name) for name in list(header) if name != "__metadata__"] and None, ""),
    "tensor a number": (new_tensor(3), "damaged"),
    "tensor empty": (new_tensor({}), "damaged"),
    "tensor a list": (new_tensor([]), "damaged"),
    "dtype unknown": (tensor("state", dtype="F16"), "damaged"),
    "dtype a list": (tensor("state", dtype=["F32"]), "damaged"),
    "shape negative": (tensor("state", shape=[-1, -3]), "damaged"),
    "shape too small": (tensor("state", shape=[2]), "damaged"),
    "shape a text": (tensor("state", shape="3"), "damaged"),
    "shape a number": (tensor("state", shape=3), "damaged"),
    "shape a float": (tensor("state", shape=[3.0]), "damaged"),
    "shape true": (tensor("state", shape=[3, True]), "damaged"),
    "shape deep": (tensor("state", shape=[3] + [1] * 70), "damaged"),
    "shape absurd but empty": (new_tensor({**END, "shape": [0, 2**70]}), ""),
    "shape beyond memory but empty": (new_tensor({**END, "shape": [2**62, 2**62, 0]}), ""),
    "offsets three": (tensor("state", data_offsets=[0, 24, 48]), "damaged"),
    "offsets beyond the end": (tensor("state", data_offsets=[10**6, 10**6 + 24]), "overlap or leave gaps"),
    "offsets overlap": (tensor("head.bias", data_offsets=[0, 32]), "overlap or leave gaps"),
    "offsets reversed": (tensor("state", data_offsets=[24, 0]), "damaged"),
}


@pytest.mark.parametrize(("change", "words"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_header_is_refused(change: Callable[[Header], None], words: str, sound: Path) -> None:
    header, body = take_apart(sound)
    change(header)
    put_together(sound, header, body)
    assert words in refusal(read, sound)


def rewritten(path: Path, tensors: dict[str, Any]) -> Path:
    """``path`` with other tensors under its own metadata, by safetensors' own writer."""
    safetensors.numpy.save_file(tensors, path, take_apart(path)[0]["__metadata__"])
    return path


def test_a_missing_tensor_is_named(sound: Path) -> None:
    for name in small().weights:
        tensors = {other: array for other, array in small().weights.items() if other != name}
        assert f"the tensor {name} is missing" in refusal(read, rewritten(sound, tensors))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((16, 5), np.float32), "float32 (16, 5), expected float32 (16, 4)"),
        (np.zeros((4, 16), np.float32), "float32 (4, 16), expected float32 (16, 4)"),
        (np.zeros(64, np.float32), "float32 (64,), expected float32 (16, 4)"),
        (np.zeros((16, 4), np.float64), "float64 (16, 4), expected float32 (16, 4)"),
        (np.zeros((16, 4), np.int64), "int64 (16, 4), expected float32 (16, 4)"),
        (np.full((16, 4), np.nan, np.float32), "not finite"),
        (np.full((16, 4), -np.inf, np.float32), "not finite"),
    ],
)
def test_a_weight_of_another_shape_or_dtype_or_not_finite_is_refused(array: Any, words: str, sound: Path) -> None:
    message = refusal(read, rewritten(sound, {**small().weights, "rnn.weight_hh_l0": array}))
    assert "rnn.weight_hh_l0" in message
    assert words in message


def test_a_single_nan_anywhere_is_refused(sound: Path) -> None:
    moments = np.ones((3, 3))
    moments[2, 2] = np.nan
    assert "moments" in refusal(read, rewritten(sound, {**small().weights, "moments": moments}))


def test_another_programs_safetensors_file_is_refused(tmp_path: Path) -> None:
    safetensors.numpy.save_file(dict(small().weights), tmp_path / "x")
    assert "not written by charrnn" in refusal(read, tmp_path / "x")


class _Trap:
    """Unpickled, it would make a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    refusal(read, tmp_path / "x.safetensors")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("reader", [read, read_header])
def test_a_directory_or_a_missing_file_is_refused(reader: Callable[[Path], Checkpoint], tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    refusal(reader, tmp_path / "folder.safetensors")
    refusal(reader, tmp_path / "none.safetensors")
    refusal(reader, tmp_path / "no" / "where")


@pytest.mark.parametrize("reader", [read, read_header])
def test_a_fifo_or_a_device_is_refused_without_waiting(
    reader: Callable[[Path], Checkpoint], tmp_path: Path, alarm: Callable[[int], None]
) -> None:
    alarm(20)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(reader, tmp_path / "pipe")
    assert "not a regular file" in refusal(reader, Path("/dev/zero"))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_changed_byte_is_read_or_refused_but_never_a_crash(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.safetensors"
    if not path.exists():
        write(path, small())
    whole = path.read_bytes()
    at, byte = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 255))
    changed = path.with_name("changed.safetensors")
    changed.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
    with contextlib.suppress(CharrnnError):  # any other exception is a crash
        found = read(changed)
        assert found.weights.keys() == found.model.parameter_shapes().keys()
