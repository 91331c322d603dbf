"""The house: which folder may import whom and which libraries, how large a room may be, what a command may load."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from charrnn.config import GATES, ModelConfig
from charrnn.network import checkpoint, rundir
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.vocabulary import Vocabulary

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "charrnn"

# A folder imports from itself and from those before it; "" holds the modules beside the folders.
LIBRARIES: dict[str, set[str]] = {
    "": set(),
    "text": {"numpy", "pyarrow"},  # for Parquet files alone, where it is installed
    "network": {"numpy", "safetensors", "threadpoolctl"},
    "generation": {"numpy", "safetensors"},
    "analysis": {"numpy"},
    "training": {"numpy", "torch"},
    "output": {"numpy", "rich", "jinja2", "markupsafe"},
    "cli": {"numpy", "typer"},
}
TOP = {"__init__": "", "__main__": "cli", "python": "cli", "trained": "cli"}
"""Where modules beside the folders belong, if not to the ground floor."""
MOST_LINES, MOST_CLASS_LINES, MOST_FUNCTION_LINES = 450, 250, 60


def module_of(path: Path) -> str:
    """The dotted name of a module below the package; the package itself is ``__init__``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


SOURCES = {module_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = sorted(SOURCES)
every_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: f"module {module}")
"""One law, which pytest counts once for each module: such tests grow with the modules, not with what they promise."""
VERBS = {
    f"cli.{verb}"
    for verb in ("train", "sample", "score", "encode", "next", "info", "inspect", "export", "cache", "bench", "classify")
}
"""A verb is tested with what it shows, and with the command line as a whole (`test_cli`)."""


def folder_of(module: str) -> str:
    """The folder that a module lies in; one of those beside the folders lies in ""."""
    first = module.split(".")[0]
    return first if first in LIBRARIES else TOP.get(first, "")


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
        first, *parts = name.split(".")
        if first == "charrnn":
            # The longest beginning of the name that is a module; what follows is defined in it.
            names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
            found.add(next((known for known in names if known in SOURCES), "__init__"))
    return found


def foreign(tree: ast.AST) -> set[str]:
    """The packages that ``tree`` imports and that Python doesn't bring."""
    return {name.split(".")[0] for name in imported(tree)} - set(sys.stdlib_module_names) - {"charrnn"}


def test_the_imports_are_seen_wherever_they_stand() -> None:
    tree = ast.parse(
        "import os.path, torch.nn\nfrom charrnn import CharrnnError\nfrom charrnn.network import cells\n"
        "if TYPE_CHECKING:\n    from charrnn.text.corpus import Corpus\n"
        "def f():\n    import charrnn.config\n    from rich import box"
    )
    assert own(tree) == {"__init__", "network.cells", "text.corpus", "config"}
    assert foreign(tree) == {"torch", "rich"}


def test_the_folders_are_those_of_the_design() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == LIBRARIES.keys() - {""}


@every_module
def test_no_folder_imports_upwards(module: str) -> None:
    order = list(LIBRARIES)
    allowed = order[: order.index(folder_of(module)) + 1]
    lazily = {"python"} if module == "__init__" else set()
    assert {name for name in own(SOURCES[module]) if folder_of(name) not in allowed} == lazily


@every_module
def test_a_folder_imports_only_its_libraries(module: str) -> None:
    assert foreign(SOURCES[module]) <= LIBRARIES[folder_of(module)]


def test_there_is_no_circle_within_a_folder() -> None:
    # What the package itself offers, it imports when somebody asks for it.
    left = {module: own(tree) - {module} for module, tree in SOURCES.items() if module != "__init__"} | {"__init__": set()}
    while free := {module for module, needs in left.items() if not needs & left.keys()}:
        left = {module: needs for module, needs in left.items() if module not in free}
    assert left == {}


def test_the_package_itself_imports_the_python_door_alone() -> None:
    assert own(SOURCES["__init__"]) == {"python"}
    assert not [node for node in SOURCES["__init__"].body if isinstance(node, ast.Import | ast.ImportFrom)]


def test_nothing_else_goes_through_the_python_door() -> None:
    assert [module for module, tree in SOURCES.items() if "python" in own(tree)] == ["__init__"]


def test_python_takes_whatever_the_command_line_takes() -> None:
    from charrnn.config import SampleConfig, TrainConfig
    from charrnn.keywords import ManySettings, TrainSettings, fields

    train = fields(ModelConfig).keys() | fields(TrainConfig).keys()
    others = {"dropout", "out", "overwrite", "resume", "allow_changed_corpus", "init_from", "val_lines"}
    assert TrainSettings.__annotations__.keys() == train | others
    # Beside the arguments of their own, and what is for terminals and files.
    apart = {"length", "seed", "temp", "num_samples", "encoding", "errors", "field", "device", "color"}
    others = {"stop", "keep_stop", "bias", "clamp", "unique", "not_in"}
    assert ManySettings.__annotations__.keys() == (fields(SampleConfig).keys() - apart) | others


