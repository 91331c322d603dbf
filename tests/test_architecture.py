"""The house's floors: who may import whom, what a command may load, and that no pickle is ever touched."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from charrnn import checkpoint, rundir
from charrnn.checkpoint import Checkpoint
from charrnn.config import ModelConfig
from charrnn.vocabulary import Vocabulary

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "charrnn"

# A module imports modules of lower floors, and those of its own floor that stand before it.
FLOORS = [
    ["__init__", "limits", "config", "events", "recipe", "files"],
    [
        *["vocabulary", "reading", "corpus", "streams", "given", "cells", "columns"],
        *["tensorfile", "checkpoint", "rundir", "bookmark"],
    ],
    [
        *["filters", "stopping", "drawing", "generate", "request", "streaming", "copied"],
        *["scoring", "hidden", "advice", "features", "traces"],
    ],
    [
        "device",
        "workers",
        "kernels",
        "model",
        "torch_stepper",
        "soap",
        "muon",
        "optimizer",
        "gradients",
        "speed",
        "schedule",
        "snapshot",
        "evaluation",
        "learner",
        "trainer",
        "runs",
        "bench",
        "reach",
    ],
    [
        "notation",
        "palette",
        "tables",
        "plot",
        "charts",
        "colored",
        "page",
        "console",
        "display",
        "live",
        "sampled",
        "conversation",
    ],
    ["scored", "inspected"],
    [
        *("cli.completion", "cli.exit_codes", "cli.process", "cli.signals", "cli.options", "cli.network"),
        *("cli.train", "cli.sample", "cli.score", "cli.next", "cli.info", "cli.inspect", "cli.bench", "cli", "__main__"),
    ],
]
THIRD_PARTY = [
    set(),
    {"numpy", "safetensors"},
    {"numpy"},
    {"numpy", "torch"},
    {"numpy", "rich", "jinja2", "markupsafe"},
    {"numpy", "rich"},
    {"numpy", "typer"},
]
ORDER = [module for floor in FLOORS for module in floor]


def module_name(path: Path) -> str:
    """``cells`` or ``cli.train``; a package bears its folder's name, this one ``__init__``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def floor_of(module: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if module in floor)


def imported(tree: ast.AST) -> Iterator[str]:
    """The dotted name of everything that is imported anywhere in ``tree``, ``from a import b`` as ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, ["charrnn" if node.level else "", node.module]))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def own(tree: ast.AST) -> set[str]:
    """The package's modules that ``tree`` imports."""
    found = set()
    for name in imported(tree):
        package, *parts = name.split(".")
        if package == "charrnn":
            modules = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
            found.add(next((module for module in modules if module in SOURCES), "__init__"))
    return found


def foreign(tree: ast.AST) -> set[str]:
    """The packages that ``tree`` imports and that Python doesn't bring."""
    return {name.split(".")[0] for name in imported(tree)} - set(sys.stdlib_module_names) - {"charrnn"}


def test_the_imports_are_seen_wherever_they_stand() -> None:
    tree = ast.parse(
        "import os.path, torch.nn\nfrom charrnn import CharrnnError, cells\nfrom . import hidden\nfrom .model import CharRNN\n"
        "if TYPE_CHECKING:\n    from charrnn.corpus import Corpus\n"
        "def f():\n    import charrnn.config\n    from rich import box"
    )
    assert own(tree) == {"__init__", "cells", "hidden", "model", "corpus", "config"}
    assert foreign(tree) == {"torch", "rich"}


def test_every_module_has_its_floor() -> None:
    assert sorted(ORDER) == sorted(SOURCES)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_downwards(module: str) -> None:
    assert own(SOURCES[module]) <= set(ORDER[: ORDER.index(module)])


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_its_floors_libraries(module: str) -> None:
    assert foreign(SOURCES[module]) <= THIRD_PARTY[floor_of(module)]


def test_the_package_itself_imports_nothing() -> None:
    assert list(imported(SOURCES["__init__"])) == []


def test_the_command_line_imports_the_rooms_inside_its_commands() -> None:
    room = {module for module in SOURCES if module.split(".")[0] == "cli"}
    for module in room:
        at_once = [node for node in SOURCES[module].body if isinstance(node, ast.Import | ast.ImportFrom)]
        tree = ast.Module(body=list(at_once), type_ignores=[])
        assert own(tree) <= {"__init__", "config", "limits"} | room
        assert foreign(tree) <= {"typer"}


VERBS = {f"cli.{verb}" for verb in ("train", "sample", "score", "next", "info", "inspect", "bench")}


@pytest.mark.parametrize("module", sorted(set(ORDER) - {"__init__", "__main__"}))
def test_every_module_has_its_test_file(module: str) -> None:
    # A verb is tested with what it shows, and with the command line as a whole.
    assert module in VERBS or (ROOT / "tests" / f"test_{module.removeprefix('cli.')}.py").is_file()


# -- no pickle, no hidden randomness ----------------------------------------------------------------------------------

