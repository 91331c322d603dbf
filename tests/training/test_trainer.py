"""Laws of training: what a step computes, which events come and when, and what a run in trouble leaves."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_networks import OF_TORCH
from small_runs import (
    DROPOUT,
    KERNELS,
    OPTIMIZERS,
    PLAIN,
    Clock,
    Store,
    corpus_of,
    naive_nats,
    only,
    random_text,
    run,
    same_weights,
    trainer_of,
    validation,
)

from charrnn.config import GATES, ModelConfig, TrainConfig
from charrnn.network import checkpoint
from charrnn.network.cells import Network
from charrnn.text.excerpts import spread
from charrnn.text.streams import Streams
from charrnn.training import device, evaluation, learner, recipe, schedule
from charrnn.training.events import keys
from charrnn.training.model import CharRNN
from charrnn.training.soap import BETAS as SOAP_BETAS
from charrnn.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")
every_cell = pytest.mark.parametrize("cell", list(GATES))
every_cell_of_torch = pytest.mark.parametrize("cell", OF_TORCH)
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU")


# -- evaluation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_weights_are_the_same_bit_for_bit_with_and_without_evaluations(precision):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    finals = []
    for every in (1, 1000):
        trainer = trainer_of(steps=25, eval_every=every, **DROPOUT, precision=precision)
        events, store = run(trainer)
        assert len(only(events, "eval")) == (25 if every == 1 else 1)
        finals.append(store.latest("last"))
    assert same_weights(finals[0].weights, finals[1].weights)
    assert same_weights(finals[0].extra, finals[1].extra)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_the_validation_figure_is_the_validation_text_s():
    trainer = trainer_of(steps=5, eval_every=5)
    events, store = run(trainer)
    corpus = trainer.corpus
    network = Network(trainer.model.config, store.latest("best").weights)
    bits = naive_nats(network, corpus.ids, corpus.train_characters, len(corpus.ids), 256) / 100 / math.log(2)
    assert only(events, "eval")[-1]["val_bits_per_char"] == pytest.approx(bits, rel=1e-5)
    assert events[-1]["best_val_bits_per_char"] == pytest.approx(bits, rel=1e-5)
    assert store.latest("best").training["val_bits_per_char"] == events[-1]["best_val_bits_per_char"]


def test_a_longer_validation_text_is_scored_in_part_during_and_in_whole_after_the_run(monkeypatch):
    monkeypatch.setattr(schedule, "MAX_EVALUATION_CHARACTERS", 300)
    corpus = corpus_of(random_text(1600), 1000)
    trainer = trainer_of(corpus, steps=12, eval_every=4, val_whole=True)
    worse = itertools.count()  # each part scores worse than the one before, so that the best weights are not the last

    real = evaluation.validate

    def rising(model, corpus, excerpt, *more):
        found = real(model, corpus, excerpt, *more)
        return replace(found, bits=found.bits + next(worse)) if excerpt.characters == 300 else found

    monkeypatch.setattr(evaluation, "validate", rising)
    events, store = run(trainer)
    best = store.latest("best")
    assert best.training["step"] == 4
    model = CharRNN(best.model)
    model.load(best.weights)
    part, whole = (real(model, corpus, spread(corpus, n)).bits for n in (300, 1000))
    assert part != pytest.approx(whole, rel=1e-5)
    assert min(event["val_bits_per_char"] for event in only(events, "eval")) == pytest.approx(part, rel=1e-6)
    assert events[-1]["best_val_bits_per_char"] == pytest.approx(whole, rel=1e-6)
    assert best.training["val_bits_per_char"] == events[-1]["best_val_bits_per_char"]
    # The weights to go on with are the latest ones, whatever the best ones scored.
    assert store.latest("last").training["step"] == 12


# -- one step --------------------------------------------------------------------------------------------------------


def test_the_first_steps_loss_is_the_loss_of_the_first_chunk_by_the_equations():
    trainer = trainer_of(steps=3, log_every=1, seed=5)
    config, corpus = trainer.config, trainer.corpus
    first = Streams(corpus.ids[: corpus.train_characters], config.batch_size, config.bptt, config.seed).batch(0)
    logits = Network(trainer.model.config, trainer.model.export()).unroll(first.inputs.T)[0].astype(np.float64)
    nats = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, first.targets.T[..., None].astype(int), -1)[..., 0]
    events, _ = run(trainer)
    assert events[0]["bits_per_char"] == pytest.approx(nats.mean() / math.log(2), rel=1e-5)


@every_cell_of_torch
@pytest.mark.parametrize("groups", [1, 3])
def test_the_state_flows_into_the_next_chunk_and_the_gradient_does_not(cell, groups, monkeypatch):
    """By torch.nn and autograd, with weights that (almost) do not move; the next chunk is a turn of all groups later."""
    monkeypatch.setattr(learner, "RESET_SHARE", 0.0)
    trainer = trainer_of(cell=cell, steps=1 + groups, groups=groups, log_every=1, lr=1e-12, weight_decay=0.0)
    assert trainer.streams.groups == groups
    w = {name: torch.from_numpy(value).requires_grad_() for name, value in trainer.model.export().items()}

    def chunk(step, state):
        batch = trainer.streams.batch(step)
        inputs, targets = (torch.from_numpy(part.astype(np.int64)) for part in (batch.inputs, batch.targets))
        kernel = KERNELS[cell](5, 8, batch_first=True)
        names = {f"{name}0": w[f"rnn.{name}0"] for name in ("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l")}
        x = w["embedding.weight"][inputs]
        out, state = torch.func.functional_call(kernel, names, (x, state) if state is not None else (x,))
        logits = out @ w["head.weight"].T + w["head.bias"]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()), state

    def norm_of(loss):
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(w.values()), retain_graph=True)]).norm().item()

    _, state = chunk(0, None)
    cut, _ = chunk(groups, tuple(s.detach() for s in state) if cell == "lstm" else state.detach())
    uncut, _ = chunk(groups, state)
    fresh, _ = chunk(groups, None)
    events, _ = run(trainer)
    got = only(events, "step")[groups]
    assert got["bits_per_char"] == pytest.approx(cut.item() / math.log(2), rel=1e-5)
    assert got["bits_per_char"] != pytest.approx(fresh.item() / math.log(2), rel=1e-4)
    assert got["grad_norm"] == pytest.approx(norm_of(cut), rel=1e-4)
    assert got["grad_norm"] != pytest.approx(norm_of(uncut), rel=1e-3)


@pytest.mark.parametrize(("groups", "later"), [(1, 0), (3, 0), (3, 2)])
def test_the_state_is_zero_again_where_an_epoch_begins(groups, later, monkeypatch):
    """In every group."""
    monkeypatch.setattr(learner, "RESET_SHARE", 0.0)
    trainer = trainer_of(lr=1e-12, weight_decay=0.0, steps=40, log_every=1, groups=groups)
    assert trainer.streams.groups == groups
    step = trainer.streams.chunks_per_epoch + later
    assert 2 < step < 40
    batch = trainer.streams.batch(step)
    logits = Network(trainer.model.config, trainer.model.export()).unroll(batch.inputs.T)[0].astype(np.float64)
    nats = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, batch.targets.T[..., None].astype(int), -1)[..., 0]
    events, _ = run(trainer)
    assert only(events, "step")[step]["bits_per_char"] == pytest.approx(nats.mean() / math.log(2), rel=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("share", [0.01, 1000.0])
def test_gradients_are_clipped_by_their_global_norm_and_reported_unclipped(share, optimizer):
    """After one step AdamW's first moment is a tenth of the gradient that it was given, SOAP's a share of it in another
    basis, and Muon's momentum a twentieth.
    """
    norm = only(run(trainer_of(steps=1, optimizer=optimizer))[0], "step")[0]["grad_norm"]
    events, store = run(trainer_of(steps=1, optimizer=optimizer, grad_clip=norm * share))
    moments = store.latest("last").extra
    given = [10 * value for name, value in moments.items() if ".exp_avg." in name]
    given += [value / (1 - SOAP_BETAS[0]) for name, value in moments.items() if ".rotated_avg." in name]
    given += [20 * value for name, value in moments.items() if ".momentum_buffer." in name]
    assert len(given) == len(trainer_of().model.weights())
    total = math.sqrt(sum((value.astype(np.float64) ** 2).sum() for value in given))
    assert total == pytest.approx(norm * min(share, 1), rel=1e-4)
    assert events[0]["grad_norm"] == pytest.approx(norm, rel=1e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_shrinks_matrices_and_never_biases(optimizer):
    """With no gradient to speak of (clipped to 1e-30), a step multiplies matrices by 1 - rate x decay."""
    trainer = trainer_of(steps=8, log_every=1, lr=0.1, weight_decay=0.5, grad_clip=1e-30, optimizer=optimizer)
    trainer.model.load({name: np.ones(value.shape, dtype=np.float32) for name, value in trainer.model.export().items()})
    events, store = run(trainer)
    factor = math.prod(1 - 0.5 * event["learning_rate"] for event in only(events, "step"))
    assert factor < 0.9
    for name, value in store.latest("last").weights.items():
        np.testing.assert_allclose(value, factor if value.ndim == 2 else 1.0, rtol=1e-4, err_msg=name)


@every_cell
def test_an_easy_text_is_learnt(cell):
    corpus = corpus_of("abcdefgh" * 100, 80)
    events, _ = run(trainer_of(corpus, cell=cell, hidden=16, steps=80, lr=2e-2, eval_every=80))
    assert only(events, "eval")[0]["val_bits_per_char"] < 0.3 < math.log2(8) / 4


def test_the_seed_decides_every_bit():
    def weights(seed):
        return run(trainer_of(steps=12, **DROPOUT, seed=seed))[1].latest("last").weights

    one = weights(1)
    assert same_weights(one, weights(1))
    assert not any(np.array_equal(value, other) for value, other in zip(one.values(), weights(2).values(), strict=True))


def test_dropout_differs_from_step_to_step_and_matters(monkeypatch):
    """Nothing moves here but the masks: a text of one repeated chunk, the state always fresh."""
    monkeypatch.setattr(learner, "RESET_SHARE", 1.0)
    corpus = corpus_of("ab" * 300)
    quiet = only(run(trainer_of(corpus, steps=6, log_every=1, lr=1e-12))[0], "step")
    noisy = only(run(trainer_of(corpus, steps=6, log_every=1, lr=1e-12, **DROPOUT))[0], "step")
    assert max(event["bits_per_char"] for event in quiet) - min(event["bits_per_char"] for event in quiet) < 1e-5
    assert len({event["bits_per_char"] for event in noisy}) == 6


# -- workers ---------------------------------------------------------------------------------------------------------


@every_cell
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_worker_and_several_make_the_same_losses(cell, optimizer):
    """To the rounding of sums; the masks and the fresh starts are drawn for all columns, however they are shared out.

    Each cell and each optimizer with one layer and with two.
    """
    layers = 1 + (list(GATES).index(cell) + OPTIMIZERS.index(optimizer)) % 2
    settings = {"steps": 12, "log_every": 1, "eval_every": 6, "batch_size": 6, "optimizer": optimizer, **DROPOUT}
    rounding = 1e-4 if optimizer == "soap" else 1e-5  # SOAP's bases turn with it: 3e-6 of an RNN, 2e-5 of an update-gate RNN
    runs = [run(trainer_of(cell=cell, layers=layers, workers=count, **settings))[0] for count in (1, 2, 3)]
    for other in runs[1:]:
        for name, key in (("step", "bits_per_char"), ("eval", "val_bits_per_char")):
            one, several = ([event[key] for event in only(events, name)] for events in (runs[0], other))
            assert several == pytest.approx(one, rel=rounding)


@every_cell
def test_the_same_number_of_workers_makes_the_same_weights_bit_for_bit(cell):
    finals = [run(trainer_of(cell=cell, steps=12, workers=2, hidden=24, **DROPOUT))[1].latest("last") for _ in range(3)]
    for other in finals[1:]:
        assert same_weights(finals[0].weights, other.weights)
        assert same_weights(finals[0].extra, other.extra)


def test_workers_are_told_and_end_with_the_run():
    trainer = trainer_of(cell="lstm", steps=3, workers=3)
    assert trainer.describe()["workers"] == 3
    threads = torch.get_num_threads()
    seen = set()
    for _ in trainer.run(Store()):
        seen.add(len([thread for thread in threading.enumerate() if thread.name.startswith("charrnn-worker")]))
    assert max(seen) in (2, 3)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("charrnn-worker")]
    assert torch.get_num_threads() == threads
    with contextlib.closing(trainer_of(cell="lstm", steps=3, workers=3).run(Store())) as events:
        next(events)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("charrnn-worker")]
    assert torch.get_num_threads() == threads


# -- the schedule ----------------------------------------------------------------------------------------------------


def test_the_rate_warms_up_over_2_percent_then_falls_along_a_half_cosine_to_1_percent():
    rates = [event["learning_rate"] for event in only(run(trainer_of(steps=200, log_every=1, lr=0.01))[0], "step")]
    # Step s of 200 is trained with the rate in its middle, (s + 1/2) / 200.
    assert rates[:4] == pytest.approx([0.00125, 0.00375, 0.00625, 0.00875])
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[4:]))
    assert (rates[101] + rates[102]) / 2 == pytest.approx(0.01 * (0.01 + 0.99 / 2), rel=0.02)
    assert rates[-1] == pytest.approx(0.0001, rel=0.01)


def test_a_schedule_in_steps_knows_no_clock():
    rates = []
    for start in (0.0, 1000.0):
        clock = Clock()
        clock.now = start
        events = run(trainer_of(steps=30, log_every=1, clock=clock))[0]
        rates.append([event["learning_rate"] for event in only(events, "step")])
    assert rates[0] == rates[1]


@pytest.mark.parametrize("length", [{"steps": 1}, {"steps": 3}, {"epochs": 0.5}, {"minutes": 0.002}])
def test_every_rate_of_a_short_run_is_above_0_and_at_most_the_peak(length):
    events = only(run(trainer_of(log_every=1, lr=0.01, **length))[0], "step")
    assert events
    assert all(0 < event["learning_rate"] <= 0.01 for event in events)


@pytest.mark.parametrize("epochs", [0.5, 2.0])
def test_epochs_are_passes_over_the_training_text(epochs):
    trainer = trainer_of(epochs=epochs)
    end = run(trainer)[0][-1]
    assert end["step"] == round(epochs * trainer.streams.chunks_per_epoch)
    assert end["epochs"] == pytest.approx(epochs, abs=0.1)


# -- the budget of minutes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tick", "seconds"), [(0.004, 2), (0.01, 3), (0.02, 6)])
def test_a_run_oversteps_its_minutes_by_at_most_5_percent(tick, seconds):
    clock = Clock(tick)
    end = run(trainer_of(clock=clock, minutes=seconds / 60, eval_every=None))[0][-1]
    assert end["reason"] == "finished"
    assert 0.85 * seconds < end["seconds"] <= 1.05 * seconds
    assert clock.now <= 1.05 * seconds + tick


class CostlyStore(Store):
    """Saving takes a twentieth of a second."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def save(self, kind, saved):
        self.clock.now += 0.05
        return super().save(kind, saved)


