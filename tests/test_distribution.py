"""What is in the wheel and the sdist, built without a network."""

from __future__ import annotations

import email
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

from charrnn import __version__

NAME = f"charrnn_cli-{__version__}"
"""The distribution's; the package is called charrnn."""

DATA = {
    "charrnn/output/page/classify.css",
    "charrnn/output/page/classify.html",
    "charrnn/output/page/classify.js",
    "charrnn/output/page/document.html",
    "charrnn/output/page/export.css",
    "charrnn/output/page/export.html",
    "charrnn/output/page/export.js",
    "charrnn/output/page/judge.js",
    "charrnn/output/page/lessons.js",
    "charrnn/output/page/network.js",
    "charrnn/output/page/page.css",
    "charrnn/output/page/page.html",
    "charrnn/output/page/page.js",
    "charrnn/output/page/painting.js",
    "charrnn/output/page/player.js",
    "charrnn/output/page/shared.css",
    "charrnn/output/page/shared.html",
    "charrnn/output/page/shared.js",
    "charrnn/py.typed",
}
"""What the package needs besides modules."""

TOP = {
    ".gitignore",  # hatchling wants it to build the same wheel from the sdist
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "PKG-INFO",
    "README.md",
    "charrnn",
    "checkpoints",
    "corpora",
    "docs",
    "pyproject.toml",
    "tests",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with wheel and sdist."""
    directory = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", directory]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    assert sorted(path.name for path in directory.iterdir()) == [f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz"]
    return directory


@pytest.fixture
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl")


@pytest.fixture
def sdist(built: Path) -> set[str]:
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        return {name.removeprefix(f"{NAME}/") for name in archive.getnames()}


def modules() -> set[str]:
    return {str(path.relative_to(ROOT)) for path in (ROOT / "charrnn").rglob("*.py")}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    about = {f"{NAME}.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert set(wheel.namelist()) == modules() | DATA | about


def test_the_wheel_tells_name_licence_and_command(wheel: zipfile.ZipFile) -> None:
    facts = email.message_from_bytes(wheel.read(f"{NAME}.dist-info/METADATA"))
    assert (facts["Name"], facts["Version"], facts["License-Expression"]) == ("charrnn-cli", __version__, "MIT")
    assert facts["Requires-Python"] == ">=3.10"
    supported = [line for line in facts.get_all("Classifier", []) if line.startswith("Programming Language :: Python :: 3.")]
    assert [line.rpartition(".")[2] for line in supported] == ["10", "11", "12", "13", "14"]
    assert wheel.read(f"{NAME}.dist-info/entry_points.txt").split() == [
        b"[console_scripts]",
        b"charrnn",
        b"=",
        b"charrnn.cli:main",
    ]


def test_the_sdist_holds_what_builds_documents_and_tests(sdist: set[str]) -> None:
    assert {name.partition("/")[0] for name in sdist} == TOP
    assert modules() | DATA <= sdist
    assert {"corpora/fables.txt", "docs/design.md", "tests/conftest.py", "tests/fixtures/7c89b3b/lstm/log.jsonl"} <= sdist


def test_the_sdist_holds_the_shipped_networks_and_nothing_of_a_persons_own(sdist: set[str]) -> None:
    runs = {name for name in sdist if name.startswith("checkpoints/")}
    shipped = ("README.md", "fables/best.safetensors", "fables/log.jsonl", "intents/classifier.safetensors")
    assert runs == {f"checkpoints/{name}" for name in shipped}
    assert [name for name in sdist if "__pycache__" in name or name.endswith((".pyc", ".orig", ".log", ".tmp"))] == []


def test_what_checks_the_code_is_pinned() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{tool}==' in text for tool in ("pytest", "ruff", "mypy"))
    assert '"hypothesis>=6.100,<=' in text


def test_the_licence_is_mit_by_the_authors() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License\n\nCopyright (c) ")
    assert "the charrnn authors\n" in text.splitlines(keepends=True)[2]
