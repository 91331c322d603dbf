"""Keyword arguments: which there are, and what becomes of their values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from charrnn import keywords
from charrnn.config import ModelConfig
from charrnn.keywords import SampleSettings


def test_arguments_are_called_as_options_are() -> None:
    assert keywords.fields(ModelConfig)["layers"] == "num_layers"
    assert "num_layers" not in keywords.fields(ModelConfig)


def test_what_is_none_is_not_given_and_numbers_are_pythons() -> None:
    checked = keywords.checked({"top_k": np.int64(3), "top_p": None, "stop": "a"}, SampleSettings)
    assert checked == {"top_k": 3, "stop": "a"}
    assert type(checked["top_k"]) is int


@pytest.mark.parametrize(("name", "meant"), [("top-k", "; did you mean 'top_k'?"), ("zebra", "")])
def test_an_unknown_name_is_told_with_its_neighbour(name: str, meant: str) -> None:
    with pytest.raises(TypeError) as error:
        keywords.checked({name: 1}, SampleSettings)
    assert str(error.value) == f"there is no argument {name!r}{meant}"


def test_one_name_is_a_list_of_one() -> None:
    assert keywords.listed("abc") == ["abc"]
    assert keywords.listed(Path("a")) == ["a"]
    assert keywords.listed([Path("a"), "b"]) == ["a", "b"]