@pytest.mark.parametrize(("val_characters", "nanoseconds"), [(3000, 20_000), (3000, 100_000), (12_000, 20_000), (100, 20_000)])
def test_the_minutes_include_imports_validation_and_saves(monkeypatch, val_characters, nanoseconds):
    """Imports take 2 s; evaluating takes a quarter of a training step per character, as measured; also a whole-text one.

    The clock counts steps of 16 x 64 characters; those that are really made are small.
    """
    monkeypatch.setattr(schedule, "MAX_EVALUATION_CHARACTERS", 2500)
    clock, spent = Clock(1e-4), []
    clock.now = 2.0
    per_character = nanoseconds * 1e-9

    def costly(model, corpus, excerpt, *more):
        spent.append(evaluation.reading(excerpt.characters) * per_character)
        clock.now += spent[-1]
        return validation(1.0 / (1 + len(spent)))

    def train(step):
        clock.now += 4 * per_character * 16 * 64

    monkeypatch.setattr(evaluation, "validate", costly)
    corpus = corpus_of(random_text(5000 + val_characters), val_characters)
    config = TrainConfig(**PLAIN, minutes=0.25)
    trainer = Trainer(ModelConfig(corpus.vocabulary.size, "rnn", 4, 8), config, corpus, clock=clock, before_step=train)
    end = list(trainer.run(CostlyStore(clock)))[-1]
    assert end["seconds"] <= 1.05 * 15
    assert end["seconds"] >= 0.9 * 15


