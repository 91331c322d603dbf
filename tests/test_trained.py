"""A trained network in Python gives what the command line gives, prints nothing, and works in threads."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import TEXT, network, records

import charrnn
from charrnn import CharrnnError, CharrnnWarning, UsageError
from charrnn.config import GATES, ModelConfig
from charrnn.network import checkpoint, rundir
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return network(tmp_path / "checkpoints" / "novel", characters=500)


@pytest.fixture
def net(run: Path) -> charrnn.TrainedNetwork:
    return charrnn.load(run)


def cell_network(path: Path, cell: str, layers: int = 2) -> Path:
    vocabulary = Vocabulary("char", "\n abcde")
    model = ModelConfig(vocabulary.size, cell, embedding_size=3, hidden_size=5, num_layers=layers)
    rng = np.random.default_rng(5)
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in model.parameter_shapes().items()}
    path.mkdir(parents=True)
    checkpoint.write(path / rundir.BEST, Checkpoint(model, vocabulary, {}, weights))
    return path


# -- generating: what the command line writes ---------------------------------------------------------------------------

SETTINGS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"temperature": 0.5}, ["--temp", "0.5"]),
    ({"temperature": (0.2, 1.5)}, ["--temp", "0.2:1.5"]),
    ({"temperature": 0}, ["--temp", "0"]),
    ({"top_k": 3, "min_p": 0.01}, ["--top-k", "3", "--min-p", "0.01"]),
    ({"top_p": 0.8, "typical": 0.9}, ["--top-p", "0.8", "--typical", "0.9"]),
    ({"repetition_penalty": 1.5, "repetition_window": 5}, ["--repetition-penalty", "1.5", "--repetition-window", "5"]),
    ({"stop": "e"}, ["--stop", "e"]),
    ({"stop": ["x", "th"], "keep_stop": True}, ["--stop", "x", "--stop", "th", "--keep-stop"]),
    ({"bias": {"e": -np.inf, "o": 2}}, ["--bias", "e=-inf", "--bias", "o=2"]),
    ({"clamp": {"0:3": 1, "0:4": -0.5}}, ["--clamp", "0:3=1", "--clamp", "0:4=-0.5"]),
    ({"lines": 2}, ["--lines", "2"]),
]


@pytest.mark.parametrize(("given", "options"), SETTINGS, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_the_same_seed_gives_the_text_of_the_command_line(net, run, invoke, given, options) -> None:
    text = net.sample("The fox", n=80, seed=7, **given)
    (told,) = records(invoke("sample", "-c", run, "-p", "The fox", "-n", "80", "--seed", "7", "--json", *options))
    assert text == told["text"]
    assert "".join(net.stream("The fox", n=80, seed=7, **given)) == text


def test_a_larger_network_writes_the_text_of_the_command_line_in_a_process_of_its_own(run: Path) -> None:
    from conftest import FABLES

    command = [
        sys.executable,
        "-m",
        "charrnn",
        "sample",
        "-c",
        FABLES,
        "-n",
        "300",
        "--seed",
        "5",
        "-p",
        "The fox",
        "--no-echo",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert charrnn.load(FABLES).sample("The fox", n=300, seed=5) == done.stdout.removesuffix("\n")


def test_without_a_seed_texts_differ(net) -> None:
    assert net.sample(n=200) != net.sample(n=200)


def test_a_stream_comes_as_it_is_asked_for_and_need_not_end(net) -> None:
    begun = net.stream("The ", n=-1, seed=1)
    assert "".join(itertools.islice(begun, 50)) == net.sample("The ", n=50, seed=1)


def test_a_text_that_never_ends_is_refused_where_its_end_is_waited_for(net) -> None:
    with pytest.raises(UsageError, match="--length -1 never ends and sample waits for the end"):
        net.sample(n=-1)


def test_a_prompt_is_what_it_is(net, run: Path, invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """- is no stdin, and the name of a file no hint."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"wrong")))
    monkeypatch.chdir(tmp_path)
    Path("The").write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.sample("The", n=3)
    with pytest.warns(CharrnnWarning, match="'-' -> unknown"):
        net.sample("-", n=3)


def test_many_texts_are_those_of_the_command_line(net, run: Path, invoke) -> None:
    told = records(invoke("sample", "-c", run, "-p", "The", "-n", "30", "--seed", "2", "-N", "3", "--json"))
    assert list(net.samples(3, "The", 30, seed=2)) == [one["text"] for one in told]
    best = records(invoke("sample", "-c", run, "-n", "30", "--seed", "2", "--best-of", "3", "--json"))
    assert list(net.samples(1, n=30, seed=2, best_of=3)) == [one["text"] for one in best]


