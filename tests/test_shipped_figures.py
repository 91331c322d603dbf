"""What documents say of the networks that ship is what ``docs/make_shipped.py`` measures, where it says that it stands."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from conftest import COUNTER, ROOT


@pytest.fixture
def make_shipped(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "docs")
    import make_shipped

    yield make_shipped
    del sys.modules["make_shipped"]


def test_the_documents_say_what_the_networks_that_ship_do(make_shipped: Any) -> None:
    """If one doesn't: python docs/make_shipped.py."""
    assert make_shipped.absent() == []
    documents = list(make_shipped.documents(make_shipped.figures()))
    assert [str(path) for path, text, new in documents if text != new] == []
    shown = "".join(text for _, text, _ in documents)
    assert all(pattern.search(shown) for pattern in (make_shipped.QUOTED, make_shipped.TRAINED))


def test_the_figures_of_another_network_are_written_everywhere(make_shipped: Any) -> None:
    places = [place for places in make_shipped.PLACES.values() for place in places]
    names = {name.partition("_")[0] for place in places for name in make_shipped.expression(place).groupindex}
    others = {name: f"{number}07" for number, name in enumerate(sorted(names), 1)} | {
        "unit": "3:907",
        "minutes": "seven minutes",
    }
    for name, places in make_shipped.PLACES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        for place in places:
            text = make_shipped.rewritten(text, place, others)
        for place in places:
            found = make_shipped.standing(text, place)
            assert found
            assert [value for _, value in found] == [others[figure] for figure, _ in found]
        assert COUNTER not in text, name


def test_the_counter_is_named_only_where_it_is_written_anew(make_shipped: Any) -> None:
    folders = [ROOT / name for name in ("charrnn", "docs", "tests", "checkpoints", "corpora")]
    files = [*ROOT.glob("*.md"), *(path for folder in folders for path in folder.rglob("*"))]
    texts = {path for path in files if path.suffix in (".md", ".py", ".js", ".css", ".html") and "log" not in path.parts}
    texts -= {ROOT / name for name in (*make_shipped.PLACES, "docs/fables.html")}
    assert len(texts) > 300
    assert [str(path) for path in sorted(texts) if COUNTER in path.read_text(encoding="utf-8")] == []