# -- events ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("val_characters", [0, 100])
def test_events_have_the_names_and_keys_of_the_contract_and_are_json(val_characters):
    trainer = trainer_of(corpus_of(random_text(600), val_characters), steps=20, save_every=1e-6, log_every=1)
    events, _ = run(trainer)
    assert {event["event"] for event in events} == {"step", "eval", "sample", "saved", "end"}
    for event in [*events, *trainer.warnings()]:
        assert {"event", *keys(event["event"])} == set(event)
        assert json.loads(json.dumps(event, allow_nan=False)) == event
    assert [event["event"] for event in events].count("end") == 1
    assert events[-1]["event"] == "end"
    names = [event["event"] for event in events]
    assert names.index("step") < names.index("eval")
    assert all(names[index + 1] == "sample" for index, name in enumerate(names) if name == "eval")
    seconds = [event["seconds"] for event in events if "seconds" in event]
    assert seconds == sorted(seconds)


def test_the_start_event_gets_all_the_run_knows():
    trainer = trainer_of(corpus_of(random_text(600), 100), cell="lstm", layers=2, steps=2)
    facts = trainer.describe()
    V, E, H = 8, 5, 8
    expected = V * E + 4 * H * (E + H + 2) + 4 * H * (H + H + 2) + H * V + V
    assert facts["parameters"] == expected == sum(p.numel() for p in trainer.model.parameters())
    assert (facts["characters"], facts["train_characters"], facts["val_characters"], facts["vocab_size"]) == (600, 500, 100, 8)
    assert (facts["device"], facts["precision"]) == ("cpu", "fp32")
    assert facts["config"]["steps"] == 2
    assert facts["config"]["model"]["hidden_size"] == 8
    json.dumps(facts, allow_nan=False)


