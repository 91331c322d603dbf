"""The exit codes: what the manual says, what the errors mean."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

from charrnn import CharrnnError, UsageError
from charrnn.cli import exit_codes
from charrnn.cli.exit_codes import ExitCode
from charrnn.output.console import StdoutClosedError, StdoutError


def test_the_readme_lists_every_exit_code() -> None:
    table = (ROOT / "docs/manual.md").read_text(encoding="utf-8").split("| exit code | meaning |")[1].split("\n\n")[0]
    listed = [int(code) for cell in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in cell.split(", ")]
    assert sorted(listed) == sorted(ExitCode)


@pytest.mark.parametrize(
    ("error", "code"),
    [(CharrnnError, 1), (UsageError, 2), (StdoutError, 1), (StdoutClosedError, 141)],
)
def test_an_error_has_its_exit_code(error: type[CharrnnError], code: int) -> None:
    assert exit_codes.of(error("what went wrong")) == code