@pytest.mark.parametrize("module", [name for name in MODULES if folder_of(name) == "cli"], ids=lambda name: f"module {name}")
def test_the_command_line_imports_the_rooms_inside_its_commands(module: str) -> None:
    at_once = [node for node in SOURCES[module].body if isinstance(node, ast.Import | ast.ImportFrom)]
    tree = ast.Module(body=list(at_once), type_ignores=[])
    assert {name for name in own(tree) if folder_of(name) not in ("", "cli")} <= {"training.recipe"}
    assert foreign(tree) <= {"typer"}


@pytest.mark.parametrize(
    "module",
    sorted(set(MODULES) - LIBRARIES.keys() - VERBS - {"__init__", "__main__"}),
    ids=lambda name: f"module {name}",
)
def test_every_module_has_its_file_of_tests(module: str) -> None:
    *folders, name = module.split(".")
    path = ROOT / "tests" / Path(*folders) / f"test_{name}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert any(isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in tree.body)


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest, which imports each by its name alone, would collect one of them and refuse the other."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def clocks(source: str) -> list[str]:
    """The calls in decorators of a module that give something else in every second: gzip's header has the time in it."""
    decorators = [one for node in ast.walk(ast.parse(source)) for one in getattr(node, "decorator_list", [])]
    calls = [call for one in decorators for call in ast.walk(one) if isinstance(call, ast.Call)]
    return [
        ast.unparse(call)
        for call in calls
        if re.fullmatch(r"gzip\.compress|time\.\w+|datetime\..*", ast.unparse(call.func))
        and not any(given.arg == "mtime" for given in call.keywords)
    ]


def test_every_process_that_tests_collects_the_same_ones() -> None:
    """A parameter is part of a test's name; pytest-xdist ends the whole run where two of its processes find other names."""
    assert clocks("@case(gzip.compress(A), gzip.compress(B, mtime=0), time.time())\ndef test(): gzip.compress(C)\n") == [
        "gzip.compress(A)",
        "time.time()",
    ]
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert {path.name: found for path in files if (found := clocks(path.read_text(encoding="utf-8")))} == {}


def test_the_design_tells_of_every_module_of_a_folder_and_of_no_other() -> None:
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    for folder in LIBRARIES:
        section = re.search(r"^### `charrnn/`$(.*?)^##" if not folder else rf"^### `{folder}/`$(.*?)^##", text, re.M | re.S)
        assert section, folder
        rows = re.findall(r"^\| (`.*?`) \|", section[1], re.M)
        told = sorted(name for row in rows for name in re.findall(r"`(\w+)`", row) if name != folder)
        # A folder within one is a room like a module.
        own = {module.removeprefix(f"{folder}.").split(".")[0] for module in MODULES if folder_of(module) == folder}
        assert told == sorted(own - {folder}), folder


# -- how large a room may be ------------------------------------------------------------------------------------------


def lines_of(node: ast.stmt) -> int:
    """The lines of a class or function: of a function those of its body without its docstring."""
    assert node.end_lineno is not None
    if isinstance(node, ast.ClassDef):
        return node.end_lineno - node.lineno + 1
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return node.end_lineno - body[0].lineno + 1 if body else 0


@every_module
def test_no_room_is_too_large(module: str) -> None:
    tree = SOURCES[module]
    last = tree.body[-1].end_lineno if tree.body else 0
    assert last is not None
    assert last <= MOST_LINES
    limits = {ast.ClassDef: MOST_CLASS_LINES, ast.FunctionDef: MOST_FUNCTION_LINES, ast.AsyncFunctionDef: MOST_FUNCTION_LINES}
    nodes = [node for node in ast.walk(tree) if isinstance(node, tuple(limits))]
    assert {node.name: size for node in nodes if (size := lines_of(node)) > limits[type(node)]} == {}


# -- from the command to the arithmetic -------------------------------------------------------------------------------

PATHS = {
    "train": ["cli.train", "training.runs", "training.trainer", "training.learner", "training.gradients"],
    "sample": ["cli.sample", "output.sampled", "generation.batches", "generation.together", "network.stepper"],
    "score": ["cli.score", "output.scored", "analysis.scoring", "network.columns", "network.stepper"],
    "classify": ["cli.classify", "output.classified", "analysis.judge", "network.columns", "network.cells"],
    "inspect": ["cli.inspect", "output.inspected", "analysis.traces", "network.columns", "network.cells"],
}
"""From the verb to the module that computes one step's gradient, or what one character does to the state."""


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_a_command_reaches_the_arithmetic_through_five_modules(path: list[str]) -> None:
    assert len(path) <= 5
    for module, below in pairwise(path):
        assert below in own(SOURCES[module]), f"{module} doesn't call {below}"


