"""Scores, distributions and states as objects; their numbers are tested where they are made."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.analysis.results import NextCharacter, Score
from charrnn.analysis.scoring import Scorer
from charrnn.config import ModelConfig
from charrnn.network.cells import Network
from charrnn.text.vocabulary import Vocabulary


def test_a_distribution_is_a_mapping_in_order() -> None:
    found = NextCharacter("x", ("b", "a"), np.array([0.75, 0.25]), 0.81)
    assert dict(found) == {"b": 0.75, "a": 0.25}
    assert found.top(1) == [("b", 0.75)]
    assert repr(found) == "<next: 'b' 75.0%, 'a' 25.0%; entropy 0.81 bits>"
    with pytest.raises(KeyError):
        found["c"]


def test_unknown_characters_have_no_bits_and_no_rank() -> None:
    vocabulary = Vocabulary("char", "\nab")
    model = ModelConfig(vocabulary.size, embedding_size=2, hidden_size=2)
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in model.parameter_shapes().items()}
    scorer = Scorer(Network(model, weights), vocabulary, details=True, workers=1)
    tally, pieces = scorer.tally(), []
    for piece in scorer.pieces([vocabulary.units("a?b")]):
        tally.add(piece)
        pieces.append(piece)
    score = Score.of(pieces, tally, scorer, details=True, records=False)
    assert score.char_bits.tolist()[::2] == [2.0, 2.0]
    assert np.isnan(score.char_bits[1])
    assert score.ranks is not None
    assert score.ranks[1] == 0
    assert (score.bits, score.characters, score.unknown, score.records) == (4.0, 2, 1, None)
