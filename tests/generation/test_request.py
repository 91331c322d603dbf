"""request: what was typed is checked, and becomes settings that fit the network."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from charrnn import CharrnnError, UsageError
from charrnn.config import ModelConfig, SampleConfig
from charrnn.declaration import Panel, options
from charrnn.generation.drawing import Drawing
from charrnn.generation.request import SampleRequest, drawing, ending, possible_stops, within
from charrnn.text.reading import PLAIN
from charrnn.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary("char", "\n =abcde")
MODEL = ModelConfig(VOCABULARY.size, hidden_size=12, num_layers=2)


@pytest.mark.parametrize("typed", ["=5", "a", "ab=1", "a=x", "a=inf"])
def test_a_bias_is_one_character_and_a_number(typed: str) -> None:
    with pytest.raises(UsageError, match="--bias"):
        SampleRequest(bias=[typed]).read_biases()


@pytest.mark.parametrize("clamp", ["", "0", "0:1", "0:1=", "0:1=x", "-1:1=0", "0:1=inf", "a:b=1", "0:1=nan"])
def test_a_clamp_is_a_layer_a_unit_and_a_number(clamp: str) -> None:
    with pytest.raises(UsageError, match="--clamp"):
        SampleRequest(clamp=[clamp]).read_clamps()


@pytest.mark.parametrize("clamp", ["2:0=1", "0:12=1"])
def test_a_clamp_names_a_unit_that_there_is(clamp: str) -> None:
    assert within(SampleRequest(clamp=["1:11=1"]).read_clamps(), MODEL) == [(1, 11, 1.0)]
    with pytest.raises(UsageError, match="layers 0 to 1 and units 0 to 11"):
        within(SampleRequest(clamp=[clamp]).read_clamps(), MODEL)


def test_an_empty_stop_text_is_refused() -> None:
    with pytest.raises(UsageError, match="--stop must be at least one character"):
        SampleRequest(stop=[""]).read_stops()


def test_only_stop_texts_that_the_network_can_write_are_watched_for() -> None:
    said: list[str] = []
    assert possible_stops(["ab", "xyz", "a\n"], VOCABULARY, said.append) == ["ab", "a\n"]
    assert len(said) == 1
    assert "'x', 'y', 'z'" in said[0]


def test_stops_and_biases_are_meant_as_the_network_writes_them() -> None:
    composed, decomposed = Vocabulary("char", "eé"), Vocabulary("char", "e\u0301")
    assert possible_stops(["e\u0301"], composed, pytest.fail) == ["é"]
    assert possible_stops(["é"], decomposed, pytest.fail) == ["e\u0301"]
    (bias,) = SampleRequest(bias=["e\u0301=-2"]).read_biases()
    found = drawing(SampleConfig(), [bias], composed, pytest.fail)
    assert found.bias is not None
    assert found.bias.tolist() == [0, -2, 0]
    with pytest.raises(UsageError, match="writes letters and accents apart"):
        drawing(SampleConfig(), [bias], decomposed, pytest.fail)


def test_lines_without_newlines_end_nothing_and_are_warned_of() -> None:
    said: list[str] = []
    assert ending(SampleConfig(lines=2), [], VOCABULARY, keep_stop=False, warn=said.append).lines == 2
    assert not said
    assert ending(SampleConfig(lines=2), [], Vocabulary("char", "ab"), keep_stop=False, warn=said.append).lines is None
    assert len(said) == 1


def test_every_setting_of_drawing_is_what_was_asked_for() -> None:
    asked = {"temperature": 0.3, "temperature_end": 2.0, "top_k": 3, "typical": 0.7, "top_p": 0.9, "min_p": 0.1}
    asked |= {"repetition_penalty": 1.5, "repetition_window": 9}
    found = drawing(SampleConfig(length=77, **asked), [("a", 2.0), ("a", 0.5)], VOCABULARY, pytest.fail)
    assert {name: getattr(found, name) for name in asked} == asked
    assert (found.length, found.banned) == (77, VOCABULARY.unknown)
    assert found.bias is not None
    assert found.bias.tolist() == [2.5 if index == VOCABULARY.encode("a")[0] else 0 for index in range(VOCABULARY.size)]
    assert {field.name for field in fields(Drawing)} == {*asked, "length", "bias", "banned", "calibration"}
    declared = {name for name, option in options(SampleConfig).items() if option.panel is Panel.DRAWING}
    assert declared <= asked.keys(), "an option of drawing that request.drawing doesn't hand to Drawing does nothing"


@pytest.mark.parametrize("given", [("prompt", "prompts"), ("prompt", "prompt_file"), ("prompt_file", "prompts")])
def test_a_prompt_comes_from_one_place(given: tuple[str, str]) -> None:
    places = {"prompt": "a", "prompt_file": Path("p"), "prompts": Path("p")}
    with pytest.raises(UsageError, match="give one, not more"):
        SampleRequest(**{name: places[name] for name in given}).read_prompts(PLAIN)  # type: ignore[arg-type]


def test_prompts_are_the_lines_of_a_file_and_there_is_at_least_one(tmp_path: Path) -> None:
    path = tmp_path / "p"
    for text, prompts in (("a\nb", ["a", "b"]), ("a\n\nb\n", ["a", "", "b"]), ("\n", [""])):
        path.write_text(text)
        assert SampleRequest(prompts=path).read_prompts(PLAIN) == prompts
    assert SampleRequest().read_prompts(PLAIN) == [""]
    path.write_text("")
    with pytest.raises(CharrnnError, match="holds no prompt"):
        SampleRequest(prompts=path).read_prompts(PLAIN)


@pytest.mark.parametrize("option", ["prompt", "stop", "bias"])
def test_one_rule_for_escapes(option: str) -> None:
    assert SampleRequest(escapes=True).typed(r"a\nb", f"--{option}") == "a\nb"
    assert SampleRequest().typed(r"a\nb", f"--{option}") == r"a\nb"