# -- no pickle, no hidden randomness ----------------------------------------------------------------------------------

PICKLING = {"pickle", "cPickle", "_pickle", "shelve", "marshal", "dill", "cloudpickle", "joblib"}


def dotted(node: ast.AST) -> str:
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def attributes(tree: ast.AST) -> set[str]:
    return {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@every_module
def test_no_pickle_is_read_or_written(module: str) -> None:
    tree = SOURCES[module]
    names = set(imported(tree))
    assert not {name for name in names if PICKLING & set(name.split("."))}
    calls = names | attributes(tree)
    assert not {"torch.load", "torch.save", "torch.serialization", "np.load", "numpy.load", "np.save", "numpy.save"} & calls
    keywords = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    assert not {"allow_pickle", "weights_only"} & keywords
    assert not {"eval", "exec", "__import__"} & {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@every_module
def test_no_global_generator_is_used(module: str) -> None:
    tree = SOURCES[module]
    explicit = {"np.random.default_rng", "np.random.Generator", "np.random.PCG64", "np.random.SeedSequence"}
    assert {name for name in attributes(tree) if name.startswith("np.random.")} <= explicit
    assert not {"torch.manual_seed", "torch.seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all"} & attributes(tree)
    assert not {name for name in imported(tree) if name.split(".")[0] == "random" or name.startswith("numpy.random")}


# -- what a command may load. A process of its own says at its end which of these it has loaded. ----------------------

WATCHED = ["numpy", "torch", "torch._dynamo", "sympy", "rich", "charrnn.training.trainer", "charrnn.cli.train"]
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
        *(
            [verb, "--help"]
            for verb in ("train", "sample", "score", "encode", "next", "inspect", "export", "info", "cache", "bench")
        ),
        *(["classify", verb, "--help"] for verb in ("fit", "predict", "evaluate")),
        ["classify", "--help"],
        ["--version"],
    ],
)
def test_help_loads_neither_numpy_nor_torch(arguments: list[str]) -> None:
    stdout, loaded = loaded_by(*arguments)
    assert "charrnn" in stdout
    assert not {"numpy", "torch"} & loaded


def test_sampling_loads_no_torch_and_no_other_verb(trained: Path) -> None:
    stdout, loaded = loaded_by("sample", "-n", "1", "-c", trained)
    assert stdout.removesuffix("\n") in ("", "a", "b", "\n")
    assert loaded & {"numpy", "torch", "rich", "charrnn.training.trainer", "charrnn.cli.train"} == {"numpy"}


@pytest.mark.parametrize("arguments", [["score", __file__], ["score", __file__, "--lines"], ["next", "a"]])
def test_scoring_loads_no_torch(trained: Path, arguments: list[str]) -> None:
    stdout, loaded = loaded_by(*arguments, "-c", trained)
    assert stdout
    assert loaded & {"numpy", "torch", "charrnn.training.trainer", "charrnn.cli.train"} == {"numpy"}


@pytest.mark.parametrize(
    "options",
    [
        ["--color", "change"],
        ["--json"],
        ["--html", "page.html"],
        ["--memory", "--contribution", "ab"],
        ["--contribution", "ab"],
    ],
)
def test_inspecting_loads_no_torch(trained: Path, options: list[str], tmp_path: Path) -> None:
    options = [str(tmp_path / option) if option.endswith(".html") else option for option in options]
    text = [] if options[0] == "--contribution" else ["ab ab " * 70]  # It has one of its own.
    _, loaded = loaded_by("inspect", *text, "-c", trained, *options)
    assert loaded & {"numpy", "torch", "charrnn.training.trainer", "charrnn.cli.train"} == {"numpy"}


def test_exporting_loads_no_torch(trained: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("ab ab " * 70)
    _, loaded = loaded_by("export", tmp_path / "page.html", "-c", trained, "--file", text)
    assert loaded & {"numpy", "torch", "charrnn.training.trainer"} == {"numpy"}


@pytest.mark.parametrize("above", [0, 1, 2])
def test_info_loads_no_torch(trained: Path, above: int) -> None:
    path = [trained, *trained.parents][above]  # the file, its run, a directory of runs
    stdout, loaded = loaded_by("info", path)
    assert "lstm" in stdout
    assert loaded & {"numpy", "torch", "charrnn.training.trainer", "charrnn.cli.train"} == {"numpy"}


@pytest.mark.parametrize("cell", list(GATES))
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


def test_the_python_door_loads_torch_for_training_alone(trained: Path) -> None:
    program = (
        "import sys, charrnn\n"
        f"net = charrnn.load({str(trained)!r})\n"
        "net.sample(n=3), net.score('ab'), net.next('a'), net.states('ab'), net.inspect('ab')\n"
        "print(*sorted({'torch', 'typer', 'numpy'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout.split(), done.stderr) == (["numpy"], "")
