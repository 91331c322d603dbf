"""The page of the shipped network that the repository holds."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
from conftest import COUNTER, FABLES, ROOT

from charrnn.analysis import rounding
from charrnn.network import checkpoint
from charrnn.output.page import document, export

PAGE, PICTURE = ROOT / "docs/fables.html", ROOT / "docs/fables.png"


def test_the_page_is_of_the_shipped_network_and_small() -> None:
    """If it isn't: python docs/make_page.py."""
    html = PAGE.read_text(encoding="utf-8")
    assert len(html.encode()) < 1_200_000
    (text,) = re.findall(r'id="data">(.*?)</script>', html, re.DOTALL)
    (network,) = json.loads(text)["networks"]
    trained = checkpoint.read(FABLES / "best.safetensors")
    assert network["vocabulary"]["characters"] == trained.vocabulary.characters
    for name, tensor in trained.weights.items():
        kept = network["tensors"][name]
        values = rounding.rounded(tensor, "int8").values
        np.testing.assert_array_equal(np.frombuffer(base64.b64decode(kept["data"]), dtype=values.dtype), values.ravel())
    assert COUNTER in [f"{one['layer']}:{one['unit']}" for one in network["units"] if one["follows"] == "position in the line"]


def test_the_page_holds_the_present_scripts_and_styles_and_no_path_of_its_maker() -> None:
    """If it doesn't: python docs/make_page.py."""
    html = PAGE.read_text(encoding="utf-8")
    (style,), (script,) = (re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL) for tag in ("style", "script"))
    assert style == "".join(map(document.resource, export.STYLES))
    assert script == "".join(map(document.resource, export.SCRIPTS))
    assert "characters of corpora/fables.txt" in html


def test_its_picture_is_readmes_first_and_small() -> None:
    assert PICTURE.read_bytes().startswith(b"\x89PNG")
    assert PICTURE.stat().st_size < 200_000
    first = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))[0]
    assert first == "docs/fables.png"
