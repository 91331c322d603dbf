"""Laws of texts that are drawn together: each is the text drawn alone, whatever stands beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from charrnn.config import GATES, ModelConfig
from charrnn.generation.drawing import Drawing, Sampler, generator
from charrnn.generation.generate import generate, prime
from charrnn.generation.stopping import Ending, Stops, Text
from charrnn.generation.together import Beginning, Completion, complete
from charrnn.network.cells import Network

PROMPTS = [np.array([3, 1, 4]), np.array([1]), np.array([5, 5, 0, 2, 6, 1, 3])]
SETTINGS = [
    {"temperature": 1.0},
    {"temperature": 0},
    {"temperature": 0.3, "temperature_end": 2.0, "length": 40},
    {"temperature": 0.9, "top_k": 3, "banned": 2},
    {"temperature": 1.2, "typical": 0.8, "top_p": 0.9, "min_p": 0.05},
    {"temperature": 1.0, "repetition_penalty": 1.3, "repetition_window": 5},
    {"temperature": 1.0, "bias": np.array([0, -math.inf, 1.5, 0, 0, 0, 0])},
]


def random_network(cell: str = "lstm", layers: int = 1) -> Network:
    config = ModelConfig(vocab_size=7, cell=cell, embedding_size=4, hidden_size=8, num_layers=layers)
    rng = np.random.default_rng(2)
    return Network(config, {name: rng.normal(0, 0.7, size) for name, size in config.parameter_shapes().items()})


def beginnings(network: Network, texts: int, seed: int = 7) -> Iterator[Beginning]:
    """So many texts, from three prompts in turn."""
    for index in range(texts):
        prompt = PROMPTS[index % 3]
        yield Beginning(*prime(network, prompt), prompt, generator(seed, index))


def told(found: Completion) -> tuple[list[int], str, int | None]:
    return found.ids.tolist(), found.reason, found.stop


@pytest.mark.parametrize("options", SETTINGS)
@pytest.mark.parametrize("cell", list(GATES))
def test_a_text_of_a_batch_is_the_text_drawn_alone(cell: str, options: dict[str, object]) -> None:
    """Of 25 texts 4 are drawn at a time, so most take the place of another."""
    network, drawing = random_network(cell, 2), Drawing(**options)  # type: ignore[arg-type]
    ending = Ending(40, Stops([np.array([1, 3]), np.array([6, 6])], 7), 3, 0)
    together = list(complete(network, beginnings(network, 25), drawing, ending, rows=4, measured=True))
    assert len(together) == 25
    for index, found in enumerate(together):
        prompt = PROMPTS[index % 3]
        alone = Sampler(generator(7, index), drawing, measured=True)
        alone.read(prompt)
        text = Text(generate(network, *prime(network, prompt), alone), ending)
        ids = list(text)
        assert told(found) == (ids, text.reason, text.stop)
        assert alone.bits is not None
        assert found.bits == pytest.approx(sum(list(alone.bits)[: len(ids)]), abs=1e-3)


def test_texts_of_a_batch_end_differently_in_that_test() -> None:
    network, ending = random_network("lstm", 2), Ending(30, Stops([np.array([1, 3])], 7), 5, 0)
    found = list(complete(network, beginnings(network, 60), Drawing(temperature=1.0), ending, rows=4))
    assert {completion.reason for completion in found} == {"stop", "lines", "length"}
    assert len({len(completion.ids) for completion in found}) > 10


@pytest.mark.parametrize("rows", [1, 7, 30, 64])
@pytest.mark.parametrize("refill", [True, False])
def test_how_many_are_drawn_at_a_time_changes_no_text(rows: int, refill: bool) -> None:
    network, ending = random_network("gru"), Ending(200, Stops([np.array([2])], 7))
    expected, found = (
        list(map(told, complete(network, beginnings(network, 30), Drawing(temperature=1.0), ending, rows=each, refill=how)))
        for each, how in [(30, False), (rows, refill)]
    )
    assert found == expected


class Watched:
    """A network that keeps how many texts each step was for."""

    def __init__(self, network: Network) -> None:
        self._network, self.steps = network, list[int]()

    def stepper(self, state: np.ndarray) -> object:
        step = self._network.stepper(state)
        return lambda ids: (self.steps.append(len(ids)), step(ids))[1]


def test_the_batch_stays_full_as_long_as_there_are_texts() -> None:
    network = Watched(random_network())
    texts, ending = beginnings(network._network, 300), Ending(400, lines=1, newline=0)
    found = list(complete(network, texts, Drawing(temperature=1.0), ending, rows=8))  # type: ignore[arg-type]
    characters = sum(len(completion.ids) for completion in found)
    assert characters / sum(network.steps) > 0.9


def test_texts_come_in_order_and_a_long_one_holds_back_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.generation.together.AHEAD", 2)
    network, begun = random_network(), list[int]()

    def counted() -> Iterator[Beginning]:
        for number, beginning in enumerate(beginnings(network, 40)):
            begun.append(number)
            yield beginning

    found = complete(network, counted(), Drawing(temperature=1.0), Ending(500, lines=1, newline=0), rows=4)
    for taken, _ in enumerate(found):
        assert len(begun) <= taken + 1 + 2 * 4
    assert len(begun) == 40


def test_whoever_wants_no_more_gets_no_more() -> None:
    network, over, begun = random_network(), list[bool](), list[Beginning]()

    def endless() -> Iterator[Beginning]:
        while True:
            begun.append(Beginning(*prime(network, PROMPTS[0]), PROMPTS[0], generator(1)))
            yield begun[-1]

    found = complete(network, endless(), Drawing(), Ending(None), rows=2, stopped=lambda: over.append(True) or len(over) > 20)
    assert list(found) == []
    assert len(begun) == 2


def test_texts_of_no_characters_need_no_draw() -> None:
    network = random_network()
    found = list(complete(network, beginnings(network, 5), Drawing(), Ending(0), rows=2))
    assert [told(one) for one in found] == [([], "length", None)] * 5
