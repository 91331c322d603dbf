"""`charrnn inspect`, from the words of the command line to stdout; the numbers are tested where they are made."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import FABLES, ROOT
from small_networks import network

from charrnn.analysis import reach
from charrnn.config import InspectConfig, ModelConfig
from charrnn.network import checkpoint, rundir
from charrnn.network.checkpoint import Checkpoint
from charrnn.output.inspected import InspectRequest
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.model import CharRNN

TEXT = "that time is mist\n" * 30


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """An untrained network of each cell, as runs of these names."""
    root = tmp_path_factory.mktemp("memory")
    vocabulary = Vocabulary("char", "\n ?Waehimst")
    for cell in ("rnn", "gru", "lstm"):
        model = ModelConfig(vocabulary.size, cell=cell, embedding_size=4, hidden_size=5)
        (root / cell).mkdir()
        checkpoint.write(root / cell / rundir.BEST, Checkpoint(model, vocabulary, {}, CharRNN(model).export()))
    return root


def test_memory_of_several_networks_is_one_object_each(invoke, networks):
    runs = [word for cell in ("rnn", "gru", "lstm") for word in ("-c", networks / cell)]
    done = invoke("inspect", "--memory", TEXT, "--contribution", "What time is it?", *runs, "--json")
    assert (done.code, done.stderr) == (0, "")
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["label"] for one in objects] == ["rnn", "gru", "lstm"] * 2
    assert all(len(one["gradient"]) == 201 for one in objects[:3])
    assert all("".join(one["characters"]) == "What time is it?" for one in objects[3:])


def test_memory_is_charts_on_a_terminal_and_tables_in_a_pipe(invoke, networks, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    words = ("inspect", "--memory", TEXT, "--contribution", "a?", "-c", networks / "rnn", "-c", networks / "lstm")
    chart, table = invoke(*words, terminal=True), invoke(*words)
    assert re.search("[\u2801-\u28ff]", chart.stdout)
    assert "\x1b[" in chart.stdout
    assert not re.search("[\u2800-\u28ff\x1b]", table.stdout)
    assert table.stdout.splitlines()[0].split()[:2] == ["network", "bits/char"]
    monkeypatch.setenv("NO_COLOR", "1")
    plain = invoke(*words, terminal=True).stdout
    assert re.search("[\u2801-\u28ff]", plain)
    assert not re.search("\x1b\\[[0-9;]*3[0-9]", plain)


@pytest.mark.parametrize("words", [("--unit", "0:1"), ("--color", "surprise")])
def test_colours_that_are_asked_for_are_shown_where_a_terminal_has_some(invoke, networks, monkeypatch, words):
    monkeypatch.setenv("NO_COLOR", "1")
    for term, shown in (("xterm-256color", r"\x1b\[[0-9;]*48;5;"), ("dumb", r"^\"W\"\t-?\d")):
        monkeypatch.setenv("TERM", term)
        done = invoke("inspect", "What time is it?", "-c", networks / "lstm", *words, terminal=True)
        assert re.search(shown, done.stdout), done.stdout
        assert ("\x1b" in done.stdout, "coloured by" in done.stderr) == (term != "dumb",) * 2


def test_memory_without_a_text_reads_what_the_network_generates(invoke, networks, monkeypatch):
    monkeypatch.setattr(reach, "GENERATED", 500)
    monkeypatch.setattr(reach, "WINDOWS", 16)
    done = invoke("inspect", "--memory", "-c", networks / "rnn", "--json")
    assert done.code == 0
    assert "reading 500 characters that the first network generates" in done.stderr
    assert done.stdout == invoke("inspect", "--memory", "-c", networks / "rnn", "--json").stdout


def test_memory_reads_files_and_stdin_alike_and_draws_a_picture(invoke, networks, tmp_path):
    (tmp_path / "text").write_text(TEXT)
    words = ("inspect", "--memory", "-c", networks / "gru", "--json")
    whole = invoke(*words, TEXT).stdout
    assert invoke(*words, "--file", "text", "--svg", "memory.svg").stdout == whole
    assert invoke(*words, "-", "--keep-newline", stdin=TEXT.encode()).stdout == whole
    assert (tmp_path / "memory.svg").read_text().startswith("<svg ")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--memory", "short"], 1, "the text has 5 characters; to look 200 back, at least 402 are needed"),
        (["--memory", "x", "--file", "y"], 2, "TEXT or --file: give one, not both"),
        (["--memory", "--file", "nowhere"], 1, "nowhere: No such file or directory"),
        (["--contribution", "a?", "another"], 2, "--contribution has a TEXT of its own"),
        (["--contribution", "a?", "--file", "y", "--svg", "m.svg"], 2, "--contribution has a TEXT of its own"),
        (["--contribution", ""], 2, "--contribution must be a text of at least 1 character"),
        (["--contribution", "a", "--svg", "no/such/m.svg"], 1, "no/such"),
    ],
)
def test_what_memory_refuses(invoke, networks, words, code, message):
    done = invoke("inspect", "-c", networks / "rnn", *words)
    assert (done.code, done.stdout) == (code, "")
    assert message in done.stderr.splitlines()[-1]


REFUSED = [
    (["a text", "--file", "text.txt"], "TEXT or --file"),
    (["--unit", "0:1", "--color", "surprise"], "--unit or --color"),
    (["--units", "--unit", "0:1"], "--units or what colours the text: give one"),
    (["--memory", "--units"], "--memory and --contribution go with"),
    (["--html", "x", "--svg", "x"], "give each a file of its own"),
    (["-c", "run", "-c", "run"], "several --checkpoint"),
    (["--memory", "--html", "x.html", "-c", "run", "-c", "run"], "several --checkpoint"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_what_does_not_go_together_is_a_usage_error(invoke, options, said):
    result = invoke("inspect", *options)
    assert result.code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_page_takes_the_memory_curves(invoke, networks, tmp_path):
    words = ("inspect", TEXT, "-c", networks / "lstm", "--html", "page.html")
    plain = invoke(*words)
    assert (plain.code, plain.stdout) == (0, ""), plain.stderr
    without = (tmp_path / "page.html").read_text()
    both = invoke(*words, "--memory")
    assert both.code == 0, both.stderr
    assert both.stdout.split()[:2] == ["network", "bits/char"]
    for page in (without, (tmp_path / "page.html").read_text()):
        assert 'aria-label="gradient"' in page
        assert "With that many, and nothing older" in page
    assert "Measured on this text." in without


def test_stdin_is_read_once_for_the_curves_and_the_states(invoke, networks, tmp_path):
    words = ("inspect", "-c", networks / "lstm", "--memory", "--html", "page.html")
    assert invoke(*words, "-", "--keep-newline", stdin=TEXT.encode()).code == 0
    piped = (tmp_path / "page.html").read_text()
    assert invoke(*words, TEXT).code == 0
    assert (tmp_path / "page.html").read_text() == piped


def test_contributions_are_shown_beside_a_page(invoke, networks):
    done = invoke("inspect", TEXT, "-c", networks / "lstm", "--contribution", "a time", "--html", "page.html")
    assert (done.code, len(done.stdout.splitlines()) > 5) == (0, True)


@pytest.mark.parametrize("name", ["run", "r\ufffen", "r\udcffn"], ids=ascii)
def test_pictures_and_pages_hold_every_character(invoke, name):
    """XML has no U+FFFE, no U+FFFF and no control characters, and no encoding has the bytes of a name that isn't UTF-8."""
    Path(name).mkdir()
    vocabulary = Vocabulary("char", "\x07\x1bab\x9b\ufdd0\ufffe\uffff\U0001ffff")
    model = ModelConfig(vocabulary.size, cell="rnn", embedding_size=2, hidden_size=3)
    weights = {key: np.full(shape, 0.1, dtype=np.float32) for key, shape in model.parameter_shapes().items()}
    checkpoint.write(Path(name, rundir.BEST), Checkpoint(model, vocabulary, {"corpus": f"{name}.txt"}, weights))
    text = vocabulary.characters * 2
    Path("t.txt").write_text(text, encoding="utf-8")
    for arguments in (
        ("--file", "t.txt", "--svg", "x"),
        ("--contribution", text, "--svg", "x"),
        ("--file", "t.txt", "--html", "x"),
    ):
        Path("x").unlink(missing_ok=True)
        result = invoke("inspect", "-c", name, *arguments)
        assert result.code == 0, result.stderr
        data = Path("x").read_bytes()
        if "--svg" in arguments:
            assert "\ufffda" not in "".join(ElementTree.fromstring(data).itertext())
        else:
            data.decode("utf-8")


