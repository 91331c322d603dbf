"""Processes that take the gradient of some columns each, forked from the one that trains.

Threads of one process share Python's lock, which the loops over time of the GRU and the RNN hold for most of a step, and
the threads of a parallel region wait for each other by spinning, which stalls a step whenever another program has one of
the cores. A forked process has neither: it computes with one thread, and waits asleep. Weights, what a step reads and the
gradients lie in anonymous shared memory, which has no name and goes with the last process that maps it.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from charrnn import CharrnnError
from charrnn.training.children import fork, how_it_ended

DONE, FAILED = b"+", b"-"
"""What a worker answers: the gradient is there, or why it isn't follows."""
LONGEST_REASON = 4096

Part = tuple[Tensor, Tensor, Sequence[Tensor]]
"""What one share of the columns gives: the loss (), the state after the chunk (L, P, n, H), and the gradients."""
Learn = Callable[[Tensor, Tensor, Tensor, "Sequence[Tensor] | None", int], Part]
"""From inputs (n, T), targets (n, T), state (L, P, n, H), masks and the number of targets in all shares to a `Part`."""


class WorkerLostError(CharrnnError):
    """A worker process has ended before its time; the step that it worked on has changed nothing."""


@dataclass(frozen=True)
class Shapes:
    """The most a step reads: inputs and targets ``ids`` (N, T), the ``state`` (L, P, N, H), the dropout ``masks`` if any."""

    ids: tuple[int, ...]
    state: tuple[int, ...]
    masks: Sequence[tuple[int, ...]] = ()


class Processes:
    """Workers that each compute the gradient of one share of the columns; the calling process takes the first share itself.

    Use it as a context: it forks on entering, and on leaving the workers end. They end by themselves when the process that
    forked them does, however that ends.
    """

    def __init__(
        self, learn: Learn, parameters: Sequence[nn.Parameter], shares: Callable[[int], Sequence[slice]], shapes: Shapes
    ) -> None:
        """Move ``parameters`` into shared memory.

        Args:
            learn: computes the part of one share.
            parameters: the weights, in the order of ``learn``'s gradients.
            shares: which of so many columns each process takes, the calling one's first.
            shapes: what a step reads at most.

        Raises:
            OSError: there isn't enough memory.
        """
        self._learn, self._shares = learn, shares
        self._shape = _shared((3,), torch.int64)  # columns, characters of each, and targets to predict of the current step
        self._count = len(shares(shapes.ids[0]))
        self._inputs, self._targets = _shared(shapes.ids, torch.int64), _shared(shapes.ids, torch.int64)
        self._state = _shared(shapes.state)  # (L, P, N, H); each worker replaces its columns by those after the chunk
        self._masks = [_shared(shape) for shape in shapes.masks]
        self._losses = _shared((self._count,))
        for parameter, weight in zip(parameters, _like(parameters), strict=True):
            weight.copy_(parameter.detach())
            parameter.data = weight
        self._gradients = [_like(parameters) for _ in range(1, self._count)]
        self._sockets: list[socket.socket] = []
        self._pids: list[int] = []

    def __enter__(self) -> Processes:
        try:
            for number in range(1, self._count):
                self._fork(number)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and wait until they are gone."""
        for connection in self._sockets:
            connection.close()
        for pid in self._pids:
            with contextlib.suppress(OSError):  # somebody else has waited for it
                os.waitpid(pid, 0)
        self._sockets, self._pids = [], []

    def of_chunk(
        self, inputs: Tensor, targets: Tensor, state: Tensor, masks: Sequence[Tensor] | None, total: int
    ) -> list[Part]:
        """Compute the parts of all shares, in their order; the last ones' gradients lie in memory that the next call reuses.

        Args:
            inputs: int64, (N, T).
            targets: int64, (N, T).
            state: where the columns stand, (L, P, N, H).
            masks: dropout masks for all N columns, or None.
            total: how many targets there are to predict.

        Raises:
            WorkerLostError: a worker has been killed.
        """
        N, T = inputs.shape
        self._shape.copy_(torch.tensor((N, T, total)))
        self._inputs[:N, :T] = inputs
        self._targets[:N, :T] = targets
        self._state[:, :, :N] = state
        for shared, mask in zip(self._masks, masks or (), strict=True):
            shared[:N] = mask
        shares = self._shares(N)
        at_work = self._sockets[: len(shares) - 1]  # Fewer columns than processes leave some without any.
        for number, connection in enumerate(at_work):
            with self._noticing_loss(number):
                connection.sendall(DONE)
        parts = [self._part(0)]
        for number, (connection, gradients) in enumerate(zip(at_work, self._gradients, strict=False)):
            self._hear(number, connection)
            share = shares[number + 1]
            parts.append((self._losses[number + 1].clone(), self._state[:, :, share].clone(), gradients))
        return parts

    def _part(self, number: int) -> Part:
        N, T, total = self._shape.tolist()
        share = self._shares(N)[number]
        masks = [mask[share] for mask in self._masks] or None
        return self._learn(self._inputs[share, :T], self._targets[share, :T], self._state[:, :, share], masks, total)

    def _hear(self, number: int, connection: socket.socket) -> None:
        """Wait for a worker's answer."""
        with self._noticing_loss(number):
            answer = connection.recv(LONGEST_REASON)
            if not answer:
                raise ConnectionResetError
        if answer != DONE:
            raise RuntimeError(answer.removeprefix(FAILED).decode("utf-8", "replace"))

    @contextlib.contextmanager
    def _noticing_loss(self, number: int) -> Iterator[None]:
        try:
            yield
        except (BrokenPipeError, ConnectionResetError) as error:
            pid = self._pids.pop(number)
            raise WorkerLostError(f"worker process {pid} {how_it_ended(pid)}") from error

    def _fork(self, number: int) -> None:
        pid, connection = fork(lambda theirs: self._work(number, theirs))
        self._pids.append(pid)
        self._sockets.append(connection)

    def _work(self, number: int, connection: socket.socket) -> int:
        """Be a worker until the other end of ``connection`` closes."""
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        while connection.recv(1):
            connection.sendall(self._answer(number))
        return 0

    def _answer(self, number: int) -> bytes:
        try:
            loss, state, gradients = self._part(number)
        except Exception as error:
            return FAILED + f"{type(error).__name__}: {error}".encode("utf-8", "replace")[: LONGEST_REASON - 1]
        with torch.no_grad():  # torch 2.9 lets nobody else write into parts that were split without gradients.
            self._losses[number] = loss
            self._state[:, :, self._shares(int(self._shape[0]))[number]] = state
            for shared, gradient in zip(self._gradients[number - 1], gradients, strict=True):
                shared.copy_(gradient)
        return DONE


def _shared(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Zeros in memory that forked processes share."""
    count = math.prod(shape)
    memory = mmap.mmap(-1, max(1, count) * dtype.itemsize)
    return torch.frombuffer(memory, dtype=dtype, count=count).view(shape) if count else torch.zeros(shape, dtype=dtype)


def _like(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Zeros of the parameters' shapes in one piece of shared memory."""
    sizes = [parameter.numel() for parameter in parameters]
    parts = torch.split(_shared((sum(sizes),)), sizes)
    return [part.view_as(parameter) for part, parameter in zip(parts, parameters, strict=True)]
