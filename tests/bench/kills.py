"""Kill a training process again and again with -9, at least every third time within a save, and resume it each time.

    python tests/bench/kills.py [--kills 100] [--seed 0]

After every kill both checkpoints must be absent or load; at the end of each run its weights must equal those of a run that was
never killed, bit for bit, and its log must hold every step once. Prints how often each moment was hit.
"""

from __future__ import annotations

import argparse
import collections
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import crash

STEPS = 400


def main() -> None:
    """Print the summary; exit with 1 if any weight or log differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, begun = random.Random(options.seed), time.monotonic()
    kills: collections.Counter[str] = collections.Counter()
    resumes = restarts = equal = runs = 0
    with tempfile.TemporaryDirectory() as scratch, crash.Nursery(Path(scratch, "streams")) as nursery:
        home = Path(scratch)
        (home / "tale.txt").write_text(crash.TEXT)
        fresh = ("train", "tale.txt", *crash.settings(STEPS), "--out")
        whole_begun = time.monotonic()
        code, child = nursery.run(home, *fresh, "whole")
        assert code == 0, child.stderr
        whole_seconds = time.monotonic() - whole_begun
        whole = crash.sound_files(home / "whole")
        while kills.total() < options.kills:
            runs += 1
            run, finished = home / f"run{runs}", False
            while not finished:
                if (run / "last.safetensors").exists():
                    arguments: tuple[str, ...] = ("train", "--resume", run.name, "-q")
                    resumes += 1
                else:
                    shutil.rmtree(run, ignore_errors=True)
                    arguments = (*fresh, run.name)
                    restarts += 1
                kind = "none" if kills.total() >= options.kills else rng.choice(("save", "save", "other", "any"))
                if kind in ("none", "any"):
                    point = "any moment"
                    child = nursery.start(home, *arguments)
                    if kind == "any":
                        time.sleep(rng.uniform(0, 0.1 * whole_seconds))
                        child.kill()
                    code = child.wait()
                else:
                    point = rng.choice(crash.SAVE_POINTS if kind == "save" else crash.OTHER_POINTS)
                    nth = rng.randint(1, 5 if point == "evaluation" else 30)
                    code, child = nursery.run(home, *arguments, kill=(point, nth))
                assert code in (0, -signal.SIGKILL), child.stderr
                finished = code == 0
                kills[point] += not finished
                if run.exists():
                    crash.sound_files(run)  # raises if one is not sound
            ended = crash.sound_files(run)
            assert crash.left_overs(run) == []
            assert crash.logged(run) == list(range(1, STEPS + 1)), "the log does not hold every step once"
            equal += all(crash.same_tensors(ended[name], whole[name]) for name in ("best", "last"))
    for point, count in sorted(kills.items()):
        print(f"{point:12s} {count:4d}")
    inside = sum(kills[point] for point in crash.SAVE_POINTS)
    print(f"{kills.total()} kills, {inside} of them within a save; {resumes} resumes, {restarts} starts from the beginning")
    print(f"{runs} runs of {STEPS} steps, {equal} with equal weights; {time.monotonic() - begun:.0f} s")
    sys.exit(equal != runs)


if __name__ == "__main__":
    main()