def test_a_text_has_one_number_in_every_command_that_scores(invoke, tmp_path, monkeypatch):
    """However its characters are written, and with characters that the network doesn't know."""
    monkeypatch.setattr(reach, "WINDOWS", 4)
    spoken = "Le caf\u00e9 o\u00f9 Zo\u00eb a mang\u00e9 \uac01\u304c. " * 20 + "\u201c\U0001f600\u201d"
    network(tmp_path / "net", known="".join(sorted(set(unicodedata.normalize("NFC", spoken)) - set("\u201c\u201d\U0001f600"))))
    numbers, facts = set(), {}
    for form in ("NFC", "NFD"):
        (tmp_path / form).write_text(unicodedata.normalize(form, spoken))
        ask = ("--json", "-q", "-c", "net")
        ways = [
            ("score", form),
            ("score", form, "--lines"),
            ("inspect", "--file", form),
            ("inspect", "--memory", "--file", form),
        ]
        found = [json.loads(invoke(*way, *ask).stdout) for way in ways]
        each = [json.loads(line)["bits"] for line in invoke("score", form, "--per-char", *ask).stdout.splitlines()]
        known = [bits for bits in each if bits is not None]
        numbers |= {round(number, 4) for number in (*(one["bits_per_char"] for one in found), sum(known) / len(known))}
        facts[form] = [(one["unknown"], one["mapped"], one["characters"]) for one in found[:3]]
    assert len(numbers) == 1
    assert facts["NFC"] == [(3, 0, 540), (3, 0, 540), (3, 0, 543)]
    assert facts["NFD"] == [(3, 120, 540), (3, 120, 540), (3, 120, 543)]


