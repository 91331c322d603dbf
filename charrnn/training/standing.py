"""How a run stands, as events: what an evaluation found and advises, and how the run ended."""

from __future__ import annotations

import numpy as np

from charrnn.analysis import advice
from charrnn.network.cells import Network
from charrnn.training import evaluation, events
from charrnn.training.learner import Learner


def evaluated(
    learner: Learner, bits: float | None, seconds: float, *, improved: bool
) -> tuple[events.Eval, events.Sample, str | None]:
    """The events of an evaluation that found ``bits`` per character, and its advice where validation has risen for long.

    Args:
        learner: the run as it stands.
        bits: the validation loss; None without validation text.
        seconds: of the run so far.
        improved: whether it is the lowest so far.
    """
    p, config = learner.progress, learner.model.config
    with np.errstate(over="ignore", invalid="ignore"):  # Losses, not this, tell what to do about huge weights.
        network = Network(config, learner.model.export())
        seen = advice.measure(network, evaluation.passage(learner.corpus))
        sample = _sample(learner, network)
    grad_norm, clipped = learner.state.take_watched()
    norm_of_many, clipped_of_many = learner.state.take_many_watched(advice.ENOUGH_STEPS)
    told = advice.advise({**seen, "grad_norm": norm_of_many, "clipped": clipped_of_many}, config.cell, p.step)
    rising = None
    if bits is not None and p.best_val_bits_per_char is not None and p.best_step is not None:
        rising = advice.overfitting(p.step, p.best_step, learner.expected_steps(seconds), bits, p.best_val_bits_per_char)
    found: events.Eval = {
        "event": "eval",
        "step": p.step,
        "seconds": seconds,
        "val_bits_per_char": bits,
        "best": improved,
        "attempt": p.attempt,
        "hidden": seen["hidden"],
        "gradient_reach": seen["gradient_reach"],
        "grad_norm": grad_norm,
        "clipped": clipped,
        "advice": rising or told,
    }
    return found, sample, rising


def _sample(learner: Learner, network: Network) -> events.Sample:
    """A text, or some records."""
    p, listed, records = learner.progress, learner.corpus.records, None
    drawn = network, learner.vocabulary
    if listed is None:
        text = evaluation.sample(*drawn, learner.config.seed, p.step)
    else:
        records = evaluation.sample_records(*drawn, listed, learner.config.seed, p.step)
        text = "\n".join(record["text"] for record in records)
    return {"event": "sample", "step": p.step, "text": text, "records": records, "attempt": p.attempt}


def ended(
    learner: Learner, seconds: float, *, reason: str, best_path: str | None, part: events.Part | None, advised: str | None
) -> events.End:
    """The last event. ``part`` is what the best network made on the part of the validation text that evaluations read, where
    its final loss is on the whole; ``advised`` is what the last evaluation said of the whole run.
    """
    p = learner.progress
    return {
        "event": "end",
        "step": p.step,
        "epochs": learner.epochs,
        "seconds": seconds,
        "best_val_bits_per_char": p.best_val_bits_per_char,
        "best_step": p.best_step,
        "best_val_part": part,
        "val_characters": learner.corpus.val_characters,
        "advice": advised,
        "chars_per_second": p.step * learner.streams.characters_per_step / max(p.train_seconds, 1e-9),
        "best_path": best_path,
        "reason": reason,
        "attempt": p.attempt,
    }