PICKLING = {"pickle", "cPickle", "_pickle", "shelve", "marshal", "dill", "cloudpickle", "joblib"}


def dotted(node: ast.AST) -> str:
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def attributes(tree: ast.AST) -> set[str]:
    return {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("module", ORDER)
def test_no_pickle_is_read_or_written(module: str) -> None:
    tree = SOURCES[module]
    names = set(imported(tree))
    assert not {name for name in names if PICKLING & set(name.split("."))}
    calls = names | attributes(tree)
    assert not {"torch.load", "torch.save", "torch.serialization", "np.load", "numpy.load", "np.save", "numpy.save"} & calls
    keywords = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    assert not {"allow_pickle", "weights_only"} & keywords
    assert not {"eval", "exec", "__import__"} & {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("module", ORDER)
def test_no_global_generator_is_used(module: str) -> None:
    tree = SOURCES[module]
    explicit = {"np.random.default_rng", "np.random.Generator", "np.random.PCG64", "np.random.SeedSequence"}
    assert {name for name in attributes(tree) if name.startswith("np.random.")} <= explicit
    assert not {"torch.manual_seed", "torch.seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all"} & attributes(tree)
    assert not {name for name in imported(tree) if name.split(".")[0] == "random" or name.startswith("numpy.random")}


# -- what a command may load. A process of its own says at its end which of these it has loaded. ----------------------

WATCHED = ["numpy", "torch", "torch._dynamo", "sympy", "rich", "charrnn.trainer"]
PROGRAM = f"""
import sys
from charrnn.cli import run
code = run(sys.argv[1:])
sys.stdout.flush()
print("loaded:", *[name for name in {WATCHED} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


def loaded_by(*arguments: str | Path) -> tuple[str, set[str]]:
    """The stdout of one command line, and which of the watched modules it loaded."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
    label, *names = done.stderr.splitlines()[-1].split()
    assert label == "loaded:"
    return done.stdout, set(names)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that was never trained."""
    vocabulary = Vocabulary("char", "\nab")
    model = ModelConfig(vocabulary.size, embedding_size=2, hidden_size=3)
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in model.parameter_shapes().items()}
    path = tmp_path_factory.mktemp("runs") / "run" / rundir.BEST
    path.parent.mkdir()
    checkpoint.write(path, Checkpoint(model, vocabulary, {"corpus": "nothing"}, weights))
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        *([verb, "--help"] for verb in ("train", "sample", "score", "next", "inspect", "info", "bench")),
        ["--version"],
    ],
)
def test_help_loads_neither_numpy_nor_torch(arguments: list[str]) -> None:
    stdout, loaded = loaded_by(*arguments)
    assert "charrnn" in stdout
    assert not {"numpy", "torch"} & loaded


def test_sampling_loads_no_torch(trained: Path) -> None:
    stdout, loaded = loaded_by("sample", "-n", "1", "-c", trained)
    assert stdout.removesuffix("\n") in ("", "a", "b", "\n")
    assert loaded & {"numpy", "torch", "charrnn.trainer"} == {"numpy"}


@pytest.mark.parametrize("arguments", [["score", __file__], ["score", __file__, "--lines"], ["next", "a"]])
def test_scoring_loads_no_torch(trained: Path, arguments: list[str]) -> None:
    stdout, loaded = loaded_by(*arguments, "-c", trained)
    assert stdout
    assert loaded & {"numpy", "torch", "charrnn.trainer"} == {"numpy"}


@pytest.mark.parametrize("options", [["--color", "change"], ["--json"], ["--html", "page.html"]])
def test_inspecting_loads_no_torch(trained: Path, options: list[str], tmp_path: Path) -> None:
    options = [str(tmp_path / option) if option.endswith(".html") else option for option in options]
    _, loaded = loaded_by("inspect", "ab ab", "-c", trained, *options)
    assert loaded & {"numpy", "torch", "charrnn.trainer"} == {"numpy"}


@pytest.mark.parametrize("above", [0, 1, 2])
def test_info_loads_no_torch(trained: Path, above: int) -> None:
    path = [trained, *trained.parents][above]  # the file, its run, a directory of runs
    stdout, loaded = loaded_by("info", path)
    assert "lstm" in stdout
    assert loaded & {"numpy", "torch", "charrnn.trainer"} == {"numpy"}


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_training_starts_without_torchs_compiler(cell: str, tmp_path: Path) -> None:
    """It takes as long to import as torch itself, and every run would begin with it."""
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be\n" * 40)
    arguments = ["--steps", "2", "--hidden-size", "8", "--batch-size", "2", "--cell", cell, "--out", tmp_path / "run"]
    _, loaded = loaded_by("train", text, *arguments)
    assert "torch" in loaded
    assert not {"torch._dynamo", "sympy"} & loaded


def test_importing_the_package_loads_nothing() -> None:
    program = "import sys; before = set(sys.modules); import charrnn; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["charrnn"]
