"""How well `charrnn classify` tells texts apart that it has never seen, beside a logistic regression on character n-grams.

    python tests/bench/classify.py intents
    python tests/bench/classify.py surnames --file surnames.tsv
    python tests/bench/classify.py assistant            # or enquiries: made by sentences.py
    python tests/bench/classify.py files --file train.tsv --test test.tsv   # any texts with labels
    python tests/bench/classify.py distance             # LSTM, GRU and RNN on texts whose first word decides

A run with each of ``--seeds``, options as they are by default but those of ``--fit '--minutes 1'``. It prints the runs, their
medians and the yardsticks. ``--runs DIR`` keeps the classifiers; those that are there already are not fitted again, so runs can
be made one by one. No text is both learned from and tested on. The n-grams learn from all of the former, while the network
keeps a tenth to validate on. A difference stands beside its standard error, from the texts that only one of both has right.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sentences
from sentences import Row

from charrnn.analysis.judge import Figures, Judge, confusion
from charrnn.analysis.ngrams import NgramClassifier
from charrnn.config import GATES
from charrnn.network import classifier

ROOT = Path(__file__).parents[2]
SIZES = {"assistant": (12_000, 1_000), "enquiries": (4_500, 900)}
"""How many sentences are learned from, and tested on."""
DISTANCES = (5, 10, 20, 30, 40, 50, 75, 100, 150, 200)
LEARNED, ASKED = 4_000, 200
"""How many texts are learned from, and asked at each distance."""
CELLS = tuple(GATES)


class Task(NamedTuple):
    """Texts to learn from and others to be tested on."""

    name: str
    train: list[Row]
    test: list[Row]

    @property
    def labels(self) -> list[str]:
        """All labels."""
        return sorted({label for _, label in self.train})


def rows_of(path: Path) -> list[Row]:
    """The rows of a TSV file with a header."""
    _, *lines = path.read_text(encoding="utf-8").splitlines()
    return [(text, label) for text, _, label in (line.partition("\t") for line in lines)]


def surnames(path: Path) -> Task:
    """Every fifth name is tested, by a hash, so that equal ones are on one side."""
    sides: dict[bool, list[Row]] = {True: [], False: []}
    for text, label in rows_of(path):
        sides[hashlib.sha256(text.encode()).digest()[0] % 5 == 0].append((text, label))
    return Task("surnames", sides[False], sides[True])


def task_of(kind: str, path: Path | None, test: Path | None = None, farthest: int = DISTANCES[-1]) -> Task:
    """The task of a name."""
    if kind == "files":
        if path is None or test is None:
            sys.exit("files: which? --file FILE to learn from and --test FILE, two columns with a header each")
        return Task(path.stem, rows_of(path), rows_of(test))
    if kind == "intents":
        return Task(kind, *(rows_of(ROOT / "corpora" / name) for name in ("intents.tsv", "intents-test.tsv")))
    if kind == "surnames":
        if path is None:
            sys.exit("surnames: where are they? --file FILE, two columns with a header")
        return surnames(path)
    if kind == "distance":
        train = sentences.first_word(LEARNED, 0, range(DISTANCES[0], farthest + 1))
        return Task(kind, train, sentences.first_word(ASKED * len(DISTANCES), 1, DISTANCES))
    learned, tested = SIZES[kind]
    rows = sentences.MAKERS[kind](learned + tested, 0)
    return Task(kind, rows[:learned], rows[learned:])


def fitted(task: Task, runs: Path, name: str, options: Sequence[str]) -> Judge:
    """The classifier ``name`` of a task, fitted now unless it is there already."""
    place, texts = runs / name, runs / f"{task.name}.tsv"
    if not (place / classifier.NAME).exists():
        runs.mkdir(parents=True, exist_ok=True)
        texts.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in task.train), encoding="utf-8")
        command = [sys.executable, "-m", "charrnn", "classify", "fit", texts, "--out", place, "--json", "-q", *options]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return Judge(classifier.read(place / classifier.NAME))


def said_by(judge: Judge, task: Task) -> list[str]:
    """The label that a classifier gives each text of the test."""
    found = judge.probabilities([text for text, _ in task.test])
    return [judge.classifier.labels[number] for number in found.argmax(axis=1)]


def said_by_ngrams(task: Task) -> list[str]:
    """The label that the yardstick gives each text of the test."""
    labels = task.labels
    numbers = np.array([labels.index(label) for _, label in task.train])
    yardstick = NgramClassifier([text for text, _ in task.train], numbers, len(labels))
    return [labels[number] for number in yardstick.predict([text for text, _ in task.test])]


def best_possible(rows: Sequence[Row]) -> float:
    """The accuracy of one who always gives equal texts the label that most of them have."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for text, label in rows:
        counts[text][label] += 1
    return sum(max(found.values()) for found in counts.values()) / len(rows)


