"""Which losses are those of a network that learns; what short texts train to, and what still counts as a divergence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from charrnn.training.losses import JUDGED_STEPS, Recent, Soundness

Invoke = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("one_thread")


def losses_of(*values: float) -> Soundness:
    losses = Soundness()
    for value in values:
        losses.add(torch.tensor(value))
    return losses


def test_a_bad_step_among_few_is_no_divergence_and_one_far_beyond_the_limit_is() -> None:
    assert losses_of(15.0).holds(8.0)
    assert losses_of(1.4, 4.5, 9.9, 0.3).holds(8.0)
    assert not losses_of(8.1 * JUDGED_STEPS).holds(8.0)


def test_many_steps_are_judged_by_their_mean() -> None:
    assert losses_of(*[7.9] * 100).holds(8.0)
    assert not losses_of(*[8.1] * 100).holds(8.0)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_unsound_at_once_and_without_any_limit(loss: float) -> None:
    assert not losses_of(loss).holds(math.inf)


def test_steps_judged_one_by_one_add_up_and_judged_ones_are_forgotten() -> None:
    losses, told = losses_of(), []
    for _ in range(JUDGED_STEPS):
        losses.add(torch.tensor(8.1))
        told.append(losses.holds(8.0))
    assert told == [True] * (JUDGED_STEPS - 1) + [False]
    losses.add(torch.tensor(100.0))
    assert losses.holds(8.0)


def test_no_steps_are_sound() -> None:
    assert Soundness().holds(0.0)


def test_the_recent_loss_is_in_bits_and_forgets_what_is_long_past() -> None:
    recent = Recent()
    assert recent.bits == math.inf
    recent.add(torch.tensor(5 * math.log(2)))
    assert recent.bits == pytest.approx(5)
    for _ in range(10 * JUDGED_STEPS):
        recent.add(torch.tensor(2 * math.log(2)))
    assert recent.bits == pytest.approx(2, abs=0.001)


# -- through the command line -----------------------------------------------------------------------------------------


TEXTS = ("ab", "aa", "abc", "hello\n", "abcdefgh", "the cat sat on it ok")


@pytest.mark.parametrize(("cell", "text"), [*(("rnn", text) for text in TEXTS), ("gru", "abc"), ("lstm", "abc")])
def test_texts_of_a_few_characters_train(cell: str, text: str, invoke: Invoke) -> None:
    options = ("--cell", cell, "--steps", "20", "--log-every", "1", "--workers", "1", "--json")
    result = invoke("train", "-", *options, stdin=text.encode())
    assert result.code == 0, result.stderr
    end = json.loads(result.stdout.splitlines()[-1])
    assert (end["reason"], end["step"], end["attempt"]) == ("finished", 20, 1)


@pytest.mark.parametrize("lr", ["300", "1e6"])
@pytest.mark.parametrize("logged", ["1", "1000"])
def test_a_rate_far_too_high_diverges_however_short_the_run_and_whenever_it_is_logged(
    lr: str, logged: str, invoke: Invoke
) -> None:
    options = ("--cell", "rnn", "--steps", "20", "--lr", lr, "--log-every", logged, "--workers", "1", "--hidden-size", "64")
    result = invoke("train", "-", *options, stdin=b"abcdefgh")
    assert result.code == 1
    assert "diverged twice" in result.stderr.splitlines()[-1]
