"""What identifies a text: a digest of its files' bytes, and one of its characters, whatever the line ends and the encoding."""

from __future__ import annotations

import codecs
import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FARTHEST = 1 << 24
"""So many raw bytes may wait for their characters; of a table, whose texts are but a part of it, all might."""


class TextDigest:
    """Two SHA-256 digests, fed with a text's raw bytes and the code points (or bytes) that were read from them.

    Most texts are UTF-8 with LF already: as long as their characters are the very bytes, they are hashed once.
    """

    def __init__(self, level: str) -> None:
        self._bytes_are_text = level == "byte"
        self._text = hashlib.sha256()
        self._raw: Any = None  # a digest of its own once characters and bytes differ
        self._behind = b""  # raw bytes whose characters are still to come

    def update(self, raw: bytes, codes: NDArray[Any]) -> None:
        """Take the next block of raw bytes, and the code points that it completes."""
        text = raw if self._bytes_are_text else _utf_8(codes)
        if self._raw is None:
            seen = self._behind + raw if self._behind else raw
            if seen.startswith(text) and len(seen) - len(text) < _FARTHEST:
                self._behind = seen[len(text) :]
            else:
                self._raw = self._text.copy()
                self._raw.update(seen)
        else:
            self._raw.update(raw)
        self._text.update(text)

    @property
    def of_bytes(self) -> str:
        """The digest of all raw bytes so far, in hexadecimal digits."""
        if self._raw is not None:
            return str(self._raw.hexdigest())
        raw = self._text.copy()
        raw.update(self._behind)
        return raw.hexdigest()

    @property
    def of_text(self) -> str:
        """The digest of the UTF-8 of all characters so far, lone surrogates included; at level ``byte`` `of_bytes`."""
        return self._text.hexdigest()


def _utf_8(codes: NDArray[Any]) -> bytes:
    if codes.dtype == np.uint8 and (len(codes) == 0 or int(codes.max()) < 0x80):
        return codes.tobytes()
    text, _ = codecs.utf_32_le_decode(codes.astype("<u4", copy=False).data, "surrogatepass")
    return text.encode("utf-8", "surrogatepass")
