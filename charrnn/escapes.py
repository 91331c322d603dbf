"""Characters that are hard to type: backslash escapes to text."""

from __future__ import annotations

import re

from charrnn import UsageError

_NAMED = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.|$)", re.DOTALL)


def decode(text: str, option: str) -> str:
    r"""``text`` with ``\n``, ``\t``, ``\r``, ``\0``, ``\\``, ``\uXXXX`` and ``\UXXXXXXXX`` replaced by what they mean.

    Anything else behind a backslash, and a number that is no character's, is a `UsageError` that names ``option``.
    """

    def character(match: re.Match[str]) -> str:
        escape = match[1]
        if escape in _NAMED:
            return _NAMED[escape]
        code = int(escape[1:], 16) if len(escape) > 1 else -1
        if not 0 <= code < 0x110000 or 0xD800 <= code < 0xE000:
            raise UsageError(rf"{option}: \{escape} is no escape; there are \n, \t, \r, \0, \\, \uXXXX and \UXXXXXXXX")
        return chr(code)

    return _ESCAPE.sub(character, text)
