"""A self-contained HTML document: a template with its scripts, its style and its data. It loads nothing, and runs nothing else.

Whatever a template is given goes through Jinja2's escaping; data for scripts becomes JSON that can't hold a tag. The document's
policy names the hash of the one script that may run, and forbids loading anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


def render(
    template: str, scripts: Sequence[str], styles: Sequence[str], data: Any, *, style_attributes: bool = True, **values: Any
) -> str:
    """The document of a ``template``, which finds ``script``, ``style``, ``policy`` and ``data`` beside its own ``values``.

    ``scripts`` and ``styles`` are names of files beside this module, in the order in which they stand in the document. Where
    its elements need no ``style_attributes``, its policy allows the one style sheet alone.
    """
    script, style = ("".join(map(resource, names)) for names in (scripts, styles))
    allowed = "'unsafe-inline'" if style_attributes else _hash(style)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(resource)
    )
    return environment.get_template(template).render(
        script=Markup(script),  # noqa: S704 - our own file
        style=Markup(style),  # noqa: S704 - our own file
        policy=f"default-src 'none'; style-src {allowed};"
        f" script-src {_hash(script)}; img-src data:; base-uri 'none'; form-action 'none'",
        data=inert(data),
        **values,
    )


def _hash(text: str) -> str:
    """How a policy names the one inline script or style that it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def resource(name: str) -> str:
    """The text of a file that is installed beside this module."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def inert(value: Any) -> Markup:
    """``value`` as JSON that holds no character with a meaning in HTML."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - made harmless above
