"""The pages' JavaScript without a browser: a program of node's that follows the page's own files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import Any

import pytest

from charrnn.output.page import document

NODE = os.environ.get("CHARRNN_NODE") or shutil.which("node") or shutil.which("nodejs")
needs_node = pytest.mark.skipif(NODE is None, reason="no node on the path; apt-get install nodejs, or name one in CHARRNN_NODE")


def evaluate(files: list[str], program: str, data: Any) -> Any:
    """What ``program``, the body of a function of ``data`` that follows the page's ``files``, returns."""
    assert NODE is not None
    source = "".join(map(document.resource, files))
    source += f"\nconst run = (data) => {{{program}}};\n"
    source += 'process.stdout.write(JSON.stringify(run(JSON.parse(require("fs").readFileSync(0, "utf8")))));\n'
    done = subprocess.run(
        [NODE, "-e", source], input=json.dumps(data), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def complaints(source: str) -> list[str]:
    """What a careful reader would not let pass in a script of a page; comments and texts in it don't count."""
    code = re.sub(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", '""', source)
    code = re.sub(r"^\s*//.*$|\s//.*$", "", code, flags=re.MULTILINE)
    rules = {
        "doesn't begin with use strict": r"\A(?!\s*\"\";)",
        "compares loosely": r"[^=!]==[^=]|!=[^=]",
        "declares by var": r"\bvar\s",
        "makes markup or code of text": r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|eval|Function)\b",
        "loads something": r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|importScripts|sendBeacon|Worker|import)\b",
        "leaves a trace of its writing": r"\bconsole\.|\bdebugger\b|\balert\(",
    }
    return [name for name, rule in rules.items() if re.search(rule, code)]
