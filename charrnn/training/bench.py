"""How fast charrnn is on this machine, beside plain ``torch.nn`` loops in the same run.

The contenders of a comparison take turns, round after round, because a shared machine's speed drifts; a figure is the median of
its rounds. The loops are what one would write in five minutes: the same network, fp32, torch's own threads. The loop that
trains runs in another process, which executes this module: what charrnn's training sets in the C library would speed it up too.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from charrnn import CharrnnError, files
from charrnn.config import ModelConfig
from charrnn.generation.drawing import BatchSampler, Drawing, Sampler, generator
from charrnn.generation.generate import generate, prime
from charrnn.network.cells import Network
from charrnn.text.corpus import read_corpus
from charrnn.training import kernels
from charrnn.training.device import choose_precision
from charrnn.training.speed import CHARACTERS, COLUMNS, Exercise

KERNELS: dict[str, Callable[..., nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
STREAMS = 64
WARM_UP_SHARE = 0.2


@dataclass(frozen=True)
class Figure:
    """One line of the table: the median of the rounds and their range, in ``unit``.

    ``ratio`` says how many times as fast it is as the line of the same group named ``beside``. ``ceiling`` is the share that it
    reaches of the speed of the machine's matrix products in the same precision. Either is None where there is nothing to
    compare with, else the median over the rounds, in each of which both met the same machine.
    """

    group: str
    name: str
    unit: str
    median: float
    low: float
    high: float
    beside: str | None = None
    ratio: float | None = None
    ceiling: float | None = None


class TorchLoop(nn.Module):
    """Embedding -> ``nn.LSTM/GRU/RNN`` with all layers in one module -> linear head, as one would write it in five minutes."""

    def __init__(self, config: ModelConfig, weights: Mapping[str, NDArray[Any]]) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.rnn = KERNELS[config.cell](config.embedding_size, config.hidden_size, config.num_layers, batch_first=True)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        self.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})

    @torch.inference_mode()
    def generate(self, streams: int, temperature: float, seed: int) -> Iterator[Tensor]:
        """Draw ids (N, 1) for N ``streams``, without end."""
        generator = torch.Generator().manual_seed(seed)
        ids, state = torch.zeros(streams, 1, dtype=torch.int64), None
        while True:
            output, state = self.rnn(self.embedding(ids), state)
            probabilities = torch.softmax(self.head(output[:, -1]) / temperature, dim=-1)
            ids = torch.multinomial(probabilities, 1, generator=generator)
            yield ids

    def trainer(self, columns: int, characters: int) -> Callable[[], object]:
        """A function that makes one AdamW update on random characters, carries the state on, and returns the loss."""
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(self.config.vocab_size, (columns, characters + 1), generator=generator)
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
        state: Any = None

        def step() -> float:
            nonlocal state
            output, state = self.rnn(self.embedding(ids[:, :-1]), state)
            state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
            loss = functional.cross_entropy(self.head(output).flatten(0, 1), ids[:, 1:].flatten())
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()
            return float(loss.detach())

        return step


class PlainTraining:
    """`TorchLoop.trainer` in a process of its own, which ends with the context."""

    def __enter__(self) -> PlainTraining:
        # In a session of its own, so that Ctrl-C reaches only the process that waits for it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "charrnn.training.bench"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def rate(self, config: ModelConfig, seconds: float) -> float:
        """Updates per second of the loop of ``config``, measured for about ``seconds``; `CharrnnError` if the process ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps([config.to_json(), seconds]), file=self._process.stdin, flush=True)
            return float(self._process.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise CharrnnError(
                "the process of the torch.nn loop ended before it was measured; free some memory and try again"
            ) from None


def answer(questions: Iterable[str], out: TextIO) -> None:
    """The other side of `PlainTraining.rate`: answer every line, a network and seconds, with a line that holds the rate."""
    loops: dict[ModelConfig, Callable[[], object]] = {}
    for question in questions:
        shape, seconds = json.loads(question)
        config = ModelConfig.from_json(shape)
        if config not in loops:
            loops[config] = TorchLoop(config, random_weights(config)).trainer(COLUMNS, CHARACTERS)
        try:
            print(rate(loops[config], seconds), file=out, flush=True)
        except BrokenPipeError:  # Whoever asked is gone.
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # At its end Python writes what is left.
            return


def random_weights(config: ModelConfig) -> dict[str, NDArray[np.float32]]:
    """Random weights of the shapes of ``config``, which is all that measuring time needs."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in config.parameter_shapes().items()}


def rate(step: Callable[[], object], seconds: float) -> float:
    """Calls of ``step`` per second over about ``seconds``, the first `WARM_UP_SHARE` of which warms up."""
    for share in (WARM_UP_SHARE, 1 - WARM_UP_SHARE):
        begun, count = time.perf_counter(), 0
        while True:
            step()
            count += 1
            taken = time.perf_counter() - begun
            if taken >= share * seconds:
                break
    return count / taken


def measure(seconds: float = 60.0, rounds: int = 3) -> Iterator[Figure]:
    """Measure every figure in about ``seconds``; the contenders of a comparison take turns for ``rounds`` rounds."""
    yield from training(0.6 * seconds, rounds)
    yield from generation(0.2 * seconds, rounds)
    yield encoding(rounds)
    yield from cold_starts(0.2 * seconds, rounds)


def machine() -> dict[str, Any]:
    """What the figures were measured on: ``processor``, ``cores``, torch's ``threads``, the versions of torch and NumPy, and
    the variables of the ``environment`` that matrix libraries read.
    """
    named = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    prefixes = ("OPENBLAS_", "OMP_", "MKL_", "ONEDNN_", "ATEN_CPU_")
    return {
        "processor": named[0] if named else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(prefixes)},
    }


def _lines(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8").splitlines()
    return []


def training(seconds: float, rounds: int) -> Iterator[Figure]:
    """Characters/s in training at the default size, by cell and precision, beside the fp32 ``torch.nn`` loop."""
    cpu = torch.device("cpu")
    precisions = ["fp32"] + (["bf16"] if choose_precision("auto", cpu) == "bf16" else [])
    each = seconds / rounds / (3 * (2 * len(precisions) + 1))
    ceilings: dict[str, list[float]] = {precision: [] for precision in precisions}
    with PlainTraining() as plain:
        for cell in KERNELS:
            config = ModelConfig(vocab_size=64, cell=cell)
            exercises = {precision: Exercise(config, cpu, precision) for precision in precisions}
            beside, rates = f"{cell} torch.nn fp32", dict[str, list[float]]()
            for _ in range(rounds):
                rates.setdefault(beside, []).append(plain.rate(config, each) * COLUMNS * CHARACTERS)
                for precision, exercise in exercises.items():
                    ceilings[precision].append(matrix_flops(precision, each))
                    with exercise.working():
                        rates.setdefault(precision, []).append(rate(exercise.step, each) * COLUMNS * CHARACTERS)
            yield _figure("training", beside, "chars/s", rates[beside])
            for precision in precisions:
                shares = [
                    training_flops(config) * reached / ceiling
                    for reached, ceiling in zip(rates[precision], ceilings[precision][-rounds:], strict=True)
                ]
                name = f"{cell} {precision}"
                yield _figure("training", name, "chars/s", rates[precision], beside, rates[beside], statistics.median(shares))
    for precision, values in ceilings.items():
        yield _figure("matrix products", precision, "GFLOP/s", [value / 1e9 for value in values])


def training_flops(config: ModelConfig) -> float:
    """Floating-point operations per character: a multiplication and an addition per weight of every matrix, forwards once and
    backwards twice; the embedding's weights are looked up, not multiplied.
    """
    weights = sum(a * b for name, (a, *rest) in config.parameter_shapes().items() if name != "embedding.weight" for b in rest)
    return 6.0 * weights


def matrix_flops(precision: str, seconds: float) -> float:
    """Operations per second in a product of large square matrices, torch's own or oneDNN's, whichever is faster: the best that
    a training step could reach.
    """
    n, dtype = 1536, torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.randn(n, n, generator=torch.Generator().manual_seed(0)).to(dtype)
    packed = kernels.Product(a, n, dtype)
    return max(rate(lambda: a @ a, seconds / 2), rate(lambda: packed(a), seconds / 2)) * 2 * n**3


def generation(seconds: float, rounds: int) -> Iterator[Figure]:
    """Characters/s in sampling at the default size: one stream and many, beside the ``torch.nn`` loop."""
    each = seconds / rounds / (5 * len(KERNELS))
    threads = torch.get_num_threads()
    for cell in KERNELS:
        config = ModelConfig(vocab_size=64, cell=cell)
        weights = random_weights(config)
        network, loop = Network(config, weights), TorchLoop(config, weights).eval()
        sampler = Sampler(np.random.default_rng(0), Drawing(temperature=0.8))
        own = generate(network, *prime(network, np.array([0])), sampler)
        many = batch(network, STREAMS)
        contenders: dict[str, tuple[Iterator[Any], int]] = {
            "1 stream": (own, 1),
            "1 stream torch.nn": (loop.generate(1, 0.8, 0), 1),
            f"{STREAMS} streams": (many, STREAMS),
            f"{STREAMS} streams torch.nn": (loop.generate(STREAMS, 0.8, 0), STREAMS),
        }
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, (ids, streams) in contenders.items():
                reached = [rate(ids.__next__, each) * streams]
                if name == "1 stream torch.nn":
                    # One thread may do so little work sooner than all of them.
                    torch.set_num_threads(1)
                    reached.append(rate(ids.__next__, each))
                    torch.set_num_threads(threads)
                rates[name].append(max(reached))
        for name in ("1 stream", f"{STREAMS} streams"):
            beside = f"{cell} {name} torch.nn"
            yield _figure("sampling", beside, "chars/s", rates[f"{name} torch.nn"])
            yield _figure("sampling", f"{cell} {name}", "chars/s", rates[name], beside, rates[f"{name} torch.nn"])


def batch(network: Network, streams: int) -> Iterator[NDArray[Any]]:
    """Ids (N,) of ``streams`` streams without end, each drawn at temperature 0.8."""
    state = network.initial_state(streams)
    step = network.stepper(state)
    sampler = BatchSampler([generator(0, index) for index in range(streams)], Drawing(temperature=0.8))
    ids = np.zeros(streams, dtype=np.intp)
    while True:
        ids = sampler.draw(step(ids))
        yield ids


def encoding(rounds: int) -> Figure:
    """MB/s from a file of 32 MiB of random words to ids."""
    words = np.random.default_rng(0).integers(97, 123, 1 << 20, dtype=np.uint8)
    words[::6], words[::61] = 32, 10
    with files.temporary_space("the benchmark"), tempfile.NamedTemporaryFile(suffix=".txt") as file:
        for _ in range(32):
            file.write(words.tobytes())
        file.flush()
        rates = [32 * (1 << 20) / 1e6 / _seconds(lambda: read_corpus([file.name])) for _ in range(rounds)]
    return _figure("encoding", "file to ids", "MB/s", rates)


def cold_starts(seconds: float, rounds: int) -> Iterator[Figure]:
    """Seconds from nothing to the end of ``--help`` and of ``sample -n 1``, beside an interpreter that imports torch.

    Every command starts once to warm the disk's cache, then at most ``rounds`` times: at least once, and never again where one
    more round would exceed ``seconds``.
    """
    from charrnn.network.checkpoint import Checkpoint
    from charrnn.network.rundir import RunDirectory
    from charrnn.text.vocabulary import Vocabulary

    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Vocabulary("char", "\n abcdefghijklmnopqrstuvwxyz")
        config = ModelConfig(vocab_size=vocabulary.size)
        run = RunDirectory.create("bench", Path(folder) / "run")
        run.save("best", Checkpoint(config, vocabulary, {}, random_weights(config)))
        run.close()
        own = [sys.executable, "-m", "charrnn"]
        commands = {
            "--help": [*own, "--help"],
            "sample -n 1": [*own, "sample", "-c", str(Path(folder) / "run"), "-n", "1", "--seed", "0"],
            "import torch": [sys.executable, "-c", "import torch"],
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        begun = time.perf_counter()
        for number in range(rounds + 1):
            for name, command in commands.items():
                took = _seconds(functools.partial(subprocess.run, command, check=True, capture_output=True, env=environment))
                if number:  # The first round warms the disk's cache.
                    taken[name].append(took)
            if number and (time.perf_counter() - begun) * (number + 2) / (number + 1) > seconds:
                break
    for name, values in taken.items():
        yield _figure("cold start", name, "s", values)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _figure(
    group: str,
    name: str,
    unit: str,
    values: list[float],
    beside: str | None = None,
    others: list[float] | None = None,
    ceiling: float | None = None,
) -> Figure:
    median = statistics.median(values)
    # The median of the rounds' ratios: both contenders of a round met the same machine.
    ratio = statistics.median(a / b for a, b in zip(values, others, strict=True)) if others else None
    return Figure(group, name, unit, median, min(values), max(values), beside, ratio, ceiling)


if __name__ == "__main__":
    answer(sys.stdin, sys.stdout)
