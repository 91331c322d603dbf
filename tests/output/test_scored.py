"""`charrnn score`: tables, rows, ranks and JSON tell the same numbers; what excludes each other is refused."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_networks import TEXT, network, records

from charrnn import UsageError
from charrnn.config import ScoreConfig
from charrnn.output.scored import ScoreRequest
from charrnn.text.records import Records

Invoke = Callable[..., Any]


def test_the_parts_of_a_text_add_up(invoke: Invoke, here: Path) -> None:
    (whole,) = records(invoke("score", "novel.txt", "--json"))
    assert whole.keys() == {
        *(
            "file",
            "characters",
            "unknown",
            "mapped",
            "bits",
            "bits_per_char",
            "nats_per_char",
            "perplexity",
            "unknown_bits",
            "surprise",
            "uncalibrated_bits_per_char",
        ),
        *("exact", "seam_bits"),
    }
    assert (whole["characters"], whole["unknown"], whole["exact"]) == (len(TEXT), 0, True)
    by_character = records(invoke("score", "novel.txt", "--json", "--per-char"))
    assert "".join(record["char"] for record in by_character) == TEXT
    assert sum(record["bits"] for record in by_character) == pytest.approx(whole["bits"])
    by_line = records(invoke("score", "novel.txt", "--json", "--lines"))
    assert [record["text"] for record in by_line] == TEXT.splitlines()
    assert [record["line"] for record in by_line] == list(range(1, 25))
    (windows,) = records(invoke("score", "novel.txt", "--json", "--window", len(TEXT)))
    assert windows["bits"] == pytest.approx(whole["bits"], rel=1e-6)
    (one,) = records(invoke("score", "-", "--json", "--exact", stdin=TEXT.encode()))
    assert one["bits"] == pytest.approx(whole["bits"])


def test_a_text_that_was_trained_on_is_said_to_be(invoke: Invoke, here: Path) -> None:
    facts = {"corpus_bytes": len(TEXT.encode()), "corpus_sha256": hashlib.sha256(TEXT.encode()).hexdigest()}
    network(here / "checkpoints/learned", **facts)
    (here / "changed.txt").write_text(TEXT[:-1] + "!")
    found = invoke("score", "novel.txt", "changed.txt", "-c", "checkpoints/learned")
    said = (
        "checkpoints/learned was trained on novel.txt, which flatters it; the part held out from training took 4.200 bits/char"
    )
    assert [line for line in found.stderr.splitlines() if "trained on" in line] == [f"charrnn: {said}"]
    for others in (["-q"], ["--lines"], ["-c", "checkpoints/novel"]):
        named = [] if "-c" in others else ["-c", "checkpoints/learned"]
        assert "trained on" not in invoke("score", "novel.txt", *named, *others).stderr
    assert "trained on" not in invoke("score", "-", "-c", "checkpoints/learned", stdin=TEXT.encode()).stderr


def test_tables_and_rows_say_what_the_json_says(invoke: Invoke, here: Path) -> None:
    (whole,) = records(invoke("score", "novel.txt", "--json"))
    header, row = invoke("score", "novel.txt").stdout.splitlines()
    assert header.split() == ["file", "bits/char", "nats/char", "perplexity", "characters", "unknown"]
    means = [f"{whole[key]:.4f}" for key in ("bits_per_char", "nats_per_char", "perplexity")]
    assert row.split() == ["novel.txt", *means, f"{len(TEXT)}", "0"]
    lines = records(invoke("score", "novel.txt", "--json", "--lines"))
    rows = [line.split("\t") for line in invoke("score", "novel.txt", "--lines").stdout.splitlines()]
    expected = [
        [f"{r['bits_per_char']:.4f}", f"{r['bits']:.3f}", str(r["characters"]), "0", str(r["line"]), r["text"]] for r in lines
    ]
    assert rows == expected
    first = invoke("score", "novel.txt", "--per-char").stdout.splitlines()[TEXT.index("\n")]
    assert first.startswith("\\n\t")
    assert len(first.split("\t")) == 6


def test_several_texts_are_scored_each_by_itself_and_a_table_adds_them_up(invoke: Invoke, here: Path) -> None:
    (here / "other.txt").write_text("go\n")
    one, other = records(invoke("score", "novel.txt", "other.txt", "--json"))
    assert [one["file"], other["file"]] == ["novel.txt", "other.txt"]
    assert other["bits"] == pytest.approx(records(invoke("score", "other.txt", "--json"))[0]["bits"])
    *_, total = invoke("score", "novel.txt", "other.txt").stdout.splitlines()
    assert total.split()[0] == "total"
    assert float(total.split()[1]) == pytest.approx((one["bits"] + other["bits"]) / (len(TEXT) + 3), abs=1e-4)
    places = [line.split("\t")[4] for line in invoke("score", "other.txt", "novel.txt", "--lines").stdout.splitlines()]
    assert places[:2] == ["other.txt:1", "novel.txt:1"]


@pytest.mark.parametrize("options", [(), ("--rank",), ("--json",), ("--lines",)])
def test_what_was_scored_before_a_text_that_fails_is_told(invoke: Invoke, here: Path, options: tuple[str, ...]) -> None:
    expected = invoke("score", "novel.txt", *options).stdout
    (here / "no-text.txt").write_bytes(b"\xff\xfa" * 9)
    result = invoke("score", "novel.txt", "no-text.txt", "-q", *options)
    assert result.code == 1
    assert result.stderr.count("\n") == 1
    assert "no-text.txt" in result.stderr
    assert "total" not in result.stdout
    assert result.stdout.count("\n") == expected.count("\n") > 0


def test_a_text_that_is_not_there_is_told_before_any_is_scored(invoke: Invoke, here: Path) -> None:
    result = invoke("score", "novel.txt", "gone.txt", "-q")
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.startswith("charrnn: gone.txt: No such file or directory; ")


def test_rank_puts_the_most_surprising_line_first(invoke: Invoke, here: Path) -> None:
    (here / "log").write_text("The end\nggggTTTT\nThe fox\n\u4e2d\u6587")
    network(here / "long", characters=100_000)
    ranked = invoke("score", "--rank", "log", "-q", "-c", "long")
    rows = [line.split("\t") for line in ranked.stdout.splitlines()]
    assert rows[0] == [f"{math.log2(100_001):.4f}", "0.000", "0", "2", "4", "\u4e2d\u6587"]
    means = [float(mean) for mean, *_ in rows[1:]]
    assert means == sorted(means, reverse=True)
    assert sorted(row[4] for row in rows) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_rank_leaves_out_blank_lines_and_keeps_the_order_of_equal_ones(invoke: Invoke, here: Path, how: list[str]) -> None:
    (here / "tale").write_text("The fox\n\nThe end\n  \nThe fox\n\n")
    ranked = records(invoke("score", "--rank", "tale", "-q", "--json"))
    assert [line["line"] for line in ranked if line["text"] == "The fox"] == [1, 5]
    assert len(invoke("score", "--rank", "tale", "-q", *how).stdout.splitlines()) == 3
    assert len(invoke("score", "--lines", "tale", "-q", *how).stdout.splitlines()) == 6


def test_unknown_characters_cost_what_the_length_of_the_training_text_says(invoke: Invoke, here: Path) -> None:
    """`bits` and its mean are of known characters alone; lines are ranked by what all of their characters cost."""
    network(here / "long", characters=1023)
    (here / "log").write_text("\nThe fox said go\n\u4e2d\u6587The fox\n\U0001f600\U0001f600\n\u0434\u0430")
    ask = ("score", "log", "-c", "long", "-q")
    lines = records(invoke(*ask, "--lines", "--json"))
    assert [line["unknown_bits"] for line in lines] == [0, 0, 20, 20, 20]
    for line in lines:
        read = line["characters"] + line["unknown"]
        assert line["surprise"] == pytest.approx((line["bits"] + line["unknown_bits"]) / read)
        assert line["bits_per_char"] == (pytest.approx(line["bits"] / line["characters"]) if line["characters"] else None)
    (whole,) = records(invoke(*ask, "--json"))
    assert (whole["unknown"], whole["unknown_bits"]) == (6, 60)
    assert whole["bits_per_char"] == pytest.approx(whole["bits"] / whole["characters"])
    ranked = records(invoke(*ask, "--rank", "--json"))
    assert [line["line"] for line in ranked][:3] == [5, 4, 3]
    for way in ("--lines", "--rank"):
        first = [row.split("\t")[0] for row in invoke(*ask, way).stdout.splitlines()]
        assert first == [f"{line['surprise']:.4f}" for line in (lines if way == "--lines" else ranked)]


SAME = {"composed": "NFC", "decomposed": "NFD"}
SPOKEN = "Le café où Zoë a mangé.\n각하 がぎぐ ế\n"


@pytest.mark.parametrize("known", SAME)
@pytest.mark.parametrize("given", SAME)
def test_a_text_has_one_score_however_its_characters_are_written(invoke: Invoke, here: Path, known: str, given: str) -> None:
    """Composed as keyboards write it, or decomposed as macOS names and many PDFs have it."""
    network(here / "net", known="".join(sorted(set(unicodedata.normalize(SAME[known], SPOKEN)))))
    for form in SAME:
        (here / form).write_text(unicodedata.normalize(SAME[form], SPOKEN))
    mapped = 0 if known == given else len(unicodedata.normalize("NFC", SPOKEN)) - sum(map(str.isascii, SPOKEN))
    for options in ([], ["--exact"], ["--window", "7"], ["--lines"], ["--rank"], ["--per-char"]):
        expected = records(invoke("score", known, "-c", "net", "--json", *options))
        result = invoke("score", given, "-c", "net", "--json", *options)
        found = records(result)
        assert [record["bits"] for record in found] == pytest.approx([record["bits"] for record in expected])
        if "--per-char" in options:
            continue
        assert sum(record["mapped"] for record in found) == mapped
        assert sum(record["unknown"] for record in found) == 0
        assert (f"{mapped} characters were read in the form" in result.stderr) is (mapped > 0)
    lines = records(invoke("score", given, "-c", "net", "--json", "--lines"))
    assert [line["text"] + "\n" for line in lines] == (here / given).read_text().splitlines(keepends=True)


def test_a_plain_form_is_unknown_to_a_score(invoke: Invoke, here: Path) -> None:
    (here / "accents").write_text("th\u00e9 f\u00f6x \u201c\n")
    (score,) = records(invoke("score", "accents", "--json"))
    assert (score["characters"], score["unknown"], score["mapped"]) == (7, 3, 0)


def test_unknown_characters_are_named_with_how_they_were_counted(invoke: Invoke, here: Path) -> None:
    (here / "odd.txt").write_text("The \u201cfox\u201d\n")
    result = invoke("score", "odd.txt", "--json")
    (score,) = records(result)
    assert (score["characters"], score["unknown"]) == (8, 2)
    assert "2 characters" in result.stderr
    assert "\u201c" in result.stderr
    assert "in no sum" in result.stderr


def test_a_text_on_a_terminal_keeps_its_control_characters_to_itself(invoke: Invoke, here: Path) -> None:
    (here / "evil.txt").write_text("\x1b[2Jfox\n")
    for options in (["--lines"], ["--rank"], ["--per-char"], []):
        assert "\x1b[2J" not in invoke("score", "evil.txt", *options, terminal=True).stdout


@pytest.mark.parametrize("text", ["\n", "x"])
def test_a_text_of_almost_nothing_has_a_score(invoke: Invoke, here: Path, text: str) -> None:
    (here / "small.txt").write_text(text)
    (score,) = records(invoke("score", "small.txt", "--json"))
    assert score["characters"] + score["unknown"] == len(text)
    for options in ([], ["--lines"], ["--rank"], ["--per-char"], ["--window", "5"], ["--exact"]):
        assert invoke("score", "small.txt", *options).code == 0


def test_a_byte_network_scores_bytes(invoke: Invoke, tmp_path: Path) -> None:
    network(tmp_path / "checkpoints/bytes", level="byte")
    (score,) = records(invoke("score", "-", "--json", stdin="\u4e2d\xff".encode("latin-1", "replace") + b"\xff\n"))
    assert (score["characters"], score["unknown"]) == (4, 0)
    rows = invoke("score", "-", "--per-char", stdin=b"\xff\n").stdout.splitlines()
    assert [row.split("\t")[0] for row in rows] == ["\\xff", "\\n"]
    assert invoke("score", "-", "--lines", stdin=b"a\xff\n").stdout.endswith("\ta\ufffd\n")


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"config": ScoreConfig(window=9), "by_line": True}, "--window or --lines"),
        ({"rank": True, "exact": True}, "--rank or --exact"),
        ({"rank": True, "per_char": True}, "--rank or --per-char"),
    ],
)
def test_a_request_holds_one_way_of_reading(request_: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=f"^{named}: give one, not both$"):
        ScoreRequest(**request_)


LIST = "go\n\nThe end\n \nall of it\nfox"
FACTS = {"count": 5, "held_out": 1, "duplicates": 0, "blank": 0, "longest": 4, "mean_length": 3.0}


def test_a_network_of_records_begins_anew_at_each_line_and_sums_per_record(invoke: Invoke, tmp_path: Path) -> None:
    network(tmp_path / "list", records=FACTS)
    network(tmp_path / "text")
    (tmp_path / "list.txt").write_text(LIST)
    (whole,) = records(invoke("score", "list.txt", "--json", "-c", "list"))
    lines = records(invoke("score", "list.txt", "--json", "--lines", "-c", "list"))
    assert [line["line"] for line in lines] == [1, 3, 5, 6]
    assert (whole["records"], whole["characters"] + whole["unknown"], whole["exact"]) == (4, 24, True)
    assert whole["bits"] == pytest.approx(sum(line["bits"] for line in lines))
    assert whole["bits_per_record"] == pytest.approx(whole["bits"] / 4)
    every = records(invoke("score", "list.txt", "--json", "--lines", "-c", "text"))
    assert [line for line in every if line["line"] in (1, 3, 5, 6)] == lines
    by_character = records(invoke("score", "list.txt", "--json", "--per-char", "-c", "list"))
    assert sum(row["bits"] or 0 for row in by_character) == pytest.approx(whole["bits"])


def test_a_table_of_records_says_what_one_costs(invoke: Invoke, tmp_path: Path) -> None:
    network(tmp_path / "list", records=FACTS)
    (tmp_path / "list.txt").write_text(LIST)
    (whole,) = records(invoke("score", "list.txt", "--json", "-c", "list"))
    table = invoke("score", "list.txt", "-c", "list")
    assert f"list.txt: 4 records, {whole['bits_per_record']:.2f} bits each" in table.stderr
    nothing = invoke("score", "-", "--json", "-c", "list", stdin=b"\n\n")
    assert (nothing.code, nothing.stdout) == (1, "")
    assert nothing.stderr.endswith("stdin: there is nothing to score; it holds no record\n")


@pytest.mark.parametrize("way", [("--exact",), ("--window", "1000")])
def test_records_are_one_text_where_that_is_asked_for(invoke: Invoke, tmp_path: Path, way: tuple[str, ...]) -> None:
    network(tmp_path / "list", records=FACTS)
    network(tmp_path / "text")
    (tmp_path / "list.txt").write_text(LIST)
    found, expected = (records(invoke("score", "list.txt", "--json", *way, "-c", name)) for name in ("list", "text"))
    assert found == expected


# -- learning while reading -------------------------------------------------------------------------------------------


def test_a_score_tells_that_the_network_adapted_and_what_it_were_without(invoke: Invoke, here: Path) -> None:
    (plain,) = records(invoke("score", "novel.txt", "--json"))
    (adapted,) = records(invoke("score", "novel.txt", "--json", "--adapt"))
    assert adapted.keys() == plain.keys() | {"adapted", "unadapted_bits_per_char"}
    assert adapted["adapted"] is True
    assert adapted["unadapted_bits_per_char"] == pytest.approx(plain["bits_per_char"], abs=1e-5)
    assert adapted["bits_per_char"] < plain["bits_per_char"]
    assert (adapted["exact"], adapted["seam_bits"]) == (True, None)
    shown = invoke("score", "novel.txt", "--adapt")
    assert f"{adapted['bits_per_char']:.4f}" in shown.stdout
    assert shown.stderr.endswith(f"charrnn: novel.txt: without adapting {plain['bits_per_char']:.4f} bits/char\n")


def test_each_file_is_read_with_the_weights_of_the_checkpoint(invoke: Invoke, here: Path) -> None:
    (here / "same.txt").write_text(TEXT)
    one, same = records(invoke("score", "novel.txt", "same.txt", "--json", "--adapt"))
    assert one["bits"] == same["bits"]


@pytest.mark.parametrize("way", ["--lines", "--rank"])
def test_the_weights_go_on_from_line_to_line(way: str, invoke: Invoke, here: Path) -> None:
    plain = {line["line"]: line for line in records(invoke("score", "novel.txt", "--json", way))}
    adapted = {line["line"]: line for line in records(invoke("score", "novel.txt", "--json", way, "--adapt"))}
    assert list(adapted) != sorted(adapted) or way == "--lines"
    assert adapted[1]["bits"] == pytest.approx(plain[1]["bits"], abs=1e-4)
    assert adapted[23]["bits"] < plain[23]["bits"]
    assert adapted[23]["text"] == adapted[1]["text"]
    assert adapted[23].keys() == plain[23].keys() | {"adapted", "unadapted_bits_per_char"}
    assert adapted[23]["adapted"] is True
    for number, line in adapted.items():
        assert line["unadapted_bits_per_char"] == pytest.approx(plain[number]["bits_per_char"], abs=1e-5), number
    (whole,) = records(invoke("score", "novel.txt", "--json", "--window", "1000"))
    assert whole["characters"] == sum(line["characters"] for line in adapted.values())


def test_a_list_is_adapted_to_record_by_record(invoke: Invoke, tmp_path: Path) -> None:
    network(tmp_path / "names", records=Records(3, 1, 0, 0, 4, 2.5).to_json())
    (tmp_path / "list.txt").write_text("The fox\n\nThe crow\n" * 9)
    (plain,) = records(invoke("score", "list.txt", "-c", "names", "--json"))
    (adapted,) = records(invoke("score", "list.txt", "-c", "names", "--json", "--adapt"))
    assert adapted["records"] == plain["records"] == 18
    assert adapted["unadapted_bits_per_char"] == pytest.approx(plain["bits_per_char"], abs=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--window", "9"], "--adapt reads a text as one stream, learning as it goes; leave out --window"),
        (["--exact"], "--adapt reads a text as one stream, learning as it goes; leave out --exact"),
        (["-c", "novel", "-c", "novel"], "weights of one network, not of 2; name one, as -c checkpoints/novel ("),
    ],
)
def test_what_does_not_go_with_adapting_is_refused(options: list[str], said: str, invoke: Invoke, here: Path) -> None:
    found = invoke("score", "novel.txt", "--adapt", *[option.replace("novel", "checkpoints/novel") for option in options])
    assert (found.code, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert said in found.stderr


@pytest.mark.parametrize("options", [[], ["--json"], ["--window", "9"], ["--adapt", "--keep", "new.safetensors"]])
def test_an_empty_text_is_a_failure_since_its_figure_would_decide(options: list[str], invoke: Invoke, here: Path) -> None:
    (here / "empty.txt").write_text("")
    found = invoke("score", "empty.txt", *options)
    assert (found.code, found.stdout) == (1, "")
    assert found.stderr.splitlines()[-1] == "charrnn: empty.txt: there is nothing to score; it holds no text"
    assert not (here / "new.safetensors").exists()


def test_an_empty_text_among_others_gets_a_row_and_a_word(invoke: Invoke, here: Path) -> None:
    (here / "empty.txt").write_text("")
    found = invoke("score", "empty.txt", "novel.txt", "--json", "--adapt")
    assert (found.code, "empty.txt: it holds no text" in found.stderr) == (0, True)
    first, second = records(found)
    assert (first["characters"], first["bits_per_char"], first["unadapted_bits_per_char"]) == (0, None, None)
    assert second["characters"] == len(TEXT)
    found = invoke("score", "empty.txt", "empty.txt")
    assert (found.code, found.stderr.splitlines()[-1]) == (1, "charrnn: there is nothing to score in any of the texts")


@pytest.mark.parametrize("option", ["--lines", "--rank", "--per-char"])
def test_a_text_without_lines_has_no_rows(option: str, invoke: Invoke, here: Path) -> None:
    found = invoke("score", "-", option, stdin=b"")
    assert (found.code, found.stdout) == (0, "")


# -- what it has learned is kept --------------------------------------------------------------------------------------


def test_a_network_that_has_adapted_is_kept(invoke: Invoke, here: Path) -> None:
    (adapted,) = records(invoke("score", "novel.txt", "--json", "--adapt", "--keep", "new.safetensors"))
    assert adapted["bits"] == records(invoke("score", "novel.txt", "--json", "--adapt"))[0]["bits"]
    (again,) = records(invoke("score", "novel.txt", "--json", "-c", "new.safetensors"))
    assert again["bits"] < adapted["bits"]
    (told,) = records(invoke("info", "new.safetensors", "--json"))
    assert told["adapted"] == {"text": "novel.txt", "characters": len(TEXT)}
    assert (told["corpus"], told["val_bits_per_char"]) == ("novel", None)
    assert f"to {len(TEXT)} characters of novel.txt" in invoke("info", "new.safetensors").stdout
    assert "adapted" not in records(invoke("info", "checkpoints/novel", "--json"))[0]
    said = invoke("score", "novel.txt", "--adapt", "--keep", "other.safetensors").stderr
    assert said.endswith(f"charrnn: other.safetensors: the network after {len(TEXT)} characters of novel.txt\n")


@pytest.mark.parametrize("options", [["--lines"], ["--lines", "--adapt"]])
def test_sentences_call_stdin_so_and_json_calls_it_dash(invoke: Invoke, here: Path, options: list[str]) -> None:
    done = invoke("score", "-", *options, stdin="the \u4e2d\n".encode())
    assert "charrnn: stdin: " in done.stderr
    assert "charrnn: warning: stdin: 1 character " in done.stderr
    assert " -: " not in done.stderr
    assert records(invoke("score", "-", "--json", stdin=b"the\n"))[0]["file"] == "-"


def test_a_kept_network_goes_on_and_samples(invoke: Invoke, here: Path) -> None:
    invoke("score", "novel.txt", "--lines", "--adapt", "--keep", "one.safetensors")
    assert invoke("score", "-", "--adapt", "-c", "one.safetensors", "--keep", "two.safetensors", stdin=b"go\n").code == 0
    assert records(invoke("info", "two.safetensors", "--json"))[0]["adapted"] == {"text": "stdin", "characters": 3}
    assert len(invoke("sample", "-n", "20", "-c", "two.safetensors").stdout) > 10


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--keep", "new.safetensors"], 2, "--keep saves what a network has learned by --adapt; give both"),
        (["other.txt", "--adapt", "--keep", "new.safetensors"], 2, "--keep saves the network that has learned one FILE, not 2"),
        (["--adapt", "--keep", "novel.txt"], 1, "novel.txt: is there already, and nothing is overwritten; name another file"),
        (["--adapt", "--keep", "checkpoints/novel/best.safetensors"], 1, "is there already, and nothing is overwritten"),
        (["--adapt", "--keep", "no/new.safetensors"], 1, "no/new.safetensors: can't save: there is no directory no; make it"),
    ],
)
def test_what_can_not_be_kept_is_told_before_the_text_is_read(
    options: list[str], code: int, said: str, invoke: Invoke, here: Path
) -> None:
    (here / "other.txt").write_text(TEXT)
    found = invoke("score", "novel.txt", *options)
    assert (found.code, found.stdout, found.stderr.count("\n")) == (code, "", 1)
    assert said in found.stderr
    assert (here / "novel.txt").read_text() == TEXT
    assert not (here / "new.safetensors").exists()


# -- writing in the manner of a text ----------------------------------------------------------------------------------


def test_a_sample_is_that_of_the_kept_network(invoke: Invoke, here: Path) -> None:
    """Drawn with the same seed, adapting first or reading what was kept."""
    invoke("score", "novel.txt", "--adapt", "--keep", "new.safetensors", "-q")
    kept = invoke("sample", "-n", "60", "--seed", "1", "-c", "new.safetensors")
    adapted = invoke("sample", "-n", "60", "--seed", "1", "--adapt-to", "novel.txt")
    assert adapted.stdout == kept.stdout != invoke("sample", "-n", "60", "--seed", "1").stdout
    (told,) = records(invoke("score", "novel.txt", "--adapt", "--json"))
    assert f"adapted to novel.txt: {told['bits_per_char']:.4f} bits/char over {len(TEXT)} characters\n" in adapted.stderr
    assert "checkpoints/novel (" in adapted.stderr


def test_a_state_of_an_adapted_network_goes_on_after_the_same_text(invoke: Invoke, here: Path) -> None:
    options = ["sample", "--adapt-to", "novel.txt", "-n", "30"]
    whole = invoke("sample", "--adapt-to", "novel.txt", "-n", "60", "--seed", "1").stdout
    begun = invoke(*options, "--seed", "1", "--save-state", "at.state").stdout
    rest = invoke(*options, "--load-state", "at.state").stdout
    assert begun.removesuffix("\n") + rest == whole
    assert "the state of another network" in invoke("sample", "--load-state", "at.state").stderr


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (
            ["-c", "checkpoints/novel", "-c", "checkpoints/novel"],
            2,
            "--adapt-to changes the weights of one network, not of 2; name one",
        ),
        (["--adapt-to", "missing.txt"], 1, "missing.txt"),
        (["--adapt-to", "-", "--prompt", "-"], 2, "--adapt-to - reads stdin to its end; take the prompts from elsewhere"),
        (["--adapt-to", "-", "-i"], 2, "--adapt-to - reads stdin to its end; take the prompts from elsewhere"),
    ],
)
def test_what_can_not_be_adapted_to_is_told(options: list[str], code: int, said: str, invoke: Invoke, here: Path) -> None:
    found = invoke("sample", "--adapt-to", "novel.txt", *options)
    assert (found.code, found.stdout) == (code, "")
    assert said in found.stderr


def test_the_text_to_adapt_to_may_come_from_stdin(invoke: Invoke, here: Path) -> None:
    piped = invoke("sample", "--adapt-to", "-", "-n", "60", "--seed", "1", stdin=TEXT.encode())
    assert piped.stdout == invoke("sample", "--adapt-to", "novel.txt", "-n", "60", "--seed", "1").stdout
    assert "adapted to stdin: " in piped.stderr


@pytest.mark.parametrize(
    ("option", "columns"), [("--rank", "bits per character, bits, characters,"), ("--per-char", "character, bits, rank,")]
)
def test_at_a_terminal_the_columns_of_rows_are_named(option: str, columns: str, invoke: Invoke, here: Path) -> None:
    named = f"charrnn: the columns: {columns}"
    assert named in invoke("score", "novel.txt", option, terminal=True, piped=True).stderr
    assert named in invoke("score", "novel.txt", option, terminal=True).stderr
    for others in ([option, "--json"], [option, "-q"], []):
        assert "the columns" not in invoke("score", "novel.txt", *others, terminal=True).stderr
    assert "the columns" not in invoke("score", "novel.txt", option).stderr
