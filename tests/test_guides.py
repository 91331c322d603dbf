"""The commands of README and of the guides run as they stand, with short budgets and small networks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COUNTER, FABLES, ROOT

GUIDES = ROOT / "docs/guide"
NAMES = [
    "Anna",
    "Berta",
    "Carla",
    "Dora",
    "Emil",
    "Frida",
    "Gustav",
    "Hanna",
    "Ida",
    "Jakob",
    "Karl",
    "Lena",
    "Max",
    "Nora",
    "Otto",
    "Paula",
    "Rosa",
    "Sofie",
    "Theo",
    "Ulla",
]
NOT_RUN = {
    "pip install": "another test's environment",
    "tail -f": "endless input",
    "nohup ": "goes on in the background",
    "torchrun": "takes seconds to start; tests/training/test_distributed.py has it",
    "--rdzv-": "needs several machines",
    "charrnn bench": "measures for a minute",
    "charrnn inspect --memory": "takes minutes on a slow machine",
    "charrnn inspect --units": "likewise",
    "charrnn export": "likewise",
}
"""What isn't run, by how it begins or what it holds, and why."""
SETTINGS = "--steps 2 --hidden-size 8 --batch-size 2 --workers 1 --device cpu"


def blocks(name: str) -> list[str]:
    """The shell blocks of a guide."""
    text = (ROOT / name if name == "README.md" else GUIDES / name).read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def shortened(line: str) -> str:
    """A command with a budget that takes no time."""
    line = re.sub(r"\s+#.*", "", line)
    if re.search(r"charrnn (train|classify fit)", line) and "--dry-run" not in line:
        line = re.sub(r" --(minutes|steps|hidden-size|batch-size|workers) \S+", "", line)
        fit = "classify fit" in line
        line = line.replace("charrnn classify fit", "charrnn classify fit --epochs 0.02 --hidden-size 8") if fit else line
        if "--resume" in line:
            return line.replace("charrnn train", "charrnn train --steps 3")
        budget = SETTINGS.replace(" --hidden-size 8", "") if "--init-from" in line else SETTINGS
        return line if fit else line.replace("charrnn train", f"charrnn train {budget}")
    return re.sub(r"(-N|-n) \d{3,}", r"\1 20", line)


def script(name: str) -> list[str]:
    """Every command of a guide that is run, as a shell reads it."""
    lines = "\n".join(blocks(name)).replace("\\\n", " ").splitlines()
    return [shortened(line) for line in lines if line.strip() and not any(key in line for key in NOT_RUN)]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A directory with the files that the guides speak of."""
    tale = (ROOT / "corpora/fables.txt").read_text(encoding="utf-8")[:6000]
    for name in ("novel.txt", "unseen.txt", "letters.txt", "app.log", "new.log"):
        (tmp_path / name).write_text(tale, encoding="utf-8")
    (tmp_path / "names.txt").write_text("\n".join(NAMES * 4) + "\n", encoding="utf-8")
    (tmp_path / "smiles.txt").write_text(
        "\n".join(["CCO", "CC(=O)O", "c1ccccc1", "CN", "CCN", "CCC"] * 10) + "\n", encoding="utf-8"
    )
    (tmp_path / "old.txt").write_bytes("Über alle Flüsse führt ein Weg.\n".encode("latin-1") * 60)
    (tmp_path / "chinese.txt").write_text("春眠不觉晓，处处闻啼鸟。\n" * 60, encoding="utf-8")
    (tmp_path / "song.mid").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "src").mkdir()
    posts = "".join(f'{{"id": {number}, "text": "the fox said to the crow: sing"}}\n' for number in range(60))
    (tmp_path / "posts.jsonl").write_text(posts, encoding="utf-8")
    reviews = "".join(f'{number},"the fox, said to the crow: sing"\n' for number in range(60))
    (tmp_path / "reviews.csv").write_text(f"stars,review\n{reviews}", encoding="utf-8")
    people = "".join(f"{name},{number}\n" for number, name in enumerate(NAMES * 4))
    (tmp_path / "people.csv").write_text(f"name,age\n{people}", encoding="utf-8")
    (tmp_path / "src/a.py").write_text("def add(a, b):\n    return a + b\n" * 60, encoding="utf-8")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/fables").symlink_to(FABLES)
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora/alphabet.txt").write_bytes((ROOT / "corpora/alphabet.txt").read_bytes())
    for name in ("intents.tsv", "intents-test.tsv"):
        lines = (ROOT / "corpora" / name).read_text(encoding="utf-8").splitlines()
        (tmp_path / "corpora" / name).write_text("\n".join(lines[:1] + lines[1::9]) + "\n", encoding="utf-8")
    return tmp_path


def tasks() -> list[str]:
    """README and the guides in shell; those in Python are tested with the documents."""
    return ["README.md", *sorted(path.name for path in GUIDES.glob("*.md") if path.name != "python.md")]


def test_there_is_a_guide_for_each_task() -> None:
    wanted = ["classify", "cluster", "code", "fine-tune", "jobs", "lists", "logs", "memory", "own-text", "runs"]
    wanted += ["troubleshooting"]
    assert tasks() == [f"{name}.md" for name in ["README", *wanted]]


def test_what_is_not_run_is_in_a_guide() -> None:
    written = "\n".join(block for name in tasks() for block in blocks(name))
    assert [key for key in NOT_RUN if key not in written + "charrnn bench"] == []


def test_the_pictures_of_the_tour_can_be_drawn_anew(tmp_path: Path) -> None:
    """They are what ``python docs/make_tour.py`` draws."""
    command = [sys.executable, ROOT / "docs/make_tour.py", "--out", tmp_path]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=100, check=True)
    for name in ("position.svg", "unit.svg"):
        drawn, kept = ((folder / name).read_text(encoding="utf-8") for folder in (tmp_path, ROOT / "docs"))
        assert re.sub("<[^>]*>", "", drawn) == re.sub("<[^>]*>", "", kept)


def test_the_units_cell_rises_along_a_line_and_falls_at_its_end() -> None:
    import charrnn

    c = charrnn.load(FABLES).states("The fox said to the crow: sing a little, and let me hear whether your\nvoice").c
    assert c is not None
    layer, unit = map(int, COUNTER.split(":"))
    cell = c[layer, :, unit]
    assert cell[2] < -0.9
    assert cell[68] > 0.5
    assert cell[71] < -0.5


def run(lines: list[str], desk: Path, forks: Path) -> subprocess.CompletedProcess[str]:
    """Run commands as a shell does that ends with the first that fails."""
    environment = {**os.environ, "PATH": f"{forks}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-e", "-c", "\n".join(lines)],
        cwd=desk,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,  # On a machine with much else to do.
        check=False,
    )


def test_a_command_that_fails_ends_a_guide(desk: Path, forks: Path) -> None:
    done = run(["charrnn info checkpoints/fables | head -1", "charrnn info nowhere", "charrnn --version"], desk, forks)
    assert done.returncode == 1
    assert done.stdout.count("\n") == 1
    assert "nowhere: No such file" in done.stderr


@pytest.mark.parametrize("name", tasks())
def test_the_commands_of_a_guide_run(name: str, desk: Path, forks: Path) -> None:
    lines = script(name)
    assert len(lines) >= 3
    done = run(lines, desk, forks)
    told = done.stderr
    assert done.returncode == 0, f"{lines}\n{told[-2000:]}"
    assert not re.search(r"--help\)|Traceback|No such file|not a usable", told), told  # Of those before a pipe, too.
