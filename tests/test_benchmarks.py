"""The scripts of `tests/bench` that call into the program fit it still."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from conftest import ROOT

SCRIPTS = sorted((ROOT / "tests" / "bench").glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"script {path.stem}")
def test_a_script_can_be_imported(path, monkeypatch):
    monkeypatch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location(f"bench_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.main)


def test_streaming_is_measured():
    code = "import streaming; streaming.CHARACTERS = 100; import sys; print(*streaming.measure(), file=sys.stderr)"
    place = ROOT / "tests" / "bench"
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert all(float(seconds) > 0 for seconds in done.stderr.split())
    assert len(done.stdout.rstrip("\n")) >= 90
