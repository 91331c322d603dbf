"""What a run is planned for: a GPU only where it is sure to be on one, and the cores that a run of minutes has."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from charrnn.config import TrainConfig
from charrnn.training import device, machine, recipe, speed


@pytest.mark.parametrize(
    ("given", "there", "expected"),
    [
        ({"minutes": 1.0}, "cuda", recipe.GPU),
        ({"minutes": 1.0}, "cpu", recipe.CPU),
        ({"minutes": 1.0}, "mps", recipe.CPU),
        ({"minutes": 1.0, "device": "cpu"}, "cuda", recipe.CPU),
        ({"steps": 9}, "cuda", recipe.CPU),
        ({"steps": 9, "device": "cuda"}, "cuda", recipe.GPU),
    ],
)
def test_a_plan_is_a_gpus_where_the_run_is_sure_to_be_on_one(
    given: dict[str, Any], there: str, expected: recipe.Hardware, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "choose_device", lambda name: torch.device(there if name == "auto" else name))
    assert machine.hardware(TrainConfig(**given)) == expected


@pytest.mark.parametrize(
    ("given", "there", "expected"),
    [
        ({"minutes": 1.0}, "cpu", recipe.cpu(8)),
        ({"minutes": 1.0, "device": "cpu"}, "cuda", recipe.cpu(8)),
        ({"minutes": 1.0}, "mps", recipe.CPU),
        ({"steps": 9}, "cpu", recipe.CPU),
        ({"epochs": 1.0, "device": "cpu"}, "cpu", recipe.CPU),
    ],
)
def test_cores_count_in_a_run_of_minutes_alone(
    given: dict[str, Any], there: str, expected: recipe.Hardware, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "choose_device", lambda name: torch.device(there if name == "auto" else name))
    assert machine.hardware(TrainConfig(**given), cores=8) == expected


@pytest.mark.parametrize(("workers", "expected"), [(None, 8), (3, 3), (16, 8)])
def test_the_cores_of_a_run_are_those_that_its_workers_take(
    workers: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert machine.cores(TrainConfig(workers=workers)) == expected


def test_a_machine_of_many_cores_is_timed_with_the_columns_that_it_will_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "of_training", lambda *how: how)
    *_, columns = machine.measured_speed(TrainConfig(minutes=1.0, device="cpu"), {}, cores=8)
    assert columns == 64


def test_the_machine_is_timed_with_the_columns_that_it_will_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(device, "choose_precision", lambda name, device: "bf16")
    monkeypatch.setattr(speed, "of_training", lambda *how: how)
    measured = machine.measured_speed(TrainConfig(minutes=1.0), {"cell": "gru"})
    assert measured == (torch.device("cuda"), "bf16", pytest.approx(0.6), "gru", None, 128)
