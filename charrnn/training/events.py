"""What a run tells while it trains: one typed dict for each event, as `Trainer.run` yields it and ``log.jsonl`` keeps it.

Keys are added, never renamed or removed; logs of earlier versions may lack some. Every value is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, get_args, get_type_hints

from charrnn.analysis.hidden import Summary


class Facts(TypedDict):
    """The part of `Start` that the trainer itself knows."""

    characters: int
    """How long the text is, training and validation text together."""
    vocab_size: int
    """V, the unknown character included."""
    train_characters: int
    val_characters: int
    parameters: int
    """How many numbers are trained."""
    device: str
    """``cpu``, ``cuda`` or ``mps``: what ``auto`` stands for is decided."""
    precision: str
    """``fp32``, ``bf16`` or ``fp16``, likewise decided."""
    workers: int
    """Processes, or threads, that share the columns of each rank."""
    ranks: int
    """Processes started by torchrun, perhaps on several machines, that share the columns of all; 1 without it."""
    records: Mapping[str, Any] | None
    """The list that the text is: `Records.to_json`; None for a text that isn't read as one."""
    plan: Mapping[str, Any] | None
    """Why the settings are what they are: `recipe.Plan.to_json`."""
    step: int
    """Steps made by the processes before this one; 0 for a new run."""
    steps: int | None
    """Steps at the end of the run; None where minutes are the budget."""
    seconds: float
    """Seconds of the run in the processes before this one."""
    best_val_bits_per_char: float | None
    """The lowest validation loss of the processes before this one."""
    config: dict[str, Any]
    """The fields of `TrainConfig`, and under ``model`` those of `ModelConfig`."""


class Start(Facts):
    """The first event of each process of a run."""

    event: Literal["start"]
    corpus: str
    """The text's short name."""
    run_dir: str
    pid: int
    """The process that trains, for the message that refuses a second one."""
    host: str
    """The machine that it runs on; not in ``log.jsonl``."""


class Step(TypedDict):
    """Means over the steps since the last `Step`; about once a second, or as ``--log-every`` says."""

    event: Literal["step"]
    step: int
    """Steps made so far."""
    steps: int
    """Steps at the end of the run; an estimate where minutes are the budget."""
    steps_settled: bool
    """False where `steps` is an estimate from too few steps to mean anything."""
    done: float
    """Share of the whole run that is over, by steps or by the clock."""
    epoch: float
    """Passes over the training text so far."""
    characters_read: int
    """Characters trained on so far, those read again counted again."""
    seconds: float
    """Seconds of the run so far, in all its processes, imports included."""
    bits_per_char: float
    """The training loss."""
    learning_rate: float
    """That of the latest step."""
    grad_norm: float
    """Norm of the whole gradient before clipping."""
    clipped: float
    """Share of the steps whose gradient was clipped."""
    attempt: int
    """1, and one more after each divergence and each learning rate given on resume; so in all events below."""
    chars_per_second: float
    """Characters trained on, by the time that the steps themselves took."""


class Eval(TypedDict):
    """An evaluation: the validation loss, and what the memory does on a fixed passage."""

    event: Literal["eval"]
    step: int
    seconds: float
    val_bits_per_char: float | None
    """None without validation text, or if the loss is not finite."""
    val_scored_characters: int
    """How much of the validation text was scored: the same at every evaluation."""
    val_standard_error: float | None
    """How far `val_bits_per_char` may be from that on all of the text; 0 where all of it was scored, None if not known."""
    val_bits_per_char_calibrated: float | None
    """The loss with logits divided by one temperature, each half of the text by that fitted to the other half."""
    best: bool
    """Whether this is the lowest validation loss so far."""
    attempt: int
    hidden: list[Summary]
    """Statistics of every layer."""
    gradient_reach: int | None
    """How many characters back the gradient is below 1 % of what it is one character back; None if not within 63."""
    grad_norm: float | None
    """Mean over the steps since the last `Eval`; None if there were none."""
    clipped: float | None
    """Likewise."""
    advice: str | None
    """One line about what is wrong, if anything is."""


class Part(TypedDict):
    """A loss on a part of the validation text."""

    characters: int
    bits_per_char: float


class Record(TypedDict):
    """A record that was drawn."""

    text: str
    known: bool | None
    """Whether it is in the list, held out or not; None for the beginning of a long one."""


class Sample(TypedDict):
    """A text drawn after each evaluation."""

    event: Literal["sample"]
    step: int
    text: str
    """Of a list the records, a line each."""
    records: list[Record] | None
    """The records; None for a text that is no list."""
    attempt: int


class Saved(TypedDict):
    """A checkpoint was written."""

    event: Literal["saved"]
    path: str
    kind: Literal["best", "last"]


class Warned(TypedDict):
    """Something that the user should know."""

    event: Literal["warning"]
    text: str


class End(TypedDict):
    """The last event of each process of a run."""

    event: Literal["end"]
    step: int
    epochs: float
    """Passes over the training text."""
    characters_read: int
    """Characters trained on, those read again counted again."""
    seconds: float
    best_val_bits_per_char: float | None
    """Of the best network; at the end of a finished run, on as much of the validation text as there was time for."""
    best_step: int | None
    """The step of the best network; None without an evaluation."""
    best_val_part: Part | None
    """What the evaluations found it to be on less; None where the end scored no more, or the run isn't over."""
    val_characters: int
    """How long the whole validation text is."""
    val_scored_characters: int
    """How much of it `best_val_bits_per_char` is of."""
    val_standard_error: float | None
    """How far it may be from the loss on all of it; 0 where all of it was scored, None if not known."""
    val_bits_per_char_calibrated: float | None
    """The best network's loss with its calibration, cross-fitted."""
    unigram_bits_per_char: float | None
    """What the text takes without a network: the entropy of its characters' frequencies."""
    xz_bits_per_char: float | None
    """What ``xz -9`` makes of the text, of eight pieces of it if it is longer than 2 MB; None if that isn't known yet."""
    advice: str | None
    """What is said of the whole run: that validation has risen for a third of it, or that its few steps taught it nothing."""
    chars_per_second: float
    """Characters trained on in all processes, by the time that the steps themselves took."""
    best_path: str | None
    """Where the best network is kept; None if nothing was."""
    reason: str
    """``finished``, ``interrupted``, ``terminated``, ``diverged``, ``failed`` if the last save failed, ``worker_lost`` if a
    worker process ended before its time."""
    attempt: int


Event = Start | Step | Eval | Sample | Saved | Warned | End

CONTRACT: Mapping[str, type] = {name: kind for kind in get_args(Event) for name in get_args(get_type_hints(kind)["event"])}
"""Every event by its name."""


def keys(name: str) -> list[str]:
    """The keys of the event ``name`` beside ``event`` itself."""
    return [key for key in CONTRACT[name].__annotations__ if key != "event"]


def warning(text: str) -> Warned:
    """A `Warned` that says ``text``."""
    return {"event": "warning", "text": text}
