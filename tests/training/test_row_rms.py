"""How large the gradients of rows are: measured in every step, kept in every checkpoint, the same however a run is shared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import corpus_of, random_text, run, trainer_of

from charrnn import CharrnnError
from charrnn.config import ModelConfig
from charrnn.network import checkpoint
from charrnn.training import row_rms
from charrnn.training.model import CharRNN
from charrnn.training.row_rms import RowRMS

MATRICES = ("embedding.weight", "rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.weight")


def a_model() -> CharRNN:
    return CharRNN(ModelConfig(5, embedding_size=3, hidden_size=4))


def gradients(model: CharRNN, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(weight.shape, generator=generator) for weight in model.weights().values()]


def test_it_is_a_running_root_of_the_mean_square_of_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_rms, "MEMORY", 0.6)
    model = a_model()
    found, squares = RowRMS(model.weights()), {}
    for step, kept in enumerate([0.0, 0.5, 0.6, 0.6], 1):
        own = dict(zip(model.weights(), gradients(model, step), strict=True))
        found.add(found.measured(list(own.values())), step, torch.tensor(1.0))
        for name in MATRICES:
            square = own[name].square().mean(dim=1)
            squares[name] = square if step == 1 else kept * squares[name] + (1 - kept) * square
    assert set(found.tensors()) == {checkpoint.ROW_RMS + name for name in MATRICES}
    for name in MATRICES:
        np.testing.assert_allclose(found.tensors()[checkpoint.ROW_RMS + name], squares[name].sqrt(), rtol=1e-5)


@pytest.mark.parametrize("norm", [float("inf"), float("nan")])
def test_a_step_without_a_finite_gradient_counts_for_nothing(norm: float) -> None:
    model = a_model()
    found = RowRMS(model.weights())
    found.add(found.measured(gradients(model, 0)), 1, torch.tensor(1.0))
    before = {name: row.clone() for name, row in found.tensors().items()}
    found.add([square * norm for square in found.measured(gradients(model, 1))], 2, torch.tensor(norm))
    assert all(torch.equal(row, before[name]) for name, row in found.tensors().items())


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_checkpoint_holds_it(workers: int, precision: str) -> None:
    trainer = trainer_of(corpus_of(random_text(600), 100), "lstm", steps=6, eval_every=2, workers=workers, precision=precision)
    _, store = run(trainer)
    for kind in ("best", "last"):
        found = store.latest(kind).row_rms
        assert set(found) == set(MATRICES)
        assert all((rms >= 0).all() and rms.max() > 0 for rms in found.values()), kind
    assert set(store.latest("best").extra) == {checkpoint.ROW_RMS + name for name in MATRICES}


def test_a_run_that_has_none_yet_begins_with_its_next_step() -> None:
    corpus = corpus_of(random_text(600), 100)
    _, store = run(trainer_of(corpus, steps=4))
    last = store.latest("last")
    older = replace(last, extra={name: value for name, value in last.extra.items() if not name.startswith(checkpoint.ROW_RMS)})
    _, rest = run(trainer_of(corpus, steps=6, resume=older))
    assert rest.latest("last").row_rms["head.weight"].max() > 0


def test_it_takes_little_room() -> None:
    for hidden in (64, 128, 448):
        model = ModelConfig(65, embedding_size=64, hidden_size=hidden)
        rows = sum(shape[0] for shape in model.parameter_shapes().values() if len(shape) > 1)
        assert rows < 0.02 * model.parameters


def test_one_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    _, store = run(trainer_of(corpus_of(random_text(600), 100), steps=2))
    best = store.latest("best")
    checkpoint.write(path, replace(best, extra={**best.extra, "row_rms.head.weight": np.ones(2, dtype=np.float32)}))
    with pytest.raises(CharrnnError, match=r"row_rms\.head\.weight is .*expected"):
        checkpoint.read(path)
