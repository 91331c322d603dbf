"""Where the products are computed, in what precision, and by how many threads."""

from __future__ import annotations

import pytest
import torch

from charrnn import CharrnnError, UsageError
from charrnn.device import choose_device, choose_precision


def test_a_device_that_is_not_there_is_one_line_with_those_that_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("cuda", "mps"):
        with pytest.raises(CharrnnError, match=rf"--device {name}: .*usable here: cpu$"):
            choose_device(name)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


def test_auto_prefers_cuda_to_mps_to_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_fp16_off_cuda_is_an_error_that_names_what_is_legal(device):
    with pytest.raises(UsageError, match=rf"--precision fp16 needs --device cuda, this run is on {device}; try bf16 or fp32"):
        choose_precision("fp16", torch.device(device))
    assert choose_precision("fp16", torch.device("cuda")) == "fp16"


@pytest.mark.parametrize(
    ("abilities", "expected"),
    [({}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"amx_bf16": False, "avx2": True}, "fp32")],
)
def test_auto_precision_is_bf16_where_the_cpu_multiplies_it(monkeypatch, abilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)
    assert choose_precision("auto", torch.device("cpu")) == expected
    assert choose_precision("auto", torch.device("mps")) == "fp32"
    for name in ("fp32", "bf16"):
        assert choose_precision(name, torch.device("cpu")) == name


def test_auto_precision_on_cuda_is_bf16_where_the_gpu_has_it(monkeypatch):
    for there, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True, there=there: there)
        assert choose_precision("auto", torch.device("cuda")) == expected
