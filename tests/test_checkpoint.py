"""checkpoint: a file comes back exactly as it was written, or is refused by name; nothing in it is trusted."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn import CharrnnError, checkpoint
from charrnn.cells import Network
from charrnn.checkpoint import Checkpoint, RunDirectory, checkpoints_under, latest, read, read_header, resolve, write
from charrnn.config import ModelConfig
from charrnn.vocabulary import Vocabulary

Header = dict[str, Any]


def small(cell: str = "lstm", num_layers: int = 1, hidden_size: int = 4, level: str = "char", seed: int = 0) -> Checkpoint:
    vocabulary = Vocabulary("byte") if level == "byte" else Vocabulary("char", "\n abé€😀")
    model = ModelConfig(vocabulary.size, cell, embedding_size=3, hidden_size=hidden_size, num_layers=num_layers)
    rng = np.random.default_rng(seed)
    weights = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in model.parameter_shapes().items()}
    return Checkpoint(model, vocabulary, {"corpus": 'Ünï "quoted"', "step": 7, "val_bits_per_char": None}, weights)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A sound file with an extra tensor."""
    made = small()
    write(
        tmp_path / "x.safetensors", Checkpoint(made.model, made.vocabulary, made.training, made.weights, {"state": np.ones(3)})
    )
    return tmp_path / "x.safetensors"


def take_apart(path: Path) -> tuple[Header, bytes]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def put_together(path: Path, header: object, body: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


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
    cell=st.sampled_from(["lstm", "gru", "rnn"]),
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


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_torch_loads_the_weights_by_their_names_and_computes_the_same(cell: str, num_layers: int, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    write(tmp_path / "x", made := small(cell, num_layers, hidden_size=6))
    model, tensors = made.model, load_file(tmp_path / "x")
    recurrent = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell](3, 6, num_layers)
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
        "import sys, pathlib; from charrnn import checkpoint; checkpoint.read(pathlib.Path(sys.argv[1]));"
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
    monkeypatch.setattr(checkpoint, "MAX_HEADER_BYTES", 100)
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


def setting(part: str, name: str, value: object) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        stored = json.loads(header["__metadata__"][part])
        header["__metadata__"][part] = json.dumps({**stored, name: value})

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
    "version 2": (metadata_with("version", "2"), "version 2, this charrnn reads version 1"),
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
    "cell": (setting("model", "cell", "elman"), "--cell"),
    "cell a list": (setting("model", "cell", ["lstm"]), "--cell"),
    "no units": (setting("model", "hidden_size", 0), "--hidden-size"),
    "units NaN": (setting("model", "hidden_size", math.nan), "--hidden-size"),
    "units infinite": (setting("model", "hidden_size", math.inf), "--hidden-size"),
    "units beyond floats": (setting("model", "hidden_size", 10**400), ""),
    "units a float": (setting("model", "hidden_size", 4.0), ""),
    "layers a float": (setting("model", "num_layers", 1.0), ""),
    "layers true": (setting("model", "num_layers", True), "--layers"),
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


@pytest.fixture
def alarm() -> Iterator[None]:
    """End a test that hangs."""

    def ring(*_: object) -> None:
        raise TimeoutError("it waited")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("reader", [read, read_header])
def test_a_fifo_or_a_device_is_refused_without_waiting(reader: Callable[[Path], Checkpoint], tmp_path: Path) -> None:
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


# -- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_no_other(
    call: str, failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path)
    run.save("best", small(seed=1))
    old = run.best.read_bytes()

    def fail(*_: object) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(CharrnnError if isinstance(failure, OSError) else KeyboardInterrupt) as caught:
            run.save("best", small(seed=2))
    if isinstance(failure, OSError):
        assert str(caught.value) == f"{run.best}: can't save: No space left on device"
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]
    assert run.best.read_bytes() == old


def test_a_file_is_synced_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append(Path(old).parent), replace(old, new)))
    write(tmp_path / "x", small())
    assert calls[:2] == ["fsync", tmp_path], "the temporary file stands in the same directory"