def test_lines_that_are_new(net, run: Path, invoke, tmp_path: Path) -> None:
    lines = list(net.samples(20, lines=1, n=2, seed=4, unique=True))
    assert len({*lines}) == 20
    with pytest.raises(UsageError, match="--unique compares lines; give --lines 1"):
        net.samples(20, unique=True)
    (tmp_path / "known.txt").write_text("".join(line if line.endswith("\n") else f"{line}\n" for line in lines))
    others = list(net.samples(20, lines=1, n=2, seed=4, not_in=tmp_path / "known.txt"))
    assert {*others} & {*lines} <= {"\n"}  # No list holds a blank line.
    with pytest.raises(CharrnnError, match=r"found \d+ of 900: 1,000 tries in a row gave no new one"):
        list(net.samples(900, lines=1, n=1, seed=4, unique=True))


def test_a_network_of_records_writes_one_or_as_many_as_asked(tmp_path: Path, invoke) -> None:
    facts = {"count": 9, "held_out": 1, "duplicates": 0, "blank": 0, "longest": 9, "mean_length": 5.0}
    run = network(tmp_path / "names", records=facts)
    net = charrnn.load(run)
    told = records(invoke("sample", "-c", run, "--seed", "2", "--json"))
    assert list(net.samples(10, seed=2)) == [one["text"] for one in told]
    assert net.sample(seed=2) == told[0]["text"]
    (tmp_path / "names.txt").write_text("the fox\n\nthe crow\n")
    (scored,) = records(invoke("score", "-c", run, tmp_path / "names.txt", "--json"))
    score = net.score("the fox\n\nthe crow\n")
    assert (score.bits, score.records, score.bits_per_record) == (scored["bits"], 2, scored["bits_per_record"])
    assert score.text == "the fox\nthe crow\n"


# -- reading: what the command line tells -------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [None, 7])
def test_a_score_is_that_of_the_command_line(net, run: Path, invoke, tmp_path: Path, window: int | None) -> None:
    text = "The crow, the fox.\nEnd\n"
    (tmp_path / "a.txt").write_text(text)
    options = [] if window is None else ["--window", str(window)]
    (told,) = records(invoke("score", "-c", run, tmp_path / "a.txt", "--json", *options))
    by_char = records(invoke("score", "-c", run, tmp_path / "a.txt", "--json", "--per-char", *options))
    with pytest.warns(CharrnnWarning, match="1 character that the network doesn't know \\('E'\\)"):
        score = net.score(text, window=window, per_char=True)
    del told["file"]
    assert {name: getattr(score, name) for name in told} == told
    assert score.text == text
    assert score.char_bits.shape == score.ranks.shape == (len(text),)
    assert [None if np.isnan(bits) else bits for bits in score.char_bits] == [one["bits"] for one in by_char]
    assert [rank or None for rank in score.ranks] == [one["rank"] for one in by_char]
    assert [[net.symbols[index] for index in three] for three in score.likeliest] == [one["likeliest"] for one in by_char]
    assert repr(score) == f"<score: {told['bits_per_char']:.3f} bits/char over 22 characters, 1 unknown>"


def test_ranks_cost_nothing_where_nobody_asks(net) -> None:
    score = net.score(TEXT)
    assert (score.ranks, score.likeliest) == (None, None)
    assert np.isclose(score.char_bits.sum(), score.bits)


def test_a_score_may_be_of_a_network_that_learns_meanwhile(net, run: Path, invoke, tmp_path: Path) -> None:
    text = "The crow, the fox.\n" * 9
    (tmp_path / "a.txt").write_text(text)
    (told,) = records(invoke("score", "-c", run, tmp_path / "a.txt", "--json", "--adapt"))
    score = net.score(text, adapt=True)
    del told["file"]
    assert {name: getattr(score, name) for name in told} == told
    plain = net.score(text)
    assert score.bits < plain.bits
    assert score.unadapted_bits_per_char == pytest.approx(plain.bits_per_char)
    assert (plain.adapted, plain.unadapted_bits_per_char) == (False, None)
    with pytest.raises(UsageError, match="leave out --window"):
        net.score(text, adapt=True, window=3)


