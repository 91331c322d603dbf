"""An inspection in a notebook."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from small_networks import TEXT, network

import charrnn


class Tags(HTMLParser):
    """The tags of a document with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_stands_in_one_frame_that_reaches_nothing_outside(tmp_path: Path) -> None:
    found = charrnn.load(network(tmp_path / "novel")).inspect(TEXT)
    tags = Tags()
    tags.feed(found._repr_html_())
    ((tag, attributes),) = tags.found
    assert (tag, attributes["sandbox"]) == ("iframe", "allow-scripts")
    assert attributes["srcdoc"] == found.html()