def test_while_a_file_is_replaced_a_reader_finds_a_whole_one(tmp_path: Path) -> None:
    path, done = tmp_path / "x", threading.Event()
    write(path, small())

    def rewrite() -> None:
        for seed in range(30):
            write(path, small(seed=seed, hidden_size=1 + seed % 9))
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    while not done.is_set():
        read(path)
    writer.join()


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_gets_the_rights_that_the_user_gives_new_files(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "x", small())
        assert os.umask(mask) == mask, "the mask itself is untouched"
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode


# -- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(path: Path, when: float, patch: pytest.MonkeyPatch) -> Path:
    """A checkpoint at ``path`` that says it was saved at ``when``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with patch.context() as context:
        context.setattr("charrnn.checkpoint.time.time", lambda: when)
        write(path, small())
    return path


@pytest.mark.usefixtures("at_home")
def test_each_run_gets_the_next_free_name() -> None:
    assert [str(RunDirectory.create("story").path) for _ in range(3)] == [
        "checkpoints/story",
        "checkpoints/story-2",
        "checkpoints/story-3",
    ]
    assert RunDirectory.create("other").path == Path("checkpoints/other")
    assert all(Path(path).is_dir() for path in ("checkpoints/story", "checkpoints/story-3", "checkpoints/other"))


def test_a_name_taken_by_anything_is_left_alone(at_home: Path) -> None:
    (at_home / "checkpoints" / "story").mkdir(parents=True)
    (at_home / "checkpoints" / "story-2").write_text("mine")
    assert RunDirectory.create("story").path == Path("checkpoints/story-3")
    assert (at_home / "checkpoints" / "story-2").read_text() == "mine"


@pytest.mark.parametrize("held", ["best.safetensors", "last.safetensors"])
def test_an_explicit_directory_that_holds_a_run_is_refused(held: str, tmp_path: Path) -> None:
    (tmp_path / held).write_text("mine")
    with pytest.raises(CharrnnError, match=f"{tmp_path}: already holds a run.*--resume {tmp_path}"):
        RunDirectory.create("story", tmp_path)
    assert (tmp_path / held).read_text() == "mine"


def test_a_directory_of_a_run_killed_before_its_first_save_can_be_used_and_its_log_stays(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"event": "step", "step": 7, "attempt": 1}\n')
    run = RunDirectory.create("story", tmp_path)
    run.log({"event": "step", "step": 1, "attempt": 1})
    run.close()
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [7, 1]


def test_an_explicit_directory_is_made_or_used(tmp_path: Path) -> None:
    run = RunDirectory.create("story", tmp_path / "deep" / "run")
    assert run.path == tmp_path / "deep" / "run"
    assert run.path.is_dir()
    run.close()
    (run.path / "notes.md").write_text("mine")
    assert RunDirectory.create("story", run.path).path == run.path
    assert (run.best, run.last) == (run.path / "best.safetensors", run.path / "last.safetensors")


@pytest.mark.usefixtures("at_home")
def test_a_directory_that_cant_be_made_is_a_clear_error() -> None:
    Path("file").write_text("")
    with pytest.raises(CharrnnError, match="can't make the run's directory"):
        RunDirectory.create("story", Path("file"))
    with pytest.raises(CharrnnError, match="can't make the run's directory"):
        RunDirectory.create("story", Path("file/below"))
    Path("checkpoints").write_text("")
    with pytest.raises(CharrnnError, match="checkpoints: can't make the run's directory"):
        RunDirectory.create("story")


def test_a_run_saves_best_and_last_under_their_names(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.save("best", small(seed=1)) == run.best
    assert run.save("last", small(seed=2)) == run.last
    assert read(run.best).weights["head.bias"].tolist() == small(seed=1).weights["head.bias"].tolist()
    assert read(run.last).weights["head.bias"].tolist() == small(seed=2).weights["head.bias"].tolist()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run whose log, which stays open as long as its process, is closed after the test."""
    made = RunDirectory(tmp_path)
    yield made
    if made._log is not None:
        made._log.close()