def figures(task: Task, said: Sequence[str]) -> Figures:
    """Accuracy and F1 of what was said."""
    labels = sorted({*task.labels, *(label for _, label in task.test)})
    number = {label: place for place, label in enumerate(labels)}
    pairs = [number[label] for _, label in task.test], [number[label] for label in said]
    return Figures(tuple(labels), confusion(*pairs, len(labels)))


def beside(task: Task, said: Sequence[str], yardstick: Sequence[str]) -> tuple[float, float]:
    """By how much accuracy is above that of a yardstick, and the standard error of that."""
    right = [label for _, label in task.test]
    differences = np.array([(a == c) - (b == c) for a, b, c in zip(said, yardstick, right, strict=True)], dtype=float)
    return float(differences.mean()), float(differences.std() / math.sqrt(len(differences)))


def table(task: Task, runs: Path, seeds: Sequence[int], options: Sequence[str]) -> None:
    """The runs of a task, their medians, the yardsticks."""
    yardstick = said_by_ngrams(task)
    print(f"{len(task.train):,} texts to learn from, {len(task.test):,} to be tested on, {len(task.labels)} labels\n")
    print(f"{'':28}{'accuracy':>9}{'macro F1':>10}{'above n-grams':>22}   network, passes, seconds")
    found = []
    for seed in seeds:
        judge = fitted(task, runs, f"{task.name}-{seed}", ["--seed", str(seed), *options])
        said = said_by(judge, task)
        one, (above, error) = figures(task, said), beside(task, said, yardstick)
        found.append((one.accuracy, one.macro_f1, above))
        model, facts = judge.classifier.model, judge.classifier.training
        network = f"{model.cell} {model.num_layers} x {model.hidden_size}, {judge.classifier.config.feature}"
        facts_shown = f"{facts.get('passes', 0):.0f}, {facts['seconds']:.0f}"
        differs = f"{100 * above:+.1f} (s.e. {100 * error:.1f})"
        print(f"{f'seed {seed}':28}{one.accuracy:9.1%}{one.macro_f1:10.1%}{differs:>22}   {network}, {facts_shown}", flush=True)
    middle = [statistics.median(values) for values in zip(*found, strict=True)]
    print(f"{'median':28}{middle[0]:9.1%}{middle[1]:10.1%}{100 * middle[2]:+22.1f}")
    one = figures(task, yardstick)
    print(f"{'n-grams':28}{one.accuracy:9.1%}{one.macro_f1:10.1%}")
    commonest, _ = Counter(label for _, label in task.train).most_common(1)[0]
    one = figures(task, [commonest] * len(task.test))
    print(f"{f'always {commonest}':28}{one.accuracy:9.1%}{one.macro_f1:10.1%}")
    print(f"{'best possible, equal texts':28}{best_possible(task.test):9.1%}")


def by_distance(task: Task, runs: Path, cells: Sequence[str], seeds: Sequence[int], options: Sequence[str]) -> None:
    """Accuracy of each cell by the distance of the deciding word from the end, from the last hidden state."""
    print(f"right answers by distance, median of seeds {', '.join(map(str, seeds))}; chance is {1 / len(task.labels):.1%}")
    print(f"{'':8}" + "".join(f"{distance:7}" for distance in DISTANCES))
    for cell in cells:
        rows = []
        for seed in seeds:
            given = ["--cell", cell, "--feature", "last", "--seed", str(seed), *options]
            said = said_by(fitted(task, runs, f"{cell}-{seed}", given), task)
            hits = [a == label for a, (_, label) in zip(said, task.test, strict=True)]
            rows.append([sum(hits[place :: len(DISTANCES)]) / ASKED for place in range(len(DISTANCES))])
        print(f"{cell:8}" + "".join(f"{statistics.median(column):7.1%}" for column in zip(*rows, strict=True)), flush=True)


def main() -> None:
    """Fit, test, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["intents", "surnames", *SIZES, "distance", "files"])
    parser.add_argument("--file", type=Path, help="the surnames with their languages, or the texts to learn from")
    parser.add_argument("--test", type=Path, help="the texts to be tested on, of files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
    parser.add_argument("--farthest", type=int, default=DISTANCES[-1], help="how far away the word is at most in learned texts")
    parser.add_argument("--fit", default="", help="more options of charrnn classify fit")
    parser.add_argument("--runs", type=Path)
    given = parser.parse_args()
    task, options = task_of(given.task, given.file, given.test, given.farthest), shlex.split(given.fit)
    with tempfile.TemporaryDirectory() as scratch:
        runs = given.runs or Path(scratch)
        if given.task == "distance":
            by_distance(task, runs, given.cells, given.seeds, options)
        else:
            table(task, runs, given.seeds, options)


if __name__ == "__main__":
    main()