@pytest.mark.parametrize("known", ["Le cafo ", "Le caf\u00e9o "])
def test_a_character_that_is_unknown_in_either_form_is_one_in_both(invoke, tmp_path, known):
    network(tmp_path / "net", known="".join(sorted(set(known))))
    found = []
    for form in ("NFC", "NFD"):
        spoken = unicodedata.normalize(form, "Le caf\u00e9 \uac01 o\u00f9")
        for way in (("score", "-"), ("score", "-", "--lines"), ("inspect", "-")):
            (one,) = [
                json.loads(line) for line in invoke(*way, "--json", "-c", "net", stdin=spoken.encode()).stdout.splitlines()
            ]
            found.append((one["bits_per_char"], one["unknown"]))
    assert found == [pytest.approx(found[0], abs=1e-5)] * 6
    assert found[0][1] == (2 if "\u00e9" in known else 3)


def test_a_plain_form_is_unknown_and_a_text_of_unknown_characters_has_no_number(invoke, networks, tmp_path):
    words = ("inspect", "-c", networks / "lstm")
    found = json.loads(invoke(*words, "\u0434" * 50, "--json").stdout)
    assert (found["bits_per_char"], found["unknown"], found["text"]) == (None, 50, "\u0434" * 50)
    said = invoke(*words, "\u0434" * 50)
    assert said.code == 0
    assert "50 characters that the network doesn't know ('\u0434')" in said.stderr
    assert "-> " not in invoke(*words, "th\u00e9 \u201cx\u201d").stderr
    memory = invoke(*words, "--memory", "\u0434" * 500)
    assert memory.code == 0
    assert memory.stdout.splitlines()[1].split()[2] == "-"


# -- pipes and devices where files are expected ------------------------------------------------------------------------

