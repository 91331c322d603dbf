"""What documents say of the networks that ship is what ``docs/make_shipped.py`` measures, where it says that it stands."""

from __future__ import annotations

import re
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


MEMORY = {"RNN": "rnn", "GRU": "gru", "LSTM": "lstm"}


def of_the_picture(name: str) -> dict[str, tuple[int, int | None]]:
    """What each network of a picture of memories remembers, and after how many characters its gradient is below 1 %."""
    picture = (ROOT / "docs" / name).read_text(encoding="utf-8")
    told = re.findall(r">(\w+) remembers (\d+)<", picture)
    (level,) = re.findall(r'<text x="55.0" y="([\d.]+)" text-anchor="end">0.01</text>', picture)
    curves = re.findall(r'<polyline points="([^"]*)"', picture)[: len(told)]
    heights = [[float(point.partition(",")[2]) for point in curve.split()] for curve in curves]
    below = [next((k for k, y in enumerate(curve) if y > float(level) - 3.95), None) for curve in heights]
    return {label: (int(fewest), after) for (label, fewest), after in zip(told, below, strict=True)}


def rows_of(name: str, heading: str) -> dict[str, list[str]]:
    """The rows of a table of a document by their first cells."""
    text = (ROOT / name).read_text(encoding="utf-8")
    (table,) = re.findall(rf"^\|[^\n]*{re.escape(heading)}[^\n]*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    return {first: rest for first, *rest in cells}


def test_the_documents_say_of_three_cells_what_their_picture_shows() -> None:
    """If they don't: python docs/make_memory.py tells the figures."""
    found = of_the_picture("memory.svg")
    guide, manual = rows_of("docs/guide/memory.md", "| remembers |"), rows_of("docs/manual.md", "| remembers (characters) |")
    assert guide.keys() == manual.keys() == MEMORY.keys()
    for name, label in MEMORY.items():
        remembers, below = found[label]
        assert (guide[name][1], guide[name][0].removesuffix(" characters")) == (str(remembers), str(below))
        assert (manual[name][1], manual[name][3]) == (str(remembers), str(below))


def test_the_tour_draws_how_far_back_the_network_remembers_as_its_page_tells_it(make_shipped: Any) -> None:
    """If it doesn't: python docs/make_page.py."""
    ((label, (remembers, _)),) = of_the_picture("reach.svg").items()
    assert (label, str(remembers)) == ("fables", make_shipped.of_the_page()["remembers"])


def test_the_tours_harder_test_is_what_was_measured() -> None:
    measured = rows_of("tests/bench/RESULTS.md", "| passes | 5 | 10 | 20 |")
    for name, shares in rows_of("docs/guide/memory.md", "characters | 5 | 20 |").items():
        told = [float(share.removesuffix(" %")) for share in shares]
        assert told == [float(measured[name][place]) for place in (1, 3, 6, 8, 10)]