def test_every_event_is_one_line_of_json_at_once(run: RunDirectory) -> None:
    events = [{"event": "start", "corpus": "é\u2028\n"}, {"event": "step", "step": 1, "val": None}]
    for count, event in enumerate(events, start=1):
        run.log(event)
        lines = (run.path / "log.jsonl").read_bytes().decode().split("\n")
        assert [json.loads(line) for line in lines[:-1]] == events[:count]


def test_a_file_name_that_is_no_text_can_be_logged(run: RunDirectory) -> None:
    event = {"corpus": os.fsdecode(b"caf\xe9")}
    run.log(event)
    assert json.loads((run.path / "log.jsonl").read_text(encoding="utf-8")) == event


def test_the_latest_is_by_the_time_in_the_header_not_the_files(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = saved(at_home / "checkpoints" / "a" / "best.safetensors", 1000, monkeypatch)
    newer = saved(at_home / "checkpoints" / "b" / "deep" / "best.safetensors", 2000, monkeypatch)
    middle = saved(at_home / "checkpoints" / "c" / "best.safetensors", 1500, monkeypatch)
    saved(at_home / "checkpoints" / "a" / "last.safetensors", 9000, monkeypatch)
    saved(at_home / "elsewhere" / "best.safetensors", 9000, monkeypatch)
    for path, modified in ((older, 3000), (newer, 1000), (middle, 2000)):
        os.utime(path, (modified, modified))
    assert latest().resolve() == newer
    assert resolve(None).resolve() == newer
    assert latest(name="last.safetensors").resolve() == at_home / "checkpoints" / "a" / "last.safetensors"
    assert latest(at_home / "checkpoints" / "a") == older
    assert checkpoints_under(at_home / "checkpoints") == [older, newer, middle]


@pytest.mark.usefixtures("alarm")
def test_the_latest_passes_over_broken_files(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = at_home / "checkpoints"
    good = saved(root / "good" / "best.safetensors", 1000, monkeypatch)
    cut = saved(root / "cut" / "best.safetensors", 2000, monkeypatch)
    cut.write_bytes(cut.read_bytes()[:-1])
    for name in ("empty", "list", "pipe", "folder"):
        (root / name).mkdir()
    (root / "empty" / "best.safetensors").touch()
    put_together(root / "list" / "best.safetensors", [1])
    os.mkfifo(root / "pipe" / "best.safetensors")
    (root / "folder" / "best.safetensors").mkdir()
    assert latest().resolve() == good


@pytest.mark.parametrize("when", [10**400, "soon", None, math.nan, math.inf, 1e300, -1e300, True, [1]], ids="{!s:.9}".format)
def test_an_absurd_time_of_saving_is_no_crash(when: object, at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = saved(at_home / "checkpoints" / "good" / "best.safetensors", 1000, monkeypatch)
    absurd = saved(at_home / "checkpoints" / "absurd" / "best.safetensors", 0, monkeypatch)
    header, body = take_apart(absurd)
    setting("training", "saved_at", when)(header)
    put_together(absurd, header, body)
    assert latest().resolve() in (good, absurd)
    assert isinstance(read_header(absurd).when, str)


@pytest.mark.usefixtures("at_home")
def test_where_nothing_was_trained_the_error_says_what_to_do() -> None:
    for _ in range(2):
        with pytest.raises(CharrnnError, match=r"^checkpoints: no trained network .* charrnn train FILE"):
            resolve(None)
        Path("checkpoints").mkdir(exist_ok=True)


def test_a_path_means_itself_or_its_runs_best(tmp_path: Path, sound: Path) -> None:
    assert resolve(sound) == sound
    assert resolve(tmp_path / "none") == tmp_path / "none"
    with pytest.raises(CharrnnError, match=f"^{tmp_path}: the directory holds no best.safetensors"):
        resolve(tmp_path)
    write(tmp_path / "best.safetensors", small())
    assert resolve(tmp_path) == tmp_path / "best.safetensors"
