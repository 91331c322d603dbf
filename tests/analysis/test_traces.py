"""What `charrnn inspect` knows about a text, against torch and direct computation."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, Result
from torch.nn import functional

from charrnn import CharrnnError, UsageError
from charrnn.analysis import traces
from charrnn.analysis.features import random_network
from charrnn.config import GATES, ModelConfig
from charrnn.generation.drawing import Drawing, Sampler
from charrnn.generation.generate import generate, opening, prime
from charrnn.network import checkpoint
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.network.columns import Reading
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.model import CharRNN

Invoke = Callable[..., Result]
TEXT = 'KING:\nHe said: "Go home" (now), 7 times.\n\n' * 8


def trained_on(text: str, cell: str = "lstm", level: str = "char", layers: int = 2) -> tuple[Checkpoint, Network]:
    vocabulary = Vocabulary(level, "".join(sorted(set(text))) if level == "char" else "")
    config = ModelConfig(vocabulary.size, cell=cell, embedding_size=6, hidden_size=10, num_layers=layers)
    network = random_network(config, np.random.default_rng(0))
    return Checkpoint(config, vocabulary, {"corpus": "tale"}, network.weights, path=Path("tale")), network


@pytest.mark.parametrize("cell", list(GATES))
def test_bits_entropy_alternatives_and_change_are_those_of_torchs_kernels(cell: str) -> None:
    trained, network = trained_on(TEXT, cell)
    found = traces.inspect(trained, network, traces.given(TEXT, trained, network), search=False)
    model = CharRNN(trained.model)
    model.load(trained.weights)
    ids = torch.from_numpy(np.concatenate([trained.vocabulary.encode("\n"), trained.vocabulary.encode(TEXT)]).astype(np.int64))
    with torch.no_grad():
        states, state = [], model.initial_state(1)
        logits = []
        for index in ids:
            row, state = model(index[None, None], state)
            states.append(state)
            logits.append(row[0, 0])
        logs = functional.log_softmax(torch.stack(logits[:-1]).double(), dim=1)
    bits = -logs[torch.arange(len(TEXT)), ids[1:]] / math.log(2)
    np.testing.assert_allclose(found.bits, bits, atol=1e-4)
    assert found.bits_per_char == pytest.approx(float(bits.mean()), abs=1e-5)
    np.testing.assert_allclose(found.entropy, -(logs.exp() * logs).sum(dim=1) / math.log(2), atol=1e-4)
    top = logs.exp().topk(5, dim=1)
    np.testing.assert_allclose(found.probabilities, top.values, atol=1e-5)
    np.testing.assert_array_equal(found.likeliest[:, 0], top.indices[:, 0])
    h = torch.stack(states)[:, :, 0, 0]  # (T + 1, L, H)
    np.testing.assert_allclose(found.change, (h[1:] - h[:-1]).square().mean(dim=(1, 2)).sqrt(), atol=1e-5)
    for layer, trace in enumerate(found.traces):
        np.testing.assert_allclose(trace.h[:, 0], h[1:, layer], atol=1e-5)


def test_a_long_text_in_columns_has_the_numbers_of_the_same_text_in_one_stream() -> None:
    trained, network = trained_on(TEXT, "gru", layers=1)
    text = traces.given(TEXT * 30, trained, network)
    found = traces.inspect(trained, network, text, search=False)
    assert found.reading.columns > 1
    (block,) = [next(iter(Reading(network, text.ids[:2000], text.state)))]
    np.testing.assert_allclose(found.traces[0].h[:2000], block.traces[0].h[:2000], atol=1e-4)
    logs = block.logits[:1999, 0] - np.log(np.exp(block.logits[:1999, 0]).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found.bits[1:2000], -logs[np.arange(1999), text.ids[1:2000]] / np.log(2), atol=1e-3)


@pytest.mark.parametrize(("cell", "arrays"), [("lstm", "h c i f g o"), ("gru", "h r z n"), ("rnn", "h")])
def test_the_archive_holds_what_its_documentation_says(cell: str, arrays: str) -> None:
    trained, network = trained_on(TEXT, cell)
    found = traces.inspect(trained, network, traces.given(TEXT, trained, network))
    with np.load(io.BytesIO(found.npz()), allow_pickle=False) as archive:
        per_character = {"ids", "characters", "bits", "entropy", "change"}
        assert set(archive) == {*per_character, *arrays.split(), "charrnn_inspect"}
        for name in per_character:
            assert archive[name].shape == (len(TEXT),)
        for name in arrays.split():
            assert (archive[name].shape, archive[name].dtype) == ((2, len(TEXT), 10), np.float32)
        assert "".join(archive["characters"]) == TEXT
        _, _, layers = network.unroll(trained.vocabulary.encode(TEXT)[:, None], found.text.state)
        for layer in range(2):
            np.testing.assert_allclose(archive["h"][layer], layers[layer].h[:, 0], atol=1e-6)
            for letter, gate in layers[layer].gates.items():
                np.testing.assert_allclose(archive[letter][layer], gate[:, 0], atol=1e-6)
        assert json.loads(str(archive["charrnn_inspect"]))["characters"] == len(TEXT)


def test_a_generated_text_is_the_one_that_sampling_with_seed_0_gives() -> None:
    trained, network = trained_on(TEXT)
    text = traces.generated(trained, network, 50)
    logits, state = prime(network, opening(trained.vocabulary))
    sampler = Sampler(np.random.default_rng(0), Drawing(banned=trained.vocabulary.unknown))
    drawn = generate(network, logits, state, sampler)
    assert text.characters == trained.vocabulary.decode(next(drawn) for _ in range(50))
    assert text.generated
    np.testing.assert_array_equal(trained.vocabulary.encode(text.characters), text.ids)


def test_a_network_of_bytes_reads_any_bytes() -> None:
    trained, network = trained_on("", level="byte")
    text = traces.given(bytes(range(256)).decode("utf-8", "surrogateescape"), trained, network)
    assert (len(text.characters), text.mapped) == (256, 0)
    found = traces.inspect(trained, network, text)
    assert len(found.bits) == 256
    json.dumps(found.to_json(), allow_nan=False)
    assert len(traces.generated(trained, network, 30).characters) == 30


def test_an_empty_text_is_refused() -> None:
    trained, network = trained_on(TEXT)
    with pytest.raises(CharrnnError, match="text to inspect: empty"):
        traces.given("", trained, network)
    with pytest.raises(CharrnnError, match=r"^tale\.txt: empty"):
        traces.given("", trained, network, "tale.txt")


@pytest.mark.parametrize("unit", ["", "0", "2:0", "0:10", "0:-1", "0:1d", "a:b", "0:1:2", "1" * 500])
def test_a_unit_that_is_not_there_is_refused_with_the_legal_ones(unit: str) -> None:
    with pytest.raises(UsageError, match="0:0 to 1:9") as told:
        traces.unit_of(unit, trained_on(TEXT)[0].model)
    assert len(str(told.value)) < 200
    with pytest.raises(UsageError, match=r"not 0:1c: gru units have no cell$"):
        traces.unit_of("0:1c", trained_on(TEXT, "gru")[0].model)


@pytest.mark.parametrize(("text", "begun"), [("a", "1 character, "), ("ab", "2 characters, ")])
def test_one_character_is_no_characters(text: str, begun: str) -> None:
    trained, network = trained_on(TEXT)
    found = traces.inspect(trained, network, traces.given(text, trained, network), search=False)
    assert traces.sentence(found).startswith(begun)


def test_values_are_those_of_the_unit_that_was_asked_for() -> None:
    trained, network = trained_on(TEXT)
    found = traces.inspect(trained, network, traces.given(TEXT, trained, network), search=False)
    values, name, signed = found.values("1:3")
    np.testing.assert_array_equal(np.float32(values), found.traces[1].h[:, 0, 3])
    assert ("layer 1, unit 3" in name, signed) == (True, True)
    cell, _, _ = found.values("1:3c")
    c = found.traces[1].c
    assert c is not None
    np.testing.assert_allclose(cell, c[:, 0, 3] / np.abs(c[:, 0, 3]).max(), atol=1e-6)
    assert found.values("entropy")[0] == found.entropy.tolist()


def test_a_history_is_the_sound_events_of_the_log(tmp_path: Path) -> None:
    lines = [
        '{"event": "step", "step": 1}',
        "no json",
        "[1]",
        '{"event": "eval", "step": "x"}',
        '{"event": "eval", "step": 2}',
        '{"ev',
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert [event["step"] for event in traces.history(tmp_path / "best.safetensors")] == [1, 2]
    assert traces.history(tmp_path / "none" / "best.safetensors") == []


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    trained, _ = trained_on(TEXT)
    path = tmp_path / "checkpoints/tale/best.safetensors"
    path.parent.mkdir(parents=True)
    checkpoint.write(path, trained)
    return path


def test_tables_are_the_product_and_the_rest_is_conversation(invoke: Invoke, run: Path) -> None:
    result = invoke("inspect", TEXT)
    assert result.code == 0
    for heading in ("saturated", "below 0.1", "time constant"):
        assert heading in result.stdout
    assert "bits/char" in result.stderr
    assert "\x1b" not in result.stdout + result.stderr
    quiet = invoke("inspect", TEXT, "-q")
    assert (quiet.stdout, quiet.stderr) == (result.stdout, "")


def test_the_default_text_is_generated_and_named_so(invoke: Invoke, run: Path) -> None:
    result = invoke("inspect", "--json")
    facts = json.loads(result.stdout)
    assert (facts["characters"], facts["generated"], len(facts["bits"])) == (2000, True, 2000)
    assert json.loads(invoke("inspect", "--json").stdout) == facts


def test_text_comes_as_an_argument_a_file_or_from_stdin(invoke: Invoke, run: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    ways = [invoke("inspect", TEXT, "--json"), invoke("inspect", "--file", "text.txt", "--json")]
    ways.append(invoke("inspect", "-", "--json", "--keep-newline", stdin=TEXT.encode()))
    assert len({way.stdout for way in ways}) == 1
    facts = json.loads(ways[0].stdout)
    assert facts["text"] == TEXT
    assert len(facts["layers"]) == 2
    assert len(facts["layers"][0]["units"]["tau"]) == 10
    assert {"position in the line", "inside quotes", "speaker's line"} <= {finding["feature"] for finding in facts["features"]}
    assert "2 characters that the network doesn't know ('\u201c' '\u201d')" in invoke("inspect", "\u201cGo\u201d").stderr


def test_in_a_pipe_a_coloured_text_is_a_line_per_character_and_on_a_terminal_colours(invoke: Invoke, run: Path) -> None:
    facts = json.loads(invoke("inspect", TEXT, "--json").stdout)
    lines = [line.split("\t") for line in invoke("inspect", TEXT, "--color", "surprise").stdout.splitlines()]
    assert "".join(json.loads(character) for character, _ in lines) == TEXT
    assert [float(number) for _, number in lines] == pytest.approx(facts["bits"], rel=1e-5)
    shown = invoke("inspect", TEXT, "--unit", "1:2", terminal=True)
    assert shown.code == 0
    assert "\u21b5" in shown.stdout


def test_files_are_written_and_say_nothing_on_stdout(invoke: Invoke, run: Path, tmp_path: Path) -> None:
    result = invoke("inspect", TEXT, "--svg", "a.svg", "--npz", "a.npz", "--html", "a.html", "--unit", "0:3c")
    assert (result.code, result.stdout) == (0, "")
    assert "unit 3" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    again = invoke("inspect", TEXT, "--svg", "a.svg", "--npz", "a.npz", "--html", "a.html")
    assert again.code == 0
    (tmp_path / "mine.html").write_text("mine")
    refused = invoke("inspect", TEXT, "--html", "mine.html")
    assert (refused.code, (tmp_path / "mine.html").read_text()) == (1, "mine")
    assert "mine.html" in refused.stderr


def test_units_lists_every_feature_with_its_verdict(invoke: Invoke, run: Path) -> None:
    lines = invoke("inspect", TEXT, "--units").stdout.splitlines()
    assert lines[0].split()[:2] == ["feature", "unit"]
    assert any(line.startswith("inside quotes") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["x", "--file", "y"], 2, "--file"),
        (["--unit", "0:1", "--color", "change"], 2, "--color"),
        (["--unit", "9:9"], 2, "1:9"),
        (["--color", "mood"], 2, "surprise, entropy or change"),
        (["--file", "missing.txt"], 1, "missing.txt"),
        ([""], 1, "empty"),
        (["-c", "missing"], 1, "missing"),
    ],
)
def test_what_cannot_be_inspected_is_one_line(invoke: Invoke, run: Path, arguments: list[str], code: int, told: str) -> None:
    result = invoke("inspect", *arguments)
    assert (result.code, result.stdout) == (code, "")
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_shipped_networks_line_counter_is_in_the_default_table(invoke: Invoke) -> None:
    result = invoke("inspect", "-c", ROOT / "checkpoints/fables")
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("position in the line")]
    assert "follows it" in line
