"""What a network gains that learns from the text it scores (`score --adapt`), by rate, decay and characters between two steps.

    python tests/bench/dynamic.py NETWORK TEXT [--from 0.9] [--characters 40000] [--rates 1e-3] [--decays 2e-3] [--chunks 64]
        [--priors 200]

The text is read from a share of it on (0.9: the tenth that training held out), so many characters of it. Nats per character,
without and with adapting, uncalibrated and calibrated, and the seconds of the processor for 100,000 characters.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from pathlib import Path

import numpy as np

from charrnn.analysis.scoring import Scorer
from charrnn.network import checkpoint, lookup
from charrnn.network.ensemble import calibrated
from charrnn.training import adapt
from charrnn.training.adapt import Adaptation, AdaptingScorer


def measured(scorer: Scorer, text: str) -> str:
    """What ``scorer`` makes of ``text``, as a row."""
    points = np.array([ord(character) for character in text], dtype=np.uint32)
    tally, began = scorer.tally(), time.process_time()
    for piece in scorer.pieces([points]):
        tally.add(piece)
    seconds = (time.process_time() - began) * 1e5 / len(text)
    found = tally.to_json()
    plain, calibrated_nats = found["uncalibrated_bits_per_char"] or math.nan, found["nats_per_char"] or math.nan
    return f"{plain * math.log(2):8.4f} {calibrated_nats:8.4f} {seconds:6.1f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--from", dest="begin", type=float, default=0.0)
    parser.add_argument("--characters", type=int, default=10**9)
    how = Adaptation()
    parser.add_argument("--rates", type=float, nargs="+", default=[how.rate])
    parser.add_argument("--decays", type=float, nargs="+", default=[how.decay])
    parser.add_argument("--chunks", type=int, nargs="+", default=[adapt.CHUNK])
    parser.add_argument("--priors", type=float, nargs="+", default=[how.prior])
    given = parser.parse_args()
    trained = checkpoint.read(lookup.resolve(given.network))
    text = given.text.read_text(encoding="utf-8")
    text = text[int(len(text) * given.begin) :][: given.characters]
    print(f"{'rate':>8} {'decay':>8} {'chunk':>6} {'prior':>6} {'raw':>8} {'nats':>8} {'s':>6}")
    print(f"{'-':>8} {'-':>8} {'-':>6} {'-':>6} {measured(Scorer(calibrated(trained), trained.vocabulary), text)}", flush=True)
    for rate, decay, chunk, prior in itertools.product(given.rates, given.decays, given.chunks, given.priors):
        adapt.CHUNK = chunk
        row = measured(AdaptingScorer(trained, adaptation=Adaptation(rate=rate, decay=decay, prior=prior)), text)
        print(f"{rate:8g} {decay:8g} {chunk:6} {prior:6g} {row}", flush=True)


if __name__ == "__main__":
    main()