def test_a_step_event_tells_of_all_steps_since_the_last_one():
    apart = only(run(trainer_of(steps=12, log_every=1))[0], "step")
    together = only(run(trainer_of(steps=12, log_every=4))[0], "step")
    assert [event["step"] for event in together] == [4, 8, 12]
    assert [event["steps"] for event in together] == [12] * 3
    for index, event in enumerate(together):
        parts = apart[4 * index : 4 * index + 4]
        for key in ("bits_per_char", "grad_norm"):
            assert event[key] == pytest.approx(sum(part[key] for part in parts) / 4, rel=1e-5)
        assert event["learning_rate"] == parts[-1]["learning_rate"]


def test_epoch_counts_passes_and_chars_per_second_divides_by_the_clock():
    """One step is 4 x 8 characters, and between the two readings of the clock around it lies one tick."""
    trainer = trainer_of(steps=6, log_every=1, clock=Clock(0.25))
    events = only(run(trainer)[0], "step")
    assert [event["chars_per_second"] for event in events] == pytest.approx([128.0] * 6)
    assert [event["epoch"] for event in events] == pytest.approx([n / trainer.streams.chunks_per_epoch for n in range(1, 7)])


def test_step_events_come_about_once_a_second_by_default():
    events = only(run(trainer_of(steps=100, clock=Clock(0.06)))[0], "step")
    assert events[0]["step"] == 1
    gaps = np.diff([event["seconds"] for event in events])
    assert len(events) > 5
    assert gaps.min() >= 1.0 - 1e-9
    assert gaps.max() < 2.0


