"""Whether a text is a page of the web as its file holds it: most of what a network learns of it are tags."""

from __future__ import annotations

import re
from collections.abc import Iterator

from charrnn.text.corpus import Corpus

_SEEN = 4096
"""How many characters tell it, from the beginning on."""
_PAGE = re.compile(r"(?is)\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html\b|html[\s>])")


def advise(corpus: Corpus) -> Iterator[str]:
    """A line for somebody who trains on a page of HTML; none for other texts."""
    if _PAGE.match(corpus.vocabulary.decode(corpus.ids[:_SEEN])):
        yield "this begins as a page of HTML, whose tags are learned, too; for its words alone save it as plain text"