OUTPUTS = {"--svg": b"<svg ", "--html": b"<!doctype html>", "--npz": b"PK\3\4"}


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes")
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_pipe_is_written_into_and_one_that_nobody_reads_is_a_line(invoke, networks, tmp_path, output):
    os.mkfifo(tmp_path / "pipe")
    words = ("inspect", TEXT[:60], "-c", networks / "rnn", output, "pipe")
    alone = invoke(*words)
    assert (alone.code, alone.stdout, alone.stderr) == (1, "", "charrnn: pipe: can't write: nobody reads this pipe\n")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        # The pipe has a reader once it can be opened without waiting.
        for _ in range(1000):
            try:
                handle = os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                time.sleep(0.01)
            else:
                break
        assert invoke(*words).code == 0
        os.close(handle)
        assert reader.communicate(timeout=60)[0].lower().startswith(OUTPUTS[output].lower())
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no /dev/stdout")
def test_stdout_may_be_named_as_the_file(charrnn, networks, tmp_path):
    words = ("inspect", "what", "-c", networks / "rnn", "-q")
    drawn = charrnn(*words, "--svg", "/dev/stdout")
    assert (drawn.returncode, drawn.stderr) == (0, b"")
    ElementTree.fromstring(drawn.stdout)
    with open(tmp_path / "traces.npz", "wb") as file:
        command = [sys.executable, "-m", "charrnn", *map(str, words), "--npz", "/dev/stdout"]
        subprocess.run(command, stdout=file, timeout=60, check=True)
    assert len(np.load(tmp_path / "traces.npz")["bits"]) == 4
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen([*command[:-2], "--svg", "/dev/stdout"], stdout=write, stderr=subprocess.PIPE) as process:
        os.close(write)
        assert (process.communicate(timeout=60)[1], process.returncode) == (b"", 141)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no /dev/null")
def test_a_device_stays_a_device(invoke, networks):
    before = Path("/dev/null").stat()
    assert invoke("inspect", "what", "-c", networks / "rnn", "--npz", "/dev/null").code == 0
    assert os.path.samestat(before, Path("/dev/null").stat())


FILES = {"--html": "page.html", "--svg": "memory.svg", "--npz": "traces.npz"}


@pytest.mark.parametrize("files", [["--html"], ["--svg"], ["--npz"], ["--html", "--svg"], ["--html", "--svg", "--npz"]])
@pytest.mark.parametrize("asked", [["--memory"], ["--contribution", "a?"], ["--memory", "--contribution", "a?"]])
@pytest.mark.parametrize("as_json", [True, False])
def test_every_output_is_made_holds_all_and_is_named(invoke, networks, tmp_path, files, asked, as_json):
    places = [word for kind in files for word in (kind, FILES[kind])]
    text = [] if "--memory" not in asked and files == ["--svg"] else [TEXT]  # A contribution alone has a text of its own.
    done = invoke("inspect", *text, "-c", networks / "rnn", *asked, *places, *["--json"] * as_json)
    assert done.code == 0, done.stderr
    said = done.stderr.splitlines()
    assert sorted(said) == sorted(f"charrnn: wrote {FILES[kind]}" for kind in files)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES[kind] for kind in files)
    remembered, contributed = "--memory" in asked, "--contribution" in asked
    if as_json:
        keys = set().union(*map(json.loads, done.stdout.splitlines()))
        assert ("gradient" in keys, "contribution" in keys, "layers" in keys) == (remembered, contributed, files != ["--svg"])
    else:
        bars = re.findall(r"^[a?] +0\.\d{4}$", done.stdout, re.MULTILINE)
        assert ("bits/char" in done.stdout, len(bars)) == (remembered, 2 * contributed)
    if "--html" in files:
        page = (tmp_path / "page.html").read_text()
        assert ("How far back it remembers" in page, 'aria-label="contribution"' in page) == (True, contributed)
    if "--svg" in files:
        picture = (tmp_path / "memory.svg").read_text()
        assert ("characters back, k" in picture, "share of each character" in picture) == (remembered, contributed)
    if "--npz" in files:
        facts = json.loads(str(np.load(tmp_path / "traces.npz")["charrnn_inspect"]))
        assert ("memory" in facts, "contribution" in facts) == (remembered, contributed)