def test_evaluations_come_at_every_tenth_of_the_run_and_once_early():
    steps = [event["step"] for event in only(run(trainer_of(steps=200, eval_every=None))[0], "eval")]
    assert steps == [16, *range(40, 201, 20)]


@pytest.mark.parametrize(("minutes", "latest"), [(1, 8), (3, 20), (10, 65), (60, 65)])
def test_the_first_evaluation_of_a_run_in_minutes_comes_early(minutes, latest):
    """After 8 % of them, and never later than a minute; here a start takes 2 seconds."""
    clock = Clock(0.04 * min(minutes, 10))
    clock.now = 2.0
    for event in trainer_of(clock=clock, minutes=minutes, eval_every=None).run(Store()):
        if event["event"] == "eval":
            break
    assert 0.05 * 60 < event["seconds"] <= latest


def test_eval_every_counts_steps_and_the_last_step_is_evaluated_once():
    assert [event["step"] for event in only(run(trainer_of(steps=20, eval_every=8))[0], "eval")] == [8, 16, 20]
    assert [event["step"] for event in only(run(trainer_of(steps=16, eval_every=8))[0], "eval")] == [8, 16]


def test_best_is_saved_exactly_where_an_evaluation_is_the_lowest_so_far(monkeypatch):
    nats = iter([3.0, 2.0, 2.5, 1.0, 1.0, 4.0])
    monkeypatch.setattr(evaluation, "validate", lambda *_: validation(next(nats)))
    trainer = trainer_of(steps=6, eval_every=1)
    events, store = run(trainer)
    assert [event["best"] for event in only(events, "eval")] == [True, True, False, True, False, False]
    assert [saved.training["step"] for kind, saved in store.saved if kind == "best"] == [1, 2, 4]
    assert events[-1]["best_val_bits_per_char"] == pytest.approx(1 / math.log(2))
    assert events[-1]["best_path"] == "best.safetensors"


def test_saves_come_every_so_many_seconds():
    events, _ = run(trainer_of(steps=100, save_every=1.0, clock=Clock(0.04)))
    lasts = [event for event in only(events, "saved") if event["kind"] == "last"]
    assert 3 < len(lasts) <= events[-1]["seconds"] / 1.0 + 1


@pytest.mark.parametrize("reason", ["interrupted", "terminated"])
def test_a_stopped_run_saves_what_it_has_and_names_the_reason(reason):
    trainer = trainer_of(steps=50, stop=lambda: reason if trainer.progress.step >= 7 else None)
    events, store = run(trainer)
    assert events[-1]["reason"] == reason
    assert events[-1]["step"] == 7
    assert events[-2]["event"] == "saved"
    assert events[-2]["kind"] == "last"
    assert store.latest("last").training["step"] == 7
    assert same_weights(store.latest("last").weights, trainer.model.export())


