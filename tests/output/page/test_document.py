"""What every page of the program is: one file that loads nothing, and in which nothing of a user's is markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from charrnn.output.page import document

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x> & \u2028\u2029 ]]>"


def test_data_holds_no_character_that_html_could_read() -> None:
    made = document.inert({HOSTILE: [HOSTILE, 1.5, None]})
    assert not re.search(r"[<>&\u2028\u2029]", made)
    assert json.loads(made) == {HOSTILE: [HOSTILE, 1.5, None]}


def test_the_policy_names_the_one_script_that_may_run_and_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    template = '<meta content="{{ policy }}"><style>{{ style }}</style>{{ name }}<i>{{ data }}</i><script>{{ script }}</script>'
    monkeypatch.setattr(document, "resource", lambda name: template if name == "t.html" else f"/* {name} */")
    html = document.render("t.html", ["a.js", "b.js"], ["a.css"], data=HOSTILE, name=HOSTILE)
    (script,) = re.findall("<script>(.*?)</script>", html, re.DOTALL)
    assert script == "/* a.js *//* b.js */"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall('content="(.*?)"', html)
    assert policy.replace("&#39;", "'").split("; ") == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert "<style>/* a.css */</style>" in html
    assert html.count("<script>") == 1


@pytest.mark.parametrize("name", ["classify.html", "export.html", "page.html"])
def test_what_stands_around_a_page_is_written_once(name: str) -> None:
    template = document.resource(name)
    assert template.startswith('{% extends "document.html" %}\n')
    assert not re.search(r"<(!doctype|html|head>|meta|title|link|style|body|script)", template)
