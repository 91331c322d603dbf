"""Between two log points a run asks nothing of its device: no number is read, nothing is copied back."""

from __future__ import annotations

from typing import Any

import pytest
from small_runs import DROPOUT, OPTIMIZERS, only, run, trainer_of
from torch.overrides import TorchFunctionMode

from charrnn.training import gradients, learner, soap
from charrnn.training.learner import Learner
from charrnn.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")

READS = {"item", "tolist", "numpy", "cpu", "equal", "nonzero", "masked_select", "unique", "is_nonzero"}
READS |= {"__bool__", "__float__", "__int__", "__index__", "__contains__", "__repr__"}


class Watch(TorchFunctionMode):
    """Notes what would make a GPU's queue run empty. On a CPU the same calls cost nothing, and can be seen all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = list[str]()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, given = getattr(function, "__name__", ""), [*args[1:], *(kwargs or {}).values()]
        if name in READS or (name == "to" and any(isinstance(where, str) and where == "cpu" for where in given)):
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("cell", "precision"), [("lstm", "fp32"), ("gru", "fp32"), ("gru", "fp16")])
def test_no_step_reads_a_number(optimizer, cell, precision, monkeypatch):
    monkeypatch.setattr(learner, "choose_precision", lambda *_: precision)  # On a CPU the GRU's kernel alone knows fp16.
    watch, round_of = Watch(), Trainer._timed_round

    def watched(self: Trainer, *how: Any) -> float:
        with watch:
            return round_of(self, *how)

    monkeypatch.setattr(Trainer, "_timed_round", watched)
    monkeypatch.setattr(soap, "turn", soap.turn_without_waiting)
    monkeypatch.setattr(gradients, "_can_be_asked", lambda tensor: False)
    events, _ = run(trainer_of(cell=cell, optimizer=optimizer, steps=24, log_every=12, workers=1, **DROPOUT))
    assert [event["step"] for event in only(events, "step")] == [12, 24]
    assert watch.seen == []


def test_a_step_that_reads_a_number_is_found(monkeypatch):
    watch, step = Watch(), Learner.step

    def reading(self: Learner, lr: float) -> Any:
        loss, watched = step(self, lr)
        with watch:
            float(loss), bool(loss > 1), watched.to("cpu"), watched.cpu(), watched.tolist()
        return loss, watched

    monkeypatch.setattr(Learner, "step", reading)
    run(trainer_of(steps=1))
    assert watch.seen == ["__float__", "__bool__", "to", "cpu", "tolist"]