def test_no_text_has_a_score_without_a_mean(net) -> None:
    score = net.score("", per_char=True)
    assert (score.characters, score.bits, score.bits_per_char, score.char_bits.shape) == (0, 0.0, None, (0,))
    assert repr(score) == "<score: - bits/char over 0 characters>"


def test_what_is_no_text_is_told(net):
    for ask in (net.score, net.next, net.states, net.inspect, net.sample, net.stream, lambda given: net.samples(2, given)):
        with pytest.raises(TypeError, match="a text is a str, not int"):
            ask(200)


def test_bytes_are_for_networks_of_bytes(net, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="this network reads characters, not bytes; decode them first"):
        net.score(b"The")
    bytewise = charrnn.load(network(tmp_path / "bytes", level="byte"))
    assert bytewise.score(b"\xff\x00a").characters == 3
    assert bytewise.score("é").bits == bytewise.score("é".encode()).bits
    assert bytewise.states(b"\xff\x00a").h.shape == (1, 3, 8)


def test_windows_and_one_exact_stream_exclude_each_other(net) -> None:
    with pytest.raises(UsageError, match="--window or --exact: give one, not both"):
        net.score("The", window=3, exact=True)
    with pytest.raises(UsageError, match="--window must be a whole number of at least 1"):
        net.score("The", window=0)


def test_the_next_character_is_that_of_the_command_line(net, run: Path, invoke) -> None:
    (told,) = records(invoke("next", "The fo", "-c", run, "--json", "--top", "99"))
    found = net.next("The fo")
    assert found.entropy_bits == told["entropy_bits"]
    assert list(found.items()) == [(one["char"], one["probability"]) for one in told["next"]]
    assert found.top(2) == list(found.items())[:2]
    assert len(found) == len(net.symbols)
    assert found["x"] == found.probabilities[found.chars.index("x")]
    with pytest.raises(KeyError):
        found["Q"]
    assert repr(found).startswith(f"<next: {found.chars[0]!r} ")


def test_of_records_a_prompt_begins_one_and_a_text_is_read_record_by_record(tmp_path: Path, invoke) -> None:
    facts = {"count": 9, "held_out": 1, "duplicates": 0, "blank": 0, "longest": 9, "mean_length": 5.0}
    run, lines = network(tmp_path / "names", temperature=1.3, records=facts), "The crow\nThe fox\n"
    net = charrnn.load(run)
    (told,) = records(invoke("next", "The crow\nThe fo", "-c", run, "--json", "--top", "99"))
    after = net.next("The fo")
    assert {one["char"]: one["probability"] for one in told["next"]} == dict(after.items())
    assert -np.log2(after["x"]) == pytest.approx(net.score("The fox").char_bits[-1], abs=1e-4)
    assert invoke("inspect", lines, "-c", run, "--npz", tmp_path / "a.npz").code == 0
    with np.load(tmp_path / "a.npz") as inspected:
        assert np.array_equal(net.states(lines).h, inspected["h"])
    (tmp_path / "a.txt").write_text(lines)
    (whole,) = records(invoke("score", "-c", run, tmp_path / "a.txt", "--exact", "--json"))
    assert net.score(lines, exact=True).bits == whole["bits"]


@pytest.mark.parametrize("cell", list(GATES))
def test_states_are_those_of_the_command_line(tmp_path: Path, invoke, cell: str) -> None:
    run, text = cell_network(tmp_path / cell, cell), "a bad cab\n" * 3
    assert invoke("inspect", text, "-c", run, "--npz", tmp_path / "a.npz").code == 0
    states = charrnn.load(run).states(text)
    with np.load(tmp_path / "a.npz") as told:
        assert states.h.shape == (2, 30, 5)
        for name, values in {"h": states.h, "bits": states.bits, **states.gates}.items():
            assert np.array_equal(values, told[name]), name
        assert (states.c is None) == ("c" not in told)
        assert states.c is None or np.array_equal(states.c, told["c"])
    assert [*states.gates] == [*GATES[cell]]
    assert repr(states).endswith("each (2, 30, 5) (layers, characters, units)>")


def test_states_hold_the_whole_text(net, monkeypatch: pytest.MonkeyPatch) -> None:
    from charrnn.analysis import traces

    monkeypatch.setattr(traces, "TRACED_VALUES", 100)
    assert net.states(TEXT).h.shape == (1, len(TEXT), 8)


