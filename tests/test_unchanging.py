"""What never changes is shared, not copied."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
from small_networks import classifier, network

import charrnn


def test_what_never_changes_is_its_own_copy_and_can_not_be_pickled(tmp_path: Path) -> None:
    """As joblib and multiprocessing try to; NumPy's libraries, which it holds, would fail in words of their own."""
    net = charrnn.load(network(tmp_path / "n"))
    judge = charrnn.load_classifier(classifier(tmp_path / "c"))
    assert copy.copy(net) is copy.deepcopy(net) is net
    assert copy.deepcopy([judge]) == [judge]
    for one, loader in ((net, "load"), (judge, "load_classifier")):
        with pytest.raises(TypeError, match=rf"can't be pickled; let each process load its own by charrnn\.{loader}$"):
            pickle.dumps(one)