@pytest.mark.parametrize("options", [("--memory",), ("--memory", "--html", "page.html"), ("--html", "page.html"), ()])
def test_what_is_mapped_and_unknown_is_said_once(invoke, tmp_path, options):
    network(tmp_path / "net", known=" acf\N{LATIN SMALL LETTER E WITH ACUTE}")
    done = invoke("inspect", "cafe\u0301 caf# " * 45, "-c", "net", *options)
    assert done.code == 0
    assert (done.stderr.count("in the form that"), done.stderr.count("'#'")) == (1, 1), done.stderr


def test_files_of_the_states_are_named_and_quiet_is_quiet(invoke, networks, tmp_path):
    words = ("inspect", "What time", "-c", networks / "gru", "--html", "page.html", "--svg", "text.svg", "--npz", "traces.npz")
    assert invoke(*words).stderr == "charrnn: wrote text.svg\ncharrnn: wrote traces.npz\ncharrnn: wrote page.html\n"
    assert invoke(*words, "-q").stderr == ""


def test_a_place_where_nothing_can_be_written_is_told_before_the_work(invoke, networks, monkeypatch):
    monkeypatch.setattr("charrnn.analysis.traces.inspect", None)
    done = invoke("inspect", "What time", "-c", networks / "gru", "--html", "no/such/page.html")
    assert (done.code, done.stdout) == (1, "")
    assert "no/such/page.html: can't write: there is no directory no/such; make it, or name another file\n" in done.stderr


def test_a_file_of_somebody_elses_is_told_before_the_work(invoke, networks, monkeypatch, tmp_path):
    (tmp_path / "notes.svg").write_text("precious")
    monkeypatch.setattr("charrnn.analysis.reach.remembered", None)
    done = invoke("inspect", TEXT, "-c", networks / "gru", "--memory", "--svg", "notes.svg")
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr == "charrnn: notes.svg: is there already, and not by charrnn inspect; name another file\n"


def test_long_work_says_what_it_does(invoke, networks, monkeypatch):
    monkeypatch.setattr("charrnn.output.progress.PATIENCE", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    words = ("inspect", TEXT, "-c", networks / "rnn", "--memory", "--html", "page.html")
    shown = invoke(*words, terminal=True).stderr
    for doing in ("measuring how far back rnn remembers", "reading the text, 0%", "random network 5 of 5", "making page.html"):
        assert re.search(rf"\rcharrnn: [^\n]*{doing}", shown), shown
    assert shown.endswith("\r\x1b[Kcharrnn: wrote page.html\n")
    assert invoke(*words).stderr == "charrnn: wrote page.html\n"
    assert invoke(*words, "-q").stderr == ""


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"file": Path("an old.txt"), "config": InspectConfig(encoding="latin-1")}, "--file 'an old.txt' --encoding latin-1"),
        ({"file": Path("posts.csv"), "config": InspectConfig(field="text")}, "--file posts.csv --field text"),
        ({"text": "-"}, "-"),
        ({"text": "- a fox"}, "-- '- a fox'"),
        ({"text": "The fox"}, "'The fox'"),
    ],
)
def test_the_command_that_colours_a_text_names_this_text_and_this_network(networks, asked, told):
    trained = checkpoint.read(networks / "gru" / rundir.BEST)
    assert InspectRequest(**asked).colored("0:3", trained) == f"charrnn inspect --unit 0:3 -c {networks / 'gru'} {told}"


def test_the_findings_end_with_that_command(invoke, tmp_path):
    (tmp_path / "some.txt").write_text((ROOT / "corpora" / "fables.txt").read_text()[:2000])
    last = invoke("inspect", "--units", "--file", "some.txt", "-c", FABLES).stderr.splitlines()[-1]
    assert f" -c {FABLES} --file some.txt" in last
    colored = invoke(*shlex.split(last)[shlex.split(last).index("inspect") :])
    assert (colored.code, colored.stdout.count("\n")) == (0, 2000)
