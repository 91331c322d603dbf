from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_networks

from charrnn.analysis import calibration, verdicts
from charrnn.analysis.judge import Judge, deciding
from charrnn.analysis.verdicts import Verdicts
from charrnn.network import classifier


@pytest.mark.parametrize("together", [3, 100])
def test_figures_are_those_of_the_probabilities(together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "TOGETHER", together)
    judge = Judge(classifier.read(small_networks.classifier(tmp_path / "c") / classifier.NAME))
    texts, right = [f"is it {number}" for number in range(10)], np.arange(10) % 2
    found = Verdicts(judge)
    assert found.units(1) is None
    found.ask(texts[:4], right[:4].tolist())
    found.ask(texts[4:], right[4:].tolist())
    shares = judge.probabilities(texts)
    hits = shares.argmax(axis=1) == right
    assert len(found) == 10
    assert found.figures.accuracy == pytest.approx(hits.mean())
    assert found.calibration_error == pytest.approx(calibration.expected_error(shares.max(axis=1), hits))
    assert found.units(2) == deciding(judge.classifier, judge.features(texts[: min(together, 4)]), 2)
