"""How a run stands, as events: what it begins with, what an evaluation found and advises, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from charrnn.analysis import advice
from charrnn.config import TrainConfig
from charrnn.network.cells import Network
from charrnn.network.checkpoint import Checkpoint
from charrnn.text.streams import Columns, ManyRecordStreams, RecordStreams
from charrnn.training import evaluation, events
from charrnn.training.evaluation import Validation
from charrnn.training.events import Event
from charrnn.training.learner import Learner
from charrnn.training.schedule import EVALUATION_SHARE


def described(learner: Learner) -> events.Facts:
    """The part of the ``start`` event that the run itself knows."""
    return {
        "characters": len(learner.corpus.ids),
        "vocab_size": learner.vocabulary.size,
        "train_characters": learner.corpus.train_characters,
        "val_characters": learner.corpus.val_characters,
        "parameters": learner.model.config.parameters,
        "device": learner.device.type,
        "precision": learner.precision,
        "workers": learner.workers.count,
        "ranks": learner.ranks.count,
        "records": None if learner.corpus.records is None else learner.corpus.records.facts.to_json(),
        "plan": learner.plan,
        "step": learner.progress.step,
        "steps": learner.budget.steps,
        "seconds": learner.progress.seconds,
        "best_val_bits_per_char": learner.progress.best_val_bits_per_char,
        "config": {**learner.config.to_json(), "model": learner.model.config.told()},
    }


def warnings(learner: Learner) -> Iterator[Event]:
    """What the user should know before the run."""
    less = _less_than_asked(learner.config, learner.streams)
    if less:
        train = f"{learner.corpus.train_characters:,} characters to train on"
        yield events.warning(f"a short text ({train}): {' and '.join(less)}")
    if not learner.corpus.val_characters:
        yield events.warning("no validation text: best.safetensors is whatever was saved last")


def _less_than_asked(config: TrainConfig, streams: Columns) -> list[str]:
    """What a step reads less than it was asked to, because the text is short."""
    if isinstance(streams, RecordStreams | ManyRecordStreams):
        return []
    less, asked, got = [], (config.batch_size, config.bptt), (streams.batch_size, streams.bptt)
    if asked != got:
        columns = "1 column" if got[0] == 1 else f"{got[0]:,} columns"
        less.append(f"{columns} x {got[1]:,} characters per step instead of {asked[0]:,} x {asked[1]:,}")
    if (groups := streams.groups) != config.groups:
        less.append(f"{groups} {'group' if groups == 1 else 'groups'} of columns instead of {config.groups}")
    return less


def evaluated(
    learner: Learner, validation: Validation | None, seconds: float, *, improved: bool
) -> tuple[events.Eval, events.Sample, str | None]:
    """The events of an evaluation, and its advice where validation has risen for long.

    Args:
        learner: the run as it stands.
        validation: what it found; None without validation text, or if the loss is not finite.
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
    rising, excerpt = None, learner.validation.excerpt
    bits = None if validation is None else validation.bits
    if bits is not None and p.best_val_bits_per_char is not None and p.best_step is not None:
        rising = advice.overfitting(p.step, p.best_step, learner.expected_steps(seconds), bits, p.best_val_bits_per_char)
    found: events.Eval = {
        "event": "eval",
        "step": p.step,
        "seconds": seconds,
        "val_bits_per_char": bits,
        "val_scored_characters": 0 if excerpt is None else excerpt.characters,
        "val_standard_error": None if validation is None else validation.standard_error,
        "val_bits_per_char_calibrated": None if validation is None else validation.calibrated,
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


def scored_at_the_end(learner: Learner, best: Checkpoint) -> tuple[Checkpoint, events.Part | None]:
    """Score the best network on as much of the validation text as there is time for, unless the evaluations have.

    Returns:
        The network with all that is told of it at the end, itself if that is nothing new; and what the evaluations found, where
        the end scored more.
    """
    p, plan, part, temperature = learner.progress, learner.validation, None, best.temperature
    facts = {**best.training, **learner.compressor.facts}
    if (excerpt := plan.final_excerpt(p)) is not None:
        learner.model.load(best.weights)
        if (found := learner.validate(excerpt)) is not None:
            if p.best_val_bits_per_char is not None and plan.excerpt is not None:
                part = events.Part(characters=plan.excerpt.characters, bits_per_char=p.best_val_bits_per_char)
            p.best_val_bits_per_char, plan.excerpt, temperature = found.bits, excerpt, found.temperature
            plan.improved(found)
            facts |= {"val_bits_per_char": found.bits, **plan.facts()}
    return (best if facts == best.training else replace(best, training=facts, temperature=temperature)), part


def rewound(learner: Learner, good: Checkpoint, clock: float) -> events.Warned:
    """Go back to ``good`` with half the learning rate, ``clock`` seconds after the process began, and say so."""
    before = learner.rewind(good, clock)
    if before.rewinds:
        return events.warning(f"the loss diverged again, by step {before.step:,}; try a lower --lr or --grad-clip")
    back_to = learner.progress.step
    return events.warning(f"the loss diverged by step {before.step:,}; back to step {back_to:,} with half the learning rate")


def took_long(learner: Learner, seconds: float, of: float) -> events.Warned | None:
    """A warning that scoring all of the validation text took ``seconds`` ``of`` the run's; None if that isn't much."""
    if not learner.config.val_whole or seconds <= 2 * EVALUATION_SHARE * of:
        return None
    return events.warning(
        f"scoring all {learner.corpus.val_characters:,} validation characters took {seconds:.0f} of {of:.0f} seconds;"
        " without --val-whole more of them are for training"
    )


def ended(
    learner: Learner, seconds: float, *, reason: str, best_path: str | None, part: events.Part | None, advised: str | None
) -> events.End:
    """The last event. ``part`` is what the best network made of the part of the validation text that evaluations read, where
    its final loss is on more; ``advised`` is what the last evaluation said of the whole run.
    """
    p, told, yardsticks = learner.progress, learner.validation.facts(), learner.compressor.facts
    if reason == "finished" and learner.config.steps is None:
        length = "epochs" if learner.config.minutes is None else "minutes"
        letters = yardsticks["unigram_bits_per_char"]
        advised = advised or advice.barely_begun(p.step, p.best_val_bits_per_char, letters, length)
    return {
        "event": "end",
        "step": p.step,
        "epochs": learner.epochs,
        "characters_read": p.step * learner.streams.characters_per_step,
        "seconds": seconds,
        "best_val_bits_per_char": p.best_val_bits_per_char,
        "best_step": p.best_step,
        "best_val_part": part,
        "val_characters": learner.corpus.val_characters,
        "val_scored_characters": told["val_scored_characters"],
        "val_standard_error": told.get("val_standard_error"),
        "val_bits_per_char_calibrated": told.get("val_bits_per_char_calibrated"),
        "unigram_bits_per_char": yardsticks["unigram_bits_per_char"],
        "xz_bits_per_char": yardsticks["xz_bits_per_char"],
        "advice": advised,
        "chars_per_second": p.step * learner.streams.characters_per_step / max(p.train_seconds, 1e-9),
        "best_path": best_path,
        "reason": reason,
        "attempt": p.attempt,
    }