def test_an_empty_text_has_no_states(net) -> None:
    with pytest.raises(CharrnnError, match="the text: empty"):
        net.states("")


def test_an_inspection_shows_itself_in_a_notebook(net, run: Path, invoke, tmp_path: Path) -> None:
    text = "</iframe><script>alert(1)</script>\n" * 12
    with pytest.warns(CharrnnWarning):
        found = net.inspect(text)
    told = json.loads(invoke("inspect", text, "-c", run, "--json").stdout)
    assert found.features == told["features"]
    assert found.bits_per_char == told["bits_per_char"]
    assert found.values("surprise") == pytest.approx(told["bits"])
    assert [{**layer, "units": None} for layer in found.layers] == [{**layer, "units": None} for layer in told["layers"]]
    shown = found._repr_html_()
    assert shown.startswith('<iframe srcdoc="')
    assert shown.count("<") == 2
    assert 'sandbox="allow-scripts"' in shown
    assert repr(found).startswith("<inspected: 420 characters, ")
    found.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == found.html()
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(CharrnnError, match="is there already"):
        found.save(tmp_path / "mine.html")


# -- arguments, warnings, streams, threads ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"temperature": -1}, "--temp must be a number of at least 0, not -1"),
        ({"n": 1.5}, "--length must be a whole number of at least -1 and at most 1,000,000,000,000,000, not 1.5"),
        ({"top_p": 2}, "--top-p must be a number above 0 and at most 1, not 2"),
        ({"bias": {"no": 1}}, "--bias must be one character, =, and a number or -inf, not no=1"),
        ({"clamp": {"9:0": 1}}, "--clamp 9:0: this network has layers 0 to 0 and units 0 to 7"),
        ({"stop": ""}, "--stop must be at least one character"),
    ],
)
def test_a_value_out_of_its_limits_is_refused_in_the_command_lines_words(net, given, sentence: str) -> None:
    for draw in (net.sample, net.stream):
        with pytest.raises(UsageError) as error:
            draw("The", **given)
        assert str(error.value) == sentence


def test_an_argument_that_nothing_knows_is_named_with_what_was_meant(net) -> None:
    with pytest.raises(TypeError, match="there is no argument 'topk'; did you mean 'top_k'"):
        net.sample(topk=3)
    with pytest.raises(TypeError, match="there is no argument 'hidden'; did you mean 'hidden_size'"):
        charrnn.train("tale.txt", hidden=3)
    with pytest.raises(TypeError, match=r"there is no argument 'unique'$"):
        net.sample(unique=True)
    with pytest.raises(TypeError, match="there is no argument 'temp'; did you mean 'temperature'"):
        net.sample("The", temp=0.5)
    with pytest.raises(TypeError, match=r"there is no argument 'length'$"):
        charrnn.train("tale.txt", length=3)


def test_numbers_may_be_numpys(net) -> None:
    given = {"n": np.int64(30), "temperature": np.float32(0.5), "seed": np.int32(4), "top_k": np.int8(5)}
    assert net.sample(**given) == net.sample(n=30, temperature=0.5, seed=4, top_k=5)


def test_a_warning_names_the_line_that_called(net) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        net.sample("é", n=1)
        net.score("é")
        net.next("é")
        net.inspect("é")
    assert len(heard) == 4
    assert {Path(one.filename) for one in heard} == {Path(__file__)}


def test_nothing_is_printed(net, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.sample("é", n=3), net.score("é"), net.next("é"), net.states("é"), net.inspect("é")
    assert capfd.readouterr() == ("", "")


def test_numpys_settings_stay_those_of_the_caller_while_a_text_is_read(net) -> None:
    for _ in itertools.islice(net.stream(n=-1, seed=1), 3):
        assert np.geterr()["over"] == "warn"


def test_threads_and_networks_do_not_disturb_each_other(net, tmp_path: Path) -> None:
    nets = [net, *(charrnn.load(cell_network(tmp_path / cell, cell)) for cell in ("gru", "rnn"))]
    jobs = [(one, seed) for seed in range(8) for one in nets]

    def work(job: tuple[charrnn.TrainedNetwork, int]) -> tuple[str, float, float]:
        one, seed = job
        return one.sample("a", n=60, seed=seed), one.score("a c e\n").bits, float(one.states("a c a").h.sum())

    alone = [work(job) for job in jobs]
    fresh = [charrnn.load(one.info["path"]) for one in nets]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, [(fresh[nets.index(one)], seed) for one, seed in jobs])) == alone