def test_a_run_stopped_before_its_first_step_leaves_a_best_and_a_last():
    events, store = run(trainer_of(steps=5, stop=lambda: "interrupted"))
    assert {kind for kind, _ in store.saved} == {"best", "last"}
    assert (events[-1]["step"], events[-1]["reason"]) == (0, "interrupted")
    assert events[-1]["best_path"] == "best.safetensors"


def test_without_validation_text_figures_are_null_and_best_is_the_latest_at_each_save():
    trainer = trainer_of(corpus_of(random_text(500)), steps=10, save_every=1e-6, eval_every=4)
    assert any("validation" in warning["text"] for warning in trainer.warnings())
    events, store = run(trainer)
    assert all(event["val_bits_per_char"] is None and event["best"] is False for event in only(events, "eval"))
    assert events[-1]["best_val_bits_per_char"] is None
    assert events[-1]["best_path"] == "best.safetensors"
    kinds = [kind for kind, _ in store.saved]
    assert kinds == ["best", "last"] * (len(kinds) // 2)
    assert len(kinds) >= 20
    for (_, best), (_, last) in zip(store.saved[::2], store.saved[1::2], strict=True):
        assert same_weights(best.weights, last.weights)
        assert best.training["step"] == last.training["step"]
    assert {name.split(".")[0] for name in store.latest("best").extra} == {"row_rms"}


@pytest.mark.parametrize("length", [2, 3, 5, 17, 70])
def test_any_text_of_2_characters_trains_and_a_warning_tells_what_shrank(length):
    trainer = trainer_of(
        corpus_of("ab" * 35 if length == 70 else "abcdefghijklmnopq"[:length]), steps=3, batch_size=16, bptt=64
    )
    told = [warning["text"] for warning in trainer.warnings()]
    assert any("short text" in text for text in told)
    assert not any("1 columns" in text for text in told)
    events, _ = run(trainer)
    assert events[-1]["step"] == 3
    assert math.isfinite(events[0]["bits_per_char"])


def test_a_text_too_short_for_the_groups_asked_for_is_said():
    told = [warning["text"] for warning in trainer_of(groups=7).warnings()]
    assert told == ["a short text (500 characters to train on): 3 groups of columns instead of 7"]
    assert list(trainer_of(groups=3).warnings()) == []


def test_minutes_end_early_on_a_text_that_is_known_by_heart_and_say_so(monkeypatch):
    monkeypatch.setattr(recipe, "most_passes", lambda characters, records: 4.0)
    trainer = trainer_of(steps=None, minutes=60.0, corpus=corpus_of(random_text(200), 0))
    events, _ = run(trainer)
    assert (events[-1]["reason"], events[-1]["step"]) == ("finished", 4 * trainer.streams.chunks_per_epoch)
    assert "ends sooner than --minutes 60 says, --steps" in only(events, "warning")[-1]["text"]
    assert events[-1]["seconds"] < 60


# -- divergence ------------------------------------------------------------------------------------------------------


def poisoned(at, interrupted_at=math.inf, **settings):
    """A run whose weights stop being finite before step ``at`` + 1."""

    def stop():
        if trainer.progress.step == at:
            with torch.no_grad():
                trainer.model.head.bias[0] = math.nan
        return "interrupted" if trainer.progress.step >= interrupted_at else None

    trainer = trainer_of(stop=stop, **settings)
    return trainer


def assert_ended_well(events, store, tmp_path):
    assert events[-1]["reason"] == "diverged"
    assert any("--lr" in warning["text"] for warning in only(events, "warning"))
    for event in events:
        json.dumps(event, allow_nan=False)
    for kind in ("best", "last"):
        for value in [*store.latest(kind).weights.values(), *store.latest(kind).extra.values()]:
            assert np.isfinite(value).all()
        checkpoint.write(tmp_path / "saved", store.latest(kind))
        checkpoint.read(tmp_path / "saved")


@pytest.mark.parametrize("log_every", [1, 4])
@pytest.mark.parametrize("val_characters", [0, 100])
def test_a_loss_that_is_not_finite_ends_the_run_with_what_was_good_before(log_every, val_characters, tmp_path):
    trainer = poisoned(10, corpus=corpus_of(random_text(600), val_characters), steps=60, log_every=log_every, eval_every=2)
    events, store = run(trainer)
    assert_ended_well(events, store, tmp_path)
    assert 8 <= store.latest("last").training["step"] <= 10
    assert all(event["step"] <= 10 for event in only(events, "step"))


@pytest.mark.parametrize("val_characters", [0, 100])
def test_a_run_that_diverged_after_its_last_step_event_did_not_finish(val_characters, tmp_path):
    """By default a step event comes once a second: a short run ends before the next one."""
    trainer = poisoned(10, corpus=corpus_of(random_text(600), val_characters), steps=20, clock=Clock(1e-6))
    assert_ended_well(*run(trainer), tmp_path)


def test_nothing_that_is_not_finite_is_saved_between_two_step_events(tmp_path):
    trainer = poisoned(10, steps=60, log_every=30, eval_every=60, save_every=1e-6)
    events, store = run(trainer)
    assert_ended_well(events, store, tmp_path)
    for _, saved in store.saved:
        assert all(np.isfinite(value).all() for value in saved.weights.values())


def test_a_diverged_run_stopped_before_the_next_step_event_keeps_what_was_good(tmp_path):
    _, store = run(poisoned(10, interrupted_at=15, steps=60, log_every=30, eval_every=60))
    assert all(np.isfinite(value).all() for value in store.latest("last").weights.values())
    checkpoint.write(tmp_path / "saved", store.latest("last"))
    checkpoint.read(tmp_path / "saved")


def test_an_evaluation_of_weights_that_are_not_finite_is_no_crash(tmp_path):
    """The next step event would find the loss; the evaluation before it must not fall over."""
    assert_ended_well(*run(poisoned(10, steps=60, log_every=30, eval_every=2)), tmp_path)


@pytest.mark.parametrize("lr", [1e38, 1e39])
@pytest.mark.parametrize("log_every", [1, 5])
def test_a_rate_far_too_high_diverges_and_saves_finite_weights(lr, log_every, tmp_path):
    assert_ended_well(*run(trainer_of(steps=40, lr=lr, log_every=log_every)), tmp_path)


def test_the_end_event_of_a_diverged_run_is_of_one_piece():
    trainer = poisoned(10, steps=60, log_every=4)
    end = run(trainer)[0][-1]
    assert end["epochs"] == pytest.approx(end["step"] / trainer.streams.chunks_per_epoch)


# -- precision -------------------------------------------------------------------------------------------------------


@every_cell
def test_bf16_trains_near_fp32_and_stores_fp32(cell):
    finals = {}
    for precision in ("fp32", "bf16"):
        trainer = trainer_of(cell=cell, steps=10, log_every=1, precision=precision)
        events, store = run(trainer)
        assert all(weight.dtype == torch.float32 for weight in trainer.model.parameters())
        assert all(moment.dtype == np.float32 for moment in trainer.snapshot().extra.values())
        finals[precision] = [event["bits_per_char"] for event in only(events, "step")]
        assert all(value.dtype == np.float32 for value in store.latest("last").weights.values())
    assert finals["bf16"] == pytest.approx(finals["fp32"], rel=0.03)
    assert finals["bf16"] != finals["fp32"]


def test_denormals_count_as_zero_in_the_thread_that_trains():
    """The worker threads' own setting is tested with them."""
    torch.set_flush_denormal(False)
    tiny = torch.tensor(1e-38)
    assert (tiny * 0.1).item() > 0
    trainer_of(cell="gru")
    assert (tiny * 0.1).item() == 0


def test_freed_memory_is_kept_while_training(monkeypatch):
    called = []
    monkeypatch.setattr(device, "keep_freed_memory", lambda: called.append(1))
    trainer_of()
    assert called == [1]


# -- loss scaling, emulated on the CPU (whose GRU kernel, unlike its LSTM's, knows fp16) ---------------------------------


@pytest.fixture
def fp16_on_cpu(monkeypatch):
    monkeypatch.setattr(learner, "choose_precision", lambda *_: "fp16")


def at_loss_scale(scale, growth, path):
    """A run's snapshot, as a file has it, with another loss scale."""
    snapshot = trainer_of(steps=40, log_every=1, precision="auto").snapshot()
    snapshot.training["progress"].update(loss_scale=scale, loss_scale_growth=growth)
    checkpoint.write(path, snapshot)
    return trainer_of(steps=40, log_every=1, precision="auto", resume=checkpoint.read(path))


@pytest.mark.usefixtures("fp16_on_cpu")
def test_a_step_that_overflows_fp16_is_skipped_and_is_no_divergence(tmp_path):
    """A scale is meant to be too large at times: the scaler then halves it until gradients are finite."""
    events, store = run(at_loss_scale(2.0**30, 0, tmp_path / "last"))
    assert (events[-1]["reason"], events[-1]["step"]) == ("finished", 40)
    progress = store.latest("last").training["progress"]
    assert 1 < progress["loss_scale"] < 2.0**30
    assert progress["optimizer_steps"] == 40
    losses = [event["bits_per_char"] for event in only(events, "step")]
    skipped = round(math.log2(2.0**30 / progress["loss_scale"]))
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[skipped]


@pytest.mark.usefixtures("fp16_on_cpu")
def test_the_loss_scale_survives_a_snapshot(tmp_path):
    again = at_loss_scale(256.0, 77, tmp_path / "last").snapshot().training["progress"]
    assert (again["loss_scale"], again["loss_scale_growth"]) == (256.0, 77)


# -- on a GPU --------------------------------------------------------------------------------------------------------


@cuda
@pytest.mark.cuda
@every_cell
def test_a_step_on_cuda_is_close_to_one_on_the_cpu(cell, monkeypatch):
    monkeypatch.setattr(learner, "RESET_SHARE", 0.0)
    cpu, gpu = (only(run(trainer_of(cell=cell, steps=4, log_every=1, device=device))[0], "step") for device in ("cpu", "cuda"))
    for here, there in zip(cpu, gpu, strict=True):
        assert there["bits_per_char"] == pytest.approx(here["bits_per_char"], rel=1e-3)
        assert there["grad_norm"] == pytest.approx(here["grad_norm"], rel=1e-2)


@cuda
@pytest.mark.cuda
def test_a_checkpoint_trained_on_cuda_runs_on_the_cpu(tmp_path):
    trainer = trainer_of(cell="lstm", layers=2, steps=5, device="cuda", precision="auto", **DROPOUT)
    _, store = run(trainer)
    checkpoint.write(tmp_path / "last", store.latest("last"))
    read = checkpoint.read(tmp_path / "last")
    ids = np.arange(20)[:, None] % 7
    logits = Network(read.model, read.weights).unroll(ids)[0][:, 0]
    with torch.no_grad():
        expected = trainer.model(torch.from_numpy(ids.T).cuda(), trainer.model.initial_state(1))[0][0].cpu().numpy()
    np.testing.assert_allclose(logits, expected, atol=5e-3)
    on_cpu = trainer_of(cell="lstm", layers=2, steps=10, resume=read)
    assert run(on_cpu)[0][-1]["step"] == 10


@cuda
@pytest.mark.cuda
def test_fp16_trains_on_cuda_and_its_loss_scale_survives_a_snapshot(tmp_path):
    trainer = trainer_of(cell="lstm", steps=30, device="cuda", precision="fp16")
    events, store = run(trainer)
    assert events[-1]["reason"] == "finished"
    checkpoint.write(tmp_path / "last", store.latest("last"))
    read = checkpoint.read(tmp_path / "last")
    kept = read.training["progress"]
    again = trainer_of(cell="lstm", steps=30, device="cuda", precision="fp16", resume=read).snapshot().training["progress"]
    for key in ("loss_scale", "loss_scale_growth", "optimizer_steps"):
        assert again[key] == kept[key]


def test_an_evaluation_tells_the_gradients_since_the_last_one_and_the_memory_of_the_probe():
    events, _ = run(trainer_of(cell="gru", hidden=8, steps=12, eval_every=4, log_every=1, grad_clip=0.3))
    steps, evaluations = only(events, "step"), only(events, "eval")
    assert [event["step"] for event in evaluations] == [4, 8, 12]
    for number, event in enumerate(evaluations):
        since = steps[4 * number : 4 * number + 4]
        assert event["grad_norm"] == pytest.approx(np.mean([step["grad_norm"] for step in since]), rel=1e-5)
        assert event["clipped"] == pytest.approx(np.mean([step["grad_norm"] > 0.3 for step in since]))
        assert [step["clipped"] for step in since] == [float(step["grad_norm"] > 0.3) for step in since]
        (layer,) = event["hidden"]
        assert layer["characters"] == 100  # the validation text, which is shorter than a probe
        assert {"std", "dimensions", "tau", "left", "right"} <= layer.keys()
    assert np.mean([event["clipped"] for event in evaluations]) > 0
    json.dumps(evaluations, allow_nan=False)


def test_gradients_since_the_last_evaluation_outlive_an_interruption():
    whole, _ = run(trainer_of(steps=12, eval_every=12, log_every=1))
    (expected,) = only(whole, "eval")
    calls = iter([None] * 7 + ["interrupted"] * 9)
    _, store = run(trainer_of(steps=12, eval_every=12, log_every=1, stop=lambda: next(calls)))
    rest, _ = run(trainer_of(steps=12, eval_every=12, log_every=1, resume=store.latest("last")))
    (got,) = only(rest, "eval")
    for key in ("grad_norm", "clipped", "gradient_reach", "hidden", "advice"):
        assert got[key] == expected[key]
