"""afresh: a network of records reads each record as if nothing had stood before it, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_networks import network, records

from charrnn.analysis.reach import gradient_reach, measure
from charrnn.config import GATES, ModelConfig
from charrnn.network import initial
from charrnn.network.afresh import RecordNetwork
from charrnn.network.cells import Array, Network
from charrnn.text.records import Records

Invoke = Callable[..., Any]
CELLS = sorted(GATES)
IDS = np.array([[0, 3, 1, 0, 2, 2, 1, 0, 3], [2, 0, 1, 1, 3, 3, 0, 0, 1]]).T  # (T, N); 0 is the newline
STARTS = [[0, 3, 7, 9], [1, 6, 7, 9]]


def both(cell: str, pair_keys: tuple[int, ...] = ()) -> tuple[RecordNetwork, Network]:
    config = ModelConfig(4, cell, embedding_size=3, hidden_size=5, num_layers=2, pair_keys=pair_keys)
    weights = initial.draw(config, np.random.default_rng(0))
    if pair_keys:
        weights["pairs.weight"] = np.random.default_rng(1).standard_normal((len(pair_keys), 3))
    return RecordNetwork(config, weights, 0), Network(config, weights)


def begun(net: Network) -> Array:
    return np.random.default_rng(1).standard_normal(net.initial_state(2).shape).astype(np.float32)


@pytest.mark.parametrize("pair_keys", [(), tuple(range(0, 16, 2))])
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_read_of_a_record_is_what_is_read_of_it_alone(cell: str, pair_keys: tuple[int, ...]) -> None:
    anew, plain = both(cell, pair_keys)
    logits, after, traces = anew.unroll(IDS, begun(anew))
    for stream, starts in enumerate(STARTS):
        for begin, end in pairwise(starts):
            alone, _, seen = plain.unroll(IDS[begin:end, stream : stream + 1])
            np.testing.assert_allclose(logits[begin:end, stream], alone[:, 0], atol=1e-6)
            np.testing.assert_allclose(traces[1].h[begin:end, stream], seen[1].h[:, 0], atol=1e-6)
    first, _, _ = plain.unroll(IDS[:1, 1:], begun(anew)[:, :, 1:])
    np.testing.assert_allclose(logits[0, 1], first[0, 0], atol=1e-6)  # What the text begins with goes on from its state.
    state = begun(anew)
    step = anew.stepper(state)
    np.testing.assert_allclose([step(ids).copy() for ids in IDS], logits, atol=1e-5)
    np.testing.assert_allclose(state, after, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_no_gradient_goes_back_past_the_beginning_of_a_record(cell: str) -> None:
    anew, plain = both(cell)
    assert anew.carries(IDS).T.tolist() == [[False] * 8 + [True], [False] * 8 + [True]]
    ids: NDArray[Any] = np.array([[1, 2, 0, 3, 1, 2]])
    mean = gradient_reach(anew, ids, anew.initial_state(1))
    alone = gradient_reach(plain, ids[:, 2:], plain.initial_state(1))
    np.testing.assert_allclose(mean[:3], alone[:3], atol=1e-6)
    assert mean[3:].tolist() == [0, 0, 0]
    assert (mean[:3] > 0).all()


def test_memory_reaches_as_far_as_the_longest_record() -> None:
    anew, _ = both("lstm")
    found = measure(anew, np.tile([0, 1, 2, 3], 40), lags=20, windows=50)
    assert np.abs(found.withheld[4:]).max() < 1e-6
    assert found.gradient[2] > 0 == found.gradient[4:].max()


def test_an_inspection_costs_a_list_the_bits_that_its_score_does(invoke: Invoke, here: Path) -> None:
    network(here / "list", records=Records(9, 1, 0, 0, 9, 5.0).to_json())
    (here / "names.txt").write_text("The fox\nthe end\nfox\n" * 30)
    (scored,) = records(invoke("score", "names.txt", "--json", "-c", "list"))
    (found,) = records(invoke("inspect", "--file", "names.txt", "--json", "-c", "list"))
    assert found["bits_per_char"] == pytest.approx(scored["bits_per_char"], rel=1e-4)
    (share,) = records(invoke("inspect", "--contribution", "The fox\nfox", "--json", "-c", "list"))
    assert share["contribution"][:7] == [0] * 7
    assert sum(share["contribution"]) == pytest.approx(1)
